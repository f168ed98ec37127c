"""Training that starts from an earlier model, and networks chosen by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import overtile
from overtile import model as storage
from overtile import presets
from overtile.cli import main
from overtile.errors import ModelError, SettingsError
from overtile.image import Image
from overtile.networks import build
from overtile.sample import draw_sample
from overtile.settings import Settings, UNetSettings, WindowSettings
from overtile.training.transfer import start_from

IMAGE, CELLS = draw_sample(1, 0, (96, 80))
SMALL = Settings(
    network=UNetSettings(padding="same", depth=2, base_channels=4, norm="batch", dropout=0),
    window=WindowSettings(size_px=32, batch_size=2),
    border="own",
    precision="float32",
    layout="channels_last",
)


def state(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in network.state_dict().items()}


class TestWhatIsReused:
    def test_all_of_the_same_network(self) -> None:
        earlier, network = build(SMALL.network, 1), build(SMALL.network, 2)
        reuse = start_from(network, state(earlier), "cells.model")
        for name, value in earlier.state_dict().items():
            assert torch.equal(network.state_dict()[name], value)
        assert (reuse.new, reuse.share) == ((), 1.0)
        assert str(reuse).startswith("From cells.model: ")

    def test_other_channels_and_classes_begin_anew(self) -> None:
        earlier = build(SMALL.network, 1)
        chosen = SMALL.network.model_copy(update={"channels": 3, "classes": 5})
        network, random = build(chosen, 2), build(chosen, 2)
        reuse = start_from(network, state(earlier), "cells.model")
        new = {"down.0.conv1.weight", "head.weight", "head.bias"}
        assert {name.split()[0] for name in reuse.new} == new
        assert "head.bias (2 there, 5 here)" in str(reuse)
        for name, value in network.state_dict().items():
            expected = random if name in new else earlier
            assert torch.equal(value, expected.state_dict()[name]), name
        counted = sum(v.numel() for n, v in network.state_dict().items() if n not in new)
        assert reuse.share == counted / sum(v.numel() for v in network.state_dict().values())

    def test_a_deeper_network_takes_what_fits(self) -> None:
        deeper = build(SMALL.network.model_copy(update={"depth": 3}), 2)
        reuse = start_from(deeper, state(build(SMALL.network, 1)), "cells.model")
        assert "down.2.conv2.weight" in reuse.reused
        assert "down.3.conv1.weight" in reuse.new
        assert " more" in str(reuse)

    def test_nothing_that_fits_is_refused(self) -> None:
        wider = build(SMALL.network.model_copy(update={"base_channels": 5}))
        with pytest.raises(SettingsError, match=r"No weight of x fits .*5x1x3x3 here"):
            start_from(wider, state(build(SMALL.network)), "x")


class TestChoosing:
    def test_a_network_too_deep_for_the_images(self) -> None:
        deep = SMALL.model_copy(update={"network": SMALL.network.model_copy(update={"depth": 7})})
        with pytest.raises(SettingsError, match=r"pools 128 px into one, and no image .* 96 x 80"):
            overtile.train(IMAGE, CELLS, steps=1, settings=deep)

    def test_a_preset_takes_the_network_of_the_earlier_model(self) -> None:
        chosen = presets.resolve("default", None, SMALL)
        assert chosen.network == SMALL.network
        assert chosen.optimiser == presets.default_settings().optimiser

    def test_unless_another_is_named(self) -> None:
        assert presets.resolve("default", "unet3d", SMALL).network.name == "unet3d"

    def test_settings_keep_their_own(self) -> None:
        assert presets.resolve(SMALL, None, presets.paper_settings()) == SMALL
        with pytest.raises(SettingsError, match=r"hold a network, unet, and unet3d is asked for"):
            presets.resolve(SMALL, "unet3d")

    def test_an_unknown_network(self) -> None:
        with pytest.raises(SettingsError, match=r"no network 'vnet'; known: unet, unet3d"):
            presets.resolve("default", "vnet")

    def test_the_paper_preset_takes_the_papers_defaults(self) -> None:
        assert presets.resolve("paper", "unet3d").network.norm == "batch"
        assert presets.resolve("paper", "unet3d").network.base_channels == 32


def test_the_main_job_from_an_earlier_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five more classes and three channels: what fits is what the earlier model had."""
    earlier = tmp_path / "cells.model"
    overtile.train(IMAGE, CELLS, steps=3, settings=SMALL, output=earlier)
    colour, quarters = np.stack([IMAGE] * 3, axis=-1), np.zeros((96, 80), np.uint8)
    quarters[:48, 40:], quarters[48:, :40], quarters[48:, 40:] = 1, 2, 3
    overtile.io.write(tmp_path / "a.png", Image(np.moveaxis(colour, -1, 0), "cyx"))
    overtile.io.write(tmp_path / "b.png", Image(quarters, "yx"))
    files = [str(tmp_path / name) for name in ("a.png", "b.png")]
    options = ["-o", str(tmp_path / "later.model"), "--labels-are", "classes", "--steps", "2"]
    options += ["--set", "optimiser.learning_rate=1e-12", "--set", "averaging=0"]
    with pytest.raises(SystemExit) as ended:
        main(["train", *files, "--from", str(earlier), *options])
    assert ended.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "From cells.model: " in printed
    assert "down.0.conv1.weight (4x1x3x3 there, 4x3x3x3 here)" in printed
    later, before = storage.load(tmp_path / "later.model"), storage.load(earlier)
    assert later.settings.network.depth == 2
    assert yaml.safe_load((tmp_path / "later.model/model.yaml").read_text())["origin"][
        "started_from"
    ].startswith("From cells.model")
    for name in ("down.1.conv2.weight", "merge.0.conv1.weight"):
        assert np.allclose(later.parameters[name], before.parameters[name], atol=1e-6)
    assert overtile.load(tmp_path / "later.model").predict(colour).shape == (96, 80)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is missing"):
        overtile.train(IMAGE, CELLS, steps=1, start=tmp_path / "none.model")
