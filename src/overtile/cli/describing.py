"""Sentences on a model that several commands print."""

from __future__ import annotations

from overtile.model import Model

NO_SHARE = 0.9995
"""From here on a share would be printed as 100 %: all pixels are labelled, but for a few."""


def describe_classes(model: Model) -> str:
    """The names of the classes, and which is the background."""
    classes = model.classes
    names = [
        f"{name} (background)" if place == classes.background and name != "background" else name
        for place, name in enumerate(classes.names)
    ]
    return ", ".join(names) + (" (they may overlap)" if classes.overlap else "")


def describe_objective(model: Model) -> str:
    """What training made small, and over which pixels."""
    loss, share = model.settings.loss, model.classes.labelled_share
    binary = " of each class" if loss.activation == "sigmoid" else ""
    terms = [
        f"{weight:g} x {name}" if weight != 1 else name
        for name, weight in (("cross-entropy", loss.cross_entropy), ("soft Dice", loss.dice))
        if weight
    ]
    part = f"the {100 * share:.3g} % of pixels that are labelled"
    over = "all pixels" if share >= NO_SHARE else part
    return f"{' + '.join(terms)}{binary} over {over}"
