"""Trials of settings within a time: chosen and pruned by Optuna, of which this is the only door."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from overtile.errors import DataError, OvertileError, optional
from overtile.evaluation.measure import mean
from overtile.search.space import Tried, Value

Objective = Callable[[dict[str, Value]], Iterator[tuple[str, float]]]
"""From values of settings to name and score of a trial's parts, one after the other.

A trial that is given up is asked for no more of them.
"""

IN_FULL = 4
"""Trials before the first that may be given up, and that are chosen at random: with fewer, a median
says little."""

ENOUGH = 8
"""Complete trials for importances: with fewer, they are an accident."""

SPARE = 1.1
"""A trial is begun while there is so many times the time of the longest one."""

AGAIN = "interrupted; tried again"


@dataclass(frozen=True)
class Trial:
    """What came of some values.

    Attributes
    ----------
    number
        From 0, which are the settings that tuning begins with.
    state
        ``complete``; ``pruned`` after some of its parts, because it was below the median of the
        trials before it; ``failed``, and why; or ``running`` when the study was left.
    score, parts
        The mean of its parts, and each; NaN of none.
    seconds
        What it cost.
    values
        That were tried, by name.
    measure
        The name of the score.
    why
        It failed.
    """

    number: int
    state: Literal["complete", "pruned", "failed", "running"]
    score: float
    parts: tuple[float, ...]
    seconds: float
    values: dict[str, Value]
    measure: str = ""
    why: str = ""


@dataclass(frozen=True)
class Limits:
    """Where a study ends.

    Attributes
    ----------
    seconds
        For all trials, those of earlier sittings included.
    trials
        Their number at most; None for as many as there is time for.
    parts
        Of each trial.
    part_s
        What a part is thought to take, before any was made.
    """

    seconds: float
    trials: int | None
    parts: int
    part_s: float


class Study:
    """Trials, kept in a journal, so that a study that was killed goes on.

    Parameters
    ----------
    journal
        File that every event is added to; where it exists, its trials are those of the study.
    space
        What is tried.
    seed
        With the trials before it, it decides what a trial tries, killed in between or not.
    clock
        Seconds.

    Raises
    ------
    MissingError
        Optuna is not installed.
    """

    def __init__(
        self,
        journal: Path,
        space: Sequence[Tried],
        seed: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._optuna = optuna = optional("optuna", "tune")
        logging.getLogger("optuna").setLevel(logging.ERROR)
        journals = optional("optuna.storages.journal", "tune")
        self.seed, self.clock = seed, clock
        self.distributions = {
            tried.name: (
                optuna.distributions.FloatDistribution(*tried.values, log=True)
                if tried.is_range
                else optuna.distributions.CategoricalDistribution(tried.values)
            )
            for tried in space
        }
        self.study = optuna.create_study(
            storage=optuna.storages.JournalStorage(journals.JournalFileBackend(str(journal))),
            study_name="overtile",
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=IN_FULL),
        )
        self.defaults = {tried.name: tried.default for tried in space}
        if not self.study.trials:
            self.study.enqueue_trial(self.defaults)
        for trial in self.study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            self.study.enqueue_trial(trial.params)
            self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    @property
    def seconds(self) -> float:
        """What all trials took so far."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def trials(self) -> list[Trial]:
        """Those that were begun."""
        begun = self.study.get_trials(deepcopy=False)
        return [_plain(trial) for trial in begun if trial.state.name != "WAITING"]

    @property
    def best(self) -> Trial | None:
        """The complete one with the highest score; among equals the first."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        return max(complete, key=lambda trial: trial.score, default=None)

    def run(
        self, objective: Objective, limits: Limits, on_trial: Callable[[Trial], None]
    ) -> Literal["time", "trials", "interrupt"]:
        """Try, until the time is up, enough was tried, or Ctrl-C; why it ended.

        What was interrupted is tried again when the study goes on.

        Parameters
        ----------
        objective
            What makes a trial's parts. `OvertileError` of it, other than `DataError`, and memory
            that does not suffice, are a failed trial; except of the first, whose settings nobody
            had to try.
        on_trial
            Told every trial that ended.
        """
        end = self.clock() + limits.seconds - self.seconds
        while limits.trials is None or self._ended() < limits.trials:
            if self.clock() + limits.parts * self._part_s(limits) > end:
                return "time"
            # Newly seeded for each trial, a study that was killed chooses as if it had not been.
            self.study.sampler = self._optuna.samplers.TPESampler(
                n_startup_trials=IN_FULL, seed=self.seed + 1_000_003 * len(self.study.trials)
            )
            trial = self.study.ask(self.distributions)
            try:
                stopped = self._try(trial, objective, limits, end)
            except KeyboardInterrupt:
                return "interrupt"
            if stopped:
                return "time"
            on_trial(self.trials[-1])
        return "trials"

    def _ended(self) -> int:
        return sum(trial.state != "running" and trial.why != AGAIN for trial in self.trials)

    def _part_s(self, limits: Limits) -> float:
        """What a part may take, by the longest so far."""
        seen = [trial.seconds / len(trial.parts) for trial in self.trials if trial.parts]
        return SPARE * max(seen) if seen else limits.part_s

    def _try(self, trial: Any, objective: Objective, limits: Limits, end: float) -> bool:
        """Make a trial's parts, and say what came of it; whether it was left for want of time."""
        states, parts, began = self._optuna.trial.TrialState, list[float](), self.clock()
        try:
            for measure, part in objective(trial.params):
                parts.append(part)
                trial.set_user_attr("measure", measure)
                trial.set_user_attr("parts", parts)
                trial.set_user_attr("seconds", self.clock() - began)
                if not math.isnan(mean(parts)):
                    trial.report(mean(parts), len(parts))
                if len(parts) == limits.parts:
                    break
                if trial.should_prune():
                    self.study.tell(trial, state=states.PRUNED)
                    return False
                if self.clock() + self._part_s(limits) / SPARE > end:
                    return True
        except (OvertileError, MemoryError, RuntimeError) as error:
            is_first = trial.params == self.defaults
            if is_first or isinstance(error, DataError) or not _is_expected(error):
                raise
            trial.set_user_attr("seconds", self.clock() - began)
            trial.set_user_attr("why", str(error).splitlines()[0] if str(error) else "no memory")
            self.study.tell(trial, state=states.FAIL)
            return False
        if math.isnan(mean(parts)):
            if trial.params == self.defaults:
                raise DataError(
                    "No score is defined in any fold: expected labels with a class beside the "
                    "background, or objects. Look at the labels with 'overtile check'."
                )
            trial.set_user_attr("why", "no score is defined")
            self.study.tell(trial, state=states.FAIL)
        else:
            self.study.tell(trial, mean(parts))
        return False

    def importances(self) -> dict[str, float]:
        """What share of the differences in score each setting makes, largest first.

        By PED-ANOVA (Watanabe et al. 2023, doi:10.24963/ijcai.2023/488); empty where too few
        trials are complete to say.
        """
        complete = [trial for trial in self.trials if trial.state == "complete"]
        if len(complete) < ENOUGH or len({trial.score for trial in complete}) == 1:
            return {}
        importance = optional("optuna.importance", "tune")
        found: dict[str, float] = importance.get_param_importances(
            self.study, evaluator=importance.PedAnovaImportanceEvaluator()
        )
        return found


def _is_expected(error: Exception) -> bool:
    """Whether settings can be the cause: an error of ours, or too little memory."""
    text = str(error)
    memory = "out of memory" in text or "can't allocate memory" in text
    return memory or isinstance(error, OvertileError | MemoryError)


def _plain(trial: Any) -> Trial:
    states: dict[str, Literal["complete", "pruned", "failed", "running"]] = {
        "COMPLETE": "complete",
        "PRUNED": "pruned",
        "FAIL": "failed",
        "RUNNING": "running",
    }
    parts, state = tuple(trial.user_attrs.get("parts", ())), states[trial.state.name]
    return Trial(
        number=trial.number,
        state=state,
        score=mean(parts),
        parts=parts,
        seconds=trial.user_attrs.get("seconds", 0.0),
        values=dict(trial.params),
        measure=trial.user_attrs.get("measure", ""),
        why=trial.user_attrs.get("why", AGAIN if state == "failed" else ""),
    )
