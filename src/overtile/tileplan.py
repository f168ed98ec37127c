"""Image, fields, cost, memory -> the tiles that cost least, with the reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from overtile.engines.cost import Cost
from overtile.errors import SettingsError
from overtile.geometry import Field, Fields, per_axis
from overtile.planes import Planes
from overtile.tiles import Border, check_tile, even_step, read_lengths

SAFE_SHARE = 0.5
"""Of the free memory, that a prediction takes if it is not told: other programs want some too."""

AHEAD = 2
"""Windows that are read ahead, and results that wait to be written: one for each would stall where
reading is uneven, and each more costs memory."""

FEW_CELLS = 48
"""Sides along all axes that are tried one by one."""


@dataclass(frozen=True)
class Load:
    """What a prediction keeps in memory beside the engine.

    Attributes
    ----------
    read_px_bytes
        For each pixel read, in every window that waits: the channels in float32 and as they are.
    write_px_bytes
        For each pixel written, in every result that waits.
    fixed_bytes
        Whatever the tile: a whole image whose format cannot be read by window, caches.
    """

    read_px_bytes: int = 4
    write_px_bytes: int = 1
    fixed_bytes: int = 0


@dataclass(frozen=True)
class TilePlan:
    """Tiles, and what they will cost.

    Attributes
    ----------
    step
        What a tile writes along each axis, in pixels.
    tiles
        How many there are in a plane.
    overhead
        Pixels that enter the network for each pixel of the image.
    seconds
        Of a plane, estimated.
    memory, budget
        Bytes needed at most, estimated, and allowed.
    reasons
        Sentences that say why.
    """

    step: tuple[int, ...]
    tiles: int
    overhead: float
    seconds: float
    memory: int
    budget: int
    reasons: tuple[str, ...]


def plan_tiles(
    shape: Sequence[int],
    fields: Fields,
    border: Border,
    cost: Cost,
    load: Load,
    *,
    budget: int,
    unit: int | None = None,
    most_px: int | None = None,
) -> TilePlan:
    """The tiles that take the least time within the memory.

    Parameters
    ----------
    shape
        Of a plane or volume, in pixels.
    fields, border
        Of the network, one for each axis; how the image's edge is treated.
    cost, load
        What a window costs the engine, and what waits beside it.
    budget
        Bytes that may be taken.
    unit
        Sides are multiples of it: of the output's chunk. By default, and at least, of the grid.
    most_px
        The largest side allowed, if there is a limit.

    Raises
    ------
    SettingsError
        Not even the smallest tile fits the memory, or `most_px` is below the grid.
    """
    if most_px is not None:
        check_tile(most_px, fields)
    axes = [
        [
            _along(size, step, field, border)
            for step in _steps(size, math.lcm(unit or 1, field.grid), most_px, len(shape))
        ]
        for size, field in zip(shape, fields, strict=True)
    ]
    plans = [_priced(sides, shape, cost, load, budget) for sides in product(*axes)]
    fitting = [plan for plan in plans if plan.memory <= budget]
    if not fitting:
        least = min(plans, key=lambda plan: plan.memory)
        raise SettingsError(
            f"A memory budget of {mebibytes(budget)} is too small: the smallest tile, of "
            f"{_sides(least.step)} px, needs about {mebibytes(least.memory)}."
        )
    best, ideal = (min(some, key=lambda plan: plan.seconds) for some in (fitting, plans))
    return replace(best, reasons=_reasons(best, ideal, fields, border, most_px))


@dataclass(frozen=True)
class _Axis:
    """Tiles of one side along one axis: how many, and what they read together and at most."""

    step: int
    written: int
    count: int
    read: int
    largest: int


def _along(size: int, step: int, field: Field, border: Border) -> _Axis:
    lengths = read_lengths(size, step, field, border)
    return _Axis(step, min(step, size), len(lengths), sum(lengths), max(lengths))


def _steps(size: int, unit: int, most_px: int | None, dimensions: int) -> set[int]:
    """Sides worth trying, each the smallest for its number of tiles along the axis.

    All where they are few: there a larger side may be better, as the last tile's margin ends at the
    image's edge.
    """
    cells = -(-size // unit)
    most = cells if most_px is None else max(1, min(cells, most_px // unit))
    if cells <= FEW_CELLS // dimensions:
        return {count * unit for count in range(1, most + 1)}
    fewest = -(-cells // most)
    # A few small numbers, then every one that is about an eighth more than the last (a quarter for
    # volumes, which have so many choices): what lies between costs nearly the same.
    finer = 0.06 * dimensions
    counts = {fewest + more for more in range(16 // dimensions)} | {
        round(fewest * math.exp(finer * power))
        for power in range(round(math.log(cells / fewest) / finer) + 2)
    }
    return {-(-cells // min(count, cells)) * unit for count in counts}


def _priced(
    sides: Sequence[_Axis], shape: Sequence[int], cost: Cost, load: Load, budget: int
) -> TilePlan:
    tiles, read_px, largest, written = (
        math.prod(getattr(axis, name) for axis in sides)
        for name in ("count", "read", "largest", "written")
    )
    waiting = min(AHEAD, tiles) * (largest * load.read_px_bytes + written * load.write_px_bytes)
    return TilePlan(
        step=tuple(axis.step for axis in sides),
        tiles=tiles,
        overhead=read_px / math.prod(shape),
        seconds=cost.seconds(tiles, read_px, largest),
        memory=cost.memory(largest) + waiting + load.fixed_bytes,
        budget=budget,
        reasons=(),
    )


def _reasons(
    plan: TilePlan, ideal: TilePlan, fields: Fields, border: Border, most_px: int | None
) -> tuple[str, ...]:
    edge = "mirrored at the image's edge" if border == "mirror" else "cut at the image's edge"
    if plan.tiles == 1:
        why = "One tile holds the whole plane, so that no pixel is computed twice."
    elif plan.step != ideal.step:
        why = (
            f"Tiles of {_sides(ideal.step)} px would take {ideal.seconds / plan.seconds:.0%} of "
            f"the time, but {mebibytes(ideal.memory)} of memory."
        )
    elif most_px is not None:
        why = f"The side of a tile was limited to {most_px} px."
    else:
        why = "Larger tiles are not estimated to be faster."
    grid, lead = (per_axis(getattr(field, name) for field in fields) for name in ("grid", "lead"))
    return (
        f"{plan.tiles:,} tile{'s' * (plan.tiles > 1)} of {_sides(plan.step)} px, on the network's "
        f"grid of {grid} px, read with a margin of {lead} px, {edge}.",
        f"{plan.overhead:.2f} pixels enter the network for each of the image: about "
        f"{plan.seconds:.1f} s a plane.",
        f"About {mebibytes(plan.memory)} of memory, of {mebibytes(plan.budget)} allowed.",
        why,
    )


def _sides(step: tuple[int, ...]) -> str:
    return " x ".join(map(str, step))


def mebibytes(size: int) -> str:
    """A size for people."""
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def plan_unmeasured(
    planes: Planes, fields: Fields, border: Border, tile_px: int | None, unit: int | None, why: str
) -> TilePlan:
    """Equal tiles of at most this side, without an estimate of what they cost."""
    units = [math.lcm(unit or 1, field.grid) for field in fields]
    if tile_px is not None and tile_px < max(units):
        raise SettingsError(
            f"A tile of {tile_px} px is smaller than the network's grid or the output's chunks: "
            f"use at least {max(units)}."
        )
    along = zip(planes.shape, units, strict=True)
    step = tuple(even_step(size, tile_px, unit) for size, unit in along)
    lengths = [
        read_lengths(size, side, field, border)
        for size, side, field in zip(planes.shape, step, fields, strict=True)
    ]
    read_px = math.prod(sum(axis) for axis in lengths)
    tiles = math.prod(len(axis) for axis in lengths)
    return TilePlan(step, tiles, read_px / math.prod(planes.shape), 0.0, 0, 0, (why,))
