"""Any byte of a good file may be wrong: it is read, or refused with a sentence, and never more."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bad_annotations
import bad_containers
import bad_maps
import bad_scans
import numpy as np
import psutil
import pytest
from bad_files import whole
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overtile import io, layouts
from overtile.errors import OvertileError
from overtile.image import Image

MOST_BYTES = 500 * 2**20
WHOLE = whole()
OTHERS = bad_scans.whole() | bad_maps.whole() | bad_containers.whole()
ANNOTATIONS = bad_annotations.whole()

many = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
fewer = settings(many, max_examples=15)
places = st.floats(0, 1, exclude_max=True)
words = st.sampled_from([b"\0", b"\xff", b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\0" * 4])
damages = st.lists(
    st.tuples(
        st.sampled_from(["head", "anywhere"]), places, st.binary(min_size=1, max_size=4) | words
    ),
    min_size=1,
    max_size=4,
)


def damaged(content: bytes, damage: list[tuple[str, float, bytes]], kept: float) -> bytes:
    """Some bytes replaced, half of them in the header, and the end cut off."""
    result = bytearray(content)
    for where, share, new in damage:
        place = int(share * min(len(result), 300 if where == "head" else len(result)))
        result[place : place + len(new)] = new
    return bytes(result[: max(1, int(len(result) * kept))])


@pytest.fixture
def little_memory() -> Iterator[None]:
    """What asks for more gets none, and would end in an error that is not ours."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = psutil.Process().memory_info().vms + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def read_or_refuse(path: Path) -> None:
    """Read all of it, as an image and as a label."""
    for is_label in (False, True):
        try:
            for _, plane in layouts.source.list_planes(path, is_label, 2)[:3]:
                plane.read()
        except OvertileError as error:
            assert str(error)


def read_label_or_refuse(path: Path) -> None:
    """Read annotations of an image."""
    good, side = path.parent / "good.tif", bad_annotations.SIZE
    if not good.exists():
        io.write(good, Image(np.zeros((side, side), np.uint8), "yx"))
    try:
        for pair in layouts.pairs(good, path):
            assert pair.label is not None
            pair.label.read_label(pair.image)
    except OvertileError as error:
        assert str(error)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", WHOLE)
@many
@given(damage=damages, kept=st.just(1.0) | places)
def test_a_file_with_wrong_bytes(
    tmp_path: Path, name: str, damage: list[tuple[str, float, bytes]], kept: float
) -> None:
    path = tmp_path / name
    path.write_bytes(damaged(WHOLE[name], damage, kept))
    read_or_refuse(path)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", OTHERS)
@fewer
@given(damage=damages, kept=st.just(1.0) | places)
def test_a_file_of_science_with_wrong_bytes(
    tmp_path: Path, name: str, damage: list[tuple[str, float, bytes]], kept: float
) -> None:
    path = tmp_path / name
    path.write_bytes(damaged(OTHERS[name], damage, kept))
    read_or_refuse(path)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", ANNOTATIONS)
@fewer
@given(damage=damages, kept=st.just(1.0) | places)
def test_annotations_with_wrong_bytes(
    tmp_path: Path, name: str, damage: list[tuple[str, float, bytes]], kept: float
) -> None:
    path = tmp_path / name
    path.write_bytes(damaged(ANNOTATIONS[name], damage, kept))
    read_label_or_refuse(path)


def replaced(content: Any, place: int, new: Any) -> Any:
    """JSON with one of its values replaced by another, counted from the outside in."""
    inside = [(content, key) for key in _keys(content)]
    for holder, key in inside:
        inside += [(holder[key], deeper) for deeper in _keys(holder[key])]
    holder, key = inside[place % len(inside)]
    holder[key] = new
    return content


def _keys(value: Any) -> list[Any]:
    if isinstance(value, list):
        return list(range(len(value)))
    return list(value) if isinstance(value, dict) else []


odd = st.one_of(
    *(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=9),
        st.just("9" * 5000),
    ),
    st.sampled_from([[], {}, [[]], [1, 2], {"a": 1}, 10**400, -1, "\ud800"]),
)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", [name for name in ANNOTATIONS if name.endswith("json")])
@many
@given(place=st.integers(0, 999), new=odd)
def test_annotations_with_a_wrong_value(tmp_path: Path, name: str, place: int, new: Any) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(replaced(json.loads(ANNOTATIONS[name]), place, new)))
    read_label_or_refuse(path)


@pytest.mark.usefixtures("little_memory")
@many
@given(damage=damages, kept=st.just(1.0) | places, number=st.integers(0, 99))
def test_a_zarr_with_wrong_bytes(
    tmp_path: Path, damage: list[tuple[str, float, bytes]], kept: float, number: int
) -> None:
    path = tmp_path / "a.zarr"
    image = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    io.write(path, Image(image, "yx"), overwrite=True)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    chosen = files[number % len(files)]
    chosen.write_bytes(damaged(chosen.read_bytes(), damage, kept))
    read_or_refuse(path)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    "name", ["zarr.json", "labels/zarr.json", "labels/cells/zarr.json", "labels/cells/0/zarr.json"]
)
@fewer
@given(place=st.integers(0, 999), new=odd)
def test_a_zarr_with_a_wrong_value(tmp_path: Path, name: str, place: int, new: Any) -> None:
    path, whole = tmp_path / "a.zarr", tmp_path / "whole.json"
    if not path.exists():
        image = Image(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8), "yx")
        io.write(path, image)
        io.write(path / "labels" / "cells", image, content="objects")
        whole.write_bytes((path / name).read_bytes())
    (path / name).write_text(json.dumps(replaced(json.loads(whole.read_bytes()), place, new)))
    read_or_refuse(path)
    read_or_refuse(path / "labels" / "cells")
    try:
        for pair in layouts.pairs(path):
            pair.image.read()
    except OvertileError as error:
        assert str(error)
