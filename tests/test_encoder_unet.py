"""Encoders of timm: their maps are timm's own, key by key, and the main job is done with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from test_timm import SMALL, saved

import overtile
from overtile.cli import main
from overtile.errors import ModelError
from overtile.io import open as open_image
from overtile.networks import EncoderUNet, fields_of
from overtile.settings import (
    EncoderUNetSettings,
    NetworkSettings,
    OptimiserSettings,
    Settings,
    TernausNetSettings,
    WindowSettings,
)
from overtile.tileable import breakers, inspect

GATED = "test_efficientnet"
"""Of timm's networks for tests the one with squeeze-and-excitation."""


def started(name: str, path: str, **values: Any) -> EncoderUNet:
    network = EncoderUNet(encoder=name, base_channels=2, encoder_weights=path, **values)
    network.start()
    return network.eval()


class TestFiles:
    @pytest.mark.parametrize("name", ["resnet18", SMALL, "test_convnext", "test_mambaout"])
    def test_maps_are_timms_own(self, name: str, tmp_path: Path) -> None:
        """Those of the whole model, from which timm collects them in another way."""
        model, path = saved(name, tmp_path)
        network = started(name, path, channels=3)
        image = torch.randn(1, 3, 64, 96)
        with torch.no_grad():
            maps = network.encoder(image)
            expected = model.forward_intermediates(image, intermediates_only=True)
        if network.channels_last:
            maps = [each.permute(0, 3, 1, 2) for each in maps]
        for made, wanted in zip(maps, expected[-len(maps) :], strict=True):
            assert torch.allclose(made, wanted, atol=1e-6, rtol=1e-6)

    def test_a_resnet_lands_key_by_key(self, tmp_path: Path) -> None:
        model, path = saved("resnet18", tmp_path)
        given = model.state_dict()
        made = started("resnet18", path, channels=3).encoder.state_dict()
        assert {name for name in given if name not in made} == {"fc.weight", "fc.bias"}
        for name, value in made.items():
            assert torch.equal(value, given[name]) or name.endswith("num_batches_tracked")

    def test_a_gray_image_gives_what_its_copies_give(self, tmp_path: Path) -> None:
        model, path = saved(SMALL, tmp_path)
        gray = torch.randn(1, 1, 64, 64)
        with torch.no_grad():
            made = started(SMALL, path).encoder(gray)[-1]
            expected = model.forward_intermediates(gray.repeat(1, 3, 1, 1), intermediates_only=True)
        assert torch.allclose(made, expected[-1], atol=1e-5)

    def test_a_file_of_a_deeper_encoder_is_refused(self, tmp_path: Path) -> None:
        _, path = saved("resnet34", tmp_path)
        with pytest.raises(ModelError, match=r"resnet18: layer1\.2\.bn1.* not in the enc.*more"):
            started("resnet18", path)
        with pytest.raises(ModelError, match=r"does not fit resnet50: .*is missing"):
            started("resnet50", path)


class TestShapes:
    def test_a_level_at_full_resolution(self) -> None:
        """VGG has its own; ResNet begins at a stride of 2, ConvNeXt of 4."""
        for name, strides in [("vgg11_bn", None), (SMALL, 2), ("test_convnext", 4)]:
            network = EncoderUNet(encoder=name, base_channels=2, encoder_weights="none").eval()
            assert (network.full is None) == (strides is None)
            assert network.up[-1].stride == ((strides or 2,) * 2)
            assert network(torch.zeros(1, 1, 64, 32)).shape == (1, 2, 64, 32)

    def test_margin_of_a_resnet(self) -> None:
        """The encoder sees 217 px (its receptive field is known to be 435 px); the decoder adds
        to that two convolutions of 3x3 on each level, which are 2 px times the level's stride."""
        (field, _) = fields_of(EncoderUNetSettings(encoder="resnet18"))
        decoder = sum(2 * stride for stride in (1, 2, 4, 8, 16))
        assert field.grid == 32
        assert 217 + decoder <= field.margin <= 217 + decoder + 32

    def test_what_is_not_exact(self) -> None:
        network = EncoderUNet(encoder=GATED, base_channels=2, encoder_weights="none")
        assert not network.is_exact
        named = [breaker.layer for breaker in breakers(network, 1)]
        assert named
        assert all(layer.startswith("encoder.blocks.") and ".se" in layer for layer in named)
        assert [field.margin for field in network.fields] == [64, 64]
        assert inspect(network, 1).breakers


def settings_of(network: NetworkSettings, **optimiser: Any) -> Settings:
    return Settings(
        network=network,
        window=WindowSettings(size_px=64, batch_size=2),
        optimiser=OptimiserSettings(learning_rate=1e-3, **optimiser),
        border="own",
        precision="float32",
        layout="contiguous",
    )


@pytest.fixture(scope="module")
def tissue(shared_data: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """A strip of a real slice and its membranes, of odd sizes."""
    strip = (0, slice(0, 45), slice(0, 509))
    image = open_image(shared_data / "isbi2012" / "train-volume.tif")
    label = open_image(shared_data / "isbi2012" / "train-labels.tif", as_label=True)
    return np.asarray(image.data[strip]), np.asarray(label.data[strip])


class TestMainJob:
    @pytest.mark.parametrize(
        "network",
        [
            TernausNetSettings(base_channels=8, encoder_weights="none"),
            EncoderUNetSettings(encoder="resnet18", encoder_weights="none", base_channels=4),
        ],
        ids=["ternausnet", "resnet18"],
    )
    def test_tiles_are_the_whole(
        self, network: NetworkSettings, tissue: Any, tmp_path: Path
    ) -> None:
        image, label = tissue
        overtile.train(image, label, steps=4, settings=settings_of(network), output=tmp_path / "m")
        model = overtile.load(tmp_path / "m", precision="float32")
        assert model.predictor.is_exact
        assert model.model.normalisation.source == "images"
        whole, tiles = model.probabilities(image), model.probabilities(image, tile_px=32)
        assert whole.shape == (2, 45, 509)
        assert np.abs(whole - tiles).max() < 1e-5
        assert whole[0].std() > 1e-4

    def test_a_frozen_encoder_stays(self, tissue: Any, tmp_path: Path) -> None:
        """Its statistics as well; all else learns, and the pretraining's normalisation is kept."""
        given, path = saved(SMALL, tmp_path)
        network = EncoderUNetSettings(
            encoder=SMALL, base_channels=4, encoder_weights=path, encoder_rate=0
        )
        model = overtile.train(*tissue, steps=3, settings=settings_of(network)).model
        first = given.state_dict()["conv1.0.weight"].sum(dim=1, keepdim=True)
        expected = given.state_dict() | {"conv1.0.weight": first}
        start = EncoderUNet(network).state_dict()
        for name, value in model.parameters.items():
            own = name.removeprefix("encoder.")
            if own != name:
                assert np.array_equal(value, expected[own].numpy()), name
            elif start[name].is_floating_point() and start[name].ndim:
                assert not np.array_equal(value, start[name].numpy()), name
        assert model.normalisation.source == "pretraining"
        assert model.normalisation.mean == (127.5,)

    def test_other_images_have_their_own_normalisation(self, tissue: Any, tmp_path: Path) -> None:
        image, label = tissue
        _, path = saved(SMALL, tmp_path)
        network = EncoderUNetSettings(encoder=SMALL, base_channels=2, encoder_weights=path)
        deep = image.astype(np.uint16) * 16
        model = overtile.train(deep, label, steps=1, settings=settings_of(network)).model
        assert model.normalisation.mean == pytest.approx([16 * image.mean()])
        assert model.normalisation.source == "images"

    def test_an_earlier_model_stands_for_the_file(self, tissue: Any, tmp_path: Path) -> None:
        given, path = saved(SMALL, tmp_path)
        network = EncoderUNetSettings(
            encoder=SMALL, base_channels=2, encoder_weights=path, encoder_rate=0
        )
        settings = settings_of(network)
        earlier = overtile.train(*tissue, steps=1, settings=settings).model
        Path(path).unlink()
        again = overtile.train(*tissue, steps=1, settings=settings, start=earlier).model
        name = "layer2.0.conv1.weight"
        assert np.array_equal(again.parameters[f"encoder.{name}"], given.state_dict()[name].numpy())

    def test_inexact_tiles_are_blended(self, tissue: Any, tmp_path: Path) -> None:
        network = EncoderUNetSettings(encoder=GATED, base_channels=4, encoder_weights="none")
        overtile.train(*tissue, steps=2, settings=settings_of(network), output=tmp_path / "m")
        image = tissue[0]
        with pytest.raises(ModelError, match=r"encoder-unet\) looks at .*--inexact.*inspect"):
            overtile.load(tmp_path / "m").predict(image)
        model = overtile.load(tmp_path / "m", inexact=True, precision="float32")
        likely = model.probabilities(image, tile_px=64)
        assert likely.shape == (2, 45, 509)
        assert np.allclose(likely.sum(axis=0), 1, atol=1e-5)


class TestCommandLine:
    def call(self, *arguments: object) -> int:
        with pytest.raises(SystemExit) as ended:
            main([str(part) for part in arguments])
        return int(ended.value.code or 0)

    def test_encoder_weights(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        data = tmp_path / "data"
        self.call("sample", data, "--count", 1, "--size", 64)
        _, path = saved(GATED, tmp_path)
        start = ("train", data / "images", data / "labels", "-o", tmp_path / "m", "--steps", 1)
        changes = [f"network.encoder={GATED}", "network.base_channels=2", "window.size_px=64"]
        options = [part for change in changes for part in ("--set", change)]
        chosen = ("--network", "encoder-unet", "--encoder-weights", path, *options)
        assert self.call(*start, *chosen) == 0
        printed = capsys.readouterr()
        said = " ".join((printed.out + printed.err).split())
        assert "Tiles of this network are not exact" in said
        assert "normalised by mean and standard deviation of the encoder's pretraining" in said
        assert overtile.load(tmp_path / "m").model.settings.network.encoder_weights == path
        assert self.call(*start, "--encoder-weights", "none", "--overwrite") == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "the network unet has no encoder that begins" in said
        assert "choose --network ternausnet or encoder-unet" in said
