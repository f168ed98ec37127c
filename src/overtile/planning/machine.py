"""The machine that a plan is for, and the times of training steps on it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from overtile import networks
from overtile.engines.torch import best_device, native_precision
from overtile.machine import default_threads, describe_processor, free_memory, reused_memory
from overtile.planning.limits import FEW_WINDOWS
from overtile.settings import Layout, Precision, Settings, WindowSettings
from overtile.step import Batch, Step, measure_step_s

ENOUGH_S = 3.0
"""The last measurement, by which steps are counted, takes as long as this at most."""

SHARE = 0.03
"""Of the time budget, and no longer than this."""

REPEATS = 30
"""At most, within that time."""

QUICK_S = 0.4
"""One of those before it, by which alternatives are compared."""


Reduced = Literal["float16"] | Precision
"""The precision of training."""


@dataclass(frozen=True)
class Machine:
    """What a plan has to know of a machine.

    Attributes
    ----------
    device, name
        ``cpu`` or ``cuda``, and what it is called.
    threads
        Of the processor.
    free_mib
        Memory that training may take: the processor's, or the device's own.
    precision
        What the device multiplies natively; float16 of GPUs that have no bfloat16.
    """

    device: str
    name: str
    threads: int
    free_mib: int
    precision: Reduced

    @classmethod
    def here(cls) -> Machine:
        """The machine that this process is on."""
        device = best_device()
        cuda = device.type == "cuda"
        free = torch.cuda.mem_get_info(device)[0] if cuda else free_memory()
        name = torch.cuda.get_device_name(device) if cuda else describe_processor()
        native = native_precision(device)
        reduced: Reduced = "float16" if cuda and native == "float32" else native
        return cls(device.type, name, default_threads(), free >> 20, reduced)

    def describe(self) -> str:
        """A sentence."""
        threads = "" if self.device == "cuda" else f", {self.threads} threads"
        return f"{self.name}{threads}, {self.free_mib:,} MiB of memory free"


class Timing:
    """Times steps on real windows.

    Parameters
    ----------
    next_batch
        From settings to a batch that is read as training would read it, on the processor.
    device
        Where steps run.
    """

    def __init__(self, next_batch: Callable[[Settings], Batch], device: torch.device) -> None:
        self._next, self._device = next_batch, device
        self._warm = False

    def step_s(self, settings: Settings, enough_s: float = QUICK_S) -> float:
        """The time of a step in seconds, its batch being there; measured no longer than enough."""
        slabs, target, weight, seeds = self._next(settings)
        there = self._device
        batch = slabs.to(there), target.to(there), weight.to(there), seeds
        step = Step(networks.build(settings.network), settings).to(self._device)
        with reused_memory():  # as training does
            if not self._warm:  # the first steps of a process are slow
                measure_step_s(step, batch, repeats=1, enough_s=0.0)
                self._warm = True
            return measure_step_s(step, batch, repeats=REPEATS, enough_s=enough_s)

    def load_s(self, settings: Settings) -> float:
        """The time to read a batch, in seconds."""
        loads = []
        for _ in range(3):
            begin = time.perf_counter()
            self._next(settings)
            loads.append(time.perf_counter() - begin)
        return statistics.median(loads)


def few_windows(settings: Settings) -> WindowSettings:
    """The windows of a batch that is as small as can be timed."""
    window = settings.window
    return window.model_copy(update={"batch_size": min(FEW_WINDOWS, window.batch_size)})


def fastest(settings: Settings, native: Reduced, timing: Timing) -> tuple[Reduced, Layout, str]:
    """The precision and the memory layout of the fastest steps, where they are ``auto``; and why.

    Compared on a batch of few windows.
    """
    precisions: list[Reduced] = (
        list(dict.fromkeys([native, "float32"]))
        if settings.precision == "auto"
        else [settings.precision]
    )
    layouts: list[Layout] = (
        ["channels_last", "contiguous"] if settings.layout == "auto" else [settings.layout]
    )
    pairs = [(precision, layout) for precision in precisions for layout in layouts]
    if len(pairs) == 1:
        return *pairs[0], "As you set it."
    few = few_windows(settings)
    took = {}
    for precision, layout in pairs:
        update = {"precision": precision, "layout": layout, "window": few}
        took[precision, layout] = timing.step_s(settings.model_copy(update=update))
    best = min(took, key=lambda pair: took[pair])
    named = ", ".join(f"{' '.join(pair)} {1000 * s:.0f} ms" for pair, s in took.items())
    return *best, f"The fastest measured on {few.batch_size} windows: {named}."
