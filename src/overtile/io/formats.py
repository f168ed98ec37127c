"""The table of file formats, and which of them a name or a content stands for."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from overtile.errors import FormatError
from overtile.image import Image, Store
from overtile.io import hdf5, npz
from overtile.io.dicom import SUFFIXES as DICOM_SUFFIXES
from overtile.io.dicom import holds_dicom, is_series, open_dicom
from overtile.io.dicomseg import check_seg, write_seg
from overtile.io.geotiff import open_vrt
from overtile.io.gzipped import SIGNATURE as GZIP
from overtile.io.itk import META_SIGNATURES, NRRD_SIGNATURES, open_itk
from overtile.io.itkwrite import write_meta, write_nrrd
from overtile.io.nifti import NIFTI_SIGNATURES, open_nifti, write_nifti
from overtile.io.npy import create_npy, open_npy, reopen_npy
from overtile.io.omezarr import create_zarr, finish_zarr, open_zarr, reopen_zarr
from overtile.io.output import ZARR_FILES, Content, Manner, is_zarr
from overtile.io.pillow import open_bmp, open_gif, open_jpeg, open_png, write_png
from overtile.io.place import Url
from overtile.io.tiff import open_tiff
from overtile.io.tiffwrite import write_tiff
from overtile.io.zarrlabels import labels_in, register_label


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes
    ----------
    name, suffixes, signatures
        What it is called, how its files end (lower case; ".nii.gz" is one suffix), and how their
        content begins; without signatures the content is not compared.
    open
        From (path, as_label) to an image.
    write
        From (path, image, manner), where there is no file of this path yet and it is named as it
        will be; None where we do not write it in one go.
    stacks
        Whether a file can hold more than one plane.
    folder
        Whether what is called a file here is a folder.
    create
        From (path, image of the same shape and type, block, manner) to a store that is written
        part by part, in multiples of the block; None where that is not possible.
    reopen
        From the path of such a store to the store itself.
    finish
        What is to be done when all parts are written; None for nothing.
    volumes
        Whether a stack in such a file is one volume, as a scan of a patient is, unless the user
        says otherwise; else it is a series of planes.
    series
        Whether a folder of such files is one image, and files are known by their content as well.
    check
        Raises for an image, or a content, that cannot be written so; None where `write` alone
        tells.
    predicted_as
        The suffix of what is predicted from such a file where no other is asked for: that of a
        format that keeps what belongs to it.
    place
        What is to be done when a finished store got its name; None for nothing.
    several
        Whether it holds images inside, which are named behind it: "cells.h5/raw".
    member
        From (path, as_label) to the path of the image that is read, where only the file is named.
    labels
        From the path of an image to those of the labels that its file lists.
    """

    name: str
    suffixes: tuple[str, ...]
    signatures: tuple[bytes, ...]
    open: Callable[[Path, bool], Image]
    write: Callable[[Path, Image, Manner], None] | None = None
    stacks: bool = True
    folder: bool = False
    create: Callable[[Path, Image, tuple[int, ...], Manner], Store] | None = None
    reopen: Callable[[Path], Store] | None = None
    finish: Callable[[Path], None] | None = None
    volumes: bool = False
    series: bool = False
    check: Callable[[Image, Content], None] | None = None
    predicted_as: str = ".tif"
    place: Callable[[Path], None] | None = None
    several: bool = False
    member: Callable[[Path, bool], Path] | None = None
    labels: Callable[[Path], tuple[Path, ...]] | None = None


TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

FORMATS = (
    Format("TIFF", (".tif", ".tiff"), TIFF_SIGNATURES, open_tiff, write_tiff),
    Format("PNG", (".png",), (b"\x89PNG\r\n\x1a\n",), open_png, write_png, stacks=False),
    # JPEG is lossy: it would change labels and probabilities, so it is only read.
    Format("JPEG", (".jpg", ".jpeg"), (b"\xff\xd8\xff",), open_jpeg, stacks=False),
    # BMP and GIF hold nothing that a PNG does not: they are only read.
    Format("BMP", (".bmp",), (b"BM",), open_bmp, stacks=False),
    Format("GIF", (".gif",), (b"GIF87a", b"GIF89a"), open_gif, stacks=False),
    Format("NumPy", (".npy",), (b"\x93NUMPY",), open_npy, create=create_npy, reopen=reopen_npy),
    Format(
        "NumPy archive",
        npz.SUFFIXES,
        (b"PK\x03\x04",),
        npz.open_npz,
        several=True,
        member=npz.member_npz,
    ),
    Format(
        "HDF5",
        hdf5.SUFFIXES,
        (b"\x89HDF\r\n\x1a\n",),
        hdf5.open_hdf5,
        several=True,
        member=hdf5.member_hdf5,
    ),
    Format(
        "Zarr",
        (".zarr",),
        (),
        open_zarr,
        folder=True,
        create=create_zarr,
        reopen=reopen_zarr,
        finish=finish_zarr,
        place=register_label,
        labels=labels_in,
        several=True,
    ),
    Format(
        "DICOM",
        DICOM_SUFFIXES,
        (),
        open_dicom,
        write_seg,
        series=True,
        check=check_seg,
        predicted_as=".nii.gz",
        volumes=True,
    ),
    Format(
        "NIfTI",
        (".nii", ".nii.gz"),
        NIFTI_SIGNATURES,
        open_nifti,
        write_nifti,
        predicted_as=".nii.gz",
        volumes=True,
    ),
    Format(
        "NRRD",
        (".nrrd",),
        NRRD_SIGNATURES,
        open_itk,
        write_nrrd,
        predicted_as=".nrrd",
        volumes=True,
    ),
    Format(
        "MetaImage",
        (".mha", ".mhd"),
        META_SIGNATURES,
        open_itk,
        write_meta,
        predicted_as=".mha",
        volumes=True,
    ),
    Format("VRT", (".vrt",), (), open_vrt, stacks=False),  # XML, with or without a head
)


def is_known(path: Path) -> bool:
    """Whether a name is that of an image: by its suffix, as a URL, or inside of a file of images.

    What is there already counts too: a folder only where the format is one, a file only where it
    is not; and of DICOM a folder that holds a series, and a file with another suffix or none.
    """
    if isinstance(path, Url) or _holder(path) is not None:
        return True
    known = [form for form in FORMATS if path.name.lower().endswith(form.suffixes)]
    try:
        named = any(not (path.is_file() if form.folder else path.is_dir()) for form in known)
        return named or _is_dicom(path)
    except PermissionError:  # inside a folder that may not be entered: opening it says so
        return True


def _is_dicom(path: Path) -> bool:
    return is_series(path) if path.is_dir() else holds_dicom(path)


def stem_of(path: Path) -> str:
    """The name of a file without the suffix of its format: "brain" of "brain.nii.gz".

    Of a name that is no image's, without what follows its last dot. The "ome" of .ome.tif and
    .ome.zarr is taken off as well. What is named inside of a file follows: "cells-raw" of
    "cells.h5/raw".
    """
    if (held := _holder(path)) is not None:
        return "-".join([stem_of(held[1]), *path.relative_to(held[1]).parts])
    name = path.name
    for form in FORMATS:
        for suffix in sorted(form.suffixes, key=len, reverse=True):
            if name.lower().endswith(suffix):
                stem = name[: -len(suffix)]
                return stem[:-4] if stem.lower().endswith(".ome") else stem
    return path.name if path.is_dir() else path.stem


def format_of(path: Path) -> Format:
    """The format that a name stands for, whether or not there is such a file.

    Raises
    ------
    FormatError
        The suffix is that of no format in the table, or a URL is one of a single file.
    """
    if (held := _holder(path)) is not None:
        return held[0]
    form = _named(path)
    if isinstance(path, Url):
        if form is not None and not (form.folder and form.several):
            raise FormatError(
                f"{path} is the URL of a {form.name}, and only Zarrs are read where they lie: "
                "download it."
            )
        return next(form for form in FORMATS if form.folder and form.several)
    if form is not None:
        return form
    if _is_dicom(path):
        return next(form for form in FORMATS if form.series)
    known = ", ".join(suffix for form in FORMATS for suffix in form.suffixes)
    if path.suffix.lower() == ".gz":
        raise FormatError(
            f"{path} is compressed as a whole (gzip), so that no part of it can be read alone: "
            f"unpack it first (gunzip). Overtile knows {known}."
        )
    raise FormatError(
        f"{path} has the suffix '{path.suffix}', which is not that of an image file that "
        f"Overtile knows: {known}."
    )


def check_content(path: Path, form: Format) -> None:
    """Compare what a path leads to, and its first bytes, with what its suffix says.

    Nothing but regular files and folders is opened: reading a pipe would wait for its writer.
    """
    if isinstance(path, Url):
        return  # opening it says
    path = path if form.folder else file_of(path)
    try:
        kind = path.stat().st_mode
        if form.folder and stat.S_ISDIR(kind):
            odd = [name for name in ZARR_FILES if (path / name).exists()]
            odd = [name for name in odd if not (path / name).is_file()]
            if odd:
                raise FormatError(f"{path} holds {odd[0]}, which is no file: expected {form.name}.")
            return
        if form.folder:
            raise FormatError(
                f"{path} is a file, and a {form.name} is a folder: if it is an archive, unpack it."
            )
        if form.series and stat.S_ISDIR(kind):
            return
        if stat.S_ISDIR(kind):
            raise FormatError(f"{path} is a folder: expected an image file.")
        if not stat.S_ISREG(kind):
            raise FormatError(
                f"{path} is a pipe, a socket or a device: expected a file with an image in it."
            )
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}.") from error
    if not start:
        raise FormatError(f"{path} is empty (0 bytes): expected {form.name}. Copy it again.")
    if not form.signatures or start.startswith(form.signatures):
        return
    if start.startswith(GZIP):
        raise FormatError(
            f"{path} is named like {form.name} but compressed as a whole (gzip): unpack it first "
            f"(gunzip)."
        )
    for other in FORMATS:
        if other.signatures and not other.several and start.startswith(other.signatures):
            raise FormatError(
                f"{path} is named like {form.name} but holds {other.name}: rename it to "
                f"{path.with_suffix(other.suffixes[0]).name}."
            )
    raise FormatError(
        f"{path} is named like {form.name}, but its first bytes are those of no image that "
        "Overtile knows. Copy or export it again."
    )


def file_of(path: Path) -> Path:
    """The file, or the folder of a Zarr, that an image is or lies in."""
    held = _holder(path)
    return path if held is None else held[1]


def _holder(path: Path) -> tuple[Format, Path] | None:
    """The file, or the Zarr, that a path lies in, if it does, and its format."""
    for parent in path.parents:
        form = _named(parent)
        if form is not None and form.several:
            # In a folder of Zarr there may be files of other formats, with their own suffixes.
            if form.folder and _named(path) is None and is_zarr(parent):
                return form, parent
            if not form.folder and parent.is_file():
                return form, parent
    return None


def _named(path: Path) -> Format | None:
    """The format that the suffix of a name stands for."""
    name = path.name.lower()
    return next((form for form in FORMATS if name.endswith(form.suffixes)), None)
