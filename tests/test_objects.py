"""Objects against their definition on the whole image, measurements against scikit-image."""

from __future__ import annotations

import csv
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import regionprops_table
from skimage.segmentation import watershed

from overtile.errors import DataError, OutputError, SettingsError
from overtile.objects import (
    ObjectSettings,
    Window,
    cut_blocks,
    find_objects,
    find_objects_in_blocks,
    measure,
    regions,
    write_csv,
)

LEVELS = np.array([0, 0.5, 0.6, 0.75, 0.9, 1], np.float32)
"""Few, so that many pixels are equally high."""

CHOICES = st.builds(
    ObjectSettings,
    smallest_px=st.sampled_from([0, 1, 2, 5]),
    grow_px=st.sampled_from([0, 0.5, 1, math.sqrt(2), 2, 3.5]),
    seed_threshold=st.sampled_from([None, 0.6, 0.8, 0.95]),
)


@st.composite
def foregrounds(draw: st.DrawFn) -> NDArray[np.float32]:
    sides = draw(st.sampled_from([(9, 11), (1, 20), (20, 1), (14, 14), (4, 5, 6), (1, 7, 7)]))
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random(sides)
    smooth = ndimage.gaussian_filter(noise, draw(st.sampled_from([0, 0.7, 1.2])))
    rank = smooth.ravel().argsort().argsort().reshape(sides) / noise.size
    background = draw(st.floats(0, 0.9))
    levels = LEVELS[(rank * len(LEVELS)).astype(int)]
    return np.where(rank < background, 0, levels).astype(np.float32)


def uneven(draw: st.DrawFn, shape: tuple[int, ...]) -> list[Window]:
    """Blocks cut anywhere along each axis, in any order."""
    blocks: list[Window] = [()]
    for size in shape:
        cuts = sorted({0, size, *draw(st.lists(st.integers(0, size), max_size=4))})
        sides = [slice(*pair) for pair in pairwise(cuts)]
        blocks = [(*block, side) for block in blocks for side in sides]
    return draw(st.permutations(blocks))


def numbered(ids: NDArray) -> NDArray:
    """The same objects, numbered from 1 in the order of their first pixels."""
    result = np.zeros_like(ids)
    count = 0
    for place in np.ndindex(ids.shape):
        if ids[place] and not result[place]:
            count += 1
            result[ids == ids[place]] = count
    return result


def grown(ids: NDArray, grow_px: float) -> NDArray:
    """By the definition: for each pixel of the background, all pixels of all objects."""
    result = ids.copy()
    inside = np.argwhere(ids > 0)
    for place in np.argwhere(ids == 0):
        squared = ((inside - place) ** 2).sum(axis=1)
        near = [
            (int(far), int(ids[tuple(other)])) for far, other in zip(squared, inside, strict=True)
        ]
        if near and math.sqrt(min(near)[0]) <= grow_px:
            result[tuple(place)] = min(near)[1]
    return result


def defined(foreground: NDArray, chosen: ObjectSettings) -> NDArray:
    """The objects of the whole image, by the words of the documentation."""
    labels, count = ndimage.label(foreground > chosen.threshold)
    ids = np.zeros(foreground.shape, np.int32)
    for region in range(1, count + 1):
        mask = labels == region
        parts = mask.astype(np.int32)
        if chosen.seed_threshold is not None:
            seeds, held = ndimage.label(mask & (foreground > chosen.seed_threshold))
            if held >= 2:
                parts = watershed(-foreground, seeds, mask=mask)
        ids[mask] = parts[mask] + ids.max()
    for name, size in zip(*np.unique(ids, return_counts=True), strict=True):
        if size < chosen.smallest_px:
            ids[ids == name] = 0
    return grown(numbered(ids), chosen.grow_px)


def in_blocks(
    foreground: Any, blocks: list[Window], chosen: ObjectSettings, dtype: Any = np.int32
) -> NDArray:
    found = np.full(foreground.shape, 77, dtype)  # what a store held before does not matter
    count = find_objects_in_blocks(foreground, found, blocks, chosen)
    assert count == np.unique(found[found > 0]).size == found.max()
    return found


class TestBlocks:
    @given(st.data(), foregrounds(), CHOICES, st.sampled_from([np.int32, np.uint32, np.int64]))
    @settings(max_examples=150, deadline=None)
    def test_objects_are_those_of_the_whole_image(
        self, data: Any, foreground: NDArray, chosen: ObjectSettings, dtype: Any
    ) -> None:
        blocks = uneven(data.draw, foreground.shape)
        found = in_blocks(foreground, blocks, chosen, dtype)
        assert found.dtype == dtype
        assert np.array_equal(found, defined(foreground, chosen))
        assert np.array_equal(found, find_objects(foreground, **vars(chosen)))

    @pytest.mark.parametrize("size_px", [1, 3, 7, (5, 13), (64, 2)])
    @pytest.mark.parametrize("seed_threshold", [None, 0.8])
    def test_regions_that_wind_through_many_blocks(
        self, size_px: Any, seed_threshold: float | None
    ) -> None:
        combs = np.zeros((33, 40), np.float32)
        combs[::2, :18], combs[:, 0] = 0.6, 0.6  # joined on the left
        combs[1::2, 22:], combs[:, -1] = 0.6, 0.6  # joined on the right
        combs[5, 30], combs[31, 30], combs[16, 3] = 1, 1, 1  # two seeds in one, one in the other
        spiral = np.zeros((33, 33), np.float32)
        y, x, dy, dx = 0, 0, 0, 1
        spiral[0, 0] = 1
        for side in sorted([*range(2, 33, 2)] * 2 + [32], reverse=True):
            for _ in range(side):
                y, x = y + dy, x + dx
                spiral[y, x] = 0.6
            dy, dx = dx, -dy
        spiral[y, x] = 1
        for foreground in (combs, spiral):
            chosen = ObjectSettings(seed_threshold=seed_threshold, grow_px=1)
            blocks = cut_blocks(foreground.shape, size_px)
            found = in_blocks(foreground, blocks, chosen)
            assert np.array_equal(found, defined(foreground, chosen))
        assert found.max() == (1 if seed_threshold is None else 2)

    def test_blocks_need_not_form_a_grid(self) -> None:
        foreground = np.random.default_rng(3).random((6, 8)).astype(np.float32)
        bricks = [
            (slice(4, 6), slice(0, 8)),
            (slice(2, 4), slice(0, 5)),
            (slice(0, 2), slice(3, 8)),
            (slice(2, 4), slice(5, 8)),
            (slice(0, 2), slice(0, 3)),
        ]
        chosen = ObjectSettings(0.4, grow_px=2, seed_threshold=0.7)
        found = in_blocks(foreground, bricks, chosen)
        assert np.array_equal(found, defined(foreground, chosen))

    @pytest.mark.parametrize("shape", [(1, 1), (5, 6), (3, 4, 5)])
    def test_nothing_everything_and_one_pixel(self, shape: tuple[int, ...]) -> None:
        chosen = ObjectSettings(grow_px=1, seed_threshold=0.9)
        one = np.zeros(shape, np.float32)
        one[tuple(size - 1 for size in shape)] = 1
        for foreground in (np.zeros(shape, np.float32), np.ones(shape, np.float32), one):
            for size_px in (1, 2, 9):
                found = in_blocks(foreground, cut_blocks(shape, size_px), chosen)
                assert np.array_equal(found, defined(foreground, chosen))

    @given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(1, 10))
    def test_cut_blocks_cover_every_pixel_once(self, shape: list[int], size_px: int) -> None:
        seen = np.zeros(shape, int)
        for block in cut_blocks(shape, size_px):
            assert max(side.stop - side.start for side in block) <= size_px
            seen[block] += 1
        assert (seen == 1).all()


class TestMemory:
    def test_no_more_than_a_block_with_its_rim_is_read(self) -> None:
        class Watched:
            """An array that says how large the largest part was that was read or written."""

            def __init__(self, array: NDArray) -> None:
                self.array, self.most = array, 0
                self.shape, self.dtype = array.shape, array.dtype

            def __getitem__(self, key: Any) -> NDArray:
                self.most = max(self.most, self.array[key].size)
                return self.array[key]

            def __setitem__(self, key: Any, value: NDArray) -> None:
                self.most = max(self.most, value.size)
                self.array[key] = value

        rows, columns = np.ogrid[:90, :90]
        waves = (np.sin(rows / 4) * np.sin(columns / 5)).astype(np.float32)
        foreground, ids = Watched(waves), Watched(np.zeros(waves.shape, np.int32))
        chosen = ObjectSettings(0.1, grow_px=2, seed_threshold=0.6)
        blocks = cut_blocks(waves.shape, 30)
        find_objects_in_blocks(foreground, ids, blocks, chosen)
        assert foreground.most <= 30**2
        assert ids.most <= 34**2
        assert np.array_equal(ids.array, find_objects(waves, **vars(chosen)))
        ids.most = 0
        image = Watched(np.stack([waves, waves]))
        measure(ids, image, blocks)
        assert ids.most <= 30**2
        assert image.most <= 30**2

    def test_from_file_to_file(self, tmp_path: Path) -> None:
        zarr = pytest.importorskip("zarr")
        foreground = ndimage.gaussian_filter(np.random.default_rng(1).random((40, 50)), 1.5)
        np.save(tmp_path / "foreground.npy", foreground.astype(np.float32))
        opened = np.load(tmp_path / "foreground.npy", mmap_mode="r")
        ids = zarr.create_array(
            tmp_path / "ids.zarr", shape=(40, 50), chunks=(16, 16), dtype="uint32"
        )
        chosen = ObjectSettings(float(np.median(opened)), 3, 2, float(np.quantile(opened, 0.8)))
        find_objects_in_blocks(opened, ids, cut_blocks((40, 50), 16), chosen)
        assert np.array_equal(ids[:], defined(np.asarray(opened), chosen))

    def test_a_region_too_large_to_be_flooded_is_refused_whatever_the_blocks(self) -> None:
        foreground = np.full((20, 30), 0.6, np.float32)
        foreground[0, :] = 0
        foreground[5, 5] = foreground[10, 20] = 1
        chosen = ObjectSettings(seed_threshold=0.8)
        ids = np.zeros(foreground.shape, np.int32)
        for size_px in (4, 30):
            blocks = cut_blocks(foreground.shape, size_px)
            with pytest.raises(
                DataError,
                match=r"spans y 1 to 20, x 0 to 30 .* holds 2 seeds: .* 0\.1 MiB.* 0\.0 MiB.*Raise",
            ):
                find_objects_in_blocks(foreground, ids, blocks, chosen, most_bytes=50_000)
            assert find_objects_in_blocks(foreground, ids, blocks, chosen, most_bytes=57_000) == 2
        # One large seed, in fragments in many blocks, parts nothing and needs no memory.
        foreground[1:] = 1
        blocks = cut_blocks(foreground.shape, 4)
        assert find_objects_in_blocks(foreground, ids, blocks, chosen, most_bytes=0) == 1

    @pytest.mark.parametrize(
        ("most", "chosen"),
        [(11, ObjectSettings()), (12, ObjectSettings(seed_threshold=0.8)), (12, ObjectSettings())],
    )
    def test_more_regions_than_can_be_numbered_are_refused(
        self, most: int, chosen: ObjectSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(regions, "MOST_FRAGMENTS", most)
        foreground = np.zeros((6, 20), np.float32)
        foreground[::2, ::5] = 1  # 12 regions
        foreground[0, 0:3] = 1, 0.6, 1  # of which one has two seeds
        if chosen.seed_threshold is None and most == 12:
            assert find_objects(foreground, **vars(chosen)).max() == 12
            return
        with pytest.raises(DataError, match=r"into 1[234] regions or more.* noise.*threshold"):
            find_objects(foreground, **vars(chosen))


class TestGrowing:
    @given(
        hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6)),
        st.sampled_from([1, math.sqrt(2), math.sqrt(3), 2, math.sqrt(5), 3, 8]),
        st.integers(0, 2**32 - 1),
    )
    @settings(max_examples=80, deadline=None)
    def test_a_pixel_goes_to_the_nearest_object_and_of_equals_to_the_smallest_id(
        self, like: NDArray, grow_px: float, seed: int
    ) -> None:
        points = np.random.default_rng(seed).random(like.shape) > 0.8
        foreground = points.astype(np.float32)
        expected = grown(numbered(ndimage.label(points)[0]), grow_px)
        assert np.array_equal(find_objects(foreground, grow_px=grow_px), expected)

    def test_an_object_grows_over_what_was_too_small(self) -> None:
        foreground = np.array([[1, 1, 1, 0, 1]], np.float32)
        found = find_objects(foreground, smallest_px=2, grow_px=2)
        assert found.tolist() == [[1, 1, 1, 1, 1]]


class TestSeeds:
    @given(st.integers(0, 2**32 - 1), st.sampled_from([(16, 18), (6, 7, 8)]))
    @settings(max_examples=40, deadline=None)
    def test_without_ties_it_is_one_watershed_of_the_whole_image(
        self, seed: int, shape: tuple[int, ...]
    ) -> None:
        """scikit-image floods all regions at once; ids and regions without a seed aside."""
        noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 1)
        rank = noise.ravel().argsort().argsort().reshape(shape)
        foreground = (rank / rank.size).astype(np.float32)
        assume(np.unique(foreground).size == foreground.size)
        seeds, _ = ndimage.label(foreground > 0.8)
        whole = watershed(-foreground, seeds, mask=foreground > 0.5)
        found = find_objects(foreground, threshold=0.5, seed_threshold=0.8)
        assert np.array_equal(numbered(np.where(whole > 0, found, 0)), numbered(whole))
        _, count = ndimage.label((foreground > 0.5) & (whole == 0))
        assert found.max() == seeds.max() + count

    def test_a_region_without_a_seed_stays_one_object(self) -> None:
        foreground = np.array([[0.6, 0.7, 0, 1, 0.6, 0.7, 1]], np.float32)
        found = find_objects(foreground, seed_threshold=0.8)
        assert found.tolist() == [[1, 1, 0, 2, 2, 3, 3]]
        # What is too small is so after parting.
        found = find_objects(foreground[:, 2:], seed_threshold=0.8, smallest_px=3)
        assert not found.any()

    @pytest.mark.parametrize("seed_threshold", [0.3, 0.5, math.nan])
    def test_a_threshold_of_seeds_below_that_of_objects_is_refused(
        self, seed_threshold: float
    ) -> None:
        with pytest.raises(SettingsError, match=r"parts nothing: expected more than .* 0\.5"):
            ObjectSettings(seed_threshold=seed_threshold)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.bool_])
def test_a_store_of_short_numbers_is_refused(dtype: Any) -> None:
    ids = np.zeros((4, 4), dtype)
    with pytest.raises(DataError, match=f"'{ids.dtype}': expected integers of 32 bits"):
        find_objects_in_blocks(ids, ids, cut_blocks((4, 4), 2), ObjectSettings())


class TestMeasure:
    @given(st.data(), foregrounds(), st.integers(0, 2))
    @example(None, np.zeros((3, 3), np.float32), 1)
    @settings(max_examples=60, deadline=None)
    def test_it_agrees_with_scikit_image(
        self, data: Any, foreground: NDArray, channels: int
    ) -> None:
        ids = find_objects(foreground) * 3  # ids need not be dense
        shape = foreground.shape
        blocks = uneven(data.draw, shape) if data else cut_blocks(shape, 2)
        image = np.random.default_rng(0).random((channels, *shape))
        spacing = (0.5, 2.0, 3.0)[-len(shape) :]
        table = measure(ids, image if channels else None, blocks, spacing, "um")
        names = ("label", "area", "bbox", "centroid")
        expected = regionprops_table(ids, properties=names)
        axes = "zyx"[-len(shape) :]
        size = "area" if len(shape) == 2 else "volume"
        assert np.array_equal(table["id"], expected["label"])
        assert np.array_equal(table[f"{size}_px"], expected["area"])
        for number, axis in enumerate(axes):
            assert np.array_equal(table[f"start_{axis}_px"], expected[f"bbox-{number}"])
            stop = expected[f"bbox-{number + len(axes)}"]
            assert np.array_equal(table[f"stop_{axis}_px"], stop)
            assert np.allclose(table[f"centroid_{axis}_px"], expected[f"centroid-{number}"])
        physical = regionprops_table(ids, spacing=spacing, properties=names)
        assert np.allclose(table[f"{size}_um{len(axes)}"], physical["area"])
        for number, axis in enumerate(axes):
            assert np.allclose(table[f"centroid_{axis}_um"], physical[f"centroid-{number}"])
        for number in range(channels):
            mean = regionprops_table(ids, image[number], properties=("mean_intensity",))
            assert np.allclose(table[f"mean_{number}"], mean["mean_intensity"])
        assert f"mean_{channels}" not in table
        assert len({len(column) for column in table.values()}) == 1

    def test_whole_numbers_are_summed_exactly_whatever_the_blocks(self) -> None:
        values = np.random.default_rng(0).integers(0, 2**16, (2, 30, 30)).astype(np.uint16)
        ids = find_objects((values[0] > 30_000).astype(np.float32))
        tables = [measure(ids, values, cut_blocks(ids.shape, size)) for size in (1, 7, 30)]
        for table in tables[1:]:
            for name, column in tables[0].items():
                assert np.array_equal(table[name], column)
        assert [name for name in tables[0] if not name.endswith("_px")] == [
            "id",
            "mean_0",
            "mean_1",
        ]

    def test_the_table_as_csv(self, tmp_path: Path) -> None:
        ids = np.array([[1, 1, 0], [0, 2, 2]])
        blocks = cut_blocks(ids.shape, 2)
        first = measure(ids, None, blocks, (0.1, 0.3))
        second = measure(np.zeros_like(ids), None, blocks, (0.1, 0.3))
        path = tmp_path / "objects.csv"
        write_csv(path, [second, first, first])
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 4
        for row, place in zip(rows, [0, 1, 0, 1], strict=True):
            assert {name: float(value) for name, value in row.items()} == {
                name: column[place] for name, column in first.items()
            }
        assert {"area_px", "area_unit2", "centroid_x_px", "centroid_x_unit"} <= set(rows[0])
        with pytest.raises(OutputError, match="exists already"):
            write_csv(path, [first])
        write_csv(path, [first], overwrite=True)
        assert len(path.read_text().splitlines()) == 3
