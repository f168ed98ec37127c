"""The command line, from sample to report, and what it says when something is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from overtile import io
from overtile.cli import main
from overtile.image import Image
from overtile.settings import Settings, UNetSettings, WindowSettings, from_yaml, to_yaml

SMALL = Settings(
    network=UNetSettings(padding="same", depth=2, base_channels=4, norm="batch", dropout=0),
    window=WindowSettings(size_px=32, batch_size=2),
    border="own",
)


def call(*arguments: object) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(part) for part in arguments])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample, and a model trained on half of it."""
    folder = tmp_path_factory.mktemp("work")
    assert call("sample", folder / "data", "--count", 4, "--size", 128) == 0
    (folder / "settings.yaml").write_text(to_yaml(SMALL))
    arguments = ["--settings", folder / "settings.yaml", "--holdout", "2:4", "--steps", 12]
    images, labels = folder / "data" / "images", folder / "data" / "labels"
    assert call("train", images, labels, "-o", folder / "m", *arguments, "--seed", 3) == 0
    return folder


def pixels(path: Path) -> np.ndarray:
    return np.asarray(io.open(path).data[:])


def test_check(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", work / "data" / "images", work / "data" / "labels") == 0
    printed = capsys.readouterr().out
    assert "4 pairs" in printed
    assert "Each value but 0 is an object" in printed
    assert "Ready to train" in printed


def test_check_finds_errors(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        io.write(tmp_path / f"cell-0{number}.tif", Image(np.zeros((9, 9), np.uint8), "yx"))
    (tmp_path / "cell-04.tif").unlink()
    assert call("check", work / "data" / "images", tmp_path) == 2
    said = capsys.readouterr()
    assert "Error:" in said.err
    assert "Ready" not in said.out


def test_check_of_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    for name, high in (("images", 200), ("labels", 6)):
        (tmp_path / name).mkdir()
        values = np.kron(random.integers(0, high, (6, 6)), np.ones((20, 20))).astype(np.uint8)
        io.write(tmp_path / name / "a.png", Image(values, "yx"))
    assert call("check", tmp_path / "images", tmp_path / "labels", "--labels-are", "classes") == 0
    columns = capsys.readouterr().out
    assert "6 values" in columns
    assert "size" in columns  # of a single image


def test_predicted_classes_are_those_of_the_library(work: Path, tmp_path: Path) -> None:
    import overtile

    images = work / "data" / "images"
    assert (
        call("predict", work / "m", images, "-o", tmp_path / "c", "--overlay", tmp_path / "o") == 0
    )
    model = overtile.load(work / "m")
    for path in sorted(images.iterdir()):
        assert np.array_equal(pixels(tmp_path / "c" / path.name), model.predict(pixels(path)))
        assert pixels(tmp_path / "o" / f"{path.stem}.png").shape == (3, 128, 128)


def test_probabilities_and_objects_of_a_stack(work: Path, tmp_path: Path) -> None:
    import overtile

    stack = np.stack([pixels(p) for p in sorted((work / "data" / "images").iterdir())])
    io.write(tmp_path / "stack.tif", Image(stack, "zyx"))
    model = overtile.load(work / "m")
    command = ("predict", work / "m", tmp_path / "stack.tif", "--tile", 32, "-o")
    assert call(*command, tmp_path / "p.tif", "--probabilities") == 0
    likely = pixels(tmp_path / "p.tif")
    assert np.allclose(np.moveaxis(likely, 0, 1), model.probabilities(stack), atol=1e-5)
    assert call(*command, tmp_path / "o.tif", "--objects") == 0
    assert np.array_equal(pixels(tmp_path / "o.tif"), model.objects(stack))
    assert call(*command, tmp_path / "c.tif") == 0
    assert np.array_equal(pixels(tmp_path / "c.tif"), model.predict(stack))


def test_evaluate_says_what_training_saw(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = (work / "data" / "images", work / "data" / "labels")
    assert (
        call("evaluate", work / "m", *data, "--only", "2:4", "--report", tmp_path / "r.html") == 0
    )
    said = capsys.readouterr()
    assert "seen in training" not in said.err
    assert "pooled" in said.out
    assert str(tmp_path / "r.html") in said.out.replace("\n", "")
    assert "Intensities are normalised by mean" in (tmp_path / "r.html").read_text()
    assert call("evaluate", work / "m", *data, "--only", "0:4") == 0
    assert "2 of 4 images were seen in training (cell-00, cell-01)" in capsys.readouterr().err


def test_evaluate_classes_of_many_images(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Masks of 0 and 255: segments are compared; the report shows an even choice."""
    import overtile

    image = pixels(work / "data" / "images" / "cell-00.tif")
    cells = pixels(work / "data" / "labels" / "cell-00.tif")
    images = np.stack([np.roll(image, shift, 0) for shift in range(14)])
    masks = np.stack([np.roll(cells > 0, shift, 0) * np.uint8(255) for shift in range(14)])
    overtile.train(images[:1], masks[:1], steps=2, settings=SMALL, output=tmp_path / "m")
    io.write(tmp_path / "i.tif", Image(images, "zyx"))
    io.write(tmp_path / "l.tif", Image(masks, "zyx"))
    files = (tmp_path / "i.tif", tmp_path / "l.tif")
    assert call("evaluate", tmp_path / "m", *files, "--report", tmp_path / "r.html") == 0
    assert "best threshold for the whole set" in capsys.readouterr().out
    assert (tmp_path / "r.html").read_text().count("<figure>") == 12


TINY = ("network.depth=2", "network.base_channels=4", "window.size_px=[16, 32, 32]")
VOLUMES = [part for change in ("network.dimensions=3", *TINY) for part in ("--set", change)]


def test_a_real_volume_from_check_to_report(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A crop of nuclei: trained on, predicted as objects, evaluated whole."""
    files = []
    for name in ("image", "labels"):
        source = io.open(shared_data / "volumes" / f"nuclei3d_{name}.tif")
        files.append(tmp_path / f"{name}.tif")
        crop = source.data[slice(0, 20), slice(0, 40), slice(0, 36)]
        io.write(files[-1], Image(np.asarray(crop), "zyx"))
    assert call("check", *files, "--volumes", "--labels-are", "instances") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 pair" in said
    assert "20 x 40 x 36" in said
    known = ("--labels-are", "instances", "--set", "precision=float32", *VOLUMES)
    model, counted = tmp_path / "m", len(np.unique(pixels(files[1]))) - 1
    assert call("train", *files, "-o", model, "--steps", 20, *known) == 0
    shown = ("--overlay", tmp_path / "shown")
    assert call("predict", model, files[0], "-o", tmp_path / "o.tif", "--objects", *shown) == 0
    assert len(list((tmp_path / "shown").iterdir())) == 20  # one for each plane
    found = io.open(tmp_path / "o.tif", as_label=True)
    assert found.axes == "zyx"
    assert found.data.shape == (20, 40, 36)
    capsys.readouterr()
    assert call("evaluate", model, *files, "--report", tmp_path / "r.html") == 0
    said = capsys.readouterr()
    assert "1 of 1 images were seen in training (image)" in said.err
    assert "AP at 0.5" in said.out
    assert "the plane z 10 of 0 to 19" in (tmp_path / "r.html").read_text()
    assert counted > 5
    settings = (model / "settings.yaml").read_text()
    assert "dimensions: 3" in settings
    assert "preset: default" in settings


def test_any_setting_can_be_changed_by_name(work: Path, tmp_path: Path) -> None:
    data = (work / "data" / "images", work / "data" / "labels")
    changes = ("optimiser.learning_rate=0.01", "augment={deform: 0, noise: 0}")
    changes = (*changes, "border=mirror", "window.size_px=[16, 32]")
    options = [part for change in changes for part in ("--set", change)]
    file = ("--settings", work / "settings.yaml")
    assert call("train", *data, "-o", tmp_path / "m", "--steps", 1, *file, *options) == 0
    found = from_yaml(Settings, (tmp_path / "m" / "settings.yaml").read_text(), "")
    assert found.optimiser.learning_rate == 0.01
    assert (found.augment.deform, found.augment.noise) == (0, 0)
    assert found.augment.scale == SMALL.augment.scale
    assert (found.border, found.window.size_px) == ("mirror", (16, 32))
    assert found.network == SMALL.network


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("network.colour=red", "--set: network.colour: there is no such setting; known here: name"),
        ("speed=3", "--set: speed: there is no such setting; known here: preset, network"),
        ("speed.limit=3", "--set: speed: there is no such setting"),
        ("seed.x=1", "--set: seed: .*valid integer, not"),
        ("network.depth=20", "--set: network.depth: .*less than or equal to 8, not 20"),
        ("window.size_px=[9, 32, 32]", "size_px has 3 sides for a network of 2 dimensions"),
        (
            "window.size_px=[9",
            "--set window.size_px=\\[9: the value is not YAML; expected a number",
        ),
        ("depth", "--set depth: expected key=value"),
    ],
)
def test_changes_that_are_wrong_are_refused_by_their_names(change: str, words: str) -> None:
    from overtile.cli.changing import change as changed
    from overtile.errors import SettingsError

    with pytest.raises(SettingsError, match=words):
        changed(SMALL, [change])


def test_networks_and_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("networks") == 0
    assert "unet" in capsys.readouterr().out
    assert call("summary", "unet", "--size", 572) == 0
    printed = capsys.readouterr().out
    assert "23 convolutions, 31,030,658 trainable parameters, 301 GFLOP" in printed
    assert "valid padding: 572 -> 388 px" in printed
    assert call("summary", "unet", "--size", 570) == 2
    assert "570 px" in capsys.readouterr().err
    assert call("summary", "vnet") == 2
    assert "There is no network 'vnet'; known: unet, " in capsys.readouterr().err
    assert call("summary", "unet3d", "--size", "116x132x132", "--set", "channels=3") == 0
    assert "116 x 132 x 132 -> 28 x 44 x 44 px" in capsys.readouterr().out
    assert call("summary", "unet", "--size", "5x5x5") == 2
    assert "expected one side in px, or each, such as 572x572" in capsys.readouterr().err
    assert call("summary", "unet", "--set", "deep") == 2
    assert "expected key=value" in capsys.readouterr().err


def test_errors_are_one_paragraph(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, model = work / "data", work / "m"
    capsys.readouterr()  # the bar of the training before
    mistakes = {
        ("train", data, data, "-o", tmp_path / "x"): "both as the images and as the labels",
        ("train", data / "images", data / "labels", "-o", model, "--steps", 1): "exists",
        ("train", data / "images", data / "labels", "-o", tmp_path / "x", "--holdout", "0:4"): (
            "leaves nothing to train on"
        ),
        ("train", data / "images", data / "labels", "-o", tmp_path / "x", "--settings",
         tmp_path / "none.yaml"): "cannot be read as settings",
        ("predict", model, data / "images", "-o", tmp_path / "x.tif"): "so the output is one too",
        ("predict", model, tmp_path, "-o", tmp_path / "x"): "holds no image",
        ("predict", model, data / "images" / "cell-00.tif", "-o", tmp_path / "x.tif",
         "--probabilities", "--objects"): "not both",
        ("predict", model, data / "images" / "cell-00.tif", "-o", tmp_path / "x.tif",
         "--overlay", data / "images" / "cell-00.tif"): "expected a folder for the overlays",
        ("predict", data, data / "images", "-o", tmp_path / "x"): "is not an Overtile model",
        ("evaluate", model, data / "images", data / "labels", "--report",
         data / "images" / "cell-00.tif"): "exists already",
        ("sample", data): "is not empty",
    }  # fmt: skip
    for command, words in mistakes.items():
        assert call(*command) == 2, command
        said = capsys.readouterr().err
        assert said.startswith("Error: ")
        assert words in " ".join(said.split()), command
        assert "Traceback" not in said
    assert not (tmp_path / "x").exists()


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from overtile.errors import ModelError

    with pytest.raises(ModelError, match="is missing"):
        main(["predict", str(tmp_path / "no"), str(tmp_path), "-o", "x", "--debug"])


def test_ctrl_c_is_not_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import overtile.cli.commands

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(overtile.cli.commands, "app", interrupt)
    assert call("networks") == 130
    assert "Interrupted" in capsys.readouterr().err


def test_an_interrupted_run_is_said(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("overtile.planning.making.steps_for", lambda *_, **__: 100_000)
    data = (work / "data" / "images", work / "data" / "labels")
    options = ("--settings", work / "settings.yaml", "--minutes", 0.1)
    assert call("train", *data, "-o", tmp_path / "m", *options) == 0
    assert "because the time was up; the model is usable" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_help_loads_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom overtile.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules, 'torch was loaded'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: overtile" in done.stdout


def test_a_command_that_does_not_exist() -> None:
    assert call("fly") == 2


def test_debug_shows_what_the_system_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "locked")

    monkeypatch.setattr("overtile.layouts.pairs", refuse)
    with pytest.raises(PermissionError, match="locked"):
        main(["check", str(tmp_path), "--debug"])


def test_evaluate_writes_files_and_keeps_those_that_exist(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    data = (work / "data" / "images", work / "data" / "labels")
    files = ("--csv", tmp_path / "s.csv", "--json", tmp_path / "s.json")
    assert call("evaluate", work / "m", *data, "--only", "2:4", "--all-scores", *files) == 0
    printed = capsys.readouterr()
    assert "--all-scores adds nothing here" in " ".join(printed.err.split())
    said = " ".join(printed.out.split())
    assert "No intervals: expected at least 3 images, and got 2." in said
    told = json.loads((tmp_path / "s.json").read_text())
    assert told["model"]["folder"] == str(work / "m")
    assert told["model"]["held_out"] == [image["image"] for image in told["data"]["images"]]
    assert [image["image"] for image in told["images"]] == ["cell-02", "cell-03"]
    before = (tmp_path / "s.csv").read_text()
    assert before.startswith("image,class,score,value\ncell-02,,pixel error,")
    for option, name in (("--csv", "s.csv"), ("--json", "s.json")):
        assert call("evaluate", work / "m", *data, option, tmp_path / name) == 2
        assert "exists" in capsys.readouterr().err
    assert (tmp_path / "s.csv").read_text() == before
    same = ("--csv", tmp_path / "new", "--json", tmp_path / "new")
    assert call("evaluate", work / "m", *data, *same) == 2
    assert "two of these are the same file" in " ".join(capsys.readouterr().err.split())
    assert call("evaluate", work / "m", *data, "--only", "0:4", *files, "--overwrite") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "interval by the bootstrap over images" in said
    assert len(json.loads((tmp_path / "s.json").read_text())["images"]) == 4


def test_of_many_images_the_worst_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from overtile.cli.scores import print_scores
    from overtile.evaluation import Evaluation, Name, Row
    from overtile.labels import understand

    meaning = understand([np.array([[0, 1]])])
    errors = [float("nan"), *(number / 100 for number in range(40))]
    rows = tuple(Row(f"i{n}", {"pixel error": error}) for n, error in enumerate(errors))
    print_scores(Evaluation(rows, {}, None, meaning, {"pixel error": Name("pixel error")}))
    said = capsys.readouterr().out
    assert "The 30 of 41 images with the highest pixel error (--csv writes all)" in said
    assert "i40 " in said
    assert "i11 " in said
    assert "i10 " not in said


def test_numbers_stay_whole_beside_long_names(capsys: pytest.CaptureFixture[str]) -> None:
    from overtile.cli.scores import print_scores
    from overtile.evaluation import Evaluation, Name, Row
    from overtile.labels import understand

    names = ("pixel error", "mean IoU", "mean Dice", "mean AP 0.5-0.9", "PQ", "DET")
    scores = {name: 0.1234 + number / 10 for number, name in enumerate(names)}
    rows = (Row("ab" * 32, scores), Row("cd" * 32, scores))
    meaning = understand([np.array([[0, 1]])])
    print_scores(Evaluation(rows, {}, None, meaning, {name: Name(name) for name in names}))
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if "abab" in line)
    assert line.split()[1:] == ["0.1234", "0.2234", "0.3234", "0.4234", "0.5234", "0.6234"]
