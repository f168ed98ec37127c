"""Labels to be scored with classes that training never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import overtile
from overtile import io, layouts
from overtile.cli import main
from overtile.errors import DataError
from overtile.evaluation import Evaluation, evaluate_pairs
from overtile.image import Image
from overtile.labels import ClassHint, Hints, Label, LabelMeaning, understand, with_unseen
from overtile.labels.label import code_of
from overtile.settings import Settings, UNetSettings, WindowSettings

TRUTH = np.repeat(np.array([[0, 1, 2, 7, 7, 9]]), 4, axis=0)
LEARNT = understand([TRUTH.clip(max=2)])
NAMED = Hints(classes=(ClassHint("bus", 7), ClassHint("car", 9)))


def scored(meaning: LabelMeaning, truth: NDArray[np.int64], predicted: int) -> Evaluation:
    """The scores of a model that gives one class everywhere."""
    pairs = layouts.pairs(np.zeros(truth.shape, np.uint8), truth.astype(np.uint8))

    def predict(_: Image) -> NDArray[np.float32]:
        likely = np.zeros((len(meaning.names), *truth.shape), np.float32)
        likely[predicted] = 1
        return likely

    return evaluate_pairs(pairs, meaning, predict, lambda *_: truth.astype(np.int32))


def test_pixels_of_unseen_classes_are_errors() -> None:
    evaluation = scored(LEARNT, TRUTH, 1)
    scores = evaluation.pooled
    assert evaluation.meaning.names == (*LEARNT.names, "class 7", "class 9")
    assert scores["pixel error"] == pytest.approx((TRUTH != 1).mean())
    assert scores["IoU class 7"] == scores["Dice class 9"] == 0
    assert scores["IoU class 1"] == pytest.approx((TRUTH == 1).mean())


def test_class_ids_of_training_stay() -> None:
    meaning = with_unseen(LEARNT, [Label(TRUTH)], NAMED)
    assert meaning.names == (*LEARNT.names, "bus", "car")
    known = TRUTH <= 2
    assert np.array_equal(
        meaning.class_map(TRUTH)[known], LEARNT.class_map(TRUTH.clip(max=2))[known]
    )
    assert (meaning.class_map(TRUTH)[TRUTH == 9] == 4).all()


def test_labels_written_in_another_way_are_refused() -> None:
    learnt = understand([np.array([[0, 255]])])
    with pytest.raises(DataError, match="holds the value 1, which is none of the classes 0, 255"):
        scored(learnt, np.array([[0, 1, 1]]), 1)


def test_named_classes_need_no_others() -> None:
    alone = np.full((4, 4), 7)
    assert with_unseen(LEARNT, [Label(alone)], Hints()) == LEARNT
    assert with_unseen(LEARNT, [Label(alone)], NAMED).names[-1] == "bus"


def test_damage_is_refused() -> None:
    damaged = np.arange(256).reshape(16, 16)
    with pytest.raises(DataError, match="holds the value 3, which is none of the classes 0, 1, 2"):
        scored(LEARNT, damaged, 1)


def test_colours() -> None:
    red, blue, green = (255, 0, 0), (0, 0, 255), (0, 255, 0)
    seen = Label(np.array([[code_of(red), code_of(blue)]]), "colours")
    other = Label(np.array([[code_of(red), code_of(blue), code_of(green)]]), "colours")
    meaning = understand([seen])
    found = with_unseen(meaning, [other], Hints())
    assert found.names[2:] == ("#00FF00",)
    assert found.colours[2:] == (green,)
    named = with_unseen(meaning, [other], Hints(classes=(ClassHint("grass", colour=green),)))
    assert named.names[2:] == ("grass",)


def test_said_on_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    truth = np.zeros((64, 64), np.uint8)
    truth[:, 20:] = 255
    network = UNetSettings(padding="same", depth=2, base_channels=4, norm="batch", dropout=0)
    settings = Settings(network=network, window=WindowSettings(size_px=32, batch_size=2))
    overtile.train(truth, truth, steps=1, settings=settings, output=tmp_path / "m")
    truth[:, 40:] = 99
    files = [str(tmp_path / name) for name in ("i.png", "l.png", "page.html")]
    for file in files[:2]:
        io.write(Path(file), Image(truth, "yx"))
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(tmp_path / "m"), *files[:2], "--report", files[2]])
    assert ended.value.code == 0
    told = "Training saw no label with class 99: the model cannot predict it"
    assert told in capfd.readouterr().err
    assert told in Path(files[2]).read_text()
