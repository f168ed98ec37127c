"""Networks whose strides and kernels differ by axis: measured, tiled, planned along each axis."""

from __future__ import annotations

import math
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

import overtile
from overtile.blending import blended, tile_mismatch
from overtile.engines import FunctionEngine
from overtile.engines.cost import SMALL_PX, Cost, measure_cost, probe_shapes
from overtile.engines.torch import TorchEngine
from overtile.engines.tracing import trace
from overtile.errors import ModelError, SettingsError, SizeError
from overtile.geometry import Field, Fields, per_axis
from overtile.image import Image
from overtile.networks import UNet
from overtile.normalise import Normalisation
from overtile.planes import Planes
from overtile.tileable import inspect, measure_fields, tiling_error
from overtile.tileable.probe import _Along, _dilated
from overtile.tileplan import Load, plan_tiles, plan_unmeasured
from overtile.tiler import Tiler
from overtile.tiles import Border, cut

PLAIN = Normalisation((0.0,), (1.0,))
CPU = torch.device("cpu")


class Uneven(nn.Module):
    """Pools y once and x twice but never z, with another kernel along each axis."""

    def __init__(self, padding: str) -> None:
        super().__init__()
        self.settings = SimpleNamespace(channels=1, dimensions=3)

        def conv(before: int, after: int, *kernel: int) -> nn.Conv3d:
            pad = [size // 2 if padding == "same" else 0 for size in kernel]
            return nn.Conv3d(before, after, kernel, padding=pad)

        self.first = conv(1, 2, 3, 3, 1)
        self.inner = nn.Sequential(
            nn.MaxPool3d((1, 2, 2)),
            conv(2, 3, 1, 5, 3),
            nn.LeakyReLU(),
            nn.MaxPool3d((1, 1, 2)),
            conv(3, 3, 3, 1, 3),
            nn.LeakyReLU(),
            nn.ConvTranspose3d(3, 3, (1, 1, 2), (1, 1, 2)),
            nn.ConvTranspose3d(3, 2, (1, 2, 2), (1, 2, 2)),
        )
        self.last = conv(4, 2, 1, 3, 5)

    def forward(self, image: Tensor) -> Tensor:
        skip = torch.relu(self.first(image))
        raised = self.inner(skip)
        for axis, size in enumerate(raised.shape[2:], start=2):
            skip = skip.narrow(axis, (skip.shape[axis] - size) // 2, size)
        return self.last(torch.cat([skip, raised], dim=1))


class Strict(nn.Module):
    """Refuses every size that does not fit its fields, as our own networks do."""

    def __init__(self, inner: nn.Module, fields: Fields) -> None:
        super().__init__()
        self.inner, self.fields = inner, fields

    def forward(self, image: Tensor) -> Tensor:
        for size, field in zip(image.shape[2:], self.fields, strict=True):
            field.out(int(size))
        return self.inner(image)


@pytest.fixture(scope="module", params=["valid", "same"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return Uneven(request.param).eval()


@pytest.fixture(scope="module")
def fields(network: nn.Module) -> Fields:
    return measure_fields(network, 1, 3)


def brute_force(network: nn.Module, fields: Fields, axis: int) -> tuple[int, int]:
    """How far a cell sees behind and ahead of it, one plane of NaN at a time."""
    network, field = deepcopy(network).double(), fields[axis]
    lost = field.margin if field.padding == "valid" else 0
    space = [other.smallest for other in fields]
    space[axis] = field.good_size(4 * field.lead + 6 * field.grid)
    start = space[axis] // 2 // field.grid * field.grid
    seen = []
    for pixel in range(space[axis]):
        image = torch.rand(1, 1, *space, dtype=torch.float64)
        image.select(2 + axis, pixel).fill_(torch.nan)
        with torch.no_grad():
            spots = network(image).isnan().movedim(2 + axis, 0).flatten(1).any(dim=1)
        reached = spots.nonzero().ravel() + lost
        if ((reached >= start) & (reached < start + field.grid)).any():
            seen.append(pixel)
    return max(seen) - (start + field.grid - 1), start - min(seen)


def tiler(network: nn.Module, fields: Fields, border: Border) -> Tiler:
    engine = TorchEngine(network, CPU, "float32")
    return Tiler(engine, fields, border=border, normalisation=PLAIN, activation="sigmoid")


def borders(fields: Fields) -> list[Border]:
    return ["mirror"] if fields[0].padding == "valid" else ["mirror", "own"]


def volume_of(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)


def test_each_axis_is_measured_as_by_brute_force(network: nn.Module, fields: Fields) -> None:
    assert [field.grid for field in fields] == [1, 2, 4]
    for axis, field in enumerate(fields):
        behind, ahead = brute_force(network, fields, axis)
        assert behind <= field.margin
        assert ahead <= field.lead
        if field.padding == "same":
            assert max(behind, ahead) == field.margin
    space = [field.smallest + 3 * field.grid for field in fields]
    with torch.no_grad():
        out = network(torch.zeros(1, 1, *space)).shape[2:]
    assert tuple(out) == tuple(f.out(side) for f, side in zip(fields, space, strict=True))


def test_kernels_add_up() -> None:
    """Without strides the margin along an axis is the sum of half its kernels."""
    for pad in (0, 1):
        layers = [nn.Conv3d(1, 1, k, padding=[pad * (n // 2) for n in k])
                  for k in [(1, 3, 5), (3, 3, 7)]]  # fmt: skip
        padding = "same" if pad else "valid"
        expected = tuple(Field(padding, 1, margin) for margin in (1, 2, 5))
        assert measure_fields(nn.Sequential(*layers), 1, 3) == expected


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_may_be_a_word(padding: str) -> None:
    expected = (Field(padding, 1, 1), Field(padding, 1, 2))  # type: ignore[arg-type]
    assert measure_fields(nn.Conv2d(1, 1, (3, 5), padding=padding), 1) == expected


def test_the_proof_has_teeth_along_each_axis(network: nn.Module, fields: Fields) -> None:
    assert inspect(network, 1, 3).error <= 1e-12
    assert tiling_error(network, 1, fields, 3) <= 1e-12
    if fields[0].padding == "same":  # a valid network's margin is what its shapes make it
        for axis, field in enumerate(fields):
            less = Field(field.padding, field.grid, field.lead - field.grid)
            wrong = (*fields[:axis], less, *fields[axis + 1 :])
            assert tiling_error(network, 1, wrong, 3) > 1e-6


def test_tiled_is_whole(network: nn.Module, fields: Fields) -> None:
    volume = volume_of(5, 11, 18)
    for border in borders(fields):
        run = tiler(network, fields, border)
        whole = run.predict(volume, None, "probabilities")
        for tile_px in (4, 8, (1, 2, 4), (3, 10, 4)):
            got = run.predict(volume, tile_px, "probabilities")
            assert np.abs(got - whole).max() <= 1e-5, (border, tile_px)
        with pytest.raises(SettingsError, match="grid of 1 x 2 x 4 px: use at least 4"):
            run.predict(volume, 3, "probabilities")


def test_a_tile_without_memory_is_halved_along_each_axis(
    network: nn.Module, fields: Fields
) -> None:
    run = tiler(network, fields, borders(fields)[-1])
    volume = volume_of(6, 12, 16)
    whole = run.predict(volume, None, "probabilities")
    inner, refused = run.engine, []

    def narrow(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        if windows[0, 0].size > smallest:
            refused.append(windows.shape)
            raise MemoryError("out of memory")
        return inner(windows)

    smallest = max(math.prod(t.read_shape) for t in cut((6, 12, 16), fields, (1, 2, 4), run.border))
    run.engine = FunctionEngine(narrow)
    assert np.abs(run.predict(volume, None, "probabilities") - whole).max() <= 1e-5
    assert refused
    smallest = 1
    run.too_large_px = None
    with pytest.raises(SettingsError, match="not enough memory for the smallest tile"):
        run.predict(volume, None, "probabilities")


def test_ones_own_network(network: nn.Module, fields: Fields) -> None:
    volume = volume_of(5, 10, 21)
    whole = overtile.tiled(network, volume, fields=fields, tile_px=1000)
    for tile_px in (4, (2, 4, 8)):
        got = overtile.tiled(network, volume, fields=fields, tile_px=tile_px)
        assert np.abs(got - whole).max() <= 1e-5
    if fields[0].padding == "same":
        padded = np.pad(volume[0], [(0, 0), (0, 0), (0, 3)], mode="reflect")
        with torch.no_grad():
            expected = network(torch.from_numpy(padded[None, None]))[0, ..., :21].numpy()
        assert np.abs(whole - expected).max() <= 1e-5
        assert np.abs(overtile.tiled(network, volume) - whole).max() <= 1e-5  # all measured
    with pytest.raises(SizeError, match="has 3 spatial axes and 2 fields are given"):
        overtile.tiled(network, volume, fields=fields[:2], tile_px=8)


def test_a_network_that_no_cube_fits() -> None:
    """Its own fields say which sizes it takes; without them nothing can be tried."""
    inner = nn.Sequential(
        nn.Conv3d(1, 2, (3, 1, 1)),
        nn.MaxPool3d((4, 4, 1)),
        nn.Upsample(scale_factor=(4, 4, 1)),
        nn.Conv3d(2, 1, (3, 1, 1)),
    )
    fields = (Field("valid", 4, 2), Field("valid", 4, 0), Field("valid", 1, 0))
    strict = Strict(inner, fields)
    found = inspect(strict, 1, 3)
    assert found.exact
    assert found.closed_form
    assert found.fields == fields == measure_fields(strict, 1, 3)
    hidden = nn.Sequential(strict)
    with pytest.raises(ModelError, match=r"all alike.*give it an attribute 'fields'"):
        inspect(hidden, 1, 3)


@st.composite
def some_fields(draw: st.DrawFn) -> Fields:
    padding = draw(st.sampled_from(["valid", "same"]))
    along = st.tuples(st.sampled_from([1, 2, 3, 4, 8]), st.integers(0, 9))
    return tuple(Field(padding, *draw(along)) for _ in range(3))


@given(st.data(), some_fields(), st.tuples(*[st.integers(1, 20)] * 3))
@settings(max_examples=80, deadline=None)
def test_tiles_stand_on_the_grid_of_their_axis(
    data: st.DataObject, fields: Fields, shape: tuple[int, int, int]
) -> None:
    """Written once; reads and writes begin on the grid; the margin is there where the image is."""
    border = data.draw(st.sampled_from(borders(fields)))
    tile_px: int | tuple[int, ...] = data.draw(st.integers(8, 24))
    if data.draw(st.booleans()):
        tile_px = tuple(field.grid * data.draw(st.integers(1, 4)) for field in fields)
    written = np.zeros(shape, int)
    for tile in cut(shape, fields, tile_px, border):
        written[tile.write] += 1
        axes = zip(tile.read, tile.crop, tile.write, shape, fields, strict=True)
        for (start, stop), crop, write, size, field in axes:
            assert start % field.grid == write.start % field.grid == 0
            assert field.is_valid(stop - start)
            assert crop.stop <= field.out(stop - start)
            origin = start + (field.margin if field.padding == "valid" else 0)
            assert (origin + crop.start, origin + crop.stop) == (write.start, write.stop)
            if border == "mirror" or start > 0:
                assert write.start - start >= field.margin
            if border == "mirror" or stop < size:
                assert stop - write.stop >= field.margin
    assert (written == 1).all()


@given(
    some_fields(),
    st.tuples(st.integers(1, 60), st.integers(1, 90), st.integers(1, 90)),
    st.integers(10_000, 10_000_000),
    st.sampled_from([None, 8]),
)
@settings(max_examples=25, deadline=None)
def test_the_plan_is_on_the_grid_of_each_axis(
    fields: Fields, shape: tuple[int, int, int], budget: int, unit: int | None
) -> None:
    cost, border = Cost(0.01, 1e-6, 5e3, 10, 0), borders(fields)[-1]
    try:
        plan = plan_tiles(shape, fields, border, cost, Load(), budget=budget, unit=unit)
    except SettingsError:
        plan = plan_tiles(shape, fields, border, cost, Load(), budget=2**40, unit=unit)
    units = [math.lcm(unit or 1, field.grid) for field in fields]
    assert all(side % least == 0 for side, least in zip(plan.step, units, strict=True))
    reads = [math.prod(tile.read_shape) for tile in cut(shape, fields, plan.step, border)]
    assert plan.tiles == len(reads)
    assert plan.overhead == pytest.approx(sum(reads) / math.prod(shape))
    assert plan.seconds == pytest.approx(cost.seconds(len(reads), sum(reads), max(reads)))
    least = cut(shape, fields, units, border)
    if cost.memory(math.prod(least[0].read_shape)) * 4 < plan.budget:
        read = sum(math.prod(tile.read_shape) for tile in least)
        assert plan.seconds <= cost.seconds(len(least), read) * 1.02
    grid = per_axis(field.grid for field in fields)
    assert f"on the network's grid of {grid} px" in plan.reasons[0]


def test_an_unmeasured_plan_is_on_the_grid_of_each_axis() -> None:
    fields = (Field("same", 1, 2), Field("same", 4, 9), Field("same", 8, 9))
    planes = Planes(Image(np.zeros((9, 30, 40), np.uint8), "zyx"), 3)
    plan = plan_unmeasured(planes, fields, "own", 8, None, "why")
    assert plan.step == (5, 8, 8)
    assert plan.tiles == 2 * 4 * 5
    with pytest.raises(SettingsError, match="use at least 8"):
        plan_unmeasured(planes, fields, "own", 7, None, "why")


@given(some_fields())
@settings(max_examples=50, deadline=None)
def test_probes_fit_each_axis(fields: Fields) -> None:
    small, large = probe_shapes(fields)
    for field, side, more in zip(fields, small, large, strict=True):
        assert field.is_valid(side)
        assert field.is_valid(more)
        assert 2 * side <= more < 2 * side + field.grid
    assert SMALL_PX / 2 < math.prod(small) < 2 * SMALL_PX
    shapes = []
    engine = FunctionEngine(lambda windows: shapes.append(windows.shape[2:]) or windows[:, :, :1])
    measure_cost(engine, fields, 1)
    assert set(shapes) == {small, large}


def test_blending_fades_by_the_margin_of_each_axis() -> None:
    """A pixelwise function: any blend of equal values is that value."""
    fields = (Field("same", 1, 0), Field("same", 2, 3), Field("same", 4, 6))
    engine = FunctionEngine(lambda windows: np.concatenate([windows, -windows], 1))
    run = Tiler(engine, fields, border="own", normalisation=PLAIN, activation="sigmoid")
    volume = volume_of(4, 13, 30)
    expected = 1 / (1 + np.exp(-np.concatenate([volume, -volume])))
    assert np.allclose(blended(run, volume, (1, 4, 12)), expected, atol=1e-6)
    assert tile_mismatch(run, volume, exact=False).largest < 1e-6
    assert tile_mismatch(run, volume, exact=True).largest == 0


def test_a_trace_takes_any_size_of_each_axis(network: nn.Module, fields: Fields) -> None:
    network = deepcopy(network)
    network.fields = fields
    graph = trace(network).module()
    for steps in [(1, 1, 1), (3, 1, 2)]:
        along = zip(fields, steps, strict=True)
        volume = torch.randn(1, 1, *[field.smallest + step * field.grid for field, step in along])
        with torch.no_grad():
            assert torch.allclose(graph(volume), network(volume), atol=1e-6)


def test_a_valid_volume_is_measured_as_in_the_plane() -> None:
    """In a second or two, not in the minute that convolutions of whole volumes would take."""
    volume = UNet(dimensions=3, depth=3, base_channels=1)
    assert measure_fields(volume, 1, 3) == UNet(depth=3).fields[:1] * 3


@st.composite
def convolutions(draw: st.DrawFn) -> list[_Along]:
    transposed = draw(st.booleans())

    def along() -> _Along:
        stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        kernel = draw(st.integers(1, 4))
        padding = draw(st.integers(0, (kernel - 1) * dilation))
        more = draw(st.integers(0, max(stride, dilation) - 1)) if transposed else 0
        return _Along(kernel, stride, padding, dilation, more, transposed)

    return [along() for _ in range(2)]


@given(convolutions(), st.integers(0, 3), st.integers(0, 12), st.integers(0, 2**16))
@settings(max_examples=150, deadline=None)
def test_spots_spread_as_by_the_convolution(
    axes: list[_Along], kind: int, edge: int, seed: int
) -> None:
    """Of half-planes along either axis, of all or nothing, and of chance."""
    spots = torch.zeros(1, 1, 12, 13, dtype=torch.bool)
    if kind < 2:
        spots.movedim(2 + kind, 0)[edge:] = True
    elif kind == 2:
        spots[:] = edge > 5
    else:
        spots = torch.rand(spots.shape, generator=torch.Generator().manual_seed(seed)) < 0.05
    kernel, stride, padding, dilation, more = ([a[i] for a in axes] for i in range(5))
    ones = torch.ones(1, 1, *kernel, dtype=torch.float64)
    options = (None, stride, padding, dilation, axes[0].transposed, more, 1)
    try:
        expected = torch.ops.aten.convolution.default(spots.double(), ones, *options) > 0.5
    except RuntimeError:
        return  # no such convolution
    assert torch.equal(_dilated(spots, axes).expand_as(expected), expected)
