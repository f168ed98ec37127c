"""The window that a step sees, and how many of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from overtile.fingerprint import Fingerprint
from overtile.geometry import Fields, per_axis
from overtile.planning.draft import Choice
from overtile.settings import WindowSettings

VOLUME_PX = 2 * 256**2
"""Voxels of the default window of a volume, about 48 x 48 x 48: twice the pixels of a plane's. The
four levels of the default network leave 3 x 3 x 3 of them at the bottom; with half the batch, a
step took 0.8 s where one of planes took 0.9 s (one core, float32)."""

VOLUME_BATCH = 2

SCENE_PX = 128
"""Side of a window of scenes: four times as many of these show more of several classes. In four
minutes on Dubai the pooled mean IoU was 0.475 with 16 of them, and 0.425 with 4 of 256 px."""


def choose_window(fingerprint: Fingerprint, window: WindowSettings, fields: Fields) -> Choice:
    """The sides of the window: the preset's, or less where images are smaller.

    The preset's side is one of planes: for volumes it is replaced by sides of about `VOLUME_PX`
    voxels, where an axis that needs less leaves more to the others.
    """
    longest = fingerprint.largest
    if len(fields) == 3:
        size = volume_sides(longest, fingerprint.spacing or (1.0,) * 3, fields, window.edge_px)
        shape = "a cube in space, as far as the volumes fill it, of"
        return size, f"{per_axis(size)} px are {shape} {math.prod(size):,} voxels."
    small = all(field.is_valid(SCENE_PX) and field.out(SCENE_PX) == SCENE_PX for field in fields)
    if small and _is_of_scenes(fingerprint) and min(window.sides(2)) > SCENE_PX:
        side = plane_side(longest, window.model_copy(update={"size_px": SCENE_PX}), fields)
        return side, f"{side} px: many small windows show more of several classes than few large."
    side = plane_side(longest, window, fields)
    if isinstance(window.size_px, int) and side < window.size_px:
        why = f"the largest image is {per_axis(longest)} px, and more would only be mirrored"
    else:
        why = "large enough to show what surrounds a pixel, small enough for several in a batch"
    return side, f"{side} px: {why}."


def choose_batch(
    fingerprint: Fingerprint, preset: WindowSettings, chosen: WindowSettings
) -> Choice:
    """Windows in a step: the preset's, fewer of volumes, and more where small ones were chosen."""
    if fingerprint.dimensions == 3:
        return VOLUME_BATCH, f"{VOLUME_BATCH} volumes have the pixels of four planes."
    count = preset.batch_size
    if _is_of_scenes(fingerprint) and min(chosen.sides(2)) <= SCENE_PX < min(preset.sides(2)):
        many = count * math.prod(preset.sides(2)) // SCENE_PX**2
        return many, f"{many} small windows have the pixels of {count} usual ones."
    return count, f"{count} windows: batch norm needs some, and more would leave fewer steps."


def _is_of_scenes(fingerprint: Fingerprint) -> bool:
    """Whether pixels are of several classes, none of which is made of objects told apart."""
    return fingerprint.kind != "instances" and len(fingerprint.classes) > 2


def plane_side(longest: Sequence[int], window: WindowSettings, fields: Fields) -> int:
    """The side of a window of planes: square, and no larger than the largest image needs."""
    return min(max(window.sides(2)), max(_needed(fields, longest, 2 * window.edge_px)))


def volume_sides(
    longest: Sequence[int], spacing: tuple[float, ...], fields: Fields, edge_px: int
) -> tuple[int, ...]:
    """The sides of a window of about `VOLUME_PX` voxels: a cube in space, where the data fill it.

    Parameters
    ----------
    longest
        The longest side of the images along each axis, in pixels.
    spacing
        The size of a pixel along each axis.
    fields
        Of the network.
    edge_px
        What of each side is left out of the loss.
    """
    edges = 2 * edge_px
    needed = _needed(fields, longest, edges)
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
    return tuple(sides[axis] for axis in range(len(needed)))


def _needed(fields: Fields, longest: Sequence[int], edges_px: int) -> list[int]:
    """The side along each axis that holds the longest image and a cell of the grid inside edges."""
    return [
        field.good_size(max(size, edges_px + field.grid))
        for field, size in zip(fields, longest, strict=True)
    ]
