"""The settings of all networks, by name."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Discriminator, Tag

from overtile.settings.encoder import EncoderUNetSettings
from overtile.settings.fcn import FCNSettings
from overtile.settings.networks import NetworkSettings
from overtile.settings.patchnet import PatchNetSettings
from overtile.settings.ternausnet import TernausNetSettings
from overtile.settings.unet import UNet3DSettings, UNetSettings
from overtile.settings.unetpp import UNetPlusPlusSettings

NETWORK_SETTINGS: dict[str, type[NetworkSettings]] = {
    "unet": UNetSettings,
    "unet3d": UNet3DSettings,
    "unetpp": UNetPlusPlusSettings,
    "ternausnet": TernausNetSettings,
    "encoder-unet": EncoderUNetSettings,
    "fcn": FCNSettings,
    "patchnet": PatchNetSettings,
}
"""Name -> settings. A new network is a file and a line here, and the same in `networks`."""


def _name(network: Any) -> str:
    """Which network is meant; a U-Net where no name is given."""
    if isinstance(network, dict):
        return str(network.get("name", "unet"))
    return str(getattr(network, "name", network))


if TYPE_CHECKING:
    AnyNetwork = NetworkSettings
else:
    AnyNetwork = Annotated[
        reduce(or_, (Annotated[kind, Tag(name)] for name, kind in NETWORK_SETTINGS.items())),
        Discriminator(_name),
    ]
