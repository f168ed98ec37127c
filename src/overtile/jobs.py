"""The verbs on images with labels: train a segmenter, and score one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import overtile.model as storage
from overtile import layouts, presets
from overtile.errors import OutputError
from overtile.evaluation import Evaluation, evaluate_pairs
from overtile.labels import Kind
from overtile.layouts import Content, Pairs
from overtile.model import Model
from overtile.presets import Preset
from overtile.resample import PixelSize
from overtile.segmenter import Segmenter
from overtile.settings import Settings

if TYPE_CHECKING:
    from overtile.training import Progress

DEFAULT_MINUTES = 15.0


def train(
    images: Content,
    labels: Content,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    holdout: str | Iterable[int] | None = None,
    settings: Preset | Settings = "default",
    network: str | None = None,
    start: str | Path | Model | None = None,
    labels_are: Literal["auto"] | Kind = "auto",
    output: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    started: float | None = None,
    on_step: Callable[[Progress], None] = lambda _: None,
) -> Segmenter:
    """A segmenter trained on images and labels.

    Parameters
    ----------
    images, labels
        Paths of files or folders, arrays, or lists of them; see `overtile.layouts.pairs`. For a
        network of 3 dimensions they are volumes.
    minutes, steps, epochs
        How long to train: one of them; 15 minutes by default.
    holdout
        Images that are left out and never read, for `evaluate`: "24:30", "0,10", names, or numbers.
    settings
        ``default``, ``paper``, or all settings.
    network
        Its name, where the settings are a preset's; a U-Net by default.
    start
        An earlier model to start from. Where the settings are a preset's and no network is named,
        its network is trained; layers for other channels or classes begin anew.
    labels_are
        ``classes``, ``instances``, ``multilabel``, ``scribbles``, or ``auto`` to tell by their
        values; short for the setting ``labels.kind``. See `overtile.settings.LabelSettings` for
        values to be ignored, and for names of values and colours.
    output
        Folder to save the model to. While training goes on, its state is kept beside it, so that a
        run that was killed can be resumed.
    resume
        Whether to go on with such a run.
    overwrite
        Whether a model that `output` holds already may be replaced.
    started
        When the time budget began, on the clock of `time.monotonic`; by default now.
    on_step
        Told every few steps how far training is.

    Raises
    ------
    DataError, SettingsError, OutputError
        What `overtile.training.train` says; or `output` exists, or there is nothing to resume.
    """
    from overtile.plan import Budget
    from overtile.training import train as train_model
    from overtile.training.state import State

    earlier = storage.load(Path(start)) if isinstance(start, str | Path) else start
    chosen = presets.resolve(settings, network, earlier.settings if earlier else None)
    if labels_are != "auto":
        kept = chosen.labels.model_copy(update={"kind": labels_are})
        chosen = chosen.model_copy(update={"labels": kept})
    folder = None if output is None else Path(output)
    if folder is not None:
        storage.check_replaceable(folder, overwrite=overwrite)
    elif resume:
        raise OutputError("To resume, give the output of the run that was begun.")
    state = None if folder is None else State(folder, resume=resume)
    begun = state.read() if state is not None else None
    chosen = begun.settings if begun is not None else chosen
    pairs = layouts.pairs(images, labels, chosen.network.dimensions)
    held_out: tuple[str, ...] = ()
    if holdout is not None:
        pairs, held = layouts.split(pairs, holdout)
        held_out = tuple(held.names)
    if chosen.spacing is not None:
        pairs = layouts.bring_to(pairs, _pixel_size(pairs, chosen))
    if minutes is None and steps is None and epochs is None:
        minutes = DEFAULT_MINUTES
    budget = Budget(minutes, steps, epochs)
    model = train_model(
        pairs,
        chosen,
        budget,
        held_out=held_out,
        start=None if earlier is None else (_name_of(start), earlier.parameters),
        state=state,
        started=started,
        on_step=on_step,
    )
    if folder is not None and state is not None:
        storage.save(model, folder, overwrite=overwrite)
        state.remove()
    return Segmenter(model)


def _pixel_size(pairs: Pairs, settings: Settings) -> PixelSize:
    """What the settings say that all images are brought to."""
    common = layouts.common_pixel_size(pairs)
    if settings.spacing is None or settings.spacing == "common":
        return common
    sizes = settings.spacing
    return PixelSize(
        sizes if isinstance(sizes, tuple) else (sizes,) * pairs.dimensions, common.unit
    )


def _name_of(start: str | Path | Model | None) -> str:
    return Path(start).name if isinstance(start, str | Path) else "the earlier model"


def evaluate(
    segmenter: Segmenter,
    images: Content,
    labels: Content,
    *,
    only: str | Iterable[int] | None = None,
) -> Evaluation:
    """The scores of a segmenter on images with labels.

    Parameters
    ----------
    segmenter
        A trained one.
    images, labels
        As in `train`.
    only
        Which of them: "24:30", "0,10", names, or numbers; all by default.

    Raises
    ------
    DataError
        Pairs that do not fit each other or the model.
    """
    pairs = layouts.pairs(images, labels, segmenter.model.settings.network.dimensions)
    if only is not None:
        pairs = layouts.select(pairs, only)
    return evaluate_with(segmenter, pairs)


def evaluate_with(segmenter: Segmenter, pairs: Pairs) -> Evaluation:
    """The scores of a segmenter on pairs; see `evaluate`."""
    return evaluate_pairs(
        pairs,
        segmenter.meaning,
        segmenter.probabilities,
        segmenter.find_objects,
    )
