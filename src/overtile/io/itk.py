"""NRRD (.nrrd) and MetaImage (.mha, .mhd), read through SimpleITK.

Places are in millimetres; SimpleITK counts them to the left and the back of the patient (LPS).
"""

from __future__ import annotations

import math
import re
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.errors import FormatError, OvertileError, optional
from overtile.image import Image
from overtile.io.damage import check_length, damaged
from overtile.io.gzipped import CHUNK_BYTES, check_promise
from overtile.io.limits import check_memory
from overtile.io.orientation import MIRROR_LPS, Matrix, of_axes, orientation_of
from overtile.io.quiet import muted
from overtile.io.spacing import in_one_unit
from overtile.io.windows import Reordered, resolve, size_of

NRRD_SIGNATURES = (b"NRRD000",)
META_SIGNATURES = (b"ObjectTy", b"NDims", b"Comment ")
"""MetaImage has no mark; these are the lines that it begins with."""

NEEDED = ("NDims", "DimSize", "ElementType", "ElementDataFile")
"""Without these lines a MetaImage is none."""

META_LINE = re.compile(
    r"Name *= *[^\x00-\x08\x0e-\x1f\x7f]{0,250}"
    r"|(?!Name *=)[A-Za-z]\w{0,99} *= *[^\x00-\x08\x0e-\x1f\x7f]*"
)
"""MetaIO copies a name into 256 characters, and does not look whether they suffice."""

NRRD_LINE = re.compile(r"#.*|[^:]*:=.*|(content|units):.*|.{0,500}")
"""SimpleITK writes other lines than these, if it does not understand them, over its own memory."""

NRRD_ENCODINGS = {"raw": "raw", "gz": "gzip", "gzip": "gzip"}
"""Numbers in letters, which hardly any file has, let it crash where they are damaged."""

HEADER_BYTES = 2**16
"""A header longer than this has no size of an image among its first lines."""


def open_itk(path: Path, as_label: bool) -> Image:  # noqa: ARG001 - one contract for all formats
    """An image with its spacing and place; more than one number a pixel are channels.

    Uncompressed MetaImages are read by window.

    Raises
    ------
    FormatError
        The file is damaged or truncated, or holds no integers or floats along 2 to 4 axes.
    """
    pixels = ItkPixels(path)
    data = Reordered(pixels, pixels.letters)
    sizes = of_axes(pixels.spacing, data.axes)
    spacing, unit = in_one_unit([(size, "millimeter") for size in sizes])
    frame = orientation_of(MIRROR_LPS @ pixels.matrix)
    return Image(data, data.axes, spacing, unit, pixels.by_window, frame)


class ItkPixels:
    """The pixels of a file that SimpleITK reads, read where they are sliced.

    Attributes
    ----------
    letters
        Of the axes, in the order in which SimpleITK has them.
    shape, dtype
        Of the whole.
    spacing, matrix
        Along z, y, x; and to LPS.
    by_window
        Whether a window is read without the rest.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _reading(path), muted():
            self._header = Header(path)
            reader = self._reader()
            reader.ReadImageInformation()
            dimensions, channels = reader.GetDimension(), reader.GetNumberOfComponents()
            self._kind = _kind_of(path, reader, dimensions)
            sizes = tuple(int(size) for size in reader.GetSize())
            self.spacing, self.matrix = _geometry(reader, dimensions)
        self.dtype = self._kind.newbyteorder("=")
        self.letters = "tzyx"[-dimensions:] + "c" * (channels > 1)
        self.shape = sizes[::-1] + (channels,) * (channels > 1)
        self.by_window = self._header.encoding == "raw" and not self._header.is_nrrd
        self._header.check_size(self.shape, self._kind.itemsize)
        self._lock = threading.Lock()
        self._whole: NDArray[Any] | None = None

    def _reader(self) -> Any:
        reader = optional("SimpleITK", "itk").ImageFileReader()
        reader.SetFileName(str(self._path))
        reader.SetImageIO("NrrdImageIO" if self._path.suffix.lower() == ".nrrd" else "MetaImageIO")
        return reader

    def __getitem__(self, key: Any) -> NDArray[Any]:
        if not self.by_window:
            with self._lock:
                if self._whole is None:
                    self._whole = self._read_whole()
            return np.asarray(self._whole[key])
        window, rest = resolve(key, self.shape)
        if 0 in size_of(window):
            return np.empty(size_of(window), self.dtype)[rest]
        count = len(self.letters.rstrip("c"))
        reader = self._reader()
        reader.SetExtractIndex([part.start for part in window[:count]][::-1])
        reader.SetExtractSize(list(size_of(window)[:count])[::-1])
        part = self._read(reader).reshape(*size_of(window)[:count], *self.shape[count:])
        channels = window[count:]
        return np.asarray((part[..., channels[0]] if channels else part)[rest])

    def _read(self, reader: Any) -> NDArray[Any]:
        with _reading(self._path):
            return np.asarray(optional("SimpleITK", "itk").GetArrayFromImage(reader.Execute()))

    def _read_whole(self) -> NDArray[Any]:
        if self._header.encoding == "zlib":
            kind = self._kind.newbyteorder(">" if self._header.big_endian else "<")
            return self._header.decompress(self.shape, kind)
        with muted():
            return self._read(self._reader()).reshape(self.shape)


def _nrrd_encoding(lines: list[str], stated: str) -> str:
    """How the pixels of a NRRD are encoded, of what can be read without a crash."""
    odd = [line for line in lines if not NRRD_LINE.fullmatch(line)]
    if odd:
        raise ValueError(f"its header has the line {odd[0][:40]!r} of {len(odd[0])} characters")
    if stated not in NRRD_ENCODINGS:
        raise ValueError(f"it is encoded as '{stated[:20]}', and not raw or gzip")
    return NRRD_ENCODINGS[stated]


def _check_meta(lines: list[str], fields: dict[str, str]) -> None:
    """Refuse a header over which MetaIO would crash, or never end."""
    odd = [line for line in lines if line.strip() and not META_LINE.fullmatch(line)]
    if odd:
        raise ValueError(f"its header has the line {odd[0][:40]!r}, which is no 'name = value'")
    missing = [one for one in NEEDED if one.lower() not in fields]
    if missing:
        raise ValueError(f"its header lacks {' and '.join(missing)}")
    count, sizes = fields["ndims"], fields["dimsize"].split()
    if len(count) != 1 or count != str(len(sizes)) or not all(map(_is_size, sizes)):
        stated = fields["dimsize"][:40]
        raise ValueError(f"its header gives the sizes '{stated}' of {count[:9]} axes")


def _is_size(text: str) -> bool:
    return text.isdecimal() and len(text) < 10 and int(text) > 0


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what SimpleITK stops with into our error, in its last line, and keep it quiet."""
    optional("SimpleITK", "itk").ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    except OvertileError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise damaged(path, ValueError(lines[-1] if lines else "no reason")) from error


def _kind_of(path: Path, reader: Any, dimensions: int) -> np.dtype[Any]:
    """The type of the numbers, from its name in words."""
    name = optional("SimpleITK", "itk").GetPixelIDValueAsString(reader.GetPixelID())
    words = re.fullmatch(r"(?:vector of )?(\d+)-bit (unsigned |signed )?(integer|float)", name)
    if words is None or not 2 <= dimensions <= 4:
        raise FormatError(
            f"{path} holds pixels of the kind '{name}' along {dimensions} axes: expected integers "
            "or floats along 2 to 4."
        )
    bits, sign, kind = words.groups()
    return np.dtype(f"{'u' * (sign == 'unsigned ')}{kind.replace('integer', 'int')}{bits}")


def _geometry(reader: Any, dimensions: int) -> tuple[tuple[float, float, float], Matrix]:
    """The spacing z, y, x, and the matrix to LPS; a plane lies at z = 0, one millimetre thick."""
    space = min(dimensions, 3)
    turn = np.array(reader.GetDirection()).reshape(dimensions, dimensions)[:space, :space]
    sizes = np.array(reader.GetSpacing())[:space]
    if not (np.isfinite(sizes).all() and sizes.all()):
        raise ValueError(f"its spacing is {tuple(sizes.tolist())}, with which no pixel is read")
    matrix = np.eye(4)
    matrix[:space, :space] = turn * sizes
    matrix[:space, 3] = reader.GetOrigin()[:space]
    x, y, z = [*map(float, sizes), 1.0][:3]
    return (z, y, x), matrix


class Header:
    """What the text at the head of a file says of how its pixels are stored.

    SimpleITK gives pixels that were never read for a MetaImage whose compressed part is damaged,
    and takes the memory that a header promises before it looks: so both are checked here.

    Attributes
    ----------
    encoding
        ``raw``; ``zlib`` of a compressed MetaImage; or what else NRRD has.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.is_nrrd = path, path.suffix.lower() == ".nrrd"
        with path.open("rb") as file:
            text = file.read(HEADER_BYTES)
        end = rb"\r?\n\r?\n" if self.is_nrrd else rb"(?m)^ElementDataFile\s*=.*\r?\n?"
        found = re.search(end, text)
        self.size = found.end() if found else len(text)
        lines = text[: self.size].decode("latin-1").splitlines()
        pairs = [re.split(r":=?" if self.is_nrrd else "=", line, maxsplit=1) for line in lines]
        fields = {one[0].strip().lower(): one[1].strip() for one in pairs if len(one) == 2}

        def is_true(name: str, *, otherwise: str = "false") -> bool:
            return fields.get(name, otherwise)[:1].lower() in ("t", "1")  # as MetaIO decides

        if self.is_nrrd:
            self.encoding = _nrrd_encoding(lines, fields.get("encoding", "raw").lower())
            name = fields.get("data file", fields.get("datafile", "LOCAL"))
        else:
            plain = "raw" if is_true("binarydata", otherwise="true") else "ascii"
            self.encoding = "zlib" if is_true("compresseddata") else plain
            name = fields.get("elementdatafile", "LOCAL")
            _check_meta(lines, fields)
        self.big_endian = is_true("binarydatabyteordermsb") or is_true("elementbyteordermsb")
        self.data = path if name.upper() == "LOCAL" else path.parent / name
        skipped = fields.get("headersize", "")  # MetaIO's word for what to skip in it
        local = self.size if self.data == path else 0
        self.start = int(skipped) if skipped.isdecimal() and int(skipped) else local
        if not self.data.is_file():
            raise FileNotFoundError(f"its pixels should lie in {self.data}, which is not there")

    def check_size(self, shape: tuple[int, ...], itemsize: int) -> None:
        """Refuse a header that promises more than there is, before anything is read."""
        if self.encoding != "raw":
            check_promise(self.data, shape, itemsize)
        else:
            check_length(self.path, self.start + math.prod(shape) * itemsize, self.data)
        if self.is_nrrd:  # which SimpleITK reads as a whole
            check_memory(self.path, shape, itemsize, "save it as .mha, which is read part by part.")

    def decompress(self, shape: tuple[int, ...], kind: np.dtype[Any]) -> NDArray[Any]:
        """The pixels of a compressed MetaImage."""
        array = np.empty(math.prod(shape), kind)
        content, filled = array.view(np.uint8).data, 0
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # with a header of zlib or of gzip
        with _reading(self.path), self.data.open("rb") as file:
            file.seek(self.start)
            while filled < len(content):
                left = len(content) - filled
                packed = decoder.unconsumed_tail or file.read(CHUNK_BYTES)
                part = decoder.decompress(packed, min(left, CHUNK_BYTES))
                if not part and (decoder.eof or not packed):
                    raise EOFError(f"{left} bytes are missing at its end")
                content[filled : filled + len(part)] = part
                filled += len(part)
        return array.reshape(shape).astype(kind.newbyteorder("="), copy=False)
