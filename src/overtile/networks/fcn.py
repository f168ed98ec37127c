"""Fully convolutional networks (Long, Shelhamer and Darrell 2015, arXiv:1411.4038)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from overtile.networks.blocks import initialise
from overtile.networks.network import Network
from overtile.networks.vgg import STAGES, vgg
from overtile.settings import FCNSettings, NetworkSettings


class FCN(Network):
    """FCN-32s, 16s, 8s: VGG16 made fully convolutional, scores added and enlarged (2015).

    Parameters
    ----------
    settings
        A `FCNSettings`, or its values by name; see `Network`.

    Notes
    -----
    As in the paper: all scoring layers start from zero; enlargements start as bilinear
    interpolation, and the last one stays that while those between it and the skips are learnt. So
    an FCN-16s that starts from the parameters of an FCN-32s, or an FCN-8s from those of an
    FCN-16s, gives what that gave, interpolated in two steps: the paper's training in stages.

    The paper pads images by 100 px of zeros and crops, so that the edge has an output. Here every
    convolution pads by half its kernel, which keeps the size, and prediction with border ``mirror``
    does the rest: it continues the image by what the network sees. Weights that do not come from
    ImageNet, of which the paper does not speak, are He-normal.

    The last enlargement has a bias, which is zero until `shift_logits`, and is not learnt.

    ``features`` has the names of torchvision's VGG16, so that its parameters fit; ``fc6`` and
    ``fc7`` are its ``classifier.0`` and ``classifier.3``, seen as kernels of 7x7 and 1x1.

    Examples
    --------
    >>> network = FCN(stride=16, base_channels=2, fc_channels=4, classes=3)
    >>> tuple(network(torch.zeros(1, 1, 64, 96)).shape)
    (1, 3, 64, 96)
    """

    Settings: ClassVar[type[NetworkSettings]] = FCNSettings
    settings: FCNSettings

    def __init__(self, settings: FCNSettings | None = None, **values: Any) -> None:
        super().__init__(settings, **values)
        chosen = self.settings
        widths = [level[-1] * chosen.base_channels for level in STAGES["vgg16"]]
        # The scores start on the last map, and are joined by those of maps twice as fine.
        skipped = {32: [], 16: widths[3:4], 8: widths[3:1:-1]}[chosen.stride]
        self.features = vgg("vgg16", chosen.channels, chosen.base_channels)
        self.fc6 = _convolution(widths[-1], chosen.fc_channels, 7)
        self.fc7 = _convolution(chosen.fc_channels, chosen.fc_channels, 1)
        self.dropout = nn.Dropout(chosen.dropout)
        self.score = _scores(chosen.fc_channels, chosen.classes)
        self.skips = nn.ModuleList(_scores(width, chosen.classes) for width in skipped)
        self.ups = nn.ModuleList(
            bilinear(chosen.classes, 2, is_learnt=True) for _ in range(len(skipped))
        )
        self.head = bilinear(chosen.classes, chosen.stride, is_learnt=False)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (b classes y x) of images (b channels y x).

        Raises
        ------
        SizeError
            A side that is no multiple of 32, or another number of axes or channels.
        """
        self.check(image)
        features, pooled = image, []
        for layer in self.features:
            features = layer(features)
            if isinstance(layer, nn.MaxPool2d):
                pooled.append(features)
        for layer in (self.fc6, self.fc7):
            features = self.dropout(torch.relu_(layer(features)))
        scores = self.score(features)
        for up, skip, finer in zip(self.ups, self.skips, pooled[3:1:-1], strict=False):
            scores = up(scores) + skip(finer)
        logits: Tensor = self.head(scores)
        return logits


def bilinear(classes: int, stride: int, *, is_learnt: bool) -> nn.Module:
    """A transposed convolution that enlarges each class by bilinear interpolation.

    Its kernel of 2s x 2s weighs by ``1 - |i - (s - 1/2)| / s`` along each axis, i = 0 .. 2s - 1
    (s even): the value at the centre of each new pixel. Beyond the edge of the map are zeros.

    Parameters
    ----------
    classes
        Channels.
    stride
        s, new pixels for each old one along each axis; even.
    is_learnt
        Whether training changes it. Then it may mix the classes; else it has a bias, see `FCN`.
    """
    groups = 1 if is_learnt else classes
    made = nn.ConvTranspose2d(
        classes,
        classes,
        2 * stride,
        stride=stride,
        padding=stride // 2,
        groups=groups,
        bias=not is_learnt,
    )
    line = 1 - (torch.arange(2 * stride) - (stride - 0.5)).abs() / stride
    own = torch.eye(classes) if is_learnt else torch.ones(classes, 1)
    with torch.no_grad():
        made.weight.copy_(own[:, :, None, None] * torch.outer(line, line))
        if made.bias is not None:
            made.bias.zero_()
    return made.requires_grad_(is_learnt)


def _convolution(before: int, after: int, kernel: int) -> nn.Module:
    made = nn.Conv2d(before, after, kernel, padding=kernel // 2)
    return initialise(made, before * kernel**2)


def _scores(before: int, classes: int) -> nn.Module:
    """One score a class for each pixel, zero at first."""
    made = nn.Conv2d(before, classes, 1)
    nn.init.zeros_(made.weight)
    nn.init.zeros_(made.bias)  # type: ignore[arg-type]
    return made
