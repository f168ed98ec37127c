"""Files: what another library wrote comes back, what we write another library reads, and whole."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image as Pillow

from overtile import io
from overtile.errors import DataError, FormatError, OutputError
from overtile.image import Image, as_image
from overtile.legend import Legend
from overtile.planes import Planes, of_plane, planes

KINDS = ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"]
COMPRESSIONS = [None, "zlib", "lzw", "packbits", "zstd", "lzma"]
many = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def noise(shape: tuple[int, ...], kind: str = "uint8", seed: int = 0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    if kind.startswith("float"):
        return random.normal(0, 1e3, shape).astype(kind)
    limits = np.iinfo(kind)
    return random.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)


# ── images in memory ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((5, 7), "yx"),
        ((5, 7, 1), "yxc"),
        ((5, 7, 3), "yxc"),
        ((6, 5, 7), "zyx"),
        ((6, 5, 7, 3), "zyxc"),
        ((6, 3, 5, 7), "zcyx"),
    ],
)
def test_the_axes_of_an_array_follow_from_its_shape(shape: tuple[int, ...], axes: str) -> None:
    array = noise(shape)
    found = planes(array)
    for number, plane in enumerate(found):
        part, left = (array[number], axes[1:]) if axes[0] == "z" else (array, axes)
        want = np.einsum(f"{left}->{'c' if 'c' in left else ''}yx", part)
        assert np.array_equal(plane, want if want.ndim == 3 else want[None])
    assert len(found) == (6 if axes[0] == "z" else 1)


def test_an_opaque_alpha_channel_is_left_out_of_an_array_and_any_other_fourth_kept() -> None:
    bands = noise((5, 7, 4))
    assert planes(bands)[0].shape == (4, 5, 7)
    for kind, opaque in (("uint8", 255), ("uint16", 65535), ("float32", 1)):
        array = noise((5, 7, 4), kind)
        array[..., 3] = opaque
        assert np.array_equal(planes(array)[0], np.moveaxis(array[..., :3], -1, 0))


def test_truth_values_become_numbers() -> None:
    assert planes(np.eye(3, dtype=bool))[0].dtype == np.uint8


@pytest.mark.parametrize("shape", [(4,), (2, 2, 5, 7, 3), (6, 9, 5, 7)])
def test_an_array_of_unclear_axes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"does not say which axis is which.*Image\(array, axes="):
        as_image(noise(shape))


def test_an_array_of_no_pixels_or_no_numbers_is_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(0, 7\) has no pixels"):
        as_image(noise((0, 7)))
    with pytest.raises(DataError, match="'complex128', which is not a kind of pixel"):
        as_image(np.zeros((3, 3), complex))


@pytest.mark.parametrize("axes", ["zy", "yxc", "zyx", "yy", "ab"])
def test_axes_that_do_not_fit_are_refused(axes: str) -> None:
    with pytest.raises(DataError, match=f"axes '{axes}' do not fit an array of 2 axes"):
        Image(noise((5, 7)), axes)


@pytest.mark.parametrize(("shape", "axes"), [((3, 5, 6), "cyx"), ((2, 4, 5, 6), "czyx")])
def test_a_plane_or_volume_is_an_image_of_one(shape: tuple[int, ...], axes: str) -> None:
    pixels = noise(shape)
    image = of_plane(pixels)
    assert image.axes == axes
    found = Planes(image, len(shape) - 1)
    assert len(found) == 1
    assert np.array_equal(found[0].read(), pixels)


def test_planes_count_z_faster_than_t() -> None:
    array = noise((2, 3, 4, 5, 6))
    image = Image(array, "tczyx")
    assert len(Planes(image)) == 8
    assert np.array_equal(Planes(image)[6].read(), array[1, :, 2])


# ── TIFF ──────────────────────────────────────────────────────────────────────────────────────


@many
@given(
    array=st.sampled_from(KINDS).flatmap(
        lambda kind: hnp.arrays(
            kind, hnp.array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=9)
        )
    ),
    compression=st.sampled_from(COMPRESSIONS),
    described=st.booleans(),
    order=st.sampled_from("<>"),
)
def test_tiffs_of_tifffile_come_back_whole_and_by_page(
    tmp_path: Path, array: NDArray[Any], compression: str | None, described: bool, order: Any
) -> None:
    path = tmp_path / "a.tif"
    more: dict[str, Any] = {} if described else {"metadata": None}
    tifffile.imwrite(
        path, array, byteorder=order, compression=compression, photometric="minisblack", **more
    )
    image = io.open(path)
    want = array.reshape(-1, *array.shape[-2:])
    assert image.data.dtype == array.dtype
    assert np.array_equal(image.data[()].reshape(want.shape), want, equal_nan=True)
    assert len(Planes(image)) == len(want)
    for number, page in enumerate(want):
        assert np.array_equal(Planes(image)[number].read(), page[None], equal_nan=True)


@many
@given(
    array=st.sampled_from(KINDS).flatmap(
        lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=2, max_dims=4, max_side=7))
    )
)
def test_what_we_write_tifffile_reads(tmp_path: Path, array: NDArray[Any]) -> None:
    path = tmp_path / "a.tif"
    axes = "czyx"[-array.ndim :]
    io.write(path, Image(array, axes), overwrite=True)
    assert np.array_equal(np.squeeze(tifffile.imread(path)), np.squeeze(array), equal_nan=True)
    back = io.open(path)
    assert back.axes == axes
    assert np.array_equal(back.data[()], array, equal_nan=True)


def test_an_rgb_image_is_written_as_one_that_other_programs_show(tmp_path: Path) -> None:
    array = noise((3, 5, 7))
    for name in ("a.tif", "a.png"):
        io.write(tmp_path / name, Image(array, "cyx"))
        with Pillow.open(tmp_path / name) as picture:
            assert picture.mode == "RGB"
            assert np.array_equal(np.asarray(picture), np.moveaxis(array, 0, -1))
        assert np.array_equal(io.open(tmp_path / name).data[()], array)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("pages", [1, 4])
def test_colours_are_the_channel_axis_wherever_they_lie(
    tmp_path: Path, planar: Any, pages: int
) -> None:
    array = noise((pages, 3, 5, 7), "uint16")
    in_file = np.moveaxis(array, 1, -1) if planar == "contig" else array
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, in_file, photometric="rgb", planarconfig=planar, compression="lzw", metadata=None
    )
    image = io.open(path)
    assert image.axes == ("czyx" if pages > 1 else "cyx")
    assert np.array_equal(np.stack(planes(image)), array)
    part = image.data[1, :, 2:4] if pages == 1 else image.data[1, :, :, 2:4]
    assert np.array_equal(part, array[:, 1, :, 2:4].squeeze())


def test_one_page_is_read_alone(tmp_path: Path) -> None:
    array, path = noise((5, 16, 16)), tmp_path / "a.tif"
    tifffile.imwrite(path, array, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        places = [page.dataoffsets[0] for page in tiff.pages]
    content = bytearray(path.read_bytes())
    for number in (0, 1, 2, 4):
        content[places[number] : places[number] + 8] = b"\xff" * 8
    path.write_bytes(content)
    data = io.open(path).data
    assert np.array_equal(data[3], array[3])
    assert np.array_equal(data[3:4, 2:5, ::3], array[3:4, 2:5, ::3])
    with pytest.raises(FormatError, match=r"a\.tif is damaged or truncated: its decoder stopped"):
        data[4]


@pytest.mark.parametrize("truncate", [False, True])
def test_imagej_hyperstacks_keep_their_axes(tmp_path: Path, truncate: bool) -> None:
    array = noise((2, 3, 4, 5, 6), "uint16")  # t z c y x, as ImageJ orders them
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, imagej=True, metadata={"axes": "TZCYX"}, truncate=truncate)
    image = io.open(path)
    assert image.axes == "tczyx"
    assert np.array_equal(image.data[()], array.swapaxes(1, 2))
    assert np.array_equal(image.data[1, 2], array[1, :, 2])
    assert np.array_equal(planes(image)[5], array[1, 2])


def test_pillows_own_stacks_come_back(tmp_path: Path) -> None:
    array, path = noise((4, 9, 8)), tmp_path / "a.tiff"
    first, *others = map(Pillow.fromarray, array)
    first.save(path, save_all=True, append_images=others, compression="tiff_lzw")
    assert np.array_equal(io.open(path).data[()], array)


def test_jpeg_inside_a_tiff_gives_rgb(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    smooth = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None] * [1, 2, 3], (64, 64, 3))
    Pillow.fromarray(smooth.astype(np.uint8)).save(path, compression="jpeg", quality=95)
    with Pillow.open(path) as picture:
        want = np.moveaxis(np.asarray(picture).astype(int), -1, 0)
    assert np.abs(io.open(path).data[()].astype(int) - want).max() <= 2


def test_alpha_is_left_out_of_a_tiff_but_infrared_is_not(tmp_path: Path, shared_data: Path) -> None:
    array, path = noise((5, 7, 4)), tmp_path / "a.tif"
    tifffile.imwrite(path, array, photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(io.open(path).data[()], np.moveaxis(array[..., :3], -1, 0))
    tifffile.imwrite(path, array, photometric="rgb", extrasamples=["unspecified"])
    assert np.array_equal(io.open(path).data[()], np.moveaxis(array, -1, 0))
    aerial = next((shared_data / "geotiff").glob("*.tif"))  # infrared, marked as alpha
    assert np.array_equal(io.open(aerial).data[3], tifffile.imread(aerial)[..., 3])


def test_bits_become_zero_and_one(tmp_path: Path) -> None:
    array, path = noise((5, 7)) > 99, tmp_path / "a.tif"
    tifffile.imwrite(path, array)
    assert np.array_equal(io.open(path).data[()], array.astype(np.uint8))


def test_an_empty_slice_of_a_tiff_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    io.write(path, Image(noise((4, 5, 6)), "zyx"))
    assert io.open(path).data[2:2, :3].shape == (0, 3, 6)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("described", [False, True])
def test_no_truncated_tiff_is_taken_for_a_whole_one(
    tmp_path: Path, compression: str | None, described: bool
) -> None:
    path = tmp_path / "a.tif"
    array = noise((4, 16, 16)) // np.uint8(16)
    more: dict[str, Any] = {} if described else {"metadata": None}
    tifffile.imwrite(path, array, photometric="minisblack", compression=compression, **more)
    content = path.read_bytes()
    for end in np.linspace(1, len(content) - 20, 25).astype(int):  # the last bytes are padding
        path.write_bytes(content[:end])
        with pytest.raises(FormatError):
            io.open(path).data[()]


def test_a_truncated_hyperstack_of_imagej_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((6, 16, 16)), imagej=True, truncate=True)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(FormatError, match="ImageJ's description promises more pixels"):
        io.open(path)
    tifffile.imwrite(path, noise((2, 16, 16)), metadata=None, photometric="minisblack")
    with tifffile.TiffFile(path) as tiff:
        second = tiff.pages[1].offset
    path.write_bytes(path.read_bytes()[: second + 20])
    with pytest.raises(FormatError, match="list of pages ends beyond the end of the file"):
        io.open(path)


def test_a_page_beyond_the_end_of_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((16, 16)), compression="zlib")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FormatError, match="page 0 ends beyond the end of the file"):
        io.open(path).data[()]


def test_tifffiles_log_stays_quiet_and_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((6, 16, 16)), imagej=True, truncate=True)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(FormatError):
        io.open(path)
    assert not caplog.records
    assert not tifffile.logger().disabled


def test_pages_of_several_sizes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(noise((5, 7)))
        tiff.write(noise((9, 7)))
    with pytest.raises(FormatError, match=r"holds 2 kinds of image \(\(5, 7\) uint8, \(9, 7\)"):
        io.open(path)


def test_a_reduced_copy_beside_the_image_is_passed_over(tmp_path: Path) -> None:
    array, path = noise((8, 8)), tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(array)
        tiff.write(array[::2, ::2], subfiletype=1)
    assert np.array_equal(io.open(path).data[()], array)


def test_colours_and_axes_that_we_do_not_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((5, 7, 4)), photometric="separated")
    with pytest.raises(FormatError, match="colours of the kind SEPARATED"):
        io.open(path)
    tifffile.imwrite(path, np.zeros((5, 7), complex))
    with pytest.raises(FormatError, match="pixels of the type complex128"):
        io.open(path)
    tifffile.imwrite(path, noise((2, 2, 5, 7)), photometric="minisblack")
    with pytest.raises(FormatError, match=r"axes 'QQYX' with the sizes \(2, 2, 5, 7\)"):
        io.open(path)


# ── PNG and JPEG ──────────────────────────────────────────────────────────────────────────────


@many
@given(
    array=st.sampled_from(["uint8", "uint16"]).flatmap(
        lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
    )
)
def test_gray_pngs_go_there_and_back(tmp_path: Path, array: NDArray[Any]) -> None:
    path = tmp_path / "a.png"
    io.write(path, Image(array, "yx"), overwrite=True)
    image = io.open(path)
    assert image.axes == "yx"
    assert image.data.dtype == array.dtype
    assert np.array_equal(image.data[()], array)
    assert np.array_equal(imagecodecs.png_decode(path.read_bytes()), array)  # libpng's reading


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_pngs_of_libpng_keep_their_bits_and_lose_their_alpha(
    tmp_path: Path, kind: str, channels: int
) -> None:
    array, path = noise((5, 7, channels), kind), tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(array))
    colours = np.moveaxis(array[..., : channels - 1 + channels % 2], -1, 0)
    found = io.open(path).data[()]
    assert found.dtype == array.dtype
    assert np.array_equal(found.reshape(colours.shape), colours)


def test_a_palette_gives_indices_to_labels_and_colours_to_images(tmp_path: Path) -> None:
    array, path = noise((5, 7)) % 3, tmp_path / "a.png"
    palette = noise((3, 3), seed=1)
    picture = Pillow.frombytes("P", (7, 5), array.tobytes())
    picture.putpalette(palette.tobytes())
    picture.save(path, bits=2, transparency=b"\x00\xff\xff")
    assert np.array_equal(io.open(path, as_label=True).data[()], array)
    assert np.array_equal(io.open(path).data[()], np.moveaxis(palette[array], -1, 0))


def gray_png(array: NDArray[np.uint8], depth: int) -> bytes:
    """A gray PNG of 1, 2 or 4 bits, written by hand from the standard (ISO/IEC 15948)."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    bits = np.unpackbits(array[..., None], axis=-1)[..., 8 - depth :]
    rows = np.packbits(bits.reshape(len(array), -1), axis=1)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], depth, 0, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_gray_of_few_bits_is_scaled_for_images_and_kept_for_labels(
    tmp_path: Path, depth: int
) -> None:
    path = tmp_path / "a.png"
    array = noise((5, 7)) % np.uint8(2**depth)
    path.write_bytes(gray_png(array, depth))
    scaled = array * np.uint8(255 // (2**depth - 1))
    assert np.array_equal(io.open(path).data[()], scaled)
    assert np.array_equal(io.open(path, as_label=True).data[()], scaled if depth == 1 else array)


def test_jpegs_are_read_as_pillow_reads_them_and_turned_by_their_exif(tmp_path: Path) -> None:
    path = tmp_path / "a.JPG"
    picture = Pillow.fromarray(noise((16, 24, 3)))
    picture.save(path)
    with Pillow.open(path) as again:
        want = np.asarray(again)
    assert np.array_equal(io.open(path).data[()], np.moveaxis(want, -1, 0))
    exif = Pillow.Exif()
    exif[0x0112] = 6  # orientation: to be shown turned clockwise by a quarter
    picture.save(path, exif=exif)
    assert np.array_equal(io.open(path).data[()], np.moveaxis(np.rot90(want, -1), -1, 0))


def test_colours_that_we_do_not_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Pillow.new("CMYK", (8, 8)).save(path)
    with pytest.raises(FormatError, match="colours of the kind CMYK"):
        io.open(path)


def test_a_decompression_bomb_is_refused_and_a_large_image_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    io.write(path, Image(noise((10, 10)), "yx"))
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert io.open(path).data.shape == (10, 10)
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(FormatError, match=r"more pixels than Pillow opens.*convert it to TIFF"):
        io.open(path)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_no_truncated_png_is_taken_for_a_whole_one(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    io.write(path, Image(noise((16, 16), kind), "yx"))
    content = path.read_bytes()
    for end in np.linspace(1, len(content) - 21, 25).astype(int):  # all but the end mark
        path.write_bytes(content[:end])
        with pytest.raises(FormatError, match=r"a\.png"):
            io.open(path)


def test_a_truncated_jpeg_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Pillow.fromarray(noise((64, 64, 3))).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(FormatError, match=r"damaged or truncated.*Copy or export it again"):
        io.open(path)


@pytest.mark.parametrize(
    ("array", "axes"),
    [
        (noise((5, 7), "int32"), "yx"),
        (noise((4, 5, 7)), "zyx"),
        (noise((3, 5, 7), "uint16"), "cyx"),
    ],
)
def test_a_png_refuses_what_it_cannot_hold(tmp_path: Path, array: NDArray[Any], axes: str) -> None:
    with pytest.raises(FormatError, match=r"A PNG cannot hold.*A \.tif holds it"):
        io.write(tmp_path / "a.png", Image(array, axes))
    assert not list(tmp_path.iterdir())


# ── names and contents ────────────────────────────────────────────────────────────────────────


def test_a_file_that_is_not_what_its_name_says_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none\.png cannot be read: No such file"):
        io.open(tmp_path / "none.png")
    folder = tmp_path / "folder.tif"
    folder.mkdir()
    with pytest.raises(FormatError, match=r"folder\.tif is a folder"):
        io.open(folder)
    path = tmp_path / "a.xyz"
    with pytest.raises(FormatError, match=r"suffix '.xyz'.*: \.tif, \.tiff, \.png, \.jpg, \.jpeg"):
        io.open(path)
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    with pytest.raises(FormatError, match=r"a\.png is empty \(0 bytes\)"):
        io.open(path)
    Pillow.new("L", (8, 8)).save(path, "JPEG")
    with pytest.raises(FormatError, match=r"like PNG but holds JPEG: rename it to a\.jpg"):
        io.open(path)
    path.write_text("<html>not found</html>")
    with pytest.raises(FormatError, match="named like PNG, but its first bytes are those of no"):
        io.open(path)


# ── outputs ───────────────────────────────────────────────────────────────────────────────────


def test_nothing_existing_is_overwritten_without_leave(tmp_path: Path) -> None:
    path, old, new = tmp_path / "a.tif", noise((5, 7)), noise((5, 7), seed=1)
    io.write(path, Image(old, "yx"))
    with pytest.raises(OutputError, match=r"a\.tif exists already.*overwrite=True"):
        io.write(path, Image(new, "yx"))
    assert np.array_equal(io.open(path).data[()], old)
    io.write(path, Image(new, "yx"), overwrite=True)
    assert np.array_equal(io.open(path).data[()], new)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_an_interrupted_output_leaves_nothing_and_keeps_the_old(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(stop), io.new_file(path, overwrite=True) as file:
        file.write(b"half of the n")
        raise stop
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_output_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with io.new_file(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_text() == "new"


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "folder.tif"
    folder.mkdir()
    with pytest.raises(OutputError, match="is a folder: expected the name of a file"):
        io.write(folder, Image(noise((5, 7)), "yx"))
    with pytest.raises(OutputError, match=r"there is no folder .*Create it"):
        io.write(tmp_path / "none" / "a.tif", Image(noise((5, 7)), "yx"))
    full = pytest.raises(OutputError, match="cannot be written: No space left")
    with full, io.new_file(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    with pytest.raises(FormatError, match=r"would be a JPEG, which Overtile only reads.*\.png"):
        io.write(tmp_path / "a.jpg", Image(noise((5, 7)), "yx"))
    with pytest.raises(FormatError, match=r"would be a GIF, which Overtile only reads"):
        io.write(tmp_path / "a.gif", Image(noise((5, 7)), "yx"))


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_colours_are_shown_and_values_kept(tmp_path: Path, suffix: str) -> None:
    """Pillow, as another program, shows the colours; read as a label, the ids come back."""
    ids = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    legend = Legend(("nothing", "cell", "debris"), ((0, 0, 0), (230, 159, 0), (86, 180, 233)))
    io.write(tmp_path / f"ids{suffix}", Image(ids, "yx"), legend=legend, content="classes")
    shown = np.asarray(Pillow.open(tmp_path / f"ids{suffix}").convert("RGB"))
    assert np.array_equal(shown, legend.table[ids])
    stored = np.asarray(io.open(tmp_path / f"ids{suffix}", as_label=True).data[()])
    assert np.array_equal(stored, ids)
