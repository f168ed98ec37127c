"""The classes that a network predicts while it trains, counted, and what is amiss with them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from overtile.labels import IGNORE
from overtile.losses import Total, own
from overtile.settings import Settings

KEPT = 20
"""Records that are looked back over: 200 steps."""

FIRST_LOOK = 0.25
"""The share of a run after which a class that is not predicted is worth a warning."""

FEWEST = 10
"""Records before that: sooner, many a class is not learnt yet."""


class Census:
    """Counts the classes of the training windows: predicted, and labelled.

    The predictions are those of the parameters of the moment, in training, which are computed
    anyway; no image is predicted for it.

    Parameters
    ----------
    names
        Of the network's outputs: the classes, and the line between objects where it is one.
    settings
        Of the run, for what a warning advises.
    total
        Of counts over all windows of the batches, where processes share them.
    """

    def __init__(self, names: Sequence[str], settings: Settings, total: Total = own) -> None:
        self.total = total
        self.names = names
        self.settings = settings
        self.overlap = settings.loss.activation == "sigmoid"
        self.now: Tensor | None = None
        self.kept: deque[list[list[int]]] = deque(maxlen=KEPT)
        self.steps: deque[int] = deque([0], maxlen=KEPT + 1)
        self.looked = False

    @torch.no_grad()
    def count(self, logits: Tensor, target: Tensor, weight: Tensor) -> None:
        """Add a batch: logits (b k *space), class ids (b *space) or (b k *space), pixel weight."""
        labelled = weight > 0
        if target.ndim == logits.ndim:
            labelled = labelled & (target != IGNORE).all(dim=1)
            pairs = [(logits[:, k] > 0, target[:, k] > 0) for k in range(logits.shape[1])]
        else:
            labelled = labelled & (target != IGNORE)
            ids = logits.argmax(dim=1)
            pairs = [(ids == k, target == k) for k in range(logits.shape[1])]
        whole = labelled.sum()
        counts = torch.stack(
            [
                torch.stack([*[(each & labelled).sum() for each in three], whole])
                for three in ((found, true, found & true) for found, true in pairs)
            ]
        )
        self.now = counts if self.now is None else self.now + counts

    def record(self, step: int) -> float:
        """Keep what was counted up to a step, and give the share of labelled pixels that is wrong.

        Of classes that overlap it is the mean over the classes; NaN where nothing is labelled.
        """
        if self.now is None:
            return math.nan
        rows: list[list[int]] = self.total(self.now).tolist()
        self.now = None
        self.kept.append(rows)
        self.steps.append(step)
        wrong = sum(found + true - 2 * hit for found, true, hit, _ in rows)
        # Where classes exclude each other, one misses the wrong pixel and another one finds it.
        each = len(rows) if self.overlap else 2
        return wrong / (each * rows[0][3]) if rows[0][3] else math.nan

    def look(self, step: int, steps: int) -> list[str]:
        """A first look, once a quarter of the run is done: what `remarks` says by then."""
        early = step < FIRST_LOOK * steps or len(self.kept) < FEWEST
        if self.looked or early:
            return []
        self.looked = True
        return self.remarks()

    def remarks(self) -> list[str]:
        """Sentences on classes that are labelled in the last windows, and predicted nowhere."""
        if not self.kept:
            return []
        found, true, _, labelled = np.array(list(self.kept)).sum(axis=0).T.tolist()
        never = [k for k, count in enumerate(true) if count and not found[k]]
        since = f"in the last {self.steps[-1] - self.steps[0]} steps"
        others = "labelled pixels there are of"
        if never and not self.overlap and sum(map(bool, found)) == 1:
            only = found.index(max(found))
            share = _percent(1 - true[only] / labelled[only])
            return [
                f"Every pixel has been predicted as '{self.names[only]}' {since}, although {share} "
                f"of the {others} other classes: {self._advice}"
            ]
        return [
            f"Class '{self.names[k]}' has not been predicted {since}, although "
            f"{_percent(true[k] / labelled[k])} of the {others} it: {self._advice}"
            for k in never
        ]

    @property
    def _advice(self) -> str:
        """What would work."""
        if self.overlap or self.settings.pixel_weight.balance_classes:
            return "train for longer, or label more of what is rare."
        return (
            "train for longer, or set pixel_weight.balance_classes=true, which lets the rare "
            "classes count as much as the others."
        )

    def state(self) -> dict[str, Any]:
        """What a run that is resumed has to know."""
        return {"kept": list(self.kept), "steps": list(self.steps), "looked": self.looked}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what an interrupted run had counted."""
        self.kept.extend(state["kept"])
        self.steps = deque(state["steps"], maxlen=KEPT + 1)
        self.looked = state["looked"]


def _percent(share: float) -> str:
    """A share as it is printed, rare ones too: 31 %, 1.3 %, 0.04 %."""
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"
