"""Random changes to training windows: one resampling of image, target and pixel weight together.

A window is resampled from its slab, which holds context around it, through one grid of coordinates
that composes shift, flip, rotation, scaling and elastic deformation. Everything random about a
window is a function of its own seed, drawn on the processor, so that neither device nor batch
changes the data.
"""

from __future__ import annotations

import math
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
"""How far the bicubic kernel reaches from where it samples."""


def elastic_std(settings: AugmentSettings, size_px: int) -> float:
    """The standard deviation of the displacements in a window of this size, in pixels.

    It is the one that is set, or less where the window would fold over itself. A deformation
    x + u(x) folds nowhere if the sum of |du_i/dx_j| over j stays below 1 in every row i. A row sums
    over both axes the slopes of a spline through values of at most 2 std on knots `size / (grid -
    1)` apart, so the limit is a constant of the grid times the size (`_steepest`).
    """
    return min(settings.elastic_std_px, 0.9 * (size_px - 1) / (TRUNCATED_STD * _steepest(settings)))


def _steepest(settings: AugmentSettings) -> float:
    """The largest possible sum of |du/dx_j| of a field with |values| <= 1 on knots, times size."""
    fine = np.linspace(0, 1, 201)
    values = np.abs(_spline(settings.elastic_grid, fine)).sum(axis=1)
    slopes = np.abs(_spline(settings.elastic_grid, fine, derivative=1)).sum(axis=1)
    return float(2 * slopes.max() * values.max())


def _spline(knots: int, at: NDArray[np.float64], derivative: int = 0) -> NDArray[np.float64]:
    """Matrix (at, knots) from values on even knots over 0..1 to those of their cubic spline."""
    spline = CubicSpline(np.linspace(0, 1, knots), np.eye(knots), bc_type="natural")
    return np.asarray(spline(at, derivative))


def context_size(settings: AugmentSettings, size_px: int) -> int:
    """The side of a slab that a window of this side never leaves, whatever is drawn, in pixels.

    The bicubic kernel around every place stays inside as well. Where nothing is deformed, flips and
    quarter turns need no context: the side of the window.
    """
    if not settings.deform:
        return size_px
    half = (size_px - 1) / 2
    if settings.elastic_std_px:
        overshoot = np.abs(_spline(settings.elastic_grid, np.linspace(0, 1, 201))).sum(axis=1).max()
        half += elastic_std(settings, size_px) * TRUNCATED_STD * overshoot**2
    half *= math.exp(settings.scale) * (math.sqrt(2) if settings.rotate else 1)
    return 2 * (math.ceil(half + 0.5) + KERNEL_PX) + size_px % 2


@dataclass(frozen=True)
class _Drawn:
    """What was drawn for the windows of a batch.

    Attributes
    ----------
    linear
        (b 2 2), from window to slab coordinates, x before y.
    displacement
        (b 2 grid grid) in pixels of the window, or None.
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
    size_px
        Side of the image window.
    margin_px
        How much smaller the windows of target and weight are, on each side.
    """

    def __init__(self, settings: AugmentSettings, size_px: int, margin_px: int = 0) -> None:
        self.settings = settings
        self.size_px = size_px
        self.margin_px = margin_px
        self.std_px = elastic_std(settings, size_px)
        spline = _spline(settings.elastic_grid, np.linspace(0, 1, size_px))
        self.spline = torch.from_numpy(spline.astype(np.float32))

    def __call__(
        self, image: Tensor, target: Tensor, weight: Tensor, seeds: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Windows of a batch of slabs.

        Parameters
        ----------
        image
            (b c s s) float32, normalised.
        target
            (b s s) int64, class ids, -1 where unlabelled.
        weight
            (b s s) float32.
        seeds
            (b) int64, one for each window.

        Returns
        -------
        image, target, weight
            (b c n n), (b m m) and (b m m) with m = n - 2 margin: the image bicubic, which blurs
            least, target and weight from the nearest pixel. Without a change, the middle of the
            slab.
        """
        drawn = self._draw(seeds)
        grid = self._grid(drawn, image.shape[-1], image.device)
        window = _sample(image, grid, "bicubic")
        if self.margin_px:
            inside = slice(self.margin_px, -self.margin_px)
            grid = grid[:, inside, inside]
        # Class ids are small whole numbers, exact in float32, so one resampling serves both.
        both = _sample(torch.stack([target.to(weight.dtype), weight], dim=1), grid, "nearest")
        return self._recolour(window, drawn, seeds), both[:, 0].long(), both[:, 1]

    def _draw(self, seeds: Tensor) -> _Drawn:
        set_ = self.settings
        parts = []
        for seed in seeds.tolist():
            random = np.random.default_rng(seed)
            deform = random.random() < set_.deform
            quarters = random.uniform(0, 4) * set_.rotate
            turn = _rotation(quarters if deform else math.floor(quarters))
            zoom = math.exp(random.uniform(-set_.scale, set_.scale) * deform)
            flip = np.where((random.random(2) < 0.5) & set_.flip, -1.0, 1.0)
            # By the inverse of the distribution, which needs one draw per value.
            share = random.uniform(
                ndtr(-TRUNCATED_STD),
                ndtr(TRUNCATED_STD),
                size=(2, set_.elastic_grid, set_.elastic_grid),
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
            parts.append((zoom * turn * flip, normal * self.std_px * deform, colour))
        linear, displacement, colours = (
            torch.from_numpy(np.stack(part).astype(np.float32)) for part in zip(*parts, strict=True)
        )
        return _Drawn(linear, displacement if self.std_px else None, *colours.T)

    def _grid(self, drawn: _Drawn, slab_px: int, device: torch.device) -> Tensor:
        """Coordinates (b n n 2) of each window pixel in its slab, -1 to 1 as grid_sample wants."""
        line = torch.arange(self.size_px, device=device) - (self.size_px - 1) / 2
        y, x = torch.meshgrid(line, line, indexing="ij")
        place = torch.stack([x, y]).expand(len(drawn.linear), -1, -1, -1)
        if drawn.displacement is not None:
            spline = self.spline.to(device)
            # Autocast would round the product to 8 bits, which moves pixels.
            with torch.autocast(device.type, enabled=False):
                place = place + spline @ drawn.displacement.to(device) @ spline.T
        # Element by element, because TF32 rounds matrix products: here it would move pixels.
        linear = (drawn.linear.to(device) * (2 / (slab_px - 1)))[..., None, None]
        return (linear[:, :, 0] * place[:, :1] + linear[:, :, 1] * place[:, 1:]).movedim(1, -1)

    def _recolour(self, image: Tensor, drawn: _Drawn, seeds: Tensor) -> Tensor:
        """Gamma between each window's own extremes, then gain, offset and noise."""
        gain, offset, gamma, noise = (
            part.view(-1, 1, 1, 1).to(image.device)
            for part in (drawn.gain, drawn.offset, drawn.gamma, drawn.noise)
        )
        if self.settings.gamma:
            low = image.amin(dim=(1, 2, 3), keepdim=True)
            span = (image.amax(dim=(1, 2, 3), keepdim=True) - low).clamp(min=1e-6)
            image = ((image - low) / span).clamp(0, 1).pow(gamma) * span + low
        image = image * gain + offset
        if self.settings.noise:
            grains = [
                torch.randn(part.shape, generator=torch.Generator().manual_seed(int(seed)))
                for part, seed in zip(image, seeds, strict=True)
            ]
            image = image + noise * torch.stack(grains).to(image.device)
        return image


def _rotation(quarters: float) -> NDArray[np.float64]:
    """The matrix of a turn by so many right angles, exact for whole ones."""
    angle = quarters * math.pi / 2
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return turn.round() if quarters == int(quarters) else turn


def _sample(slabs: Tensor, grid: Tensor, mode: str) -> Tensor:
    return F.grid_sample(slabs, grid, mode, padding_mode="border", align_corners=True)
