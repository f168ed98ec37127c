"""Class maps as DICOM segmentations, through highdicom, beside the series that they belong to."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile.errors import FormatError, optional
from overtile.image import Image
from overtile.io.dicomseries import Series, read_series
from overtile.io.output import Content, Manner
from overtile.legend import UNLABELLED_VALUE, Legend, default_colours


def check_seg(image: Image, content: Content) -> None:
    """Pass where an image can become a DICOM-SEG.

    Raises
    ------
    FormatError
        It holds no class ids, or was not made of a DICOM series.
    """
    if content != "classes" or image.source is None:
        raise FormatError(
            "A .dcm is written as DICOM-SEG, which holds the class ids of a DICOM series that was "
            f"predicted; this would be {content} of "
            f"{'no DICOM series' if image.source is None else 'one'}. A .nii.gz holds it."
        )


def write_seg(path: Path, image: Image, manner: Manner) -> None:
    """Class ids as binary segments, one for each class but the background.

    Patient and study are copied from the series, as the standard demands.

    Raises
    ------
    FormatError
        As `check_seg`; or the class ids have another size than the series.
    """
    check_seg(image, manner.content)
    assert image.source is not None
    series = read_series(image.source)
    labels = np.asarray(image.data[()], np.uint8)
    sizes = (len(series.frames), int(series.header.Rows), int(series.header.Columns))
    if labels.size != np.prod(sizes) or labels.shape[-2:] != sizes[1:]:
        raise FormatError(
            f"The class ids have the shape {labels.shape}, and the series {image.source} has "
            f"{sizes}: expected those of the same slices."
        )
    # A segmentation has no value for what is not known: these pixels are in no segment.
    first = _first(manner.legend)
    segments = np.where(labels == UNLABELLED_VALUE, 0, labels.astype(np.uint16) + 1 - first)
    labels = segments.astype(np.uint8).reshape(sizes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _segmentation(series, labels, manner.legend).save_as(path, enforce_file_format=True)
    except Exception as error:
        raise FormatError(
            f"highdicom makes no segmentation of {image.source}, for '{error}': write a .nii.gz."
        ) from error


def _segmentation(series: Series, labels: NDArray[np.uint8], legend: Legend | None) -> Any:
    """The data set, its frames in the order of those of the series."""
    highdicom, pydicom = optional("highdicom", "medical"), optional("pydicom", "medical")
    paths = list(dict.fromkeys(frame.path for frame in series.frames))
    sources = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    if len(sources) == 1:  # of many frames, whose order is that of the file
        labels = labels[np.argsort([frame.number for frame in series.frames])]
    if legend is None:
        count = max(int(labels.max()), 1) + 1
        legend = Legend(tuple(f"class {n}" for n in range(count)), default_colours(count))
    return highdicom.seg.Segmentation(
        sources,
        labels,
        highdicom.seg.SegmentationTypeValues.BINARY,
        _describe(legend),
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="Overtile",
        manufacturer_model_name="Overtile",
        software_versions=version("overtile"),
        device_serial_number="0",
        series_description="Segmentation",
    )


def _first(legend: Legend | None) -> int:
    """The class id of segment 1: that of 0 where it is no background."""
    return 0 if legend is not None and legend.background is None else 1


def _describe(legend: Legend) -> list[Any]:
    """What each segment is: codes that say no more than that it is a structure of the body."""
    highdicom, codes = optional("highdicom", "medical"), optional("pydicom.sr.codedict", "medical")
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="Overtile",
        version=version("overtile"),
        family=codes.codes.DCM.ArtificialIntelligence,
    )
    known = list(zip(legend.names, legend.colours, strict=True))
    return [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name[:64],  # the longest that its type (LO) holds
            segmented_property_category=codes.codes.SCT.Tissue,
            segmented_property_type=codes.codes.SCT.AnatomicalStructure,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            display_color=highdicom.color.CIELabColor.from_rgb(*colour),
        )
        for number, (name, colour) in enumerate(known[_first(legend) :], start=1)
    ]
