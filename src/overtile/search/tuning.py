"""Settings found by trying, on images inside the training part."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from overtile import jobs
from overtile.errors import SettingsError, optional
from overtile.evaluation.measure import mean
from overtile.labels import Kind
from overtile.layouts import Content, Pairs, select
from overtile.planning import Budget
from overtile.presets import Preset
from overtile.search.begun import open_folder, read_begun
from overtile.search.folds import split_folds
from overtile.search.opening import Opened, open_data
from overtile.search.scoring import main_score, score, write_csv
from overtile.search.space import Tried, Value, changed, space_around
from overtile.search.study import Limits, Objective, Study, Trial
from overtile.search.trainings import described, kept, sharing, stop_if_interrupted
from overtile.settings import Settings, to_explained_yaml

if TYPE_CHECKING:
    from overtile.planning import Plan
    from overtile.training import Progress

RECORD = "tune.yaml"
JOURNAL = "trials.journal"
TABLE = "trials.csv"
BEST = "settings.yaml"

FOLDS = 3
"""Of the training part: two of three images to train on, and scores of all."""

TRIALS = 20
"""So many trials share the time, where nothing else is said."""

TRAINED = 0.8
"""Of the time, what trials train, where nothing else is said; the rest is for scoring them."""


@dataclass(frozen=True)
class Tuning:
    """What trying came to.

    Attributes
    ----------
    settings
        The best found.
    best, trials
        The best of the trials, and all.
    importances
        What share of the differences each setting makes; empty where too few trials say.
    ended
        By ``time``, enough ``trials``, or ``interrupt``.
    """

    settings: Settings
    best: Trial
    trials: tuple[Trial, ...]
    importances: dict[str, float]
    ended: Literal["time", "trials", "interrupt"]


def tune(
    images: Content | Pairs,
    labels: Content | None = None,
    *,
    output: str | Path,
    minutes: float,
    trials: int | None = None,
    trial_minutes: float | None = None,
    trial_steps: int | None = None,
    folds: int | None = None,
    layout: str | None = None,
    holdout: str | Iterable[int] | None = None,
    settings: Preset | Settings = "default",
    keep: Iterable[str] | None = None,
    network: str | None = None,
    labels_are: Literal["auto"] | Kind = "auto",
    resume: bool = False,
    overwrite: bool = False,
    started: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
    on_plan: Callable[[Plan], None] = lambda _: None,
    on_space: Callable[[Sequence[Tried]], None] = lambda _: None,
    on_trial: Callable[[Trial], None] = lambda _: None,
    on_step: Callable[[Progress], None] = lambda _: None,
) -> Tuning:
    """The settings that score best by cross-validation inside the training part.

    The first trial has the settings that are given, so that the result is never worse than they are
    by the score that is compared: `overtile.search.scoring.main_score`, mean over the folds. Other
    trials are given up after a fold where their score is below the median of those before them.

    Parameters
    ----------
    images, labels, layout, settings, keep, network, labels_are, started, on_step
        As in `overtile.train`.
    output
        Folder for ``settings.yaml``, the best so far, ``trials.csv``, and what is needed to resume.
    minutes
        For all trials together, also those of a study that is resumed. A trial that may not end in
        time is not begun.
    trials
        The most of them; by default as many as there is time for.
    trial_minutes
        Of training in one trial, for all its folds; by default a share of four fifths of the
        minutes, for 20 trials or as many as are asked for.
    trial_steps
        Instead: steps of each training. What a trial takes is then known from earlier ones only.
    folds
        Of each trial; by default 3, or 2 where there are no more groups of images.
    holdout
        Images that are never read; as in `overtile.train`.
    resume, overwrite
        Whether to go on with an earlier study in `output`, or to replace it.
    tell
        Told in sentences what comes next.
    on_plan
        Told the plan that all trainings follow, unless it was made before.
    on_space, on_trial
        Told what is tried, and every trial that ended.

    Raises
    ------
    MissingError
        Optuna is not installed.
    DataError, SettingsError, OutputError
        As `overtile.train` says of the first trial, and as `overtile.cross_validate`; or no trial
        was finished in the time.
    KeyboardInterrupt
        Ctrl-C before the first trial was finished; later it ends the study, and the best so far is
        kept.
    """
    started = time.monotonic() if started is None else started
    opened = open_data(
        images,
        labels,
        layout=layout,
        holdout=holdout,
        settings=settings,
        keep=keep,
        network=network,
        labels_are=labels_are,
    )
    parts = split_folds(opened.pairs, folds or _folds(opened.pairs))
    folder = Path(output)
    length = _length(minutes, trials, trial_minutes, trial_steps, len(parts))
    if resume and trial_minutes is None and trial_steps is None:
        length = read_begun(folder / RECORD).length
    optional("optuna", "tune")  # before anything is replaced
    with sharing(length, len(parts), "--trial-minutes"):
        planned = open_folder(
            folder / RECORD,
            opened,
            parts,
            length,
            resume=resume,
            overwrite=overwrite,
            on_plan=on_plan,
        )
    space = space_around(planned)
    study = Study(folder / JOURNAL, space, planned.seed)
    earlier = study.seconds / 60
    tell(
        f"Up to {minutes:g} min"
        + (f", of which earlier trials took {earlier:.2g}" if earlier else "")
        + f"; each trial trains on {len(parts)} folds of "
        f"{len(opened.pairs)} images, {described(length)} each, and is given up after a fold where "
        "it is below the median."
    )
    on_space(space)

    def ended_one(trial: Trial) -> None:
        _write(folder, study, space, planned)
        on_trial(trial)

    spent = time.monotonic() - started
    ended = study.run(
        _objective(opened, planned, parts, length, on_step),
        Limits(60 * minutes - spent, trials, len(parts), 60 * (length.minutes or 0)),
        ended_one,
    )
    best = study.best
    if best is None:
        if ended == "interrupt":
            raise KeyboardInterrupt
        raise SettingsError(
            f"No trial was finished in {minutes:g} min: expected time for {len(parts)} "
            f"trainings of {described(length)} each, and their scoring. Give more --minutes, or "
            "less --trial-minutes."
        )
    found = _write(folder, study, space, planned)
    return Tuning(found, best, tuple(study.trials), study.importances(), ended)


def _folds(pairs: Pairs) -> int:
    """`FOLDS`, or 2 where there are no more groups."""
    groups = len(pairs.groups)
    return max(2, min(FOLDS, groups if groups > 1 else len(pairs)))


def _length(
    minutes: float, trials: int | None, trial_minutes: float | None, steps: int | None, parts: int
) -> Budget:
    """How long each training of a trial lasts."""
    if trials is not None and trials < 1:
        raise SettingsError(f"{trials} trials: expected 1 at least.")
    Budget(minutes)
    if steps is not None:
        return Budget(None if trial_minutes is None else trial_minutes / parts, steps)
    share = TRAINED * minutes / (trials or TRIALS)
    length = share if trial_minutes is None else trial_minutes
    if length > minutes:
        raise SettingsError(
            f"A trial of {length:g} min does not end in {minutes:g}: give more --minutes, or "
            "less --trial-minutes."
        )
    return Budget(length / parts)


def _objective(
    opened: Opened,
    base: Settings,
    parts: list[list[int]],
    length: Budget,
    on_step: Callable[[Progress], None],
) -> Objective:
    """Training without each part in turn, and the score on it."""

    def objective(values: dict[str, Value]) -> Iterator[tuple[str, float]]:
        settings = changed(base, values)
        for part in parts:
            with sharing(length, len(parts), "--trial-minutes"):
                segmenter = jobs.train(
                    opened.pairs,
                    **vars(length),
                    holdout=part,
                    settings=settings,
                    keep=kept(settings),
                    on_step=on_step,
                )
            stop_if_interrupted(segmenter)
            yield main_score(score(segmenter, select(opened.pairs, part)))

    return objective


def _write(folder: Path, study: Study, space: Sequence[Tried], base: Settings) -> Settings:
    """Keep the table of trials and the best settings so far, which are given back."""
    trials, best = study.trials, study.best
    parts = max((len(trial.parts) for trial in trials), default=0)
    names = [tried.name for tried in space]
    columns = ["trial", "state", "score", *(f"fold {n + 1}" for n in range(parts)), "seconds"]
    rows = [
        [
            *(trial.number, trial.state, trial.score, *trial.parts),
            *[math.nan] * (parts - len(trial.parts)),
            *(round(trial.seconds, 1), *(trial.values.get(n, math.nan) for n in names), trial.why),
        ]
        for trial in trials
    ]
    write_csv(folder / TABLE, [*columns, *names, "why"], rows)
    if best is None:
        return base
    settings = changed(base, best.values)
    reasons = {
        tried.name: _reason(tried, best, trials)
        for tried in space
        if best.values[tried.name] != tried.default
    }
    head = [f"# {line}\n" for line in _head(best, trials, space)]
    text = "".join(head) + to_explained_yaml(settings, reasons)
    fresh = folder / f"{BEST}.fresh"
    fresh.write_text(text)
    fresh.replace(folder / BEST)
    return settings


def _head(best: Trial, trials: Sequence[Trial], space: Sequence[Tried]) -> list[str]:
    """What a reader of the settings should know first."""
    complete = [trial for trial in trials if trial.state == "complete"]
    defaults = {tried.name: tried.default for tried in space}
    (first, *_) = [trial for trial in complete if trial.values == defaults]
    lines = [
        f"The best of {len(complete)} complete trials, number {best.number}: {best.measure} "
        f"{best.score:.4f}, mean of {len(best.parts)} folds inside the training part;",
        f"the settings it began with: {first.score:.4f}.",
    ]
    if best.number == first.number:
        return [*lines, "Nothing was changed: no trial was better than these."]
    return [
        *lines,
        "The best of many trials looks better than it is: what it is worth, held-out images say.",
    ]


def _reason(tried: Tried, best: Trial, trials: Sequence[Trial]) -> str:
    """Why a setting is changed: the scores of complete trials with the value, and without."""
    complete = [trial for trial in trials if trial.state == "complete"]
    was = f"Was {tried.default:g}"
    if tried.is_range:
        middle = statistics.median(trial.score for trial in complete)
        upper = [trial.values[tried.name] for trial in complete if trial.score >= middle]
        return f"{was}; the better half of the trials had {min(upper):.2g} to {max(upper):.2g}"
    value = best.values[tried.name]
    scores = {
        each: [trial.score for trial in complete if trial.values[tried.name] == each]
        for each in (value, tried.default)
    }
    said = [
        f"{mean(found):.4f} with {each:g} ({len(found)} trial{'s' * (len(found) != 1)})"
        for each, found in scores.items()
        if found
    ]
    return f"{was}; {best.measure} on average {', '.join(said)}"
