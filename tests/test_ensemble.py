"""An ensemble: several models as one, on disk and in prediction."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import overtile
from overtile import model as storage
from overtile.cli import main
from overtile.engines import choice as choices
from overtile.engines.assembly import convert_all
from overtile.engines.torch import TorchEngine
from overtile.errors import ModelError, OutputError, SettingsError
from overtile.executors import Job, open_work
from overtile.file_to_file import PredictOptions
from overtile.geometry import Field
from overtile.image import Image
from overtile.model import Model
from overtile.model.ensemble import combine, ensemble_of, member_folder, save_ensemble
from overtile.networks import build
from overtile.normalise import Normalisation
from overtile.resample import PixelSize
from overtile.sample import draw_sample
from overtile.segmenter import Segmenter
from overtile.settings import LossSettings, Settings, UNetPlusPlusSettings, WindowSettings

CPU = torch.device("cpu")
IMAGE, CELLS = draw_sample(0, 0, (80, 100))
NORMALISATIONS = [
    Normalisation((90.0,), (40.0,)),
    Normalisation((70.0,), (25.0,), scheme="percentiles", clip=((20.0, 150.0),)),
    Normalisation((), (), scheme="per-image"),
    Normalisation((90.0,), (40.0,), reason="the same as the first"),
]


def variant(model: Model, seed: int, normalisation: Normalisation) -> Model:
    """Another model of the same structure, with the window by which it is checked."""
    network = build(model.settings.network, seed).eval()
    image = np.random.default_rng(seed).normal(size=model.test["image"].shape).astype(np.float32)
    return replace(
        model,
        normalisation=normalisation,
        parameters={name: value.numpy() for name, value in network.state_dict().items()},
        test={"image": image, "logits": TorchEngine(network, CPU, "float32")(image)},
    )


@pytest.fixture(scope="module")
def members(model_folder: Path) -> list[Model]:
    """Of one structure; they see intensities differently, but the last as the first."""
    plain = storage.load(model_folder)
    return [variant(plain, seed, chosen) for seed, chosen in enumerate(NORMALISATIONS)]


@pytest.fixture
def folder(members: list[Model], tmp_path: Path) -> Path:
    save_ensemble(members, tmp_path / "all.model")
    return tmp_path / "all.model"


class TestFolder:
    """What goes in comes out; what does not go together, or is damaged, is refused."""

    def test_what_was_saved_is_loaded(self, members: list[Model], folder: Path) -> None:
        back = storage.load(folder)
        assert len(back.members) == len(members)
        for number, (one, other) in enumerate(zip(members, back.members, strict=True)):
            assert one.origin == other.origin
            assert one.settings == other.settings
            for name, value in one.parameters.items():
                assert np.array_equal(value, other.parameters[name])
            assert storage.load(member_folder(folder, number)).origin == one.origin

    def test_it_is_written_again(self, folder: Path) -> None:
        together = storage.load(folder)
        with pytest.raises(OutputError, match="exists: choose another name"):
            storage.save(together, folder)
        before = storage.identity(folder)
        storage.save(together, folder, overwrite=True)
        assert storage.identity(folder) == before
        storage.save(together.members[0], folder, overwrite=True)
        assert not storage.load(folder).members
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]

    def test_the_origin_is_of_all(self, members: list[Model]) -> None:
        first, other = members[0], members[1]
        here, there = (
            replace(
                model,
                origin=model.origin.model_copy(update={"images": images, "held_out": held_out}),
                classes=model.classes.model_copy(
                    update={"smallest_object_px": smallest_px, "inside": smallest_px / 10}
                ),
            )
            for model, images, held_out, smallest_px in (
                (first, {"a": "1", "b": "2"}, ("x", "y"), 9),
                (other, {"a": "1", "b": "3", "c": "4"}, ("y", "z"), 5),
            )
        )
        together = combine([here, there])
        assert together.origin.images == {"a": "1", "b": "2", "b (member 2)": "3", "c": "4"}
        assert together.origin.held_out == ("y",)
        assert together.origin.steps == first.origin.steps + other.origin.steps
        assert together.classes.smallest_object_px == 5
        assert together.classes.inside == pytest.approx(0.7)

    def test_too_few(self, members: list[Model]) -> None:
        for some in ([], members[:1]):
            with pytest.raises(ModelError, match=f"averages 2 models or more, not {len(some)}"):
                combine(some)

    def test_of_ensembles(self, members: list[Model]) -> None:
        with pytest.raises(ModelError, match="member 2 is an ensemble itself, of 4 models: give"):
            combine([members[0], combine(members)])

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"classes": {"names": ("a", "b")}}, "the classes a, b, and A has background, object"),
            ({"classes": {"kind": "scribbles"}}, "labels of the kind scribbles, and A has"),
            ({"classes": {"values": (0, 7)}}, "the values in labels 0, 7, and A has 0, 1"),
            ({"network": {"channels": 3}}, "channels 3, and A has 1"),
            ({"network": {"dimensions": 3}}, "dimensions 3, and A has 2"),
            ({"pixel_size": PixelSize((0.5, 0.5), "um")}, "size of 0.5, 0.5, um.*its images"),
            ({"settings": {"border": "mirror"}}, "the border mirror, and A has own"),
            ({"settings": {"loss": LossSettings(activation="sigmoid")}}, "activation sigmoid, and"),
            ({"fields": (Field("same", 8, 50),) * 2}, "same padding, grid 8 px, margin 50 px, and"),
        ],
    )
    def test_what_does_not_go_together(
        self, members: list[Model], change: dict[str, Any], words: str
    ) -> None:
        first, other = members[0], members[1]
        kind, values = next(iter(change.items()))
        if kind == "classes":
            other = replace(other, classes=other.classes.model_copy(update=values))
        elif kind in ("settings", "network"):
            part = other.settings
            if kind == "network":
                values = {"network": part.network.model_copy(update=values)}
            other = replace(other, settings=part.model_copy(update=values))
        else:
            other = replace(other, **change)
        with pytest.raises(ModelError, match=f"B has .*{words}"):
            combine([first, other], ["A", "B"])

    def test_a_damaged_member(self, members: list[Model], folder: Path, tmp_path: Path) -> None:
        second = member_folder(folder, 1)
        shutil.copytree(folder, tmp_path / "copy")
        (second / "parameters.safetensors").write_bytes(b"nothing")
        with pytest.raises(ModelError, match=r"member-2 is damaged: parameters\.safetensors"):
            storage.load(folder)
        shutil.rmtree(second)
        with pytest.raises(ModelError, match=r"is damaged: member-2 is missing or is no model"):
            storage.load(folder)
        storage.save(members[2], second)
        with pytest.raises(ModelError, match=r"member-2 is not the model that was saved\. Copy"):
            storage.load(folder)

    def test_foreign_manifests(self, folder: Path) -> None:
        for text, words in (
            ("format: 9\n", "has model format 9, and this Overtile reads 1: install a newer"),
            ("format: 0\n", "has model format 0, and this Overtile reads 1: train again"),
            ("members: 3\n", "is not an Overtile model, or is damaged"),
            ("format: 1\nmembers: []\n", "averages 2 models or more, not 0"),
        ):
            (folder / "ensemble.yaml").write_text(text)
            with pytest.raises(ModelError, match=words):
                storage.load(folder)

    def test_from_models_on_disk(self, members: list[Model], tmp_path: Path) -> None:
        places = [tmp_path / f"{number}.model" for number in range(3)]
        for place, model in zip(places, members, strict=False):
            storage.save(model, place)
        made = ensemble_of(places, tmp_path / "all.model")
        assert storage.load(tmp_path / "all.model").classes == made.classes
        with pytest.raises(ModelError, match=r"1\.model and .*0\.model are the same model"):
            shutil.rmtree(places[1])
            shutil.copytree(places[0], places[1])
            ensemble_of(places, tmp_path / "other.model")
        with pytest.raises(OutputError, match="is one of the models: give the ensemble another"):
            ensemble_of([places[0], places[2]], places[2], overwrite=True)
        with pytest.raises(OutputError, match="exists: choose another name"):
            ensemble_of([places[0], places[2]], tmp_path / "all.model")
        assert not storage.load(places[2]).members


def mean_of(members: list[Model], image: NDArray[Any], **given: Any) -> NDArray[np.float64]:
    """What the members give alone, averaged."""
    alone = [Segmenter(one, precision="float32", **given).probabilities(image) for one in members]
    return np.mean(np.asarray(alone, np.float64), axis=0)


class TestPrediction:
    """The mean of the members, tile by tile as for the whole, through every door."""

    @pytest.mark.parametrize("turns", [False, True])
    def test_it_is_the_mean(self, members: list[Model], turns: bool) -> None:
        made = Segmenter(combine(members), precision="float32", turns=turns)
        expected = mean_of(members, IMAGE, turns=turns)
        whole = made.probabilities(IMAGE)
        assert np.allclose(whole, expected, atol=1e-5)
        assert np.allclose(made.probabilities(IMAGE, tile_px=24), expected, atol=1e-5)
        classes = expected.argmax(axis=0)
        sure = np.diff(np.sort(expected, axis=0)[-2:], axis=0)[0] > 1e-4
        assert np.array_equal(made.predict(IMAGE, tile_px=24)[sure], classes[sure])
        assert "probabilities of 4 networks are averaged" in " ".join(made.reasons)

    def test_all_that_differ_are_stacked_once(self, members: list[Model]) -> None:
        assert Segmenter(combine(members)).predictor.engine.copies == 3
        assert Segmenter(combine([members[0], members[3]])).predictor.engine.copies == 1

    def test_missing_pixels(self, members: list[Model]) -> None:
        image = IMAGE.astype(np.float32)
        image[30:40, 20:30] = np.nan
        made = Segmenter(combine(members), precision="float32")
        expected = mean_of(members, image)
        assert np.allclose(
            made.probabilities(image, tile_px=32), expected, atol=1e-5, equal_nan=True
        )
        assert (made.predict(image)[30:40, 20:30] == 255).all()

    def test_objects(self, members: list[Model]) -> None:
        some = [
            replace(m, classes=m.classes.model_copy(update={"kind": "instances"})) for m in members
        ]
        made = Segmenter(combine(some), precision="float32")
        assert np.array_equal(made.objects(IMAGE, tile_px=24), made.objects(IMAGE))
        likely = made.probabilities(IMAGE)
        assert np.array_equal(made.find_objects(likely, Image(IMAGE, "yx")), made.objects(IMAGE))

    def test_classes_that_overlap(self, members: list[Model]) -> None:
        """The mean of sigmoids, above a half."""
        some = [
            replace(
                model,
                classes=model.classes.model_copy(update={"kind": "multilabel", "background": None}),
                settings=model.settings.model_copy(
                    update={"loss": LossSettings(activation="sigmoid")}
                ),
            )
            for model in members
        ]
        made, expected = Segmenter(combine(some), precision="float32"), mean_of(some, IMAGE)
        assert np.allclose(made.probabilities(IMAGE, tile_px=32), expected, atol=1e-5)
        sure = np.abs(expected - 0.5) > 1e-4
        assert np.array_equal(made.predict(IMAGE)[sure], (expected > 0.5)[sure])

    def test_a_file_and_another_process(
        self, members: list[Model], folder: Path, tmp_path: Path
    ) -> None:
        source, output = tmp_path / "image.tif", tmp_path / "out.npy"
        overtile.io.write(source, Image(IMAGE, "yx"))
        made = overtile.load(folder, precision="float32", turns=True)
        made.predict_file(source, output, PredictOptions("probabilities", tile_px=40))
        got, expected = np.load(output), mean_of(members, IMAGE, turns=True)
        assert np.allclose(got, expected, atol=1e-5)
        job = Job(
            folder, source, output, "torch", "float32", 1, "probabilities", (40, 40), None, True
        )
        work = open_work(job)
        part = work.compute(0, work.read(0))
        assert np.allclose(part, expected[:, :40, :40], atol=1e-5)
        open_work.cache_clear()

    def test_a_pruned_ensemble(self, members: list[Model]) -> None:
        """Every member is pruned to the level."""
        with pytest.raises(SettingsError, match="holds no smaller one"):
            overtile.segmenter.pruned(combine(members), 1)
        trained = [
            overtile.train(
                IMAGE,
                CELLS > 0,
                steps=1,
                settings=PLUS.model_copy(update={"seed": seed}),
            ).model
            for seed in (0, 1)
        ]
        small = overtile.segmenter.pruned(combine(trained), 1)
        assert [member.pruned for member in small.members] == [1, 1]
        alone = [overtile.segmenter.pruned(one, 1) for one in trained]
        got = Segmenter(small, precision="float32").probabilities(IMAGE, tile_px=40)
        assert np.allclose(got, mean_of(alone, IMAGE), atol=1e-5)


PLUS = Settings(
    network=UNetPlusPlusSettings(depth=2, base_channels=2),
    window=WindowSettings(size_px=32, batch_size=1),
    border="own",
    precision="float32",
    layout="contiguous",
)


class TestEngines:
    """All members run on one engine in one precision, each checked by its own test window."""

    def test_a_member_that_computes_otherwise(self, members: list[Model]) -> None:
        wrong = {name: value + 1 for name, value in members[1].test.items() if name == "logits"}
        other = replace(members[1], test=members[1].test | wrong)
        with pytest.raises(ModelError, match="member-2: The model does not give its stored test"):
            Segmenter(combine([members[0], other]))

    def test_bfloat16_if_all_may(
        self, members: list[Model], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("overtile.machine.has_bfloat16", lambda: True)
        monkeypatch.setattr(choices, "SAME_CLASS", 0.0)
        some = combine(members[:2])
        assert Segmenter(some).predictor.engine.precision == "bfloat16"
        low = TorchEngine.classes

        def worse(self: TorchEngine, windows: Any) -> NDArray[np.uint8]:
            """Wrong classes of the second member's test window, in bfloat16."""
            made = low(self, windows)
            second = np.array_equal(windows, members[1].test["image"])
            return 9 + made if second and self.precision == "bfloat16" else made

        monkeypatch.setattr(TorchEngine, "classes", worse)
        monkeypatch.setattr(choices, "SAME_CLASS", 0.01)
        made = Segmenter(some)
        assert made.predictor.engine.precision == "float32"
        assert all(one.precision == "float32" for one in made.predictor.engine.engines)
        assert "below 99.9 %" in made.reasons[0]

    def test_all_are_converted(self, members: list[Model], tmp_path: Path) -> None:
        folder = tmp_path / "two.model"
        save_ensemble(members[:2], folder)
        pytest.importorskip("openvino", reason="pip install 'overtile[openvino]'")
        places = [place for place, _ in convert_all(storage.load(folder), folder, "openvino")]
        assert places == [folder / f"member-{n}/engines/openvino" for n in (1, 2)]
        made = overtile.load(folder, engine="openvino", precision="float32")
        assert made.predictor.engine.name == "openvino"
        expected = mean_of(members[:2], IMAGE)
        assert np.allclose(made.probabilities(IMAGE, tile_px=40), expected, atol=1e-4)
        shutil.rmtree(places[1])
        with pytest.raises(ModelError, match="member-2: The model holds no network for the engine"):
            overtile.load(folder, engine="openvino")
        assert overtile.load(folder).predictor.engine.name == "torch"


def run(*arguments: object) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    return int(ended.value.code or 0)


class TestCommands:
    """What the command line does with ensembles, or refuses."""

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        for name, array in (("images", IMAGE), ("labels", CELLS.astype(np.uint8))):
            (tmp_path / name).mkdir()
            overtile.io.write(tmp_path / name / "a.tif", Image(array, "yx"))
        return tmp_path

    def test_one_is_made_and_used(
        self, members: list[Model], data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name, model in zip("ab", members, strict=False):
            storage.save(model, data / f"{name}.model")
        made = data / "e.model"
        assert run("ensemble", data / "a.model", data / "b.model", "-o", made) == 0
        assert "averages 2 models" in capsys.readouterr().out
        assert run("predict", made, data / "images", "-o", data / "out", "--format", "npy") == 0
        expected = overtile.load(made).predict(IMAGE)
        assert np.array_equal(np.load(data / "out" / "a.npy"), expected)
        assert run("inspect", made) == 0
        assert "An ensemble of 2 models" in capsys.readouterr().out
        page = data / "report.html"
        given = (made, data / "images", data / "labels", "--turns", "--report", page)
        assert run("evaluate", *given) == 0
        assert "2 of them, averaged; 8 flips and turns averaged" in page.read_text()

    def test_what_is_refused(
        self, folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        given = (data / "images", data / "labels", "-o", data / "m", "--steps", 1)
        assert run("train", *given, "--from", folder) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "is an ensemble of 4 models: start from one of them" in said
        assert run("ensemble", folder, "-o", data / "m") == 2
        assert "averages 2 models or more, not 1" in " ".join(capsys.readouterr().err.split())
