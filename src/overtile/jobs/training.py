"""A segmenter planned and trained on images with labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import overtile.model as storage
from overtile import layouts, presets
from overtile.errors import OutputError, SettingsError
from overtile.jobs.finding import VOLUME_NETWORK, find_pairs
from overtile.labels import Kind
from overtile.layouts import Content, Pairs
from overtile.model import Model
from overtile.presets import Preset, Wanted
from overtile.resample import PixelSize
from overtile.segmenter import Segmenter
from overtile.settings import Settings

if TYPE_CHECKING:
    from overtile.planning import Budget, Plan
    from overtile.training import Progress

DEFAULT_MINUTES = 15.0


def train(
    images: Content | Pairs,
    labels: Content | None = None,
    *,
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
    output: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    devices: int = 1,
    nodes: int = 1,
    loggers: Iterable[str] = (),
    started: float | None = None,
    on_understood: Callable[[str], None] = lambda _: None,
    on_plan: Callable[[Plan], None] = lambda _: None,
    on_step: Callable[[Progress], None] = lambda _: None,
) -> Segmenter:
    """A segmenter trained on images and labels.

    Parameters
    ----------
    images, labels
        Paths of files or folders, arrays, or lists of them; the folder of a whole data set; or
        pairs. See `overtile.layouts.pairs`. For a network of 3 dimensions they are volumes.
    layout
        The name of the data set's layout; by default it is recognised.
    minutes, steps, epochs
        How long to train: one of them; by default the steps of the settings, if they hold any, or
        15 minutes.
    holdout
        Images that are left out and never read, for `evaluate`: "24:30", "0,10", "20%", names of
        images or of groups, or numbers. By default, those that the data set itself keeps for
        validation and test.
    settings
        ``default``, ``paper``, or all settings.
    keep
        Dotted names of those settings that are yours, such as ``window.size_px``, or of groups of
        them, such as ``network``. The others of the preset ``default`` are chosen by the data, the
        machine and the time. By default all of `Settings` are kept, and none of a preset.
    network
        Its name, where the settings are a preset's; by default a U-Net, of 3 dimensions where the
        images are volumes.
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
        Whether to go on with such a run, on the same data. Settings and time are those that it was
        begun with; what is given here must agree with them.
    overwrite
        Whether a model that `output` holds already, or a run that has not ended, may be replaced.
    devices, nodes
        Processes on each machine, one for each GPU where there are any; and machines. They share
        every batch, and each gets the segmenter; the first writes the output. Unless torchrun or
        SLURM started them, those of this machine run this script once more.
    loggers
        Programs that follow the training: ``tensorboard``, ``mlflow``, ``wandb``.
    started
        When the time budget began, on the clock of `time.monotonic`; by default now.
    on_understood
        Told what the labels mean, before anything that takes long.
    on_plan
        Told the plan of a new run, before its first step.
    on_step
        Told every few steps how far training is.

    Raises
    ------
    DataError, SettingsError, OutputError
        What `overtile.training.train` says; or `output` exists, or there is nothing to resume.
    """
    from overtile.training import train as train_model
    from overtile.training.ranks import started as started_ranks
    from overtile.training.state import State

    earlier = storage.load(Path(start)) if isinstance(start, str | Path) else start
    if earlier is not None and earlier.members:
        raise SettingsError(
            f"{_name_of(start)} is an ensemble of {len(earlier.members)} models: start from one of "
            "them (member-1, ... in its folder)."
        )
    folder = None if output is None else Path(output)
    if folder is not None:
        storage.check_replaceable(folder, overwrite=overwrite)
    elif resume:
        raise OutputError("To resume, give the output of the run that was begun.")
    state = None if folder is None else State(folder, resume=resume, overwrite=overwrite)
    begun = None if state is None else state.read()
    choice = choose(settings, keep, network, earlier, labels_are)
    if begun is not None:
        named = None if start is None else _name_of(start)
        if isinstance(settings, Settings):
            begun.check_settings(choice[0].settings)
            begun.check_recipe("default", None, named)
        else:
            begun.check_recipe(settings, network, named)
        begun.check_budget(minutes, steps, epochs)
        choice = Wanted(begun.asked, None), False
    job = _prepare(images, labels, layout, holdout, choice)
    wanted = job.wanted.settings
    budget = _budget(minutes, steps, epochs, wanted) if begun is None else begun.budget
    with started_ranks(devices, nodes) as ranks:
        model = train_model(
            job.pairs,
            wanted,
            budget,
            keep=job.wanted.kept,
            held_out=job.held_out,
            start=None if earlier is None else (_name_of(start), earlier.parameters),
            state=state,
            started=started,
            on_understood=on_understood,
            on_plan=on_plan,
            on_step=on_step,
            ranks=ranks,
            loggers=tuple(loggers),
        )
        if folder is not None and state is not None and ranks.is_first:
            storage.save(model, folder, overwrite=overwrite)
            state.remove()
        ranks.wait()
    return Segmenter(model)


def plan(
    images: Content | Pairs,
    labels: Content | None = None,
    *,
    layout: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    holdout: str | Iterable[int] | None = None,
    settings: Preset | Settings = "default",
    keep: Iterable[str] | None = None,
    network: str | None = None,
    labels_are: Literal["auto"] | Kind = "auto",
    started: float | None = None,
    on_understood: Callable[[str], None] = lambda _: None,
) -> Plan:
    """The plan by which `train` would train, each choice with its reason; nothing is trained.

    Parameters and errors are those of `train`. Its ``to_yaml()`` is a file of settings that a
    person can edit and train from.
    """
    from overtile.training import plan as make_plan

    job = _prepare(
        images, labels, layout, holdout, choose(settings, keep, network, None, labels_are)
    )
    return make_plan(
        job.pairs,
        job.wanted.settings,
        _budget(minutes, steps, epochs, job.wanted.settings),
        keep=job.wanted.kept,
        started=started,
        on_understood=on_understood,
    )


@dataclass(frozen=True)
class _Job:
    """What is trained on, and how."""

    pairs: Pairs
    held_out: tuple[str, ...]
    wanted: Wanted


def choose(
    settings: Preset | Settings,
    keep: Iterable[str] | None,
    network: str | None,
    earlier: Model | None,
    labels_are: Literal["auto"] | Kind,
) -> tuple[Wanted, bool]:
    """The settings, and whether they leave open if the network is one for planes or volumes."""
    open_choice = not isinstance(settings, Settings) and network is None and earlier is None
    chosen = presets.resolve(settings, network, earlier.settings if earlier else None)
    if labels_are != "auto":
        told = chosen.labels.model_copy(update={"kind": labels_are})
        chosen = chosen.model_copy(update={"labels": told})
    kept = None if keep is None else frozenset(keep)
    if keep is None and not isinstance(settings, Settings):
        kept = frozenset() if network is None else frozenset({"network.name"})
        if earlier is not None and network is None:
            kept = presets.names_of_network(chosen)
    return Wanted(chosen, kept), open_choice


def _prepare(
    images: Content | Pairs,
    labels: Content | None,
    layout: str | None,
    holdout: str | Iterable[int] | None,
    choice: tuple[Wanted, bool],
) -> _Job:
    """The pairs to train on, with settings that are for planes or volumes as they are."""
    wanted, is_open = choice
    chosen = wanted.settings
    pairs = find_pairs(images, labels, layout, None if is_open else chosen.network.dimensions)
    if is_open and pairs.dimensions == 3:
        chosen = presets.resolve(chosen.preset, VOLUME_NETWORK).model_copy(
            update={"labels": chosen.labels}
        )
    pairs = layouts.drawn_as(pairs, chosen.labels.kind)
    pairs, held = layouts.split(pairs, holdout)
    if chosen.spacing is not None:
        pairs = layouts.bring_to(pairs, _pixel_size(pairs, chosen))
    return _Job(pairs, () if held is None else tuple(held.names), Wanted(chosen, wanted.kept))


def _budget(
    minutes: float | None, steps: int | None, epochs: float | None, settings: Settings
) -> Budget:
    """How long to train, as it is said, or as the settings have it."""
    from overtile.planning import Budget

    if minutes is None and steps is None and epochs is None:
        steps = settings.steps
        minutes = DEFAULT_MINUTES if steps is None else None
    return Budget(minutes, steps, epochs)


def _pixel_size(pairs: Pairs, settings: Settings) -> PixelSize:
    """What the settings say that all images are brought to."""
    sizes = settings.spacing
    if sizes is None or sizes == "common":
        return layouts.common_pixel_size(pairs)
    sizes = sizes if isinstance(sizes, tuple) else (sizes,) * pairs.dimensions
    return PixelSize(sizes, pairs[0].image.open().unit)


def _name_of(start: str | Path | Model | None) -> str:
    return Path(start).name if isinstance(start, str | Path) else "the earlier model"
