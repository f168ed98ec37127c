"""How deep and how wide the network is."""

from __future__ import annotations

import math
from collections.abc import Callable

from overtile.errors import SettingsError
from overtile.fingerprint import Fingerprint
from overtile.geometry import Fields, per_axis
from overtile.planning.draft import Choice
from overtile.planning.limits import (
    FEWEST_PX,
    FEWEST_STEPS,
    FINE_OBJECT_PX,
    FINE_WIDTH,
    WIDER_STEPS,
    WIDTHS,
)
from overtile.settings import ConvolutionSettings, UNetSettings


def choose_strides(fingerprint: Fingerprint, depth: int) -> Choice:
    """The strides of the poolings of volumes: fewer along axes that are coarse or short."""
    spacing = fingerprint.spacing or (1.0,) * fingerprint.dimensions
    strides = strides_for(fingerprint.largest, spacing, depth)
    if all(stride == strides[0] for stride in strides):
        why = "pixels are about as long along every axis, and all axes are long enough"
    else:
        why = "an axis is pooled only where its pixels are not the longest and enough are left"
    return strides, f"{len(strides)} poolings: {why}."


def choose_depth(fingerprint: Fingerprint, depth: int, stem: int = 1) -> Choice:
    """The number of poolings of planes: the network's, or fewer where images are small.

    The stem is how many pixels it takes as one before them.
    """
    longest = max(fingerprint.largest) // stem
    able = max((n for n in range(1, depth + 1) if longest >> n >= FEWEST_PX), default=1)
    if able < depth:
        why = f"the largest image has {longest} px, of which more would leave fewer than"
        return able, f"{able} poolings: {why} {FEWEST_PX}."
    return depth, f"{depth} poolings, so that a pixel is seen with what surrounds it."


def fine_network(network: ConvolutionSettings, fingerprint: Fingerprint) -> UNetSettings | None:
    """The network that takes each pixel of planes by itself and sees as far as this one does.

    None where this one does so already, and for other labels than classes on a background whose
    regions are small, so that a good part of them is border: nothing was gained.
    """
    if not isinstance(network, UNetSettings) or network.dimensions != 2:
        return None
    together, area_px = max(network.together), _median_px(fingerprint)
    regions = fingerprint.kind == "classes" and fingerprint.background is not None
    if together == 1 or not (regions and 0 < area_px <= FINE_OBJECT_PX):
        return None
    depth, _ = choose_depth(fingerprint, network.depth + together.bit_length() - 1)
    return network.model_copy(update={"stem": 1, "depth": depth})


def _median_px(fingerprint: Fingerprint) -> float:
    """The median area of an object; 0 without any."""
    return fingerprint.object_px[2] if fingerprint.objects else 0.0


def why_fine(steps: float) -> Choice:
    """Each pixel by itself, for there is time for so many steps of such a network."""
    return 1, (
        f"Each pixel by itself: regions are small, and the time is enough for about {steps:.0f} "
        f"steps of {FINE_WIDTH} channels so, which find borders more exactly. Predicting takes "
        "about three times as long as with squares of 2 x 2 px as one (2)."
    )


def why_deep(depth: int) -> Choice:
    """As many poolings as show what squares of pixels would have shown with fewer."""
    return depth, f"{depth} poolings, for a pixel to be seen with as much of what surrounds it."


def strides_for(
    longest: tuple[int, ...], spacing: tuple[float, ...], depth: int
) -> tuple[tuple[int, ...], ...]:
    """The strides of at most `depth` poolings of volumes.

    An axis whose pixels are at least twice as long as the shortest is not pooled until the others
    have come up to it (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z, supplementary note 2),
    nor is one of which fewer than `FEWEST_PX` pixels would be left of the largest image.
    """
    lengths, sizes = list(longest), list(spacing)
    strides = []
    for _ in range(depth):
        able = [length // 2 >= FEWEST_PX for length in lengths]
        finest = min((size for size, may in zip(sizes, able, strict=True) if may), default=0.0)
        if not finest:
            break
        stride = tuple(
            2 if may and size < 2 * finest else 1 for size, may in zip(sizes, able, strict=True)
        )
        strides.append(stride)
        lengths = [length // step for length, step in zip(lengths, stride, strict=True)]
        sizes = [size * step for size, step in zip(sizes, stride, strict=True)]
    return tuple(strides) or ((2,) * len(spacing),) * depth


def check_depth(fields: Fields, fingerprint: Fingerprint) -> None:
    """Refuse a network that pools every image into less than a pixel.

    Raises
    ------
    SettingsError
        It is too deep.
    """
    longest = fingerprint.largest
    if all(field.grid > size for field, size in zip(fields, longest, strict=True)):
        raise SettingsError(
            f"The network pools {per_axis(field.grid for field in fields)} px into one, and no "
            f"image is larger than {per_axis(longest)} px: it is too deep for them. Use a lower "
            "network.depth, or a network with fewer poolings."
        )


def widths_for(network: ConvolutionSettings) -> list[int]:
    """The channels of the first level that are considered, the widest first."""
    usual = network.base_channels
    found = {usual, *WIDTHS[network.dimensions]}
    group = 8 if network.norm == "group" else 1  # channels that are normalised together
    return sorted((width for width in found if width % group == 0 or width == usual), reverse=True)


def choose_width(
    network: ConvolutionSettings, step_s: Callable[[int], float], left_s: float
) -> Choice:
    """The channels of the first level: the widest network that has enough steps to learn.

    Parameters
    ----------
    network
        As it would be otherwise.
    step_s
        From a number of channels to the predicted time of a step, in seconds.
    left_s
        Time for all steps together, in seconds; infinite where none is set.
    """
    usual = network.base_channels
    if math.isinf(left_s):
        return (
            usual,
            f"{usual} channels on the first level: no time was set, which would change it.",
        )
    widths, passed = widths_for(network), ""
    for width in widths:
        steps = left_s / step_s(width)
        enough = WIDER_STEPS if width > usual else FEWEST_STEPS
        if steps >= enough or width == widths[-1]:
            break
        passed = f"; {width} would leave {steps:.0f}, and {enough} are wanted"
    fits = f"the time is enough for about {steps:.0f} steps"
    if steps < enough:
        fits += f", fewer than {enough}, and less would hardly learn"
        passed = ""
    return width, f"{width} channels on the first level: {fits}{passed}."
