"""Fingerprint + machine + time -> a plan, by one choice after another."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

from overtile import networks
from overtile.errors import SettingsError
from overtile.fingerprint import Fingerprint
from overtile.planning import network as depths
from overtile.planning import objective, window
from overtile.planning.budget import FINISH_S, Budget, steps_for
from overtile.planning.draft import Draft
from overtile.planning.machine import ENOUGH_S, SHARE, Machine, Timing, fastest
from overtile.planning.memory import make_fit
from overtile.planning.schedule import (
    choose_averaging,
    choose_norm,
    choose_optimiser,
    choose_rate,
    choose_turns,
    settled,
)
from overtile.planning.speed import fit_to_time
from overtile.presets import Wanted
from overtile.rareclasses import choose_share
from overtile.settings import (
    ConvolutionSettings,
    NetworkSettings,
    Settings,
    UNetSettings,
    to_explained_yaml,
)
from overtile.step import window_sizes


@dataclass(frozen=True)
class Plan:
    """Settings chosen for a data set, each with its reason.

    Attributes
    ----------
    settings
        All of them, with the number of steps.
    reasons
        A sentence for each choice, by the dotted name of the setting.
    fingerprint
        Of the data.
    machine
        That it was made on.
    peak_mib
        Predicted memory of a training step at its highest, beside the images, in MiB.
    step_s, seconds
        Predicted time of a step, and of the whole run from its start to the saved model.
    """

    settings: Settings
    reasons: dict[str, str]
    fingerprint: Fingerprint
    machine: Machine
    peak_mib: float
    step_s: float
    seconds: float

    @property
    def steps(self) -> int:
        """The planned number of steps."""
        assert self.settings.steps is not None
        return self.settings.steps

    def slowed(self, step_s: float) -> Plan:
        """The plan for the same time where a step takes longer than it was measured here."""
        steps = max(1, int(self.steps * self.step_s / step_s))
        settings = self.settings.model_copy(update={"steps": steps})
        return replace(self, settings=settings, step_s=step_s)

    def to_yaml(self) -> str:
        """The settings as `overtile train --settings` reads them, with reasons as comments."""
        head = f"# Planned: {self.describe()}\n# On {self.machine.describe()}.\n"
        return head + to_explained_yaml(self.settings, self.reasons)

    def describe(self) -> str:
        """A sentence on steps, time and memory."""
        return (
            f"{self.steps} steps of {self.step_s:.2g} s, done after {self.seconds / 60:.1f} "
            f"minutes; a step takes {self.peak_mib:,.0f} MiB of memory beside the images."
        )


def make_plan(
    fingerprint: Fingerprint,
    machine: Machine,
    budget: Budget,
    wanted: Wanted,
    timing: Timing,
    started: float,
) -> Plan:
    """The plan for a data set on a machine, within a time or a number of steps.

    Parameters
    ----------
    fingerprint
        Of the data.
    machine
        On which to train.
    budget
        Minutes, steps or epochs.
    wanted
        A preset's settings, or a user's. Those of the preset ``default`` that nobody set are
        chosen; the others are kept.
    timing
        Times steps on this machine; a plan takes a few seconds for it.
    started
        When the time budget began, on the clock of `time.monotonic`.

    Raises
    ------
    SettingsError
        Settings that do not fit the data or the memory, or too little time.
    """
    draft = fit(fingerprint, wanted)
    settle_speed(draft, fingerprint, machine, budget, timing, started)
    peak = make_fit(draft, machine.device, machine.free_mib)
    network = draft.settings.network
    if isinstance(network, ConvolutionSettings):
        draft.choose("network.norm", choose_norm(network, draft.settings.window.batch_size))
    if draft.settings.network != network:
        peak = make_fit(draft, machine.device, machine.free_mib)
    budget_s = 60 * budget.minutes if budget.minutes is not None else math.inf
    step_s = timing.step_s(draft.settings, min(ENOUGH_S, SHARE * budget_s))
    step_s += timing.load_s(draft.settings)
    step_s *= draft.settings.window.accumulate
    elapsed_s = time.monotonic() - started
    steps = steps_for(
        budget,
        step_s=step_s,
        elapsed_s=elapsed_s,
        labelled_px=fingerprint.labelled_px,
        step_px=_step_px(draft.settings),
    )
    draft.decide("steps", (steps, _why_steps(budget, steps, step_s, elapsed_s)))
    draft.choose("averaging", choose_averaging(steps))
    seconds = elapsed_s + steps * step_s + FINISH_S
    return Plan(draft.finished(), draft.reasons, fingerprint, machine, peak, step_s, seconds)


def fit(fingerprint: Fingerprint, wanted: Wanted) -> Draft:
    """What the data alone decide, and what is settled for all data.

    Raises
    ------
    SettingsError
        Settings of other data: another number of channels or classes; a network that is too deep,
        or that has no output for the window.
    """
    draft = Draft(wanted)
    _take_data(draft, fingerprint)
    kind, loss = draft.settings.network, draft.settings.loss
    if isinstance(kind, ConvolutionSettings):
        if fingerprint.dimensions == 3:
            draft.choose("network.strides", depths.choose_strides(fingerprint, kind.depth))
            if draft.is_open("network.strides"):
                _follow_strides(draft)
        else:
            draft.choose("network.depth", depths.choose_depth(fingerprint, kind.depth, _stem(kind)))
    fields = networks.fields_of(draft.settings.network)
    depths.check_depth(fields, fingerprint)
    sizes = draft.settings.window
    draft.choose("window.size_px", window.choose_window(fingerprint, sizes, fields))
    draft.choose(
        "window.batch_size", window.choose_batch(fingerprint, sizes, draft.settings.window)
    )
    for field, side in zip(fields, draft.settings.window.sides(len(fields)), strict=True):
        field.out(side)
    counts = fingerprint.class_px, fingerprint.classes, fingerprint.labelled_px
    draft.choose("window.rare_share", choose_share(*counts))
    activation = objective.choose_activation(fingerprint, loss.activation)
    if fingerprint.kind == "multilabel":
        draft.decide("loss.activation", activation)
    else:
        draft.choose("loss.activation", activation)
    draft.choose("loss.dice", objective.choose_dice(fingerprint))
    border = draft.settings.pixel_weight.border_weight
    weight = objective.choose_border_weight(fingerprint, border)
    draft.choose("pixel_weight.border_weight", weight)
    draft.choose("pixel_weight.balance_classes", objective.choose_balance(fingerprint))
    adjustment = objective.choose_adjustment(fingerprint, draft.settings.loss.activation)
    draft.choose("logit_adjustment", adjustment)
    draft.choose(
        "normalisation.scheme", (draft.settings.normalisation.scheme, fingerprint.normalisation)
    )
    draft.choose("optimiser.name", choose_optimiser(draft.settings.network))
    draft.choose("optimiser.learning_rate", choose_rate(draft.settings.optimiser.name))
    for name, choice in settled(draft.settings, fingerprint).items():
        draft.choose(name, choice)
    draft.choose("turns", choose_turns(fields, draft.settings.augment, fingerprint))
    return draft


def settle_speed(
    draft: Draft,
    fingerprint: Fingerprint,
    machine: Machine,
    budget: Budget,
    timing: Timing,
    started: float,
) -> None:
    """Choose what speed decides: resolution, width, batch, precision and memory layout."""
    left_s = math.inf
    if budget.minutes is not None:
        left_s = 60 * budget.minutes - (time.monotonic() - started) - FINISH_S
        left_s = max(left_s, 0.0)
    fit_to_time(draft, fingerprint, timing, machine.precision, left_s)
    precision, layout, why = fastest(draft.settings, machine.precision, timing)
    draft.decide("precision", (precision, why))
    draft.decide("layout", (layout, "Measured together with the precision."))


def _take_data(draft: Draft, fingerprint: Fingerprint) -> None:
    """Channels and classes of the data, or a complaint about settings that are for others."""
    network, weighing = draft.settings.network, draft.settings.pixel_weight
    line = weighing.has_line(fingerprint.kind)
    outputs = len(fingerprint.classes) + line
    also = ", and one for the line between objects that touch" if line else ""
    for name, given, found, what, more in (
        ("channels", network.channels, fingerprint.channels, "channels of the images", ""),
        ("classes", network.classes, outputs, "classes of the labels", also),
    ):
        if given != found and draft.is_set(f"network.{name}"):
            raise SettingsError(
                f"network.{name} is {given}, and the number of {what}{more} is {found}: these "
                f"settings were made for other data. Leave network.{name} out of them, or plan "
                "anew."
            )
        draft.decide(f"network.{name}", (found, f"Counted in the {what.split()[-1]}{more}."))


def _stem(network: NetworkSettings) -> int:
    """The most pixels along an axis that a network takes as one."""
    return max(network.together) if isinstance(network, UNetSettings) else 1


def _follow_strides(draft: Draft) -> None:
    """As deep as there are strides."""
    network = draft.settings.network
    assert isinstance(network, ConvolutionSettings)
    strides, why = network.strides or (), draft.reasons["network.strides"]
    draft.decide("network.depth", (len(strides), why))


def _step_px(settings: Settings) -> int:
    """Output pixels of a step that enter the loss."""
    fields = networks.fields_of(settings.network)
    return settings.window.step_size * window_sizes(settings, fields).counted_px


def _why_steps(budget: Budget, steps: int, step_s: float, elapsed_s: float) -> str:
    if budget.minutes is not None:
        return (
            f"{budget.minutes:g} min hold {steps} steps of {step_s:.2g} s, {elapsed_s:.0f} s "
            "after the start; they also set how the learning rate falls."
        )
    if budget.epochs is not None:
        return f"{budget.epochs:g} times as many pixels as are labelled, in {steps} steps."
    return "As you set it."
