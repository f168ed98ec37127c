"""The OpenVINO engine: a converted network on Intel's and AMD's processors, without PyTorch."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from overtile.engines import Engine
from overtile.errors import ModelError, optional
from overtile.machine import kept_signal_stack
from overtile.settings import Precision

if TYPE_CHECKING:
    from torch import nn

FILES = ("network.xml", "network.bin")
_HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoEngine(Engine):
    """Runs a compiled network on the processor; calls from several threads wait for each other.

    Parameters
    ----------
    compile_network
        Gives the network compiled for windows of any size and so many threads.
    threads
        To compute with.

    Attributes
    ----------
    precision
        What it computes in: float32 where the processor has no bfloat16, whatever was asked for.
    """

    name = "openvino"

    def __init__(self, compile_network: Callable[[], Any], threads: int) -> None:
        self.threads = threads
        self._compile = compile_network
        self._compiled = compile_network()
        used = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.precision: Precision = "bfloat16" if used == "bf16" else "float32"
        self._one_at_a_time = threading.Lock()

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (b k *out) float32 of windows (b c *space) float32.

        Raises
        ------
        MemoryError
            There is not enough for windows of this size.
        """
        with self._one_at_a_time:
            request: Any = None
            try:
                if self._compiled is None:
                    self._compiled = self._compile()
                request = self._compiled.create_infer_request()
                # Its `infer` would lose errors where it computes with one thread.
                request.start_async([np.ascontiguousarray(windows)], share_inputs=True)
                request.wait()
            except RuntimeError as error:
                # It would go on from where it failed, and give wrong shapes.
                request = self._compiled = None
                if "alloc" not in str(error):
                    raise
                raise MemoryError(_reason(error)) from error
            logits: NDArray[np.float32] = request.get_output_tensor(0).data.copy()
            return logits


def convert(network: nn.Module, folder: Path) -> None:
    """Write a network as ``network.xml`` and ``network.bin`` into a folder, in float32.

    Parameters
    ----------
    network
        It is left as it is.
    folder
        An existing one; the files are replaced where they exist.

    Raises
    ------
    MissingError
        The extra ``openvino`` is not installed.
    """
    library = _library()
    decoding = optional("openvino.frontend.pytorch.fx_decoder", "openvino")
    from overtile.engines.tracing import quiet, trace

    traced = trace(network)
    frontend = library.frontend.FrontEndManager().load_by_framework("pytorch")
    with quiet():
        decoder = decoding.TorchFXPythonDecoder.from_exported_program(traced)
        graph = frontend.load(decoder)  # which does not keep the decoder alive, but needs it
        model = frontend.convert(graph)
    known: Any = network
    model.reshape([-1, known.settings.channels, *[-1] * known.settings.dimensions])
    library.save_model(model, folder / FILES[0], compress_to_fp16=False)


def load(folder: Path, precision: Precision, threads: int) -> OpenVinoEngine:
    """The engine that runs the converted network of a folder.

    Parameters
    ----------
    folder
        With what `convert` wrote.
    precision
        Of the arithmetic; where the processor has no bfloat16 it is float32.
    threads
        To compute with, 1 or more.

    Raises
    ------
    MissingError
        The extra ``openvino`` is not installed.
    ModelError
        A file is missing or damaged.
    """
    library = _library()
    for name in FILES:
        if not (folder / name).is_file():
            raise ModelError(
                f"{folder} has no {name}: convert the model for the engine openvino first."
            )
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # Pinned, the threads of all processes on a machine would share the first cores.
        "ENABLE_CPU_PINNING": False,
        # What is compiled for a shape of windows is not kept for later: some MB for each of them,
        # against a millisecond when the shape changes.
        "CPU_RUNTIME_CACHE_CAPACITY": 0,
    }
    core = library.Core()
    try:
        model = core.read_model(folder / FILES[0])
        return OpenVinoEngine(partial(_compiled, core, model, settings), threads)
    except RuntimeError as error:
        raise ModelError(
            f"{folder / FILES[0]} is not a network that OpenVINO {library.__version__} can run "
            f"({_reason(error)}): convert the model again."
        ) from error


def _compiled(core: Any, model: Any, settings: dict[str, object]) -> Any:
    with kept_signal_stack():
        return core.compile_model(model, "CPU", settings)


def _library() -> ModuleType:
    """OpenVINO without its telemetry.

    Merely importing it would report that to its maker. It does without where the package that
    sends the reports is missing, and so it is made to miss it.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return optional("openvino", "openvino")


def _reason(error: RuntimeError) -> str:
    """The last line: those before tell where in the library's source it was raised."""
    return str(error).strip().splitlines()[-1]
