"""What tiles cost in accuracy: one model, the same images, whole and in tiles of several kinds.

    .venv-bench/bin/python benchmarks/tiled.py MODEL IMAGES LABELS --only 24:30 --tile 128

Overtile's tiles give what the whole image gives. The others show what the usual ways would do to
the same parameters: tiles side by side, each predicted as if it were an image; and MONAI's sliding
window, its tiles overlapping by a quarter or a half and blended.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from overtile import layouts
from overtile.evaluation import evaluate_pairs
from overtile.image import Image
from overtile.networks.torchvision import mend_torchvision
from overtile.segmenter import Segmenter, load

Predict = Callable[[Image], NDArray[np.float32]]


def tiles(segmenter: Segmenter, image: Image, tile_px: int | None = None) -> NDArray[np.float32]:
    """Overtile's."""
    return segmenter.probabilities(image, tile_px=tile_px)


def sliding(
    segmenter: Segmenter, image: Image, tile_px: int, overlap: float
) -> NDArray[np.float32]:
    """MONAI's; without overlap its tiles lie side by side."""
    from monai.inferers import sliding_window_inference

    def network(windows: Tensor) -> Tensor:
        cut = [segmenter.probabilities(replace(image, data=window.numpy())) for window in windows]
        return torch.from_numpy(np.stack(cut))

    pixels = torch.from_numpy(np.asarray(image.data, np.float32))[None]
    found = sliding_window_inference(
        pixels, (tile_px, tile_px), 1, network, overlap, mode="gaussian" if overlap else "constant"
    )
    return found[0].numpy()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("model", "images", "labels"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--only")
    parser.add_argument("--tile", type=int, default=128)
    given = parser.parse_args()
    mend_torchvision()  # which MONAI imports
    segmenter = load(given.model, precision="float32")
    pairs = layouts.scored(layouts.pairs(given.images, given.labels), given.only, ())
    side = given.tile
    ways: dict[str, Predict] = {
        "whole": partial(tiles, segmenter),
        "tiles of Overtile": partial(tiles, segmenter, tile_px=side),
        "tiles side by side": partial(sliding, segmenter, tile_px=side, overlap=0),
        "MONAI, a quarter blended": partial(sliding, segmenter, tile_px=side, overlap=0.25),
        "MONAI, half blended": partial(sliding, segmenter, tile_px=side, overlap=0.5),
    }
    whole = [ways["whole"](pair.image.read_image()) for pair in pairs]
    print("| | pixel error | V_rand | other classes than whole | largest difference | seconds |")
    print("|---|---|---|---|---|---|")
    for name, predict in ways.items():
        began = time.perf_counter()
        found = [predict(pair.image.read_image()) for pair in pairs]
        seconds = time.perf_counter() - began
        several = list(zip(found, whole, strict=True))
        other = np.mean([(one.argmax(0) != all_.argmax(0)).mean() for one, all_ in several])
        most = max(float(np.abs(one - all_).max()) for one, all_ in several)
        scores = evaluate_pairs(pairs, segmenter.meaning, predict, segmenter.find_objects).mean
        row = (f"{scores['pixel error']:.4f}", f"{scores['V_rand']:.4f}", f"{other:.3%}")
        print("|", " | ".join((name, *row, f"{most:.1e}", f"{seconds:.1f}")), "|", flush=True)


if __name__ == "__main__":
    main()
