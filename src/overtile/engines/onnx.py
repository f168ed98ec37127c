"""The ONNX Runtime engine: a network as one ONNX file, run without PyTorch, in float32."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from overtile.engines import Engine
from overtile.errors import ModelError, SettingsError, optional
from overtile.settings import Precision

if TYPE_CHECKING:
    from torch import nn

FILE = "network.onnx"
WINDOWS, LOGITS = "windows", "logits"
"""What the network's input and output are called in the file."""


class OnnxEngine(Engine):
    """Runs an ONNX session on the processor; several threads may call it at once.

    A call from another thread computes beside the others with memory of its own, on the same pool
    of `threads` threads.
    """

    name = "onnx"
    precision: Precision = "float32"

    def __init__(self, session: Any, threads: int) -> None:
        self.threads = threads
        self._session = session

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (b k *out) float32 of windows (b c *space) float32.

        Raises
        ------
        MemoryError
            There is not enough for windows of this size.
        """
        logits: NDArray[np.float32]
        try:
            (logits,) = self._session.run([LOGITS], {WINDOWS: windows})
        except Exception as error:  # the library's own errors have no other common root
            if "alloc" not in str(error):
                raise
            raise MemoryError(str(error).splitlines()[0]) from error
        return logits


def convert(network: nn.Module, folder: Path) -> None:
    """Write a network as ``network.onnx`` into a folder, for any batch and size that fits.

    Parameters
    ----------
    network
        It is left as it is.
    folder
        An existing one; the file is replaced where it exists.

    Raises
    ------
    MissingError
        The extra ``onnx`` is not installed.
    """
    optional("onnxscript", "onnx")
    import torch

    from overtile.engines.tracing import quiet, trace

    traced = trace(network)
    with quiet():
        program = torch.onnx.export(
            traced,
            dynamo=True,
            verbose=False,
            input_names=[WINDOWS],
            output_names=[LOGITS],
        )
    assert program is not None
    for node in program.model.graph:  # where each came from: source lines and paths of this machine
        node.metadata_props.clear()
        node.doc_string = None
    program.save(folder / FILE, external_data=False)


def load(folder: Path, precision: Precision, threads: int) -> OnnxEngine:
    """The engine that runs the converted network of a folder.

    Parameters
    ----------
    folder
        With what `convert` wrote.
    precision
        ``float32``.
    threads
        To compute with, 1 or more.

    Raises
    ------
    MissingError
        The extra ``onnx`` is not installed.
    ModelError
        The file is missing or damaged.
    SettingsError
        A precision that this engine does not have.
    """
    if precision != "float32":
        raise SettingsError(
            f"ONNX Runtime computes in float32 on a processor, not in {precision}: use precision "
            "float32, or the engine openvino or torch, which have both."
        )
    runtime = _library()
    path = folder / FILE
    if not path.is_file():
        raise ModelError(f"{folder} has no {FILE}: convert the model for the engine onnx first.")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # only what ends the process; all else is raised
    # A pattern is a plan of the memory for one shape of windows, which is kept.
    options.enable_mem_pattern = False
    try:
        # The bytes, because a path may hold what the library cannot read.
        session = runtime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        first = str(error).partition("\n")[0]
        raise ModelError(
            f"{path} is not a network that ONNX Runtime {runtime.__version__} can run ({first}): "
            "convert the model again."
        ) from error
    return OnnxEngine(session, threads)


def _library() -> ModuleType:
    """ONNX Runtime without its telemetry.

    Merely importing it would leave an identifier in the user's home and report to its maker.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return optional("onnxruntime", "onnx")
