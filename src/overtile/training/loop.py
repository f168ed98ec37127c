"""The run of a training by Lightning; the folder is the only door to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from overtile.machine import reused_memory
from overtile.model.history import HistoryRow
from overtile.networks.torchvision import mend_torchvision
from overtile.step import Step
from overtile.training.census import Census
from overtile.training.loggers import Logger
from overtile.training.module import Loader, TrainingModule
from overtile.training.pace import Pace
from overtile.training.quiet import quiet
from overtile.training.ranks import Ranks
from overtile.training.state import State
from overtile.training.watch import Progress, Stop, Watch, interrupts

mend_torchvision()
import lightning.pytorch as pl  # noqa: E402  (it imports torchvision)


@dataclass(frozen=True)
class Result:
    """What a run made.

    Attributes
    ----------
    parameters
        Of the network: the average, or the last ones where nothing is averaged.
    steps, planned
        Done, this run and the ones it went on from together; and to be done.
    stopped
        Why it ended before its planned steps: ``time``, ``interrupt``, or None.
    notes
        What is worth knowing of it, in sentences: returns to an earlier state, classes that were
        not predicted at its end.
    """

    parameters: dict[str, Tensor]
    history: tuple[HistoryRow, ...]
    steps: int
    planned: int
    stopped: Stop
    notes: tuple[str, ...] = ()


def run(
    step: Step,
    loader: Loader,
    steps: int,
    census: Census,
    *,
    end: float,
    deadline: float,
    state: State | None,
    on_step: Callable[[Progress], None],
    ranks: Ranks | None = None,
    loggers: Sequence[Logger] = (),
) -> Result:
    """Train for a number of steps, or until the end, the deadline or Ctrl-C.

    Parameters
    ----------
    step
        On the device where it is to run.
    loader
        Makes the batches of a range of steps.
    steps
        The planned number; the learning rate follows it. Where there is an end, it is set again by
        the speed of the run.
    census
        Counts the classes that are predicted.
    end, deadline
        When the last step is to be done, and when the run is stopped, on the clock of
        `time.monotonic`, less what a run that is gone on with has taken; infinite where there is
        time.
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
    module = TrainingModule(step, steps, loader, census, ranks)
    watch = Watch(module, deadline, Pace(end, ranks.most), state, on_step)
    chosen = step.settings
    with quiet(), interrupts(watch), reused_memory():
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
        module.steps,
        watch.stopped,
        tuple(module.notes),
    )
