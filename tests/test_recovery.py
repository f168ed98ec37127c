"""A run that diverges goes back and on; gradients are clipped, accumulated, computed again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import overtile
from overtile import networks, presets, training
from overtile.errors import SettingsError
from overtile.networks.renorm import BatchRenorm
from overtile.planning import machine
from overtile.sample import draw_sample
from overtile.settings import (
    AugmentSettings,
    OptimiserSettings,
    PatchNetSettings,
    Settings,
    UNetPlusPlusSettings,
    UNetSettings,
    WindowSettings,
    from_dict,
)
from overtile.step import Average, Batch, Step
from overtile.training import loop, module, watch
from overtile.training.recovery import MOST_RETURNS, Recovery, all_finite

SMALL = Settings(
    network=UNetSettings(padding="same", depth=1, base_channels=2, norm="batch", dropout=0.1),
    window=WindowSettings(size_px=16, batch_size=2),
    optimiser=OptimiserSettings(schedule="constant", learning_rate=1e-3),
    border="own",
    averaging=0.9,
    precision="float32",
    layout="contiguous",
)


def change(settings: Settings, **groups: dict[str, object]) -> Settings:
    """Settings with some values of some groups changed."""
    content = settings.model_dump()
    for name, values in groups.items():
        content[name] |= values
    return from_dict(Settings, content, "test")


@pytest.fixture(scope="module")
def pictures() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture of cells, and where they are."""
    image, cells = draw_sample(0, 0, (64, 72))
    return image, (cells > 0).astype(np.uint8)


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Good states every 10 steps, the loss looked at every 5."""
    monkeypatch.setattr(module, "CHUNK_STEPS", 10)
    monkeypatch.setattr(watch, "RECORD_STEPS", 5)


def batch_of(step: Step, windows: int = 2, seed: int = 0) -> Batch:
    """Random slabs, half of whose pixels are of class 1."""
    random = torch.Generator().manual_seed(seed)
    sides = step.sizes.context
    return (
        torch.randn(windows, 1, *sides, generator=random),
        torch.randint(0, 2, (windows, *sides), generator=random),
        torch.ones(windows, *sides),
        torch.arange(windows) + 1000 * seed,
    )


Spoil = Callable[[nn.Module, Tensor], Tensor]


def spoil(monkeypatch: pytest.MonkeyPatch, when: set[int], how: Spoil) -> list[int]:
    """Let something happen to the loss of some steps; a list of the steps that were trained."""
    honest, seen = module.TrainingModule.training_step, []

    def training_step(self: module.TrainingModule, batch: Batch, index: int) -> Tensor:
        seen.append(self.global_step)
        loss = honest(self, batch, index)
        return how(self.step.network, loss) if self.global_step in when else loss

    monkeypatch.setattr(module.TrainingModule, "training_step", training_step)
    return seen


class _BadGradient(torch.autograd.Function):
    """One, with a gradient of infinity."""

    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:  # noqa: ARG004
        return value.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return gradient * math.inf


def nan_loss(_: nn.Module, loss: Tensor) -> Tensor:
    return loss * math.nan


def infinite_gradient(_: nn.Module, loss: Tensor) -> Tensor:
    made: Tensor = _BadGradient.apply(loss)
    return made


def bad_parameter(network: nn.Module, loss: Tensor) -> Tensor:
    """A number that enters no loss: the bias of what a norm subtracts the mean from."""
    with torch.no_grad():
        network.down[0].conv1.bias[0] = math.inf  # type: ignore[index,union-attr]
    return loss


@pytest.mark.usefixtures("chunks")
class TestReturns:
    @pytest.mark.parametrize("how", [nan_loss, infinite_gradient, bad_parameter])
    def test_a_run_goes_back_and_on(
        self, monkeypatch: pytest.MonkeyPatch, pictures: tuple, how: Spoil
    ) -> None:
        """Of the 40 steps, none is repeated; the model is sound, and says what happened."""
        said: list[str] = []
        seen = spoil(monkeypatch, {16}, how)
        made = overtile.train(
            *pictures, steps=40, settings=SMALL, on_step=lambda now: said.extend(now.notes)
        ).model
        assert seen == list(range(40))
        (note,) = [each for each in made.origin.notes if "went back" in each]
        assert "to its state of step 10" in note
        assert "half the learning rate (now at most 0.0005)" in note
        assert note in said
        assert all(np.isfinite(value).all() for value in made.parameters.values())
        rates = {row.step: row.learning_rate for row in made.history}
        assert rates[10] == 1e-3
        assert rates[25] == rates[40] == 5e-4
        assert all(math.isfinite(row.loss) for row in made.history)

    def test_a_run_that_diverges_at_its_end_is_that_of_the_last_good_state(
        self, monkeypatch: pytest.MonkeyPatch, pictures: tuple
    ) -> None:
        twenty = overtile.train(*pictures, steps=20, settings=SMALL).model
        spoil(monkeypatch, {22}, nan_loss)
        ended = overtile.train(*pictures, steps=25, settings=SMALL).model
        for name, value in twenty.parameters.items():
            assert np.array_equal(value, ended.parameters[name]), name

    def test_a_run_that_never_learns_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch, pictures: tuple
    ) -> None:
        seen = spoil(monkeypatch, set(range(1000)), nan_loss)
        with pytest.raises(
            SettingsError,
            match=r"nan, and no earlier state helped: training diverged. Lower .* \(now 3",
        ):
            overtile.train(*pictures, steps=200, settings=SMALL)
        assert len(seen) == 5 * (MOST_RETURNS + 1)

    def test_a_short_run_that_learnt_nothing_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch, pictures: tuple
    ) -> None:
        spoil(monkeypatch, {1}, nan_loss)
        with pytest.raises(SettingsError, match="training diverged"):
            overtile.train(*pictures, steps=4, settings=SMALL)

    def test_too_high_a_rate_is_found_its_way_down(self, pictures: tuple) -> None:
        """Plain descent explodes at a rate of 1 (the usual is 0.01); at half of it, it learns."""
        wild = change(
            SMALL,
            network={"norm": "none", "activation": "leaky-relu"},
            optimiser={"name": "sgd", "learning_rate": 1.0, "momentum": 0.0},
        )
        made = overtile.train(*pictures, steps=60, settings=wild).model
        assert any("went back" in note for note in made.origin.notes)
        assert made.history[-1].loss < made.history[0].loss

    def test_a_model_that_gives_no_numbers_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch, pictures: tuple
    ) -> None:
        """Parameters that are finite, and so large that logits are not."""
        honest = loop.run

        def run(*values: object, **more: object) -> loop.Result:
            result = honest(*values, **more)  # type: ignore[arg-type]
            for value in result.parameters.values():
                value.mul_(1e25)
            return result

        monkeypatch.setattr(training, "run", run)
        plain = change(SMALL, network={"norm": "none"})
        with pytest.raises(SettingsError, match=r"logits became infinite or NaN.* diverged"):
            overtile.train(*pictures, steps=2, settings=plain)


class TestRecovery:
    @pytest.fixture
    def parts(self) -> Iterator[tuple[nn.Module, torch.optim.Optimizer, Average]]:
        network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        optimiser = torch.optim.AdamW(network.parameters(), 0.1)
        torch.optim.lr_scheduler.LambdaLR(optimiser, lambda _: 1.0)
        yield network, optimiser, Average(network, 0.5)

    def train(self, network: nn.Module, optimiser: torch.optim.Optimizer, average: Average) -> None:
        optimiser.zero_grad()
        network(
            torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(1))
        ).sum().backward()
        optimiser.step()
        average.update(network)

    def test_all_of_the_state_is_put_back(self, parts: tuple) -> None:
        """After it, the same step gives the same: parameters, statistics, moments, average."""
        network, optimiser, average = parts
        recovery = Recovery(network, average)
        self.train(*parts)
        assert recovery.keep(optimiser, 1)
        for group in optimiser.param_groups:
            group["lr"] *= 0.5
        self.train(*parts)
        expected = {n: v.clone() for n, v in (network.state_dict() | average.state).items()}
        for group in optimiser.param_groups:
            group["lr"] *= 2
        self.train(*parts)
        for _ in range(2):  # what is kept is not changed by what follows
            recovery.rate = 1.0
            for group in optimiser.param_groups:
                group["lr"] = 0.1
            recovery.go_back(optimiser, 3, "it was")
            self.train(*parts)
            found = network.state_dict() | average.state
            assert all(torch.equal(found[name], value) for name, value in expected.items())

    def test_a_loss_far_above_the_first_is_no_good_state(self, parts: tuple) -> None:
        recovery = Recovery(parts[0], parts[2])
        recovery.begin(parts[1], 0)
        recovery.saw(2.0)
        assert recovery.keep(parts[1], 10)
        recovery.saw(30.0)
        assert not recovery.keep(parts[1], 20)
        recovery.saw(15.0)
        assert recovery.keep(parts[1], 30)

    def test_a_moment_that_is_infinite_is_no_good_state(self, parts: tuple) -> None:
        """It would hold its parameter where it is for ever, without a word."""
        network, optimiser, average = parts
        self.train(*parts)
        recovery = Recovery(network, average)
        assert recovery.is_finite(optimiser)
        optimiser.state[network[0].weight]["exp_avg_sq"][0] = math.inf
        assert not recovery.keep(optimiser, 1)

    def test_all_finite(self) -> None:
        good = [torch.ones(2), torch.tensor([1, 2])]
        assert all_finite(good)
        assert all_finite([])
        for bad in (math.nan, math.inf, -math.inf):
            assert not all_finite([*good, torch.tensor([1.0, bad])])


class TestGradients:
    def test_the_step_of_a_clipped_gradient(self, pictures: tuple) -> None:
        """Plain descent moves the parameters by no more than rate times norm."""
        plain = change(
            SMALL,
            network={"norm": "none"},
            optimiser={"name": "sgd", "momentum": 0.0, "weight_decay": 0.0, "learning_rate": 0.01},
        )
        before = networks.build(plain.network, plain.seed).state_dict()

        def moved(clip_norm: float) -> float:
            chosen = change(plain, optimiser={"clip_norm": clip_norm})
            after = overtile.train(*pictures, steps=1, settings=chosen).model.parameters
            gaps = [torch.from_numpy(after[name]) - value for name, value in before.items()]
            return float(torch.cat([gap.flatten() for gap in gaps]).norm()) / 0.01

        # Of one step the average is 1 part in 10 old: min(0.9, 1 / 10).
        free = moved(0.0) / 0.9
        assert free > 0.02
        assert moved(free / 4) / 0.9 == pytest.approx(free / 4, rel=1e-3)
        assert moved(2 * free) / 0.9 == pytest.approx(free, rel=1e-6)

    @pytest.mark.parametrize("norm", ["none", "group"])
    def test_accumulated_batches_are_a_larger_one(self, pictures: tuple, norm: str) -> None:
        """The same windows, the same gradients: the same history and parameters, but rounding."""
        whole = change(
            SMALL, network={"norm": norm, "dropout": 0}, window={"batch_size": 4, "accumulate": 1}
        )
        parts = change(whole, window={"batch_size": 2, "accumulate": 2})
        one, other = (
            overtile.train(*pictures, steps=20, settings=chosen).model for chosen in (whole, parts)
        )
        assert [row.loss for row in one.history] == pytest.approx(
            [row.loss for row in other.history], rel=1e-5
        )
        assert [row.pixel_error for row in one.history] == pytest.approx(
            [row.pixel_error for row in other.history], abs=1e-3
        )
        for name, value in one.parameters.items():
            assert np.allclose(value, other.parameters[name], atol=2e-5), name

    def test_an_epoch_counts_all_windows_of_a_step(self, pictures: tuple) -> None:
        """64 x 72 px are 18 windows of 16 x 16 px: 5 steps of 4, 3 steps of 8."""
        for accumulate, steps in ((2, 5), (4, 3)):
            chosen = change(SMALL, window={"accumulate": accumulate})
            made = overtile.train(*pictures, epochs=1, settings=chosen).model
            assert made.origin.steps == steps


def both_ways(chosen: Settings) -> list[tuple[list[Tensor], dict[str, Tensor]]]:
    """Gradients and stored statistics after two batches, kept and computed again."""
    found = []
    for saving in (False, True):
        settings = chosen.model_copy(update={"memory_saving": saving})
        step = Step(networks.build(settings.network, 3), settings)
        optimiser = step.make_optimiser()
        for norm in step.network.modules():
            if isinstance(norm, BatchRenorm):
                norm.num_batches_tracked += 150  # where its corrections act
        for seed in (1, 2):
            torch.manual_seed(7)
            optimiser.zero_grad()
            step(batch_of(step, seed=seed)).backward()
            optimiser.step()
        gradients = [p.grad for p in step.network.parameters() if p.grad is not None]
        found.append((gradients, step.network.state_dict()))
    return found


class TestMemory:
    @pytest.mark.parametrize("norm", ["none", "batch", "batch-renorm", "group", "instance"])
    @pytest.mark.parametrize("block", ["plain", "residual"])
    def test_what_is_computed_again_is_the_same(self, norm: str, block: str) -> None:
        """To the bit: gradients, and statistics that are stored once."""
        network = {"norm": norm, "block": block, "dropout": 0.5, "activation": "leaky-relu"}
        kept, again = both_ways(change(SMALL, network=network))
        assert len(kept[0]) > 5
        for one, other in zip(kept[0], again[0], strict=True):
            assert torch.equal(one, other)
        for name, value in kept[1].items():
            assert torch.equal(value, again[1][name]), name

    def test_of_a_network_with_several_heads(self) -> None:
        network = UNetPlusPlusSettings(depth=2, base_channels=2, norm="batch", dropout=0)
        kept, again = both_ways(SMALL.model_copy(update={"network": network}))
        for one, other in zip(kept[0], again[0], strict=True):
            assert torch.equal(one, other)

    def test_less_is_kept(self) -> None:
        """Bytes that the graph of a step holds: at depth 1, less than half."""

        def held(saving: bool) -> int:
            chosen = change(SMALL, network={"base_channels": 8}, window={"size_px": 64})
            step = Step(
                networks.build(chosen.network), chosen.model_copy(update={"memory_saving": saving})
            )
            sizes: dict[int, int] = {}

            def keep(value: Tensor) -> Tensor:
                sizes[value.data_ptr()] = value.numel() * value.element_size()
                return value

            with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
                step(batch_of(step))
            return sum(sizes.values())

        assert held(True) < 0.6 * held(False)

    def test_networks_without_blocks_are_refused(self) -> None:
        chosen = SMALL.model_copy(
            update={"network": PatchNetSettings(), "border": "mirror", "memory_saving": True}
        )
        chosen = change(chosen, window={"size_px": 95})
        with pytest.raises(SettingsError, match=r"memory_saving .* this network has none"):
            Step(networks.build(chosen.network), chosen)


class TestPrecision:
    def test_float16_is_for_gpus(self, pictures: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(training.ranks, "best_device", lambda: torch.device("cpu"))
        half = SMALL.model_copy(update={"precision": "float16"})
        with pytest.raises(
            SettingsError, match=r"precision is float16, .* on the cpu: use 'bfloat16', 'float32'"
        ):
            overtile.train(*pictures, steps=1, settings=half)

    def test_auto_tries_it_where_a_gpu_has_no_bfloat16(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried = []

        def measure(step: Step, *_: object, **__: object) -> float:
            tried.append(step.settings.precision)
            return 1.0

        monkeypatch.setattr(machine, "measure_step_s", measure)
        monkeypatch.setattr(machine, "native_precision", lambda _: "float32")
        monkeypatch.setattr(machine, "best_device", lambda: torch.device("cuda"))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1 << 30, 1 << 30))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "an old one")
        timing = machine.Timing(lambda _: (torch.zeros(1),) * 4, torch.device("cpu"))
        reduced = machine.Machine.here().precision
        machine.fastest(SMALL.model_copy(update={"precision": "auto"}), reduced, timing)
        assert set(tried) == {"float16", "float32"}

    def test_float16_computes_in_it(self) -> None:
        """On a processor too, where it is only slow: logits come in half precision."""
        step = Step(
            networks.build(SMALL.network), SMALL.model_copy(update={"precision": "float16"})
        )
        seen: list[torch.dtype] = []
        step.on_logits = lambda logits, *_: seen.append(logits.dtype)
        assert step(batch_of(step)).isfinite()
        assert seen == [torch.float16]

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_float16_learns_on_a_gpu(self, pictures: tuple) -> None:
        half = SMALL.model_copy(update={"precision": "float16"})
        made = overtile.train(*pictures, steps=60, settings=half).model
        assert not [note for note in made.origin.notes if "went back" in note]
        assert made.history[-1].loss < made.history[0].loss


class TestSizes:
    @pytest.mark.parametrize("norm", ["batch", "batch-renorm", "instance"])
    def test_statistics_of_a_single_value_are_refused(self, pictures: tuple, norm: str) -> None:
        """16 px pooled four times leave one; at batch 1 it is alone."""
        alone = change(
            SMALL,
            network={"depth": 4, "norm": norm},
            window={"size_px": 16, "batch_size": 1},
        )
        with pytest.raises(SettingsError, match=r"window of 16 px at batch size 1 .* statistics"):
            overtile.train(*pictures, steps=1, settings=alone)

    def test_other_errors_of_a_network_are_left_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        step = Step(networks.build(SMALL.network), SMALL)

        def fail(_: Tensor) -> None:
            raise ValueError("of another kind")

        monkeypatch.setattr(step.network, "heads", fail)
        with pytest.raises(ValueError, match="of another kind"):
            step(batch_of(step))

    def test_the_default_preset_clips_and_the_papers_does_not(self) -> None:
        assert presets.default_settings().optimiser.clip_norm == 10
        assert presets.paper_settings().optimiser.clip_norm == 0
        assert presets.default_settings().augment == AugmentSettings(colour=0.3)
