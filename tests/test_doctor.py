"""The examination: each trouble is found, named and given a remedy; good data pass in silence."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from overtile import io
from overtile.doctor import Finding, Report, examine
from overtile.doctor.single import count_values
from overtile.image import Image
from overtile.layouts import pairs
from overtile.settings import LabelSettings

SHAPE = (64, 80)


def photo(seed: int, shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def disc(seed: int, value: int = 255, shape: tuple[int, int] = SHAPE) -> NDArray[np.uint8]:
    """A label with a disc of one value on 0, a quarter of the pixels."""
    centre = np.random.default_rng(seed).uniform(20, 40, 2)
    away = np.hypot(*(np.indices(shape) - centre[:, None, None]))
    return np.where(away < 18, value, 0).astype(np.uint8)


def report(images: list[NDArray[Any]], labels: list[NDArray[Any]] | None) -> Report:
    return examine(pairs(images, labels))


def good(count: int = 4) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    return [photo(n) for n in range(count)], [disc(n) for n in range(count)]


def the_one(found: Report) -> Finding:
    assert len(found.findings) == 1, found.findings
    return found.findings[0]


# ── rows ──────────────────────────────────────────────────────────────────────────────────────


def test_good_pairs_pass_with_a_row_each() -> None:
    images, labels = good()
    found = report(images, labels)
    assert found.ok
    assert found.findings == ()
    assert found.meaning is not None
    assert found.meaning.kind == "classes"
    assert found.meaning.values == (0, 255)  # masks of 0 and 255 are understood
    for number, row in enumerate(found.rows):
        image, label = images[number], labels[number]
        assert (row.name, row.size_px, row.dtype, row.channels) == (str(number), SHAPE, "uint8", 1)
        assert (row.low, row.high) == (image.min(), image.max())
        assert row.shares == {0: np.mean(label == 0), 255: np.mean(label == 255)}
        assert row.objects == 1


def test_classes_that_overlap_have_a_share_each() -> None:
    layers = [np.stack([disc(n) > 0, disc(n + 9) > 0]).astype(np.uint8) for n in range(3)]
    labels = [Image(layer, "cyx", channel_names=("cell", "nucleus")) for layer in layers]
    found = examine(pairs([photo(n) for n in range(3)], labels))
    assert found.ok
    for row, layer in zip(found.rows, layers, strict=True):
        assert row.shares == {n: pytest.approx(layer[n].mean()) for n in range(2)}


def test_repaired_labels_are_counted_as_they_are_repaired() -> None:
    images, labels = good()
    blurred = [ndimage.gaussian_filter(label, 1) for label in labels]
    found = examine(pairs(images, blurred), LabelSettings(repair=True))
    assert found.ok
    for row, label in zip(found.rows, blurred, strict=True):
        assert row.shares == {0: np.mean(label < 128), 255: np.mean(label >= 128)}
        assert row.objects == 1


def test_a_hint_at_strokes_where_nearly_all_is_0() -> None:
    images, labels = [photo(n) for n in range(3)], [np.zeros(SHAPE, np.uint8) for _ in range(3)]
    for label in labels:
        label[10, 5:20], label[11, 5:20] = 1, 2  # they touch: not taken for strokes
    found = report(images, labels)
    assert found.ok
    assert "have the value 0" in the_one(found).found
    assert "--labels-are scribbles" in the_one(found).remedy
    assert examine(pairs(images, labels), LabelSettings(kind="scribbles")).findings == ()


def test_instances_are_counted_by_value() -> None:
    label = np.zeros(SHAPE, np.uint16)
    for number in range(30):
        label[2 * number : 2 * number + 2, :70] = number + 1
    found = examine(pairs([photo(0)], [label]), LabelSettings(kind="instances"))
    assert found.ok
    assert found.rows[0].objects == 30


def test_images_alone_are_examined_too() -> None:
    found = report([photo(0), photo(1, (20, 30, 3))], None)
    assert [row.size_px for row in found.rows] == [SHAPE, (20, 30)]
    assert found.meaning is None
    assert "differ in their channels" in the_one(found).found


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(st.sampled_from(["uint8", "int16", "float32"]), (7, 9), elements=st.integers(0, 3))
)
def test_values_pixels_and_regions_are_counted_as_scipy_does(label: NDArray[Any]) -> None:
    found = count_values(label)
    assert found.values.tolist() == np.unique(label).tolist()
    for value, pixels, regions in zip(found.values, found.pixels, found.regions, strict=True):
        assert pixels == np.count_nonzero(label == value)
        assert regions == ndimage.label(label == value)[1]


# ── one pair ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((80, 64), "Swap the axes"),
        ((64, 81), "differ by a pixel or two"),
        ((32, 40), "nearest neighbour"),
        ((64, 40), "belong together"),
    ],
)
def test_a_label_of_another_size_is_named_with_a_guess(shape: tuple[int, int], remedy: str) -> None:
    images, labels = good()
    labels[2] = disc(2, shape=shape)
    finding = the_one(report(images, labels))
    assert (finding.severity, finding.name) == ("error", "2")
    assert finding.found == (
        f"The label has {shape[0]} x {shape[1]} pixels, but the image 64 x 80 (height x width)."
    )
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((80, 64, 6), "Swap the axes"),
        ((6, 64, 81), "differ by a pixel or two"),
        ((3, 32, 40), "nearest neighbour"),
        ((6, 32, 40), "belong together"),
    ],
)
def test_a_label_of_another_size_than_its_volume(shape: tuple[int, ...], remedy: str) -> None:
    label = np.zeros(shape, np.uint8)
    label.flat[:9] = 1
    finding = the_one(examine(pairs(photo(0, (6, *SHAPE)), label, 3)))
    assert finding.found == (
        f"The label has {' x '.join(map(str, shape))} pixels, but the image 6 x 64 x 80 "
        "(depth x height x width)."
    )
    assert remedy in finding.remedy


def test_infinite_values_are_an_error() -> None:
    images, labels = good()
    images = [image.astype(np.float32) for image in images]
    images[1][3, :5] = np.inf
    found = report(images, labels)
    assert not found.ok
    assert the_one(found).found == "5 of 5120 values of the image are infinite."
    assert found.rows[1].high <= 255


def test_a_set_of_constant_images_cannot_be_learnt_from() -> None:
    _, labels = good()
    found = report([np.full(SHAPE, 7, np.uint8)] * 4, labels)
    assert not found.ok
    assert "All images are constant." in [each.found for each in found.findings]


def test_missing_pixels_are_told() -> None:
    images, labels = good()
    images = [image.astype(np.float32) for image in images]
    images[1][3, :5] = np.nan
    found = report(images, labels)
    assert found.ok
    finding = the_one(found)
    assert finding.found == "5 of 5120 pixels of the image are missing (NaN)."
    assert "left out of training" in finding.remedy
    assert found.rows[1].high <= 255


def test_an_image_of_nothing_but_nan_has_no_intensities() -> None:
    _, labels = good(1)
    found = report([np.full(SHAPE, np.nan)], labels)
    assert np.isnan(found.rows[0].low)
    assert "5120 of 5120 pixels" in the_one(found).found
    assert not found.ok


@pytest.mark.parametrize(
    ("image", "label", "severity", "words"),
    [
        (np.full(SHAPE, 7, np.uint8), disc(1), "warning", "The image is constant: .* value is 7"),
        (photo(1), np.zeros(SHAPE, np.uint8), "warning", "The label is empty: .* the value 0"),
        (
            photo(1),
            disc(1) / 510,
            "error",
            r"The label holds values .* no whole numbers, such as 0\.5",
        ),
        (
            photo(1),
            disc(1) * np.nan,
            "error",
            "The label holds values .* no whole numbers, such as nan",
        ),
        (photo(1), photo(1), "error", "Image and label are the same picture"),
    ],
)
def test_images_and_labels_that_cannot_be_meant_are_named(
    image: NDArray[Any], label: NDArray[Any], severity: str, words: str
) -> None:
    images, labels = good()
    finding = the_one(report([images[0], image, *images[2:]], [labels[0], label, *labels[2:]]))
    assert (finding.severity, finding.name) == (severity, "1")
    assert re.match(words, finding.found)


def as_jpeg(label: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = BytesIO()
    Pillow.fromarray(label).save(buffer, "JPEG", quality=quality)
    return np.asarray(Pillow.open(buffer))


@pytest.mark.parametrize(
    "damage",
    [
        lambda label: as_jpeg(label, 98),
        lambda label: as_jpeg(label, 90),
        lambda label: as_jpeg(label, 30),
        lambda label: ndimage.rotate(label, 20, reshape=False, order=1),
        lambda label: ndimage.zoom(ndimage.zoom(label, 0.5, order=0), 2, order=3),
    ],
)
def test_a_label_damaged_by_jpeg_or_interpolation_is_named(damage: Callable[..., Any]) -> None:
    images, labels = good()
    labels[3] = damage(labels[3])
    finding = the_one(report(images, labels))
    assert (finding.severity, finding.name) == ("error", "3")
    count = len(np.unique(labels[3]))
    assert f"The label has {count} values, strewn over specks" in finding.found
    assert "PNG or TIFF" in finding.remedy


def ball(seed: int) -> NDArray[np.uint8]:
    centre = np.random.default_rng(seed).uniform(20, 40, 3)
    away = np.sqrt(((np.indices((48, *SHAPE)) - centre[:, None, None, None]) ** 2).sum(axis=0))
    return np.where(away < 18, 255, 0).astype(np.uint8)


def test_volumes_are_looked_at_whole() -> None:
    """A horseshoe that stands upright is two pieces in most planes, and one object."""
    label = np.zeros((20, *SHAPE), np.uint8)
    label[2:18, 10:30, 10:30] = 255
    label[2:14, 10:30, 16:24] = 0
    found = examine(pairs(photo(0, label.shape), label, 3))
    assert found.ok
    (row,) = found.rows
    assert (row.size_px, row.objects) == ((20, *SHAPE), 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda label: np.stack([as_jpeg(plane, 90) for plane in label]),
        lambda label: ndimage.zoom(ndimage.zoom(label, 0.5, order=0), 2, order=3),
        lambda label: ndimage.shift(label, (0.4, 0.3, 0.2), order=1),
        lambda label: ndimage.rotate(label, 20, (1, 2), reshape=False, order=1),
    ],
)
def test_damage_of_volumes_is_named(damage: Callable[..., Any]) -> None:
    label = damage(ball(0))
    finding = the_one(examine(pairs(photo(0, label.shape), label, 3)))
    assert finding.severity == "error"
    assert "strewn over specks" in finding.found


def test_spots_of_one_pixel_are_no_damage() -> None:
    spots = np.zeros(SHAPE, np.uint16)
    spots[::8, ::8] = np.arange(1, 81).reshape(8, 10)
    found = examine(pairs([photo(0)], [spots]), LabelSettings(kind="instances"))
    assert found.ok
    assert found.rows[0].objects == 80
    assert the_one(found).found == "80 of 80 objects are a single pixel."


@pytest.mark.parametrize("shape", [SHAPE, (*SHAPE, 3)])
def test_images_and_labels_that_were_exchanged_are_named(shape: tuple[int, ...]) -> None:
    _, labels = good()
    found = report(labels, [photo(number, shape) for number in range(4)])
    assert not found.ok
    assert len(found.rows) == 4
    assert {finding.remedy for finding in found.findings} == {
        "Exchange the two: images come first, then labels."
    }


def test_files_that_cannot_be_read_are_findings_and_the_others_are_examined(
    tmp_path: Path,
) -> None:
    for folder, arrays in zip(("images", "labels"), good(), strict=True):
        (tmp_path / folder).mkdir()
        for number, array in enumerate(arrays):
            io.write(tmp_path / folder / f"{number}.png", Image(array, "yx"))
    broken = tmp_path / "images" / "1.png"
    broken.write_bytes(broken.read_bytes()[:99])
    Pillow.fromarray(photo(0, (*SHAPE, 3))).save(tmp_path / "labels" / "2.png")
    found = examine(pairs(tmp_path / "images", tmp_path / "labels"))
    assert [row.name for row in found.rows] == ["0", "2", "3"]
    first, second = found.findings
    assert (first.severity, first.name) == ("error", "1")
    assert "1.png is damaged or truncated" in first.found
    assert (second.severity, second.name) == ("error", "2")
    assert "strewn over specks" in second.found
    assert found.meaning is not None


CLASSES = LabelSettings(kind="classes")


# ── all together ──────────────────────────────────────────────────────────────────────────────


def test_labels_without_a_common_meaning_are_named_and_all_are_examined() -> None:
    images, _ = good()
    stripes = np.repeat(np.arange(1, 65, dtype=np.uint8), 80).reshape(SHAPE)
    images[3] = images[3] * 0
    found = examine(pairs(images, [stripes + n for n in range(4)]), CLASSES)
    assert found.meaning is None
    assert not found.ok
    assert [finding.name for finding in found.findings] == ["3", ""]
    assert all(len(row.shares) == 64 and row.objects is None for row in found.rows)


def test_images_that_differ_in_channels_or_type_are_named() -> None:
    images, labels = good()
    images[1] = photo(1, (*SHAPE, 3))
    finding = the_one(report(images, labels))
    assert finding.severity == "error"
    assert "1 channel in 3, first 0; 3 channels in 1, first 1" in finding.found
    images[1] = photo(1).astype(np.uint16)
    finding = the_one(report(images, labels))
    assert finding.severity == "warning"
    assert "uint8 in 3, first 0; uint16 in 1, first 1" in finding.found


def test_copies_are_named() -> None:
    images, labels = good()
    images[3] = images[0]
    finding = the_one(report(images, labels))
    assert finding.severity == "warning"
    assert finding.found == "The images 0, 3 are identical."


def test_rare_classes_are_named() -> None:
    images, labels = [photo(n) for n in range(4)], [disc(n, 1) for n in range(4)]
    labels[2][0, 0] = 2
    finding = the_one(report(images, labels))
    assert (finding.severity, finding.name) == ("warning", "2")
    assert finding.found == "Only 1 of 20480 labelled pixels have the value 2."
    labels[2][:8, :8] = 2
    finding = the_one(report(images, labels))
    assert finding.found == "The value 2 occurs in one label only."


def test_objects_of_one_pixel_are_named() -> None:
    images, labels = [photo(n) for n in range(2)], [disc(n, 30) for n in range(2)]
    labels[1][60, 70:73] = [7, 8, 9]
    finding = the_one(examine(pairs(images, labels), LabelSettings(kind="instances")))
    assert (finding.severity, finding.name) == ("warning", "1")
    assert finding.found == "3 of 4 objects are a single pixel."


def test_many_findings_of_one_kind_are_shown_in_four_lines() -> None:
    images, labels = [photo(n) for n in range(8)], [disc(n, shape=(80, 64)) for n in range(8)]
    images[7] = images[7] * 0
    found = report(images, labels)
    assert len(found.findings) == 9
    short = found.shortened
    assert [finding.name for finding in short] == ["0", "1", "2", "", "7"]
    assert short[3].found == "5 more findings of this kind."
    assert short[3].remedy == short[0].remedy
    assert short[4].found.startswith("The image is constant")


# ── real data ─────────────────────────────────────────────────────────────────────────────────


def test_isbi_passes_in_two_seconds(shared_data: Path) -> None:
    isbi = shared_data / "isbi2012"
    start = time.perf_counter()
    found = examine(pairs(isbi / "train-volume.tif", isbi / "train-labels.tif"))
    assert time.perf_counter() - start < 2
    assert found.ok
    assert found.findings == ()
    assert found.meaning is not None
    assert found.meaning.kind == "classes"
    assert len(found.rows) == 30


def test_camvid_passes_as_classes(shared_data: Path) -> None:
    camvid = shared_data / "camvid"
    found = examine(pairs(camvid / "train", camvid / "trainannot"))
    assert found.ok
    assert found.meaning is not None
    assert found.meaning.kind == "classes"
    assert len(found.rows) == 62
