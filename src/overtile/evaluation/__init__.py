"""Model + pairs -> scores per image, per class and over all, with intervals."""

from overtile.evaluation.bootstrap import Interval
from overtile.evaluation.comparing import (
    Comparison,
    Difference,
    check_classes,
    compare_evaluations,
)
from overtile.evaluation.definitions import DEFINITIONS, Definition
from overtile.evaluation.evaluating import (
    Evaluation,
    Find,
    Predict,
    Row,
    evaluate_pairs,
    known_truth,
)
from overtile.evaluation.measure import Name
from overtile.evaluation.writing import write_csv, write_json

__all__ = [
    "DEFINITIONS",
    "Comparison",
    "Definition",
    "Difference",
    "Evaluation",
    "Find",
    "Interval",
    "Name",
    "Predict",
    "Row",
    "check_classes",
    "compare_evaluations",
    "evaluate_pairs",
    "known_truth",
    "write_csv",
    "write_json",
]
