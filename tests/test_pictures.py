"""Pictures, pixel by pixel against their definitions."""

from __future__ import annotations

import io
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Picture

from overtile import pictures
from overtile.legend import Legend, default_colours
from overtile.model.history import HistoryRow

LEGEND = Legend(("nothing", "a", "b", "c"), default_colours(4))
IMAGE = np.linspace(0, 60000, 400).reshape(1, 20, 20).astype(np.uint16)


def outline(ids: NDArray[np.integer]) -> NDArray[np.bool_]:
    """By definition: pixels of something with a pixel of another id at one of their four sides."""
    found = np.zeros(ids.shape, bool)
    for y, x in np.argwhere(ids > 0):
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            if 0 <= y + dy < ids.shape[0] and 0 <= x + dx < ids.shape[1]:
                found[y, x] |= ids[y + dy, x + dx] != ids[y, x]
    return found


class TestToRgb:
    @pytest.mark.parametrize("channels", [1, 2, 3, 5])
    @pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32])
    def test_any_channels_and_type(self, channels: int, kind: type) -> None:
        image = (np.random.default_rng(0).random((channels, 7, 8)) * 200).astype(kind)
        shown = pictures.to_rgb(image)
        assert shown.shape == (7, 8, 3)
        assert shown.dtype == np.uint8
        assert (shown.min(), shown.max()) == (0, 255)
        if channels != 3:
            assert (shown == shown[..., :1]).all()
            order = shown[..., 0].ravel()[np.argsort(image[0], axis=None, kind="stable")]
            assert (np.diff(order.astype(int)) >= 0).all()  # brighter stays brighter

    def test_outliers_do_not_set_the_contrast(self) -> None:
        image = np.tile(np.arange(100.0), (1, 10, 1))
        plain = pictures.to_rgb(image)
        image[0, 0, 0] = 1e9
        assert np.abs(pictures.to_rgb(image)[1:].astype(int) - plain[1:]).max() <= 2

    def test_constant_and_not_finite(self) -> None:
        assert pictures.to_rgb(np.full((1, 4, 4), 7)).max() == 0
        assert pictures.to_rgb(np.full((1, 4, 4), np.nan)).max() == 0
        image = IMAGE.astype(np.float32)
        image[0, 19, 19], image[0, 0, 5] = np.nan, np.inf
        shown = pictures.to_rgb(image)
        assert shown[19, 19].max() == shown[0, 5].max() == 0
        assert shown[19, 18].max() == 255


class TestOverlay:
    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9))
    def test_outlines_by_definition(self, seed: int, height: int, width: int) -> None:
        """The prediction over the truth over the image; unlabelled has no outline."""
        random = np.random.default_rng(seed)
        truth = random.integers(-1, 3, (height, width))
        found = random.integers(-1, 3, (height, width))
        image = random.normal(size=(1, height, width))
        expected = pictures.to_rgb(image)
        expected[outline(np.maximum(truth, 0))] = pictures.TRUTH
        expected[outline(np.maximum(found, 0))] = pictures.PREDICTION
        assert np.array_equal(pictures.overlay(image, found, truth), expected)

    def test_without_truth(self) -> None:
        found = np.zeros((20, 20), np.uint16)
        found[5:15, 5:15] = 60000
        shown = pictures.overlay(IMAGE, found)
        assert (shown[5, 5:15] == pictures.PREDICTION).all()
        assert np.array_equal(shown[6:14, 6:14], pictures.to_rgb(IMAGE)[6:14, 6:14])
        assert not (shown == pictures.TRUTH).all(axis=-1).any()

    def test_tints_by_class(self) -> None:
        classes = np.repeat([0, 1, 2, 3], 5)[None].repeat(20, axis=0)
        classes[:, :2] = -1  # unlabelled
        plain = pictures.to_rgb(IMAGE).astype(float)
        shown = pictures.overlay(IMAGE, classes, legend=LEGEND)
        inside = ~outline(classes)
        assert np.array_equal(shown[:, :5], plain[:, :5])
        for number in (1, 2, 3):
            here = inside & (classes == number)
            mixed = (1 - pictures.TINT) * plain[here] + pictures.TINT * LEGEND.table[number]
            assert np.abs(shown[here] - mixed).max() <= 0.5 + 1e-9
        nothing = np.full((20, 20), -1)
        assert np.array_equal(pictures.overlay(IMAGE, nothing, legend=LEGEND), plain)


def test_errors_by_kind() -> None:
    truth = np.array([[0, 0, 1, 1, 2, -1, -1]])
    found = np.array([[0, 1, 1, 0, 1, 1, 0]])
    shown = pictures.error_map(np.zeros((1, 1, 7)), truth, found)[0]
    right = (0, 0, 0)
    assert [tuple(pixel) for pixel in shown.tolist()] == [
        right, pictures.INVENTED, right, pictures.MISSED, pictures.CONFUSED,
        pictures.UNLABELLED, pictures.UNLABELLED,
    ]  # fmt: skip


def test_errors_lie_on_a_dimmed_image() -> None:
    nothing = np.zeros((20, 20), int)
    shown = pictures.error_map(IMAGE, nothing, nothing)
    assert shown.max() < 128
    assert (shown <= pictures.to_rgb(IMAGE)).all()


@pytest.mark.parametrize("different", [1, 2, 256, 257, 4000])
def test_png_is_without_loss(different: int) -> None:
    random = np.random.default_rng(different)
    palette = random.integers(0, 256, (different, 3)).astype(np.uint8)
    picture = palette[np.arange(63 * 65).reshape(63, 65) % different]
    stored = Picture.open(io.BytesIO(pictures.to_png(picture)))
    assert stored.format == "PNG"
    assert np.array_equal(np.asarray(stored.convert("RGB")), picture)


def test_outlines_and_errors_on_gray_fit_a_palette() -> None:
    image = np.random.default_rng(0).normal(size=(1, 90, 90))
    ids = np.zeros((90, 90), int)
    ids[20:60, 20:60] = 1
    for picture in (
        pictures.overlay(image, ids, ids.T + 2 * (ids == 0)),
        pictures.error_map(image, ids - (image[0] > 2), 1 - ids),
    ):
        assert Picture.open(io.BytesIO(pictures.to_png(picture))).mode == "P"


def test_colours_differ() -> None:
    assert default_colours(1) == ((0, 0, 0),)
    for count in range(2, 60):
        palette = default_colours(count)
        assert len(set(palette)) == count
        assert max(palette[0]) == 0
    assert len(default_colours(20)) == 20


def drawn(history: list[HistoryRow]) -> Any:
    return ElementTree.fromstring(pictures.curves(history))


class TestCurves:
    @pytest.mark.parametrize("count", [1, 2, 300])
    def test_an_svg_of_any_length(self, count: int) -> None:
        history = [HistoryRow(step, 1 / step, 0.1, 1.0) for step in range(1, count + 1)]
        assert drawn(history).tag == "{http://www.w3.org/2000/svg}svg"

    def test_a_loss_of_zero(self) -> None:
        """No logarithm then."""
        assert drawn([HistoryRow(1, 0.5, 0.1, 1.0), HistoryRow(2, 0.0, 0.1, 2.0)]) is not None

    def test_the_loss_is_in_it(self) -> None:
        """The thin line rises and falls as the loss does: y of an SVG counts downwards."""
        loss = [1.0, 0.4, 0.7, 0.2, 0.3]
        history = [HistoryRow(step, value, 0.1, 1.0) for step, value in enumerate(loss)]
        lines = [
            np.array([float(word) for word in (path.get("d") or "").split() if word[0] not in "ML"])
            for path in drawn(history).iter("{http://www.w3.org/2000/svg}path")
            if "stroke-opacity: 0.3" in (path.get("style") or "")
        ]
        assert len(lines) == 1
        heights = -lines[0].reshape(-1, 2)[:, 1]
        expected = np.log(loss)
        assert np.allclose(
            (heights - heights.min()) / np.ptp(heights),
            (expected - expected.min()) / np.ptp(expected),
            atol=1e-4,
        )
