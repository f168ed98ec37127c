"""File to file equals in memory, bit for bit; a killed run goes on; every refusal comes first."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from skimage.measure import regionprops_table

import overtile
from overtile import io
from overtile.errors import DataError, FormatError, OutputError, SettingsError
from overtile.file_to_file import FilePrediction, PredictOptions
from overtile.image import Image
from overtile.journal import Journal
from overtile.planes import Planes
from overtile.sample import draw_sample
from overtile.segmenter import Segmenter
from overtile.tileplan import TilePlan

CELLS = draw_sample(3, 0, (160, 150))[0]
TILE = 48


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Segmenter:
    return overtile.load(model_folder, precision="float32")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, CELLS, tile=(32, 32), resolution=(2e4, 2e4), resolutionunit="CENTIMETER")
    return path


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy", ".zarr"])
@pytest.mark.parametrize("tile_px", [TILE, None])
def test_files_hold_what_arrays_do(
    model: Segmenter, source: Path, tmp_path: Path, suffix: str, tile_px: int | None
) -> None:
    target = tmp_path / f"classes{suffix}"
    model.predict_file(source, target, PredictOptions(tile_px=tile_px))
    expected = model.predict(CELLS, tile_px=tile_px)
    assert np.array_equal(io.open(target, as_label=True).data[()], expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, target.name])


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".zarr"])
def test_probabilities_and_spacing(
    model: Segmenter, source: Path, tmp_path: Path, suffix: str
) -> None:
    target = tmp_path / f"p{suffix}"
    model.predict_file(source, target, PredictOptions(content="probabilities", tile_px=TILE))
    got = io.open(target)
    assert np.array_equal(got.data[()], model.probabilities(CELLS, tile_px=TILE))
    assert np.abs(got.data[()] - model.probabilities(CELLS)).max() < 1e-5
    if suffix != ".npy":
        assert got.spacing == pytest.approx((0.5, 0.5))
        assert got.unit == "micrometer"


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
@pytest.mark.parametrize("seeds", [None, 0.6])
def test_objects_do_not_depend_on_tiles(
    model: Segmenter, source: Path, tmp_path: Path, suffix: str, seeds: float | None
) -> None:
    target, table = tmp_path / f"objects{suffix}", tmp_path / "objects.csv"
    expected = model.objects(CELLS, seed_threshold=seeds)
    assert expected.max() > 3
    for tile_px in (32, TILE, None):
        options = PredictOptions(
            "objects",
            tile_px=tile_px,
            seed_threshold=seeds,
            measurements=table,
            overwrite=True,
        )
        model.predict_file(source, target, options)
        assert np.array_equal(io.open(target, as_label=True).data[()], expected)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    witness = regionprops_table(expected, CELLS, properties=("area", "centroid", "mean_intensity"))
    assert [int(row["area_px"]) for row in rows] == witness["area"].astype(int).tolist()
    for name, other, scale in (
        ("area_micrometer2", "area", 0.25),
        ("centroid_x_micrometer", "centroid-1", 0.5),
        ("mean_0", "mean_intensity", 1),
    ):
        assert np.allclose([float(row[name]) for row in rows], witness[other] * scale)


def test_stacks_are_predicted_plane_by_plane(model: Segmenter, tmp_path: Path) -> None:
    stack = np.stack([draw_sample(3, number, (70, 90))[0] for number in range(3)])
    np.save(tmp_path / "stack.npy", stack)
    for content, expected in (
        ("classes", model.predict(stack, tile_px=32)),
        # In files, c comes before z.
        ("probabilities", np.moveaxis(model.probabilities(stack, tile_px=32), 1, 0)),
        ("objects", model.objects(stack)),
    ):
        target, table = tmp_path / f"{content}.zarr", tmp_path / "o.csv"
        options = PredictOptions(
            content, tile_px=32, measurements=table if content == "objects" else None
        )
        model.predict_file(tmp_path / "stack.npy", target, options)
        assert np.array_equal(io.open(target).data[()], expected)
    planes = [int(row["z"]) for row in csv.DictReader(table.read_text().splitlines())]
    assert planes == [z for z, plane in enumerate(model.objects(stack)) for _ in range(plane.max())]


def test_memory_bounds_the_tile(model: Segmenter, tmp_path: Path) -> None:
    np.save(tmp_path / "large.npy", np.tile(CELLS, (8, 8)))

    def plan(memory: int) -> TilePlan:
        source, target = tmp_path / "large.npy", tmp_path / "a.npy"
        return FilePrediction(model.predictor, source, target, PredictOptions(memory=memory)).plan

    free = plan(4 * 2**30)
    tight = plan(free.memory - 2**20)
    assert tight.memory < free.memory
    assert tight.seconds > free.seconds
    with pytest.raises(SettingsError, match="tile of 2 px is smaller"):
        model.predict(CELLS, tile_px=2)
    with pytest.raises(SettingsError, match="budget of 128 MiB is too small"):
        plan(128 * 2**20)


CHILD = """
import sys, time
from pathlib import Path
import overtile
from overtile.file_to_file import PredictOptions
from overtile.tiler import Tiler
compute = Tiler.compute
def slowly(*arguments):
    time.sleep(0.05)
    return compute(*arguments)
Tiler.compute = slowly
model, source, target, content, resume = sys.argv[1:]
options = PredictOptions(content, tile_px=32, resume=resume == "True")
overtile.load(model, precision="float32", threads=1).predict_file(source, target, options)
"""


KILLS = 2
"""The second one meets what is resumed; each costs a start of Python."""


@pytest.mark.parametrize(("suffix", "content"), [(".tif", "objects"), (".zarr", "classes")])
def test_a_killed_run_goes_on(
    model_folder: Path, source: Path, tmp_path: Path, suffix: str, content: str
) -> None:
    """Killed at random moments, until it comes to its end."""
    target, journal = tmp_path / f"out{suffix}", Journal(tmp_path / f"out{suffix}")
    random, kills, before = np.random.default_rng(0), 0, 0
    while not target.exists():
        command = [sys.executable, "-c", CHILD, model_folder, source, target, content]
        child = subprocess.Popen([*command, str(journal.exists())])
        wanted = before + int(random.integers(1, 9))
        while child.poll() is None and kills < KILLS:
            if journal.exists() and len(_lines(journal)) >= wanted:
                time.sleep(random.uniform(0, 0.06))
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        assert child.wait() in (0, -signal.SIGKILL)
        if journal.exists():
            assert len(_lines(journal)) >= before  # nothing that was done is done again
            before = len(_lines(journal))
    assert kills == KILLS
    model = overtile.load(model_folder, precision="float32", threads=1)
    expected = model.objects(CELLS) if content == "objects" else model.predict(CELLS)
    assert np.array_equal(io.open(target, as_label=True).data[()], expected)


def _lines(journal: Journal) -> list[bytes]:
    path = journal.folder / "done"
    return path.read_bytes().split() if path.exists() else []


class Breaking:
    """An image that cannot be read from some row on."""

    shape, dtype = CELLS.shape, CELLS.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        if key[0].start >= 40:
            raise FormatError("the block is corrupt")
        return CELLS[key]


def test_a_tile_that_fails_says_where_and_costs_nothing_else(
    model: Segmenter, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.zarr"
    run = FilePrediction(model.predictor, source, target, PredictOptions(tile_px=32))
    whole = run.planes.image
    object.__setattr__(whole, "data", Breaking())
    with pytest.raises(FormatError, match=r"tile 11 of 25 \(y 64-96, x 0-32\): the block is corru"):
        run.run()
    assert not target.exists()
    journal = Journal(target)
    assert journal.done() == set(range(10))
    with pytest.raises(OutputError, match=r"did not come to its end.*--resume.*--overwrite"):
        model.predict_file(source, target, PredictOptions(tile_px=32))
    with pytest.raises(OutputError, match="begun with content classes"):
        model.predict_file(source, target, PredictOptions("probabilities", tile_px=32, resume=True))
    told: list[int] = []
    again = FilePrediction(model.predictor, source, target, PredictOptions(resume=True))
    again.run(lambda done, _: told.append(done))
    assert told[0] == 64 * 150
    assert told[-1] == CELLS.size
    assert np.array_equal(io.open(target).data[()], model.predict(CELLS))


def test_a_store_that_is_lost_is_made_anew(model: Segmenter, source: Path, tmp_path: Path) -> None:
    """Killed after the output got its name, and before that was recorded."""
    target = tmp_path / "out.npy"
    run = FilePrediction(model.predictor, source, target, PredictOptions(tile_px=64))
    run.journal.begin(run._run())
    for number in range(len(run.tiles)):
        run.journal.record(number)
    model.predict_file(source, target, PredictOptions(resume=True))
    assert np.array_equal(io.open(target).data[()], model.predict(CELLS, tile_px=64))


def test_a_full_disk_stops_with_the_place(
    model: Segmenter, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FilePrediction(model.predictor, source, tmp_path / "o.npy", PredictOptions(tile_px=64))
    work = run._work

    class Full:
        shape, dtype = CELLS.shape, np.dtype(np.uint8)

        def __setitem__(self, key: Any, part: Any) -> None:
            raise OSError(28, "No space left on device")

    def with_full_disk() -> Any:
        made = work()
        made.store = Full()
        return made

    monkeypatch.setattr(run, "_work", with_full_disk)
    with pytest.raises(OutputError, match=r"tile 1 of 9 \(y 0-56, x 0-52\): No space left"):
        run.run()


def test_refusals_come_before_any_work(model: Segmenter, source: Path, tmp_path: Path) -> None:
    def refuse(error: type[Exception], match: str, output: str = "o.tif", **values: Any) -> None:
        with pytest.raises(error, match=match):
            model.predict_file(
                values.pop("image", source), tmp_path / output, PredictOptions(**values)
            )

    refuse(OutputError, "nothing to resume", resume=True)
    refuse(FormatError, "suffix", output="o.xyz")
    refuse(FormatError, "which Overtile only reads", output="o.jpg")
    refuse(FormatError, "holds the class ids of one plane", output="o.png", content="objects")
    refuse(OutputError, "no folder", output="nowhere/o.tif")
    (tmp_path / "there.tif").touch()
    refuse(OutputError, "exists already", output="there.tif")
    refuse(OutputError, "exists already", content="objects", measurements=tmp_path / "there.tif")
    refuse(SettingsError, "belong to objects", seed_threshold=0.7)
    refuse(SettingsError, "not both", workers=2, cluster="tcp://here:1")
    refuse(SettingsError, r"name the output \.zarr", cluster="tcp://here:1")
    np.save(tmp_path / "rgb.npy", np.zeros((20, 30, 3), np.uint8))
    refuse(DataError, "3 channels, and the model was trained on 1", image=tmp_path / "rgb.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.tif", "rgb.npy", "there.tif"]


def test_a_disk_without_room_is_known_before(
    model: Segmenter, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(OutputError, match=r"may need .* GB"):
        model.predict_file(source, tmp_path / "o.tif")
    assert not Journal(tmp_path / "o.tif").folder.exists()


def test_notes_say_what_cannot_go_by_window(model: Segmenter, tmp_path: Path) -> None:
    io.write(tmp_path / "a.png", Image(CELLS, "yx"))
    run = FilePrediction(model.predictor, tmp_path / "a.png", tmp_path / "b.png", PredictOptions())
    notes = " ".join(run.notes)
    assert "The image cannot be read by window" in notes
    assert "A PNG cannot be written by window" in notes


def test_a_model_for_volumes_wants_volumes() -> None:
    with pytest.raises(DataError, match="without z, and the model was made for volumes"):
        Planes(Image(CELLS, "yx"), 3)
    volumes = Planes(Image(np.zeros((2, 3, 4, 5, 6), np.uint8), "tczyx"), 3)
    assert (len(volumes), volumes.channels, volumes.shape) == (2, 3, (4, 5, 6))
    assert volumes.axes_of(None) == ("tzyx", (2, 4, 5, 6))
    assert volumes[1][slice(0, 3), slice(0, 4), slice(1, 3), slice(0, 6)].shape == (3, 4, 2, 6)
