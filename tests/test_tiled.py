"""A network of anyone's gives in tiles what it gives for the whole image, or is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import overtile
from overtile.errors import DataError, ModelError, SettingsError
from overtile.tileable import measure_fields


class Own(nn.Module):
    """As somebody would write it: a stride, dilation, bilinear upsampling, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Conv2d(2, 6, 3, padding=1)
        self.down = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.wide = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.head = nn.Conv2d(14, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        first = torch.relu(self.into(image))
        low = F.max_pool2d(torch.relu(self.norm(self.down(first))), 2)
        low = low + torch.relu(self.wide(low))
        high = F.interpolate(low, scale_factor=4, mode="bilinear", align_corners=False)
        return self.head(torch.cat([first, high], dim=1))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    made = Own()
    made(torch.randn(4, 2, 32, 32))
    return made.eval()


@pytest.mark.parametrize("tile_px", [None, 16, 37, (32, 20)])
def test_tiles_are_the_whole(network: nn.Module, tile_px: int | tuple[int, int] | None) -> None:
    image = np.random.default_rng(0).normal(size=(2, 92, 120)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(image[None]))[0].numpy()
    got = overtile.tiled(network, image, tile_px=tile_px)
    assert np.abs(got - expected).max() < 1e-5


def test_known_fields_are_not_measured(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = measure_fields(network, 2)
    monkeypatch.setattr("overtile.own_network.inspect", None)
    image = np.zeros((2, 40, 40), np.uint8)
    assert overtile.tiled(network, image, fields=fields, tile_px=8).shape == (3, 40, 40)


def test_refused(network: nn.Module) -> None:
    image = np.zeros((2, 40, 40), np.float32)
    broken = nn.Sequential(network, nn.InstanceNorm2d(3))
    with pytest.raises(ModelError, match=r"layer '1' \(instance norm\).*Instead: batch norm"):
        overtile.tiled(broken, image)
    with pytest.raises(SettingsError, match="smaller than the network's grid"):
        overtile.tiled(network, image, tile_px=2)
    image[0, 3, 3] = np.inf
    with pytest.raises(DataError, match="holds infinite values"):
        overtile.tiled(network, image, tile_px=16)
