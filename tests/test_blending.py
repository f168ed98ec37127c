"""Where tiles are not exact they are blended, only when allowed, and the difference is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import overtile
from overtile import io
from overtile.blending import blended, tile_mismatch
from overtile.engines import FunctionEngine
from overtile.errors import ModelError, SettingsError
from overtile.file_to_file import PredictOptions
from overtile.geometry import Field
from overtile.image import Image
from overtile.normalise import Normalisation
from overtile.sample import draw_sample
from overtile.settings import Settings, UNetSettings, WindowSettings
from overtile.tiler import Tiler

IMAGE, CELLS = draw_sample(1, 0, (130, 170))
PLAIN = Normalisation((0.0,), (1.0,))


def tiler_of(function: object, border: str = "own") -> Tiler:
    engine = FunctionEngine(function)  # type: ignore[arg-type]
    return Tiler(engine, (Field("same", 4, 6),) * 2, border=border, normalisation=PLAIN,
                 activation="sigmoid")  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize("border", ["own", "mirror"])
def test_what_does_not_depend_on_tiles_is_not_changed(border: str) -> None:
    """A pixelwise function: any blend of equal values is that value."""
    tiler = tiler_of(lambda windows: np.concatenate([windows, -windows], 1), border)
    image = np.random.default_rng(0).normal(size=(1, 50, 61)).astype(np.float32)
    got = blended(tiler, image, (16, 20))
    expected = 1 / (1 + np.exp(-np.concatenate([image, -image])))
    assert np.allclose(got, expected, atol=1e-6)
    assert tile_mismatch(tiler, image, exact=False).largest < 1e-6
    assert tile_mismatch(tiler, image, exact=True).largest < 1e-6


def test_seams_fade() -> None:
    """Each tile answers with a number of its own: its neighbours' meet in the middle, in a ramp."""
    calls = iter(range(100))
    tiler = tiler_of(lambda windows: np.full_like(windows, next(calls)))
    image = np.zeros((1, 64, 64), np.float32)
    likely = blended(tiler, image, (32, 64))[0, :, 0]
    assert likely[0] == pytest.approx(0.5)
    assert likely[-1] == pytest.approx(1 / (1 + np.exp(-1)))
    steps = np.diff(likely)
    assert (steps >= -1e-6).all()
    assert steps.max() < 0.25 * (likely[-1] - likely[0])


@pytest.fixture(scope="module", params=["instance", "group"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = UNetSettings(padding="same", depth=2, base_channels=8, norm=request.param, dropout=0)
    settings = Settings(
        network=network,
        window=WindowSettings(size_px=32, batch_size=2),
        border="own",
        precision="float32",
        layout="channels_last",
    )
    path = tmp_path_factory.mktemp("models") / "inexact.model"
    overtile.train(IMAGE, CELLS, steps=3, settings=settings, output=path)
    return path


def test_it_has_to_be_allowed(folder: Path, tmp_path: Path) -> None:
    io.write(tmp_path / "a.tif", Image(IMAGE, "yx"))
    refusing = overtile.load(folder)
    with pytest.raises(ModelError, match=r"looks at the whole window.*--inexact"):
        refusing.predict(IMAGE)
    with pytest.raises(ModelError, match="inexact=True"):
        refusing.predict_file(tmp_path / "a.tif", tmp_path / "o.tif")
    model = overtile.load(folder, inexact=True, precision="float32")
    step = 32
    classes = model.predict(IMAGE, tile_px=step)
    likely = model.probabilities(IMAGE, tile_px=step)
    assert np.array_equal(classes, likely.argmax(axis=0))
    assert np.allclose(likely.sum(axis=0), 1, atol=1e-5)
    # A single tile is the whole image, where nothing is blended.
    whole = model.probabilities(IMAGE)
    assert np.abs(whole - likely).max() > 0
    for content, expected in (
        ("classes", classes),
        ("probabilities", likely),
        ("objects", model.objects(IMAGE, tile_px=step)),
    ):
        model.predict_file(
            tmp_path / "a.tif", tmp_path / f"{content}.tif", PredictOptions(content, tile_px=step)
        )
        got = io.open(tmp_path / f"{content}.tif", as_label=True).data[()]
        assert np.array_equal(got, expected)
    with pytest.raises(SettingsError, match="depend on each other"):
        model.predict_file(tmp_path / "a.tif", tmp_path / "o.tif", PredictOptions(workers=2))
