"""Which tiles of a prediction are done, on disk, so that one that was killed can go on.

A prediction into ``NAME`` works in the folder ``NAME.prediction`` beside it::

    run.yaml     what is computed and how, and which bytes of which file are read
    done         the numbers of finished tiles, one a line
    pixels.*     the result so far

A number is written, and forced to the disk, after its pixels were.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from overtile.errors import OutputError
from overtile.settings import Frozen, Precision, from_yaml, to_yaml


class Run(Frozen):
    """What was decided when a prediction began, and is never decided again.

    Attributes
    ----------
    overtile, model
        Version, and the SHA-256 of the model's manifest, which holds those of all its files.
    pruned
        The level to which the model was pruned, or None.
    engine, library, precision, threads
        What computes: another one would round otherwise.
    content, source, shape, dtype, modified
        What is asked for, and of which image: its name, sizes, type and time of last change.
    step
        What a tile writes along each axis, in pixels.
    tiles
        How many there are, over all planes.
    turns
        How often each is computed, flipped or turned otherwise.
    """

    overtile: str
    model: str
    engine: str
    library: str
    precision: Precision
    threads: int
    content: str
    source: str
    shape: tuple[int, ...]
    dtype: str
    modified: int
    step: tuple[int, ...]
    tiles: int
    pruned: int | None = None
    turns: int = 1


class Journal:
    """The folder of a prediction that goes on.

    Parameters
    ----------
    output
        The file that is to come.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(f"{output.name}.prediction")
        self._run = self.folder / "run.yaml"
        self._done = self.folder / "done"

    def exists(self) -> bool:
        """Whether something is kept there to go on with."""
        return self._run.is_file()

    def read(self) -> Run:
        """The prediction that was begun.

        Raises
        ------
        SettingsError
            Its record is damaged.
        """
        return from_yaml(Run, self._run.read_text(), str(self._run))

    def begin(self, run: Run) -> None:
        """Record a new prediction; what an earlier one left is removed."""
        self.remove()
        self.folder.mkdir(parents=True)
        part = self._run.with_suffix(".part")
        part.write_text(to_yaml(run))
        part.replace(self._run)

    def check_same(self, run: Run) -> None:
        """Refuse to mix two predictions.

        Raises
        ------
        OutputError
            The one that was begun differs from `run`; the message says in what.
        """
        begun = self.read()
        for name in Run.model_fields:
            was, now = getattr(begun, name), getattr(run, name)
            if was != now:
                raise OutputError(
                    f"{self.folder} was begun with {name} {was}, and this is {now}: nothing of it "
                    "can be used. Give what it was begun with, or start anew with --overwrite."
                )

    def forget_tiles(self) -> None:
        """Start over with the tiles: what they were written to is lost."""
        self._done.unlink(missing_ok=True)

    def done(self) -> set[int]:
        """The tiles that are finished. A line that a killed run did not finish is cut off."""
        if not self._done.exists():
            return set()
        content = self._done.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(self._done, len(whole))
        return {int(line) for line in whole.split()}

    def record(self, number: int) -> None:
        """Write down that a tile is finished, and force it to the disk."""
        with self._done.open("ab") as file:
            file.write(b"%d\n" % number)
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Forget the prediction."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
