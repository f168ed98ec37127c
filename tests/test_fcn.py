"""FCN against the paper's tables, bilinear interpolation, and its own stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import overtile
from overtile import io
from overtile.engines.tracing import trace
from overtile.errors import SettingsError, SizeError
from overtile.geometry import Field
from overtile.image import Image
from overtile.networks import FCN, build
from overtile.networks.fcn import bilinear
from overtile.networks.summary import summarise
from overtile.settings import FCNSettings, Settings, WindowSettings, from_yaml, to_yaml
from overtile.tileable import inspect

STRIDES = (32, 16, 8)
CONFIGURATION_D = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
"""Channels of the convolutions of VGG16: table 1 of arXiv:1409.1556."""

TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Numbers of the convolutions among the ``features`` of torchvision's VGG16."""


def thin(stride: int, classes: int = 3, seed: int = 0) -> FCN:
    """A small network whose scores are not zero, so that all of it shows."""
    made = build(FCNSettings(stride=stride, base_channels=2, fc_channels=6, classes=classes), seed)
    assert isinstance(made, FCN)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for layer in (made.score, *made.skips):
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    return made.eval()


def trainable(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters() if value.requires_grad)


def test_parameters_are_those_of_the_papers() -> None:
    with torch.device("meta"):
        networks = [FCN(stride=stride, channels=3, classes=21) for stride in STRIDES]
    before = [3, *CONFIGURATION_D]
    vgg = sum(9 * i * o + o for i, o in zip(before, CONFIGURATION_D, strict=False))
    vgg += 7 * 7 * 512 * 4096 + 4096 + 4096 * 4096 + 4096
    counts = [vgg + 4096 * 21 + 21]
    for channels in (512, 256):  # scores of a pooling, and 4x4 kernels from class to class
        counts.append(counts[-1] + channels * 21 + 21 + 4 * 4 * 21 * 21)
    assert [trainable(network) for network in networks] == counts
    assert round(counts[0] / 1e6) == 134  # table 1 of the paper
    last = summarise(networks[2], (32, 32))[-1]  # fixed: 16x16 and a bias for each class
    assert (last.parameters, last.trainable) == (21 * (16 * 16 + 1), 0)


def test_vgg_weights_fit_by_name() -> None:
    with torch.device("meta"):
        state = FCN(channels=3).state_dict()
    found = {key: value.shape[:2] for key, value in state.items() if key.startswith("features.")}
    pairs = zip(TORCHVISION, [3, *CONFIGURATION_D], CONFIGURATION_D, strict=False)
    expected = {f"features.{n}.weight": (after, before) for n, before, after in pairs}
    assert {k: v for k, v in found.items() if "weight" in k} == expected
    assert {k for k in found if "bias" in k} == {f"features.{n}.bias" for n in TORCHVISION}


@settings(deadline=None, max_examples=20)
@given(
    stride=st.sampled_from([2, 8, 16, 32]),
    space=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    is_learnt=st.booleans(),
)
def test_enlarging_is_bilinear(stride: int, space: tuple[int, int], is_learnt: bool) -> None:
    """With zeros around the map, which show at its edge; inside, as it is."""
    scores = torch.randn(2, 3, *space, dtype=torch.float64)
    layer = bilinear(3, stride, is_learnt=is_learnt).double()
    around = F.interpolate(
        F.pad(scores, (1,) * 4), scale_factor=stride, mode="bilinear", align_corners=False
    )
    with torch.no_grad():
        made = layer(scores)
    assert torch.allclose(made, around[..., stride:-stride, stride:-stride], rtol=0, atol=1e-12)
    inside = slice(stride // 2, -stride // 2)
    plain = F.interpolate(scores, scale_factor=stride, mode="bilinear", align_corners=False)
    assert torch.allclose(made[..., inside, inside], plain[..., inside, inside], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("stride", "finer"), [(32, 16), (16, 8)])
def test_a_finer_network_starts_as_the_coarser_one(stride: int, finer: int) -> None:
    """The paper's stages: the finer one takes all the parameters of the coarser, and adds zeros.

    Bilinear interpolation in two steps is that in one wherever both samples of the second lie
    between the same two of the first: s/4 on both sides of the cells' edges.
    """
    coarse = thin(stride).double()
    fine = build(FCNSettings(stride=finer, base_channels=2, fc_channels=6, classes=3)).double()
    known = {key: value for key, value in coarse.state_dict().items() if "head" not in key}
    new = fine.load_state_dict(known, strict=False).missing_keys
    last = "0" if finer == 16 else "1"
    added = {f"skips.{last}.weight", f"skips.{last}.bias", f"ups.{last}.weight"}
    assert set(new) == added | {"head.weight", "head.bias"}
    image = torch.randn(1, 1, 128, 160, dtype=torch.float64)
    with torch.no_grad():
        before, after = coarse(image), fine.eval()(image)
    quarter = stride // 4
    near = [
        [o for o in range(3 * quarter, size - 3 * quarter) if (o + quarter) % stride < 2 * quarter]
        for size in image.shape[2:]
    ]
    assert [len(kept) for kept in near] == [size // 2 - stride // 2 for size in image.shape[2:]]
    rows, columns = torch.tensor(near[0])[:, None], torch.tensor(near[1])
    same = before[..., rows, columns]
    assert torch.allclose(after[..., rows, columns], same, rtol=0, atol=1e-12)
    assert same.std() > 0.01


@pytest.mark.parametrize("stride", STRIDES)
def test_field_and_tiles(stride: int) -> None:
    """What one value of fc7 sees is known to be 404 px; enlarging takes values half a cell away."""
    sees, step = 1, 1
    for count in (2, 2, 3, 3, 3):
        sees += 2 * count * step + step
        step *= 2
    sees += 6 * step
    assert sees == 404
    found = inspect(thin(stride), 1)
    assert found.exact
    assert found.error is not None
    assert found.error < 1e-9
    assert found.fields == (Field("same", grid=32, margin=sees // 2 + 16),) * 2


@pytest.mark.parametrize("stride", STRIDES)
def test_every_parameter_learns_but_the_last_enlargement(stride: int) -> None:
    network = thin(stride)
    network(torch.randn(2, 1, 64, 64)).square().sum().backward()
    for name, value in network.named_parameters():
        assert (value.grad is None) == name.startswith("head."), name
        assert value.grad is None or (value.grad.isfinite().all() and value.grad.any()), name


def test_scores_are_zero_at_first_and_then_learn() -> None:
    network = build(FCNSettings(base_channels=2, fc_channels=16, dropout=0))
    image = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert not network(image).any()
    network(image).sum().backward()
    assert network.score.weight.grad.any()
    assert all(skip.weight.grad.any() for skip in network.skips)


def test_shifted_logits_are_shifted_up_to_the_edge() -> None:
    network, image = thin(8, classes=2), torch.randn(1, 1, 32, 64)
    with torch.no_grad():
        before = network(image)
        network.shift_logits(torch.tensor([0.5, -2.0]))
        moved = network(image) - before
    assert torch.allclose(moved, torch.tensor([0.5, -2.0])[:, None, None], atol=1e-5)


def test_dropout_is_in_training_only() -> None:
    network, image = thin(32).train(), torch.randn(1, 1, 64, 64)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


def test_refused() -> None:
    with pytest.raises(SettingsError, match=r"stride: Input should be 32, 16 or 8, not 4"):
        FCN(stride=4)
    with pytest.raises(SettingsError, match=r"padding: Input should be 'same', not 'valid'"):
        FCN(padding="valid")
    with pytest.raises(SizeError, match=r"A side of 48 px .* nearest that fit are 32 and 64 px"):
        FCN(base_channels=1, fc_channels=1)(torch.zeros(1, 1, 32, 48))


def test_settings_are_yaml() -> None:
    chosen = Settings(network=FCNSettings(stride=16))
    text = to_yaml(chosen)
    assert "stride: 16" in text
    assert from_yaml(Settings, text, "settings") == chosen


@pytest.mark.parametrize("stride", STRIDES)
def test_traced_for_any_size(stride: int) -> None:
    network, image = thin(stride), torch.randn(1, 1, 96, 64)
    with torch.no_grad():
        assert torch.allclose(trace(network).module()(image), network(image), atol=1e-5)


def test_main_job_on_a_street(shared_data: Path) -> None:
    """Trained and predicted like any network; tiles are the whole."""
    camvid, name = shared_data / "camvid", "0001TP_006690.png"
    corner = (slice(120, 216), slice(160, 288))
    pixels = np.asarray(io.open(camvid / "train" / name).data)[:, *corner]
    image = Image(pixels, "cyx")
    label = np.asarray(io.open(camvid / "trainannot" / name, as_label=True).data)[corner]
    chosen = Settings(
        network=FCNSettings(stride=8, base_channels=2, fc_channels=8),
        window=WindowSettings(size_px=64, batch_size=2),
        precision="float32",
        layout="contiguous",
    )
    trained = overtile.train(image, label, steps=12, settings=chosen, labels_are="classes")
    whole = trained.probabilities(image)
    assert whole.shape == (len(trained.model.classes.names), *label.shape)
    assert np.ptp(whole, axis=(1, 2)).max() > 0.01  # the scores have left zero
    assert np.abs(trained.probabilities(image, tile_px=64) - whole).max() < 1e-5
