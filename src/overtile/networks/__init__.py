"""The networks, and the only place where one is assembled from settings."""

from __future__ import annotations

import torch

from overtile.networks.unet import UNet
from overtile.settings import UNetSettings

__all__ = ["NETWORKS", "UNet", "build"]

NETWORKS: dict[str, type[UNet]] = {"unet": UNet}
"""Name -> network. A new one is a file and a line here."""


def build(settings: UNetSettings, seed: int = 0) -> UNet:
    """A network with random parameters that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[settings.name](settings)
