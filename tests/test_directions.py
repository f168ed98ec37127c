"""Axes with unlike ends: found by where classes lie, and respected by windows and turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from overtile import layouts
from overtile.augment.drawing import TILT_DEG, draw
from overtile.directions import Halves
from overtile.labels import understand
from overtile.settings import AugmentSettings
from overtile.symmetry import turns

NAMES = ("sky", "road", "car")


def street(seed: int, shape: tuple[int, ...] = (40, 60)) -> NDArray[np.int16]:
    """Sky above, road below, and a car anywhere on it."""
    random = np.random.default_rng(seed)
    target = np.zeros(shape, np.int16)
    horizon = int(random.integers(15, 25))
    target[horizon:] = 1
    x = int(random.integers(0, 50))
    target[horizon : horizon + 6, x : x + 8] = 2
    return target


def directed(
    targets: list[NDArray[np.int16]], dimensions: int = 2, names: tuple[str, ...] = NAMES
) -> str:
    halves = Halves(dimensions, len(names))
    for target in targets:
        halves.add(target)
    return "".join(axis for axis, _ in halves.directed(names))


class TestFinding:
    def test_up_and_down(self) -> None:
        streets = [street(seed) for seed in range(8)]
        assert directed(streets) == "y"
        assert directed([target.T for target in streets]) == "x"
        assert directed([np.stack([target] * 4) for target in streets], 3) == "y"

    def test_nothing_where_images_come_any_way_round(self) -> None:
        streets = [street(seed)[:: (-1) ** seed] for seed in range(8)]
        assert directed(streets) == ""

    def test_nothing_of_few_images(self) -> None:
        assert directed([street(seed) for seed in range(3)]) == ""

    def test_classes_that_overlap_and_pixels_without_label(self) -> None:
        streets = [street(seed) for seed in range(8)]
        layers = [np.stack([target == k for k in range(3)]).astype(np.int16) for target in streets]
        assert directed(layers) == "y"
        for target in streets:
            target[:, :20] = -1
        assert directed(streets) == "y"

    def test_a_class_that_is_nowhere_says_nothing(self) -> None:
        assert directed([street(seed) for seed in range(8)], names=(*NAMES, "bus")) == "y"

    @pytest.mark.parametrize(
        ("files", "expected"),
        [
            (("camvid",), "y"),
            (("isbi2012/train-volume.tif", "isbi2012/train-labels.tif"), ""),
            (("ctc/DIC-C2DH-HeLa",), ""),
            (("dubai",), ""),
            (("msd/Task04_Hippocampus",), "zyx"),
        ],
    )
    def test_real_sets(self, shared_data: Path, files: tuple[str, ...], expected: str) -> None:
        if files[0].startswith("msd"):
            pytest.importorskip("nibabel")
        pairs = layouts.pairs(*[shared_data / file for file in files])
        labels = [pair.read_label() for pair in pairs]
        meaning = understand(iter(labels), "auto")
        targets = [meaning.class_map(label) for label in labels]
        assert directed(targets, targets[0].ndim, meaning.names) == expected


class TestRespect:
    @pytest.mark.parametrize("axis", ["y", "x"])
    def test_windows_are_hardly_turned(self, axis: str) -> None:
        chosen = AugmentSettings(directed=axis, scale=0, elastic_std_px=0)
        linear = draw(chosen, (64, 64), (0.0, 0.0), list(range(300))).linear.double()
        place = "xy".index(axis)
        tilt = torch.rad2deg(torch.acos(linear[:, place, place].clamp(-1, 1)))
        assert tilt.max() <= TILT_DEG + 1e-4
        assert tilt.max() > 0.9 * TILT_DEG
        other = linear[:, 1 - place, 1 - place]
        assert 0.35 < (other < 0).double().mean() < 0.65  # mirrored along the other axis
        whole = AugmentSettings(directed=axis, scale=0, elastic_std_px=0, deform=0)
        still = draw(whole, (64, 64), (0.0, 0.0), list(range(50))).linear.abs()
        assert torch.equal(still, torch.eye(2).expand(50, 2, 2))

    def test_volumes_may_have_a_direction_along_z_alone(self) -> None:
        chosen = AugmentSettings(directed="z", scale=0, elastic_std_px=0)
        linear = draw(chosen, (16, 32, 32), (0.0,) * 3, list(range(100))).linear
        assert (linear[:, 2, 2] == 1).all()
        assert (linear[:, 0, 0] < 0).any()

    @pytest.mark.parametrize(
        ("dimensions", "axes", "left"), [(2, "y", 2), (2, "x", 2), (2, "yx", 1), (3, "z", 8)]
    )
    def test_turns_leave_ends_where_they_are(self, dimensions: int, axes: str, left: int) -> None:
        kept = turns(dimensions, directed=axes)
        assert len(kept) == left
        image = np.arange(4**dimensions).reshape((4,) * dimensions)
        for turn in kept:
            for axis in axes:
                place = "zyx"[-dimensions:].index(axis)
                along = np.indices(image.shape)[place]
                assert np.array_equal(turn(along), along)
