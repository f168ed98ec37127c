"""Images whose channels are the pages of a TIFF, and labels of a single page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import overtile
from overtile import io, layouts
from overtile.errors import DataError
from overtile.image import Image
from overtile.settings import Settings, UNetSettings, WindowSettings

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 999, (3, 5, 40, 48)).astype(np.uint16)
LABELS = np.where(IMAGES[:, 2] > 500, 255, 0).astype(np.uint8)
SMALL = Settings(
    network=UNetSettings(padding="same", depth=2, base_channels=4, dropout=0),
    window=WindowSettings(size_px=16, batch_size=1),
)


def save(folder: Path) -> Path:
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
        tifffile.imwrite(folder / "images" / f"{number}.tif", image, photometric="minisblack")
        tifffile.imwrite(folder / "masks" / f"{number}.tif", label)
    return folder


def test_pages_are_channels_where_the_label_is_one_page(tmp_path: Path) -> None:
    found = layouts.pairs(save(tmp_path))
    assert "the pages of an image are its channels" in found.describe()
    assert [pair.name for pair in found] == ["0", "1", "2"]
    for pair, image, label in zip(found, IMAGES, LABELS, strict=True):
        assert np.array_equal(pair.image.read(), image)
        assert np.array_equal(pair.read_label().values, label)


def test_so_it_is_of_two_files(tmp_path: Path) -> None:
    save(tmp_path)
    (pair,) = layouts.pairs(tmp_path / "images" / "1.tif", tmp_path / "masks" / "1.tif")
    assert np.array_equal(pair.image.read(), IMAGES[1])


def test_pages_are_classes_where_the_image_is_one_page(tmp_path: Path) -> None:
    layers = np.stack([LABELS > 0, IMAGES[:, 0] > 300], axis=1)
    for number, image in enumerate(IMAGES[:, 0]):
        tifffile.imwrite(tmp_path / f"{number}.tif", image)
        tifffile.imwrite(tmp_path / f"{number}_mask.tif", layers[number].astype(np.uint8))
    found = layouts.pairs(tmp_path)
    assert "the pages of a label are classes" in found.describe()
    for pair, layer in zip(found, layers, strict=True):
        assert pair.read_label().coding == "channels"
        assert np.array_equal(pair.read_label().values, layer)
    meaning = overtile.train(found, steps=1, settings=SMALL).meaning
    assert (meaning.kind, len(meaning.names)) == ("multilabel", 2)


def test_a_label_for_each_page_is_one_of_a_stack(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGES[0])
    tifffile.imwrite(tmp_path / "b.tif", LABELS[[0, 1, 2, 0, 1]])
    assert len(layouts.pairs(tmp_path / "a.tif", tmp_path / "b.tif")) == 5
    tifffile.imwrite(tmp_path / "c.tif", LABELS[:2])
    with pytest.raises(DataError, match=r"There are 5 images .* but 2 labels"):
        layouts.pairs(tmp_path / "a.tif", tmp_path / "c.tif")


def test_such_files_are_predicted(tmp_path: Path) -> None:
    model = overtile.train(save(tmp_path), steps=1, settings=SMALL)
    assert model.model.settings.network.channels == 5
    model.predict_file(tmp_path / "images" / "2.tif", tmp_path / "o.tif")
    assert np.array_equal(
        io.open(tmp_path / "o.tif").data[()], model.predict(Image(IMAGES[2], "cyx"))
    )
    rows = overtile.evaluate(model, tmp_path).rows
    wrong = (model.predict(Image(IMAGES[0], "cyx")) != LABELS[0] // 255).mean()
    assert rows[0].scores["pixel error"] == pytest.approx(wrong)
