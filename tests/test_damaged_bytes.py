"""Any byte of a good file may be wrong: it is read, or refused with a sentence, and never more."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

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

many = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
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
