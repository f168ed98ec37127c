"""The memory that a training step takes: counted, without running it; and a batch that fits."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from overtile import networks
from overtile.errors import SettingsError
from overtile.losses import loss
from overtile.planning.draft import Draft
from overtile.planning.limits import SMALLEST_BATCH, USABLE_MEMORY
from overtile.settings import Settings, UNetPlusPlusSettings, UNetSettings
from overtile.step import save_memory, single_values_refused, window_sizes

MIB = 2**20

STATES = {"adam": 2, "adamw": 2, "muon": 1, "sgd": 1}
"""What an optimiser keeps for each parameter, in parameters."""

HEAP = {"cpu": 1.35, "cuda": 1.1}
"""Memory that is taken for arrays that come and go, in parts of what they hold at the highest
moment: allocators keep some of what was freed. With this factor the peaks of six networks of two
and three dimensions, in float32 and bfloat16, were met within 17 % (glibc; an assumption for
CUDA)."""


@dataclass(frozen=True)
class Memory:
    """What a step of a batch holds.

    Attributes
    ----------
    held_bytes
        The most that is held at once of windows, activations and gradients.
    resampled_bytes
        What the augmentation makes of the slabs before it resamples them.
    parameter_bytes
        Of the network in float32.
    """

    held_bytes: int
    resampled_bytes: int
    parameter_bytes: int


def peak_mib(settings: Settings, device: str) -> float:
    """The memory that a run takes at its highest, beside the images, in MiB; within 20 %.

    Parameters
    ----------
    settings
        With channels and classes of the data; a precision that is ``auto`` counts as float32.
    device
        ``cpu`` or ``cuda``.
    """
    counted = count_memory(settings)
    # The parameters, their average, and what the optimiser keeps; gradients are among what is held.
    copies = 2 + STATES[settings.optimiser.name]
    held = HEAP[device] * counted.held_bytes + counted.resampled_bytes
    return (held + copies * counted.parameter_bytes) / MIB


def make_fit(draft: Draft, device: str, free_mib: int) -> float:
    """Halve the batch until a step fits into the free memory, and then compute activations twice.

    Returns the peak of a step in MiB.

    Raises
    ------
    SettingsError
        Even the smallest batch does not fit, or a batch that the user set.
    """
    usable, whole = USABLE_MEMORY * free_mib, peak_mib(draft.settings, device)
    peak, batch = whole, draft.settings.window.batch_size
    while peak > usable and batch > SMALLEST_BATCH and draft.is_open("window.batch_size"):
        batch //= 2
        why = f"{batch} windows: more would take {whole:,.0f} MiB, and {usable:,.0f} are free."
        draft.choose("window.batch_size", (batch, why))
        peak = peak_mib(draft.settings, device)
    saves = isinstance(draft.settings.network, UNetSettings | UNetPlusPlusSettings)
    if peak > usable and saves and draft.is_open("memory_saving"):
        why = f"Activations are computed a second time: else a step would take {peak:,.0f} MiB."
        draft.choose("memory_saving", (True, why))
        peak = peak_mib(draft.settings, device)
    if peak <= usable:
        return peak
    window = draft.settings.window
    raise SettingsError(
        f"A training step would take {peak:,.0f} MiB of memory, and {usable:,.0f} MiB can be used: "
        f"expected less. Set a window.size_px below {window.size_px}, a window.batch_size below "
        f"{batch}, or a narrower network (network.base_channels)."
    )


@lru_cache(maxsize=64)
def count_memory(settings: Settings) -> Memory:
    """What a step holds; nothing is computed but shapes."""
    reduced = torch.bfloat16 if settings.precision == "bfloat16" else torch.float32
    batch, channels = settings.window.batch_size, settings.network.channels
    with torch.device("meta"):
        network = networks.build(settings.network).to("meta")
        if settings.memory_saving:
            save_memory(network)
        parameters = sum(value.numel() for value in network.state_dict().values())
        sizes = window_sizes(settings, network.fields)
        network.to(reduced)
        with _Held() as held:
            layers = (settings.network.classes,) * (settings.loss.activation == "sigmoid")
            slabs = (
                torch.empty(batch, channels, *sizes.context),
                torch.empty(batch, *layers, *sizes.context, dtype=torch.int64),
                torch.empty(batch, *sizes.context),
            )
            window = torch.empty(batch, channels, *sizes.read, dtype=reduced)
            target = torch.empty(batch, *layers, *sizes.out, dtype=torch.int64)
            weight = torch.empty(batch, *sizes.out)
            with single_values_refused(window):
                heads = network.heads(window)
            losses = [loss(logits, target, weight, settings.loss) for logits in heads]
            del heads
            torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
            del slabs, losses
    # Class ids in float32, and once more together with the weights.
    resampled = 4 * (2 * max(len(layers) * settings.network.classes, 1) + 1)
    return Memory(held.most, resampled * batch * math.prod(sizes.context), 4 * parameters)


class _Held(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the memory of the tensors that there are.

    Attributes
    ----------
    most
        Bytes at the highest moment.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        for part in tree_iter(made):
            if isinstance(part, Tensor):
                self._hold(part.untyped_storage())
        return made

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self._now += size
        self.most = max(self.most, self._now)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size
