"""Engines: from a batch of windows to logits. Prediction sees nothing else of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from overtile import machine
from overtile.settings import Activation, Precision


class Engine(ABC):
    """A function from windows (b c *space) float32 to logits (b k *out) float32.

    Attributes
    ----------
    name
        Of the library that computes.
    precision
        Of its arithmetic.
    threads
        Of the processor that it uses.
    keeps_memory
        Whether memory that it has taken once is kept for the next image.
    turns
        How often each window is computed, flipped or turned otherwise.
    copies
        How many normalised copies of the image a window holds, along its channels.
    """

    name: str
    precision: Precision
    threads: int
    keeps_memory = True
    turns = 1
    copies = 1

    @abstractmethod
    def __call__(self, windows: Any) -> NDArray[np.float32]:
        """The logits of a batch of normalised windows, loaded or not.

        Raises
        ------
        MemoryError
            The device has not enough memory for windows of this size.
        """

    def load(self, windows: NDArray[np.float32]) -> Any:
        """The windows where the engine wants them; by a thread, while another one computes."""
        return windows

    def classes(self, windows: Any) -> NDArray[np.uint8]:
        """The most probable class (b *out) of every pixel; of equals the first."""
        return np.stack([most_probable(logits) for logits in self(windows)])

    def probabilities(self, windows: Any, activation: Activation) -> NDArray[np.float32]:
        """The probability (b k *out) of every class."""
        logits = self(windows)
        if activation == "sigmoid":
            return np.asarray(expit(logits), np.float32)
        likely: NDArray[np.float32] = logits - logits.max(
            axis=1, keepdims=True
        )  # in place from here on, for its size
        np.exp(likely, out=likely)
        likely /= likely.sum(axis=1, keepdims=True)
        return likely

    def watch_memory(self) -> AbstractContextManager[machine.Peak]:
        """The most memory that is taken while a block runs, where tiles are computed."""
        return machine.watch_memory()

    def free_memory(self) -> int:
        """Bytes still free where tiles are computed."""
        return machine.free_memory()


class FunctionEngine(Engine):
    """Any function from windows to logits as an engine.

    Parameters
    ----------
    function
        From (b c *space) float32 to (b k *out) float32.
    """

    name = "function"
    precision: Precision = "float32"
    threads = 1

    def __init__(self, function: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        self.function = function

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the function gives."""
        return self.function(windows)


def most_probable(logits: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The class (*space) with the highest of its logits (k *space); of equals the first.

    It is ``logits.argmax(axis=0)``, also where a logit is not a number: then the first such class.
    """
    classes = np.zeros(logits.shape[1:], np.uint8)
    best = logits[0].copy()
    # Class by class: argmax along the first axis takes ten times as long, and 8 bytes a pixel; a
    # masked assignment half as long. The higher number is that of the class that is better.
    for number in range(1, len(logits)):
        better = np.greater(logits[number], best).view(np.uint8)
        np.maximum(classes, np.multiply(better, np.uint8(number), out=better), out=classes)
        np.maximum(best, logits[number], out=best)
    # A maximum stays not a number once it is, and the comparisons have missed that.
    broken = np.isnan(best.max(initial=-np.inf))
    return logits.argmax(axis=0).astype(np.uint8) if broken else classes
