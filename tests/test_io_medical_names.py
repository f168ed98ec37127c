"""Names, colours and background of classes in NIfTI, NRRD and MetaImage, by other readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from overtile import io
from overtile.image import Image
from overtile.legend import Legend

NAMES = ("nothing", "grey; matter", 'left\\right "hippocampus"')
LEGEND = Legend(NAMES, ((0, 0, 0), (255, 128, 0), (1, 2, 3)))
CLASSES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 3


def written(path: Path, many: int = 0, **manner: Any) -> Path:
    legend = manner.pop("legend", LEGEND)
    if many:
        legend = Legend(tuple(f"region number {n}" for n in range(many)), ((0, 9, 0),) * many)
    io.write(path, Image(CLASSES, "zyx"), legend=legend, content="classes", **manner)
    return path


def keys(path: Path) -> dict[str, str]:
    image = SimpleITK.ReadImage(str(path))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), CLASSES)
    return {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"a{suffix}")
    file: Any = nibabel.load(path)  # type: ignore[attr-defined]
    assert file.header.get_intent()[0] == "label"
    assert [each.get_code() for each in file.header.extensions] == [6]
    comment = file.header.extensions[0].get_content().decode().rstrip("\0")
    assert comment == LEGEND.described
    assert np.array_equal(np.asarray(file.dataobj).T, CLASSES)
    assert np.array_equal(io.open(path).data[()], CLASSES)
    keys(path)  # ITK reads its pixels behind the comment as well


def test_nrrd(tmp_path: Path) -> None:
    found = keys(written(tmp_path / "a.nrrd"))
    assert found["Classes"] == LEGEND.described
    # Segments as 3D Slicer has them: background is none.
    assert [found[f"Segment{n}_Name"] for n in range(2)] == list(NAMES[1:])
    assert [found[f"Segment{n}_LabelValue"] for n in range(2)] == ["1", "2"]
    colours = [tuple(map(float, found[f"Segment{n}_Color"].split())) for n in range(2)]
    assert np.allclose(np.array(colours) * 255, LEGEND.colours[1:], atol=1e-3)
    assert "Segment2_Name" not in found
    without = Legend(NAMES, LEGEND.colours, None)
    assert keys(written(tmp_path / "b.nrrd", legend=without))["Segment0_Name"] == "nothing"


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
def test_meta(tmp_path: Path, suffix: str) -> None:
    found = keys(written(tmp_path / f"a{suffix}"))
    assert found["Classes"] == LEGEND.described.replace("\n", "; ")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_many_names(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"a{suffix}", many=120)
    found = keys(path)
    if suffix == ".mha":
        parts = [text for key, text in found.items() if key.startswith("Classes")]
        assert max(map(len, parts)) <= 120
        assert sum(text.count("region number") for text in parts) == 120
    assert np.array_equal(io.open(path).data[()], CLASSES)


def test_names_of_channels(tmp_path: Path) -> None:
    likely = np.random.default_rng(0).random((2, 2, 3, 4), np.float32)
    image = Image(likely, "czyx", channel_names=("nothing", "tumour"))
    for suffix in (".nii", ".nrrd", ".mha"):
        io.write(tmp_path / f"p{suffix}", image, content="probabilities")
        assert np.array_equal(io.open(tmp_path / f"p{suffix}").data[()], likely)
    file: Any = nibabel.load(tmp_path / "p.nii")  # type: ignore[attr-defined]
    assert file.header.extensions[0].get_content().decode() == "0 nothing\n1 tumour"
    nrrd = SimpleITK.ReadImage(str(tmp_path / "p.nrrd"))
    assert nrrd.GetMetaData("Channels") == "0 nothing\n1 tumour"
    assert SimpleITK.ReadImage(str(tmp_path / "p.mha")).GetMetaData("Channels") == (
        "0 nothing; 1 tumour"
    )
