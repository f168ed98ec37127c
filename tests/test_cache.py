"""What is kept, and how often things are made."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from overtile.cache import Kept, Room


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
