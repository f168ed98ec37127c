"""An engine that averages probabilities: of several networks, and of flipped and turned windows.

To the outside it is an engine like any other. The logits that it gives are those of the mean
probabilities: softmax(log p) = p where the classes sum to 1, and sigmoid(log p/(1 - p)) = p.

Why tiles stay exact
--------------------
Along an axis with grid g, every read begins on a multiple of g, and the sizes that fit leave the
same remainder r when divided by g, so every read also ends at r plus a multiple of g. A flip takes
the pixel p of a read to stop - 1 - p: it meets the poolings at the phase (r - 1 - p) mod g, which
is another one than that of the straight window, but the same in every tile and in the whole image.

A flipped window has as much to see as the straight one. With same padding r is 0, so that what a
tile writes, extended to the grid, lies on the grid of the flipped window as well, with the same
lead on both sides, or ends where the image's own border is. With valid padding nothing is padded,
so that an output pixel depends on its phase and on pixels of the image alone.

A quarter turn exchanges y and x, which keeps all this where both have the same field.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from overtile import machine
from overtile.engines import Engine, most_probable
from overtile.settings import Activation
from overtile.symmetry import Turn

LEAST = float(np.finfo(np.float32).tiny)
"""Of a mean probability, so that its logarithm is a number."""

MOST = 1 - 2.0**-24
"""Of one with a sigmoid: the largest float32 below 1."""


class AveragedEngine(Engine):
    """The mean of the probabilities that engines give of turned windows.

    One is computed after another and added where the first one's lie, so that whatever their
    number, two results more than one engine's are held in memory.

    Parameters
    ----------
    engines
        Of one library and field; their turns have the weight 1/n.
    turns
        What is done to each window, and undone with its result.
    activation
        What makes probabilities of the logits of the engines.
    parts
        Where engines see differently normalised windows: which of those that lie one behind
        another along the channels is each one's.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        turns: Sequence[Turn],
        activation: Activation,
        parts: Sequence[int] = (),
    ) -> None:
        self.engines = tuple(engines)
        self.parts = tuple(parts) or (0,) * len(engines)
        self.activation: Activation = activation
        first = engines[0]
        self.name, self.precision = first.name, first.precision
        self.threads, self.keeps_memory = first.threads, first.keeps_memory
        self.copies = max(self.parts) + 1
        self.turns = len(turns)
        self._turns = tuple(turns)

    def load(self, windows: NDArray[np.float32]) -> list[Any]:
        """The windows of each part; where the engines want them, unless they are to be turned."""
        parts = np.split(windows, self.copies, axis=1)
        if not all(turn.is_identity for turn in self._turns):
            return list(parts)
        return [self.engines[0].load(np.ascontiguousarray(part)) for part in parts]

    def __call__(self, windows: Any) -> NDArray[np.float32]:
        """The logits (b k *out) of the mean probabilities, finite wherever these are numbers."""
        mean = self._mean(windows)
        if self.activation == "softmax":
            return np.log(np.maximum(mean, LEAST, out=mean), out=mean)
        result: NDArray[np.float32] = logit(np.clip(mean, LEAST, MOST, out=mean), out=mean)
        return result

    def classes(self, windows: Any) -> NDArray[np.uint8]:
        """The class (b *out) of the highest mean probability; of equals the first."""
        return np.stack([most_probable(likely) for likely in self._mean(windows)])

    def watch_memory(self) -> AbstractContextManager[machine.Peak]:
        """As the engines do."""
        return self.engines[0].watch_memory()

    def free_memory(self) -> int:
        """As the engines do."""
        return self.engines[0].free_memory()

    def _mean(self, windows: Any) -> NDArray[np.float32]:
        loaded = windows if isinstance(windows, list) else self.load(windows)
        total: NDArray[np.float32] | None = None
        for engine, part in zip(self.engines, self.parts, strict=True):
            for turn in self._turns:
                window = loaded[part]
                if not turn.is_identity:
                    window = np.ascontiguousarray(turn(window))
                likely = turn.back(engine.probabilities(window, self.activation))
                if total is None:
                    total = np.ascontiguousarray(likely)
                else:
                    total += likely
        assert total is not None
        total /= np.float32(len(self.engines) * self.turns)
        return total
