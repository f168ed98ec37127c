"""Pairs + settings + time -> a model."""

from __future__ import annotations

import itertools
import math
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
from overtile.planning import FINISH_S, Budget, Plan
from overtile.planning.machine import Machine, Timing
from overtile.planning.making import fit, make_plan
from overtile.presets import Wanted
from overtile.settings import Settings
from overtile.step import Batch, Step
from overtile.training.census import Census
from overtile.training.data import TrainingData
from overtile.training.disparity import BATCHES, measure_disparity, remark
from overtile.training.finishing import make_model
from overtile.training.loggers import make_loggers
from overtile.training.loop import run
from overtile.training.ranks import Ranks
from overtile.training.recovery import diverged
from overtile.training.state import Run, State
from overtile.training.transfer import start_from
from overtile.training.watch import Progress

__all__ = ["Progress", "State", "plan", "train"]

LATE = 1.02
"""The clock stops a run this much behind its budget: the planned steps may end a little late."""


def train(
    pairs: Pairs,
    settings: Settings,
    budget: Budget,
    *,
    keep: frozenset[str] | None = None,
    held_out: tuple[str, ...] = (),
    start: tuple[str, Arrays] | None = None,
    state: State | None = None,
    started: float | None = None,
    on_understood: Callable[[str], None] = lambda _: None,
    on_plan: Callable[[Plan], None] = lambda _: None,
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
        Minutes, steps or epochs. Minutes become a number of steps from the measured speed, which
        follows the run's own while it lasts.
    keep
        Dotted names of the settings that are kept as they are; the others of the default preset
        are planned. By default all are kept.
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
    on_plan
        Told the plan of a new run, before its first step.
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
        wanted = Wanted(settings, keep)
        network, begun = _begin(data, wanted, budget, start, ranks, started, on_plan)
        if state is not None and ranks.is_first:
            state.begin(begun)
        ranks.wait()  # else one might take an earlier run's checkpoint for its own
    else:
        begun.check_data(data.digests, data.label_digests)
        data.weigh_by(begun.settings.pixel_weight)
        network = networks.build(begun.settings.network, begun.settings.seed)
    begins = time.monotonic() - begun.spent_s
    end, deadline = (begins + seconds for seconds in _seconds(begun.minutes))
    data.normalise_for(network)
    settings = begun.settings
    ranks.check_batch(settings.window.batch_size)
    if ranks.count > 1:
        tell(ranks.describe(settings))
    step = Step(network, settings, ranks.total).to(ranks.device)
    load = data.loader(settings, step.network.fields, ranks.number, ranks.count)
    result = run(
        step,
        load,
        begun.steps,
        Census(data.outputs, settings, ranks.total),
        end=end,
        deadline=deadline,
        state=state,
        on_step=on_step,
        ranks=ranks,
        loggers=made,
    )
    # Windows of steps that never were: any will do, as long as they are the same for a resumed run.
    count = min(BATCHES, 1 + result.steps // 50)  # at most a fiftieth of the time
    unseen = itertools.islice(load(result.planned, result.planned + count), count)
    batches = (_to(ranks.device, batch) for batch in unseen)
    disparity = measure_disparity(step, result.parameters, batches)

    def finish() -> Model:
        model = make_model(data, settings, result, ranks.device, held_out, started)
        more = {
            "started_from": begun.started_from,
            "notes": (*result.notes, *remark(disparity)),
            "disparity": disparity,
        }
        origin = model.origin.model_copy(update=more)
        reasons = begun.reasons
        if result.planned != begun.steps:
            own = f"So many the run's own speed had time for; {begun.steps} were planned."
            reasons = {**reasons, "steps": own}
        return replace(model, origin=origin, reasons=reasons, fingerprint=data.fingerprint)

    model = ranks.from_first(finish)
    if not np.isfinite(model.test["logits"]).all():
        rate = settings.optimiser.learning_rate
        raise diverged("the logits became infinite or NaN", result.steps, rate)
    return model


def plan(
    pairs: Pairs,
    settings: Settings,
    budget: Budget,
    *,
    keep: frozenset[str] | None = None,
    started: float | None = None,
    on_understood: Callable[[str], None] = lambda _: None,
) -> Plan:
    """The plan that `train` would follow; parameters and errors as there, nothing is trained."""
    started, ranks = time.monotonic() if started is None else started, Ranks()
    data = TrainingData(pairs, settings)
    on_understood(f"{data.meaning.reason} {data.memory}")
    _check_precision(settings, ranks.device)
    return _plan(data, Wanted(settings, keep), budget, ranks, started)


def _begin(
    data: TrainingData,
    wanted: Wanted,
    budget: Budget,
    start: tuple[str, Arrays] | None,
    ranks: Ranks,
    started: float,
    on_plan: Callable[[Plan], None],
) -> tuple[Network, Run]:
    """A new network, and the run that is to train it, the same in all processes."""
    _check_precision(wanted.settings, ranks.device)
    # Before anything that takes long, for what the network begins with may be missing.
    draft = fit(data.fingerprint, wanted).settings
    ranks.check_batch(draft.window.batch_size)
    network, reuse = _first(draft, start, ranks)
    made = _plan(data, wanted, budget, ranks, started)
    settings = made.settings
    if settings.network != draft.network:
        network, reuse = _first(settings, start, ranks)
    ranks.start_alike(network)
    if ranks.is_first:
        on_plan(made)
    begun = Run(
        asked=wanted.settings,
        settings=settings,
        steps=made.steps,
        minutes=budget.minutes,
        epochs=budget.epochs,
        spent_s=time.monotonic() - started,
        images=data.digests,
        labels=data.label_digests,
        started_from=reuse,
        reasons=made.reasons,
    )
    return network, ranks.broadcast(begun)


def _first(
    settings: Settings, start: tuple[str, Arrays] | None, ranks: Ranks
) -> tuple[Network, str | None]:
    """A network as it is before the first step, and what it has from an earlier model."""
    network = networks.build(settings.network, settings.seed)
    if start is not None:
        return network, str(start_from(network, start[1], start[0]))
    if ranks.is_first:
        network.start()
    return network, None


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


def _seconds(minutes: float | None) -> tuple[float, float]:
    """After how much time the last step is to be done, and training stops at the latest."""
    if minutes is None:
        return math.inf, math.inf
    return 60 * minutes - FINISH_S, 60 * minutes * LATE - FINISH_S


def _plan(data: TrainingData, wanted: Wanted, budget: Budget, ranks: Ranks, started: float) -> Plan:
    """The plan for these data here, measured on windows of them.

    Of several processes all measure at once, as they will train. The plan is that of the first
    one, with the steps of the slowest, on top of which the exchange of gradients comes.
    """
    data.weigh_by(fit(data.fingerprint, wanted).settings.pixel_weight)

    def next_batch(settings: Settings) -> Batch:
        fields = networks.fields_of(settings.network)
        window = settings.window  # of few windows, each process gets one at least
        several = window.model_copy(update={"batch_size": max(window.batch_size, ranks.count)})
        settings = settings.model_copy(update={"window": several})
        slabs, target, weight, seeds = next(
            iter(data.loader(settings, fields, ranks.number, ranks.count)(0, 1))
        )
        return slabs, target, weight, seeds

    timing = Timing(next_batch, ranks.device)
    made = make_plan(data.fingerprint, Machine.here(), budget, wanted, timing, started)
    if ranks.count == 1:
        return made
    own_s, made = made.step_s, ranks.broadcast(made)
    slowest = ranks.most(own_s) + ranks.exchange_s(networks.build(made.settings.network))
    return made.slowed(slowest) if budget.minutes is not None else made
