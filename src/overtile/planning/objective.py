"""What training makes small: the loss, and how much pixels count in it."""

from __future__ import annotations

from overtile.fingerprint import CLOSE_PX, Fingerprint
from overtile.planning.draft import Choice
from overtile.planning.limits import ADJUSTMENT, CLOSE_SHARE, DICE_BELOW, DICE_WEIGHT
from overtile.settings import Activation


def choose_activation(fingerprint: Fingerprint, given: Activation) -> Choice:
    """A probability of its own for each class where classes overlap."""
    if fingerprint.kind == "multilabel":
        return "sigmoid", "Classes may overlap: each has a probability of its own."
    if given == "sigmoid":
        return given, "Each class has a probability of its own."
    return given, "Every pixel belongs to one class."


def choose_dice(fingerprint: Fingerprint) -> Choice:
    """Soft Dice beside the cross-entropy, where a class is so rare that the latter overlooks it."""
    rare = {
        name: share
        for number, (name, share) in enumerate(
            zip(fingerprint.classes, fingerprint.class_shares, strict=True)
        )
        if number != fingerprint.background and 0 < share < DICE_BELOW
    }
    if not rare:
        return (
            0.0,
            f"No soft Dice: no class of objects has less than {DICE_BELOW:.0%} of the pixels.",
        )
    name = min(rare, key=lambda known: rare[known])
    more = f" and {len(rare) - 1} more" if len(rare) > 1 else ""
    return DICE_WEIGHT, (
        f"Soft Dice beside the cross-entropy, which would overlook {name} ({rare[name]:.2%} of the "
        f"pixels){more}."
    )


def choose_border_weight(fingerprint: Fingerprint, usual: float) -> Choice:
    """Weight on the background between objects, where there are such places."""
    if fingerprint.close is None or not fingerprint.objects:
        what = "several classes" if fingerprint.objects else "no objects"
        return 0.0, f"No border weight: the labels have {what}, and it is for objects that meet."
    count = (
        f"{fingerprint.close} of {fingerprint.objects} objects have another within {CLOSE_PX} px"
    )
    if fingerprint.close_share < CLOSE_SHARE:
        return 0.0, f"No border weight: {count}."
    return usual, f"The background between objects counts up to {1 + usual:g} times: {count}."


def choose_balance(fingerprint: Fingerprint) -> Choice:
    """No weights by class: they make probabilities of rare classes too high."""
    least = min((share for share in fingerprint.class_shares if share), default=1.0)
    return False, (
        f"Every class counts alike in a pixel, though the rarest has {least:.1%} of them: weights "
        "would make its probabilities too high."
    )


def choose_adjustment(fingerprint: Fingerprint, activation: Activation) -> Choice:
    """Less of the classes' frequencies, where several are looked for and none is background."""
    scene = fingerprint.kind == "classes" and len(fingerprint.classes) > 2
    if fingerprint.background is not None or not scene or activation == "sigmoid":
        return 0.0, "The most probable class is predicted."
    return ADJUSTMENT, (
        f"No class is background, so that rare ones count like others: {ADJUSTMENT:.0%} of how "
        "frequent classes are is taken out of their probabilities, for a higher mean IoU at a few "
        "wrong pixels more."
    )
