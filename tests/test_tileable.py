"""What a network sees, against brute force; tiles against the whole; each breaker by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor, nn

from overtile.engines.torch import TorchEngine
from overtile.errors import DataError, ModelError
from overtile.geometry import Field
from overtile.metrics import mismatch
from overtile.networks import build
from overtile.networks.summary import summarise
from overtile.normalise import Normalisation
from overtile.settings import UNetSettings
from overtile.tileable import breakers, inspect, measure_fields, tiling_error, work_per_pixel
from overtile.tiler import Tiler


class Forward(nn.Module):
    """A network whose forward is a function of its layers and the image."""

    def __init__(self, forward: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.function = forward

    def forward(self, image: Tensor) -> Tensor:
        return self.function(*self.layers, image)


def conv(before: int, after: int, kernel: int = 3, **options: object) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, **({"padding": kernel // 2} | options))


def skip(inner: nn.Module) -> nn.Module:
    return Forward(lambda layer, image: image + layer(image), inner)


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        return features * torch.sigmoid(self.gate(self.squeeze(features)))


class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = nn.MultiheadAttention(channels, 2, batch_first=True)

    def forward(self, features: Tensor) -> Tensor:
        tokens = features.flatten(2).transpose(1, 2)
        mixed = self.heads(tokens, tokens, tokens)[0]
        return mixed.transpose(1, 2).reshape(features.shape)


class ChannelNorm(nn.LayerNorm):
    """Over the channels of each pixel alone, which is exact."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.movedim(1, -1)).movedim(-1, 1)


def window_attention(features: Tensor) -> Tensor:
    """Each pixel attends to the others of its own 4x4 window, which is exact."""
    batch, channels, height, width = features.shape
    cells = features.view(batch, channels, height // 4, 4, width // 4, 4)
    tokens = cells.permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, channels)
    scores = torch.where(torch.eye(16, dtype=torch.bool), -torch.inf, tokens @ tokens.mT)
    mixed = scores.softmax(dim=-1) @ tokens
    cells = mixed.view(batch, height // 4, width // 4, 4, 4, channels)
    return cells.permute(0, 5, 1, 3, 2, 4).reshape(features.shape)


SEQUENCE = nn.Sequential
EXACT: dict[str, Callable[[], nn.Module]] = {
    "identity": lambda: nn.Identity(),
    "dilated": lambda: SEQUENCE(
        conv(1, 2, padding=2, dilation=2), nn.ReLU(), conv(2, 2, padding=4, dilation=4)
    ),
    "holes": lambda: Forward(
        lambda near, far, x: near(x) + far(x), conv(1, 2), conv(1, 2, padding=36, dilation=36)
    ),
    "nearest": lambda: SEQUENCE(
        conv(1, 2), nn.MaxPool2d(2), conv(2, 2), nn.Upsample(scale_factor=2), conv(2, 2)
    ),
    "bilinear": lambda: SEQUENCE(
        conv(1, 2),
        nn.MaxPool2d(2),
        conv(2, 2),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        conv(2, 2),
    ),
    "sized like the skip": lambda: Forward(
        lambda pool, c, x: F.interpolate(c(pool(x)), size=x.shape[2:], mode="bilinear") + x,
        nn.AvgPool2d(4),
        conv(1, 1),
    ),
    "average": lambda: SEQUENCE(conv(1, 2), nn.AvgPool2d(2), nn.ConvTranspose2d(2, 2, 2, 2)),
    "pool 3/2/1, transposed 4/2/1": lambda: SEQUENCE(
        conv(1, 2), nn.MaxPool2d(3, 2, 1), conv(2, 2), nn.ConvTranspose2d(2, 2, 4, 2, 1)
    ),
    "transposed 3/2/1": lambda: SEQUENCE(
        conv(1, 2, stride=2), nn.ConvTranspose2d(2, 2, 3, 2, 1, output_padding=1)
    ),
    "residual": lambda: SEQUENCE(
        conv(1, 2, stride=2),
        skip(SEQUENCE(conv(2, 2), nn.BatchNorm2d(2), nn.GELU(), conv(2, 2))),
        conv(2, 2, stride=2),
        nn.ConvTranspose2d(2, 2, 4, 2, 1),
        nn.SiLU(),
        nn.ConvTranspose2d(2, 2, 4, 2, 1),
    ),
    "shuffled": lambda: SEQUENCE(nn.PixelUnshuffle(2), conv(4, 8), nn.PReLU(), nn.PixelShuffle(2)),
    "only every second pixel": lambda: SEQUENCE(
        conv(1, 2, 1, stride=2), nn.Upsample(scale_factor=2)
    ),
    "grid of 6": lambda: SEQUENCE(
        nn.MaxPool2d(3), conv(1, 2), nn.MaxPool2d(2), nn.Upsample(scale_factor=6)
    ),
    "even kernel": lambda: SEQUENCE(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(1, 2, 4)),
    "hidden by its own skip": lambda: Forward(
        lambda far, x: far(x) + F.interpolate(F.max_pool2d(x, 2), scale_factor=2), conv(1, 1, 9)
    ),
    "reflected": lambda: SEQUENCE(
        conv(1, 2, 5, padding_mode="reflect"),
        nn.MaxPool2d(2),
        conv(2, 2, padding_mode="replicate"),
        nn.MaxPool2d(2),
        conv(2, 2, padding_mode="reflect"),
        nn.Upsample(scale_factor=4),
    ),
    "per pixel": lambda: SEQUENCE(conv(1, 4, groups=1), conv(4, 4, 5, groups=4), ChannelNorm(4)),
    "attention in windows": lambda: SEQUENCE(conv(1, 2), Forward(window_attention), conv(2, 1)),
    "stored instance norm": lambda: SEQUENCE(
        conv(1, 2), nn.InstanceNorm2d(2, track_running_stats=True)
    ),
    "a ReLU by comparison": lambda: Forward(
        lambda c, x: torch.where(c(x) > 0, c(x), torch.zeros(())), conv(1, 2)
    ),
    "zero parameters": lambda: zero(SEQUENCE(conv(1, 2, stride=2), nn.Upsample(scale_factor=2))),
    "without padding": lambda: SEQUENCE(nn.Conv2d(1, 2, 5), nn.ReLU(), nn.Conv2d(2, 2, 3)),
    "cropped too much": lambda: Forward(lambda c, x: c(x)[..., 5:-5, 5:-5], conv(1, 2)),
}


def zero(network: nn.Module) -> nn.Module:
    for value in network.parameters():
        nn.init.zeros_(value)
    return network


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    """One thread: the tensors are so small that a second one waits for the first."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


UNETS = [
    *[("same", depth, kernel, 2) for depth, kernel in [(1, 1), (1, 3), (2, 5), (3, 3), (4, 3)]],
    *[("valid", depth, kernel, 2) for depth, kernel in [(1, 3), (1, 4), (2, 2), (2, 5), (3, 3)]],
    *[("same", 1, 3, 3), ("same", 2, 3, 3), ("valid", 1, 3, 3), ("valid", 1, 2, 3)],
]


@pytest.mark.parametrize(("padding", "depth", "kernel", "dimensions"), UNETS)
@pytest.mark.parametrize("norm", ["none", "batch-renorm"])
def test_measured_is_the_closed_form(
    padding: str, depth: int, kernel: int, dimensions: int, norm: str
) -> None:
    chosen = UNetSettings(
        padding=padding,
        depth=depth,
        kernel_size=kernel,
        dimensions=dimensions,
        norm=norm,
        base_channels=2,
        channels=2,
    )
    network = build(chosen)
    assert measure_fields(network, 2, dimensions) == network.fields
    assert tiling_error(network, 2, network.fields, dimensions) < 1e-12


def brute_force(network: nn.Module, field: Field) -> tuple[int, int, int]:
    """Margin, and the least and most that a pixel sees to a side, one NaN pixel at a time.

    Along the second axis; the margin by its definition, from the regions of one cell.
    """
    network = network.double().eval()
    grid, lost = field.grid, field.margin if field.padding == "valid" else 0
    size = field.good_size(4 * field.lead + 6 * grid)
    thin = field.good_size(8)
    start = size // 2 // grid * grid
    sees: dict[int, list[int]] = {pixel: [] for pixel in range(start, start + grid)}
    for pixel in range(size):
        image = torch.rand(1, 1, thin, size, dtype=torch.float64)
        image[..., pixel] = torch.nan
        with torch.no_grad():
            reached = network(image).isnan().any(dim=(0, 1, 2)).nonzero().ravel() + lost
        for seen_by in set(reached.tolist()) & set(sees):
            sees[seen_by].append(pixel)
    sides = [side for o, q in sees.items() for side in (max(o - min(q), 0), max(max(q) - o, 0))]
    everything = [pixel for seen in sees.values() for pixel in seen]
    margin = max(start - min(everything), max(everything) - (start + grid - 1))
    return margin, min(sides), max(sides)


BY_BRUTE_FORCE = [
    name for name in EXACT if name not in {"cropped too much", "a ReLU by comparison"}
]


@pytest.mark.parametrize("name", BY_BRUTE_FORCE)
def test_margin_and_reach_are_those_of_brute_force(name: str) -> None:
    network = EXACT[name]()
    found = inspect(network, 1)
    assert found.fields is not None and found.reach is not None
    margin, least, most = brute_force(network, found.fields[1])
    assert found.fields[1].margin == margin
    if name != "only every second pixel":  # which is asked for pixels that see nothing of a side
        assert (found.reach.least_px, found.reach.most_px) == (least, most)


DOWN: list[Callable[[], nn.Module]] = [
    lambda: nn.MaxPool2d(2),
    lambda: nn.MaxPool2d(3, 2, 1),
    lambda: nn.AvgPool2d(3, 2, 1),
    lambda: conv(1, 1, 3, stride=2),
    lambda: nn.Conv2d(1, 1, 2, stride=2),
]
UP: list[Callable[[], nn.Module]] = [
    lambda: nn.Upsample(scale_factor=2),
    lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    lambda: nn.ConvTranspose2d(1, 1, 2, 2),
    lambda: nn.ConvTranspose2d(1, 1, 4, 2, 1),
]


@st.composite
def hourglasses(draw: st.DrawFn, depth: int = 2) -> nn.Module:
    """Convolutions, perhaps dilated, around something at half the resolution, or around nothing."""
    kernel, dilation = draw(st.sampled_from([(1, 1), (3, 1), (5, 1), (3, 2), (3, 5), (2, 1)]))
    reach = (kernel - 1) * dilation
    pad = nn.ZeroPad2d((reach // 2, reach - reach // 2) * 2)
    layers = [pad, nn.Conv2d(1, 1, kernel, dilation=dilation), nn.LeakyReLU()]
    if depth and draw(st.booleans()):
        down, up = draw(st.sampled_from(DOWN))(), draw(st.sampled_from(UP))()
        inner = SEQUENCE(down, draw(hourglasses(depth - 1)), up)
        layers.append(skip(inner) if draw(st.booleans()) else inner)
    return SEQUENCE(*layers)


@given(hourglasses())
@settings(max_examples=15, deadline=None)
def test_any_hourglass_is_measured_as_by_brute_force(network: nn.Module) -> None:
    found = inspect(network, 1)
    assert found.exact
    assert found.fields is not None and found.reach is not None
    got = (found.fields[1].margin, found.reach.least_px, found.reach.most_px)
    assert got == brute_force(network, found.fields[1])


def test_one_and_three_dimensions() -> None:
    """Each axis has a field of its own; the reach is that of the axis that sees most."""
    signal = SEQUENCE(nn.Conv1d(1, 2, 9, padding=4), nn.MaxPool1d(4), nn.Upsample(scale_factor=4))
    found = inspect(signal, 1, dimensions=1)
    assert found.exact
    assert (found.fields[0].grid, found.reach.most_px) == (4, 4 + 3)
    volume = SEQUENCE(
        nn.Conv3d(1, 2, (7, 3, 1), padding=(3, 1, 0)),
        nn.MaxPool3d((1, 2, 3)),
        nn.Upsample(scale_factor=(1, 2, 3), mode="nearest"),
    )
    found = inspect(volume, 1, dimensions=3)
    assert found.fields == (Field("same", 1, 3), Field("same", 2, 1), Field("same", 3, 0))
    assert found.reach.most_px == 3


def test_a_field_that_claims_too_little_is_refused() -> None:
    network = conv(1, 1, 5)
    network.fields = (Field("same", 1, 2), Field("same", 1, 1))
    with pytest.raises(ModelError, match=r"axis 1 has .* margin of 1 px, but measured are 1 and 2"):
        inspect(network, 1)
    network.fields = (Field("same", 1, 2), Field("same", 2, 3))
    found = inspect(network, 1)
    assert found.exact and found.closed_form
    assert found.fields is network.fields


@pytest.mark.parametrize("name", EXACT)
def test_measured_tiles_are_the_whole(name: str) -> None:
    """Through the tiler of prediction, on sizes that no grid divides."""
    network = EXACT[name]().eval()
    found = inspect(network, 1)
    assert found.exact
    assert not found.closed_form
    assert found.fields is not None
    borders = ["mirror"] if found.fields[0].padding == "valid" else ["mirror", "own"]
    image = np.random.default_rng(0).normal(size=(1, 53, 77)).astype(np.float32)
    for border in borders:
        tiler = Tiler(
            TorchEngine(network.float(), torch.device("cpu"), "float32"),
            found.fields,
            border=border,
            normalisation=Normalisation((0.0,), (1.0,)),
            activation="sigmoid",
        )
        whole = tiler.predict(image, None, "probabilities")
        for tile_px in (12, 30):
            tiled = tiler.predict(image, tile_px, "probabilities")
            assert mismatch(tiled, whole).largest <= 1e-5


@pytest.mark.parametrize("name", ["nearest", "residual", "holes", "transposed 3/2/1"])
def test_the_proof_has_teeth(name: str) -> None:
    """With less margin, or with a grid that is a part of the network's, tiles are not the whole."""
    network = EXACT[name]()
    fields = measure_fields(network, 1)
    field = fields[0]
    assert fields == (field, field)
    less = Field(field.padding, field.grid, field.lead - field.grid)
    assert tiling_error(network, 1, fields) < 1e-12
    assert tiling_error(network, 1, (less, less)) > 1e-6
    if field.grid > 1:
        finer = Field(field.padding, field.grid // 2, field.margin)
        network = Forward(lambda inner, x: pad_to_grid(inner, x, field.grid), network)
        assert tiling_error(network, 1, (finer, finer)) > 1e-6


def pad_to_grid(inner: nn.Module, image: Tensor, grid: int) -> Tensor:
    """Takes any size, as networks do that pad inside: the answer then depends on the phase."""
    height, width = image.shape[2:]
    padded = F.pad(image, (0, -width % grid, 0, -height % grid))
    return inner(padded)[..., :height, :width]


def test_the_papers_network_sees_92_to_107_px() -> None:
    """The figures of a same-padded network with four poolings: 92 to 107 px to each side."""
    found = inspect(build(UNetSettings(padding="same", base_channels=1)), 1)
    assert found.closed_form
    assert found.exact
    assert (found.fields[1].grid, found.fields[1].margin) == (16, 94)
    assert (found.reach.least_px, found.reach.most_px) == (92, 107)


INSTEAD_OF_NORM = "batch renorm"
BROKEN: dict[str, tuple[Callable[[], nn.Module], str, str, str]] = {
    "instance norm": (
        lambda: SEQUENCE(conv(1, 4), nn.InstanceNorm2d(4)),
        *("1", "instance norm", INSTEAD_OF_NORM),
    ),
    "group norm": (
        lambda: SEQUENCE(conv(1, 4), nn.GroupNorm(2, 4)),
        *("1", "group norm", INSTEAD_OF_NORM),
    ),
    "layer norm": (
        lambda: SEQUENCE(conv(1, 4), nn.LayerNorm([4, 16, 16])),
        *("1", "layer norm over space", "over channels alone"),
    ),
    "batch norm": (
        lambda: SEQUENCE(conv(1, 4), nn.BatchNorm2d(4, track_running_stats=False)),
        *("1", "batch norm without running statistics", INSTEAD_OF_NORM),
    ),
    "functional instance norm": (
        lambda: SEQUENCE(conv(1, 4), Forward(F.instance_norm)),
        *("1", "norm with the image's own statistics", INSTEAD_OF_NORM),
    ),
    "functional batch norm": (
        lambda: Forward(lambda x: F.batch_norm(x, None, None, training=True)),
        *("", "norm with the image's own statistics", INSTEAD_OF_NORM),
    ),
    "squeeze and excitation": (
        lambda: SEQUENCE(
            conv(1, 4), nn.MaxPool2d(2), SqueezeExcite(4), nn.Upsample(scale_factor=2)
        ),
        *("2.squeeze", "global or adaptive pooling", "gate of 1x1 convolutions"),
    ),
    "mean over space": (
        lambda: Forward(lambda x: x - x.mean(dim=(2, 3), keepdim=True)),
        *("", "global or adaptive pooling", "fixed stride"),
    ),
    "maximum over space": (
        lambda: Forward(lambda x: x / (1 + x.abs().amax(dim=(2, 3), keepdim=True))),
        *("", "global or adaptive pooling", "fixed stride"),
    ),
    "pyramid": (
        lambda: skip(
            Forward(lambda pool, x: F.interpolate(pool(x), x.shape[2:]), nn.AdaptiveAvgPool2d(4))
        ),
        *("layers.0.layers.0", "global or adaptive pooling", "fixed stride"),
    ),
    "fixed size": (
        lambda: Forward(lambda x: F.interpolate(F.interpolate(x, size=(8, 8)), size=x.shape[2:])),
        *("", "interpolation to a fixed size", "whole factor"),
    ),
    "aligned corners": (
        lambda: SEQUENCE(
            nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        ),
        *("1", "interpolation with align_corners=True", "align_corners=False"),
    ),
    "functional aligned corners": (
        lambda: Forward(
            lambda x: F.interpolate(
                F.max_pool2d(x, 2), scale_factor=2, mode="bicubic", align_corners=True
            )
        ),
        *("", "interpolation with align_corners=True", "align_corners=False"),
    ),
    "attention": (
        lambda: SEQUENCE(conv(1, 4), nn.MaxPool2d(4), Attention(4), nn.Upsample(scale_factor=4)),
        *("2.heads", "attention over space", "windows of a fixed number of pixels"),
    ),
    "functional attention": (
        lambda: Forward(
            lambda x: F.scaled_dot_product_attention(*[x.flatten(2).mT] * 3).mT.reshape(x.shape)
        ),
        *("", "attention over space", "windows of a fixed number of pixels"),
    ),
    "linear attention": (
        lambda: Forward(
            lambda x: (x.flatten(2) @ (x.flatten(2).mT @ x.flatten(2))).reshape(x.shape)
        ),
        *("", "attention over space", "windows of a fixed number of pixels"),
    ),
    "Fourier": (
        lambda: Forward(lambda x: torch.fft.irfft2(2 * torch.fft.rfft2(x), s=x.shape[2:])),
        *("", "transform over space", "convolutions"),
    ),
    "recursive": (
        lambda: SEQUENCE(conv(1, 2), Forward(lambda x: x.cumsum(2) - x.flip(3).cumsum(3))),
        *("1", "transform over space", "convolutions"),
    ),
    "sorted": (
        lambda: Forward(lambda x: x.flatten(2).logcumsumexp(2).reshape(x.shape)),
        *("", "transform over space", "convolutions"),
    ),
    "median": (
        lambda: Forward(lambda x: x - x.flatten(2).median(dim=2).values[..., None, None]),
        *("", "operation over all of space", "convolutions"),
    ),
    "softmax": (
        lambda: Forward(lambda x: x * x.flatten(2).softmax(dim=-1).reshape(x.shape)),
        *("", "softmax over space", "softmax over channels"),
    ),
    "linear": (
        lambda: SEQUENCE(
            conv(1, 2), nn.Flatten(), nn.Linear(2 * 64, 64), nn.Unflatten(1, (1, 8, 8))
        ),
        *("2", "linear layer over space", "convolutions"),
    ),
    "positions of its own": (
        lambda: SEQUENCE(conv(1, 2), Forward(lambda x: x + torch.zeros(1, 2, 8, 8))),
        *("1", "layer with a size of its own", "convolutions"),
    ),
    "circular": (
        lambda: SEQUENCE(conv(1, 2, padding_mode="circular")),
        *("0", "circular padding", "'reflect'"),
    ),
    "position": (
        lambda: Forward(lambda x: x + torch.linspace(0, 1, x.shape[-1])),
        *("", "unknown", "where a pixel lies"),
    ),
    "chance": (
        lambda: SEQUENCE(conv(1, 2), Forward(lambda x: x + torch.randn_like(x))),
        *("", "unknown", "chance"),
    ),
    "overflow": (
        lambda: Forward(lambda x: torch.exp(1e4 * x)),
        *("", "unknown", "chance"),
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_network_is_named_with_its_layer(case: str) -> None:
    make, layer, kind, instead = BROKEN[case]
    found = inspect(make(), 1)
    assert not found.exact
    (breaker,) = found.breakers
    assert (breaker.layer, breaker.kind) == (layer, kind)
    assert instead in breaker.instead
    assert breaker.reason in str(breaker)


def test_all_breakers_are_named_in_order() -> None:
    network = SEQUENCE(
        *(conv(1, 4), nn.InstanceNorm2d(4), SqueezeExcite(4), nn.BatchNorm2d(4)),
        *(nn.GroupNorm(1, 4), nn.ReLU(), Attention(4)),
    )
    assert [breaker.layer for breaker in breakers(network, 1)] == [
        *("1", "2.squeeze", "4", "6.heads")
    ]


def test_breakers_have_no_margin() -> None:
    with pytest.raises(ModelError, match=r"No margin makes tiles exact: layer '1' \(group norm\)"):
        measure_fields(SEQUENCE(conv(1, 2), nn.GroupNorm(1, 2)), 1)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "stride": (lambda: conv(1, 1, stride=2), r"1/2 pixels along axis 0.*image's resolution"),
    "larger": (lambda: nn.Upsample(scale_factor=2), r"has 2 pixels along axis 0"),
    "classification": (
        lambda: SEQUENCE(conv(1, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        r"gives \(1, 2\) for an image.*one tensor of logits",
    ),
    "dictionary": (lambda: Forward(lambda x: {"out": x}), r"gives dict for an image"),
    "channels": (lambda: conv(3, 1), r"takes no image of 1 channels and 2 spatial axes"),
    "empty": (lambda: Forward(lambda x: x[..., :0]), r"the output is empty"),
    "odd loss": (lambda: nn.Conv2d(1, 1, 2), r"or an even number of pixels less"),
    "odd loss along one axis": (
        lambda: nn.Conv2d(1, 1, (3, 2)),
        r"has \(1, 2\) px: expected as many along axis 1",
    ),
    "valid along one axis": (
        lambda: nn.Conv2d(1, 1, 3, padding=(1, 0)),
        r"Along axis 0 the output lacks 0 px on each side, but its pixels see 1",
    ),
    "valid and same": (
        lambda: SEQUENCE(conv(1, 1, 9), nn.Conv2d(1, 1, 3)),
        r"lacks 1 px on each side, but its pixels see 5",
    ),
    "circular by function": (
        lambda: Forward(lambda c, x: c(F.pad(x, (1, 1, 1, 1), "circular")), nn.Conv2d(1, 1, 3)),
        r"more than 2048 px, or all",
    ),
    "mirrored": (lambda: Forward(lambda x: x + x.flip(2)), r"more than 2048 px, or all"),
    "not a number": (
        lambda: nn.Conv2d(1, 1, 1).requires_grad_(False).apply(lambda c: c.weight.fill_(torch.nan)),
        r"'weight' of the network holds NaN",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_field_says_is_refused(case: str) -> None:
    make, words = REFUSED[case]
    with pytest.raises(ModelError, match=words):
        inspect(make(), 1)


def test_the_network_is_left_as_it_is() -> None:
    network = SEQUENCE(conv(1, 2), nn.BatchNorm2d(2), nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert inspect(network, 1).exact
    assert torch.equal(torch.rand(3), expected)
    assert network.training and network[1].training
    assert all(value.dtype == before[name].dtype for name, value in network.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network[0]._forward_hooks and all(v.requires_grad for v in network.parameters())


@pytest.mark.parametrize(("padding", "border"), [("valid", "mirror"), ("same", "own")])
def test_work_is_that_of_the_layer_table(padding: str, border: str) -> None:
    """One tile on the grid's own size costs what the layer table adds up to."""
    chosen = UNetSettings(padding=padding, depth=2, base_channels=4)
    network = build(chosen)
    shape = (64, 64)
    works = work_per_pixel(network, 1, network.fields, border, shape, (16, 32, 64, 4096))
    field = network.fields[0]
    read = 64 if padding == "same" else field.good_size(field.lead + 64 + field.margin)
    with torch.device("meta"):
        layers = summarise(build(chosen), (read, read))
    table = sum(layer.flop for layer in layers)
    assert works[-1].flop_per_px == pytest.approx(table / 64**2)
    assert works[-1].overhead == works[-2].overhead == 1
    assert [work.tile_px for work in works] == [16, 32, 64, 4096]
    assert works[0].overhead > works[1].overhead > 1
    for work in works:
        assert work.flop_per_px == pytest.approx(work.overhead * table / 64**2)


@given(st.data(), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_mismatch_is_that_of_loops(data: st.DataObject, k: int, height: int, width: int) -> None:
    element = st.floats(0, 1, width=32)
    predictions = arrays.arrays(np.float32, (k, height, width), elements=element)
    first, second = data.draw(predictions), data.draw(predictions)
    found = mismatch(first, second)
    differences, flips = [], 0
    for y in range(height):
        for x in range(width):
            columns = [[float(p[c, y, x]) for c in range(k)] for p in (first, second)]
            differences += [abs(a - b) for a, b in zip(*columns, strict=True)]
            one, other = [c[0] > 0.5 if k == 1 else c.index(max(c)) for c in columns]
            flips += one != other
    assert found.largest == max(differences)
    assert found.mean == pytest.approx(sum(differences) / len(differences))
    assert found.flipped == pytest.approx(flips / (height * width))


def test_a_mismatch_of_different_images_is_refused() -> None:
    with pytest.raises(DataError, match=r"shapes \(2, 3\) and \(2, 4\) cannot be compared"):
        mismatch(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(DataError, match=r"at least one pixel"):
        mismatch(np.zeros((2, 0)), np.zeros((2, 0)))
