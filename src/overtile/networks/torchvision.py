"""A torchvision that was built for another PyTorch, made to be imported all the same."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import torch

UNDEFINED = "operator torchvision::nms does not exist"

_kept: list[Any] = []
"""Definitions, which go when nothing holds them."""


def mend_torchvision() -> None:
    """Make torchvision importable where its compiled part does not fit PyTorch.

    On Linux pip installs the torchvision that is built for CUDA, also beside a PyTorch that is
    built for the processor alone. Its compiled part cannot be loaded there, which it passes over
    in silence; then importing it fails, because the operators that it describes are not defined,
    and with it timm and Lightning fail, which import it for what we do not use. So those two
    operators are defined here, without anything behind them, on exactly that error. Nothing is
    done where torchvision is not installed, or can be imported.

    Call it before either library is imported.
    """
    try:
        import_module("torchvision")
    except ModuleNotFoundError:
        return
    except RuntimeError as error:
        if str(error) != UNDEFINED:
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)
        import_module("torchvision")
