"""Two processes train as one does with the same batch, agree on the end, and outlive no other."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import safetensors.numpy
import torch
import two_processes
from two_processes import SMALL, STEPS

import overtile
from overtile import training
from overtile.errors import DataError, MissingError, SettingsError
from overtile.planning import Budget
from overtile.sample import write_sample
from overtile.settings import UNetSettings
from overtile.step import Step
from overtile.training import Ranks, ranks
from overtile.training.data import TrainingData

HANGS_S = 180
SINGLE = {"OMP_NUM_THREADS": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what two processes under torchrun did."""
    folder = tmp_path_factory.mktemp("two")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    script = [two_processes.__file__, str(folder)]
    port = ["--master-port", str(free_port())]
    made = subprocess.run(
        [*launcher, *port, *script],
        env=os.environ | SINGLE,
        timeout=HANGS_S,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return folder


def read(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Facts and parameters that a process kept."""
    return (
        json.loads((folder / f"{name}.json").read_text()),
        safetensors.numpy.load_file(folder / f"{name}.safetensors"),
    )


def assert_close(some: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> None:
    for name, value in some.items():
        assert np.abs(value - others[name]).max() <= 2e-5, name


class TestTwoProcesses:
    def test_they_do_what_one_does(self, two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same windows, and with them the same losses and parameters, to rounding."""
        seen: list[list[int]] = []
        monkeypatch.setattr(Step, "forward", Step.forward)  # what `record` does is undone
        two_processes.record(seen)
        told: list[training.Progress] = []
        one = training.train(two_processes.pairs(), SMALL, Budget(steps=STEPS), on_step=told.append)
        (facts, parameters), (other, _) = read(two, "rank0-whole"), read(two, "rank1-whole")
        pairs = zip(facts["seen"], other["seen"], strict=True)
        shared = [[*even, *odd] for even, odd in pairs]
        assert all(len(windows) == 4 for windows in shared)
        assert [sorted(windows) for windows in shared] == [sorted(w) for w in seen[-STEPS:]]
        assert [windows[::2] for windows in seen[-STEPS:]] == facts["seen"]
        assert_close(one.parameters, parameters)
        rows = [(row.step, row.loss, row.learning_rate) for row in one.history]
        assert np.allclose(facts["history"], rows, rtol=1e-5)
        errors = [row.pixel_error for row in one.history]
        assert np.allclose(facts["errors"], errors, atol=1e-3)  # a pixel in the balance may flip
        assert facts["pixels"] == [progress.pixels for progress in told]
        assert one.history[-1].loss < one.history[0].loss

    @pytest.mark.parametrize("name", ["whole", "resumed", "time", "interrupt"])
    def test_both_have_the_same(self, two: Path, name: str) -> None:
        (facts, parameters), (others, theirs) = (read(two, f"rank{n}-{name}") for n in range(2))
        for kind, value in parameters.items():
            assert np.array_equal(value, theirs[kind]), kind
        for kind in ("history", "errors", "steps", "stopped"):
            assert facts[kind] == others[kind]
        assert others.get("pixels", []) == []  # only the first one says how far it is

    def test_going_on_from_a_checkpoint(self, two: Path, tmp_path: Path) -> None:
        """By two processes to the bit, by one to rounding."""
        whole, resumed = (read(two, f"rank0-{name}") for name in ("whole", "resumed"))
        assert len(resumed[0]["seen"]) == STEPS - 50
        assert whole[0]["history"] == resumed[0]["history"]
        for name, value in whole[1].items():
            assert np.array_equal(value, resumed[1][name]), name
        shutil.copytree(two / "m.training", tmp_path / "m.training")
        shutil.copy(two / "early.ckpt", tmp_path / "m.training" / "checkpoint.ckpt")
        state = training.State(tmp_path / "m", resume=True)
        alone = training.train(two_processes.pairs(), SMALL, Budget(steps=STEPS), state=state)
        assert_close(alone.parameters, whole[1])

    def test_one_stops_all(self, two: Path) -> None:
        """The first one's clock, and Ctrl-C that reached the second one alone."""
        assert read(two, "rank1-time")[0]["stopped"] == "time"
        assert read(two, "rank1-time")[0]["steps"] == 1
        assert read(two, "rank0-interrupt")[0]["stopped"] == "interrupt"
        assert read(two, "rank0-interrupt")[0]["steps"] < 20


class TestTheCommand:
    def test_a_process_that_is_killed_ends_the_other(self, tmp_path: Path) -> None:
        """Lightning starts the second process; what is said is said once."""
        write_sample(tmp_path / "data", count=2, size=(64, 64))
        (tmp_path / "run.py").write_text("from overtile.cli import main\n\nmain()\n")
        changes = ["window.size_px=16", "network.base_channels=2", "network.depth=1"]
        command = [sys.executable, str(tmp_path / "run.py"), "train", str(tmp_path / "data")]
        command += ["-o", str(tmp_path / "m"), "--steps", "1000000", "--devices", "2"]
        command += ["--logger", "tensorboard", *(f"--set={change}" for change in changes)]
        main = subprocess.Popen(
            command,
            env=os.environ | SINGLE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        table, until = tmp_path / "m.training" / "log" / "metrics.csv", time.monotonic() + HANGS_S
        while not table.exists():
            assert main.poll() is None, main.communicate()
            assert time.monotonic() < until
            time.sleep(0.05)
        (child,) = psutil.Process(main.pid).children()
        child.kill()
        said, complained = main.communicate(timeout=HANGS_S)
        assert main.returncode == 2
        assert "Process 0 of 2 has lost another one" in " ".join(complained.split())
        assert complained.count("Error") == 1
        assert said.count("Training in 2 processes, each with 2 of the 4 windows") == 1
        assert said.count(f"tensorboard --logdir {tmp_path / 'm.logs'}") == 1
        assert not (tmp_path / "m").exists()


class TestRefusals:
    def test_a_batch_that_cannot_be_shared(self) -> None:
        Ranks(devices=2, nodes=2).check_batch(8)
        words = r"4 windows cannot be shared by 3 .* window.batch_size=6, or use 1, 2, 4 of them"
        with pytest.raises(SettingsError, match=words):
            Ranks(devices=3).check_batch(4)

    def test_numbers_that_make_no_sense(self) -> None:
        with pytest.raises(SettingsError, match="devices is 0 and nodes is 1: expected whole"):
            overtile.train(*_data(), steps=1, settings=SMALL, devices=0)

    def test_more_than_there_are_gpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        with pytest.raises(SettingsError, match="devices is 3, and this machine has 2 GPUs"):
            ranks._check(3, 1)

    def test_a_launcher_that_started_another_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What torchrun starts and is not asked for would be written twice to one place."""
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(SettingsError, match="runs in 2 processes, and 1 x 1 are asked for"):
            overtile.train(*_data(), steps=1, settings=SMALL)

    def test_slurm_with_other_numbers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {"NTASKS": 4, "NTASKS_PER_NODE": 4, "PROCID": 0, "LOCALID": 0}.items():
            monkeypatch.setenv(f"SLURM_{name}", str(value))
        monkeypatch.setenv("SLURM_NODEID", "0")
        monkeypatch.setattr(sys, "argv", [__file__])
        words = r"2 processes on each of 1 machines cannot be started .*--ntasks-per-node=4"
        with pytest.raises(SettingsError, match=words), ranks.started(2):
            pytest.fail("it started")

    def test_a_program_that_is_no_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "argv", ["-c"])
        with pytest.raises(SettingsError, match="this one is no file that could be started again"):
            overtile.train(*_data(), steps=1, settings=SMALL, devices=2)

    def test_other_images_on_another_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        here = Ranks(devices=2, number=1)
        monkeypatch.setattr(Ranks, "from_first", lambda *_: {"a": "1"})
        here.check_same({"a": "1"})
        with pytest.raises(DataError, match="Process 1 of 2 has read other images or labels than"):
            here.check_same({"a": "2"})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("[gloo/transport/tcp] Connection closed by peer"), MissingError),
        (torch.distributed.DistNetworkError("reset"), MissingError),
        (RuntimeError("something else"), RuntimeError),
        (SettingsError("too short"), SettingsError),
    ],
)
def test_an_error_ends_the_processes_that_were_started(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: type[Exception]
) -> None:
    child = subprocess.Popen(["sleep", "60"])
    launcher = SimpleNamespace(procs=[child])
    fabric = SimpleNamespace(
        launch=lambda: None,
        strategy=SimpleNamespace(launcher=launcher),
        global_rank=0,
        device=torch.device("cpu"),
    )
    monkeypatch.setattr(ranks, "Fabric", lambda **_: fabric)
    monkeypatch.setattr(sys, "argv", [__file__])
    words = "lost another one, which says why" if expected is MissingError else str(error)
    with pytest.raises(expected, match=words), ranks.started(2) as these:
        assert these.is_first
        assert these.count == 2
        raise error
    assert child.wait(timeout=10) != 0
    assert launcher.procs == []


def test_who_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process, known before all are connected."""
    assert ranks.is_first(2, 1)
    monkeypatch.setenv("NODE_RANK", "1")
    assert not ranks.is_first(2, 2)
    assert ranks.is_first(1, 1)
    monkeypatch.delenv("NODE_RANK")
    monkeypatch.setattr(ranks.rank_zero_only, "rank", 1)
    assert not ranks.is_first(2, 1)


def test_statistics_are_said() -> None:
    both = Ranks(devices=2)
    assert "no more than these" not in both.describe(SMALL)
    batch = SMALL.model_copy(update={"network": UNetSettings(padding="same", norm="batch")})
    assert "normalisation sees no more than these" in both.describe(batch)
    on_gpus = Ranks(devices=2, device=torch.device("cuda"))
    assert "normalisation sees all of them" in on_gpus.describe(batch)
    assert not Ranks(device=torch.device("cuda")).has_common_statistics(batch)


def test_processes_of_a_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overtile.training.data.free_memory", lambda: 1000)
    rooms = [TrainingData(two_processes.pairs(), SMALL, n).room.limit for n in (1, 4)]
    assert rooms == [500, 125]


def _data() -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [np.zeros((20, 20), np.uint8)], [np.arange(400).reshape(20, 20) % 2]
