"""One of several trainings: how long it lasts, and what is left of it when a search is resumed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import overtile.model as storage
from overtile import jobs
from overtile.errors import OutputError, SettingsError
from overtile.planning import Budget
from overtile.segmenter import Segmenter, load
from overtile.settings import Settings, dotted_names


def share_of(
    minutes: float | None, steps: int | None, epochs: float | None, trainings: int
) -> Budget:
    """How long each of several trainings lasts: minutes are shared, steps and epochs are each's.

    Raises
    ------
    SettingsError
        Several are given, or one that is not above 0.
    """
    if minutes is None and steps is None and epochs is None:
        minutes = jobs.DEFAULT_MINUTES
    return Budget(None if minutes is None else minutes / trainings, steps, epochs)


def described(length: Budget) -> str:
    """How long a training lasts."""
    ((unit, number),) = ((unit, n) for unit, n in vars(length).items() if n is not None)
    return f"{number:.3g} min" if unit == "minutes" else f"{number:g} {unit}"


def kept(settings: Settings) -> frozenset[str]:
    """What no plan of a single training may change: all but what its own images and time say."""
    names = dotted_names(settings.model_dump(mode="json"))
    return frozenset(names) - {"network.channels", "network.classes", "steps"}


@contextmanager
def sharing(length: Budget, trainings: int, what: str) -> Iterator[None]:
    """Say of a time that is too short for a training that it is a share, and of what.

    Raises
    ------
    SettingsError
        The one that training raised, with that.
    """
    try:
        yield
    except SettingsError as error:
        if length.minutes is None or "too short" not in str(error):
            raise
        raise SettingsError(
            f"{error} That is for one of {trainings} trainings, which share {what}: give "
            f"{trainings} times as much."
        ) from error


def stop_if_interrupted(segmenter: Segmenter) -> None:
    """Hand on a Ctrl-C that ended a training early."""
    if segmenter.model.origin.stopped == "interrupt":
        raise KeyboardInterrupt


def finished(place: Path) -> Segmenter | None:
    """The model that was trained before in a folder; not one that Ctrl-C ended early."""
    if not (place / storage.MANIFEST).is_file():
        return None
    segmenter = load(place, inexact=True)
    return None if segmenter.model.origin.stopped == "interrupt" else segmenter


def is_begun(place: Path) -> bool:
    """Whether a killed training can be gone on with."""
    from overtile.training.state import State

    try:
        State(place, resume=True)
    except OutputError:  # it was killed before it kept anything
        return False
    return True
