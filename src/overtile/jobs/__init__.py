"""The verbs on images with labels: plan and train a segmenter, score one, and compare two."""

from overtile.jobs.finding import VOLUME_NETWORK, find_pairs
from overtile.jobs.scoring import compare, evaluate, evaluate_with, pairs_to_compare
from overtile.jobs.training import DEFAULT_MINUTES, choose, plan, train

__all__ = [
    "DEFAULT_MINUTES",
    "VOLUME_NETWORK",
    "choose",
    "compare",
    "evaluate",
    "evaluate_with",
    "find_pairs",
    "pairs_to_compare",
    "plan",
    "train",
]
