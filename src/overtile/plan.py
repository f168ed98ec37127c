"""Data + machine + time -> settings and a number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from overtile import networks
from overtile.engines.torch import native_precision
from overtile.errors import SettingsError
from overtile.geometry import Fields, per_axis
from overtile.presets import default_settings
from overtile.settings import (
    ConvolutionSettings,
    Layout,
    Precision,
    Settings,
    WindowSettings,
)
from overtile.step import Batch, Step, measure_step_s

FINISH_S = 4.0
"""Kept back from the time budget for calibrating and writing the model."""


OVERHEAD = 1.1
"""What a step takes in a run, in parts of one alone: averaging, records, checkpoints, Lightning.
Measured 1.09 on two cores; a run that ends early has at least followed its whole schedule."""


VOLUME_PX = 2 * 256**2
"""Voxels of the default window of a volume, about 48 x 48 x 48: twice the pixels of a plane's. The
four levels of the default network leave 3 x 3 x 3 of them at the bottom; with half the batch, a
step took 0.8 s where one of planes took 0.9 s (one core, float32)."""

VOLUME_BATCH = 2

FEWEST_PX = 3
"""What poolings leave of the largest image along each axis, as they leave it of the default window
of volumes: deeper levels would see borders only."""


def fit_to_data(
    settings: Settings,
    channels: int,
    classes: int,
    shapes: Sequence[tuple[int, ...]],
    spacing: tuple[float, ...] | None = None,
) -> Settings:
    """Settings with the data's channels and classes, and a window no larger than it needs.

    Parameters
    ----------
    settings
        A preset's, or a user's.
    channels, classes
        Of the images and of the labels.
    shapes
        The spatial shapes of the images in pixels. A window of the default preset shrinks to the
        next size that the network allows above the largest side; of volumes, along each axis. The
        default preset's own side is one of planes: for volumes it is replaced by sides of about
        `VOLUME_PX` voxels, where an axis that needs less leaves more to the others.

    spacing
        Size of a pixel along each axis, where it is known. In volumes, the default preset pools
        axes that are coarser, or short, less often (see `strides_for`), and its window spans about
        the same length along each axis.

    Raises
    ------
    SettingsError
        The network has no output for the window, even so, or is too deep for the images.
    """
    network = settings.network.model_copy(update={"channels": channels, "classes": classes})
    spacing = spacing or (1.0,) * network.dimensions
    is_default = settings.preset == "default"
    if is_default and isinstance(network, ConvolutionSettings) and network.dimensions == 3:
        strides = network.strides or strides_for(shapes, spacing, network.depth)
        network = network.model_copy(update={"strides": strides, "depth": len(strides)})
    fields, window = networks.fields_of(network), settings.window
    longest = [max(sizes) for sizes in zip(*shapes, strict=True)]
    if all(field.grid > size for field, size in zip(fields, longest, strict=True)):
        raise SettingsError(
            f"The network pools {per_axis(field.grid for field in fields)} px into one, and no "
            f"image is larger than {per_axis(longest)} px: it is too deep for them. Use a lower "
            "network.depth, or a network with fewer poolings."
        )
    if is_default:
        own = network.dimensions == 3 and window.size_px == default_settings().window.size_px
        if own:
            window = _of_volumes(window, fields, shapes, spacing)
        else:
            window = _shrunk(window, fields, shapes)
    for field, side in zip(fields, window.sides(network.dimensions), strict=True):
        field.out(side)
    return settings.model_copy(update={"network": network, "window": window})


def strides_for(
    shapes: Sequence[tuple[int, ...]], spacing: tuple[float, ...], depth: int
) -> tuple[tuple[int, ...], ...]:
    """The strides of at most `depth` poolings of volumes.

    An axis whose pixels are at least twice as long as the shortest is not pooled until the others
    have come up to it (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z, supplementary note 2),
    nor is one of which fewer than `FEWEST_PX` pixels would be left of the largest image.
    """
    lengths, sizes = [max(axis) for axis in zip(*shapes, strict=True)], list(spacing)
    strides = []
    for _ in range(depth):
        able = [length // 2 >= FEWEST_PX for length in lengths]
        finest = min((size for size, may in zip(sizes, able, strict=True) if may), default=0.0)
        if not finest:
            break
        stride = tuple(
            2 if may and size < 2 * finest else 1 for size, may in zip(sizes, able, strict=True)
        )
        strides.append(stride)
        lengths = [length // step for length, step in zip(lengths, stride, strict=True)]
        sizes = [size * step for size, step in zip(sizes, stride, strict=True)]
    return tuple(strides) or ((2,) * len(spacing),) * depth


def let_overlap(settings: Settings) -> Settings:
    """Settings with a probability of its own for each class, by a sigmoid: classes may overlap."""
    loss = settings.loss.model_copy(update={"activation": "sigmoid"})
    return settings.model_copy(update={"loss": loss})


def _shrunk(
    window: WindowSettings, fields: Fields, shapes: Sequence[tuple[int, ...]]
) -> WindowSettings:
    """The window, no larger than the data need: square in planes, by axis in volumes."""
    needed = _needed(fields, shapes, 2 * window.edge_px)
    if len(fields) == 2 and isinstance(window.size_px, int):
        return window.model_copy(update={"size_px": min(window.size_px, max(needed))})
    sides = zip(window.sides(len(fields)), needed, strict=True)
    return window.model_copy(update={"size_px": tuple(min(pair) for pair in sides)})


def _needed(fields: Fields, shapes: Sequence[tuple[int, ...]], edges_px: int) -> list[int]:
    """The side along each axis that holds the longest image and a cell of the grid inside edges."""
    longest = [max(sizes) for sizes in zip(*shapes, strict=True)]
    return [
        field.good_size(max(size, edges_px + field.grid))
        for field, size in zip(fields, longest, strict=True)
    ]


def _of_volumes(
    window: WindowSettings,
    fields: Fields,
    shapes: Sequence[tuple[int, ...]],
    spacing: tuple[float, ...],
) -> WindowSettings:
    """The window with about `VOLUME_PX` voxels: a cube in space, where the data fill it."""
    edges = 2 * window.edge_px
    needed = _needed(fields, shapes, edges)
    sides: dict[int, int] = {}
    while len(sides) < len(needed):
        left = [axis for axis in range(len(needed)) if axis not in sides]
        pixels = VOLUME_PX / math.prod(sides.values()) * math.prod(spacing[axis] for axis in left)
        even = pixels ** (1 / len(left))  # the side in space
        chosen = {
            axis: fields[axis].nearest(max(round(even / spacing[axis]), edges + fields[axis].grid))
            for axis in left
        }
        short = {axis: needed[axis] for axis in left if needed[axis] < chosen[axis]}
        sides |= short or chosen
    batch = window.batch_size
    if batch == default_settings().window.batch_size:
        batch = VOLUME_BATCH
    size = tuple(sides[axis] for axis in range(len(needed)))
    return window.model_copy(update={"size_px": size, "batch_size": batch})


@dataclass(frozen=True)
class Budget:
    """How long to train: exactly one of minutes, steps and epochs.

    Raises
    ------
    SettingsError
        None or several are given, or one that is not above 0.
    """

    minutes: float | None = None
    steps: int | None = None
    epochs: float | None = None

    def __post_init__(self) -> None:
        given = {k: v for k, v in vars(self).items() if v is not None}
        if len(given) != 1:
            raise SettingsError(
                f"Expected one of minutes, steps and epochs, got {' and '.join(given) or 'none'}: "
                "give one of them."
            )
        ((name, value),) = given.items()
        if value <= 0:
            raise SettingsError(f"{name} is {value:g}: give a number above 0.")


def steps_for(
    budget: Budget, *, step_s: float, elapsed_s: float, labelled_px: int, step_px: int
) -> int:
    """The number of steps of a run, fixed once at its start.

    Parameters
    ----------
    budget
        Of the user.
    step_s
        Measured time of one step, loading included, in seconds.
    elapsed_s
        Time already used.
    labelled_px, step_px
        Labelled pixels of the training set, and output pixels of one step; an epoch sees as many
        of the one as of the other.

    Raises
    ------
    SettingsError
        The time is too short for a single step.
    """
    if budget.steps is not None:
        return budget.steps
    if budget.epochs is not None:
        return max(1, math.ceil(budget.epochs * labelled_px / step_px))
    assert budget.minutes is not None
    steps = int((60 * budget.minutes - elapsed_s - FINISH_S) / (step_s * OVERHEAD))
    if steps < 1:
        needed = math.ceil((elapsed_s + FINISH_S + 10 * step_s * OVERHEAD) / 6) / 10
        raise SettingsError(
            f"{budget.minutes:g} minutes are too short: preparing took {elapsed_s:.0f} s and one "
            f"step takes {step_s:.2g} s. Give at least {needed:.1f} minutes."
        )
    return steps


def fastest(
    settings: Settings, device: torch.device, next_batch: Callable[[], Batch]
) -> tuple[Settings, float]:
    """Settings with precision and memory layout resolved, and the time of a step in seconds.

    Where one is ``auto``, the alternatives are timed on real batches and the fastest is taken.
    """
    native: Precision = native_precision(device)
    reduced = "float16" if device.type == "cuda" and native == "float32" else native
    precisions = (
        list(dict.fromkeys([reduced, "float32"]))
        if settings.precision == "auto"
        else [settings.precision]
    )
    layouts: list[Layout] = (
        ["channels_last", "contiguous"] if settings.layout == "auto" else [settings.layout]
    )
    batch = next_batch()
    # The first steps of a process are slow, which must not speak against the first alternative.
    first = settings.model_copy(update={"precision": precisions[0], "layout": layouts[0]})
    measure_step_s(Step(networks.build(first.network), first).to(device), batch, repeats=1)
    best: tuple[float, Settings] | None = None
    for precision in precisions:
        for layout in layouts:
            candidate = settings.model_copy(update={"precision": precision, "layout": layout})
            step = Step(networks.build(candidate.network), candidate).to(device)
            took = measure_step_s(step, batch)
            if best is None or took < best[0]:
                best = (took, candidate)
    assert best is not None
    # Once more, warm: the first steps of a process are slower than those that follow.
    step = Step(networks.build(best[1].network), best[1]).to(device)
    return best[1], measure_step_s(step, batch, repeats=8)
