"""What is kept, and how often things are made."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overtile import layouts, presets
from overtile.cache import Kept, Room
from overtile.networks import fields_of
from overtile.planning import fit
from overtile.presets import Wanted
from overtile.sample import draw_sample
from overtile.training.data import TrainingData


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    limit=st.integers(0, 40),
    asked=st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=30),
)
def test_the_room_is_never_exceeded_and_members_never_differ(
    sizes: list[int], limit: int, asked: list[tuple[int, bool]]
) -> None:
    made: list[int] = []

    def make(place: int) -> bytes:
        made.append(place)
        return bytes([place]) * sizes[place]

    room = Room(limit)
    kept = Kept(len(sizes), make, len, room)
    held: set[int] = set()
    for place, taken in asked:
        place %= len(sizes)
        before = len(made)
        got = kept.take(place) if taken else kept[place]
        assert got == bytes([place]) * sizes[place]
        assert len(made) - before == (place not in held)
        if taken:
            held.discard(place)
        elif sum(sizes[one] for one in held | {place}) <= limit:
            held.add(place)
        assert room.taken == sum(sizes[one] for one in held) <= limit
        assert kept.kept == len(held)


def test_it_is_a_sequence() -> None:
    kept = Kept(3, str, len, Room(2))
    assert list(kept) == ["0", "1", "2"] == list(kept[:])
    assert kept[-1] == "2"
    assert kept[1:] == ["1", "2"]
    assert len(kept) == 3
    assert kept.kept == 2


@pytest.mark.parametrize(
    ("kept_mib", "said"),
    [
        (None, r"Decoded images take 1 MiB of memory, of .*iB\."),
        (0, "100% of the windows cost reading"),
    ],
)
def test_windows_are_the_same_whatever_is_kept(kept_mib: int | None, said: str) -> None:
    drawn = [draw_sample(0, number, (256, 240)) for number in range(3)]
    pairs = layouts.pairs([image for image, _ in drawn], [cells for _, cells in drawn])
    default = presets.default_settings()
    settings = default.model_copy(update={"kept_mib": kept_mib})
    data, whole = TrainingData(pairs, settings), TrainingData(pairs, default)
    assert re.search(said, data.memory)
    assert data.room.taken <= data.room.limit
    fitted = fit(data.fingerprint, Wanted(default, frozenset())).settings
    fields = fields_of(fitted.network)
    for batch, expected in zip(
        data.loader(fitted, fields)(0, 2), whole.loader(fitted, fields)(0, 2), strict=True
    ):
        for part, other in zip(batch, expected, strict=True):
            assert np.array_equal(part, other)
    assert data.examples.kept == (0 if kept_mib == 0 else len({*_drawn(whole)}))


def _drawn(data: TrainingData) -> list[int]:
    return [place for place in range(3) if place in data.examples._held]
