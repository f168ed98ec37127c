"""A run on disk while it goes on, so that one that was killed can be resumed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

from overtile.errors import DataError, OutputError, SettingsError
from overtile.planning import Budget
from overtile.settings import Frozen, Settings, from_yaml, to_yaml
from overtile.text import MOST_NAMED, shown

HOW = "Leave it out to go on with the run as it was begun, or start anew with --overwrite."
"""What to do with an option that a resumed run cannot follow."""


class Run(Frozen):
    """What was decided when a run began, and is never derived again.

    Attributes
    ----------
    asked
        The settings as they were given.
    settings, steps, minutes, epochs
        As planned; minutes or epochs where the budget was one of these.
    spent_s
        Of the time, before the first step.
    images, labels
        Name -> digest of the pixels, as they were read.
    started_from
        What the network had from an earlier model, in a sentence.
    reasons
        Of the settings, by their dotted names.
    """

    asked: Settings
    settings: Settings
    steps: int
    minutes: float | None
    epochs: float | None = None
    spent_s: float
    images: dict[str, str]
    labels: dict[str, str]
    started_from: str | None = None
    reasons: dict[str, str] = Field(default_factory=dict)

    @property
    def budget(self) -> Budget:
        """As it was given."""
        timed = self.minutes is not None or self.epochs is not None
        return Budget(self.minutes, None if timed else self.steps, self.epochs)

    def check_settings(self, settings: Settings) -> None:
        """Refuse to go on with other settings.

        Raises
        ------
        SettingsError
            Some differ from those that were asked for when the run began.
        """
        before, now = (_flat(each.model_dump(mode="json")) for each in (self.asked, settings))
        names = dict.fromkeys([*before, *now])
        _refuse([(name, before.get(name), now.get(name)) for name in names])

    def check_recipe(self, preset: str, network: str | None, start: str | None = None) -> None:
        """Refuse to go on with another preset or network, or from another model.

        Parameters
        ----------
        preset, network, start
            As they are given; the default preset, or None, is not to say anything.

        Raises
        ------
        SettingsError
            One was another when the run began.
        """
        begun = (self.started_from or "None").removeprefix("From ").partition(": ")[0]
        given = [
            ("preset", self.asked.preset, None if preset == "default" else preset),
            ("network", self.asked.network.name, network),
            ("the model to start from", begun, start),
        ]
        _refuse([each for each in given if each[2] is not None])

    def check_budget(self, minutes: float | None, steps: int | None, epochs: float | None) -> None:
        """Refuse to go on for another time; None is what was not said.

        Raises
        ------
        SettingsError
            Another budget than when the run began: the learning rate follows it from the start.
        """
        asked = {"minutes": minutes, "steps": steps, "epochs": epochs}
        given = {name: value for name, value in asked.items() if value is not None}
        begun = {name: value for name, value in vars(self.budget).items() if value is not None}
        if given and given != begun:
            raise SettingsError(
                f"The run to be resumed was planned for {_amounts(begun)}, which its learning rate "
                f"follows from the first step, and {_amounts(given)} are asked for. {HOW}"
            )

    def check_data(self, images: dict[str, str], labels: dict[str, str]) -> None:
        """Refuse to go on with other data.

        Raises
        ------
        DataError
            Images or labels are missing, new, or have other pixels than when the run began.
        """
        parts = [
            ("missing", [name for name in self.images if name not in images]),
            ("new", [name for name in images if name not in self.images]),
            ("changed", _changed(self.images, images)),
            ("labelled otherwise", _changed(self.labels, labels)),
        ]
        said = "; ".join(f"{what}: {shown(names)}" for what, names in parts if names)
        if said:
            raise DataError(
                f"The run to be resumed was begun on other images or labels ({said}). Give the "
                f"same data and hold-out as then ({len(self.images)} images were trained on), or "
                "start anew with --overwrite."
            )


class State:
    """The folder ``NAME.training`` beside the model that a run is to become.

    A run that is begun anew puts an earlier one aside, which is removed once the new one has
    a checkpoint: until then it can be resumed.

    Parameters
    ----------
    model
        The model's folder.
    resume
        Whether to go on with what is kept there, which then has to be there.
    overwrite
        Whether a run that is kept there may be given up for a new one.

    Raises
    ------
    OutputError
        To resume: nothing is kept. Otherwise: something is, and may not be overwritten.
    """

    def __init__(self, model: Path, *, resume: bool, overwrite: bool = False) -> None:
        self.folder = model.with_name(f"{model.name}.training")
        self.earlier = model.with_name(f"{model.name}.training.earlier")
        self.checkpoint = self.folder / "checkpoint.ckpt"
        self.run = self.folder / "run.yaml"
        self.resume = resume
        kept = self.checkpoint.is_file() or (self.earlier / self.checkpoint.name).is_file()
        if resume and not kept:
            raise OutputError(
                f"There is nothing to resume: {self.checkpoint} is missing. A run keeps its first "
                "checkpoint after some 20 seconds; start anew without --resume."
            )
        if kept and not (resume or overwrite):
            raise OutputError(
                f"{self.folder} holds a run that has not ended: go on with it by --resume, give "
                "it up by --overwrite, or choose another name."
            )

    def read(self) -> Run | None:
        """The run that is to be resumed, if one is.

        Raises
        ------
        SettingsError
            The record of the run is damaged.
        """
        if not self.resume:
            return None
        if not self.checkpoint.is_file():  # of a new run that came to nothing
            shutil.rmtree(self.folder, ignore_errors=True)
            self.earlier.rename(self.folder)
        return from_yaml(Run, self.run.read_text(), str(self.run))

    def begin(self, run: Run) -> None:
        """Record a new run; one that is kept is put aside.

        Raises
        ------
        OutputError
            Nothing can be written there.
        """
        try:
            if self.checkpoint.is_file():
                _remove(self.earlier)
                self.folder.rename(self.earlier)
            _remove(self.folder)
            self.folder.mkdir(parents=True)
            self.run.write_text(to_yaml(run))
            _sync(self.run)
        except OSError as error:
            raise OutputError(
                f"{self.folder} cannot be written ({error.strerror or error}): a run keeps its "
                "state there, so choose an output with room beside it. An earlier run is kept."
            ) from error

    def keep(self, save: Callable[[Path], None]) -> str | None:
        """Replace the checkpoint by one that `save` writes to the path it is given.

        The old one stays until the new one is on the disk. Where it cannot be written, as on a
        disk that is full, the old one stays for good, and a sentence says so.
        """
        fresh = self.checkpoint.with_suffix(".fresh")
        try:
            save(fresh)
            _sync(fresh)
            fresh.replace(self.checkpoint)
            if os.name == "posix":  # elsewhere folders cannot be opened
                _sync(self.folder)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            return (
                f"The state of the run cannot be kept ({error.strerror or error}): training goes "
                f"on, and --resume would go on from the checkpoint before. {self.folder} needs "
                "room on its disk."
            )
        _remove(self.earlier)
        return None

    def remove(self) -> None:
        """Forget the run, and the one before it."""
        for folder in (self.folder, self.earlier):
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flat(tree: dict[str, Any], group: str = "") -> dict[str, Any]:
    """Dotted name -> value."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        inner = isinstance(value, dict)
        found |= _flat(value, f"{group}{name}.") if inner else {f"{group}{name}": value}
    return found


def _refuse(values: list[tuple[str, object, object]]) -> None:
    """Refuse settings (name, value before, value now) of which some have changed."""
    changes = [f"{name} was {old} and is {new}" for name, old, new in values if old != new]
    more = len(changes) - MOST_NAMED
    if changes:
        raise SettingsError(
            "The run to be resumed was begun with other settings: "
            f"{', '.join(changes[:MOST_NAMED])}{f', and {more} more' if more > 0 else ''}. {HOW}"
        )


def _changed(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Names of what is there both times, and differs."""
    return [name for name, digest in before.items() if now.get(name, digest) != digest]


def _amounts(budget: dict[str, float]) -> str:
    """As in "15 minutes"."""
    return " and ".join(f"{value:g} {name}" for name, value in budget.items())
