"""Settings of the UNet++."""

from __future__ import annotations

from typing import Literal, Self

from overtile.errors import SettingsError
from overtile.settings.networks import ConvolutionSettings, Whole


class UNetPlusPlusSettings(ConvolutionSettings):
    """The UNet++ of Zhou et al. 2018 (arXiv:1807.10165); the defaults are the paper's.

    Attributes
    ----------
    padding
        Only ``same``: the maps that meet in a node are then equally large.
    supervision
        Whether every node of the full resolution is compared with the labels in training, so that
        the network can be pruned to its level afterwards; else only the last one is.
    dropout
        Of what goes up from the contracting path, on each level. The paper has none.
    """

    name: Literal["unetpp"] = "unetpp"
    padding: Literal["same"] = "same"
    base_channels: Whole = 32
    supervision: bool = True

    @property
    def levels(self) -> tuple[int, ...]:
        """Each level above the last has an output that was trained, if supervision is deep."""
        return tuple(range(1, self.depth)) if self.supervision else ()

    def pruned(self, level: int) -> Self:
        """The settings of the network that ends in the node X^{0,level}: one of that depth.

        Raises
        ------
        SettingsError
            There is no such level, or its output was not trained.
        """
        if not 1 <= level <= self.depth:
            raise SettingsError(
                f"There is no level {level} to prune to: expected 1 (the smallest) to {self.depth} "
                "(the whole network)."
            )
        if level < self.depth and not self.supervision:
            raise SettingsError(
                f"Level {level} was not trained, because supervision was off, which trains only "
                f"the last of {self.depth}: leave out the level, or train with supervision on."
            )
        strides = self.strides and self.strides[:level]
        return self.model_copy(update={"depth": level, "strides": strides})
