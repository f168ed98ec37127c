"""How fine and how wide the network may be in the time there is, and how many steps are left."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import nnls

from overtile.fingerprint import Fingerprint
from overtile.planning.draft import Draft
from overtile.planning.limits import FEWEST_STEPS, FINE_STEPS, FINE_WIDTH, SMALLEST_BATCH
from overtile.planning.machine import Reduced, Timing, few_windows
from overtile.planning.network import (
    choose_width,
    fine_network,
    why_deep,
    why_fine,
    widths_for,
)
from overtile.settings import ConvolutionSettings, Settings


def fit_to_time(
    draft: Draft, fingerprint: Fingerprint, timing: Timing, native: Reduced, left_s: float
) -> None:
    """Choose the network's resolution and width, and a smaller batch where all are too slow.

    Parameters
    ----------
    draft
        In which they are chosen, where they are open.
    fingerprint
        Of the data.
    timing, native
        Of this machine.
    left_s
        For all steps, in seconds; infinite where no time is set.
    """
    network = draft.settings.network
    if not isinstance(network, ConvolutionSettings):
        return
    name = "network.base_channels"
    if math.isinf(left_s) or not draft.is_open(name):
        draft.choose(name, choose_width(network, lambda _: 0.0, math.inf))
        return
    step_s = predicted_step_s(draft.settings, network, timing, native)
    fine = fine_network(network, fingerprint) if draft.is_open("network.stem") else None
    # A finer network is slower: it is not even timed where this one has too few steps.
    if fine is not None and left_s >= FINE_STEPS * step_s(FINE_WIDTH):
        fine_step_s = predicted_step_s(draft.settings, fine, timing, native)
        steps = left_s / fine_step_s(FINE_WIDTH)
        if steps >= FINE_STEPS:
            network, step_s = fine, fine_step_s
            draft.choose("network.stem", why_fine(steps))
            draft.choose("network.depth", why_deep(fine.depth))
    draft.choose(name, choose_width(network, step_s, left_s))
    chosen = draft.settings.network
    assert isinstance(chosen, ConvolutionSettings)
    whole = batch = draft.settings.window.batch_size
    alone_s = step_s(chosen.base_channels) / whole
    while batch > SMALLEST_BATCH and left_s / (alone_s * batch) < FEWEST_STEPS:
        batch //= 2
    if batch < whole:
        steps = left_s / (alone_s * whole)
        why = f"{batch} of {whole} windows: with all of them the time is enough for {steps:.0f} "
        draft.choose("window.batch_size", (batch, f"{why}steps, and {FEWEST_STEPS} are wanted."))


def predicted_step_s(
    settings: Settings, network: ConvolutionSettings, timing: Timing, native: Reduced
) -> Callable[[int], float]:
    """From the channels of the first level to the time of a step, in seconds.

    By two networks that are measured on a few windows, the usual and the narrowest: what
    convolutions compute grows with the square of the channels, and what is moved through memory
    with the channels.
    """
    widths = np.array([widths_for(network)[-1], network.base_channels])
    few = few_windows(settings)
    ready = settings.model_copy(
        update={
            "window": few,
            "precision": native if settings.precision == "auto" else settings.precision,
            "layout": "channels_last" if settings.layout == "auto" else settings.layout,
        }
    )
    seconds = [
        timing.step_s(ready.model_copy(update={"network": _of_width(network, int(width))}))
        for width in widths
    ]
    # Each equation relative to its time, so that both count alike where no solution is exact.
    shares, _ = nnls(np.stack([widths, widths**2], 1) / np.array(seconds)[:, None], np.ones(2))
    batch = settings.window.batch_size / few.batch_size
    return lambda width: float(batch * (shares @ [width, width**2]))


def _of_width(network: ConvolutionSettings, width: int) -> ConvolutionSettings:
    return network.model_copy(update={"base_channels": width})
