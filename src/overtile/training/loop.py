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

from overtile.errors import SettingsError
from overtile.model import HistoryRow
from overtile.networks.torchvision import mend_torchvision
from overtile.step import Average, Batch, Step, learning_rate_factor, make_optimiser
from overtile.training.loggers import Logger, begin, log
from overtile.training.quiet import quiet
from overtile.training.ranks import Ranks

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
    """

    step: int
    steps: int
    loss: float
    seconds: float
    pixels: int


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
    """

    parameters: dict[str, Tensor]
    history: tuple[HistoryRow, ...]
    steps: int
    stopped: Stop


def run(
    step: Step,
    loader: Loader,
    steps: int,
    *,
    deadline: float,
    checkpoint: Path | None,
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
    deadline
        On the clock of `time.monotonic`, in seconds.
    checkpoint
        File kept up to date for resuming, and gone on from where it exists; None for neither.
    on_step
        Told every few steps.
    ranks
        The processes that share the batches; the step and its loader are made for them.
    loggers
        Of Lightning: told what the history is told.

    Raises
    ------
    SettingsError
        The loss is no longer finite.
    """
    ranks = ranks or Ranks()
    module = _Module(step, steps, loader, ranks)
    watch = _Watch(module, deadline, checkpoint, on_step)
    with quiet(), _interrupts(watch):
        trainer = pl.Trainer(
            accelerator="gpu" if next(step.parameters()).is_cuda else "cpu",
            devices=ranks.devices,
            num_nodes=ranks.nodes,
            strategy="ddp" if ranks.count > 1 else "auto",
            sync_batchnorm=ranks.has_common_statistics(step.settings),
            use_distributed_sampler=False,
            max_steps=steps,
            max_epochs=-1,
            reload_dataloaders_every_n_epochs=1,
            callbacks=[watch],
            logger=list(loggers),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        resume = str(checkpoint) if checkpoint is not None and checkpoint.exists() else None
        trainer.fit(module, ckpt_path=resume, weights_only=True)
    return Result(module.average.state, tuple(module.history), trainer.global_step, watch.stopped)


class _Module(pl.LightningModule):
    """The training step as Lightning wants it; an epoch is a chunk of steps."""

    def __init__(self, step: Step, steps: int, loader: Loader, ranks: Ranks) -> None:
        super().__init__()
        self.step = step
        self.steps = steps
        self.loader = loader
        self.ranks = ranks
        self.average = Average(step.network, step.settings.averaging)
        self.history: list[HistoryRow] = []

    def training_step(self, batch: Batch, index: int) -> Tensor:  # noqa: ARG002  (Lightning's name)
        # Drop-out, too, is a function of (seed, step, process), and leaves the caller's random
        # state alone.
        with torch.random.fork_rng(devices=[batch[0].device] if batch[0].is_cuda else []):
            here = self.ranks.number << 40
            torch.manual_seed(self.step.settings.seed * 1_000_003 + self.global_step + here)
            loss: Tensor = self.step(batch)
        return loss

    def train_dataloader(self) -> DataLoader[Batch]:
        start = self.trainer.global_step
        return self.loader(start, min(start + CHUNK_STEPS, self.steps))

    def configure_optimizers(self) -> Any:
        settings = self.step.settings.optimiser
        optimiser = make_optimiser(self.step.network.rated(), settings)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda n: learning_rate_factor(n, self.steps, settings.schedule)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["average"] = {"state": self.average.state, "updates": self.average.updates}
        checkpoint["history"] = [vars(row) for row in self.history]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["average"]["state"].items():
            self.average.state[name].copy_(value)
        self.average.updates = checkpoint["average"]["updates"]
        self.history = [HistoryRow(**row) for row in checkpoint["history"]]


class _Watch(pl.Callback):
    """Averages, records, saves and stops."""

    def __init__(
        self,
        module: _Module,
        deadline: float,
        checkpoint: Path | None,
        on_step: Callable[[Progress], None],
    ) -> None:
        self.module = module
        self.deadline = deadline
        self.checkpoint = checkpoint
        self.on_step = on_step
        self.ranks = module.ranks
        self.asked: Stop = None  # of this process alone
        self.stopped: Stop = None
        self.losses: list[Tensor] = []
        self.pixels = 0
        self.began = time.monotonic()
        self.before = 0.0
        self.saved = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:  # noqa: ARG002
        self.before = self.module.history[-1].seconds if self.module.history else 0.0
        begin(trainer.loggers, self.module.step.settings, self.module.history)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,  # noqa: ARG002
        outputs: Any,
        *_: Any,
    ) -> None:
        self.module.average.update(self.module.step.network)
        self.losses.append(outputs["loss"].detach())
        done, steps = trainer.global_step, self.module.steps
        if self.asked is None and time.monotonic() > self.deadline and done < steps:
            self.asked = "time"
        self._agree()
        # The loss is fetched rarely, because a GPU would have to be waited for at every step.
        if done % RECORD_STEPS == 0 or done == steps or self.stopped:
            self._record(trainer, done)
            self._agree()  # it took a moment, in which Ctrl-C may have come
        if self.stopped:
            trainer.should_stop = True

    def _agree(self) -> None:
        """Stop if any process is to."""
        self.stopped = STOPS[int(self.ranks.most(STOPS.index(self.asked)))]

    def _record(self, trainer: pl.Trainer, done: int) -> None:
        loss = float(torch.stack(self.losses).mean())
        seconds = self.before + time.monotonic() - self.began
        if not math.isfinite(loss):
            rate = self.module.step.settings.optimiser.learning_rate
            raise SettingsError(
                f"The loss became {loss} before step {done}: training diverged. "
                f"Lower optimiser.learning_rate (now {rate:g}), for example to {rate / 4:g}."
            )
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        row = HistoryRow(done, loss, rate, seconds)
        self.module.history.append(row)
        log(trainer.loggers, row)
        self.pixels += len(self.losses) * self.module.step.pixels
        self.losses.clear()
        here = time.monotonic() - self.began
        if self.ranks.is_first:
            self.on_step(Progress(done, self.module.steps, loss, here, self.pixels))

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:  # noqa: ARG002
        if self.checkpoint is None:
            return
        if self.ranks.most(time.monotonic() - self.saved > CHECKPOINT_S):
            fresh = self.checkpoint.with_suffix(".fresh")
            trainer.save_checkpoint(fresh)  # by the first process, and the others wait
            if self.ranks.is_first:
                fresh.replace(self.checkpoint)
            self.saved = time.monotonic()


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
