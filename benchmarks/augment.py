"""Throughput of the augmentation against the same in SciPy: 512 x 512 image, label and weight.

    python benchmarks/augment.py

Exits with 1 where the ratio is below 10. Both shift, rotate, scale and bend by one grid, sample the
image with a cubic kernel (SciPy: a cubic spline, and a linear one for comparison) and label and
weight from the nearest pixel. The limit: three float32 windows are read and written once, 6 MB, in
under a millisecond; the rest is arithmetic on the grid.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage

from overtile.augment import Augmentation, context_size
from overtile.settings import AugmentSettings

SIZE = 512
SETTINGS = AugmentSettings(deform=1)


def median_s(act: Callable[[], object], repeats: int) -> float:
    act()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def scipy_window(slab: np.ndarray, label: np.ndarray, weight: np.ndarray, order: int) -> None:
    """One window by scipy.ndimage, in float32, written as one would."""
    random = np.random.default_rng(0)
    bent = ndimage.zoom(random.normal(0, 10, (2, 3, 3)), (1, SIZE / 3, SIZE / 3), order=3)
    grid = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2 + bent
    angle, zoom = 0.7, 1.1
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    places = np.tensordot(turn, grid, 1) + (len(slab) - 1) / 2
    ndimage.map_coordinates(slab, places, order=order, mode="mirror")
    ndimage.map_coordinates(label, places, order=0, mode="mirror")
    ndimage.map_coordinates(weight, places, order=0, mode="mirror")


def main() -> None:
    torch.set_num_threads(2)
    (size, _), batch = context_size(SETTINGS, (SIZE, SIZE)), 4
    random = np.random.default_rng(0)
    image = random.normal(size=(batch, 1, size, size)).astype(np.float32)
    label = random.integers(0, 2, (batch, size, size))
    weight = random.random((batch, size, size)).astype(np.float32)
    slabs = [torch.from_numpy(part) for part in (image, label, weight)]
    act = Augmentation(SETTINGS, (SIZE, SIZE))
    ours = median_s(lambda: act(*slabs, torch.arange(batch)), 15) / batch
    one = (image[0, 0], label[0].astype(np.uint8), weight[0])
    linear, cubic = (median_s(lambda o=order: scipy_window(*one, o), 5) for order in (1, 3))
    print(f"per window of {SIZE} x {SIZE}: Overtile {ours * 1e3:.1f} ms (2 threads), SciPy linear")
    print(
        f"{linear * 1e3:.0f} ms, cubic {cubic * 1e3:.0f} ms; ratio {linear / ours:.1f} to linear,"
    )
    print(f"{cubic / ours:.1f} to cubic")
    sys.exit(linear / ours < 10)


if __name__ == "__main__":
    main()
