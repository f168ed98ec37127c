"""Every real data set, trained on for a minute and predicted, with nothing given but its path.

About a quarter of an hour on two cores: `pytest -m slow tests/test_real_data.py`.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import overtile
from overtile import io, layouts
from overtile.planes import Planes

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Known:
    """What is to be recognised of a data set, and images in it that are predicted.

    Attributes
    ----------
    layout, pairs, dimensions
        As of `layouts.Pairs`.
    kind, classes
        What label values are, and the names of the classes.
    scheme
        Of the normalisation.
    images
        A file or a folder inside of the data set.
    """

    layout: str
    pairs: int
    kind: str
    classes: tuple[str, ...]
    images: str
    dimensions: int = 2
    scheme: str = "mean-std"


OBJECTS = ("background", "object")
CAMVID = "Sky Building Pole Road Pavement Tree SignSymbol Fence Car Pedestrian Bicyclist"
AERIAL = "#3C1098 #6EC1E4 #8429F6 #E2A929 #FEDD3A"
BANDS = "#000000 #000096 #007D00 #00FF00 #646464 #FFFFFF"
HIPPOCAMPUS = ("background", "Anterior", "Posterior")
CASES = {
    "isbi2012": Known("together", 30, "classes", ("background", "foreground"), "test-volume.tif"),
    "ctc/DIC-C2DH-HeLa": Known("ctc", 21, "instances", OBJECTS, "01"),
    "dsb2018/stage1_train": Known(
        "dsb2018",
        206,
        "instances",
        OBJECTS,
        "feffce59a1a3eb0a6a05992bb7423c39c7d52865846da36d89e2a72c379e5398/images",
        scheme="per-image",
    ),
    "dubai": Known("tiles", 54, "classes", tuple(AERIAL.split()), "Tile 4/images"),
    "camvid": Known("camvid", 62, "classes", tuple(CAMVID.split()), "train"),
    # Of the 21 classes of VOC, those that the two training images have.
    "voc": Known(
        "voc",
        3,
        "classes",
        ("background", "bottle", "chair", "person", "sofa"),
        "VOCdevkit/VOC2012/JPEGImages",
    ),
    "msd/Task04_Hippocampus": Known(
        "nnunet", 60, "classes", HIPPOCAMPUS, "imagesTr", dimensions=3, scheme="per-image"
    ),
    "volumes": Known("together", 31, "instances", OBJECTS, "nuclei3d_image.tif"),
    "multiband": Known("together", 1, "classes", tuple(BANDS.split()), "14.tif"),
}


@pytest.mark.parametrize("name", CASES)
def test_it_trains_for_a_minute_and_predicts(name: str, shared_data: Path, tmp_path: Path) -> None:
    known, folder = CASES[name], shared_data / name
    found = layouts.pairs(folder)
    assert (found.layout, len(found), found.dimensions) == (
        known.layout,
        known.pairs,
        known.dimensions,
    )
    model = tmp_path / "a.model"
    said = _run("train", folder, "-o", model, "--minutes", 1)
    assert f"Layout {known.layout}: {known.pairs} pair" in said
    segmenter = overtile.load(model)
    classes = segmenter.model.classes
    assert (classes.kind, classes.names) == (known.kind, known.classes)
    assert segmenter.model.normalisation.scheme == known.scheme
    sources = _predict(folder / known.images, model, tmp_path / "out")
    for source, output in sources:
        image, result = io.open(source), io.open(output, as_label=True)
        shape = Planes(image, known.dimensions).shape
        assert result.data.shape[-len(shape) :] == shape
        assert np.isin(result.data[()], [*range(len(classes.names)), 255]).all()
    _is_better_than_a_constant(segmenter, found)


def _run(*arguments: object) -> str:
    """What a command says, in a process of its own: the time budget begins with it."""
    program = [sys.executable, "-c", "from overtile.cli import main; main()"]
    done = subprocess.run([*program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def _predict(images: Path, model: Path, output: Path) -> list[tuple[Path, Path]]:
    """Each image with its prediction."""
    if images.is_file():
        target = output.with_suffix(".tif")
        _run("predict", model, images, "-o", target)
        return [(images, target)]
    _run("predict", model, images, "-o", output)
    made = {io.stem_of(path): path for path in output.iterdir()}
    sources = [path for path in sorted(images.iterdir()) if io.is_known(path)]
    assert len(sources) == len(made)
    return [(path, made[io.stem_of(path)]) for path in sources]


def _is_better_than_a_constant(segmenter: overtile.Segmenter, found: layouts.Pairs) -> None:
    """On images of training, which a minute suffices to learn something of."""
    trained, _ = layouts.split(found, None)
    few = layouts.select(trained, range(0, len(trained), -(-len(trained) // 6)))
    scores = overtile.evaluate(segmenter, few)
    counts = np.zeros(len(segmenter.classes), np.int64)
    for pair in few:
        ids = segmenter.meaning.class_map(pair.read_label())
        counts += np.bincount(ids[ids >= 0], minlength=len(counts))
    assert scores.pooled["pixel error"] < 0.9 * (1 - counts.max() / counts.sum())


def test_maps_without_labels_are_predicted(shared_data: Path, tmp_path: Path) -> None:
    """Four bands, in the place on the earth where the images lie."""
    model = tmp_path / "a.model"
    _run("train", shared_data / "multiband", "-o", model, "--minutes", 0.5)
    for source, output in _predict(shared_data / "geotiff", model, tmp_path / "out"):
        frame = io.open(source).frame
        assert frame is not None
        assert io.open(output).frame == frame
