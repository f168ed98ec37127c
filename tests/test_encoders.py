"""Encoders that others have trained: their parameters land where they belong, or are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from overtile import networks
from overtile.engines.tracing import trace
from overtile.errors import MissingError, ModelError, SettingsError
from overtile.networks import TernausNet
from overtile.networks.torchvision import mend_torchvision
from overtile.networks.weights import adapted, read
from overtile.optimiser import make_optimiser
from overtile.settings import OptimiserSettings, TernausNetSettings

NARROW = {"base_channels": 4, "encoder_weights": "none"}

# Parameters of torchvision's whole networks (its documentation), less those of their classifiers.
CLASSIFIER = (25088 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
PUBLISHED = {"vgg11": 132_863_336 - CLASSIFIER, "vgg16": 138_357_544 - CLASSIFIER}


def vgg(base: int = 4, classes: int = 5) -> dict[str, Tensor]:
    """A state dict as torchvision's vgg11 has one: its layers by number, and three of the rest."""
    channels = [base * n for n in (1, 2, 4, 4, 8, 8, 8, 8)]
    state = {}
    for place, before, after in zip(
        [0, 3, 6, 8, 11, 13, 16, 18], [3, *channels], channels, strict=False
    ):
        state[f"features.{place}.weight"] = torch.randn(after, before, 3, 3)
        state[f"features.{place}.bias"] = torch.randn(after)
    for place, before, after in [(0, 8 * base, 6), (3, 6, 6), (6, 6, classes)]:
        state[f"classifier.{place}.weight"] = torch.randn(after, before)
        state[f"classifier.{place}.bias"] = torch.randn(after)
    return state


def saved(state: Any, folder: Path) -> str:
    torch.save(state, folder / "vgg.pth")
    return str(folder / "vgg.pth")


def started(path: str, **values: Any) -> TernausNet:
    network = TernausNet(**NARROW | {"encoder_weights": path} | values)
    network.start()
    return network


class TestTernausNet:
    def test_the_encoder_is_torchvisions(self) -> None:
        for encoder, count in PUBLISHED.items():
            with torch.device("meta"):
                network = TernausNet(encoder=encoder, channels=3)
            assert sum(value.numel() for value in network.encoder.parameters()) == count
            convolutions = [n for n in network.encoder if isinstance(n, nn.Conv2d)]
            assert len(convolutions) == {"vgg11": 8, "vgg16": 13}[encoder]

    def test_the_decoder_is_the_papers(self) -> None:
        """Figure 1: what enters and leaves each convolution of the way up."""
        with torch.device("meta"):
            network = TernausNet(channels=3, classes=1)
        merged = [(layer.in_channels, layer.out_channels) for layer in network.merge]
        raised = [(layer.in_channels, layer.out_channels) for layer in network.up]
        assert merged == [(512, 512), (768, 512), (768, 512), (384, 256), (192, 128)]
        assert raised == [(512, 256), (512, 256), (512, 128), (256, 64), (128, 32)]
        assert (network.last.in_channels, network.last.out_channels) == (96, 32)
        count = sum(9 * before * after + after for before, after in [*merged, *raised, (96, 32)])
        total = sum(value.numel() for value in network.parameters())
        assert total == PUBLISHED["vgg11"] + count + 32 + 1

    def test_parameters_land_key_by_key(self, tmp_path: Path) -> None:
        state = vgg()
        network = started(saved(state, tmp_path), channels=3)
        for name, value in network.encoder.state_dict().items():
            assert torch.equal(value, state[f"features.{name}"])
        image = expected = torch.randn(1, 3, 64, 96)
        for name in (0, "pool", 3, "pool", 6, 8, "pool", 11, 13, "pool", 16, 18, "pool"):
            if name == "pool":
                expected = nn.functional.max_pool2d(expected, 2)
                continue
            weight, bias = (state[f"features.{name}.{part}"] for part in ("weight", "bias"))
            expected = nn.functional.conv2d(expected, weight, bias, padding=1).relu()
        assert torch.allclose(network.encoder(image), expected, rtol=1e-5)

    @pytest.mark.parametrize(("encoder", "plan"), [("vgg11", "A"), ("vgg16", "D")])
    def test_features_are_torchvisions(self, encoder: str, plan: str, tmp_path: Path) -> None:
        mend_torchvision()
        models = pytest.importorskip("torchvision.models.vgg")
        features = models.make_layers(models.cfgs[plan]).eval()
        state = {f"features.{name}": value for name, value in features.state_dict().items()}
        path = saved(state, tmp_path)
        network = TernausNet(encoder=encoder, encoder_weights=path, channels=3)
        network.start()
        image = torch.randn(1, 3, 64, 32)
        with torch.no_grad():
            assert torch.allclose(network.encoder(image), features(image), atol=1e-6)

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda state: {"state_dict": state, "epoch": 3},
            lambda state: {f"module.{name}": value for name, value in state.items()},
            lambda state: {n: v for n, v in state.items() if n.startswith("features")},
        ],
        ids=["wrapped", "parallel", "without classifier"],
    )
    def test_other_forms_of_a_file(self, wrap: Any, tmp_path: Path) -> None:
        state = vgg()
        network = started(saved(wrap(state), tmp_path), channels=3)
        assert torch.equal(network.encoder[18].bias, state["features.18.bias"])

    def test_only_training_reads(self) -> None:
        settings = TernausNetSettings(encoder_weights="not-there.pth")
        assert networks.build(settings).settings.encoder_weights == "not-there.pth"

    def test_no_pretrained_encoder_is_narrow(self) -> None:
        with pytest.raises(SettingsError, match="base_channels 8 fits no pretrained encoder"):
            TernausNet(base_channels=8)


class TestFirstLayer:
    @pytest.mark.parametrize("copies", [1, 3, 6])
    def test_a_gray_image_gives_what_its_copies_give(self, copies: int) -> None:
        kernel, gray = torch.randn(5, 3, 3, 3), torch.randn(2, 1, 9, 8)
        ours = adapted(kernel, torch.zeros(5, copies, 3, 3))
        expected = nn.functional.conv2d(gray.expand(-1, 3, -1, -1), kernel)
        made = nn.functional.conv2d(gray.expand(-1, copies, -1, -1), ours)
        assert torch.allclose(made, expected, atol=1e-5)

    def test_colours_come_in_turn(self) -> None:
        kernel = torch.randn(5, 3, 3, 3)
        ours = adapted(kernel, torch.zeros(5, 4, 3, 3))
        assert torch.allclose(ours[:, [0, 1, 2, 3]], kernel[:, [0, 1, 2, 0]] * 0.75)

    def test_other_layers_stay(self) -> None:
        for shape in [(5, 3, 3, 3), (5, 6, 3, 3), (4, 1, 3, 3)]:
            kernel = torch.randn(shape)
            assert adapted(kernel, torch.zeros(5, 3, 3, 3)) is kernel

    def test_normalisation_of_the_pretraining(self) -> None:
        """Issue: ImageNet's mean and deviation, as torchvision documents them, in 8 bits."""
        known = TernausNet(channels=4, encoder_weights="x.pth").normalisation
        assert known is not None
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        assert known.mean == pytest.approx([255 * value for value in (*mean, mean[0])])
        assert known.std == pytest.approx([255 * value for value in (*std, std[0])])
        gray = TernausNet(encoder_weights="x.pth").normalisation
        assert gray is not None
        assert gray.mean == pytest.approx([np.mean(mean) * 255])
        assert TernausNet(encoder_weights="none").normalisation is None


class TestRefused:
    def test_wrong_shapes_and_missing_keys(self, tmp_path: Path) -> None:
        state = vgg()
        state["features.3.bias"] = torch.zeros(7)
        del state["features.6.weight"]
        with pytest.raises(ModelError) as caught:
            started(saved(state, tmp_path), channels=3)
        told = str(caught.value)
        assert (
            "vgg.pth does not fit vgg11: 3.bias is 7 and should be 8; 6.weight 16x8x3x3 is missi"
            in told
        )
        assert "give its own file" in told

    def test_another_network(self, tmp_path: Path) -> None:
        state = vgg()
        with pytest.raises(ModelError, match=r"not fit vgg16: 2\.weight 4x4x3x3 is missing.*more"):
            started(saved(state, tmp_path), encoder="vgg16", channels=3)
        with pytest.raises(ModelError, match=r"and 12 more\. Expected all 16 parameters"):
            started(saved(state, tmp_path), base_channels=2)
        state["features.21.bias"] = torch.zeros(4)
        with pytest.raises(ModelError, match=r"vgg11: 21\.bias 4 is not in the encoder"):
            started(saved(state, tmp_path), channels=3)

    @pytest.mark.parametrize(
        ("content", "holds"),
        [
            ({"epoch": 3, "best": 0.5}, "holds the keys epoch, best, and no tensors by name"),
            ([1, 2], "holds a list"),
            (Path("x"), r"holds no parameters \("),
        ],
    )
    def test_other_contents(self, content: Any, holds: str, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=holds):
            read(Path(saved(content, tmp_path)))

    @pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
    def test_no_weights_file(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_text("These are not the parameters that you are looking for.")
        with pytest.raises(ModelError, match=r"holds no parameters.*expected \.safetensors, or a"):
            read(tmp_path / name)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"there is no file .*nowhere\.pt: expected 'pre"):
            started(str(tmp_path / "nowhere.pt"))


class TestDownload:
    def test_offline(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise URLError("no network")

        monkeypatch.setattr(torch.hub, "urlopen", refuse)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        with pytest.raises(MissingError) as caught:
            TernausNet().start()
        for part in (
            f"not in {tmp_path}/hub/checkpoints",
            "https://download.pytorch.org/models/vgg11-8a719046.pth cannot be reached",
            "--encoder-weights PATH",
            "--encoder-weights none",
        ):
            assert part in str(caught.value)

    def test_the_cache_is_enough(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
        state = vgg(64)
        torch.save(state, tmp_path / "hub" / "checkpoints" / "vgg11-8a719046.pth")
        network = TernausNet()
        network.start()
        first = state["features.0.weight"].sum(dim=1, keepdim=True)
        assert torch.equal(network.encoder[0].weight, first)


class TestRate:
    def test_a_share_of_the_others(self) -> None:
        network = TernausNet(**NARROW, encoder_rate=0.1)
        optimiser = make_optimiser(network.rated(), OptimiserSettings(learning_rate=0.5))
        rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
        encoder = {id(value) for value in network.encoder.parameters()}
        for value in network.parameters():
            assert rates.pop(id(value)) == pytest.approx(0.05 if id(value) in encoder else 0.5)
        assert not rates

    def test_frozen(self) -> None:
        network = TernausNet(**NARROW, encoder_rate=0)
        optimiser = make_optimiser(network.rated(), OptimiserSettings())
        before = {name: value.clone() for name, value in network.state_dict().items()}
        network.train()
        network(torch.randn(1, 1, 32, 32)).square().mean().backward()
        optimiser.step()
        for name, value in network.state_dict().items():
            assert torch.equal(value, before[name]) == name.startswith("encoder.")


class TestMainJob:
    def test_trace(self) -> None:
        network = TernausNet(**NARROW).eval()
        image = torch.randn(1, 1, 64, 96)
        assert torch.equal(trace(network).module()(image), network(image))
