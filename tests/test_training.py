"""Training: data as a function of (seed, step, index), budgets, resuming, stopping, learning."""

from __future__ import annotations

import itertools
import math
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import overtile
from overtile import jobs, layouts, losses, presets, training
from overtile.dataset import Example, Slabs, digest, prepare
from overtile.errors import DataError, OutputError, SettingsError, SizeError
from overtile.geometry import Field
from overtile.image import as_image
from overtile.labels import understand
from overtile.networks import build
from overtile.normalise import Normalisation
from overtile.planning import Budget
from overtile.planning.window import volume_sides
from overtile.sample import draw_sample
from overtile.settings import (
    AugmentSettings,
    LossSettings,
    NormalisationSettings,
    OptimiserSettings,
    PixelWeightSettings,
    Settings,
    UNetSettings,
    WindowSettings,
)
from overtile.step import (
    Average,
    Step,
    measure_step_s,
    window_sizes,
)
from overtile.training.calibration import adjustment, logit_shift

SMALL = Settings(
    network=UNetSettings(padding="same", depth=2, base_channels=4, norm="batch", dropout=0.1),
    window=WindowSettings(size_px=32, batch_size=2),
    border="own",
    averaging=0.9,
    precision="float32",
    layout="contiguous",
)


def sample(count: int = 3) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint16]]]:
    drawn = [draw_sample(0, index, (128, 112)) for index in range(count)]
    return [image for image, _ in drawn], [cells for _, cells in drawn]


def slabs(examples: list[Example], start: int = 0, stop: int = 10, seed: int = 0) -> Slabs:
    return Slabs(
        examples,
        [Normalisation((100.0,), (50.0,))] * len(examples),
        labelled_px=np.array([np.count_nonzero(each.labelled) for each in examples]),
        context_px=(60, 60),
        window_px=(20, 20),
        seed=seed,
        steps=(start, stop),
        batch_size=2,
    )


VOLUMES = SMALL.model_copy(
    update={
        "network": SMALL.network.model_copy(update={"dimensions": 3, "dropout": 0}),
        "window": WindowSettings(size_px=(12, 16, 16), batch_size=2),
        "calibrate": True,
    }
)


def ball(seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A volume with a bright ball in noise, and its label."""
    random = np.random.default_rng(seed)
    centre = random.uniform(7, 13, (3, 1, 1, 1))
    label = (((np.indices((18, 24, 20)) - centre) ** 2).sum(axis=0) < 36).astype(np.uint8)
    return (100 + 60 * label + random.integers(0, 60, label.shape)).astype(np.uint8), label


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    images, labels = sample()
    pairs = [(image[None], label) for image, label in zip(images, labels, strict=True)]
    return prepare(pairs, understand(labels), PixelWeightSettings())


class TestData:
    def test_an_item_depends_on_seed_step_and_index_alone(self, examples: list[Example]) -> None:
        whole, later = slabs(examples), slabs(examples, start=4)
        assert len(whole) == 20
        for item in range(len(later)):
            for one, other in zip(later[item], whole[8 + item], strict=True):
                assert torch.equal(one, other)
        assert not torch.equal(whole[0][0], whole[1][0])
        assert not torch.equal(whole[0][0], slabs(examples, seed=1)[0][0])

    def test_a_slab_is_cut_from_the_mirrored_image(self) -> None:
        """Every pixel names its place, so a slab shows where it was cut."""
        places = np.arange(30 * 40, dtype=np.float32).reshape(1, 30, 40)
        target = (places[0] % 2).astype(np.int16)
        example = Example(places, target, places[0] + 1, np.array([1]))
        made = Slabs(
            [example],
            [Normalisation((0.0,), (1.0,))],
            labelled_px=np.array([1]),
            context_px=(60, 60),
            window_px=(20, 20),
            seed=0,
            steps=(0, 50),
            batch_size=1,
        )
        extended = np.pad(places[0], 29, mode="reflect")
        for item in range(50):
            image, truth, weight, _ = made[item]
            middle = image[0, 20:40, 20:40].numpy()
            y, x = divmod(int(middle[0, 0]), 40)  # the counted window lies inside the image
            assert np.array_equal(middle, places[0, y : y + 20, x : x + 20])
            top, left = y - 20 + 29, x - 20 + 29
            if 0 <= top <= len(extended) - 60 and 0 <= left <= extended.shape[1] - 60:
                assert np.array_equal(image[0], extended[top : top + 60, left : left + 60])
            assert torch.equal(truth, image[0].long() % 2)
            assert torch.equal(weight, image[0] + 1)

    def test_a_slab_of_a_volume_has_a_span_along_each_axis(self) -> None:
        """Flat as it is, the volume is mirrored along z; in the plane the window lies inside."""
        shape, window, context = (5, 30, 40), (8, 10, 12), (14, 20, 26)
        places = np.arange(5 * 30 * 40, dtype=np.float32).reshape(1, *shape)
        target = (places[0] % 2).astype(np.int16)
        example = Example(places, target, places[0] + 1, np.array([1]))
        made = Slabs(
            [example],
            [Normalisation((0.0,), (1.0,))],
            labelled_px=np.array([1]),
            context_px=context,
            window_px=window,
            seed=0,
            steps=(0, 40),
            batch_size=1,
        )
        wide = [(c, c) for c in context]
        extended = np.pad(places[0], wide, mode="reflect")
        seen = set()
        for item in range(40):
            image, truth, weight, _ = made[item]
            assert image.shape == (1, *context)
            _, y, x = np.unravel_index(int(image[0, 6, 5, 7]), shape)
            assert 0 <= y <= 30 - 10 and 0 <= x <= 40 - 12
            seen.add((y, x))
            # The window's middle is the volume's along z: it begins at 5 // 2 - 8 // 2 = -2.
            begin = [
                start + wide_ - before
                for start, wide_, before in zip((-2, y, x), context, (3, 5, 7), strict=True)
            ]
            cut = tuple(slice(b, b + size) for b, size in zip(begin, context, strict=True))
            assert np.array_equal(image[0], extended[cut])
            assert torch.equal(truth, image[0].long() % 2)
            assert torch.equal(weight, image[0] + 1)
        assert len(seen) > 30

    def test_images_are_drawn_by_their_labelled_pixels(self) -> None:
        plain = np.zeros((1, 40, 40), np.float32)
        ignored = np.full((40, 40), -1, np.int16)
        half = ignored.copy()
        half[:20] = 0
        none, some = (
            Example(plain, t, np.ones((40, 40), "f4"), np.array([])) for t in (ignored, half)
        )
        assert slabs([none, some]).shares.tolist() == [0, 1]

    def test_touching_cells_are_separated_in_the_target(self) -> None:
        label = np.zeros((20, 20), np.uint8)
        label[5:15, 2:10], label[5:15, 10:18] = 1, 2
        meaning = understand([label], "instances")
        (example,) = prepare([(np.zeros((1, 20, 20)), label)], meaning, PixelWeightSettings())
        assert (example.target[5:15, 9:11] == 0).all()
        assert (example.target[5:15, 2:9] == 1).all()
        assert example.weight[10, 9] > example.weight[0, 0] + 5
        assert sorted(example.areas_px) == [70, 70]

    def test_labels_without_any_class_are_refused(self) -> None:
        meaning = understand([np.array([[0, 1, 2, 255]])])
        nothing = np.full((1, 4), 255)
        with pytest.raises(DataError, match="No pixel of the training labels belongs to a class"):
            prepare([(np.zeros((1, 1, 4)), nothing)], meaning, PixelWeightSettings())

    def test_digests_tell_images_apart(self) -> None:
        image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
        assert digest(image) == digest(image.copy())
        assert (
            len({digest(image), digest(image.astype(np.int16)), digest(image.reshape(1, 3, 2))})
            == 3
        )


class TestStep:
    def test_sizes_of_a_valid_window(self) -> None:
        chosen = presets.paper_settings()
        sizes = window_sizes(chosen, build(UNetSettings(base_channels=1)).fields)
        assert (sizes.read, sizes.out, sizes.counted) == ((572, 572), (388, 388), (388, 388))
        assert min(sizes.context) > 572 * math.sqrt(2)

    def test_the_edge_is_left_out(self) -> None:
        """What lies in the edge of a window changes no loss."""
        chosen = SMALL.model_copy(
            update={
                "window": WindowSettings(size_px=32, batch_size=1, edge_px=8),
                "augment": AugmentSettings(
                    flip=False, deform=0, rotate=False, gain=0, offset=0, gamma=0, noise=0
                ),
                "network": SMALL.network.model_copy(
                    update={"depth": 1, "kernel_size": 1, "norm": "none"}
                ),
            }
        )
        step = Step(build(chosen.network), chosen).eval()
        size = step.sizes.context[0]
        image, target = torch.randn(1, 1, size, size), torch.zeros(1, size, size).long()
        weight, seeds = torch.ones(1, size, size), torch.tensor([1])
        before = step((image, target, weight, seeds))
        low = (size - 32) // 2
        target[:, low : low + 8] = 1
        assert torch.equal(step((image, target, weight, seeds)), before)
        target[:, low + 8] = 1
        assert not torch.equal(step((image, target, weight, seeds)), before)

    def test_sizes_of_a_valid_window_of_a_volume(self) -> None:
        """Those of a 3-D U-Net of depth 1, where every axis has its own side."""
        chosen = Settings(
            network=UNetSettings(dimensions=3, depth=1, base_channels=1),
            window=WindowSettings(size_px=(20, 24, 30), batch_size=3),
        )
        step = Step(build(chosen.network), chosen)
        sizes = step.sizes
        out = step.network(torch.zeros(1, 1, *sizes.read)).shape[2:]
        assert sizes.out == sizes.counted == tuple(out) == (4, 8, 14)
        assert step.pixels == 3 * sizes.counted_px == 3 * 4 * 8 * 14
        slab = torch.randn(3, 1, *sizes.context)
        target = torch.zeros(3, *sizes.context).long()
        batch = (slab, target, torch.ones(3, *sizes.context), torch.arange(3))
        assert step(batch).isfinite()

    def test_every_axis_has_its_own_field(self) -> None:
        """A network that pools y and x alone takes any depth."""
        fields = (Field("same", 1, 3), Field("same", 8, 20), Field("same", 4, 9))
        chosen = Settings(
            network=UNetSettings(dimensions=3, padding="same"),
            window=WindowSettings(size_px=(5, 16, 20)),
        )
        assert window_sizes(chosen, fields).out == (5, 16, 20)
        with pytest.raises(SizeError, match=r"20 px does not fit .* are 16 and 24 px"):
            window_sizes(chosen, (fields[0], fields[2], fields[1]))
        # sqrt(2 * 256^2 / 7) = 136.8
        assert volume_sides((7, 300, 300), (1, 1, 1), fields, 0) == (7, 136, 136)

    def test_average_is_the_formula(self) -> None:
        network = torch.nn.BatchNorm2d(2)
        average, expected = Average(network, 0.5), 1.0
        for update, value in enumerate([2.0, 5.0, -1.0, 4.0]):
            with torch.no_grad():
                network.weight.fill_(value)
                network.num_batches_tracked.fill_(update + 7)
            average.update(network)
            keep = min(0.5, (1 + update) / (10 + update))
            expected = keep * expected + (1 - keep) * value
        assert average.state["weight"][0].item() == pytest.approx(expected)
        assert average.state["num_batches_tracked"] == 10

    def test_measuring_changes_nothing(self) -> None:
        step = Step(build(SMALL.network), SMALL)
        before = {name: value.clone() for name, value in step.network.state_dict().items()}
        size = step.sizes.context[0]
        batch = (
            torch.randn(2, 1, size, size),
            torch.zeros(2, size, size).long(),
            torch.ones(2, size, size),
            torch.tensor([1, 2]),
        )
        assert measure_step_s(step, batch, repeats=1) > 0
        for name, value in step.network.state_dict().items():
            assert torch.equal(value, before[name]), name


class TestCalibration:
    def test_volumes_are_predicted_in_tiles_with_their_places(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Every logit meets the class of its own voxel, whatever the tiles."""
        seen = []

        def note(predicted: object, activation: str) -> torch.Tensor:  # noqa: ARG001
            seen.extend(predicted)
            return torch.zeros(2)

        monkeypatch.setattr("overtile.training.finishing.logit_shift", note)
        volume, label = ball()
        made = overtile.train(volume, label, steps=1, settings=VOLUMES)
        ((_, whole),) = made.predictor.tiler.logits(volume[None], None)
        halves = [(slice(0, side), slice(side, None)) for side in (12, 16, 16)]
        for place, (logits, truth) in zip(itertools.product(*halves), seen, strict=True):
            assert np.array_equal(truth, label[place])
            gap = np.abs(logits[0] - whole[:, *place])
            assert gap.mean() < 0.02 * whole.std()  # one of the two is in bfloat16

    @pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
    def test_class_shares_come_right(self, activation: str) -> None:
        """At the best constant shift, mean probability equals the share of each class."""
        random = np.random.default_rng(0)
        logits = (
            random.normal(size=(3, 50, 60)).astype(np.float32)
            + np.array([2, 0, -1], "f4")[:, None, None]
        )
        target = random.choice([-1, 0, 1, 2], p=[0.1, 0.2, 0.3, 0.4], size=(50, 60)).astype(
            np.int16
        )
        shift = logit_shift([(logits[None], target)], LossSettings(activation=activation)).numpy()
        shifted = torch.from_numpy(logits + shift[:, None, None])
        likely = shifted.softmax(0) if activation == "softmax" else shifted.sigmoid()
        mean = likely[:, torch.from_numpy(target >= 0)].mean(1).numpy()
        shares = np.bincount(target[target >= 0], minlength=3) / (target >= 0).sum()
        assert np.allclose(mean, shares, atol=2e-3)

    @pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
    def test_shares_come_right_for_the_mean_of_passes(self, activation: str) -> None:
        """As above, where prediction averages the probabilities of several passes."""
        random = np.random.default_rng(1)
        logits = random.normal(size=(4, 3, 80, 90)).astype(np.float32) * 3
        target = random.choice([-1, 0, 1, 2], p=[0.1, 0.2, 0.3, 0.4], size=(80, 90))
        shift = logit_shift(
            [(logits, target.astype(np.int16))], LossSettings(activation=activation)
        )
        shifted = torch.from_numpy(logits) + shift[:, None, None]
        likely = shifted.softmax(1) if activation == "softmax" else shifted.sigmoid()
        seen = target >= 0
        seen &= np.arange(seen.size).reshape(seen.shape) % 4 == 0
        mean = likely.mean(0)[:, torch.from_numpy(seen)]
        truth = torch.nn.functional.one_hot(torch.from_numpy(target[seen]), 3).T

        def worth(mean: torch.Tensor) -> float:
            given = mean.log() if activation == "softmax" else None
            if given is not None:
                return float(-(given * truth).sum(0).mean())
            return float(-(truth * mean.log() + (1 - truth) * (1 - mean).log()).mean())

        best = worth(mean)
        for number in range(3):  # no shift of one class is better: the likelihood is at its top
            for step in (-0.05, 0.05):
                other = shifted.clone()
                other[:, number] += step
                moved = other.softmax(1) if activation == "softmax" else other.sigmoid()
                assert worth(moved.mean(0)[:, torch.from_numpy(seen)]) > best

    def test_a_shift_is_limited(self) -> None:
        """Where the likelihood alone would ask for 15."""
        target = np.indices((4, 4)).sum(axis=0).astype(np.int16) % 2
        logits = np.stack([30.0 + (target == 0), target]).astype(np.float32)
        shift = logit_shift([(logits[None], target)], LossSettings())
        assert shift.tolist() == [-5, 5]

    @pytest.mark.parametrize(
        "trained", [{"dice": 1.0}, {"cross_entropy": 0.0, "dice": 1.0}, {"focal": 1.0}]
    )
    def test_no_other_shift_has_less_of_the_trained_loss(self, trained: dict[str, float]) -> None:
        """Where all pixels weigh the same; cross-entropy has a part in any case."""
        random = np.random.default_rng(3)
        logits = torch.from_numpy(random.normal(size=(1, 3, 40, 50)).astype(np.float32))
        target = random.choice([0, 1, 2], p=[0.6, 0.37, 0.03], size=(40, 50)).astype(np.int16)
        kind = LossSettings(**trained)
        shift = logit_shift([(logits.numpy(), target)], kind)
        counted = kind.model_copy(update={"cross_entropy": 1.0})

        def worth(shift: torch.Tensor) -> float:
            truth = torch.from_numpy(target)[None].long()
            ones = torch.ones(truth.shape)
            return float(losses.loss(logits + shift[:, None, None], truth, ones, counted))

        for number in range(3):
            for step in (-0.05, 0.05):
                other = shift.clone()
                other[number] += step
                assert worth(other) > worth(shift)

    @pytest.mark.parametrize("overlap", [False, True])
    def test_a_class_that_no_pixel_has_is_left_where_it_is(self, overlap: bool) -> None:
        """And the others are shifted to what is known of them."""
        random = np.random.default_rng(2)
        logits = random.normal(size=(1, 3, 40, 50)).astype(np.float32)
        ids = random.choice([0, 2], p=[0.3, 0.7], size=(40, 50)).astype(np.int16)
        target = (ids == np.arange(3)[:, None, None]).astype(np.int16) if overlap else ids
        kind = LossSettings(activation="sigmoid" if overlap else "softmax")
        shift = logit_shift([(logits, target)], kind).numpy()
        assert shift[1] == 0
        assert shift[2] > 0.3 > -0.3 > shift[0]

    @pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
    def test_what_is_taken_out_are_frequencies(self, share: float) -> None:
        """All of them leave what the pixels alone say (Bayes), none what was."""
        random = np.random.default_rng(4)
        alone = random.random((3, 50))
        counts = [900, 90, 10]
        logits = np.log(alone * np.array(counts)[:, None])
        taken = adjustment(counts, share).numpy()
        assert taken.sum() == pytest.approx(0, abs=1e-5)
        left = logits + taken[:, None] - np.log(alone)
        frequencies = (1 - share) * np.log(counts)
        expected = (frequencies - frequencies[0])[:, None] + np.zeros_like(left)
        assert left - left[0] == pytest.approx(expected, abs=1e-5)

    def test_a_class_without_pixels_has_no_frequency(self) -> None:
        assert adjustment([5, 0, 50], 1.0)[1] == 0
        assert adjustment([5, 0, 50], 1.0).sum() == 0

    @pytest.mark.parametrize("calibrate", [False, True])
    def test_models_differ_by_what_is_taken_out(self, calibrate: bool) -> None:
        chosen = SMALL.model_copy(update={"calibrate": calibrate})
        adjusted = chosen.model_copy(update={"logit_adjustment": 0.5})
        images, labels = sample(3)[0], [(cells > 0).astype(np.uint8) for cells in sample(3)[1]]
        plain, other = (
            overtile.train(images, labels, steps=2, settings=settings).model
            for settings in (chosen, adjusted)
        )
        counts = np.bincount(np.stack(labels).ravel())
        taken = adjustment(counts.tolist(), 0.5).numpy()
        found = other.test["logits"] - plain.test["logits"]
        assert found[0, 0] - found[0, 1] == pytest.approx(taken[0] - taken[1], abs=1e-4)

    def test_many_images_have_a_part(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A part of each, where there are many: a few might lack a class."""
        seen: list[int] = []
        calibrated = SMALL.model_copy(update={"calibrate": True})

        def note(predicted, _trained):
            seen.extend(target.size for _, target in predicted)
            return torch.zeros(2)

        monkeypatch.setattr("overtile.training.finishing.logit_shift", note)
        monkeypatch.setattr("overtile.training.finishing.ENOUGH_PX", 3 * 90**2)
        monkeypatch.setattr("overtile.training.finishing.LEAST_PX", 80)
        overtile.train(*sample(3), steps=1, settings=calibrated)
        assert seen == [90**2] * 3
        monkeypatch.setattr("overtile.training.finishing.LEAST_PX", 100)
        overtile.train(*sample(3), steps=1, settings=calibrated)
        assert seen[3:] == [100**2] * 3

    def test_enough_pixels_are_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("overtile.training.calibration.ENOUGH_PX", 10)

        def images():
            yield np.zeros((1, 2, 4, 4), np.float32), np.zeros((4, 4), np.int16)
            pytest.fail("a second image was predicted")

        logit_shift(images(), LossSettings())


class TestRuns:
    def test_it_learns(self) -> None:
        """On held-out pictures it finds the cells, which are brighter, in seconds."""
        images, labels = sample(4)
        model = overtile.train(images[:3], labels[:3], steps=100, settings=SMALL)
        scores = overtile.evaluate(model, images[3:], labels[3:]).mean
        assert scores["IoU object"] > 0.55
        history = model.model.history
        assert history[-1].step == 100
        assert history[-1].loss < 0.7 * history[0].loss

    def test_same_seed_same_model(self) -> None:
        images, labels = sample(1)
        one, other = (overtile.train(images, labels, steps=3, settings=SMALL) for _ in range(2))
        for name, value in one.model.parameters.items():
            assert np.array_equal(value, other.model.parameters[name]), name

    def test_drop_out_leaves_the_callers_randomness_alone(self) -> None:
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        overtile.train(*sample(1), steps=2, settings=SMALL)
        assert torch.equal(torch.rand(1), expected)

    def test_held_out_images_are_never_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        read: list[str] = []
        really = layouts.Source._whole  # all pixels come through here, of labels too
        monkeypatch.setattr(
            layouts.Source,
            "_whole",
            lambda self, image: read.append(self.origin) or really(self, image),
        )
        images, labels = sample(3)
        model = overtile.train(images, labels, steps=1, holdout="1", settings=SMALL)
        assert set(read) == {"list[0]", "list[2]"}
        assert model.model.origin.held_out == ("1",)

    def test_minutes_are_kept(self, tmp_path: Path) -> None:
        images, labels = sample(2)
        begin = time.monotonic()
        model = overtile.train(images, labels, minutes=0.2, settings=SMALL, output=tmp_path / "m")
        took = time.monotonic() - begin
        assert took <= 1.05 * 12
        assert model.model.origin.planned_steps > 5

    def test_the_clock_stops_a_run_that_is_late(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("overtile.planning.making.steps_for", lambda *_, **__: 100_000)
        monkeypatch.setattr("overtile.training.pace.Pace.look", lambda *_: 100_000)
        model = overtile.train(*sample(1), minutes=0.1, settings=SMALL)
        origin = model.model.origin
        assert origin.stopped == "time"
        assert 0 < origin.steps < 100_000

    def test_resuming_needs_a_run_and_the_same_data(self, tmp_path: Path) -> None:
        images, labels = sample(2)
        with pytest.raises(OutputError, match="There is nothing to resume"):
            overtile.train(images, labels, steps=1, output=tmp_path / "m", resume=True)
        with pytest.raises(OutputError, match="To resume, give the output of the run"):
            overtile.train(images, labels, steps=1, resume=True)
        state = training.State(tmp_path / "m", resume=False)
        training.train(layouts.pairs(images, labels), SMALL, Budget(steps=1), state=state)
        state.checkpoint.touch()
        with pytest.raises(DataError, match="was begun on other images"):
            overtile.train(images[:1], labels[:1], steps=1, output=tmp_path / "m", resume=True)

    def test_a_resumed_run_keeps_its_settings(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(training.watch, "CHECKPOINT_S", 0)
        data, budget = layouts.pairs(*sample(1)), Budget(steps=60)
        scheme = NormalisationSettings(scheme="percentiles")
        begun = SMALL.model_copy(update={"normalisation": scheme})
        state = training.State(tmp_path / "m", resume=False)
        training.train(data, begun, budget, state=state)
        state = training.State(tmp_path / "m", resume=True)
        made = training.train(data, SMALL, budget, state=state)
        assert made.settings.normalisation == scheme
        assert made.normalisation.scheme == "percentiles"

    def test_ctrl_c_leaves_a_usable_model(self, tmp_path: Path) -> None:
        def interrupt(_: training.Progress) -> None:
            signal.raise_signal(signal.SIGINT)

        images, labels = sample(1)
        before = signal.getsignal(signal.SIGINT)  # ignored where the tests run in the background
        made = overtile.train(
            images, labels, steps=500, settings=SMALL, output=tmp_path / "m", on_step=interrupt
        )
        assert made.model.origin.stopped == "interrupt"
        assert 0 < made.model.origin.steps < 20
        assert overtile.load(tmp_path / "m").predict(images[0]).shape == images[0].shape
        assert signal.getsignal(signal.SIGINT) is before

    def test_a_second_ctrl_c_stops_at_once(self) -> None:
        def interrupt(_: training.Progress) -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

        with pytest.raises((KeyboardInterrupt, SystemExit)):
            overtile.train(*sample(1), steps=500, settings=SMALL, on_step=interrupt)

    def test_divergence_is_said(self) -> None:
        wild = SMALL.model_copy(
            update={
                "optimiser": OptimiserSettings(name="sgd", learning_rate=1e30, schedule="constant"),
                "network": SMALL.network.model_copy(update={"norm": "none"}),
            }
        )
        with pytest.raises(SettingsError, match=r"diverged. Lower optimiser.learning_rate"):
            overtile.train(*sample(1), steps=20, settings=wild)

    def test_images_of_mixed_channels_are_refused(self) -> None:
        images, labels = sample(2)
        colour = np.stack([images[1]] * 3, axis=-1)
        with pytest.raises(DataError, match="The images have 1 and 3 channels"):
            overtile.train([images[0], colour], labels, steps=1, settings=SMALL)

    def test_pairs_that_do_not_fit_are_refused(self) -> None:
        images, labels = sample(1)
        with pytest.raises(DataError, match="image has 128 x 112 pixels and its label 127 x 112"):
            overtile.train(images, [labels[0][:-1]], steps=1, settings=SMALL)
        broken = images[0].astype(np.float32)
        broken[3, 3] = np.inf
        with pytest.raises(DataError, match="the image holds infinite values"):
            overtile.train([broken], labels, steps=1, settings=SMALL)

    @pytest.mark.parametrize("norm", ["none", "batch", "batch-renorm"])
    def test_a_valid_network_in_the_papers_way(self, norm: str) -> None:
        """The paper's preset with a small network, through training, prediction and tiles."""
        paper = presets.paper_settings()
        small = paper.model_copy(
            update={
                "network": paper.network.model_copy(
                    update={"base_channels": 2, "depth": 2, "norm": norm}
                ),
                "window": WindowSettings(size_px=76, batch_size=1),
            }
        )
        images, labels = sample(1)
        model = overtile.train(images, labels, steps=2, settings=small)
        whole = model.probabilities(images[0])
        assert np.abs(model.probabilities(images[0], tile_px=32) - whole).max() <= 1e-5
        assert np.allclose(whole.sum(axis=0), 1, atol=1e-5)


def test_sigmoid_and_dice_train_too() -> None:
    from overtile.settings import LossSettings

    both = SMALL.model_copy(update={"loss": LossSettings(activation="sigmoid", dice=1.0)})
    images, labels = sample(1)
    model = jobs.train(images, labels, epochs=0.5, settings=both)
    assert model.probabilities(images[0]).shape == (2, 128, 112)


@pytest.fixture(scope="module")
def trained() -> overtile.Segmenter:
    """A model of volumes."""
    return overtile.train(*ball(), steps=25, settings=VOLUMES)


class TestVolumes:
    def test_it_learns(self, trained: overtile.Segmenter) -> None:
        """A ball that it never saw; the scores are those of the predicted classes."""
        volume, label = ball(1)
        evaluation = overtile.evaluate(trained, volume, label)
        (row,) = evaluation.rows
        found = trained.predict(volume)
        assert found.shape == volume.shape
        both, either = ((found & label) == 1).sum(), ((found | label) == 1).sum()
        assert row.scores["IoU foreground"] == pytest.approx(both / either)
        assert row.scores["pixel error"] == pytest.approx((found != label).mean())
        assert row.scores["IoU foreground"] > 0.5
        assert evaluation.best_threshold is None
        assert not {"V_rand", "V_info", "Rand error"} & row.scores.keys()

    @pytest.mark.parametrize("tile_px", [8, 12])
    def test_tiles_give_what_the_whole_gives(
        self, trained: overtile.Segmenter, tile_px: int
    ) -> None:
        volume, _ = ball(2)
        whole = trained.probabilities(volume)
        assert whole.shape == (2, *volume.shape)
        assert np.allclose(whole.sum(axis=0), 1, atol=1e-5)
        assert np.abs(trained.probabilities(volume, tile_px=tile_px) - whole).max() <= 1e-5
        assert np.array_equal(
            trained.find_objects(whole, as_image(volume)), trained.objects(volume)
        )

    def test_a_valid_network_of_volumes(self) -> None:
        """An oblong window, mirrored borders, and probabilities shifted in tiles."""
        chosen = VOLUMES.model_copy(
            update={
                "network": VOLUMES.network.model_copy(update={"padding": "valid", "depth": 1}),
                "window": WindowSettings(size_px=(20, 24, 24), batch_size=1),
                "border": "mirror",
            }
        )
        volume, label = ball()
        model = overtile.train(volume, label, steps=2, settings=chosen)
        whole = model.probabilities(volume)
        assert np.abs(model.probabilities(volume, tile_px=10) - whole).max() <= 1e-5

    def test_a_model_of_volumes_is_kept(self, trained: overtile.Segmenter, tmp_path: Path) -> None:
        trained.save(tmp_path / "m")
        again = overtile.load(tmp_path / "m")
        assert again.model.settings.window.size_px == (12, 16, 16)
        volume, _ = ball(3)
        assert np.array_equal(again.predict(volume), trained.predict(volume))

    def test_planes_are_no_volumes(self, trained: overtile.Segmenter) -> None:
        image, label = ball()[0][0], ball()[1][9]
        with pytest.raises(
            DataError, match=r"array has the axes 'yx' of shape .* none of them is z"
        ):
            overtile.train(image, label, steps=1, settings=VOLUMES)
        with pytest.raises(DataError, match="Planes are for a network of 2 dimensions"):
            overtile.evaluate(trained, image, label)
