"""What is predicted from a scan lies where the scan does, whatever the formats of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import nibabel
import numpy as np
import pytest
import SimpleITK
from dicom_files import write_series
from numpy.typing import NDArray

import overtile
from overtile import io
from overtile.cli.listing import list_jobs
from overtile.errors import FormatError
from overtile.file_to_file import FilePrediction, PredictOptions
from overtile.sample import draw_sample
from overtile.segmenter import Segmenter

VOLUME = np.stack([draw_sample(3, number, (40, 46))[0] for number in range(3)])
FLIP = np.diag([-1.0, -1, 1, 1])
INDICES = np.array([[0, 0, 0, 1], [45, 0, 0, 1], [0, 39, 0, 1], [0, 0, 2, 1], [45, 39, 2, 1]])


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Segmenter:
    return overtile.load(model_folder, precision="float32")


def turned() -> NDArray[np.float64]:
    """To LPS: oblique, anisotropic, off centre."""
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    turn *= np.linalg.det(turn)
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag([0.7, 0.9, 2.5])
    matrix[:3, 3] = -30, 12.5, 80
    return matrix


def scan(folder: Path, suffix: str) -> Path:
    """The volume as another library writes it."""
    matrix, path = turned(), folder / f"scan{suffix}"
    if suffix == "":
        return write_series(path, VOLUME, matrix)
    if suffix.startswith(".nii"):
        volume = nibabel.Nifti1Image(VOLUME.T, FLIP @ matrix)
        volume.set_qform(FLIP @ matrix, 2)
        volume.set_sform(FLIP @ matrix, 2)
        volume.header.set_xyzt_units("mm")
        nibabel.save(volume, path)
        return path
    written = SimpleITK.GetImageFromArray(VOLUME)
    sizes = np.linalg.norm(matrix[:3, :3], axis=0)
    written.SetSpacing(sizes)
    written.SetDirection((matrix[:3, :3] / sizes).reshape(-1))
    written.SetOrigin(matrix[:3, 3])
    SimpleITK.WriteImage(written, str(path))
    return path


def read(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Pixels (z y x c), and where the voxels of INDICES lie (LPS), by an independent library."""
    if path.name.endswith((".nii", ".nii.gz")):
        found: Any = nibabel.load(path)
        pixels = np.asarray(found.dataobj)
        pixels = pixels if pixels.ndim == 4 else pixels[..., None]
        there = (FLIP @ found.affine @ INDICES.T).T[:, :3]
        assert np.allclose(found.get_qform(), found.affine, atol=1e-4)
        assert found.header.get_xyzt_units()[0] == "mm"
        assert np.allclose(found.header.get_zooms()[:3], (0.7, 0.9, 2.5))
        return pixels.transpose(2, 1, 0, 3), there
    image = SimpleITK.ReadImage(str(path))
    pixels = SimpleITK.GetArrayFromImage(image)
    pixels = pixels if pixels.ndim == 4 else pixels[..., None]
    points = [image.TransformIndexToPhysicalPoint(one) for one in INDICES[:, :3].tolist()]
    assert np.allclose(image.GetSpacing(), (0.7, 0.9, 2.5))
    return pixels, np.array(points)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (".nii", ".nii"),
        (".nii.gz", ".nii.gz"),
        (".nrrd", ".nrrd"),
        (".mha", ".mha"),
        (".mhd", ".mhd"),
        ("", ".nii.gz"),
        (".nii.gz", ".nrrd"),
        (".nrrd", ".nii"),
        ("", ".mha"),
    ],
)
def test_predictions_lie_where_their_images_do(
    model: Segmenter, tmp_path: Path, source: str, target: str
) -> None:
    path = scan(tmp_path, source)
    there = (turned() @ INDICES.T).T[:, :3]
    expected = {
        "classes": model.predict(VOLUME)[..., None],
        "probabilities": np.moveaxis(model.probabilities(VOLUME), 1, -1),
        "objects": model.objects(VOLUME)[..., None],
    }
    kinds = {"classes": np.uint8, "probabilities": np.float32, "objects": np.int32}
    for content, want in expected.items():
        output = tmp_path / f"{content}{target}"
        model.predict_file(path, output, PredictOptions(content, tile_px=32))  # type: ignore[arg-type]
        pixels, places = read(output)
        assert pixels.dtype == kinds[content]
        assert np.allclose(pixels, want, atol=1e-5)
        assert np.allclose(places, there, atol=1e-3)
        if target.startswith(".nii"):
            # An atlas or the scanner: as the file says; DICOM and ITK know the scanner only.
            code = 2 if source.startswith(".nii") else 1
            assert int(nibabel.load(output).header["sform_code"]) == code  # type: ignore[attr-defined]


def test_a_series_is_predicted_into_a_segmentation(model: Segmenter, tmp_path: Path) -> None:
    series, output = scan(tmp_path, ""), tmp_path / "scan.seg.dcm"
    model.predict_file(series, output)
    found = highdicom.seg.segread(output)
    whole, want = found.get_volume(combine_segments=True), model.predict(VOLUME)
    names = [segment.segment_label for segment in found.SegmentSequence]
    assert names == list(model.model.classes.names[1:])
    wanted = np.argwhere(want)
    at = turned() @ np.c_[wanted[:, ::-1], np.ones(len(wanted))].T
    inside = np.rint(np.linalg.inv(whole.affine) @ at)[:3].astype(int)
    assert np.array_equal(whole.array[tuple(inside)], want[tuple(wanted.T)])
    assert np.count_nonzero(whole.array) == len(wanted) > 0


def test_a_folder_is_predicted_into_formats_that_keep_the_place(tmp_path: Path) -> None:
    (folder := tmp_path / "scans").mkdir()
    for name, suffix in (("a", ".nii"), ("b", ".nrrd"), ("c", ".mhd"), ("d.1", "")):
        made = scan(folder, suffix)
        made.rename(folder / f"{name}{suffix}")
    io.write(folder / "e.ome.tif", io.open(folder / "a.nii"))
    jobs = list_jobs(folder, tmp_path / "out", None, 1).pairs
    names = {source.name: target.name for source, target in jobs}
    assert names == {
        "a.nii": "a.nii.gz",
        "b.nrrd": "b.nrrd",
        "c.mhd": "c.mha",
        "d.1": "d.1.nii.gz",
        "e.ome.tif": "e.tif",
    }


def test_what_no_segmentation_can_hold_is_refused_before_the_work(
    model: Segmenter, tmp_path: Path
) -> None:
    series, output = scan(tmp_path, ""), tmp_path / "a.dcm"
    with pytest.raises(FormatError, match="this would be probabilities of one"):
        FilePrediction(model.predictor, series, output, PredictOptions("probabilities"))
    with pytest.raises(FormatError, match="classes of no DICOM series"):
        FilePrediction(model.predictor, scan(tmp_path, ".nii"), output, PredictOptions())


def test_positions_agree_between_libraries(tmp_path: Path) -> None:
    """NIfTI read by nibabel, and by ITK, lies where the NRRD lies that was made of it."""
    image = io.open(scan(tmp_path, ".nrrd"))
    io.write(tmp_path / "a.nii", image)
    by_itk = SimpleITK.ReadImage(str(tmp_path / "a.nii"))
    points = [by_itk.TransformIndexToPhysicalPoint(one) for one in INDICES[:, :3].tolist()]
    assert np.allclose(points, read(tmp_path / "a.nii")[1], atol=1e-3)
    assert np.allclose(points, read(tmp_path / "scan.nrrd")[1], atol=1e-3)


def test_patients_stay_out_of_what_a_prediction_says(
    model: Segmenter, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    series, output = scan(tmp_path, ""), tmp_path / "a.nii"
    model.predict_file(series, output)
    said = "".join(capfd.readouterr()).encode() + output.read_bytes()
    assert b"secret" not in said.lower()
