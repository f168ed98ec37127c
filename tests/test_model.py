"""The model folder: what goes in comes out; what is damaged, foreign or in the way is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import overtile
from overtile import model as storage
from overtile.errors import DataError, ModelError, OutputError, SettingsError
from overtile.sample import draw_sample
from overtile.settings import Settings, UNetSettings, WindowSettings, from_yaml, to_yaml

SMALL = Settings(
    network=UNetSettings(padding="same", depth=2, base_channels=4, norm="batch", dropout=0),
    window=WindowSettings(size_px=32, batch_size=2),
    border="own",
    averaging=0.9,
    calibrate=True,
)
IMAGE, CELLS = draw_sample(0, 0, (128, 112))


@pytest.fixture(scope="module")
def trained() -> overtile.Segmenter:
    return overtile.train(IMAGE, CELLS, steps=3, holdout=None, settings=SMALL)


@pytest.fixture
def folder(trained: overtile.Segmenter, tmp_path: Path) -> Path:
    trained.save(tmp_path / "cells.model")
    return tmp_path / "cells.model"


def test_what_was_saved_is_loaded(trained: overtile.Segmenter, folder: Path) -> None:
    back = overtile.load(folder)
    assert back.model.settings == trained.model.settings
    assert back.model.classes == trained.model.classes
    assert back.model.origin == trained.model.origin
    assert back.model.history == trained.model.history
    assert np.array_equal(back.probabilities(IMAGE), trained.probabilities(IMAGE))


def test_it_is_plain_files(folder: Path) -> None:
    """Readable without Overtile, with nothing to unpickle in it."""
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "model.yaml", "settings.yaml", "parameters.safetensors", "test.safetensors", "history.csv",
    }  # fmt: skip
    manifest = yaml.safe_load((folder / "model.yaml").read_text())
    assert manifest["format"] == 7
    assert manifest["classes"]["names"] == ["background", "object"]
    assert (
        manifest["fields"] == [{"padding": "same", "grid": 4, "margin": 22, "remainder": None}] * 2
    )
    assert {"python", "torch", "overtile"} <= set(manifest["origin"]["versions"])
    assert list(manifest["origin"]["images"]) == ["0"]
    assert load_file(folder / "parameters.safetensors").keys()


def test_nothing_is_left_beside_it(folder: Path) -> None:
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_existing_models_are_kept_unless_replaced(
    trained: overtile.Segmenter, folder: Path
) -> None:
    with pytest.raises(OutputError, match=r"exists: choose another name, or give --overwrite"):
        trained.save(folder)
    with pytest.raises(OutputError, match="exists: choose another name"):
        overtile.train(IMAGE, CELLS, steps=1, settings=SMALL, output=folder)
    trained.save(folder, overwrite=True)
    assert overtile.load(folder).classes == ("background", "object")
    foreign = folder.parent / "photos"
    foreign.mkdir()
    (foreign / "holiday.txt").write_text("sun")
    with pytest.raises(OutputError, match="is not an Overtile model, so it is not overwritten"):
        trained.save(foreign, overwrite=True)
    assert (foreign / "holiday.txt").read_text() == "sun"


def test_a_save_that_fails_leaves_the_old_one(
    trained: overtile.Segmenter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "model.yaml").read_bytes()
    monkeypatch.setattr(storage, "to_yaml", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trained.save(folder, overwrite=True)
    assert (folder / "model.yaml").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_no_model_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing is missing: expected a folder that"):
        overtile.load(tmp_path / "nothing")
    with pytest.raises(ModelError, match=r"is not an Overtile model \(it has no model.yaml\)"):
        overtile.load(tmp_path)


@pytest.mark.parametrize("name", ["settings.yaml", "parameters.safetensors", "test.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "altered"])
def test_damage_is_found(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    words = "is missing" if damage == "missing" else "is not the file that was saved"
    with pytest.raises(ModelError, match=f"is damaged: {name}.*{words}"):
        overtile.load(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("format: 99\n", "has model format 99, and this Overtile reads 7: install a newer"),
        ("format: 1\n", "has model format 1, and this Overtile reads 7: train again"),
        (
            "name: someone else's\n",
            "is not an Overtile model.*format: Field required",
        ),
        ("just words", "is not an Overtile model, or is damaged.*holds no settings"),
        ("a: [1", "is not an Overtile model, or is damaged"),
    ],
)
def test_foreign_manifests(folder: Path, text: str, words: str) -> None:
    (folder / "model.yaml").write_text(text)
    with pytest.raises(ModelError, match=words):
        overtile.load(folder)


def resign(folder: Path, name: str) -> None:
    """Make the checksum fit, as someone who edits a model on purpose would."""
    import hashlib

    manifest = yaml.safe_load((folder / "model.yaml").read_text())
    manifest["checksums"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "model.yaml").write_text(yaml.safe_dump(manifest))


def test_settings_that_are_none(folder: Path) -> None:
    (folder / "settings.yaml").write_text("network: {depth: many}\n")
    resign(folder, "settings.yaml")
    with pytest.raises(ModelError, match=r"is damaged: .*network.depth: .*not 'many'"):
        overtile.load(folder)


def test_parameters_of_another_network(folder: Path) -> None:
    path = folder / "parameters.safetensors"
    state = load_file(path)
    state["head.bias"] = torch.zeros(7)
    save_file(state, path)
    resign(folder, path.name)
    with pytest.raises(ModelError, match="parameters do not fit its settings"):
        overtile.load(folder)


def test_altered_parameters_do_not_pass_the_stored_test(folder: Path) -> None:
    path = folder / "parameters.safetensors"
    state = load_file(path)
    state["head.bias"] += 1
    save_file(state, path)
    resign(folder, path.name)
    with pytest.raises(ModelError, match="does not give its stored test result"):
        overtile.load(folder)


class TestVerbs:
    """What a user holds: shapes in and out, and what is refused."""

    def test_shapes(self, trained: overtile.Segmenter) -> None:
        assert trained.predict(IMAGE).shape == (128, 112)
        assert trained.predict(IMAGE).dtype == np.uint8
        assert trained.probabilities(IMAGE).shape == (2, 128, 112)
        stack = np.stack([IMAGE, IMAGE[::-1]])
        assert trained.predict(stack).shape == (2, 128, 112)
        assert trained.probabilities(stack).shape == (2, 2, 128, 112)
        assert trained.objects(stack).shape == (2, 128, 112)
        assert trained.predict(overtile.Image(IMAGE[None], "cyx")).shape == (128, 112)

    def test_classes_are_the_most_probable(self, trained: overtile.Segmenter) -> None:
        expected = trained.probabilities(IMAGE).argmax(axis=0)
        assert np.array_equal(trained.predict(IMAGE, tile_px=16), expected)

    def test_a_stack_is_its_planes(self, trained: overtile.Segmenter) -> None:
        stack = np.stack([IMAGE, IMAGE[::-1]])
        for plane, result in zip(stack, trained.predict(stack), strict=True):
            assert np.array_equal(result, trained.predict(plane))

    def test_objects_are_numbered_regions_of_the_foreground(
        self, trained: overtile.Segmenter
    ) -> None:
        found = trained.objects(IMAGE)
        ids = np.unique(found)
        assert np.array_equal(ids, np.arange(len(ids)))

    def test_other_channels_are_refused(self, trained: overtile.Segmenter) -> None:
        with pytest.raises(DataError, match="has 3 channels, and the model was trained on 1"):
            trained.predict(np.zeros((20, 20, 3), np.uint8))

    def test_infinity_is_refused(self, trained: overtile.Segmenter) -> None:
        with pytest.raises(DataError, match="holds infinite values"):
            trained.predict(np.full((20, 20), np.inf))

    def test_evaluation_of_a_choice(self, trained: overtile.Segmenter) -> None:
        images, labels = np.stack([IMAGE] * 3), np.stack([CELLS] * 3)
        result = overtile.evaluate(trained, images, labels, only="1:3")
        assert [row.name for row in result.rows] == ["1", "2"]
        assert result.rows[0].scores == result.rows[1].scores

    def test_public_names(self) -> None:
        for name in overtile.__all__:
            assert getattr(overtile, name).__name__.removeprefix("overtile.") == name
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            _ = overtile.nonsense


class TestSettings:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("speed: 3", r"speed: there is no such setting; known here: preset, network"),
            (
                "network: {colour: red}",
                r"network.colour: there is no such setting; known here",
            ),
            ("seed: -1", r"seed: .*greater than or equal to 0, not -1"),
            ("network: {padding: valid}\nborder: own", "a valid network has no border of its own"),
            ("network: {padding: same, kernel_size: 2}", "kernel_size 2 is even"),
            ("window: {edge_px: 9}", "edge_px is for same padding"),
            ("logit_adjustment: 1.5", "logit_adjustment: .*less than or equal to 1, not 1.5"),
            ("logit_adjustment: 0.3\nloss: {activation: sigmoid}", "they may overlap: set one"),
            (
                "window: {size_px: 10, edge_px: 5}",
                "nothing of a window of 10 px: use at most 4",
            ),
            (
                "window: {size_px: [10, 40, 40], edge_px: 5}\nnetwork: {dimensions: 3}",
                "nothing of a window of 10 px: use at most 4",
            ),
            (
                "window: {size_px: [32, 64]}\nnetwork: {dimensions: 3}",
                "size_px has 2 sides for a network of 3 dimensions: give .* one for each of z y x",
            ),
            (
                "window: {size_px: [3, 4, 5]}",
                "3 sides for a network of 2 dim.* one for each of y x",
            ),
            ("window: {size_px: [32, 0]}", r"window.size_px: expected one whole number.*\[32, 0\]"),
            ("window: {size_px: 0}", "expected one whole number of pixels from 1 on.*not 0"),
            ("window: {size_px: []}", r"expected one whole number of pixels from 1 on.*not \[\]"),
            ("window: {size_px: large}", "expected one whole number of pixels .*not 'large'"),
            ("loss: {cross_entropy: 0}", "all terms have weight 0"),
            ("- 1", "holds no settings"),
            ("a: [", "is not YAML"),
            ("augment: {noise: .nan}", "augment.noise"),
        ],
    )
    def test_what_is_refused(self, text: str, words: str) -> None:
        with pytest.raises(SettingsError, match=words):
            from_yaml(Settings, text, "settings.yaml")

    def test_yaml_there_and_back(self) -> None:
        volumes = Settings(
            network=UNetSettings(dimensions=3), window=WindowSettings(size_px=(9, 30, 30))
        )
        for settings in (SMALL, volumes):
            assert from_yaml(Settings, to_yaml(settings), "") == settings

    def test_every_default_is_written(self) -> None:
        written = yaml.safe_load(to_yaml(Settings()))
        assert written.keys() == Settings.model_fields.keys()
        assert written["network"]["base_channels"] == 64


def test_copies_are_models_too(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert overtile.load(tmp_path / "elsewhere").classes
