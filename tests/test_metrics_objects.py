"""Scores of objects against their definitions by brute force, and against py-ctcmetrics."""

from __future__ import annotations

import tempfile
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import tifffile
from ctc_metrics.metrics import det, seg
from ctc_metrics.utils.representations import count_acyclic_graph_correction_operations
from ctc_metrics.utils.representations import match as ctc_match
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from skimage.metrics import contingency_table

from overtile import metrics
from overtile.errors import DataError

IDS = hnp.arrays(np.int32, (4, 5), elements=st.integers(0, 4))
VOLUMES = hnp.arrays(
    st.sampled_from([np.uint8, np.uint16, np.int64]), (2, 3, 4), elements=st.integers(0, 3)
)


def masks(ids: NDArray) -> list[NDArray]:
    return [ids == number for number in np.unique(ids[ids > 0])]


def iou(one: NDArray, other: NDArray) -> float:
    return float((one & other).sum() / (one | other).sum())


def choices(truth: NDArray, prediction: NDArray, threshold: float) -> list[list[float]]:
    """The IoU of the matches of every way to give each true object one predicted one, or none."""
    found = masks(prediction)
    ways = []
    for way in product([None, *range(len(found))], repeat=len(masks(truth))):
        taken = [place for place in way if place is not None]
        if len(set(taken)) < len(taken):
            continue
        values = [
            iou(mask, found[place])
            for mask, place in zip(masks(truth), way, strict=True)
            if place is not None
        ]
        if all(value >= threshold for value in values):
            ways.append(values)
    return ways


@given(IDS, IDS, st.sampled_from([0.01, 0.1, 0.25, 1 / 3, 0.5, 0.6, 1.0]))
@settings(max_examples=60, deadline=None)
def test_matches_are_the_best_of_all_choices(
    truth: NDArray, prediction: NDArray, threshold: float
) -> None:
    ways = choices(truth, prediction, threshold)
    most = max(len(way) for way in ways)
    counted = metrics.match_objects(truth, prediction, threshold)
    assert counted.found == most
    assert counted.overlap == pytest.approx(max(sum(way) for way in ways if len(way) == most))
    assert counted.found + counted.missed == len(masks(truth))
    assert counted.found + counted.invented == len(masks(prediction))


@given(VOLUMES, VOLUMES)
@settings(max_examples=30, deadline=None)
def test_shared_pixels_are_those_of_scikit_image(truth: NDArray, prediction: NDArray) -> None:
    counted = metrics.overlaps(truth, prediction)
    table = contingency_table(truth, prediction).toarray()
    shares = table[np.unique(truth[truth > 0])][:, np.unique(prediction[prediction > 0])]
    found = np.zeros((len(counted.truth_px), len(counted.predicted_px)), np.int64)
    found[counted.i, counted.j] = counted.shared_px
    assert np.array_equal(found, shares)
    assert counted.truth_px.tolist() == [mask.sum() for mask in masks(truth)]
    assert counted.predicted_px.tolist() == [mask.sum() for mask in masks(prediction)]
    assert counted.count_error == len(masks(prediction)) - len(masks(truth))


def test_an_iou_of_exactly_the_threshold_is_a_match() -> None:
    for hit, all_of_them in ((1, 2), (11, 20), (3, 5), (13, 20), (7, 10), (3, 4), (9, 10)):
        truth = np.ones((1, all_of_them), int)
        prediction = (np.arange(all_of_them) < hit)[None].astype(int)
        threshold = metrics.AP_THRESHOLDS[round((hit / all_of_them - 0.5) / 0.05)]
        assert metrics.match_objects(truth, prediction, threshold).found == 1
        more = float(np.nextafter(threshold, 1))
        assert metrics.match_objects(truth, prediction, more).found == 0
    assert metrics.AP_THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)


def test_of_two_equal_halves_one_is_found() -> None:
    counted = metrics.match_objects(np.array([[1, 1]]), np.array([[1, 2]]))
    assert (counted.found, counted.invented, counted.missed) == (1, 1, 0)
    strict = metrics.match(
        metrics.overlaps(np.array([[1, 1]]), np.array([[1, 2]])), metrics.ABOVE_HALF
    )
    assert (strict.found, strict.invented, strict.missed) == (0, 2, 1)


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.5, float("nan")])
def test_thresholds_that_mean_nothing_are_refused(threshold: float) -> None:
    with pytest.raises(DataError, match=r"matched at an IoU of .*: expected a threshold above 0"):
        metrics.match_objects(np.ones((2, 2), int), np.ones((2, 2), int), threshold)


def panoptic(truth: NDArray, prediction: NDArray) -> float:
    """Kirillov et al. 2019, equation 1, object by object."""
    pairs = [
        iou(one, other)
        for one in masks(truth)
        for other in masks(prediction)
        if iou(one, other) > 0.5
    ]
    alone = len(masks(truth)) + len(masks(prediction)) - 2 * len(pairs)
    total = len(pairs) + alone / 2
    return sum(pairs) / total if total else float("nan")


@given(IDS, IDS)
@settings(max_examples=60, deadline=None)
def test_panoptic_quality_is_its_definition(truth: NDArray, prediction: NDArray) -> None:
    counted = metrics.match_objects(truth, prediction, metrics.ABOVE_HALF)
    expected = panoptic(truth, prediction)
    assert metrics.panoptic_quality(counted) == pytest.approx(expected, nan_ok=True)


def jaccard(truth: NDArray, prediction: NDArray) -> tuple[int, int]:
    """Kumar et al. 2017, algorithm 1, object by object."""
    intersection = union = 0
    used: set[int] = set()
    found = masks(prediction)
    for mask in masks(truth):
        best = max(
            range(len(found)),
            key=lambda k, m=mask: (iou(m, found[k]), (m & found[k]).sum()),
            default=None,
        )
        if best is None or not (mask & found[best]).any():
            union += mask.sum()
            continue
        intersection += (mask & found[best]).sum()
        union += (mask | found[best]).sum()
        used.add(best)
    union += sum(mask.sum() for place, mask in enumerate(found) if place not in used)
    return int(intersection), int(union)


@given(IDS, IDS)
@settings(max_examples=80, deadline=None)
def test_aggregated_jaccard_is_its_algorithm(truth: NDArray, prediction: NDArray) -> None:
    counted = metrics.aggregated_jaccard(metrics.overlaps(truth, prediction))
    assert counted == jaccard(truth, prediction)


def ctc_scores(pairs: list[tuple[NDArray, ...]]) -> tuple[float, float]:
    """SEG and DET of a sequence by py-ctcmetrics, which reads files."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, pair in enumerate(pairs):
            files = [str(Path(folder) / f"{name}{number}.tif") for name in ("r", "c")]
            for file, ids in zip(files, pair, strict=True):
                tifffile.imwrite(file, ids.astype(np.uint16))
            rows.append(ctc_match(*files))
    labels_ref, labels_comp, mapped_ref, mapped_comp, overlap = map(list, zip(*rows, strict=True))
    counted = count_acyclic_graph_correction_operations(
        np.zeros((0, 4), int), np.zeros((0, 4), int), labels_ref, labels_comp, mapped_ref,
        mapped_comp,
    )  # fmt: skip
    return seg(labels_ref, overlap), det(**counted)


@given(st.lists(st.tuples(IDS, IDS), min_size=2, max_size=3))
@settings(max_examples=40, deadline=None)
def test_seg_and_det_are_those_of_the_cell_tracking_challenge(
    pairs: list[tuple[NDArray, NDArray]],
) -> None:
    for truth, prediction in pairs:  # it takes the first id of each for the background
        truth[0, 0] = prediction[0, 0] = 0
        truth[3, 4] = prediction[3, 4] = 5  # and divides by the number of objects
    counted = [metrics.overlaps(*pair) for pair in pairs]
    expected = ctc_scores(pairs)
    total, objects = np.sum([metrics.segmentation(each) for each in counted], axis=0)
    assert total / objects == pytest.approx(expected[0])
    wrong = np.sum([list(vars(metrics.detections(each)).values()) for each in counted], axis=0)
    assert metrics.detection_score(metrics.Detections(*wrong)) == pytest.approx(expected[1])


def test_real_cells_that_moved_score_the_same_in_both(shared_data: Path) -> None:
    """Labels of DIC-HeLa against those of another time: cells that touch, leave and divide."""
    folder = shared_data / "ctc" / "DIC-C2DH-HeLa" / "01_ST" / "SEG"
    frames = [tifffile.imread(file).astype(np.int32) for file in sorted(folder.glob("*.tif"))[::4]]
    pairs = list(pairwise(frames))
    assert len(pairs) > 2
    counted = [metrics.overlaps(*pair) for pair in pairs]
    total, objects = np.sum([metrics.segmentation(each) for each in counted], axis=0)
    wrong = np.sum([list(vars(metrics.detections(each)).values()) for each in counted], axis=0)
    expected = ctc_scores(pairs)
    assert total / objects == pytest.approx(expected[0])
    assert metrics.detection_score(metrics.Detections(*wrong)) == pytest.approx(expected[1])
    assert 0.1 < expected[0] < 1


def test_detections_are_counted_by_hand() -> None:
    """One predicted object covers two, one is half covered, one is invented."""
    truth = np.array([[1, 1, 2, 2, 0, 3, 3, 0, 0]])
    found = np.array([[7, 7, 7, 7, 0, 8, 0, 0, 9]])
    counted = metrics.detections(metrics.overlaps(truth, found))
    assert vars(counted) == {"references": 3, "to_split": 1, "missed": 1, "invented": 2}
    assert metrics.detection_score(counted) == pytest.approx(1 - (5 + 10 + 2) / 30)
    total, objects = metrics.segmentation(metrics.overlaps(truth, found))
    assert (total, objects) == (0.5 + 0.5, 3)


def test_nothing_says_nothing() -> None:
    nothing, something = np.zeros((3, 4), int), np.eye(3, 4, dtype=int)
    silent = metrics.overlaps(nothing, nothing)
    assert np.isnan(metrics.average_precision(metrics.match(silent)))
    assert np.isnan(metrics.panoptic_quality(metrics.match(silent)))
    assert metrics.aggregated_jaccard(silent) == (0, 0)
    assert metrics.segmentation(silent) == (0, 0)
    for counted in (silent, metrics.overlaps(nothing, something)):
        assert np.isnan(metrics.detection_score(metrics.detections(counted)))
    missed = metrics.overlaps(something, nothing)
    assert metrics.average_precision(metrics.match(missed)) == 0
    assert metrics.detection_score(metrics.detections(missed)) == 0
    assert metrics.aggregated_jaccard(missed) == (0, 3)
    invented = metrics.overlaps(nothing, something)
    assert metrics.average_precision(metrics.match(invented)) == 0
    assert metrics.aggregated_jaccard(invented) == (0, 3)


def test_many_invented_objects_cost_no_more_than_finding_nothing() -> None:
    truth = np.zeros((6, 6), int)
    truth[0, 0] = 1
    found = np.arange(36).reshape(6, 6)
    assert metrics.detection_score(metrics.detections(metrics.overlaps(truth, found))) == 0
