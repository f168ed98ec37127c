"""The sliding-window network (Cireşan, Giusti, Gambardella and Schmidhuber 2012)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from overtile.errors import SizeError
from overtile.networks.blocks import initialise
from overtile.networks.network import Network
from overtile.settings import NetworkSettings, PatchNetSettings

PATCH_PX = 65
KERNELS = (4, 4, 5, 4)
"""Of the convolutions, each followed by a pooling of 2: 65-62-31-28-14-10-5-2-1 px."""

PATCHES = 128
"""Patches evaluated at once: the first convolution makes 90 MiB of them."""


class PatchNet(Network):
    """Sliding window: each pixel classified from the 65 x 65 px around it (2012).

    "Deep Neural Networks Segment Neuronal Membranes in Electron Microscopy Images", NIPS 2012,
    pages 2843-2851.

    Parameters
    ----------
    settings
        A `PatchNetSettings`, or its values by name; see `Network`.

    Notes
    -----
    ``forward`` evaluates all patches of an image at once, and `sliding_window` one by one, as the
    paper did; both give the same. Where a patch is pooled, every second pixel of it is left out;
    another patch, one pixel further, keeps those. So the dense form leaves out none (poolings of
    stride 1), and the layers behind a pooling look at every second pixel of what it gives: their
    kernels are dilated by the product of the poolings before them. Each value is then computed
    once instead of in every patch that holds it. To train on a window of 128 px is to train on all
    its 64 x 64 patches.

    From the paper: four convolutions of 48 maps with kernels of 4 and 5 px, a max-pooling of 2
    behind each, 200 fully connected units, one output a class. The paper's network N4 has kernels
    4, 5, 4, 4 and patches of 95 px, which end in 3x3 px. Here they are in the order 4, 4, 5, 4, so
    that every pooling of a 65 px patch divides evenly; it ends in one pixel. We also chose ReLU,
    He-normal weights, and training by all pixels rather than by as many of each class. Left out:
    foveation (a patch blurred towards its edges), non-uniform sampling, averages over networks and
    turned images, the median filter.

    Examples
    --------
    >>> network = PatchNet(base_channels=2, fc_channels=4)
    >>> tuple(network(torch.zeros(1, 1, 70, 65)).shape)
    (1, 2, 6, 1)
    """

    Settings: ClassVar[type[NetworkSettings]] = PatchNetSettings
    settings: PatchNetSettings

    def __init__(self, settings: PatchNetSettings | None = None, **values: Any) -> None:
        super().__init__(settings, **values)
        chosen = self.settings
        self.convs, self.pools = nn.ModuleList(), nn.ModuleList()
        before = chosen.channels
        for level, kernel in enumerate(KERNELS):
            self.convs.append(_convolution(before, chosen.base_channels, kernel, 2**level))
            self.pools.append(nn.MaxPool2d(2, stride=1, dilation=2**level))
            before = chosen.base_channels
        self.fc = _convolution(before, chosen.fc_channels, 1)
        self.head = _convolution(chosen.fc_channels, chosen.classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (b classes y-64 x-64) of images (b channels y x), all patches at once.

        Raises
        ------
        SizeError
            A side of less than 65 px, or another number of axes or channels.
        """
        self.check(image)
        features = image
        for conv, pool in zip(self.convs, self.pools, strict=True):
            features = pool(torch.relu_(conv(features)))
        return self._classify(features)

    def forward_patches(self, patches: Tensor) -> Tensor:
        """Logits (n classes) of patches (n channels 65 65), pooled by stride: the paper's way.

        Raises
        ------
        SizeError
            Patches of another size, or another number of axes or channels.
        """
        self.check(patches)
        if tuple(patches.shape[2:]) != (PATCH_PX, PATCH_PX):
            raise SizeError(
                f"Patches have {PATCH_PX} x {PATCH_PX} px, not {patches.shape[2]} x "
                f"{patches.shape[3]}: for an image use forward, or sliding_window."
            )
        features = patches
        for conv in self.convs:
            weight, bias = conv.get_parameter("weight"), conv.get_parameter("bias")
            features = F.max_pool2d(torch.relu_(F.conv2d(features, weight, bias)), 2)
        return self._classify(features)[:, :, 0, 0]

    def sliding_window(self, image: Tensor) -> Tensor:
        """As ``forward``, patch by patch: some 270 times the operations; raises as it does."""
        self.check(image)
        windows = image.unfold(2, PATCH_PX, 1).unfold(3, PATCH_PX, 1)  # b c y x 65 65
        rows = []
        for row in windows.movedim(1, 3).unbind(1):  # b x c 65 65
            parts = torch.split(row.flatten(0, 1), PATCHES)
            logits = torch.cat([self.forward_patches(part) for part in parts])
            rows.append(logits.unflatten(0, row.shape[:2]))  # type: ignore[no-untyped-call]
        return torch.stack(rows, dim=1).movedim(3, 1)

    def _classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.relu_(self.fc(features)))
        return logits


def _convolution(before: int, after: int, kernel: int, dilation: int = 1) -> nn.Module:
    return initialise(nn.Conv2d(before, after, kernel, dilation=dilation), before * kernel**2)
