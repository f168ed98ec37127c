"""Label values understood, touching objects separated, borders weighed, objects found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from overtile import io
from overtile.errors import DataError
from overtile.labels import LabelMeaning, separate_touching, understand
from overtile.objects import find_objects
from overtile.pixelweights import border_weight, class_weights, pixel_weights
from overtile.planes import planes
from overtile.sample import draw_sample
from overtile.settings import PixelWeightSettings

NOISE = np.random.default_rng(0)


def scattered(count: int, shape: tuple[int, ...] = (60, 60), seed: int = 0) -> NDArray[np.int32]:
    """Discs or balls, some of which touch."""
    random = np.random.default_rng(seed)
    places = np.moveaxis(np.indices(shape), 0, -1)
    labels = np.zeros(shape, np.int32)
    for number in range(1, count + 1):
        away = ((places - random.uniform(0, shape)) ** 2).sum(axis=-1)
        labels[away < random.uniform(2, 8) ** 2] = number
    return labels


class TestMeaning:
    @pytest.mark.parametrize("values", [(0, 255), (0, 1), (7, 9)])
    def test_two_values_are_two_classes(self, values: tuple[int, int]) -> None:
        label = NOISE.choice(values, (9, 9)).astype(np.uint8)
        meaning = understand([label])
        assert (meaning.kind, meaning.values) == ("classes", values)
        assert meaning.names == ("background", "foreground")
        assert f"{values[1]} = foreground" in meaning.reason
        assert np.array_equal(meaning.class_map(label), label == values[1])

    def test_booleans_and_whole_floats_are_numbers(self) -> None:
        truth = NOISE.random((9, 9)) < 0.5
        for label in (truth, truth.astype(np.float32)):
            assert np.array_equal(understand([label]).class_map(label), truth)

    def test_cells_that_keep_their_numbers_in_a_film_are_objects(self) -> None:
        """Eleven of thirteen are gone for a while; organs of a volume are classes all the same.

        So are those of a film of which no number is left out, for they may be classes.
        """
        film = np.zeros((6, 20, 130), np.uint16)
        numbers = [1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 18, 19, 21]
        for place, number in enumerate(numbers):
            for time in range(6):
                if place < 2 or (time + place) % 3:
                    film[time, 5:15, 10 * place + 1 : 10 * place + 8] = number
        film[0, 5:15, 121:128] = 0
        assert understand(list(film)).kind == "instances"
        assert understand([np.stack([frame] * 2) for frame in film]).kind == "classes"
        for place, number in enumerate(numbers, start=1):
            film[film == number] = place
        assert understand(list(film)).kind == "classes"

    def test_recurring_values_are_classes_and_255_is_unlabelled(self) -> None:
        maps = [NOISE.choice([0, 1, 2, 3, 255], (20, 20)) for _ in range(4)]
        meaning = understand(maps)
        assert meaning.values == (0, 1, 2, 3)
        assert "255 = not labelled" in meaning.reason
        assert np.array_equal(meaning.class_map(maps[0]), np.where(maps[0] == 255, -1, maps[0]))

    def test_minus_1_is_unlabelled_beside_two_others(self) -> None:
        label = NOISE.choice([-1, 0, 1], (20, 20))
        meaning = understand([label])
        assert meaning.names == ("background", "foreground")
        assert "-1 = not labelled" in meaning.reason
        assert np.array_equal(meaning.class_map(label), label)
        of_two = understand([NOISE.choice([-1, 1], (20, 20))])
        assert of_two.values == (-1, 1)

    def test_numbered_cells_are_objects(self) -> None:
        labels = [draw_sample(0, index, (128, 128))[1] for index in range(2)]
        meaning = understand(labels)
        assert meaning.kind == "instances"
        assert np.array_equal(meaning.class_map(labels[0]), labels[0] > 0)
        assert np.array_equal(meaning.objects(labels[0]), labels[0])

    def test_a_few_cells_numbered_anew_in_each_image_are_objects(self) -> None:
        cells = [np.kron(np.diag(np.arange(1, count + 1)), np.ones((3, 3))) for count in (4, 6)]
        assert understand(cells).kind == "instances"
        assert understand([cells[0], cells[0]]).kind == "classes"  # every class may be a region

    def test_the_user_decides(self) -> None:
        label = np.array([[0, 1, 0, 2]])
        assert understand([label]).kind == "classes"
        forced = understand([label], "instances")
        assert forced.kind == "instances"
        assert "as you said" in forced.reason
        cells = draw_sample(0, 0, (64, 64))[1].clip(max=30)
        assert understand([cells], "classes").kind == "classes"

    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("isbi2012/train-labels.tif", "classes"),
            ("volumes/nuclei3d_labels.tif", "instances"),
        ],
    )
    def test_real_stacks(self, shared_data: Path, path: str, kind: str) -> None:
        stack = io.open(shared_data / path, as_label=True)
        assert understand(plane[0] for plane in planes(stack)).kind == kind

    @pytest.mark.parametrize("folder", ["01_ST/SEG", "01_GT/SEG"])
    def test_real_films_of_cells(self, shared_data: Path, folder: str) -> None:
        files = sorted((shared_data / "ctc" / "DIC-C2DH-HeLa" / folder).glob("*.tif"))
        labels = (planes(io.open(file, as_label=True))[0][0] for file in files)
        assert understand(labels).kind == "instances"

    def test_real_class_maps(self, shared_data: Path) -> None:
        files = sorted((shared_data / "camvid" / "trainannot").glob("*.png"))
        labels = (planes(io.open(file, as_label=True))[0][0] for file in files)
        meaning = understand(labels)
        assert (meaning.kind, meaning.values) == ("classes", tuple(range(12)))

    def test_regions_of_a_class_are_objects(self) -> None:
        label = np.array([[1, 0, 1, 2], [1, 0, 0, 2], [0, 1, 0, 2]])
        objects = understand([label]).objects(label)
        assert len(np.unique(objects[objects > 0])) == 4
        assert np.array_equal(objects > 0, label > 0)

    @pytest.mark.parametrize(
        ("labels", "kind", "words"),
        [
            ([], "auto", "There is no label to learn from"),
            ([np.zeros((3, 3))], "auto", "hold the value 0 everywhere: expected at least two"),
            ([np.zeros((3, 3), int)], "instances", "All labels are 0 everywhere"),
            ([np.array([[-1, 2]])], "instances", "hold the value -1, and object ids are not"),
            ([np.array([[0.5, 1]])], "auto", "values with a fraction"),
            ([np.zeros(3)], "auto", r"shape \(3,\): expected \(y x\), or \(z y x\)"),
            ([NOISE.integers(0, 200, (99, 99))], "auto", "200 different values.*saved as JPEG"),
        ],
    )
    def test_what_is_refused(self, labels: list[NDArray], kind: str, words: str) -> None:
        with pytest.raises(DataError, match=words):
            understand(labels, kind)

    def test_a_value_never_seen_is_refused(self) -> None:
        meaning = LabelMeaning("classes", (0, 255), ("a", "b"), "")
        with pytest.raises(
            DataError, match="holds the value 7, which is none of the classes 0, 255"
        ):
            meaning.class_map(np.array([[0, 7, 255]]))


class TestVolumes:
    def test_balls_are_objects(self) -> None:
        balls = [scattered(20, (16, 40, 40), seed) for seed in range(2)]
        for ball in balls:  # numbered without gaps
            ball[...] = np.unique(ball, return_inverse=True)[1].reshape(ball.shape)
        meaning = understand(balls)
        assert meaning.kind == "instances"
        assert np.array_equal(meaning.objects(balls[0]), balls[0])
        assert np.array_equal(meaning.class_map(balls[0]), balls[0] > 0)

    def test_a_ring_through_the_planes_is_one_region(self) -> None:
        """Each of its planes holds two pieces: only in 3-D is every value one region."""
        rings = np.zeros((20, 9, 80), np.uint8)
        for number in range(8):
            part = rings[2:18, 2:7, 10 * number : 10 * number + 9]
            part[:], part[2:-2, :, 2:-2] = number + 1, 0
        assert understand([rings, np.flip(rings[..., :40], 2)]).kind == "instances"
        assert understand([*rings[4:16], rings[0]]).kind == "classes"

    def test_classes_are_regions_over_planes(self) -> None:
        label = np.zeros((6, 8, 8), np.uint8)
        label[:3, :3, :3], label[4:, :3, :3], label[:, 6:] = 1, 1, 7
        meaning = understand([label])
        assert meaning.values == (0, 1, 7)
        objects = meaning.objects(label)
        assert objects.max() == 3
        assert len(np.unique(objects[:, 6:])) == 1

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_the_sheet_is_as_wide_as_asked_along_every_axis(self, axis: int) -> None:
        cells = np.ones((12, 12, 12), int)
        cells[6:] = 2
        parted = np.moveaxis(separate_touching(np.moveaxis(cells, 0, axis), 2), axis, 0)
        assert np.array_equal(np.flatnonzero((parted == 0).all(axis=(1, 2))), [5, 6])

    def test_a_thin_plate_is_kept(self) -> None:
        cells = np.ones((11, 6, 6), int)
        cells[5], cells[6:] = 2, 3
        assert 2 in separate_touching(cells, 2)


class TestSeparation:
    @given(st.integers(0, 50), st.integers(1, 5), st.sampled_from([(60, 60), (12, 20, 24)]))
    @settings(max_examples=40, deadline=None)
    def test_no_two_objects_touch(self, seed: int, width: int, shape: tuple[int, ...]) -> None:
        before = scattered(25, shape, seed)
        after = separate_touching(before, width)
        kept = after > 0
        assert np.array_equal(after[kept], before[kept])
        larger, others = ndimage.maximum_filter(after, 3), np.where(kept, after, 10**6)
        assert not (kept & (larger > after)).any()
        assert not (kept & (ndimage.minimum_filter(others, 3) < after)).any()
        # What is far from every contact, or touches nothing, is as it was.
        low = ndimage.minimum_filter(np.where(before > 0, before, 10**6), 3)
        contact = (before > 0) & ((ndimage.maximum_filter(before, 3) != before) | (low != before))
        if contact.any():
            far = ndimage.distance_transform_edt(~contact) > width
            assert np.array_equal(after[far], before[far])
        else:
            assert np.array_equal(after, before)

    @pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
    def test_the_line_is_as_wide_as_asked_and_in_the_middle(self, width: int) -> None:
        cells = np.repeat([[1] * 20 + [2] * 20], 30, axis=0)
        line = np.flatnonzero(separate_touching(cells, width)[15] == 0)
        assert len(line) == width
        assert line.mean() == pytest.approx(19.5, abs=0.5)

    def test_width_0_and_single_objects_are_unchanged(self) -> None:
        cells = scattered(25)
        assert np.array_equal(separate_touching(cells, 0), cells)
        assert np.array_equal(separate_touching(cells == 3, 4), cells == 3)

    def test_a_thin_object_is_kept(self) -> None:
        cells = np.zeros((11, 11), int)
        cells[:, :5], cells[:, 5], cells[:, 6:] = 1, 2, 3
        assert 2 in separate_touching(cells, 2)


class TestPixelWeights:
    @given(st.integers(0, 30), st.integers(2, 20), st.sampled_from([2.0, 5.0]))
    @settings(max_examples=30, deadline=None)
    def test_border_is_the_formula(self, seed: int, count: int, sigma: float) -> None:
        """Within 1e-4 of one distance transform per object, as the paper defines it."""
        labels = scattered(count, (70, 50), seed)
        ids = np.unique(labels[labels > 0])
        if len(ids) < 2:
            return
        distances = np.sort([ndimage.distance_transform_edt(labels != i) for i in ids], axis=0)
        expected = 10 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))
        expected[labels > 0] = 0
        assert np.abs(border_weight(labels, 10, sigma) - expected).max() <= 1e-4

    def test_border_in_three_dimensions(self) -> None:
        labels = np.zeros((12, 12, 12), int)
        labels[2:5, 2:5, 2:5], labels[7:10, 3:6, 3:6] = 1, 4
        one, two = (ndimage.distance_transform_edt(labels != i) for i in (1, 4))
        expected = np.where(labels > 0, 0, 10 * np.exp(-((one + two) ** 2) / 50))
        assert np.abs(border_weight(labels) - expected).max() <= 1e-4

    @pytest.mark.parametrize("count", [0, 1])
    def test_without_a_second_object_there_is_no_border(self, count: int) -> None:
        assert not border_weight(scattered(count)).any()

    def test_weight_0_is_none(self) -> None:
        assert not border_weight(scattered(20), weight=0).any()

    def test_classes_weigh_alike_in_sum(self) -> None:
        counts = np.array([900, 90, 10])
        assert np.allclose(class_weights(counts) * counts, 1000 / 3)
        assert class_weights(np.array([5, 0, 5])).tolist() == [1, 0, 1]

    def test_sum_of_both_and_nothing_where_unlabelled(self) -> None:
        labels = scattered(20)
        classes = np.where(labels > 0, 1, 0)
        classes[:10] = -1
        chosen = PixelWeightSettings(border_weight=7)
        weights = pixel_weights(classes, labels, np.array([0.5, 2.0]), chosen)
        assert not weights[:10].any()
        expected = np.where(labels > 0, 2.0, 0.5) + border_weight(labels, 7)
        assert np.allclose(weights[10:], expected[10:])


class TestObjects:
    def test_regions_are_numbered_and_specks_left_out(self) -> None:
        foreground = np.zeros((20, 20), np.float32)
        foreground[2:6, 2:6], foreground[10:16, 10:16], foreground[18, 1] = 0.9, 0.6, 0.8
        foreground[6, 6] = 0.9  # touches a corner only, and is a region of its own
        assert find_objects(foreground).max() == 4
        kept = find_objects(foreground, smallest_px=5)
        assert sorted(np.bincount(kept.ravel())[1:]) == [16, 36]
        assert find_objects(foreground, threshold=0.7, smallest_px=5).max() == 1

    @pytest.mark.parametrize("width", [2, 4])
    def test_growing_undoes_the_separation(self, width: int) -> None:
        """Where cells are compact, what the line took comes back, and nobody loses its name."""
        cells = np.zeros((40, 60), int)
        cells[5:35, 5:30], cells[5:35, 30:55] = 1, 2
        thin = separate_touching(cells, width)
        grown = find_objects((thin > 0).astype(np.float32), grow_px=width / 2)
        inside = cells > 0
        assert (grown[inside] == cells[inside]).mean() > 0.99

    def test_nothing_gives_nothing(self) -> None:
        assert not find_objects(np.zeros((5, 5), np.float32), grow_px=1).any()
