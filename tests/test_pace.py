"""Steps are kept to the time that they are to end at."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import overtile
from overtile import training
from overtile.planning import FINISH_S
from overtile.sample import write_sample
from overtile.settings import Settings, UNetSettings, WindowSettings
from overtile.training.pace import Pace

SMALL = Settings(
    network=UNetSettings(base_channels=2, depth=1, padding="same"),
    window=WindowSettings(size_px=32, batch_size=2),
    precision="float32",
)


def go(step_s: float, slower: float, planned: int, seconds: float) -> tuple[int, float, int]:
    """A run whose steps become so much slower half-way: its steps, its time, and the last plan."""
    pace, done, now = Pace(seconds), 0, 0.0
    while done < planned:
        done += 1
        now += step_s if now < seconds / 2 else step_s * slower
        if done % 10 == 0 or done == planned:
            planned = pace.look(done, planned, now)
    return done, now, planned


@given(
    st.floats(0.001, 0.1),
    st.floats(0.5, 3),
    st.floats(0.5, 3),
    st.integers(300, 900),
)
@settings(deadline=None, max_examples=60)
def test_a_run_ends_in_time_whatever_was_planned(
    step_s: float, slower: float, wrong: float, seconds: int
) -> None:
    planned = int(wrong * seconds / step_s)
    done, now, last = go(step_s, slower, planned, seconds)
    assert done == last
    assert now == pytest.approx(seconds, abs=max(20 * step_s * slower, 0.02 * seconds))


def test_fixed_steps_stand() -> None:
    pace = Pace(math.inf)
    assert [pace.look(done, 70, 9.0 * done) for done in (10, 20, 30)] == [70, 70, 70]


def test_nothing_is_known_at_first_and_nothing_changes_at_the_end() -> None:
    pace = Pace(100.0)
    assert pace.look(10, 70, 10.0) == 70
    assert pace.look(20, 70, 20.0) == 100
    assert pace.look(100, 100, 99.0) == 100


def test_a_run_that_is_late_ends_with_the_next_step() -> None:
    pace = Pace(15.0)
    pace.look(10, 70, 10.0)
    assert pace.look(20, 70, 20.0) == 21


def test_processes_agree_on_the_slowest() -> None:
    """Each has its own clock, and told is what the other one could do."""
    pace = Pace(100.0, most=lambda wanted: max(wanted, -60.0))
    pace.look(10, 70, 10.0)
    assert pace.look(20, 70, 20.0) == 60


def test_training_puts_a_wrong_plan_right(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its learning rate falls to the end, and the model says how many steps it was."""
    monkeypatch.setattr("overtile.planning.making.steps_for", lambda *_, **__: 100_000)
    write_sample(tmp_path, count=1, size=(48, 48))
    model = overtile.train(tmp_path, minutes=0.15, settings=SMALL).model
    assert model.origin.stopped is None
    assert 20 < model.origin.steps == model.origin.planned_steps < 100_000
    assert model.settings.steps == model.origin.steps
    assert "100000 were planned" in model.reasons["steps"]
    rates = [row.learning_rate for row in model.history]
    assert rates[-1] < 0.02 * max(rates)


def test_a_resumed_run_has_the_steps_that_were_set_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is planned for 60; its checkpoint, of step 100 or later, knows more. Its time goes on."""
    monkeypatch.setattr("overtile.planning.making.steps_for", lambda *_, **__: 60)
    monkeypatch.setattr(training.watch, "CHECKPOINT_S", 0.0)
    write_sample(tmp_path / "data", count=1, size=(48, 48))
    told: list[training.Progress] = []

    class KilledError(Exception):
        pass

    def kill(progress: training.Progress) -> None:
        told.append(progress)
        if progress.step > 110 and progress.seconds > 4:
            raise KilledError

    given = {"minutes": 0.25, "output": tmp_path / "m"}
    with pytest.raises(KilledError):
        overtile.train(tmp_path / "data", settings=SMALL, on_step=kill, **given)  # type: ignore[arg-type]
    told.clear()
    again = overtile.train(tmp_path / "data", resume=True, on_step=told.append, **given)  # type: ignore[arg-type]
    assert told[0].step % training.module.CHUNK_STEPS == 10
    assert 110 <= told[0].step < told[0].steps
    assert again.model.origin.stopped is None
    assert again.model.history[-1].seconds < 15 - FINISH_S  # of both together
