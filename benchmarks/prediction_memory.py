"""Peak memory and time of predicting files, by the size of the image.

    python benchmarks/prediction_memory.py                  (4,096 to 32,768 px, some minutes, 3 GB)
    python benchmarks/prediction_memory.py --sizes 1024 2048                            (a trial)

Images of 8 bits are made by repeating a drawn micrograph, as tiled deflated BigTIFFs; a small
U-Net, trained for a moment, predicts their classes into an OME-Zarr. Each prediction runs in a
process of its own. Memory is the highest resident memory while it predicts, sampled every 2 ms,
above that of the process with the model loaded. The side of tiles is limited, since the plan
would give small images, which do not pay for much memory, smaller ones. The limits are those that
the project has set: 1.5 GiB, constant within 10 % and time linear within 10 %, of the largest
against the smallest of at least 4,096 px.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
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
    model: Path, image: Path, output: Path, memory: int, tile_px: int
) -> tuple[float, float, str]:
    """Seconds, peak MiB above the loaded process, and the plan."""
    segmenter = overtile.load(model)
    segmenter.predictor.cost()  # a user's machine has measured it before
    start = time.perf_counter()
    with watch_memory() as peak:
        options = overtile.PredictOptions(memory=memory, tile_px=tile_px)
        plan = segmenter.predict_file(image, output, options)
    return time.perf_counter() - start, peak.most / 2**20, plan.reasons[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 8192, 16384, 32768])
    parser.add_argument("--memory-mib", type=int, default=1024, help="the budget")
    parser.add_argument("--tile", type=int, default=1024, help="largest side, px")
    given = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "small.model")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            pool.submit(make_model, model).result()
            pool.submit(predict_cost, model).result()
        print(f"{describe_processor()}; budget {given.memory_mib} MiB\n")
        print("| image | seconds | Mpx/s | peak above loaded, MiB | tiles |\n|---|---|---|---|---|")
        for size in given.sizes:
            image, output = Path(folder, "image.tif"), Path(folder, "classes.zarr")
            make_image(image, size)
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                budget = given.memory_mib * 2**20
                work = pool.submit(predict, model, image, output, budget, given.tile)
                seconds, peak, plan = work.result()
            found[size] = (seconds, peak)
            tiles = plan.partition(" px")[0]
            print(
                f"| {size} x {size} | {seconds:.1f} | {size**2 / 1e6 / seconds:.2f} | {peak:.0f} "
                f"| {tiles} |",
                flush=True,
            )
            shutil.rmtree(output)
            image.unlink()
    judge(found)


def predict_cost(model: Path) -> None:
    overtile.load(model).predictor.cost()


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
