"""A corpus of bad scans: `python tests/bad_scans.py FOLDER` makes it.

The table is that of `bad_files`, with NIfTI, DICOM, NRRD and MetaImage.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
from bad_files import (
    DAMAGED,
    GIBIBYTE,
    MEMORY,
    PERCENT,
    SIDE,
    Case,
    Row,
    make,
    noise,
    put,
    zeros,
)
from dicom_files import REPORT, SEGMENTATION, header, write_series
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

VOLUME = noise(6, 40, 48, kind="uint16")


def nifti(array: np.ndarray, *, two: bool = False, **fields: Any) -> bytes:
    """A file that nibabel writes, with any fields of its header."""
    made = (nibabel.Nifti2Image if two else nibabel.Nifti1Image)(array.T, np.diag([1, 1, 2, 1.0]))
    content = bytearray(made.to_bytes())
    head = type(made.header)(bytes(content[: made.header.sizeof_hdr]), check=False)
    for name, value in fields.items():
        head[name] = value
    content[: made.header.sizeof_hdr] = head.binaryblock
    return bytes(content)


def dicom(pixels: np.ndarray, *, packed: bool = False, without: str = "", **tags: Any) -> bytes:
    """A file that pydicom writes, with any tags, and without one."""
    made, file = header(pixels), io.BytesIO()
    made["PixelData"].VR = "OW" if made.BitsAllocated > 8 else "OB"
    if packed:
        made.compress(RLELossless)
    for name, value in tags.items():
        setattr(made, name, value)
    if without:
        del made[without]
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def deflated_zeros(pixels: np.ndarray) -> bytes:
    """The head of a deflated file, and a gibibyte in place of what follows."""
    made, file = header(pixels), io.BytesIO()
    made["PixelData"].VR = "OB"
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    made.save_as(file, enforce_file_format=True)
    content = file.getvalue()
    end = 144 + int.from_bytes(content[140:144], "little")  # the length of the meta information
    return content[:end] + zeros(GIBIBYTE)[2:-4]


def nrrd(content: bytes, sizes: str = "48 40 6", **fields: str) -> bytes:
    """A file in the words of https://teem.sourceforge.net/nrrd/format.html."""
    lines = {"type": "uint16", "dimension": str(len(sizes.split())), "sizes": sizes}
    lines |= {"encoding": "raw", "endian": "little"} | fields
    text = "\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in lines.items())
    return b"NRRD0004\n" + text.encode() + b"\n\n" + content


def meta(content: bytes, sizes: str = "48 40 6", **fields: str) -> bytes:
    """A MetaImage, in the words of ITK's documentation of MetaIO."""
    lines = {"ObjectType": "Image", "NDims": str(len(sizes.split())), "BinaryData": "True"}
    lines |= {"BinaryDataByteOrderMSB": "False", "CompressedData": "False", "DimSize": sizes}
    lines |= {"ElementType": "MET_USHORT"} | fields
    lines["ElementDataFile"] = lines.get("ElementDataFile", "LOCAL")
    return "".join(f"{name} = {value}\n" for name, value in lines.items()).encode() + content


def whole() -> dict[str, bytes]:
    """A good file of each kind, by a name that says which."""
    packed = zlib.compress(VOLUME.tobytes())
    smooth = np.linspace(0, 1, VOLUME.size, dtype=np.float32).reshape(VOLUME.shape)
    return {
        "plain.nii": nifti(VOLUME),
        "scaled.nii": nifti(VOLUME.astype(np.int16), scl_slope=0.5, scl_inter=-7),
        "two.nii": nifti(smooth, two=True),
        "packed.nii.gz": gzip.compress(nifti(VOLUME), mtime=0),
        "slice.dcm": dicom(VOLUME[0], RescaleSlope=2, RescaleIntercept=-100),
        "film.dcm": dicom(VOLUME),
        "rle.dcm": dicom(VOLUME[0], packed=True),
        "raw.nrrd": nrrd(VOLUME.tobytes()),
        "gzip.nrrd": nrrd(gzip.compress(VOLUME.tobytes(), mtime=0), encoding="gzip"),
        "raw.mha": meta(VOLUME.tobytes()),
        "zlib.mha": meta(packed, CompressedData="True", CompressedDataSize=str(len(packed))),
    }


def truncated() -> Iterator[Row]:
    """What is left when a copy stops."""
    for name, content in whole().items():
        for percent in PERCENT:
            part = content[: max(9, len(content) * percent // 100)]
            yield f"{percent}-percent-{name}", DAMAGED, part


def wrong() -> Iterator[Row]:
    """Files that are not what they are called."""
    good = whole()
    for suffix in ("nii", "nii.gz", "dcm", "nrrd", "mha", "mhd"):
        yield f"zero-bytes.{suffix}", r"is empty \(0 bytes\)", b""
        strange = "its first bytes are those of no image|is damaged"
        yield f"text.{suffix}", strange, b"<html>no</html>"
    yield "nifti.nrrd", "named like NRRD but holds NIfTI", good["plain.nii"]
    yield "nrrd.mha", "named like MetaImage but holds NRRD", good["raw.nrrd"]
    yield "nrrd.dcm", DAMAGED, good["raw.nrrd"]
    yield "text-inside.nii.gz", DAMAGED, gzip.compress(b"<html>no</html>")
    yield "nothing-inside.nii.gz", DAMAGED, gzip.compress(b"")
    pair = bytearray(good["plain.nii"])
    pair[344:348] = b"ni1\0"
    yield "of-a-pair.nii", "that of one file is", bytes(pair)


def sparse(content: bytes, size: int) -> Callable[[Path], None]:
    """A file of so many bytes, of which only the first are on the disk."""

    def make(path: Path) -> None:
        path.write_bytes(content)
        os.truncate(path, size)

    return make


def packed_zeros(size: int) -> bytes:
    """So many zeros as a member of gzip (RFC 1952), whose checksum nobody will reach."""
    return b"\x1f\x8b\x08" + bytes(7) + zeros(size)[2:-4] + bytes(8)


def niftis() -> Iterator[Row]:
    """Headers of nonsense, and bombs."""
    flat = noise(40, 48)

    def sized(*dim: int) -> bytes:
        return nifti(flat, two=True, dim=[len(dim), *dim, *[1] * (7 - len(dim))])

    yield "huge.nii", "bytes are missing at its end", sized(SIDE, SIDE)
    yield "huge-sparse.nii", f"{MEMORY}|GB free", sparse(sized(SIDE, SIDE), SIDE**2 + 544)
    yield "huge.nii.gz", "which no compression brings", gzip.compress(sized(SIDE, SIDE))
    head = sized(2**15, 2**15)[:544]
    yield "bomb.nii.gz", "GB of memory are free", gzip.compress(head) + packed_zeros(GIBIBYTE)
    yield "overflow.nii", "bytes are missing", sized(2**62, 2**62)
    yield "negative.nii", "has the sizes", sized(-5, 48)
    yield "no-pixels.nii", "has the sizes", sized(0, 48)
    yield "line.nii", "along 1 axes", sized(48)
    yield "six-axes.nii", "expected at most x", sized(2, 2, 2, 2, 2, 2)
    yield "no-axes.nii", "along 0 axes", nifti(flat, dim=[0] * 8)
    yield "too-many-axes.nii", r"along \d+ axes", nifti(flat, dim=[99] * 8)
    yield "no-type.nii", f"{DAMAGED}|is not a kind of pixel", nifti(flat, datatype=0)
    yield "unknown-type.nii", DAMAGED, nifti(flat, datatype=999)
    yield "complex.nii", "is not a kind of pixel", nifti(flat, datatype=32)
    for name, place in {"nan": np.nan, "infinite": np.inf, "far": 1e30}.items():
        yield f"pixels-at-{name}.nii", DAMAGED, nifti(flat, vox_offset=place)
    yield "infinite-slope.nii", DAMAGED, nifti(flat, scl_slope=1, scl_inter=np.inf)
    yield "steep.nii", "infinite|such as inf", nifti(flat, scl_slope=3e38, scl_inter=3e38)
    infinite = np.full((40, 48), np.inf, np.float32)
    yield "infinite.nii", "infinite|such as inf", nifti(infinite)


def dicoms() -> Iterator[Row]:
    """Headers of nonsense, and what is no picture."""
    flat, many = noise(40, 48), 10**9
    yield "huge.dcm", r"promises \d+ bytes of pixels", dicom(flat, Rows=65535, Columns=65535)
    yield "film.dcm", r"promises \d+ bytes of pixels", dicom(flat, NumberOfFrames=many)
    yield "packed-film.dcm", "promises", dicom(flat, packed=True, NumberOfFrames=many)
    large = dicom(flat, packed=True, Rows=65535, Columns=65535)
    yield "large.dcm", MEMORY, large
    yield "wrong-size.dcm", DAMAGED, dicom(flat, packed=True, Rows=50)
    for name in ("Rows", "BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel"):
        yield f"without-{name}.dcm", DAMAGED, dicom(flat, without=name)
    yield "without-pixels.dcm", f"{DAMAGED}|promises", dicom(flat, without="PixelData")
    yield "without-colours.dcm", DAMAGED, dicom(flat, without="PhotometricInterpretation")
    yield (
        "palette.dcm",
        "colours of the kind",
        dicom(flat, PhotometricInterpretation="PALETTE COLOR"),
    )
    yield "report.dcm", "holds no picture", dicom(flat, SOPClassUID=REPORT, without="Rows")
    yield "infinite-slope.dcm", f"{DAMAGED}|infinite|such as", dicom(flat, RescaleSlope="1e400")
    bits = dicom(flat, BitsStored=99, HighBit=98)
    yield "too-many-bits.dcm", DAMAGED, bits
    yield "bomb.dcm", "is deflated as a whole", deflated_zeros(flat)


def change(file: Path, what: str, value: Any) -> None:
    """Set or delete a tag of a file, or cut it."""
    if what == "cut":
        file.write_bytes(file.read_bytes()[:value])
        return
    made = pydicom.dcmread(file)
    setattr(made, what, value)
    if value is None:
        del made[what]
    made.save_as(file)


def series() -> Iterator[Row]:
    """Folders of slices that are not one image."""
    matrix = np.diag([0.5, 0.8, 3, 1.0])

    def folder(what: str, value: Any = None) -> Callable[[Path], None]:
        def make(path: Path) -> None:
            for file in write_series(path, noise(6, 40, 48), matrix).iterdir():
                if pydicom.dcmread(file).InstanceNumber == 3:
                    change(file, what, value)
                file.rename(file.with_suffix(".dcm"))

        return make

    yield "lacks-a-slice", "lacks 1 slices", folder("SOPClassUID", SEGMENTATION)
    yield "double-slice", "lie where another one does", folder("ImagePositionPatient", [0, 0, 0])
    yield "uneven", "uneven distances", folder("ImagePositionPatient", [0, 0, 7])
    yield "nowhere", "do not say where they", folder("ImagePositionPatient", None)
    yield "far-away", DAMAGED + "|uneven|lacks", folder("ImagePositionPatient", [0, 0, 1e30])
    yield "turned", "turned differently", folder("ImageOrientationPatient", [0, 1, 0, 1, 0, 0])
    yield "mixed-sizes", "slices of one series that differ", folder("Rows", 20)
    yield "two-series", "holds 2 series", folder("SeriesInstanceUID", "1.2.3.9")
    yield "half-a-slice", DAMAGED, folder("cut", 900)
    yield "empty-slice", DAMAGED, folder("cut", 0)


def nrrds() -> Iterator[Row]:
    """Headers of nonsense, some of which crash what reads them."""
    raw = VOLUME.tobytes()
    yield "huge.nrrd", "bytes are missing", nrrd(raw, f"{SIDE} {SIDE}")
    sides = nrrd(b"", f"{SIDE} {SIDE}", type="uint8")
    yield "huge-sparse.nrrd", MEMORY, sparse(sides, SIDE**2 + 999)
    yield "huge-gzip.nrrd", "no compression brings", nrrd(b"", f"{SIDE} {SIDE}", encoding="gzip")
    bomb = nrrd(packed_zeros(GIBIBYTE), "32768 32768", type="uint8", encoding="gzip")
    yield "bomb.nrrd", "memory", bomb
    for name, sizes in {"negative": "-5 40 6", "no-pixels": "0 40 6", "text": "x y z"}.items():
        yield f"{name}.nrrd", DAMAGED, nrrd(raw, sizes)
    yield "overflow.nrrd", DAMAGED, nrrd(raw, "9999999999 9999999999 9999999999")
    yield "many-axes.nrrd", f"{DAMAGED}|axes", nrrd(raw, " ".join(["2"] * 17))
    yield "five-axes.nrrd", "axes", nrrd(raw, "2 2 2 2 2")
    yield "long-line.nrrd", "of 2006 characters", nrrd(raw, labels="x" * 1998)
    yield "letters.nrrd", "encoded as 'text'", nrrd(b"x" * 50_000, encoding="text")
    yield "elsewhere.nrrd", "not there", nrrd(b"", data_file="gone.raw")
    yield "device.nrrd", "not there", nrrd(b"", data_file="/dev/zero")
    yield (
        "nan-place.nrrd",
        "directions|place",
        nrrd(
            raw, space="left-posterior-superior", space_directions="(nan,0,0) (0,nan,0) (0,0,nan)"
        ),
    )


def metas() -> Iterator[Row]:
    """The same, of MetaImage."""
    raw = VOLUME.tobytes()
    yield "huge.mha", "bytes are missing", meta(raw, f"{SIDE} {SIDE}")
    sides = meta(b"", f"{SIDE} {SIDE}", ElementType="MET_UCHAR")
    yield "huge-sparse.mha", f"{MEMORY}|GB free", sparse(sides, SIDE**2 + 999)
    yield (
        "huge-zlib.mha",
        "no compression brings",
        meta(b"", f"{SIDE} {SIDE}", CompressedData="True"),
    )
    bomb = meta(zeros(GIBIBYTE), "32768 32768", ElementType="MET_UCHAR", CompressedData="True")
    yield "bomb.mha", "GB of memory are free", bomb
    for name, sizes in {"negative": "-5 40 6", "no-pixels": "0 40 6", "text": "x y z"}.items():
        yield f"{name}.mha", "gives the sizes", meta(raw, sizes)
    yield "endless.mha", "gives the sizes", meta(raw, NDims=str(10**30))
    yield "overflow.mha", "gives the sizes|missing", meta(raw, "9999999999 9999999999 9999999999")
    yield "long-name.mha", "no 'name = value'", meta(raw, Name="x" * 400)
    yield "no-equals.mha", "no 'name = value'", b"NDims 3\0\n" + meta(raw)
    yield "skipped.mha", "bytes are missing", meta(raw, HeaderSize="999999")
    yield "many-channels.mha", "bytes are missing", meta(raw, ElementNumberOfChannels=str(10**9))
    yield "no-spacing.mha", "its spacing is", meta(raw, ElementSpacing="0 0 0")
    yield "letters.mha", DAMAGED, meta(b"x" * 50_000, BinaryData="False")
    yield "elsewhere.mhd", "not there", meta(b"", ElementDataFile="gone.raw")
    yield "itself.mhd", "bytes are missing", meta(b"", ElementDataFile="itself.mhd")


FLAT = {"huge-sparse.nii", "steep.nii", "huge-sparse.mha"}
"""Of one plane, which is found to be bad when it is read: so its partner has one as well."""


def cases() -> Iterator[Case]:
    """The table."""
    tables = (truncated(), wrong(), niftis(), dicoms(), series(), nrrds(), metas())
    for name, words, made in (row for table in tables for row in table):
        flat = name in FLAT or name.endswith(".dcm")
        partner = "plane.tif" if flat else "volume.nii"
        yield Case(name, words, partial(put, made), partner=partner)


CASES = list(cases())


if __name__ == "__main__":
    make(CASES, Path(sys.argv[1]))
