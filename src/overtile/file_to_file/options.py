"""How a file is predicted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from overtile.errors import SettingsError

Content = Literal["classes", "probabilities", "objects"]


@dataclass(frozen=True)
class PredictOptions:
    """How a file is predicted.

    Attributes
    ----------
    content
        What is written: class ids (uint8), probabilities (float32, with axis c), or object ids
        (int32).
    memory
        Bytes that may be taken above those of the process with the model loaded; by default half
        of what is free.
    tile_px
        Largest side of a tile, in pixels; by default as large as pays and fits.
    seed_threshold
        For objects: where the probability is above it there are seeds, from which touching objects
        are parted by a watershed.
    measurements
        For objects: a CSV file of their sizes, places and intensities.
    overviews
        Of a TIFF: whether it gets smaller copies of itself, for viewers.
    overwrite, resume
        Whether an output that exists may be replaced; whether to go on with a prediction that was
        begun.
    workers, cluster
        Processes to start on this machine, or the address of a Dask scheduler; by default this
        process computes.
    """

    content: Content = "classes"
    memory: int | None = None
    tile_px: int | None = None
    seed_threshold: float | None = None
    measurements: Path | None = None
    overviews: bool = False
    overwrite: bool = False
    resume: bool = False
    workers: int | None = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        if self.content != "objects" and (self.measurements or self.seed_threshold is not None):
            raise SettingsError(
                "Seeds and measurements belong to objects: ask for objects (--objects) as well."
            )
        if self.workers is not None and self.cluster is not None:
            raise SettingsError("Give a number of workers or the address of a cluster, not both.")
