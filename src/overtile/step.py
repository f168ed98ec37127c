"""One training step, without Lightning: what training repeats and a plan times."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from overtile.augment import Augmentation, context_size
from overtile.errors import SettingsError
from overtile.geometry import Fields, per_axis
from overtile.losses import Total, loss, own
from overtile.networks import Network
from overtile.networks.blocks import Block
from overtile.optimiser import make_optimiser
from overtile.settings import Settings

Batch = tuple[Tensor, Tensor, Tensor, Tensor]

REDUCED = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""Precisions other than that of the parameters."""

ENOUGH_S = 3.0
"""Measuring a slow step longer than this would eat up the time that it is to plan."""


@dataclass(frozen=True)
class WindowSizes:
    """The sides of a training window along each axis, in pixels, outermost first.

    Attributes
    ----------
    context
        Of the slab that the augmentation resamples from.
    read
        Of the window that enters the network.
    out
        Of the network's output, and of target and pixel weight.
    counted
        Of the part of the output that enters the loss.
    """

    context: tuple[int, ...]
    read: tuple[int, ...]
    out: tuple[int, ...]
    counted: tuple[int, ...]

    @property
    def counted_px(self) -> int:
        """Pixels of a window that enter the loss."""
        return math.prod(self.counted)


def window_sizes(settings: Settings, fields: Fields) -> WindowSizes:
    """The sizes of the training windows under these settings.

    Raises
    ------
    SizeError
        The network has no output for a window of this size.
    """
    read = settings.window.sides(len(fields))
    out = tuple(field.out(side) for field, side in zip(fields, read, strict=True))
    return WindowSizes(
        context=context_size(settings.augment, read),
        read=read,
        out=out,
        counted=tuple(side - 2 * settings.window.edge_px for side in out),
    )


class Step(nn.Module):
    """Slabs -> augmentation -> network -> loss, the mean over all of the network's heads.

    Parameters
    ----------
    network
        The network to be trained; its memory layout is changed in place.
    settings
        Of the run, with precision and layout resolved (see `planning.machine.fastest`).
    total
        Of sums over a batch that several processes share (see `losses.loss`).

    Attributes
    ----------
    on_logits
        Told of every batch the logits, detached, with target and pixel weight.

    Raises
    ------
    SettingsError
        `memory_saving` for a network that is not made of blocks.
    """

    def __init__(self, network: Network, settings: Settings, total: Total = own) -> None:
        super().__init__()
        self.layout = torch.contiguous_format
        if settings.layout == "channels_last":
            flat = settings.network.dimensions == 2
            self.layout = torch.channels_last if flat else torch.channels_last_3d
        self.network = network.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.settings, self.total = settings, total
        self.sizes = window_sizes(settings, network.fields)
        self.pixels = settings.window.batch_size * self.sizes.counted_px
        lost = zip(self.sizes.read, self.sizes.out, strict=True)
        margins = tuple((read - out) // 2 for read, out in lost)
        self.augmentation = Augmentation(settings.augment, self.sizes.read, margins)
        self.on_logits: Callable[[Tensor, Tensor, Tensor], None] = lambda *_: None
        if settings.memory_saving:
            save_memory(network)

    def forward(self, batch: Batch) -> Tensor:
        """The loss of a batch of slabs, a scalar in float32.

        Raises
        ------
        SettingsError
            A norm has a single value for each channel to take its statistics from.
        """
        with torch.no_grad():
            window, target, weight = self.augmentation(*batch)
            edge = self.settings.window.edge_px
            if edge:
                inside: tuple[Any, ...] = (..., *[slice(edge, -edge)] * (weight.ndim - 1))
                target, weight = target[inside], weight[inside]
        heads = self._heads(window.contiguous(memory_format=self.layout))
        if edge:
            heads = tuple(logits[inside] for logits in heads)
        self.on_logits(heads[-1].detach(), target, weight)
        kind, total = self.settings.loss, self.total
        losses = [loss(logits, target, weight, kind, total) for logits in heads]
        return torch.stack(losses).mean()

    def make_optimiser(self) -> torch.optim.Optimizer:
        """The optimiser that is set, of the network's parameters."""
        narrow = self.settings.precision == "bfloat16"
        precision = torch.bfloat16 if narrow else torch.float32
        return make_optimiser(self.network.rated(), self.settings.optimiser, precision)

    def _heads(self, window: Tensor) -> tuple[Tensor, ...]:
        """All logits of the network, in the precision that is set."""
        reduced = REDUCED.get(self.settings.precision)
        with (
            single_values_refused(window),
            torch.autocast(window.device.type, reduced, enabled=reduced is not None),
        ):
            heads: tuple[Tensor, ...] = self.network.heads(window)
        return heads


@contextmanager
def single_values_refused(window: Tensor) -> Iterator[None]:
    """Say of a norm that has one value per channel how windows (b c *space) would give it two.

    Raises
    ------
    SettingsError
        A norm has a single value for each channel to take its statistics from.
    """
    try:
        yield
    except ValueError as error:
        if "Expected more than 1" not in str(error):
            raise
        raise SettingsError(
            f"A window of {per_axis(window.shape[2:])} px at batch size {len(window)} leaves a "
            "norm of the network's deepest level a single value for each channel, and statistics "
            "need two: use a larger window.size_px, or window.batch_size, a lower network.depth, "
            "or network.norm 'none'."
        ) from error


def save_memory(network: nn.Module) -> None:
    """Let all blocks of a network compute again what they do not keep; raises as `Step`."""
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    if not blocks:
        raise SettingsError(
            "memory_saving computes the blocks of a U-Net or UNet++ again, and this network has "
            "none: leave it out, and use a smaller window.size_px or window.batch_size instead."
        )
    for block in blocks:
        block.saves_memory = True


class Average:
    """The exponential moving average of a network's parameters and statistics.

    The decay grows with the steps as ``min(decay, (1 + n) / (10 + n))``, so that a short run is not
    an average over its random beginning.

    Parameters
    ----------
    network
        Copied once; later given to `update` as it trains.
    decay
        Share of the old average kept at each step; 0 keeps nothing, which is the last network.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {name: value.clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the network's present parameters."""
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - keep)
            else:
                self.state[name].copy_(value)

    def record(self) -> dict[str, Any]:
        """Its state, as `load` takes it."""
        return {"state": self.state, "updates": self.updates}

    def load(self, record: dict[str, Any]) -> None:
        """Go on from a state that was recorded, which is copied."""
        for name, value in record["state"].items():
            self.state[name].copy_(value)
        self.updates = record["updates"]


def measure_step_s(step: Step, batch: Batch, repeats: int = 3, enough_s: float = ENOUGH_S) -> float:
    """The median time of one training step in seconds; the network's parameters stay as they are.

    A step is run once to warm up, and then `repeats` times, or fewer once enough seconds are spent.
    Statistics that normalisation collects meanwhile are put back, and gradients are dropped.
    """
    before = {name: value.clone() for name, value in step.network.state_dict().items()}
    optimiser = step.make_optimiser()
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    times: list[float] = []
    with torch.random.fork_rng(devices=[batch[0].device] if batch[0].is_cuda else []):
        while len(times) < 2 or (len(times) <= repeats and sum(times) < enough_s):
            start = time.perf_counter()
            step(batch).backward()
            optimiser.step()
            optimiser.zero_grad()
            if batch[0].is_cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    step.network.load_state_dict(before)
    return statistics.median(times[1:])
