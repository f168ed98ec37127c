"""What `overtile train --fold` and `overtile tune` do around the verbs of the library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from overtile.cli import STARTED
from overtile.cli.describing import describe_classes, say_recognised
from overtile.cli.planning import print_plan
from overtile.cli.show import note, print_table, say, training_progress
from overtile.cli.training import run_training
from overtile.errors import SettingsError
from overtile.layouts import Pairs, split
from overtile.planning import Plan
from overtile.report import number
from overtile.search.crossvalidation import ENSEMBLE, cross_validate
from overtile.search.ensemble import train_ensemble
from overtile.search.folds import split_folds
from overtile.search.space import Tried
from overtile.search.study import Trial
from overtile.search.tuning import BEST, Tuning
from overtile.search.tuning import tune as tune_settings
from overtile.settings import Settings

FOLDS = 5
SHOWN = 10
"""Trials in the table, the best first; all are in the CSV."""

Which = int | Literal["all"] | None


def parse_fold(fold: str | None, folds: int | None) -> Which:
    """The number of a fold, all of them, or None where there are none.

    Raises
    ------
    SettingsError
        Something else, a fold beyond their number, or a number of folds alone.
    """
    count = folds or FOLDS
    if fold is None:
        if folds is not None:
            raise SettingsError(
                f"--folds {folds} says how many folds there are, not which to train: give "
                "--fold all, or --fold with a number, as well."
            )
        return None
    if fold == "all":
        return "all"
    if not fold.isdecimal() or not 1 <= int(fold) <= count:
        raise SettingsError(
            f"--fold {fold}: expected a number from 1 to {count}, or all. --folds says how many "
            "there are."
        )
    return int(fold)


def run_search(
    pairs: Pairs,
    output: Path,
    settings: Settings,
    which: Which,
    folds: int | None,
    ensemble: int | None,
    *,
    holdout: str | None,
    **options: Any,
) -> None:
    """Train once or several times, on all, without one fold, or without each in turn.

    Raises
    ------
    SettingsError
        An ensemble of all folds of another number than theirs; what the trainings say.
    """
    if which == "all" or ensemble is not None:
        options["on_plan"] = _teller(explained=options.pop("explain"))
    if which == "all" or ensemble is not None:
        _refuse_processes(options)
    if which == "all":
        count = folds or FOLDS
        if ensemble not in (None, count):
            raise SettingsError(
                f"--ensemble {ensemble}: --fold all trains {count} models, one for each fold. Give "
                f"--ensemble {count}, or --folds {ensemble}, or leave out --fold all."
            )
        options["ensemble"] = ensemble is not None
        run_cross_validation(pairs, output, settings, count, holdout=holdout, **options)
        return
    left_out: str | list[int] | None = holdout
    if which is not None:
        pairs, _ = split(pairs, holdout)
        left_out = split_folds(pairs, folds or FOLDS)[which - 1]
    if ensemble is None:
        run_training(pairs, output, settings, holdout=left_out, **options)
        return
    run_ensemble(pairs, output, settings, members=ensemble, holdout=left_out, **options)


def _teller(*, explained: bool) -> Callable[[Plan], None]:
    """What says the plan that several trainings follow."""

    def tell(plan: Plan) -> None:
        if explained:
            print_plan(plan)
        say(f"Plan of each: {plan.describe()}")

    return tell


def _refuse_processes(options: dict[str, Any]) -> None:
    """Take the options that several trainings have not from all others, if they say nothing.

    Raises
    ------
    SettingsError
        They ask for several processes, or for programs that follow a training.
    """
    devices, nodes, loggers = (options.pop(name) for name in ("devices", "nodes", "loggers"))
    if devices * nodes > 1 or loggers:
        raise SettingsError(
            "--devices, --nodes and --logger are for a single training, and several are asked for: "
            "give them with --fold 1, --fold 2 and so on, or with --seed 1, --seed 2 and "
            "'overtile ensemble'."
        )


def run_ensemble(pairs: Pairs, output: Path, settings: Settings, **options: Any) -> None:
    """Train several models, and say what came of them."""
    say_recognised(pairs, options["holdout"])
    try:
        with training_progress() as tell:
            made = train_ensemble(
                pairs,
                output=output,
                settings=settings,
                started=STARTED,
                tell=say,
                on_step=tell,
                **options,
            )
    except KeyboardInterrupt:
        note("Models that were finished are kept: the same command with --resume goes on.")
        raise
    origin = made.model.origin
    say(
        f"{output}: {options['members']} models as one, whose probabilities are averaged; classes "
        f"{describe_classes(made.model)}; {origin.steps} steps in {origin.seconds:.0f} s."
    )


def run_cross_validation(
    pairs: Pairs, output: Path, settings: Settings, folds: int, **options: Any
) -> None:
    """Train and score each fold, and print the table."""
    say_recognised(pairs, options["holdout"])
    try:
        with training_progress() as tell:
            result = cross_validate(
                pairs,
                output=output,
                settings=settings,
                folds=folds,
                started=STARTED,
                tell=say,
                on_step=tell,
                **options,
            )
    except KeyboardInterrupt:
        note("Folds that were finished are kept: the same command with --resume goes on.")
        raise
    columns, rows = result.table()
    shown = [[str(name), *(number(float(str(value))) for value in rest)] for name, *rest in rows]
    print_table(
        f"Out of fold: means over images, each scored by a model that never saw it "
        f"({len(result.rows)} images), and 95 % intervals of the mean",
        columns,
        shown,
    )
    say(f"{output}: models fold-1 to fold-{folds}, folds.csv, and images.csv with every image.")
    if options["ensemble"]:
        say(f"{output / ENSEMBLE}: these models as one, whose probabilities are averaged.")


def run_tuning(
    pairs: Pairs, output: Path, settings: Settings, data: Sequence[str], **options: Any
) -> None:
    """Say what is tried, and what came of each trial and of all."""
    say_recognised(pairs, options["holdout"])
    with training_progress() as tell:
        result = tune_settings(
            pairs,
            output=output,
            settings=settings,
            started=STARTED,
            tell=say,
            on_plan=_teller(explained=False),
            on_space=_print_space,
            on_trial=_say_trial,
            on_step=tell,
            **options,
        )
    _print_result(result)
    if result.ended == "interrupt":
        note("Interrupted; the best so far is kept, and --resume goes on.")
    best = output / BEST
    say(f"{best}: to be trained from with 'overtile train {' '.join(data)} --settings {best}'.")


def _print_space(space: Sequence[Tried]) -> None:
    rows = [[tried.name, str(tried), f"{tried.default:g}", tried.why] for tried in space]
    print_table("What is tried", ["setting", "values", "first", "what it decides"], rows, text=4)


def _say_trial(trial: Trial) -> None:
    head, parts = f"Trial {trial.number}, {trial.seconds:.0f} s: ", len(trial.parts)
    if trial.state == "failed":
        say(f"{head}failed. {trial.why}")
    elif trial.state == "pruned":
        say(f"{head}{trial.measure} {number(trial.score)}, given up after {parts} of its folds.")
    else:
        say(f"{head}{trial.measure} {number(trial.score)}.")


def _print_result(result: Tuning) -> None:
    """The best trials, and what mattered."""
    names = list(result.best.values)
    first = result.trials[0].values
    order = {"complete": 0, "pruned": 1}
    ranked = sorted(result.trials, key=lambda t: (order.get(t.state, 2), -t.score))[:SHOWN]
    rows = []
    for trial in ranked:
        values = (
            f"{name.split('.')[1]} {trial.values[name]:.3g}"
            for name in names
            if name in trial.values and trial.values[name] != first[name]
        )
        cost = f"{trial.seconds:.0f}"
        what = ", ".join(values) or "as given"
        rows.append([str(trial.number), what, trial.state, number(trial.score), cost])
    columns = ["trial", "what differs", "state", result.best.measure, "seconds"]
    print_table(f"The best of {len(result.trials)} trials", columns, rows, text=3)
    if result.importances:
        shares = [[name, f"{share:.0%}"] for name, share in result.importances.items()]
        print_table("What mattered among them", ["setting", "share"], shares)
