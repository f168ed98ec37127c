"""The networks, and the only place where one is assembled from settings."""

from __future__ import annotations

import torch

from overtile.geometry import Fields
from overtile.networks.encoder import EncoderUNet
from overtile.networks.fcn import FCN
from overtile.networks.network import Network
from overtile.networks.patchnet import PatchNet
from overtile.networks.ternausnet import TernausNet
from overtile.networks.unet import UNet, UNet3D
from overtile.networks.unetpp import UNetPlusPlus
from overtile.settings import NetworkSettings

__all__ = [
    "FCN",
    "NETWORKS",
    "EncoderUNet",
    "Network",
    "PatchNet",
    "TernausNet",
    "UNet",
    "UNet3D",
    "UNetPlusPlus",
    "build",
    "fields_of",
]

NETWORKS: dict[str, type[Network]] = {
    "unet": UNet,
    "unet3d": UNet3D,
    "unetpp": UNetPlusPlus,
    "ternausnet": TernausNet,
    "encoder-unet": EncoderUNet,
    "fcn": FCN,
    "patchnet": PatchNet,
}
"""Name -> network. A new one is a file and a line here, and the same in `settings`."""


def build(settings: NetworkSettings, seed: int = 0) -> Network:
    """A network with random parameters that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[settings.name](settings)


def fields_of(settings: NetworkSettings) -> Fields:
    """The fields of the network that these settings make, without its parameters."""
    with torch.device("meta"):
        return NETWORKS[settings.name](settings).fields
