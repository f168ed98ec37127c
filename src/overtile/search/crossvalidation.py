"""k-fold cross-validation: every image is predicted by a model that never saw it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from overtile import jobs
from overtile.evaluation import Evaluation, Row
from overtile.evaluation.bootstrap import of_mean
from overtile.evaluation.measure import mean
from overtile.labels import Kind
from overtile.layouts import Content, Pairs, select
from overtile.model import Model
from overtile.model.ensemble import ensemble_of
from overtile.presets import Preset
from overtile.search.begun import open_folder
from overtile.search.folds import split_folds
from overtile.search.opening import open_data
from overtile.search.scoring import score, write_csv
from overtile.search.trainings import (
    described,
    finished,
    is_begun,
    kept,
    share_of,
    sharing,
    stop_if_interrupted,
)
from overtile.settings import Settings

if TYPE_CHECKING:
    from overtile.planning import Plan
    from overtile.training import Progress

RECORD = "folds.yaml"
TABLE = "folds.csv"
IMAGES = "images.csv"
ENSEMBLE = "ensemble"

NO_INTERVAL = (math.nan, math.nan)


@dataclass(frozen=True)
class CrossValidation:
    """Scores of images that training did not see.

    Attributes
    ----------
    folder
        With the folds' models, ``fold-1`` and so on, and the two tables.
    evaluations
        Of each fold's model, on the images that it held out.
    """

    folder: Path
    evaluations: tuple[Evaluation, ...]

    @property
    def rows(self) -> list[tuple[int, Row]]:
        """Of every image, once: the fold that held it out, from 1, and its scores."""
        return [
            (number, row)
            for number, evaluation in enumerate(self.evaluations, start=1)
            for row in evaluation.rows
        ]

    @property
    def names(self) -> list[str]:
        """Of the scores; one that a fold does not have is undefined there."""
        return list(dict.fromkeys(name for _, row in self.rows for name in row.scores))

    def values(self, name: str) -> list[float]:
        """A score of every image, out of fold; NaN where it is not defined."""
        return [row.scores.get(name, math.nan) for _, row in self.rows]

    def table(self) -> tuple[list[str], list[list[object]]]:
        """The columns, and a row for each score.

        Its mean over the images of each fold, its mean over all of them, and within what that lies
        with 95 % (a bootstrap over the images).
        """
        columns = [f"fold {number}" for number in range(1, len(self.evaluations) + 1)]
        rows: list[list[object]] = []
        for name in self.names:
            folds = [each.mean.get(name, math.nan) for each in self.evaluations]
            values = self.values(name)
            rows.append([name, *folds, mean(values), *(of_mean(values) or NO_INTERVAL)])
        return ["score", *columns, "all", "2.5 %", "97.5 %"], rows


def cross_validate(
    images: Content | Pairs,
    labels: Content | None = None,
    *,
    output: str | Path,
    folds: int = 5,
    layout: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    holdout: str | Iterable[int] | None = None,
    settings: Preset | Settings = "default",
    keep: Iterable[str] | None = None,
    network: str | None = None,
    start: str | Path | Model | None = None,
    labels_are: Literal["auto"] | Kind = "auto",
    ensemble: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    started: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
    on_plan: Callable[[Plan], None] = lambda _: None,
    on_step: Callable[[Progress], None] = lambda _: None,
) -> CrossValidation:
    """Train a model for each fold without it, and score it there.

    Parameters
    ----------
    images, labels, layout, settings, keep, network, start, labels_are, started, on_step
        As in `overtile.train`.
    output
        Folder for the models ``fold-1``, ``fold-2``, ..., the table of the folds (``folds.csv``)
        and that of their images (``images.csv``).
    folds
        Their number, at least 2: blocks of whole groups, see `overtile.search.folds.split_folds`.
    minutes
        Of training, for all folds together; 15 by default. Scoring comes on top.
    steps, epochs
        Instead: of each fold.
    holdout
        Images that are in no fold, and never read; as in `overtile.train`.
    ensemble
        Whether the folds' models are also saved as one, ``ensemble``, which averages them.
    resume
        Whether to go on with an output that was begun: folds that are done are not trained again.
    overwrite
        Whether an earlier cross-validation in `output` may be replaced.
    tell
        Told in sentences what comes next.
    on_plan
        Told the plan that all trainings follow, unless it was made before.

    Raises
    ------
    DataError, SettingsError, OutputError, ModelError
        As `overtile.train`; more folds than there are groups; nothing to resume, or with other
        images or settings than it was begun; an ensemble of models that do not go together.
    KeyboardInterrupt
        Ctrl-C; the folds that are done are kept.
    """
    opened = open_data(
        images,
        labels,
        layout=layout,
        holdout=holdout,
        settings=settings,
        keep=keep,
        network=network,
        start=start,
        labels_are=labels_are,
    )
    parts = split_folds(opened.pairs, folds)
    length = share_of(minutes, steps, epochs, folds)
    folder = Path(output)
    with sharing(length, folds, "--minutes"):
        planned = open_folder(
            folder / RECORD,
            opened,
            parts,
            length,
            resume=resume,
            overwrite=overwrite,
            on_plan=on_plan,
        )
    sizes = sorted({len(part) for part in parts})
    tell(
        f"{folds} folds of {' to '.join(map(str, sizes[:: len(sizes) - 1 or 1]))} images, and a "
        f"model for each, trained without it for {described(length)}."
    )
    evaluations = []
    for number, part in enumerate(parts, start=1):
        place = folder / f"fold-{number}"
        segmenter = finished(place)
        said = f"{len(opened.pairs) - len(part)} images to train on, {len(part)} held out"
        tell(f"Fold {number} of {folds}: {said}{', trained before' if segmenter else ''}.")
        if segmenter is None:
            with sharing(length, folds, "--minutes"):
                segmenter = jobs.train(
                    opened.whole,
                    **vars(length),
                    holdout=opened.without(part),
                    settings=planned,
                    keep=kept(planned),
                    start=start,
                    output=place,
                    resume=is_begun(place),
                    overwrite=True,
                    started=started if number == 1 else None,
                    on_understood=tell if number == 1 else lambda _: None,
                    on_step=on_step,
                )
            stop_if_interrupted(segmenter)
        evaluations.append(score(segmenter, select(opened.pairs, part)))
    result = CrossValidation(folder, tuple(evaluations))
    write_csv(folder / TABLE, *result.table())
    rows = [
        [fold, row.name, *(row.scores.get(name, math.nan) for name in result.names)]
        for fold, row in result.rows
    ]
    write_csv(folder / IMAGES, ["fold", "image", *result.names], rows)
    if ensemble:
        models = [folder / f"fold-{number}" for number in range(1, folds + 1)]
        ensemble_of(models, folder / ENSEMBLE, overwrite=True)
    return result
