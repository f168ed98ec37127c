"""The numbers that the choices turn on, each with its reason, in one place."""

from __future__ import annotations

FEWEST_STEPS = 600
"""Steps that a run is given before its network is made as wide as the preset's: below them the
schedule ends before the loss is flat. A start value, to be replaced by what is measured."""

WIDER_STEPS = 10000
"""Steps from which the network is made wider than the preset's: what a small network can learn of a
few images it has learnt by then. In three minutes of one core on ISBI 2012, 48 channels and 550
steps came to an error of 0.0793, and 32 channels and 980 steps to 0.0765."""

FINE_STEPS, FINE_WIDTH = 800, 16
"""Steps of a network of so many channels from which each pixel is taken by itself, and no square of
them as one, where regions are small: in ten and twelve minutes of one core, membranes had fewer
errors so, in half the steps (benchmarks/RESULTS.md). Nuclei, HeLa cells and scenes did not."""

FINE_OBJECT_PX = 64 * 64
"""Regions are small if half of them are below: what membranes enclose has some 500 px.
Larger ones, told by class and not by object, were not measured and keep the squares."""

WIDTHS = {2: (64, 48, 32, 24, 16, 12), 3: (32, 16, 8, 4)}
"""Channels of the first level that are considered, by dimensions. A volume's levels have more
pixels, so that a step costs more: narrower ones are considered."""

FEW_WINDOWS = 2
"""Windows of a batch by which steps are timed while alternatives are compared: one would leave
the norm of a deepest level of one pixel without statistics."""

SMALLEST_BATCH = 2
"""To which a batch is halved where even the narrowest network is too slow, or memory too small."""

CLOSE_SHARE = 0.02
"""Share of the objects that must have another nearby for the border weight to be worth its bias:
in a set with fewer, next to no pixel would have one."""

DICE_BELOW = 0.05
"""A foreground class with a smaller share of the labelled pixels adds so little to the
cross-entropy that an empty prediction costs hardly more than a right one; soft Dice counts it like
any other. A start value, to be replaced by what is measured."""

DICE_WEIGHT = 1.0
"""Beside the cross-entropy, whose weight is 1: both are of about the same size."""

LONGEST_AVERAGE = 0.998
"""Decay of the average of the parameters in long runs: over the last 500 steps or so."""

AVERAGED_PART = 10
"""In shorter runs the average is over about this part of the steps, else it would reach back to the
random beginning."""

USABLE_MEMORY = 0.9
"""Share of the free memory that a step may take; the rest is for what other programs do."""

FEW_LABELLED_PX = 2_000_000
"""Fewer labelled pixels than this, about eight planes of 512 x 512 px, are learnt by heart in
minutes: with three such planes `STRONGER` changes and the mean over flips and turns lowered the
error of others (benchmarks/RESULTS.md)."""

STRONGER = {"deform": 1.0, "recolour": 1.0, "gain": 0.4, "offset": 0.4, "gamma": 0.6, "noise": 0.3}
"""Changes to windows of so few pixels, all of which are deformed; the usual ones are about half."""

OTHER_KIND = 0.5
"""Share of the windows that lose their colours, or turn bright to dark, where images are of both
kinds (benchmarks/RESULTS.md)."""

FEWEST_PX = 3
"""What poolings leave of the largest image along each axis, as they leave it of the default window
of volumes: deeper levels would see borders only."""

ADJUSTMENT = 0.3
"""Share of the classes' frequencies that is taken out of the logits where no class is background.
Inside the training parts of Dubai and CamVid it is worth 0.02 and 0.01 of mean IoU, and costs up to
0.5 % of the pixels (benchmarks/RESULTS.md)."""
