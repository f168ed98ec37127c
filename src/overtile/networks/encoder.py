"""A U-Net whose contracting path is any model of timm with feature maps."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from overtile.geometry import Field, Fields
from overtile.networks.blocks import Block, convolution
from overtile.networks.pretrained import Pretrained
from overtile.networks.timm import colours_of, make_encoder, maps_of, published
from overtile.networks.upsampling import up_sampling
from overtile.networks.weights import State
from overtile.settings import EncoderUNetSettings, NetworkSettings, UNetSettings
from overtile.tileable.field import measure
from overtile.tileable.layers import find
from overtile.tileable.structure import Structure

FADE = 2
"""Cells of the grid over which the tiles of an encoder that is not exact fade into each other: what
such a network sees has no end, so that the margin is a choice. At the usual grid of 32 px these are
64 px, a quarter of a window of training, on each side."""


class EncoderUNet(Pretrained):
    """Encoder U-Net: any encoder of timm, such as ResNet, with the expanding path of a U-Net.

    Parameters
    ----------
    settings
        An `EncoderUNetSettings`, or its values by name; see `Network`. The
        parameters are random until ``start()`` reads those of the encoder.

    Raises
    ------
    MissingError
        timm is not installed.
    SettingsError
        It has no such encoder, or one without maps at strides that divide each other.

    Notes
    -----
    The deepest map is brought to the size of the next by a transposed convolution whose kernel is
    as large as its stride, as in the U-Net; it is concatenated, and two convolutions follow. So
    each value comes from one pixel below: it takes a quarter of the work of a convolution of an
    interpolated map, and kernels do not overlap unevenly, which would draw a checkerboard. Where
    the encoder's first map is smaller than the image, two convolutions of the image itself are the
    map at its full resolution.

    Not all that timm has is exact in tiles: squeeze-and-excitation, attention and global pooling
    look at the whole window. That is measured (`is_exact`).
    """

    Settings: ClassVar[type[NetworkSettings]] = EncoderUNetSettings
    settings: EncoderUNetSettings

    def __init__(self, settings: EncoderUNetSettings | None = None, **values: Any) -> None:
        super().__init__(settings, **values)
        chosen = self.settings
        strides, channels, self.channels_last = maps_of(chosen.encoder)
        self.grid = strides[-1]
        encoder = make_encoder(chosen.encoder, chosen.channels)
        self.colours = colours_of(encoder)
        # The ambient device may compute nothing but shapes, on which not all of timm can be made.
        self.encoder = self._held(encoder.to(torch.get_default_device()))
        own = UNetSettings(padding="same", norm=chosen.norm)
        base = chosen.base_channels
        self.full: nn.Module | None = None
        if strides[0] > 1:
            self.full = Block(own, chosen.channels, base)
            strides, channels = (1, *strides), (base, *channels)
        self.up, self.merge = nn.ModuleList(), nn.ModuleList()
        below = channels[-1]
        for level in reversed(range(len(strides) - 1)):
            here, factor = base * strides[level], strides[level + 1] // strides[level]
            self.up.append(up_sampling(own, below, here, (factor, factor)))
            self.merge.append(Block(own, channels[level] + here, here))
            below = here
        self.head = convolution(own, below, chosen.classes, 1)

    @property
    def fields(self) -> Fields:
        """As `Network`; where it is not exact, with a margin over which tiles fade."""
        return _seen(self.settings.thin())[0] if self.measured else self.sizes

    @property
    def sizes(self) -> Fields:
        """As `Network`; multiples of the deepest map's stride."""
        return (Field("same", self.grid, 0),) * self.settings.dimensions

    @property
    def is_exact(self) -> bool:
        """Whether no layer of the encoder looks at the whole window."""
        return _seen(self.settings.thin())[1]

    def forward(self, image: Tensor) -> Tensor:
        """Logits (b classes y x) of images (b channels y x).

        Raises
        ------
        SizeError
            The network has no output for this size, or another number of axes or channels.
        """
        self.check(image)
        maps = list(self.encoder(image))
        if self.channels_last:
            maps = [each.permute(0, 3, 1, 2) for each in maps]
        if self.full is not None:
            maps.insert(0, self.full(image))
        features = maps.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            features = merge(torch.cat([maps.pop(), up(features)], dim=1))
        logits: Tensor = self.head(features)
        return logits

    def _published(self) -> State:
        return published(self.settings.encoder)

    def _of_encoder(self, state: State) -> State:
        """Under the names that timm gives the layers where it takes a model apart for its maps.

        There a dot may be an underscore, and the whole model may lie in another module. What has no
        place in the encoder is kept where it stands among its layers, for a file of a deeper
        encoder holds all that a shallower one needs.
        """
        places = {_plain(name): name for name in self.encoder.state_dict()}
        tops = {name.split(".")[0] for name in state if _plain(name) in places}
        return {
            places.get(_plain(name), name): value
            for name, value in state.items()
            if _plain(name) in places or name.split(".")[0] in tops
        }


def _plain(name: str) -> str:
    for prefix in ("model.", "body."):
        name = name.removeprefix(prefix)
    return name.replace(".", "_")


@lru_cache
def _seen(thin: EncoderUNetSettings) -> tuple[Fields, bool]:
    """The fields of a network, and whether tiles of it are exact, which only its layers tell."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        network = EncoderUNet(thin)
        network.measured = False
        _drop_norms(network)
        structure = Structure(network, thin.channels, thin.dimensions)
        if not find(network, structure):
            return measure(network, structure)[0], True
        sizes = structure.sizes()
        return tuple(replace(field, margin=FADE * field.grid) for field in sizes), False


def _drop_norms(network: nn.Module) -> None:
    """Without the batch norms that act pixel by pixel, which take most of the time of measuring."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d) and child.running_mean is not None:
                setattr(module, name, nn.Identity())
