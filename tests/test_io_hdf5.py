"""HDF5 and .npz: what h5py and numpy wrote comes back, whole and by window; several arrays."""

from __future__ import annotations

import io as io_bytes
import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from overtile import io, layouts
from overtile.cli import main
from overtile.errors import DataError, FormatError, MissingError
from overtile.file_to_file import PredictOptions
from overtile.image import AXES
from overtile.io import hdf5
from overtile.segmenter import load

some = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
KINDS = ["bool", "uint8", ">u2", "int32", "float16", ">f4", "float64"]


def noise(shape: tuple[int, ...], kind: str = "uint8", seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).uniform(0, 200, shape).astype(kind)


def key_in(data: st.DataObject, shape: tuple[int, ...]) -> tuple[slice, ...]:
    starts = [data.draw(st.integers(0, size - 1)) for size in shape]
    stops = [data.draw(st.integers(n, size)) for n, size in zip(starts, shape, strict=True)]
    return tuple(map(slice, starts, stops))


def hold(path: Path, arrays: dict[str, NDArray[Any]]) -> Path:
    """A file of arrays, written by the library of its format."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return path


# ── pixels ────────────────────────────────────────────────────────────────────────────────────


@some
@given(
    data=st.data(),
    axes=st.permutations("tczyx").flatmap(lambda a: st.sampled_from([a, a[1:], a[2:]])),
    kind=st.sampled_from(KINDS),
    layout=st.sampled_from(["contiguous", "chunked", "gzip", "shuffled"]),
    by_tags=st.booleans(),
)
def test_datasets_come_back_by_window_with_the_axes_that_are_named(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    axes: list[str],
    kind: str,
    layout: str,
    by_tags: bool,
) -> None:
    letters = "".join(axes)
    if not {"y", "x"} <= set(letters):
        letters += "".join({"y", "x"} - set(letters))
    shape = tuple(data.draw(st.integers(1, 6)) for _ in letters)
    array = noise(shape, kind)
    path = tmp_path_factory.mktemp("h5") / "a.h5"
    how: dict[str, Any] = {"chunks": tuple(data.draw(st.integers(1, size)) for size in shape)}
    how |= {"gzip": {"compression": "gzip"}, "shuffled": {"shuffle": True}}.get(layout, {})
    with h5py.File(path, "w") as file:
        made = file.create_dataset(
            "deep/in/it", data=array, **how if layout != "contiguous" else {}
        )
        if by_tags:
            made.attrs["axistags"] = json.dumps({"axes": [{"key": letter} for letter in letters]})
        else:
            for place, letter in enumerate(letters):
                made.dims[place].label = letter
    image = io.open(path)
    assert image.axes == "".join(sorted(letters, key=AXES.index))
    assert image.data.dtype == (np.uint8 if kind == "bool" else array.dtype.newbyteorder("="))
    want = array.transpose([letters.index(axis) for axis in image.axes])
    key = key_in(data, want.shape)
    assert np.array_equal(image.data[key], want[key])
    assert np.array_equal(pickle.loads(pickle.dumps(image.data))[()], want)


@some
@given(
    data=st.data(),
    shape=st.sampled_from([(5, 7), (5, 7, 3), (6, 5, 7), (6, 5, 7, 3), (6, 3, 5, 7)]),
    kind=st.sampled_from(KINDS),
    order=st.sampled_from(["C", "F"]),
    write=st.sampled_from([np.savez, np.savez_compressed]),
)
def test_arrays_of_an_npz_come_back_by_window(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    shape: tuple[int, ...],
    kind: str,
    order: Any,
    write: Callable[..., None],
) -> None:
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    array = np.asarray(noise(shape, kind), order=order)
    write(path, number=np.array(3), long_name=array, objects=np.array([None] * 100))
    image = io.open(path)
    assert image.by_window == (write is np.savez)
    channels = shape.index(3) if 3 in shape else 0  # in front, where there are some
    want = np.moveaxis(array, channels, 0)
    key = key_in(data, want.shape)
    assert np.array_equal(image.data[key], want[key])
    assert np.array_equal(pickle.loads(pickle.dumps(image.data))[()], want)
    assert image.data.dtype == (np.uint8 if kind == "bool" else array.dtype.newbyteorder("="))


def test_the_size_of_a_voxel_is_kept(tmp_path: Path) -> None:
    """As PlantSeg, elf and the HDF5 plugin of Fiji state it: z y x, also of planes."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = noise((4, 5, 7))
        file["raw"].attrs["element_size_um"] = (0.25, 0.1, 0.2)
        file["plane"] = noise((5, 7))
        file["plane"].attrs["element_size_um"] = (1, 0.1, 0.2)
        file["odd"] = noise((5, 7))
        file["odd"].attrs["element_size_um"] = "big"
        file["odd"].attrs["axistags"] = "{}"
    assert (io.open(tmp_path / "a.h5/raw").spacing, io.open(tmp_path / "a.h5/raw").unit) == (
        (0.25, 0.1, 0.2),
        "micrometer",
    )
    assert io.open(tmp_path / "a.h5" / "plane").spacing == (0.1, 0.2)
    assert io.open(tmp_path / "a.h5" / "odd").spacing is None


def test_a_large_chunk_is_not_read_by_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "LARGE_BYTES", 2 * 16 * 16)
    for name, chunk in (("a", 16), ("b", 17)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file.create_dataset("x", shape=(40, 40), dtype="u2", chunks=(16, chunk))
    assert io.open(tmp_path / "a.h5").by_window
    assert not io.open(tmp_path / "b.h5").by_window


# ── which array is meant ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_usual_names_tell_image_from_label(tmp_path: Path, suffix: str) -> None:
    raw, label = noise((5, 7)), noise((5, 7), seed=1)
    path = hold(tmp_path / f"a{suffix}", {"Raw": raw, "labels": label, "table": np.arange(4)})
    assert np.array_equal(io.open(path).data[()], raw)
    assert np.array_equal(io.open(path, as_label=True).data[()], label)
    assert io.member(path) == path / "Raw"
    assert io.labels_in(path) == (path / "labels",)
    found = layouts.pairs(path, path / "labels")
    assert (found.names, found[0].image.origin) == (["a"], f"a{suffix}/Raw")
    assert found[0].label is not None
    assert found[0].label.origin == f"a{suffix}/labels"
    assert np.array_equal(found[0].image.read()[0], raw)
    assert np.array_equal(found[0].read_label().values, label)
    with pytest.raises(DataError, match=rf"It holds labels itself: .*a{suffix}.labels"):
        layouts.pairs(path, path)
    only = hold(tmp_path / f"b{suffix}", {"anything": raw})
    assert io.labels_in(only) == ()
    assert np.array_equal(io.open(only, as_label=True).data[()], raw)


@pytest.mark.parametrize("suffix", [".hdf5", ".npz"])
def test_several_arrays_are_listed_and_one_is_named(tmp_path: Path, suffix: str) -> None:
    arrays = {f"group/{name}": noise((5, 7), seed=n) for n, name in enumerate("ab")}
    path = hold(tmp_path / f"cells{suffix}", arrays)
    with pytest.raises(FormatError, match=r"several arrays: group/a \(5, 7\) uint8; group/b") as e:
        io.open(path)
    assert str(path / "group" / "a") in str(e.value)  # what would work
    assert np.array_equal(io.open(path / "group" / "a").data[()], arrays["group/a"])
    assert io.labels_in(path) == ()
    with pytest.raises(FormatError, match=r"has no array 'group/c': it holds group/a \(5, 7\)"):
        io.open(path / "group/c")
    assert io.is_known(path / "group" / "a")
    assert io.stem_of(path / "group" / "a") == "cells-group-a"
    assert io.file_of(path / "group" / "a") == path
    assert not io.is_known(tmp_path / f"none{suffix}" / "a")


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_no_array_of_numbers_is_refused_with_what_there_is(tmp_path: Path, suffix: str) -> None:
    path = hold(tmp_path / f"a{suffix}", {"line": np.arange(4), "empty": np.zeros((0, 3))})
    with pytest.raises(FormatError, match=r"holds no image: expected .* found .*line \(4,\) int64"):
        io.open(path)
    path = hold(tmp_path / f"b{suffix}", {"odd": noise((6, 9, 5, 7))})
    with pytest.raises(FormatError, match=r"odd: An array of shape \(6, 9, 5, 7\) does not say"):
        io.open(path)


def test_a_link_inside_of_hdf5_is_followed(tmp_path: Path) -> None:
    array = noise((5, 7))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["there"], file["also"] = array, noise((5, 7), seed=1)
        file["link"] = h5py.SoftLink("/there")
        file["loop"] = h5py.SoftLink("/loop")
        file["nothing"] = h5py.Empty("f4")
    assert np.array_equal(io.open(tmp_path / "a.h5" / "link").data[()], array)
    with pytest.raises(FormatError, match=r"lead back to 'loop', or on and on"):
        io.open(tmp_path / "a.h5" / "loop")


def test_what_lies_in_other_files_is_read(tmp_path: Path) -> None:
    """Through links, and through virtual data sets of virtual ones."""
    array = noise((5, 7))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["deep/raw"] = array
        file["soft"] = h5py.SoftLink("deep")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["link"] = h5py.ExternalLink("a.h5", "/soft")
        both = h5py.VirtualLayout((10, 7), "u1")
        both[:5] = both[5:] = h5py.VirtualSource("a.h5", "deep/raw", (5, 7))
        file.create_virtual_dataset("both", both)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        again = h5py.VirtualLayout((10, 7), "u1")
        again[...] = h5py.VirtualSource("b.h5", "both", (10, 7))
        file.create_virtual_dataset("again", again)
    assert np.array_equal(io.open(tmp_path / "b.h5" / "link" / "raw").data[()], array)
    for path in (tmp_path / "b.h5" / "both", tmp_path / "c.h5"):
        assert np.array_equal(io.open(path).data[()], np.concatenate([array, array]))


def test_names_that_are_no_text_are_passed_over(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = noise((5, 7))
        file[b"caf\xe9"] = noise((5, 7), seed=1)
    assert np.array_equal(io.open(tmp_path / "a.h5").data[()], noise((5, 7)))


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_damaged_files_are_named(tmp_path: Path, suffix: str) -> None:
    path = hold(tmp_path / f"a{suffix}", {"a": noise((50, 70))})
    whole = path.read_bytes()
    for length in (10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=rf"a\{suffix} (cannot be read|is damaged)"):
            io.open(path).data[()]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + whole[8:])
    with pytest.raises(FormatError, match="holds PNG"):
        io.open(path)
    with pytest.raises(FormatError, match="holds PNG"):
        io.open(path / "a")


def test_an_array_that_breaks_off_inside_of_an_npz_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=noise((50, 70)))
    data = io.open(path).data
    content = bytearray(path.read_bytes())
    content[300:330] = bytes(30)
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"a\.npz is damaged or truncated"):
        data[()]


def test_without_the_library_its_name_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hold(tmp_path / "a.h5", {"a": noise((5, 7))})
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingError, match=r"pip install 'overtile\[hdf5\]'"):
        io.open(path)


@pytest.mark.parametrize("shape", [(10**6, 10**6), (-5, 7)])
def test_an_array_of_an_npz_that_promises_too_much_is_named(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    content = io_bytes.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, header)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content.getvalue() + bytes(35))
    with pytest.raises(FormatError, match=r"a\.npz is damaged .* has not the shape"):
        io.open(tmp_path / "a.npz")


# ── from end to end ───────────────────────────────────────────────────────────────────────────


def test_a_dataset_is_predicted_into_a_zarr(tmp_path: Path, model_folder: Path) -> None:
    array = noise((2, 40, 50))
    with h5py.File(tmp_path / "cells.h5", "w") as file:
        made = file.create_dataset("exported/stack", data=array, chunks=(1, 16, 16))
        file["other"] = array
        made.attrs["element_size_um"] = (2, 0.5, 0.25)
    source, output = tmp_path / "cells.h5" / "exported" / "stack", tmp_path / "out.zarr"
    arguments = [str(model_folder), str(source), "-o", str(output), "--engine", "torch"]
    with pytest.raises(SystemExit, match="0"):
        main(["predict", *arguments])
    group = zarr.open_group(output, mode="r")
    described: Any = group.attrs.asdict()["ome"]
    first = described["multiscales"][0]
    assert first["datasets"][0]["coordinateTransformations"][0]["scale"] == [2, 0.5, 0.25]
    assert [axis["unit"] for axis in first["axes"]] == ["micrometer"] * 3
    model = load(model_folder, engine="torch")
    found: Any = group["0"]
    for number in range(2):
        assert np.array_equal(found[number], model.predict(array[number]))
    np.savez(tmp_path / "cells.npz", stack=array)
    model.predict_file(tmp_path / "cells.npz", tmp_path / "out.tif", PredictOptions())
    assert np.array_equal(tifffile.imread(tmp_path / "out.tif"), found[...])
