"""TernausNet (Iglovikov and Shvets 2018, arXiv:1801.05746)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from overtile.networks.blocks import initialise
from overtile.networks.pretrained import Pretrained
from overtile.networks.vgg import STAGES, vgg
from overtile.networks.weights import State, download
from overtile.settings import NetworkSettings, TernausNetSettings

PUBLISHED = {
    "vgg11": "https://download.pytorch.org/models/vgg11-8a719046.pth",
    "vgg16": "https://download.pytorch.org/models/vgg16-397923af.pth",
}
"""Where torchvision keeps the parameters learnt on ImageNet; the name holds the file's hash."""


class TernausNet(Pretrained):
    """TernausNet: a VGG11 encoder, from ImageNet or not, and transposed convolutions (2018).

    Parameters
    ----------
    settings
        A `TernausNetSettings`, or its values by name; see `Network`. The defaults are the paper's.
        The parameters are random until ``start()`` reads those of the encoder.

    Notes
    -----
    The parameters of the encoder are named as torchvision names those of its VGG, ``encoder``
    standing for ``features``. Below the last pooling is one convolution of 512 channels. On each
    way up a transposed 3x3 convolution of stride 2 halves the channels, the encoder's last map of
    that size is concatenated, and a convolution of as many channels as the encoder's follows. All
    have a ReLU.

    Examples
    --------
    >>> network = TernausNet(base_channels=2, encoder_weights="none")
    >>> tuple(network(torch.zeros(1, 1, 64, 96)).shape)
    (1, 2, 64, 96)
    """

    Settings: ClassVar[type[NetworkSettings]] = TernausNetSettings
    settings: TernausNetSettings

    def __init__(self, settings: TernausNetSettings | None = None, **values: Any) -> None:
        super().__init__(settings, **values)
        chosen, base = self.settings, self.settings.base_channels
        self.encoder = self._held(vgg(chosen.encoder, chosen.channels, base, chosen.init))
        self.merge, self.up = nn.ModuleList(), nn.ModuleList()
        joined = wide = base * STAGES[chosen.encoder][-1][-1]
        for stage in reversed(STAGES[chosen.encoder]):
            skip = base * stage[-1]
            self.merge.append(self._convolution(joined, wide))
            self.up.append(self._up_convolution(wide, skip // 2))
            joined, wide = skip // 2 + skip, skip
        self.last = self._convolution(joined, base // 2)
        self.head = initialise(nn.Conv2d(base // 2, chosen.classes, 1), base // 2, chosen.init)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (b classes y x) of images (b channels y x).

        Raises
        ------
        SizeError
            The network has no output for this size, or another number of axes or channels.
        """
        self.check(image)
        skips = []
        features = image
        for layer in self.encoder.children():
            if isinstance(layer, nn.MaxPool2d):
                skips.append(features)
            features = layer(features)
        for merge, up in zip(self.merge, self.up, strict=True):
            raised = torch.relu_(up(torch.relu_(merge(features))))
            features = torch.cat([raised, skips.pop()], dim=1)
        logits: Tensor = self.head(torch.relu_(self.last(features)))
        return logits

    def _convolution(self, before: int, after: int) -> nn.Module:
        made = nn.Conv2d(before, after, 3, padding=1)
        return initialise(made, 9 * before, self.settings.init)

    def _up_convolution(self, before: int, after: int) -> nn.Module:
        made = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)
        # Of its 9 taps a pixel receives 1, 2, 2 or 4, by its place in the cell of four.
        return initialise(made, 9 * before // 4, self.settings.init)

    def _published(self) -> State:
        return download(PUBLISHED[self.settings.encoder])

    def _of_encoder(self, state: State) -> State:
        prefix = "features."
        return {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
