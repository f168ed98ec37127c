"""What can be wrong with one image, one label, or the two together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label as connected_regions

from overtile.doctor.findings import Finding, Row
from overtile.missing import find_missing

SPECK_PX = 3
"""A value whose regions are no larger on the average is a stray one ..."""
STRAY_SHARE = 0.4
"""... and a label with this share of stray values is damaged. Labels as published (CamVid, VOC,
DIC-HeLa, ISBI 2012) have at most 0.11; those of objects or of two classes, saved as JPEG of quality
98 and less or resized with interpolation, 0.6 and more."""
DAMAGED_VALUES = 5
"""Fewer values than this are left to the eye."""
REGIONS_A_VALUE = 1.25
"""Spots of one pixel, each with its own number, have one region a value: they are no damage."""
MANY_COLOURS = 1000
"""A label in colour with more of them is a photograph, or was saved as JPEG."""
FEW_VALUES = 20
"""An image with no more values than this looks like a label."""
EXCHANGE = "Exchange the two: images come first, then labels."
CLOSE_PX = 2
"""Sizes that differ by so little were cropped or rounded differently."""


@dataclass(frozen=True)
class LabelValues:
    """The values of one label, in order, with the pixels and face-connected regions of each."""

    values: NDArray[np.int64]
    pixels: NDArray[np.int64]
    regions: NDArray[np.int64]

    @property
    def damaged(self) -> bool:
        """Whether most values are stray ones, as JPEG and interpolation leave them."""
        count = len(self.values)
        if count < DAMAGED_VALUES or self.regions.sum() < REGIONS_A_VALUE * count:
            return False
        return bool(np.mean(self.pixels <= SPECK_PX * self.regions) >= STRAY_SHARE)


def count_values(label: NDArray[Any]) -> LabelValues:
    """The values of a label (*space) of whole numbers of any type."""
    whole = np.where(np.isnan(label), -1, label).astype(np.int64)  # NaN is not labelled
    no_value = int(whole.min()) - 1  # so that no value is passed over as background
    regions: NDArray[np.int64] = connected_regions(whole, background=no_value, connectivity=1)
    regions = regions.ravel() - 1
    sizes = np.bincount(regions)
    value_of = np.empty(len(sizes), np.int64)
    value_of[regions] = whole.ravel()
    values, place, counts = np.unique(value_of, return_inverse=True, return_counts=True)
    pixels = np.bincount(place, weights=sizes).astype(np.int64)
    return LabelValues(values, pixels, counts)


def find_specks(label: NDArray[Any]) -> NDArray[np.bool_]:
    """The pixels (*space) of values whose regions are small on the average."""
    counted = count_values(label)
    stray = counted.values[counted.pixels <= SPECK_PX * counted.regions]
    return np.isin(label, stray)


def describe_image(name: str, image: NDArray[Any]) -> Row:
    """The row of an image (c *space), its label still left out."""
    finite = image[np.isfinite(image)]
    low, high = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
    channels, *space = image.shape
    kind = str(image.dtype)
    return Row(name, tuple(space), kind, channels, float(low), float(high), {}, None)


def looks_like_label(image: NDArray[Any]) -> bool:
    """Whether an image has a few values only, but more than one."""
    return 1 < len(np.unique(image)) <= FEW_VALUES


def check_image(name: str, image: NDArray[Any], row: Row) -> Iterator[Finding]:
    """Infinity, missing pixels, a constant image."""
    infinite = np.count_nonzero(np.isinf(image))
    if infinite:
        yield Finding(
            "error",
            name,
            f"{infinite} of {image.size} values of the image are infinite.",
            "Replace them by numbers, or by NaN, which marks a pixel as missing.",
        )
    missing = find_missing(image)
    if missing is not None:
        every = bool(missing.all())
        yield Finding(
            "error" if every else "warning",
            name,
            f"{np.count_nonzero(missing)} of {missing.size} pixels of the image are missing (NaN).",
            "Leave it out, or check what its file declares to be no data."
            if every
            else "That is right where nothing was imaged: they are left out of training and "
            "scores, and predicted as unknown (class id 255, probability NaN).",
        )
    if row.low == row.high:
        yield Finding(
            "warning",
            name,
            f"The image is constant: every finite value is {row.low:g}.",
            "Leave it out, or export it again if it should show something.",
        )


def check_sizes(name: str, image: tuple[int, ...], label: tuple[int, ...]) -> Iterator[Finding]:
    """A label (*space) whose size is not that of the image, with a guess at the reason."""
    if image == label:
        return
    if sorted(label) == sorted(image):
        remedy = "Swap the axes of the label: transposed, or turned by a quarter, it would fit."
    elif max(abs(a - b) for a, b in zip(image, label, strict=True)) <= CLOSE_PX:
        remedy = "They differ by a pixel or two: crop or extend the label on the side that is off."
    elif all(a * label[0] == b * image[0] for a, b in zip(image, label, strict=True)):
        remedy = (
            "If it is the same picture at another scale, bring the label to the image's size "
            "without interpolation (nearest neighbour); otherwise check that they belong together."
        )
    else:
        remedy = "Check that image and label belong together, or draw the label again."
    sizes = [" x ".join(map(str, size)) for size in (label, image)]
    axes = " x ".join(("depth", "height", "width")[-len(image) :])
    found = f"The label has {sizes[0]} pixels, but the image {sizes[1]} ({axes})."
    yield Finding("error", name, found, remedy)


def check_label(
    name: str,
    image: NDArray[Any],
    label: NDArray[Any],
    *,
    in_colour: bool = False,
    repair: bool = False,
) -> tuple[LabelValues | None, list[Finding]]:
    """The values or colours of a label (*space), None without a meaning, and what was found."""
    if label.dtype.kind == "f" and repair:
        label = np.rint(label)
    if label.dtype.kind == "f":
        nothing = np.isnan(label) & ~np.isnan(label).all()  # some pixels are not labelled
        odd = label[~(nothing | (np.isfinite(label) & (label == np.round(label))))]
        if odd.size and not (repair and np.isfinite(odd).all()):
            found = f"The label holds values that are no whole numbers, such as {odd[0]:g}."
            remedy = "Save numbers of classes or objects; probabilities need a threshold first."
            return None, [Finding("error", name, found, remedy)]
    if any(np.array_equal(channel, label) for channel in image) and np.ptp(label) > 0:
        found = "Image and label are the same picture."
        remedy = "Give the labels that belong to the images: one of the two came twice."
        return None, [Finding("error", name, found, remedy)]
    values = count_values(label)
    many = in_colour and len(values.values) > MANY_COLOURS
    if (values.damaged or many) and not (repair and not looks_like_label(image)):
        return None, [_explain_specks(name, image, len(values.values))]
    if len(values.values) == 1:
        found = f"The label is empty: every pixel has the value {values.values[0]}."
        remedy = "Label it, or leave it so if the image shows nothing of interest."
        return values, [Finding("warning", name, found, remedy)]
    return values, []


def _explain_specks(name: str, image: NDArray[Any], count: int) -> Finding:
    if looks_like_label(image):
        found = (
            f"The label has {count} values, strewn like those of a photograph, and the image only "
            "a few, like a label."
        )
        return Finding("error", name, found, EXCHANGE)
    found = (
        f"The label has {count} values, strewn over specks of a few pixels, as JPEG "
        "compression and smooth resizing leave them."
    )
    remedy = (
        "Export it again as PNG or TIFF, resized, if at all, with nearest neighbour; or give "
        "--repair, which takes each stray value for the nearest class."
    )
    return Finding("error", name, found, remedy, find_specks)
