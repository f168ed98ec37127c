"""The command `overtile plan`; it imports what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from overtile.cli import options as given


def plan(
    images: given.DataSet,
    labels: given.Labels = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file for the settings, such as settings.yaml."),
    ] = None,
    holdout: given.Holdout = None,
    layout: given.LayoutName = None,
    minutes: given.Minutes = None,
    steps: Annotated[int | None, typer.Option(help="Instead of minutes.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Instead of minutes.")] = None,
    preset: given.Recipe = given.Preset.default,
    network: given.NetworkName = None,
    settings: given.SettingsFile = None,
    setting: given.Changes = None,
    spacing: given.PixelSize = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    labels_are: given.Meaning = given.LabelsAre.auto,
    ignore: given.Ignore = None,
    colours: given.Colours = None,
    repair: given.Repair = False,
    overwrite: given.Overwrite = False,
) -> None:
    """Choose all settings of a training for these images and this machine, and say why."""
    from overtile.cli.changing import label_changes
    from overtile.cli.planning import run_planning
    from overtile.cli.training import Choice, find_and_choose

    changes = [*(setting or []), *([] if seed is None else [f"seed={seed}"])]
    if spacing is not None:
        changes.append(f"spacing={f'[{spacing}]' if ',' in spacing else spacing}")
    changes += label_changes(labels_are.value, ignore, colours, repair=repair)
    choice = Choice(preset.value, settings, network, None, tuple(changes), None)
    pairs, chosen = find_and_choose(images, labels, layout, choice)
    again = [str(images), *([] if labels is None else [str(labels)])]
    for option, value in (("--layout", layout), ("--holdout", holdout)):
        again += [] if value is None else [option, value]
    run_planning(
        pairs,
        chosen,
        output,
        again,
        overwrite=overwrite,
        keep=choice.keep(chosen),
        holdout=holdout,
        minutes=minutes,
        steps=steps,
        epochs=epochs,
    )
