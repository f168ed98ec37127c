"""A network as a graph of operations, for the converters of other engines."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram


def trace(network: nn.Module) -> ExportedProgram:
    """The graph of a network in prediction, for any number of windows of any size that fits.

    Parameters
    ----------
    network
        With `settings` (its channels and dimensions) and `fields`; it is left as it is. Its forward
        pass may not ask for the value of a size while `torch.compiler.is_exporting`.
    """
    known: Any = network
    channels, dimensions = known.settings.channels, known.settings.dimensions
    # Sizes of 1, and equal ones, would be taken for constants. Only their relations are looked at:
    # nothing is computed, and the memory is never touched.
    shape = [2]
    for field in known.fields:
        size = field.smallest + field.grid
        while size in shape:
            size += field.grid
        shape.append(size)
    windows = torch.empty(2, channels, *shape[1:])
    free = {axis: Dim.DYNAMIC for axis in range(dimensions + 2) if axis != 1}
    frozen = copy.deepcopy(network).cpu().eval()
    with quiet():
        return torch.export.export(frozen, (windows,), dynamic_shapes=(free,))


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back warnings and log messages: converters tell what is of use to their makers only."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
