"""What a network sees, measured and proved; which layer breaks it.

`inspect` says all of it. Its fields say that the answer at a pixel depends on nothing beyond the
margin, in whatever tile it is computed, as long as the tile begins on the grid. Here that is

- refuted, by the layers that mix all of space (`breakers`);
- measured, by the strides and by how far a NaN spreads (`measure_fields`);
- proved on a small image, by comparing tiles with the whole (`tiling_error`).
"""

from overtile.tileable.field import Reach, measure_fields
from overtile.tileable.layers import Breaker, breakers
from overtile.tileable.proof import Inspection, inspect, tiling_error
from overtile.tileable.work import Work, work_per_pixel

__all__ = [
    "Breaker",
    "Inspection",
    "Reach",
    "Work",
    "breakers",
    "inspect",
    "measure_fields",
    "tiling_error",
    "work_per_pixel",
]
