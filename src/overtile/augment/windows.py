"""From slabs to training windows, by one grid of coordinates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from overtile.augment.drawing import Drawn, draw
from overtile.augment.gray import recolour
from overtile.augment.leastsquares import between, lattice
from overtile.augment.limits import elastic_std
from overtile.augment.splines import spline
from overtile.settings import AugmentSettings


class Augmentation:
    """From slabs to training windows.

    Parameters
    ----------
    settings
        How much is changed.
    sides_px
        Of the image window, (z) y x.
    margins_px
        How much smaller the windows of target and weight are, on each side of each axis; nothing by
        default.
    """

    def __init__(
        self,
        settings: AugmentSettings,
        sides_px: Sequence[int],
        margins_px: Sequence[int] | None = None,
    ) -> None:
        self.settings = settings
        self.sides_px = tuple(sides_px)
        self.margins_px = tuple(margins_px or [0] * len(self.sides_px))
        self.stds_px = elastic_std(settings, sides_px)
        self.splines = [
            torch.from_numpy(_to_pixels(settings, side, len(self.sides_px)).astype(np.float32))
            for side in self.sides_px
        ]

    def __call__(
        self, image: Tensor, target: Tensor, weight: Tensor, seeds: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Windows of a batch of slabs.

        Parameters
        ----------
        image
            (b c *slab) float32, normalised.
        target
            (b *slab) int64, class ids, -1 where unlabelled; of classes that overlap (b k *slab).
        weight
            (b *slab) float32.
        seeds
            (b) int64, one for each window.

        Returns
        -------
        image, target, weight
            (b c *window), and (b *inner) twice, smaller by the margins; the target with its
            classes k, if it has them. The image of a plane is
            bicubic, which blurs least; that of a volume is trilinear, for which PyTorch has no
            cubic; target and weight come from the nearest pixel. Without a change, the middle of
            the slab.
        """
        drawn = self._draw(seeds)
        grid = self._grid(drawn, image.shape[2:], image.device)
        # PyTorch's "bilinear" is trilinear over three axes.
        window = _sample(image, grid, "bicubic" if len(self.sides_px) == 2 else "bilinear")
        sizes = zip(self.margins_px, self.sides_px, strict=True)
        grid = grid[(slice(None), *[slice(margin, side - margin) for margin, side in sizes])]
        # Class ids are small whole numbers, exact in float32, so one resampling serves both.
        layers = target if target.ndim > weight.ndim else target[:, None]
        both = _sample(torch.cat([layers.to(weight.dtype), weight[:, None]], 1), grid, "nearest")
        layers = both[:, :-1].long()
        inner = layers if target.ndim > weight.ndim else layers[:, 0]
        return recolour(window, drawn, seeds, self.settings), inner, both[:, -1]

    def _draw(self, seeds: Tensor) -> Drawn:
        return draw(self.settings, self.sides_px, self.stds_px, seeds.tolist())

    def _grid(self, drawn: Drawn, slab_px: Sequence[int], device: torch.device) -> Tensor:
        """Coordinates (b *window n) of each pixel in its slab, -1 to 1 as grid_sample wants."""
        lines = [torch.arange(side, device=device) - (side - 1) / 2 for side in self.sides_px]
        # Coordinates are x before y before z, the reverse of the axes.
        place = torch.stack(torch.meshgrid(*lines, indexing="ij")[::-1])
        place = place.expand(len(drawn.linear), *place.shape)
        if drawn.displacement is not None:
            # Autocast would round the product to 8 bits, which moves pixels.
            with torch.autocast(device.type, enabled=False):
                place = place + self._bend(drawn.displacement.to(device))
        # A slab of one pixel is that pixel, wherever it is sampled.
        scale = [[2 / max(side - 1, 1)] for side in reversed(slab_px)]
        linear = drawn.linear.to(device) * torch.tensor(scale, device=device)
        linear = linear[(..., *[None] * len(lines))]
        # Element by element, because TF32 rounds matrix products: here it would move pixels.
        moved = linear[:, :, 0] * place[:, :1]
        for axis in range(1, len(lines)):
            moved = moved + linear[:, :, axis] * place[:, axis : axis + 1]
        return moved.movedim(1, -1)

    def _bend(self, knots: Tensor) -> Tensor:
        """Displacements (b n *window) through those of the knots, or nodes (b n *grid)."""
        field = knots
        *first, last = [part.to(knots.device) for part in self.splines]
        for axis, part in enumerate(first, start=2):
            before, behind = field.shape[:axis], field.shape[axis + 1 :]
            field = (part @ field.flatten(axis + 1)).reshape(*before, len(part), *behind)
        return field @ last.T


def _to_pixels(settings: AugmentSettings, side: int, dimensions: int) -> NDArray[np.float64]:
    """Matrix from displacements on the grid that is drawn to those of the pixels of an axis."""
    if settings.least_squares:
        return between(lattice(settings, dimensions), side)
    return spline(settings.elastic_grid, np.linspace(0, 1, side))


def _sample(slabs: Tensor, grid: Tensor, mode: str) -> Tensor:
    return F.grid_sample(slabs, grid, mode, padding_mode="border", align_corners=True)
