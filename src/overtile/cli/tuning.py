"""The command `overtile tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from overtile.cli import options as given


def tune(
    images: given.DataSet,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for what is found.")],
    labels: given.Labels = None,
    minutes: given.TuneMinutes = 60.0,
    trials: given.Trials = None,
    trial_minutes: given.TrialMinutes = None,
    folds: given.TuneFolds = None,
    holdout: given.Holdout = None,
    layout: given.LayoutName = None,
    preset: given.Recipe = given.Preset.default,
    network: given.NetworkName = None,
    settings: given.SettingsFile = None,
    setting: given.Changes = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    labels_are: given.Meaning = given.LabelsAre.auto,
    ignore: given.Ignore = None,
    colours: given.Colours = None,
    repair: given.Repair = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an earlier study.")] = False,
    overwrite: given.Overwrite = False,
) -> None:
    """Find settings that train better on your data than those that would be taken."""
    from overtile.cli.changing import label_changes
    from overtile.cli.searching import run_tuning
    from overtile.cli.training import Choice, find_and_choose

    changes = [*(setting or []), *([] if seed is None else [f"seed={seed}"])]
    changes += label_changes(labels_are.value, ignore, colours, repair=repair)
    choice = Choice(preset.value, settings, network, None, tuple(changes), None)
    pairs, chosen = find_and_choose(images, labels, layout, choice)
    run_tuning(
        pairs,
        output,
        chosen,
        [str(images), *([] if labels is None else [str(labels)])],
        keep=choice.keep(chosen),
        minutes=minutes,
        trials=trials,
        trial_minutes=trial_minutes,
        folds=folds,
        holdout=holdout,
        resume=resume,
        overwrite=overwrite,
    )
