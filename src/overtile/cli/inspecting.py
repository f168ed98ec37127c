"""What `overtile inspect` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from overtile import io
from overtile import model as storage
from overtile.cli.describing import describe_objective
from overtile.cli.predicting import describe_mismatch
from overtile.cli.show import print_table, say
from overtile.engines.torch import network_of
from overtile.geometry import per_axis
from overtile.legend import code_of, written
from overtile.model import Model
from overtile.pruning import prune
from overtile.segmenter import load
from overtile.settings import Precision
from overtile.tileable import inspect, work_per_pixel

IMAGE_PX = {2: 4096, 3: 256}
"""Side of the image for which the cost of tiles is given, by dimensions."""

TILES_PX = {2: (128, 256, 512, 1024, 2048, 4096), 3: (32, 64, 96, 128, 192, 256)}


def print_inspection(
    folder: Path, image: Path | None, precision: Precision | Literal["auto"], level: int | None
) -> None:
    """Print margin, grid, reach, work per pixel, what breaks exactness, and a tile mismatch."""
    model = prune(storage.load(folder), level)
    settings, network = model.settings.network, network_of(model)
    found = inspect(network, settings.channels, settings.dimensions)
    fields, border = model.fields, model.settings.border
    if model.members:
        say(f"An ensemble of {len(model.members)} models; this is the network of the first.")
    part = "" if model.pruned is None else f" pruned to level {model.pruned}"
    say(f"{folder}: {settings.name}{part}, {settings.padding} padding, border {border}.")
    grid, margin = (per_axis(getattr(f, name) for f in fields) for name in ("grid", "margin"))
    say(f"Grid {grid} px, margin {margin} px.")
    say(model.normalisation.reason)
    if found.reach is not None:
        least, most = found.reach.least_px, found.reach.most_px
        say(
            f"Measured: a pixel sees {least} to {most} px to each side, by where it lies on the "
            f"grid; the receptive field is {2 * most + 1} px."
        )
    if found.error is not None:
        say(f"Tiles differ from the whole image by {found.error:.1g} in float64.")
    say("Exact in tiles." if found.exact else "Not exact in tiles, only blended (--inexact):")
    for breaker in found.breakers:
        say(f"  {breaker}")
    print_classes(model)
    size = IMAGE_PX[settings.dimensions]
    tiles = [tile for tile in TILES_PX[settings.dimensions] if tile >= max(f.grid for f in fields)]
    shape = (size,) * settings.dimensions
    works = work_per_pixel(network, settings.channels, fields, border, shape, tiles)
    rows = [
        [f"{work.tile_px:,} px", f"{work.flop_per_px / 1e3:,.0f}", f"{work.overhead:.2f}"]
        for work in works
    ]
    title = f"Work, for an image of {' x '.join(map(str, shape))} px"
    print_table(title, ["tile", "kFLOP per pixel", "of one pass"], rows)
    if image is not None:
        segmenter = load(folder, precision=precision, inexact=True, prune=level)
        planes = segmenter.predictor.check(io.open(image), str(image))
        engine = segmenter.predictor.engine
        say(f"{image}, {engine.name} in {engine.precision}:")
        say(describe_mismatch(segmenter, planes[0]))


def print_classes(model: Model) -> None:
    """Print what the classes are called, their values in labels and their colours."""
    classes = model.classes
    coded = classes.coding == "colours"
    rows = [
        [
            str(place),
            name + (" (background)" if place == classes.background else ""),
            written(value) if coded else str(value),
            written(code_of(colour)),
        ]
        for place, (name, value, colour) in enumerate(
            zip(classes.names, classes.values, classes.colours, strict=True)
        )
    ]
    print_table("Classes", ["id", "name", "in labels", "colour"], rows, text=2)
    say(f"Objective: {describe_objective(model)}.")
