"""Random changes to training windows: one resampling of image, target and pixel weight together.

A window is resampled from its slab, which holds context around it, through one grid of coordinates
that composes shift, flip, rotation, scaling and deformation. Everything random about a window is a
function of its own seed, drawn on the processor (`drawing`), so that neither device nor batch
changes the data. How far it can reach, and that it folds nowhere, is proved (`limits`).

Planes and volumes are resampled by the same code (`windows`). A volume is turned in its planes y-x
alone, because z is usually coarser and blurred differently: tipped over, it would look like no
image.
"""

from overtile.augment.limits import context_size, elastic_std
from overtile.augment.windows import Augmentation

__all__ = ["Augmentation", "context_size", "elastic_std"]
