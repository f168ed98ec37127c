"""What a user holds: a trained model with an engine, and the verbs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from overtile import layouts, networks, plan
from overtile import model as storage
from overtile.engines.torch import TorchEngine, best_device
from overtile.errors import DataError, ModelError, OutputError
from overtile.evaluation import Evaluation, evaluate_pairs
from overtile.image import Image, as_image, count_planes, read_plane
from overtile.labels import Kind, LabelMeaning
from overtile.layouts import Content, Pairs
from overtile.model import Model
from overtile.objects import find_objects
from overtile.prediction import Tiler
from overtile.settings import Precision, Settings
from overtile.training import Progress
from overtile.training import train as train_model
from overtile.training.state import State

TILE_PX = 1024
"""Default side of what a tile writes. At a margin of 96 px it reads 1.4 times that; twice the side
would read 1.2 times, for four times the memory."""

DEFAULT_MINUTES = 15.0

AGREES = 1e-3
"""How far a model's logits on its test window may be from the stored ones, in parts of the largest:
other versions and processors round otherwise, a wrong parameter does not stay below."""


class Segmenter:
    """A trained network that predicts images of any size.

    Parameters
    ----------
    model
        Its parameters and everything else it needs.
    device
        Where it runs; by default a GPU where there is one.
    precision
        ``float32`` or ``bfloat16``; by default bfloat16 where the device multiplies it natively.

    Raises
    ------
    ModelError
        The parameters do not fit the settings, or do not give the stored test result.
    """

    def __init__(
        self,
        model: Model,
        device: torch.device | None = None,
        precision: Precision | None = None,
    ) -> None:
        self.model = model
        network = networks.build(model.settings.network)
        try:
            network.load_state_dict(model.parameters)
        except RuntimeError as error:
            raise ModelError(
                f"The model's parameters do not fit its settings, so one of them was changed: "
                f"{str(error).splitlines()[-1].strip()}"
            ) from error
        device = device or best_device()
        self._test(TorchEngine(network, device, "float32"))
        self.tiler = Tiler(
            TorchEngine(network, device, precision),
            model.field,
            border=model.settings.border,
            normalisation=model.normalisation,
            activation=model.settings.loss.activation,
        )

    def _test(self, engine: TorchEngine) -> None:
        expected = self.model.test["logits"].numpy()
        off = float(np.abs(engine(self.model.test["image"].numpy()) - expected).max())
        if off > AGREES * max(1.0, float(np.abs(expected).max())):
            raise ModelError(
                f"The model does not give its stored test result on this machine (logits differ "
                f"by {off:.2g}): its parameters or settings were changed after training."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; the class ids that `predict` gives count them from 0."""
        return self.model.classes.names

    @property
    def meaning(self) -> LabelMeaning:
        """What label values meant in training."""
        classes = self.model.classes
        return LabelMeaning(classes.kind, classes.values, classes.names, "As in training.")

    def predict(self, image: Image | NDArray[Any], *, tile_px: int = TILE_PX) -> NDArray[np.uint8]:
        """The class id of every pixel.

        Parameters
        ----------
        image
            (y x), (y x c), or a stack of these (z first): as `overtile.image.as_image` says.
        tile_px
            Largest side of a tile, in pixels. The result does not depend on it; memory does.

        Returns
        -------
        array of uint8
            (y x), or (z y x) of a stack.

        Raises
        ------
        DataError
            Not an image, another number of channels than in training, or NaN pixels.
        SettingsError
            A tile smaller than the network's grid.
        """
        return self._each_plane(image, lambda plane: self.tiler.classes(plane, tile_px))

    def probabilities(
        self, image: Image | NDArray[Any], *, tile_px: int = TILE_PX
    ) -> NDArray[np.float32]:
        """The probability of every class, 0 to 1: (k y x), or (z k y x) of a stack.

        Parameters and errors are those of `predict`.
        """
        return self._each_plane(image, lambda plane: self.tiler.probabilities(plane, tile_px))

    def objects(self, image: Image | NDArray[Any], *, tile_px: int = TILE_PX) -> NDArray[np.int32]:
        """An id for every object, 0 for background: (y x), or (z y x) of a stack of images.

        Objects are the connected regions of all classes but the first, without specks smaller than
        half of nearly all objects in training; where training drew a line of background between
        touching objects, they are grown back by half of it. Parameters and errors are those of
        `predict`.
        """
        return self._each_plane(
            image, lambda plane: self.find_objects(self.tiler.probabilities(plane, tile_px))
        )

    def find_objects(self, probabilities: NDArray[np.float32]) -> NDArray[np.int32]:
        """The objects (y x) of probabilities (k y x), as `objects` finds them."""
        classes = self.model.classes
        line_px = self.model.settings.pixel_weight.separation_px
        return find_objects(
            1 - probabilities[0],
            smallest_px=classes.smallest_object_px,
            grow_px=line_px / 2 if classes.kind == "instances" else 0,
        )

    def _each_plane(
        self, image: Image | NDArray[Any], act: Callable[[NDArray[Any]], NDArray[Any]]
    ) -> NDArray[Any]:
        image = image if isinstance(image, Image) else as_image(np.asarray(image))
        results = [act(self.check(read_plane(image, n))) for n in range(count_planes(image))]
        return np.stack(results) if {"t", "z"} & set(image.axes) else results[0]

    def check(self, plane: NDArray[Any], name: str = "The image") -> NDArray[Any]:
        """The plane (c y x) itself, if the model can predict it.

        Raises
        ------
        DataError
            Another number of channels than in training, or NaN or infinite pixels.
        """
        expected = self.model.settings.network.channels
        if len(plane) != expected:
            raise DataError(
                f"{name} has {len(plane)} channel{'s' * (len(plane) > 1)}, and the model was "
                f"trained on {expected}: convert the image, or train on such images."
            )
        layouts.check_finite(name, plane)
        return plane

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model folder; see `overtile.model.save`."""
        storage.save(self.model, Path(folder), overwrite=overwrite)


def load(folder: str | Path, *, precision: Precision | None = None) -> Segmenter:
    """The segmenter whose model was saved in a folder.

    Raises
    ------
    ModelError
        No model there, or it is damaged, foreign, of a later format, or altered.
    """
    return Segmenter(storage.load(Path(folder)), precision=precision)


def train(
    images: Content,
    labels: Content,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    holdout: str | Iterable[int] | None = None,
    settings: plan.Preset | Settings = "default",
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
        Paths of files or folders, arrays, or lists of them; see `overtile.layouts.pairs`.
    minutes, steps, epochs
        How long to train: one of them; 15 minutes by default.
    holdout
        Images that are left out and never read, for `evaluate`: "24:30", "0,10", names, or numbers.
    settings
        ``default``, ``paper``, or all settings.
    labels_are
        ``classes``, ``instances``, or ``auto`` to tell by their values.
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
    pairs = layouts.pairs(images, labels)
    held_out: tuple[str, ...] = ()
    if holdout is not None:
        pairs, held = layouts.split(pairs, holdout)
        held_out = tuple(held.names)
    if minutes is None and steps is None and epochs is None:
        minutes = DEFAULT_MINUTES
    budget = plan.Budget(minutes, steps, epochs)
    chosen = settings if isinstance(settings, Settings) else plan.PRESETS[settings]()
    folder = None if output is None else Path(output)
    if folder is not None:
        storage.check_replaceable(folder, overwrite=overwrite)
    elif resume:
        raise OutputError("To resume, give the output of the run that was begun.")
    state = None if folder is None else State(folder, resume=resume)
    model = train_model(
        pairs,
        chosen,
        budget,
        kind=labels_are,
        held_out=held_out,
        state=state,
        started=started,
        on_step=on_step,
    )
    if folder is not None and state is not None:
        storage.save(model, folder, overwrite=overwrite)
        state.remove()
    return Segmenter(model)


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
    pairs = layouts.pairs(images, labels)
    if only is not None:
        pairs = layouts.select(pairs, only)
    return evaluate_with(segmenter, pairs)


def evaluate_with(segmenter: Segmenter, pairs: Pairs) -> Evaluation:
    """The scores of a segmenter on pairs; see `evaluate`."""
    return evaluate_pairs(
        pairs,
        segmenter.meaning,
        lambda image: segmenter.probabilities(Image(image, "cyx")),
        segmenter.find_objects,
    )
