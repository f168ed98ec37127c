"""Pairs + settings + time -> a model."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from overtile import networks
from overtile.errors import SettingsError
from overtile.layouts import Pairs
from overtile.model import Arrays, Model
from overtile.networks import Network
from overtile.plan import FINISH_S, Budget, fastest, fit_to_data, let_overlap, steps_for
from overtile.settings import Settings
from overtile.step import Batch, Step, window_sizes
from overtile.training.census import Census
from overtile.training.data import TrainingData
from overtile.training.disparity import BATCHES, measure_disparity, remark
from overtile.training.finishing import make_model
from overtile.training.loggers import make_loggers
from overtile.training.loop import Progress, run
from overtile.training.ranks import Ranks
from overtile.training.recovery import diverged
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
    ranks: Ranks | None = None,
    loggers: Sequence[str] = (),
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
    ranks
        The processes that share the training, by default this one alone; each gets the model. Only
        the first is told what is understood, and how far training is.
    loggers
        Names of `overtile.training.loggers`, which are told what the history is told.

    Raises
    ------
    DataError
        Images or labels that cannot be learnt from, or other data than those of the run kept.
    SettingsError
        Settings that do not fit the data, an earlier model that does not fit the network, too
        little time for one step, or training diverged.
    ModelError, MissingError
        The parameters that an encoder was to begin with do not fit it, or cannot be had; or a
        logger is not installed.
    """
    ranks = ranks or Ranks()
    started = time.monotonic() if started is None else started
    begun = state.read() if state is not None else None
    tell = on_understood if ranks.is_first else lambda _: None
    made = make_loggers(loggers, None if state is None else state.folder, tell)
    data = TrainingData(pairs, settings if begun is None else begun.settings, ranks.devices)
    ranks.check_same(data.digests | {f"label of {k}": v for k, v in data.label_digests.items()})
    tell(f"{data.meaning.reason} {data.memory}")
    if begun is None:
        network, begun = _begin(data, settings, budget, start, ranks, started)
        if state is not None and ranks.is_first:
            state.begin(begun)
        ranks.wait()  # else one might take an earlier run's checkpoint for its own
    else:
        begun.check_data(data.digests, data.label_digests)
        network = networks.build(begun.settings.network, begun.settings.seed)
    deadline = time.monotonic() + _seconds(begun.minutes) - begun.spent_s
    data.normalise_for(network)
    settings, steps = begun.settings, begun.steps
    ranks.check_batch(settings.window.batch_size)
    if ranks.count > 1:
        tell(ranks.describe(settings))
    step = Step(network, settings, ranks.total).to(ranks.device)
    load = data.loader(settings, step.network.fields, ranks.number, ranks.count)
    result = run(
        step,
        load,
        steps,
        Census(data.meaning.names, settings, ranks.total),
        deadline=deadline,
        state=state,
        on_step=on_step,
        ranks=ranks,
        loggers=made,
    )
    # Windows of steps that never were: any will do, as long as they are the same for a resumed run.
    unseen = itertools.islice(load(steps, 2 * steps), BATCHES)
    batches = (_to(ranks.device, batch) for batch in unseen)
    disparity = measure_disparity(step, result.parameters, batches)

    def finish() -> Model:
        model = make_model(data, settings, result, steps, ranks.device, held_out, started)
        more = {
            "started_from": begun.started_from,
            "notes": (*result.notes, *remark(disparity)),
            "disparity": disparity,
        }
        return replace(model, origin=model.origin.model_copy(update=more))

    model = ranks.from_first(finish)
    if not np.isfinite(model.test["logits"]).all():
        rate = settings.optimiser.learning_rate
        raise diverged("the logits became infinite or NaN", result.steps, rate)
    return model


def _begin(
    data: TrainingData,
    settings: Settings,
    budget: Budget,
    start: tuple[str, Arrays] | None,
    ranks: Ranks,
    started: float,
) -> tuple[Network, Run]:
    """A new network, and the run that is to train it, the same in all processes."""
    asked = settings
    _check_precision(settings, ranks.device)
    settings = fit_to_data(settings, data.channels, data.outputs, data.shapes, data.spacing)
    if data.meaning.kind == "multilabel":
        settings = let_overlap(settings)
    ranks.check_batch(settings.window.batch_size)
    network, reuse = networks.build(settings.network, settings.seed), None
    # Before anything that takes long, for what they read may be missing.
    if start is not None:
        reuse = str(start_from(network, start[1], start[0]))
    elif ranks.is_first:
        network.start()
    ranks.start_alike(network)
    settings, steps = _plan(data, network, settings, budget, ranks, started)
    begun = Run(
        asked=asked,
        settings=settings,
        steps=steps,
        minutes=budget.minutes,
        epochs=budget.epochs,
        spent_s=time.monotonic() - started,
        images=data.digests,
        labels=data.label_digests,
        started_from=reuse,
    )
    return network, ranks.broadcast(begun)


def _check_precision(settings: Settings, device: torch.device) -> None:
    """Refuse float16 where it is no use."""
    if settings.precision == "float16" and device.type != "cuda":
        raise SettingsError(
            "precision is float16, which training has on GPUs of NVIDIA alone, and this run is "
            f"on the {device.type}: use 'bfloat16', 'float32' or 'auto'."
        )


def _to(device: torch.device, batch: Batch) -> Batch:
    """A batch, where it is computed."""
    slabs, target, weight, seeds = batch
    return slabs.to(device), target.to(device), weight.to(device), seeds


def _seconds(minutes: float | None) -> float:
    """What the clock allows for training in all."""
    return 60 * minutes * LATE - FINISH_S if minutes else math.inf


def _plan(
    data: TrainingData,
    network: Network,
    settings: Settings,
    budget: Budget,
    ranks: Ranks,
    started: float,
) -> tuple[Settings, int]:
    """Settings with precision and layout measured, and the number of steps.

    Of several processes all measure at once. Precision and layout are those of the first one, the
    time of a step that of the slowest, and the exchange of gradients comes on top.
    """
    fields, device = networks.fields_of(settings.network), ranks.device
    load = data.loader(settings, fields, ranks.number, ranks.count)

    def next_batch() -> Batch:
        return _to(device, next(iter(load(0, 1))))

    settings, step_s = fastest(settings, device, next_batch)
    loads = []
    for _ in range(5):
        begin = time.perf_counter()
        next_batch()
        loads.append(time.perf_counter() - begin)
    step_s = ranks.most(step_s + statistics.median(loads))
    step_s = settings.window.accumulate * step_s + ranks.exchange_s(network)
    steps = steps_for(
        budget,
        step_s=step_s,
        elapsed_s=ranks.most(time.monotonic() - started),
        labelled_px=int(data.labelled_px.sum()),
        step_px=settings.window.step_size * window_sizes(settings, fields).counted_px,
    )
    return ranks.broadcast(settings), steps
