"""PNG, JPEG, BMP and GIF of every kind, against bytes written by hand and against other readers."""

from __future__ import annotations

import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow

from overtile import io
from overtile.errors import FormatError
from overtile.image import Image
from overtile.io import limits
from overtile.labels import understand
from overtile.legend import Legend

GRAY, RGB, INDEXED, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
SAMPLES = {GRAY: 1, RGB: 3, INDEXED: 1, GRAY_ALPHA: 2, RGBA: 4}
"""The colour types of PNG (ISO/IEC 15948, table 11.1), and their samples."""

DEPTHS = {GRAY: (1, 2, 4, 8, 16), INDEXED: (1, 2, 4, 8)}
KINDS = [(colour, depth) for colour in SAMPLES for depth in DEPTHS.get(colour, (8, 16))]
many = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def png(samples: NDArray[Any], depth: int, colour: int, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG of samples (y x s), by the standard."""
    height, width, _ = samples.shape
    if depth == 16:
        rows = samples.astype(">u2").tobytes()
        lines = [
            rows[at : at + len(rows) // height] for at in range(0, len(rows), len(rows) // height)
        ]
    else:
        bits = np.unpackbits(samples.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
        lines = [row.tobytes() for row in np.packbits(bits.reshape(height, -1), axis=1)]
    body = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body += b"".join(chunk(*one) for one in extra)
    body += chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def pixels_of(image: Image) -> NDArray[Any]:
    """As (y x s), whatever the axes."""
    found = np.asarray(image.data[()])
    return found[..., None] if image.axes == "yx" else np.moveaxis(found, 0, -1)


def draw(colour: int, depth: int, size: tuple[int, int], seed: int) -> NDArray[np.int64]:
    """Samples (y x s) of all values that fit, and palette indices below 2^depth."""
    random = np.random.default_rng(seed)
    return random.integers(0, 2**depth, (*size, SAMPLES[colour]))


sizes = st.tuples(st.integers(1, 9), st.integers(1, 19))


# ── PNG ───────────────────────────────────────────────────────────────────────────────────────


@many
@given(kind=st.sampled_from(KINDS), size=sizes, seed=st.integers(0, 99), transparent=st.booleans())
def test_every_kind_of_png_comes_back(
    tmp_path: Path, kind: tuple[int, int], size: tuple[int, int], seed: int, transparent: bool
) -> None:
    """Of hand-made files; alpha, as samples or as a transparent colour (tRNS), is left out."""
    colour, depth = kind
    samples, path = draw(colour, depth, size, seed), tmp_path / "a.png"
    table = np.random.default_rng(seed).integers(0, 256, (2**depth if depth < 16 else 1, 3))
    extra = [(b"PLTE", table.astype(np.uint8).tobytes())] if colour == INDEXED else []
    if transparent and colour in (GRAY, RGB, INDEXED):
        first = b"\0" if colour == INDEXED else samples[0, 0].astype(">u2").tobytes()
        extra.append((b"tRNS", first))
    path.write_bytes(png(samples, depth, colour, *extra))
    image, label = io.open(path), io.open(path, as_label=True)
    assert not image.by_window
    if colour == INDEXED:
        assert np.array_equal(pixels_of(image), table[samples[..., 0]])
        assert np.array_equal(pixels_of(label), samples)
        assert label.palette == tuple(map(tuple, table.tolist()))
        assert image.palette == ()
        return
    seen = samples[..., : 3 if SAMPLES[colour] > 2 else 1]
    spread = 255 // (2**depth - 1) if depth < 8 else 1
    assert np.array_equal(pixels_of(image), seen * spread)
    assert pixels_of(image).dtype == (np.uint16 if depth == 16 else np.uint8)
    assert np.array_equal(pixels_of(label), seen * (255 if depth == 1 else 1))
    assert label.palette == ()


@many
@given(
    samples=st.sampled_from([1, 2, 3, 4]),
    kind=st.sampled_from(["uint8", "uint16"]),
    size=sizes,
    seed=st.integers(0, 99),
)
def test_pngs_are_read_as_libpng_reads_them(
    tmp_path: Path, samples: int, kind: str, size: tuple[int, int], seed: int
) -> None:
    path = tmp_path / "a.png"
    random = np.random.default_rng(seed)
    array = random.integers(0, np.iinfo(kind).max, (*size, samples), dtype=kind, endpoint=True)
    path.write_bytes(imagecodecs.png_encode(array.squeeze(-1) if samples == 1 else array))
    want = imagecodecs.png_decode(path.read_bytes()).reshape(*size, samples)
    assert np.array_equal(pixels_of(io.open(path)), want[..., : samples - 1 + samples % 2])


@pytest.mark.parametrize("kind", [RGBA, GRAY_ALPHA])
def test_a_label_drawn_on_nothing_is_its_alpha(tmp_path: Path, kind: int) -> None:
    mask = np.random.default_rng(0).choice([0, 255], (5, 7)).astype(np.uint8)
    array = np.full((5, 7, SAMPLES[kind]), 9, np.uint8)
    array[..., -1] = mask
    (tmp_path / "a.png").write_bytes(png(array, 8, kind))
    assert np.array_equal(io.open(tmp_path / "a.png", as_label=True).data[()], mask)
    assert (np.asarray(io.open(tmp_path / "a.png").data[()]) == 9).all()
    array[0, 0, 0] = 8  # colours that differ are what was drawn
    (tmp_path / "b.png").write_bytes(png(array, 8, kind))
    drawn = np.asarray(io.open(tmp_path / "b.png", as_label=True).data[()])
    assert np.array_equal(np.unique(drawn), [8, 9])


def test_a_label_in_colour_with_opaque_alpha_has_three_channels(tmp_path: Path) -> None:
    array = draw(RGBA, 8, (5, 7), 0)
    array[..., 3] = 255
    (tmp_path / "a.png").write_bytes(png(array, 8, RGBA))
    assert np.array_equal(pixels_of(io.open(tmp_path / "a.png", as_label=True)), array[..., :3])


def test_an_interlaced_png_is_read(tmp_path: Path) -> None:
    """Adam7 by hand for 2 x 1: the first pass holds the left pixel, the sixth the right one."""
    body = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, GRAY, 0, 0, 1))
    body += chunk(b"IDAT", zlib.compress(b"\0\x07\0\x09")) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert io.open(tmp_path / "a.png").data[()].tolist() == [[7, 9]]


def test_indices_beyond_a_palette_are_black(tmp_path: Path) -> None:
    path, samples = tmp_path / "a.png", np.array([[[0], [1], [3]]])
    path.write_bytes(png(samples, 2, INDEXED, (b"PLTE", bytes([1, 2, 3, 4, 5, 6]))))
    assert io.open(path, as_label=True).palette == ((1, 2, 3), (4, 5, 6), (0, 0, 0), (0, 0, 0))
    assert pixels_of(io.open(path)).tolist() == [[[1, 2, 3], [4, 5, 6], [0, 0, 0]]]


@many
@given(highest=st.integers(0, 255), names=st.integers(1, 5))
def test_values_that_a_legend_does_not_name_are_written_as_they_are(
    tmp_path: Path, highest: int, names: int
) -> None:
    """Such as 255 for a missing pixel; another program's reading, and ours."""
    ids = np.array([[0, highest]], np.uint8)
    legend = Legend(("a",) * names, ((9, 8, 7),) * names)
    io.write(tmp_path / "a.png", Image(ids, "yx"), legend=legend, overwrite=True)
    with Pillow.open(tmp_path / "a.png") as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), ids)
        shown = np.asarray(picture.convert("RGB"))[0, 1].tolist()
    assert shown == ([9, 8, 7] if highest < names else [128, 128, 128])
    label = io.open(tmp_path / "a.png", as_label=True)
    assert np.array_equal(label.data[()], ids)
    assert label.palette[:names] == legend.colours


# ── JPEG ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("samples", [1, 3])
def test_jpegs_are_read_as_libjpeg_reads_them(tmp_path: Path, samples: int) -> None:
    array = draw(RGB, 8, (16, 24), 0)[..., :samples].astype(np.uint8)
    path = tmp_path / "a.jpeg"
    path.write_bytes(imagecodecs.jpeg8_encode(array.squeeze(), level=90))
    want = imagecodecs.jpeg8_decode(path.read_bytes()).reshape(array.shape)
    assert np.abs(pixels_of(io.open(path)).astype(int) - want).max() <= 3  # other up-sampling


def test_of_several_pictures_in_a_jpeg_the_first_is_read(tmp_path: Path) -> None:
    first, second = Pillow.new("RGB", (8, 6), (200, 0, 0)), Pillow.new("RGB", (8, 6), (0, 200, 0))
    first.save(tmp_path / "a.mpo", save_all=True, append_images=[second])
    (tmp_path / "a.mpo").rename(tmp_path / "a.jpg")
    red, green, _ = io.open(tmp_path / "a.jpg").data[()]
    assert red.min() > 150
    assert green.max() < 50


# ── BMP and GIF ───────────────────────────────────────────────────────────────────────────────


def bmp(indices: NDArray[Any], depth: int, table: NDArray[Any]) -> bytes:
    """A BMP with a palette, from its header BITMAPINFOHEADER: rows from below, of 4 bytes."""
    height, width = indices.shape
    bits = np.unpackbits(indices.astype(np.uint8)[::-1, :, None], axis=-1)[..., 8 - depth :]
    rows = np.packbits(bits.reshape(height, -1), axis=1)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    colours = np.pad(table[:, ::-1], ((0, 0), (0, 1))).astype(np.uint8).tobytes()
    start = 54 + len(colours)
    head = struct.pack("<2sIHHI", b"BM", start + rows.size, 0, 0, start)
    head += struct.pack("<IiiHHIIiiII", 40, width, height, 1, depth, 0, 0, 0, 0, len(table), 0)
    return head + colours + rows.tobytes()


def gif(indices: NDArray[Any], table: NDArray[Any]) -> bytes:
    """A GIF of 8 bits: codes of 9 bits, cleared before there are more (GIF89a, appendix F)."""
    height, width = indices.shape
    codes: list[int] = []
    for number, value in enumerate(indices.reshape(-1).tolist()):
        codes += [256, value] if number % 200 == 0 else [value]
    bits = np.unpackbits(np.array([*codes, 257], "<u2").view(np.uint8), bitorder="little")
    content = np.packbits(bits.reshape(-1, 16)[:, :9].reshape(-1), bitorder="little").tobytes()
    blocks = [content[at : at + 255] for at in range(0, len(content), 255)]
    body = b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0)
    body += table.astype(np.uint8).tobytes() + b","
    body += struct.pack("<HHHHBB", 0, 0, width, height, 0, 8)
    return body + b"".join(bytes([len(one)]) + one for one in blocks) + b"\0;"


@many
@given(kind=st.sampled_from(["bmp1", "bmp4", "bmp8", "gif"]), size=sizes, seed=st.integers(0, 99))
def test_palettes_of_bmp_and_gif_are_those_of_a_png(
    tmp_path: Path, kind: str, size: tuple[int, int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    depth = 8 if kind == "gif" else int(kind[3:])
    indices = random.integers(0, 2**depth, size)
    table = random.integers(0, 256, (2**depth, 3))
    table[0] = (1, 2, 3)  # in colour
    path = tmp_path / f"a.{kind[:3]}"
    path.write_bytes(gif(indices, table) if kind == "gif" else bmp(indices, depth, table))
    image, label = io.open(path), io.open(path, as_label=True)
    assert np.array_equal(pixels_of(image), table[indices])
    assert np.array_equal(label.data[()], indices)
    assert label.palette == tuple(map(tuple, table.tolist()))


@many
@given(
    kind=st.sampled_from(["bmp1", "bmp4", "bmp8", "gif"]),
    order=st.sampled_from(["ramp", "reversed", "any"]),
    size=sizes,
    seed=st.integers(0, 99),
)
def test_a_palette_of_grays_is_gray(
    tmp_path: Path, kind: str, order: str, size: tuple[int, int], seed: int
) -> None:
    """As the masks of Carvana are stored: the values do not depend on the order of the palette."""
    random = np.random.default_rng(seed)
    depth = 8 if kind == "gif" else int(kind[3:])
    grays = np.linspace(0, 255, 2**depth).astype(int)
    grays = {"ramp": grays, "reversed": grays[::-1], "any": random.permutation(grays)}[order]
    indices = random.integers(0, 2**depth, size)
    table = np.repeat(grays[:, None], 3, axis=1)
    path = tmp_path / f"a.{kind[:3]}"
    path.write_bytes(gif(indices, table) if kind == "gif" else bmp(indices, depth, table))
    for as_label in (False, True):
        found = io.open(path, as_label=as_label)
        assert found.axes == "yx"
        assert np.array_equal(found.data[()], grays[indices])
        assert found.palette == ()


@pytest.mark.parametrize("mode", ["1", "L"])
def test_masks_that_pillow_writes_come_back_as_0_and_255(tmp_path: Path, mode: str) -> None:
    mask = np.kron(np.eye(4), np.ones((3, 3))).astype(np.uint8) * np.uint8(255)
    for name in ("a.gif", "a.bmp", "a.png"):
        Pillow.fromarray(mask).convert(mode).save(tmp_path / name)
        assert np.array_equal(io.open(tmp_path / name, as_label=True).data[()], mask)


def test_gif_masks_that_name_white_first_are_understood_like_the_others(tmp_path: Path) -> None:
    """As in Carvana: images beside masks in black and white."""
    mask, black_first = np.kron(np.eye(4), np.ones((3, 3))).astype(int), np.zeros((256, 3), int)
    black_first[1] = 255
    (tmp_path / "0.gif").write_bytes(gif(mask, black_first))
    (tmp_path / "1.gif").write_bytes(gif(1 - mask, black_first[[1, 0, *range(2, 256)]]))
    values = [io.open(tmp_path / name, as_label=True).data[()] for name in ("0.gif", "1.gif")]
    assert np.array_equal(values, [mask * 255] * 2)
    meaning = understand(values)
    assert meaning.kind == "classes"
    assert meaning.values == (0, 255)


@pytest.mark.parametrize("samples", [1, 3])
def test_bmps_of_another_library_come_back(tmp_path: Path, samples: int) -> None:
    array = draw(RGB, 8, (5, 7), 0)[..., :samples].astype(np.uint8)
    path = tmp_path / "a.BMP"
    path.write_bytes(imagecodecs.bmp_encode(array.squeeze()))
    assert np.array_equal(pixels_of(io.open(path)), array)


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Pillow.fromarray(np.full((8, 8), value, np.uint8)) for value in (0, 100, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(FormatError, match=r"a\.gif is an animation of several pictures.*a TIFF"):
        io.open(tmp_path / "a.gif")


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".jpg"])
def test_what_is_only_read_is_not_written(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(FormatError, match=r"which Overtile only reads.*use \.png"):
        io.write(tmp_path / f"a{suffix}", Image(np.zeros((5, 7), np.uint8), "yx"))


# ── what is refused before it is decoded ──────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "bytes_needed"),
    [("8.png", 2 * 5 * 7 * 3), ("16.png", 2 * 5 * 7 * 3 * 2), ("a.bmp", 2 * 5 * 7 * 3)],
)
def test_a_picture_that_memory_cannot_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, bytes_needed: int
) -> None:
    path = tmp_path / name
    if name == "a.bmp":
        Pillow.new("RGB", (7, 5)).save(path)
    else:
        depth = int(path.stem)
        path.write_bytes(png(draw(RGB, depth, (5, 7), 0), depth, RGB))
    monkeypatch.setattr(limits, "HARMLESS_BYTES", 0)
    monkeypatch.setattr(limits, "free_memory", lambda: bytes_needed)
    assert io.open(path).data.shape == (3, 5, 7)
    monkeypatch.setattr(limits, "free_memory", lambda: bytes_needed - 1)
    with pytest.raises(
        FormatError, match=r"5 x 7 x 3 values.*GiB of memory that are free.*tiled TIFF"
    ):
        io.open(path)


def test_a_socket_is_not_opened(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "a.png"))
        with pytest.raises(FormatError, match="is a pipe, a socket or a device"):
            io.open(tmp_path / "a.png")


def test_a_file_in_a_folder_that_may_not_be_entered_is_known_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    monkeypatch.setattr(Path, "is_dir", refuse)
    assert io.is_known(tmp_path / "a.png")
    with pytest.raises(FormatError, match=r"a\.png cannot be read: Permission denied"):
        io.open(tmp_path / "a.png")
