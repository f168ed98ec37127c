"""The tiles of an image file, computed by the workers of a Dask cluster. The only door to Dask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from overtile import io
from overtile import model as storage
from overtile.engines.assembly import Wanted, open_assembled
from overtile.engines.choice import Name
from overtile.errors import MissingError, optional
from overtile.executors.local import Finished, Work
from overtile.image import Image
from overtile.layouts import open_channels
from overtile.machine import reused_memory
from overtile.planes import Planes
from overtile.pruning import prune
from overtile.resample import to_pixel_size
from overtile.settings import Precision
from overtile.tiler import Kind, channels_of, tiler_of
from overtile.tiles import cut

ANSWER_S = 10
"""How long a scheduler may take to answer."""


@dataclass(frozen=True)
class Job:
    """What another process needs to compute any tile of a prediction: names and numbers only.

    Attributes
    ----------
    model, source, pixels
        Folder of the model, the image, and the store of the result, which every process sees.
    engine, precision, threads
        What computes.
    kind, step
        What is computed, and the sides of a tile.
    pruned
        The level to which the model is pruned.
    turned
        Whether flips and quarter turns are averaged.
    """

    model: Path
    source: Path
    pixels: Path
    engine: Name
    precision: Precision
    threads: int
    kind: Kind
    step: tuple[int, ...]
    pruned: int | None = None
    turned: bool = False


def open_image(path: Path, channels: int) -> Image:
    """An image file; one that cannot be read by window is read once, and kept.

    Where the network has several channels, it may be the first of as many files.
    """
    image = open_channels(path, channels)
    return image if image.by_window else replace(image, data=np.asarray(image.data[()]))


@lru_cache(maxsize=1)
def open_work(job: Job) -> Work:
    """The work of a job, opened once in each process, which computes tiles until it ends."""
    _MEMORY.enter_context(reused_memory())
    model = prune(storage.load(job.model), job.pruned)
    wanted = Wanted(job.engine, job.precision, job.threads, job.turned)
    engine = open_assembled(model, job.model, wanted)
    image, size = open_image(job.source, model.settings.network.channels), model.pixel_size
    image = image if size is None else to_pixel_size(image, size)
    planes = Planes(image, model.settings.network.dimensions)
    tiler = tiler_of(model, engine)
    axes, _ = planes.axes_of(channels_of(model, job.kind))
    tiles = cut(planes.shape, tiler.fields, job.step, tiler.border)
    return Work(tiler, planes, io.reopen(job.pixels), axes, job.kind, tiles)


def compute_tile(job: Job, number: int) -> int:
    """Compute and write one tile, wherever this runs; gives its number back."""
    with _COMPUTING:  # also while it is opened, which only one should do
        work = open_work(job)
    loaded = work.read(number)
    with _COMPUTING:
        result = work.compute(number, loaded)
    work.write(number, result)
    return number


_COMPUTING = Lock()
"""One thread of a worker computes, with all the cores of the worker; others read and write."""

_MEMORY = ExitStack()
"""What stays switched on in a worker."""


def on_cluster(client: Any, job: Job, todo: Sequence[int], finished: Finished) -> None:
    """Compute tiles on a Dask cluster.

    Each tile is a task. A worker that dies costs only the tiles that it was computing: Dask gives
    them to another, until a tile has brought down four of them.

    Parameters
    ----------
    client
        From `connected`.
    job
        Opened once by each worker.
    todo, finished
        As for `in_this_process`.

    Raises
    ------
    MissingError
        The workers die again and again.
    OvertileError
        A tile failed; the message says where and why.
    """
    dask = optional("distributed", "distributed")
    waiting = iter(todo)
    # Two tiles for each thread: one is computed while the next is on its way.
    most = 2 * max(1, sum(client.nthreads().values()))

    def submit(number: int) -> Any:
        return client.submit(compute_tile, job, number, pure=False)

    try:
        running = dask.as_completed([submit(number) for number in islice(waiting, most)])
        for future in running:
            finished(future.result())
            for number in islice(waiting, 1):
                running.add(submit(number))
    except dask.KilledWorker as error:
        raise MissingError(
            f"The workers died again and again while they computed a tile: {error} Give them "
            "more memory, or use a smaller --memory."
        ) from error


@contextmanager
def connected(workers: int | None, address: str | None) -> Iterator[Any]:
    """A client of so many processes on this machine, or of a running Dask scheduler.

    Raises
    ------
    MissingError
        Dask is not installed, no scheduler answers, or it has no workers.
    """
    dask = optional("distributed", "distributed")
    if address is None:
        # Two threads: one computes while the other reads and writes. The plan bounds the memory of
        # a tile; a limit here would kill workers for what they cache.
        with (
            dask.LocalCluster(
                n_workers=workers, threads_per_worker=2, memory_limit=0, dashboard_address=None
            ) as cluster,
            dask.Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = dask.Client(address, timeout=ANSWER_S)
    except (OSError, ValueError) as error:
        raise MissingError(
            f"No Dask scheduler answers at {address} within {ANSWER_S} s ({error}): start one with "
            "'dask scheduler', and workers with 'dask worker'."
        ) from error
    with client:
        if not client.nthreads():
            raise MissingError(
                f"The scheduler at {address} has no workers: start some with 'dask worker'."
            )
        yield client
