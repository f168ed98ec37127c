"""Windows of large files: the same as of the whole, and nothing else is read."""

from __future__ import annotations

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from overtile import io
from overtile.errors import DataError, FormatError, OutputError
from overtile.image import Image
from overtile.io import positions, segments
from overtile.io.windows import Reordered, blocks, resolve

many = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
KINDS = ["uint8", "uint16", "int32", "float32", "float64"]


def noise(shape: tuple[int, ...], kind: str = "uint8", seed: int = 0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    return (random.normal(0, 50, shape) + 100).astype(kind)


def ramp(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Smooth, so that JPEG keeps it nearly."""
    return (np.add.outer(np.arange(shape[0]), np.arange(shape[1])) % 200).astype(np.uint8)


@st.composite
def keys(draw: st.DrawFn, shape: tuple[int, ...], unit: bool = False) -> tuple[Any, ...]:
    chosen: list[Any] = []
    for size in shape[: draw(st.integers(0, len(shape)))]:
        if draw(st.booleans()):
            chosen.append(draw(st.integers(-size, size - 1)))
        elif unit:
            start = draw(st.integers(0, size))
            chosen.append(slice(start, draw(st.integers(start, size))))
        else:
            chosen.append(draw(st.slices(size)))
    return tuple(chosen)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The page and number of each segment that is decoded, in order; with an empty cache."""
    calls: list[tuple[int, int]] = []
    plain = segments.Segments._decoded

    def spy(self: Any, file: Any, lock: Any, page: Any, index: int) -> Any:
        calls.append((page.number, index))
        return plain(self, file, lock, page, index)

    monkeypatch.setattr(segments.Segments, "_decoded", spy)
    monkeypatch.setattr(segments, "CACHE", segments.Cache(segments.CACHE_BYTES))
    return calls


# ── keys ──────────────────────────────────────────────────────────────────────────────────────


@many
@given(data=st.data(), shape=st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple))
def test_a_key_is_a_window_and_a_key_in_it(data: st.DataObject, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    key = data.draw(keys(shape))
    window, rest = resolve(key, shape)
    assert np.array_equal(array[window][rest], array[key])
    assert all(part.step is None and 0 <= part.start <= part.stop for part in window)


def test_an_integer_outside_of_its_axis_is_an_index_error(tmp_path: Path) -> None:
    io.write(tmp_path / "a.tif", Image(noise((5, 7)), "yx"))
    with pytest.raises(IndexError):
        io.open(tmp_path / "a.tif").data[5]


@many
@given(data=st.data(), letters=st.permutations("tczyx"), count=st.integers(2, 5))
def test_axes_are_brought_into_the_order_of_the_house(
    data: st.DataObject, letters: list[str], count: int
) -> None:
    own = "".join(letters[:count])
    array = np.arange(np.prod(range(2, 2 + count))).reshape(range(2, 2 + count))
    ordered = Reordered(array, own)
    want = np.einsum(f"{own}->{ordered.axes}", array)
    assert [axis for axis in "tczyx" if axis in own] == list(ordered.axes)
    key = data.draw(keys(want.shape))
    assert ordered.shape == want.shape
    assert np.array_equal(ordered[key], want[key])


@many
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple), side=st.integers(1, 10)
)
def test_blocks_are_disjoint_and_cover_the_whole(shape: tuple[int, ...], side: int) -> None:
    seen = np.zeros(shape, int)
    for window in blocks(shape, (side,) * len(shape)):
        seen[window] += 1
        assert max(part.stop - part.start for part in window) <= side
    assert (seen == 1).all()


# ── positions ─────────────────────────────────────────────────────────────────────────────────


@many
@given(
    data=st.data(),
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple),
    kind=st.sampled_from(["u1", "<u2", ">u2", ">f4", "<f8"]),
    smallest=st.sampled_from([0, 16, 4096]),
)
def test_a_window_is_read_and_written_where_it_lies(
    tmp_path: Path, data: st.DataObject, shape: tuple[int, ...], kind: str, smallest: int
) -> None:
    array, path, dtype = noise(shape, kind), tmp_path / "a.bin", np.dtype(kind)
    path.write_bytes(b"head" + array.tobytes() + b"tail")
    window, _ = resolve(data.draw(keys(shape)), shape)
    with pytest.MonkeyPatch.context() as patch, FileIO(path, "r+") as file:
        patch.setattr(positions, "SMALLEST_READ", smallest)
        found = positions.read(file, 4, shape, dtype, window)
        assert np.array_equal(found, array[window])
        array[window] = 7
        positions.write(file, 4, shape, np.full(found.shape, 7, dtype), window)
    assert path.read_bytes() == b"head" + array.tobytes() + b"tail"


def test_contiguous_bytes_are_one_run_and_short_rows_are_read_whole(tmp_path: Path) -> None:
    class Counting(FileIO):
        reads = 0

        def readinto(self, buffer: Any) -> Any:
            self.reads += 1
            return super().readinto(buffer)

    path = tmp_path / "a.bin"
    path.write_bytes(bytes(8 * 9000 * 3))
    whole, rows = slice(0, 3), slice(2, 6)
    for window, reads in (
        ((rows, slice(0, 9000), whole), 1),
        ((rows, slice(5, 900), whole), 4),
        ((rows, slice(5, 900), slice(0, 1)), 4),
        ((slice(4, 4), slice(5, 900), whole), 0),
    ):
        with Counting(path) as file:
            positions.read(file, 0, (8, 9000, 3), np.dtype(np.uint8), window)
            assert file.reads == reads


# ── TIFF by window ────────────────────────────────────────────────────────────────────────────


@many
@given(
    data=st.data(),
    kind=st.sampled_from(KINDS),
    compression=st.sampled_from([None, "zlib", "lzw", "zstd", "packbits"]),
    layout=st.sampled_from([{}, {"rowsperstrip": 5}, {"tile": (16, 32)}]),
    colours=st.sampled_from(["", "contig", "separate"]),
    order=st.sampled_from("<>"),
    flavour=st.sampled_from(["classic", "big", "ome", "plain"]),
    pages=st.sampled_from([1, 3]),
)
def test_a_window_of_a_tiff_is_that_of_the_whole(
    tmp_path: Path,
    data: st.DataObject,
    kind: str,
    compression: str | None,
    layout: dict[str, Any],
    colours: Any,
    order: Any,
    flavour: str,
    pages: int,
) -> None:
    path = tmp_path / "a.tif"
    sides = {"": (37, 41), "contig": (37, 41, 3), "separate": (3, 37, 41)}[colours]
    shape = (pages, *sides) if pages > 1 else sides
    array = noise(shape, kind)
    more: dict[str, Any] = {"photometric": "rgb" if colours else "minisblack", **layout}
    if colours:
        more["planarconfig"] = colours
    if compression in ("zlib", "lzw", "zstd"):
        more["predictor"] = data.draw(st.booleans(), label="predictor")
    axes = ("Z" if pages > 1 else "") + {"": "YX", "contig": "YXS", "separate": "SYX"}[colours]
    more["metadata"] = None if flavour == "plain" else {"axes": axes}
    big = flavour == "big"
    tifffile.imwrite(
        path,
        array,
        byteorder=order,
        compression=compression,
        bigtiff=big,
        ome=flavour == "ome",
        **more,
    )
    whole = tifffile.imread(path).reshape(shape)
    letters = axes.lower().replace("s", "c")
    image = io.open(path)
    ordered = "".join(axis for axis in "czyx" if axis in letters)
    want = np.einsum(f"{letters}->{ordered}", whole)
    assert image.axes == ordered
    assert image.by_window
    for _ in range(3):
        key = data.draw(keys(want.shape))
        found = image.data[key]
        assert found.dtype == np.dtype(kind)
        assert np.array_equal(found, want[key])


def test_windows_of_truncated_hyperstacks_of_imagej(tmp_path: Path) -> None:
    array, path = noise((2, 3, 4, 25, 36), "uint16"), tmp_path / "a.tif"
    tifffile.imwrite(path, array, imagej=True, metadata={"axes": "TZCYX"}, truncate=True)
    data = io.open(path).data
    want = array.swapaxes(1, 2)
    for key in (np.s_[1, 2, :, 3:9, 30:], np.s_[:, 1:3, 2], np.s_[0, 0, 0, 24, 35]):
        assert np.array_equal(data[key], want[key])


@pytest.mark.parametrize("layout", [{"rowsperstrip": 16}, {"tile": (32, 32)}])
def test_windows_of_jpeg_in_tiff(tmp_path: Path, layout: dict[str, Any]) -> None:
    path = tmp_path / "a.tif"
    array = np.stack([ramp((70, 90))] * 3, axis=-1)
    tifffile.imwrite(path, array, photometric="rgb", compression="jpeg", **layout)
    whole = np.moveaxis(tifffile.imread(path), -1, 0)
    assert np.array_equal(io.open(path).data[1:, 10:50, 33:80], whole[1:, 10:50, 33:80])
    assert np.array_equal(io.open(path).data[()], whole)


def test_windows_of_bits(tmp_path: Path) -> None:
    array, path = noise((70, 90)) > 99, tmp_path / "a.tif"
    tifffile.imwrite(path, array, compression="packbits", rowsperstrip=8)
    found = io.open(path).data[11:40, 3:77]
    assert found.dtype == np.uint8
    assert np.array_equal(found, array[11:40, 3:77])


def test_windows_of_an_ome_tiff_in_several_files(tmp_path: Path) -> None:
    array = noise((2, 30, 20))
    names = ["a.ome.tif", "b.ome.tif"]
    parts = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{z}</UUID></TiffData>'
        for z, name in enumerate(names)
    )
    for z, name in enumerate(names):
        xml = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{z}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
            'Type="uint8" SizeX="20" SizeY="30" SizeZ="2" SizeC="1" SizeT="1">'
            f'<Channel ID="Channel:0" SamplesPerPixel="1"/>{parts}</Pixels></Image></OME>'
        )
        tifffile.imwrite(tmp_path / name, array[z], description=xml, metadata=None)
    data = io.open(tmp_path / "a.ome.tif").data
    assert np.array_equal(data[:, 5:9, 3:], array[:, 5:9, 3:])


def test_only_segments_that_a_window_touches_are_decoded_and_each_once(
    tmp_path: Path, decoded: list[tuple[int, int]]
) -> None:
    """A volume of 400 MB, its tiles without bytes as in a sparse file, but for two."""
    path, kind = tmp_path / "a.tif", np.dtype(np.uint8)
    tiles = [(None if n not in (0, 130) else np.full((512, 512), n)) for n in range(4 * 20 * 20)]
    tifffile.imwrite(
        path,
        (None if tile is None else tile.astype(kind) for tile in tiles),
        shape=(4, 10240, 10240),
        dtype=kind,
        tile=(512, 512),
        compression="zlib",
        photometric="minisblack",
    )
    assert path.stat().st_size < 2**20
    data = io.open(path).data
    assert not decoded
    window = data[0, 3000:3600, 5000:5700]  # rows of tiles 5 to 7, columns 9 to 11
    want = np.zeros_like(window)
    want[3072 - 3000 : 3584 - 3000, 5120 - 5000 : 5632 - 5000] = 130  # tile (6, 10)
    assert np.array_equal(window, want)
    touched = [(0, row * 20 + column) for row in (5, 6, 7) for column in (9, 10, 11)]
    assert sorted(decoded) == touched
    assert np.array_equal(data[0, 3000:3600, 5000:5700], window)
    assert sorted(decoded) == touched


def test_the_cache_keeps_no_more_than_its_limit_and_drops_the_longest_unused() -> None:
    cache, made = segments.Cache(100), []

    def make(name: str, size: int) -> NDArray[Any]:
        def new() -> NDArray[Any]:
            made.append(name)
            return np.zeros(size, np.uint8)

        return cache.get(name, new)

    for name, size in [("a", 40), ("b", 40), ("a", 40), ("c", 40), ("a", 40), ("b", 40)]:
        make(name, size)
    assert made == ["a", "b", "c", "b"]
    make("large", 101)
    make("large", 101)
    assert made[4:] == ["large", "large"]
    assert sum(kept.nbytes for kept in cache._kept.values()) <= 100


def test_the_cache_keeps_what_the_last_two_windows_of_a_page_touched() -> None:
    cache = segments.Cache(1000)

    def read(page: int, *touched: int) -> None:
        cache.move_on(("file", page), set(touched))
        for number in touched:
            cache.get(("file", page, number), lambda: np.zeros(10, np.uint8))

    for touched in [(0, 1), (1, 2), (2, 3)]:
        read(0, *touched)
    read(1, 7)
    assert set(cache._kept) == {("file", 0, n) for n in (1, 2, 3)} | {("file", 1, 7)}
    assert cache._held == 40
    for page in range(2, 2 + segments.PAGES):
        read(page, 0)
    assert len(cache._touched) == segments.PAGES


def test_an_uncompressed_page_is_read_where_the_window_lies(
    tmp_path: Path, decoded: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    array, path = noise((6000, 500), "uint16"), tmp_path / "a.tif"
    tifffile.imwrite(path, array, rowsperstrip=100)
    sizes = []
    plain = positions.read

    def spy(*arguments: Any) -> Any:
        part = plain(*arguments)
        sizes.append(part.size)
        return part

    monkeypatch.setattr(positions, "read", spy)
    assert np.array_equal(io.open(path).data[30:40, 7:20], array[30:40, 7:20])
    assert sizes == [10 * 13]
    assert not decoded


def test_a_damaged_segment_is_named(tmp_path: Path) -> None:
    array, path = noise((2, 64, 64)), tmp_path / "a.tif"
    tifffile.imwrite(path, array, tile=(32, 32), compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[1].dataoffsets[2]
    content = bytearray(path.read_bytes())
    content[place : place + 8] = b"\xff" * 8
    path.write_bytes(content)
    data = io.open(path).data
    assert np.array_equal(data[1, :32], array[1, :32])
    with pytest.raises(FormatError, match=r"a\.tif is damaged.*tile 2 of page 1"):
        data[1, 30:40, 5]


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_page_that_ends_beyond_the_file_is_named(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((64, 64)), compression=compression, metadata=None)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FormatError, match="page 0 ends beyond the end of the file"):
        io.open(path).data[40:]


def test_a_later_page_that_ends_beyond_the_file_is_named(tmp_path: Path) -> None:
    pages = noise((3, 40, 50))
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for page in pages:
            writer.write(page, contiguous=False, metadata=None)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[:-10])
    image = io.open(tmp_path / "a.tif")
    assert np.array_equal(image.data[:2], pages[:2])
    with pytest.raises(FormatError, match="page 2 ends beyond the end of the file"):
        image.data[2]


def test_many_segments_are_decoded_by_several_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array, path = noise((300, 300)), tmp_path / "a.tif"
    tifffile.imwrite(path, array, tile=(64, 64), compression="zlib")
    monkeypatch.setattr(tifffile.TIFF, "MAXWORKERS", 4)
    seen = set()
    plain = segments.Segments._decoded

    def spy(*arguments: Any) -> Any:
        seen.add(threading.current_thread().name)
        return plain(*arguments)

    monkeypatch.setattr(segments.Segments, "_decoded", spy)
    assert np.array_equal(io.open(path).data[20:, 30:], array[20:, 30:])
    assert seen and threading.current_thread().name not in seen


def test_several_threads_read_one_tiff_at_once(tmp_path: Path) -> None:
    array, path = noise((3, 300, 300), "uint16"), tmp_path / "a.tif"
    tifffile.imwrite(path, array, tile=(64, 64), compression="zlib", photometric="minisblack")
    data = io.open(path).data
    places = [
        (page, y, x) for page in range(3) for y in range(0, 300, 50) for x in range(0, 300, 50)
    ]
    barrier = threading.Barrier(4)

    def read(number: int) -> None:
        barrier.wait()
        for page, y, x in places[number:] + places[:number]:
            key = np.s_[page, y : y + 70, x : x + 70]
            assert np.array_equal(data[key], array[key])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(0, 100, 25)))
    assert not tifffile.logger().filters


def test_a_large_compressed_strip_is_not_read_by_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = noise((64, 64))
    for name, more in (("a", {"compression": "zlib"}), ("b", {}), ("c", {"tile": (16, 16)})):
        tifffile.imwrite(tmp_path / f"{name}.tif", array, rowsperstrip=64, **more)
    monkeypatch.setattr(segments, "LARGE_BYTES", 64 * 64 - 1)
    assert not io.open(tmp_path / "a.tif").by_window
    assert io.open(tmp_path / "b.tif").by_window
    assert io.open(tmp_path / "c.tif").by_window
    io.write(tmp_path / "d.png", Image(array, "yx"))
    assert not io.open(tmp_path / "d.png").by_window


# ── spacing ───────────────────────────────────────────────────────────────────────────────────


def test_a_spacing_fits_the_axes() -> None:
    image = Image(noise((3, 5, 7)), "zyx", (2.0, 0.5, 0.5), "micrometer")
    assert image.spacing == (2.0, 0.5, 0.5)
    for wrong in ((1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, float("nan"))):
        with pytest.raises(DataError, match=r"spacing .* does not fit.*for each of 'zyx'"):
            Image(noise((3, 5, 7)), "zyx", wrong)


def test_the_spacing_of_ome_is_read_in_one_unit(tmp_path: Path) -> None:
    described = {"axes": "ZYX", "PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm"}
    described |= {"PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm", "PhysicalSizeZ": 1.5}
    tifffile.imwrite(tmp_path / "a.ome.tif", noise((3, 5, 7)), metadata=described)
    image = io.open(tmp_path / "a.ome.tif")
    assert image.spacing == pytest.approx((1500, 250, 250))
    assert image.unit == "nanometer"
    described["PhysicalSizeXUnit"] = "pixel"
    tifffile.imwrite(tmp_path / "b.ome.tif", noise((3, 5, 7)), metadata=described)
    assert io.open(tmp_path / "b.ome.tif").spacing is None


def test_the_spacing_of_imagej_is_read(tmp_path: Path) -> None:
    more: dict[str, Any] = {"imagej": True, "resolution": (4, 2)}
    for unit, want in (("um", "micrometer"), ("\\u00B5m", "micrometer"), ("pixel", "")):
        path = tmp_path / "a.tif"
        tifffile.imwrite(
            path, noise((3, 5, 7)), metadata={"axes": "ZYX", "spacing": 1.5, "unit": unit}, **more
        )
        image = io.open(path)
        assert image.unit == want
        assert image.spacing == ((1.5, 0.5, 0.25) if want else None)


def test_the_resolution_of_a_plain_tiff_is_a_spacing_only_where_no_printer_is_as_fine(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.tif"
    resolution: Any
    for resolution, unit, want in (
        ((40000, 20000), "CENTIMETER", (0.5, 0.25)),
        ((118.11, 118.11), "CENTIMETER", None),  # 300 dpi
        ((40000, 40000), "INCH", None),
        ((40000, 40000), "NONE", None),
        ((1, 1), "CENTIMETER", None),
        ((10000, 10000), "CENTIMETER", None),
        (None, None, None),
    ):
        more: dict[str, Any] = {"resolution": resolution, "resolutionunit": unit}
        tifffile.imwrite(path, noise((5, 7)), metadata=None, **(more if resolution else {}))
        image = io.open(path)
        assert image.spacing == (want if want is None else pytest.approx(want))
        assert image.unit == ("micrometer" if want else "")


def test_the_challenge_of_cell_tracking_states_its_published_size_of_a_pixel(
    shared_data: Path,
) -> None:
    """DIC-C2DH-HeLa: 0.19 x 0.19 µm (http://celltrackingchallenge.net/2d-datasets)."""
    image = io.open(next((shared_data / "ctc" / "DIC-C2DH-HeLa" / "01").glob("*.tif")))
    assert image.spacing == pytest.approx((0.19, 0.19), rel=1e-5)
    assert image.unit == "micrometer"


# ── .npy ──────────────────────────────────────────────────────────────────────────────────────


@many
@given(
    data=st.data(),
    kind=st.sampled_from(["bool", "u1", "<u2", ">i4", ">f4", "<f8"]),
    shape=st.sampled_from([(8, 9), (8, 9, 3), (5, 8, 9), (5, 8, 9, 2), (5, 2, 8, 9)]),
    fortran=st.booleans(),
)
def test_a_window_of_a_npy_is_that_of_the_array(
    tmp_path: Path, data: st.DataObject, kind: str, shape: tuple[int, ...], fortran: bool
) -> None:
    array = noise(shape, kind)
    np.save(tmp_path / "a.npy", np.asfortranarray(array) if fortran else array)
    image = io.open(tmp_path / "a.npy")
    letters = {2: "yx", 3: "yxc" if shape[-1] == 3 else "zyx"}.get(
        len(shape), "zyxc" if shape[-1] == 2 else "zcyx"
    )
    want = np.einsum(f"{letters}->{image.axes}", array.astype("u1") if kind == "bool" else array)
    assert image.data.dtype == want.dtype.newbyteorder("=")
    key = data.draw(keys(want.shape))
    assert np.array_equal(image.data[key], want[key])


def test_a_npy_is_created_sparse_and_written_by_parts(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    like = Image(np.broadcast_to(np.float32(0), (2, 20000, 5000)), "zyx")
    store = io.create(path, like, (1, 512, 512))
    assert path.stat().st_size > 800e6
    assert path.stat().st_blocks * 512 < 2**20
    part = noise((2, 30, 40), "float64")
    store[:, 19000:19030, 4960:] = part
    store[1, 0, 7] = 5
    store.sync()
    assert np.array_equal(store[:, 19000:19030, 4960:], part.astype("f4"))
    mapped = np.load(path, mmap_mode="r")
    assert np.array_equal(
        mapped[:, 18999:19030, 4950:], np.pad(part, ((0, 0), (1, 0), (10, 0))).astype("f4")
    )
    assert mapped[1, 0, 7] == 5
    assert not store[0, :10].any()
    again = io.reopen(path)
    again[0, 0] = 1
    assert (store[0, 0] == 1).all()
    io.finish(path)  # nothing is left to be done


def _fill(job: tuple[Any, tuple[slice, ...], int]) -> None:
    store, window, value = job
    store[window] = value


def numbered(shape: tuple[int, ...], block: tuple[int, ...]) -> NDArray[Any]:
    array = np.zeros(shape, np.uint16)
    for number, window in enumerate(blocks(shape, block), 1):
        array[window] = number
    return array


def test_threads_write_disjoint_parts_of_a_npy(tmp_path: Path) -> None:
    shape, block = (3, 100, 130), (3, 32, 32)
    like = Image(np.zeros(shape, np.uint16), "cyx")
    store = pickle.loads(pickle.dumps(io.create(tmp_path / "a.npy", like, block)))
    with ThreadPoolExecutor(4) as pool:
        jobs = [(store, window, n) for n, window in enumerate(blocks(shape, block), 1)]
        list(pool.map(_fill, jobs))
    assert np.array_equal(np.load(tmp_path / "a.npy"), numbered(shape, block))


def test_a_npy_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, noise((20, 30)))
    whole = path.read_bytes()
    for end in (7, 60, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(FormatError, match=r"a\.npy is damaged or truncated"):
            io.open(path)
    path.write_bytes(whole)
    data = io.open(path).data
    path.write_bytes(whole[:-300])
    with pytest.raises(FormatError, match=r"the file ends at byte .* before its last pixel"):
        data[:]
    np.save(path, np.array([[{}, 1]], dtype=object), allow_pickle=True)
    with pytest.raises(FormatError, match="type object: expected integers, floats or truth"):
        io.open(path)
    np.save(path, np.zeros((0, 4)))
    with pytest.raises(FormatError, match=r"shape \(0, 4\)"):
        io.open(path)
    np.save(path, np.zeros((6, 9, 5, 7)))
    with pytest.raises(FormatError, match=r"a\.npy: An array of shape \(6, 9, 5, 7\) does not say"):
        io.open(path)


def test_a_full_disk_while_a_part_is_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = io.create(tmp_path / "a.npy", Image(noise((20, 30)), "yx"), (8, 8))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(positions, "write", full)
    with pytest.raises(OutputError, match=r"a\.npy cannot be written: No space left"):
        store[0] = 1
    with pytest.raises(IndexError, match="slices of step 1"):
        store[::2] = 1


def test_the_disk_is_asked_for_room_first(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.npy"
    io.check_room(path, 1000)
    with pytest.raises(OutputError, match=r"a\.npy may need 1000000000\.000 GB.*free: make room"):
        io.check_room(path, 10**18)


def test_memory_of_reading_windows_is_of_their_size(tmp_path: Path) -> None:
    """The peak resident memory of a process that reads windows of 400 MB of a .npy."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not tell the memory of a process")
    path = tmp_path / "a.npy"
    io.create(path, Image(np.broadcast_to(np.uint8(0), (20000, 20000)), "yx"), (512, 512))
    data = io.open(path).data
    page = os.sysconf("SC_PAGE_SIZE")

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * page

    before = resident()
    for window in blocks((20000, 20000), (2000, 2000)):
        assert not data[window].any()
    assert resident() - before < 64 * 2**20
