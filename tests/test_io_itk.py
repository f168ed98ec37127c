"""NRRD and MetaImage: what SimpleITK writes is read whole and by window; it reads what we write."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from overtile import io
from overtile.errors import FormatError
from overtile.image import Image, Orientation

SUFFIXES = [".nrrd", ".mha", ".mhd"]
KINDS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
FLIP = np.diag([-1.0, -1, 1, 1])
many = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def noise(shape: tuple[int, ...], kind: str = "int16", seed: int = 0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    if kind.startswith("float"):
        return random.normal(0, 1e3, shape).astype(kind)
    limits = np.iinfo(kind)
    return random.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)


def turned(seed: int, dimensions: int = 3) -> NDArray[np.float64]:
    """A matrix with any turn, mirrored or not."""
    random, matrix = np.random.default_rng(seed), np.eye(4)
    turn, _ = np.linalg.qr(random.normal(size=(dimensions, dimensions)))
    matrix[:dimensions, :dimensions] = turn @ np.diag(random.uniform(0.2, 6, dimensions))
    matrix[:dimensions, 3] = random.uniform(-200, 200, dimensions)
    return matrix


def affine_of(image: Image) -> NDArray[np.float64]:
    assert isinstance(image.frame, Orientation)
    return np.array([*image.frame.affine, (0, 0, 0, 1)])


def matrix_of_itk(image: Any) -> NDArray[np.float64]:
    """To LPS."""
    size, matrix = image.GetDimension(), np.eye(4)
    space = min(size, 3)
    turn = np.array(image.GetDirection()).reshape(size, size)[:space, :space]
    matrix[:space, :space] = turn * np.array(image.GetSpacing())[:space]
    matrix[:space, 3] = image.GetOrigin()[:space]
    return matrix


@many
@given(
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple),
    channels=st.integers(1, 3),
    kind=st.sampled_from(KINDS),
    suffix=st.sampled_from(SUFFIXES),
    compressed=st.booleans(),
    seed=st.integers(0, 2**16),
    data=st.data(),
)
def test_what_simpleitk_writes_is_read(
    tmp_path: Path,
    shape: tuple[int, ...],
    channels: int,
    kind: str,
    suffix: str,
    compressed: bool,
    seed: int,
    data: st.DataObject,
) -> None:
    vector = channels > 1
    array = noise((*shape, channels) if vector else shape, kind, seed)
    space, path = min(len(shape), 3), tmp_path / f"a{suffix}"
    matrix = turned(seed, space)
    written = SimpleITK.GetImageFromArray(array, isVector=vector)
    sizes, turn = np.linalg.norm(matrix[:space, :space], axis=0), np.eye(len(shape))
    turn[:space, :space] = matrix[:space, :space] / sizes
    written.SetSpacing([*sizes, 1][: len(shape)])
    written.SetDirection(turn.reshape(-1))
    written.SetOrigin([*matrix[:space, 3], 0][: len(shape)])
    SimpleITK.WriteImage(written, str(path), useCompression=compressed)

    image = io.open(path)
    axes = "tzyx"[-len(shape) :]
    assert sorted(image.axes) == sorted(axes + "c" * vector)
    want = np.moveaxis(array, -1, image.axes.index("c")) if vector else array
    assert image.data.dtype == kind
    assert np.array_equal(image.data[()], want)
    window = tuple(
        slice(*sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2)))) for n in want.shape
    )
    assert np.array_equal(image.data[window], want[window])
    place = tuple(data.draw(st.integers(0, size - 1)) for size in want.shape[:-1])
    assert np.array_equal(image.data[place], want[place])
    assert image.by_window == (suffix != ".nrrd" and not compressed)
    assert np.allclose(affine_of(image), FLIP @ matrix, atol=1e-4)
    assert image.spacing == pytest.approx(tuple(sizes[::-1]), rel=1e-5)
    assert image.unit == "millimeter"


@many
@given(
    axes=st.sampled_from(["yx", "zyx", "cyx", "czyx", "tzyx", "tczyx"]),
    kind=st.sampled_from(KINDS),
    suffix=st.sampled_from(SUFFIXES),
    seed=st.integers(0, 2**16),
    flat=st.booleans(),
)
def test_what_we_write_simpleitk_reads(
    tmp_path: Path, axes: str, kind: str, suffix: str, seed: int, flat: bool
) -> None:
    random, path = np.random.default_rng(seed), tmp_path / f"b{suffix}"
    shape = tuple(random.integers(2 if "c" in axes else 1, 6, len(axes)).tolist())
    array = noise(shape, kind, seed)
    matrix = turned(seed, 2 if flat else 3)
    frame = Orientation(tuple(map(tuple, matrix[:3].tolist())))  # type: ignore[arg-type]
    io.write(path, Image(array, axes, frame=frame), overwrite=True)

    read = SimpleITK.ReadImage(str(path))
    want = np.moveaxis(array, axes.index("c"), -1) if "c" in axes else array
    got = SimpleITK.GetArrayFromImage(read)
    plane = flat and not set(axes) & set("zt")
    assert read.GetDimension() == (2 if plane else 4 if "t" in axes else 3)
    assert got.dtype == kind
    assert np.array_equal(got.reshape(want.shape), want)
    assert np.allclose(matrix_of_itk(read), FLIP @ matrix, atol=1e-10)

    again = io.open(path)
    assert np.array_equal(again.data[()].reshape(shape), array)
    assert np.allclose(affine_of(again), matrix, rtol=1e-12, atol=1e-12)


def test_sizes_without_a_place_are_kept_in_millimetres(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        array = noise((3, 4, 5))
        io.write(tmp_path / f"a{suffix}", Image(array, "zyx", (4, 3, 2), "micrometer"))
        read = SimpleITK.ReadImage(str(tmp_path / f"a{suffix}"))
        assert read.GetSpacing() == pytest.approx((2e-3, 3e-3, 4e-3))


def test_two_ways_of_storing_are_read_alike(tmp_path: Path) -> None:
    """Text, big-endian, and compressed without its size, which SimpleITK gets wrong."""
    array = noise((3, 4), "uint16")
    head = "ObjectType = Image\nNDims = 2\nDimSize = 4 3\nElementType = MET_USHORT\n"
    for lines, content in [
        ("BinaryData = False\n", (" ".join(map(str, array.reshape(-1))) + "\n").encode()),
        ("BinaryData = True\nBinaryDataByteOrderMSB = True\n", array.astype(">u2").tobytes()),
        (
            "BinaryData = True\nCompressedData = True\nBinaryDataByteOrderMSB = True\n",
            zlib.compress(array.astype(">u2").tobytes()),
        ),
    ]:
        text = f"{head}{lines}ElementDataFile = LOCAL\n".encode()
        (tmp_path / "a.mha").write_bytes(text + content)
        assert np.array_equal(io.open(tmp_path / "a.mha").data[()], array)
        (tmp_path / "b.mhd").write_bytes(text.replace(b"LOCAL", b"b.raw"))
        (tmp_path / "b.raw").write_bytes(content)
        assert np.array_equal(io.open(tmp_path / "b.mhd").data[()], array)


# ── what is refused ───────────────────────────────────────────────────────────────────────────


def refused(path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(FormatError) as found:
        io.open(path).data[()]
    assert "".join(capfd.readouterr()) == ""  # the libraries keep quiet
    return str(found.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compressed", [False, True])
def test_truncated_files_are_refused(
    tmp_path: Path, suffix: str, compressed: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a{suffix}"
    written = SimpleITK.GetImageFromArray(noise((10, 20, 30)))
    SimpleITK.WriteImage(written, str(path), useCompression=compressed)
    behind = next(iter(set(tmp_path.iterdir()) - {path}), path)
    content = behind.read_bytes()
    behind.write_bytes(content[:-20])
    assert "damaged or truncated" in refused(path, capfd)
    if compressed:  # compressed bytes that are none
        behind.write_bytes(content[:-900] + bytes(900))
        assert "damaged or truncated" in refused(path, capfd)
    path.write_bytes(path.read_bytes()[:60])
    assert "damaged or truncated" in refused(path, capfd)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    assert "but holds PNG" in refused(path, capfd)


def test_headers_of_nonsense_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    nrrd = "NRRD0004\ntype: {}\ndimension: 2\nsizes: {}\nencoding: {}\n\nabc"
    meta = (
        "ObjectType = Image\nNDims = 2\nDimSize = {}\nElementType = {}\n{}ElementDataFile = {}\nabc"
    )
    large = "1000000 1000000"
    for name, content, said in [
        ("a.nrrd", nrrd.format("uint8", large, "raw"), "999999999997 bytes are missing"),
        ("a.nrrd", nrrd.format("uint8", large, "gzip"), "which no compression brings into"),
        ("a.nrrd", nrrd.format("nothing", "1 3", "raw"), "damaged or truncated"),
        ("a.mha", meta.format(large, "MET_UCHAR", "", "LOCAL"), "999999999997 bytes are missing"),
        (
            "a.mha",
            meta.format(large, "MET_UCHAR", "CompressedData = True\n", "LOCAL"),
            "which no compression brings into",
        ),
        ("a.mhd", meta.format("1 3", "MET_UCHAR", "", "gone.raw"), "gone.raw, which is not there"),
    ]:
        (tmp_path / name).write_text(content)
        assert said in refused(tmp_path / name, capfd)


def test_numbers_that_are_no_pixels_are_refused(tmp_path: Path) -> None:
    array = noise((2, 2, 2, 2, 2))
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / "a.mha"))
    with pytest.raises(FormatError, match=r"kind '16-bit signed integer' along 5 axes"):
        io.open(tmp_path / "a.mha")
    for suffix in SUFFIXES:
        with pytest.raises(FormatError, match="cannot hold pixels of the type float16"):
            io.write(tmp_path / f"b{suffix}", Image(np.zeros((3, 4), np.float16), "yx"))


def test_a_metaimage_without_sizes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    head = "ObjectType = Image\nNDims = 2\nElementSpacing = 1 1\nElementType = MET_UCHAR\n"
    path.write_bytes(f"{head}ElementDataFile = LOCAL\n".encode() + bytes(9))
    with pytest.raises(FormatError, match="its header lacks"):
        io.open(path)
