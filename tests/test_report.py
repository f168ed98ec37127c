"""The synthetic sample, the pictures, and the page, read back."""

from __future__ import annotations

import io as std_io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from scipy import ndimage
from skimage.filters import threshold_otsu

from overtile import io, metrics, pictures
from overtile.errors import OutputError
from overtile.model import HistoryRow
from overtile.report import Example, ReportContent, write_report
from overtile.sample import draw_sample, write_sample


class TestSample:
    def test_it_follows_from_seed_and_index(self) -> None:
        image, cells = draw_sample(3, 1, (100, 120))
        again = draw_sample(3, 1, (100, 120))
        assert image.shape == cells.shape == (100, 120)
        assert (image.dtype, cells.dtype) == (np.uint8, np.uint16)
        assert np.array_equal(image, again[0])
        assert np.array_equal(cells, again[1])
        assert not np.array_equal(image, draw_sample(3, 2, (100, 120))[0])
        assert not np.array_equal(image, draw_sample(4, 1, (100, 120))[0])

    def test_cells_are_whole_varied_and_touch(self) -> None:
        _, cells = draw_sample(0, 0)
        ids = np.unique(cells)
        assert np.array_equal(ids, np.arange(len(ids)))
        assert all(ndimage.label(cells == number)[1] == 1 for number in ids[1:])
        areas = np.bincount(cells.ravel())[1:]
        assert areas.std() / areas.mean() > 0.2
        padded = np.pad(cells, 1)
        touching = {
            tuple(sorted(pair))
            for shifted in (padded[1:-1, 2:], padded[2:, 1:-1])
            for pair in zip(cells[(cells > 0) & (shifted > 0) & (cells != shifted)].tolist(),
                            shifted[(cells > 0) & (shifted > 0) & (cells != shifted)].tolist(),
                            strict=True)
        }  # fmt: skip
        assert len(touching) > len(ids) / 4

    def test_a_threshold_does_not_solve_it(self) -> None:
        image, cells = draw_sample(0, 0)
        smooth = ndimage.gaussian_filter(image.astype(float), 1)
        found = ndimage.label(smooth > threshold_otsu(smooth))[0]
        assert metrics.average_precision(metrics.match_objects(cells, found)) < 0.5

    def test_files(self, tmp_path: Path) -> None:
        write_sample(tmp_path / "s", count=2, size=(64, 64))
        for part, drawn in (("images", 0), ("labels", 1)):
            assert [p.name for p in sorted((tmp_path / "s" / part).iterdir())] == [
                "cell-00.tif",
                "cell-01.tif",
            ]
            stored = np.asarray(io.open(tmp_path / "s" / part / "cell-01.tif").data[:])
            assert np.array_equal(stored, draw_sample(0, 1, (64, 64))[drawn])
        with pytest.raises(OutputError, match="is not empty: choose another folder"):
            write_sample(tmp_path / "s", count=1, size=(64, 64))
        write_sample(tmp_path / "s", count=1, size=(64, 64), seed=1, overwrite=True)


class TestPictures:
    IMAGE = np.linspace(0, 60000, 400).reshape(1, 20, 20).astype(np.uint16)

    def test_outlines_are_where_values_change(self) -> None:
        found, truth = np.zeros((20, 20), int), np.zeros((20, 20), int)
        found[5:15, 5:15], truth[2:18, 2:18] = 1, 1
        picture = pictures.overlay(self.IMAGE, found, truth)
        assert (picture[5, 5:15] == pictures.PREDICTION).all()
        assert (picture[2, 2:18] == pictures.TRUTH).all()
        assert np.array_equal(picture[10, 10], pictures.to_rgb(self.IMAGE)[10, 10])

    def test_errors_by_kind(self) -> None:
        truth = np.array([[0, 0, 1, 1, 2, -1]])
        found = np.array([[0, 1, 1, 0, 1, 1]])
        image = np.zeros((1, 1, 6))
        kinds = pictures.error_map(image, truth, found)[0].tolist()
        plain = [0, 0, 0]
        missed, invented = list(pictures.MISSED), list(pictures.INVENTED)
        assert kinds == [plain, invented, plain, missed, missed, list(pictures.UNLABELLED)]

    @pytest.mark.parametrize("channels", [1, 2, 3, 5])
    def test_any_channels_become_colours(self, channels: int) -> None:
        image = np.random.default_rng(0).normal(size=(channels, 7, 8))
        shown = pictures.to_rgb(image)
        assert shown.shape == (7, 8, 3)
        assert (shown.max() == 255) and (shown.min() == 0)
        assert pictures.to_rgb(np.full((1, 4, 4), 7)).max() == 0

    def test_png_and_colours(self) -> None:
        picture = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
        back = np.asarray(Picture.open(std_io.BytesIO(pictures.to_png(picture))))
        assert np.array_equal(back, picture)
        palette = pictures.colours(8)
        assert palette.shape == (8, 3)
        assert len(np.unique(palette, axis=0)) == 8


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())


def content(history: list[HistoryRow]) -> ReportContent:
    image, cells = draw_sample(0, 0, (64, 64))
    classes = (cells > 0).astype(int)
    example = Example("<script>x</script>", "IoU 0.5", image[None], classes, classes, cells, cells)
    return ReportContent(
        title="A & B",
        facts=[("Seed", "7")],
        notes=["One image was seen <b>before</b>."],
        columns=["IoU", "AP at 0.5"],
        rows=[("first", [0.25, float("nan")]), ("<script>", [0.75, float("nan")])],
        pooled={"IoU": 0.6},
        settings_yaml="seed: 7\nname: <unet>\n",
        history=history,
        examples=[example],
    )


HISTORY = [HistoryRow(step, 1 / step, 0.1, step * 1.0) for step in range(1, 40)]


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text())
    return reader


def test_the_page_stands_alone(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", content(HISTORY))
    page = read(tmp_path / "r.html")
    kinds = [tag for tag, _ in page.tags]
    assert "script" not in kinds
    assert "link" not in kinds
    pictures_shown = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures_shown) == 4
    for attributes in pictures_shown:
        assert attributes["alt"]
        assert (attributes["src"] or "").startswith("data:image/")
    assert not any(
        (value or "").startswith(("http", "//")) for _, a in page.tags for value in a.values()
    )


def test_the_numbers_are_those_given(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", content(HISTORY))
    text = read(tmp_path / "r.html").text
    row = text[text.index("IoU") :]
    assert [part for part in row if part][:6] == [
        "IoU", "0.5000", "0.2500", "0.3750 / 0.5000 / 0.6250", "0.7500", "0.6000",
    ]  # fmt: skip
    assert "<script>x</script>" in text  # as text, not as a tag
    assert "One image was seen <b>before</b>." in text
    assert "A & B" in text
    assert "–" in text
    assert "name: <unet>" in "".join(text)


def test_a_model_without_history_has_no_curve(tmp_path: Path) -> None:
    write_report(tmp_path / "r.html", content([]))
    assert sum(tag == "img" for tag, _ in read(tmp_path / "r.html").tags) == 3


def test_an_existing_page_is_kept(tmp_path: Path) -> None:
    (tmp_path / "r.html").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_report(tmp_path / "r.html", content(HISTORY))
    assert (tmp_path / "r.html").read_text() == "mine"
    write_report(tmp_path / "r.html", content(HISTORY), overwrite=True)
    assert "A &amp; B" in (tmp_path / "r.html").read_text()
