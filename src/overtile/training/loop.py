"""A Lightning module around `step`, and the run of it: the only door to Lightning."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from overtile.model import HistoryRow
from overtile.networks.torchvision import mend_torchvision
from overtile.step import Average, Batch, Step, learning_rate_factor, make_optimiser
from overtile.training.census import Census
from overtile.training.loggers import Logger, begin, log
from overtile.training.quiet import quiet
from overtile.training.ranks import Ranks
from overtile.training.recovery import Recovery
from overtile.training.state import State

mend_torchvision()
import lightning.pytorch as pl  # noqa: E402  (it imports torchvision)

CHUNK_STEPS = 50
"""Steps after which the run may be saved."""

CHECKPOINT_S = 20.0
"""Seconds between checkpoints at least; a killed run repeats these and a chunk of steps."""

RECORD_STEPS = 10
"""Steps between rows of the history."""

Stop = Literal["time", "interrupt"] | None
"""Why a run ends before its planned steps."""

STOPS: tuple[Stop, ...] = (None, "time", "interrupt")
"""The later one counts where processes have different ones."""

Loader = Callable[[int, int], "DataLoader[Batch]"]
"""From the steps (start, stop) to a loader of their batches."""


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


@dataclass(frozen=True)
class Result:
    """What a run made.

    Attributes
    ----------
    parameters
        Of the network: the average, or the last ones where nothing is averaged.
    steps
        Done, this run and the ones it went on from together.
    stopped
        Why it ended before its planned steps: ``time``, ``interrupt``, or None.
    notes
        What is worth knowing of it, in sentences: returns to an earlier state, classes that were
        not predicted at its end.
    """

    parameters: dict[str, Tensor]
    history: tuple[HistoryRow, ...]
    steps: int
    stopped: Stop
    notes: tuple[str, ...] = ()


def run(
    step: Step,
    loader: Loader,
    steps: int,
    census: Census,
    *,
    deadline: float,
    state: State | None,
    on_step: Callable[[Progress], None],
    ranks: Ranks | None = None,
    loggers: Sequence[Logger] = (),
) -> Result:
    """Train for a number of steps, or until the deadline or Ctrl-C.

    Parameters
    ----------
    step
        On the device where it is to run.
    loader
        Makes the batches of a range of steps.
    steps
        The planned number; the learning rate follows it.
    census
        Counts the classes that are predicted.
    deadline
        On the clock of `time.monotonic`, in seconds.
    state
        Where checkpoints are kept for resuming, and gone on from where there is one.
    on_step
        Told every few steps.
    ranks
        The processes that share the batches; the step and its loader are made for them.
    loggers
        Of Lightning: told what the history is told.

    Raises
    ------
    SettingsError
        Training diverges, whatever the learning rate.
    """
    ranks = ranks or Ranks()
    module = _Module(step, steps, loader, census, ranks)
    watch = _Watch(module, deadline, state, on_step)
    chosen = step.settings
    with quiet(), _interrupts(watch):
        trainer = pl.Trainer(
            accelerator="gpu" if next(step.parameters()).is_cuda else "cpu",
            devices=ranks.devices,
            num_nodes=ranks.nodes,
            strategy="ddp" if ranks.count > 1 else "auto",
            sync_batchnorm=ranks.has_common_statistics(chosen),
            use_distributed_sampler=False,
            precision="16-mixed" if chosen.precision == "float16" else "32-true",
            accumulate_grad_batches=chosen.window.accumulate,
            gradient_clip_val=chosen.optimiser.clip_norm or None,
            max_steps=steps,
            max_epochs=-1,
            reload_dataloaders_every_n_epochs=1,
            callbacks=[watch],
            logger=list(loggers),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        resume = str(state.checkpoint) if state is not None and state.checkpoint.exists() else None
        trainer.fit(module, ckpt_path=resume, weights_only=True)
    return Result(
        module.average.state,
        tuple(module.history),
        trainer.global_step,
        watch.stopped,
        tuple(module.notes),
    )


class _Module(pl.LightningModule):
    """The training step as Lightning wants it; an epoch is a chunk of steps."""

    def __init__(
        self, step: Step, steps: int, loader: Loader, census: Census, ranks: Ranks
    ) -> None:
        super().__init__()
        self.step = step
        self.steps = steps
        self.loader = loader
        self.ranks = ranks
        self.average = Average(step.network, step.settings.averaging)
        self.recovery = Recovery(step.network, self.average, ranks.most)
        self.census = census
        step.on_logits = census.count
        self.history: list[HistoryRow] = []
        self.notes: list[str] = []

    def training_step(self, batch: Batch, index: int) -> Tensor:
        # Drop-out, too, is a function of (seed, step, process), and leaves the caller's random
        # state alone.
        parts = self.step.settings.window.accumulate
        number = (self.ranks.number << 40) + self.global_step * parts + index % parts
        with torch.random.fork_rng(devices=[batch[0].device] if batch[0].is_cuda else []):
            torch.manual_seed(self.step.settings.seed * 1_000_003 + number)
            loss: Tensor = self.step(batch)
        return loss

    def train_dataloader(self) -> DataLoader[Batch]:
        start = self.trainer.global_step
        return self.loader(start, min((start // CHUNK_STEPS + 1) * CHUNK_STEPS, self.steps))

    def configure_optimizers(self) -> Any:
        settings = self.step.settings.optimiser
        optimiser = make_optimiser(self.step.network.rated(), settings)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser,
            lambda n: self.recovery.rate * learning_rate_factor(n, self.steps, settings.schedule),
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["average"] = self.average.record()
        checkpoint["history"] = [vars(row) for row in self.history]
        checkpoint["recovery"] = self.recovery.record()
        checkpoint["census"] = self.census.state()
        checkpoint["notes"] = self.notes

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # A checkpoint is written after a chunk; Lightning would add a batch to that one, as a step.
        chunk = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        chunk["current"] = dict.fromkeys(chunk["current"], 0)
        self.average.load(checkpoint["average"])
        self.history = [HistoryRow(**row) for row in checkpoint["history"]]
        self.recovery.load(checkpoint["recovery"])
        self.census.load(checkpoint["census"])
        self.notes = checkpoint["notes"]


class _Watch(pl.Callback):
    """Averages, records, saves and stops."""

    def __init__(
        self,
        module: _Module,
        deadline: float,
        state: State | None,
        on_step: Callable[[Progress], None],
    ) -> None:
        self.module = module
        self.deadline = deadline
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
def _interrupts(watch: _Watch) -> Iterator[None]:
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
