"""The processes of a training: who they are, and what they have to agree on.

Every process runs the same program. The first one decides, writes and prints; each computes its
share of every batch, and sums over the batch are sums over all processes.
"""

from __future__ import annotations

import atexit
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from overtile.engines.torch import best_device
from overtile.errors import DataError, MissingError, SettingsError
from overtile.networks import Network
from overtile.networks.torchvision import mend_torchvision
from overtile.settings import ConvolutionSettings, Settings
from overtile.training.quiet import quiet

mend_torchvision()
from lightning.fabric import Fabric  # noqa: E402  (it imports torchvision)
from lightning.fabric.plugins.environments.lightning import LightningEnvironment  # noqa: E402
from lightning.fabric.plugins.environments.torchelastic import (  # noqa: E402
    TorchElasticEnvironment,
)
from lightning.fabric.utilities.rank_zero import rank_zero_only  # noqa: E402

T = TypeVar("T")

EXCHANGES = 3
"""Exchanges of gradients that are timed, after one to warm up."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, seen from one of them; by default there is no other.

    Attributes
    ----------
    devices, nodes
        Processes on each machine, and machines.
    number
        Of this process, from 0.
    device
        On which it computes.
    spoken
        The group in which numbers are agreed on; a GPU need not be waited for.
    """

    devices: int = 1
    nodes: int = 1
    number: int = 0
    device: torch.device = field(default_factory=lambda: best_device())
    spoken: Any = None

    @property
    def count(self) -> int:
        """Of all processes."""
        return self.devices * self.nodes

    @property
    def is_first(self) -> bool:
        """Whether this process decides, writes and prints."""
        return self.number == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier(group=self.spoken)

    def most(self, value: float) -> float:
        """The largest of all processes' values."""
        if self.count == 1:
            return value
        found = torch.tensor([value], dtype=torch.float64)
        distributed.all_reduce(found, distributed.ReduceOp.MAX, group=self.spoken)
        return float(found)

    def from_first(self, make: Callable[[], T]) -> T:
        """What the first process makes, in all of them."""
        held: list[Any] = [make() if self.is_first else None]
        if self.count > 1:
            distributed.broadcast_object_list(held, 0, group=self.spoken)
        made: T = held[0]
        return made

    def broadcast(self, value: T) -> T:
        """What the first process has."""
        return self.from_first(lambda: value)

    def total(self, sums: Tensor) -> Tensor:
        """The sum over all processes of what each has summed, with its gradient.

        The gradient is that of the sum of all processes' losses, which are equal: `count` times
        what one of them gives. Lightning's DDP takes the mean over processes, so that parameters
        get the gradient of the loss of the whole batch.
        """
        if self.count == 1:
            return sums
        made: Tensor = _Total.apply(sums, self.count)  # type: ignore[no-untyped-call]
        return made

    def start_alike(self, network: Network) -> None:
        """Give the network the parameters that it has in the first process."""
        if self.count > 1:
            network.load_state_dict(self.broadcast(network.state_dict()))

    def check_batch(self, size: int) -> None:
        """Refuse a batch that the processes cannot share.

        Raises
        ------
        SettingsError
            Its windows are not the same number in each process.
        """
        if size % self.count == 0:
            return
        above = -(-size // self.count) * self.count
        able = ", ".join(str(n) for n in range(1, size + 1) if size % n == 0)
        raise SettingsError(
            f"A batch of {size} window{'s' * (size != 1)} cannot be shared by {self.count} "
            f"processes: expected a multiple of {self.count}. Set window.batch_size={above}, or "
            f"use {able} of them (devices times nodes)."
        )

    def check_same(self, digests: dict[str, str]) -> None:
        """Refuse images and labels (name -> digest) that are not those of the first process.

        Raises
        ------
        DataError
            They are others.
        """
        first = self.broadcast(digests)
        if first != digests:
            raise DataError(
                f"Process {self.number} of {self.count} has read other images or labels than "
                f"process 0: {len(digests)} instead of {len(first)}, or with other pixels. Keep "
                "the data where all machines see the same files."
            )

    def exchange_s(self, network: Network) -> float:
        """The time that all processes take to sum the gradients of a network, in seconds."""
        if self.count == 1:
            return 0.0
        numbers = sum(value.numel() for value in network.parameters())
        gradients, times = torch.zeros(numbers, device=self.device), []
        for _ in range(1 + EXCHANGES):
            begin = time.perf_counter()
            distributed.all_reduce(gradients)
            float(gradients[0])  # a GPU is waited for
            times.append(time.perf_counter() - begin)
        return self.most(statistics.median(times[1:]))

    def describe(self, settings: Settings) -> str:
        """A sentence on what each process does."""
        size = settings.window.batch_size
        share = f"{size // self.count} of the {size} windows of a batch"
        said = f"Training in {self.count} processes, each with {share}"
        network = settings.network
        if not isinstance(network, ConvolutionSettings) or not network.norm.startswith("batch"):
            return f"{said}."
        if self.has_common_statistics(settings):
            return f"{said}; its normalisation sees all of them."
        return f"{said}; its normalisation sees no more than these, as with a smaller batch."

    def has_common_statistics(self, settings: Settings) -> bool:
        """Whether batch normalisation is over all processes, which PyTorch has for GPUs."""
        network = settings.network
        is_batch = isinstance(network, ConvolutionSettings) and network.norm == "batch"
        return self.count > 1 and self.device.type == "cuda" and is_batch


class _Total(torch.autograd.Function):
    """The sum over processes; every process goes on to compute the same of it."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, count: int) -> Tensor:
        ctx.count = count
        total = sums.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.count, None


def is_first(devices: int, nodes: int) -> bool:
    """Whether this process prints, also before `started`: by the launcher's variables."""
    alone = devices * nodes == 1
    return alone or (
        getattr(rank_zero_only, "rank", 0) == 0 and LightningEnvironment().node_rank() == 0
    )


@contextmanager
def started(devices: int = 1, nodes: int = 1) -> Iterator[Ranks]:
    """The processes of a training, connected.

    Under torchrun and SLURM these are the launcher's. Otherwise Lightning starts those of this
    machine, with the command line of this one; of several machines, each needs the variables
    MASTER_ADDR, MASTER_PORT and NODE_RANK.

    Parameters
    ----------
    devices, nodes
        Processes on each machine, one for each GPU where there are any; and machines.

    Raises
    ------
    SettingsError
        There are not so many GPUs, the launcher started another number of processes, or there is
        no script that could be started again.
    MissingError
        Another process has ended meanwhile.
    """
    _check(devices, nodes)
    if devices * nodes == 1:
        yield Ranks()
        return
    kind = best_device().type
    with quiet():
        try:
            fabric = Fabric(accelerator=kind, devices=devices, num_nodes=nodes, strategy="ddp")
            fabric.launch()
        except (ValueError, RuntimeError) as error:
            raise SettingsError(
                f"Training as {devices} processes on each of {nodes} machines cannot be started as "
                f"this program was: {error}"
            ) from error
    # Threads of gloo that are left to a dying interpreter now and then abort the process.
    atexit.register(_disconnect)
    children = getattr(fabric.strategy.launcher, "procs", [])
    group = distributed.new_group(backend="gloo") if kind == "cuda" else None
    try:
        yield Ranks(devices, nodes, fabric.global_rank, fabric.device, group)
    except BaseException as error:
        for child in children:  # else they would wait for this process, or complain of its end
            child.send_signal(signal.SIGKILL)
        children.clear()  # else Lightning, which watches this list, would kill this process as well
        if _is_lost(error):
            raise MissingError(
                f"Process {fabric.global_rank} of {devices * nodes} has lost another one, which "
                "says why it ended, unless it was killed. Start the same command again, with "
                "--resume where a checkpoint was kept."
            ) from error
        raise


def _disconnect() -> None:
    """Leave the processes of a training, if there are any still."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _check(devices: int, nodes: int) -> None:
    """Refuse numbers of processes that cannot be had."""
    if devices < 1 or nodes < 1:
        raise SettingsError(
            f"devices is {devices} and nodes is {nodes}: expected whole numbers from 1 on."
        )
    asked, there = devices * nodes, _there()
    if there not in (None, asked):
        raise SettingsError(
            f"This program runs in {there} processes, and {devices} x {nodes} are asked for: give "
            f"devices and nodes whose product is {there}."
        )
    if torch.cuda.is_available() and devices > torch.cuda.device_count():
        raise SettingsError(
            f"devices is {devices}, and this machine has {torch.cuda.device_count()} GPUs: "
            "expected no more than those."
        )
    external = TorchElasticEnvironment.detect() or "LOCAL_RANK" in os.environ
    if asked > 1 and there is None and not external and not Path(sys.argv[0]).is_file():
        raise SettingsError(
            "Several processes run the same program, and this one is no file that could be started "
            "again: use the command overtile, or put the training into a script."
        )


def _there() -> int | None:
    """The number of processes of this program, where it is fixed."""
    if distributed.is_initialized():
        return distributed.get_world_size()
    return TorchElasticEnvironment().world_size() if TorchElasticEnvironment.detect() else None


def _is_lost(error: BaseException) -> bool:
    """Whether an error comes from a connection to another process."""
    if isinstance(error, distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and "gloo" in str(error).lower()
