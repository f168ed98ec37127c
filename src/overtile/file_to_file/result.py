"""What is written of a prediction, and with what belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtile import io, vectors
from overtile.file_to_file.options import Content
from overtile.image import Image, Sliceable
from overtile.model.manifest import Classes


@dataclass(frozen=True)
class Result:
    """The output: where, in which form, and what its pixels are.

    Attributes
    ----------
    path, form
        The file, and its format.
    content
        What its pixels are.
    axes, shape
        Of the whole.
    source
        The image that is predicted: what belongs to it belongs to the result.
    classes
        Of the model.
    """

    path: Path
    form: io.Format | vectors.Form
    content: Content
    axes: str
    shape: tuple[int, ...]
    source: Image
    classes: Classes

    @property
    def is_filled(self) -> bool:
        """Whether the format can be written part by part."""
        return isinstance(self.form, io.Format) and self.form.filling is not None

    def image(self, data: Sliceable) -> Image:
        """The result of these pixels, with the place and the pixel size of its source."""
        return Image(
            data,
            self.axes,
            self.source.spacing,
            self.source.unit,
            frame=self.source.frame,
            channel_names=self.classes.names if "c" in self.axes else (),
            source=self.source.source,
        )

    def blank(self, kind: type[np.generic]) -> Image:
        """The form of the result, before there are pixels."""
        return self.image(Blank(self.shape, np.dtype(kind)))

    def check(self) -> None:
        """Pass where the format can hold it; raises what the format's own `check` does."""
        if isinstance(self.form, io.Format) and self.form.check is not None:
            self.form.check(self.blank(np.uint8), self.content)

    def manner(self) -> dict[str, Any]:
        """What `overtile.io` is told of the content."""
        if self.content == "classes" and self.classes.overlap:  # a channel of 0 and 1 for each
            return {"legend": None, "content": "image"}
        legend = self.classes.legend if self.content == "classes" else None
        return {"legend": legend, "content": self.content}

    def write(self, data: Sliceable, *, overwrite: bool, overviews: bool) -> None:
        """Write all pixels at once."""
        image = self.image(data)
        if isinstance(self.form, vectors.Form):
            legend = self.classes.legend
            vectors.write(
                self.path, image, content=self.content, legend=legend, overwrite=overwrite
            )
        else:
            io.write(self.path, image, overwrite=overwrite, overviews=overviews, **self.manner())


@dataclass(frozen=True)
class Blank:
    """The shape and type of what is to come."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return np.asarray(np.broadcast_to(np.zeros((), self.dtype), self.shape)[key])
