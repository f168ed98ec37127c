"""The planned tiles fit the memory, and no other choice that fits is estimated to be faster."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from overtile import machine
from overtile.engines import FunctionEngine
from overtile.engines import cost as costs
from overtile.engines.cost import Cost, known_cost, measure_cost
from overtile.errors import SettingsError
from overtile.geometry import Field
from overtile.tileplan import Load, plan_tiles
from overtile.tiles import cut

FIELDS = (Field("same", 16, 94),) * 2
COST = Cost(tile_s=0.01, px_s=1e-6, tile_bytes=5e6, px_bytes=100, touch_s=0)


def work(shape: tuple[int, ...], step: tuple[int, ...]) -> tuple[int, int, int]:
    """Number of tiles, pixels read by all, and by the largest: by making the tiles."""
    reads = [math.prod(tile.read_shape) for tile in cut(shape, FIELDS, step, "own")]
    return len(reads), sum(reads), max(reads)


@given(
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
    st.integers(16_000_000, 100_000_000),
    st.sampled_from([16, 64, 48]),
)
@example((177, 865), 18198112, 48)  # the last tile's margin ends at the edge
@settings(max_examples=25, deadline=None)
def test_no_square_tile_is_better(shape: tuple[int, int], budget: int, unit: int) -> None:
    load = Load()
    plan = plan_tiles(shape, FIELDS, "own", COST, load, budget=budget, unit=unit)
    count, read, _ = work(shape, plan.step)
    assert plan.tiles == count
    assert plan.overhead == pytest.approx(read / math.prod(shape))
    assert plan.seconds == pytest.approx(COST.seconds(count, read))
    assert plan.memory <= budget
    assert all(side % math.lcm(unit, 16) == 0 for side in plan.step)
    for side in range(math.lcm(unit, 16), 960, math.lcm(unit, 16)):
        count, read, largest = work(shape, (side, side))
        waiting = min(2, count) * (4 * largest + side**2)
        if COST.memory(largest) + waiting <= budget:
            # A few numbers of tiles are left out of the search: a percent is all they can be worth.
            assert plan.seconds <= COST.seconds(count, read) * 1.02


def test_a_large_volume_is_planned_at_once() -> None:
    start = time.process_time()
    plan = plan_tiles((2000, 30000, 40000), FIELDS[:1] * 3, "own", COST, Load(), budget=2**34)
    assert time.process_time() - start < 2
    assert plan.memory <= 2**34


def test_reasons_say_what_limits() -> None:
    def reasons(budget: int, most_px: int | None = None) -> str:
        plan = plan_tiles((2000, 3000), FIELDS, "own", COST, Load(), budget=budget, most_px=most_px)
        return " ".join(plan.reasons)

    assert "no pixel is computed twice" in reasons(2**40)
    assert "would take" in reasons(2**27)
    assert "limited to 512 px" in reasons(2**40, 512)
    dear = Cost(0, 1e-6, 0, 1, 0)  # tiles cost nothing here, so that small ones are no worse
    one = plan_tiles((96, 96), (Field("valid", 1, 0),) * 2, "mirror", dear, Load(), budget=2**30)
    assert one.overhead == 1


def test_too_little_memory_is_said_with_what_is_needed() -> None:
    with pytest.raises(SettingsError, match=r"budget of 1 MiB is too small.*16 x 16 px, needs"):
        plan_tiles((500, 500), FIELDS, "own", COST, Load(), budget=2**20)
    with pytest.raises(SettingsError, match="smaller than the network's grid"):
        plan_tiles((500, 500), FIELDS, "own", COST, Load(), budget=2**30, most_px=8)


def test_cost_is_a_line_through_two_probes() -> None:
    """Of an engine that takes a known time and memory."""
    seen = []

    def function(windows: np.ndarray) -> np.ndarray:
        seen.append(windows.shape)
        held = np.ones(windows.size * 40, np.float32)  # 160 bytes a pixel
        time.sleep(0.02 + windows.size * 4e-7)
        return np.concatenate([windows, windows], axis=1) + held[0]

    cost = measure_cost(FunctionEngine(function), FIELDS, 1)
    assert set(seen) == {(1, 1, 256, 256), (1, 1, 512, 512)}
    assert cost.seconds(1, 2**20) == pytest.approx(0.02 + 4e-7 * 2**20, rel=0.5)
    assert 100 * 2**20 < cost.memory(2**20) < 600 * 2**20


def test_a_slow_engine_is_probed_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "SLOW_S", 0.0)
    seen = []

    def function(windows: np.ndarray) -> np.ndarray:
        seen.append(windows.shape)
        return windows

    measure_cost(FunctionEngine(function), FIELDS, 1)
    assert set(seen) == {(1, 1, 256, 256), (1, 1, 512, 256)}


def test_cost_is_measured_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []
    engine = FunctionEngine(lambda windows: calls.append(1) or windows)
    first = known_cost(engine, FIELDS, 1, ("a",))
    count = len(calls)
    assert known_cost(engine, FIELDS, 1, ("a",)) == first
    assert len(calls) == count
    known_cost(engine, FIELDS, 1, ("b",))
    assert len(calls) == 2 * count
    for path in (tmp_path / "overtile" / "costs").iterdir():
        path.write_text("{")
    known_cost(engine, FIELDS, 1, ("a",))  # a damaged file is measured anew
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    known_cost(engine, FIELDS, 1, ("a",))  # and so is one that cannot be kept


def test_free_memory_minds_the_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    everything = machine.free_memory()
    assert everything > 0
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 100000\n")
    assert machine.free_memory() == 400000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.free_memory() > 400000


def test_peak_memory_is_seen() -> None:
    with machine.watch_memory() as peak:
        block = np.ones(30_000_000, np.uint8)
        time.sleep(0.05)
        del block
    assert 25_000_000 < peak.most < 60_000_000
