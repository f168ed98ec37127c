"""Several models of one data set, that differ by their seeds, as one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import overtile.model as storage
from overtile import jobs
from overtile.errors import SettingsError
from overtile.labels import Kind
from overtile.layouts import Content, Pairs
from overtile.model import Model
from overtile.model.ensemble import ensemble_of
from overtile.presets import Preset
from overtile.search.begun import open_folder
from overtile.search.opening import open_data
from overtile.search.trainings import (
    described,
    finished,
    is_begun,
    kept,
    share_of,
    sharing,
    stop_if_interrupted,
)
from overtile.segmenter import Segmenter
from overtile.settings import Settings

if TYPE_CHECKING:
    from overtile.planning import Plan
    from overtile.training import Progress

RECORD = "members.yaml"


def train_ensemble(
    images: Content | Pairs,
    labels: Content | None = None,
    *,
    output: str | Path,
    members: int = 5,
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
    resume: bool = False,
    overwrite: bool = False,
    started: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
    on_plan: Callable[[Plan], None] = lambda _: None,
    on_step: Callable[[Progress], None] = lambda _: None,
) -> Segmenter:
    """A segmenter of several models, trained with one seed after the other, that averages them.

    Parameters
    ----------
    images, labels, layout, holdout, settings, keep, network, start, labels_are, started, on_step
        As in `overtile.train`.
    output
        Folder to save it to. While training goes on, models lie in ``NAME.members`` beside it.
    members
        Their number, at least 2.
    minutes
        Of training, for all models together; 15 by default.
    steps, epochs
        Instead: of each model.
    resume
        Whether to go on with an ensemble that was begun: models that are done are not trained
        again.
    overwrite
        Whether a model that `output` holds, and what another run left beside it, may be replaced.
    tell
        Told in sentences what comes next.
    on_plan
        Told the plan that all trainings follow, unless it was made before.

    Raises
    ------
    DataError, SettingsError, OutputError
        As `overtile.train`; fewer than 2 models; nothing to resume, or with other images or
        settings than it was begun.
    KeyboardInterrupt
        Ctrl-C; the models that are done are kept.
    """
    if members < 2:
        raise SettingsError(f"An ensemble of {members}: expected 2 models at least.")
    left_out = holdout if holdout is None or isinstance(holdout, str) else list(holdout)
    opened = open_data(
        images,
        labels,
        layout=layout,
        holdout=left_out,
        settings=settings,
        keep=keep,
        network=network,
        start=start,
        labels_are=labels_are,
    )
    length = share_of(minutes, steps, epochs, members)
    folder = Path(output)
    storage.check_replaceable(folder, overwrite=overwrite)
    work = folder.with_name(f"{folder.name}.members")
    with sharing(length, members, "--minutes"):
        planned = open_folder(
            work / RECORD,
            opened,
            [list(range(len(opened.pairs)))],
            length,
            resume=resume,
            overwrite=overwrite,
            on_plan=on_plan,
        )
    places = [work / f"member-{number}" for number in range(1, members + 1)]
    for number, place in enumerate(places):
        seed, done = planned.seed + number, finished(place)
        said = "trained before" if done else f"{described(length)} with the seed {seed}"
        tell(f"Model {number + 1} of {members}: {said}.")
        if done is None:
            with sharing(length, members, "--minutes"):
                made = jobs.train(
                    opened.whole,
                    **vars(length),
                    holdout=left_out,
                    settings=planned.model_copy(update={"seed": seed}),
                    keep=kept(planned),
                    start=start,
                    output=place,
                    resume=is_begun(place),
                    overwrite=True,
                    started=started if number == 0 else None,
                    on_understood=tell if number == 0 else lambda _: None,
                    on_step=on_step,
                )
            stop_if_interrupted(made)
    model = ensemble_of(places, folder, overwrite=overwrite)
    shutil.rmtree(work)
    return Segmenter(model, folder)
