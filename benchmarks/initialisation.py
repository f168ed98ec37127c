"""Where training starts from: Jaccard index by epoch, as TernausNet compared it.

    python benchmarks/initialisation.py DATA --plot benchmarks/initialisation.png     (ten minutes)
    python benchmarks/initialisation.py DATA --epochs 2 --seeds 1 --minutes 0.3           (a trial)

Iglovikov and Shvets 2018 (arXiv:1801.05746, figure 3) trained one network on aerial images from
LeCun-uniform weights, with an encoder from ImageNet, and whole from Carvana. Here the same U-Net
(16 base channels, no norm, whose start would matter less with one) learns ISBI 2012 from slices
0-3, with the same windows for all, at a constant learning rate: from LeCun-uniform and from
He-normal weights, and with the encoder, or all, of an earlier model. That one was trained for a
few minutes on the cells of DIC-C2DH-HeLa, another microscope and another question. After each
epoch (as many pixels as are labelled) the Jaccard index of the cells' class on slices 24-29 is
taken, at the most probable class. Lines are means over seeds; the table gives their range.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from torch.utils.data import DataLoader

import overtile
from overtile import layouts, networks, presets
from overtile.dataset import Slabs, prepare
from overtile.engines.torch import native_precision
from overtile.labels import understand
from overtile.machine import describe_processor
from overtile.metrics import confusion, iou
from overtile.model import Arrays
from overtile.normalise.choice import choose_normalisation
from overtile.settings import OptimiserSettings, Settings, UNetSettings
from overtile.step import Step, make_optimiser, window_sizes
from overtile.training.transfer import start_from

NETWORK = UNetSettings(padding="same", base_channels=16, dropout=0)
RATE = 5e-4
HELD_OUT = range(24, 30)
TRAINED = range(4)


def earlier_model(data: Path, minutes: float) -> Arrays:
    """Parameters learnt from the frames of DIC-C2DH-HeLa that are annotated by computer."""
    folder = data / "ctc" / "DIC-C2DH-HeLa"
    found = sorted((folder / "01_ST" / "SEG").glob("man_seg*.tif"))
    numbers = [path.stem.removeprefix("man_seg") for path in found]
    images = [folder / "01" / f"t{number}.tif" for number in numbers]
    preset = presets.default_settings()
    settings = preset.model_copy(
        update={"network": NETWORK, "optimiser": OptimiserSettings(learning_rate=RATE)}
    )
    with tempfile.TemporaryDirectory() as temporary:
        made = overtile.train(
            images,
            found,
            minutes=minutes,
            settings=settings,
            labels_are="instances",
            output=Path(temporary, "cells.model"),
            started=time.monotonic(),
        )
    print(f"Earlier model: {made.model.origin.steps:,} steps on {len(found)} frames.")
    return made.model.parameters


class Data:
    """Few training slices, and the held-out ones, normalised alike."""

    def __init__(self, data: Path) -> None:
        folder = data / "isbi2012"
        pairs = layouts.pairs(folder / "train-volume.tif", folder / "train-labels.tif")
        read = [(pair.image.read(), pair.read_label()) for pair in pairs]
        trained = [read[number] for number in TRAINED]
        self.meaning = understand((label for _, label in read), "auto")
        settings = presets.default_settings()
        self.examples = prepare(trained, self.meaning, settings.pixel_weight)
        self.normalisation = choose_normalisation(
            ((example.image, example.target > 0) for example in self.examples),
            settings.normalisation,
        )
        self.held_out = [
            (self.normalisation(read[number][0])[None], self.meaning.class_map(read[number][1]))
            for number in HELD_OUT
        ]

    def jaccard(self, network: torch.nn.Module, cells: int) -> float:
        """Of the cells' class, over all held-out slices together."""
        counts = np.zeros((2, 2), np.int64)
        network.eval()
        with torch.no_grad():
            for image, truth in self.held_out:
                predicted = network(torch.from_numpy(image)).argmax(dim=1)[0].numpy()
                counts += confusion(truth, predicted, 2)
        network.train()
        return float(iou(counts)[cells])


def learn(data: Data, network: networks.Network, epochs: int, seed: int) -> list[float]:
    """The Jaccard index after each epoch."""
    preset = presets.default_settings()
    settings: Settings = preset.model_copy(
        update={
            "network": network.settings,
            "precision": native_precision(torch.device("cpu")),
            "layout": "channels_last",
            "optimiser": OptimiserSettings(learning_rate=RATE, schedule="constant"),
        }
    )
    step = Step(network, settings)
    optimiser = make_optimiser(network.rated(), settings.optimiser)
    sizes = window_sizes(settings, network.fields)
    labelled = sum(example.target.size for example in data.examples)
    length = round(labelled / step.pixels)
    found = []
    for epoch in range(epochs):
        slabs = Slabs(
            data.examples,
            [data.normalisation] * len(data.examples),
            labelled_px=np.array([np.count_nonzero(each.labelled) for each in data.examples]),
            context_px=sizes.context,
            window_px=sizes.counted,
            seed=seed,
            steps=(epoch * length, (epoch + 1) * length),
            batch_size=settings.window.batch_size,
        )
        for batch in DataLoader(slabs, batch_size=settings.window.batch_size):
            step(batch).backward()
            optimiser.step()
            optimiser.zero_grad()
        found.append(data.jaccard(network, cells=1))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder that holds isbi2012 and ctc")
    parser.add_argument("--minutes", type=float, default=2.5, help="for the earlier model")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    print(describe_processor())
    earlier = earlier_model(given.data, given.minutes)
    data = Data(given.data)
    starts: dict[str, tuple[UNetSettings, Arrays]] = {
        "LeCun uniform": (NETWORK.model_copy(update={"init": "lecun-uniform"}), {}),
        "He normal": (NETWORK, {}),
        "encoder of an earlier model": (
            NETWORK,
            {name: value for name, value in earlier.items() if name.startswith("down.")},
        ),
        "whole earlier model": (NETWORK, earlier),
    }
    curves: dict[str, np.ndarray[Any, Any]] = {}
    shown = sorted({n for n in (1, 3, 10, 20, given.epochs) if n <= given.epochs})
    print("\n| start | " + " | ".join(f"epoch {n}" for n in shown) + " | at the last, all seeds |")
    print("|---" * (len(shown) + 2) + "|")
    for name, (settings, parameters) in starts.items():
        runs = []
        for seed in range(given.seeds):
            network = networks.build(settings, seed)
            if parameters:
                start_from(network, parameters, name)
            runs.append(learn(data, network, given.epochs, seed))
        curves[name] = np.array(runs)
        means = [f"{curves[name][:, n - 1].mean():.3f}" for n in shown]
        last = f"{curves[name][:, -1].min():.3f} to {curves[name][:, -1].max():.3f}"
        print(f"| {name} | {' | '.join(means)} | {last} |", flush=True)
    if given.plot:
        draw(curves, given.plot)


def draw(curves: dict[str, np.ndarray[Any, Any]], path: Path) -> None:
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for name, runs in curves.items():
        epochs = np.arange(1, runs.shape[1] + 1)
        (line,) = axes.plot(epochs, runs.mean(axis=0), label=name)
        axes.fill_between(
            epochs, runs.min(axis=0), runs.max(axis=0), color=line.get_color(), alpha=0.15, lw=0
        )
    axes.set(xlabel="epoch", ylabel="Jaccard index, slices 24-29", title="ISBI 2012, 4 slices")
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
