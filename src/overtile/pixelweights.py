"""How much each pixel counts in the loss (Ronneberger et al. 2015, equation 2).

::

    w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2))

with w_c the weight of the pixel's class, and d1, d2 the distances to the nearest and the second
nearest object.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from overtile.settings import PixelWeightSettings

NEGLIGIBLE = 5e-5
"""A border term below this is left at 0."""


def class_weights(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """w_c = n / (K n_k), which gives every class the same total weight.

    Parameters
    ----------
    counts
        n_k, the labelled pixels of each class, over all training images together: a weight per
        image would tell the network to expect as much of a class in every image.

    Returns
    -------
    array of float64
        One weight per class, with mean 1 over the n pixels. K counts the classes that there are; a
        class without pixels gets 0, which no pixel uses.
    """
    present = counts > 0
    share = counts.sum() / max(int(present.sum()), 1)
    return np.where(present, share / np.maximum(counts, 1), 0.0)


def border_weight(
    objects: NDArray[np.integer], weight: float = 10.0, sigma_px: float = 5.0
) -> NDArray[np.float32]:
    """The border term of every pixel between objects.

    Parameters
    ----------
    objects
        Ids, 0 for background; any number of dimensions.
    weight, sigma_px
        w0 and sigma.

    Returns
    -------
    array of float32
        From 0 to `weight`: on background, by the distances between pixel centres to the two nearest
        objects; 0 on objects, where the term is below 5e-5, and everywhere with one object or none.

    Notes
    -----
    The term is negligible where d1 + d2 > R, so each object matters only within R of its bounding
    box, and only where it can be the nearer or the second. One distance transform per object on
    that box, keeping the two smallest, is exact there; a transform per object on the whole image
    would cost the number of objects times as much.
    """
    if weight <= NEGLIGIBLE:
        return np.zeros(objects.shape, np.float32)
    first = np.full(objects.shape, np.inf, np.float32)
    second = first.copy()
    reach = sigma_px * math.sqrt(2 * math.log(weight / NEGLIGIBLE))
    grow = math.ceil(reach)
    boxes: Sequence[tuple[slice, ...] | None] = ndimage.find_objects(objects)
    for number, box in enumerate(boxes, start=1):
        if box is None:  # a number that no object has
            continue
        around = tuple(slice(max(part.start - grow, 0), part.stop + grow) for part in box)
        distance = _distance_to(objects[around] == number)
        near, next_near = first[around], second[around]
        np.minimum(next_near, np.maximum(near, distance), out=next_near)
        np.minimum(near, distance, out=near)
    with np.errstate(over="ignore"):
        together = first + second
    together[(objects != 0) | (together > reach)] = np.inf
    return np.asarray(weight * np.exp(-((together / sigma_px) ** 2) / 2), np.float32)


def _distance_to(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    distance = ndimage.distance_transform_edt(~mask)
    return np.asarray(distance, np.float32)


def pixel_weights(
    classes: NDArray[np.integer],
    objects: NDArray[np.integer],
    of_class: NDArray[np.floating],
    settings: PixelWeightSettings,
) -> NDArray[np.float32]:
    """The pixel weight of every pixel: of its class, plus the border term.

    Parameters
    ----------
    classes
        Class ids, -1 where unlabelled: there the weight is 0.
    objects
        Ids, 0 for background, same shape.
    of_class
        The weight of each class.
    settings
        Of the border term.
    """
    weight = np.asarray(of_class, np.float32)[np.maximum(classes, 0)]
    if settings.border_weight:
        weight = weight + border_weight(objects, settings.border_weight, settings.border_sigma_px)
    return np.where(classes < 0, np.float32(0), weight).astype(np.float32)
