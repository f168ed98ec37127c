"""`overtile train --fold` and `overtile tune` from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from overtile import jobs
from overtile import model as storage
from overtile.cli import main
from overtile.cli.searching import parse_fold
from overtile.errors import SettingsError
from overtile.settings import (
    LabelSettings,
    Settings,
    UNetSettings,
    WindowSettings,
    from_yaml,
    to_yaml,
)

TINY = Settings(
    network=UNetSettings(padding="same", depth=1, base_channels=2, norm="batch", dropout=0),
    window=WindowSettings(size_px=16, batch_size=1),
    border="own",
    precision="float32",
    layout="contiguous",
    labels=LabelSettings(kind="instances"),
)


def call(*arguments: object) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(part) for part in arguments])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    assert call("sample", folder / "data", "--count", 5, "--size", 64) == 0
    (folder / "tiny.yaml").write_text(to_yaml(TINY))
    return folder


def options(work: Path, steps: int = 2) -> list[object]:
    return ["--settings", work / "tiny.yaml", "--holdout", "4", "--steps", steps]


def test_all_folds(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", work / "data", "-o", work / "cv", *options(work)]
    assert call(*arguments, "--fold", "all", "--folds", 2, "--ensemble", 2) == 0
    said = capsys.readouterr().out
    assert "1 held out: cell-04." in said
    assert "2 folds of 2 images, and a model for each, trained without it for 2 steps." in said
    assert "Fold 2 of 2: 2 images to train on, 2 held out." in said
    assert "(4 images), and 95 % intervals" in said.replace("\n", " ")
    assert call(*arguments, "--fold", "all", "--folds", 2, "--ensemble", 2, "--resume") == 0
    assert len(storage.load(work / "cv" / "ensemble").members) == 2
    assert "trained before" in capsys.readouterr().out


def test_one_fold_is_a_model_that_evaluate_scores_on_it(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", work / "data", "-o", work / "one", *options(work)]
    assert call(*arguments, "--fold", 2, "--folds", 2) == 0
    origin = storage.load(work / "one").origin
    assert sorted(origin.images) == ["cell-00", "cell-01"]
    assert origin.held_out == ("cell-02", "cell-03")
    capsys.readouterr()
    assert call("evaluate", work / "one", work / "data") == 0
    said = capsys.readouterr().out
    assert "cell-02" in said
    assert "cell-04" not in said


@pytest.mark.parametrize(
    ("fold", "folds", "said"),
    [
        ("6", None, "--fold 6: expected a number from 1 to 5, or all"),
        ("0", 3, "expected a number from 1 to 3, or all"),
        ("half", None, "--fold half: expected a number"),
        (None, 4, "--folds 4 says how many folds there are, not which to train: give --fold all"),
    ],
)
def test_folds_that_are_not_there(fold: str | None, folds: int | None, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse_fold(fold, folds)


def test_more_folds_than_images_end_with_code_2(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", work / "data", "-o", work / "no", *options(work)]
    for fold in ("all", 5):
        assert call(*arguments, "--fold", fold, "--folds", 5) == 2
        assert "use at most 4 folds" in capsys.readouterr().err.replace("\n", " ")
    assert not (work / "no").exists()


@pytest.mark.parametrize("several", [["--fold", "all", "--folds", 2], ["--ensemble", 2]])
@pytest.mark.parametrize("option", [["--devices", 2], ["--logger", "tensorboard"]])
def test_options_of_a_single_training(
    work: Path, capsys: pytest.CaptureFixture[str], several: list[object], option: list[object]
) -> None:
    arguments = ["train", work / "data", "-o", work / "no", *options(work)]
    assert call(*arguments, *several, *option) == 2
    told = capsys.readouterr().err.replace("\n", " ")
    assert "are for a single training, and several are asked for" in told


@pytest.mark.parametrize("several", [["--fold", "all", "--folds", 2], ["--ensemble", 2]])
def test_what_was_interrupted_says_how_to_go_on(
    work: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    several: list[object],
) -> None:
    train = jobs.train

    def interrupted(*given: Any, **settings: Any) -> Any:
        made = train(*given, **settings)
        origin = made.model.origin.model_copy(update={"stopped": "interrupt"})
        object.__setattr__(made.model, "origin", origin)
        return made

    monkeypatch.setattr(jobs, "train", interrupted)
    output = work / f"cut{several[0]}"
    assert call("train", work / "data", "-o", output, *options(work), *several) == 130
    assert "--resume goes on" in capsys.readouterr().err.replace("\n", " ")


def test_ensembles(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", work / "data", "-o", work / "ens", *options(work)]
    assert call(*arguments, "--ensemble", 3, "--fold", "all", "--folds", 2) == 2
    said = capsys.readouterr().err.replace("\n", " ")
    assert "Give --ensemble 2, or --folds 3, or leave out --fold all" in said
    assert call(*arguments, "--ensemble", 2, "--fold", 1, "--folds", 2) == 0
    assert "2 models as one" in capsys.readouterr().out
    members = storage.load(work / "ens").members
    assert [sorted(each.origin.images) for each in members] == [["cell-02", "cell-03"]] * 2
    assert call(*arguments, "--ensemble", 2, "--overwrite", "--seed", 3) == 0
    assert [each.settings.seed for each in storage.load(work / "ens").members] == [3, 4]


def test_tune(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = work / "tuned"
    arguments = ["tune", work / "data", "-o", found, "--settings", work / "tiny.yaml"]
    limits = ["--minutes", 1000, "--trials", 1, "--trial-minutes", 0.25, "--folds", 2]
    assert call(*arguments, *limits, "--holdout", "4", "--seed", 5) == 0
    said = capsys.readouterr().out
    assert "What is tried" in said
    assert "Trial 0" in said
    assert "as given" in said
    assert f"--settings {found / 'settings.yaml'}" in said.replace("\n", "")
    settings = from_yaml(Settings, (found / "settings.yaml").read_text(), "it")
    assert settings.seed == 5
    assert settings.labels.kind != "auto"  # so that no fold took its labels for another kind
    assert (found / "trials.csv").is_file()
