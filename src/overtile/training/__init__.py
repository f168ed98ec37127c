"""Pairs + settings + time -> a model."""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from overtile import networks
from overtile.dataset import Example, Slabs, digest, prepare
from overtile.engines.torch import TorchEngine, best_device
from overtile.errors import DataError
from overtile.geometry import Fields
from overtile.labels import Kind, understand
from overtile.layouts import Pairs, check_pair
from overtile.machine import describe_processor
from overtile.model import Arrays, Classes, Model, Origin
from overtile.normalise import Normalisation, measure_normalisation
from overtile.plan import FINISH_S, Budget, fastest, fit_to_data, steps_for
from overtile.settings import Settings
from overtile.step import Batch, Step, window_sizes
from overtile.tiler import Tiler, read_mirrored
from overtile.tiles import Tile
from overtile.training.calibration import logit_shift
from overtile.training.loop import Progress, Result, run
from overtile.training.state import Run, State
from overtile.training.transfer import start_from

__all__ = ["Progress", "State", "train"]

LATE = 1.02
"""The clock stops a run this much behind its budget: the planned steps may end a little late."""

TEST_PX = 128
"""Side of the test window of a plane; a volume's has about as many pixels, as has its middle."""

MIDDLE_PX = 1024
"""Side of what is predicted of each image for calibration."""


def train(
    pairs: Pairs,
    settings: Settings,
    budget: Budget,
    *,
    kind: Literal["auto"] | Kind = "auto",
    held_out: tuple[str, ...] = (),
    start: tuple[str, Arrays] | None = None,
    state: State | None = None,
    started: float | None = None,
    on_step: Callable[[Progress], None] = lambda _: None,
) -> Model:
    """Train a network on pairs.

    Parameters
    ----------
    pairs
        All of them are trained on, and nothing else is read.
    settings
        A preset's or a user's; what is left open in them is decided here, and stands in the model.
    budget
        Minutes, steps or epochs. Minutes become a number of steps, once, from the measured speed.
    kind
        What the label values are.
    held_out
        Names of images kept for evaluation, to be recorded in the model.
    start
        Name and parameters of an earlier model; what fits of them is where training begins.
    state
        Where the run is kept while it goes on; it goes on from there where something is kept.
    started
        When the time budget began, on the clock of `time.monotonic`; by default now.
    on_step
        Told every few steps how far training is.

    Raises
    ------
    DataError
        Images or labels that cannot be learnt from, or other data than those of the run kept.
    SettingsError
        Settings that do not fit the data, an earlier model that does not fit the network, too
        little time for one step, or training diverged.
    ModelError, MissingError
        The parameters that an encoder was to begin with do not fit it, or cannot be had.
    """
    started = time.monotonic() if started is None else started
    data = _Data(pairs, settings, kind)
    device = best_device()
    kept = state.read() if state is not None else None
    reuse = None
    if kept is not None:
        data.check_same(kept.images)
        settings, steps, reuse = kept.settings, kept.steps, kept.started_from
        network = networks.build(settings.network, settings.seed)
        deadline = time.monotonic() + _seconds(kept.minutes) - kept.spent_s
    else:
        shapes = [example.target.shape for example in data.examples]
        settings = fit_to_data(settings, data.channels, len(data.meaning.names), shapes)
        network = networks.build(settings.network, settings.seed)
        # Before anything that takes long, for what they read may be missing.
        if start is not None:
            reuse = str(start_from(network, start[1], start[0]))
        else:
            network.start()
        settings, steps = _plan(data, settings, budget, device, started)
        deadline = started + _seconds(budget.minutes)
        if state is not None:
            state.begin(
                Run(
                    settings=settings,
                    steps=steps,
                    minutes=budget.minutes,
                    spent_s=time.monotonic() - started,
                    images=data.digests,
                    started_from=reuse,
                )
            )
    data.normalise_for(network)
    step = Step(network, settings).to(device)
    result = run(
        step,
        data.loader(settings, step.network.fields),
        steps,
        deadline=deadline,
        checkpoint=state.checkpoint if state is not None else None,
        on_step=on_step,
    )
    model = _model(data, settings, result, steps, device, held_out, started)
    origin = model.origin.model_copy(update={"started_from": reuse})
    return replace(model, origin=origin)


def _seconds(minutes: float | None) -> float:
    """What the clock allows for training in all."""
    return 60 * minutes * LATE - FINISH_S if minutes else math.inf


class _Data:
    """The training images in memory, and what was measured of them."""

    def __init__(self, pairs: Pairs, settings: Settings, kind: Literal["auto"] | Kind) -> None:
        read = []
        self.digests = {}
        for pair in pairs:
            assert pair.label is not None
            image, label = pair.image.read(), pair.label.read()
            check_pair(pair.name, image, label)
            read.append((image, label))
            self.digests[pair.name] = digest(image)
        counts = {len(image) for image, _ in read}
        if len(counts) > 1:
            raise DataError(
                f"The images have {' and '.join(map(str, sorted(counts)))} channels: expected the "
                "same number in all. Convert them to one form."
            )
        (self.channels,) = counts
        self.meaning = understand((label for _, label in read), kind)
        self.normalisation = measure_normalisation(image for image, _ in read)
        self.examples = prepare(read, self.meaning, settings.pixel_weight)

    def normalise_for(self, network: networks.Network) -> None:
        """As the network's parameters want it, where they say so and the images are of 8 bits."""
        known = network.normalisation
        if known and all(example.image.dtype == np.uint8 for example in self.examples):
            self.normalisation = known

    def check_same(self, images: dict[str, str]) -> None:
        """Refuse to go on with a run that was begun on other images."""
        if images != self.digests:
            raise DataError(
                "The run to be resumed was begun on other images: expected "
                f"{len(images)} images with the pixels they had, from {next(iter(images))} on. "
                "Give the same data and hold-out, or start anew without --resume."
            )

    def loader(self, settings: Settings, fields: Fields) -> Callable[[int, int], DataLoader[Any]]:
        """What makes the batches of a range of steps."""
        sizes, batch_size = window_sizes(settings, fields), settings.window.batch_size

        def load(start: int, stop: int) -> DataLoader[Any]:
            slabs = Slabs(
                self.examples,
                self.normalisation,
                context_px=sizes.context,
                window_px=sizes.counted,
                seed=settings.seed,
                steps=(start, stop),
                batch_size=batch_size,
            )
            # A generator of its own, because the loader would draw from the caller's.
            return DataLoader(slabs, batch_size=batch_size, generator=torch.Generator())

        return load


def _plan(
    data: _Data, settings: Settings, budget: Budget, device: torch.device, started: float
) -> tuple[Settings, int]:
    """Settings with precision and layout measured, and the number of steps."""
    fields = networks.fields_of(settings.network)
    load = data.loader(settings, fields)

    def next_batch() -> Batch:
        slabs, target, weight, seeds = next(iter(load(0, 1)))
        return slabs.to(device), target.to(device), weight.to(device), seeds

    settings, step_s = fastest(settings, device, next_batch)
    loads = []
    for _ in range(5):
        begin = time.perf_counter()
        next_batch()
        loads.append(time.perf_counter() - begin)
    step_s += statistics.median(loads)
    steps = steps_for(
        budget,
        step_s=step_s,
        elapsed_s=time.monotonic() - started,
        labelled_px=sum(int((example.weight > 0).sum()) for example in data.examples),
        step_px=settings.window.batch_size * window_sizes(settings, fields).counted_px,
    )
    return settings, steps


def _model(
    data: _Data,
    settings: Settings,
    result: Result,
    planned: int,
    device: torch.device,
    held_out: tuple[str, ...],
    started: float,
) -> Model:
    network = networks.build(settings.network)
    network.load_state_dict(result.parameters)
    smaller = [network.prune(level) for level in settings.network.levels]
    if settings.calibrate:
        _calibrate([network, *reversed(smaller)], data, settings, device)
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
            smallest_object_px=_smallest_object(data.examples),
        ),
        normalisation=data.normalisation,
        fields=network.fields,
        exact=network.is_exact,
        origin=Origin(
            versions=versions,
            processor=describe_processor(),
            steps=result.steps,
            planned_steps=planned,
            stopped=result.stopped,
            seconds=round(time.monotonic() - started, 1),
            images=data.digests,
            held_out=held_out,
        ),
        parameters={name: value.numpy() for name, value in network.cpu().state_dict().items()},
        test=_test_window(data.examples[0], data.normalisation, heads),
        history=result.history,
        levels=tuple(each.fields for each in smaller),
    )


def _calibrate(
    nested: Sequence[networks.Network], data: _Data, settings: Settings, device: torch.device
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
    network: networks.Network, data: _Data, settings: Settings, device: torch.device
) -> Tensor:
    """What to add to the logits of each class."""
    tiler = Tiler(
        TorchEngine(network, device),
        network.fields,
        border=settings.border,
        normalisation=data.normalisation,
        activation=settings.loss.activation,
    )
    order = np.random.default_rng(settings.seed).permutation(len(data.examples))
    crops = (_middle(data.examples[place]) for place in order)
    # A volume's margin is most of what is read: tiles of a training window's size fit into memory.
    sizes = zip(window_sizes(settings, network.fields).out, network.fields, strict=True)
    step = [max(side // field.grid, 1) * field.grid for side, field in sizes]
    predicted = (
        (logits, target[place])
        for image, target in crops
        for place, logits in tiler.logits(image, step if len(step) == 3 else None)
    )
    return logit_shift(predicted, settings.loss.activation)


def _middle(example: Example) -> tuple[NDArray[np.generic], NDArray[np.int16]]:
    """Image and target of the middle of an example, of `MIDDLE_PX` at most a side of a plane."""
    most = _alike(MIDDLE_PX, example.target.ndim)
    starts = [max(0, (size - most) // 2) for size in example.target.shape]
    inside = tuple(slice(start, start + most) for start in starts)
    return example.image[:, *inside], example.target[inside]


def _alike(side_px: int, dimensions: int) -> int:
    """The side of a square, or that of a cube of as many pixels."""
    return round(math.pow(side_px, 2 / dimensions))


def _smallest_object(examples: Sequence[Example]) -> int:
    """Half the area that 98 % of the training objects exceed: anything smaller is a speck."""
    areas = np.concatenate([example.areas_px for example in examples])
    return int(np.percentile(areas, 2) / 2) if areas.size else 0


def _test_window(
    example: Example, normalisation: Normalisation, heads: dict[str, networks.Network]
) -> Arrays:
    """A window of a training image, and the logits by which a loaded model is checked."""
    side = _alike(TEST_PX, example.target.ndim)
    sizes = [field.good_size(side) for field in heads["logits"].fields]
    along = zip(example.target.shape, sizes, strict=True)
    reads = tuple(((length - size) // 2, (length - size) // 2 + size) for length, size in along)
    image = normalisation(read_mirrored(example.image, Tile(reads, (), ())))[None]
    made: Arrays = {"image": image}
    for name, network in heads.items():
        made[name] = TorchEngine(network, torch.device("cpu"), "float32")(image)
    return made
