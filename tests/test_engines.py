"""Every engine gives the logits of PyTorch, of windows of any size, and runs without PyTorch."""

from __future__ import annotations

import copy
import logging
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from torch import nn

from overtile.engines import most_probable, tracing
from overtile.engines.onnx import OnnxEngine
from overtile.engines.openvino import OpenVinoEngine
from overtile.errors import MissingError, ModelError, SettingsError
from overtile.geometry import Fields, mirror_indices
from overtile.networks import build
from overtile.settings import UNetSettings
from overtile.tiles import cut

LIBRARIES = {"onnx": ("onnxruntime", "onnxscript"), "openvino": ("openvino",)}
FILES = {"onnx": ("network.onnx",), "openvino": ("network.xml", "network.bin")}

KINDS = {
    "valid": UNetSettings(depth=2, base_channels=3),
    "same": UNetSettings(
        padding="same", depth=2, base_channels=4, channels=3, classes=5, norm="batch"
    ),
    "3-D": UNetSettings(
        dimensions=3, depth=1, base_channels=2, kernel_size=2, classes=1, norm="batch-renorm"
    ),
}
traced = cache(tracing.trace)
SMALL = UNetSettings(padding="same", depth=1, base_channels=2, norm="batch")


@pytest.fixture(scope="module", autouse=True)
def no_trace() -> Iterator[None]:
    """PyTorch's log of its tracing, which pytest would keep, takes longer than the tracing."""
    logger, refuse = logging.getLogger("torch.__trace"), lambda _: False
    logger.addFilter(refuse)
    yield
    logger.removeFilter(refuse)


def module_of(name: str) -> ModuleType:
    missing = [library for library in LIBRARIES[name] if find_spec(library) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} is not installed: pip install 'overtile[{name}]'")
    return import_module(f"overtile.engines.{name}")


@pytest.fixture(params=list(LIBRARIES))
def module(request: pytest.FixtureRequest) -> ModuleType:
    return module_of(request.param)


@cache
def network_of(kind: str) -> nn.Module:
    """With norms that have seen something, so that they do something."""
    network = build(KINDS[kind], 1)
    sides = [network.fields[0].good_size(24)] * KINDS[kind].dimensions
    with torch.no_grad():
        network(torch.randn(2, KINDS[kind].channels, *sides) + 1)
    return network.eval()


@pytest.fixture(scope="module", params=[(n, k) for n in LIBRARIES for k in KINDS], ids="-".join)
def converted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[nn.Module, Any]:
    """A network, and the engine that runs it, by way of a folder with an odd name."""
    name, kind = request.param
    module, network = module_of(name), network_of(kind)
    folder = tmp_path_factory.mktemp("engine") / "a b'ü 日本;%s.model"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "trace", traced)  # once for both engines
        module.convert(network, folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES[name])
    return network, module.load(folder, "float32", 1)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a small converted network, one for each engine."""
    folders: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            module_of(name).convert(build(SMALL, 0), folders[name])
        return folders[name]

    return folder_of


def name_of(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def windows_of(network: Any, batch: int, steps: tuple[int, ...]) -> NDArray[np.float32]:
    """Random windows, each side so many steps of the grid above the smallest that fits."""
    chosen, fields = network.settings, network.fields
    along = zip(steps, fields, strict=False)
    sides = [field.smallest + step * field.grid for step, field in along]
    shape = (batch, chosen.channels, *sides)
    return np.random.default_rng(batch).normal(size=shape).astype(np.float32)


def test_logits_are_pytorchs(converted: tuple[nn.Module, Any]) -> None:
    network, engine = converted
    assert engine.precision == "float32"
    assert engine.threads == 1
    for batch, steps in [(1, (0, 0, 0)), (1, (3, 1, 0)), (3, (2, 5, 1)), (2, (7, 7, 2))]:
        windows = windows_of(network, batch, steps)
        with torch.no_grad():
            expected = network(torch.from_numpy(windows)).numpy()
        got = engine(windows)
        assert got.dtype == np.float32
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()


def run_tiled(engine: Any, fields: Fields, image: NDArray[np.float32], tile_px: int | None) -> Any:
    parts = []
    border = "mirror" if fields[0].padding == "valid" else "own"
    for tile in cut(image.shape[1:], fields, tile_px, border):
        source = [
            mirror_indices(start, stop, size)
            for (start, stop), size in zip(tile.read, image.shape[1:], strict=True)
        ]
        window = image[(slice(None), *np.ix_(*source))]
        parts.append((tile.write, engine(window[None])[0][(slice(None), *tile.crop)]))
    result = np.full((len(parts[0][1]), *image.shape[1:]), np.nan, np.float32)
    for write, logits in parts:
        result[(slice(None), *write)] = logits
    return result


def test_tiled_is_whole(converted: tuple[nn.Module, Any]) -> None:
    """Not to the bit: the libraries choose the order of a sum by the size of the window."""
    network, engine = converted
    chosen: Any = network.settings
    shape = (53, 70) if chosen.dimensions == 2 else (9, 12, 21)
    image = np.random.default_rng(0).normal(size=(chosen.channels, *shape)).astype(np.float32)
    fields: Any = network.fields
    whole = run_tiled(engine, fields, image, None)
    for tile_px in (8, 20):
        tiled = run_tiled(engine, fields, image, tile_px)
        assert np.abs(tiled - whole).max() <= 1e-5 * max(1, np.abs(whole).max()), tile_px


def test_results_stay_when_the_engine_goes_on(converted: tuple[nn.Module, Any]) -> None:
    network, engine = converted
    windows = windows_of(network, 1, (1, 1, 1))
    first = engine(windows)
    kept = first.copy()
    engine(-windows)
    assert np.array_equal(first, kept)


def test_views_are_windows_too(converted: tuple[nn.Module, Any]) -> None:
    network, engine = converted
    windows = windows_of(network, 1, (1, 2, 1))
    turned = np.swapaxes(windows, -1, -2)
    read_only = windows.copy()
    read_only.flags.writeable = False
    assert np.array_equal(engine(turned), engine(turned.copy()))
    assert np.array_equal(engine(read_only), engine(windows))


def test_several_threads_may_call(converted: tuple[nn.Module, Any]) -> None:
    network, engine = converted
    windows = [windows_of(network, 1 + number % 2, (number, 1, 1)) for number in range(4)]
    expected = [engine(each) for each in windows]
    wrong: list[int] = []

    def work(start: int) -> None:
        for number in range(start, start + 12):
            got, want = engine(windows[number % 4]), expected[number % 4]
            if got.shape != want.shape or not np.allclose(got, want, atol=1e-4):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_converting_changes_nothing_and_says_nothing(
    module: ModuleType,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = build(SMALL, 3)
    before = copy.deepcopy(network.state_dict())
    network.train()
    module.convert(network, tmp_path)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"site-packages" not in written  # a converted model tells nothing of its maker's machine
    assert str(Path(__file__).parents[1]).encode() not in written


APART = """
import os, sys
from pathlib import Path

asked = []
sys.addaudithook(lambda event, _: asked.append(event) if event.startswith("socket.") else None)

import numpy as np
from importlib import import_module
from importlib.metadata import packages_distributions

name, folder = sys.argv[1:]
engine = import_module(f"overtile.engines.{name}").load(Path(folder), "float32", 1)
small = np.random.default_rng(0).normal(size=(1, 1, 32, 48)).astype(np.float32)
logits = engine(small)
if sys.platform == "linux":
    import psutil, resource
    large = np.zeros((1, 1, 2048, 2048), np.float32)
    allowed = psutil.Process().memory_info().vms + 2**25
    resource.setrlimit(resource.RLIMIT_AS, (allowed, -1))
    try:
        engine(large)
    except MemoryError:
        print("too large")
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    assert engine(large).shape == (1, 2, 2048, 2048)
    assert np.array_equal(engine(small), logits)
print("torch" in sys.modules, asked, list(Path.home().iterdir()))
"""


def test_runs_without_torch_and_network_and_says_when_memory_ends(
    module: ModuleType, small: Callable[[str], Path], tmp_path: Path
) -> None:
    """In a process of its own: no PyTorch, no socket, nothing left at home; failing, it goes on."""
    name = name_of(module)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", APART, name, str(small(name))],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    told = ["too large"] if sys.platform == "linux" else []
    assert done.stdout.splitlines() == [*told, "False [] []"], done.stderr
    assert not done.stderr


CONVERT = """
import sys
asked = []
sys.addaudithook(lambda event, _: asked.append(event) if event.startswith("socket.") else None)
from pathlib import Path
from overtile.engines import openvino
from overtile.networks import build
from overtile.settings import UNetSettings

settings = UNetSettings(padding="same", depth=1, base_channels=1)
openvino.convert(build(settings, 0), Path(sys.argv[1]))
print(asked, list(Path.home().iterdir()), "onnx" in sys.modules)
"""


def test_openvino_reports_nothing_to_its_maker(tmp_path: Path) -> None:
    module_of("openvino")
    home, folder = tmp_path / "home", tmp_path / "model"
    home.mkdir()
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, str(folder)],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[] [] False", done.stderr


def trained() -> tuple[Any, NDArray[np.float32]]:
    """A network that tells smooth blobs from their background, and an image it has not seen."""
    draw = torch.Generator().manual_seed(0)

    def blobs(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        coarse = torch.randn(count, 1, 8, 8, generator=draw)
        smooth = nn.functional.interpolate(coarse, scale_factor=8, mode="bicubic")
        target = (smooth > 0).long()[:, 0]
        return target[:, None] + 0.7 * torch.randn(smooth.shape, generator=draw), target

    network = build(UNetSettings(padding="same", depth=2, base_channels=8, norm="batch"), 0)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(40):
        images, target = blobs(2)
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images), target).backward()
        optimiser.step()
    images, target = blobs(8)
    network.eval()
    with torch.no_grad():
        right = (network(images).argmax(dim=1) == target).double().mean()
    assert right > 0.9
    return network, images.numpy()


def test_bfloat16_gives_the_classes_of_float32(tmp_path: Path) -> None:
    module = module_of("openvino")
    network, images = trained()
    module.convert(network, tmp_path)
    engine = module.load(tmp_path, "bfloat16", 1)
    if engine.precision == "float32":
        pytest.skip("OpenVINO finds no bfloat16 on this processor")
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    got = engine(images)
    assert not np.allclose(got, expected, rtol=1e-4)  # it is another arithmetic
    assert (got.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.99


def test_bfloat16_is_not_for_onnx(tmp_path: Path) -> None:
    module = import_module("overtile.engines.onnx")
    with pytest.raises(SettingsError, match=r"float32 .* not in bfloat16: use .* openvino"):
        module.load(tmp_path, "bfloat16", 1)


def test_missing_files_are_named(
    module: ModuleType, small: Callable[[str], Path], tmp_path: Path
) -> None:
    name = name_of(module)
    for file in FILES[name]:
        with pytest.raises(ModelError, match=rf"has no {file}: convert the model for .* {name}"):
            module.load(tmp_path, "float32", 1)
        (tmp_path / file).write_bytes((small(name) / file).read_bytes())
    module.load(tmp_path, "float32", 1)


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda _: b""])
def test_damaged_files_are_refused(
    module: ModuleType,
    small: Callable[[str], Path],
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
) -> None:
    name = name_of(module)
    for damaged in FILES[name]:
        for file in FILES[name]:
            content = (small(name) / file).read_bytes()
            (tmp_path / file).write_bytes(damage(content) if file == damaged else content)
        with pytest.raises(ModelError, match=r"is not a network that .* can run .*again"):
            module.load(tmp_path, "float32", 1)


@pytest.mark.parametrize(
    ("name", "library"), [("onnx", "onnxruntime"), ("onnx", "onnxscript"), ("openvino", "openvino")]
)
def test_a_missing_library_is_named(
    name: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    module = import_module(f"overtile.engines.{name}")
    with pytest.raises(MissingError, match=rf"'{library}'.*overtile\[{name}\]"):
        if library == "onnxscript":
            module.convert(build(SMALL, 0), tmp_path)
        else:
            module.load(tmp_path, "float32", 1)


class Failing:
    """A session, and a compiled network, that raise what the libraries do."""

    def __init__(self, words: str) -> None:
        self.words = words

    def get_property(self, _: str) -> Any:
        return self

    def get_type_name(self) -> str:
        return "bf16"

    def run(self, *_: object) -> None:
        raise RuntimeError(self.words)

    create_infer_request = run


@pytest.mark.parametrize("kind", [OnnxEngine, OpenVinoEngine])
def test_too_little_memory_is_a_memory_error(kind: Any) -> None:
    """And nothing else is; after either, OpenVINO's network is compiled anew."""
    made: list[str] = []

    def make(words: str) -> Failing:
        made.append(words)
        return Failing(words)

    windows = np.zeros((1, 1, 8, 8), np.float32)
    for words, error in [
        ("In line 7:\nFailed to allocate 8 bytes", MemoryError),
        ("Got 2 channels, expected 1", RuntimeError),
    ]:
        engine = kind(make(words) if kind is OnnxEngine else lambda words=words: make(words), 1)
        made.clear()
        for _ in range(2):
            with pytest.raises(error, match=r"line 7|8 bytes|2 channels"):
                engine(windows)
        assert made == ([] if kind is OnnxEngine else [words])


numbers = st.sampled_from([-np.inf, -1.5, 0.0, 2.0, 3.0, np.inf])


@given(
    arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=4), elements=numbers),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_most_probable_is_argmax(logits: NDArray[np.float32], broken: bool) -> None:
    if broken:
        logits[np.random.default_rng(logits.size).random(logits.shape) < 0.2] = np.nan
    got = most_probable(logits)
    assert got.dtype == np.uint8
    assert np.array_equal(got, logits.argmax(axis=0))


def test_most_probable_of_nothing() -> None:
    assert most_probable(np.zeros((3, 0, 4), np.float32)).shape == (0, 4)


def test_the_runtime_needs_what_the_project_says_and_no_torch() -> None:
    root = Path(__file__).parents[1]
    lines = (root / "runtime.txt").read_text().splitlines()
    runtime = {line for line in lines if not line.startswith("#")}
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert runtime <= {*project["dependencies"], *project["optional-dependencies"]["openvino"]}
    names = {line.partition(">")[0] for line in runtime}
    assert not names & {"torch", "lightning", "matplotlib", "jinja2"}


def test_the_runtime_has_what_prediction_imports() -> None:
    root = Path(__file__).parents[1]
    program = (
        "import sys, overtile.cli.predicting; print(*{n.partition('.')[0] for n in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    of_module = packages_distributions()
    loaded = {name for module in done.stdout.split() for name in of_module.get(module, ())}
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    direct = {re.split("[>=<]", line)[0].lower() for line in project["dependencies"]}
    runtime = {
        re.split("[>=<]", line)[0] for line in (root / "runtime.txt").read_text().splitlines()
    }
    assert {name.lower() for name in loaded} & direct <= runtime


@pytest.mark.skipif(sys.platform != "linux", reason="the stack is that of Linux")
def test_signals_keep_their_stack(tmp_path: Path) -> None:
    """OpenVINO leaves one behind that it frees with the network, after which Ctrl-C would crash."""
    module_of("openvino").convert(build(SMALL).eval(), tmp_path)
    program = """
import ctypes, signal, sys
from pathlib import Path
from overtile.engines.openvino import load
from overtile.machine import _SignalStack

def stack():
    now = _SignalStack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(now)) == 0
    return now.flags & 2, now.place

before = stack()
engine = load(Path(sys.argv[1]), "bfloat16", 1)
print(stack()[0] == 2 or stack() == before)
signal.signal(signal.SIGINT, lambda *_: print("heard"))
signal.raise_signal(signal.SIGINT)
"""
    for more in ([], ["-X", "faulthandler"]):
        done = subprocess.run(
            [sys.executable, *more, "-c", program, str(tmp_path)], capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, "True\nheard\n"), done.stderr
