"""Standard metrics: first count, then score, so that counts of several images can be added."""

from overtile.metrics.mismatch import Mismatch, mismatch
from overtile.metrics.objects import Matches, average_precision, match_objects
from overtile.metrics.partitions import (
    PartitionScores,
    best_threshold,
    partition_scores,
    shared_pixels,
    thinned_segments,
)
from overtile.metrics.pixels import confusion, dice, iou, pixel_error

__all__ = [
    "Matches",
    "Mismatch",
    "PartitionScores",
    "average_precision",
    "best_threshold",
    "confusion",
    "dice",
    "iou",
    "match_objects",
    "mismatch",
    "partition_scores",
    "pixel_error",
    "shared_pixels",
    "thinned_segments",
]
