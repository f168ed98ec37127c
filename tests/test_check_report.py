"""The page that `overtile check --report` writes."""

from __future__ import annotations

import base64
import io as memory
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture

from overtile import io
from overtile.cli import main
from overtile.doctor import examine
from overtile.image import Image
from overtile.layouts import pairs
from overtile.pictures import PREDICTION
from overtile.report.check import CROP_PX, write_check
from overtile.sample import draw_sample
from overtile.settings import LabelSettings

PICTURE = re.compile(r'src="data:image/png;base64,([^"]+)"')


def page_of(
    tmp_path: Path,
    images: list[NDArray[np.generic]],
    labels: list[NDArray[np.generic]],
    settings: LabelSettings | None = None,
) -> str:
    found = pairs(images, labels)
    write_check(
        tmp_path / "a.html", found, examine(found, settings), ["name"], [["<0>"]], overwrite=True
    )
    return (tmp_path / "a.html").read_text()


def pictures_in(page: str) -> list[NDArray[np.uint8]]:
    decoded = (base64.b64decode(code) for code in PICTURE.findall(page))
    return [np.asarray(Picture.open(memory.BytesIO(code)).convert("RGB")) for code in decoded]


def sample(count: int) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint16]]]:
    drawn = [draw_sample(0, n, (300, 320)) for n in range(count)]
    return [image for image, _ in drawn], [cells for _, cells in drawn]


def test_a_good_set_is_shown_with_its_labels(tmp_path: Path) -> None:
    images, cells = sample(2)
    page = page_of(tmp_path, [np.stack([images[0]] * 3, -1), np.stack([images[1]] * 3, -1)], cells)
    assert "0 findings" in page
    assert "Nothing is wrong" in page
    assert "&lt;0&gt;" in page  # names are escaped
    assert len(pictures_in(page)) == 4
    assert "http" not in page.replace("http-equiv", "")


def test_the_pixels_of_a_finding_are_orange(tmp_path: Path) -> None:
    images, cells = sample(2)
    cells[1][280, 300:303] = 500
    cells[1][10, 10] = 500
    page = page_of(tmp_path, images, cells, LabelSettings(kind="instances"))
    assert "1 object is in several pieces" in page
    _, marked = pictures_in(page)[:2]
    assert marked.shape == (CROP_PX, CROP_PX, 3)
    assert (marked == PREDICTION).all(axis=-1).sum() == 1  # the smaller piece


def test_repaired_pixels_are_shown(tmp_path: Path) -> None:
    images, cells = sample(3)
    masks = [np.where(label > 0, 255, 0).astype(np.uint8) for label in cells]
    masks[1][100:104, 50:60] = 3
    page = page_of(tmp_path, images, masks, LabelSettings(repair=True))
    assert "40 of 96000 pixels of the label have values of no class" in page
    _, marked = pictures_in(page)[:2]
    assert (marked == PREDICTION).all(axis=-1).sum() == 40


def test_what_has_no_pixels_is_shown_side_by_side(tmp_path: Path) -> None:
    images, cells = sample(2)
    page = page_of(tmp_path, images, [cells[0], cells[1][:, :-1]])
    assert "They differ by a pixel or two" in page
    image, label = pictures_in(page)[:2]
    assert image.shape == (300, 320, 3)
    assert label.shape == (300, 319, 3)


def test_volumes_and_overlapping_classes(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 255, (9, 40, 50)).astype(np.uint8)
    ids = np.zeros(volume.shape, np.uint8)
    ids[2:4, 5:9, 5:9], ids[6, 30:33, 30:33], ids[7:9, :9, :9] = 1, 1, 2
    found = pairs([Image(volume, "zyx")], [Image(ids, "zyx")], 3)
    report = examine(found, LabelSettings(kind="instances"))
    write_check(tmp_path / "v.html", found, report, ["name"], [["v"]])
    page = (tmp_path / "v.html").read_text()
    assert "1 object is in several pieces" in page
    _, marked = pictures_in(page)[:2]
    assert marked.shape == (40, 50, 3)
    assert (marked == PREDICTION).all(axis=-1).sum() == 9

    layers = np.zeros((2, 40, 50), np.uint8)
    layers[0, 5:20], layers[1, :, 10:30] = 1, 1
    label = Image(layers, "cyx", channel_names=("a", "b"))
    found = pairs([volume[0]], [label])
    write_check(tmp_path / "c.html", found, examine(found), ["name"], [["c"]])
    assert len(pictures_in((tmp_path / "c.html").read_text())) == 2


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, cells = sample(3)
    for number, (image, label) in enumerate(zip([*images[:2], images[0]], cells, strict=True)):
        io.write(_made(tmp_path / "images") / f"{'a' * 60}{number}.png", Image(image, "yx"))
        io.write(_made(tmp_path / "labels") / f"{'a' * 60}{number}.png", Image(label, "yx"))
    page = tmp_path / "a.html"
    with pytest.raises(SystemExit) as end:
        main(["check", str(tmp_path), "--holdout", "2", "--report", str(page)])
    said = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0
    assert "a" * 40 not in said  # long names are shortened
    assert "1 held out" in said
    assert "Ready to train, with 1 warning." in said
    assert "The image is held out as" in page.read_text()
    with pytest.raises(SystemExit) as end:
        main(["check", str(tmp_path), "--report", str(page)])
    assert end.value.code == 2
    with pytest.raises(SystemExit):
        main(["check", str(tmp_path / "images")])
    assert "nothing to train on" in capsys.readouterr().out


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder
