"""What each of several processes runs for test_ranks.py: `torchrun two_processes.py FOLDER`."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import safetensors.numpy

from overtile import layouts, training
from overtile.layouts import Pairs
from overtile.model import Model
from overtile.planning import Budget
from overtile.sample import draw_sample
from overtile.settings import (
    AugmentSettings,
    LossSettings,
    OptimiserSettings,
    PixelWeightSettings,
    Settings,
    UNetSettings,
    WindowSettings,
)
from overtile.step import Batch, Step
from overtile.training import Ranks
from overtile.training.ranks import started

STEPS = 54
"""Enough for a checkpoint, which comes after 50."""

SMALL = Settings(
    network=UNetSettings(padding="same", depth=1, base_channels=2, norm="none", dropout=0),
    window=WindowSettings(size_px=16, batch_size=4),
    pixel_weight=PixelWeightSettings(border_weight=0),
    augment=AugmentSettings(elastic_std_px=0),
    loss=LossSettings(cross_entropy=1, focal=0.5, dice=1, tversky=0.5, boundary=0.5),
    # The step of Adam is the sign of a gradient near 0, where rounding decides.
    optimiser=OptimiserSettings(name="sgd", learning_rate=0.05),
    border="own",
    averaging=0.9,
    precision="float32",
    layout="contiguous",
)


def pairs() -> Pairs:
    """Two images of which one is hardly labelled, so that windows have unlike numbers of pixels."""
    drawn = [draw_sample(0, number, (48, 40)) for number in range(2)]
    labels = [(cells > 0).astype(np.uint8) for _, cells in drawn]
    labels[1][:, :30] = 255
    return layouts.pairs([image for image, _ in drawn], labels)


def record(seen: list[list[int]]) -> None:
    """Note which windows each step sees, by the seeds of their augmentation."""
    before = Step.forward

    def forward(self: Step, batch: Batch) -> object:
        if self.training:
            seen.append(batch[3].tolist())
        return before(self, batch)

    Step.forward = forward  # type: ignore[method-assign]


def keep(model: Model, path: Path, **more: object) -> None:
    """Parameters, history and more of a process, for the test to look at."""
    safetensors.numpy.save_file(dict(model.parameters), path.with_suffix(".safetensors"))
    history = [(row.step, row.loss, row.learning_rate) for row in model.history]
    errors = [row.pixel_error for row in model.history]
    more["errors"] = [error for error in errors if not math.isnan(error)]
    facts = {"history": history, "steps": model.origin.steps, "stopped": model.origin.stopped}
    path.with_suffix(".json").write_text(json.dumps({**facts, **more}))


def main(folder: Path, ranks: Ranks) -> None:
    """A whole run, one that goes on from its checkpoint, two that are stopped, one that dies."""
    here, seen, told = folder / f"rank{ranks.number}", [], []
    record(seen)
    training.watch.CHECKPOINT_S = 0 if ranks.number else math.inf  # one clock is enough
    early, checkpoint = folder / "early.ckpt", folder / "m.training" / "checkpoint.ckpt"

    def tell(progress: training.Progress) -> None:
        told.append(progress)
        if progress.step == STEPS:  # the next checkpoint is that of the end
            shutil.copy(checkpoint, early)

    for name in ("whole", "resumed"):
        seen.clear()
        if early.exists() and ranks.is_first:
            shutil.copy(early, checkpoint)
        ranks.wait()
        state = training.State(folder / "m", resume=name == "resumed")
        model = training.train(
            pairs(), SMALL, Budget(steps=STEPS), state=state, ranks=ranks, on_step=tell
        )
        pixels = [progress.pixels for progress in told]
        keep(model, here.with_name(f"{here.name}-{name}"), seen=seen[-STEPS:], pixels=pixels)
        told.clear()
    sent: list[int] = []
    normal = training._seconds
    training._seconds = lambda _: (math.inf, math.inf if ranks.number else 0.0)
    keep(
        training.train(pairs(), SMALL, Budget(steps=20), ranks=ranks),
        here.with_name(f"{here.name}-time"),
    )
    training._seconds = normal
    before = Step.forward

    def interrupted(self: Step, batch: Batch) -> object:
        if ranks.number == 1 and self.total == ranks.total and not sent:  # not while measuring
            sent.append(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return before(self, batch)

    with_statistics = SMALL.network.model_copy(update={"norm": "batch-renorm", "dropout": 0.2})
    Step.forward = interrupted  # type: ignore[method-assign]
    made = training.train(
        pairs(),
        SMALL.model_copy(update={"network": with_statistics}),
        Budget(steps=20),
        ranks=ranks,
    )
    keep(made, here.with_name(f"{here.name}-interrupt"))


if __name__ == "__main__":
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    with started(processes) as these:
        main(Path(sys.argv[1]), these)
