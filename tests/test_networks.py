"""What every network of the table promises, alone in anyone's loop: sizes, learning, export."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import overtile
from overtile.engines import tracing
from overtile.errors import SizeError
from overtile.io import open as open_image
from overtile.networks import NETWORKS, Network, build
from overtile.networks.summary import summarise
from overtile.networks.torchvision import mend_torchvision
from overtile.settings import NETWORK_SETTINGS, Settings, WindowSettings
from overtile.tileable import tiling_error

SMALL: dict[str, dict[str, Any]] = {
    "unet": {"depth": 2, "base_channels": 3, "dropout": 0, "norm": "batch", "channels": 2},
    "unet3d": {"depth": 1, "base_channels": 2, "classes": 3},
    "unetpp": {"depth": 2, "base_channels": 3, "norm": "batch", "classes": 3},
    "fcn": {"stride": 8, "base_channels": 2, "fc_channels": 6, "dropout": 0, "channels": 3},
    "patchnet": {"base_channels": 4, "fc_channels": 5},
    "ternausnet": {"base_channels": 4, "encoder_weights": "none", "channels": 3},
    "encoder-unet": {"encoder": "test_resnet", "base_channels": 2, "encoder_weights": "none"},
}
"""Of every network one that runs in a moment."""


@pytest.fixture(scope="module", autouse=True)
def no_trace() -> Iterator[None]:
    """PyTorch's log of its tracing, which pytest would keep, takes longer than the tracing."""
    logger, refuse = logging.getLogger("torch.__trace"), lambda _: False
    logger.addFilter(refuse)
    yield
    logger.removeFilter(refuse)


@pytest.fixture(params=SMALL)
def network(request: pytest.FixtureRequest) -> Network:
    if request.param == "encoder-unet":
        mend_torchvision()
        pytest.importorskip("timm")
    return build(NETWORK_SETTINGS[request.param](**SMALL[request.param]), seed=1)


def image_for(network: Network, cells: int = 1, batch: int = 1) -> torch.Tensor:
    """A random image a few cells of the grid larger than the smallest, other along each axis."""
    sizes = [
        field.smallest + (cells + axis) * field.grid for axis, field in enumerate(network.fields)
    ]
    random = torch.Generator().manual_seed(0)
    return torch.randn(batch, network.settings.channels, *sizes, generator=random)


def test_all_are_here() -> None:
    assert SMALL.keys() == NETWORKS.keys() == NETWORK_SETTINGS.keys()
    for name, kind in NETWORKS.items():
        assert kind.Settings is NETWORK_SETTINGS[name]
        assert kind.Settings().name == name
        assert (kind.__doc__ or "").splitlines()[0].endswith(".")


def test_it_keeps_its_contract(network: Network) -> None:
    """Logits of the promised size, exact in tiles, the last of the heads."""
    image = image_for(network, batch=2)
    network.eval()
    logits = network(image)
    sizes = [f.out(size) for f, size in zip(network.fields, image.shape[2:], strict=True)]
    assert logits.shape == (2, network.settings.classes, *sizes)
    assert torch.equal(network.heads(image)[-1], logits)
    settings = network.settings
    error = tiling_error(network, settings.channels, network.fields, settings.dimensions)
    assert error < 1e-10


def test_it_is_an_ordinary_module(network: Network) -> None:
    """A step of anyone's optimiser changes every parameter; the state goes to a file and back."""
    image = image_for(network, batch=2)
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    with torch.no_grad():  # what begins at zero, on purpose, would keep others from learning
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    before = copy.deepcopy(network.state_dict())
    sum(logits.square().mean() for logits in network.heads(image)).backward()
    optimiser.step()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            # A bias before a batch norm has a gradient of rounding errors only.
            moved = not torch.equal(parameter, before[name])
            assert moved or parameter.grad.abs().max() < 1e-6, name
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    again = build(network.settings, seed=2)
    again.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert torch.equal(again.eval()(image), network.eval()(image))


def test_it_shifts_its_logits(network: Network) -> None:
    image, shift = image_for(network), torch.arange(network.settings.classes) / 4
    network.eval()
    before = network.heads(image)
    network.shift_logits(shift)
    along = (1, -1) + (1,) * network.settings.dimensions
    for old, new in zip(before, network.heads(image), strict=True):
        assert torch.allclose(new, old + shift.view(along), atol=1e-6)


def test_it_compiles_as_one_graph(network: Network) -> None:
    """`torch.compile` without a break; its own code generator is tried by the slow test."""
    network.eval()
    image = image_for(network)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True, dynamic=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's own code
        made = compiled(image)
    assert torch.allclose(made, network(image), atol=1e-5)
    torch.compiler.reset()


@pytest.mark.slow
def test_it_compiles_to_code(network: Network) -> None:
    network.eval()
    image = image_for(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.compile(network)(image)
    assert torch.allclose(made, network(image), atol=1e-4)
    torch.compiler.reset()


def test_it_exports_to_onnx(network: Network) -> None:
    """For any batch and any size that fits, with ONNX Runtime as the witness."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network.eval()
    file = io.BytesIO()
    with tracing.quiet():
        program = torch.onnx.export(tracing.trace(network), dynamo=True, verbose=False)
        assert program is not None
        program.save(file)
        session = runtime.InferenceSession(file.getvalue())
    for cells, batch in [(0, 1), (2, 3)]:
        image = image_for(network, cells, batch)
        with torch.no_grad():
            expected = network(image).numpy()
        (made,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        assert np.allclose(made, expected, atol=1e-4), (cells, batch)


def test_its_table_is_what_it_has(network: Network) -> None:
    """Shapes and parameters of the layer table are those of a real pass."""
    image = image_for(network)
    with torch.device("meta"):
        layers = summarise(NETWORKS[network.settings.name](network.settings), image.shape[2:])
    shapes: list[tuple[int, ...]] = []
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    for module in network.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda _, __, made: shapes.append(tuple(made.shape[1:])))
    logits = network.eval().heads(image)[-1]
    assert [row.shape for row in layers if "conv " in row.kind] == shapes
    assert layers[-1].shape == tuple(logits.shape[1:])
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert sum(row.trainable for row in layers) == trained


def test_others_are_refused(network: Network) -> None:
    settings = network.settings
    image = image_for(network)
    with pytest.raises(SizeError, match=f"takes a batch of {settings.channels}-channel images"):
        network(image.repeat(1, 2, *[1] * settings.dimensions))
    if network.fields[-1].grid > 1:
        with pytest.raises(SizeError, match=f"A side of {image.shape[-1] + 1} px does not fit"):
            network(nn.functional.pad(image, (0, 1)))


def test_the_main_job_on_a_real_crop(network: Network, shared_data: Path, tmp_path: Path) -> None:
    """Trained, saved, loaded and predicted on electron micrographs, or on a volume of nuclei."""
    settings = network.settings.model_copy(update={"classes": 2})
    if settings.dimensions == 3:
        names, crop = ("nuclei3d_image.tif", "nuclei3d_labels.tif"), np.s_[:20, :40, :36]
        folder, kind = shared_data / "volumes", "instances"
    else:
        names, crop = ("train-volume.tif", "train-labels.tif"), np.s_[0, :100, :90]
        folder, kind = shared_data / "isbi2012", "classes"
    image, label = (np.asarray(open_image(folder / name).data[crop]) for name in names)
    if settings.channels > 1:
        image = np.stack([image] * settings.channels, axis=-1)
    side = 24 if settings.dimensions == 3 else 40
    chosen = Settings(
        network=settings,
        window=WindowSettings(size_px=[f.good_size(side) for f in network.fields], batch_size=1),
        border=settings.border,
        precision="float32",
        layout="contiguous",
    )
    made = overtile.train(image, label, steps=2, settings=chosen, labels_are=kind)
    made.save(tmp_path / "m")
    again = overtile.load(tmp_path / "m", engine="torch", precision="float32")
    whole = again.probabilities(image)
    grid = max(field.grid for field in network.fields)
    assert whole.shape == (2, *label.shape)
    assert np.allclose(again.probabilities(image, tile_px=max(grid, 16)), whole, atol=1e-5)
    assert np.array_equal(again.predict(image), whole.argmax(axis=0))
