"""What a user holds: a trained model with an engine, and the verbs on it.

Predicting imports no PyTorch unless it is the engine; training imports what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

import overtile.model as storage
from overtile import layouts
from overtile.engines.choice import Name, choose_engine
from overtile.errors import OutputError
from overtile.evaluation import Evaluation, evaluate_pairs
from overtile.executors import connected
from overtile.file_to_file import FilePrediction, PredictOptions
from overtile.image import Image, as_image, of_plane
from overtile.labels import Kind, LabelMeaning
from overtile.layouts import Content, Pairs
from overtile.model import Model
from overtile.objects import find_objects
from overtile.pictures import colours
from overtile.prediction import Predictor
from overtile.pruning import prune as pruned
from overtile.settings import Precision, Settings
from overtile.tileplan import TilePlan
from overtile.tiler import tiler_of

if TYPE_CHECKING:
    from overtile.plan import Preset
    from overtile.training import Progress

DEFAULT_MINUTES = 15.0


class Segmenter:
    """A trained network that predicts images of any size.

    Parameters
    ----------
    model
        Its parameters and everything else it needs.
    folder
        Where it lies, if it does: converted networks are looked for there.
    engine
        ``torch``, ``openvino``, ``onnx``, or ``auto`` for the fastest that can run the model here.
    precision
        ``float32``, ``bfloat16``, or ``auto``: bfloat16 where the device has it and it gives the
        model's test window the same classes.
    threads
        Of the processor; by default all cores.
    inexact
        Whether a network whose result depends on the tiles may predict, its tiles blended.

    Attributes
    ----------
    predictor
        What computes.
    reasons
        Sentences that say why it is this engine in this precision.

    Raises
    ------
    ModelError
        The parameters do not fit the settings, or do not give the stored test result.
    MissingError
        The engine's library is not installed.
    """

    def __init__(
        self,
        model: Model,
        folder: Path | None = None,
        *,
        engine: Name | Literal["auto"] = "auto",
        precision: Precision | Literal["auto"] = "auto",
        threads: int | None = None,
        inexact: bool = False,
    ) -> None:
        self.model = model
        choice = choose_engine(model, folder, engine, precision, threads)
        self.predictor = Predictor(model, tiler_of(model, choice.engine), folder, inexact)
        self.reasons = choice.reasons

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; the class ids that `predict` gives count them from 0."""
        return self.model.classes.names

    @property
    def meaning(self) -> LabelMeaning:
        """What label values meant in training."""
        classes = self.model.classes
        return LabelMeaning(classes.kind, classes.values, classes.names, "As in training.")

    def predict(
        self, image: Image | NDArray[Any], *, tile_px: int | None = None
    ) -> NDArray[np.uint8]:
        """The class id of every pixel.

        Parameters
        ----------
        image
            (y x), (y x c), or a stack of these (z first): as `overtile.image.as_image` says. A
            stack is so many planes, or one volume, as the network has dimensions.
        tile_px
            Largest side of a tile, in pixels; by default as large as pays and half of the free
            memory allows. The result does not depend on it.

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
        return self.predictor.predict(_image(image), "classes", tile_px=tile_px)

    def probabilities(
        self, image: Image | NDArray[Any], *, tile_px: int | None = None
    ) -> NDArray[np.float32]:
        """The probability of every class, 0 to 1: (k y x), or (z k y x) of a stack.

        A network of 3 dimensions gives (k z y x) of a volume.
        Parameters and errors are those of `predict`.
        """
        image = _image(image)
        result = self.predictor.predict(image, "probabilities", tile_px=tile_px)
        axes, _ = self.predictor.check(image).axes_of(len(self.classes))
        space = self.model.settings.network.dimensions
        return np.moveaxis(result, axes.index("c"), -1 - space)

    def objects(
        self,
        image: Image | NDArray[Any],
        *,
        tile_px: int | None = None,
        seed_threshold: float | None = None,
    ) -> NDArray[np.int32]:
        """An id for every object, 0 for background: (y x), or (z y x) of a stack or a volume.

        Objects are the connected regions of all classes but the first, without specks smaller than
        half of nearly all objects in training; where training drew a line of background between
        touching objects, they are grown back by half of it. With a seed threshold, regions that
        hold several places above it are parted between them. Other parameters and errors are those
        of `predict`.
        """
        foreground = self.predictor.predict(_image(image), "foreground", tile_px=tile_px)
        space = self.model.settings.network.dimensions
        planes = foreground.reshape(-1, *foreground.shape[-space:])
        found = [self._objects(plane, seed_threshold) for plane in planes]
        return np.stack(found).reshape(foreground.shape)

    def find_objects(self, probabilities: NDArray[np.float32]) -> NDArray[np.int32]:
        """The objects (*space) of probabilities (k *space), as `objects` finds them."""
        return self._objects(1 - probabilities[0], None)

    def _objects(
        self, foreground: NDArray[np.float32], seed_threshold: float | None
    ) -> NDArray[np.int32]:
        return find_objects(foreground, **vars(self.predictor.objects_are(seed_threshold)))

    def predict_file(
        self, source: str | Path, output: str | Path, options: PredictOptions | None = None
    ) -> TilePlan:
        """A file of any size predicted into a file, within a bound of memory.

        Parameters
        ----------
        source, output
            Of any format that `overtile.io` knows; larger than memory where both can be read and
            written by window.
        options
            What and how; see `overtile.file_to_file.PredictOptions`.

        Returns
        -------
        TilePlan
            The tiles, and why they were these.

        Raises
        ------
        OvertileError
            What `overtile.file_to_file.FilePrediction` says.
        """
        options = options or PredictOptions()
        run = self.prepare_file(source, output, options)
        with self.computing(options) as client:
            run.run(client=client)
        return run.plan

    def prepare_file(
        self, source: str | Path, output: str | Path, options: PredictOptions
    ) -> FilePrediction:
        """What `predict_file` will do, checked and planned but not begun."""
        shown = colours(len(self.classes))
        return FilePrediction(self.predictor, Path(source), Path(output), options, shown)

    @contextmanager
    def computing(self, options: PredictOptions) -> Iterator[Any]:
        """The cluster of the options for `FilePrediction.run`, or None for this process."""
        if options.workers is None and options.cluster is None:
            yield None
            return
        with connected(options.workers, options.cluster) as client:
            yield client

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model folder; see `overtile.model.save`."""
        storage.save(self.model, Path(folder), overwrite=overwrite)


def _image(image: Image | NDArray[Any]) -> Image:
    return image if isinstance(image, Image) else as_image(np.asarray(image))


def load(
    folder: str | Path,
    *,
    engine: Name | Literal["auto"] = "auto",
    precision: Precision | Literal["auto"] = "auto",
    threads: int | None = None,
    inexact: bool = False,
    prune: int | None = None,
) -> Segmenter:
    """The segmenter whose model was saved in a folder; other parameters are those of `Segmenter`.

    Parameters
    ----------
    prune
        For a UNet++: the level to prune it to, from 1, the smallest and fastest, to its depth, the
        whole network.

    Raises
    ------
    SettingsError
        The network has no such level, or it was not trained.
    ModelError
        No model there, or it is damaged, foreign, of a later format, or altered.
    MissingError
        The engine's library is not installed.
    """
    folder = Path(folder)
    model = pruned(storage.load(folder), prune)
    return Segmenter(
        model, folder, engine=engine, precision=precision, threads=threads, inexact=inexact
    )


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
    from overtile import plan
    from overtile.training import train as train_model
    from overtile.training.state import State

    earlier = storage.load(Path(start)) if isinstance(start, str | Path) else start
    chosen = plan.resolve(settings, network, earlier.settings if earlier else None)
    pairs = layouts.pairs(images, labels, chosen.network.dimensions)
    held_out: tuple[str, ...] = ()
    if holdout is not None:
        pairs, held = layouts.split(pairs, holdout)
        held_out = tuple(held.names)
    if minutes is None and steps is None and epochs is None:
        minutes = DEFAULT_MINUTES
    budget = plan.Budget(minutes, steps, epochs)
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
        start=None if earlier is None else (_name_of(start), earlier.parameters),
        state=state,
        started=started,
        on_step=on_step,
    )
    if folder is not None and state is not None:
        storage.save(model, folder, overwrite=overwrite)
        state.remove()
    return Segmenter(model)


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
        lambda image: segmenter.probabilities(of_plane(image)),
        segmenter.find_objects,
    )
