"""The PyTorch engine."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from overtile import machine, networks
from overtile.engines import Engine
from overtile.errors import ModelError
from overtile.networks.blocks import fold_norms
from overtile.settings import Activation, Precision

if TYPE_CHECKING:
    from overtile.model import Model

LOW = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
"""Layers whose parameters are kept in bfloat16 where it is the precision."""

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Of arrays with so many axes, parameters as well: three times as fast as the default on CPUs."""


def best_device() -> torch.device:
    """The first CUDA device where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def native_precision(device: torch.device) -> Precision:
    """bfloat16 where the device multiplies it natively, else float32."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if machine.has_bfloat16() else "float32"


def network_of(model: Model) -> nn.Module:
    """The network of a model, with its parameters, in evaluation.

    Raises
    ------
    ModelError
        The parameters do not fit the settings.
    """
    network = networks.build(model.settings.network)
    try:
        network.load_state_dict({n: torch.from_numpy(v) for n, v in model.parameters.items()})
    except RuntimeError as error:
        raise ModelError(
            f"The model's parameters do not fit its settings, so one of them was changed: "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error
    return network.eval()


@contextmanager
def _watch_gpu(device: torch.device) -> Iterator[machine.Peak]:
    """The peak of the GPU's memory; known whenever it is looked at, without sampling."""
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    yield machine.Peak(lambda: torch.cuda.max_memory_allocated(device) - before)


class TorchEngine(Engine):
    """Runs a copy of a network: norms folded into convolutions, channels-last memory.

    Parameters
    ----------
    network
        Any; it is left as it is.
    device
        Where it runs; by default `best_device`.
    precision
        Of convolutions; by default `native_precision`.
    threads
        Of the processor, for the whole process; by default as PyTorch is set.
    """

    name = "torch"

    def __init__(
        self,
        network: nn.Module,
        device: torch.device | None = None,
        precision: Precision | None = None,
        threads: int | None = None,
    ) -> None:
        self.device = device or best_device()
        self.precision: Precision = precision or native_precision(self.device)
        if threads is not None:
            torch.set_num_threads(threads)
        self.threads: int = torch.get_num_threads()
        self.network = fold_norms(copy.deepcopy(network).eval()).to(self.device)
        for layer in self.network.modules():
            if isinstance(layer, LOW):
                # Converted once here, where autocast would convert them for every window.
                layer.to(torch.bfloat16 if self.precision == "bfloat16" else torch.float32)
            for parameter in layer.parameters(recurse=False):
                if parameter.ndim in LAYOUTS:
                    parameter.data = parameter.data.contiguous(
                        memory_format=LAYOUTS[parameter.ndim]
                    )
        self.keeps_memory = self.device.type == "cuda"
        self._copies: Any = None
        if self.device.type == "cuda":
            self._copies = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]

    def load(self, windows: NDArray[np.float32]) -> Tensor:
        """Windows (b c *space) on the device; may be called by a thread while another computes."""
        batch = torch.from_numpy(windows)
        if self._copies is None:  # nothing to do that would not take cores from what computes
            return batch
        with torch.cuda.stream(self._copies):
            return batch.pin_memory().to(self.device, non_blocking=True)

    def __call__(self, windows: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        """Logits (b k *out) float32 of windows (b c *space), loaded or not.

        Raises
        ------
        MemoryError
            The device has not enough memory for windows of this size.
        """
        result: NDArray[np.float32] = self._logits(windows).float().cpu().contiguous().numpy()
        return result

    def classes(self, windows: NDArray[np.float32] | Tensor) -> NDArray[np.uint8]:
        """The most probable class (b *out) of every pixel; of equals the first."""
        with torch.inference_mode():
            logits = self._logits(windows)
            best = logits[:, 0]
            classes = torch.zeros(best.shape, dtype=torch.uint8, device=self.device)
            # Class by class: argmax would hold 8 bytes for every pixel.
            for number in range(1, logits.shape[1]):
                classes.masked_fill_(logits[:, number] > best, number)
                best = torch.maximum(best, logits[:, number])
            result: NDArray[np.uint8] = classes.cpu().numpy()
        return result

    def probabilities(
        self, windows: NDArray[np.float32] | Tensor, activation: Activation
    ) -> NDArray[np.float32]:
        """As `Engine`; on the device, with all its threads."""
        with torch.inference_mode():
            logits = self._logits(windows).float()
            likely = logits.softmax(dim=1) if activation == "softmax" else logits.sigmoid()
            result: NDArray[np.float32] = likely.cpu().contiguous().numpy()
        return result

    def watch_memory(self) -> AbstractContextManager[machine.Peak]:
        """As `Engine`; of the GPU where it runs there."""
        return super().watch_memory() if self._copies is None else _watch_gpu(self.device)

    def free_memory(self) -> int:
        """As `Engine`; of the GPU where it runs there."""
        if self._copies is None:
            return super().free_memory()
        return int(torch.cuda.mem_get_info(self.device)[0])

    def _logits(self, windows: NDArray[np.float32] | Tensor) -> Tensor:
        batch = windows if isinstance(windows, Tensor) else self.load(windows)
        if self._copies is not None:
            now = torch.cuda.current_stream(self.device)
            now.wait_stream(self._copies)
            batch.record_stream(now)
        use = self.precision == "bfloat16"
        batch = batch.to(torch.bfloat16 if use else torch.float32)
        batch = batch.contiguous(memory_format=LAYOUTS[batch.ndim])
        try:
            with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, use):
                logits: Tensor = self.network(batch)
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            if "memory" in str(error):
                raise MemoryError(str(error).splitlines()[0]) from error
            raise
        return logits
