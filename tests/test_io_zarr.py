"""OME-Zarr: what zarr and its metadata say comes back, and what we write says what it is."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from overtile import io, layouts
from overtile.errors import FormatError, MissingError, OutputError
from overtile.image import Image
from overtile.io import omezarr, pyramid
from overtile.io.windows import blocks

some = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def noise(shape: tuple[int, ...], kind: str = "uint8", seed: int = 0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    return (random.normal(0, 50, shape) + 100).astype(kind)


def like(shape: tuple[int, ...], kind: str, axes: str, **more: Any) -> Image:
    """An image of this shape that takes no memory."""
    return Image(np.broadcast_to(np.zeros((), kind), shape), axes, **more)


def described(axes: str, scale: list[float], unit: str, **more: Any) -> dict[str, Any]:
    """Multiscales metadata, written by hand from the specification."""
    kinds = {"t": "time", "c": "channel"}
    named = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    for axis in named:
        if axis["type"] == "space" and unit:
            axis["unit"] = unit
    levels = [
        {"path": "full", "coordinateTransformations": [{"type": "scale", "scale": scale}]},
        {"path": "small", "coordinateTransformations": [{"type": "scale", "scale": scale}]},
    ]
    return {"axes": named, "datasets": levels, **more}


def foreign(path: Path, array: NDArray[Any], version: str, about: dict[str, Any]) -> None:
    """An OME-Zarr as another program would write it, through zarr alone."""
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    chunks = tuple(min(size, 5) for size in array.shape)
    for name, data in (("full", array), ("small", array[..., ::2, ::2])):
        made = group.create_array(name, shape=data.shape, dtype=data.dtype, chunks=chunks)
        made[...] = data
    if version == "0.4":
        group.attrs["multiscales"] = [{"version": "0.4", **about}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [about]}


# ── reading ───────────────────────────────────────────────────────────────────────────────────


@some
@given(
    data=st.data(),
    version=st.sampled_from(["0.4", "0.5"]),
    axes=st.sampled_from(["yx", "zyx", "cyx", "tyx", "czyx", "tczyx"]),
    kind=st.sampled_from(["bool", "uint8", "<u2", ">u2", "float32"]),
)
def test_foreign_images_come_back_by_window(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    version: str,
    axes: str,
    kind: str,
) -> None:
    path = tmp_path_factory.mktemp("zarr") / "a.ome.zarr"
    array = noise(tuple({"t": 2, "c": 3, "z": 4, "y": 11, "x": 13}[axis] for axis in axes), kind)
    scale = [{"z": 2.0, "y": 0.5, "x": 0.25}.get(axis, 1.0) for axis in axes]
    foreign(path, array, version, described(axes, scale, "micrometer"))
    image = io.open(path)
    assert image.axes == axes
    assert image.unit == "micrometer"
    assert image.spacing == tuple(s for s, axis in zip(scale, axes, strict=True) if axis in "zyx")
    assert image.data.dtype == (np.uint8 if kind == "bool" else array.dtype.newbyteorder("="))
    starts = [data.draw(st.integers(0, size - 1)) for size in array.shape]
    key = tuple(
        slice(n, data.draw(st.integers(n, size)))
        for n, size in zip(starts, array.shape, strict=True)
    )
    assert np.array_equal(image.data[key], array[key])
    assert np.array_equal(image.data[()], array)


def test_scales_of_all_levels_multiply_and_units_become_one(tmp_path: Path) -> None:
    about = described("zyx", [2.0, 500.0, 250.0], "nanometer")
    about["axes"][0]["unit"] = "micrometer"
    about["coordinateTransformations"] = [{"type": "scale", "scale": [1.0, 2.0, 2.0]}]
    foreign(tmp_path / "a.zarr", noise((3, 5, 7)), "0.5", about)
    image = io.open(tmp_path / "a.zarr")
    assert image.spacing == pytest.approx((2000, 1000, 500))
    assert image.unit == "nanometer"
    about["axes"][0]["unit"] = "fathom"
    foreign(tmp_path / "c.zarr", noise((3, 5, 7)), "0.5", about)
    assert io.open(tmp_path / "c.zarr").spacing is None
    foreign(tmp_path / "b.zarr", noise((5, 7)), "0.5", described("yx", [1.0, 1.0], ""))
    assert io.open(tmp_path / "b.zarr").spacing is None


def test_an_image_in_a_numbered_folder_is_found(tmp_path: Path) -> None:
    """As bioformats2raw lays them out."""
    group = zarr.create_group(
        tmp_path / "a.zarr", zarr_format=2, attributes={"bioformats2raw.layout": 3}
    )
    group.create_group("OME")
    array = noise((2, 11, 13))
    foreign(tmp_path / "a.zarr" / "0", array, "0.4", described("cyx", [1.0, 0.5, 0.5], "nanometer"))
    image = io.open(tmp_path / "a.zarr")
    assert (image.axes, image.spacing, image.unit) == ("cyx", (0.5, 0.5), "nanometer")
    assert np.array_equal(image.data[1, 2:2], array[1, 2:2])
    assert np.array_equal(image.data[()], array)


@pytest.mark.parametrize("version", [2, 3])
def test_plain_arrays_are_understood_by_their_shape(tmp_path: Path, version: Any) -> None:
    array = noise((8, 9, 3))
    made = zarr.create_array(
        tmp_path / "a.zarr", shape=array.shape, dtype="u1", chunks=(4, 4, 3), zarr_format=version
    )
    made[...] = array
    image = io.open(tmp_path / "a.zarr")
    assert image.axes == "cyx"
    assert np.array_equal(image.data[1:, 2:7, 3:], np.moveaxis(array, -1, 0)[1:, 2:7, 3:])


def test_a_large_chunk_is_not_read_by_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(omezarr, "LARGE_BYTES", 2 * 16 * 16)
    for name, chunk in (("a", 16), ("b", 17)):
        path = tmp_path / f"{name}.zarr"
        zarr.create_array(path, shape=(40, 40), dtype="u2", chunks=(16, chunk))
    assert io.open(tmp_path / "a.zarr").by_window
    assert not io.open(tmp_path / "b.zarr").by_window


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    with pytest.raises(FormatError, match=r"a\.zarr cannot be read: No such file"):
        io.open(path)
    path.write_text("PK")
    with pytest.raises(FormatError, match=r"a\.zarr is a file, and a Zarr is a folder"):
        io.open(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(FormatError, match=r"a\.zarr is no Zarr that can be read"):
        io.open(path)
    group = zarr.create_group(path, overwrite=True)
    group.create_group("0")
    group.create_group("1")
    with pytest.raises(FormatError, match=r"without the description .* found \['0', '1'\]"):
        io.open(path)
    foreign(tmp_path / "b.zarr", noise((4, 5, 7)), "0.5", described("qyx", [1.0, 1.0, 1.0], ""))
    with pytest.raises(FormatError, match=r"has the axes 'qyx' for an array of shape \(4, 5, 7\)"):
        io.open(tmp_path / "b.zarr")
    zarr.create_array(tmp_path / "c.zarr", shape=(6, 9, 5, 7), dtype="u1")
    with pytest.raises(FormatError, match=r"c\.zarr: An array of shape \(6, 9, 5, 7\) does not"):
        io.open(tmp_path / "c.zarr")
    zarr.create_array(tmp_path / "d.zarr", shape=(5, 7), dtype="c8")
    with pytest.raises(FormatError, match=r"d\.zarr holds .* type complex64: expected integers"):
        io.open(tmp_path / "d.zarr")


def test_a_missing_chunk_is_zero_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    path, array = tmp_path / "a.zarr", noise((40, 40))
    store = io.create(path, Image(array, "yx"), (20, 20))
    store[:] = array
    chunks = sorted((path / "0" / "c").rglob("*"))
    first, second = next(c for c in chunks if c.match("c/0/0")), path / "0" / "c" / "0" / "1"
    first.unlink()
    second.write_bytes(b"\xff" * 20)
    data = io.open(path).data
    assert not data[:20, :20].any()
    assert np.array_equal(data[20:], array[20:])
    with pytest.raises(FormatError, match=r"a\.zarr.0 is damaged at \[5:6, 18:25\]"):
        data[5, 18:25]


def test_without_the_library_its_name_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.zarr").mkdir()
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingError, match=r"pip install 'overtile\[zarr\]'"):
        io.open(tmp_path / "a.zarr")
    with pytest.raises(MissingError, match=r"pip install 'overtile\[zarr\]'"):
        io.create(tmp_path / "b.zarr", like((5, 7), "uint8", "yx"), (5, 7))


def test_folders_of_zarr_are_listed_as_images(tmp_path: Path) -> None:
    for name, label in (("images", False), ("labels", True)):
        folder = tmp_path / name
        (folder / "other").mkdir(parents=True)
        io.write(folder / "t2.zarr", Image(noise((9, 8)) * (not label), "yx"))
        np.save(folder / "t10.npy", noise((7, 8)))
    found = layouts.pairs(tmp_path / "images", tmp_path / "labels")
    assert found.names == ["t2", "t10"]
    assert np.array_equal(found[0].image.read(), noise((1, 9, 8)).reshape(1, 9, 8))
    assert found[0].label is not None and not found[0].read_label().values.any()
    alone = layouts.pairs(tmp_path / "images" / "t2.zarr")
    assert np.array_equal(alone[0].image.read()[0], noise((9, 8)))


# ── writing ───────────────────────────────────────────────────────────────────────────────────


@some
@given(
    axes=st.sampled_from(["yx", "zyx", "cyx", "tczyx"]),
    side=st.integers(4, 22),
    most=st.sampled_from([0, 10_000]),
    kind=st.sampled_from(["uint8", "uint16", "float32"]),
)
def test_what_is_written_by_blocks_is_read_by_zarr(
    tmp_path_factory: pytest.TempPathFactory, axes: str, side: int, most: int, kind: str
) -> None:
    path = tmp_path_factory.mktemp("zarr") / "a.zarr"
    shape = tuple({"t": 2, "c": 3, "z": 4, "y": 21, "x": 13}[axis] for axis in axes)
    array = noise(shape, kind)
    block = tuple(side if axis in "yx" else 2 for axis in axes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(omezarr, "MOST_FILES", most)
        store = io.create(path, like(shape, kind, axes), block)
    made = zarr.open_array(path / "0")
    assert (made.shards is None) == (most > 0)
    files = [
        set(store._files(window))  # type: ignore[attr-defined]
        for window in blocks(shape, block)
    ]
    assert sum(map(len, files)) == len(set.union(*files))  # no two blocks share a file
    for window in blocks(shape, block):
        store[window] = array[window]
    assert np.array_equal(store[()], array)
    assert np.array_equal(made[...], array)
    image = io.open(path)
    assert image.axes == axes
    assert np.array_equal(image.data[()], array)


def _fill(job: tuple[Any, tuple[slice, ...], int]) -> None:
    store, window, value = job
    store[window] = value


@pytest.mark.parametrize("most", [0, 10_000])
def test_processes_write_disjoint_blocks_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(omezarr, "MOST_FILES", most)
    shape, block = (2, 100, 130), (2, 32, 48)
    store = io.create(tmp_path / "a.zarr", like(shape, "uint16", "cyx"), block)
    jobs = [(store, window, n) for n, window in enumerate(blocks(shape, block), 1)]
    want = np.zeros(shape, np.uint16)
    for _, window, value in jobs:
        want[window] = value
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_fill, jobs))
    assert np.array_equal(store[()], want)
    assert np.array_equal(pickle.loads(pickle.dumps(store))[1, 90:], want[1, 90:])
    again = io.reopen(tmp_path / "a.zarr")
    again[:, 96:] = 7
    assert (store[:, 96:] == 7).all()
    assert np.array_equal(store[:, :96], want[:, :96])


def test_sync_puts_what_was_written_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files that are new, and the folders that name them, and nothing twice."""
    path = tmp_path / "a.zarr"
    store = io.create(path, like((40, 40), "uint8", "yx"), (20, 20))
    safe: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda n: safe.append(Path(f"/proc/self/fd/{n}").readlink()))
    store[:20] = 1
    store[20:, :20] = 0  # no file
    store.sync()
    chunks = path / "0" / "c"
    assert sorted(safe) == [
        path / "0",
        chunks,
        chunks / "0",
        chunks / "0" / "0",
        chunks / "0" / "1",
    ]
    store.sync()
    assert len(safe) == 5


@pytest.mark.parametrize(
    ("shape", "axes", "block"),
    [
        ((3, 50000, 50000), "cyx", (3, 1024, 976)),
        ((400, 2000, 2000), "zyx", (64, 256, 192)),
        ((2000, 2000), "yx", (2042, 1021)),
        ((100000, 100000), "yx", (1024, 1024)),
        ((40, 3000, 3000), "zyx", (1, 1024, 1024)),
    ],
)
def test_chunks_divide_the_block_and_are_neither_huge_nor_tiny(
    shape: tuple[int, ...], axes: str, block: tuple[int, ...]
) -> None:
    chunks = omezarr.chunks_for(shape, axes, block)
    for size, step, chunk, axis in zip(shape, block, chunks, axes, strict=True):
        assert step >= size or step % chunk == 0
        assert axis == "c" or chunk >= min(64, step, size)
    assert np.prod(chunks) <= 1021 * 1021 * 2
    assert max(chunks) <= 512 or 1021 in block


@pytest.mark.parametrize(("kind", "shape"), [("uint16", (2, 70, 45)), ("float32", (2, 70, 45))])
@pytest.mark.parametrize("spacing", [(0.5, 0.25), None])
def test_the_pyramid_is_what_its_metadata_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, shape: Any, spacing: Any
) -> None:
    """Read through zarr and json alone. Each level of a linear ramp has, at the place that scale
    and translation give to its pixels, the value of the ramp there."""
    monkeypatch.setattr(pyramid, "SMALLEST_PX", 20)
    monkeypatch.setattr(pyramid, "ROWS", 8)
    path = tmp_path / "a.ome.zarr"
    y, x = np.indices(shape[1:])
    array = np.stack([64 * y, 64 * x]).astype(kind)
    unit = "micrometer" if spacing else ""
    store = io.create(path, like(shape, kind, "cyx", spacing=spacing, unit=unit), (2, 32, 32))
    store[:] = array
    io.finish(path)
    io.finish(path)  # as after an interruption
    top = json.loads((path / "zarr.json").read_text())
    assert (top["zarr_format"], top["node_type"]) == (3, "group")
    ome = top["attributes"]["ome"]
    assert ome["version"] == "0.5"
    (multiscale,) = ome["multiscales"]
    assert [axis["name"] for axis in multiscale["axes"]] == ["c", "y", "x"]
    assert [axis["type"] for axis in multiscale["axes"]] == ["channel", "space", "space"]
    assert [axis.get("unit") for axis in multiscale["axes"]][1:] == [unit or None] * 2
    step_y, step_x = spacing or (1.0, 1.0)
    assert [level["path"] for level in multiscale["datasets"]] == ["0", "1", "2"]
    for number, level in enumerate(multiscale["datasets"]):
        about = json.loads((path / level["path"] / "zarr.json").read_text())
        assert about["dimension_names"] == ["c", "y", "x"]
        data = zarr.open_array(path / level["path"], mode="r")[...]
        assert data.dtype == kind
        assert data.shape == (2, -(-70 // 2**number), -(-45 // 2**number))
        scale, *shift = level["coordinateTransformations"]
        assert scale["type"] == "scale"
        assert scale["scale"] == [1, step_y * 2**number, step_x * 2**number]
        assert all(one["type"] == "translation" for one in shift)
        moved = shift[0]["translation"] if shift else [0, 0, 0]
        rows, columns = np.indices(data.shape[1:])
        whole_y, whole_x = 70 // 2**number, 45 // 2**number  # the last ones are of less pixels
        at_y = (rows * scale["scale"][1] + moved[1]) / step_y
        at_x = (columns * scale["scale"][2] + moved[2]) / step_x
        assert np.array_equal(data[0, :whole_y], 64 * at_y[:whole_y])
        assert np.array_equal(data[1, :, :whole_x], 64 * at_x[:, :whole_x])
        assert np.isin(data, array).all() or kind == "float32"


def test_a_pyramid_reads_little_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    plain = omezarr.ZarrArray.__getitem__

    def spy(self: Any, key: Any) -> Any:
        nonlocal most
        part = plain(self, key)
        most = max(most, part.size)
        return part

    path = tmp_path / "a.zarr"
    monkeypatch.setattr(pyramid, "SMALLEST_PX", 400)
    store = io.create(path, like((12000, 9000), "float32", "yx"), (1024, 1024))
    store[1024:2048, 0:1024] = 1
    monkeypatch.setattr(omezarr.ZarrArray, "__getitem__", spy)
    io.finish(path)
    assert 0 < most <= 512 * 4096
    last = zarr.open_array(path / "5", mode="r")[...]
    assert last.shape == (375, 282)
    assert (last[32:64, :32] == 1).all()
    assert last.sum() == 32 * 32
    files = [file for file in path.rglob("*") if file.is_file()]
    assert len(files) < 100  # chunks of zeros are not there


def test_an_image_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path, array = tmp_path / "a.zarr", noise((3, 9, 8))
    io.write(path, Image(array, "zyx", spacing=(2, 1, 1), unit="millimeter"))
    image = io.open(path)
    assert (image.axes, image.spacing, image.unit) == ("zyx", (2, 1, 1), "millimeter")
    top = json.loads((path / "zarr.json").read_text())
    assert top["attributes"]["ome"]["multiscales"][0]["name"] == "a"
    assert np.array_equal(image.data[()], array)
    with pytest.raises(OutputError, match=r"a\.zarr exists already"):
        io.write(path, Image(array, "zyx"))
    io.write(path, Image(array > 99, "zyx"), overwrite=True)
    assert np.array_equal(io.open(path).data[()], array > 99)

    class Broken:
        shape, dtype = (9, 8), np.dtype(np.uint8)

        def __getitem__(self, key: Any) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        io.write(path, Image(Broken(), "yx"), overwrite=True)
    assert np.array_equal(io.open(path).data[()], array > 99)
    assert list(tmp_path.iterdir()) == [path]


def test_no_folder_of_other_things_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "photos.zarr"
    path.mkdir()
    (path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(OutputError, match="holds no Zarr, and is not replaced"):
        io.create(path, like((5, 7), "uint8", "yx"), (5, 7), overwrite=True)
    assert (path / "holiday.jpg").exists()
    (path / "holiday.jpg").unlink()
    io.create(path, like((5, 7), "uint8", "yx"), (5, 7), overwrite=True)
    store = io.create(path, like((6, 7), "uint8", "yx"), (5, 7), overwrite=True)
    assert store.shape == (6, 7)
