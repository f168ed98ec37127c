"""Axes, names of channels and classes, and palettes of TIFF and OME-Zarr: in and out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow

from overtile import io
from overtile.file_to_file import PredictOptions
from overtile.image import AXES, Image
from overtile.legend import Legend
from overtile.segmenter import load

some = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NAMES = st.lists(
    st.text("DAPIg <&\"'µé:/", min_size=1, max_size=6).map(lambda t: f"{t}."),
    min_size=2,
    max_size=4,
)
LEGEND = Legend(("nothing", "cell <&>"), ((0, 0, 0), (230, 159, 0)))


def noise(shape: tuple[int, ...], kind: str = "uint8", seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).uniform(0, 200, shape).astype(kind)


def shaped(axes: str, channels: int) -> tuple[int, ...]:
    return tuple({"t": 2, "c": channels, "z": 3, "y": 8, "x": 9}[axis] for axis in axes)


def xml(path: Path) -> ElementTree.Element:
    """The OME-XML of a file."""
    with tifffile.TiffFile(path) as tiff:
        assert tiff.ome_metadata is not None
        return ElementTree.fromstring(tiff.ome_metadata)


def found(root: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    return [node for node in root.iter() if node.tag.endswith("}" + tag)]


# ── channels ──────────────────────────────────────────────────────────────────────────────────


@some
@given(
    names=NAMES,
    axes=st.sampled_from(["CYX", "ZCYX", "CZYX", "TZCYX", "TCZYX"]),
    kind=st.sampled_from(["uint8", "uint16", "float32"]),
)
def test_what_ome_and_imagej_name_comes_back(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], axes: str, kind: str
) -> None:
    folder = tmp_path_factory.mktemp("tiff")
    array = noise(shaped(axes.lower(), len(names)), kind)
    described: dict[str, Any] = {"axes": axes, "Channel": {"Name": names}}
    how: dict[str, Any] = {"photometric": "minisblack"}
    tifffile.imwrite(folder / "a.ome.tif", array, metadata=described, **how)
    image = io.open(folder / "a.ome.tif")
    assert image.axes == "".join(sorted(axes.lower(), key=AXES.index))
    assert image.channel_names == tuple(names)
    want = array.transpose([axes.lower().index(axis) for axis in image.axes])
    assert np.array_equal(image.data[()], want)
    key = (*[slice(1, 2)] * (want.ndim - 2), slice(2, 5), slice(3, None))
    assert np.array_equal(image.data[key], want[key])
    if axes in ("CYX", "ZCYX", "TZCYX"):  # as ImageJ orders them
        plain = [name.encode("ascii", "replace").decode() for name in names]
        labels = plain * (array.size // 72 // len(names))
        tifffile.imwrite(
            folder / "b.tif", array, imagej=True, metadata={"axes": axes, "Labels": labels}
        )
        image = io.open(folder / "b.tif")
        assert image.channel_names == tuple(plain)
        assert np.array_equal(image.data[()], want)


def test_labels_of_planes_are_no_names_of_channels(tmp_path: Path) -> None:
    for axes, labels in (("ZCYX", list("abcdef")), ("ZYX", list("abc")), ("CYX", ["a"])):
        array = noise(shaped(axes.lower(), 2), "uint16")
        metadata = {"axes": axes, "Labels": labels}
        tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata=metadata)
        assert io.open(tmp_path / "a.tif").channel_names == ()
    rgb = {"axes": "YXS", "Channel": {"Name": ["rgb"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", noise((8, 9, 3)), photometric="rgb", metadata=rgb)
    assert io.open(tmp_path / "a.ome.tif").channel_names == ()


@some
@given(
    names=NAMES,
    axes=st.sampled_from(["cyx", "czyx", "tczyx"]),
    suffix=st.sampled_from([".tif", ".ome.tif", ".zarr"]),
    kind=st.sampled_from(["uint8", "int16", "float32"]),
)
def test_names_of_channels_are_written(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], axes: str, suffix: str, kind: str
) -> None:
    path = tmp_path_factory.mktemp("names") / f"a{suffix}"
    kind = "uint16" if len(names) == 3 and kind == "uint8" else kind  # that would be RGB
    array = noise(shaped(axes, len(names)), kind)
    spacing = (2.0, 0.5, 0.25)[-sum(axis in "zyx" for axis in axes) :]
    written = Image(array, axes, spacing, "micrometer", channel_names=tuple(names))
    io.write(path, written)
    image = io.open(path)
    assert (image.axes, image.spacing, image.unit) == (axes, spacing, "micrometer")
    assert image.channel_names == tuple(names)
    assert np.array_equal(image.data[()], array)
    if suffix == ".ome.tif":
        root = xml(path)
        assert [node.get("Name") for node in found(root, "Channel")] == names
        (pixels,) = found(root, "Pixels")
        for axis, size in zip(axes, array.shape, strict=True):
            assert pixels.get(f"Size{axis.upper()}") == str(size)
    if suffix == ".zarr":
        about: Any = zarr.open_group(path, mode="r").attrs.asdict()["ome"]
        channels = about["omero"]["channels"]
        assert [channel["label"] for channel in channels] == names
        for channel in channels:
            assert len(bytes.fromhex(channel["color"])) == 3
            window = channel["window"]
            assert window["min"] <= window["start"] < window["end"] <= window["max"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_channels_named_by_omero_are_read(tmp_path: Path, version: str) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", shape=(2, 8, 9), dtype="u1")
    axes = [{"name": axis, "type": "channel" if axis == "c" else "space"} for axis in "cyx"]
    steps = [{"type": "scale", "scale": [1, 1, 1]}]
    levels = [{"path": "0", "coordinateTransformations": steps}]
    about: dict[str, Any] = {"multiscales": [{"axes": axes, "datasets": levels}]}
    for channels, want in (
        ([{"label": "DAPI"}, {"label": "GFP"}], ("DAPI", "GFP")),
        ([{"label": "DAPI"}], ()),
        ([{"label": "DAPI"}, {"color": "FF0000"}], ()),
        ("none", ()),
    ):
        about["omero"] = {"channels": channels}
        group.attrs.update(about if version == "0.4" else {"ome": {"version": "0.5", **about}})
        assert io.open(tmp_path / "a.zarr").channel_names == want


# ── classes ───────────────────────────────────────────────────────────────────────────────────


def test_classes_are_named_in_a_tiff(tmp_path: Path) -> None:
    ids = Image(noise((8, 9)) % 2, "yx")
    io.write(tmp_path / "a.ome.tif", ids, legend=LEGEND, content="classes")
    (annotation,) = found(xml(tmp_path / "a.ome.tif"), "MapAnnotation")
    pairs = {node.get("K"): node.text for node in found(annotation, "M")}
    assert pairs == {"0": "nothing", "1": "cell <&>"}
    io.write(tmp_path / "a.tif", ids, legend=LEGEND, content="classes")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        described = json.loads(tiff.pages[0].description)  # type: ignore[union-attr]
    assert described["classes"] == pairs


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("pages", [1, 2])
def test_a_palette_is_given_with_a_label(
    tmp_path: Path, kind: str, narrow: bool, pages: int
) -> None:
    path = tmp_path / "a.tif"
    ids = noise((pages, 8, 9), kind)
    size = 2 ** (8 * ids.itemsize)
    table = np.random.default_rng(1).integers(0, 256, (3, size), dtype=np.uint16)
    tifffile.imwrite(
        path, ids, photometric="palette", colormap=table if narrow else table * np.uint16(257)
    )
    label = io.open(path, as_label=True)
    assert label.palette == tuple(map(tuple, table.T.tolist()))
    assert np.array_equal(np.squeeze(label.data[()]), np.squeeze(ids))
    assert io.open(path).palette == ()
    assert np.array_equal(np.squeeze(io.open(path).data[()]), np.squeeze(ids))


def test_the_palette_of_pillow_is_read_and_a_table_of_grays_is_none(tmp_path: Path) -> None:
    picture = Pillow.fromarray(noise((8, 9)) % 2)
    picture.putpalette(LEGEND.table.tobytes())
    picture.save(tmp_path / "a.tif")
    assert io.open(tmp_path / "a.tif", as_label=True).palette[:2] == LEGEND.colours
    io.write(tmp_path / "b.tif", Image(noise((8, 9)) % 2, "yx"), legend=LEGEND)
    assert io.open(tmp_path / "b.tif", as_label=True).palette[:2] == LEGEND.colours
    gray = np.broadcast_to(np.arange(256, dtype=np.uint16) * 257, (3, 256))
    tifffile.imwrite(tmp_path / "c.tif", noise((8, 9)), photometric="palette", colormap=gray)
    assert io.open(tmp_path / "c.tif", as_label=True).palette == ()
    tifffile.imwrite(tmp_path / "d.tif", noise((8, 9)))
    assert io.open(tmp_path / "d.tif", as_label=True).palette == ()


# ── pyramids, and from end to end ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ome", [False, True])
def test_of_a_whole_slide_the_full_resolution_is_read(tmp_path: Path, ome: bool) -> None:
    array, path = noise((128, 160, 3)), tmp_path / ("a.ome.tif" if ome else "a.tif")
    how: dict[str, Any] = {"photometric": "rgb", "tile": (32, 32)}
    with tifffile.TiffWriter(path, ome=ome) as writer:
        writer.write(array, subifds=2, metadata={"axes": "YXS"}, **how)
        for step in (2, 4):
            writer.write(array[::step, ::step], subfiletype=1, metadata=None, **how)
    image = io.open(path)
    assert image.by_window
    assert np.array_equal(image.data[:, 40:70, 33:], np.moveaxis(array, -1, 0)[:, 40:70, 33:])


@pytest.mark.parametrize("suffix", [".ome.tif", ".tif", ".zarr"])
def test_probabilities_name_their_classes_and_keep_the_size_of_a_pixel(
    tmp_path: Path, model_folder: Path, suffix: str
) -> None:
    """A hyperstack of ImageJ in, with time and depth."""
    array = noise((2, 3, 40, 50), "uint16")
    metadata = {"axes": "TZYX", "spacing": 2.0, "unit": "um"}
    source, output = tmp_path / "a.tif", tmp_path / f"out{suffix}"
    tifffile.imwrite(source, array, imagej=True, metadata=metadata, resolution=(4, 2))
    model = load(model_folder, engine="torch")
    model.predict_file(source, output, PredictOptions(content="probabilities"))
    image = io.open(output)
    assert (image.axes, image.spacing, image.unit) == ("tczyx", (2, 0.5, 0.25), "micrometer")
    assert image.channel_names == model.classes
    if suffix == ".ome.tif":
        (pixels,) = found(xml(output), "Pixels")
        assert [pixels.get(f"Size{axis}") for axis in "TCZYX"] == ["2", "2", "3", "40", "50"]
        assert float(pixels.get("PhysicalSizeZ", "")) == 2
        read = tifffile.imread(output)
        with tifffile.TiffFile(output) as tiff:
            order = [tiff.series[0].axes.index(axis) for axis in "TCZYX"]
        assert np.array_equal(read.transpose(order), image.data[()])
    assert np.array_equal(image.data[1, :, 2], model.probabilities(array[1, 2]))
