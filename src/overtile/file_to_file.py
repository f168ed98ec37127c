"""A file predicted into a file, both larger than memory.

The image is read by window, the result is written tile by tile into a store beside the output, and
becomes the output when all is done (see `overtile.journal` for what a killed run leaves).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import overtile.model as storage
from overtile import io
from overtile.engines.choice import LIBRARIES
from overtile.errors import OutputError, SettingsError
from overtile.executors import Job, Work, in_this_process, on_cluster, open_image
from overtile.image import Image, Store
from overtile.journal import Journal, Run
from overtile.machine import cores
from overtile.objects import Table, cut_blocks, find_objects_in_blocks, measure, write_csv
from overtile.prediction import Predictor
from overtile.tileplan import SAFE_SHARE, mebibytes
from overtile.tiler import Kind
from overtile.tiles import cut

Content = Literal["classes", "probabilities", "objects"]

CHUNK_PX = 256
"""Sides of tiles are multiples of it where the output has chunks: a round size, neither many files
nor much to read for a viewer."""

OBJECT_BLOCK_PX = 2048
"""Side of the blocks in which objects are joined; some 20 bytes a pixel are held for one."""

OVERHEAD_BYTES = 128 * 2**20
"""For what no model of tiles accounts for: threads, allocators, decoded strips of a TIFF."""


@dataclass(frozen=True)
class PredictOptions:
    """How a file is predicted.

    Attributes
    ----------
    content
        What is written: class ids (uint8), probabilities (float32, with axis c), or object ids
        (int32).
    memory
        Bytes that may be taken above those of the process with the model loaded; by default half
        of what is free.
    tile_px
        Largest side of a tile, in pixels; by default as large as pays and fits.
    seed_threshold
        For objects: where the probability is above it there are seeds, from which touching objects
        are parted by a watershed.
    measurements
        For objects: a CSV file of their sizes, places and intensities.
    overviews
        Of a TIFF: whether it gets smaller copies of itself, for viewers.
    overwrite, resume
        Whether an output that exists may be replaced; whether to go on with a prediction that was
        begun.
    workers, cluster
        Processes to start on this machine, or the address of a Dask scheduler; by default this
        process computes.
    """

    content: Content = "classes"
    memory: int | None = None
    tile_px: int | None = None
    seed_threshold: float | None = None
    measurements: Path | None = None
    overviews: bool = False
    overwrite: bool = False
    resume: bool = False
    workers: int | None = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        if self.content != "objects" and (self.measurements or self.seed_threshold is not None):
            raise SettingsError(
                "Seeds and measurements belong to objects: ask for objects (--objects) as well."
            )
        if self.workers is not None and self.cluster is not None:
            raise SettingsError("Give a number of workers or the address of a cluster, not both.")


Told = Callable[[int, int], None]
"""Told how many pixels of how many are done."""


class FilePrediction:
    """One file to be predicted into another; everything that can fail at once is checked here.

    Parameters
    ----------
    predictor
        What computes.
    source, output
        Of any format that can be read and written.
    options
        How.
    colours
        (n 3) in which viewers show class ids.

    Attributes
    ----------
    plan
        The tiles, and why they are these.
    notes
        Sentences on what is read and written, and the memory and disk it needs.

    Raises
    ------
    FormatError, DataError, SettingsError, OutputError
        The image cannot be read or does not fit the model, no tile fits the memory, the output
        exists, there is nothing to resume or something is left to, or the disk has too little room.
    """

    def __init__(
        self,
        predictor: Predictor,
        source: Path,
        output: Path,
        options: PredictOptions,
        colours: NDArray[np.uint8] | None = None,
    ) -> None:
        self.predictor, self.source, self.output = predictor, source, output
        self.options, self.colours = options, colours
        self.form = io.format_of(output)
        io.check_free(output, options.overwrite)
        if options.measurements is not None:
            io.check_free(options.measurements, options.overwrite)
        self.image = open_image(source)
        self.planes = predictor.check(self.image, str(source))
        self.kind: Kind = "foreground" if options.content == "objects" else options.content
        classes = predictor.model.settings.network.classes
        self.axes, self.shape = self.planes.axes_of(
            classes if options.content == "probabilities" else None
        )
        self.journal = Journal(output)
        self._check_executor()
        self._check_exact()
        self._check_begun()
        kept, self.notes = self._memory_beside_tiles()
        begun = self.journal.read() if options.resume else None
        chunked = self._pixels_path(self.kind).suffix == ".zarr"
        large = min(max(self.planes.shape), options.tile_px or CHUNK_PX) >= CHUNK_PX
        unit = CHUNK_PX if chunked and large else None
        memory = options.memory or int(SAFE_SHARE * predictor.engine.free_memory())
        self.plan = predictor.plan(
            self.planes,
            self.kind,
            memory=memory // (options.workers or 1) if options.memory or options.workers else None,
            tile_px=options.tile_px,
            unit=unit,
            kept_bytes=kept,
        )
        if begun is not None:
            self.plan = replace(
                self.plan, step=begun.step, reasons=("The tiles are those it was begun with.",)
            )
        self.tiles = cut(
            self.planes.shape, predictor.tiler.field, self.plan.step, predictor.tiler.border
        )
        if begun is not None:
            self.journal.check_same(self._run())
        else:
            io.check_room(output.parent, self._disk_bytes())

    @property
    def pixels(self) -> int:
        """Of the whole image."""
        return int(np.prod(self.planes.shape)) * len(self.planes)

    def run(self, told: Told = lambda *_: None, client: Any = None) -> None:
        """Compute what is not done, and write the output.

        Parameters
        ----------
        told
            Called with (pixels done, pixels in all).
        client
            Of a cluster that computes, from `overtile.executors.connected`; else this process does.

        Raises
        ------
        OvertileError
            A tile failed. What was done is kept for `resume`.
        """
        if not self.options.resume:
            self.journal.begin(self._run())
        work = self._work()
        done = self.journal.done()
        standing = sum(work.pixels(number) for number in done)
        told(standing, self.pixels)

        def finished(number: int) -> None:
            nonlocal standing
            self.journal.record(number)
            standing += work.pixels(number)
            told(standing, self.pixels)

        if not self.predictor.is_exact:
            self._blend(work)
            told(self.pixels, self.pixels)
            done = set(range(len(work)))
        todo = [number for number in range(len(work)) if number not in done]
        if client is None:
            in_this_process(work, todo, finished)
        else:
            on_cluster(client, self._job(), todo, finished)
        if self.options.content == "objects":
            self._find_objects(work.store)
        self._finish()

    def _blend(self, work: Work) -> None:
        whole = tuple(slice(0, size) for size in self.planes.shape)
        for number in range(len(self.planes)):
            result = self.predictor.blend(self.planes[number], self.kind, self.plan.step)
            work.store[self.planes.key(self.axes, number, whole)] = result

    def _pixels_path(self, kind: Kind | Content) -> Path:
        """Where the pixels of a result lie until all is done."""
        by_window = kind == self.options.content and self.form.create is not None
        suffix = self.output.suffix if by_window else ".npy"
        return self.journal.folder / f"{kind}{suffix}"

    def _work(self) -> Work:
        tiler, path = self.predictor.tiler, self._pixels_path(self.kind)
        if not path.exists():
            dtype = np.dtype(np.uint8 if self.kind == "classes" else np.float32)
            store = self._create(path, dtype)
        else:
            store = io.reopen(path)
        return Work(tiler, self.planes, store, self.axes, self.kind, self.tiles)

    def _create(self, path: Path, dtype: np.dtype[Any]) -> Store:
        like = Image(_Blank(self.shape, dtype), self.axes, self.image.spacing, self.image.unit)
        steps = dict(zip(self.planes.space, self.plan.step, strict=True))
        sizes = dict(zip(self.axes, self.shape, strict=True))
        block = tuple(
            min(steps.get(axis, sizes[axis] if axis == "c" else 1), sizes[axis])
            for axis in self.axes
        )
        return io.create(path, like, block, overwrite=True)

    def _job(self) -> Job:
        folder, engine = self.predictor.folder, self.predictor.engine
        assert folder is not None  # _check_executor
        return Job(
            model=folder.absolute(),
            source=self.source.absolute(),
            pixels=self._pixels_path(self.kind).absolute(),
            engine=engine.name,
            precision=engine.precision,
            threads=self._threads(),
            kind=self.kind,
            step=self.plan.step,
        )

    def _threads(self) -> int:
        """Threads of the engine in each process that computes."""
        if self.options.workers:
            return max(1, cores() // self.options.workers)
        return self.predictor.engine.threads

    def _run(self) -> Run:
        engine, folder = self.predictor.engine, self.predictor.folder
        library = LIBRARIES.get(engine.name, "numpy")
        return Run(
            overtile=version("overtile"),
            model=storage.identity(folder) if folder else "not saved",
            engine=engine.name,
            library=f"{library} {version(library)}",
            precision=engine.precision,
            threads=self._threads(),
            content=self.options.content,
            source=self.source.name,
            shape=tuple(self.image.data.shape),
            dtype=str(self.image.data.dtype),
            modified=self.source.stat().st_mtime_ns,
            step=self.plan.step,
            tiles=len(self.tiles) * len(self.planes),
        )

    def _check_exact(self) -> None:
        """Refuse what only exact tiles allow."""
        options = self.options
        if not self.predictor.is_exact and (options.workers or options.cluster or options.resume):
            raise SettingsError(
                "Tiles that are blended depend on each other: no cluster computes them, and a "
                "prediction that was killed starts anew."
            )

    def _check_begun(self) -> None:
        if self.options.resume and not self.journal.exists():
            raise OutputError(
                f"There is nothing to resume: {self.journal.folder} does not hold a prediction "
                "that was begun. Start it without --resume."
            )
        if self.journal.exists() and not self.options.resume and not self.options.overwrite:
            raise OutputError(
                f"{self.journal.folder} holds a prediction that did not come to its end: go on "
                "with it (--resume), or start anew (--overwrite)."
            )

    def _check_executor(self) -> None:
        if not (self.options.workers or self.options.cluster):
            return
        if self.predictor.folder is None:
            raise SettingsError("Workers load the model from its folder: save it first.")
        if self.options.cluster and self._pixels_path(self.kind).suffix != ".zarr":
            raise SettingsError(
                "The workers of a cluster write chunks of an OME-Zarr, which no two of them share: "
                "name the output .zarr (class ids or probabilities), or use --workers."
            )

    def _memory_beside_tiles(self) -> tuple[int, list[str]]:
        """Bytes needed whatever the tile, and sentences that say what for."""
        kept, notes = OVERHEAD_BYTES, []
        image = self.image.data
        size = int(np.prod(image.shape)) * image.dtype.itemsize
        if not self.image.by_window:
            kept += size
            notes.append(
                f"{self.source.name} cannot be read by window: its pixels take {mebibytes(size)}."
            )
        result = self._result_bytes()
        if not self.form.stacks:
            kept += result
            notes.append(
                f"{self.output.name} cannot be written by window: its pixels take "
                f"{mebibytes(result)} at the end."
            )
        if not self.predictor.is_exact:
            network = self.predictor.model.settings.network
            plane = int(np.prod(self.planes.shape)) * 4 * (2 * network.classes + 1)
            kept += plane
            notes.append(f"Blended tiles of a plane are held in memory: {mebibytes(plane)}.")
        notes.append(f"Up to {mebibytes(self._disk_bytes())} of disk are needed.")
        return kept, notes

    def _result_bytes(self) -> int:
        size = {"classes": 1, "probabilities": 4, "objects": 4}[self.options.content]
        return int(np.prod(self.shape, dtype=np.int64)) * size

    def _disk_bytes(self) -> int:
        """Room for the result, once more where it is converted at the end, and for the foreground
        of objects; before compression.
        """
        copies = 1 if self.form.create is not None else 2
        return (copies + (self.options.content == "objects")) * self._result_bytes()

    def _find_objects(self, foreground: Store) -> None:
        path = self._pixels_path("objects")
        ids = self._create(path, np.dtype(np.int32))
        # Blocks are made of whole chunks of what they are written to.
        block = [max(step, OBJECT_BLOCK_PX // step * step) for step in self.plan.step]
        blocks = cut_blocks(self.planes.shape, block)
        settings = self.predictor.objects_are(self.options.seed_threshold)
        tables: list[Table] = []
        for number in range(len(self.planes)):
            here = _PlaneStore(ids, self, number)
            probability = _PlaneStore(foreground, self, number)
            find_objects_in_blocks(
                probability, here, blocks, settings, most_bytes=self.options.memory
            )
            if self.options.measurements is not None:
                place = self.planes.place(number)
                table = measure(here, self.planes[number], blocks, self._spacing(), self.image.unit)
                count = len(table["id"])
                tables.append({axis: np.full(count, at) for axis, at in place.items()} | table)
        if self.options.measurements is not None:
            write_csv(self.options.measurements, tables, overwrite=self.options.overwrite)

    def _spacing(self) -> tuple[float, ...] | None:
        """Of the axes of a plane."""
        spacing = self.image.spacing
        return None if spacing is None else spacing[-len(self.planes.space) :]

    def _finish(self) -> None:
        """Turn the pixels into the output, and forget the prediction."""
        pixels = self._pixels_path(self.options.content)
        if self.form.create is None:
            io.write(
                self.output,
                io.reopen(pixels),
                self.axes,
                spacing=self.image.spacing,
                unit=self.image.unit,
                overwrite=self.options.overwrite,
                colours=self.colours if self.options.content == "classes" else None,
                overviews=self.options.overviews,
            )
        else:
            io.finish(pixels)
            io.move(pixels, self.output, self.options.overwrite)
        self.journal.remove()


@dataclass(frozen=True)
class _Blank:
    """The shape and type of what is to come."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return np.asarray(np.broadcast_to(np.zeros((), self.dtype), self.shape)[key])


class _PlaneStore:
    """One plane of a store."""

    def __init__(self, store: Store, of: FilePrediction, number: int) -> None:
        self._store, self._of, self._number = store, of, number
        self.shape, self.dtype = of.planes.shape, store.dtype

    def _key(self, window: Any) -> tuple[int | slice, ...]:
        return self._of.planes.key(self._of.axes, self._number, window)

    def __getitem__(self, window: Any) -> NDArray[Any]:
        return np.asarray(self._store[self._key(window)])

    def __setitem__(self, window: Any, part: Any) -> None:
        self._store[self._key(window)] = part

    def sync(self) -> None:
        """As the store itself."""
        self._store.sync()
