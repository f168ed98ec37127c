"""Folds and cross-validation: what is held out, resumed, and refused."""

from __future__ import annotations

import csv
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import overtile
from overtile import jobs, layouts
from overtile import model as storage
from overtile.errors import DataError, OutputError, SettingsError
from overtile.evaluation.bootstrap import of_mean
from overtile.sample import draw_sample
from overtile.search.folds import even_blocks, split_folds
from overtile.settings import LabelSettings, Settings, UNetSettings, WindowSettings

TINY = Settings(
    network=UNetSettings(padding="same", depth=1, base_channels=2, norm="batch", dropout=0),
    window=WindowSettings(size_px=16, batch_size=1),
    border="own",
    precision="float32",
    layout="contiguous",
    labels=LabelSettings(kind="instances"),
)


def drawn(count: int) -> tuple[list[Any], list[Any]]:
    images = [draw_sample(0, index, (48, 40)) for index in range(count)]
    return [image for image, _ in images], [cells for _, cells in images]


def grouped(groups: list[str]) -> layouts.Pairs:
    """Pairs of these groups; without a name, each image is its own."""
    (one,) = layouts.pairs([np.zeros((4, 4), np.uint8)], [np.zeros((4, 4), np.uint8)])
    members = [
        layouts.Pair(f"i{place}", one.image, one.label, group) for place, group in enumerate(groups)
    ]
    return layouts.Pairs(tuple(members), "made up")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=25), st.data())
def test_folds_hold_out_each_image_once_and_no_group_straddles(
    numbers: list[int], data: st.DataObject
) -> None:
    # The group 6 stands for none: such an image is a group of its own.
    pairs = grouped(["" if number == 6 else str(number) for number in numbers])
    single = len(pairs.groups) == 1
    most = len(pairs) if single else len(pairs.groups)
    count = data.draw(st.integers(2, most))
    folds = split_folds(pairs, count)
    assert len(folds) == count
    assert all(folds)
    assert sorted(itertools.chain(*folds)) == list(range(len(pairs)))
    assert folds == split_folds(pairs, count)
    if single:
        assert list(itertools.chain(*folds)) == list(range(len(pairs)))
    else:
        names = [{pairs[p].group or pairs[p].name for p in fold} for fold in folds]
        assert sum(map(len, names)) == len(pairs.groups)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.data())
def test_blocks_are_as_even_as_any_cut_can_make_them(sizes: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(sizes)))

    def unevenness(blocks: list[range]) -> int:
        return sum(sum(sizes[place] for place in block) ** 2 for block in blocks)

    every = [
        [range(*ends) for ends in itertools.pairwise((0, *cuts, len(sizes)))]
        for cuts in itertools.combinations(range(1, len(sizes)), count - 1)
    ]
    blocks = even_blocks(sizes, count)
    assert blocks in every
    assert unevenness(blocks) == min(map(unevenness, every))


def test_folds_that_cannot_be_made_say_what_would_work() -> None:
    with pytest.raises(SettingsError, match="1 folds: expected 2 at least"):
        split_folds(grouped([""] * 4), 1)
    with pytest.raises(
        DataError,
        match=r"4 folds need as many groups of images.*there are 3 to train on \(a, b, c\): "
        "use at most 3 folds",
    ):
        split_folds(grouped(["a", "b", "b", "c"]), 4)
    with pytest.raises(DataError, match=r"5 folds need as many images.*are 3.*at most 3 folds"):
        split_folds(grouped(["", "", ""]), 5)
    with pytest.raises(DataError, match=r"5 folds need as many images.*are 4.*at most 4 folds"):
        split_folds(grouped(["stack"] * 4), 5)
    with pytest.raises(DataError, match=r"there is 1 to train on .*: label another image"):
        split_folds(grouped([""]), 2)


def test_numbers_choose_positions_even_where_groups_are_called_so() -> None:
    pairs = grouped(["2", "2", "0"])
    assert layouts.select(pairs, [2]).names == ["i2"]
    assert layouts.select(pairs, "2").names == ["i0", "i1"]


def test_the_interval_of_a_mean_is_near_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(0.7, 0.1, 400)
    half = 1.96 * values.std() / 20
    low, high = of_mean([*values, math.nan]) or (0, 0)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert of_mean([0.5]) is None


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Five images, of which the last is held out, in two folds."""
    folder = tmp_path_factory.mktemp("crossed") / "cells"
    images, cells = drawn(5)
    told: list[str] = []
    result = overtile.cross_validate(
        images,
        cells,
        output=folder,
        folds=2,
        steps=3,
        holdout="4",
        settings=TINY,
        ensemble=True,
        tell=told.append,
    )
    return result, told


def test_cross_validation_scores_each_image_by_a_model_that_never_saw_it(crossed: Any) -> None:
    result, told = crossed
    images, cells = drawn(5)
    pairs = layouts.pairs(images, cells)
    assert "2 folds of 2 images, and a model for each, trained without it for 3 steps." in told
    assert [(fold, row.name) for fold, row in result.rows] == [
        (1, pairs[0].name),
        (1, pairs[1].name),
        (2, pairs[2].name),
        (2, pairs[3].name),
    ]
    for fold, row in result.rows:
        model = storage.load(result.folder / f"fold-{fold}")
        assert row.name not in model.origin.images
        assert row.name in model.origin.held_out
        assert pairs[4].name in model.origin.held_out
        assert len(model.origin.images) == 2
        place = pairs.names.index(row.name)
        again = jobs.evaluate(
            overtile.load(result.folder / f"fold-{fold}"), pairs, only=[place]
        ).rows[0]
        assert again.scores["pixel error"] == row.scores["pixel error"]


def test_the_table_holds_each_fold_and_the_mean_over_all_images(crossed: Any) -> None:
    result, _ = crossed
    with (result.folder / "folds.csv").open() as file:
        rows = {row["score"]: row for row in csv.DictReader(file)}
    with (result.folder / "images.csv").open() as file:
        images = list(csv.DictReader(file))
    assert set(rows) == set(images[0]) - {"fold", "image"}
    errors = [float(row["pixel error"]) for row in images]
    assert [int(row["fold"]) for row in images] == [1, 1, 2, 2]
    got = {column: float(text) for column, text in [*rows["pixel error"].items()][1:]}
    assert got["fold 1"] == pytest.approx(np.mean(errors[:2]))
    assert got["fold 2"] == pytest.approx(np.mean(errors[2:]))
    assert got["all"] == pytest.approx(np.mean(errors))
    assert min(errors) <= got["2.5 %"] <= got["all"] <= got["97.5 %"] <= max(errors)


def test_a_share_that_is_too_short_says_that_it_is_one(tmp_path: Path) -> None:
    images, cells = drawn(4)
    options: dict[str, Any] = {"minutes": 0.1, "settings": TINY}
    words = r"too short.*one of 2 trainings, which share --minutes: give 2 times as much"
    with pytest.raises(SettingsError, match=words):
        overtile.cross_validate(images, cells, output=tmp_path / "a", folds=2, **options)
    with pytest.raises(SettingsError, match=words):
        overtile.train_ensemble(images, cells, output=tmp_path / "b", members=2, **options)
    with pytest.raises(SettingsError, match=r"too short.*of 3 trainings, which share --trial-min"):
        overtile.tune(
            images, cells, output=tmp_path / "c", trial_minutes=0.1, **options | {"minutes": 5}
        )
    deep = TINY.model_copy(update={"network": TINY.network.model_copy(update={"depth": 8})})
    with pytest.raises(SettingsError, match="too deep for them") as refused:
        overtile.cross_validate(
            images, cells, output=tmp_path / "d", folds=2, minutes=1, settings=deep
        )
    assert "share" not in str(refused.value)


def probabilities(folder: Path, image: Any) -> Any:
    return overtile.load(folder, precision="float32").probabilities(image)


def mean_of_models(folders: list[Path], image: Any) -> Any:
    return np.mean([probabilities(folder, image) for folder in folders], axis=0)


def test_the_folds_models_as_one_average_their_probabilities(crossed: Any) -> None:
    result, _ = crossed
    image = drawn(5)[0][4]
    together = storage.load(result.folder / "ensemble")
    folds = [result.folder / f"fold-{number}" for number in (1, 2)]
    mean = mean_of_models(folds, image)
    assert probabilities(result.folder / "ensemble", image) == pytest.approx(mean, abs=1e-5)
    # What no fold trained on is what the ensemble is scored on where nothing else is said.
    (held,) = together.origin.held_out
    assert len(together.origin.images) == 4
    assert held not in together.origin.images


def test_folds_that_are_done_are_not_trained_again(
    crossed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, _ = crossed
    images, cells = drawn(5)
    kept = (result.folder / "fold-1" / "model.yaml").read_bytes()
    table = (result.folder / "folds.csv").read_bytes()
    (result.folder / "fold-2" / "model.yaml").unlink()  # as if it had not been finished
    for path in (result.folder / "fold-2").iterdir():
        path.unlink()
    (result.folder / "fold-2").rmdir()
    trained = []
    train = jobs.train

    def spy(*given: Any, **options: Any) -> Any:
        trained.append(options["output"].name)
        return train(*given, **options)

    monkeypatch.setattr(jobs, "train", spy)
    same: dict[str, Any] = {"output": result.folder, "folds": 2, "steps": 3, "settings": TINY}
    overtile.cross_validate(images, cells, holdout="4", resume=True, **same)
    assert trained == ["fold-2"]
    assert (result.folder / "fold-1" / "model.yaml").read_bytes() == kept
    assert (result.folder / "folds.csv").read_bytes() == table  # float32 on one thread is the same

    with pytest.raises(DataError, match=r"begun on other images.*expected 4 images in 2 folds"):
        overtile.cross_validate(images, cells, holdout="0", resume=True, **same)
    other = TINY.model_copy(update={"seed": 7})
    with pytest.raises(SettingsError, match=r"begun otherwise.*: seed was 0 and is 7\. Say the"):
        overtile.cross_validate(
            images, cells, holdout="4", resume=True, **same | {"settings": other}
        )
    with pytest.raises(OutputError, match="exists: go on with it with --resume, choose another"):
        overtile.cross_validate(images, cells, holdout="4", **same)
    assert (result.folder / "fold-1" / "model.yaml").read_bytes() == kept


def test_a_fold_that_was_killed_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, cells = drawn(2)
    options: dict[str, Any] = {"folds": 2, "steps": 14, "settings": TINY}
    monkeypatch.setattr("overtile.training.module.CHUNK_STEPS", 4)
    whole = overtile.cross_validate(images, cells, output=tmp_path / "whole", **options)
    monkeypatch.setattr("overtile.training.watch.CHECKPOINT_S", 0)

    def kill(progress: Any) -> None:
        if progress.step == 10:
            raise SystemExit

    options["output"] = tmp_path / "killed"
    with pytest.raises(SystemExit):
        overtile.cross_validate(images, cells, on_step=kill, **options)
    train, resumed = jobs.train, []

    def spy(*given: Any, **told: Any) -> Any:
        resumed.append(told["resume"])
        return train(*given, **told)

    monkeypatch.setattr(jobs, "train", spy)
    again = overtile.cross_validate(images, cells, resume=True, **options)
    assert resumed == [True, False]
    for fold in ("fold-1", "fold-2"):
        one, other = (storage.load(result.folder / fold) for result in (whole, again))
        for name, value in one.parameters.items():
            np.testing.assert_array_equal(value, other.parameters[name])
    assert [row.scores for _, row in whole.rows] == [row.scores for _, row in again.rows]


def test_an_output_that_is_something_else_is_kept(tmp_path: Path) -> None:
    images, cells = drawn(2)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds something else \(no folds.yaml\)"):
        overtile.cross_validate(
            images, cells, output=tmp_path, folds=2, steps=1, settings=TINY, overwrite=True
        )
    with pytest.raises(OutputError, match=r"nothing to resume: .*folds.yaml is missing"):
        overtile.cross_validate(
            images, cells, output=tmp_path / "a", folds=2, steps=1, settings=TINY, resume=True
        )
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_minutes_are_shared_by_the_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def train(*_: Any, **options: Any) -> Any:
        asked.append(options["minutes"])
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "train", train)
    images, cells = drawn(4)
    with pytest.raises(KeyboardInterrupt):
        overtile.cross_validate(images, cells, output=tmp_path / "a", folds=4, minutes=10)
    with pytest.raises(KeyboardInterrupt):
        overtile.cross_validate(images, cells, output=tmp_path / "b", folds=2)
    assert asked == [2.5, 7.5]


def test_an_ensemble_is_of_seeds_and_goes_on_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, cells = drawn(3)
    options: dict[str, Any] = {"output": tmp_path / "m", "steps": 2, "settings": TINY}
    options |= {"members": 3, "holdout": [2]}
    train, seeds = jobs.train, list[int]()

    def killed(*given: Any, **told: Any) -> Any:
        seeds.append(told["settings"].seed)
        if len(seeds) == 3:
            raise SystemExit
        return train(*given, **told)

    monkeypatch.setattr(jobs, "train", killed)
    with pytest.raises(SystemExit):
        overtile.train_ensemble(images, cells, **options)
    assert not (tmp_path / "m").exists()
    with pytest.raises(OutputError, match=r"m.members exists: go on with it with --resume"):
        overtile.train_ensemble(images, cells, **options)
    made = overtile.train_ensemble(images, cells, resume=True, **options)
    assert seeds == [0, 1, 2, 2]
    assert not (tmp_path / "m.members").exists()
    members = [tmp_path / "m" / f"member-{number}" for number in (1, 2, 3)]
    assert [storage.load(folder).settings.seed for folder in members] == [0, 1, 2]
    alone = train(images, cells, steps=2, holdout=[2], settings=members_settings(members[1]))
    expected = storage.load(members[1]).parameters
    for name, value in alone.model.parameters.items():
        np.testing.assert_array_equal(value, expected[name])
    mean = mean_of_models(members, images[2])
    assert probabilities(tmp_path / "m", images[2]) == pytest.approx(mean, abs=1e-5)
    assert made.model.origin.held_out == ("2",)


def members_settings(folder: Path) -> Settings:
    """What a member was asked to train with."""
    kind = storage.load(folder).settings.labels
    return TINY.model_copy(update={"seed": 1, "labels": kind})


def test_an_ensemble_of_one_is_refused(tmp_path: Path) -> None:
    images, cells = drawn(2)
    with pytest.raises(SettingsError, match="An ensemble of 1: expected 2 models at least"):
        overtile.train_ensemble(images, cells, output=tmp_path / "m", members=1)
