"""Sentences on data and on a model that several commands print."""

from __future__ import annotations

from overtile.cli.show import note, say
from overtile.layouts import Pairs, split, straddling
from overtile.model import Model
from overtile.model.manifest import Disparity
from overtile.text import shown

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
    weights = {
        "cross-entropy": loss.cross_entropy,
        "soft Dice": loss.dice,
        f"focal (gamma {loss.focal_gamma:g})": loss.focal,
        f"Tversky ({loss.tversky_alpha:g} FP, {loss.tversky_beta:g} FN, gamma "
        f"{loss.tversky_gamma:g})": loss.tversky,
        f"boundary (to {loss.boundary_reach_px} px)": loss.boundary,
    }
    terms = [
        f"{weight:g} x {name}" if weight != 1 else name
        for name, weight in weights.items()
        if weight
    ]
    part = f"the {100 * share:.3g} % of pixels that are labelled"
    over = "all pixels" if share >= NO_SHARE else part
    return f"{' + '.join(terms)}{binary} over {over}"


def describe_disparity(found: Disparity) -> str:
    """How far the network in training differs from the one that predicts."""
    return (
        f"probabilities of training windows differ by {found.probability:.3f} in the mean between "
        f"training and prediction (loss {found.training_loss:.4f} and {found.prediction_loss:.4f})"
    )


def say_recognised(pairs: Pairs, holdout: str | list[int] | None) -> Pairs | None:
    """Print what was recognised and what is held out of it, before anything starts; the latter."""
    say(pairs.describe())
    kept, held = split(pairs, holdout)
    if held is None:
        return None
    say(f"{len(held)} held out: {shown(held.names)}.")
    if groups := straddling(kept, held):
        note(
            f"{shown(groups)}: some images of this group are trained on and some are held out. "
            "Images of one group are alike, so that scores of these will look better than those "
            "of new ones; --holdout takes names of groups."
        )
    return held
