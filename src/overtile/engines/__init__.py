"""Engines: from a batch of windows to logits. Prediction sees nothing else of a network."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """A function from windows (b c *space) float32 to logits (b k *out) float32."""

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logits of a batch of normalised windows."""
        ...
