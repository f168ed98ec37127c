"""Fingerprint + machine + time -> settings, each with its reason.

`make_plan` makes all choices, for `overtile plan` and `overtile train` alike. There is a file for
each kind of choice; `limits` holds the numbers that they turn on, `draft` what is chosen so far.
"""

from overtile.planning.budget import FINISH_S, Budget, steps_for
from overtile.planning.machine import Machine, Timing
from overtile.planning.making import Plan, fit, make_plan

__all__ = [
    "FINISH_S",
    "Budget",
    "Machine",
    "Plan",
    "Timing",
    "fit",
    "make_plan",
    "steps_for",
]
