"""Which engine computes, in which precision: checked against the model, then the fastest measured.

The networks that `overtile convert` writes lie in the model's folder::

    membrane.model/engines/openvino/
      converted.yaml           of which model, by which version, and the checksums of the rest
      network.xml, ...         as the library wants them

Those of a pruned model lie beside them, in ``engines/openvino-level-2/``.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

import overtile.model as storage
from overtile.engines import Engine
from overtile.engines.cost import Cost, known_cost
from overtile.errors import MissingError, ModelError, OutputError, SettingsError, optional
from overtile.machine import default_threads, describe_processor, has_bfloat16
from overtile.model import Model
from overtile.settings import Frozen, Precision, from_yaml, to_yaml

Name = Literal["torch", "openvino", "onnx"]

LIBRARIES: dict[str, str] = {"torch": "torch", "openvino": "openvino", "onnx": "onnxruntime"}
"""Engine -> the library that it runs on. A new engine is a file and a line here."""

AGREES = 1e-3
"""How far logits on a model's test window may be from the stored ones, in parts of the largest:
other libraries, versions and processors round otherwise, a wrong parameter does not stay below."""

SAME_CLASS = 0.999
"""Share of the pixels of the test window that bfloat16 must give float32's class to be chosen."""

RECORD = "converted.yaml"


class Converted(Frozen):
    """The content of ``converted.yaml``."""

    model: str
    library: str
    checksums: dict[str, str]


@dataclass(frozen=True)
class Choice:
    """An engine, what it costs, and why it is this one.

    Attributes
    ----------
    cost
        Measured where that decided, else None.
    reasons
        Sentences.
    """

    engine: Engine
    cost: Cost | None
    reasons: tuple[str, ...]


def choose_engine(
    model: Model,
    folder: Path | None,
    name: Name | Literal["auto"] = "auto",
    precision: Precision | Literal["auto"] = "auto",
    threads: int | None = None,
) -> Choice:
    """The engine that is asked for, or the fastest of those that can run the model here.

    Parameters
    ----------
    model, folder
        And where it lies, if it does; only there are converted networks found.
    name
        ``auto``: PyTorch where it is installed, and every engine that the model was converted to
        and whose library is installed; if there are several, each is timed once.
    precision
        ``auto``: bfloat16 where the device multiplies it natively and gives the same class as
        float32 to 99.9 % of the pixels of the test window, else float32.
    threads
        By default the cores of this process.

    Raises
    ------
    MissingError
        A library that is asked for is not installed, or none is.
    ModelError
        The model was not converted to this engine, or does not give its stored test result.
    """
    names = [name] if name != "auto" else runnable(folder, model.pruned)
    if not names:
        raise MissingError(
            "PyTorch is not installed, and the model holds no network converted for a library that "
            f"is: convert it where PyTorch is ({_command('openvino', model.pruned)})."
        )
    choices = [_checked(model, folder, each, precision, threads) for each in names]
    if name == "auto" and model.pruned is not None:
        left = tuple(
            _left_out(each, model.pruned) for each in runnable(folder) if each not in names
        )
        choices = [replace(choice, reasons=(*left, *choice.reasons)) for choice in choices]
    if len(choices) == 1:
        return choices[0]
    timed = [(cost_of(choice.engine, model), choice) for choice in choices]
    cost, best = min(timed, key=lambda pair: pair[0].seconds(1, 2**20))
    others = ", ".join(f"{c.engine.name} {_rate(k)}" for k, c in timed if c is not best)
    why = f"{best.engine.name} is the fastest here: {_rate(cost)}, against {others}."
    return Choice(best.engine, cost, (*best.reasons, why))


def _left_out(name: Name, level: int) -> str:
    return (
        f"{name} was left out: it holds the whole network, not that of level {level}, which "
        f"'{_command(name, level)}' makes."
    )


def runnable(folder: Path | None, pruned: int | None = None) -> list[Name]:
    """The engines that can run a model here, as a whole or pruned to a level."""
    names: list[Name] = ["torch"] if find_spec("torch") else []
    converted: tuple[Name, ...] = ("openvino", "onnx")
    for name in converted:
        if folder is not None and (home(folder, name, pruned) / RECORD).is_file():
            names += [name] if find_spec(LIBRARIES[name]) else []
    return names


def open_engine(
    model: Model, folder: Path | None, name: str, precision: Precision, threads: int | None
) -> Engine:
    """An engine, just as it is asked for.

    Raises
    ------
    MissingError, ModelError
        As `choose_engine`.
    """
    if name == "torch":
        optional("torch", "torch")
        from overtile.engines.torch import TorchEngine, network_of

        return TorchEngine(network_of(model), precision=precision, threads=threads)
    place = None if folder is None else home(folder, name, model.pruned)
    if folder is None or place is None or not (place / RECORD).is_file():
        level = "" if model.pruned is None else f" and the level {model.pruned}"
        raise ModelError(
            f"The model holds no network for the engine {name}{level}: make one with "
            f"'{_command(name, model.pruned)}'."
        )
    _check_converted(place, _command(name, model.pruned), storage.identity(folder))
    engine: Engine = _module(name).load(place, precision, threads or default_threads())
    return engine


def _checked(
    model: Model,
    folder: Path | None,
    name: Name,
    precision: Precision | Literal["auto"],
    threads: int | None,
) -> Choice:
    """An engine that gave the model's stored test result, in the precision that suits it."""
    engine = open_engine(model, folder, name, "float32", threads)
    expected = np.asarray(model.test["logits"], np.float32)
    got = engine(np.asarray(model.test["image"], np.float32))
    off = float(np.abs(got - expected).max())
    if not off <= AGREES * max(1.0, float(np.abs(expected).max())):
        raise ModelError(
            f"The model does not give its stored test result on this machine with the engine "
            f"{name} (logits differ by {off:.2g}): its parameters or settings were changed after "
            "training, or the engine computes wrongly."
        )
    if precision == "float32":
        return Choice(engine, None, ("float32, as asked for.",))
    if precision == "auto" and not _has_native_bfloat16(engine):
        why = f"float32: the engine {name} has no native bfloat16 on this machine."
        return Choice(engine, None, (why,))
    low = open_engine(model, folder, name, "bfloat16", threads)
    if precision == "bfloat16":
        return Choice(low, None, ("bfloat16, as asked for.",))
    same = float((low.classes(model.test["image"]) == expected.argmax(axis=1)).mean())
    if same < SAME_CLASS:
        why = f"float32: bfloat16 gives {same:.2%} of the test window the same class, below 99.9 %."
        return Choice(engine, None, (why,))
    why = f"bfloat16: it gives {same:.2%} of the test window the same class as float32."
    return Choice(low, None, (why,))


def _has_native_bfloat16(engine: Engine) -> bool:
    if engine.name == "torch":
        from overtile.engines.torch import best_device, native_precision

        return native_precision(best_device()) == "bfloat16"
    return engine.name == "openvino" and has_bfloat16()


def cost_of(engine: Engine, model: Model) -> Cost:
    """What a window costs, measured on this machine once for each kind of network and engine."""
    networks = [one.settings.network for one in model.members or (model,)]
    library = LIBRARIES.get(engine.name)
    key = (
        version("overtile"),
        repr(networks),
        engine.turns,
        engine.copies,
        engine.name,
        version(library) if library else "",
        engine.precision,
        engine.threads,
        describe_processor(),
    )
    return known_cost(engine, model.fields, engine.copies * networks[0].channels, key)


def convert(model: Model, folder: Path, name: Name, *, overwrite: bool = False) -> Choice:
    """Keep the network of a model in the form of another library, in the model's folder.

    Returns
    -------
    Choice
        The converted engine, which gave the model's stored test result.

    Raises
    ------
    SettingsError
        PyTorch is asked for, which a model always has.
    OutputError
        It was converted already, and `overwrite` is false.
    MissingError, ModelError
        As `choose_engine`; what does not give the test result is not kept.
    """
    if name == "torch":
        raise SettingsError("Every model runs in PyTorch as it is: convert to openvino or onnx.")
    place = home(folder, name, model.pruned)
    if place.exists() and not overwrite:
        raise OutputError(f"{place} exists already: allow it to be replaced (--overwrite).")
    from overtile.engines.torch import network_of

    place.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=place.parent) as temporary:
        fresh = Path(temporary, "new")
        fresh.mkdir()
        _module(name).convert(network_of(model), fresh)
        record = Converted(
            model=storage.identity(folder),
            library=f"{LIBRARIES[name]} {version(LIBRARIES[name])}",
            checksums={path.name: _digest(path) for path in sorted(fresh.iterdir())},
        )
        (fresh / RECORD).write_text(to_yaml(record))
        if place.exists():
            place.rename(Path(temporary, "old"))
        fresh.rename(place)
    try:
        return _checked(model, folder, name, "auto", None)
    except ModelError:
        shutil.rmtree(place)
        raise


def home(folder: Path, name: str, pruned: int | None = None) -> Path:
    """Where a converted network, whole or pruned to a level, lies in a model's folder."""
    return folder / "engines" / (name if pruned is None else f"{name}-level-{pruned}")


def _command(name: str, pruned: int | None) -> str:
    """What converts a model."""
    level = "" if pruned is None else f" --prune {pruned}"
    return f"overtile convert MODEL --engine {name}{level}"


def _check_converted(place: Path, command: str, model: str) -> None:
    again = f"convert it again: {command} --overwrite"
    record = from_yaml(Converted, (place / RECORD).read_text(), str(place / RECORD))
    if record.model != model:
        raise ModelError(f"{place} was converted from another state of the model; {again}")
    for file, digest in record.checksums.items():
        if not (place / file).is_file() or _digest(place / file) != digest:
            raise ModelError(f"{place} is damaged: {file} is not what was written; {again}")


def _module(name: str) -> Any:
    return import_module(f"overtile.engines.{name}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rate(cost: Cost) -> str:
    return f"{2**20 / 1e6 / cost.seconds(1, 2**20):.2f} Mpx/s"
