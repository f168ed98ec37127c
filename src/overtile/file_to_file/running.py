"""One file predicted into another: planned, computed tile by tile, and finished."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np

import overtile.model as storage
from overtile import io, vectors
from overtile.engines.choice import LIBRARIES, Name
from overtile.executors import Job, Work, in_this_process, on_cluster, open_image
from overtile.file_to_file.checks import check_begun, check_executor, check_format, count_needs
from overtile.file_to_file.joining import Staged, object_block, write_objects
from overtile.file_to_file.options import Content, PredictOptions
from overtile.file_to_file.result import Blank, Result
from overtile.image import Image, Sliceable, Store
from overtile.journal import Journal, Run
from overtile.machine import cores
from overtile.planes import Planes
from overtile.prediction import Predictor
from overtile.tileplan import SAFE_SHARE, TilePlan
from overtile.tiler import Kind, channels_of
from overtile.tiles import cut

CHUNK_PX = 256
"""Sides of tiles are multiples of it where the output has chunks: a round size, neither many files
nor much to read for a viewer."""

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
    ) -> None:
        self.predictor, self.source, self.output = predictor, io.member(source), output
        self.options = options
        form = vectors.form_of(output) or io.format_of(output)
        io.check_free(output, options.overwrite)
        if options.measurements is not None:
            io.check_free(options.measurements, options.overwrite)
        self.image = open_image(source, predictor.model.settings.network.channels)
        self.planes = predictor.check(self.image, str(source))
        self.own = Planes(self.image, len(self.planes.space))
        self.is_resampled = self.planes.image is not self.image
        self.kind = self._staged()
        if options.content == "objects":
            predictor.check_background()
        written: Kind = "foreground" if options.content == "objects" else options.content
        layers = channels_of(predictor.model, written)
        axes, shape = self.own.axes_of(layers)
        classes = predictor.model.classes
        self.result = Result(output, form, options.content, axes, shape, self.image, classes)
        self.staged = self.planes.axes_of(channels_of(predictor.model, self.kind))
        self.journal = Journal(output)
        check_format(output, form, options.content, math.prod(shape[:-2]))
        self.result.check()
        check_executor(options, predictor, self._pixels_path(self.kind))
        check_begun(self.journal, options)
        needs = count_needs(predictor, self.planes, form, options.content, shape, self.staged[1])
        self.notes = needs.notes
        if not options.resume:  # before tiles are counted: a header may claim a million of them
            io.check_room(output, needs.disk)
        self.plan = self._planned(needs.memory)
        self.tiles = cut(
            self.planes.shape, predictor.tiler.fields, self.plan.step, predictor.tiler.border
        )
        if options.resume:
            self.journal.check_same(self._run())

    def _staged(self) -> Kind:
        """What the network is asked for: what the content is made of at the end."""
        content = self.options.content
        if content != "objects":
            return "probabilities" if self.is_resampled else content
        # With several classes, the class of each object is that of its mean probability.
        several = len(self.predictor.model.classes.names) > 2
        return "probabilities" if several and self.options.measurements else "foreground"

    def _planned(self, kept_bytes: int) -> TilePlan:
        """The tiles: those it was begun with, or else what is fastest now."""
        options, predictor = self.options, self.predictor
        chunked = self._pixels_path(self.kind).suffix == ".zarr"
        large = min(max(self.planes.shape), options.tile_px or CHUNK_PX) >= CHUNK_PX
        memory = options.memory
        if options.workers:
            memory = memory or int(SAFE_SHARE * predictor.engine.free_memory())
            memory //= options.workers
        plan = predictor.plan(
            self.planes,
            self.kind,
            memory=memory,
            tile_px=options.tile_px,
            unit=CHUNK_PX if chunked and large else None,
            kept_bytes=kept_bytes,
        )
        if not options.resume:
            return plan
        why = ("The tiles are those that it was begun with.",)
        return replace(plan, step=self.journal.read().step, reasons=why)

    @property
    def pixels(self) -> int:
        """Of the whole image."""
        return int(np.prod(self.planes.shape)) * len(self.planes)

    @property
    def is_filled(self) -> bool:
        """Whether what is written part by part becomes the output by getting its name."""
        brought_back = self.is_resampled and self.options.content != "objects"
        return self.result.is_filled and not brought_back

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
            self._join_objects(work.store)
        self._finish()

    def _join_objects(self, found: Sliceable) -> None:
        """Write the ids of objects, by what was found of each pixel."""
        classes = self.predictor.model.classes
        ids = self._create(
            self._pixels_path("objects"), self.result.blank(np.int32), object_block(self.planes)
        )
        larger = math.prod(self.own.shape) / math.prod(self.planes.shape)
        settings = self.predictor.objects_are(self.options.seed_threshold, larger)
        axes = self.staged[0]
        if self.is_resampled:
            axes, _ = self.own.axes_of(channels_of(self.predictor.model, self.kind))
        staged = Staged(self._on_own_pixels(found), axes, classes.names)
        write_objects(staged, ids, self.own, self.result.axes, settings, self.options)

    def _blend(self, work: Work) -> None:
        whole = tuple(slice(0, size) for size in self.planes.shape)
        for number in range(len(self.planes)):
            result = self.predictor.blend(self.planes[number], self.kind, self.plan.step)
            work.store[self.planes.key(work.axes, number, whole)] = result

    def _pixels_path(self, kind: Kind | Content) -> Path:
        """Where the pixels of a result lie until all is done."""
        in_place = kind == self.options.content and self.is_filled
        suffix = self.result.form.suffixes[0] if in_place else ".npy"
        return self.journal.folder / f"{kind}{suffix}"

    def _work(self) -> Work:
        tiler, path = self.predictor.tiler, self._pixels_path(self.kind)
        if path.exists() and self.journal.done():
            store = io.reopen(path)
        else:  # also where it was killed while the store was made, or moved to its name
            self.journal.forget_tiles()
            dtype = np.dtype(np.uint8 if self.kind == "classes" else np.float32)
            axes, shape = self.staged
            blank = Blank(shape, dtype)
            alike = axes == self.result.axes and not self.is_resampled
            like = self.result.image(blank) if alike else Image(blank, axes)
            store = self._create(path, like, self.plan.step)
        return Work(tiler, self.planes, store, self.staged[0], self.kind, self.tiles)

    def _on_own_pixels(self, staged: Sliceable) -> Sliceable:
        """What the tiles have written, on the pixels of the image."""
        if not self.is_resampled:
            return staged
        content = self.options.content
        kind = self.kind if content == "objects" else content
        return self.predictor.brought_back(staged, self.own, kind)

    def _create(self, path: Path, like: Image, sides: tuple[int, ...]) -> Store:
        """A store for an image of this form, written in blocks of these sides."""
        steps = dict(zip(self.planes.space, sides, strict=True))
        block = tuple(
            min(steps.get(axis, size if axis == "c" else 1), size)
            for axis, size in zip(like.axes, like.data.shape, strict=True)
        )
        return io.create(path, like, block, overwrite=True, **self.result.manner())

    def _job(self) -> Job:
        folder, engine = self.predictor.folder, self.predictor.engine
        assert folder is not None  # check_executor
        return Job(
            model=folder.absolute(),
            source=self.source.absolute(),
            pixels=self._pixels_path(self.kind).absolute(),
            engine=cast(Name, engine.name),
            precision=engine.precision,
            threads=self._threads(),
            kind=self.kind,
            step=self.plan.step,
            pruned=self.predictor.model.pruned,
            turned=engine.turns > 1,
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
            pruned=self.predictor.model.pruned,
            engine=engine.name,
            library=f"{library} {version(library)}",
            precision=engine.precision,
            threads=self._threads(),
            content=self.options.content,
            source=self.source.name,
            shape=tuple(self.image.data.shape),
            dtype=str(self.image.data.dtype),
            modified=io.modified_ns(self.source),
            step=self.plan.step,
            tiles=len(self.tiles) * len(self.planes),
            turns=engine.turns,
        )

    def _finish(self) -> None:
        """Turn the pixels into the output, and forget the prediction."""
        options = self.options
        if self.is_filled:
            pixels = self._pixels_path(options.content)
            io.finish(pixels)
            io.move(pixels, self.output, options.overwrite)
        else:
            if options.content == "objects":
                data: Sliceable = io.reopen(self._pixels_path("objects"))
            else:
                data = self._on_own_pixels(io.reopen(self._pixels_path(self.kind)))
            self.result.write(data, overwrite=options.overwrite, overviews=options.overviews)
        self.journal.remove()
