"""The engine is what was asked for, or the fastest that gives the model's stored result."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import overtile
from overtile import engines
from overtile import model as storage
from overtile.engines import choice as choices
from overtile.engines.choice import choose_engine, convert, home, runnable
from overtile.engines.cost import Cost
from overtile.errors import MissingError, ModelError, OutputError, SettingsError, optional
from overtile.image import Image
from overtile.sample import draw_sample

IMAGE = draw_sample(4, 0, (100, 90))[0]


@pytest.fixture(scope="module")
def converted(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with a network for every engine."""
    pytest.importorskip("openvino", reason="pip install 'overtile[openvino]'")
    pytest.importorskip("onnxscript", reason="pip install 'overtile[onnx]'")
    folder = tmp_path_factory.mktemp("converted") / "cells.model"
    shutil.copytree(model_folder, folder)
    for name in ("openvino", "onnx"):
        made = convert(storage.load(folder), folder, name)  # type: ignore[arg-type]
        assert made.engine.name == name
    return folder


def test_every_engine_gives_the_same(converted: Path) -> None:
    expected = overtile.load(converted, engine="torch", precision="float32").probabilities(IMAGE)
    for name in ("openvino", "onnx"):
        model = overtile.load(converted, engine=name, precision="float32")  # type: ignore[arg-type]
        assert model.predictor.engine.name == name
        assert np.abs(model.probabilities(IMAGE) - expected).max() < 1e-4
        tiled = model.probabilities(IMAGE, tile_px=32)
        assert np.abs(tiled - model.probabilities(IMAGE)).max() < 1e-5


def test_auto_takes_the_fastest(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {"torch": 3.0, "openvino": 2.0, "onnx": 1.0}
    monkeypatch.setattr(choices, "cost_of", lambda engine, _: Cost(speeds[engine.name], 0, 0, 0, 0))
    chosen = choose_engine(storage.load(converted), converted, precision="float32")
    assert chosen.engine.name == "onnx"
    assert chosen.reasons[-1] == (
        "onnx is the fastest here: 1.05 Mpx/s, against torch 0.35 Mpx/s, openvino 0.52 Mpx/s."
    )


def test_the_real_measurement_ends(converted: Path) -> None:
    chosen = choose_engine(storage.load(converted), converted)
    assert chosen.cost is not None
    assert "fastest here" in chosen.reasons[-1]


def test_bfloat16_needs_the_same_classes(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overtile.machine.has_bfloat16", lambda: True)
    model = storage.load(model_folder)
    chosen = choose_engine(model, model_folder)
    assert "of the test window the same class" in chosen.reasons[0]
    monkeypatch.setattr(choices, "SAME_CLASS", 1.1)
    refused = choose_engine(model, model_folder)
    assert refused.engine.precision == "float32"
    assert "below 99.9 %" in refused.reasons[0]
    assert choose_engine(model, model_folder, precision="bfloat16").engine.precision == "bfloat16"
    monkeypatch.setattr("overtile.machine.has_bfloat16", lambda: False)
    assert "no native bfloat16" in choose_engine(model, model_folder).reasons[0]


def test_a_converted_network_belongs_to_its_model(converted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cells.model"
    shutil.copytree(converted, folder)
    with pytest.raises(OutputError, match=r"openvino exists already.*--overwrite"):
        convert(storage.load(folder), folder, "openvino")
    (home(folder, "openvino") / "network.bin").write_bytes(b"1")
    with pytest.raises(ModelError, match=r"damaged: network\.bin.*convert it again"):
        overtile.load(folder, engine="openvino")
    convert(storage.load(folder), folder, "openvino", overwrite=True)
    overtile.load(folder, engine="openvino")
    manifest = folder / "model.yaml"
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(ModelError, match="converted from another state of the model"):
        overtile.load(folder, engine="openvino")


def test_what_cannot_be_is_said(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = storage.load(model_folder)
    with pytest.raises(ModelError, match="holds no network for the engine onnx"):
        choose_engine(model, model_folder, "onnx")
    with pytest.raises(SettingsError, match="runs in PyTorch as it is"):
        convert(model, model_folder, "torch")
    with pytest.raises(MissingError, match=r"'nonesuch', which is not installed.*overtile\[zarr\]"):
        optional("nonesuch", "zarr")
    real = importlib.util.find_spec
    monkeypatch.setattr(choices, "find_spec", lambda n: None if n == "torch" else real(n))
    assert runnable(model_folder) == []
    with pytest.raises(MissingError, match=r"PyTorch is not installed.*--engine openvino"):
        choose_engine(model, model_folder)


def test_a_wrong_conversion_is_not_kept(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="pip install 'overtile[openvino]'")
    folder = tmp_path / "cells.model"
    shutil.copytree(model_folder, folder)

    class Wrong(engines.FunctionEngine):
        name = "openvino"

    class Module:
        @staticmethod
        def convert(_: Any, place: Path) -> None:
            (place / "network.xml").touch()

        @staticmethod
        def load(*_: Any) -> Wrong:
            return Wrong(lambda windows: np.concatenate([windows, windows], axis=1))

    monkeypatch.setattr(choices, "_module", lambda _: Module)
    with pytest.raises(ModelError, match=r"stored test result.*engine openvino \(logits differ by"):
        convert(storage.load(folder), folder, "openvino")
    assert not home(folder, "openvino").exists()


ABSENT = ("torch", "functorch", "lightning", "pytorch_lightning", "matplotlib", "jinja2", "onnx-")


def test_a_converted_model_predicts_without_torch(converted: Path, tmp_path: Path) -> None:
    """In the command line, where PyTorch and what else runtime.txt leaves out is not installed."""
    from overtile import io

    packages = tmp_path / "packages"
    packages.mkdir()
    for path in Path(np.__file__).parents[1].iterdir():
        if not path.name.startswith(ABSENT):
            (packages / path.name).symlink_to(path)
    source = Path(overtile.__file__).parents[1]
    io.write(tmp_path / "a.tif", Image(IMAGE, "yx"))
    program = (
        f"import sys; sys.path += [{str(source)!r}, {str(packages)!r}]\n"
        "from importlib.util import find_spec\n"
        "assert find_spec('torch') is None\n"
        "from overtile.cli import main\n"
        "main(sys.argv[1:])"
    )
    predict = ["predict", converted, tmp_path / "a.tif", "-o", tmp_path / "o.tif", "--explain"]
    # Isolated, and without the installed packages.
    command = [sys.executable, "-I", "-S", "-c", program, *map(str, predict)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "fastest here" in done.stdout
    assert io.open(tmp_path / "o.tif").data.shape == IMAGE.shape
    refused = [*command[:5], "predict", *map(str, predict[1:4]), str(tmp_path / "p.tif")]
    done = subprocess.run(
        [*refused, "--engine", "torch"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "the library 'torch', which is not installed" in done.stderr
