"""A run on disk while it goes on, so that one that was killed can be resumed."""

from __future__ import annotations

import shutil
from pathlib import Path

from overtile.errors import OutputError
from overtile.settings import Frozen, Settings, from_yaml, to_yaml


class Run(Frozen):
    """What was decided when a run began, and is never derived again.

    Attributes
    ----------
    settings, steps, minutes
        As planned; minutes where the budget was a time.
    spent_s
        Of the time, before the first step.
    images
        Name -> digest of the pixels.
    started_from
        What the network had from an earlier model, in a sentence.
    """

    settings: Settings
    steps: int
    minutes: float | None
    spent_s: float
    images: dict[str, str]
    started_from: str | None = None


class State:
    """The folder ``NAME.training`` beside the model that a run is to become.

    Parameters
    ----------
    model
        The model's folder.
    resume
        Whether to go on with what is kept there, which then has to be there.

    Raises
    ------
    OutputError
        To resume: nothing is kept. Otherwise: something is.
    """

    def __init__(self, model: Path, *, resume: bool) -> None:
        self.folder = model.with_name(f"{model.name}.training")
        self.checkpoint = self.folder / "checkpoint.ckpt"
        self.run = self.folder / "run.yaml"
        self.resume = resume
        if resume and not self.checkpoint.is_file():
            raise OutputError(
                f"There is nothing to resume: {self.checkpoint} is missing. A run keeps its first "
                "checkpoint after some 20 seconds; start anew without --resume."
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
        return from_yaml(Run, self.run.read_text(), str(self.run))

    def begin(self, run: Run) -> None:
        """Record a new run; what an earlier one left is removed."""
        self.remove()
        self.folder.mkdir(parents=True)
        self.run.write_text(to_yaml(run))

    def remove(self) -> None:
        """Forget the run."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
