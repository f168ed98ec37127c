"""Gray values: gamma, gain, offset and noise of each window."""

from __future__ import annotations

import torch
from torch import Tensor

from overtile.augment.drawing import Drawn
from overtile.settings import AugmentSettings


def recolour(image: Tensor, drawn: Drawn, seeds: Tensor, settings: AugmentSettings) -> Tensor:
    """Gamma between each window's own extremes, then gain, offset and noise."""
    gain, offset, gamma, noise = (
        part.view(-1, *[1] * (image.ndim - 1)).to(image.device)
        for part in (drawn.gain, drawn.offset, drawn.gamma, drawn.noise)
    )
    if settings.gamma:
        axes = tuple(range(1, image.ndim))
        low = image.amin(dim=axes, keepdim=True)
        span = (image.amax(dim=axes, keepdim=True) - low).clamp(min=1e-6)
        image = ((image - low) / span).clamp(0, 1).pow(gamma) * span + low
    image = image * gain + offset
    if settings.noise:
        grains = [
            torch.randn(part.shape, generator=torch.Generator().manual_seed(int(seed)))
            for part, seed in zip(image, seeds, strict=True)
        ]
        image = image + noise * torch.stack(grains).to(image.device)
    return image
