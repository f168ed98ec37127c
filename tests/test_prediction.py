"""Tiled equals whole, whatever the tile; every pixel is written once; the border is as defined."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from overtile.engines import FunctionEngine
from overtile.engines.torch import TorchEngine, best_device, native_precision
from overtile.errors import SettingsError
from overtile.geometry import Field
from overtile.networks import build, fields_of
from overtile.normalise import Normalisation
from overtile.settings import UNetSettings
from overtile.tiler import Kind, Tiler, read_mirrored
from overtile.tiles import Border, cut

PLAIN = Normalisation((0.0,), (1.0,))
CPU = torch.device("cpu")


def image_of(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)


@pytest.fixture(scope="module", params=["valid", "same"])
def network(request: pytest.FixtureRequest) -> torch.nn.Module:
    made = build(UNetSettings(padding=request.param, depth=2, base_channels=4, norm="batch"), 1)
    made.train()
    with torch.no_grad():  # statistics of its own, so that normalisation does something
        made(torch.randn(2, 1, made.fields[0].good_size(64), made.fields[0].good_size(64)))
    return made.eval()


def tiler(network: torch.nn.Module, border: Border, precision: str = "float32") -> Tiler:
    return Tiler(
        TorchEngine(network, CPU, precision),
        network.fields,
        border=border,
        normalisation=PLAIN,
        activation="softmax",
    )


@pytest.mark.parametrize("shape", [(97, 131), (64, 64), (7, 100), (1, 1)])
@pytest.mark.parametrize("border", ["mirror", "own"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_tiled_is_whole(
    network: torch.nn.Module, shape: tuple[int, int], border: Border, precision: str
) -> None:
    if border == "own" and network.settings.padding == "valid":
        pytest.skip("a valid network has no border of its own; the settings refuse it")
    run = tiler(network, border, precision)
    image = image_of(*shape)
    whole = run.predict(image, None, "probabilities")
    assert whole.shape == (2, *shape)
    for tile_px in (16, 44, 1000):
        assert np.abs(run.predict(image, tile_px, "probabilities") - whole).max() <= 1e-5, tile_px
        classes = run.predict(image, tile_px, "classes")
        assert np.array_equal(classes, whole.argmax(axis=0)), tile_px


def test_whole_image_result_is_the_definition(network: torch.nn.Module) -> None:
    """Against numpy's padding by the margin, rounded up to the grid, and to the next good size."""
    field, image = network.fields[0], image_of(50, 61)
    lead = -(-field.margin // field.grid) * field.grid
    pads = [(lead, field.good_size(size + lead + field.margin) - size - lead) for size in (50, 61)]
    padded = np.pad(image, [(0, 0), *pads], mode="reflect")
    logits = TorchEngine(network, CPU, "float32")(padded[None])[0]
    skip = lead - (field.margin if field.padding == "valid" else 0)
    expected = logits[:, skip : skip + 50, skip : skip + 61]
    ((_, got),) = tiler(network, "mirror").logits(image, None)
    assert np.allclose(got, expected, atol=1e-6)


def test_own_border_is_the_networks_own() -> None:
    """An image of a good size goes through as it is."""
    made = build(UNetSettings(padding="same", depth=2, base_channels=3), 2).eval()
    image = image_of(32, 48)
    with torch.no_grad():
        expected = made(torch.from_numpy(image[None]))[0].numpy()
    ((_, got),) = tiler(made, "own").logits(image, None)
    assert np.allclose(got, expected, atol=1e-5)


@given(
    st.sampled_from([("valid", 1), ("valid", 3), ("same", 2), ("same", 4)]),
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.integers(16, 200),
    st.sampled_from(["mirror", "own"]),
)
@settings(max_examples=150, deadline=None)
def test_tiles_are_good_windows(
    kind: tuple[str, int], shape: tuple[int, int], tile_px: int, border: Border
) -> None:
    """Written once; on the grid; of a valid size; with a margin wherever the image goes on."""
    fields = fields_of(UNetSettings(padding=kind[0], depth=kind[1]))
    border = "mirror" if kind[0] == "valid" else border
    written = np.zeros(shape, int)
    for tile in cut(shape, fields, tile_px, border):
        written[tile.write] += 1
        for (start, stop), crop, write, size, field in zip(
            tile.read, tile.crop, tile.write, shape, fields, strict=True
        ):
            assert start % field.grid == 0
            assert field.is_valid(stop - start)
            origin = start + (field.margin if field.padding == "valid" else 0)
            assert (origin + crop.start, origin + crop.stop) == (write.start, write.stop)
            assert crop.stop <= field.out(stop - start)
            assert write.stop - write.start <= tile_px
            if border == "mirror" or start > 0:
                assert write.start - start >= field.margin
            if border == "mirror" or stop < size:
                assert stop - write.stop >= field.margin
    assert (written == 1).all()


def test_a_tile_below_the_grid_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"tile of 15 px.*at least 16"):
        cut((100, 100), (Field("same", 16, 92),) * 2, 15)


def test_only_the_needed_block_is_read() -> None:
    """A stand-in for a file counts what is sliced out of it; the engine is a lambda."""

    class Counted:
        shape, dtype = (1, 4096, 64), np.dtype(np.uint8)
        rows = 0

        def __getitem__(self, key: tuple[slice, ...]) -> NDArray[np.uint8]:
            assert key[1].stop <= 4096
            self.rows = max(self.rows, key[1].stop - key[1].start)
            return np.zeros((1, key[1].stop - key[1].start, 64), np.uint8)

    image, fields = Counted(), (Field("same", 4, 6),) * 2
    run = Tiler(
        FunctionEngine(lambda windows: np.concatenate([windows, -windows], axis=1)),
        fields,
        border="mirror",
        normalisation=PLAIN,
        activation="sigmoid",
    )
    result = run.predict(image, 256, "probabilities")  # type: ignore[arg-type]
    assert result.shape == (2, 4096, 64)
    assert np.allclose(result, 0.5)
    assert image.rows <= 256 + 2 * 8


def test_mirrored_reads_are_numpys() -> None:
    image = image_of(20, 30)
    tile = cut((20, 30), (Field("same", 4, 6),) * 2, None)[0]
    before = [-start for start, _ in tile.read]
    after = [stop - size for (_, stop), size in zip(tile.read, (20, 30), strict=True)]
    pads = [(0, 0), *zip(before, after, strict=True)]
    assert np.array_equal(read_mirrored(image, tile), np.pad(image, pads, mode="reflect"))


def test_precision_follows_the_device() -> None:
    assert native_precision(best_device()) in {"float32", "bfloat16"}
    engine = TorchEngine(build(UNetSettings(depth=1, base_channels=2), 0))
    assert engine(np.zeros((1, 1, 20, 20), np.float32)).dtype == np.float32


class Narrow(FunctionEngine):
    """Refuses windows beyond a number of pixels, as a device without memory does."""

    def __init__(self, engine: TorchEngine, most_px: int) -> None:
        super().__init__(engine)
        self.most_px, self.refused = most_px, 0

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        if windows[0, 0].size > self.most_px:
            self.refused += 1
            raise MemoryError("out of memory")
        return super().__call__(windows)


@pytest.mark.parametrize("kind", ["classes", "probabilities", "foreground"])
def test_a_tile_without_memory_is_halved(network: torch.nn.Module, kind: Kind) -> None:
    """As often as it takes; the result is the same, and what failed is not tried again."""
    border: Border = "mirror" if network.settings.padding == "valid" else "own"
    image = image_of(150, 170)
    run = tiler(network, border)
    whole = run.predict(image, 100, kind)
    narrow = Narrow(run.engine, 100**2)
    run.engine = narrow
    halved = run.predict(image, 100, kind)
    assert np.abs(halved.astype(float) - whole).max() <= 1e-5
    assert 0 < narrow.refused <= 3
    run = tiler(network, border)
    run.engine = Narrow(run.engine, 10)
    with pytest.raises(SettingsError, match="not enough memory for the smallest tile, which reads"):
        run.predict(image, 100, kind)


def test_torch_without_memory_says_so() -> None:
    class Hungry(torch.nn.Module):
        said = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"

        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise RuntimeError(self.said)

    windows = np.zeros((1, 1, 4, 4), np.float32)
    with pytest.raises(MemoryError, match="can't allocate"):
        TorchEngine(Hungry(), CPU, "float32")(windows)
    Hungry.said = "shapes do not fit"
    with pytest.raises(RuntimeError, match="do not fit"):
        TorchEngine(Hungry(), CPU, "float32")(windows)


@pytest.mark.parametrize("norm", ["batch", "batch-renorm"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_folded_norms_are_the_same_function(norm: str, dimensions: int) -> None:
    made = build(
        UNetSettings(padding="same", depth=1, base_channels=3, norm=norm, dimensions=dimensions)
    )
    with torch.no_grad():
        made(torch.randn(3, 1, *[12] * dimensions) * 2 + 1)
    made.eval()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    windows = torch.randn(1, 1, *[8] * dimensions)
    with torch.no_grad():
        expected = made(windows).numpy()
    assert np.allclose(TorchEngine(made, CPU, "float32")(windows.numpy()), expected, atol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in made.state_dict().items())
