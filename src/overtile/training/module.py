"""The training step as a module of Lightning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from overtile.model.history import HistoryRow
from overtile.networks.torchvision import mend_torchvision
from overtile.optimiser import learning_rate_factor
from overtile.step import Average, Batch, Step
from overtile.training.census import Census
from overtile.training.ranks import Ranks
from overtile.training.recovery import Recovery

mend_torchvision()
import lightning.pytorch as pl  # noqa: E402  (it imports torchvision)

CHUNK_STEPS = 50
"""Steps after which the run may be saved."""

CENSUS_STEPS = 5
"""Steps of which one is counted by the census: counting takes a tenth of a step on a processor."""

Loader = Callable[[int, int], "DataLoader[Batch]"]
"""From the steps (start, stop) to a loader of their batches."""


class TrainingModule(pl.LightningModule):
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
        self.history: list[HistoryRow] = []
        self.notes: list[str] = []

    def plan_steps(self, steps: int) -> None:
        """Set how many steps the run is to have; the learning rate follows."""
        self.steps = steps
        self.trainer.fit_loop.epoch_loop.max_steps = steps

    def training_step(self, batch: Batch, index: int) -> Tensor:
        # Drop-out, too, is a function of (seed, step, process), and leaves the caller's random
        # state alone.
        parts = self.step.settings.window.accumulate
        number = (self.ranks.number << 40) + self.global_step * parts + index % parts
        counted = self.global_step % CENSUS_STEPS == 0
        self.step.on_logits = self.census.count if counted else lambda *_: None
        with torch.random.fork_rng(devices=[batch[0].device] if batch[0].is_cuda else []):
            torch.manual_seed(self.step.settings.seed * 1_000_003 + number)
            loss: Tensor = self.step(batch)
        return loss

    def train_dataloader(self) -> DataLoader[Batch]:
        start = self.trainer.global_step
        return self.loader(start, min((start // CHUNK_STEPS + 1) * CHUNK_STEPS, self.steps))

    def configure_optimizers(self) -> Any:
        schedule_name = self.step.settings.optimiser.schedule
        optimiser = self.step.make_optimiser()
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser,
            lambda n: self.recovery.rate * learning_rate_factor(n, self.steps, schedule_name),
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["average"] = self.average.record()
        checkpoint["history"] = [vars(row) for row in self.history]
        checkpoint["recovery"] = self.recovery.record()
        checkpoint["census"] = self.census.state()
        checkpoint["notes"] = self.notes
        checkpoint["steps"] = self.steps

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # A checkpoint is written after a chunk; Lightning would add a batch to that one, as a step.
        chunk = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        chunk["current"] = dict.fromkeys(chunk["current"], 0)
        self.average.load(checkpoint["average"])
        self.history = [HistoryRow(**row) for row in checkpoint["history"]]
        self.recovery.load(checkpoint["recovery"])
        self.census.load(checkpoint["census"])
        self.notes = checkpoint["notes"]
        self.plan_steps(checkpoint["steps"])
