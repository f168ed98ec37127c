"""A journal gives back what was recorded, whatever a kill left at its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overtile.errors import OutputError, SettingsError
from overtile.journal import Journal, Run

RUN = Run(
    overtile="0.1.0", model="abc", engine="torch", library="torch 2", precision="float32",
    threads=2, content="classes", source="a.tif", shape=(5, 6), dtype="uint8", modified=7,
    step=(16, 16), tiles=1,
)  # fmt: skip


@given(st.lists(st.integers(0, 10**6), unique=True), st.binary(max_size=8))
@settings(max_examples=20, deadline=None)
def test_a_torn_line_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], torn: bytes
) -> None:
    journal = Journal(tmp_path_factory.mktemp("run") / "out.tif")
    journal.begin(RUN)
    for number in numbers:
        journal.record(number)
    with (journal.folder / "done").open("ab") as file:
        file.write(torn.replace(b"\n", b""))
    assert journal.done() == set(numbers)
    journal.record(10**7)
    assert journal.done() == {*numbers, 10**7}


def test_it_is_read_back_and_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out.tif")
    assert not journal.exists()
    journal.begin(RUN)
    assert journal.exists()
    assert journal.read() == RUN
    assert journal.done() == set()
    journal.check_same(RUN)
    journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_another_prediction_is_not_mixed_in(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out.tif")
    journal.begin(RUN)
    with pytest.raises(OutputError, match=r"begun with threads 2, and this is 3.*--overwrite"):
        journal.check_same(RUN.model_copy(update={"threads": 3}))
    (journal.folder / "run.yaml").write_text("overtile: [")
    with pytest.raises(SettingsError, match=r"run\.yaml is not YAML"):
        journal.read()
