"""DICOM files made by pydicom, for the tests: a file a slice, or all in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PATIENT = "Doe^Jane^Secret"
CT, ENHANCED_CT, RADIOGRAPH = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "2.1", "1.1"))
SEGMENTATION, REPORT = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("66.4", "88.11"))


def header(pixels: NDArray[Any], **tags: Any) -> Dataset:
    """A data set with these pixels, (y x), (z y x) or (y x 3), without a place."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = tags.pop("SOPClassUID", CT)
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.PatientName, made.PatientID = PATIENT, "42-secret"
    made.PatientBirthDate, made.PatientSex = "19700101", "F"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    made.FrameOfReferenceUID, made.PositionReferenceIndicator = "1.2.3.5", ""
    made.StudyID = made.StudyDate = made.StudyTime = made.AccessionNumber = ""
    made.ReferringPhysicianName, made.Manufacturer, made.Modality = "", "us", "CT"
    made.SeriesNumber, made.InstanceNumber, made.SeriesDescription = 3, 1, "thorax"
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    made.SamplesPerPixel = 3 if colour else 1
    made.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        made.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        made.NumberOfFrames = len(pixels)
    made.Rows, made.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    made.BitsAllocated = made.BitsStored = pixels.itemsize * 8
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = pixels.tobytes() + bytes(pixels.nbytes % 2)
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def save(made: Dataset, path: Path) -> None:
    made["PixelData"].VR = "OW" if made.BitsAllocated > 8 else "OB"
    made.save_as(path, enforce_file_format=True)


def geometry(matrix: NDArray[np.float64]) -> dict[str, list[float]]:
    """Of a matrix to LPS, the tags that all slices have."""
    sizes = np.linalg.norm(matrix[:3, :3], axis=0)
    row, column = (matrix[:3, :2] / sizes[:2]).T
    return {
        "ImageOrientationPatient": [float(f"{value:.12f}") for value in (*row, *column)],
        "PixelSpacing": [float(f"{value:.10f}") for value in (sizes[1], sizes[0])],
    }


def place(matrix: NDArray[np.float64], slice_number: float) -> list[float]:
    return [float(f"{value:.10f}") for value in matrix[:3, 3] + slice_number * matrix[:3, 2]]


def write_series(
    folder: Path, volume: NDArray[Any], matrix: NDArray[np.float64], seed: int = 0, **tags: Any
) -> Path:
    """A volume (z y x) with a matrix to LPS, its slices named in no order and without suffix."""
    folder.mkdir(exist_ok=True)
    names = np.random.default_rng(seed).permutation(len(volume))
    for number, (pixels, name) in enumerate(zip(volume, names, strict=True)):
        made = header(pixels, **geometry(matrix), **tags)
        made.ImagePositionPatient = place(matrix, number)
        made.InstanceNumber = number + 1
        made.SliceThickness = float(f"{np.linalg.norm(matrix[:3, 2]):.10f}")
        save(made, folder / f"IM{name:04}")
    return folder


def enhanced(
    volume: NDArray[Any], matrix: NDArray[np.float64], order: NDArray[np.int64]
) -> Dataset:
    """A volume in one file, its frames in this order, each with a scale of its own."""
    made = header(np.ascontiguousarray(volume[order]), SOPClassUID=ENHANCED_CT)
    tags, shared = geometry(matrix), Dataset()
    measures, turn = Dataset(), Dataset()
    measures.PixelSpacing = tags["PixelSpacing"]
    measures.SliceThickness = float(f"{np.linalg.norm(matrix[:3, 2]):.10f}")
    turn.ImageOrientationPatient = tags["ImageOrientationPatient"]
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([turn])
    made.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for number in order:
        frame, lies, scale = Dataset(), Dataset(), Dataset()
        lies.ImagePositionPatient = place(matrix, int(number))
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = 1, int(number) - 1024, "HU"
        frame.PlanePositionSequence = Sequence([lies])
        frame.PixelValueTransformationSequence = Sequence([scale])
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return made
