"""Classes that overlap: a channel for each, from the label to training, prediction and scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import overtile
from overtile import io, jobs, layouts
from overtile.augment import Augmentation
from overtile.cli import main
from overtile.dataset import Example, Slabs, prepare
from overtile.errors import DataError, FormatError
from overtile.file_to_file import PredictOptions
from overtile.image import Image
from overtile.labels import ClassHint, Hints, Label, understand
from overtile.layouts.source import Source
from overtile.metrics import iou
from overtile.normalise import Normalisation
from overtile.segmenter import Segmenter, load
from overtile.settings import (
    AugmentSettings,
    OptimiserSettings,
    PixelWeightSettings,
    Settings,
    UNetSettings,
    WindowSettings,
)

SETTINGS = Settings(
    network=UNetSettings(padding="same", depth=2, base_channels=8, norm="batch", dropout=0),
    window=WindowSettings(size_px=32, batch_size=4),
    augment=AugmentSettings(deform=0, gain=0, offset=0, gamma=0),
    optimiser=OptimiserSettings(learning_rate=1e-2),
    border="own",
    calibrate=True,
    precision="float32",
    layout="channels_last",
)


def overlapping(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A gray image of two discs that overlap, one of them darker; and a channel for each."""
    random = np.random.default_rng(seed)
    places = np.indices((64, 72))
    layers = []
    for _ in range(2):
        centre = random.uniform(20, 44, (2, 1, 1))
        layers.append(((places - centre) ** 2).sum(axis=0) < 15**2)
    bright, dark = layers
    image = 100 + 90 * bright + 40 * dark + random.integers(0, 20, bright.shape)
    return image.astype(np.uint8), np.stack(layers).astype(np.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two classes that overlap."""
    folder = tmp_path_factory.mktemp("multilabel") / "m"
    images, labels = zip(*(overlapping(seed) for seed in range(6)), strict=True)
    given = [Image(label, "cyx", channel_names=("bright", "dark")) for label in labels]
    overtile.train(list(images), given, steps=150, settings=SETTINGS, output=folder)
    return folder


@pytest.fixture(scope="module")
def segmenter(trained: Path) -> Segmenter:
    return load(trained, engine="torch", precision="float32")


class TestMeaning:
    def test_channels_are_classes(self) -> None:
        _, layers = overlapping(0)
        labels = [Label(layers, "channels", names=("a", "b")), Label(layers[::-1], "channels")]
        meaning = understand(labels)
        assert (meaning.kind, meaning.names, meaning.background) == ("multilabel", ("a", "b"), None)
        assert np.array_equal(meaning.class_map(labels[0]), layers)
        assert not meaning.objects(labels[0]).any()
        named = understand(labels, hints=Hints((ClassHint("x", 1),)))
        assert named.names == ("a", "x")

    def test_nan_in_any_channel_and_ignored_values_are_unlabelled_in_all(self) -> None:
        layers = overlapping(0)[1].astype(np.float32)
        layers[0, :2], layers[1, 5] = np.nan, 255
        meaning = understand([Label(layers, "channels")], hints=Hints(ignored=(255,)))
        found = meaning.class_map(Label(layers, "channels"))
        assert (found[:, [0, 1, 5]] == -1).all()
        assert np.array_equal(found[:, 6:], layers[:, 6:])

    def test_red_green_and_blue_may_be_three_classes(self) -> None:
        red, green = overlapping(0)[1].astype(np.int64) * 255
        label = Label((red << 16) + (green << 8), "colours")
        meaning = understand([label], "multilabel")
        assert np.array_equal(meaning.class_map(label), np.stack([red, green, red * 0]) > 0)
        assert "No pixel of any label is class 2" in meaning.reason

    def test_what_is_refused(self) -> None:
        two, three = (Label(np.ones((count, 3, 3)), "channels") for count in (2, 3))
        with pytest.raises(DataError, match="labels have 2 channels and 3 channels: give one file"):
            understand([two, three])
        with pytest.raises(DataError, match="the labels have a single number for each pixel"):
            understand([np.array([[0, 1]])], "multilabel")
        with pytest.raises(DataError, match="a channel for each class cannot be instances"):
            understand([two], "instances")
        with pytest.raises(DataError, match="A label has 3 channels, and the others have 2"):
            understand([two]).class_map(three)

    @pytest.mark.parametrize(
        ("shape", "top", "names", "coding"),
        [
            ((2, 8, 9), 255, (), "channels"),
            ((5, 8, 9), 1, (), "channels"),
            ((3, 8, 9), 1, (), "channels"),
            ((3, 8, 9), 255, (), "colours"),
            ((3, 8, 9), 255, ("x", "y", "z"), "channels"),
            ((3, 8, 9), 255, ("Red", "Green", "Blue"), "colours"),
            ((1, 8, 9), 1, ("x",), "numbers"),
        ],
    )
    def test_what_a_label_with_channels_is_read_as(
        self, shape: tuple[int, ...], top: int, names: tuple[str, ...], coding: str
    ) -> None:
        values = np.random.default_rng(0).integers(0, 2, shape, np.uint8) * top
        source = Source("a", Image(values, "cyx", channel_names=names), is_label=True)
        label = source.read_label(source)
        assert label.coding == coding
        assert label.shape == shape[1:]
        if coding == "channels":
            assert np.array_equal(label.values, values)
            assert label.names == names


class TestTraining:
    def test_targets_keep_their_channels(self) -> None:
        image, layers = overlapping(0)
        values = layers.astype(np.float32)
        values[:, :9] = np.nan
        label = Label(values, "channels")
        (example,) = prepare([(image[None], label)], understand([label]), PixelWeightSettings())
        assert np.array_equal(example.weight, np.repeat([0.0, 1.0], [9, 55])[:, None] * np.ones(72))
        assert example.target.shape == layers.shape
        slabs = Slabs(
            [example],
            [Normalisation((0.0,), (1.0,))],
            labelled_px=np.array([1]),
            context_px=(20, 20),
            window_px=(20, 20),
            seed=0,
            steps=(0, 1),
            batch_size=1,
        )
        assert slabs[0][1].shape == (2, 20, 20)

    def test_layers_are_resampled_as_one_target_each(self) -> None:
        """A target with two channels gives what each of them gives alone."""
        image, layers = overlapping(0)
        target = torch.from_numpy(layers.astype(np.int64))[None]
        pixels, weight = (
            torch.from_numpy(image.astype(np.float32))[None, None],
            torch.ones(1, 64, 72),
        )
        change = Augmentation(AugmentSettings(), (20, 22))
        seeds = torch.tensor([5])
        _, both, _ = change(pixels, target, weight, seeds)
        for number in range(2):
            _, alone, _ = change(pixels, target[:, number], weight, seeds)
            assert torch.equal(both[:, number], alone)

    def test_an_unlabelled_layer_is_refused(self) -> None:
        label = Label(np.full((2, 4, 4), np.nan), "channels")
        with pytest.raises(DataError, match="No pixel of the training labels belongs to a class"):
            prepare([(np.zeros((1, 4, 4)), label)], understand([label]), PixelWeightSettings())

    def test_both_classes_are_learnt_where_they_overlap(self, segmenter: Segmenter) -> None:
        assert segmenter.model.settings.loss.activation == "sigmoid"
        image, truth = overlapping(9)
        found = segmenter.predict(image)
        assert found.shape == truth.shape
        assert np.array_equal(found, segmenter.probabilities(image) > 0.5)
        for number in range(2):
            table = np.histogram2d(truth[number].ravel(), found[number].ravel(), bins=2)[0]
            assert iou(table)[1] > 0.6
        assert (found.min(axis=0) == 1).any()  # both at one pixel


class TestPrediction:
    def test_a_file_has_a_channel_of_0_and_1_for_each(
        self, segmenter: Segmenter, tmp_path: Path
    ) -> None:
        image, _ = overlapping(9)
        io.write(tmp_path / "i.tif", Image(image, "yx"))
        expected = segmenter.predict(image)
        for name in ("o.tif", "o.zarr"):
            segmenter.predict_file(tmp_path / "i.tif", tmp_path / name, PredictOptions(tile_px=32))
            written = io.open(tmp_path / name)
            assert written.axes == "cyx"
            assert np.array_equal(written.data[()], expected)
        with pytest.raises(FormatError, match="holds the class ids of one plane"):
            segmenter.predict_file(tmp_path / "i.tif", tmp_path / "o.png")

    def test_there_are_no_objects(self, segmenter: Segmenter, tmp_path: Path) -> None:
        image, _ = overlapping(9)
        io.write(tmp_path / "i.tif", Image(image, "yx"))
        with pytest.raises(DataError, match="classes of this model overlap"):
            segmenter.objects(image)
        with pytest.raises(DataError, match="classes of this model overlap"):
            options = PredictOptions(content="objects")
            segmenter.predict_file(tmp_path / "i.tif", tmp_path / "o.tif", options)

    def test_a_stack_has_its_classes_before_space(self, segmenter: Segmenter) -> None:
        planes = np.stack([overlapping(seed)[0] for seed in range(3)])
        found = segmenter.predict(planes)
        assert found.shape == (3, 2, 64, 72)
        assert np.array_equal(found[1], segmenter.predict(planes[1]))


class TestEvaluation:
    def test_scores_are_those_of_binary_maps(self, segmenter: Segmenter) -> None:
        image, truth = overlapping(9)
        values = truth.astype(np.float32)
        values[:, :10] = np.nan
        scores = jobs.evaluate(segmenter, image, Image(values, "cyx")).rows[0].scores
        found, part = segmenter.predict(image)[:, 10:] > 0, truth[:, 10:] > 0
        for number, name in enumerate(("bright", "dark")):
            both = (found[number] & part[number]).sum()
            one = (found[number] | part[number]).sum()
            assert scores[f"IoU {name}"] == pytest.approx(both / one)
            share = both / part[number].sum()
            assert scores[f"accuracy {name}"] == pytest.approx(share)
        assert scores["pixel error"] == pytest.approx((found != part).mean())
        assert scores["mean IoU"] == pytest.approx((scores["IoU bright"] + scores["IoU dark"]) / 2)
        assert scores["mean Dice"] == pytest.approx(
            (scores["Dice bright"] + scores["Dice dark"]) / 2
        )

    def test_report_overlay_and_inspection(
        self, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        image, truth = overlapping(9)
        io.write(tmp_path / "i.tif", Image(image, "yx"))
        io.write(tmp_path / "l.tif", Image(truth, "cyx"))
        page = tmp_path / "r.html"
        for arguments in (
            ("evaluate", trained, tmp_path / "i.tif", tmp_path / "l.tif", "--report", page),
            (
                "predict",
                trained,
                tmp_path / "i.tif",
                "-o",
                tmp_path / "o.tif",
                "--overlay",
                tmp_path / "v",
            ),
            ("inspect", trained),
        ):
            with pytest.raises(SystemExit) as ended:
                main([str(part) for part in arguments])
            assert ended.value.code == 0
        text = page.read_text()
        assert "bright, dark (they may overlap)" in text
        assert "cross-entropy of each class over all pixels" in text
        assert (tmp_path / "v" / "i.png").exists()
        assert "bright" in capsys.readouterr().out


def test_examples_know_what_is_labelled() -> None:
    target = np.array([[[0, -1, 1]], [[1, -1, 0]]], np.int16)
    example = Example(np.zeros((1, 1, 3)), target, np.ones((1, 3), np.float32), np.array([]))
    assert example.labelled.tolist() == [[True, False, True]]


def test_pairs_of_channels_are_checked(tmp_path: Path) -> None:
    image, truth = overlapping(0)
    io.write(tmp_path / "l.tif", Image(truth, "cyx"))
    (pair,) = layouts.pairs(image, tmp_path / "l.tif")
    layouts.check_pair("a", pair.image.read(), pair.read_label())
    with pytest.raises(DataError, match="expected equal sizes"):
        layouts.check_pair("a", image[None, 1:], pair.read_label())
