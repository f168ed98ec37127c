"""What `overtile train` does around `overtile.train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from overtile import jobs
from overtile import model as storage
from overtile.cli import STARTED
from overtile.cli.changing import change
from overtile.cli.describing import describe_classes, describe_objective
from overtile.cli.show import note, say, training_progress
from overtile.errors import SettingsError
from overtile.presets import Preset, resolve
from overtile.settings import NETWORK_SETTINGS, PretrainedSettings, Settings, from_yaml


def choose_settings(
    preset: Preset,
    file: Path | None,
    network: str | None,
    start: Path | None,
    changes: list[str],
    encoder_weights: str | None,
) -> Settings:
    """The settings that the options of a training ask for; changes are made last.

    Raises
    ------
    SettingsError
        What is refused, by its name.
    ModelError
        The model to start from cannot be read.
    """
    earlier = storage.load(start).settings if start is not None else None
    chosen = resolve(preset if file is None else _read(file), network, earlier)
    chosen = change(chosen, changes)
    if encoder_weights is None:
        return chosen
    if not isinstance(chosen.network, PretrainedSettings):
        able = [name for name, k in NETWORK_SETTINGS.items() if issubclass(k, PretrainedSettings)]
        raise SettingsError(
            f"--encoder-weights: the network {chosen.network.name} has no encoder that begins with "
            f"parameters of others: choose --network {' or '.join(able)}, or leave it out."
        )
    return change(chosen, [f"network.encoder_weights={json.dumps(encoder_weights)}"])


def run_training(
    images: Path, labels: Path, output: Path, settings: Settings, **options: Any
) -> None:
    """Train, with a progress bar, and say what came of it."""
    with training_progress() as tell:
        made = jobs.train(
            images,
            labels,
            output=output,
            settings=settings,
            started=STARTED,
            on_step=tell,
            **options,
        )
    origin = made.model.origin
    if origin.stopped:
        why = "the time was up" if origin.stopped == "time" else "it was interrupted"
        note(
            f"Training stopped at step {origin.steps} of {origin.planned_steps}, because {why}; "
            "the model is usable."
        )
    if origin.started_from:
        say(origin.started_from)
    chosen = made.model.settings
    count = sum(value.size for value in made.model.parameters.values())
    say(
        f"{output}: {chosen.network.name}, {count:,} parameters, "
        f"{chosen.network.padding} padding; classes {describe_classes(made.model)}; "
        f"{len(origin.images)} images, {origin.steps} steps in {origin.seconds:.0f} s "
        f"({chosen.precision}, {chosen.layout})."
    )
    say(f"Objective: {describe_objective(made.model)}.")
    if not made.model.exact:
        note(
            "Tiles of this network are not exact, only blended: 'overtile predict' asks for "
            f"--inexact, and 'overtile inspect {output}' names the layers."
        )
    say(made.model.normalisation.reason)


def _read(file: Path) -> Settings:
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read as settings: {error}.") from error
    return from_yaml(Settings, text, str(file))
