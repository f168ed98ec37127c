"""VGG and timm's encoders against torchvision, timm and smp, with the same parameters.

The parameters go the way that a user's go: the peer's state dict is written to a file, which our
network reads as its ``encoder_weights``. Every map is compared. What of the decoders has a peer is
compared as well; the table in test_peers_unets.py says what has none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from parameters import assert_agree, randomised, seeded
from torch import Tensor, nn

from overtile.networks import FCN, EncoderUNet, TernausNet
from overtile.networks.weights import adapted

torchvision = pytest.importorskip("torchvision", reason="needs the [bench] extra")
timm = pytest.importorskip("timm", reason="needs the [bench] extra")
smp = pytest.importorskip("segmentation_models_pytorch", reason="needs the [bench] extra")


def started(kind: type[Any], theirs: nn.Module, path: Path, **values: Any) -> Any:
    """Our network, its encoder read from a file of the peer's parameters."""
    state = {name: value.float().contiguous() for name, value in theirs.state_dict().items()}
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    network = kind(encoder_weights=str(path), **values)
    network.start()
    return network.double().eval()


def rounded(network: nn.Module) -> nn.Module:
    """As in a file of float32, computing in float64."""
    return network.float().double().eval()


@pytest.mark.parametrize("name", ["vgg11", "vgg16"])
def test_ternausnets_encoder_is_torchvisions_and_smps(name: str, tmp_path: Path) -> None:
    theirs = rounded(randomised(smp.encoders.get_encoder(name, weights=None)))
    ours = started(TernausNet, theirs, tmp_path / "vgg.pth", encoder=name, channels=3)
    features = image = seeded(1, 3, 64, 96)
    before = []
    with torch.no_grad():
        expected = theirs(image)
        for layer in ours.encoder:
            if isinstance(layer, nn.MaxPool2d):
                before.append(features.clone())
            features = layer(features)
        for made, their in zip([*before, features], expected, strict=True):
            assert_agree(made, their)
        with torch.device("meta"):
            whole = getattr(torchvision.models, name)(weights=None)
        named = {f"features.{name}": value for name, value in ours.encoder.state_dict().items()}
        missing = whole.load_state_dict(named, strict=False, assign=True).missing_keys
        assert all(key.startswith("classifier.") for key in missing)
        assert_agree(features, whole.features(image))


def test_fcn_is_torchvisions_vgg16_at_the_centre() -> None:
    """Where its 7x7 kernel covers the whole 7x7 map, fc6 is the fully connected layer.

    Elsewhere the map is padded. In float32, for these are 134 million parameters.
    """
    torch.manual_seed(0)
    theirs = torchvision.models.vgg16(weights=None, init_weights=False, num_classes=5).eval()
    for module in theirs.features:
        if isinstance(module, nn.Conv2d):  # else the maps become ever smaller
            nn.init.kaiming_normal_(module.weight)
    state = {n: v for n, v in theirs.state_dict().items() if n.startswith("features.")}
    for ours, number, kernel in [("fc6", 0, 7), ("fc7", 3, 1), ("score", 6, 1)]:
        weight = theirs.classifier[number].weight
        state[f"{ours}.weight"] = weight.detach().unflatten(1, (-1, kernel, kernel))
        state[f"{ours}.bias"] = theirs.classifier[number].bias.detach()
    with torch.device("meta"):
        fcn = FCN(stride=32, channels=3, classes=5)
    missing = fcn.load_state_dict(state, strict=False, assign=True).missing_keys
    assert missing == ["head.weight", "head.bias"]  # torchvision enlarges nothing
    fcn.head, scores = nn.Identity(), []
    fcn.score.register_forward_hook(lambda *given: scores.append(given[-1]))
    image = seeded(1, 3, 224, 224).float()
    with torch.no_grad():
        assert_agree(fcn.features(image), theirs.features(image), within=1e-5)
        fcn.eval()(image)
        assert scores[0].shape[2:] == (7, 7)
        assert_agree(scores[0][..., 3, 3], theirs(image), within=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "efficientnet_b0", "convnext_tiny"])
def test_encoder_maps_are_those_of_timms_whole_model(name: str, tmp_path: Path) -> None:
    theirs = rounded(randomised(timm.create_model(name)))
    ours = started(
        EncoderUNet,
        theirs,
        tmp_path / "model.safetensors",
        encoder=name,
        channels=3,
        base_channels=2,
    )
    image = seeded(1, 3, 64, 96)
    with torch.no_grad():
        expected = theirs.forward_intermediates(image, intermediates_only=True)
        for made, their in zip(ours.encoder(image), expected, strict=True):
            assert_agree(made, their)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_encoder_maps_are_smps(name: str, tmp_path: Path) -> None:
    """Its ResNets are torchvision's, from which timm's are written independently."""
    theirs = rounded(randomised(smp.encoders.get_encoder(name, weights=None)))
    ours = started(
        EncoderUNet, theirs, tmp_path / "smp.pth", encoder=name, channels=3, base_channels=2
    )
    image = seeded(1, 3, 64, 96)
    with torch.no_grad():
        for made, their in zip(ours.encoder(image), theirs(image)[1:], strict=True):
            assert_agree(made, their)


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_first_layer_is_adapted_as_timm_does(channels: int) -> None:
    kernel = seeded(8, 3, 7, 7)
    expected = timm.models.adapt_input_conv(channels, kernel)  # it rounds to float32
    assert_agree(adapted(kernel, torch.empty(8, channels, 7, 7)), expected, within=1e-6)


def test_encoder_unet_is_smps_unet() -> None:
    """On the functions that both can be.

    smp raises by nearest interpolation, which an up-convolution of four equal taps is, followed by
    the taps' kernel and no bias; that kernel is taken into the convolution behind. smp's last level
    has no skip: ours ignores its own. What smp lacks in biases, its norms' means have.
    """
    values = {"encoder": "resnet18", "channels": 3, "classes": 4, "encoder_weights": "none"}
    ours = randomised(EncoderUNet(base_channels=4, **values))
    theirs = smp.Unet(
        "resnet18", encoder_weights=None, decoder_channels=(64, 32, 16, 8, 4), classes=4
    )
    theirs.double().eval().encoder.load_state_dict(ours.encoder.state_dict())
    with torch.no_grad():
        for up, merge, block in zip(ours.up, ours.merge, theirs.decoder.blocks, strict=True):
            up.weight.copy_(up.weight[..., :1, :1].expand_as(up.weight))
            up.bias.zero_()
            skip = merge.conv1.in_channels - up.out_channels
            if block is theirs.decoder.blocks[-1]:
                merge.conv1.weight[:, :skip] = 0
                skipped = merge.conv1.weight[:, :0]
            else:
                skipped = merge.conv1.weight[:, :skip]
            raised = torch.einsum(
                "bh,ohyx->obyx", up.weight[..., 0, 0], merge.conv1.weight[:, skip:]
            )
            give(block.conv1, torch.cat([raised, skipped], 1), merge.conv1.bias, merge.norm1)
            give(block.conv2, merge.conv2.weight, merge.conv2.bias, merge.norm2)
        last = theirs.segmentation_head[0]
        last.weight.zero_()
        last.weight[..., 1:2, 1:2] = ours.head.weight
        last.bias.copy_(ours.head.bias)
        image = seeded(2, 3, 64, 96)
        assert_agree(ours(image), theirs(image))


def give(theirs: nn.Sequential, weight: Tensor, bias: Tensor, norm: nn.Module) -> None:
    """A convolution without a bias and its norm, that of ours taken into the norm."""
    theirs[0].weight.copy_(weight)
    theirs[1].load_state_dict(norm.state_dict())
    theirs[1].running_mean -= bias
