"""The slices of a DICOM series, in the order in which they lie, and where that is.

Tags are those of DICOM PS3.3: the Image Plane module (C.7.6.2) for a file a slice, functional
groups (C.7.6.16) for many frames in one file. Places are in millimetres to the left, back and top
of the patient (LPS).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.errors import FormatError
from overtile.io.dicomheaders import read_headers, reading
from overtile.io.orientation import Matrix

UNEVEN = 0.01
"""By so much of their distance slices may lie elsewhere than an even series has them: positions are
written with two or three decimals."""

TURNED = 1e-3
"""Of direction cosines that are written with four or more decimals, the difference that counts."""


@dataclass(frozen=True)
class Frame:
    """One picture: its file and its number in it, where it lies, and the scale of its values.

    Attributes
    ----------
    place
        Position (3) of the centre of the first pixel; None where the file does not say.
    turn
        Direction cosines (6) along a row, then along a column.
    spacing
        Distance of rows, then of columns, and the thickness of the slice (1 if not known).
    """

    path: Path
    number: int
    place: NDArray[np.float64] | None
    turn: NDArray[np.float64] | None
    spacing: tuple[float, float, float] | None
    slope: float
    intercept: float


@dataclass(frozen=True)
class Series:
    """Frames in their order in space, the header of the first, and the matrix to LPS.

    Attributes
    ----------
    spacing
        Along z, y, x; None where it is not known.
    """

    path: Path
    frames: tuple[Frame, ...]
    header: Any
    matrix: Matrix | None
    spacing: tuple[float, float, float] | None


def read_series(path: Path) -> Series:
    """The one series of a folder, or the frames of a file; no pixel is read.

    Raises
    ------
    FormatError
        As `overtile.io.dicom.open_dicom` says.
    """
    headers = read_headers(path)
    first = next(iter(headers.values()))
    frames = []
    for file, header in headers.items():
        with reading(file):
            frames += list(_frames(file, header))
    with reading(path):
        return _in_space(path, frames, first, one_file=len(headers) == 1)


def _frames(path: Path, header: Any) -> Iterator[Frame]:
    """The frames of a file, in its order."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [{}])[0]
    of_frames = header.get("PerFrameFunctionalGroupsSequence")
    for number in range(int(header.get("NumberOfFrames") or 1)):
        groups = (of_frames[number] if of_frames else {}, shared)

        def find(sequence: str, name: str, groups: tuple[Any, ...] = groups) -> Any:
            for group in groups:
                if group.get(sequence) and group.get(sequence)[0].get(name) is not None:
                    return group.get(sequence)[0].get(name)
            return header.get(name)

        spacing = find("PixelMeasuresSequence", "PixelSpacing") or header.get("ImagerPixelSpacing")
        thickness = find("PixelMeasuresSequence", "SliceThickness") or 1
        slope = find("PixelValueTransformationSequence", "RescaleSlope")
        yield Frame(
            path,
            number,
            _floats(find("PlanePositionSequence", "ImagePositionPatient"), 3),
            _floats(find("PlaneOrientationSequence", "ImageOrientationPatient"), 6),
            (float(spacing[0]), float(spacing[1]), float(thickness)) if spacing else None,
            1.0 if slope is None else float(slope),
            float(find("PixelValueTransformationSequence", "RescaleIntercept") or 0),
        )


def _floats(values: Any, count: int) -> NDArray[np.float64] | None:
    if values is None or len(values) != count:
        return None
    return np.array([float(value) for value in values])


def _in_space(path: Path, frames: list[Frame], header: Any, *, one_file: bool) -> Series:
    """The frames sorted along their normal, and checked to lie evenly."""
    placed = [(f.place, f.turn, f.spacing) for f in frames]
    if any(part is None for parts in placed for part in parts):
        if not one_file:
            raise FormatError(
                f"{path} holds {len(frames)} pictures of one series that do not say where they "
                "lie: expected slices with ImagePositionPatient, ImageOrientationPatient and "
                "PixelSpacing. Give them as single files."
            )
        frames = [replace(frame, place=None) for frame in frames]
        size = frames[0].spacing
        return Series(path, tuple(frames), header, None, size and (size[2], *size[:2]))
    turns, sizes = np.array([f.turn for f in frames]), np.array([f.spacing for f in frames])
    if np.abs(turns - turns[0]).max() > TURNED or not np.allclose(sizes[:, :2], sizes[0, :2]):
        raise FormatError(
            f"{path} holds slices of one series that are turned differently, or whose pixels have "
            "different sizes: expected parallel ones. Is a localizer among them? Move it elsewhere."
        )
    row, column = turns[0, :3], turns[0, 3:]
    normal = np.cross(row, column)
    places = np.array([frame.place for frame in frames])
    order = np.argsort(places @ normal, kind="stable")
    places = places[order]
    step = normal * sizes[0, 2]
    if len(frames) > 1:
        _check_even(path, places, normal)
        step = (places[-1] - places[0]) / (len(frames) - 1)
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([row * sizes[0, 1], column * sizes[0, 0], step, places[0]])
    spacing = (float(np.linalg.norm(step)), float(sizes[0, 0]), float(sizes[0, 1]))
    return Series(path, tuple(frames[place] for place in order), header, matrix, spacing)


def _check_even(path: Path, places: NDArray[np.float64], normal: NDArray[np.float64]) -> None:
    """Refuse sorted places that do not lie one step apart each."""
    steps = np.diff(places, axis=0)
    along = steps @ normal
    usual = float(np.median(along))
    double = int((along <= UNEVEN * max(usual, 1e-6)).sum())
    if double:
        raise FormatError(
            f"{path} holds {double} slices that lie where another one does: expected each place "
            "once. Copies, or several times or echoes of one series? Put them into folders of "
            "their own."
        )
    gaps = np.rint(along / usual)
    missing = int(gaps.sum()) - len(gaps)
    whole = np.abs(along - gaps * usual).max() <= UNEVEN * usual * gaps.max()
    if missing > 0 and whole:
        where = places[int(np.argmax(gaps > 1))] @ normal
        raise FormatError(
            f"{path} lacks {missing} slices: the others are {usual:g} mm apart, but after that at "
            f"{where:g} mm there is a gap. Copy the series again."
        )
    even = (places[-1] - places[0]) / len(steps)
    if np.abs(steps - even).max() > UNEVEN * np.linalg.norm(even):
        raise FormatError(
            f"{path} holds slices at uneven distances, from {along.min():g} to {along.max():g} mm: "
            "expected one distance, within 1 %. Resample the series, or leave out the others."
        )
