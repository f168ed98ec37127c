"""From a data set's folder alone to scores: what is shown first, what is held out, what is said."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import overtile
from overtile import io, jobs, layouts
from overtile.cli import main
from overtile.cli.training import Choice, find_and_choose
from overtile.errors import DataError
from overtile.image import Image
from overtile.sample import draw_sample
from overtile.settings import Settings, UNetSettings, WindowSettings, to_yaml

SMALL = Settings(
    network=UNetSettings(padding="same", depth=2, base_channels=4, norm="batch", dropout=0),
    window=WindowSettings(size_px=32, batch_size=2),
    border="own",
    precision="float32",
    layout="channels_last",
)
FOR_ANY_DATA = re.sub("  (channels|classes): .*\n", "", to_yaml(SMALL))
CELLS = [draw_sample(number, 0, (64, 64)) for number in range(4)]


def call(*arguments: object) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(part) for part in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def parted(tmp_path: Path) -> Path:
    """A data set with parts: three images for training, in two scenes, and one for validation."""
    for number, (image, cells) in enumerate(CELLS):
        part = "val" if number == 3 else "train"
        for name, array in (("images", image), ("masks", cells)):
            folder = tmp_path / "set" / part / name
            folder.mkdir(parents=True, exist_ok=True)
            io.write(folder / f"c{number}.tif", Image(array, "yx"))
    (tmp_path / "settings.yaml").write_text(FOR_ANY_DATA)
    return tmp_path / "set"


def test_a_folder_is_enough(
    parted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("check", parted) == 0
    said = capsys.readouterr().out
    assert "Layout tiles: 4 pairs, images with masks" in said
    assert "parts: training (3), validation (1)" in said
    model, known = tmp_path / "m", ("--settings", tmp_path / "settings.yaml", "--steps", 2)
    assert call("train", parted, "-o", model, *known) == 0
    said = capsys.readouterr().out
    assert said.index("Layout tiles: 4 pairs") < said.index("1 held out: c3.") < said.index("steps")
    assert list(overtile.load(model).model.origin.images) == ["c0", "c1", "c2"]
    assert call("evaluate", model, parted) == 0  # by default the part for validation
    said = capsys.readouterr().out
    assert "c3" in said
    assert "c0" not in said
    assert call("evaluate", model, parted, "--only", "0:1", "--layout", "tiles") == 0
    assert "c0" in capsys.readouterr().out
    assert call("train", parted, "-o", model, "--layout", "voc") == 2
    assert "does not have the layout voc" in capsys.readouterr().err
    overlays = tmp_path / "overlays"
    assert call("predict", model, parted, "-o", tmp_path / "out", "--overlay", overlays) == 0
    for place, suffix in ((tmp_path / "out", "tif"), (overlays, "png")):
        made = sorted(str(path.relative_to(place)) for path in place.rglob(f"*.{suffix}"))
        parts = ("train", "train", "train", "val")
        assert made == [
            str(Path(part) / "images" / f"c{number}.{suffix}") for number, part in enumerate(parts)
        ]


def test_a_group_on_both_sides_of_a_split_is_noted(
    parted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (parted / "train").rename(parted / "forest")
    (parted / "val").rename(parted / "town")
    known = ("--settings", tmp_path / "settings.yaml", "--steps", 1)
    assert call("check", parted, "--holdout", "c0") == 0
    assert "forest: some images of this group are trained on and some" in capsys.readouterr().err
    assert call("train", parted, "-o", tmp_path / "m", *known, "--holdout", "c0") == 0
    assert "forest: some images of this group are trained on and some" in capsys.readouterr().err
    assert call("train", parted, "-o", tmp_path / "n", *known, "--holdout", "town") == 0
    said = capsys.readouterr()
    assert "1 held out: c3." in said.out
    assert "some images of this group" not in said.err


def test_images_without_labels_are_no_data_set(
    parted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", parted / "train" / "images", "-o", tmp_path / "m") == 2
    assert "no labels were found with them" in capsys.readouterr().err


def test_the_library_takes_pairs_and_layouts(parted: Path) -> None:
    found = jobs.find_pairs(parted, None, "tiles", None)
    model = overtile.train(found, steps=1, settings=SMALL)
    assert model.model.origin.held_out == ("c3",)
    assert [row.name for row in overtile.evaluate(model, parted).rows] == ["c3"]
    assert [row.name for row in overtile.evaluate(model, found, only="c1").rows] == ["c1"]
    with pytest.raises(DataError, match="What was given holds images, and no labels"):
        overtile.train(CELLS[0][0], steps=1)


def test_volumes_choose_a_network_of_their_own(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    root = tmp_path / "Fluo-N3DH-CE"
    for name, high in (("01/t000.tif", 255), ("01_GT/SEG/man_seg000.tif", 2)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, high, (8, 32, 32)).astype(np.uint8)
        io.write(root / name, Image(pixels, "zyx"))
    free = Choice("default", None, None, None, (), None)
    pairs, chosen = find_and_choose(root, None, None, free)
    assert (pairs.dimensions, len(pairs), chosen.network.name) == (3, 1, "unet3d")
    for choice in (
        Choice("default", None, "unet", None, (), None),
        Choice("default", None, None, None, ("network.dimensions=2",), None),
    ):
        pairs, chosen = find_and_choose(root, None, None, choice)
        assert (pairs.dimensions, len(pairs), chosen.network.name) == (2, 8, "unet")


def test_volumes_are_trained_on_by_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[object] = []

    def stop(pairs: object, settings: Settings, *_: object, **__: object) -> None:
        seen.extend([pairs, settings.network.name])
        raise DataError("far enough")

    monkeypatch.setattr("overtile.training.train", stop)
    volume = Image(np.ones((4, 6, 8), np.uint8), "zyx")
    pairs = layouts.pairs(volume, volume, 3)
    with pytest.raises(DataError, match="far enough"):
        overtile.train(pairs, steps=1)
    assert seen[1] == "unet3d"
    with pytest.raises(
        DataError, match=r"The pairs are volumes, and the network is for planes: .*"
    ):
        overtile.train(pairs, network="unet", steps=1)
