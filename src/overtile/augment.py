"""Random changes to training windows: one resampling of image, target and pixel weight together.

A window is resampled from its slab, which holds context around it, through one grid of coordinates
that composes shift, flip, rotation, scaling and elastic deformation. Everything random about a
window is a function of its own seed, drawn on the processor, so that neither device nor batch
changes the data.

Planes and volumes are resampled by the same code. A volume is turned in its planes y-x alone,
because z is usually coarser and blurred differently: tipped over, it would look like no image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import ndtr, ndtri
from torch import Tensor

from overtile.settings import AugmentSettings

TRUNCATED_STD = 2.0
"""Elastic displacements are normal, truncated at so many standard deviations."""

KERNEL_PX = 2
"""How far the bicubic kernel reaches from where it samples; the trilinear one reaches less."""


def elastic_std(settings: AugmentSettings, sides_px: Sequence[int]) -> tuple[float, ...]:
    """The standard deviation of the displacements along each axis of a window, in pixels.

    It is the one that is set, or less where the window would fold over itself. Measured in sides of
    the window, a deformation x + u(x) folds nowhere if the sum of |du_i/dx_j| over j stays below 1
    in every row i. A row sums over all axes the slopes of a spline through values of at most 2 std
    on knots ``1 / (grid - 1)`` apart, so the limit is a constant of the grid times the side
    (`_steepest`): a flat window bends as much within its plane as a cube does.
    """
    steepest = _steepest(settings, len(sides_px))
    return tuple(
        min(settings.elastic_std_px, 0.9 * (side - 1) / (TRUNCATED_STD * steepest))
        for side in sides_px
    )


def _steepest(settings: AugmentSettings, dimensions: int) -> float:
    """The largest possible sum of |du/dx_j| of a field with |values| <= 1 on knots, times size."""
    fine = np.linspace(0, 1, 201)
    values = np.abs(_spline(settings.elastic_grid, fine)).sum(axis=1)
    slopes = np.abs(_spline(settings.elastic_grid, fine, derivative=1)).sum(axis=1)
    return float(dimensions * slopes.max() * values.max() ** (dimensions - 1))


def _spline(knots: int, at: NDArray[np.float64], derivative: int = 0) -> NDArray[np.float64]:
    """Matrix (at, knots) from values on even knots over 0..1 to those of their cubic spline."""
    spline = CubicSpline(np.linspace(0, 1, knots), np.eye(knots), bc_type="natural")
    return np.asarray(spline(at, derivative))


def context_size(settings: AugmentSettings, sides_px: Sequence[int]) -> tuple[int, ...]:
    """The sides of a slab that a window of these sides never leaves, whatever is drawn, in pixels.

    The kernel around every place stays inside as well. Slab and window share their centre, so that
    along each axis both sides are even or both are odd. Where nothing is deformed, flips and turns
    by quarters or halves need no context: the sides of the window.
    """
    if not settings.deform:
        return tuple(sides_px)
    halves = [(side - 1) / 2 for side in sides_px]
    if settings.elastic_std_px:
        overshoot = np.abs(_spline(settings.elastic_grid, np.linspace(0, 1, 201))).sum(axis=1).max()
        farthest = TRUNCATED_STD * overshoot ** len(halves)
        stds = elastic_std(settings, sides_px)
        halves = [half + std * farthest for half, std in zip(halves, stds, strict=True)]
    if settings.rotate:
        halves[-2:] = [math.hypot(*halves[-2:])] * 2
    return tuple(
        2 * (math.ceil(half * math.exp(settings.scale) + 0.5) + KERNEL_PX) + side % 2
        for half, side in zip(halves, sides_px, strict=True)
    )


@dataclass(frozen=True)
class _Drawn:
    """What was drawn for the windows of a batch.

    Attributes
    ----------
    linear
        (b n n), n the number of axes, from window to slab coordinates, x before y before z.
    displacement
        (b n *grid) in pixels of the window, x before y before z along n, or None.
    gain, offset, gamma, noise
        (b) each.
    """

    linear: Tensor
    displacement: Tensor | None
    gain: Tensor
    offset: Tensor
    gamma: Tensor
    noise: Tensor


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
            torch.from_numpy(
                _spline(settings.elastic_grid, np.linspace(0, 1, side)).astype(np.float32)
            )
            for side in sides_px
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
        return self._recolour(window, drawn, seeds), inner, both[:, -1]

    def _draw(self, seeds: Tensor) -> _Drawn:
        set_, axes = self.settings, len(self.sides_px)
        square = self.sides_px[-1] == self.sides_px[-2]
        stds = np.array(self.stds_px[::-1]).reshape(-1, *[1] * axes)
        parts = []
        for seed in seeds.tolist():
            random = np.random.default_rng(seed)
            deform = random.random() < set_.deform
            quarters = random.uniform(0, 4) * set_.rotate
            # A quarter turn of an oblong window would leave its slab: half turns do not.
            whole = math.floor(quarters) if square else 2 * math.floor(quarters / 2)
            turn = _rotation(quarters if deform else whole, axes)
            zoom = math.exp(random.uniform(-set_.scale, set_.scale) * deform)
            flip = np.where((random.random(axes) < 0.5) & set_.flip, -1.0, 1.0)
            # By the inverse of the distribution, which needs one draw per value.
            share = random.uniform(
                ndtr(-TRUNCATED_STD),
                ndtr(TRUNCATED_STD),
                size=(axes, *[set_.elastic_grid] * axes),
            )
            normal = ndtri(share)
            colour = np.array(
                [
                    math.exp(random.uniform(-set_.gain, set_.gain)),
                    random.uniform(-set_.offset, set_.offset),
                    math.exp(random.uniform(-set_.gamma, set_.gamma)),
                    random.uniform(0, set_.noise),
                ]
            )
            parts.append((zoom * turn * flip, normal * stds * deform, colour))
        linear, displacement, colours = (
            torch.from_numpy(np.stack(part).astype(np.float32)) for part in zip(*parts, strict=True)
        )
        return _Drawn(linear, displacement if any(self.stds_px) else None, *colours.T)

    def _grid(self, drawn: _Drawn, slab_px: Sequence[int], device: torch.device) -> Tensor:
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
        """Displacements (b n *window) by splines through those of the knots (b n *grid)."""
        field = knots
        *first, last = [spline.to(knots.device) for spline in self.splines]
        for axis, spline in enumerate(first, start=2):
            before, behind = field.shape[:axis], field.shape[axis + 1 :]
            field = (spline @ field.flatten(axis + 1)).reshape(*before, len(spline), *behind)
        return field @ last.T

    def _recolour(self, image: Tensor, drawn: _Drawn, seeds: Tensor) -> Tensor:
        """Gamma between each window's own extremes, then gain, offset and noise."""
        gain, offset, gamma, noise = (
            part.view(-1, *[1] * (image.ndim - 1)).to(image.device)
            for part in (drawn.gain, drawn.offset, drawn.gamma, drawn.noise)
        )
        if self.settings.gamma:
            axes = tuple(range(1, image.ndim))
            low = image.amin(dim=axes, keepdim=True)
            span = (image.amax(dim=axes, keepdim=True) - low).clamp(min=1e-6)
            image = ((image - low) / span).clamp(0, 1).pow(gamma) * span + low
        image = image * gain + offset
        if self.settings.noise:
            grains = [
                torch.randn(part.shape, generator=torch.Generator().manual_seed(int(seed)))
                for part, seed in zip(image, seeds, strict=True)
            ]
            image = image + noise * torch.stack(grains).to(image.device)
        return image


def _rotation(quarters: float, dimensions: int) -> NDArray[np.float64]:
    """The matrix of a turn in the plane of x and y by right angles, exact for whole ones."""
    angle, turn = quarters * math.pi / 2, np.eye(dimensions)
    turn[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return turn.round() if quarters == int(quarters) else turn


def _sample(slabs: Tensor, grid: Tensor, mode: str) -> Tensor:
    return F.grid_sample(slabs, grid, mode, padding_mode="border", align_corners=True)
