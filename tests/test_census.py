"""Classes counted while a network trains, and training compared with prediction."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import overtile
import overtile.model as storage
from overtile import networks
from overtile.cli import main
from overtile.cli.show import training_progress
from overtile.image import as_image
from overtile.io import write
from overtile.losses import probabilities
from overtile.model.manifest import Disparity
from overtile.networks.renorm import BatchRenorm
from overtile.sample import draw_sample
from overtile.settings import (
    LabelSettings,
    LossSettings,
    OptimiserSettings,
    PixelWeightSettings,
    Settings,
    UNetSettings,
    WindowSettings,
)
from overtile.step import Batch, Step
from overtile.training import Progress
from overtile.training.census import Census
from overtile.training.disparity import measure_disparity, remark

NAMES = ("ground", "road", "water")
SOFTMAX = Settings(pixel_weight=PixelWeightSettings(balance_classes=False))
SIGMOID = Settings(loss=LossSettings(activation="sigmoid"))


def logits_of(ids: Tensor, classes: int = 3) -> Tensor:
    """Logits (b k *space) whose largest is that of the class ids (b *space)."""
    return nn.functional.one_hot(ids, classes).movedim(-1, 1).float()


class TestCounts:
    @settings(deadline=None, max_examples=20)
    @given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 2**30), st.booleans())
    def test_wrong_pixels_by_definition(
        self, batches: int, side: int, seed: int, overlap: bool
    ) -> None:
        """Pixel by pixel; ignored ones, and those of weight 0, are left out."""
        random = np.random.default_rng(seed)
        census = Census(NAMES, SIGMOID if overlap else SOFTMAX)
        wrong, counted = 0.0, 0
        for _ in range(batches):
            scores = random.normal(size=(2, 3, side, side)).astype(np.float32)
            weight = random.integers(0, 2, (2, side, side)).astype(np.float32)
            shape = (2, 3, side, side) if overlap else (2, side, side)
            target = random.integers(-1, 2 if overlap else 3, shape)
            census.count(*map(torch.from_numpy, (scores, target, weight)))
            for place in np.ndindex(2, side, side):
                b, y, x = place
                truth = target[b, :, y, x] if overlap else target[place]
                if weight[place] == 0 or np.any(truth < 0):
                    continue
                counted += 1
                score = scores[b, :, y, x]
                if overlap:
                    wrong += float(np.mean((score > 0) != truth))
                else:
                    wrong += float(score.argmax() != truth)
        found = census.record(10)
        if counted:
            assert found == pytest.approx(wrong / counted)
        else:
            assert math.isnan(found)

    def test_without_a_batch_there_is_nothing(self) -> None:
        census = Census(NAMES, SOFTMAX)
        assert math.isnan(census.record(10))
        assert census.remarks() == []


def filled(found: Tensor, true: Tensor, chosen: Settings = SOFTMAX, records: int = 25) -> Census:
    """A census of 10 * records steps, all alike."""
    census = Census(NAMES, chosen)
    for number in range(1, records + 1):
        census.count(logits_of(found), true, torch.ones(found.shape))
        census.record(10 * number)
    return census


class TestRemarks:
    TRUE = torch.tensor([[[0, 0, 0, 0, 0, 0, 1, 1, 1, 2]]])

    def test_a_class_that_is_never_predicted(self) -> None:
        found = torch.tensor([[[0, 0, 0, 1, 1, 1, 1, 1, 1, 1]]])
        (said,) = filled(found, self.TRUE).remarks()
        assert said.startswith(
            "Class 'water' has not been predicted in the last 200 steps, although 10 % of the "
            "labelled pixels there are of it: train for longer, or set "
            "pixel_weight.balance_classes=true"
        )
        balanced = Settings(pixel_weight=PixelWeightSettings(balance_classes=True))
        (said,) = filled(found, self.TRUE, balanced).remarks()
        assert "balance_classes" not in said

    def test_a_constant_prediction(self) -> None:
        (said,) = filled(torch.zeros_like(self.TRUE), self.TRUE, records=3).remarks()
        assert said.startswith(
            "Every pixel has been predicted as 'ground' in the last 30 steps, although 40 % of the "
            "labelled pixels there are of other classes: train for longer"
        )

    def test_nothing_is_amiss(self) -> None:
        assert filled(self.TRUE, self.TRUE).remarks() == []
        only = torch.ones_like(self.TRUE)
        assert filled(only, only).remarks() == []

    def test_classes_that_overlap(self) -> None:
        true = torch.stack([k == self.TRUE for k in range(3)], dim=1).long()
        census = Census(NAMES, SIGMOID)
        scores = torch.where(true > 0, 1.0, -1.0)
        scores[:, 2] = -1
        census.count(scores, true, torch.ones(self.TRUE.shape))
        census.record(10)
        (said,) = census.remarks()
        assert said.startswith("Class 'water' has not been predicted in the last 10 steps")

    def test_the_first_look_is_taken_once_and_not_too_early(self) -> None:
        zeros = torch.zeros_like(self.TRUE)
        assert filled(zeros, self.TRUE, records=24).look(240, 1000) == []
        assert filled(zeros, self.TRUE, records=3).look(30, 100) == []
        census = filled(zeros, self.TRUE)
        assert len(census.look(250, 1000)) == 1
        assert census.look(260, 1000) == []

    def test_a_resumed_census_says_the_same(self) -> None:
        census = filled(torch.zeros_like(self.TRUE), self.TRUE, records=12)
        again = Census(NAMES, SOFTMAX)
        again.load(census.state())
        assert again.remarks() == census.remarks()
        assert again.state() == census.state()

    def test_in_a_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sure of the first class, and too slow to change; said meanwhile, and kept at the end."""
        always(monkeypatch, (100, 0))
        image, cells = draw_sample(0, 0, (64, 72))
        said: list[tuple[int, str]] = []
        made = overtile.train(
            image,
            (cells > 0).astype(np.uint8),
            steps=120,
            settings=UNMOVED,
            on_step=lambda now: said.extend((now.step, note) for note in now.notes),
        ).model
        assert [step for step, _ in said] == [100, 120]
        assert all("Every pixel has been predicted as" in note for _, note in said)
        assert made.origin.notes == (said[1][1],)
        assert all(0 < row.pixel_error < 1 for row in made.history)

    def test_a_line_between_objects_that_is_never_predicted(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is an output like the others, though it is no class."""
        always(monkeypatch, (50, 50, -50))
        image, _ = draw_sample(0, 0, (64, 72))
        cells = np.zeros(image.shape[-2:], np.uint8)
        cells[4:60, 4:36], cells[4:60, 36:68] = 1, 2
        line = PixelWeightSettings(separation="class")
        chosen = {"pixel_weight": line, "labels": LabelSettings(kind="instances")}
        made = overtile.train(
            image,
            cells,
            steps=120,
            settings=UNMOVED.model_copy(update=chosen),
            keep={"pixel_weight.separation"},
        ).model
        (said,) = [note for note in made.origin.notes if "line between objects" in note]
        assert said.startswith("Class 'line between objects' has not been predicted")


def always(monkeypatch: pytest.MonkeyPatch, bias: tuple[float, ...]) -> None:
    """Networks begin with this at each of their outputs."""
    honest = networks.build

    def build(*values: object) -> networks.Network:
        made = honest(*values)  # type: ignore[arg-type]
        with torch.no_grad():
            made.head.get_parameter("bias").copy_(torch.tensor(bias))
        return made

    monkeypatch.setattr(networks, "build", build)


UNMOVED = Settings(
    network=UNetSettings(padding="same", depth=1, base_channels=2, dropout=0),
    window=WindowSettings(size_px=16, batch_size=2),
    optimiser=OptimiserSettings(learning_rate=1e-9),
    border="own",
    precision="float32",
)


def slabs(step: Step, seed: int) -> Batch:
    random = torch.Generator().manual_seed(seed)
    sides = step.sizes.context
    windows = step.settings.window.batch_size
    return (
        torch.randn(windows, 1, *sides, generator=random),
        torch.randint(0, 2, (windows, *sides), generator=random),
        torch.ones(windows, *sides),
        torch.arange(windows) + 100 * seed,
    )


def made_step(norm: str, batch_size: int = 2) -> Step:
    chosen = Settings(
        network=UNetSettings(padding="same", depth=1, base_channels=2, norm=norm, dropout=0.5),
        window=WindowSettings(size_px=16, batch_size=batch_size),
        border="own",
        precision="float32",
        layout="contiguous",
    )
    return Step(networks.build(chosen.network, 1), chosen)


class TestDisparity:
    @pytest.mark.parametrize("norm", ["batch", "batch-renorm"])
    def test_it_is_the_difference_of_the_two_modes(self, norm: str) -> None:
        """By calling the network in each, drop-out off; the parameters given stay as they are."""
        step, batches = made_step(norm), []
        state = {name: value.clone() for name, value in step.network.state_dict().items()}
        for name in state:
            if name.endswith("num_batches_tracked"):
                state[name] += 130  # where the corrections of batch renormalisation act
        kept = {name: value.clone() for name, value in state.items()}
        batches = [slabs(step, seed) for seed in (1, 2, 3)]
        found = measure_disparity(step, state, batches)
        assert found is not None
        gaps = []
        for batch in batches:
            window, *_ = step.augmentation(*batch)
            made = []
            for mode in (True, False):
                step.network.load_state_dict(kept)
                step.network.train(mode)
                for module in step.network.modules():
                    if isinstance(module, nn.Dropout):
                        module.eval()
                with torch.no_grad():
                    made.append(probabilities(step.network(window), "softmax"))
            gaps.append(float((made[0] - made[1]).abs().mean()))
        assert found.probability == pytest.approx(np.mean(gaps), rel=1e-5)
        assert found.probability > 0.01
        assert found.training_loss != found.prediction_loss
        for name, value in state.items():
            assert torch.equal(value, kept[name]), name

    @pytest.mark.parametrize("norm", ["none", "group", "instance"])
    def test_without_stored_statistics_there_is_none(self, norm: str) -> None:
        step = made_step(norm)
        assert measure_disparity(step, step.network.state_dict(), [slabs(step, 1)]) is None

    def test_statistics_of_these_very_windows_leave_hardly_any(self) -> None:
        """What is stored is what the batch has, but for the variance's count of one less."""
        step = made_step("batch", batch_size=4)
        batch = slabs(step, 5)
        for module in step.network.modules():
            if isinstance(module, nn.BatchNorm2d | BatchRenorm):
                module.momentum = 1.0
            if isinstance(module, nn.Dropout):
                module.eval()
        with torch.no_grad():
            step(batch)
        found = measure_disparity(step, step.network.state_dict(), [batch])
        assert found is not None
        assert found.probability < 1e-3

    def test_a_large_one_is_said(self) -> None:
        assert remark(None) == []
        assert remark(Disparity(probability=0.03, training_loss=1, prediction_loss=1)) == []
        (said,) = remark(Disparity(probability=0.25, training_loss=1, prediction_loss=1))
        assert "differ by 0.25 in the mean between training and prediction" in said
        assert "window.batch_size" in said


def test_notes_are_shown_and_reported(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once in the terminal while it trains; later in every report on the model."""
    with training_progress() as tell:
        tell(Progress(10, 20, 0.5, 1.0, 100, ("Class 'water' has not been predicted",)))
        tell(Progress(20, 20, 0.5, 2.0, 200))
    assert capsys.readouterr().err.count("Class 'water' has not been predicted") == 1
    model = storage.load(model_folder)
    found = Disparity(probability=0.25, training_loss=1, prediction_loss=1.5)
    amiss = {"notes": ("It went back <once>.",), "disparity": found}
    origin = model.origin.model_copy(update=amiss)
    storage.save(replace(model, origin=origin), tmp_path / "m")
    assert storage.load(tmp_path / "m").origin == origin
    image, cells = draw_sample(0, 1, (64, 72))
    write(tmp_path / "image.png", as_image(image))
    write(tmp_path / "label.png", as_image(cells))
    page = tmp_path / "page.html"
    data = [str(tmp_path / name) for name in ("m", "image.png", "label.png")]
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *data, "--report", str(page)])
    assert not ended.value.code
    text = page.read_text()
    assert '<p class="note" role="note">It went back &lt;once&gt;.</p>' in text
    assert "probabilities of training windows differ by 0.250 in the mean" in text
    assert "(loss 1.0000 and 1.5000)" in text
