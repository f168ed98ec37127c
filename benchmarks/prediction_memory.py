"""Peak memory and time of predicting files, by the size of the image.

    python benchmarks/prediction_memory.py                  (4,096 to 32,768 px, some minutes, 3 GB)
    python benchmarks/prediction_memory.py --sizes 1024 2048                            (a trial)

Images of 8 bits are made by repeating a drawn micrograph, as tiled deflated BigTIFFs; a small
U-Net, trained for a moment, predicts their classes into an OME-Zarr. Each prediction runs in a
process of its own. Memory is the highest resident memory while it predicts, sampled every 2 ms,
above that of the process with the model loaded, which has predicted a first small image, so that
all libraries are loaded. Small images are predicted three times; medians count. Tiles have one size
for all images, since the plan would give small ones smaller tiles. The limits are those that the
project has set: 1.5 GiB, constant within 10 % and time linear within 10 %, of the largest image
against the smallest of at least 4,096 px.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import tifffile

import overtile
from overtile.machine import describe_processor, watch_memory
from overtile.sample import draw_sample
from overtile.settings import Settings, UNetSettings, WindowSettings

PATTERN_PX = 1024
LIMIT_MIB = 1536


def make_model(folder: Path) -> None:
    settings = Settings(
        network=UNetSettings(padding="same", depth=2, base_channels=8, norm="batch", dropout=0),
        window=WindowSettings(size_px=128, batch_size=2),
        border="own",
    )
    image, cells = draw_sample(0, 0, (256, 256))
    overtile.train(image, cells, steps=60, settings=settings, output=folder)


def make_image(path: Path, size: int) -> None:
    pattern = draw_sample(1, 0, (PATTERN_PX, PATTERN_PX))[0]

    def tiles() -> Iterator[np.ndarray]:
        for y in range(0, size, 512):
            for x in range(0, size, 512):
                yield pattern[y % PATTERN_PX :, x % PATTERN_PX :][:512, :512]

    tifffile.imwrite(
        path,
        tiles(),
        shape=(size, size),
        dtype=np.uint8,
        tile=(512, 512),
        compression="zlib",
        bigtiff=True,
    )


def predict(
    model: Path, first: Path, image: Path, output: Path, tile_px: int
) -> tuple[float, float]:
    """Seconds, and peak MiB above the loaded process."""
    segmenter = overtile.load(model)
    options = overtile.PredictOptions(tile_px=tile_px)
    segmenter.predict_file(first, output.with_name("first.zarr"), options)
    start = time.perf_counter()
    with watch_memory() as peak:
        segmenter.predict_file(image, output, options)
    return time.perf_counter() - start, peak.most / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 8192, 16384, 32768])
    parser.add_argument("--tile", type=int, default=1024, help="side, px")
    given = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "small.model")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            pool.submit(make_model, model).result()
        make_image(Path(folder, "first.tif"), 512)
        print(f"{describe_processor()}; tiles of {given.tile} px\n")
        print("| image | seconds | Mpx/s | peak above loaded, MiB |\n|---|---|---|---|")
        for size in given.sizes:
            image, output = Path(folder, "image.tif"), Path(folder, "classes.zarr")
            make_image(image, size)
            runs = []
            for _ in range(3 if size < 10_000 else 1):
                with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                    first = Path(folder, "first.tif")
                    work = pool.submit(predict, model, first, image, output, given.tile)
                    runs.append(work.result())
                shutil.rmtree(Path(folder, "first.zarr"))
                shutil.rmtree(output)
            seconds, peak = (statistics.median(each) for each in zip(*runs, strict=True))
            found[size] = (seconds, peak)
            print(
                f"| {size} x {size} | {seconds:.1f} | {size**2 / 1e6 / seconds:.2f} | {peak:.0f} |",
                flush=True,
            )
            image.unlink()
    judge(found)


def judge(found: dict[int, tuple[float, float]]) -> None:
    sizes = [size for size in sorted(found) if size >= 4096]
    if len(sizes) < 2:
        return
    small, large = sizes[0], sizes[-1]
    memory = found[large][1] / found[small][1]
    linear = found[large][0] / found[small][0] / (large / small) ** 2
    print(
        f"\nPeak at {large} px: {memory:.2f} of that at {small} px; time per pixel: {linear:.2f}."
    )
    sys.exit(found[large][1] > LIMIT_MIB or not 0.9 <= memory <= 1.1 or not 0.9 <= linear <= 1.1)


if __name__ == "__main__":
    main()
