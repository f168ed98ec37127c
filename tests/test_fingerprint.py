"""What a data set is like, compared with counting pixel by pixel."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fingerprints import like
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

import overtile
from overtile import layouts, presets
from overtile.fingerprint import CLOSE_PX, Fingerprint, count_classes, count_neighbours
from overtile.sample import draw_sample
from overtile.settings import LabelKind, LabelSettings
from overtile.training.data import TrainingData


def fingerprint_of(images: list[Any], labels: list[Any], kind: LabelKind) -> Fingerprint:
    told = LabelSettings(kind=kind)
    chosen = presets.default_settings().model_copy(update={"labels": told})
    return TrainingData(layouts.pairs(images, labels), chosen).fingerprint


@settings(deadline=None, max_examples=40)
@given(
    arrays.arrays(
        np.int32,
        arrays.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6),
        elements=st.sampled_from([0, 0, 0, 1, 2, 7]),
    ),
    st.integers(1, 3),
)
def test_neighbours_are_those_of_every_pair_of_pixels(
    objects: NDArray[np.int32], reach: int
) -> None:
    inside = list(zip(*np.nonzero(objects), strict=True))
    near = {
        int(objects[one])
        for one, other in itertools.product(inside, inside)
        if objects[one] != objects[other]
        and max(abs(int(a) - int(b)) for a, b in zip(one, other, strict=True)) <= reach
    }
    assert count_neighbours(objects, reach) == len(near)


@settings(deadline=None, max_examples=20)
@given(
    arrays.arrays(np.int16, (4, 5), elements=st.integers(-1, 2)),
    arrays.arrays(np.int16, (3, 4, 5), elements=st.integers(0, 1)),
)
def test_classes_are_counted(target: NDArray[np.int16], layers: NDArray[np.int16]) -> None:
    pixels, labelled = count_classes(target, 2, 3)
    assert pixels.tolist() == [int((target == number).sum()) for number in range(3)]
    assert labelled == int((target != -1).sum())
    layers[:, 0, 0] = -1
    pixels, labelled = count_classes(layers, 2, 3)
    assert pixels.tolist() == [int((layer == 1).sum()) for layer in layers]
    assert labelled == 19


def test_kinds_of_images_are_counted() -> None:
    """Bright squares, dark ones, and one that differs by hardly anything; two of four are gray."""
    random, mask = np.random.default_rng(0), np.zeros((40, 50), np.uint8)
    mask[10:30, 10:30] = 1
    inside, images = (mask > 0)[..., None], []
    for bright in (90, -90, 1, 90):
        image = random.normal(100, 5, (40, 50, 1)) + bright * inside
        images.append(np.repeat(image, 3, axis=2).round().clip(0, 255).astype(np.uint8))
    images[0][..., 0] += 1
    images[3][0, 0, 2] += 1
    found = fingerprint_of(images, [mask] * 4, "classes")
    assert (found.gray, found.brighter, found.darker) == (2, 2, 1)
    assert found.has_both_colours
    assert found.has_both_contrasts
    rows = dict(found.rows())
    assert rows["gray images"] == "2 of 4"
    assert rows["foreground"] == "brighter in 2 images, darker in 1"
    holes = [image.astype(np.float32) for image in images]
    for image in holes:
        image[5:8, 5:8] = np.nan
    missing = fingerprint_of(holes, [mask] * 4, "classes")
    assert (missing.gray, missing.brighter, missing.darker) == (2, 2, 1)
    large = [np.kron(image, np.ones((30, 30, 1), np.uint8)) for image in images[:2]]
    masks = [np.kron(mask, np.ones((30, 30), np.uint8))] * 2
    found = fingerprint_of(large, masks, "classes")
    assert (found.gray, found.brighter, found.darker) == (1, 1, 1)
    one = fingerprint_of([image[..., 0] for image in images[:1]], [mask], "classes")
    assert not one.has_both_colours
    assert not one.has_both_contrasts
    assert one.gray == 0
    full = fingerprint_of(images[:2], [mask, np.ones_like(mask)], "classes")
    assert (full.brighter, full.darker) == (1, 0)


def test_it_tells_what_is_in_the_images() -> None:
    """Two disks of 5 x 5 in the first image, 3 px apart; one of 4 x 6 in the second."""
    labels = np.zeros((2, 40, 50), np.uint8)
    labels[0, 5:10, 5:10], labels[0, 5:10, 13:18], labels[1, 20:24, 30:36] = 1, 2, 9
    images = np.random.default_rng(0).integers(3, 200, (2, 2, 40, 50)).astype(np.uint16)
    found = fingerprint_of(
        [np.moveaxis(image, 0, -1) for image in images], list(labels), "instances"
    )
    assert (found.images, found.groups, found.dimensions, found.channels) == (2, 2, 2, 2)
    assert found.smallest == found.median == found.largest == (40, 50)
    assert found.low == tuple(images.min(axis=(0, 2, 3)))
    assert found.high == tuple(images.max(axis=(0, 2, 3)))
    assert found.dtypes == ("uint16",)
    assert found.kind == "instances"
    assert (found.objects, found.touching, found.close) == (3, 0, 2)
    assert found.object_px == (24, 24.5, 25, 25, 25)
    assert found.class_px == (4000 - 74, 74)
    assert found.class_images == (2, 2)
    assert (found.labelled_px, found.pixels, found.labelled_share) == (4000, 4000, 1)
    assert found.class_shares == pytest.approx((1 - 74 / 4000, 74 / 4000))


def test_objects_that_touch_are_counted_as_they_are_drawn() -> None:
    """Training parts them by a line, which does not change that they touched."""
    labels = np.zeros((60, 60), np.uint16)
    labels[10:20, 10:20], labels[10:20, 20:30], labels[40:50, 40:50] = 1, 2, 3
    found = fingerprint_of([np.arange(3600).reshape(60, 60)], [labels], "instances")
    assert (found.objects, found.touching, found.close) == (3, 2, 2)


def test_several_classes_touch_as_a_rule() -> None:
    labels = np.zeros((60, 60), np.uint8)
    labels[:, 20:40], labels[:, 40:] = 1, 2
    found = fingerprint_of([np.arange(3600).reshape(60, 60)], [labels], "classes")
    assert (found.touching, found.close, found.close_share) == (None, None, 0)
    assert "touch" not in dict(found.rows())["objects"]


def test_images_that_are_read_again_count_once() -> None:
    drawn = [draw_sample(0, number, (64, 48)) for number in range(3)]
    pairs = layouts.pairs([image for image, _ in drawn], [cells for _, cells in drawn])
    chosen = presets.default_settings()
    once = TrainingData(pairs, chosen)
    again = TrainingData(pairs, chosen.model_copy(update={"kept_mib": 0}))
    _ = [again.examples[place] for place in (0, 1, 2, 0)]
    assert again.fingerprint == once.fingerprint


def test_the_table_is_for_people() -> None:
    drawn = [draw_sample(0, number, size) for number, size in enumerate([(64, 48), (80, 90)])]
    found = fingerprint_of(
        [image for image, _ in drawn], [cells for _, cells in drawn], "instances"
    )
    rows = dict(found.rows())
    assert rows["images"] == "2"
    assert rows["sizes"] == "64 x 48 to 80 x 90 px, median 72 x 69"
    assert rows["channels"].startswith("1 of uint8, from ")
    assert rows["labels"] == "instances, all pixels labelled"
    assert rows["class object"].endswith("in 2 of 2")
    assert f"within {CLOSE_PX} px" in rows["objects"]
    assert rows["normalisation"] == found.normalisation


def test_many_classes_are_not_all_listed() -> None:
    labels = np.arange(40 * 40).reshape(40, 40) // 100
    image = np.arange(1600).reshape(40, 40)
    found = fingerprint_of([image], [labels.astype(np.uint8)], "classes")
    assert len(found.classes) == 16
    assert dict(found.rows())["..."] == "16 classes"


def test_it_stands_in_the_model(model_folder: Path) -> None:
    model = overtile.load(model_folder).model
    found = model.fingerprint
    assert found is not None
    assert (found.images, found.largest) == (1, (128, 112))
    assert sum(found.class_px) == found.labelled_px == 128 * 112
    assert "steps" in model.reasons
    text = (model_folder / "settings.yaml").read_text()
    assert "# As you set it." in text


@pytest.mark.parametrize(
    ("groups", "shown"), [(24, "24"), (6, "24 in 6 groups"), (1, "24 of one group")]
)
def test_groups_are_shown(groups: int, shown: str) -> None:
    assert dict(like(groups=groups).rows())["images"] == shown
