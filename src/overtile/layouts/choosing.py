"""Some of the pairs: those that are chosen, trained on, held out, or scored."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from overtile.errors import DataError
from overtile.layouts.pair import Pairs
from overtile.layouts.selection import positions


def select(pairs: Pairs, choice: str | Iterable[int]) -> Pairs:
    """The pairs chosen by positions, ranges, shares and names, as `selection.positions` reads them.

    Raises
    ------
    DataError
        A part of the choice that chooses nothing.
    """
    return _only(pairs, _chosen(pairs, choice))


def _chosen(pairs: Pairs, choice: str | Iterable[int]) -> list[int]:
    groups = [pair.group or pair.name for pair in pairs]
    return positions(choice, [pair.keys for pair in pairs], groups)


def _parted(pairs: Pairs) -> list[int]:
    """Where the pairs are that the data set itself keeps for validation and test."""
    return [place for place, pair in enumerate(pairs) if pair.part in ("validation", "test")]


def _only(pairs: Pairs, places: Iterable[int]) -> Pairs:
    return replace(pairs, members=tuple(pairs[place] for place in places))


def split(pairs: Pairs, holdout: str | Iterable[int] | None = None) -> tuple[Pairs, Pairs | None]:
    """The pairs to train on, and those held out.

    Parameters
    ----------
    pairs
        All of them.
    holdout
        A choice, as in `select`. By default, the parts of the data set that are for validation and
        test are held out, and all others trained on.

    Raises
    ------
    DataError
        As `select`; or all pairs are held out.
    """
    held = set(_parted(pairs) if holdout is None else _chosen(pairs, holdout))
    kept = [place for place in range(len(pairs)) if place not in held]
    if not kept:
        raise DataError(
            f"All {len(pairs)} images are held out, which leaves nothing to train on: hold out "
            "fewer."
        )
    return _only(pairs, kept), _only(pairs, sorted(held)) if held else None


def scored(
    pairs: Pairs, only: str | Iterable[int] | None = None, held_out: Collection[str] = ()
) -> Pairs:
    """The pairs to score.

    Those chosen; or else those that training held out, by their names, if they are all there; or
    else the parts of the data set for validation and test; or else all.

    Raises
    ------
    DataError
        As `select`.
    """
    if only is not None:
        return select(pairs, only)
    held = [place for place, name in enumerate(pairs.names) if name in held_out]
    if held and len(held) == len(held_out):
        return _only(pairs, held)
    return _only(pairs, _parted(pairs) or range(len(pairs)))


def straddling(kept: Pairs, held: Pairs) -> list[str]:
    """The groups that are on both sides of a split, where there is more than one group."""
    of_kept, of_held = kept.groups, held.groups
    if len(of_kept | of_held) == 1:
        return []
    return [group for group in of_held if group in of_kept]
