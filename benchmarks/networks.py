"""Every network on one held-out split of real data, with the same training time each.

    python benchmarks/networks.py DATA/isbi2012                            (about half an hour)
    python benchmarks/networks.py DATA/isbi2012 --minutes 0.3 --only unet  (a trial)

Trained on slices 0-23 of ISBI 2012 with the default preset and nothing downloaded, scored on slices
24-29. Each row is trained, predicted and measured in processes of its own. GFLOP are those of one
image of 512 px, counted from the layer table (two for a multiplication with its addition). Seconds
per Mpx: the median over predictions of 512 px slices, PyTorch, in the precision that the machine is
fastest in. Memory is the highest resident memory above that of the process with everything
loaded: of two training steps as they were trained, and of predicting one slice.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

import overtile
from overtile import io, networks, presets
from overtile import model as storage
from overtile.machine import describe_processor, watch_memory
from overtile.networks.summary import summarise
from overtile.planes import planes
from overtile.settings import Settings, from_dict
from overtile.step import Step, make_optimiser, window_sizes

SIZE_PX = 512

ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "U-Net": ("unet", {}),
    "U-Net, skips added": ("unet", {"skip": "add"}),
    "U-Net, no skips, unpooling": ("unet", {"skip": "none", "up": "unpool"}),
    "U-Net, residual": ("unet", {"block": "residual"}),
    "U-Net, bilinear": ("unet", {"up": "bilinear"}),
    "U-Net, batch renorm": ("unet", {"norm": "batch-renorm"}),
    "U-Net, instance norm (not exact)": ("unet", {"norm": "instance"}),
    "UNet++": ("unetpp", {}),
    "TernausNet, VGG11 at random": ("ternausnet", {"encoder_weights": "none"}),
    "ResNet-18 U-Net, at random": (
        "encoder-unet",
        {"encoder": "resnet18", "encoder_weights": "none"},
    ),
    "FCN-8s, 16 base channels": ("fcn", {"base_channels": 16, "fc_channels": 256}),
    "sliding window": ("patchnet", {}),
}
"""Name -> network, and what differs from what the default preset takes."""


def settings_of(row: str) -> Settings:
    name, changes = ROWS[row]
    preset = presets.resolve("default", name)
    return from_dict(
        Settings,
        preset.model_dump() | {"network": preset.network.model_dump() | changes},
        row,
    )


def train(row: str, images: Path, labels: Path, folder: Path, minutes: float) -> int:
    """Steps done."""
    made = overtile.train(
        images,
        labels,
        holdout="24:30",
        settings=settings_of(row),
        minutes=minutes,
        output=folder,
        started=time.monotonic(),
    )
    return made.model.origin.steps


def score(folder: Path, images: Path, labels: Path) -> dict[str, float]:
    segmenter = overtile.load(folder, engine="torch", inexact=True)
    return overtile.evaluate(segmenter, images, labels, only="24:30").mean


def predict(folder: Path, images: Path) -> tuple[float, float]:
    """Seconds per Mpx, and MiB."""
    segmenter = overtile.load(folder, engine="torch", inexact=True)
    slices = [np.asarray(plane[0]) for plane in planes(io.open(images))][:6]
    segmenter.predict(slices[0][:64, :64])
    with watch_memory() as peak:
        segmenter.predict(slices[0])
    times = []
    for image in slices:
        start = time.perf_counter()
        segmenter.predict(image)
        times.append((time.perf_counter() - start) / image.size * 1e6)
    return statistics.median(times), peak.most / 2**20


def step_memory(folder: Path) -> float:
    """MiB of two steps in the settings that the model was trained with, on an empty image."""
    settings = storage.load(folder).settings
    step = Step(networks.build(settings.network), settings)
    sizes = window_sizes(settings, step.network.fields)
    batch, channels = settings.window.batch_size, settings.network.channels
    slab = sizes.context
    given = (
        torch.zeros(batch, channels, *slab),
        torch.zeros(batch, *slab, dtype=torch.int64),
        torch.ones(batch, *slab),
        torch.arange(batch),
    )
    optimiser = make_optimiser(step.network.rated(), settings.optimiser)
    with watch_memory() as peak:
        for _ in range(2):
            step(given).backward()
            optimiser.step()
            optimiser.zero_grad()
    return peak.most / 2**20


def gflop(folder: Path) -> tuple[int, float]:
    """Parameters that are trained, and work for an image of `SIZE_PX`, or the next that fits."""
    chosen = storage.load(folder).settings.network
    with torch.device("meta"):
        network = networks.NETWORKS[chosen.name](chosen)
    space = [field.size_for(SIZE_PX) for field in network.fields]
    layers = summarise(network, space)
    return sum(layer.trainable for layer in layers), sum(layer.flop for layer in layers) / 1e9


def alone(call: Any, *given: Any) -> Any:
    """The result of a call in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(call, *given).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder of ISBI 2012")
    parser.add_argument("--minutes", type=float, default=1.5)
    parser.add_argument("--only", nargs="*", help="rows that begin so")
    given = parser.parse_args()
    images, labels = given.data / "train-volume.tif", given.data / "train-labels.tif"
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    print(f"{describe_processor()}; {given.minutes:g} min each; commit {commit.stdout.strip()}\n")
    print(
        "| network | parameters | GFLOP | steps | step MiB | predict MiB | s/Mpx | pixel error "
        "| IoU | V_rand |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for row in ROWS:
        if given.only and not any(row.startswith(name) for name in given.only):
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, "model")
            try:
                steps = alone(train, row, images, labels, folder, given.minutes)
            except overtile.OvertileError as error:
                print(f"| {row} | {error} |", flush=True)
                continue
            parameters, work = alone(gflop, folder)
            training_mib = alone(step_memory, folder)
            rate, predicting_mib = alone(predict, folder, images)
            scores = alone(score, folder, images, labels)
        iou = [value for name, value in scores.items() if name.startswith("IoU")]
        print(
            f"| {row} | {parameters / 1e6:.2f} M | {work:.1f} | {steps:,} | {training_mib:,.0f} | "
            f"{predicting_mib:,.0f} | {rate:.2f} | {scores['pixel error']:.4f} | "
            f"{statistics.mean(iou):.3f} | {scores['V_rand']:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
