"""`overtile plan`: what is printed, the file that is written, and training from it."""

from __future__ import annotations

from pathlib import Path

import pytest

import overtile
from overtile.cli import main
from overtile.sample import write_sample
from overtile.settings import Settings, from_yaml

KEPT = (
    *("--set", "network.base_channels=4", "--set", "network.depth=1", "--set", "window.size_px=32"),
    *("--set", "window.batch_size=1", "--set", "precision=float32", "--set", "layout=contiguous"),
    *("--labels-are", "instances"),
)


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(part) for part in arguments])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cells")
    write_sample(folder, count=3, size=(64, 64))
    return folder


def test_a_plan_is_printed_written_and_trained_from(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "260")
    images, file = (data / "images", data / "labels"), tmp_path / "settings.yaml"
    assert call("plan", *images, "--steps", 4, "--holdout", "2", *KEPT, "-o", file) == 0
    told = " ".join(capsys.readouterr().out.split())  # lines are as wide as the terminal
    for words in ("setting", "why", "As you set it.", "objects have another within 5 px", "Data"):
        assert words in told
    assert "instances, all pixels labelled" in told
    assert "4 steps of" in told
    assert "MiB of memory" in told
    assert "overtile train" in told
    assert not [path for path in tmp_path.iterdir() if path != file]

    planned = from_yaml(Settings, file.read_text(), "")
    assert (planned.steps, planned.labels.kind) == (4, "instances")
    file.write_text(file.read_text().replace("flip: true", "flip: false"))
    model = tmp_path / "m"
    assert call("train", *images, "--holdout", "2", "--settings", file, "-o", model) == 0
    assert "4 steps" in capsys.readouterr().out
    made = overtile.load(model).model
    assert made.settings == planned.model_copy(
        update={"augment": planned.augment.model_copy(update={"flip": False})}
    )
    assert made.origin.steps == 4
    assert made.reasons["augment.flip"] == "As you set it."


def test_training_explains_the_same_plan(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    images = (data / "images", data / "labels")
    assert call("plan", *images, "--steps", 2, *KEPT) == 0
    planned = capsys.readouterr().out
    assert "With -o settings.yaml the plan is written to a file" in planned
    model = tmp_path / "m"
    assert call("train", *images, "--steps", 2, *KEPT, "--explain", "-o", model) == 0
    trained = capsys.readouterr().out
    rows = [line for line in planned.splitlines() if line.startswith((" network.", " window."))]
    assert len(rows) >= 6
    assert set(rows) <= set(trained.splitlines())


def test_much_that_was_set_is_counted(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, file = (data / "images", data / "labels"), tmp_path / "settings.yaml"
    assert call("plan", *images, "--steps", 2, *KEPT, "-o", file) == 0
    capsys.readouterr()
    assert call("plan", *images, "--settings", file) == 0
    assert "settings are as you set them." in capsys.readouterr().out


def test_what_cannot_be_planned_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, file = (data / "images", data / "labels"), tmp_path / "settings.yaml"
    file.write_text("network: {channels: 3}\n")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("network: {dept: 3}\n")
    for arguments, words in (
        ((*images, "-o", file), "exists"),
        ((*images, "--settings", file, "--steps", 1), "made for other data"),
        ((*images, "--settings", wrong), "network.dept: there is no such setting"),
        ((*images, "--minutes", 0.01, *KEPT), "min are too short"),
        ((*images, "--minutes", 1, "--steps", 1), "got minutes and steps"),
        ((data / "images", "--steps", 1), "label"),
    ):
        assert call("plan", *arguments) == 2, arguments
        assert words in " ".join(capsys.readouterr().err.split())
    assert file.read_text() == "network: {channels: 3}\n"
    assert call("plan", *images, "--steps", 1, *KEPT, "-o", file, "--overwrite") == 0
    assert "# " in file.read_text()
