"""U-Nets and UNet++ against those of MONAI and nnU-Net, with the same parameters.

Compared, in float64 to 1e-10 (the issue asks for 1e-5):

=========================  =========================================================================
ours                       peer
=========================  =========================================================================
UNet, 2-D and 3-D          MONAI `BasicUNet`. It raises the channels of the last level without
                           halving them; ours are part of them, the others being zero.
UNet, 2-D and 3-D,         nnU-Net's encoder with ``pool="max"`` and its decoder: the same layers.
anisotropic                It puts the skip behind what was raised, where ours is in front.
UNetPlusPlus, every head   MONAI `BasicUNetPlusPlus`. Its first row raises as `BasicUNet` does.
residual block             torchvision `BasicBlock`, with a 1x1 convolution where channels differ.
interpolation              MONAI `UpSample`, not trainable, a convolution behind it.
sub-pixel convolution      MONAI `SubpixelUpsample` without its blurring; also in 3-D, where PyTorch
                           has none.
encoder-unet               smp `Unet`, and the encoders of timm and smp: test_peers_encoders.py.
TernausNet, FCN            torchvision `vgg11` and `vgg16`: test_peers_encoders.py.
=========================  =========================================================================

Not compared, because no parameters make the two the same function, or there is no peer:

=========================  =========================================================================
MONAI `UNet`               Shrinks by convolutions of stride 2, one a level, without pooling.
MONAI `DynUNet`            nnU-Net's: shrinks by convolutions of stride 2, without pooling.
MONAI `SegResNet`          Adds its skips, but shrinks by convolutions of stride 2, norms in front.
MONAI `AttentionUnet`      Weighs its skips by what is raised.
MONAI `BasicUNet`, odd     It repeats the last pixel where maps meet; ours meet by zeros (``pad``).
smp `UnetPlusPlus`         Its first row has half the image's resolution, because it is an encoder's
                           first map; what leads from there to the whole has no skip.
smp `Unet` with VGG        Raises by nearest interpolation and has two convolutions a level;
                           TernausNet by a transposed 3x3 convolution, which overlaps, and has one.
torchvision `fcn_*`        A dilated ResNet of stride 8 and one map of scores: no skips, no VGG.
torchvision `deeplabv3_*`  Another network; pools the whole window.
UNet, valid                No peer leaves out the padding and crops. tests/test_unet.py compares it
                           with the same-padded one, away from the edges.
UNet3D                     No peer doubles channels before the pooling.
up ``unpool``              No peer has it; PyTorch's own `MaxUnpool2d` does it.
BatchRenorm                No peer has it; in evaluation it is batch norm.
PatchNet                   No peer has it. tests/test_patchnet.py compares it with `nn.Sequential`
                           on patches, with poolings that stride.
=========================  =========================================================================
"""

from __future__ import annotations

import pytest
import torch
from parameters import assert_agree, copy, randomised, seeded
from torch import Tensor, nn

from overtile.networks import UNet, UNetPlusPlus
from overtile.networks.blocks import CONVOLUTION, Block
from overtile.networks.upsampling import up_sampling
from overtile.settings import UNetSettings

nets = pytest.importorskip("monai.networks.nets", reason="needs the [bench] extra")
blocks = pytest.importorskip("monai.networks.blocks", reason="needs the [bench] extra")
nnunet = pytest.importorskip(
    "dynamic_network_architectures.building_blocks", reason="needs the [bench] extra"
)

SPACE = {2: (48, 96), 3: (16, 32, 48)}
MONAI_STYLE = {"act": "relu", "norm": "batch", "features": (8, 16, 32, 64, 128, 8)}


def network_of(kind: type[nn.Module], dimensions: int, **values: object) -> nn.Module:
    known = {"padding": "same", "norm": "batch", "base_channels": 8, "channels": 2, "classes": 3}
    return randomised(kind(**known | {"dimensions": dimensions} | values))


def two(theirs: str, ours: str) -> dict[str, str]:
    """The layers of a block of two convolutions: MONAI's names and ours."""
    return {
        f"{theirs}conv_0.conv": f"{ours}.conv1",
        f"{theirs}conv_0.adn.N": f"{ours}.norm1",
        f"{theirs}conv_1.conv": f"{ours}.conv2",
        f"{theirs}conv_1.adn.N": f"{ours}.norm2",
    }


@pytest.mark.parametrize("dimensions", [2, 3])
def test_unet_is_monais(dimensions: int) -> None:
    ours = network_of(UNet, dimensions)
    theirs = nets.BasicUNet(dimensions, 2, 3, **MONAI_STYLE).double().eval()
    layers = two("conv_0.", "down.0") | {"final_conv": "head"}
    for level in (1, 2, 3, 4):
        layers |= two(f"down_{level}.convs.", f"down.{level}")
        layers |= two(f"upcat_{level}.convs.", f"merge.{4 - level}")
        layers[f"upcat_{level}.upsample.deconv"] = f"up.{4 - level}"
    copy(ours, theirs, layers)
    image = seeded(2, 2, *SPACE[dimensions])
    with torch.no_grad():
        assert_agree(ours(image), theirs(image))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_every_head_of_unetpp_is_monais(dimensions: int) -> None:
    ours = network_of(UNetPlusPlus, dimensions)
    theirs = nets.BasicUNetPlusPlus(dimensions, 2, 3, deep_supervision=True, **MONAI_STYLE)
    layers = two("conv_0_0.", "level.0.down")
    for level in (1, 2, 3, 4):
        layers |= two(f"conv_{level}_0.convs.", f"level.{level}.down")
        layers[f"final_conv_0_{level}"] = f"head.{level}"
        for column in range(1, level + 1):
            node, place = f"upcat_{level - column}_{column}", column - 1
            layers[f"{node}.upsample.deconv"] = f"level.{level}.up.{place}"
            layers |= two(f"{node}.convs.", f"level.{level}.merge.{place}")
    copy(ours, theirs.double().eval(), layers)
    image = seeded(1, 2, *SPACE[dimensions])
    with torch.no_grad():
        for made, expected in zip(ours.heads(image), theirs(image), strict=True):
            assert_agree(made, expected)


@pytest.mark.parametrize(
    "strides",
    [((2, 2), (2, 2), (2, 2), (2, 2)), ((4, 2), (1, 3)), ((1, 2, 2), (2, 2, 2), (2, 1, 1))],
    ids=["2-D", "2-D anisotropic", "3-D anisotropic"],
)
def test_unet_is_nnunets(strides: tuple[tuple[int, ...], ...]) -> None:
    dimensions, depth = len(strides[0]), len(strides)
    ours = network_of(UNet, dimensions, depth=depth, strides=strides, activation="leaky-relu")
    theirs = nnunets(dimensions, strides).double().eval()
    layers = {"1.seg_layers.0": "head"}
    for level in range(depth + 1):
        block = f"0.stages.{level}.{min(level, 1)}"  # behind the pooling, where there is one
        layers |= stacked(block, f"down.{level}")
    for place in range(depth):
        layers |= stacked(f"1.stages.{place}", f"merge.{place}")
        layers[f"1.transpconvs.{place}"] = f"up.{place}"
    copy(ours, theirs, layers)
    with torch.no_grad():
        for stage in theirs[1].stages:  # ours: skip, raised; theirs: raised, skip
            weight = stage.convs[0].conv.weight
            weight.copy_(weight.roll(weight.shape[1] // 2, dims=1))
        image = seeded(2, 2, *SPACE[dimensions])
        assert_agree(ours(image), theirs(image))


def stacked(theirs: str, ours: str) -> dict[str, str]:
    return {
        f"{theirs}.convs.{n - 1}.{part}": f"{ours}.{part}{n}"
        for n in (1, 2)
        for part in ("conv", "norm")
    }


def nnunets(dimensions: int, strides: tuple[tuple[int, ...], ...]) -> nn.Sequential:
    encoders = pytest.importorskip(f"{nnunet.__name__}.plain_conv_encoder")
    decoders = pytest.importorskip(f"{nnunet.__name__}.unet_decoder")
    encoder = encoders.PlainConvEncoder(
        input_channels=2,
        n_stages=len(strides) + 1,
        features_per_stage=[8 * 2**level for level in range(len(strides) + 1)],
        conv_op=CONVOLUTION[dimensions],
        kernel_sizes=3,
        strides=[(1,) * dimensions, *strides],
        n_conv_per_stage=2,
        conv_bias=True,
        norm_op={2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dimensions],
        nonlin=nn.LeakyReLU,
        return_skips=True,
        pool="max",
    )
    decoder = decoders.UNetDecoder(encoder, 3, 2, deep_supervision=False)
    decoder.seg_layers = decoder.seg_layers[-1:]  # without those for deep supervision
    return nn.Sequential(encoder, decoder)


@pytest.mark.parametrize("after", [6, 9])
def test_residual_block_is_torchvisions(after: int) -> None:
    resnet = pytest.importorskip("torchvision.models.resnet", reason="needs the [bench] extra")
    settings = UNetSettings(padding="same", norm="batch")
    ours = Block(settings, 6, after, residual=True)
    shortcut = None if after == 6 else nn.Conv2d(6, after, 1)
    theirs = randomised(resnet.BasicBlock(6, after, downsample=shortcut))
    for conv in (ours.conv1, ours.conv2):
        conv.bias = None  # as in theirs, where the norm has one
    names = {"conv1": "conv1", "bn1": "norm1", "conv2": "conv2", "bn2": "norm2"}
    ours.double().eval()
    copy(theirs, ours, {mine: its for its, mine in names.items()} | {"shortcut": "downsample"})
    features = seeded(2, 6, 13, 8)
    with torch.no_grad():
        assert_agree(ours(features.clone()), theirs(features.clone()))


@pytest.mark.parametrize("up", ["nearest", "bilinear"])
@pytest.mark.parametrize("stride", [(2, 2), (3, 1), (1, 2, 4)])
def test_interpolation_is_monais(up: str, stride: tuple[int, ...]) -> None:
    dimensions = len(stride)
    settings = UNetSettings(dimensions=dimensions, padding="same", up=up)
    ours = randomised(up_sampling(settings, 5, 3, stride))
    theirs = blocks.UpSample(
        dimensions,
        5,
        5,
        scale_factor=stride,
        mode="nontrainable",
        pre_conv=None,
        post_conv=CONVOLUTION[dimensions](5, 3, 3, padding=1),
        interp_mode="nearest" if up == "nearest" else "linear",
        align_corners=None if up == "nearest" else False,
    ).double()
    copy(ours, theirs, {"postconv": "conv"})
    agree_on_maps(ours, theirs, dimensions)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("factor", [2, 3])
def test_shuffle_is_monais(dimensions: int, factor: int) -> None:
    settings = UNetSettings(dimensions=dimensions, padding="same", up="shuffle")
    ours = randomised(up_sampling(settings, 5, 3, (factor,) * dimensions))
    theirs = blocks.SubpixelUpsample(dimensions, 5, 3, factor, apply_pad_pool=False).double()
    copy(ours, theirs, {"conv_block": "conv"})
    agree_on_maps(ours, theirs, dimensions)


def agree_on_maps(ours: nn.Module, theirs: nn.Module, dimensions: int) -> None:
    features: Tensor = seeded(2, 5, *(6, 3, 5)[:dimensions])
    with torch.no_grad():
        assert_agree(ours(features), theirs(features))
