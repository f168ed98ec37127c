"""Which measures an evaluation takes: a new one is a line here, and its sentences."""

from __future__ import annotations

from overtile.evaluation import ofcalibration, ofobjects, ofoutlines, ofpartitions, ofpixels
from overtile.evaluation.measure import Measure, outlined
from overtile.labels import LabelMeaning

OUTLINES = (ofoutlines.boundaries, ofoutlines.surfaces, ofoutlines.hausdorff)


def measures_for(
    meaning: LabelMeaning, dimensions: int, *, all_scores: bool = False
) -> list[Measure]:
    """The measures for labels of this meaning, of planes or volumes; also those that take long."""
    overlap = meaning.kind == "multilabel"
    chosen = [ofpixels.layers(meaning) if overlap else ofpixels.classes(meaning)]
    names = [meaning.names[number] for number in outlined(meaning)]
    if meaning.kind != "scribbles":  # strokes have no outline that a prediction could meet
        chosen += [of(names) for of in OUTLINES]
    chosen.append(ofcalibration.calibration())
    one_foreground = len(meaning.names) == 2 and meaning.background is not None
    if meaning.kind == "classes" and one_foreground and dimensions == 2:
        chosen.append(ofpartitions.partitions())
        if all_scores:
            chosen.append(ofoutlines.warping())
    if meaning.kind == "instances":
        chosen += [
            ofobjects.average_precision(),
            ofobjects.panoptic_quality(),
            ofobjects.aggregated_jaccard(),
            ofobjects.segmentation(),
            ofobjects.detection(),
            ofobjects.numbers(),
        ]
    return chosen
