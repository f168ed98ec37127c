"""Images at URLs, and the labels that lie in an image's own Zarr."""

from __future__ import annotations

import functools
import json
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from overtile import io, layouts
from overtile.cli import main
from overtile.errors import DataError, FormatError, MissingError, OutputError
from overtile.file_to_file import PredictOptions
from overtile.image import Image
from overtile.io import zarrnode
from overtile.legend import Legend
from overtile.segmenter import load

some = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def noise(shape: tuple[int, ...], kind: str = "uint8", seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).uniform(0, 200, shape).astype(kind)


def multiscale(axes: str, spacing: float = 0.5) -> dict[str, Any]:
    """The description of an image of one level, by hand from the specification."""
    kinds = {"t": "time", "c": "channel"}
    named = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    for axis in named:
        if axis["type"] == "space":
            axis["unit"] = "micrometer"
    scale = [1.0 if axis in "tc" else spacing for axis in axes]
    steps = [{"type": "scale", "scale": scale}]
    return {"axes": named, "datasets": [{"path": "0", "coordinateTransformations": steps}]}


def foreign(path: Any, array: NDArray[Any], axes: str, version: str) -> Any:
    """An image of OME-Zarr written through zarr alone, to a folder or a URL."""
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    chunks = tuple(min(size, 5) for size in array.shape)
    made = group.create_array("0", shape=array.shape, dtype=array.dtype, chunks=chunks)
    made[...] = array
    about = {"multiscales": [multiscale(axes)]}
    if version == "0.4":
        about["multiscales"][0]["version"] = "0.4"
        group.attrs.update(about)
    else:
        group.attrs["ome"] = {"version": "0.5", **about}
    return group


def call(*arguments: object) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(part) for part in arguments])
    return int(ended.value.code or 0)


class Quiet(SimpleHTTPRequestHandler):
    """A web server that does not report what it serves, and lists no folder."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def list_directory(self, _: Any) -> None:
        """Not found."""
        self.send_error(404)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which a web server of this machine shows it."""
    folder = tmp_path_factory.mktemp("served")
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# ── names ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text", ["s3://bucket/a/b.zarr", "https://host:80/b.zarr", "simplecache::s3://bucket/b.zarr"]
)
def test_a_url_is_a_path_that_keeps_its_strokes(text: str) -> None:
    for form in (text, Path(text), io.place(text)):
        url = io.place(form)
        assert isinstance(url, io.Url)
        assert str(url) == f"{url}" == url.__fspath__() == text
        assert str(url / "labels" / "x") == f"{text}/labels/x"
        assert str(url.parent / url.name) == str(url.absolute()) == str(url.resolve()) == text
        assert pickle.loads(pickle.dumps(url)) == url
        assert (url / "labels" / "x").relative_to(url).as_posix() == "labels/x"
        assert [str(one) for one in url.parents][-1] == "."
        assert io.name_of(url) == "b.zarr"
        assert (url.exists(), url.is_dir(), url.is_file()) == (True, True, False)
        assert (io.is_known(url), io.stem_of(url), io.modified_ns(url)) == (True, "b", 0)
    assert not isinstance(io.place("c:/a.tif"), io.Url)
    assert io.place("a.tif") == Path("a.tif")
    assert io.place("file:///a/b.zarr") == Path("/a/b.zarr")
    assert not isinstance(io.place("file:///a/b.zarr"), io.Url)


# ── reading ───────────────────────────────────────────────────────────────────────────────────


@some
@given(
    data=st.data(),
    version=st.sampled_from(["0.4", "0.5"]),
    axes=st.sampled_from(["yx", "cyx", "tczyx"]),
    kind=st.sampled_from(["uint8", "uint16", "float32"]),
    web=st.booleans(),
)
def test_images_at_urls_come_back_by_window(
    served: tuple[Path, str],
    data: st.DataObject,
    version: str,
    axes: str,
    kind: str,
    web: bool,
) -> None:
    folder, address = served
    array = noise(tuple({"t": 2, "c": 3, "z": 4, "y": 11, "x": 13}[axis] for axis in axes), kind)
    url = f"{address}/{version}.zarr" if web else f"memory://{version}.zarr"
    foreign(folder / f"{version}.zarr" if web else url, array, axes, version)
    image = io.open(url)
    assert (image.axes, image.unit, image.by_window) == (axes, "micrometer", True)
    assert image.spacing == (0.5,) * sum(axis in "zyx" for axis in axes)
    starts = [data.draw(st.integers(0, size - 1)) for size in array.shape]
    stops = [data.draw(st.integers(n, s)) for n, s in zip(starts, array.shape, strict=True)]
    key = tuple(map(slice, starts, stops))
    assert np.array_equal(image.data[key], array[key])
    assert np.array_equal(io.open(Path(url), as_label=True).data[()], array)


def test_images_of_bioformats_at_a_url_are_found_in_folder_0(served: tuple[Path, str]) -> None:
    folder, address = served
    array = noise((9, 8))
    zarr.create_group(folder / "bio.zarr", zarr_format=2, attributes={"bioformats2raw.layout": 3})
    foreign(folder / "bio.zarr" / "0", array, "yx", "0.4")
    assert np.array_equal(io.open(f"{address}/bio.zarr").data[()], array)
    assert np.array_equal(io.open(f"{address}/bio.zarr/0").data[()], array)
    foreign(folder / "bio.zarr" / "1", array, "yx", "0.4")
    with pytest.raises(FormatError, match=r"bio\.zarr is a Zarr without the description"):
        io.open(f"{address}/bio.zarr")


def test_pairs_are_read_from_urls() -> None:
    foreign("memory://p.zarr", noise((9, 8)), "yx", "0.5")
    foreign("memory://p.zarr/labels/cells", noise((9, 8), seed=1), "yx", "0.5")
    group = zarr.open_group("memory://p.zarr/labels", mode="a")
    group.attrs["ome"] = {"version": "0.5", "labels": ["cells"]}
    (label,) = io.labels_in("memory://p.zarr")
    assert str(label) == "memory://p.zarr/labels/cells"
    found = layouts.pairs("memory://p.zarr", label)
    assert found.names == ["p"]
    assert found[0].label is not None
    assert [found[0].image.origin, found[0].label.origin] == ["p.zarr", "p.zarr/labels/cells"]
    assert np.array_equal(found[0].image.read()[0], noise((9, 8)))
    assert np.array_equal(found[0].read_label().values, noise((9, 8), seed=1))
    listed = layouts.list_images(["memory://p.zarr", Path("memory://p.zarr/labels/cells")])
    assert [name for name, _ in listed] == ["p", "p-labels-cells"]


def test_what_cannot_be_reached_is_said_within_seconds(
    served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = time.monotonic()
    with pytest.raises(FormatError, match=r"none\.zarr is no Zarr that can be read: there is none"):
        io.open(f"{served[1]}/none.zarr")
    with pytest.raises(FormatError, match=r"memory://none\.zarr is no Zarr that can be read"):
        io.open("memory://none.zarr")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening: refused
        with pytest.raises(MissingError, match=r"a\.zarr cannot be reached: .*Connect call failed"):
            io.open(f"http://127.0.0.1:{taken.getsockname()[1]}/a.zarr")
    monkeypatch.setattr(zarrnode, "READ_S", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(MissingError, match=r"a\.zarr cannot be reached: "):
            io.open(f"http://127.0.0.1:{silent.getsockname()[1]}/a.zarr")
    with pytest.raises(FormatError, match=r"'Protocol not known: nosuch'.*Expected the URL of"):
        io.open("nosuch://bucket/a.zarr")
    assert time.monotonic() - start < 5


def test_a_missing_library_of_a_protocol_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "get_filesystem_class", refuse)
    with pytest.raises(MissingError, match=r"s3://b/a\.zarr needs a library .* Install s3fs"):
        io.open("s3://b/a.zarr")


def test_a_server_that_fails_while_it_is_read_is_named(served: tuple[Path, str]) -> None:
    folder, address = served
    foreign(folder / "broken.zarr", noise((9, 8)), "yx", "0.5")
    data = io.open(f"{address}/broken.zarr").data
    (folder / "broken.zarr" / "0" / "c" / "0" / "0").write_bytes(b"\xff" * 20)
    with pytest.raises(FormatError, match=r"broken\.zarr.0 is no Zarr that can be read"):
        data[()]


def test_only_zarrs_are_read_from_urls_and_none_is_written() -> None:
    with pytest.raises(FormatError, match=r"is the URL of a PNG, and only Zarrs are read"):
        io.open("https://host/a.png")
    with pytest.raises(DataError, match=r"https://host/folder is a URL, whose images cannot be"):
        next(io.place("https://host/folder").iterdir())
    with pytest.raises(OutputError, match=r"s3://b/a\.zarr is a URL, and results are written to"):
        io.write("s3://b/a.zarr", Image(noise((5, 7)), "yx"))


# ── labels of an image ────────────────────────────────────────────────────────────────────────

LEGEND = Legend(("background", "nucleus"), ((0, 0, 0), (0, 158, 115)))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("content", ["classes", "objects"])
def test_a_label_is_written_into_its_image(tmp_path: Path, version: str, content: Any) -> None:
    """Read through zarr and json alone, as the specification of that version says."""
    home = tmp_path / "image.zarr"
    foreign(home, noise((30, 40)), "yx", version)
    kind = "uint8" if content == "classes" else "int32"
    label = Image(noise((30, 40), kind) % 2, "yx", spacing=(0.5, 0.5), unit="micrometer")
    legend = LEGEND if content == "classes" else None
    for name in ("first", "second", "first"):
        path = home / "labels" / name
        io.write(path, label, overwrite=True, legend=legend, content=content)
    group = zarr.open_group(home / "labels", mode="r")
    one = zarr.open_group(home / "labels" / "first", mode="r")
    assert group.metadata.zarr_format == one.metadata.zarr_format == (2 if version == "0.4" else 3)
    if version == "0.4":
        listed = json.loads((home / "labels" / ".zattrs").read_text())
        about = json.loads((home / "labels" / "first" / ".zattrs").read_text())
        array = json.loads((home / "labels" / "first" / "0" / ".zarray").read_text())
        assert about["multiscales"][0]["version"] == about["image-label"]["version"] == "0.4"
        assert (array["zarr_format"], array["dimension_separator"]) == (2, "/")
        assert "ome" not in about
    else:
        listed, about = (
            json.loads((home / "labels" / part / "zarr.json").read_text())["attributes"]["ome"]
            for part in ("", "first")
        )
        assert about["version"] == listed["version"] == "0.5"
        assert "version" not in about["image-label"]
    assert sorted(listed["labels"]) == ["first", "second"]
    assert about["image-label"]["source"] == {"image": "../../"}
    steps = about["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert steps == [{"type": "scale", "scale": [0.5, 0.5]}]
    if content == "classes":
        assert about["image-label"]["colors"] == [
            {"label-value": 0, "rgba": [0, 0, 0, 0]},
            {"label-value": 1, "rgba": [0, 158, 115, 255]},
        ]
        assert about["image-label"]["properties"] == [
            {"label-value": 0, "class": "background"},
            {"label-value": 1, "class": "nucleus"},
        ]
    assert np.array_equal(zarr.open_array(home / "labels" / "first" / "0")[...], label.data[()])
    assert np.array_equal(io.open(home / "labels" / "first").data[()], label.data[()])
    assert np.array_equal(io.open(home).data[()], noise((30, 40)))
    assert set(io.labels_in(home)) == {home / "labels" / "first", home / "labels" / "second"}
    with pytest.raises(FormatError, match=r"is the group of the labels of an image: name one of"):
        io.open(home / "labels")
    with pytest.raises(DataError, match=r"It holds labels itself: .*second"):
        layouts.pairs(home, home)


@pytest.mark.parametrize(("background", "clear"), [(0, [0, 255]), (None, [255, 255])])
def test_only_background_is_clear(tmp_path: Path, background: int | None, clear: list[int]) -> None:
    legend = Legend(("black road", "field"), ((0, 0, 0), (9, 9, 9)), background)
    path = tmp_path / "classes.zarr"
    io.write(path, Image(noise((30, 40)) % 2, "yx"), legend=legend, content="classes")
    about = zarr.open_group(path, mode="r").attrs["ome"]["image-label"]
    assert [colour["rgba"][3] for colour in about["colors"]] == clear


def test_what_is_no_label_has_no_place_inside_of_an_image(tmp_path: Path) -> None:
    home = tmp_path / "image.zarr"
    foreign(home, noise((9, 8)), "yx", "0.5")
    image = Image(noise((9, 8)), "yx")
    assert io.labels_in(home) == ()
    with pytest.raises(FormatError, match=r"would be a label of .*, which holds class ids or"):
        io.write(home / "labels" / "x", image)
    with pytest.raises(OutputError, match=r"inside of a Zarr.* name .*image\.zarr.labels.0"):
        io.write(home / "0", image, overwrite=True)
    with pytest.raises(OutputError, match=r"first exists already"):
        for _ in range(2):
            io.write(home / "labels" / "first", image, content="classes")


def test_a_zarr_of_class_ids_says_what_they_are(tmp_path: Path) -> None:
    image = Image(noise((9, 8)) % 2, "yx")
    io.write(tmp_path / "a.zarr", image, legend=LEGEND, content="classes")
    about = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["attributes"]["ome"]
    assert about["image-label"]["properties"][1] == {"label-value": 1, "class": "nucleus"}
    assert "source" not in about["image-label"]
    io.write(tmp_path / "b.zarr", image)
    about = json.loads((tmp_path / "b.zarr" / "zarr.json").read_text())["attributes"]["ome"]
    assert set(about) == {"version", "multiscales"}


# ── from end to end ───────────────────────────────────────────────────────────────────────────


def test_a_zarr_at_a_url_is_predicted_into_a_tiff(
    tmp_path: Path, model_folder: Path, served: tuple[Path, str], capsys: Any
) -> None:
    array = noise((40, 50))
    folder, address = served
    foreign(folder / "cells.zarr", array, "yx", "0.4")
    foreign("memory://cells.zarr", array, "yx", "0.5")
    want = load(model_folder, engine="torch").predict(array)
    for number, url in enumerate([f"{address}/cells.zarr", "memory://cells.zarr"]):
        output = tmp_path / f"{number}.tif"
        assert call("predict", model_folder, url, "-o", output, "--engine", "torch") == 0
        assert np.array_equal(tifffile.imread(output), want)
        assert io.open(output).spacing == (0.5, 0.5)
    assert call("predict", model_folder, f"{address}/no.zarr", "-o", tmp_path / "n.tif") == 2
    assert "no.zarr is no Zarr that can be read" in capsys.readouterr().err.replace("\n", " ")
    assert call("predict", model_folder, "memory://cells.zarr", "-o", "memory://out.zarr") == 2
    assert "is a URL, and results are written to this machine" in capsys.readouterr().err.replace(
        "\n", " "
    )


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_is_predicted_into_its_own_labels(
    tmp_path: Path, model_folder: Path, version: str
) -> None:
    array = noise((40, 50))
    home = tmp_path / "image.zarr"
    foreign(home, array, "yx", version)
    output = home / "labels" / "cells"
    assert call("predict", model_folder, home, "-o", output, "--engine", "torch") == 0
    model = load(model_folder, engine="torch")
    assert np.array_equal(zarr.open_array(output / "0", mode="r")[...], model.predict(array))
    assert io.labels_in(home) == (output,)
    about: Any = zarr.open_group(output, mode="r").attrs.asdict()
    described = about.get("ome", about)["image-label"]
    assert [one["class"] for one in described["properties"]] == list(model.classes)
    assert described["source"] == {"image": "../../"}
    assert [path.name for path in (home / "labels").iterdir() if path.is_dir()] == ["cells"]
    found = home / "labels" / "objects"
    how = ("--objects", "--measurements", "--engine", "torch")
    assert call("predict", model_folder, home, "-o", found, *how) == 0
    assert (tmp_path / "image-labels-objects.csv").is_file()
    assert io.labels_in(home) == (output, home / "labels" / "objects")
    with pytest.raises(FormatError, match="holds class ids or object ids, and no probabilities"):
        model.prepare_file(home, home / "labels" / "p", PredictOptions(content="probabilities"))
