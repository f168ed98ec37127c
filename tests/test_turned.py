"""Flips and quarter turns in prediction: the mean by definition, and tiled equals whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import correlate
from scipy.special import expit, softmax

import overtile
from overtile import model as storage
from overtile.cli import main
from overtile.engines import Engine, FunctionEngine
from overtile.engines.assembly import turns_for
from overtile.engines.averaged import AveragedEngine
from overtile.engines.choice import cost_of
from overtile.engines.cost import measure_cost
from overtile.engines.torch import TorchEngine
from overtile.errors import OutputError, SettingsError
from overtile.file_to_file import PredictOptions
from overtile.geometry import Field
from overtile.image import Image
from overtile.networks import Network, build
from overtile.networks.torchvision import mend_torchvision
from overtile.normalise import Normalisation
from overtile.sample import draw_sample
from overtile.settings import (
    NETWORK_SETTINGS,
    Activation,
    AugmentSettings,
    Settings,
    UNetSettings,
    from_yaml,
)
from overtile.symmetry import turns
from overtile.tiler import Tiler
from overtile.tiles import Border

CPU = torch.device("cpu")
SHOWN = [AugmentSettings()]

NETWORKS: dict[str, dict[str, Any]] = {
    "unet valid": {"padding": "valid", "depth": 2, "base_channels": 3},
    "unet same": {"padding": "same", "depth": 2, "base_channels": 3, "norm": "batch"},
    "unet bilinear": {"padding": "valid", "depth": 2, "base_channels": 2, "up": "bilinear"},
    "unet nearest": {"padding": "same", "depth": 2, "base_channels": 2, "up": "nearest"},
    "unet unpool": {"padding": "same", "depth": 2, "base_channels": 2, "up": "unpool"},
    "unet oblong": {
        "padding": "same", "depth": 2, "base_channels": 3, "strides": ((1, 2), (2, 2)),
    },
    "unet3d flat": {"padding": "same", "depth": 1, "base_channels": 2, "strides": ((1, 2, 2),)},
    "unet3d valid": {"padding": "valid", "depth": 1, "base_channels": 2},
    "unetpp": {"depth": 2, "base_channels": 3, "norm": "batch", "classes": 3},
    "fcn": {"stride": 8, "base_channels": 2, "fc_channels": 6, "dropout": 0},
    "patchnet": {"base_channels": 4, "fc_channels": 5},
    "ternausnet": {"base_channels": 2, "encoder_weights": "none"},
    "encoder-unet": {"encoder": "test_resnet", "base_channels": 2, "encoder_weights": "none"},
}  # fmt: skip
"""Every network, and of the U-Net what changes its field."""


@pytest.fixture(params=NETWORKS, scope="module")
def network(request: pytest.FixtureRequest) -> Network:
    name, *_ = request.param.split()
    if name == "encoder-unet":
        mend_torchvision()
        pytest.importorskip("timm")
    made = build(NETWORK_SETTINGS[name](**NETWORKS[request.param]), seed=1)
    with torch.no_grad():  # what begins at zero, on purpose, would give every pixel the same
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator()))
    return made.eval()


def turned(engine: Engine, fields: tuple[Field, ...], activation: Activation = "softmax") -> Engine:
    return AveragedEngine([engine], turns_for(fields, SHOWN), activation)


def tiler(engine: Engine, fields: tuple[Field, ...], border: Border, channels: int = 1) -> Tiler:
    plain = Normalisation((0.0,) * channels, (1.0,) * channels)
    return Tiler(engine, fields, border=border, normalisation=plain, activation="softmax")


def image_of(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("border", ["mirror", "own"])
def test_tiled_is_whole(network: Network, border: Border) -> None:
    """For every kind of network, at both borders; sizes lie between those of the grid."""
    chosen, fields = network.settings, network.fields
    if border == "own" and chosen.padding == "valid":
        pytest.skip("a valid network has no border of its own; the settings refuse it")
    engine = turned(TorchEngine(network, CPU, "float32"), fields)
    *_, y, x = fields
    assert engine.turns == 2 ** (chosen.dimensions) * (1 + (y == x))
    run = tiler(engine, fields, border)
    sides = [field.grid + max(field.grid, 4) // 2 + axis for axis, field in enumerate(fields)]
    image = image_of(1, *sides)
    whole = run.predict(image, None, "probabilities")
    assert np.allclose(whole.sum(axis=0), 1, atol=1e-5)
    steps = [max(field.grid, 4) for field in fields]
    got = run.predict(image, steps, "probabilities")
    assert np.abs(got - whole).max() <= 1e-5
    sure = np.diff(np.sort(whole, axis=0)[-2:], axis=0)[0] > 1e-4
    classes = run.predict(image, steps, "classes")
    assert np.array_equal(classes[sure], whole.argmax(axis=0)[sure])
    plain = tiler(TorchEngine(network, CPU, "float32"), fields, border)
    assert np.abs(plain.predict(image, None, "probabilities") - whole).max() > 1e-6


class Phased(FunctionEngine):
    """Weighs what lies around a pixel, unevenly, and by where the pixel lies on the grid.

    That is the most that a field allows a network to do.
    """

    def __init__(self, fields: tuple[Field, ...]) -> None:
        super().__init__(self._weigh)
        random = np.random.default_rng(0)
        self.fields = fields
        self.kernel = random.normal(size=[2 * field.margin + 1 for field in fields])
        self.phases = random.uniform(0.5, 2, size=[field.grid for field in fields])

    def _weigh(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        sizes = windows.shape[2:]
        assert all(field.is_valid(n) for field, n in zip(self.fields, sizes, strict=True))
        seen = correlate(windows[0, 0].astype(float), self.kernel, mode="constant")
        where = [np.arange(n) % field.grid for field, n in zip(self.fields, sizes, strict=True)]
        seen *= self.phases[np.ix_(*where)]
        if self.fields[0].padding == "valid":
            seen = seen[
                tuple(
                    slice(f.margin, n - f.margin) for f, n in zip(self.fields, sizes, strict=True)
                )
            ]
        return np.stack([seen, -seen, 0 * seen])[None].astype(np.float32)


@given(
    st.tuples(st.integers(1, 5), st.integers(0, 7), st.integers(0, 4)),
    st.tuples(st.integers(1, 5), st.integers(0, 7), st.integers(0, 4)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from([("valid", "mirror"), ("same", "mirror"), ("same", "own")]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_field_is_exact(
    along_y: tuple[int, int, int],
    along_x: tuple[int, int, int],
    shape: tuple[int, int],
    cells: tuple[int, int],
    kind: tuple[Any, Border],
    alike: bool,
) -> None:
    """Whatever grid, margin, remainder, image and tile."""
    padding, border = kind
    fields = tuple(
        Field(padding, grid, margin, left % grid if padding == "valid" else None)
        for grid, margin, left in (along_y, along_y if alike else along_x)
    )
    run = tiler(turned(Phased(fields), fields), fields, border)
    image = image_of(1, *shape)
    whole = run.predict(image, None, "probabilities")
    steps = [field.grid * count for field, count in zip(fields, cells, strict=True)]
    assert np.allclose(run.predict(image, steps, "probabilities"), whole, atol=1e-5)


def by_definition(plain: Tiler, image: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean over numpy's flips and quarter turns of the image itself."""
    results = []
    for times in range(4):
        for flip in (False, True):
            seen = np.rot90(image, times, (1, 2))
            seen = seen[..., ::-1] if flip else seen
            made = plain.predict(np.ascontiguousarray(seen), None, "probabilities")
            made = made[..., ::-1] if flip else made
            results.append(np.rot90(made, -times, (1, 2)))
    return np.mean(np.asarray(results, np.float64), axis=0)


@pytest.mark.parametrize("kind", ["own", "mirror"])
def test_it_is_the_mean_of_turned_images(kind: Border) -> None:
    """Where the grid divides the image, a turned window is the turned image's own."""
    network = build(UNetSettings(padding="same", depth=2, base_channels=3, dropout=0), 3).eval()
    engine, fields = TorchEngine(network, CPU, "float32"), network.fields
    image = image_of(1, 24, 40)
    expected = by_definition(tiler(engine, fields, kind), image)
    got = tiler(turned(engine, fields), fields, kind).predict(image, 16, "probabilities")
    assert np.allclose(got, expected, atol=1e-5)


def test_a_symmetric_function_stays_as_it_is() -> None:
    """The mean over turns of what does not depend on them is that."""
    engine = FunctionEngine(lambda windows: np.concatenate([windows, -windows], axis=1))
    fields = (Field("same", 1, 0),) * 2
    image = image_of(1, 13, 17)
    plain, averaged = (tiler(e, fields, "own") for e in (engine, turned(engine, fields)))
    expected = plain.predict(image, None, "probabilities")
    assert np.allclose(averaged.predict(image, 5, "probabilities"), expected, atol=1e-6)


@given(
    st.sampled_from(["softmax", "sigmoid"]),
    st.integers(1, 4),
    st.integers(1, 4),
    st.floats(0.1, 300),
)
@settings(max_examples=60, deadline=None)
def test_logits_are_those_of_the_mean(
    activation: Activation, engines: int, classes: int, scale: float
) -> None:
    """Also where probabilities are 0 and 1 in float32: finite, and to rounding."""
    random = np.random.default_rng(engines * classes)
    logits = (random.normal(size=(engines, 1, classes, 4, 6)) * scale).astype(np.float32)
    made = [FunctionEngine(lambda _, one=one: one) for one in logits]
    averaged = AveragedEngine(made, turns(2)[:1], activation)
    likely = (
        softmax(logits.astype(float), axis=2)
        if activation == "softmax"
        else expit(logits.astype(float))
    )
    mean = likely.mean(axis=0)
    got = averaged(np.zeros((1, 1, 4, 6), np.float32))
    assert np.isfinite(got).all()
    assert got.dtype == np.float32
    back = softmax(got, axis=1) if activation == "softmax" else expit(got)
    assert np.allclose(back, mean, atol=1e-6)
    chosen = averaged.classes(np.zeros((1, 1, 4, 6), np.float32))
    taken = np.take_along_axis(mean, chosen[:, None].astype(int), axis=1)[:, 0]
    assert np.allclose(taken, mean.max(axis=1), atol=1e-6)


def test_windows_of_a_batch_stay_apart() -> None:
    network = build(UNetSettings(padding="same", depth=1, base_channels=2, dropout=0), 3).eval()
    engine = turned(TorchEngine(network, CPU, "float32"), network.fields)
    windows = image_of(3, 1, 8, 12)
    each = np.concatenate([engine(window[None]) for window in windows])
    assert np.allclose(engine(windows), each, atol=1e-5)
    assert np.array_equal(engine.classes(engine.load(windows)), engine.classes(windows))


def test_no_class_where_a_logit_is_not_a_number() -> None:
    engine = FunctionEngine(lambda windows: np.concatenate([windows, windows], axis=1))
    for activation in ("softmax", "sigmoid"):
        averaged = AveragedEngine([engine], turns(2), activation)  # type: ignore[arg-type]
        windows = np.zeros((1, 1, 3, 3), np.float32)
        windows[0, 0, 1, 1] = np.nan
        assert np.array_equal(np.isnan(averaged(windows)[0, 0]), np.isnan(windows[0, 0]))


class TestWhich:
    """Only what training showed the network, and what its field allows."""

    def test_by_training(self) -> None:
        fields = (Field("same", 4, 22),) * 2
        flips, rotations = (AugmentSettings(flip=f, rotate=not f) for f in (True, False))
        assert len(turns_for(fields, [flips])) == 4
        assert len(turns_for(fields, [rotations])) == 4
        assert len(turns_for(fields, SHOWN)) == 8
        assert len(turns_for((Field("same", 2, 22), *fields), SHOWN)) == 16
        with pytest.raises(
            SettingsError, match=r"trained without them \(augment.flip, augment.rot"
        ):
            turns_for(fields, [AugmentSettings(flip=False, rotate=False)])
        with pytest.raises(SettingsError, match="trained without them"):
            turns_for(fields, [flips, rotations])

    def test_by_field(self) -> None:
        fields = (Field("same", 4, 22), Field("same", 8, 22))
        assert len(turns_for(fields, SHOWN)) == 4
        assert len(turns_for(fields, [AugmentSettings(flip=False)])) == 2

    @pytest.mark.parametrize(
        "augment",
        ["flip: false, rotate: false", "flip: false, directed: x", "directed: yx"],
    )
    def test_settings_that_clash(self, augment: str) -> None:
        text = f"turns: true\naugment: {{{augment}}}"
        with pytest.raises(SettingsError, match=r"augment\.directed leave none: change one"):
            from_yaml(Settings, text, "settings.yaml")
        assert from_yaml(Settings, f"augment: {{{augment}}}", "settings.yaml").turns is False

    @pytest.mark.parametrize("augment", ["flip: false", "rotate: false", "directed: y"])
    def test_settings_that_leave_some(self, augment: str) -> None:
        text = f"turns: true\naugment: {{{augment}}}"
        assert from_yaml(Settings, text, "settings.yaml").turns


class Counted(FunctionEngine):
    """Counts the pixels that it is given."""

    def __init__(self) -> None:
        super().__init__(lambda windows: np.concatenate([windows, -windows], axis=1))
        self.pixels = 0

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        self.pixels += windows[0, 0].size
        return super().__call__(windows)


def test_cost_is_that_of_all_turns(model_folder: Path) -> None:
    """It is measured through the engine, and not taken for that of the plain one."""
    fields = (Field("same", 4, 22),) * 2
    pixels = []
    for wrap in (lambda engine, _: engine, turned):
        counted = Counted()
        measure_cost(wrap(counted, fields), fields, 1)
        pixels.append(counted.pixels)
    assert pixels[1] == 8 * pixels[0]
    plain, all_turns = (overtile.load(model_folder, turns=choice) for choice in (False, True))
    cost = cost_of(plain.predictor.engine, plain.model)
    assert cost_of(all_turns.predictor.engine, plain.model) != cost
    assert cost_of(plain.predictor.engine, plain.model) == cost


class TestDoors:
    """The library, the files and the command line."""

    image = draw_sample(3, 0, (70, 90))[0]

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        overtile.io.write(tmp_path / "image.tif", Image(self.image, "yx"))
        return tmp_path / "image.tif"

    def test_objects_and_all(self, model_folder: Path) -> None:
        made = overtile.load(model_folder, turns=True)
        assert any("computed 8 times, flipped and turned" in reason for reason in made.reasons)
        whole = made.probabilities(self.image)
        assert np.allclose(made.probabilities(self.image, tile_px=16), whole, atol=1e-5)
        assert np.array_equal(made.predict(self.image, tile_px=24), whole.argmax(axis=0))
        assert np.array_equal(made.objects(self.image, tile_px=24), made.objects(self.image))

    def test_files(self, model_folder: Path, source: Path) -> None:
        made = overtile.load(model_folder, turns=True, precision="float32")
        output = source.with_name("out.npy")
        made.predict_file(source, output, PredictOptions("probabilities", tile_px=32))
        assert np.allclose(np.load(output), made.probabilities(self.image), atol=1e-5)

    def test_a_run_goes_on_as_it_was_begun(
        self, model_folder: Path, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        output = source.with_name("out.tif")
        made = overtile.load(model_folder, turns=True)
        options = PredictOptions("probabilities", tile_px=32)
        run = made.prepare_file(source, output, options)
        compute, left = Tiler.compute, iter(range(3))

        def stopping(self: Tiler, *given: Any) -> NDArray[Any]:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return compute(self, *given)

        with monkeypatch.context() as patched:
            patched.setattr(Tiler, "compute", stopping)
            with pytest.raises(KeyboardInterrupt):
                run.run()
        again = PredictOptions("probabilities", tile_px=32, resume=True)
        with pytest.raises(OutputError, match="was begun with turns 8, and this is 1"):
            overtile.load(model_folder).prepare_file(source, output, again)
        arguments = ["predict", model_folder, source, "-o", output, "--probabilities", "--resume"]
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments), "--tile", "32"])
        assert not ended.value.code
        got = np.asarray(overtile.io.open(output).data[()])
        assert np.allclose(got, made.probabilities(self.image), atol=1e-5)

    def test_the_command_line(
        self, model_folder: Path, source: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output = source.with_name("out.npy")
        arguments = ["predict", model_folder, source, "-o", output, "--probabilities", "--turns"]
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments), "--explain"])
        assert not ended.value.code
        assert "computed 8 times" in capsys.readouterr().out
        expected = overtile.load(model_folder, turns=True).probabilities(self.image)
        assert np.allclose(np.load(output), expected, atol=1e-5)

    def test_a_model_may_say_so(
        self,
        model_folder: Path,
        source: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        model = storage.load(model_folder)
        assert overtile.load(model_folder).predictor.engine.turns == 1
        chosen = model.settings.model_copy(update={"turns": True})
        storage.save(replace(model, settings=chosen), tmp_path / "m")
        assert overtile.load(tmp_path / "m").predictor.engine.turns == 8
        assert overtile.load(tmp_path / "m", turns=False).predictor.engine.turns == 1
        for asked in ([], ["--turns"], ["--no-turns"]):
            output = tmp_path / f"{'x'.join(asked)}.npy"
            with pytest.raises(SystemExit) as ended:
                main(["predict", str(tmp_path / "m"), str(source), "-o", str(output), *asked])
            assert not ended.value.code
            said = "--no-turns computes 1/8 as much" in capsys.readouterr().err
            assert said == (not asked)
