"""A Dask cluster gives the serial result, also when a worker is killed; every refusal is clear."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import overtile
from overtile import io
from overtile.errors import DataError, MissingError, SettingsError
from overtile.executors import cluster
from overtile.file_to_file import PredictOptions
from overtile.journal import Journal
from overtile.normalise import Normalisation
from overtile.sample import draw_sample
from overtile.segmenter import Segmenter

pytest.importorskip("distributed", reason="pip install 'overtile[distributed]'")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")

CELLS = draw_sample(5, 0, (190, 170))[0]


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Segmenter:
    return overtile.load(model_folder, precision="float32", threads=1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    np.save(tmp_path / "cells.npy", CELLS)
    return tmp_path / "cells.npy"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def command_line_cluster(workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """As Dask documents: `dask scheduler`, and `dask worker` as often as wanted."""
    address = f"tcp://127.0.0.1:{free_port()}"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = [sys.executable, "-m", "dask"]
    port = address.rpartition(":")[2]
    scheduler = [*dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    worker = [*dask, "worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny"]
    started = [subprocess.Popen(scheduler, **quiet)]
    try:
        time.sleep(1)
        started += [subprocess.Popen(worker, **quiet) for _ in range(workers)]
        from distributed import Client

        with Client(address, timeout=20) as client:
            while len(client.nthreads()) < workers:
                time.sleep(0.05)
        yield address, started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_workers_give_the_serial_result(model: Segmenter, source: Path, tmp_path: Path) -> None:
    options = PredictOptions("probabilities", tile_px=48, workers=2)
    model.predict_file(source, tmp_path / "p.zarr", options)
    expected = model.probabilities(CELLS, tile_px=48)
    assert np.array_equal(io.open(tmp_path / "p.zarr").data[()], expected)
    # Files that are written by several processes, too, and what is done with them afterwards.
    model.predict_file(source, tmp_path / "o.tif", PredictOptions("objects", tile_px=48, workers=2))
    found = io.open(tmp_path / "o.tif", as_label=True).data[()]
    assert np.array_equal(found, model.objects(CELLS, tile_px=48))


def test_a_killed_worker_costs_only_its_tiles(
    model: Segmenter, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "classes.zarr"
    with command_line_cluster(2) as (address, workers):

        def kill() -> None:
            while len(Journal(target).done()) < 5:
                time.sleep(0.005)
            os.kill(workers[0].pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        model.predict_file(source, target, PredictOptions(tile_px=16, cluster=address))
        killer.join()
        assert workers[0].wait() == -signal.SIGKILL
    assert np.array_equal(io.open(target).data[()], model.predict(CELLS, tile_px=16))


def test_workers_measure_the_image_and_leave_holes(model: Segmenter, tmp_path: Path) -> None:
    own = Normalisation((), (), scheme="per-image")
    Segmenter(replace(model.model, normalisation=own)).save(tmp_path / "own.model")
    loaded = overtile.load(tmp_path / "own.model", precision="float32", threads=1)
    image = CELLS.astype(np.float32)
    image[20:90, 30:140] = np.nan
    source, target = tmp_path / "holes.npy", tmp_path / "o.zarr"
    np.save(source, image)
    options = PredictOptions(tile_px=48, workers=1)
    assert "measured first" in " ".join(loaded.prepare_file(source, target, options).notes)
    loaded.predict_file(source, target, options)
    got = io.open(target).data[()]
    assert np.array_equal(got == 255, np.isnan(image))
    assert np.array_equal(got, loaded.predict(image, tile_px=48))


def test_a_failing_tile_says_where(model: Segmenter, tmp_path: Path) -> None:
    broken = CELLS.astype(np.float32)
    broken[100, 100] = np.inf
    np.save(tmp_path / "broken.npy", broken)
    with pytest.raises(DataError, match=r"Stopped at tile \d+ of 16 \(y .*infinite values"):
        model.predict_file(
            tmp_path / "broken.npy", tmp_path / "o.zarr", PredictOptions(tile_px=48, workers=1)
        )
    assert Journal(tmp_path / "o.zarr").exists()


def test_no_scheduler_no_workers(
    model: Segmenter, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ANSWER_S", 1)
    nowhere = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(MissingError, match=r"No Dask scheduler answers at .* 'dask scheduler'"):
        model.predict_file(source, tmp_path / "o.zarr", PredictOptions(cluster=nowhere))
    monkeypatch.setattr(cluster, "ANSWER_S", 20)
    with (
        command_line_cluster(0) as (address, _),
        pytest.raises(MissingError, match=r"has no workers: start some with 'dask worker'"),
    ):
        model.predict_file(source, tmp_path / "o.zarr", PredictOptions(cluster=address))
    assert [path.name for path in tmp_path.iterdir()] == ["cells.npy"]  # nothing was begun


def test_workers_that_die_again_and_again() -> None:
    import distributed

    class Deadly:
        def nthreads(self) -> dict[str, int]:
            return {"a": 1}

        def submit(self, *_: Any, **__: Any) -> Any:
            raise distributed.KilledWorker("tile", SimpleNamespace(address="tcp://here"), 3)

    with pytest.raises(MissingError, match="died again and again"):
        cluster.on_cluster(Deadly(), None, [0], lambda _: None)  # type: ignore[arg-type]


def test_a_model_without_a_folder_cannot_travel(
    model: Segmenter, source: Path, tmp_path: Path
) -> None:
    homeless = Segmenter(model.model, precision="float32")
    with pytest.raises(SettingsError, match="save it first"):
        homeless.predict_file(source, tmp_path / "o.zarr", PredictOptions(workers=2))
