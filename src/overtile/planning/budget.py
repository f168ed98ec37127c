"""How long to train, and how many steps that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from overtile.errors import SettingsError

FINISH_S = 4.0
"""Kept back from the time budget for calibrating and writing the model."""


@dataclass(frozen=True)
class Budget:
    """How long to train: exactly one of minutes, steps and epochs.

    Raises
    ------
    SettingsError
        None or several are given, or one that is not above 0.
    """

    minutes: float | None = None
    steps: int | None = None
    epochs: float | None = None

    def __post_init__(self) -> None:
        given = {k: v for k, v in vars(self).items() if v is not None}
        if len(given) != 1:
            raise SettingsError(
                f"Expected one of minutes, steps and epochs, got {' and '.join(given) or 'none'}: "
                "give one of them."
            )
        ((name, value),) = given.items()
        if value <= 0:
            raise SettingsError(f"{name} is {value:g}: give a number above 0.")


def steps_for(
    budget: Budget, *, step_s: float, elapsed_s: float, labelled_px: int, step_px: int
) -> int:
    """The number of steps of a run, as planned at its start.

    Parameters
    ----------
    budget
        Of the user.
    step_s
        Measured time of one step, loading included, in seconds.
    elapsed_s
        Time already used.
    labelled_px, step_px
        Labelled pixels of the training set, and output pixels of one step; an epoch sees as many
        of the one as of the other.

    Raises
    ------
    SettingsError
        The time is too short for a single step.
    """
    if budget.steps is not None:
        return budget.steps
    if budget.epochs is not None:
        return max(1, math.ceil(budget.epochs * labelled_px / step_px))
    assert budget.minutes is not None
    steps = int((60 * budget.minutes - elapsed_s - FINISH_S) / step_s)
    if steps < 1:
        needed = math.ceil((elapsed_s + FINISH_S + 10 * step_s) / 6) / 10
        raise SettingsError(
            f"{budget.minutes:g} min are too short: preparing took {elapsed_s:.0f} s and one "
            f"step takes {step_s:.2g} s. Give at least {needed:.1f} minutes."
        )
    return steps
