"""`overtile predict`, `inspect` and `convert`: the options, the plan, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import overtile
from overtile import io
from overtile.cli import main
from overtile.cli.predicting import parse_memory
from overtile.errors import FormatError, SettingsError
from overtile.executors import cluster
from overtile.image import Image
from overtile.journal import Journal
from overtile.pictures import overlay as draw
from overtile.sample import draw_sample
from overtile.settings import Settings, UNetSettings, WindowSettings
from overtile.tiler import Tiler

CELLS = draw_sample(6, 0, (120, 140))[0]


def call(*arguments: object) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(part) for part in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    io.write(tmp_path / "a.tif", Image(CELLS, "yx", spacing=(0.3, 0.3), unit="micrometer"))
    return tmp_path / "a.tif"


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2**31), ("500 MB", 500_000_000), ("1.5kib", 1536), ("77", 77), (None, None)],
)
def test_sizes(text: str | None, size: int | None) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["much", "2 parsecs", "GiB", "0", "-1GiB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(SettingsError, match="--memory"):
        parse_memory(text)


def test_the_plan_is_explained(
    model_folder: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "o.png"
    assert call("predict", model_folder, image, "-o", target, "--explain", "--tile", 64) == 0
    said = capsys.readouterr()
    for words in ("a.tif -> ", "torch, ", "limited to 64 px", "A PNG cannot be written by window"):
        assert words in said.out
    assert "Mpx" in said.err


def test_objects_with_measurements_and_pictures(
    model_folder: Path, image: Path, tmp_path: Path
) -> None:
    options = ["--objects", "--measurements", "--seeds", 0.7, "--overlay", tmp_path / "pictures"]
    options += ["--precision", "float32"]
    assert call("predict", model_folder, image, "-o", tmp_path / "o.tif", *options) == 0
    model = overtile.load(model_folder, precision="float32")
    expected = model.objects(CELLS, seed_threshold=0.7)
    assert np.array_equal(io.open(tmp_path / "o.tif", as_label=True).data[()], expected)
    table = (tmp_path / "o.csv").read_text().splitlines()
    assert len(table) == expected.max() + 1
    assert "area_micrometer2" in table[0]
    assert io.open(tmp_path / "pictures" / "a.png").data.shape == (3, *CELLS.shape)


def test_large_pictures_are_thinned(
    model_folder: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overtile.cli.predicting.OVERLAY_PX", 50)
    options = ["--probabilities", "--overlay", tmp_path / "p"]
    assert call("predict", model_folder, image, "-o", tmp_path / "o.zarr", *options) == 0
    assert io.open(tmp_path / "p" / "a.png").data.shape == (3, 40, 47)


@pytest.mark.parametrize("suffix", [".npy", ".zarr", ".tif"])
def test_pictures_do_not_depend_on_the_format(
    model_folder: Path, image: Path, tmp_path: Path, suffix: str
) -> None:
    """A .npy of probabilities does not say which axis is the classes."""
    options = ["--probabilities", "--precision", "float32", "--overlay", tmp_path / "p"]
    assert call("predict", model_folder, image, "-o", tmp_path / f"o{suffix}", *options) == 0
    classes = overtile.load(model_folder, precision="float32").predict(CELLS)
    expected = np.moveaxis(draw(CELLS[None], classes), -1, 0)
    assert np.array_equal(io.open(tmp_path / "p" / "a.png").data[()], expected)


def test_a_folder_goes_on_where_it_was(model_folder: Path, tmp_path: Path) -> None:
    images, target = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for name in ("a.tif", "b.png", "c.npy"):
        io.write(images / name, Image(CELLS, "yx"))
    assert call("predict", model_folder, images, "-o", target, "--precision", "float32") == 0
    expected = io.open(target / "a.tif").data[()]
    (target / "b.tif").unlink()
    (target / "c.tif").unlink()
    # c is left half done: all its tiles lack.
    run = overtile.load(model_folder, precision="float32").prepare_file(
        images / "c.npy", target / "c.tif", overtile.PredictOptions(tile_px=32)
    )
    run.journal.begin(run._run())
    before = (target / "a.tif").stat().st_mtime_ns
    assert call("predict", model_folder, images, "-o", target, "--resume") == 0
    assert (target / "a.tif").stat().st_mtime_ns == before
    for name in "abc":
        assert np.array_equal(io.open(target / f"{name}.tif").data[()], expected)
    (target / "b.tif").unlink()  # a single file that is left, and was never begun
    assert call("predict", model_folder, images, "-o", target, "--resume") == 0
    assert np.array_equal(io.open(target / "b.tif").data[()], expected)
    assert call("predict", model_folder, images, "-o", target, "--resume") == 0  # nothing is left
    assert not Journal(target / "c.tif").exists()


def test_refused(
    model_folder: Path,
    image: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "ANSWER_S", 1)

    def refuse(words: str, *options: object, output: str = "o.tif") -> None:
        assert call("predict", model_folder, image, "-o", tmp_path / output, *options) == 2
        assert words in " ".join(capsys.readouterr().err.split())

    refuse("those of objects", "--measurements")
    refuse("nothing to resume", "--resume")
    refuse("No Dask scheduler answers at tcp://", "--cluster", "tcp://127.0.0.1:1", output="o.zarr")
    refuse("holds no network for the engine onnx", "--engine", "onnx")
    twice = tmp_path / "twice"
    twice.mkdir()
    io.write(twice / "a.png", Image(CELLS, "yx"))
    io.write(twice / "a.tif", Image(CELLS, "yx"))
    assert call("predict", model_folder, twice, "-o", tmp_path / "out") == 2
    assert "would both be predicted into" in " ".join(capsys.readouterr().err.split())


def test_inspect(model_folder: Path, image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("inspect", model_folder, "--image", image, "--precision", "float32") == 0
    said = capsys.readouterr().out
    for words in ("Grid 4 px, margin 22 px", "Exact in tiles.", "receptive field", "4,096 px",
                  "Intensities are normalised by mean and standard deviation of the training",
                  "Two tilings of 120 x 140 px differ by", "0.000% of the pixels"):  # fmt: skip
        assert words in said, words


def test_an_inexact_network_is_named_and_blended(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = UNetSettings(padding="same", depth=2, base_channels=4, norm="instance", dropout=0)
    settings = Settings(
        network=network,
        window=WindowSettings(size_px=32, batch_size=2),
        border="own",
        precision="float32",
        layout="channels_last",
    )
    folder, cells = tmp_path / "m", draw_sample(6, 0, (120, 140))[1]
    overtile.train(CELLS, cells, steps=3, settings=settings, output=folder)
    assert call("inspect", folder) == 0
    said = capsys.readouterr().out
    assert "Not exact in tiles, only blended (--inexact)" in said
    assert "layer 'down.0.norm1' (instance norm)" in said
    predict = ["predict", folder, image, "-o", tmp_path / "o.tif"]
    assert call(*predict) == 2
    assert "--inexact" in capsys.readouterr().err
    assert call(*predict, "--inexact", "--tile", 48) == 0
    assert "Tiles were blended. Two tilings of 120 x 140 px differ by" in " ".join(
        capsys.readouterr().err.split()
    )


def test_convert(model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxscript", reason="pip install 'overtile[onnx]'")
    folder = tmp_path / "m"
    shutil.copytree(model_folder, folder)
    assert call("convert", folder, "--engine", "onnx") == 0
    assert "gives the stored test result" in capsys.readouterr().out
    assert call("convert", folder, "--engine", "onnx") == 2
    assert "--overwrite" in capsys.readouterr().err


def test_a_damaged_block_is_said_with_its_tile(model_folder: Path, tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "broken.tif"
    tifffile.imwrite(path, np.tile(CELLS, (2, 2)), tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[9]
    content = bytearray(path.read_bytes())
    content[offset : offset + 20] = bytes(20)
    path.write_bytes(content)
    model = overtile.load(model_folder, precision="float32")
    with pytest.raises(FormatError, match=r"Stopped at tile \d+ of \d+ \(y .*, x .*\)"):
        model.predict_file(path, tmp_path / "o.zarr", overtile.PredictOptions(tile_px=64))
    assert Journal(tmp_path / "o.zarr").done()


def test_ctrl_c_keeps_finished_tiles(
    model_folder: Path,
    image: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compute, calls = Tiler.compute, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compute(*arguments)

    monkeypatch.setattr(Tiler, "compute", interrupted)
    predict = ["predict", model_folder, image, "-o", tmp_path / "o.tif", "--precision", "float32"]
    assert call(*predict, "--tile", 32) == 130
    assert "--resume goes on" in " ".join(capsys.readouterr().err.split())
    assert Journal(tmp_path / "o.tif").done() == {0, 1}
    assert call(*predict, "--resume") == 0
    expected = overtile.load(model_folder, precision="float32").predict(CELLS, tile_px=32)
    assert np.array_equal(io.open(tmp_path / "o.tif").data[()], expected)
