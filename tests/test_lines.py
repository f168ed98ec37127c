"""Touching objects told apart by a class of their own: its outputs, its objects, its tiles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import softmax

import overtile
from overtile import Segmenter
from overtile.dataset import understood
from overtile.errors import SettingsError
from overtile.file_to_file import PredictOptions
from overtile.image import as_image
from overtile.labels import understand
from overtile.objects import (
    INSIDE,
    cut_blocks,
    find_objects,
    objectness,
    told_apart,
    without_line,
)
from overtile.objects.finding import ObjectSettings, find_objects_in_blocks
from overtile.objects.lines import above_inside
from overtile.sample import draw_sample
from overtile.settings import PixelWeightSettings, Settings, UNetSettings, WindowSettings
from overtile.training.insides import ALIKE, THRESHOLDS, fit_inside

OWN = PixelWeightSettings(separation="class", separation_px=2, border_weight=5.0)
SMALL = Settings(
    network=UNetSettings(padding="same", depth=2, base_channels=8, norm="batch", dropout=0),
    window=WindowSettings(size_px=64, batch_size=2),
    pixel_weight=OWN,
    border="own",
    averaging=0.9,
    calibrate=True,
    precision="float32",
    layout="contiguous",
)
TOUCHING = np.array([[1, 1, 1, 2, 2, 2, 0, 3, 3]] * 6, np.uint16)


@pytest.fixture(scope="module")
def model() -> Segmenter:
    drawn = [draw_sample(0, index, (128, 112)) for index in range(3)]
    return overtile.train(
        [image for image, _ in drawn], [cells for _, cells in drawn], steps=60, settings=SMALL
    )


def outputs(seed: int, shape: tuple[int, ...] = (30, 40)) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(0, 8, (3, *shape))
    return softmax(ndimage.gaussian_filter(noise, (0, *[2] * len(shape))) * 6, axis=0).astype("f4")


class TestTargets:
    def test_the_line_is_the_class_behind_all_others(self) -> None:
        meaning = understand([TOUCHING], "instances")
        image = np.zeros((1, *TOUCHING.shape), np.uint8)
        own = understood(image, TOUCHING, meaning, OWN)
        paper = PixelWeightSettings(separation_px=2)
        background = understood(image, TOUCHING, meaning, paper)
        assert (OWN.has_line(meaning.kind), paper.has_line(meaning.kind)) == (True, False)
        assert own.target[0].tolist() == [1, 1, 2, 2, 1, 1, 0, 1, 1]
        assert background.target[0].tolist() == [1, 1, 0, 0, 1, 1, 0, 1, 1]
        assert np.array_equal(own.objects, background.objects)

    def test_without_width_there_is_no_line(self) -> None:
        assert not OWN.model_copy(update={"separation_px": 0}).has_line("instances")

    def test_classes_have_none(self) -> None:
        assert not OWN.has_line("classes")


class TestObjectness:
    @given(st.integers(0, 99), st.floats(0, 0.99))
    def test_it_says_both(self, seed: int, probability: float) -> None:
        likely = outputs(seed)
        found = objectness(likely)
        foreground = 1 - likely[0]
        assert np.array_equal(found > 0.5, foreground > 0.5)
        sure = np.abs(likely[1] - probability) > 1e-5
        inside = (likely[1] > probability) & (foreground > 0.5)
        assert np.array_equal((found > above_inside(probability))[sure], inside[sure])

    def test_a_line_is_part_of_the_objects(self) -> None:
        likely = outputs(0)
        merged = without_line(likely)
        assert np.allclose(merged.sum(axis=0), 1)
        assert np.array_equal(merged[0], likely[0])

    def test_objects_that_meet_in_a_line_are_two_and_share_it(self) -> None:
        """A line of two pixels between two squares, both certain; each takes the nearer pixel."""
        likely = np.zeros((3, 12, 22), np.float32)
        likely[0] = 1
        likely[:, 1:11, 1:21] = 0
        likely[1, 1:11, 1:21] = 1
        likely[:, 1:11, 10:12] = [[[0]], [[0]], [[1]]]
        found = find_objects(objectness(likely), **vars(told_apart(INSIDE, 2)))
        assert np.array_equal(np.unique(found), [0, 1, 2])
        assert (found[1:11, 1:11] == 1).all()
        assert (found[1:11, 11:21] == 2).all()
        assert np.count_nonzero(found) == 200

    @pytest.mark.parametrize("block_px", [7, 16])
    def test_growth_within_a_bound_does_not_depend_on_blocks(self, block_px: int) -> None:
        foreground = objectness(outputs(3, (50, 60)))
        chosen = ObjectSettings(above_inside(INSIDE), 3, 4, grow_above=0.5)
        ids = np.zeros(foreground.shape, np.int32)
        find_objects_in_blocks(foreground, ids, cut_blocks(foreground.shape, block_px), chosen)
        whole = find_objects(foreground, **vars(chosen))
        assert np.array_equal(ids, whole)
        free = find_objects(foreground, **vars(chosen) | {"grow_above": -np.inf})
        assert np.array_equal(whole, np.where((foreground > 0.5) | (free == whole), whole, 0))
        assert not whole[foreground <= 0.5].any()


class TestInsides:
    """Where objects begin is read off training images."""

    def predicted(self, bridge: float, middle: float) -> tuple[NDArray[Any], NDArray[Any]]:
        """Two touching squares: how likely the line between them, and their middles, are inside."""
        target = np.zeros((20, 40), np.int16)
        target[4:16, 4:36] = 1
        target[4:16, 19:21] = 2
        inside = np.where(target == 1, 0.99, 0.01).astype("f4")
        inside[target == 2] = bridge
        inside[4:16, [11, 28]] = middle
        likely = np.stack([target < 1, inside, (target > 0) - inside]).astype("f4")
        return objectness(likely), target

    @pytest.mark.parametrize(
        ("bridge", "middle", "low", "high"),
        [(0.1, 0.99, 0.5, 0.95), (0.77, 0.99, 0.8, 0.95), (0.1, 0.72, 0.5, 0.7)],
    )
    def test_between_what_merges_and_what_breaks(
        self, bridge: float, middle: float, low: float, high: float
    ) -> None:
        found = fit_inside([self.predicted(bridge, middle)], 2, 0)
        assert low <= found <= high
        able = [t for t in THRESHOLDS if low <= t <= high]
        assert found == pytest.approx(np.mean(able), abs=1e-3)

    def test_what_is_not_labelled_is_not_looked_at(self) -> None:
        likely, target = self.predicted(0.77, 0.99)
        torn, _ = self.predicted(0.1, 0.6)
        both = np.concatenate([likely, torn]), np.concatenate([target, np.full_like(target, -1)])
        assert fit_inside([both], 2, 0) == fit_inside([(likely, target)], 2, 0)

    def test_without_objects_nothing_is_known(self) -> None:
        nothing = np.zeros((9, 9), np.float32), np.zeros((9, 9), np.int16)
        assert fit_inside([nothing], 2, 0) == INSIDE

    def test_images_are_taken_until_there_are_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("overtile.training.insides.MOST_IMAGES", 3)
        taken = (self.predicted(0.1, 0.99) for _ in range(9))
        fit_inside(taken, 2, 0)
        assert len(list(taken)) == 6

    def test_a_model_finds_its_own_objects_as_well_as_by_any_other(self, model: Segmenter) -> None:
        drawn = [draw_sample(0, index, (128, 112)) for index in range(3)]
        images, labels = [image for image, _ in drawn], [cells for _, cells in drawn]

        def score(inside: float) -> float:
            classes = model.model.classes.model_copy(update={"inside": inside})
            other = Segmenter(replace(model.model, classes=classes))
            return overtile.evaluate(other, images, labels).mean["mean AP 0.5-0.9"]

        chosen = model.model.classes.inside
        assert score(chosen) >= max(map(score, THRESHOLDS)) - 3 * ALIKE


class TestModels:
    def test_the_line_is_known_to_the_network_alone(self, model: Segmenter) -> None:
        image, _ = draw_sample(0, 5, (128, 112))
        assert model.model.settings.network.classes == 3
        assert model.classes == ("background", "object")
        likely = model.probabilities(image)
        assert likely.shape == (2, 128, 112)
        assert np.allclose(likely.sum(axis=0), 1, atol=1e-5)
        assert np.array_equal(model.predict(image), likely.argmax(axis=0))

    def test_tiles_do_not_show(self, model: Segmenter) -> None:
        image, _ = draw_sample(0, 5, (128, 112))
        assert np.array_equal(model.predict(image), model.predict(image, tile_px=32))
        objects = model.objects(image)
        assert objects.max() > 1
        assert np.array_equal(objects, model.objects(image, tile_px=32))

    def test_objects_lie_on_the_foreground(self, model: Segmenter) -> None:
        image, _ = draw_sample(0, 5, (128, 112))
        found, likely = model.objects(image), model.probabilities(image)
        assert (likely[1][found > 0] > 0.5).all()
        assert np.array_equal(model.find_objects(likely, as_image(image)), found)

    def test_seeds_part_objects_further(self, model: Segmenter) -> None:
        image, _ = draw_sample(0, 5, (128, 112))
        assert model.objects(image, seed_threshold=0.95).max() >= model.objects(image).max()
        with pytest.raises(
            SettingsError, match=r"of 0\.4 parts nothing: .* above 0\.[5-9]\d*\. Give mor"
        ):
            model.objects(image, seed_threshold=0.4)

    @pytest.mark.parametrize("content", ["objects", "classes", "probabilities"])
    def test_from_file_to_file(self, model: Segmenter, tmp_path: Path, content: Any) -> None:
        image, _ = draw_sample(0, 5, (128, 112))
        np.save(tmp_path / "image.npy", image)
        options = PredictOptions(content=content, tile_px=64)
        model.predict_file(tmp_path / "image.npy", tmp_path / "out.npy", options)
        written = np.load(tmp_path / "out.npy")
        made = {"objects": model.objects, "classes": model.predict}
        assert np.allclose(written, made.get(content, model.probabilities)(image), atol=1e-5)

    def test_it_is_scored_like_any_other(self, model: Segmenter, tmp_path: Path) -> None:
        image, cells = draw_sample(0, 5, (128, 112))
        model.save(tmp_path / "cells.model")
        again = overtile.load(tmp_path / "cells.model")
        scores = overtile.evaluate(again, [image], [cells])
        assert scores.pooled["IoU object"] > 0.5
        assert 0 < scores.pooled["AP at 0.5"] <= 1
