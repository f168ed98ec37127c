"""What `overtile predict` does around a segmenter."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from overtile import io, layouts
from overtile.cli.show import ERR, say
from overtile.errors import DataError, OutputError
from overtile.pictures import colours
from overtile.pictures import overlay as draw
from overtile.segmenter import Segmenter

What = Literal["classes", "probabilities", "objects"]


def run_prediction(
    segmenter: Segmenter,
    images: Path,
    output: Path,
    what: What,
    overlay: Path | None,
    *,
    tile_px: int,
    overwrite: bool,
) -> None:
    """Predict a file into a file, or a folder into a folder."""
    jobs = _jobs(images, output)
    for _, target in jobs:
        io.format_of(target)
        if target.exists() or target.parent.exists():
            io.check_free(target, overwrite)
    if overlay is not None and overlay.is_file():
        raise OutputError(f"{overlay} is a file: expected a folder for the overlays.")
    for source, target in track(jobs, "predicting", console=ERR, disable=len(jobs) == 1):
        _predict_file(segmenter, source, target, what, overlay, tile_px, overwrite)
    say(f"{what} of {len(jobs)} file{'s' * (len(jobs) > 1)} in {output}")


def _jobs(images: Path, output: Path) -> list[tuple[Path, Path]]:
    """Each file with the one that its prediction goes to."""
    if not images.is_dir():
        return [(images, output)]
    if io.is_known(output):
        raise OutputError(f"{images} is a folder, so the output is one too: {output} names a file.")
    files = sorted(path for path in images.iterdir() if io.is_known(path) and path.is_file())
    if not files:
        raise DataError(f"{images} holds no image: expected PNG, JPEG or TIFF files.")
    return [(path, output / f"{path.stem}.tif") for path in files]


def _predict_file(
    segmenter: Segmenter,
    source: Path,
    target: Path,
    what: What,
    overlay: Path | None,
    tile_px: int,
    overwrite: bool,
) -> None:
    planes = layouts.list_images(source)
    results: list[NDArray[Any]] = []
    for name, plane in planes:
        image = segmenter.check(plane.read(), name)
        probabilities = segmenter.tiler.probabilities(image, tile_px)
        classes = probabilities.argmax(axis=0).astype(np.uint8)
        objects = segmenter.find_objects(probabilities) if what == "objects" else None
        if overlay is not None:
            many = objects is None and len(segmenter.classes) > 2
            picture = draw(image, classes if objects is None else objects, tinted=many)
            overlay.mkdir(parents=True, exist_ok=True)
            io.write(
                overlay / f"{name}.png", np.moveaxis(picture, -1, 0), "cyx", overwrite=overwrite
            )
        if objects is not None:
            results.append(objects)
        else:
            results.append(classes if what == "classes" else probabilities)
    stacked = np.stack(results) if len(planes) > 1 else results[0]
    axes = ("z" if len(planes) > 1 else "") + ("cyx" if what == "probabilities" else "yx")
    if axes == "zcyx":
        stacked, axes = np.moveaxis(stacked, 1, 0), "czyx"
    target.parent.mkdir(parents=True, exist_ok=True)
    shown = colours(len(segmenter.classes)) if what == "classes" else None
    io.write(target, stacked, axes, overwrite=overwrite, colours=shown)
