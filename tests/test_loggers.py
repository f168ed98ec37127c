"""Programs that follow a training are told what its history is told, at the same steps."""

from __future__ import annotations

import csv
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import two_processes
from two_processes import SMALL

import overtile
from overtile import training
from overtile.errors import MissingError, SettingsError
from overtile.model.history import HistoryRow
from overtile.planning import Budget
from overtile.training import loggers

ROWS = [HistoryRow(10, 0.5, 1e-3, 1.0), HistoryRow(20, 0.25, 2e-3, 2.0)]


class Stub:
    """In the place of a logger of Lightning whose program is not installed."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.given, self.named = given, named
        self.settings: dict[str, Any] = {}
        self.told: list[tuple[int, dict[str, float]]] = []
        self._tracking_uri = "file:here"

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self.settings = params

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.told.append((step, metrics))


def test_the_table_is_the_history_while_it_is_made(tmp_path: Path) -> None:
    """It lies with the checkpoint, and goes with it when the model holds the history."""
    table, read = tmp_path / "m.training" / "log" / "metrics.csv", []

    def tell(_: training.Progress) -> None:
        with table.open() as file:
            read.append(list(csv.DictReader(file)))

    pairs = two_processes.pairs()
    made = overtile.train(pairs, steps=20, settings=SMALL, output=tmp_path / "m", on_step=tell)
    history = [asdict(row) for row in made.model.history]
    numbers = [[{k: float(v) for k, v in row.items()} for row in rows] for rows in read]
    assert numbers == [history[:1], history]
    assert not table.exists()


def test_a_resumed_run_tells_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what was told before it was killed, and once."""
    monkeypatch.setattr(training.watch, "CHECKPOINT_S", 0)
    folder, early = tmp_path / "m.training", tmp_path / "early.ckpt"

    def tell(progress: training.Progress) -> None:
        if progress.step == 54:  # as if it were killed now; its checkpoint is that of step 50
            shutil.copy(folder / "checkpoint.ckpt", early)

    pairs, budget = two_processes.pairs(), Budget(steps=54)
    state = training.State(tmp_path / "m", resume=False)
    training.train(pairs, SMALL, budget, state=state, on_step=tell)
    shutil.copy(early, folder / "checkpoint.ckpt")
    state = training.State(tmp_path / "m", resume=True)
    made = training.train(pairs, SMALL, budget, state=state)
    with (folder / "log" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40, 50, 54]
    assert [float(row["loss"]) for row in rows] == [row.loss for row in made.history]


def test_tensorboard_reads_it_back(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    said: list[str] = []
    made = overtile.train(
        two_processes.pairs(),
        steps=20,
        settings=SMALL,
        output=tmp_path / "m",
        loggers=["tensorboard", "tensorboard"],
        on_understood=said.append,
    )
    assert said[0] == f"Followed by TensorBoard: tensorboard --logdir {tmp_path / 'm.logs'}."
    (run,) = (tmp_path / "m.logs").iterdir()
    events = accumulator.EventAccumulator(str(run))
    events.Reload()
    for name in ("loss", "learning_rate", "seconds", "pixel_error"):
        found = [(event.step, event.value) for event in events.Scalars(name)]
        rows = [(row.step, getattr(row, name)) for row in made.model.history]
        assert found == [(step, pytest.approx(value)) for step, value in rows]


@pytest.mark.parametrize(
    ("name", "kind", "place"),
    [
        ("mlflow", "MLFlowLogger", "MLflow: experiment overtile, run cells, in file:here."),
        ("wandb", "WandbLogger", "Weights & Biases: project overtile, run cells, files in"),
    ],
)
def test_others_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, kind: str, place: str
) -> None:
    monkeypatch.setattr(loggers.lightning, kind, Stub)
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    said: list[str] = []
    made = loggers.make_loggers([name], tmp_path / "cells.training", said.append)
    stub = made[0]
    assert isinstance(stub, Stub)
    assert f"Followed by {place}" in said[0]
    assert "overtile" in {*stub.given, *stub.named.values()}
    loggers.begin(made[:1], SMALL, ROWS[:1])
    loggers.log(made[:1], ROWS[1])
    assert stub.settings["optimiser"]["learning_rate"] == SMALL.optimiser.learning_rate
    assert stub.told == [
        (10, {"loss": 0.5, "learning_rate": 1e-3, "seconds": 1.0}),
        (20, {"loss": 0.25, "learning_rate": 2e-3, "seconds": 2.0}),
    ]


def test_what_is_not_there_is_refused_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def train(name: str) -> None:
        monkeypatch.setattr("overtile.training.TrainingData", lambda *_: pytest.fail("it was read"))
        overtile.train(two_processes.pairs(), steps=1, settings=SMALL, loggers=[name])

    with pytest.raises(SettingsError, match="no logger 'neptune'; known: tensorboard, mlflow, wa"):
        train("neptune")
    for name in ("mlflow", "wandb", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("mlflow", "wandb"):
        with pytest.raises(MissingError, match=f"not installed: pip install {name}"):
            train(name)
    with pytest.raises(MissingError, match=r"pip install 'overtile\[track\]'"):
        train("tensorboard")
