"""The page, read back: it stands alone, and its numbers are those given."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Picture

from overtile import pictures
from overtile.errors import OutputError
from overtile.legend import Legend, default_colours
from overtile.metrics import Reliability
from overtile.model.history import HistoryRow
from overtile.report import (
    LARGEST_PX,
    Example,
    ReportContent,
    Table,
    _ends,
    number,
    write_report,
)
from overtile.sample import draw_sample

NAN = float("nan")
HISTORY = [HistoryRow(step, 1 / step, 0.1, step * 1.0) for step in range(1, 40)]
OPEN_ENDED = {"meta", "img", "line", "rect", "circle", "br"}


class Reader(HTMLParser):
    """Tags with attributes, texts, and the cells of tables; fails where tags do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.rows: list[list[str]] = []
        self.within: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in OPEN_ENDED:
            self.within.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in OPEN_ENDED:
            assert self.within.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())
        if {"th", "td"} & set(self.within):
            self.rows[-1][-1] += data.strip()

    def attributes(self, tag: str) -> list[dict[str, str]]:
        return [attributes for found, attributes in self.tags if found == tag]


def example() -> Example:
    image, cells = draw_sample(0, 0, (64, 64))
    classes = (cells > 0).astype(int)
    found = np.roll(classes, 2, axis=0)
    shifted = np.roll(cells, 2, axis=0)
    return Example('<script>"x"</script>', "IoU 0.5", image[None], classes, found, cells, shifted)


CONTENT = ReportContent(
    title="A & B",
    facts=[("Seed", "7"), ("<b>", "<script>alert(1)</script>")],
    notes=["One image was seen <b>before</b>."],
    columns=["IoU", "AP at 0.5", "V_info"],
    rows=[("first", [0.25, NAN, 1.5]), ("<script>", [0.75, None, 2.0])],
    pooled={"IoU": 0.6},
    settings_yaml="seed: 7\nname: <unet>\n",
    history=HISTORY,
    examples=[example()],
)


def decode(source: str) -> NDArray[np.uint8]:
    """The pixels of a picture in the page."""
    stored = Picture.open(io.BytesIO(base64.b64decode(source.split(",")[1])))
    return np.asarray(stored.convert("RGB"))


def read(folder: Path, content: ReportContent) -> Reader:
    write_report(folder / "r.html", content, overwrite=True)
    page = Reader()
    page.feed((folder / "r.html").read_text(encoding="utf-8"))
    page.close()
    assert not page.within
    return page


def test_the_page_stands_alone(tmp_path: Path) -> None:
    page = read(tmp_path, CONTENT)
    kinds = {tag for tag, _ in page.tags}
    assert not kinds & {"script", "link", "iframe", "object", "embed", "base", "b"}
    shown = page.attributes("img")
    assert len(shown) == 4
    for attributes in shown:
        assert attributes["alt"]
        assert attributes["src"].startswith("data:image/")
    loading = ("http:", "https:", "//", "url(", "@import")
    assert not [value for _, a in page.tags for value in a.values() if value.startswith(loading)]
    style = "".join(text for text in page.text if "color-scheme" in text)
    assert style
    assert not any(word in style for word in loading)
    policy = [a["content"] for a in page.attributes("meta") if "http-equiv" in a]
    assert policy
    assert policy[0].startswith("default-src 'none'")


def test_what_a_reader_aloud_needs(tmp_path: Path) -> None:
    page = read(tmp_path, CONTENT)
    assert page.attributes("html") == [{"lang": "en"}]
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.attributes("th"))
    assert all(attributes["aria-label"] for attributes in page.attributes("svg"))
    assert "A & B" in page.text


def test_the_numbers_are_those_given(tmp_path: Path) -> None:
    page = read(tmp_path, CONTENT)
    rows = [row[:3] + row[4:] for row in page.rows]  # without the line of dots
    quarters = "0.3750 / 0.5000 / 0.6250"
    assert ["IoU", "0.5000", "–", "0.6000", "–", "0.2500", quarters, "0.7500"] in rows
    assert ["AP at 0.5", *["–"] * 7] in rows
    quarters = "1.6250 / 1.7500 / 1.8750"
    assert ["V_info", "1.7500", "–", "–", "–", "1.5000", quarters, "2.0000"] in rows
    assert ["first", "0.2500", "–", "1.5000"] in page.rows
    assert ["<script>", "0.7500", "–", "2.0000"] in page.rows


def test_intervals_classes_and_definitions(tmp_path: Path) -> None:
    content = replace(
        CONTENT,
        intervals={"IoU": (0.25, 0.7504)},
        pooled_intervals={"IoU": (-1e-9, 0.6)},
        tables=[Table("Each class", ["class", "IoU"], [["<i>road</i>", "0.3000"]])],
        definitions=[("IoU", "TP / (TP + FP + FN) & so on")],
    )
    page = read(tmp_path, content)
    (row,) = [row for row in page.rows if row[0] == "IoU"]
    assert (row[2], row[5]) == ("0.250..0.750", "0.000..0.600")
    assert ["<i>road</i>", "0.3000"] in page.rows
    assert "TP / (TP + FP + FN) & so on" in page.text


def test_reliability_is_drawn_to_scale(tmp_path: Path) -> None:
    """A bar of each bin that holds a pixel, as high as the share of right pixels."""
    bins = (
        Reliability(0.5, 0.75, 10, 0.7, 0.6),
        Reliability(0.75, 1, 0, NAN, NAN),
    )
    page = read(tmp_path, replace(CONTENT, reliability=bins))
    (bar,) = page.attributes("rect")[2:]  # two are quartiles
    assert [float(bar[side]) for side in ("x", "y", "width", "height")] == [100, 80, 50, 120]
    dot = page.attributes("circle")[-1]
    assert (float(dot["cx"]), float(dot["cy"])) == (140, 80)


def test_text_stays_text(tmp_path: Path) -> None:
    page = read(tmp_path, CONTENT)
    for text in (
        '<script>"x"</script>',
        "<script>alert(1)</script>",
        "One image was seen <b>before</b>.",
        "seed: 7\nname: <unet>",
    ):
        assert text in page.text


def test_a_dot_for_each_image_that_has_the_score(tmp_path: Path) -> None:
    """IoU 0.25 and 0.75 on a line from 0.2 to 0.8, V_info 1.5 and 2.0 from 1.5 to 2."""
    page = read(tmp_path, CONTENT)
    first, last = (float(page.attributes("line")[0][end]) for end in ("x1", "x2"))
    places = [(float(dot["cx"]) - first) / (last - first) for dot in page.attributes("circle")]
    assert np.allclose(places, [0.05 / 0.6, 0.55 / 0.6, 0, 1], atol=1e-3)
    labels = [attributes["aria-label"] for attributes in page.attributes("svg")]
    assert [re.findall(r"from (\S+) to (\S+)", label)[0] for label in labels] == [
        ("0.2", "0.8"), ("1.5", "2"),
    ]  # fmt: skip


@settings(deadline=None)
@given(st.floats(-50, 50), st.floats(0, 100))
def test_the_ends_of_the_line_hold_all_scores(low: float, width: float) -> None:
    left, right = _ends(low, low + width)
    assert left <= low + 1e-6
    assert right >= low + width - 1e-6
    assert right - left <= max(3 * width, 0.3)
    assert right > left


def test_numbers_as_printed() -> None:
    printed = [number(score) for score in (0.12344, 1.0, 0, NAN, None)]
    assert printed == ["0.1234", "1.0000", "0.0000", "–", "–"]


def test_pictures_are_those_of_the_example(tmp_path: Path) -> None:
    shown = CONTENT.examples[0]
    sources = [attributes["src"] for attributes in read(tmp_path, CONTENT).attributes("img")]
    stored = [decode(source) for source in sources[:3]]
    expected = [
        pictures.to_rgb(shown.image),
        pictures.overlay(shown.image, shown.predicted_objects, shown.truth_objects),
        pictures.error_map(shown.image, shown.truth, shown.prediction),
    ]
    assert all(np.array_equal(*pair) for pair in zip(stored, expected, strict=True))


@pytest.mark.parametrize("size", [(LARGEST_PX + 1, 6), (7, 2 * LARGEST_PX + 5)])
def test_large_pictures_are_shown_smaller(tmp_path: Path, size: tuple[int, int]) -> None:
    """A pixel is the mean of a block, by loops; the last pixel counts for those that lack."""
    image = np.random.default_rng(0).random((1, *size))
    ids = np.ones(size, int)
    large = Example("n", "IoU 0.5.", image, ids, ids, ids, ids)
    page = read(tmp_path, replace(CONTENT, examples=[large]))
    every = 2 if max(size) < 2 * LARGEST_PX else 3
    assert f"IoU 0.5. Shown at 1/{every} of its size." in page.text
    shape = (-(-size[0] // every), -(-size[1] // every))
    mean = np.zeros((1, *shape))
    for y, x in np.ndindex(*shape):
        for dy, dx in np.ndindex(every, every):
            at = (min(y * every + dy, size[0] - 1), min(x * every + dx, size[1] - 1))
            mean[0, y, x] += image[0][at] / every**2
    stored = [decode(attributes["src"]) for attributes in page.attributes("img")[:3]]
    assert np.abs(stored[0].astype(int) - pictures.to_rgb(mean)).max() <= 2  # rounding
    assert all(panel.shape == (*shape, 3) for panel in stored)


def test_many_classes_have_a_legend(tmp_path: Path) -> None:
    shown = example()
    classes = shown.truth * 2
    legend = Legend(("background", "cell", "<debris>"), default_colours(3))
    many = replace(
        CONTENT,
        legend=legend,
        examples=[Example("n", "c", shown.image, classes, classes, classes, classes)],
    )
    page = read(tmp_path, many)
    assert "<debris>" in page.text
    keys = [attributes["style"] for attributes in page.attributes("i")]
    for colour in legend.colours[1:]:
        assert "background: rgb({} {} {})".format(*colour) in keys
    source = page.attributes("img")[1]["src"]
    expected = pictures.overlay(shown.image, classes, classes, legend=legend)
    assert np.array_equal(decode(source), expected)
    assert "<debris>" not in read(tmp_path, CONTENT).text


def test_without_history_or_examples(tmp_path: Path) -> None:
    assert len(read(tmp_path, replace(CONTENT, history=[])).attributes("img")) == 3
    page = read(tmp_path, replace(CONTENT, history=[], examples=[]))
    assert not page.attributes("img")
    assert "Overlays and errors" not in page.text


def test_an_existing_page_is_kept(tmp_path: Path) -> None:
    (tmp_path / "r.html").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_report(tmp_path / "r.html", CONTENT)
    assert (tmp_path / "r.html").read_text() == "mine"
    write_report(tmp_path / "r.html", CONTENT, overwrite=True)
    assert "A &amp; B" in (tmp_path / "r.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
