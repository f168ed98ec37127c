"""Gray values of windows: colours or none, which end is bright, gamma, gain, offset and noise."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from overtile.augment.drawing import Drawn
from overtile.settings import AugmentSettings


def recolour(image: Tensor, drawn: Drawn, seeds: Tensor, settings: AugmentSettings) -> Tensor:
    """Of those windows that each was drawn for: channels to their mean, bright to dark; and gamma
    between each one's own extremes, then gain, offset, colour and noise.
    """
    aside = (-1, *[1] * (image.ndim - 1))
    if drawn.grayed.any():
        mean = image.mean(dim=1, keepdim=True).expand_as(image)
        image = torch.where(drawn.grayed.to(image.device).view(aside), mean, image)
    if drawn.inverted.any():  # the mean of the normalised set is 0
        image = torch.where(drawn.inverted.to(image.device).view(aside), -image, image)
    chosen = drawn.recoloured.nonzero()[:, 0]
    if not len(chosen):
        return image
    there = chosen.to(image.device)
    changed = _changed(image[there], drawn, chosen, seeds[chosen.to(seeds.device)], settings)
    return image.index_copy(0, there, changed)


def _changed(
    image: Tensor, drawn: Drawn, chosen: Tensor, seeds: Tensor, settings: AugmentSettings
) -> Tensor:
    """The windows that were chosen, changed."""
    gain, offset, gamma, noise = (
        part[chosen].view(-1, *[1] * (image.ndim - 1)).to(image.device)
        for part in (drawn.gain, drawn.offset, drawn.gamma, drawn.noise)
    )
    if settings.gamma:
        axes = tuple(range(1, image.ndim))
        low = image.amin(dim=axes, keepdim=True)
        span = (image.amax(dim=axes, keepdim=True) - low).clamp(min=1e-6)
        image = ((image - low) / span).clamp(0, 1).pow(gamma) * span + low
    image = image * gain + offset
    if settings.colour and image.shape[1] > 1:
        changes = [_colours(int(seed), image.shape[1], settings.colour) for seed in seeds]
        times, plus = torch.from_numpy(np.stack(changes, axis=1)).to(image.device)
        aside = (..., *[None] * (image.ndim - 2))
        image = image * times[aside] + plus[aside]
    if settings.noise:
        grains = [
            torch.randn(part.shape, generator=torch.Generator().manual_seed(int(seed)))
            for part, seed in zip(image, seeds, strict=True)
        ]
        image = image + noise * torch.stack(grains).to(image.device)
    return image


def _colours(seed: int, channels: int, most: float) -> NDArray[np.float32]:
    """What each channel of a window is multiplied with, and what is added to it, (2 c).

    Drawn by themselves, so that windows of one channel are as they were without.
    """
    times, plus = np.random.default_rng([seed, 1]).uniform(-most, most, (2, channels))
    return np.array([np.exp(times), plus], np.float32)
