"""Anyone's network over an image of any size, tile by tile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from overtile.engines.cost import measure_cost
from overtile.engines.torch import TorchEngine
from overtile.errors import ModelError, SizeError
from overtile.geometry import Fields
from overtile.image import Sliceable
from overtile.normalise import Normalisation
from overtile.settings import Precision
from overtile.tileable import inspect
from overtile.tileplan import SAFE_SHARE, Load, plan_tiles
from overtile.tiler import Tiler
from overtile.tiles import Border


def tiled(
    network: nn.Module,
    image: Sliceable,
    *,
    fields: Fields | None = None,
    tile_px: int | Sequence[int] | None = None,
    device: torch.device | None = None,
    precision: Precision = "float32",
) -> NDArray[np.float32]:
    """The logits of a network of yours for a whole image, computed in tiles that leave no seam.

    Parameters
    ----------
    network
        From (b c *space) to (b k *out), made of convolutions, poolings, interpolations and norms.
        It is copied and taken in evaluation.
    image
        (c y x) or (c z y x), anything sliceable; given to the network in float32, as it is.
    fields
        What `overtile.tileable.measure_fields` says of the network, one for each spatial axis; by
        default they are measured, which takes seconds.
    tile_px
        Largest side of a tile, or the side along each axis, in pixels; by default what takes least
        time within half of the free memory.
    device, precision
        As for `overtile.engines.torch.TorchEngine`.

    Returns
    -------
    array of float32
        (k *space): what one pass over the whole image gives, mirrored at its far sides to the next
        size that the network takes; on every side where the network pads nothing. NaN where a
        pixel is missing (NaN in any channel), which the network is given as 0.

    Raises
    ------
    ModelError
        Tiles of the network are not exact; the message names the layers and what to use instead.
    DataError
        Infinite pixels.
    SettingsError
        A tile smaller than the network's grid.
    SizeError
        Not one field for each spatial axis.

    Examples
    --------
    >>> network = nn.Conv2d(1, 2, 5, padding=2)
    >>> tiled(network, np.zeros((1, 300, 200), np.float32), tile_px=64).shape
    (2, 300, 200)
    """
    channels, *shape = image.shape
    if fields is None:
        found = inspect(network, channels, len(shape))
        if found.fields is None or not found.exact:
            raise ModelError(
                "Tiles of this network are not the whole image: "
                + " ".join(f"{breaker}." for breaker in found.breakers)
            )
        fields = found.fields
    if len(fields) != len(shape):
        raise SizeError(
            f"The image has {len(shape)} spatial axes and {len(fields)} fields are given: expected "
            "one for each, (z) y x."
        )
    engine = TorchEngine(network, device, precision)
    border: Border = "mirror" if fields[0].padding == "valid" else "own"
    if tile_px is None:
        cost = measure_cost(engine, fields, channels)
        load = Load(read_px_bytes=8 * channels)
        budget = int(SAFE_SHARE * engine.free_memory())
        tile_px = plan_tiles(shape, fields, border, cost, load, budget=budget).step
    plain = Normalisation((0.0,) * channels, (1.0,) * channels)
    tiler = Tiler(engine, fields, border=border, normalisation=plain, activation="sigmoid")
    result = np.zeros(0, np.float32)
    for write, logits in tiler.logits(image, tile_px):
        if result.size == 0:
            result = np.empty((len(logits), *shape), np.float32)
        result[:, *write] = logits
    return result
