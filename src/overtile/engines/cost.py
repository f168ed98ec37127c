"""What a window costs an engine in time and memory, measured once and kept."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from overtile.engines import Engine
from overtile.geometry import Fields
from overtile.machine import reused_memory

SMALL_PX = 2**16
"""About what the first probe reads, in pixels: 256 x 256, or 40 x 40 x 40."""

SLOW_S = 1.5
"""A first probe that takes longer is followed by one of twice, not four times, as many pixels."""

TOUCH_S = 1e-9
"""Seconds a byte of new memory at least costs an engine that does not keep it. The probes, whose
memory was in use before, show a quarter of it; what no program has used since the machine was
started costs this much (0.8 s/GB measured on a virtual machine)."""

SPARE = 1.1
"""Predicted memory is raised by so much: a sampled peak may miss the highest moment."""


@dataclass(frozen=True)
class Cost:
    """Time and memory of one window, both linear in its pixels.

    Attributes
    ----------
    tile_s, px_s
        Seconds for each window, and for each pixel that it reads.
    tile_bytes, px_bytes
        Bytes above those of the loaded process, in the same way.
    touch_s
        Seconds for each byte that is used for the first time: the system has to find and zero it.
    """

    tile_s: float
    px_s: float
    tile_bytes: float
    px_bytes: float
    touch_s: float

    def seconds(self, windows: int, read_px: int, largest_px: int = 0) -> float:
        """The time of so many windows that read so many pixels together, and of the memory of the
        largest, which the others use again.
        """
        touched = self.touch_s * (self.tile_bytes + largest_px * self.px_bytes)
        return windows * self.tile_s + read_px * self.px_s + touched

    def memory(self, read_px: int) -> int:
        """Bytes that a window of so many pixels needs."""
        return int(SPARE * (self.tile_bytes + read_px * self.px_bytes))


def probe_shapes(fields: Fields) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The small and the large probe, in pixels per axis: of sizes that fit each axis."""
    side = round(SMALL_PX ** (1 / len(fields)))
    small = tuple(field.good_size(max(side, field.smallest)) for field in fields)
    along = zip(fields, small, strict=True)
    return small, tuple(field.good_size(2 * size) for field, size in along)


def measure_cost(engine: Engine, fields: Fields, channels: int) -> Cost:
    """Run the engine on two sizes of window.

    Each is run once to warm up, which takes the memory, and prepares whatever the library keeps for
    a size, and twice for the time, of which the shorter counts.
    """
    small, large = probe_shapes(fields)
    probes: list[tuple[int, float, int]] = []
    cold_s = 0.0
    with engine.watch_memory() as peak, reused_memory():
        for shape in (small, large):
            if probes and probes[0][1] > SLOW_S:
                shape = (large[0], *small[1:])
            loaded = engine.load(np.zeros((1, channels, *shape), np.float32))
            cold_s = _time(engine, loaded)
            warm_s = min(_time(engine, loaded), _time(engine, loaded))
            del loaded
            probes.append((int(np.prod(shape)), warm_s, peak.most))
    (px, first_s, first_bytes), (more_px, then_s, then_bytes) = probes
    tile_s, px_s = _line(px, first_s, more_px, then_s)
    tile_bytes, px_bytes = _line(px, first_bytes, more_px, then_bytes)
    touch_s = max(cold_s - then_s, 0) / max(then_bytes - first_bytes, 2**20)
    if not engine.keeps_memory:
        touch_s = max(touch_s, TOUCH_S)
    return Cost(tile_s, px_s, tile_bytes, px_bytes, touch_s)


def _time(engine: Engine, loaded: Any) -> float:
    start = time.perf_counter()
    engine.classes(loaded)
    return time.perf_counter() - start


def _line(x: int, y: float, more: int, then: float) -> tuple[float, float]:
    """Offset and slope through two points, neither below 0."""
    slope = (then - y) / (more - x)
    if slope <= 0 or y < slope * x:
        return 0.0, max(then / more, y / x)
    return y - slope * x, slope


def known_cost(engine: Engine, fields: Fields, channels: int, key: tuple[object, ...]) -> Cost:
    """The cost as measured on this machine before, or else measured now and kept.

    Parameters
    ----------
    key
        All that it depends on; an entry of the cache in the user's folder is never out of date.
    """
    name = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
    path = cache_folder() / "costs" / f"{name}.json"
    try:
        return Cost(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        cost = measure_cost(engine, fields, channels)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(asdict(cost)))
        part.replace(path)
    except OSError:
        pass  # a home that cannot be written to costs a second at every start, nothing else
    return cost


def cache_folder() -> Path:
    """Where measurements are kept: $XDG_CACHE_HOME/overtile, or ~/.cache/overtile."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "overtile"
