"""What a Dask cluster on this machine costs, against one process.

    python benchmarks/cluster.py

A U-Net of 16 channels, trained for a moment, predicts the same drawn image, with the same tiles,
into an OME-Zarr: in one process with all cores, and by Dask workers that share the cores. Starting
the cluster and loading the model are not counted: a first image is predicted before. Medians of
three; the ways take turns, so that what else the machine does meets all alike. The results are
compared bit for bit.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import overtile
from overtile import io
from overtile.executors import connected
from overtile.machine import cores, describe_processor
from overtile.sample import draw_sample
from overtile.segmenter import Segmenter
from overtile.settings import Settings, UNetSettings, WindowSettings

ROUNDS = 3


def make_model(folder: Path) -> None:
    settings = Settings(
        network=UNetSettings(padding="same", base_channels=16, norm="batch", dropout=0),
        window=WindowSettings(size_px=128, batch_size=2),
        border="own",
    )
    image, cells = draw_sample(0, 0, (256, 256))
    overtile.train(image, cells, steps=30, settings=settings, output=folder)


def run(model: Segmenter, image: Path, options: overtile.PredictOptions, client: object) -> float:
    output = image.with_name("classes.zarr")
    if output.exists():
        shutil.rmtree(output)
    prediction = model.prepare_file(image, output, options)
    start = time.perf_counter()
    prediction.run(client=client)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096, help="side of the image, px")
    parser.add_argument("--tile", type=int, default=1024, help="side of a tile, px")
    given = parser.parse_args()
    counts = [0, 1, cores()]
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        make_model(folder / "small.model")
        pattern = draw_sample(1, 0, (512, 512))[0]
        times = -(-given.size // 512)
        np.save(folder / "image.npy", np.tile(pattern, (times, times))[: given.size, : given.size])
        np.save(folder / "first.npy", np.tile(pattern, (4, 4)))
        model = overtile.load(folder / "small.model")
        ways = {
            count: (
                overtile.PredictOptions(tile_px=given.tile, workers=count or None),
                stack.enter_context(connected(count, None)) if count else None,
            )
            for count in counts
        }
        results = {}
        for options, client in ways.values():
            run(model, folder / "first.npy", options, client)
        for _ in range(ROUNDS):
            for count, (options, client) in ways.items():
                seconds[count].append(run(model, folder / "image.npy", options, client))
                results[count] = io.open(folder / "classes.zarr").data[()]
    same = all(np.array_equal(results[0], other) for other in results.values())
    serial = statistics.median(seconds[0])
    print(f"{describe_processor()}; {given.size} px, tiles of {given.tile} px\n")
    print("| who computes | seconds | against one process |\n|---|---|---|")
    for count, measured in seconds.items():
        middle = statistics.median(measured)
        threads = cores() // max(count, 1)
        who = f"{count} workers, {threads} threads each" if count else f"this process, {threads}"
        print(f"| {who} | {middle:.2f} | {middle / serial:.2f} |")
    print(f"\nThe same, bit for bit: {same}.")


if __name__ == "__main__":
    main()
