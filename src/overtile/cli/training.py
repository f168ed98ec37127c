"""What `overtile train` does around `overtile.train`."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from overtile import jobs
from overtile import model as storage
from overtile.cli import STARTED
from overtile.cli.changing import change, parse_change
from overtile.cli.describing import describe_classes, describe_objective, say_recognised
from overtile.cli.planning import print_plan
from overtile.cli.show import note, say, training_progress
from overtile.errors import SettingsError
from overtile.layouts import Pairs
from overtile.planning import Plan
from overtile.presets import Preset, Wanted, names_of_network, read_settings, resolve
from overtile.settings import NETWORK_SETTINGS, PretrainedSettings, Settings
from overtile.training.disparity import remark
from overtile.training.state import State


@dataclass(frozen=True)
class Choice:
    """The options of a training that ask for settings; changes are made last.

    A run that is resumed has its settings already: options change those, and what changes them is
    refused later.
    """

    preset: Preset
    file: Path | None
    network: str | None
    start: Path | None
    changes: tuple[str, ...]
    encoder_weights: str | None
    resumed: Path | None = None

    @property
    def leaves_dimensions_open(self) -> bool:
        """Whether nothing says if the network is one for planes or for volumes."""
        named = ("network.name=", "network.dimensions=")
        said = (self.file, self.network, self.start, self.resumed)
        return said == (None,) * 4 and not any(text.startswith(named) for text in self.changes)

    def keep(self, chosen: Settings) -> frozenset[str]:
        """The names of the settings that these options set, for a plan to keep."""
        names = {parse_change(text)[0] for text in self.changes}
        if self.file is not None:
            names |= _read(self.file).kept or set()
        elif self.start is not None and self.network is None:
            names |= names_of_network(chosen)
        if self.network is not None:
            names.add("network.name")
        return frozenset(names)


def find_and_choose(
    images: Path, labels: Path | None, layout: str | None, choice: Choice
) -> tuple[Pairs, Settings]:
    """The pairs to train on, and settings that fit them; raises as each of the two."""
    chosen = choose_settings(choice)
    is_open = choice.leaves_dimensions_open
    dimensions = None if is_open else chosen.network.dimensions
    pairs = jobs.find_pairs(images, labels, layout, dimensions)
    if is_open and pairs.dimensions == 3:
        chosen = choose_settings(replace(choice, network=jobs.VOLUME_NETWORK))
    return pairs, chosen


def choose_settings(choice: Choice) -> Settings:
    """The settings that are asked for.

    Raises
    ------
    SettingsError
        What is refused, by its name.
    ModelError
        The model to start from cannot be read.
    """
    given = choice.preset if choice.file is None else _read(choice.file).settings
    if choice.resumed is not None and (begun := State(choice.resumed, resume=True).read()):
        begun.check_recipe(choice.preset, choice.network)
        base = begun.asked if isinstance(given, str) else given
    else:
        earlier = storage.load(choice.start).settings if choice.start is not None else None
        base = resolve(given, choice.network, earlier)
    chosen = change(base, choice.changes)
    if choice.encoder_weights is None:
        return chosen
    if not isinstance(chosen.network, PretrainedSettings):
        able = [name for name, k in NETWORK_SETTINGS.items() if issubclass(k, PretrainedSettings)]
        raise SettingsError(
            f"--encoder-weights: the network {chosen.network.name} has no encoder that begins with "
            f"parameters of others: choose --network {' or '.join(able)}, or leave it out."
        )
    return change(chosen, [f"network.encoder_weights={json.dumps(choice.encoder_weights)}"])


def run_training(
    pairs: Pairs,
    output: Path,
    settings: Settings,
    holdout: str | list[int] | None,
    *,
    explain: bool = False,
    **options: Any,
) -> None:
    """Say what will be learnt, train with a progress bar, and say what came of it.

    Of several processes only the first one speaks.
    """
    from overtile.training.ranks import is_first

    if not is_first(options["devices"], options["nodes"]):
        jobs.train(
            pairs, output=output, settings=settings, holdout=holdout, started=STARTED, **options
        )
        return
    say_recognised(pairs, holdout)

    def tell_plan(plan: Plan) -> None:
        if explain:
            print_plan(plan)
        say(f"Plan: {plan.describe()}")

    with training_progress() as tell:
        made = jobs.train(
            pairs,
            output=output,
            settings=settings,
            holdout=holdout,
            started=STARTED,
            on_understood=say,
            on_plan=tell_plan,
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
    count, seen = sum(value.size for value in made.model.parameters.values()), len(origin.images)
    say(
        f"{output}: {chosen.network.name}, {count:,} parameters, "
        f"{chosen.network.padding} padding; classes {describe_classes(made.model)}; "
        f"{seen} image{'s' * (seen != 1)}, {origin.steps} steps in {origin.seconds:.0f} s "
        f"({chosen.precision}, {chosen.layout})."
    )
    say(f"Objective: {describe_objective(made.model)}.")
    for sentence in remark(origin.disparity):
        note(sentence)
    if not made.model.exact:
        note(
            "Tiles of this network are not exact, only blended: 'overtile predict' asks for "
            f"--inexact, and 'overtile inspect {output}' names the layers."
        )
    say(made.model.normalisation.reason)


def _read(file: Path) -> Wanted:
    """What a file of settings holds."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read as settings: {error}.") from error
    return read_settings(text, str(file))
