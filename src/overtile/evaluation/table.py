"""Which measures an evaluation takes: a new one is a line here, and its sentences."""

from __future__ import annotations

from overtile.evaluation import ofcalibration, ofobjects, ofpartitions, ofpixels
from overtile.evaluation.measure import Measure
from overtile.labels import LabelMeaning


def measures_for(meaning: LabelMeaning, dimensions: int) -> list[Measure]:
    """The measures for labels of this meaning, of planes or volumes."""
    overlap = meaning.kind == "multilabel"
    chosen = [ofpixels.layers(meaning) if overlap else ofpixels.classes(meaning)]
    chosen.append(ofcalibration.calibration())
    one_foreground = len(meaning.names) == 2 and meaning.background is not None
    if meaning.kind == "classes" and one_foreground and dimensions == 2:
        chosen.append(ofpartitions.partitions())
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
