"""Pairs + settings + time -> a model."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from overtile import networks
from overtile.engines.torch import best_device
from overtile.layouts import Pairs
from overtile.model import Arrays, Model
from overtile.networks import Network
from overtile.plan import FINISH_S, Budget, fastest, fit_to_data, let_overlap, steps_for
from overtile.settings import Settings
from overtile.step import Batch, Step, window_sizes
from overtile.training.data import TrainingData
from overtile.training.finishing import make_model
from overtile.training.loop import Progress, run
from overtile.training.state import Run, State
from overtile.training.transfer import start_from

__all__ = ["Progress", "State", "train"]

LATE = 1.02
"""The clock stops a run this much behind its budget: the planned steps may end a little late."""


def train(
    pairs: Pairs,
    settings: Settings,
    budget: Budget,
    *,
    held_out: tuple[str, ...] = (),
    start: tuple[str, Arrays] | None = None,
    state: State | None = None,
    started: float | None = None,
    on_understood: Callable[[str], None] = lambda _: None,
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
    held_out
        Names of images kept for evaluation, to be recorded in the model.
    start
        Name and parameters of an earlier model; what fits of them is where training begins.
    state
        Where the run is kept while it goes on; it goes on from there where something is kept.
    started
        When the time budget began, on the clock of `time.monotonic`; by default now.
    on_understood
        Told what the labels mean, and what is kept in memory, before anything that takes long.
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
    begun = state.read() if state is not None else None
    data = TrainingData(pairs, settings if begun is None else begun.settings)
    on_understood(f"{data.meaning.reason} {data.memory}")
    device = best_device()
    if begun is None:
        network, begun = _begin(data, settings, budget, start, device, started)
        if state is not None:
            state.begin(begun)
    else:
        data.check_same(begun.images)
        network = networks.build(begun.settings.network, begun.settings.seed)
    deadline = time.monotonic() + _seconds(begun.minutes) - begun.spent_s
    data.normalise_for(network)
    settings, steps = begun.settings, begun.steps
    step = Step(network, settings).to(device)
    result = run(
        step,
        data.loader(settings, step.network.fields),
        steps,
        deadline=deadline,
        checkpoint=state.checkpoint if state is not None else None,
        on_step=on_step,
    )
    model = make_model(data, settings, result, steps, device, held_out, started)
    origin = model.origin.model_copy(update={"started_from": begun.started_from})
    return replace(model, origin=origin)


def _begin(
    data: TrainingData,
    settings: Settings,
    budget: Budget,
    start: tuple[str, Arrays] | None,
    device: torch.device,
    started: float,
) -> tuple[Network, Run]:
    """A new network, and the run that is to train it."""
    settings = fit_to_data(
        settings, data.channels, len(data.meaning.names), data.shapes, data.spacing
    )
    if data.meaning.kind == "multilabel":
        settings = let_overlap(settings)
    network, reuse = networks.build(settings.network, settings.seed), None
    # Before anything that takes long, for what they read may be missing.
    if start is not None:
        reuse = str(start_from(network, start[1], start[0]))
    else:
        network.start()
    settings, steps = _plan(data, settings, budget, device, started)
    return network, Run(
        settings=settings,
        steps=steps,
        minutes=budget.minutes,
        spent_s=time.monotonic() - started,
        images=data.digests,
        started_from=reuse,
    )


def _seconds(minutes: float | None) -> float:
    """What the clock allows for training in all."""
    return 60 * minutes * LATE - FINISH_S if minutes else math.inf


def _plan(
    data: TrainingData, settings: Settings, budget: Budget, device: torch.device, started: float
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
        labelled_px=int(data.labelled_px.sum()),
        step_px=settings.window.batch_size * window_sizes(settings, fields).counted_px,
    )
    return settings, steps
