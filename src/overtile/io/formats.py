"""The table of file formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from overtile.image import Image, Store
from overtile.io import hdf5, npz
from overtile.io.dicom import open_dicom
from overtile.io.dicomheaders import SUFFIXES as DICOM_SUFFIXES
from overtile.io.dicomseg import check_seg, write_seg
from overtile.io.geotiff import open_vrt
from overtile.io.itk import META_SIGNATURES, NRRD_SIGNATURES, open_itk
from overtile.io.itkwrite import write_meta, write_nrrd
from overtile.io.nifti import NIFTI_SIGNATURES, open_nifti
from overtile.io.niftiwrite import write_nifti
from overtile.io.npy import create_npy, open_npy, reopen_npy
from overtile.io.omezarr import create_zarr, finish_zarr, open_zarr, reopen_zarr
from overtile.io.output import Content, Manner
from overtile.io.pillow import open_bmp, open_gif, open_jpeg, open_png, write_png
from overtile.io.tiff import open_tiff
from overtile.io.tiffwrite import write_tiff
from overtile.io.zarrlabels import labels_in, register_label


@dataclass(frozen=True)
class Filling:
    """How a file is written part by part.

    Attributes
    ----------
    create
        From (path, image of the same shape and type, block, manner) to a store that is written
        part by part, in multiples of the block.
    reopen
        From the path of such a store to the store itself.
    finish
        What is to be done when all parts are written.
    place
        What is to be done when the finished store got its name.
    """

    create: Callable[[Path, Image, tuple[int, ...], Manner], Store]
    reopen: Callable[[Path], Store]
    finish: Callable[[Path], None] = lambda _: None
    place: Callable[[Path], None] = lambda _: None


@dataclass(frozen=True)
class Inside:
    """How the images are found that lie inside of a file, named behind it: "cells.h5/raw".

    Attributes
    ----------
    member
        From (path, as_label) to the path of the image that is read, where only the file is named;
        None where the file itself is an image.
    labels
        From the path of an image to those of the labels that its file lists; None where it lists
        none.
    """

    member: Callable[[Path, bool], Path] | None = None
    labels: Callable[[Path], tuple[Path, ...]] | None = None


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
    filling
        None where it is not written part by part.
    check
        Raises for an image, or a content, that cannot be written so; None where `write` alone
        tells.
    inside
        None where a file is one image.
    stacks
        Whether a file can hold more than one plane.
    volumes
        Whether a stack in such a file is one volume, as a scan of a patient is, unless the user
        says otherwise; else it is a series of planes.
    folder
        Whether what is called a file here is a folder.
    series
        Whether a folder of such files is one image, and files are known by their content as well.
    predicted_as
        The suffix of what is predicted from such a file where no other is asked for: that of a
        format that keeps what belongs to it.
    """

    name: str
    suffixes: tuple[str, ...]
    signatures: tuple[bytes, ...]
    open: Callable[[Path, bool], Image]
    write: Callable[[Path, Image, Manner], None] | None = None
    filling: Filling | None = None
    check: Callable[[Image, Content], None] | None = None
    inside: Inside | None = None
    stacks: bool = True
    volumes: bool = False
    folder: bool = False
    series: bool = False
    predicted_as: str = ".tif"


TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

FORMATS = (
    Format("TIFF", (".tif", ".tiff"), TIFF_SIGNATURES, open_tiff, write_tiff),
    Format("PNG", (".png",), (b"\x89PNG\r\n\x1a\n",), open_png, write_png, stacks=False),
    # JPEG is lossy: it would change labels and probabilities, so it is only read.
    Format("JPEG", (".jpg", ".jpeg"), (b"\xff\xd8\xff",), open_jpeg, stacks=False),
    # BMP and GIF hold nothing that a PNG does not: they are only read.
    Format("BMP", (".bmp",), (b"BM",), open_bmp, stacks=False),
    Format("GIF", (".gif",), (b"GIF87a", b"GIF89a"), open_gif, stacks=False),
    Format(
        *("NumPy", (".npy",), (b"\x93NUMPY",), open_npy),
        filling=Filling(create_npy, reopen_npy),
    ),
    Format(
        *("NumPy archive", npz.SUFFIXES, (b"PK\x03\x04",), npz.open_npz),
        inside=Inside(npz.member_npz),
    ),
    Format(
        *("HDF5", hdf5.SUFFIXES, (b"\x89HDF\r\n\x1a\n",), hdf5.open_hdf5),
        inside=Inside(hdf5.member_hdf5),
    ),
    Format(
        *("Zarr", (".zarr",), (), open_zarr),
        filling=Filling(create_zarr, reopen_zarr, finish_zarr, register_label),
        inside=Inside(labels=labels_in),
        folder=True,
    ),
    Format(
        *("DICOM", DICOM_SUFFIXES, (), open_dicom, write_seg),
        check=check_seg,
        volumes=True,
        series=True,
        predicted_as=".nii.gz",
    ),
    Format(
        *("NIfTI", (".nii", ".nii.gz"), NIFTI_SIGNATURES, open_nifti, write_nifti),
        volumes=True,
        predicted_as=".nii.gz",
    ),
    Format(
        *("NRRD", (".nrrd",), NRRD_SIGNATURES, open_itk, write_nrrd),
        volumes=True,
        predicted_as=".nrrd",
    ),
    Format(
        *("MetaImage", (".mha", ".mhd"), META_SIGNATURES, open_itk, write_meta),
        volumes=True,
        predicted_as=".mha",
    ),
    Format("VRT", (".vrt",), (), open_vrt, stacks=False),  # XML, with or without a head
)
