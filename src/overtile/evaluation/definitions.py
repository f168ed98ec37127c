"""What every score is, in a sentence, with its source."""

from __future__ import annotations

from typing import Literal, NamedTuple

from overtile.metrics import AP_THRESHOLDS, TOLERANCE_PX


class Definition(NamedTuple):
    """What a score is.

    Attributes
    ----------
    text
        In a sentence or two.
    better
        Whether a ``higher`` or a ``lower`` one is better; empty of a plain number.
    main
        Whether it is shown of every image.
    """

    text: str
    better: Literal["higher", "lower", ""] = "higher"
    main: bool = False


_AP = (
    "TP / (TP + FP + FN) of objects matched one to one with an IoU of {} or more, as in StarDist's "
    "tables (doi:10.1007/978-3-030-00934-2_30)"
)

DEFINITIONS: dict[str, Definition] = {
    "pixel error": Definition(
        "share of labelled pixels with the wrong class; of classes that overlap the mean over them",
        "lower",
        main=True,
    ),
    "pixel accuracy": Definition("1 - pixel error"),
    "mean IoU": Definition("mean over the classes that occur in truth or prediction", main=True),
    "mean Dice": Definition("the same without the background", main=True),
    "mean accuracy": Definition(
        "mean over the classes that occur in the truth (Long et al. 2015, "
        "doi:10.1109/CVPR.2015.7298965)"
    ),
    "IoU": Definition(
        "TP / (TP + FP + FN) of pixels; not defined where the class is in neither truth nor "
        "prediction, 0 where it is in one of them"
    ),
    "Dice": Definition("2 TP / (2 TP + FP + FN) of pixels; defined where IoU is"),
    "accuracy": Definition(
        "TP / (TP + FN): the share of the pixels of a class that were found; not defined without "
        "such pixels"
    ),
    "boundary F1": Definition(
        f"F1 of boundary pixels that lie within {TOLERANCE_PX:g} px of the other boundary "
        "(doi:10.5244/C.27.32); not defined where neither has a boundary, 0 where one has"
    ),
    "surface Dice": Definition(
        f"share of both surfaces within {TOLERANCE_PX:g} times the shortest side of a pixel of the "
        "other (doi:10.2196/26151); not defined where neither has one, 0 where one has"
    ),
    "Hausdorff 95": Definition(
        "distance within which 95 % of either surface lies, in the unit of the pixels' size where "
        "all images state it, else in px; not defined where a class is missing in truth or "
        "prediction (surface Dice is 0 there if it is in the other); cannot be pooled",
        "lower",
    ),
    "mean boundary F1": Definition("mean over the classes but the background"),
    "mean surface Dice": Definition("mean over the classes but the background"),
    "mean Hausdorff 95": Definition("mean over the classes but the background", "lower"),
    "calibration error": Definition(
        "mean difference of confidence and share of right pixels, over 15 bins of the confidence "
        "of the predicted class (Guo et al. 2017, arXiv:1706.04599)",
        "lower",
    ),
    "warping error": Definition(
        "share of pixels that are wrong after the truth's boundaries were moved to those predicted "
        "without a change of topology (Jain et al. 2010, doi:10.1109/CVPR.2010.5539950), at a "
        "probability of 0.5",
        "lower",
        main=True,
    ),
    "V_rand": Definition(
        "Rand F-score of thinned segments (doi:10.3389/fnana.2015.00142) at the one threshold that "
        "is best for all images; not defined without foreground in the truth",
        main=True,
    ),
    "V_info": Definition(
        "information-theoretic F-score of the same segments (doi:10.3389/fnana.2015.00142)",
        main=True,
    ),
    "Rand error": Definition("1 - F-score of pixel pairs of the same segments", "lower", main=True),
    "mean AP 0.5-0.9": Definition(
        "mean of the AP at IoU 0.5, 0.55, ..., 0.9; an image without objects in truth and "
        "prediction has none of the scores of objects",
        main=True,
    ),
    **{
        f"AP at {threshold:g}": Definition(_AP.format(f"{threshold:g}"), main=threshold == 0.5)
        for threshold in AP_THRESHOLDS
    },
    "PQ": Definition(
        "panoptic quality: sum of IoU / (TP + FP / 2 + FN / 2) of objects matched with an IoU "
        "above 0.5 (doi:10.1109/CVPR.2019.00963)",
        main=True,
    ),
    "AJI": Definition("aggregated Jaccard index (doi:10.1109/TMI.2017.2677499)"),
    "SEG": Definition(
        "mean Jaccard index of the true objects, 0 for those of which nothing covers more than "
        "half (Cell Tracking Challenge, doi:10.1038/nmeth.4473); not defined without true objects",
        main=True,
    ),
    "DET": Definition(
        "1 - cost of mending the detection / cost of drawing it from nothing (Cell Tracking "
        "Challenge, doi:10.1371/journal.pone.0144959); not defined without true objects",
        main=True,
    ),
    "objects": Definition("number of true objects", ""),
    "predicted objects": Definition("number of predicted objects", ""),
    "count error": Definition("the difference of the two, without its sign", "lower"),
}
"""By the name of the score, in the order of tables."""
