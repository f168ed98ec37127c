"""A UNet++ pruned at prediction: trained on real images, at every level through every door."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import overtile
import overtile.model as storage
from overtile import io
from overtile.cli import main
from overtile.engines import choice as choices
from overtile.engines.choice import RECORD, choose_engine, cost_of, home
from overtile.engines.torch import TorchEngine, network_of
from overtile.errors import MissingError, ModelError, OutputError, SettingsError
from overtile.executors import Job, open_work
from overtile.image import Image
from overtile.journal import Journal
from overtile.model import Model
from overtile.networks import UNetPlusPlus
from overtile.pruning import prune
from overtile.segmenter import Segmenter
from overtile.settings import Settings, UNetPlusPlusSettings, WindowSettings

DEPTH = 3
LEVELS = tuple(range(1, DEPTH + 1))
SMALL = Settings(
    network=UNetPlusPlusSettings(depth=DEPTH, base_channels=4, norm="batch"),
    window=WindowSettings(size_px=64, batch_size=2),
    border="own",
    calibrate=True,
    precision="float32",
    layout="contiguous",
)
Crop = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def crop(shared_data: Path, number: int) -> Crop:
    """A part of a slice of ISBI 2012, with its label."""
    inside = (number, slice(100, 236), slice(200, 320))
    folder = shared_data / "isbi2012"
    image, label = (
        np.asarray(io.open(folder / f"train-{name}.tif", as_label=name == "labels").data[inside])
        for name in ("volume", "labels")
    )
    return image, label


@pytest.fixture(scope="module", autouse=True)
def no_trace() -> Iterator[None]:
    """PyTorch's log of its tracing, which pytest would keep, takes longer than the tracing."""
    logger, refuse = logging.getLogger("torch.__trace"), lambda _: False
    logger.addFilter(refuse)
    yield
    logger.removeFilter(refuse)


@pytest.fixture(scope="module")
def training(shared_data: Path) -> Crop:
    return crop(shared_data, 0)


@pytest.fixture(scope="module")
def unseen(shared_data: Path) -> Crop:
    return crop(shared_data, 24)


@pytest.fixture(scope="module")
def folder(training: Crop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, hardly trained, on disk."""
    made = tmp_path_factory.mktemp("models") / "membrane.model"
    overtile.train(*training, steps=12, settings=SMALL, output=made)
    return made


@pytest.fixture
def model(folder: Path) -> Model:
    return storage.load(folder)


def loaded(folder: Path, level: int | None) -> Segmenter:
    return overtile.load(folder, engine="torch", precision="float32", prune=level)


def call(*arguments: object) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(part) for part in arguments])
    return int(ended.value.code or 0)


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_predicts_exactly_and_is_evaluated(
    folder: Path, unseen: Crop, level: int
) -> None:
    segmenter = loaded(folder, level)
    whole = segmenter.probabilities(unseen[0])
    assert whole.shape == (2, 136, 120)
    for tile_px in (16, 40):
        assert np.abs(segmenter.probabilities(unseen[0], tile_px=tile_px) - whole).max() < 1e-5
    scores = overtile.evaluate(segmenter, *unseen).mean
    error = (whole.argmax(axis=0) != (unseen[1] > 0)).mean()
    assert scores["pixel error"] == pytest.approx(error)
    assert 0 < scores["V_rand"] <= 1


def test_levels_are_smaller_and_smaller(folder: Path) -> None:
    whole = loaded(folder, None).model
    sizes, margins = [], []
    for level in LEVELS:
        model = loaded(folder, level).model
        sizes.append(sum(value.size for value in model.parameters.values()))
        margins.append(model.fields[0].margin)
        assert [field.grid for field in model.fields] == [2**level] * 2
        assert model.fields == UNetPlusPlus(depth=level, base_channels=1).fields
        assert set(model.parameters) <= set(whole.parameters)
    assert sizes == sorted(set(sizes))
    assert margins == sorted(set(margins))
    assert model.pruned is None  # the last level is the model itself
    assert model.parameters.keys() == whole.parameters.keys()


def test_a_pruned_model_is_the_pruned_network(model: Model) -> None:
    network = network_of(model)
    assert isinstance(network, UNetPlusPlus)
    for level in (1, 2):
        smaller, state = prune(model, level), network.prune(level).state_dict()
        assert smaller.parameters.keys() == state.keys()
        for name, value in smaller.parameters.items():
            assert np.array_equal(value, state[name].numpy()), name
        engine = TorchEngine(network.prune(level), precision="float32")
        assert np.allclose(engine(model.test["image"]), smaller.test["logits"], atol=1e-5)
        again = prune(prune(model, 2), level)
        assert (again.fields, again.levels) == (smaller.fields, smaller.levels)
        assert again.test.keys() == smaller.test.keys()


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_is_calibrated(folder: Path, training: Crop, level: int) -> None:
    """At the best shift, the mean probability of a class is its share of the training pixels."""
    likely = loaded(folder, level).probabilities(training[0])
    assert likely[1].mean() == pytest.approx((training[1] > 0).mean(), abs=5e-3)


def test_it_can_be_saved_as_a_model_of_its_own(folder: Path, unseen: Crop, tmp_path: Path) -> None:
    segmenter = loaded(folder, 2)
    segmenter.save(tmp_path / "two.model")
    saved = loaded(tmp_path / "two.model", None)
    assert saved.model.settings.network == SMALL.network.pruned(2)
    assert np.array_equal(saved.predict(unseen[0]), segmenter.predict(unseen[0]))
    one = loaded(tmp_path / "two.model", 1)
    assert np.array_equal(one.predict(unseen[0]), loaded(folder, 1).predict(unseen[0]))


def test_its_cost_is_its_own(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(choices, "known_cost", lambda *given: asked.append(given))
    engine = TorchEngine(network_of(model), precision="float32")
    for level in LEVELS:
        cost_of(engine, prune(model, level))
    assert len({key for *_, key in asked}) == DEPTH
    assert [fields[0].grid for _, fields, *_ in asked] == [2, 4, 8]


def test_a_worker_prunes_as_well(folder: Path, tmp_path: Path, unseen: Crop) -> None:
    np.save(tmp_path / "pixels.npy", np.zeros(unseen[0].shape, np.uint8))
    io.write(tmp_path / "a.tif", Image(unseen[0], "yx"))
    files = (folder, tmp_path / "a.tif", tmp_path / "pixels.npy")
    job = Job(*files, "torch", "float32", 1, "classes", (32, 32), pruned=1)
    assert open_work(job).tiler.fields == loaded(folder, 1).model.fields


def test_volumes_too() -> None:
    """With strides of their own along z: exact in tiles at every level."""
    random = np.random.default_rng(0)
    label = (random.random((8, 24, 20)) > 0.7).astype(np.uint8)
    volume = (label * 100 + random.integers(0, 90, label.shape)).astype(np.uint8)
    network = SMALL.network.model_copy(
        update={"dimensions": 3, "depth": 2, "strides": ((1, 2, 2), (2, 2, 2))}
    )
    chosen = SMALL.model_copy(
        update={"network": network, "window": WindowSettings(size_px=16, batch_size=1)}
    )
    model = overtile.train(volume, label, steps=2, settings=chosen).model
    for level, grids in [(1, [1, 2, 2]), (2, [2, 4, 4])]:
        segmenter = Segmenter(prune(model, level), engine="torch", precision="float32")
        assert [field.grid for field in segmenter.model.fields] == grids
        whole = segmenter.probabilities(volume)
        assert whole.shape == (2, 8, 24, 20)
        assert np.abs(segmenter.probabilities(volume, tile_px=8) - whole).max() < 1e-5


class TestCommands:
    @pytest.fixture
    def image(self, tmp_path: Path, unseen: Crop) -> Path:
        io.write(tmp_path / "a.tif", Image(unseen[0], "yx"))
        io.write(tmp_path / "label.tif", Image(unseen[1], "yx"))
        return tmp_path / "a.tif"

    @pytest.mark.parametrize("level", [1, 3])
    def test_predict(self, folder: Path, image: Path, unseen: Crop, level: int) -> None:
        target = image.with_name("o.tif")
        options = ("--prune", level, "--precision", "float32", "--tile", 32)
        assert call("predict", folder, image, "-o", target, *options) == 0
        found = np.asarray(io.open(target).data[()])
        assert np.array_equal(found, loaded(folder, level).predict(unseen[0]))

    def test_evaluate(
        self, folder: Path, image: Path, unseen: Crop, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = image.with_name("report.html")
        label = image.with_name("label.tif")
        options = ("--prune", 2, "--precision", "float32", "--report", page)
        assert call("evaluate", folder, image, label, *options) == 0
        scores = overtile.evaluate(loaded(folder, 2), *unseen).mean
        assert f"{scores['V_rand']:.4f}" in capsys.readouterr().out
        assert "unetpp, same padding, pruned to level 2" in page.read_text()

    def test_inspect(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert call("inspect", folder, "--prune", 2) == 0
        said = capsys.readouterr().out
        assert "unetpp pruned to level 2, same padding" in said
        assert "Grid 4 px, margin 22 px" in said
        assert "Exact in tiles." in said

    def test_another_level_is_another_prediction(self, folder: Path, image: Path) -> None:
        target = image.with_name("o.tif")
        run = loaded(folder, 2).prepare_file(image, target, overtile.PredictOptions())._run()
        journal = Journal(target)
        journal.begin(run)
        with pytest.raises(OutputError, match="was begun with pruned 2, and this is None"):
            journal.check_same(run.model_copy(update={"pruned": None}))
        assert call("predict", folder, image, "-o", target, "--resume", "--prune", 1) == 2

    @pytest.mark.parametrize("level", [0, 4])
    def test_no_such_level(
        self, folder: Path, image: Path, level: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        target = image.with_name("o.tif")
        for command in (
            ("predict", folder, image, "-o", target),
            ("evaluate", folder, image, image),
            ("inspect", folder),
            ("convert", folder, "--engine", "onnx"),
        ):
            assert call(*command, "--prune", level) == 2
            said = capsys.readouterr().err
            assert f"no level {level} to prune to: expected 1 (the smallest) to 3" in said
        assert not target.exists()


def test_other_networks_are_refused(model_folder: Path) -> None:
    with pytest.raises(SettingsError, match="A network unet holds no smaller one"):
        overtile.load(model_folder, prune=1)


def test_without_supervision_nothing_was_trained(training: Crop) -> None:
    alone = SMALL.network.model_copy(update={"supervision": False})
    made = overtile.train(*training, steps=1, settings=SMALL.model_copy(update={"network": alone}))
    assert set(made.model.test) == {"image", "logits"}
    with pytest.raises(SettingsError, match="Level 2 was not trained"):
        prune(made.model, 2)
    assert prune(made.model, DEPTH) is made.model


@pytest.fixture(scope="module")
def converted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first level for OpenVINO, and what looks like the whole model for it."""
    pytest.importorskip("openvino", reason="pip install 'overtile[openvino]'")
    place = tmp_path_factory.mktemp("converted") / "membrane.model"
    shutil.copytree(folder, place)
    home(place, "openvino").mkdir(parents=True)
    (home(place, "openvino") / RECORD).touch()
    assert call("convert", place, "--engine", "openvino", "--prune", 1) == 0
    assert home(place, "openvino", 1) == place / "engines" / "openvino-level-1"
    return place


class TestEngines:
    def test_a_level_is_converted_by_itself(self, converted: Path, unseen: Crop) -> None:
        segmenter = overtile.load(converted, engine="openvino", precision="float32", prune=1)
        expected = loaded(converted, 1).probabilities(unseen[0])
        assert np.abs(segmenter.probabilities(unseen[0], tile_px=32) - expected).max() < 1e-4

    def test_that_of_the_whole_is_left_out_and_it_is_said(self, converted: Path) -> None:
        command = r"overtile convert MODEL --engine openvino --prune 2"
        left_out = overtile.load(converted, precision="float32", prune=2)
        assert left_out.predictor.engine.name == "torch"
        assert "openvino was left out: it holds the whole network" in left_out.reasons[0]
        assert command in left_out.reasons[0]
        with pytest.raises(ModelError, match=f"engine openvino and the level 2: make.*{command}"):
            overtile.load(converted, engine="openvino", prune=2)

    def test_without_torch_and_conversion(
        self, converted: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(choices, "find_spec", lambda name: name != "torch" and find_spec(name))
        model = storage.load(converted)
        chosen = choose_engine(prune(model, 1), converted, precision="float32")
        assert chosen.engine.name == "openvino"
        with pytest.raises(MissingError, match=r"engine openvino --prune 2"):
            choose_engine(prune(model, 2), converted)
