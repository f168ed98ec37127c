"""What a user holds: a trained model with an engine, and the verbs on it.

It imports no PyTorch unless that is the engine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import overtile.model as storage
from overtile import io
from overtile.engines.assembly import Wanted, assemble
from overtile.engines.choice import Name
from overtile.executors import connected
from overtile.file_to_file import FilePrediction, PredictOptions
from overtile.image import Image, as_image
from overtile.labels import LabelMeaning
from overtile.legend import Legend
from overtile.missing import clear_missing
from overtile.model import Model
from overtile.objects import ObjectSettings, find_objects
from overtile.planes import Planes
from overtile.prediction import Predictor
from overtile.pruning import prune as pruned
from overtile.settings import Precision
from overtile.tileplan import TilePlan
from overtile.tiler import tiler_of


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
    turns
        Whether every window is also computed flipped and turned by quarters, in all the ways that
        differ and that training showed the network, and the probabilities averaged: 8 times the
        work, 16 times for volumes. By default as the model's settings say.

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
    SettingsError
        Turns are asked for, and training showed the network none.
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
        turns: bool | None = None,
    ) -> None:
        self.model = model
        turned = model.settings.turns if turns is None else turns
        choice = assemble(model, folder, Wanted(engine, precision, threads, turned))
        self.predictor = Predictor(model, tiler_of(model, choice.engine), folder, inexact)
        self.reasons = choice.reasons

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; the class ids that `predict` gives count them from 0."""
        return self.model.classes.names

    @property
    def legend(self) -> Legend:
        """Names and colours of the classes."""
        return self.model.classes.legend

    @property
    def meaning(self) -> LabelMeaning:
        """What label values meant in training."""
        measured = {"labelled_share", "smallest_object_px", "inside"}
        known = self.model.classes.model_dump(exclude=measured)
        repair = self.model.settings.labels.repair
        return LabelMeaning(**known, repair=repair)

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
            (y x), or (z y x) of a stack; 255 where a pixel is missing (NaN in any channel). Of
            classes that overlap it is 1 where a pixel belongs to the class and 0 where not:
            (k y x), or (z k y x) of a stack; (k z y x) of a volume.

        Raises
        ------
        DataError
            Not an image, another number of channels than in training, or infinite pixels.
        SettingsError
            A tile smaller than the network's grid.
        """
        image = _image(image)
        result = self.predictor.predict(image, "classes", tile_px=tile_px)
        return self._layered(result, image) if self.model.classes.overlap else result

    def probabilities(
        self, image: Image | NDArray[Any], *, tile_px: int | None = None
    ) -> NDArray[np.float32]:
        """The probability of every class, 0 to 1: (k y x), or (z k y x) of a stack.

        NaN where a pixel is missing.
        A network of 3 dimensions gives (k z y x) of a volume.
        Parameters and errors are those of `predict`.
        """
        image = _image(image)
        result = self.predictor.predict(image, "probabilities", tile_px=tile_px)
        return self._layered(result, image)

    def _layered(self, result: NDArray[Any], image: Image) -> NDArray[Any]:
        """A result with its classes just before the axes of space."""
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
        half of nearly all objects in training; where training drew a line between touching
        objects, they are grown back into it. With a seed threshold, regions that
        hold several places above it are parted between them. Other parameters and errors are those
        of `predict`.
        """
        image = _image(image)
        foreground = self.predictor.predict(image, "foreground", tile_px=tile_px)
        space = self.model.settings.network.dimensions
        sizes = foreground.shape[-space:]
        settings = self._objects_are(image, sizes, seed_threshold)
        planes = Planes(image, space)
        found = []
        for number, likely in enumerate(foreground.reshape(-1, *sizes)):
            ids = find_objects(likely, **vars(settings))
            clear_missing(ids, planes[number], [tuple(slice(0, size) for size in sizes)])
            found.append(ids)
        return np.stack(found).reshape(foreground.shape)

    def find_objects(self, probabilities: NDArray[np.float32], image: Image) -> NDArray[np.int32]:
        """The objects (*space) of the probabilities (k *space) of an image, as `objects` does.

        Where the network knows lines between objects, which are not among the probabilities, the
        image is predicted again.
        """
        if self.model.has_line:
            return self.objects(image)
        missing = np.isnan(probabilities[0])
        settings = self._objects_are(image, missing.shape)
        found = find_objects(np.where(missing, 0, 1 - probabilities[0]), **vars(settings))
        return np.where(missing, 0, found)

    def _objects_are(
        self, image: Image, sizes: tuple[int, ...], seed_threshold: float | None = None
    ) -> ObjectSettings:
        """What an object is in an image, whose pixels the network may see in another size."""
        larger = math.prod(sizes) / math.prod(self.predictor.check(image).shape)
        return self.predictor.objects_are(seed_threshold, larger)

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
        return FilePrediction(self.predictor, io.place(source), io.place(output), options)

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
    turns: bool | None = None,
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
        The network has no such level, or it was not trained; or as for `Segmenter`.
    ModelError
        No model there, or it is damaged, foreign, of a later format, or altered.
    MissingError
        The engine's library is not installed.
    """
    folder = Path(folder)
    model = pruned(storage.load(folder), prune)
    return Segmenter(
        model,
        folder,
        engine=engine,
        precision=precision,
        threads=threads,
        inexact=inexact,
        turns=turns,
    )
