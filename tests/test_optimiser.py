"""How parameters are changed by gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from overtile.optimiser import (
    LENGTH,
    MUON_MOMENTUM,
    Muon,
    is_kernel,
    learning_rate_factor,
    make_optimiser,
    orthogonal,
)
from overtile.presets import RATES, default_settings, optimiser_for
from overtile.settings import NETWORK_SETTINGS, OptimiserSettings, PretrainedSettings

MUON = OptimiserSettings(name="muon", learning_rate=0.01, weight_decay=0.0)


def filled(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestMaking:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("sgd", torch.optim.SGD),
            ("adam", torch.optim.Adam),
            ("adamw", torch.optim.AdamW),
            ("muon", Muon),
        ],
    )
    def test_each_has_what_is_set(self, name: str, kind: type[torch.optim.Optimizer]) -> None:
        settings = OptimiserSettings(name=name, learning_rate=0.1, momentum=0.8, weight_decay=0.02)
        rated = [([nn.Parameter(torch.ones(1))], 1.0)]
        group = make_optimiser(rated, settings).param_groups[0]
        assert type(make_optimiser(rated, settings)) is kind
        assert (group["lr"], group["weight_decay"]) == (0.1, 0.02)
        assert (group["momentum"] if name == "sgd" else group["betas"][0]) == 0.8

    def test_muon_is_for_networks_with_norms_that_begin_at_random(self) -> None:
        for name, kind in NETWORK_SETTINGS.items():
            network, chosen = kind.suggested(), default_settings(name).optimiser
            muon = name in ("unet", "unet3d", "unetpp")
            assert chosen.name == optimiser_for(network) == ("muon" if muon else "adamw")
            assert chosen.learning_rate == RATES[chosen.name]
            assert not (muon and isinstance(network, PretrainedSettings))
        bare = default_settings().network.model_copy(update={"norm": "none"})
        assert optimiser_for(bare) == "adamw"


class TestOrthogonal:
    @pytest.mark.parametrize("shape", [(8, 8), (4, 36), (48, 5), (64, 576), (1, 9)])
    def test_singular_values_become_about_one_and_directions_stay(
        self, shape: tuple[int, int]
    ) -> None:
        rows, _, columns = torch.linalg.svd(filled(*shape), full_matrices=False)
        matrix = rows * torch.logspace(1, -1, min(shape)) @ columns
        found = rows.T @ orthogonal(matrix) @ columns.T
        values = found.diag()
        assert 0.5 < values.min() <= values.max() < 1.3
        assert torch.allclose(found, values.diag(), atol=1e-4)

    def test_size_of_the_gradient_does_not_matter(self) -> None:
        matrix = filled(6, 20)
        assert torch.allclose(orthogonal(1e3 * matrix), orthogonal(matrix), atol=1e-5)

    def test_nothing_stays_nothing(self) -> None:
        assert torch.equal(orthogonal(torch.zeros(3, 4)), torch.zeros(3, 4))

    def test_bfloat16_is_close(self) -> None:
        matrix = filled(16, 40)
        found = orthogonal(matrix.bfloat16())
        assert found.dtype is torch.bfloat16
        assert (found.float() - orthogonal(matrix)).abs().max() < 0.05


class TestMuon:
    def network(self) -> nn.Sequential:
        torch.manual_seed(0)
        layers = (nn.Conv2d(2, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ConvTranspose2d(6, 4, 2, 2))
        return nn.Sequential(*layers, nn.Conv2d(4, 3, 1))

    def train(self, network: nn.Module, optimiser: torch.optim.Optimizer, steps: int = 3) -> None:
        for step in range(steps):
            optimiser.zero_grad()
            network(filled(2, 2, 9, 9, seed=step)).square().mean().backward()
            optimiser.step()

    def test_is_its_formula(self) -> None:
        """Nesterov's momentum, orthogonalised, of a length by the kernel's larger side."""
        kernel = nn.Parameter(filled(4, 3, 3, 3))
        rate, decay = 0.01, 0.1
        settings = MUON.model_copy(update={"weight_decay": decay})
        optimiser = make_optimiser([([kernel], 1.0)], settings)
        expected, momentum = kernel.detach().clone(), torch.zeros(4, 27)
        for step in range(3):
            gradient = filled(4, 3, 3, 3, seed=step + 1)
            kernel.grad = gradient.clone()
            optimiser.step()
            matrix = gradient.reshape(4, 27)
            momentum = MUON_MOMENTUM * momentum + (1 - MUON_MOMENTUM) * matrix
            ahead = MUON_MOMENTUM * momentum + (1 - MUON_MOMENTUM) * matrix
            change = LENGTH * 27**0.5 * orthogonal(ahead).reshape(kernel.shape)
            expected = (1 - rate * decay) * expected - rate * change
        assert torch.allclose(kernel, expected, atol=1e-6)

    def test_its_matrices_are_those_of_pytorch(self) -> None:
        """A matrix under `torch.optim.Muon` goes where a kernel of as many numbers goes."""
        kernel = nn.Parameter(filled(8, 5, 2, 2))
        matrix = nn.Parameter(kernel.detach().reshape(8, 20).clone())
        optimiser = make_optimiser([([kernel], 1.0)], MUON, torch.bfloat16)
        other = torch.optim.Muon(
            *([matrix], 0.01, 0.0, MUON_MOMENTUM), adjust_lr_fn="match_rms_adamw"
        )
        for step in range(4):
            gradient = filled(8, 5, 2, 2, seed=step + 1)
            kernel.grad, matrix.grad = gradient, gradient.reshape(8, 20).clone()
            optimiser.step()
            other.step()
        assert torch.allclose(kernel.reshape(8, 20), matrix, atol=1e-3)
        assert not torch.allclose(kernel, filled(8, 5, 2, 2), atol=1e-2)

    @pytest.mark.parametrize("shape", [(64, 64, 3, 3), (8, 2, 3, 3, 3), (96, 4, 2, 2)])
    def test_a_change_has_its_length_whatever_the_shape(self, shape: tuple[int, ...]) -> None:
        kernel = nn.Parameter(torch.zeros(shape))
        optimiser = make_optimiser([([kernel], 1.0)], MUON)
        kernel.grad = 1e-4 * filled(*shape)
        optimiser.step()
        assert 0.6 < kernel.square().mean().sqrt().item() / (0.01 * LENGTH) < 1.3

    def test_all_but_kernels_are_changed_as_adamw_changes_them(self) -> None:
        network, other = self.network(), self.network()
        muon = make_optimiser([([*network.parameters()], 1.0)], MUON)
        adamw = make_optimiser(
            [([*other.parameters()], 1.0)], MUON.model_copy(update={"name": "adamw"})
        )
        self.train(network, muon, steps=1)
        self.train(other, adamw, steps=1)
        kernels = []
        for (name, one), two in zip(network.named_parameters(), other.parameters(), strict=True):
            kernels += [name] * is_kernel(one)
            assert torch.equal(one, two) != is_kernel(one), name
        assert kernels == ["0.weight", "2.weight"]  # not that of one pixel, nor one per channel
        assert not is_kernel(nn.Conv2d(6, 6, 3, groups=6).weight)

    def test_layout_of_the_memory_does_not_matter(self) -> None:
        network = self.network()
        other = copy.deepcopy(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for one in (network, other):
            self.train(one, make_optimiser([([*one.parameters()], 1.0)], MUON))
        for one, two in zip(network.parameters(), other.parameters(), strict=True):
            assert torch.allclose(one, two, atol=1e-4)

    def test_its_state_goes_on_where_it_was(self) -> None:
        network = self.network()
        optimiser = make_optimiser([([*network.parameters()], 1.0)], MUON)
        self.train(network, optimiser)
        other = copy.deepcopy(network)
        again = make_optimiser([([*other.parameters()], 1.0)], MUON)
        again.load_state_dict(copy.deepcopy(optimiser.state_dict()))
        self.train(network, optimiser)
        self.train(other, again)
        for one, two in zip(network.parameters(), other.parameters(), strict=True):
            assert torch.equal(one, two)

    def test_a_closure_is_called(self) -> None:
        network = self.network()
        optimiser = make_optimiser([([*network.parameters()], 1.0)], MUON)

        def loss() -> Tensor:
            optimiser.zero_grad()
            found: Tensor = network(filled(2, 2, 9, 9)).square().mean()
            found.backward()
            return found

        first = optimiser.step(loss)
        for _ in range(20):
            last = optimiser.step(loss)
        assert last < first


class TestSchedule:
    def test_rises_and_falls(self) -> None:
        cosine = [learning_rate_factor(step, 1000, "cosine") for step in range(1001)]
        assert max(cosine) == cosine[49] == 1
        assert cosine[0] == pytest.approx(1 / 50)
        assert cosine[525] == pytest.approx(0.001 + 0.999 / 2, abs=1e-3)
        assert cosine[1000] == pytest.approx(0.001)

    def test_constant(self) -> None:
        assert learning_rate_factor(5, 10, "constant") == 1
