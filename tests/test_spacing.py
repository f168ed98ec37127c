"""Images of different pixel sizes in one set: what the network sees, and results on own pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import overtile
from overtile import io, layouts
from overtile import model as storage
from overtile.cli import main
from overtile.errors import DataError, SettingsError
from overtile.file_to_file import PredictOptions
from overtile.geometry import Field
from overtile.image import Image
from overtile.planes import Planes
from overtile.planning.network import strides_for
from overtile.planning.window import VOLUME_PX, volume_sides
from overtile.prediction import MostProbable
from overtile.resample import PixelSize, to_pixel_size
from overtile.sample import draw_sample
from overtile.segmenter import Segmenter
from overtile.settings import Settings, UNetSettings, WindowSettings

SMALL = Settings(
    network=UNetSettings(padding="same", depth=2, base_channels=4, norm="batch", dropout=0),
    window=WindowSettings(size_px=32, batch_size=2),
    border="own",
    precision="float32",
    layout="contiguous",
    spacing=1.0,
)
IMAGE, CELLS = draw_sample(0, 0, (96, 80))
FINE = Image(IMAGE.repeat(2, 0).repeat(3, 1), "yx", (0.5, 1 / 3), "micrometer")
AS_SEEN = Image(IMAGE, "yx", (1.0, 1.0), "micrometer")


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    label = Image(CELLS, "yx", (1.0, 1.0), "micrometer")
    return overtile.train(AS_SEEN, label, steps=20, settings=SMALL, labels_are="instances")


def test_the_network_sees_one_pixel_size(segmenter: Segmenter) -> None:
    """An image that has it already is not resampled."""
    assert segmenter.model.pixel_size == PixelSize((1.0, 1.0), "micrometer")
    assert np.array_equal(
        segmenter.predict(AS_SEEN), segmenter.probabilities(AS_SEEN).argmax(axis=0)
    )
    assert segmenter.predict(FINE).shape == FINE.data.shape


def test_a_result_is_on_the_pixels_of_the_image(segmenter: Segmenter, tmp_path: Path) -> None:
    """Of files as of arrays, whatever the tiles and the format."""
    io.write(tmp_path / "fine.ome.tif", FINE)
    brought = to_pixel_size(FINE, PixelSize((1.0, 1.0), "micrometer"))
    seen = segmenter.probabilities(brought)
    likely = segmenter.probabilities(FINE)
    assert likely.shape == (2, *FINE.data.shape)
    np.testing.assert_allclose(likely.sum(0), 1, atol=1e-5)
    own = Planes(FINE)
    back = segmenter.predictor.brought_back(seen, own, "probabilities")
    assert np.array_equal(back[()], likely)
    assert np.array_equal(segmenter.predict(FINE), likely.argmax(0))
    for tile, suffix in ((None, ".tif"), (32, ".npy"), (48, ".zarr")):
        for content, expected in (
            ("classes", segmenter.predict(FINE)),
            ("probabilities", likely),
            ("objects", segmenter.objects(FINE)),
        ):
            output = tmp_path / f"{content}{suffix}"
            options = PredictOptions(content=content, tile_px=tile)  # type: ignore[arg-type]
            segmenter.predict_file(tmp_path / "fine.ome.tif", output, options)
            found = io.open(output)
            if content == "probabilities":
                np.testing.assert_allclose(found.data[()], expected, atol=1e-5)
            else:
                assert np.array_equal(found.data[()] > 0, expected > 0)
            if suffix != ".npy":
                assert found.spacing == pytest.approx((0.5, 1 / 3))


def test_missing_pixels_stay_missing() -> None:
    likely = np.full((2, 4, 5), 0.5, np.float32)
    likely[:, 1, 2] = np.nan
    expected = np.zeros((4, 5), np.uint8)
    expected[1, 2] = 255
    made = MostProbable(likely, 0)
    assert np.array_equal(made[()], expected)
    assert np.array_equal(made[1], expected[1])
    assert made[1, 2] == 255


def test_it_travels_with_the_model(segmenter: Segmenter, tmp_path: Path) -> None:
    segmenter.save(tmp_path / "m.model")
    assert storage.load(tmp_path / "m.model").pixel_size == segmenter.model.pixel_size
    loaded = overtile.load(tmp_path / "m.model")
    with pytest.raises(DataError, match=r"states no size of its pixels.*leave out --spacing"):
        loaded.predict(IMAGE)


def test_evaluation_is_on_the_own_pixels(segmenter: Segmenter) -> None:
    label = CELLS.repeat(2, 0).repeat(3, 1)
    fine = overtile.evaluate(segmenter, FINE, label)
    wrong = (segmenter.predict(FINE) != (label > 0)).mean()
    assert fine.mean["pixel error"] == pytest.approx(wrong)


def test_images_that_training_resampled_are_known_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    io.write(tmp_path / "seen.ome.tif", FINE)
    io.write(tmp_path / "new.ome.tif", replace(FINE, data=FINE.data[::-1]))
    io.write(tmp_path / "label.tif", Image(CELLS.repeat(2, 0).repeat(3, 1), "yx"))
    files = {name: str(tmp_path / name) for name in ("seen.ome.tif", "new.ome.tif", "label.tif")}
    overtile.train(
        files["seen.ome.tif"], files["label.tif"], steps=1, settings=SMALL, output=tmp_path / "m"
    )
    for name in ("seen.ome.tif", "new.ome.tif"):
        with pytest.raises(SystemExit) as ended:
            main(["evaluate", str(tmp_path / "m"), files[name], files["label.tif"]])
        assert ended.value.code == 0
        assert ("1 of 1 images were seen" in capsys.readouterr().err) == (name == "seen.ome.tif")


def test_common_is_the_median() -> None:
    images = [replace(FINE, spacing=(size, 2 * size)) for size in (0.5, 2.0, 1.0)]
    images[1] = replace(images[1], spacing=(2000.0, 4000.0), unit="nanometer")
    pairs = layouts.pairs(images, [image.data for image in images])
    assert layouts.common_pixel_size(pairs) == PixelSize((1.0, 2.0), "micrometer")
    brought = layouts.bring_to(pairs, layouts.common_pixel_size(pairs))
    sizes = [pair.image.read().shape[1:] for pair in brought]
    assert sizes == [(96, 120), (384, 480), (192, 240)]
    assert [pair.read_label().shape for pair in brought] == sizes
    trained = overtile.train(
        images[::2],
        [np.asarray(image.data > 128) for image in images[::2]],
        steps=2,
        settings=SMALL.model_copy(update={"spacing": "common"}),
    )
    assert trained.model.pixel_size == PixelSize((0.75, 1.5), "micrometer")
    with pytest.raises(DataError, match="states no size of its pixels"):
        layouts.common_pixel_size(layouts.pairs([IMAGE], [CELLS]))


def test_a_spacing_has_a_size_for_each_axis() -> None:
    with pytest.raises(SettingsError, match="spacing has 3 sizes for a network of 2 dimensions"):
        overtile.settings.from_dict(Settings, {"spacing": [1, 1, 1]}, "test")


@pytest.mark.parametrize(
    ("shape", "spacing", "strides"),
    [
        ((64, 64, 64), (1, 1, 1), ((2, 2, 2),) * 4),
        ((64, 512, 512), (5, 1, 1), ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))),
        ((5, 512, 512), (1, 1, 1), ((1, 2, 2),) * 4),
        ((35, 50, 36), (1, 1, 1), ((2, 2, 2),) * 3 + ((1, 2, 1),)),
        ((4, 4, 4), (1, 1, 1), ((2, 2, 2),) * 4),  # too deep for it, which is refused later
        ((1, 100, 100), (9, 1, 1), ((1, 2, 2),) * 4),
    ],
)
def test_coarse_and_short_axes_are_pooled_less(
    shape: tuple[int, ...], spacing: tuple[float, ...], strides: tuple[tuple[int, ...], ...]
) -> None:
    assert strides_for(shape, spacing, 4) == strides


def test_the_window_of_volumes_is_a_cube_in_space() -> None:
    fields = (Field("same", 4, 8), Field("same", 16, 32), Field("same", 16, 32))
    z, y, x = volume_sides((500, 500, 500), (4.0, 1.0, 1.0), fields, 0)
    assert y == x
    assert 0.7 < 4 * z / y < 1.4
    assert z * y * x == pytest.approx(VOLUME_PX, rel=0.35)
