"""Training images -> the normalisation that fits them, with the reason in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from overtile.errors import DataError
from overtile.normalise import Normalisation
from overtile.normalise.statistics import Distribution, Moments, known_pixels
from overtile.settings import NormalisationSettings

UNLIKE = 8
"""Images whose deviations differ by more than this factor share no unit. Between the 10th and the
90th percentile of the images it is 1.1 to 1.9 in the sets of one instrument that were looked at,
5.6 in DSB 2018 (fluorescence and bright field mixed), and in the MR volumes of hippocampi 9 in the
first ten and 3600 in all."""

WITHIN = 0.5
"""A median deviation of the images below this share of that of all pixels: a normalised image
would hardly vary. It is 0.79 and more in sets of one kind of image, and 0.23 in DSB 2018, where
each image by itself raised the average precision from 0.53 to 0.68 in the same 400 steps."""

FEWEST = 4
"""Images from which either can be told."""

HEAVY = 0.5
"""Clipped intensities with less than this share of the deviation: the rest is due to a few pixels.
It is 0.94 and more in all sets that were looked at."""

MOSTLY_ZERO = 0.25
"""A share of pixels that are 0 in all channels, none being negative, from which they are a frame
around what was imaged."""

LARGEST = 1e37
"""Deviations beyond this would overflow in float32."""

NAMED = 4
"""So many channels are named in a sentence."""

CT = re.compile(r"(cta?|.*computed tomography)(?![a-z0-9])", re.IGNORECASE)
MR = re.compile(
    r"(mr[ai]?|t[12](w|c|ce|gd)?|flair|adc|dwi|swi|pd|.*magnetic resonance)(?![a-z0-9])",
    re.IGNORECASE,
)
"""Modalities as they are written; letters behind make another word of them, such as mRNA."""


def choose_normalisation(
    images: Iterable[tuple[NDArray[Any], NDArray[np.bool_]]],
    settings: NormalisationSettings,
    modalities: Sequence[str] = (),
) -> Normalisation:
    """The normalisation of a set of training images, measured in one pass.

    Parameters
    ----------
    images
        Each image (c *space), with the same number of channels in all, and where its label has
        another class than the first (*space). Missing pixels are left out.
    settings
        The scheme, or ``auto``: a fixed window for CT; each image by itself for MR, and where the
        contrast of images differs by more than a factor of 8, or is less than half of that of the
        set, because images differ mostly in brightness; percentiles where a few pixels make up more
        than half of the deviation; else mean and deviation.
    modalities
        What made the channels, where the data set says it: "CT", "MRI", "T1".

    Raises
    ------
    DataError
        A channel that is constant over the whole set carries nothing to learn from; intensities
        too large for float32; percentiles that leave no contrast.
    """
    seen = _Seen()
    for image, foreground in images:
        seen.add(image, foreground)
    seen.refuse_useless()
    made = _fitting(seen, settings, modalities)
    if not seen.missing:
        return made
    share = seen.missing / (seen.missing + seen.all.count)
    left_out = (
        f"{seen.missing} missing pixels ({share:.1%} of all) are left out, and weigh nothing."
    )
    return replace(made, reason=f"{made.reason} {left_out}")


def _fitting(
    seen: _Seen, settings: NormalisationSettings, modalities: Sequence[str]
) -> Normalisation:
    """The normalisation of the scheme that is set, or that fits."""
    if settings.window is not None:
        return _window(np.array([settings.window] * seen.channels), "as you said")
    scheme, why = (
        (settings.scheme, "as you said")
        if settings.scheme != "auto"
        else _scheme(seen, settings, modalities)
    )
    if scheme == "per-image":
        return _per_image(seen, why)
    low, high = settings.percentiles
    if scheme == "window":
        clip = seen.clip(settings, "labelled")
        _refuse_flat(clip[:, 0] == clip[:, 1], clip, settings)
        return _window(clip, f"the percentiles {low:g} and {high:g} of what is labelled, {why}")
    if scheme == "percentiles":
        return _percentiles(seen, settings, why)
    reason = (
        "Intensities are normalised by mean and standard deviation of the training images, "
        f"channel by channel, {why}."
    )
    return Normalisation(tuple(seen.all.mean.tolist()), tuple(seen.all.std.tolist()), reason=reason)


def _scheme(
    seen: _Seen, settings: NormalisationSettings, modalities: Sequence[str]
) -> tuple[Literal["mean-std", "percentiles", "window", "per-image"], str]:
    """What fits the images, and why, as the end of a sentence."""
    if modalities and all(CT.match(modality) for modality in modalities):
        return "window", "because the images are CT, whose unit is the same in all"
    if any(MR.match(modality) or CT.match(modality) for modality in modalities):
        named = ", ".join(modalities)
        return "per-image", f"because intensities of {named} have no common unit"
    factor = seen.unlikeness()
    if factor > UNLIKE:
        why = f"because the deviations of the training images differ {factor:.0f}-fold"
        return "per-image", f"{why} and so have no common unit"
    within = seen.within()
    if within < WITHIN:
        why = f"because a typical image varies by {within:.0%} of what the whole set does"
        return "per-image", why
    _, std = seen.values.clipped(seen.clip(settings, "any"))
    share = std / seen.all.std
    if 0 < share.min() < HEAVY:
        rest = f"{1 - share.min() ** 2:.0%}"
        return "percentiles", f"because a few extreme pixels make up {rest} of their variance"
    alike = f"the contrast of most images lies within a factor of {factor:.1f} and "
    alike = alike if len(seen.deviations) >= FEWEST else ""
    return "mean-std", f"because {alike}their variance is not that of a few pixels"


def _per_image(seen: _Seen, why: str) -> Normalisation:
    zero = not seen.negative and seen.zeros > MOSTLY_ZERO * seen.all.count
    reason = f"Each image is normalised by its own mean and standard deviation, {why}"
    reason += "; pixels that are 0, a frame around what was imaged, are left out." if zero else "."
    return Normalisation((), (), scheme="per-image", zero_is_background=zero, reason=reason)


def _window(clip: NDArray[np.float64], why: str) -> Normalisation:
    """A window that is scaled as if every intensity in it were equally frequent."""
    low, high = clip.T
    return Normalisation(
        tuple(((low + high) / 2).tolist()),
        tuple(((high - low) / np.sqrt(12)).tolist()),
        scheme="window",
        clip=_pairs(clip),
        reason=f"Intensities are clipped to the window {_named(clip)}, {why}.",
    )


def _percentiles(seen: _Seen, settings: NormalisationSettings, why: str) -> Normalisation:
    clip = seen.clip(settings, "any")
    mean, std = seen.values.clipped(clip)
    low, high = settings.percentiles
    _refuse_flat(std == 0, clip, settings)
    about = "" if seen.values.is_exact else ", estimated from a sample"
    reason = (
        f"Intensities are clipped to {_named(clip)}, the percentiles {low:g} and {high:g} of the "
        f"training images or, where these reach farther, of what is labelled{about}, and "
        f"normalised by mean and standard deviation of the result, {why}."
    )
    return Normalisation(
        tuple(mean.tolist()),
        tuple(std.tolist()),
        scheme="percentiles",
        clip=_pairs(clip),
        reason=reason,
    )


def _refuse_flat(
    flat: NDArray[np.bool_], clip: NDArray[np.float64], settings: NormalisationSettings
) -> None:
    """Raise what `choose_normalisation` says of percentiles, where a channel has no contrast."""
    low, high = settings.percentiles
    for channel in np.flatnonzero(flat):
        raise DataError(
            f"Channel {channel} has the same value, {clip[channel, 0]:g}, from the percentile "
            f"{low:g} to {high:g}: expected intensities that vary there. Use other "
            "normalisation.percentiles, or the scheme mean-std."
        )


def _pairs(clip: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    return tuple((float(low), float(high)) for low, high in clip)


def _named(clip: NDArray[np.float64]) -> str:
    """The first windows as they are printed."""
    shown = [f"[{low:.4g}, {high:.4g}]" for low, high in clip[:NAMED]]
    return ", ".join(dict.fromkeys(shown)) + (", ..." if len(clip) > NAMED else "")


class _Seen:
    """What is measured of a set while its images go by.

    Attributes
    ----------
    all, values
        Of all pixels.
    labelled
        Of the foreground's pixels.
    deviations
        Of each image, per channel.
    zeros, negative
        How many pixels are 0 in all channels; whether any is negative.
    missing
        How many pixels are.
    """

    def __init__(self) -> None:
        self.channels = 0
        self.deviations: list[NDArray[np.float64]] = []
        self.zeros, self.negative, self.missing = 0, False, 0

    def add(self, image: NDArray[Any], foreground: NDArray[np.bool_]) -> None:
        """One image more."""
        if not self.channels:
            self.channels = len(image)
            self.all = Moments(self.channels)
            self.values, self.labelled = Distribution(self.channels), Distribution(self.channels)
        here = Moments(self.channels)
        for values in known_pixels(image):
            here.add(values)
            self.values.add(values)
            self.zeros += int((values == 0).all(axis=0).sum())
            self.negative = self.negative or bool((values < 0).any())
        for values in known_pixels(image, inside=foreground):
            self.labelled.add(values)
        self.missing += image[0].size - here.count
        self.deviations.append(here.std)
        self.all.merge(here)

    def refuse_useless(self) -> None:
        """Raise what `choose_normalisation` says of channels."""
        for channel in np.flatnonzero(~(self.all.std < LARGEST)):
            raise DataError(
                f"Channel {channel} has intensities of a standard deviation beyond {LARGEST:g}, "
                "which no network can compute with: expected ordinary numbers. If such a value "
                "marks missing pixels, write NaN there, or declare it in the file."
            )
        for channel in np.flatnonzero(self.all.std == 0):
            raise DataError(
                f"Channel {channel} has the value {self.all.mean[channel]:g} at every pixel of "
                "every training image: expected intensities that vary. Leave the channel out, or "
                "check that images and labels were not exchanged."
            )

    def unlikeness(self) -> float:
        """How many times larger deviations of images are than those of other images.

        The 90th percentile of all images over the 10th, in the channel where it is largest; 1 of
        too few images.
        """
        deviations = self._deviations()
        if len(deviations) < FEWEST:
            return 1.0
        low, high = np.percentile(deviations, (10, 90), axis=0)
        return float((high / low).max())

    def within(self) -> float:
        """The median deviation of the images as a share of that of all pixels.

        In the channel where it is smallest; 1 of too few images.
        """
        deviations = self._deviations()
        if len(deviations) < FEWEST:
            return 1.0
        return float((np.median(deviations, axis=0) / self.all.std).min())

    def _deviations(self) -> NDArray[np.float64]:
        """Of the images that vary in every channel (n c)."""
        deviations = np.array(self.deviations)
        return deviations[(deviations > 0).all(axis=1)]

    def clip(
        self, settings: NormalisationSettings, of: Literal["any", "labelled"]
    ) -> NDArray[np.float64]:
        """(low, high) of each channel: percentiles of what is labelled, or the wider of both."""
        low, high = settings.percentiles
        ends = np.stack([self.values.percentile(low), self.values.percentile(high)], axis=1)
        if not len(self.labelled):
            return ends
        label = np.stack([self.labelled.percentile(low), self.labelled.percentile(high)], axis=1)
        if of == "labelled" and (label[:, 0] < label[:, 1]).all():
            return label
        return np.stack(
            [np.minimum(ends[:, 0], label[:, 0]), np.maximum(ends[:, 1], label[:, 1])], axis=1
        )
