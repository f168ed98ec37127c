"""Whether loading starves training: windows per second from each format, against the network's.

    python benchmarks/loading.py                (about five minutes)

Eight synthetic micrographs of 1024 x 1024 px are written in each format, with labels in TIFF. Then
training windows of the default preset are drawn: from images that are kept decoded, with their
pixel weights, and with nothing kept, where each window costs a decoding of its image and its label
and the pixel weights of the whole. Beside them: how fast images decode, and how many windows per
second the default network trains on (float32 or bfloat16, as is fastest here). The limit of kept
images is the copy: a window with its context is read once, and written once as floats.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK
import torch

from overtile import io, layouts, presets
from overtile.engines.torch import best_device
from overtile.image import Georeference, Image
from overtile.machine import describe_processor
from overtile.networks import fields_of
from overtile.planning import Machine, Timing, fit
from overtile.planning.machine import ENOUGH_S, fastest
from overtile.presets import Wanted
from overtile.sample import draw_sample
from overtile.training.data import TrainingData

COUNT, SIZE_PX, REPEATS = 8, 1024, 3


def write(folder: Path, suffix: str) -> Path:
    """The images in one format; labels beside them."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for number in range(COUNT):
        image, cells = draw_sample(0, number, (SIZE_PX, SIZE_PX))
        path = folder / "images" / f"{number}{suffix}"
        if suffix in (".jpg", ".h5", ".npz", ".geo.tif"):
            _write_foreign(path, image)
        else:
            io.write(path, Image(image, "yx", (1.0, 1.0), "millimeter"))
        io.write(folder / "labels" / f"{number}.tif", Image(cells, "yx"))
    return folder


def _write_foreign(path: Path, image: np.ndarray) -> None:
    if path.suffix == ".jpg":
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(image), str(path), imageIO="JPEGImageIO")
    elif path.suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            file.create_dataset("raw", data=image, chunks=(256, 256), compression="gzip")
    elif path.suffix == ".npz":
        np.savez_compressed(path, raw=image)
    else:
        from rasterio.crs import CRS

        place = Georeference(CRS.from_epsg(32633).to_wkt(), (0.5, 0, 5e5, 0, -0.5, 5e6))
        io.write(path.with_name(path.name.replace(".geo", "")), Image(image, "yx", frame=place))


def windows_per_s(folder: Path, kept_mib: int | None, windows: int) -> float:
    """Median over repeats of how many windows are drawn in a second."""
    settings = presets.default_settings().model_copy(update={"kept_mib": kept_mib})
    pairs = layouts.pairs(folder / "images", folder / "labels")
    data = TrainingData(pairs, settings)
    settings = fit(data.fingerprint, Wanted(settings, frozenset())).settings
    load = data.loader(settings, fields_of(settings.network))
    steps = max(1, windows // settings.window.batch_size)
    for place in range(COUNT):  # what is kept is made when it is first drawn from
        data.examples[place]
    rates = []
    for repeat in range(REPEATS):
        begin = time.perf_counter()
        count = sum(len(batch[0]) for batch in load(repeat * steps, (repeat + 1) * steps))
        rates.append(count / (time.perf_counter() - begin))
    return statistics.median(rates)


def decode_mpx_per_s(folder: Path) -> float:
    """Median over repeats of decoded megapixels in a second."""
    rates = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        for pair in layouts.pairs(folder / "images", folder / "labels"):
            pair.image.read()
        rates.append(COUNT * SIZE_PX**2 / 1e6 / (time.perf_counter() - begin))
    return statistics.median(rates)


def network_windows_per_s(folder: Path) -> tuple[float, str]:
    """What the default network trains on, augmentation included, and in which precision."""
    settings = presets.default_settings()
    data = TrainingData(layouts.pairs(folder / "images", folder / "labels"), settings)
    settings = fit(data.fingerprint, Wanted(settings, frozenset())).settings
    timing = Timing(
        lambda chosen: next(iter(data.loader(chosen, fields_of(chosen.network))(0, 1))),
        best_device(),
    )
    precision, layout, _ = fastest(settings, Machine.here().precision, timing)
    settings = settings.model_copy(update={"precision": precision, "layout": layout})
    return settings.window.batch_size / timing.step_s(settings, ENOUGH_S), precision


def main() -> None:
    suffixes = (".tif", ".png", ".npy", ".ome.tif", ".zarr", ".nii.gz", ".nrrd", ".mha")
    suffixes += (".jpg", ".h5", ".npz", ".geo.tif")
    with tempfile.TemporaryDirectory() as temporary:
        folders = {suffix: write(Path(temporary, suffix[1:]), suffix) for suffix in suffixes}
        wanted, precision = network_windows_per_s(folders[".tif"])
        print(f"{describe_processor()}, {torch.get_num_threads()} threads")
        print(f"The default network trains on {wanted:.1f} windows per second ({precision}).\n")
        print("| format | decoded Mpx/s | windows/s, kept | windows/s, none kept |")
        print("|---|---|---|---|")
        for suffix, folder in folders.items():
            decoded = decode_mpx_per_s(folder)
            kept, none = windows_per_s(folder, None, 200), windows_per_s(folder, 0, 16)
            print(
                f"| `{suffix}` | {decoded:.0f} | {kept:.0f} ({kept / wanted:.0f} times) "
                f"| {none:.1f} ({none / wanted:.1f} times) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
