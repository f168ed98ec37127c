"""Images with labels, and the settings that a search begins with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import overtile.model as storage
from overtile import jobs, layouts, presets
from overtile.labels import Kind, told, understand
from overtile.layouts import Content, Pairs
from overtile.model import Model
from overtile.planning import Budget, Plan
from overtile.presets import Preset
from overtile.search.space import changed
from overtile.settings import Settings


@dataclass(frozen=True)
class Opened:
    """What a search works on.

    Attributes
    ----------
    pairs
        To train and to validate on.
    whole, places
        All, and where those are among them; the others are held out, and never read.
    settings
        A preset's or a user's, with the kind of all labels, so that no fold takes its own for
        another.
    keep
        Names of those of them that no plan may change; None for all.
    """

    pairs: Pairs
    whole: Pairs
    places: list[int]
    settings: Settings
    keep: frozenset[str] | None

    def without(self, part: list[int]) -> list[int]:
        """Where those are among all that are held out beside a part of the others."""
        trained = set(self.places) - {self.places[place] for place in part}
        return [place for place in range(len(self.whole)) if place not in trained]

    def plan(self, length: Budget) -> Plan:
        """The plan of one training, for all to follow: models with one field can be averaged."""
        return jobs.plan(
            self.whole,
            **vars(length),
            holdout=self.without([]) or None,
            settings=self.settings,
            keep=self.keep,
        )


def open_data(
    images: Content | Pairs,
    labels: Content | None,
    *,
    layout: str | None,
    holdout: str | Iterable[int] | None,
    settings: Preset | Settings,
    keep: Iterable[str] | None,
    network: str | None,
    start: str | Path | Model | None = None,
    labels_are: Literal["auto"] | Kind = "auto",
) -> Opened:
    """What `jobs.train` would train on, and with which settings; raises as it does."""
    earlier = storage.load(Path(start)) if isinstance(start, str | Path) else start
    wanted, is_open = jobs.choose(settings, keep, network, earlier, labels_are)
    chosen = wanted.settings
    pairs = jobs.find_pairs(images, labels, layout, None if is_open else chosen.network.dimensions)
    if is_open and pairs.dimensions == 3:
        volumes = presets.resolve(chosen.preset, jobs.VOLUME_NETWORK)
        chosen = volumes.model_copy(update={"labels": chosen.labels})
    whole = layouts.drawn_as(pairs, chosen.labels.kind)
    inner, _ = layouts.split(whole, holdout)
    if chosen.labels.kind == "auto":
        said = told(chosen.labels, inner.hints)
        labels_of_all = (pair.read_label() for pair in inner)
        meaning = understand(labels_of_all, "auto", said, repair=chosen.labels.repair)
        chosen = changed(chosen, {"labels.kind": meaning.kind})
    kept = set(map(id, inner))
    places = [place for place, pair in enumerate(whole) if id(pair) in kept]
    return Opened(inner, whole, places, chosen, wanted.kept)
