"""Tiles against the whole image, and all that is known of a network in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from overtile.errors import ModelError
from overtile.geometry import Fields, mirror_indices
from overtile.tileable.field import Reach, measure
from overtile.tileable.layers import Breaker, find
from overtile.tileable.probe import Probe, Shape, device_of
from overtile.tileable.structure import Structure, own_fields
from overtile.tiles import Border, Tile, cut

TOLERANCE = 1e-9
"""Of `tiling_error`: rounding in float64 stays far below it, what a tile lacks far above."""


@dataclass(frozen=True)
class Inspection:
    """What is known of a network.

    Attributes
    ----------
    fields
        Its grid and margin along each axis; None where a layer mixes all of space.
    closed_form
        Whether the fields are the network's own, ``network.fields``, rather than measured.
    reach
        How far one output pixel sees, measured; None where a layer mixes all of space.
    breakers
        The layers for which tiles differ from the whole image.
    error
        The largest difference between tiles and the whole (see `tiling_error`); None where there
        are no fields.
    """

    fields: Fields | None
    closed_form: bool
    reach: Reach | None
    breakers: tuple[Breaker, ...]
    error: float | None

    @property
    def exact(self) -> bool:
        """Whether tiles give what the whole image gives."""
        return not self.breakers


def inspect(network: nn.Module, channels: int, dimensions: int = 2) -> Inspection:
    """What a network sees, whether tiles of it are exact, and which layers prevent that.

    Parameters
    ----------
    network
        From (b c *space) to (b k *out); taken in evaluation, as prediction runs it. It is copied,
        and runs where its parameters are.
    channels, dimensions
        Of its images.

    Raises
    ------
    ModelError
        The network takes no image, its output is not at the image's resolution, it loses or sees
        what no `Field` can say, or its own fields claim less than is measured.

    Examples
    --------
    >>> found = inspect(nn.Conv2d(1, 2, 3, padding=1), channels=1)
    >>> found.fields[0], found.exact
    (Field(padding='same', grid=1, margin=1), True)
    >>> inspect(nn.Sequential(nn.Conv2d(1, 2, 1), nn.GroupNorm(1, 2)), 1).breakers[0].kind
    'group norm'
    """
    structure = Structure(network, channels, dimensions)
    own = own_fields(network, dimensions)
    found = find(network, structure)
    if found:
        return Inspection(None, False, None, found, None)
    measured, reach = measure(network, structure)
    fields = own or measured
    for axis, (field, least) in enumerate(zip(fields, measured, strict=True)):
        if field.grid % least.grid or field.margin < least.margin:
            raise ModelError(
                f"The network's own field along axis {axis} has a grid of {field.grid} and a "
                f"margin of {field.margin} px, but measured are {least.grid} and {least.margin}: "
                "expected a multiple of that grid and at least that margin. Correct its attribute "
                "'fields', or leave it out."
            )
    error = _tiling_error(network, structure, fields)
    if not error <= TOLERANCE:  # nor is NaN
        found = (_unknown(error),)
    return Inspection(fields, own is not None, reach, found, error)


def _unknown(error: float) -> Breaker:
    return Breaker(
        "",
        "unknown",
        f"tiles differ from the whole image by {error:.1g} of the largest logit, although no NaN "
        "reaches that far",
        "layers that do not depend on where a pixel lies in their input, on chance, or on the "
        "opposite edge",
    )


def tiling_error(network: nn.Module, channels: int, fields: Fields, dimensions: int = 2) -> float:
    """The largest difference between tiles and the whole image, both in float64.

    The image is random and small: two tiles long, each as large as its margin makes it. A
    same-padded network is asked for the border ``own``; ``mirror`` asks less of it.

    Returns
    -------
    float
        Relative to the largest logit: some 1e-15 where tiles are exact, infinite where logits are
        not finite.
    """
    return _tiling_error(network, Structure(network, channels, dimensions), fields)


def _tiling_error(network: nn.Module, structure: Structure, fields: Fields) -> float:
    probe = Probe(network, device_of(network))
    border: Border = "mirror" if fields[0].padding == "valid" else "own"
    worst = 0.0
    for space, step in _images(structure, fields):
        image = probe.image(structure.channels, space)
        whole = _logits(probe, image, cut(space, fields, None, border)[0])
        if not whole.isfinite().all():
            return math.inf
        tiles = cut(space, fields, step, border)
        for tile in (tiles[0], tiles[-1]):
            difference = (_logits(probe, image, tile) - whole[:, :, *tile.write]).abs().max()
            worst = max(worst, float(difference / whole.abs().max().clamp(min=1e-300)))
    return worst


def _images(structure: Structure, fields: Fields) -> list[tuple[Shape, Shape]]:
    """Images, and the sides of tiles of which they hold two along an axis."""
    if fields[0].padding == "valid":  # all reads are large, so all axes are tried at once
        grids = tuple(field.grid for field in fields)
        return [(tuple(2 * grid for grid in grids), grids)]
    # The second tile's read begins an odd number of cells into the image, so that a grid that is
    # half of what it should be is found out.
    images = []
    thin = structure.thin(fields)
    for axis, field in enumerate(fields):
        cells = max(-(-(thin[axis] - field.lead) // field.grid), 1) | 1
        space, step = list(thin), list(thin)
        step[axis] = field.lead + cells * field.grid
        space[axis] = 2 * step[axis]
        images.append((tuple(space), tuple(step)))
    return images


def _logits(probe: Probe, image: Tensor, tile: Tile) -> Tensor:
    """What the network gives for a tile, cropped; the image is mirrored beyond its edges."""
    for axis, (start, stop) in enumerate(tile.read):
        indices = torch.from_numpy(mirror_indices(start, stop, image.shape[2 + axis]))
        image = image.index_select(2 + axis, indices.to(image.device))
    return probe(image)[:, :, *tile.crop]
