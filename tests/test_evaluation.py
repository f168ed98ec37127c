"""Evaluations: every figure of one image, of all pooled, and how sure it is."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from overtile import evaluation, layouts, metrics
from overtile.errors import DataError, OutputError
from overtile.evaluation import DEFINITIONS, Evaluation, bootstrap, evaluate_pairs
from overtile.image import Image
from overtile.labels import LabelMeaning, understand

Predictions = list[NDArray[np.float32]]


def scored(
    labels: list[NDArray] | list[Image],
    likely: Predictions,
    meaning: LabelMeaning,
    found: list[NDArray] | None = None,
) -> Evaluation:
    """The scores of predictions (k *space) that are given instead of a model's."""
    images = [np.full(p.shape[1:], n, np.uint8) for n, p in enumerate(likely)]
    pairs = layouts.pairs(images, labels)

    def number(image: Image) -> int:
        return int(np.asarray(image.data).flat[0])

    return evaluate_pairs(
        pairs,
        meaning,
        lambda image: likely[number(image)],
        lambda _, image: np.zeros((1, 1), int) if found is None else found[number(image)],
    )


def random_classes(
    images: int, classes: int, seed: int = 0
) -> tuple[list[NDArray], Predictions, LabelMeaning]:
    random = np.random.default_rng(seed)
    labels = [random.integers(0, classes, (9, 11)).astype(np.uint8) for _ in range(images)]
    labels[0].flat[:classes] = range(classes)
    likely = [random.dirichlet(np.ones(classes), (9, 11)) for _ in range(images)]
    turned = [np.moveaxis(each, 2, 0).astype(np.float32) for each in likely]
    return labels, turned, understand(labels, kind="classes")


def random_instances(images: int) -> tuple[list[NDArray], Predictions, list[NDArray]]:
    random = np.random.default_rng(5)
    labels, found = [], []
    for _ in range(images):
        ids = np.kron(random.permutation(13)[:12].reshape(3, 4), np.ones((4, 4), int))
        labels.append(ids.astype(np.uint16))
        found.append(np.roll(ids, random.integers(0, 2, 2), (0, 1)))
    likely = [np.stack([ids == 0, ids > 0]).astype(np.float32) for ids in found]
    return labels, likely, found


class TestScores:
    def test_pooled_is_one_image_of_all(self) -> None:
        """Laid side by side, images of any task score as they do pooled."""
        labels, likely, meaning = random_classes(4, 3)
        apart = scored(labels, likely, meaning)
        whole = scored([np.hstack(labels)], [np.concatenate(likely, axis=2)], meaning)
        beside = whole.rows[0].scores
        apart_too = ("boundary F1", "surface Dice", "Hausdorff 95")  # outlines meet at the seams
        for name, value in apart.pooled.items():
            if not any(score in name for score in apart_too):
                assert value == pytest.approx(beside[name])
        assert set(apart.names) - set(apart.pooled) == {
            "mean Hausdorff 95", *(f"Hausdorff 95 {name}" for name in meaning.names[1:])
        }  # fmt: skip

    def test_outlines(self) -> None:
        """The figures of each class, from the counts of the metrics by themselves."""
        labels, likely, meaning = random_classes(3, 3)
        result = scored(labels, likely, meaning)
        name = meaning.names[2]
        boundary, near = metrics.BoundaryMatches(), metrics.SurfaceOverlap()
        for row, label, each in zip(result.rows, labels, likely, strict=True):
            masks = label == 2, each.argmax(axis=0) == 2
            distances = metrics.surface_distances(*masks, (1, 1))
            matched, overlap = (
                metrics.match_boundaries(*masks),
                metrics.surface_overlap(distances, 2),
            )
            assert row.scores[f"boundary F1 {name}"] == metrics.boundary_f1(matched)
            assert row.scores[f"surface Dice {name}"] == metrics.surface_dice(overlap)
            assert row.scores[f"Hausdorff 95 {name}"] == metrics.hausdorff(distances)
            boundary, near = boundary + matched, near + overlap
        assert result.pooled[f"boundary F1 {name}"] == pytest.approx(metrics.boundary_f1(boundary))
        assert result.pooled[f"surface Dice {name}"] == pytest.approx(metrics.surface_dice(near))

    def test_distances_are_in_the_unit_that_all_images_state(self) -> None:
        truth, found = np.zeros((2, 20, 20), np.uint8)
        truth[5:10, 5:10], found[5:10, 8:13] = 1, 1
        likely = [np.stack([found == 0, found == 1]).astype(np.float32)]
        meaning = understand([truth])
        name = f"Hausdorff 95 {meaning.names[1]}"
        for spacing, unit, expected in (
            (None, "", 3.0),
            ((0.5, 0.25), "micrometer", 0.75),
            ((0.5, 0.25), "", 3.0),  # a size of what? pixels are surer
        ):
            image = Image(np.zeros((20, 20), np.uint8), "yx", spacing=spacing, unit=unit)
            pairs = layouts.pairs(image, truth)
            result = evaluate_pairs(pairs, meaning, lambda _: likely[0], lambda _, __: truth)
            assert result.unit == (unit or "px")
            assert result.rows[0].scores[name] == pytest.approx(expected)

    def test_a_class_that_is_missing_has_no_distance(self) -> None:
        labels = [np.array([[0, 0, 0], [0, 1, 0]], np.uint8)]
        nothing = [np.stack([np.ones((2, 3)), np.zeros((2, 3))]).astype(np.float32)]
        meaning = understand(labels)
        row = scored(labels, nothing, meaning).rows[0].scores
        assert np.isnan(row[f"Hausdorff 95 {meaning.names[1]}"])
        assert row[f"surface Dice {meaning.names[1]}"] == row["mean boundary F1"] == 0

    def test_the_warping_error_is_asked_for(self) -> None:
        labels, likely, meaning = random_classes(1, 2)
        pairs = layouts.pairs(np.zeros((9, 11), np.uint8), labels)
        models = (lambda _: likely[0], lambda *_: labels[0])
        assert "warping error" not in evaluate_pairs(pairs, meaning, *models).names
        result = evaluate_pairs(pairs, meaning, *models, all_scores=True)
        counted = metrics.warp_and_count(labels[0] == 1, likely[0].argmax(axis=0) == 1)
        assert result.pooled["warping error"] == counted.wrong / counted.total

    def test_means_over_classes(self) -> None:
        labels, likely, meaning = random_classes(1, 4)
        scores = scored(labels, likely, meaning).rows[0].scores
        predicted = likely[0].argmax(axis=0)
        ious, dices, recalls = [], [], []
        for number, name in enumerate(meaning.names):
            true, found = labels[0] == number, predicted == number
            ious.append((true & found).sum() / (true | found).sum())
            dices.append(2 * (true & found).sum() / (true.sum() + found.sum()))
            recalls.append((true & found).sum() / true.sum())
            assert scores[f"IoU {name}"] == pytest.approx(ious[-1])
            assert scores[f"accuracy {name}"] == pytest.approx(recalls[-1])
        assert scores["mean IoU"] == pytest.approx(np.mean(ious))
        assert scores["mean Dice"] == pytest.approx(np.mean(dices[1:]))  # 0 is the background
        assert scores["mean accuracy"] == pytest.approx(np.mean(recalls))
        assert scores["pixel accuracy"] == pytest.approx((predicted == labels[0]).mean())

    def test_absent_classes_count_for_nothing(self) -> None:
        """Class 2 is in no pixel, class 1 only in the prediction."""
        meaning = understand([np.array([[0, 1, 2]])], kind="classes")
        likely = np.zeros((3, 2, 4), np.float32)
        likely[0], likely[1, 0, 0], likely[0, 0, 0] = 1, 1, 0
        row = scored([np.zeros((2, 4), np.uint8)], [likely], meaning).rows[0].scores
        assert np.isnan(row["IoU class 2"])
        assert row["IoU class 1"] == row["Dice class 1"] == 0
        assert np.isnan(row["accuracy class 1"])
        assert row["mean IoU"] == pytest.approx((7 / 8 + 0) / 2)
        assert row["mean accuracy"] == pytest.approx(7 / 8)

    def test_of_equal_probabilities_the_first_class_is_predicted(self) -> None:
        labels = [np.array([[0, 1]], np.uint8)]
        even = [np.full((2, 1, 2), 0.5, np.float32)]
        meaning = understand(labels)
        row = scored(labels, even, meaning).rows[0].scores
        assert [row[f"IoU {name}"] for name in meaning.names] == [0.5, 0]

    def test_instances(self) -> None:
        labels, likely, found = random_instances(4)
        result = scored(labels, likely, understand(labels, kind="instances"), found)
        counted = [metrics.overlaps(*pair) for pair in zip(labels, found, strict=True)]
        for row, each in zip(result.rows, counted, strict=True):
            aps = [
                metrics.average_precision(metrics.match(each, t)) for t in np.arange(10, 19) / 20
            ]
            assert row.scores["mean AP 0.5-0.9"] == pytest.approx(np.mean(aps))
            assert row.scores["AP at 0.75"] == pytest.approx(aps[5])
            assert row.scores["objects"] == len(each.truth_px)
            assert row.scores["count error"] == abs(each.count_error)
        pooled = sum((metrics.match(each, 0.6) for each in counted), metrics.Matches())
        assert result.pooled["AP at 0.6"] == pytest.approx(metrics.average_precision(pooled))
        total, objects = np.sum([metrics.segmentation(each) for each in counted], axis=0)
        assert result.pooled["SEG"] == pytest.approx(total / objects)
        apart = [each.scores["AP at 0.6"] for each in result.rows]
        assert result.mean["AP at 0.6"] == pytest.approx(np.mean(apart))

    def test_images_without_objects_say_nothing_of_objects(self) -> None:
        labels, likely, found = random_instances(2)
        empty = np.zeros_like(labels[0])
        nothing = np.stack([empty == 0, empty > 0]).astype(np.float32)
        meaning = understand(labels, kind="instances")
        result = scored([*labels, empty], [*likely, nothing], meaning, [*found, empty])
        rest = scored(labels, likely, meaning, found)
        for name in ("AP at 0.5", "PQ", "AJI", "SEG", "DET"):
            assert np.isnan(result.rows[2].scores[name])
            assert result.mean[name] == pytest.approx(rest.mean[name])
            assert result.pooled[name] == pytest.approx(rest.pooled[name])
        assert result.rows[2].scores["count error"] == 0

    def test_objects_on_unlabelled_pixels_are_cut_off(self) -> None:
        label = np.zeros((4, 8), np.float32)
        label[:, :2], label[:, 5:] = 1, np.nan
        found = np.zeros((4, 8), int)
        found[:, :2], found[:, 6:] = 1, 2
        likely = np.stack([found == 0, found > 0]).astype(np.float32)
        meaning = understand([label], kind="instances")
        row = scored([Image(label, "yx")], [likely], meaning, [found]).rows[0].scores
        assert (row["predicted objects"], row["AP at 0.9"]) == (1, 1)

    def test_the_best_threshold_is_one_for_all(self) -> None:
        inside = np.ones((40, 40), bool)
        inside[18:22] = False
        soft = np.where(inside, 0.75, 0.65).astype(np.float32)
        hard = np.where(inside, 0.95, 0.05).astype(np.float32)
        labels = [inside.astype(np.uint8)] * 2
        result = scored(labels, [np.stack([1 - p, p]) for p in (soft, hard)], understand(labels))
        assert result.best_threshold == pytest.approx(0.7)
        assert result.mean["V_rand"] == 1
        assert "V_rand" not in result.pooled

    @pytest.mark.parametrize("kind", ["classes", "instances", "multilabel"])
    def test_every_score_is_defined(self, kind: str) -> None:
        result = EXAMPLES[kind]()
        assert {score for score, _ in result.names.values()} <= set(DEFINITIONS)
        assert [str(name) for name in result.names.values()] == list(result.names)
        assert list(result.rows[0].scores) == list(result.names)

    def test_a_label_of_another_size_is_refused(self) -> None:
        _, likely, meaning = random_classes(1, 2)
        with pytest.raises(DataError, match="size"):
            scored([np.zeros((3, 3), np.uint8)], likely, meaning)


def of_layers() -> Evaluation:
    random = np.random.default_rng(2)
    masks = [(random.random((2, 9, 11)) < 0.4).astype(np.uint8) for _ in range(3)]
    likely = [random.random((2, 9, 11)).astype(np.float32) for _ in range(3)]
    labels = [Image(mask, "cyx") for mask in masks]
    values = [each.astype(np.float32) for each in masks]
    from overtile.labels import Label

    meaning = understand([Label(value, "channels") for value in values], kind="multilabel")
    return scored(labels, likely, meaning)


def of_instances() -> Evaluation:
    labels, likely, found = random_instances(4)
    return scored(labels, likely, understand(labels, kind="instances"), found)


EXAMPLES: dict[str, Callable[[], Evaluation]] = {
    "classes": lambda: scored(*random_classes(5, 2)),
    "instances": of_instances,
    "multilabel": of_layers,
}


class TestCalibration:
    def test_against_its_definition(self) -> None:
        labels, likely, meaning = random_classes(1, 3, seed=4)
        score = scored(labels, likely, meaning).rows[0].scores["calibration error"]
        sure, right = likely[0].max(axis=0), likely[0].argmax(axis=0) == labels[0]
        expected = 0.0
        for number in range(15):
            inside = (sure > number / 15) & (sure <= (number + 1) / 15)
            if inside.any():
                gap = abs(right[inside].mean() - sure[inside].mean(dtype=float))
                expected += inside.mean() * gap
        assert score == pytest.approx(expected)

    def test_certain_and_right_is_0_certain_and_wrong_is_1(self) -> None:
        labels = [np.array([[0, 1, 1]], np.uint8)]
        right = np.stack([labels[0] == 0, labels[0] == 1]).astype(np.float32)
        meaning = understand(labels)
        for likely, expected in ((right, 0), (1 - right, 1)):
            result = scored(labels, [likely], meaning)
            assert result.pooled["calibration error"] == expected
            last = result.reliability[-1]
            assert (last.pixels, last.confidence, last.accuracy) == (3, 1, 1 - expected)


class TestIntervals:
    def test_the_mean_of_many_is_known_as_well_as_theory_says(self) -> None:
        """The standard error of a mean: sd / sqrt(n), and 1.96 of it to each side."""
        values = np.random.default_rng(1).normal(0.7, 0.1, 400)
        low, high = bootstrap.of_mean(values.tolist()) or (0, 0)
        half = 1.96 * values.std() / np.sqrt(400)
        assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
        assert high == pytest.approx(values.mean() + half, abs=0.1 * half)

    def test_two_images_have_none(self) -> None:
        assert bootstrap.of_mean([0.5, 0.9]) is None
        assert bootstrap.of_mean([0.5, 0.9, float("nan")]) is None
        assert bootstrap.of_mean([0.5, 0.9, 0.9]) is not None
        few = scored(*random_classes(2, 2))
        assert few.intervals == few.pooled_intervals == {}

    def test_images_that_are_alike_leave_no_doubt(self) -> None:
        labels, likely, meaning = random_classes(1, 2)
        alike = scored(labels * 4, likely * 4, meaning)
        for name, value in alike.pooled.items():
            assert alike.pooled_intervals[name] == pytest.approx((value, value))

    @given(st.integers(0, 100))
    @settings(max_examples=5, deadline=None)
    def test_pooled_scores_lie_within(self, seed: int) -> None:
        result = scored(*random_classes(6, 3, seed))
        for name, (low, high) in result.pooled_intervals.items():
            assert low <= high
            if "mean" not in name:
                assert low <= result.pooled[name] <= high or name == "calibration error"

    def test_an_interval_of_pooled_counts_is_that_of_drawing_images(self) -> None:
        random = np.random.default_rng(0)
        counts = random.integers(1, 9, (5, 2))
        (found,) = bootstrap.of_pooled(list(counts), lambda total: [float(total[0] / total.sum())])
        drawn = counts[random.integers(0, 5, (20_000, 5))].sum(axis=1)
        expected = np.percentile(drawn[:, 0] / drawn.sum(axis=1), (2.5, 97.5))
        assert found == pytest.approx(tuple(expected), abs=0.02)

    def test_what_is_defined_in_no_resample_has_none(self) -> None:
        assert bootstrap.interval([float("nan"), float("inf")]) is None

    def test_again_gives_the_same(self) -> None:
        first, second = (scored(*random_classes(4, 2)) for _ in range(2))
        assert first.intervals == second.intervals
        assert first.pooled_intervals == second.pooled_intervals


class TestFiles:
    def test_a_line_for_every_score(self, tmp_path: Path) -> None:
        result = of_instances()
        evaluation.write_csv(tmp_path / "s.csv", result)
        with (tmp_path / "s.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert len(lines) == len(result.rows) * len(result.names)
        for line in lines:
            row = next(row for row in result.rows if row.name == line["image"])
            name = f"{line['score']} {line['class']}".rstrip()
            value = row.scores[name]
            assert line["value"] == ("" if np.isnan(value) else repr(float(value)))

    def test_json_holds_all(self, tmp_path: Path) -> None:
        result = EXAMPLES["classes"]()
        evaluation.write_json(tmp_path / "s.json", result, {"model": {"folder": "a\udce9"}})
        said = json.loads((tmp_path / "s.json").read_text())
        assert said["model"]["folder"] == "a\\udce9"
        assert len(said["images"]) == 5
        for each in said["scores"]:
            name = f"{each['score']} {each['class']}".rstrip()
            assert each["mean"] == result.mean[name]
            assert each["pooled"] == result.pooled.get(name)
            assert tuple(each["mean_interval"]) == result.intervals[name]
            assert each["score"] in said["definitions"]
        assert sum(row["pixels"] for row in said["reliability"]) == 5 * 99

    def test_what_is_not_defined_is_null(self, tmp_path: Path) -> None:
        labels = [np.zeros((4, 4), np.uint8)]
        likely = [np.stack([np.ones((4, 4)), np.zeros((4, 4))]).astype(np.float32)]
        meaning = understand([np.array([[0, 1]])], kind="instances")
        result = scored(labels, likely, meaning, labels)
        evaluation.write_json(tmp_path / "s.json", result, {})
        said = json.loads((tmp_path / "s.json").read_text())
        assert said["images"][0]["scores"]["AP at 0.5"] is None
        evaluation.write_csv(tmp_path / "s.csv", result)
        assert ",,AP at 0.5,\n" in (tmp_path / "s.csv").read_text()

    def test_files_that_exist_are_kept(self, tmp_path: Path) -> None:
        result = EXAMPLES["classes"]()
        for name, write in (
            ("s.csv", lambda path: evaluation.write_csv(path, result)),
            ("s.json", lambda path: evaluation.write_json(path, result, {})),
        ):
            (tmp_path / name).write_text("mine")
            with pytest.raises(OutputError, match="exists"):
                write(tmp_path / name)
            assert (tmp_path / name).read_text() == "mine"
