"""The tiles of an image, computed in this process, which reads and writes meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock
from typing import Any

from numpy.typing import NDArray

from overtile.errors import OutputError, OvertileError
from overtile.image import Store
from overtile.machine import reused_memory
from overtile.planes import Plane, Planes
from overtile.tileplan import AHEAD
from overtile.tiler import Kind, Tiler
from overtile.tiles import Tile

Finished = Callable[[int], None]
"""Told the number of each tile whose pixels are written, and on the disk where there is one."""


@dataclass
class Work:
    """The tiles of all planes of an image, numbered from 0, and where their results go.

    Attributes
    ----------
    tiler
        What computes.
    planes
        Of the image.
    store, axes
        Takes the results; its axes.
    kind
        What is computed.
    tiles
        Of every plane.
    tilers
        Of the planes that were begun, for a normalisation that has statistics of each.
    lock
        Of these, so that a plane is measured once.
    """

    tiler: Tiler
    planes: Planes
    store: Store
    axes: str
    kind: Kind
    tiles: list[Tile]
    tilers: dict[int, Tiler] = field(default_factory=dict, init=False)
    lock: Lock = field(default_factory=Lock, init=False)

    def __len__(self) -> int:
        """Number of tiles of all planes."""
        return len(self.planes) * len(self.tiles)

    def pixels(self, number: int) -> int:
        """How many pixels a tile writes."""
        total = 1
        for part in self.tiles[number % len(self.tiles)].write:
            total *= part.stop - part.start
        return total

    def read(self, number: int) -> Any:
        """What a tile reads, where the engine wants it."""
        with self._at(number):
            tiler, plane, tile = self._case(number)
            return tiler.read(plane, tile)

    def compute(self, number: int, loaded: Any) -> NDArray[Any]:
        """The result for a tile."""
        with self._at(number):
            tiler, plane, tile = self._case(number)
            return tiler.compute(loaded, plane, tile, self.kind)

    def write(self, number: int, result: NDArray[Any]) -> None:
        """Put the result of a tile into the store, and onto the disk."""
        plane, tile = divmod(number, len(self.tiles))
        with self._at(number):
            self.store[self.planes.key(self.axes, plane, self.tiles[tile].write)] = result
            self.store.sync()

    def _case(self, number: int) -> tuple[Tiler, Plane, Tile]:
        """The tiler of a tile's plane, the plane, and the tile."""
        place, tile = divmod(number, len(self.tiles))
        plane = self.planes[place]
        if place not in self.tilers:
            with self.lock:
                if place not in self.tilers:
                    self.tilers[place] = self.tiler.of(plane)
        return self.tilers[place], plane, self.tiles[tile]

    @contextmanager
    def _at(self, number: int) -> Iterator[None]:
        """Say in an error at which tile it happened."""
        try:
            yield
        except OvertileError as error:
            raise type(error)(f"{self._place(number)}: {error}") from error
        except OSError as error:
            raise OutputError(f"{self._place(number)}: {error.strerror or error}.") from error

    def _place(self, number: int) -> str:
        plane, tile = divmod(number, len(self.tiles))
        where = [f"{axis} {index}" for axis, index in self.planes.place(plane).items()]
        where.append(self.tiles[tile].place)
        return f"Stopped at tile {number + 1} of {len(self)} ({', '.join(where)})"


def in_this_process(work: Work, todo: Sequence[int], finished: Finished) -> None:
    """Compute tiles one after another, while the next are read and the last are written.

    Raises
    ------
    OvertileError
        A tile failed; the message says where and why. Tiles before it were written.
    """
    waiting = iter(todo)
    reads: deque[tuple[int, Future[Any]]] = deque()
    writes: deque[Future[None]] = deque()
    reader, writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    def read_ahead() -> None:
        for number in islice(waiting, AHEAD - len(reads)):
            reads.append((number, reader.submit(work.read, number)))

    def put(number: int, result: NDArray[Any]) -> None:
        work.write(number, result)
        finished(number)

    try:
        with reused_memory():
            read_ahead()
            while reads:
                number, reading = reads.popleft()
                loaded = reading.result()
                del reading  # it would keep the window in memory
                read_ahead()
                result = work.compute(number, loaded)
                del loaded
                writes.append(writer.submit(put, number, result))
                del result
                while len(writes) >= AHEAD:
                    writes.popleft().result()
    finally:
        reader.shutdown(cancel_futures=True)
        writer.shutdown()
    for last in writes:
        last.result()
