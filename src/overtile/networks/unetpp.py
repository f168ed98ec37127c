"""The UNet++ (Zhou et al. 2018, arXiv:1807.10165), written from the paper."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from overtile.networks.blocks import POOLING, UP_CONVOLUTION, Block, convolution, initialise
from overtile.networks.network import Network
from overtile.settings import NetworkSettings, UNetPlusPlusSettings


class UNetPlusPlus(Network):
    """UNet++: nested U-Nets of every depth with dense skips, prunable at prediction (2018).

    The nodes X^{i,j}, in row i (the resolution) and column j, are those of the paper's equation 1:
    two convolutions H of the image or the pooled node above (j = 0), or of all nodes before it in
    its row together with the up-sampled node below: H([X^{i,0}, ..., X^{i,j-1}, U(X^{i+1,j-1})]).

    Parameters
    ----------
    settings
        A `UNetPlusPlusSettings`, or its values by name; see `Network`. The defaults are the
        paper's.

    Notes
    -----
    Where the paper is silent: U is a transposed convolution, as large as its stride, that gives
    the channels of the row it comes to. That makes the 9.04 million parameters of the paper's
    table; one that keeps the channels makes 10.99.

    The layers of level l make the nodes with i + j = l, which need those of lower levels only. So
    the first levels are a smaller network, under the same names: `prune` gives it.

    Examples
    --------
    >>> network = UNetPlusPlus(depth=2, base_channels=2)
    >>> image = torch.zeros(1, 1, 8, 12)
    >>> [tuple(logits.shape) for logits in network.heads(image)]
    [(1, 2, 8, 12), (1, 2, 8, 12)]
    >>> torch.equal(network.prune(1)(image), network.heads(image)[0])
    True
    """

    Settings: ClassVar[type[NetworkSettings]] = UNetPlusPlusSettings
    settings: UNetPlusPlusSettings
    head: nn.ModuleDict

    def __init__(self, settings: UNetPlusPlusSettings | None = None, **values: Any) -> None:
        super().__init__(settings, **values)
        chosen = self.settings
        self.level = nn.ModuleList(_Level(chosen, level) for level in range(chosen.depth + 1))
        self.head = nn.ModuleDict(
            {
                str(level): convolution(chosen, chosen.base_channels, chosen.classes, 1)
                for level in (*chosen.levels, chosen.depth)
            }
        )

    def forward(self, image: Tensor) -> Tensor:
        """Logits (b classes *space) of images (b channels *space), from the last node.

        Raises
        ------
        SizeError
            The network has no output for this size, or another number of axes or channels.
        """
        depth = self.settings.depth
        logits: Tensor = self.head[str(depth)](self._first_row(image)[depth])
        return logits

    def heads(self, image: Tensor) -> tuple[Tensor, ...]:
        """The logits of every node of the first row that has a head, from level 1 to the last."""
        nodes = self._first_row(image)
        return tuple(head(nodes[int(level)]) for level, head in self.head.items())

    @torch.no_grad()
    def shift_logits(self, shift: Tensor) -> None:
        """Add a constant (classes) to the logits of each class, of every head, for good."""
        for head in self.head.values():
            head.get_parameter("bias").add_(shift)

    def _first_row(self, image: Tensor) -> list[Tensor]:
        """The nodes X^{0,0} to X^{0,depth}."""
        self.check(image)
        rows: list[list[Tensor]] = []
        for level in self.level:
            level(image, rows)
        return rows[0]


class _Level(nn.Module):
    """The nodes with i + j = level: the contracting path's, and those that it leads up to."""

    def __init__(self, settings: UNetPlusPlusSettings, level: int) -> None:
        super().__init__()
        strides, dimensions = settings.poolings, settings.dimensions
        channels = [settings.base_channels * 2**row for row in range(level + 1)]
        self.pool = POOLING[dimensions](strides[level - 1]) if level else nn.Identity()
        before = channels[level - 1] if level else settings.channels
        self.down = Block(settings, before, channels[level])
        used = settings.dropout > 0 and level > 0
        self.dropout = nn.Dropout(settings.dropout) if used else nn.Identity()
        self.up, self.merge = nn.ModuleList(), nn.ModuleList()
        for column in range(1, level + 1):
            row = level - column
            here, below = channels[row], channels[row + 1]
            up = UP_CONVOLUTION[dimensions](below, here, strides[row], stride=strides[row])
            self.up.append(initialise(up, below, settings.init))  # each value comes from one pixel
            self.merge.append(Block(settings, (column + 1) * here, here))

    def forward(self, image: Tensor, rows: list[list[Tensor]]) -> None:
        """Put another node at the end of every row, and begin a new row below."""
        first = self.down(self.pool(rows[-1][0] if rows else image))
        node = self.dropout(first)
        for row, up, merge in zip(reversed(rows), self.up, self.merge, strict=True):
            node = merge(torch.cat([*row, up(node)], dim=1))
            row.append(node)
        rows.append([first])
