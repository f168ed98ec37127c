"""What computes a model: an engine of its network, or the mean over members and turned windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from overtile.engines import Engine
from overtile.engines.averaged import AveragedEngine
from overtile.engines.choice import (
    Choice,
    Name,
    choose_engine,
    convert,
    home,
    open_engine,
    runnable,
)
from overtile.errors import OvertileError, SettingsError
from overtile.geometry import Fields
from overtile.model import Model
from overtile.model.ensemble import member_folder, normalisations
from overtile.settings import AugmentSettings, Precision
from overtile.symmetry import Turn, shown_turns


@dataclass(frozen=True)
class Wanted:
    """Which engine is asked for.

    Attributes
    ----------
    name, precision, threads
        As `overtile.engines.choice.choose_engine` takes them.
    turned
        Whether flips and quarter turns of every window are averaged.
    """

    name: Name | Literal["auto"] = "auto"
    precision: Precision | Literal["auto"] = "auto"
    threads: int | None = None
    turned: bool = False


def assemble(model: Model, folder: Path | None, wanted: Wanted) -> Choice:
    """The engine that is asked for, or the fastest, each network checked against its test window.

    Of an ensemble all members run on the same one, in bfloat16 only if all may.

    Raises
    ------
    MissingError, ModelError
        As `choose_engine`; of an ensemble, the message names the member.
    SettingsError
        Turns are asked for, and training showed the network none.
    """
    chosen_turns = turns_of(model) if wanted.turned else _ONCE[model.settings.network.dimensions]
    choice, members = _choose(model, folder, wanted)
    if not model.members and not wanted.turned:
        return choice
    reasons = list(choice.reasons)
    if model.members:
        reasons.append(f"The probabilities of {len(members)} networks are averaged.")
    if wanted.turned:
        reasons.append(
            f"Every window is computed {len(chosen_turns)} times, flipped and turned, and the "
            "probabilities are averaged."
        )
    return Choice(_averaged(model, members, chosen_turns), None, tuple(reasons))


def open_assembled(model: Model, folder: Path | None, wanted: Wanted) -> Engine:
    """The engine just as `assemble` gave it before: name and precision are not ``auto``."""
    assert wanted.precision != "auto"
    precision, engines = wanted.precision, []
    for one, place in _each(model, folder):
        engines.append(open_engine(one, place, wanted.name, precision, wanted.threads))
    if not model.members and not wanted.turned:
        return engines[0]
    chosen = turns_of(model) if wanted.turned else _ONCE[model.settings.network.dimensions]
    return _averaged(model, engines, chosen)


def turns_of(model: Model) -> tuple[Turn, ...]:
    """The flips and quarter turns that training showed a network, and that fit its field.

    Raises
    ------
    SettingsError
        There are none.
    """
    return turns_for(model.fields, [one.settings.augment for one in model.members or (model,)])


def turns_for(fields: Fields, shown: Sequence[AugmentSettings]) -> tuple[Turn, ...]:
    """As `turns_of`, for a field, and what training showed each of the networks."""
    found = shown_turns(fields, shown)
    if len(found) == 1:
        raise SettingsError(
            "Flips and turns cannot be averaged: this network was trained without them "
            "(augment.flip, augment.rotate), so that it does not know turned images. Predict "
            "without turns (--no-turns), or train with them."
        )
    return found


def convert_all(
    model: Model, folder: Path, name: Name, *, overwrite: bool = False
) -> list[tuple[Path, Choice]]:
    """Convert the network of a model, or those of all members; where each lies, and its engine.

    Raises
    ------
    SettingsError, OutputError, MissingError, ModelError
        As `overtile.engines.choice.convert`.
    """
    done = []
    for one, place in _each(model, folder):
        assert place is not None
        choice = convert(one, place, name, overwrite=overwrite)
        done.append((home(place, name, one.pruned), choice))
    return done


_ONCE = {dimensions: (Turn((False,) * dimensions),) for dimensions in (2, 3)}
"""Windows as they are."""


def _each(model: Model, folder: Path | None) -> list[tuple[Model, Path | None]]:
    """The networks that compute, and where each lies."""
    if not model.members:
        return [(model, folder)]
    return [
        (member, None if folder is None else member_folder(folder, number))
        for number, member in enumerate(model.members)
    ]


def _choose(model: Model, folder: Path | None, wanted: Wanted) -> tuple[Choice, list[Engine]]:
    """The choice for the first network, and the same engine of all."""
    each = _each(model, folder)
    (first, place), *_ = each
    ready = [runnable(where, one.pruned) for one, where in each]
    if any(names != ready[0] for names in ready):
        place = None  # not all are converted: only PyTorch runs them all
    name, threads, precision = wanted.name, wanted.threads, wanted.precision
    with _naming(model, 0):
        choice = choose_engine(
            first, place if name == "auto" else each[0][1], name, precision, threads
        )
    choices, found = [choice], cast(Name, choice.engine.name)
    for number, (one, where) in enumerate(each[1:], start=1):
        with _naming(model, number):
            choices.append(choose_engine(one, where, found, precision, threads))
    if len({one.engine.precision for one in choices}) > 1:
        lower = next(one for one in choices if one.engine.precision == "float32")
        again = replace(wanted, name=found, precision="float32")
        _, engines = _choose(model, folder, again)
        return replace(choice, reasons=lower.reasons), engines
    return choice, [one.engine for one in choices]


@contextmanager
def _naming(model: Model, number: int) -> Iterator[None]:
    """Say in an error of which member of an ensemble it is."""
    try:
        yield
    except OvertileError as error:
        if not model.members:
            raise
        raise type(error)(f"member-{number + 1}: {error}") from error


def _averaged(model: Model, engines: Sequence[Engine], chosen: Sequence[Turn]) -> AveragedEngine:
    _, parts = normalisations(model)
    return AveragedEngine(engines, chosen, model.settings.loss.activation, parts)
