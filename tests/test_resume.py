"""A run that is killed at any moment goes on, or is refused; nothing earlier is lost."""

from __future__ import annotations

import errno
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import overtile
import overtile.model as storage
from overtile import layouts, training
from overtile.cli import main
from overtile.errors import DataError, OutputError, SettingsError
from overtile.image import as_image
from overtile.io import write
from overtile.planning import Budget
from overtile.sample import draw_sample
from overtile.settings import (
    OptimiserSettings,
    Settings,
    UNetSettings,
    WindowSettings,
    to_yaml,
)
from overtile.training import loop, module, watch
from overtile.training.state import Run, State

SMALL = Settings(
    network=UNetSettings(padding="same", depth=1, base_channels=2, norm="batch", dropout=0.1),
    window=WindowSettings(size_px=16, batch_size=2, accumulate=2),
    optimiser=OptimiserSettings(name="muon", learning_rate=1e-2),
    border="own",
    averaging=0.9,
    precision="float32",
    layout="contiguous",
)


def sample(count: int = 2) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    drawn = [draw_sample(0, index, (64, 72)) for index in range(count)]
    return [image for image, _ in drawn], [(cells > 0).astype(np.uint8) for _, cells in drawn]


SCRIPT = """
import math, os, random, signal, sys
import numpy, torch
torch.set_num_threads(1)
import overtile
from overtile.settings import Settings, from_yaml
from overtile.training import loop, module, state, watch

watch.CHECKPOINT_S, module.CHUNK_STEPS, watch.RECORD_STEPS = 0, 10, 5
at = sys.argv[1]
images, labels = (numpy.load(f"{at}/{name}.npy") for name in ("images", "labels"))
settings = from_yaml(Settings, open(f"{at}/settings.yaml").read(), "")
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
honest, save = module.TrainingModule.training_step, loop.pl.Trainer.save_checkpoint
sync = state._sync


last = (-1, 0)


def training_step(self, batch, index):
    # Of every run the 23rd step diverges: what follows depends on the state that is gone back to.
    if (self.global_step, index % 2) == last:
        die()
    loss = honest(self, batch, index)
    return loss * math.nan if self.global_step == 22 else loss


module.TrainingModule.training_step = training_step


def die_while_writing(number):
    def half(trainer, path):
        save(trainer, path)
        if trainer.global_step == number:
            os.truncate(path, os.path.getsize(path) // 2)
            die()
    loop.pl.Trainer.save_checkpoint = half


def die_before_replacing():
    def synced(path):
        sync(path)
        if path.suffix == ".fresh":
            die()
    state._sync = synced


def die_at(*moment):
    global last
    last = moment


chunks, loader = [], module.TrainingModule.train_dataloader


def train_dataloader(self):
    chunks.append(self.trainer.global_step)
    assert chunks[-1] % 10 == 0, chunks
    return loader(self)


module.TrainingModule.train_dataloader = train_dataloader


def run(name, resume, before=lambda: None):
    pid = os.fork()
    if pid == 0:
        before()
        overtile.train(images, labels, steps=60, settings=settings, output=f"{at}/{name}",
                       resume=resume)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed(resume, before):
    assert run("killed", resume, before) == -signal.SIGKILL
    assert not os.path.exists(f"{at}/killed")


assert run("whole", False) == 0
killed(False, lambda: die_while_writing(10))
assert not os.path.exists(f"{at}/killed.training/checkpoint.ckpt")
killed(False, lambda: die_at(random.Random(0).randrange(11, 20), 1))
killed(True, lambda: die_while_writing(30))
killed(True, die_before_replacing)
killed(True, lambda: die_at(random.Random(1).randrange(31, 60), 0))
assert run("killed", True) == 0
"""


def test_killed_again_and_again_it_ends_the_same(tmp_path: Path) -> None:
    """Bit for bit: with batches accumulated, a return to an earlier state, and an average.

    Killed while the first checkpoint is written, between two, while a later one is written, before
    that takes the place of the one before, and between two again.
    """
    images, labels = sample()
    np.save(tmp_path / "images.npy", np.stack(images))
    np.save(tmp_path / "labels.npy", np.stack(labels))
    (tmp_path / "settings.yaml").write_text(to_yaml(SMALL))
    (tmp_path / "run.py").write_text(SCRIPT)
    # One process that imports, and forks for each run, since importing takes most of the time.
    command = [sys.executable, str(tmp_path / "run.py"), str(tmp_path)]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    whole, killed = (overtile.load(tmp_path / name).model for name in ("whole", "killed"))
    assert not list(tmp_path.glob("*.training*"))
    for name, value in whole.parameters.items():
        assert np.array_equal(value, killed.parameters[name]), name

    def curve(model: storage.Model) -> list[tuple[float, ...]]:
        return [(row.step, row.loss, row.learning_rate, row.pixel_error) for row in model.history]

    assert curve(whole) == curve(killed)
    assert whole.origin.notes == killed.origin.notes
    assert whole.origin.disparity == killed.origin.disparity
    assert any("went back to its state of step 20" in note for note in whole.origin.notes)


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of 30 steps that was stopped by an error at step 25, and kept its state of step 20."""
    monkeypatch.setattr(watch, "CHECKPOINT_S", 0)
    monkeypatch.setattr(module, "CHUNK_STEPS", 10)
    monkeypatch.setattr(watch, "RECORD_STEPS", 5)
    fail(tmp_path / "m", at=25)
    return tmp_path / "m"


class _StruckError(Exception):
    """What ends a run in these tests."""


def fail(folder: Path, *, at: int, settings: Settings = SMALL, **more: object) -> None:
    """Train until a step, and no further."""

    def strike(now: training.Progress) -> None:
        if now.step >= at:
            raise _StruckError

    images, labels = sample()
    with pytest.raises(_StruckError):
        overtile.train(
            images, labels, steps=30, settings=settings, output=folder, on_step=strike, **more
        )


def go_on(folder: Path, **more: object) -> overtile.Segmenter:
    """Resume with the settings of the run, if no others are given."""
    images, labels = sample()
    return overtile.train(*more.pop("data", (images, labels)), output=folder, resume=True, **more)  # type: ignore[arg-type,misc]


def no_room(*_: object) -> None:
    """What a full disk says."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class TestRefusals:
    def test_nothing_that_was_said_may_change(self, begun: Path) -> None:
        other = SMALL.model_copy(update={"seed": 5, "averaging": 0.5})
        with pytest.raises(
            SettingsError, match=r"averaging was 0\.9 and is 0\.5, seed was 0 and is 5\. Leave it"
        ):
            go_on(begun, settings=other)
        with pytest.raises(SettingsError, match="preset was default and is paper"):
            go_on(begun, settings="paper")
        with pytest.raises(SettingsError, match="network was unet and is unetpp"):
            go_on(begun, network="unetpp")
        with pytest.raises(
            SettingsError, match=r"planned for 30 steps, .* and 40 steps are asked for"
        ):
            go_on(begun, steps=40)
        with pytest.raises(SettingsError, match=r"planned for 30 steps, .* and 2 minutes are"):
            go_on(begun, minutes=2)
        images, labels = sample()
        flipped = [labels[0], labels[1][::-1]]
        with pytest.raises(DataError, match=r"other images or labels \(labelled otherwise: 1\)"):
            go_on(begun, data=(images, flipped))
        with pytest.raises(DataError, match=r"\(missing: 1\).* \(2 images were trained on\)"):
            go_on(begun, data=(images, labels), holdout="1")
        with pytest.raises(DataError, match=r"\(changed: 0\)"):
            go_on(begun, data=([images[0].T.copy().T + 1, images[1]], labels))
        with pytest.raises(DataError, match=r"\(new: 2\)"):
            go_on(begun, data=sample(3))
        # After all that, the run goes on.
        assert go_on(begun, settings=SMALL, steps=30).model.origin.steps == 30

    def test_the_model_it_started_from(self, begun: Path, model_folder: Path) -> None:
        with pytest.raises(
            SettingsError, match=r"the model to start from was None and is cells\.model"
        ):
            go_on(begun, start=model_folder)

    def test_many_changes_are_counted(self, begun: Path) -> None:
        with pytest.raises(SettingsError, match=r"and \d+ more\. Leave it out"):
            go_on(begun, settings=Settings())

    def test_on_the_command_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What repeats the run's options goes on; what differs is an error, not ignored."""
        images, labels = sample()
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            for name, content in (("images", image), ("labels", label)):
                (tmp_path / name).mkdir(exist_ok=True)
                write(tmp_path / name / f"{number}.png", as_image(content))
        monkeypatch.setattr(watch, "CHECKPOINT_S", 0)
        file, folder = tmp_path / "s.yaml", tmp_path / "m"
        file.write_text(to_yaml(SMALL))
        data = ["train", str(tmp_path / "images"), str(tmp_path / "labels"), "-o", str(folder)]
        said = ["--settings", str(file), "--set", "seed=3", "--steps", "60"]

        def call(*options: str) -> int:
            with pytest.raises(SystemExit) as ended:
                main([*data, *options])
            return int(ended.value.code or 0)

        def strike(*_: object, **__: object) -> None:
            raise OutputError("struck")

        with monkeypatch.context() as struck:
            struck.setattr(training, "make_model", strike)
            assert call(*said) == 2
        for options, words in (
            (("--set", "seed=4"), "seed was 3 and is 4"),
            (("--seed", "4"), "seed was 3 and is 4"),
            (("--network", "fcn"), "network was unet and is fcn"),
            (("--preset", "paper"), "preset was default and is paper"),
            (("--minutes", "3"), "planned for 60 steps"),
        ):
            capsys.readouterr()
            assert call("--resume", *options) == 2
            assert words in " ".join(capsys.readouterr().err.split())
        assert call(*said, "--resume") == 0
        assert overtile.load(folder).model.settings.seed == 3


class TestNothingIsLost:
    def test_a_new_run_asks_before_it_takes_the_place(self, begun: Path) -> None:
        with pytest.raises(OutputError, match=r"m\.training holds a run that has not ended"):
            fail(begun, at=0)

    def test_a_new_run_that_fails_leaves_the_earlier_one(self, begun: Path) -> None:
        """Before its first step, and before its first checkpoint; twice."""
        images, labels = sample()
        odd = {"preset": "paper", "window": WindowSettings(size_px=15)}
        wrong = SMALL.model_copy(update=odd)
        with pytest.raises(SettingsError, match="15 px"):
            overtile.train(images, labels, steps=5, settings=wrong, output=begun, overwrite=True)
        for _ in range(2):
            fail(begun, at=5, overwrite=True, settings=SMALL.model_copy(update={"seed": 9}))
        made = go_on(begun).model
        assert made.settings.seed == 0
        assert made.origin.steps == 30
        assert not list(begun.parent.glob("*.training*"))

    def test_a_new_run_that_cannot_be_recorded_leaves_the_earlier_one(
        self, begun: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with (
            monkeypatch.context() as full,
            pytest.raises(
                OutputError,
                match=r"m\.training cannot be written \(No space .* earlier run is kept",
            ),
        ):
            full.setattr(os, "fsync", no_room)
            fail(begun, at=0, overwrite=True)
        assert go_on(begun).model.origin.steps == 30

    def test_a_new_run_with_a_checkpoint_takes_the_place(self, begun: Path) -> None:
        fail(begun, at=15, overwrite=True, settings=SMALL.model_copy(update={"seed": 9}))
        assert [path.name for path in begun.parent.glob("*.training*")] == ["m.training"]
        assert go_on(begun).model.settings.seed == 9

    def test_a_full_disk_stops_no_training(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The checkpoint before stays; it is said once, and the model is made."""
        monkeypatch.setattr(watch, "CHECKPOINT_S", 0)
        monkeypatch.setattr(module, "CHUNK_STEPS", 10)
        monkeypatch.setattr(watch, "RECORD_STEPS", 5)
        kept: list[bytes] = []
        honest, checkpoint = (
            loop.pl.Trainer.save_checkpoint,
            tmp_path / "m.training/checkpoint.ckpt",
        )

        def save(trainer: loop.pl.Trainer, path: Path) -> None:
            if trainer.global_step == 10:
                return honest(trainer, path)
            kept.append(checkpoint.read_bytes())
            path.write_bytes(b"half")
            return no_room()

        monkeypatch.setattr(loop.pl.Trainer, "save_checkpoint", save)
        images, labels = sample()
        made = overtile.train(images, labels, steps=50, settings=SMALL, output=tmp_path / "m")
        (note,) = [each for each in made.model.origin.notes if "cannot be kept" in each]
        assert "No space left on device" in note
        assert len(kept) == 4
        assert len(set(kept)) == 1

    @pytest.mark.parametrize("at", ["writing", "renaming"])
    def test_a_model_that_cannot_be_written_leaves_the_one_before(
        self, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
    ) -> None:
        folder = tmp_path / "m"
        shutil.copytree(model_folder, folder)
        model, before = storage.load(folder), storage.identity(folder)
        honest = Path.rename

        def rename(path: Path, target: Path) -> Path:
            if path.name == "new":
                no_room()
            return honest(path, target)

        if at == "writing":
            monkeypatch.setattr(os, "fsync", no_room)
        else:
            monkeypatch.setattr(Path, "rename", rename)
        with pytest.raises(OutputError, match=r"cannot be written \(No space left .* MiB of room"):
            storage.save(model, folder, overwrite=True)
        assert storage.identity(folder) == before
        assert [path.name for path in tmp_path.iterdir()] == ["m"]
        assert storage.load(folder).settings == model.settings

    def test_a_checkpoint_is_small_and_holds_no_code(self, begun: Path) -> None:
        """Parameters, their average and two moments; nothing else that grows with the network."""
        state = State(begun, resume=True)
        checkpoint = torch.load(state.checkpoint, weights_only=True)
        numbers = sum(
            value.numel() for value in overtile.networks.build(SMALL.network).state_dict().values()
        )
        assert checkpoint["global_step"] == 20

        def count(tree: object) -> int:
            if isinstance(tree, torch.Tensor):
                return tree.numel()
            values = tree.values() if isinstance(tree, dict) else tree
            return sum(map(count, values)) if isinstance(tree, dict | list | tuple) else 0

        assert count(checkpoint) <= 4 * numbers + 50
        run = state.read()
        assert run is not None
        assert (run.asked, run.budget) == (SMALL, Budget(steps=30))


def test_budgets_are_kept_as_given() -> None:
    images = {"a": "1"}
    facts = {"asked": SMALL, "settings": SMALL, "spent_s": 1.0, "images": images, "labels": images}
    epochs = Run(steps=12, minutes=None, epochs=2.5, **facts)
    assert epochs.budget == Budget(epochs=2.5)
    epochs.check_budget(None, None, 2.5)
    with pytest.raises(SettingsError, match=r"planned for 2\.5 epochs"):
        epochs.check_budget(None, 12, None)
    assert Run(steps=12, minutes=3.0, **facts).budget == Budget(minutes=3)


def test_too_little_is_held_out_or_left() -> None:
    images, labels = sample()
    with pytest.raises(DataError, match="leaves nothing to train on"):
        overtile.train(images, labels, steps=1, settings=SMALL, holdout="0:2")
    with pytest.raises(DataError):
        overtile.train(images, labels, steps=1, settings=SMALL, holdout="5")
    assert math.isfinite(layouts.pairs(images, labels).dimensions)
