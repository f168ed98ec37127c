"""The PyTorch engine."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from overtile.machine import has_bfloat16
from overtile.settings import Precision


def best_device() -> torch.device:
    """The first CUDA device where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def native_precision(device: torch.device) -> Precision:
    """bfloat16 where the device multiplies it natively, else float32."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if has_bfloat16() else "float32"


class TorchEngine:
    """Runs a network as it is, in channels-last memory.

    Parameters
    ----------
    network
        Switched to evaluation and moved to the device, in place.
    device
        Where it runs; by default `best_device`.
    precision
        Of convolutions; by default `native_precision`. Parameters stay in float32.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device | None = None,
        precision: Precision | None = None,
    ) -> None:
        self.device = device or best_device()
        self.precision: Precision = precision or native_precision(self.device)
        self.network = network.to(self.device).eval()

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (b k *out) float32 of windows (b c *space) float32."""
        layout = torch.channels_last if windows.ndim == 4 else torch.channels_last_3d
        batch = torch.from_numpy(windows).to(self.device).contiguous(memory_format=layout)
        use = self.precision == "bfloat16"
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, use):
            logits: torch.Tensor = self.network(batch)
        result: NDArray[np.float32] = logits.float().cpu().contiguous().numpy()
        return result
