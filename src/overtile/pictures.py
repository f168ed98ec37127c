"""Pictures: outlines on images, error maps, curves. The only door to matplotlib, which is imported
where a curve is drawn: overlays do without.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy import ndimage
from skimage.segmentation import find_boundaries

from overtile.legend import ORANGE, PURPLE, SKY, Legend
from overtile.model.history import HistoryRow

TRUTH, PREDICTION = SKY, ORANGE
MISSED, INVENTED, CONFUSED, UNLABELLED = SKY, ORANGE, PURPLE, (128, 128, 128)

GRAYS = 250
"""With some colours on top they fit a PNG's palette of 256, which is a third of the size of RGB."""

TINT = 0.35
"""How opaque the colour of a class is: enough to tell it, and the image shows through."""


def to_rgb(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An image (c y x) of any type as RGB (y x 3), its darkest and brightest 0.5 % saturated.

    Three channels are colours; of any other number, the first is shown in gray. A constant image
    is black, and so are pixels that are not finite.
    """
    shown = (image if len(image) == 3 else image[:1]).astype(np.float64)
    finite = np.isfinite(shown)
    low, high = np.percentile(shown[finite], (0.5, 99.5)) if finite.any() else (0.0, 0.0)
    shown[~finite] = low
    scaled = np.clip((shown - low) / max(float(high - low), 1e-12), 0, 1)
    levels = (np.round(scaled * (GRAYS - 1)) * (255 / (GRAYS - 1))).astype(np.uint8)
    return np.array(np.broadcast_to(np.moveaxis(levels, 0, -1), (*image.shape[1:], 3)))


def overlay(
    image: NDArray[np.generic],
    prediction: NDArray[np.integer],
    truth: NDArray[np.integer] | None = None,
    *,
    legend: Legend | None = None,
) -> NDArray[np.uint8]:
    """Outlines on an image.

    Parameters
    ----------
    image
        (c y x), any type.
    prediction
        Class or object ids (y x); its outlines are orange. Pixels of -1, unlabelled, have neither
        outline nor tint.
    truth
        The same for the truth; its outlines are blue, and lie below: blue is seen where the two
        differ. Pixels of -1 have no outline.
    legend
        Of a prediction that is class ids, to let those above 0 shine through in its colours.

    Returns
    -------
    array of uint8
        RGB (y x 3).
    """
    picture, prediction = to_rgb(image), np.maximum(prediction, 0)
    if legend is not None:
        tints = legend.table[prediction]
        mixed = np.round((1 - TINT) * picture + TINT * tints).astype(np.uint8)
        picture = np.where((prediction > 0)[..., None], mixed, picture)
    if truth is not None:
        picture[find_boundaries(np.maximum(truth, 0), mode="inner")] = TRUTH
    picture[find_boundaries(prediction, mode="inner")] = PREDICTION
    return picture


def error_map(
    image: NDArray[np.generic], truth: NDArray[np.integer], prediction: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Where a prediction is wrong, on a dimmed image.

    Parameters
    ----------
    image
        (c y x).
    truth, prediction
        Class ids (y x); the truth is -1 where unlabelled, which is shown in gray.

    Returns
    -------
    array of uint8
        RGB (y x 3): blue where something was missed, orange where it was invented on background,
        purple where one class was taken for another.
    """
    picture = (to_rgb(image) * 0.45).astype(np.uint8)
    wrong = (truth != prediction) & (truth >= 0)
    picture[wrong & (prediction == 0)] = MISSED
    picture[wrong & (truth == 0)] = INVENTED
    picture[wrong & (truth > 0) & (prediction > 0)] = CONFUSED
    picture[truth < 0] = UNLABELLED
    return picture


def to_png(picture: NDArray[np.uint8]) -> bytes:
    """RGB (y x 3) as the bytes of a PNG file, without loss; with a palette where that will do."""
    codes = picture.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    found, places = np.unique(codes, return_inverse=True)
    drawn = Picture.fromarray(picture)
    if len(found) <= 256:
        drawn = Picture.fromarray(places.reshape(codes.shape).astype(np.uint8))
        drawn.putpalette(np.stack([found >> 16, found >> 8, found], -1).astype(np.uint8).tobytes())
    file = io.BytesIO()
    drawn.save(file, "PNG", optimize=True)
    return file.getvalue()


def curves(history: Sequence[HistoryRow]) -> bytes:
    """The loss and the learning rate along a training run, as the bytes of an SVG file.

    Parameters
    ----------
    history
        At least one row. The loss of each is thin; bold is a Gaussian mean over a sixtieth of them.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    steps = [row.step for row in history]
    loss = np.array([row.loss for row in history])
    above.plot(steps, loss, color="#0072B2", alpha=0.3, linewidth=1)
    smooth = ndimage.gaussian_filter1d(loss, max(1.0, len(loss) / 60), mode="nearest")
    above.plot(steps, smooth, color="#0072B2", linewidth=2)
    above.set_ylabel("loss")
    if loss.min() > 0:
        above.set_yscale("log")
    below.plot(steps, [row.learning_rate for row in history], color="#D55E00", linewidth=1.5)
    below.set_ylabel("learning rate")
    below.set_xlabel("step")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
