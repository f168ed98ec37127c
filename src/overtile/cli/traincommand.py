"""The command `overtile train`; it imports what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from overtile.cli import options as given


def train(
    images: given.DataSet,
    output: Annotated[Path, typer.Option("--output", "-o", help="The model's folder.")],
    labels: given.Labels = None,
    holdout: given.Holdout = None,
    layout: given.LayoutName = None,
    minutes: given.Minutes = None,
    steps: Annotated[int | None, typer.Option(help="Instead of minutes.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Instead of minutes.")] = None,
    preset: given.Recipe = given.Preset.default,
    network: given.NetworkName = None,
    encoder_weights: given.EncoderWeights = None,
    settings: given.SettingsFile = None,
    setting: given.Changes = None,
    spacing: given.PixelSize = None,
    start: given.Start = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    labels_are: given.Meaning = given.LabelsAre.auto,
    ignore: given.Ignore = None,
    colours: given.Colours = None,
    repair: given.Repair = False,
    devices: given.Devices = 1,
    nodes: given.Nodes = 1,
    logger: given.LoggerNames = None,
    fold: given.Fold = None,
    folds: given.Folds = None,
    ensemble: given.Ensemble = None,
    explain: given.Explain = False,
    resume: given.ResumeTraining = False,
    overwrite: given.Overwrite = False,
) -> None:
    """Train on images and labels, for as long as you give it."""
    from overtile.cli.changing import label_changes
    from overtile.cli.searching import parse_fold, run_search
    from overtile.cli.training import Choice, find_and_choose

    which = parse_fold(fold, folds)
    changes = [*(setting or []), *([] if seed is None else [f"seed={seed}"])]
    if spacing is not None:
        changes.append(f"spacing={f'[{spacing}]' if ',' in spacing else spacing}")
    changes += label_changes(labels_are.value, ignore, colours, repair=repair)
    choice = Choice(
        preset.value,
        settings,
        network,
        start,
        tuple(changes),
        encoder_weights,
        resumed=output if resume and which != "all" and ensemble is None else None,
    )
    pairs, chosen = find_and_choose(images, labels, layout, choice)
    run_search(
        pairs,
        output,
        chosen,
        which,
        folds,
        ensemble,
        keep=choice.keep(chosen),
        explain=explain,
        start=start,
        minutes=minutes,
        steps=steps,
        epochs=epochs,
        holdout=holdout,
        devices=devices,
        nodes=nodes,
        loggers=logger or (),
        resume=resume,
        overwrite=overwrite,
    )
