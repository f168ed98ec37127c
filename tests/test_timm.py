"""The door to timm: what it publishes, which of its encoders fit, and the torchvision it needs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
import torch
from torch import nn

from overtile.errors import MissingError, SettingsError
from overtile.networks import EncoderUNet, fields_of
from overtile.networks import timm as door
from overtile.networks.torchvision import UNDEFINED, mend_torchvision
from overtile.settings import EncoderUNetSettings

mend_torchvision()
timm = pytest.importorskip("timm")

SMALL = "test_resnet"
"""Of timm's networks for tests the one of residual blocks."""


def saved(name: str, folder: Path, seed: int = 0) -> tuple[nn.Module, str]:
    """A random model of timm with statistics, and the file that timm makes of it."""
    torch.manual_seed(seed)
    model = timm.create_model(name).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    return model, str(folder / "model.safetensors")


class TestPublished:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        import huggingface_hub

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(door, "urlopen", self.refuse)
        return tmp_path

    @staticmethod
    def refuse(*_: Any, **__: Any) -> None:
        raise URLError("no network")

    def test_from_the_cache_without_a_network(self, cache: Path) -> None:
        folder = cache / "models--timm--test_resnet.r160_in1k"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("0" * 40)
        model, _ = saved(SMALL, folder / "snapshots" / ("0" * 40))
        network = EncoderUNet(encoder=SMALL, channels=3)
        network.start()
        for name, value in network.encoder.state_dict().items():
            assert torch.equal(value, model.state_dict()[name])

    def test_offline(self, cache: Path) -> None:
        with pytest.raises(MissingError) as caught:
            EncoderUNet(encoder=SMALL).start()
        for part in (
            f"not in {cache}, and https://huggingface.co/timm/test_resnet.r160_in1k/resolve/main/"
            "model.safetensors cannot be reached (no network)",
            "--encoder-weights PATH",
            "--encoder-weights none",
        ):
            assert part in str(caught.value)

    def test_any_answer_is_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def forbid(*_: Any, **__: Any) -> None:
            raise HTTPError("https://x", 403, "no", None, None)  # type: ignore[arg-type]

        def fail(*_: Any) -> None:
            raise OSError("gone")

        monkeypatch.setattr(door, "urlopen", forbid)
        monkeypatch.setattr(door, "_loaded", fail)
        with pytest.raises(MissingError, match=r"cannot be reached \(gone\)"):
            EncoderUNet(encoder=SMALL).start()

    def test_nothing_is_published(self) -> None:
        with pytest.raises(SettingsError, match="timm publishes no parameters of 'coatnet_0_224'"):
            door.published("coatnet_0_224")


class TestWhichEncoders:
    def test_an_unknown_one(self) -> None:
        with pytest.raises(SettingsError, match=r"no encoder 'resnet19'; .*resnet18.*list_models"):
            EncoderUNet(encoder="resnet19")

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("test_vit", r"gives maps of \[\(8, 9\), \(8, 9\).*smaller than the one before"),
            ("swin_tiny_patch4_window7_224", r"of an image of any size \(Input height .*resnet18"),
            ("inception_v3", r"gives maps of \[\(125, 141\)"),
        ],
    )
    def test_those_without_a_pyramid_are_refused(self, name: str, why: str) -> None:
        with pytest.raises(SettingsError, match=why):
            fields_of(EncoderUNetSettings(encoder=name))

    def test_timm_is_optional(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "timm", None)
        door.maps_of.cache_clear()
        with pytest.raises(MissingError, match=r"'timm', .*overtile\[encoders\]"):
            EncoderUNet(encoder=SMALL)


class TestTorchvision:
    """A package of that name whose compiled part is missing stands for the one of PyPI."""

    @pytest.fixture
    def broken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "torchvision").mkdir()
        return tmp_path / "torchvision" / "__init__.py"

    def test_operators_are_defined(self, broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        defined: list[str] = []

        class Library:
            def __init__(self, name: str, kind: str) -> None:
                assert (name, kind) == ("torchvision", "FRAGMENT")

            def define(self, schema: str) -> None:
                defined.append(schema.split("(")[0])

        monkeypatch.setattr(torch.library, "Library", Library)
        monkeypatch.setattr(sys, "defined", defined, raising=False)
        broken.write_text(
            f"import sys\nif 'nms' not in sys.defined:\n    raise RuntimeError({UNDEFINED!r})\n"
        )
        mend_torchvision()
        assert defined == ["nms", "qnms"]
        mend_torchvision()
        assert len(defined) == 2
        del sys.modules["torchvision"]

    def test_another_error_is_not_ours(self, broken: Path) -> None:
        broken.write_text("raise RuntimeError('out of luck')")
        with pytest.raises(RuntimeError, match="out of luck"):
            mend_torchvision()
