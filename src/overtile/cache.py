"""Things that are costly to make, kept as far as a budget of memory allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, overload

T = TypeVar("T")


class Room:
    """Memory that several caches share.

    Attributes
    ----------
    limit, taken
        Bytes that may be kept, and are.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.taken = limit, 0

    def take(self, size: int) -> bool:
        """Whether so many bytes were free; then they are taken."""
        fits = self.taken + size <= self.limit
        self.taken += size * fits
        return fits

    def give(self, size: int) -> None:
        """Free so many bytes."""
        self.taken -= size


class Kept(Sequence[T], Generic[T]):
    """A sequence whose members are made when they are asked for; what fits the room is kept.

    What is kept stays: training draws images at random and again and again, so that throwing one
    out for another would gain nothing, and a pass over all of them in turn would lose everything.

    Parameters
    ----------
    count
        Of members.
    make
        From a member's place to the member; the same each time.
    size
        Of a member, in bytes.
    room
        For all that is kept.
    """

    def __init__(
        self, count: int, make: Callable[[int], T], size: Callable[[T], int], room: Room
    ) -> None:
        self._count, self._make, self._size, self._room = count, make, size, room
        self._held: dict[int, T] = {}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...
    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        if isinstance(place, slice):
            return [self[number] for number in range(self._count)[place]]
        place = range(self._count)[place]
        if place in self._held:
            return self._held[place]
        made = self._make(place)
        if self._room.take(self._size(made)):
            self._held[place] = made
        return made

    def take(self, place: int) -> T:
        """A member, which is kept no longer."""
        made = self._held.pop(place, None)
        if made is None:
            return self._make(place)
        self._room.give(self._size(made))
        return made

    @property
    def kept(self) -> int:
        """How many members are kept."""
        return len(self._held)
