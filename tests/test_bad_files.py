"""Every bad file is refused with a sentence, within a second of work and 500 MiB, and no traceback.

The table is in `bad_files`. What is asked of each: to be read, to be checked as an image and as a
label, and to be predicted.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bad_files import CASES, Case, make, whole
from refused import (
    MOST_BYTES,
    assert_says,
    bounded,
    call,
    is_not_checked,
    is_not_predicted,
    is_not_read,
)

import overtile
from overtile import io, layouts, machine
from overtile.cli import main
from overtile.errors import DataError
from overtile.image import Image
from overtile.sample import draw_sample
from overtile.segmenter import Segmenter

every_case = pytest.mark.parametrize("case", CASES, ids=[ascii(case.name) for case in CASES])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    make(CASES, folder)
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image that is in order, everything that reads it being imported."""
    path = tmp_path_factory.mktemp("good") / "good.tif"
    image = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    io.write(path, Image(image, "yx"))
    io.write(path.with_suffix(".zarr"), Image(image, "yx"))
    for name, content in whole().items():
        (path.parent / name).write_bytes(content)
        layouts.list_images(path.parent / name)[0][1].read()
    call("check", path, path.with_suffix(".zarr"))
    return path


@pytest.fixture(scope="module")
def model(model_folder: Path, good: Path, tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    """A model that has predicted once, so that what a prediction costs is known."""
    model = overtile.load(model_folder, engine="torch", precision="float32", threads=1)
    model.predict_file(good, tmp_path_factory.mktemp("out") / "a.tif")
    return model


@every_case
@pytest.mark.usefixtures("good")
def test_it_is_not_read(case: Case, corpus: Path) -> None:
    is_not_read(case, corpus)


@every_case
def test_it_is_not_checked(
    case: Case, corpus: Path, good: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    is_not_checked(case, corpus, good, capfd)


@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.is_usable], ids=lambda case: ascii(case.name)
)
def test_it_is_not_predicted(
    case: Case, corpus: Path, model: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_not_predicted(case, corpus, model, tmp_path, monkeypatch)


# ── whole data sets, and another process ──────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("check", "pipe.png"),
        ("check", os.fsdecode(b"caf\xe9.png")),
        ("predict", "huge-one-strip.tif"),
    ],
    ids=ascii,
)
def test_the_program_says_one_sentence_and_ends(
    corpus: Path, good: Path, model_folder: Path, tmp_path: Path, command: str, name: str
) -> None:
    """In a process of its own, whose output is UTF-8 and nothing else."""
    case = next(case for case in CASES if case.name == name)
    arguments = [good, corpus / name]
    if command == "predict":
        arguments = [model_folder, corpus / name, "-o", tmp_path / "o.tif"]
    done = subprocess.run(
        [sys.executable, "-c", "import overtile.cli; overtile.cli.main()", command, *arguments],
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert_says(case, done.stderr.decode())
    if command == "predict":
        assert len(done.stderr.decode().strip().splitlines()) == 1


def test_a_name_that_is_no_text_costs_nothing(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Checked, predicted, evaluated; the name is printed with an escape."""
    image, label = draw_sample(0, 0, (64, 64))
    for kind, array in {"images": image, "labels": label.astype(np.uint16)}.items():
        (tmp_path / kind).mkdir()
        for name in (b"caf\xe9.png", b"plain.png"):
            io.write(tmp_path / kind / os.fsdecode(name), Image(array, "yx"))
    assert call("check", tmp_path / "images", tmp_path / "labels") == 0
    assert "caf\\udce9" in capsys.readouterr().out
    assert call("predict", model_folder, tmp_path / "images", "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / os.fsdecode(b"caf\xe9.tif")).exists()
    page = tmp_path / os.fsdecode(b"caf\xe9.html")
    known = [tmp_path / "images", tmp_path / "labels", "--report", page]
    assert call("evaluate", model_folder, *known) == 0
    assert "caf\\udce9" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".png", ".npy", ".zarr"])
def test_an_output_may_have_a_name_that_is_no_text(tmp_path: Path, suffix: str) -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    path = tmp_path / os.fsdecode(b"caf\xe9" + suffix.encode())
    io.write(path, Image(image, "yx", spacing=(0.5, 0.5), unit="micrometer"))
    assert np.array_equal(io.open(path).data[()], image)


def test_a_bad_file_in_a_folder_is_named_and_so_are_labels_of_another_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, label = draw_sample(0, 0, (64, 64))
    for kind, array in {"images": image, "labels": (label > 0).astype(np.uint8)}.items():
        (tmp_path / kind).mkdir()
        for number in range(3):
            io.write(tmp_path / kind / f"{number}.png", Image(array, "yx"))
    half = tmp_path / "images" / "1.png"
    half.write_bytes(half.read_bytes()[:300])
    io.write(tmp_path / "labels" / "2.png", Image(array[:60], "yx"), overwrite=True)
    assert call("check", tmp_path / "images", tmp_path / "labels") == 2
    said = capsys.readouterr().err
    assert re.search(r"Error: 1: .*1\.png is damaged or truncated", said)
    assert re.search(r"Error: 2: .*60 x 64", said)


@pytest.mark.parametrize("command", ["check", "predict"])
def test_a_folder_that_may_not_be_read_is_named(
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    """As the system refuses it to all but root, who may be the one to run this."""
    folder = tmp_path / "locked"
    folder.mkdir()

    def refuse(path: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "labels").mkdir()
    monkeypatch.setattr(Path, "iterdir", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    arguments = [folder, tmp_path / "labels"]
    if command == "predict":
        arguments = [model_folder, folder, "-o", tmp_path / "out"]
    assert call(command, *arguments) == 2
    assert "cannot be read: Permission denied" in capsys.readouterr().err.replace("\n", "")
    with pytest.raises((PermissionError, DataError)):
        main([command, *map(str, arguments), "--debug"])


def test_a_limit_of_the_shell_counts_as_memory() -> None:
    assert machine.free_memory() > 0
    with bounded():
        assert machine.free_memory() <= MOST_BYTES
