"""Two models side by side: differences, their intervals, and the paired test."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import rankdata, wilcoxon

import overtile
from overtile import io
from overtile.cli import main
from overtile.cli.comparing import better
from overtile.errors import DataError, OutputError
from overtile.evaluation import Comparison, Evaluation, Name, Row, compare_evaluations
from overtile.evaluation.comparing import signed_rank, smallest_p
from overtile.image import Image
from overtile.labels import understand
from overtile.sample import draw_sample
from overtile.settings import Settings, UNetSettings, WindowSettings

MEANING = understand([np.array([[0, 1]])])


def evaluated(values: list[float], score: str = "mean IoU") -> Evaluation:
    """An evaluation that has one score."""
    rows = tuple(Row(f"image {n}", {score: value}) for n, value in enumerate(values))
    return Evaluation(rows, {}, None, MEANING, {score: Name(score)})


def compared(first: list[float], second: list[float], score: str = "mean IoU") -> Comparison:
    return compare_evaluations(evaluated(first, score), evaluated(second, score))


def by_all_signs(differences: NDArray[np.float64]) -> float:
    """The share of all ways to give signs to the differences that are as one-sided."""
    ranks = rankdata(np.abs(differences))
    middle = ranks.sum() / 2
    found = abs(ranks[differences > 0].sum() - middle)
    ways = [
        abs(sum(rank for rank, positive in zip(ranks, signs, strict=True) if positive) - middle)
        for signs in product((False, True), repeat=len(ranks))
    ]
    return float(np.mean(np.array(ways) >= found - 1e-9))


@given(st.lists(st.integers(-4, 4).filter(bool), min_size=1, max_size=9))
@settings(max_examples=40, deadline=None)
def test_p_is_counted_over_all_signs(differences: list[int]) -> None:
    apart = np.array(differences, float) / 7
    assert signed_rank(apart) == pytest.approx(by_all_signs(apart))


@pytest.mark.parametrize("images", [5, 12, 30, 50, 80])
def test_p_is_that_of_scipy(images: int) -> None:
    apart = np.random.default_rng(images).normal(0.1, 0.4, images)
    assert signed_rank(apart) == pytest.approx(wilcoxon(apart).pvalue)


def test_ties_are_left_out_and_counted() -> None:
    first, second = [0.5, 0.5, 0.5, 0.5, 0.5], [0.6, 0.5, 0.7, 0.5 + 1e-15, 0.45]
    (each,) = compared(first, second).differences
    assert (each.images, each.ties) == (5, 2)
    assert each.p == signed_rank(np.array([0.1, 0.2, -0.05]))
    assert each.difference == pytest.approx(0.25 / 5)
    (same,) = compared(first, first).differences
    assert np.isnan(same.p)
    assert (same.ties, same.difference) == (5, 0)


def test_images_without_the_score_in_one_model_are_left_out() -> None:
    nan = float("nan")
    (each,) = compared([0.1, nan, 0.3, 0.4], [0.2, 0.9, nan, 0.6]).differences
    assert each.images == 2
    assert (each.first, each.second) == pytest.approx((0.25, 0.4))
    assert each.interval is None
    (none,) = compared([nan, 0.5], [0.5, nan]).differences
    assert none.images == 0
    assert np.isnan([none.first, none.second, none.difference, none.p]).all()


def test_the_interval_is_that_of_paired_differences() -> None:
    """What is hard in an image is hard for both: their difference is known better than either."""
    random = np.random.default_rng(3)
    hard = random.uniform(0.2, 0.9, 40)
    gain = random.normal(0.03, 0.01, 40)
    (each,) = compared(hard.tolist(), (hard + gain).tolist()).differences
    assert each.interval is not None
    half = 1.96 * gain.std() / np.sqrt(40)
    assert each.interval == pytest.approx((gain.mean() - half, gain.mean() + half), abs=0.2 * half)
    assert each.p < 0.001


@pytest.mark.parametrize("images", [1, 3, 5, 6, 9])
def test_few_images_cannot_tell(images: int) -> None:
    result = compared([0.1] * images, [0.2 + n / 100 for n in range(images)])
    assert result.differences[0].p == pytest.approx(smallest_p(images))
    said = " ".join(result.notes)
    assert ("no difference can be significant" in said) == (images < 6)


def test_which_is_better() -> None:
    lower, higher = [0.1, 0.2], [0.3, 0.4]
    assert better(compared(lower, higher).differences[0]) == "second"
    assert better(compared(lower, higher, "pixel error").differences[0]) == "first"
    assert better(compared(lower, higher, "objects").differences[0]) == ""
    assert better(compared(lower, lower).differences[0]) == ""


def test_other_images_or_classes_are_refused() -> None:
    one = evaluated([0.1, 0.2])
    with pytest.raises(DataError, match="of image 0, image 1 and of image 0: expected the same im"):
        compare_evaluations(one, evaluated([0.1]))
    other = replace(one, meaning=understand([np.array([[0, 1, 2]])]))
    with pytest.raises(DataError, match=r"classes of the first model are .* those of the second"):
        compare_evaluations(one, other)


def small(dimensions: int = 2) -> Settings:
    network = UNetSettings(
        padding="same", depth=2, base_channels=4,
        norm="batch", dropout=0, dimensions=dimensions,
    )  # fmt: skip
    return Settings(network=network, window=WindowSettings(size_px=32, batch_size=2))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images, and two models: one trained on the first, the other on the first two."""
    folder = tmp_path_factory.mktemp("compare")
    drawn = [draw_sample(seed, 0, (64, 80)) for seed in range(6)]
    for name, part in (("images", 0), ("labels", 1)):
        (folder / name).mkdir()
        for number, pair in enumerate(drawn):
            io.write(folder / name / f"{number}.tif", Image(np.asarray(pair[part]), "yx"))
    data = (folder / "images", folder / "labels")
    for name, holdout, steps in (("a.model", "1:6", 2), ("b.model", "2:6", 30)):
        told = {"settings": small(), "labels_are": "instances", "output": folder / name}
        overtile.train(*data, holdout=holdout, steps=steps, **told)
    return folder


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(part) for part in arguments])
    return int(ended.value.code or 0)


def test_two_models_from_the_command_line(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("--csv", tmp_path / "c.csv", "--json", tmp_path / "c.json")
    command = ("compare", work / "a.model", work / "b.model", work / "images", work / "labels")
    assert call(*command, *files) == 0
    said = capsys.readouterr()
    assert "seen in training" not in said.err
    assert "With 4 images no difference can be significant" in " ".join(said.out.split())
    models = [overtile.load(work / name, inexact=True) for name in ("a.model", "b.model")]
    data = (work / "images", work / "labels")
    result = overtile.compare(*models, *data)
    names = [row.name for row in result.first.rows]
    assert names == ["2", "3", "4", "5"]  # what both held out
    second = overtile.evaluate(models[1], *data, only="2:6")
    assert result.second.mean == pytest.approx(second.mean, nan_ok=True)
    with (tmp_path / "c.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["image"] for line in lines} == set(names)
    line = next(line for line in lines if line["score"] == "AP at 0.5" and line["image"] == "3")
    assert float(line["second"]) == second.rows[1].scores["AP at 0.5"]
    told = json.loads((tmp_path / "c.json").read_text())
    assert len(told["differences"]) == len(result.differences)
    assert told["first_model"]["folder"].endswith("a.model")
    each = told["differences"][0]
    assert each["difference"] == pytest.approx(each["second"] - each["first"])


def test_images_that_one_was_trained_on_are_said(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("compare", work / "a.model", work / "b.model", work / "images", work / "labels")
    assert call(*command, "--only", "1:6") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "b.model: 1 of 5 images were seen in training (1)" in said
    assert "a.model:" not in said


def test_models_that_cannot_be_compared(work: Path, tmp_path: Path) -> None:
    model = overtile.load(work / "a.model")
    image, cells = draw_sample(0, 0, (64, 64))
    three = (cells > 0) + (cells > 3).astype(np.uint8)
    other = overtile.train(image, three, steps=1, settings=small(), labels_are="classes")
    with pytest.raises(DataError, match=r"classes of the first model are background, object, thos"):
        overtile.compare(model, other, image, cells)
    volume = np.stack([image] * 16), np.stack([cells] * 16)
    deep = overtile.train(
        Image(volume[0], "zyx"), Image(volume[1], "zyx"), steps=1, settings=small(3),
        labels_are="instances",
    )  # fmt: skip
    with pytest.raises(DataError, match="first model is for planes and the second for volumes"):
        overtile.compare(model, deep, image, cells)
    (tmp_path / "c.csv").write_text("mine")
    command = ("compare", work / "a.model", work / "a.model", work / "images", work / "labels")
    assert call(*command, "--csv", tmp_path / "c.csv") == 2
    assert (tmp_path / "c.csv").read_text() == "mine"
    with pytest.raises(OutputError, match="exists"):
        from overtile.evaluation.writing import write_differences

        write_differences(tmp_path / "c.csv", compared([0.1], [0.2]))
