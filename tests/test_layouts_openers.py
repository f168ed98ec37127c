"""Several files that are one image: whole and by window the same as stacked by NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from overtile import io, layouts
from overtile.errors import DataError
from overtile.image import Image
from overtile.layouts.openers import Channels, ClassMasks, Objects
from overtile.layouts.source import Opener
from overtile.planes import Planes


def save(folder: Path, *arrays: NDArray[np.generic], axes: str = "yx") -> tuple[Path, ...]:
    paths = tuple(folder / f"{number}.tif" for number in range(len(arrays)))
    for path, array in zip(paths, arrays, strict=True):
        io.write(path, Image(array, axes), overwrite=True)
    return paths


sizes = st.integers(1, 5)
parts = st.integers(0, 5) | st.none()


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(sizes, sizes, sizes, sizes),
    axes=st.sampled_from(["yx", "zyx", "cyx", "czyx", "tcyx", "tyx"]),
    kinds=st.lists(st.sampled_from(["uint8", "uint16", "float32"]), min_size=1, max_size=3),
    ends=st.tuples(*[st.tuples(parts, parts)] * 5),
    seed=st.integers(0, 99),
)
def test_channels_are_those_of_the_files(
    shape: tuple[int, ...],
    axes: str,
    kinds: list[str],
    ends: tuple[tuple[int | None, int | None], ...],
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    arrays = [random.integers(0, 200, shape[: len(axes)]).astype(kind) for kind in kinds]
    paths = tuple(Path(f"{number}.tif") for number in range(len(arrays)))
    images = [Image(array, axes) for array in arrays]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", lambda path, **_: images[paths.index(path)])
        image = Channels(paths).open(as_label=False)
    joined = "".join(axis for axis in "tczyx" if axis in axes + "c")
    at = joined.index("c")
    whole = [array if "c" in axes else np.expand_dims(array, at) for array in arrays]
    want = np.concatenate(whole, axis=at)
    assert (image.axes, image.data.shape, image.data.dtype) == (joined, want.shape, want.dtype)
    key = tuple(slice(*end) for end in ends[: len(joined)])
    if want[key].shape[at]:
        assert np.array_equal(image.data[key], want[key])
    assert np.array_equal(image.data[(slice(None),) * at + (0,)], want[(slice(None),) * at + (0,)])
    assert np.array_equal(image.data[:], want)
    plane = Planes(image)[0].read()
    assert np.array_equal(plane, Planes(Image(want, joined))[0].read())


def test_what_belongs_to_an_image_stays_with_its_channels(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        io.write(tmp_path / name, Image(np.ones((3, 4), np.uint8), "yx", (0.5, 0.5), "micrometer"))
    paths = (tmp_path / "a.tif", tmp_path / "b.tif")
    image = Channels(paths, ("T1", "T2")).open(as_label=False)
    assert (image.spacing, image.unit, image.channel_names) == (
        (0.5, 0.5),
        "micrometer",
        ("T1", "T2"),
    )
    assert Channels(paths, ("T1",)).open(as_label=False).channel_names == ()  # not one for each
    assert isinstance(Channels(paths), Opener)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(1, 5))
def test_of_objects_that_overlap_the_smaller_one_is_on_top(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int
) -> None:
    random = np.random.default_rng(seed)
    masks = random.random((count, 5, 6)) < random.random((count, 1, 1))
    masks[:, 0, 0] = True
    folder = tmp_path_factory.mktemp("objects")
    image = Objects(save(folder, *(masks * np.uint8(255)))).open(as_label=True)
    ids = np.asarray(image.data[:])
    areas = masks.sum(axis=(1, 2))
    assert (image.axes, ids.dtype) == ("yx", np.int32)
    for y in range(5):
        for x in range(6):
            there = [number for number in range(count) if masks[number, y, x]]
            smallest = min((areas[number] for number in there), default=0)
            assert ids[y, x] in [n + 1 for n in there if areas[n] == smallest] or not there
            assert bool(ids[y, x]) == bool(there)
    assert np.array_equal(image.data[1:3, 2:], ids[1:3, 2:])


def test_a_channel_for_each_class(tmp_path: Path) -> None:
    a, b = (np.array(rows, np.uint8) for rows in ([[0, 255, 0]], [[0, 7, 7]]))
    paths = save(tmp_path, a, b)
    image = ClassMasks((paths[0], None, paths[1]), ("car", "sky", "road")).open(as_label=True)
    assert (image.axes, image.channel_names) == ("cyx", ("car", "sky", "road"))
    assert np.asarray(image.data[:])[:, 0].tolist() == [[0, 1, 0], [0, 0, 0], [0, 1, 1]]
    assert image.data.dtype == np.uint8
    colour = tmp_path / "colour.png"
    io.write(colour, Image(np.array([[[0, 9]], [[0, 0]], [[0, 0]]], np.uint8), "cyx"))
    image = ClassMasks((colour,), ("car",)).open(as_label=True)
    assert np.asarray(image.data[:]).tolist() == [[[0, 1]]]


def test_files_of_other_sizes_are_refused(tmp_path: Path) -> None:
    paths = save(tmp_path, np.ones((3, 4), np.uint8), np.ones((3, 5), np.uint8))
    said = r"1\.tif has 3 x 5 pixels and 0\.tif 3 x 4: expected equal sizes"
    with pytest.raises(DataError, match=said):
        Channels(paths).open(as_label=False)
    with pytest.raises(DataError, match=said):
        _ = Objects(paths).open(as_label=True).data[:]


def test_volumes_of_several_files(tmp_path: Path) -> None:
    """Stacks as channels are volumes or planes, as they are asked for; objects and classes too."""
    (tmp_path / "pairs.csv").write_text("image,label\n0.tif;1.tif,2.tif;0.tif\n")
    stacks = [np.full((3, 4, 5), value, np.uint8) for value in (1, 2, 0)]
    save(tmp_path, *stacks, axes="zyx")
    (volume,) = layouts.pairs(tmp_path / "pairs.csv", dimensions=3)
    assert np.array_equal(volume.image.read(), np.stack(stacks[:2]))
    assert volume.label is not None
    assert volume.label.open().data.shape == (2, 3, 4, 5)
    planes = layouts.pairs(tmp_path / "pairs.csv")
    assert planes.names == ["0[0]", "0[1]", "0[2]"]
    assert [pair.group for pair in planes] == ["0"] * 3
    assert np.array_equal(planes[2].image.read(), np.stack(stacks[:2])[:, 2])
