"""Optimiser, schedule, average of the parameters, augmentation, and the turns that it allows."""

from __future__ import annotations

import math

from overtile.fingerprint import Fingerprint
from overtile.geometry import Fields
from overtile.planning.draft import Choice
from overtile.planning.limits import (
    AVERAGED_PART,
    FEW_LABELLED_PX,
    LONGEST_AVERAGE,
    OTHER_KIND,
    STRONGER,
)
from overtile.presets import RATES, optimiser_for
from overtile.settings import (
    AugmentSettings,
    ConvolutionSettings,
    NetworkSettings,
    OptimiserSettings,
    Settings,
    UNetSettings,
)
from overtile.symmetry import shown_turns

MEASURED = "as measured on ISBI 2012 (benchmarks/RESULTS.md)"


def choose_averaging(steps: int) -> Choice:
    """The decay of the average of the parameters, by the number of steps."""
    decay = min(LONGEST_AVERAGE, round(max(0.0, 1 - AVERAGED_PART / steps), 6))
    if decay == 0:
        return 0.0, f"The last parameters: {steps} steps are too few to average over."
    reach = 1 / (1 - decay)
    return decay, (
        f"The model is the average of the parameters over the last {reach:.0f} steps or so, which "
        "is steadier than the last ones."
    )


def settled(settings: Settings, fingerprint: Fingerprint) -> dict[str, Choice]:
    """What the preset has settled for all sets of data, each with its reason, by dotted name."""
    optimiser, augment = settings.optimiser, settings.augment
    return {
        **_network(settings.network),
        **_optimiser(optimiser),
        **_augmentation(augment, fingerprint),
        "border": _border(settings),
        "calibrate": (
            settings.calibrate,
            "Pixel weights make probabilities too high where they are large; one shift of the "
            "logits of each class, fitted after training, puts that right.",
        ),
    }


def choose_optimiser(network: NetworkSettings) -> Choice:
    """Which optimiser, by the network."""
    name = optimiser_for(network)
    if name == "muon":
        return name, (
            "Muon for kernels and AdamW for the rest: more is learnt in the same time than with "
            "AdamW alone, measured on five sets (benchmarks/RESULTS.md)."
        )
    return name, (
        "AdamW, which needs no tuning by the data: Muon was measured on networks with norms alone, "
        "and on none with an encoder that others have trained."
    )


def choose_rate(optimiser: str) -> Choice:
    """The highest learning rate, by the optimiser."""
    rate = RATES[optimiser]
    return rate, f"{rate:g} at its highest, as goes with {optimiser}."


def choose_norm(network: ConvolutionSettings, batch_size: int) -> Choice:
    """The normalisation after each convolution, by how many windows the network sees at once."""
    stored = "Statistics are stored, so that in prediction a pixel does not depend on its tile"
    if network.norm == "batch" and batch_size == 1:
        return "batch-renorm", (
            f"{stored}; of single windows they differ so much that training has to use the stored "
            f"ones too: fewer errors, {MEASURED}."
        )
    return network.norm, f"{stored}."


def _network(network: NetworkSettings) -> dict[str, Choice]:
    space = "planes" if network.dimensions == 2 else "volumes"
    found: dict[str, Choice] = {
        "network.name": (network.name, f"The network for {space} unless another is named.")
    }
    if isinstance(network, UNetSettings):
        found["network.stem"] = (
            network.stem,
            "Squares of pixels are taken as one: on a processor a step takes 0.6 times as long, "
            f"and after a few minutes there are fewer errors, {MEASURED}."
            if math.prod(network.together) > 1
            else "Each voxel by itself: volumes are small.",
        )
    return found


def _optimiser(optimiser: OptimiserSettings) -> dict[str, Choice]:
    return {
        "optimiser.schedule": (
            optimiser.schedule,
            "The rate rises over the first steps, so that the first large gradients do no harm, "
            "and then falls along half a cosine to almost nothing at the planned end.",
        ),
    }


def _augmentation(augment: AugmentSettings, fingerprint: Fingerprint) -> dict[str, Choice]:
    few = f"{fingerprint.images} image{'s' * (fingerprint.images != 1)}"
    plane = "about z" if fingerprint.dimensions == 3 else "by any angle"
    directed = "".join(axis for axis, _ in fingerprint.directed)
    if directed:
        shown = " and ".join(f"{name} along {axis}" for axis, name in fingerprint.directed)
        why = (
            f"Where classes lie ({shown}) tells one end from the other: windows that are mirrored "
            "there, or turned far, would be like no image."
        )
    else:
        why = "Nothing in the labels tells one end of an axis from the other."
    strong = _stronger(fingerprint)
    deform = strong.get("deform", augment.deform)
    recolour = strong.get("recolour", augment.recolour)
    return {
        "augment.flip": (augment.flip, f"Mirrored windows make more of {few}."),
        "augment.rotate": (augment.rotate, f"Windows turned {plane}, for the same reason."),
        "augment.directed": (directed, why),
        "augment.deform": (
            deform,
            f"{deform:.0%} of the windows are turned, scaled and bent"
            + (
                "; the others keep their pixels sharp, as prediction sees them."
                if deform < 1
                else f": only {fingerprint.labelled_px:,} pixels are labelled."
            ),
        ),
        "augment.recolour": (
            recolour,
            f"Gray values of {recolour:.0%} of the windows change, as they do from image to image"
            + ("; the others keep them, which tell classes apart." if recolour < 1 else "."),
        ),
        **{
            f"augment.{name}": (
                value,
                "More than usual, so that few pixels are not learnt by heart.",
            )
            for name, value in strong.items()
            if name not in ("deform", "recolour")
        },
        "augment.elastic_std_px": (
            augment.elastic_std_px,
            f"Bent by displacements of {augment.elastic_std_px:g} px (Ronneberger et al. 2015), "
            "less in windows so small that they would fold.",
        ),
        "augment.colour": (
            augment.colour if fingerprint.channels > 1 else 0.0,
            "Each channel gets brighter and darker by itself: stains, lamps and seasons differ."
            if fingerprint.channels > 1
            else "There is one channel, whose brightness changes anyway.",
        ),
        **_kinds(augment, fingerprint),
    }


def _kinds(augment: AugmentSettings, fingerprint: Fingerprint) -> dict[str, Choice]:
    """Where images are of two kinds, windows of one are made like those of the other."""
    images, gray = fingerprint.images, fingerprint.gray
    found: dict[str, Choice] = {}
    if fingerprint.has_both_colours:
        found["augment.grayscale"] = (
            OTHER_KIND,
            f"{gray} of {images} images are gray and the others have colours: {OTHER_KIND:.0%} of "
            "the windows become gray, so that what is learnt of one kind serves the other.",
        )
    else:
        found["augment.grayscale"] = (augment.grayscale, "Images do not differ in having colours.")
    if fingerprint.has_both_contrasts:
        found["augment.invert"] = (
            OTHER_KIND,
            f"What is looked for is brighter than the rest in {fingerprint.brighter} images and "
            f"darker in {fingerprint.darker}: {OTHER_KIND:.0%} of the windows are turned round.",
        )
    else:
        found["augment.invert"] = (
            augment.invert,
            "No images are seen to be dark where others are bright.",
        )
    return found


def choose_turns(fields: Fields, augment: AugmentSettings, fingerprint: Fingerprint) -> Choice:
    """Whether prediction averages flips and turns: where few pixels leave much in doubt."""
    many = len(shown_turns(fields, [augment]))
    if many == 1:
        return False, "One prediction: training shows no flips and turns to average over."
    if _has_few(fingerprint):
        return True, (
            f"Only {fingerprint.labelled_px:,} pixels are labelled: the mean over {many} flips and "
            f"turns has fewer errors, for {many} times the work of predicting; --no-turns leaves "
            "it out."
        )
    return False, (
        f"One prediction; the mean over {many} flips and turns (--turns) has somewhat fewer "
        f"errors, for {many} times the work."
    )


def _stronger(fingerprint: Fingerprint) -> dict[str, float]:
    """The changes to windows that are made stronger, of planes with few labelled pixels."""
    return STRONGER if _has_few(fingerprint) else {}


def _has_few(fingerprint: Fingerprint) -> bool:
    return fingerprint.dimensions == 2 and fingerprint.labelled_px < FEW_LABELLED_PX


def _border(settings: Settings) -> Choice:
    if settings.border == "own":
        return "own", "Prediction pads the image's edge as training pads that of its windows."
    return "mirror", "Prediction mirrors the image at its edge, as training does."
