"""What goes on around the steps of a run: averages, records, checkpoints, and its end."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor

from overtile.model.history import HistoryRow
from overtile.networks.torchvision import mend_torchvision
from overtile.training.loggers import begin, log
from overtile.training.module import TrainingModule
from overtile.training.pace import Pace
from overtile.training.state import State

mend_torchvision()
import lightning.pytorch as pl  # noqa: E402  (it imports torchvision)

CHECKPOINT_S = 20.0
"""Seconds between checkpoints at least; a killed run repeats these and a chunk of steps."""

RECORD_STEPS = 10
"""Steps between rows of the history."""

Stop = Literal["time", "interrupt"] | None
"""Why a run ends before its planned steps."""

STOPS: tuple[Stop, ...] = (None, "time", "interrupt")
"""The later one counts where processes have different ones."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands, told every few steps.

    Attributes
    ----------
    step, steps
        Done and planned.
    loss
        Mean since the last time.
    seconds, pixels
        Of this run, and the output pixels trained on in them.
    notes
        What a person should know, in sentences, since the last time.
    """

    step: int
    steps: int
    loss: float
    seconds: float
    pixels: int
    notes: tuple[str, ...] = ()


class Watch(pl.Callback):
    """Averages, records, saves and stops."""

    def __init__(
        self,
        module: TrainingModule,
        deadline: float,
        pace: Pace,
        state: State | None,
        on_step: Callable[[Progress], None],
    ) -> None:
        self.module = module
        self.deadline = deadline
        self.pace = pace
        self.state = state
        self.on_step = on_step
        self.ranks = module.ranks
        self.asked: Stop = None  # of this process alone
        self.stopped: Stop = None
        self.losses: list[Tensor] = []
        self.pixels = 0
        self.began = time.monotonic()
        self.before = 0.0
        self.saved = time.monotonic()
        self.done = 0
        self.unsaid: list[str] = []

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:  # noqa: ARG002
        self.before = self.module.history[-1].seconds if self.module.history else 0.0
        self.deadline -= self.before
        self.pace.end -= self.before
        begin(trainer.loggers, self.module.step.settings, self.module.history)
        self.done = trainer.global_step
        self.module.recovery.begin(trainer.optimizers[0], self.done)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,  # noqa: ARG002
        outputs: Any,
        *_: Any,
    ) -> None:
        # Lightning has divided the loss, as its gradients are to be averaged.
        parts = self.module.step.settings.window.accumulate
        self.losses.append(outputs["loss"].detach() * parts)
        done, steps = trainer.global_step, self.module.steps
        if done == self.done:  # the step goes on with another batch
            return
        self.done = done
        self.module.average.update(self.module.step.network)
        if self.asked is None and time.monotonic() > self.deadline and done < steps:
            self.asked = "time"
        self._agree()
        # The loss is fetched rarely, because a GPU would have to be waited for at every step.
        if done % RECORD_STEPS == 0 or done == steps or self.stopped:
            self._record(trainer, done)
            before = self.stopped
            self._agree()  # it took a moment, in which Ctrl-C may have come
            if self.stopped and not before and done < steps:
                self._end(trainer.optimizers[0], done)
        if self.stopped:
            trainer.should_stop = True

    def _agree(self) -> None:
        """Stop if any process is to."""
        self.stopped = STOPS[int(self.ranks.most(STOPS.index(self.asked)))]

    def _record(self, trainer: pl.Trainer, done: int) -> None:
        module, optimiser = self.module, trainer.optimizers[0]
        module.plan_steps(self.pace.look(done, module.steps, time.monotonic()))
        loss = float(torch.stack(self.losses).mean())
        here = time.monotonic() - self.began
        error = module.census.record(done)
        if math.isfinite(loss):
            module.recovery.saw(loss)
            rate = optimiser.param_groups[0]["lr"]
            row = HistoryRow(done, loss, rate, self.before + here, error)
            module.history.append(row)
            log(trainer.loggers, row)
        else:
            self._note(module.recovery.go_back(optimiser, done, f"the loss became {loss}"))
        if done == module.steps or self.stopped:
            self._end(optimiser, done)
        else:
            self.unsaid += module.census.look(done, module.steps)
        self.pixels += len(self.losses) * module.step.pixels
        self.losses.clear()
        said, self.unsaid = tuple(self.unsaid), []
        if self.ranks.is_first:
            self.on_step(Progress(done, module.steps, loss, here, self.pixels, said))

    def _end(self, optimiser: torch.optim.Optimizer, done: int) -> None:
        """Leave the network in a good state, and note what it did not learn."""
        said = self.module.recovery.finish(optimiser, done)
        for sentence in (said, *self.module.census.remarks()):
            self._note(sentence)

    def _note(self, sentence: str | None) -> None:
        """Say something, and keep it with the model."""
        if sentence is not None and sentence not in self.module.notes:
            self.module.notes.append(sentence)
            self.unsaid.append(sentence)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:  # noqa: ARG002
        recovery, optimiser = self.module.recovery, trainer.optimizers[0]
        if not recovery.keep(optimiser, self.done):
            if recovery.proven:
                why = "parameters or gradients became infinite or NaN"
                self._note(recovery.go_back(optimiser, self.done, why))
            return
        # Only good states are kept for resuming, so that a resumed run has the same to go back to.
        if self.state is None:
            return
        if self.ranks.most(time.monotonic() - self.saved > CHECKPOINT_S):
            self._save(trainer, self.state)
            self.saved = time.monotonic()

    def _save(self, trainer: pl.Trainer, state: State) -> None:
        """Keep a checkpoint, which the first process writes while the others wait for it."""
        if not self.ranks.is_first:
            trainer.save_checkpoint(state.checkpoint)
            return

        def save(path: Path) -> None:
            try:
                trainer.save_checkpoint(path)
            except OSError:
                trainer.strategy.barrier()  # to which the others have come already
                raise

        self._note(state.keep(save))


@contextmanager
def interrupts(watch: Watch) -> Iterator[None]:
    """The first Ctrl-C ends the run after the present step, and a second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if watch.asked == "interrupt":
            signal.default_int_handler(number, frame)
        watch.asked = "interrupt"

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
