"""What a run ends in: a calibrated network, its origin, and a window by which it is checked."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from overtile.dataset import Example
from overtile.engines import Engine
from overtile.engines.assembly import turns_for
from overtile.engines.averaged import AveragedEngine
from overtile.engines.torch import TorchEngine
from overtile.geometry import Fields
from overtile.machine import describe_processor
from overtile.missing import find_missing
from overtile.model import Arrays, Model
from overtile.model.manifest import Classes, Origin
from overtile.networks import Network, build
from overtile.normalise import Normalisation
from overtile.objects import INSIDE
from overtile.settings import Settings
from overtile.step import window_sizes
from overtile.symmetry import Turn
from overtile.tiler import Tiler, read_mirrored
from overtile.tiles import Tile
from overtile.training.calibration import ENOUGH_PX, adjustment, logit_shift
from overtile.training.data import TrainingData
from overtile.training.insides import fit_inside
from overtile.training.loop import Result

TEST_PX = 128
"""Side of the test window of a plane; a volume's has about as many pixels, as has its middle."""

MIDDLE_PX = 1024
"""Side of what is predicted of an image at most."""

LEAST_PX = 256
"""And where many images are to have a part, at least, as in training: less would be mostly edge."""


def make_model(
    data: TrainingData,
    settings: Settings,
    result: Result,
    device: torch.device,
    held_out: tuple[str, ...],
    started: float,
) -> Model:
    """The model that a run ends in: calibrated, with its origin and its test window."""
    settings = settings.model_copy(update={"steps": result.planned})
    network = build(settings.network)
    network.load_state_dict(result.parameters)
    smaller = [network.prune(level) for level in settings.network.levels]
    if settings.calibrate or settings.logit_adjustment:
        _shift_heads([network, *reversed(smaller)], data, settings, device)
    smallest_px = _smallest_object(data.areas_px)
    inside = _fit_inside(network, data, settings, smallest_px, device)
    heads = {"logits": network} | {f"logits_{n}": each for n, each in enumerate(smaller, start=1)}
    packages = ("overtile", "torch", "lightning", "numpy", "scipy")
    versions = {"python": platform.python_version()} | {name: version(name) for name in packages}
    meaning = data.meaning
    return Model(
        settings=settings,
        classes=Classes(
            kind=meaning.kind,
            names=meaning.names,
            values=meaning.values,
            colours=meaning.colours,
            coding=meaning.coding,
            ignored=meaning.ignored,
            background=meaning.background,
            palette=meaning.palette,
            reason=meaning.reason,
            labelled_share=data.labelled_share,
            smallest_object_px=smallest_px,
            inside=inside,
        ),
        normalisation=data.normalisation,
        fields=network.fields,
        exact=network.is_exact,
        origin=Origin(
            versions=versions,
            processor=describe_processor(),
            steps=result.steps,
            planned_steps=result.planned,
            stopped=result.stopped,
            seconds=round(time.monotonic() - started, 1),
            images=data.digests,
            held_out=held_out,
        ),
        parameters={name: value.numpy() for name, value in network.cpu().state_dict().items()},
        test=_test_window(data.examples[0], data.normalisations[0], heads),
        history=result.history,
        levels=tuple(each.fields for each in smaller),
        pixel_size=data.pixel_size,
    )


def _shift_heads(
    nested: Sequence[Network], data: TrainingData, settings: Settings, device: torch.device
) -> None:
    """Shift the logits to what the training images, as prediction sees them, say of the classes.

    Each head by its own shift, so that the probabilities of a pruned network are right as well. The
    networks lie in each other, the largest first, and what shifts one shifts those in it.
    """
    done = torch.zeros(settings.network.classes)
    for network, shift in [(each, _shift(each, data, settings, device)) for each in nested]:
        network.shift_logits(shift - done)
        done = shift


def _shift(
    network: Network, data: TrainingData, settings: Settings, device: torch.device
) -> Tensor:
    """What to add to the logits of each class."""
    shift = torch.zeros(settings.network.classes)
    if settings.logit_adjustment:
        of_labels = adjustment(data.fingerprint.class_px, settings.logit_adjustment)
        shift[: len(of_labels)] = of_labels  # and none of a line between them
    return shift + _fitted_shift(network, data, settings, device) if settings.calibrate else shift


def _fitted_shift(
    network: Network, data: TrainingData, settings: Settings, device: torch.device
) -> Tensor:
    """The shift by which the training pixels are predicted best."""
    engine = TorchEngine(network, device)
    # A class that none of a few images has would be shifted out of all others.
    side_px = math.ceil(math.sqrt(ENOUGH_PX / len(data.examples)))
    side_px = min(max(side_px, LEAST_PX), MIDDLE_PX)
    passes = [_turned(engine, [turn], settings) for turn in _turns(network.fields, settings)]
    tile_px = _tile_px(network, settings)
    predicted = (
        (np.stack([logits for _, logits in each]), _part(target, each[0][0]))
        for several, image, target in _middles(passes, network, data, settings, side_px)
        for each in zip(*[one.logits(image, tile_px) for one in several], strict=True)
    )
    return logit_shift(predicted, settings.loss)


def _fit_inside(
    network: Network,
    data: TrainingData,
    settings: Settings,
    smallest_px: int,
    device: torch.device,
) -> float:
    """Where objects begin, if the network knows lines between them."""
    weighing, turns = settings.pixel_weight, _turns(network.fields, settings)
    if not weighing.has_line(data.meaning.kind):
        return INSIDE
    engine = _turned(TorchEngine(network, device), turns, settings)
    tile_px = _tile_px(network, settings)
    predicted = (
        (tiler.predict(image, tile_px, "foreground"), target)
        for (tiler,), image, target in _middles([engine], network, data, settings)
    )
    return fit_inside(predicted, weighing.separation_px, smallest_px)


def _middles(
    engines: Sequence[Engine],
    network: Network,
    data: TrainingData,
    settings: Settings,
    side_px: int = MIDDLE_PX,
) -> Iterator[tuple[list[Tiler], NDArray[np.generic], NDArray[np.int16]]]:
    """The middle of each example in a random order, image and target, and how it is predicted."""
    for number in np.random.default_rng(settings.seed).permutation(len(data.examples)):
        tilers = [
            Tiler(
                engine,
                network.fields,
                border=settings.border,
                normalisation=data.normalisations[number],
                activation=settings.loss.activation,
                line=settings.pixel_weight.has_line(data.meaning.kind),
            )
            for engine in engines
        ]
        yield tilers, *_middle(data.examples[number], side_px)


def _tile_px(network: Network, settings: Settings) -> list[int] | None:
    """A volume's margin is most of what is read: tiles of a training window's size fit."""
    sizes = zip(window_sizes(settings, network.fields).out, network.fields, strict=True)
    step = [max(side // field.grid, 1) * field.grid for side, field in sizes]
    return step if len(step) == 3 else None


def _turns(fields: Fields, settings: Settings) -> Sequence[Turn | None]:
    """Those whose probabilities prediction averages; one that is none where it does not."""
    return turns_for(fields, [settings.augment]) if settings.turns else [None]


def _turned(engine: Engine, turns: Sequence[Turn | None], settings: Settings) -> Engine:
    """An engine that averages turned windows."""
    several = [turn for turn in turns if turn is not None]
    if not several:
        return engine
    return AveragedEngine([engine], several, settings.loss.activation)


def _middle(example: Example, side_px: int) -> tuple[NDArray[np.generic], NDArray[np.int16]]:
    """Image and target of the middle of an example, at most of such a side if it is a plane."""
    most = _alike(side_px, example.weight.ndim)
    starts = [max(0, (size - most) // 2) for size in example.weight.shape]
    inside = tuple(slice(start, start + most) for start in starts)
    return example.image[:, *inside], _part(example.target, inside)


def _part(target: NDArray[np.int16], place: tuple[slice, ...]) -> NDArray[np.int16]:
    """A part of a target (*space), or (k *space) of classes that overlap."""
    key: tuple[Any, ...] = (..., *place)
    return np.asarray(target[key])


def _alike(side_px: int, dimensions: int) -> int:
    """The side of a square, or that of a cube of as many pixels."""
    return round(math.pow(side_px, 2 / dimensions))


def _smallest_object(areas_px: NDArray[np.int64]) -> int:
    """Half the area that 98 % of the training objects exceed: anything smaller is a speck."""
    return int(np.percentile(areas_px, 2) / 2) if areas_px.size else 0


def _test_window(
    example: Example, normalisation: Normalisation, heads: dict[str, Network]
) -> Arrays:
    """A window of a training image, and the logits by which a loaded model is checked."""
    side = _alike(TEST_PX, example.weight.ndim)
    sizes = [field.good_size(side) for field in heads["logits"].fields]
    along = zip(example.weight.shape, sizes, strict=True)
    reads = tuple(((length - size) // 2, (length - size) // 2 + size) for length, size in along)
    pixels = read_mirrored(example.image, Tile(reads, (), ()))
    image = normalisation(pixels, find_missing(pixels))[None]
    made: Arrays = {"image": image}
    for name, network in heads.items():
        made[name] = TorchEngine(network, torch.device("cpu"), "float32")(image)
    return made
