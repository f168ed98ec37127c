"""Border weights against brute force: 375 objects in 603 x 1272 pixels.

    python benchmarks/pixelweights.py

Exits with 1 where the ratio is below 100 or a weight differs by more than 1e-4.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np
from scipy import ndimage

from overtile.pixelweights import border_weight

SHAPE, OBJECTS = (603, 1272), 375


def draw() -> np.ndarray:
    """Discs of 8 to 14 px radius on a jittered lattice; some touch, and the later one wins."""
    random = np.random.default_rng(0)
    rows, columns = np.indices(SHAPE)
    labels = np.zeros(SHAPE, np.int32)
    lattice = np.stack(np.meshgrid(np.arange(15) * 40 + 20, np.arange(25) * 50 + 30), -1)
    for number, centre in enumerate(lattice.reshape(-1, 2)[:OBJECTS], start=1):
        y, x = centre + random.integers(-14, 15, 2)
        labels[(rows - y) ** 2 + (columns - x) ** 2 < random.uniform(8, 14) ** 2] = number
    return labels


def brute_force(labels: np.ndarray) -> np.ndarray:
    """The formula, with one distance transform per object, keeping the two smallest."""
    first, second = np.full(labels.shape, np.inf), np.full(labels.shape, np.inf)
    for number in np.unique(labels)[1:]:
        distance = ndimage.distance_transform_edt(labels != number)
        second = np.minimum(second, np.maximum(first, distance))
        first = np.minimum(first, distance)
    return np.where(labels == 0, 10 * np.exp(-((first + second) ** 2) / (2 * 5**2)), 0)


def main() -> None:
    labels = draw()
    start = time.perf_counter()
    expected = brute_force(labels)
    brute_s = time.perf_counter() - start
    times = []
    for _ in range(9):
        start = time.perf_counter()
        weights = border_weight(labels)
        times.append(time.perf_counter() - start)
    ours_s, error = statistics.median(times), float(np.abs(weights - expected).max())
    count = len(np.unique(labels)) - 1
    print(f"{count} objects in {SHAPE[0]} x {SHAPE[1]} px")
    print(f"brute force {brute_s:.2f} s, Overtile {ours_s * 1000:.0f} ms (median of 9)")
    print(f"ratio {brute_s / ours_s:.0f}, largest difference {error:.1e}")
    sys.exit(brute_s / ours_s < 100 or error > 1e-4)


if __name__ == "__main__":
    main()
