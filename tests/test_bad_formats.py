"""Every bad file of science and maps is refused; see `refused`.

The tables are in `bad_scans`, `bad_maps` and `bad_containers`.
"""

from __future__ import annotations

from pathlib import Path

import bad_containers
import bad_maps
import bad_scans
import numpy as np
import pytest
from bad_files import Case, make, noise
from refused import call, is_not_checked, is_not_predicted, is_not_read

import overtile
from overtile import io, layouts
from overtile.image import Image, Orientation
from overtile.segmenter import Segmenter

CASES = bad_scans.CASES + bad_maps.CASES + bad_containers.CASES
SHOWN = bad_maps.shows("plane.tif")
WHOLE = bad_scans.whole() | bad_maps.whole() | bad_containers.whole()

every_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def nowhere(number: float) -> bytes:
    """A NIfTI with such a number in its matrices."""
    places = {"srow_x": [number] * 4, "qoffset_x": number, "pixdim": [1, *[number] * 7]}
    return bad_scans.nifti(noise(40, 48), sform_code=1, qform_code=1, **places)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that are in order, everything that reads them being imported."""
    folder = tmp_path_factory.mktemp("good")
    for name, content in WHOLE.items():
        (folder / name).write_bytes(content)
        for _, plane in layouts.list_images(folder / name)[:1]:
            plane.read()
    (folder / "plane.tif").write_bytes(bad_maps.geotiff(noise(1, 40, 48)))
    (folder / "volume.nii").write_bytes(bad_scans.nifti(bad_scans.VOLUME))
    io.write(folder / "image.zarr", Image(noise(40, 48), "yx"))
    call("check", folder / "plane.tif", folder / "image.zarr")
    return folder


@pytest.fixture(scope="module")
def corpus(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "plane.tif").write_bytes((good / "plane.tif").read_bytes())
    make(CASES, folder)
    return folder


@pytest.fixture(scope="module")
def model(model_folder: Path, good: Path, tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    """A model that has predicted once, so that what a prediction costs is known."""
    model = overtile.load(model_folder, engine="torch", precision="float32", threads=1)
    model.predict_file(good / "volume.nii", tmp_path_factory.mktemp("out") / "a.tif")
    return model


@every_case
@pytest.mark.usefixtures("good")
def test_it_is_not_read(case: Case, corpus: Path) -> None:
    is_not_read(case, corpus)


@every_case
def test_it_is_not_checked(
    case: Case, corpus: Path, good: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    is_not_checked(case, corpus, good / case.partner, capfd)


@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.is_usable], ids=lambda case: case.name
)
def test_it_is_not_predicted(
    case: Case, corpus: Path, model: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_not_predicted(case, corpus, model, tmp_path, monkeypatch)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("nan.nii", nowhere(np.nan)),
        ("infinite.nii", nowhere(np.inf)),
        ("far.nii", nowhere(3e38)),
        ("far-64.nii", bad_scans.nifti(noise(40, 48), two=True, sform_code=1, srow_x=[1e300] * 4)),
        ("nan.vrt", bad_maps.vrt(f"<GeoTransform>{', '.join(['nan'] * 6)}</GeoTransform>" + SHOWN)),
        ("zero.vrt", bad_maps.vrt(f"<GeoTransform>{', '.join(['0'] * 6)}</GeoTransform>" + SHOWN)),
        (
            "far.vrt",
            bad_maps.vrt(f"<GeoTransform>{', '.join(['1e308'] * 6)}</GeoTransform>" + SHOWN),
        ),
    ],
)
def test_a_place_of_nonsense_costs_no_image(
    name: str, content: bytes, corpus: Path, model: Segmenter, tmp_path: Path
) -> None:
    """The pixels are read and predicted, and lie nowhere."""
    path = corpus / f"place-{name}"
    path.write_bytes(content)
    image = io.open(path)
    assert image.frame is None
    assert image.spacing is None or np.isfinite(image.spacing).all()
    for suffix in (".tif", ".nii.gz"):
        model.predict_file(path, tmp_path / f"out{suffix}")
        assert io.open(tmp_path / f"out{suffix}").data.shape[-2:] == image.data.shape[-2:]


def test_a_code_that_there_is_not_says_that_the_place_is_aligned_with_something(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(bad_scans.nifti(noise(40, 48), sform_code=-9, qform_code=0))
    frame = io.open(path).frame
    assert isinstance(frame, Orientation)
    assert frame.space == "aligned"
