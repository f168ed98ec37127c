"""Tuning: what is tried, given up, kept, and how long it takes; by a fake objective and clock."""

from __future__ import annotations

import csv
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import overtile
from overtile import errors, jobs
from overtile.errors import DataError, MissingError, OutputError, SettingsError
from overtile.presets import default_settings
from overtile.sample import draw_sample
from overtile.search.scoring import main_score
from overtile.search.space import Tried, changed, space_around
from overtile.search.study import IN_FULL, Limits, Study, Trial
from overtile.settings import (
    NETWORK_SETTINGS,
    LabelSettings,
    Settings,
    UNetSettings,
    WindowSettings,
    from_yaml,
)

SPACE = (
    Tried("network.depth", 2, (1, 2, 3), False, ""),
    Tried("optimiser.learning_rate", 0.01, (0.001, 0.1), True, ""),
)
PART_S = 10.0


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


class Clock:
    """Time that passes only where it is said."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Fake:
    """Trials of three parts, 10 s each: deeper is better, and rates near 0.01 are."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.tried: list[dict[str, Any]] = []
        self.parts = 0

    def worth(self, values: dict[str, Any]) -> float:
        rate = math.log10(values["optimiser.learning_rate"] / 0.01)
        return 0.2 * values["network.depth"] + 0.1 * (1 - abs(rate))

    def __call__(self, values: dict[str, Any]) -> Iterator[tuple[str, float]]:
        self.tried.append(values)
        for part in range(3):
            self.clock.now += PART_S
            self.parts += 1
            yield "fake", self.worth(values) + 0.01 * part


def limits(seconds: float = math.inf, trials: int | None = None) -> Limits:
    return Limits(seconds, trials, 3, PART_S)


def study(folder: Path, fake: Fake) -> Study:
    return Study(folder / "journal", SPACE, 0, fake.clock)


def nothing(_: Trial) -> None:
    pass


def test_the_first_trial_is_the_given_settings_and_the_best_is_no_worse(tmp_path: Path) -> None:
    fake = Fake()
    tried = study(tmp_path, fake)
    assert tried.run(fake, limits(trials=12), nothing) == "trials"
    assert fake.tried[0] == {"network.depth": 2, "optimiser.learning_rate": 0.01}
    assert len(fake.tried) == len(tried.trials) == 12
    complete = [trial for trial in tried.trials if trial.state == "complete"]
    assert tried.best is not None
    assert tried.best.score == max(trial.score for trial in complete)
    assert tried.best.score >= tried.trials[0].score
    assert tried.best.values["network.depth"] == 3
    for trial in complete:
        assert trial.score == pytest.approx(fake.worth(trial.values) + 0.01)
        assert trial.seconds == 3 * PART_S


def test_trials_below_the_median_are_given_up_and_save_their_time(tmp_path: Path) -> None:
    fake = Fake()
    tried = study(tmp_path, fake)
    tried.run(fake, limits(trials=20), nothing)
    pruned = [trial for trial in tried.trials if trial.state == "pruned"]
    assert pruned
    assert fake.parts == sum(len(trial.parts) for trial in tried.trials) < 3 * 20
    for trial in pruned:
        assert trial.number >= IN_FULL
        assert len(trial.parts) < 3
        count = len(trial.parts)
        before = [t for t in tried.trials[: trial.number] if t.state == "complete"]
        assert trial.score < np.median([np.mean(t.parts[:count]) for t in before])
        assert trial.seconds == PART_S * len(trial.parts)


def test_no_trial_is_begun_that_could_not_end_in_time(tmp_path: Path) -> None:
    for seconds in (30, 95, 130):
        fake = Fake()
        begun = fake.clock.now
        (tmp_path / f"{seconds}").mkdir()
        tried = study(tmp_path / f"{seconds}", fake)
        assert tried.run(fake, limits(seconds), nothing) == "time"
        assert fake.clock.now - begun <= seconds
        assert seconds - (fake.clock.now - begun) < 1.1 * 3 * PART_S
        assert all(trial.state != "running" for trial in tried.trials)
    fake = Fake()
    (tmp_path / "short").mkdir()
    short = study(tmp_path / "short", fake)
    assert short.run(fake, limits(29), nothing) == "time"
    assert short.best is None
    assert not fake.tried


class Slower(Fake):
    """Each trial takes twice as long as the one before it."""

    def __call__(self, values: dict[str, Any]) -> Iterator[tuple[str, float]]:
        self.tried.append(values)
        for _ in range(3):
            self.clock.now += PART_S * 2 ** (len(self.tried) - 1)
            self.parts += 1
            yield "fake", 0.5


def test_a_trial_that_turns_out_too_long_is_left_in_time(tmp_path: Path) -> None:
    fake = Slower()
    tried = study(tmp_path, fake)
    assert tried.run(fake, limits(30 + 60 - 10), nothing) == "time"
    assert fake.clock.now - 1000 <= 80
    assert [trial.state for trial in tried.trials] == ["complete", "running"]
    assert fake.parts == 3 + 2


class Killed(Fake):
    """Ends the process, or is interrupted, in the second part of the fourth trial."""

    def __call__(self, values: dict[str, Any]) -> Iterator[tuple[str, float]]:
        for part in super().__call__(values):
            if self.parts == 3 * 3 + 2:
                raise SystemExit
            yield part


def test_a_study_that_was_killed_tries_what_it_would_have_tried(tmp_path: Path) -> None:
    whole, killed, again = Fake(), Killed(), Fake()
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    study(tmp_path / "whole", whole).run(whole, limits(trials=7), nothing)
    with pytest.raises(SystemExit):
        study(tmp_path / "killed", killed).run(killed, limits(trials=7), nothing)
    resumed = study(tmp_path / "killed", again)
    assert resumed.run(again, limits(trials=7), nothing) == "trials"
    assert again.tried[0] == killed.tried[3] == whole.tried[3]
    ended = [trial for trial in resumed.trials if "tried again" not in trial.why]
    assert len(ended) == 7
    assert [trial.values for trial in ended[:4]] == whole.tried[:4]
    # What was spent before counts: three trials of 30 s, and the part that was recorded.
    late = Fake()
    assert study(tmp_path / "killed", late).run(late, limits(100), nothing) == "time"
    assert not late.tried


KILL = """
import os, pathlib, signal, sys
from overtile.search.space import Tried
from overtile.search.study import Limits, Study

def objective(values):
    for part in range(3):
        if values["network.depth"] != 2 and part:
            os.kill(os.getpid(), signal.SIGKILL)
        yield "fake", values["network.depth"] / 4

space = [Tried("network.depth", 2, (1, 2, 3), False, "")]
study = Study(pathlib.Path(sys.argv[1]), space, 0)
study.run(objective, Limits(1e9, 50, 3, 1), lambda _: None)
"""


def test_a_study_survives_kill_9(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    ended = subprocess.run([sys.executable, "-c", KILL, str(journal)], check=False)
    assert ended.returncode == -signal.SIGKILL
    space = [Tried("network.depth", 2, (1, 2, 3), False, "")]
    tried = Study(journal, space, 0, Clock())
    assert tried.trials[0].state == "complete"
    assert tried.trials[-1].state == "failed"
    assert tried.trials[-1].parts == (tried.trials[-1].values["network.depth"] / 4,)
    again = []

    def objective(values: dict[str, Any]) -> Iterator[tuple[str, float]]:
        again.append(values)
        yield from [("fake", values["network.depth"] / 4)] * 3

    tried.run(objective, limits(trials=len(tried.trials)), nothing)
    assert again == [tried.trials[-2].values]


def test_ctrl_c_keeps_what_was_found(tmp_path: Path) -> None:
    fake = Fake()
    study(tmp_path, fake).run(fake, limits(trials=2), nothing)

    def interrupted(_: dict[str, Any]) -> Iterator[tuple[str, float]]:
        yield "fake", 0.1
        raise KeyboardInterrupt

    tried = study(tmp_path, fake)
    assert tried.run(interrupted, limits(trials=9), nothing) == "interrupt"
    assert tried.best is not None
    assert [trial.state for trial in tried.trials] == ["complete", "complete", "running"]


class Failing(Fake):
    """The trials after the first fail, each for another reason."""

    reasons = (
        SettingsError("The network pools 256 px into one: it is too deep."),
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.\nMore."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    )

    def __call__(self, values: dict[str, Any]) -> Iterator[tuple[str, float]]:
        if 0 < len(self.tried) <= len(self.reasons):
            self.tried.append(values)
            raise self.reasons[len(self.tried) - 2]
        yield from super().__call__(values)


def test_failed_trials_are_recorded_and_skipped(tmp_path: Path) -> None:
    fake, told = Failing(), list[Trial]()
    tried = study(tmp_path, fake)
    assert tried.run(fake, limits(trials=6), told.append) == "trials"
    states = [trial.state for trial in tried.trials]
    assert states == ["complete", *["failed"] * 4, "complete"]
    assert [trial.number for trial in told] == list(range(6))
    whys = [trial.why for trial in tried.trials[1:5]]
    assert "too deep" in whys[0]
    assert whys[1] == "no memory"
    assert whys[2] == "CUDA out of memory. Tried to allocate 2 GiB."
    assert "can't allocate memory" in whys[3]


def test_what_no_settings_can_mend_ends_the_study(tmp_path: Path) -> None:
    def fails(error: Exception, after: int) -> Any:
        fake = Fake()

        def objective(values: dict[str, Any]) -> Iterator[tuple[str, float]]:
            if len(fake.tried) >= after:
                raise error
            yield from fake(values)

        return objective

    for place, (error, after) in enumerate(
        [
            (SettingsError("0.1 minutes are too short"), 0),
            (DataError("the image is broken"), 1),
            (RuntimeError("a defect"), 1),
        ]
    ):
        tried = Study(tmp_path / f"{place}", SPACE, 0, Clock())
        with pytest.raises(type(error), match=str(error)):
            tried.run(fails(error, after), limits(trials=3), nothing)


def test_scores_that_are_not_defined_are_no_result(tmp_path: Path) -> None:
    values = {0: (math.nan, 0.4, 0.6), 1: (math.nan,) * 3}
    seen = []

    def objective(_: dict[str, Any]) -> Iterator[tuple[str, float]]:
        seen.append(0)
        yield from (("fake", value) for value in values[len(seen) - 1])

    tried = study(tmp_path, Fake())
    tried.run(objective, limits(trials=2), nothing)
    assert [trial.state for trial in tried.trials] == ["complete", "failed"]
    assert tried.trials[0].score == pytest.approx(0.5)
    assert tried.trials[1].why == "no score is defined"
    seen[:] = [0]
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="No score is defined in any fold: expected labels with a"):
        study(tmp_path / "other", Fake()).run(objective, limits(trials=2), nothing)


def test_importances_find_what_matters_once_there_are_enough_trials(tmp_path: Path) -> None:
    fake = Fake()
    tried = study(tmp_path, fake)
    tried.run(fake, limits(trials=4), nothing)
    assert tried.importances() == {}
    tried.run(fake, limits(trials=20), nothing)
    found = tried.importances()
    assert set(found) == {"network.depth", "optimiser.learning_rate"}
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize("network", sorted(NETWORK_SETTINGS))
def test_the_space_holds_the_given_settings_and_nothing_that_is_refused(network: str) -> None:
    given = default_settings(network)
    space = space_around(given)
    assert {"optimiser.learning_rate", "window.batch_size"} <= {tried.name for tried in space}
    for tried in space:
        assert len(tried.values) > 1
        assert tried.values[0] <= tried.default <= tried.values[-1]
        assert tried.is_range or tried.default in tried.values
        for value in tried.values:
            content: Any = changed(given, {tried.name: value})
            for part in tried.name.split("."):
                content = getattr(content, part)
            assert content == value
    assert changed(given, {tried.name: tried.default for tried in space}) == given


def test_a_space_leaves_out_what_would_clash() -> None:
    shallow = Settings(network=UNetSettings(depth=1, strides=((2, 2),)))
    assert "network.depth" not in {tried.name for tried in space_around(shallow)}
    flat = Settings(network=UNetSettings(depth=1))
    depths = {tried.name: tried.values for tried in space_around(flat)}["network.depth"]
    assert depths == (1, 2)
    assert str(Tried("a", 2, (1, 2, 3), False, "")) == "1, 2, 3"
    assert str(Tried("a", 0.1, (0.01, 1), True, "")) == "0.01 to 1"


TINY = Settings(
    network=UNetSettings(padding="same", depth=1, base_channels=2, norm="batch", dropout=0),
    window=WindowSettings(size_px=16, batch_size=1),
    border="own",
    precision="float32",
    layout="contiguous",
    labels=LabelSettings(kind="instances"),
)


def drawn(count: int) -> tuple[list[Any], list[Any]]:
    images = [draw_sample(0, index, (48, 40)) for index in range(count)]
    return [image for image, _ in images], [cells for _, cells in images]


def test_tuning_reads_no_held_out_image_and_writes_settings_to_train_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, cells = drawn(5)
    images[4] = images[4][:, :30]  # would be refused, beside its label, if it were read
    read = []
    train = jobs.train

    def spy(*given: Any, **options: Any) -> Any:
        made = train(*given, **options)
        read.append({*made.model.origin.images, *made.model.origin.held_out})
        return made

    monkeypatch.setattr(jobs, "train", spy)
    options: dict[str, Any] = {
        "output": tmp_path / "tuned",
        "minutes": 5,
        "trial_steps": 2,
        "folds": 2,
        "holdout": "4",
        "settings": TINY,
    }
    told: list[str] = []
    found = overtile.tune(images, cells, trials=2, tell=told.append, **options)
    assert "each trial trains on 2 folds of 4 images, 2 steps each" in told[0]
    assert found.ended == "trials"
    assert len(found.trials) == 2
    assert len(read) == 4
    assert set.union(*read) == {"0", "1", "2", "3"}
    text = (tmp_path / "tuned" / "settings.yaml").read_text()
    kind = {"labels.kind": found.settings.labels.kind}
    assert from_yaml(Settings, text, "it") == found.settings
    assert found.settings == changed(TINY, found.best.values | kind)
    assert "of 2 complete trials" in text.splitlines()[0]
    # Each of them is a training like any other.
    again = overtile.train(images[:4], cells[:4], steps=2, settings=found.settings, holdout="0:2")
    assert again.model.settings.seed == TINY.seed

    assert "earlier trials" not in told[0]
    more = overtile.tune(images, cells, trials=3, resume=True, tell=told.append, **options)
    assert told[-1].startswith("Up to 5 min, of which earlier trials took ")
    assert len(more.trials) == 3
    assert more.trials[:2] == found.trials
    with (tmp_path / "tuned" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["0", "1", "2"]
    assert float(rows[0]["fold 1"]) == pytest.approx(found.trials[0].parts[0])
    with pytest.raises(SettingsError, match=r"begun otherwise.*steps was 2 and is 3"):
        overtile.tune(images, cells, resume=True, **options | {"trial_steps": 3})
    with pytest.raises(OutputError, match="exists: go on with it with --resume"):
        overtile.tune(images, cells, **options)


def test_the_score_that_is_compared_is_that_of_the_evaluation(model_folder: Path) -> None:
    segmenter = overtile.load(model_folder)
    image, cells = draw_sample(0, 3, (128, 112))
    evaluation = overtile.evaluate(segmenter, [image], [cells])
    assert main_score(evaluation) == ("AP at 0.5", evaluation.rows[0].scores["AP at 0.5"])
    settings = TINY.model_copy(update={"seed": 1})
    classes = overtile.train(
        image, (cells > 0).astype("uint8"), steps=1, settings=settings, labels_are="classes"
    )
    evaluation = overtile.evaluate(classes, [image], [(cells > 0).astype("uint8")])
    foreground = classes.classes[1]
    assert main_score(evaluation) == ("mean Dice", evaluation.pooled[f"Dice {foreground}"])


def test_budgets_that_cannot_work_say_what_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, cells = drawn(4)
    options: dict[str, Any] = {"output": tmp_path / "tuned", "settings": TINY}
    with pytest.raises(SettingsError, match="A trial of 9 min does not end in 5: give more"):
        overtile.tune(images, cells, minutes=5, trial_minutes=9, **options)
    with pytest.raises(SettingsError, match="0 trials: expected 1 at least"):
        overtile.tune(images, cells, minutes=5, trials=0, **options)
    with pytest.raises(SettingsError, match="minutes is 0: give a number above 0"):
        overtile.tune(images, cells, minutes=0, **options)
    assert not (tmp_path / "tuned").exists()

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        overtile.tune(images, cells, minutes=50, **options)
    with pytest.raises(SettingsError, match=r"No trial was finished in 50 min: expected time"):
        overtile.tune(images, cells, minutes=50, resume=True, started=-1e9, **options)


def test_as_many_trials_as_are_asked_for_have_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def train(*_: Any, **told: Any) -> Any:
        asked.append(told["minutes"])
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "train", train)
    images, cells = drawn(4)
    for name, trials in (("one", 1), ("two", 2), ("many", None)):
        with pytest.raises(KeyboardInterrupt):
            overtile.tune(
                images, cells, minutes=30, trials=trials, output=tmp_path / name, settings=TINY
            )
    assert len(asked) == 3
    for minutes, trials in zip(asked, (1, 2, 20), strict=True):
        assert 20 < 3 * minutes * trials < 30


def test_without_optuna_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> Any:
        raise ModuleNotFoundError(module)

    monkeypatch.setattr(errors, "import_module", missing)
    images, cells = drawn(4)
    with pytest.raises(MissingError, match=r"'optuna'.*pip install 'overtile\[tune\]'"):
        overtile.tune(images, cells, minutes=5, output=tmp_path / "tuned", settings=TINY)
    assert not (tmp_path / "tuned").exists()
