"""Every bad file of annotations, and every bad list of a data set, is refused; see `refused`.

The tables are in `bad_annotations`. Each is read as the label of an image, and checked.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bad_annotations import CASES, LISTS, SIZE, whole
from bad_files import Case, make
from refused import assert_says, bounded, call

from overtile import io, layouts
from overtile.errors import OvertileError
from overtile.image import Image


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image, everything that reads annotations being imported."""
    path = tmp_path_factory.mktemp("good") / "good.tif"
    io.write(path, Image(np.random.default_rng(0).integers(0, 255, (SIZE, SIZE), np.uint8), "yx"))
    for name, content in whole().items():
        (path.parent / name).write_bytes(content)
        (pair,) = layouts.pairs(path, path.parent / name)
        assert pair.label is not None
        assert pair.label.read_label(pair.image).values.any()
        call("check", path, path.parent / name)
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    make(CASES + LISTS, folder)
    return folder


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_annotations_are_not_read(case: Case, corpus: Path, good: Path) -> None:
    with bounded(), pytest.raises(OvertileError, match=case.words):
        for pair in layouts.pairs(good, corpus / case.name):
            assert pair.label is not None
            pair.label.read_label(pair.image)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_annotations_are_not_checked(
    case: Case, corpus: Path, good: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with bounded():
        assert call("check", good, corpus / case.name) == 2
    assert_says(case, capfd.readouterr().err)


@pytest.mark.parametrize("case", LISTS, ids=[case.name for case in LISTS])
@pytest.mark.usefixtures("good")
def test_lists_are_not_checked(case: Case, corpus: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with bounded():
        assert call("check", corpus / case.name) == 2
    assert_says(case, capfd.readouterr().err)
