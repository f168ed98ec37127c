"""What a UNet++ costs and gives at each level to which it is pruned.

    python benchmarks/pruning.py                                 (an hour of training, then minutes)
    python benchmarks/pruning.py --minutes 30 --base-channels 16 --model membrane.model
    python benchmarks/pruning.py --steps 20 --base-channels 4 --size 512                  (a trial)

One network is trained on slices 0-23 of ISBI 2012 with the default preset, and scored on 24-29 at
every level. Each level is loaded in a process of its own and predicts one drawn micrograph a first
time, to choose its tiles and to load all libraries, and then as often as asked for: the median
counts. Memory is the highest resident memory meanwhile above that of the process with the model
loaded, or that of the GPU where it computes. GFLOP are those of a pass over 512 x 512 px, two for
a multiplication with its addition. A model that was kept with --model is not trained again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import overtile
from overtile import machine
from overtile.networks import UNetPlusPlus
from overtile.networks.summary import summarise
from overtile.presets import default_settings
from overtile.sample import draw_sample

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "isbi2012"
IMAGES, LABELS = DATA / "train-volume.tif", DATA / "train-labels.tif"
HELD_OUT = "24:30"
COLUMNS = (
    "level",
    "parameters",
    "GFLOP at 512 px",
    "margin, px",
    "s/Mpx",
    "lowest to highest",
    "peak memory, MiB",
    "V_rand",
    "pixel error",
    "mean IoU",
)


@dataclass(frozen=True)
class Measured:
    """What a level took: seconds of each repeat, and the most memory."""

    seconds: list[float]
    peak_mib: float
    computed: str


def train(model: Path, base_channels: int, minutes: float | None, steps: int | None) -> None:
    """A UNet++ by the default preset, whose width and time are given."""
    settings = default_settings("unetpp")
    network = settings.network.model_copy(update={"base_channels": base_channels})
    settings = settings.model_copy(update={"network": network})
    overtile.train(
        IMAGES,
        LABELS,
        holdout=HELD_OUT,
        minutes=None if steps else minutes,
        steps=steps,
        settings=settings,
        output=model,
    )


def measure(model: Path, level: int, size: int, repeats: int) -> Measured:
    """Predict a picture of this side, in a process that ends after it."""
    segmenter = overtile.load(model, engine="torch", prune=level)
    engine = segmenter.predictor.engine
    image = draw_sample(0, 0, (size, size))[0]
    seconds = []
    with engine.watch_memory() as peak:
        segmenter.predict(image)
        for _ in range(repeats):
            start = time.perf_counter()
            segmenter.predict(image)
            seconds.append(time.perf_counter() - start)
        most = peak.most
    return Measured(seconds, most / 2**20, f"{engine.precision}, {engine.threads} threads")


def row(model: Path, level: int, size: int, found: Measured) -> str:
    """A line of the table."""
    segmenter = overtile.load(model, engine="torch", prune=level)
    chosen = segmenter.model.settings.network
    with torch.device("meta"):
        layers = summarise(UNetPlusPlus(chosen), (512, 512))
    scores = overtile.evaluate(segmenter, IMAGES, LABELS, only=HELD_OUT).mean
    overlap = np.mean([value for name, value in scores.items() if name.startswith("IoU")])
    per_mpx = [seconds / (size**2 / 1e6) for seconds in found.seconds]
    cells = (
        f"{level}",
        f"{sum(layer.trainable for layer in layers):,}",
        f"{sum(layer.flop for layer in layers) / 1e9:,.1f}",
        f"{segmenter.model.fields[0].margin}",
        f"{statistics.median(per_mpx):.3f}",
        f"{min(per_mpx):.3f} to {max(per_mpx):.3f}",
        f"{found.peak_mib:,.0f}",
        f"{scores['V_rand']:.3f}",
        f"{scores['pixel error']:.4f}",
        f"{overlap:.3f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--steps", type=int, help="instead of minutes")
    parser.add_argument("--base-channels", type=int, default=32, help="32 in the paper")
    parser.add_argument("--size", type=int, default=2048, help="side of the timed image, px")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", type=Path, help="folder to keep the model in")
    given = parser.parse_args()
    if not IMAGES.is_file():
        sys.exit(f"The real data are not at {DATA}.")
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # costs are measured anew
        model = given.model or Path(folder, "membrane.model")
        if not model.exists():
            train(model, given.base_channels, given.minutes, given.steps)
        trained = overtile.load(model, engine="torch").model
        network, origin = trained.settings.network, trained.origin
        found = {}
        for level in (*network.levels, len(network.levels) + 1):
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                task = pool.submit(measure, model, level, given.size, given.repeats)
                found[level] = task.result()
        print(
            f"    python benchmarks/pruning.py {' '.join(sys.argv[1:])}\n\n"
            f"{machine.describe_processor()}; {found[1].computed}; "
            f"torch {torch.__version__}; {origin.steps} steps in {origin.seconds / 60:.1f} min; "
            f"an image of {given.size} x {given.size} px, median of {given.repeats}.\n"
        )
        print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
        for level, one in found.items():
            print(row(model, level, given.size, one), flush=True)


if __name__ == "__main__":
    main()
