"""The number of steps that a time holds, set again by how fast a run really is."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

KEPT = 50
"""Looks at the clock by which the present speed is known: one every ten steps."""


class Pace:
    """Keeps the planned steps of a run to the time that they are to end at.

    A plan measures a step for seconds, and the run goes on for minutes, on a machine that may do
    other things as well. Were its steps fixed, the run would end early, or be stopped before the
    learning rate has fallen.

    Parameters
    ----------
    end
        When the last step is to be done, on the clock of `time.monotonic`; infinite where the
        number of steps is fixed.
    most
        The largest of the numbers that several processes give, which thus agree.
    """

    def __init__(self, end: float, most: Callable[[float], float] = float) -> None:
        self.end = end
        self.most = most
        self.looks: deque[tuple[int, float]] = deque(maxlen=KEPT)

    def look(self, done: int, steps: int, now: float) -> int:
        """The steps to plan for, of which some are done; those planned before while unknown."""
        self.looks.append((done, now))
        first, since = self.looks[0]
        if math.isinf(self.end) or done == first or done >= steps:
            return steps
        step_s = (now - since) / (done - first)
        fit = done + max(0.0, self.end - now) / step_s
        return max(done + 1, int(-self.most(-fit)))
