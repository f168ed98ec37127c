"""Overtile segments images pixel by pixel with U-Nets.

>>> import overtile
>>> model = overtile.train(images, labels, minutes=15)  # doctest: +SKIP
>>> classes = model.predict(image)  # doctest: +SKIP

Images are files or folders of any layout that is known, URLs of OME-Zarr, arrays, or an `Image`
with named axes. `layouts.pairs` shows what is recognised of a data set, `doctor.examine` what is
wrong with it; `io` opens and writes single files, and `networks` are for anyone's loop.

Public names are loaded on first use, so that ``import overtile`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overtile import doctor, io, layouts, networks
    from overtile.errors import OvertileError
    from overtile.file_to_file import PredictOptions
    from overtile.image import Image
    from overtile.jobs import compare, evaluate, plan, train
    from overtile.own_network import tiled
    from overtile.search.crossvalidation import cross_validate
    from overtile.search.ensemble import train_ensemble
    from overtile.search.tuning import tune
    from overtile.segmenter import Segmenter, load

__all__ = [
    "Image",
    "OvertileError",
    "PredictOptions",
    "Segmenter",
    "compare",
    "cross_validate",
    "doctor",
    "evaluate",
    "io",
    "layouts",
    "load",
    "networks",
    "plan",
    "tiled",
    "train",
    "train_ensemble",
    "tune",
]

_HOME = {
    "Image": "overtile.image",
    "OvertileError": "overtile.errors",
    "PredictOptions": "overtile.file_to_file",
    "Segmenter": "overtile.segmenter",
    "compare": "overtile.jobs",
    "cross_validate": "overtile.search.crossvalidation",
    "evaluate": "overtile.jobs",
    "load": "overtile.segmenter",
    "plan": "overtile.jobs",
    "tiled": "overtile.own_network",
    "train": "overtile.jobs",
    "train_ensemble": "overtile.search.ensemble",
    "tune": "overtile.search.tuning",
}


_ROOMS = ("doctor", "io", "layouts", "networks")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"overtile.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'overtile' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
