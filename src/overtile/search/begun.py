"""What a search was begun with, kept in its folder, so that it is only gone on with as it began."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from overtile.dataset import digest
from overtile.errors import DataError, OutputError, SettingsError
from overtile.layouts import Pairs
from overtile.planning import Budget, Plan
from overtile.search.opening import Opened
from overtile.settings import Frozen, Settings, from_yaml, to_yaml


class Begun(Frozen):
    """What decides the result of a search.

    Attributes
    ----------
    settings
        That are asked for.
    planned
        That every training begins with: those, and what was planned of the others, once.
    minutes, steps, epochs
        Of each training.
    folds
        Of each, name -> digest of the pixels of the images that it holds out.
    """

    settings: Settings
    planned: Settings
    minutes: float | None
    steps: int | None
    epochs: float | None
    folds: tuple[dict[str, str], ...]

    @property
    def length(self) -> Budget:
        """Of each training."""
        return Budget(self.minutes, self.steps, self.epochs)

    def check_same(self, now: Begun, record: Path) -> None:
        """Refuse to go on with what was begun otherwise.

        Raises
        ------
        DataError
            On other images, or with other folds.
        SettingsError
            With other settings, or another length of each training.
        """
        if now.folds != self.folds:
            counts = [
                f"{sum(map(len, run.folds))} images in {len(run.folds)} folds"
                for run in (self, now)
            ]
            raise DataError(
                f"What is to be resumed was begun on other images, or other folds of them: "
                f"expected {counts[0]} with the pixels they had ({record}), got {counts[1]}. "
                "Give the same data, hold-out and folds, or start anew without --resume."
            )
        before, after = (
            _flat(run.model_dump(mode="json", exclude={"folds", "planned"})) for run in (self, now)
        )
        changed = [
            f"{name.removeprefix('settings.')} was {before.get(name)} and is {after.get(name)}"
            for name in before | after
            if before.get(name) != after.get(name)
        ]
        if changed:
            raise SettingsError(
                f"What is to be resumed was begun otherwise ({record}): {_first(changed)}. "
                "Say the same again, or start anew without --resume."
            )


def _first(clauses: list[str]) -> str:
    """The first clauses, and how many more there are; they are not shortened."""
    more = len(clauses) - 3
    return "; ".join(clauses[:3]) + (f"; and {more} more" if more > 0 else "")


def _flat(groups: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Values by their dotted names."""
    flat: dict[str, Any] = {}
    for key, value in groups.items():
        name = f"{above}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def digests_of(pairs: Pairs, folds: list[list[int]]) -> tuple[dict[str, str], ...]:
    """Of each fold, name -> digest of its images, each of which is read once."""
    return tuple(
        {pairs[place].name: digest(pairs[place].image.read()) for place in fold} for fold in folds
    )


def open_folder(
    record: Path,
    opened: Opened,
    parts: list[list[int]],
    length: Budget,
    *,
    resume: bool,
    overwrite: bool,
    on_plan: Callable[[Plan], None],
) -> Settings:
    """Make the folder of a search ready: new and with its record, or as it was left.

    Parameters
    ----------
    record
        The file in the folder that holds what it was begun with.
    opened, parts, length
        What is asked for.
    on_plan
        Told the plan of a new search.

    Returns
    -------
    Settings
        That every training begins with.

    Raises
    ------
    OutputError
        Nothing to resume; or the folder exists, and is not to be replaced, or holds something else.
    DataError, SettingsError
        To resume: as `Begun.check_same`. Otherwise what planning says.
    """
    now = Begun(
        settings=opened.settings,
        planned=opened.settings,
        folds=digests_of(opened.pairs, parts),
        **vars(length),
    )
    if resume:
        before = read_begun(record)
        before.check_same(now, record)
        return before.planned
    check_free(record, overwrite=overwrite)
    plan = opened.plan(length)
    on_plan(plan)
    planned = plan.settings.model_copy(update={"steps": None})
    folder = record.parent
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    record.write_text(to_yaml(now.model_copy(update={"planned": planned})))
    return planned


def read_begun(record: Path) -> Begun:
    """What a search was begun with.

    Raises
    ------
    OutputError
        Nothing was.
    SettingsError
        The record is damaged.
    """
    if not record.is_file():
        raise OutputError(
            f"There is nothing to resume: {record} is missing. Start anew without --resume."
        )
    return from_yaml(Begun, record.read_text(), str(record))


def check_free(record: Path, *, overwrite: bool) -> None:
    """Refuse to begin a search where another one, or something else, would be lost.

    Raises
    ------
    OutputError
        As `open_folder`.
    """
    folder = record.parent
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not record.is_file():
        raise OutputError(
            f"{folder} exists and holds something else (no {record.name}), so it is not "
            "overwritten: choose another name, or remove it yourself."
        )
    if not overwrite:
        raise OutputError(
            f"{folder} exists: go on with it with --resume, choose another name, or give "
            "--overwrite."
        )
