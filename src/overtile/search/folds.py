"""Images in parts, each of which is held out once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from overtile.errors import DataError, SettingsError
from overtile.layouts import Pairs
from overtile.text import shown


def split_folds(pairs: Pairs, count: int) -> list[list[int]]:
    """Positions of the images that each fold holds out.

    Every image is in one fold. Folds are blocks of whole groups in their order; of a single group,
    such as one stack, blocks of its images: neighbours are alike, so that images parted at random
    would be held out where they are nearly known. The blocks are those whose sizes differ least.

    Parameters
    ----------
    pairs
        With labels.
    count
        Of the folds, at least 2.

    Returns
    -------
    list of lists
        Of each fold, in order, positions from 0.

    Raises
    ------
    SettingsError
        Fewer than 2 folds.
    DataError
        More folds than groups, or than images of the only group.
    """
    if count < 2:
        raise SettingsError(
            f"{count} folds: expected 2 at least, one to hold out and another to train on."
        )
    groups = pairs.groups
    if len(groups) == 1:
        if count > len(pairs):
            raise DataError(_too_many(count, len(pairs), "images", pairs.names))
        blocks = even_blocks([1] * len(pairs), count)
        return [list(block) for block in blocks]
    if count > len(groups):
        what = "images" if len(groups) == len(pairs) else "groups of images"
        raise DataError(_too_many(count, len(groups), what, list(groups)))
    names = list(groups)
    fold_of = {
        names[place]: fold
        for fold, block in enumerate(even_blocks(list(groups.values()), count))
        for place in block
    }
    folds: list[list[int]] = [[] for _ in range(count)]
    for place, pair in enumerate(pairs):
        folds[fold_of[pair.group or pair.name]].append(place)
    return folds


def _too_many(count: int, there: int, what: str, names: Sequence[str]) -> str:
    advice = f"use at most {there} folds" if there > 1 else "label another image"
    return (
        f"{count} folds need as many {what}, since each is held out in one piece, and there "
        f"{'are' if there > 1 else 'is'} {there} to train on ({shown(names)}): {advice}."
    )


def even_blocks(sizes: Sequence[int], count: int) -> list[range]:
    """Neighbouring items in `count` blocks, none of them empty, whose sizes differ least.

    That is the least sum of squared sizes, found by dynamic programming over the blocks' ends;
    among equals, the earlier blocks are the larger ones.
    """
    ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.float64)])
    items = len(sizes)
    # cost[n]: of the first n items in the blocks so far; starts[b][n]: where the last one begins.
    cost = np.where(np.arange(items + 1) == 0, 0.0, np.inf)
    starts = []
    for _ in range(count):
        longer, start = np.full(items + 1, np.inf), np.zeros(items + 1, int)
        for end in range(1, items + 1):
            costs = cost[:end] + (ends[end] - ends[:end]) ** 2
            start[end] = end - 1 - int(np.argmin(costs[::-1]))  # the last of equals
            longer[end] = costs[start[end]]
        cost = longer
        starts.append(start)
    blocks, end = [], items
    for start in reversed(starts):
        blocks.append(range(int(start[end]), end))
        end = int(start[end])
    return blocks[::-1]
