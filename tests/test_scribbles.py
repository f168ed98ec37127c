"""Sparse labels: a few strokes for each class, and nothing known elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import overtile
from overtile import io, jobs
from overtile.cli.describing import describe_objective
from overtile.dataset import Example, Slabs, prepare
from overtile.doctor import examine
from overtile.errors import DataError
from overtile.labels import ClassHint, Hints, understand, whole_numbers
from overtile.labels.scribbles import looks_drawn
from overtile.layouts import pairs
from overtile.normalise import Normalisation
from overtile.planes import planes
from overtile.sample import draw_sample
from overtile.settings import (
    LossSettings,
    OptimiserSettings,
    PixelWeightSettings,
    Settings,
    UNetSettings,
    WindowSettings,
)

SHAPE = (96, 112)


def strokes(seed: int, values: tuple[int, ...] = (1, 2), width: int = 3) -> NDArray[np.int16]:
    """Straight strokes, two for each value, in rows of their own."""
    random = np.random.default_rng(seed)
    label = np.zeros(SHAPE, np.int16)
    for number, value in enumerate(values * 2):
        top, left = 6 + 90 * number // (2 * len(values)), int(random.integers(4, 40))
        label[top : top + width, left : left + 40 + int(random.integers(20))] = value
    return label


def test_strokes_are_told_by_their_form() -> None:
    labels = [strokes(seed) for seed in range(3)]
    meaning = understand(labels)
    assert (meaning.kind, meaning.values, meaning.background) == ("scribbles", (1, 2), None)
    assert "0 is taken as NOT LABELLED" in meaning.reason
    assert "if 0 is background, say --labels-are classes" in meaning.reason
    expected = np.select([labels[0] == 1, labels[0] == 2], [0, 1], -1)
    assert np.array_equal(meaning.class_map(labels[0]), expected)
    assert not meaning.objects(labels[0]).any()


@given(st.sets(st.integers(-5, 255).filter(bool), min_size=2, max_size=4), st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_the_values_may_be_any_but_0(values: set[int], width: int) -> None:
    label = strokes(0, tuple(sorted(values)), width)
    meaning = understand([label], "scribbles")
    assert meaning.values == tuple(sorted(values))
    ids = meaning.class_map(label)
    assert np.array_equal(ids == -1, label == 0)
    assert np.array_equal(np.array(meaning.values)[ids[label != 0]], label[label != 0])


def test_the_user_decides() -> None:
    label = strokes(0)
    assert understand([label], "classes").kind == "classes"
    named = Hints((ClassHint("background", 0),))
    assert understand([label], hints=named).kind == "classes"
    dense = label + 3
    assert understand([dense]).kind == "classes"
    forced = understand([dense], "scribbles", Hints((ClassHint("background", 4),)))
    assert forced.background == 0
    assert forced.names[0] == "background"
    assert "as you said" in forced.reason
    with pytest.raises(DataError, match="strokes of the labels have 1 value beside 0"):
        understand([strokes(0, (1,))], "scribbles")


@pytest.mark.parametrize(
    "label",
    [
        np.where(strokes(0) == 2, 1, strokes(0)),  # one value: a mask of fibres
        strokes(0, width=20),  # more than 15 % of the label
        np.where(np.indices(SHAPE)[0] == 50, np.where(np.indices(SHAPE)[1] > 50, 1, 2), 0),  # touch
        np.kron(np.array([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]]), np.ones((24, 24), int)),
        np.zeros(SHAPE, int),
        np.pad(np.kron(np.eye(40, dtype=int), [[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]]), 9) * 2
        + np.pad(np.ones((1, 1), int), ((0, 57), (0, 417))),  # forty bars
    ],
)
def test_what_is_not_taken_for_strokes(label: NDArray[np.int_]) -> None:
    try:
        assert understand([label]).kind != "scribbles"
    except DataError as error:
        assert "expected at least two classes" in str(error)


@pytest.mark.parametrize(
    "pattern",
    [
        "isbi2012/train-labels.tif",
        "ctc/DIC-C2DH-HeLa/01_*/SEG/*.tif",
        "camvid/trainannot/*.png",
        "voc/VOCdevkit/*/Segmentation*/*.png",
        "volumes/nuclei3d_labels.tif",
        "dsb2018/stage1_train/*/masks/*.png",
        "dubai/Tile 2/masks/*.png",
    ],
)
def test_no_real_label_is_taken_for_strokes(shared_data: Path, pattern: str) -> None:
    files = sorted(shared_data.glob(pattern))[:20]
    assert files
    labels = [plane[0] for file in files for plane in planes(io.open(file, as_label=True))[:5]]
    assert understand(labels).kind != "scribbles"
    several = [label for label in labels if len(np.unique(label)) > 2]
    assert not any(looks_drawn(whole_numbers(label)) for label in several)


def test_no_real_volume_is_taken_for_strokes(shared_data: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    files = sorted(shared_data.glob("msd/*/labelsTr/*.nii*"))[:10]
    assert files
    for file in files:
        assert not looks_drawn(np.asarray(nibabel.load(file).dataobj).astype(np.int64))


class TestWindows:
    def sparse(self, seed: int) -> Example:
        random = np.random.default_rng(seed)
        target = np.full((200, 240), -1, np.int16)
        target[random.integers(0, 200, 6), random.integers(0, 240, 6)] = 1
        weight = (target >= 0).astype(np.float32)
        return Example(np.zeros((1, 200, 240), np.float32), target, weight, np.array([]))

    def slabs(self, example: Example, steps: tuple[int, int] = (0, 30)) -> Slabs:
        return Slabs(
            [example],
            [Normalisation((0.0,), (1.0,))],
            labelled_px=np.array([1]),
            sparse=True,
            context_px=(40, 40),
            window_px=(20, 30),
            seed=1,
            steps=steps,
            batch_size=2,
        )

    @given(st.integers(0, 99))
    @settings(max_examples=15, deadline=None)
    def test_every_window_holds_a_labelled_pixel(self, seed: int) -> None:
        slabs = self.slabs(self.sparse(seed))
        for item in range(len(slabs)):
            window = slabs[item][1][10:30, 5:35]
            assert (window >= 0).any()

    def test_they_depend_on_seed_step_and_index_alone(self) -> None:
        example = self.sparse(0)
        whole, later = self.slabs(example), self.slabs(example, (7, 30))
        assert all((a == b).all() for a, b in zip(whole[14], later[0], strict=True))

    def test_an_image_smaller_than_the_window(self) -> None:
        target = np.full((12, 14), -1, np.int16)
        target[3, 3] = 0
        example = Example(
            np.zeros((1, 12, 14), np.float32), target, (target >= 0).astype("f4"), np.array([])
        )
        assert (self.slabs(example)[0][1] >= 0).any()

    def test_weights_are_0_but_on_strokes(self) -> None:
        label = strokes(0)
        (example,) = prepare(
            [(np.zeros((1, *SHAPE)), label)], understand([label]), PixelWeightSettings()
        )
        assert np.array_equal(example.weight > 0, label > 0)
        counts = np.array([(label == value).sum() for value in (1, 2)])
        assert np.allclose(np.unique(example.weight[label == 1]), counts.sum() / 2 / counts[0])


SETTINGS = Settings(
    network=UNetSettings(padding="same", depth=2, base_channels=8, norm="batch", dropout=0),
    window=WindowSettings(size_px=32, batch_size=4),
    optimiser=OptimiserSettings(learning_rate=1e-2),
    border="own",
    calibrate=True,
    precision="float32",
    layout="channels_last",
)


def test_a_network_learns_cells_from_strokes() -> None:
    """From 3 % of the pixels; scored on all of them, which training did not see."""
    images, labels, truths = [], [], []
    for index in range(3):
        image, cells = draw_sample(0, index, (96, 96))
        label = np.zeros_like(cells, dtype=np.uint8)
        rows = np.zeros(cells.shape, bool)
        rows[8::32] = True
        label[rows] = 1 + (cells[rows] > 0)
        images.append(image)
        labels.append(label)
        truths.append(np.where(cells > 0, 2, 1).astype(np.uint8))
    said: list[str] = []
    made = overtile.train(
        images[:2],
        labels[:2],
        steps=60,
        settings=SETTINGS,
        labels_are="scribbles",
        on_understood=said.append,
    )
    assert len(said) == 1
    assert said[0].startswith(made.model.classes.reason)
    assert "NOT LABELLED" in said[0]
    share = np.mean([(label > 0).mean() for label in labels[:2]])
    assert made.model.classes.labelled_share == pytest.approx(share)
    assert describe_objective(made.model) == (
        f"cross-entropy over the {100 * share:.3g} % of pixels that are labelled"
    )
    assert made.model.settings.labels.kind == "scribbles"
    full = jobs.evaluate(made, images[2], truths[2])
    assert full.best_threshold is None
    assert full.rows[0].scores["pixel error"] < 0.3
    sparse = jobs.evaluate(made, images[2], labels[2]).rows[0].scores
    found, drawn = made.predict(images[2]) + 1, labels[2] > 0
    assert sparse["pixel error"] == pytest.approx((found != labels[2])[drawn].mean())
    with pytest.raises(DataError, match="have no background among them"):
        made.objects(images[2])


def test_the_objective_names_its_terms() -> None:
    image, cells = draw_sample(0, 0, (64, 64))
    both = SETTINGS.model_copy(update={"loss": LossSettings(cross_entropy=0.5, dice=1)})
    made = overtile.train(image, cells, steps=1, settings=both)
    assert describe_objective(made.model) == "0.5 x cross-entropy + soft Dice over all pixels"
    others = LossSettings(cross_entropy=0, focal=1, tversky=2, boundary=0.1)
    model = replace(made.model, settings=both.model_copy(update={"loss": others}))
    assert describe_objective(model) == (
        "focal (gamma 2) + 2 x Tversky (0.3 FP, 0.7 FN, gamma 1) + 0.1 x boundary (to 10 px) over "
        "all pixels"
    )


def test_the_doctor_understands_strokes() -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 255, SHAPE, np.uint8) for _ in range(2)]
    report = examine(pairs(images, [strokes(seed) for seed in range(2)]))
    assert report.ok
    assert report.meaning is not None
    assert report.meaning.kind == "scribbles"
