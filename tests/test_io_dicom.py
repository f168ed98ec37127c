"""DICOM: what pydicom writes is read as ITK reads it; segmentations are read by highdicom."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import dicom_files
import highdicom
import imagecodecs
import numpy as np
import pydicom
import pytest
import SimpleITK
from dicom_files import enhanced, header, save, write_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from overtile import io, layouts
from overtile.errors import FormatError
from overtile.image import Image, Orientation
from overtile.legend import Legend

many = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FLIP = np.diag([-1.0, -1, 1, 1])
PLAIN = np.diag([0.5, 0.8, 3, 1])
LEGEND = Legend(("background", "liver", "tumour"), ((0, 0, 0), (0, 158, 115), (240, 228, 66)))


def noise(shape: tuple[int, ...], kind: str = "int16", seed: int = 0) -> NDArray[Any]:
    random, limits = np.random.default_rng(seed), np.iinfo(kind)
    return random.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)


def turned(seed: int) -> NDArray[np.float64]:
    """A matrix to LPS as scanners make it: rows, columns and slices right-handed."""
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    turn *= np.linalg.det(turn)
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(random.uniform(0.3, 5, 3))
    matrix[:3, 3] = random.uniform(-200, 200, 3)
    return matrix


def affine_of(image: Image) -> NDArray[np.float64]:
    assert isinstance(image.frame, Orientation)
    return np.array([*image.frame.affine, (0, 0, 0, 1)])


@pytest.fixture
def series(tmp_path: Path) -> Path:
    return write_series(tmp_path / "scan", noise((5, 6, 8)), PLAIN)


@many
@given(
    shape=st.tuples(st.integers(2, 5), st.integers(2, 6), st.integers(2, 6)),
    kind=st.sampled_from(["uint8", "uint16", "int16"]),
    scale=st.sampled_from([None, (1, -1024), (1, 7), (2.5, -3), (1, 0.5)]),
    seed=st.integers(0, 2**16),
    data=st.data(),
)
def test_a_series_is_read_as_itk_reads_it(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, ...],
    kind: str,
    scale: tuple[float, float] | None,
    seed: int,
    data: st.DataObject,
) -> None:
    volume, matrix = noise(shape, kind, seed), turned(seed)
    tags = {} if scale is None else {"RescaleSlope": scale[0], "RescaleIntercept": scale[1]}
    folder = write_series(tmp_path_factory.mktemp("s") / "a", volume, matrix, seed, **tags)
    image = io.open(folder)
    pixels = image.data[()]
    slope, intercept = scale or (1, 0)
    assert np.allclose(pixels, volume * float(slope) + intercept, rtol=1e-6)
    whole = slope == 1 and float(intercept).is_integer()
    assert (pixels.dtype.kind in "iu") == whole
    assert pixels.dtype == image.data.dtype
    if kind == "uint8" and whole and scale:
        assert pixels.dtype == np.int16
    window = tuple(slice(*sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2)))) for n in shape)
    assert np.array_equal(image.data[window], pixels[window])
    assert (image.axes, image.unit, image.channel_names) == ("zyx", "millimeter", ("CT",))
    assert image.source == folder
    assert image.by_window

    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    witness = SimpleITK.ReadImage(names)
    assert np.allclose(SimpleITK.GetArrayFromImage(witness), pixels, rtol=1e-6)
    assert np.allclose(witness.GetSpacing()[::-1], image.spacing, rtol=1e-4)  # type: ignore[arg-type]
    for index in ((0, 0, 0), tuple(size - 1 for size in shape[::-1])):
        there = FLIP @ [*witness.TransformIndexToPhysicalPoint(index), 1]
        assert np.allclose(affine_of(image) @ [*index, 1], there, atol=1e-3)


@many
@given(count=st.integers(1, 5), seed=st.integers(0, 2**16))
def test_many_frames_in_a_file_are_sorted_by_place(tmp_path: Path, count: int, seed: int) -> None:
    volume, matrix = noise((count, 4, 5), "uint8", seed), turned(seed)
    order = np.random.default_rng(seed).permutation(count)
    save(enhanced(volume, matrix, order), tmp_path / "a.dcm")
    image = io.open(tmp_path / "a.dcm")
    want = volume + (np.arange(count) - 1024)[:, None, None]
    assert np.array_equal(image.data[()], want if count > 1 else want[0])
    assert image.data.dtype == np.int16
    assert np.allclose(affine_of(image), FLIP @ matrix, atol=1e-6)


def test_single_pictures_and_films(tmp_path: Path) -> None:
    array = noise((6, 8), "uint16")
    kind = dicom_files.RADIOGRAPH
    save(
        header(array, SOPClassUID=kind, ImagerPixelSpacing=[0.1, 0.2], Modality="DX"),
        tmp_path / "a",
    )
    image = io.open(tmp_path / "a")
    assert (image.axes, image.spacing, image.unit) == ("yx", (0.1, 0.2), "millimeter")
    assert (image.frame, image.channel_names) == (None, ("DX",))
    assert np.array_equal(image.data[2:5, -1], array[2:5, -1])
    film = noise((4, 6, 8), "uint8")
    save(header(film), tmp_path / "b.dcm")
    image = io.open(tmp_path / "b.dcm")
    assert (image.axes, image.spacing, image.unit) == ("tyx", None, "")
    assert np.array_equal(image.data[()], film)
    colours = noise((6, 8, 3), "uint8")
    save(header(colours), tmp_path / "c.dcm")
    image = io.open(tmp_path / "c.dcm")
    assert (image.axes, image.channel_names) == ("cyx", ("red", "green", "blue"))
    assert np.array_equal(image.data[()], np.moveaxis(colours, -1, 0))


def test_values_are_not_inverted_where_low_ones_are_shown_bright(tmp_path: Path) -> None:
    array = noise((6, 8), "uint16")
    save(header(array, PhotometricInterpretation="MONOCHROME1"), tmp_path / "a.dcm")
    assert np.array_equal(io.open(tmp_path / "a.dcm").data[()], array)


def test_numbers_of_32_bits_are_kept(tmp_path: Path) -> None:
    array = noise((6, 8), "uint32")
    save(header(array), tmp_path / "a.dcm")
    assert np.array_equal(io.open(tmp_path / "a.dcm").data[()], array)


@pytest.mark.parametrize("syntax", ["RLELossless", "JPEG2000Lossless"])
def test_compressed_series_are_decoded(series: Path, syntax: str) -> None:
    before = io.open(series).data[()]
    for path in series.iterdir():
        made = pydicom.dcmread(path)
        if syntax == "RLELossless":
            made.compress(pydicom.uid.RLELossless)
        else:
            frame = imagecodecs.jpeg2k_encode(made.pixel_array, level=0, codecformat="J2K")
            made.PixelData = pydicom.encaps.encapsulate([frame])
            made["PixelData"].is_undefined_length = True
            made.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
        made.save_as(path)
    image = io.open(series)
    assert np.array_equal(image.data[()], before)
    assert not image.by_window


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16"])
@pytest.mark.parametrize("syntax", ["JPEGLossless", "JPEGLosslessSV1"])
def test_lossless_jpeg_is_decoded_as_itk_does(tmp_path: Path, kind: str, syntax: str) -> None:
    volume = noise((3, 16, 24), kind)
    folder = write_series(tmp_path / "a", volume, PLAIN)
    for path in folder.iterdir():
        made = pydicom.dcmread(path)
        bits = made.BitsAllocated
        frame = imagecodecs.ljpeg_encode(made.pixel_array.view(f"uint{bits}"), bitspersample=bits)
        made.PixelData = pydicom.encaps.encapsulate([frame])
        made["PixelData"].is_undefined_length = True
        made.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
        made.save_as(path)
    image = io.open(folder)
    assert image.data.dtype == kind
    assert np.array_equal(image.data[()], volume)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(names)), volume)


# ── what is known, and listed ─────────────────────────────────────────────────────────────────


def test_folders_of_series_and_of_pictures_are_told_apart(series: Path, tmp_path: Path) -> None:
    assert io.is_known(series)
    assert io.stem_of(series) == "scan"
    write_series(tmp_path / "v1.5", noise((5, 6, 8)), PLAIN, 1)
    assert io.stem_of(tmp_path / "v1.5") == "v1.5"
    found = layouts.pairs(tmp_path, dimensions=2)
    assert found.names == [f"{name}[{z}]" for name in ("scan", "v1.5") for z in range(5)]
    assert len(layouts.pairs(tmp_path)) == 2
    assert len(layouts.pairs(series)) == 1

    (pictures := tmp_path / "xray").mkdir()
    for number in range(3):
        picture = header(noise((6, 8), "uint8"), SeriesInstanceUID=f"1.2.{number}")
        save(picture, pictures / f"{number}.dcm")
    assert not io.is_known(pictures)
    assert layouts.pairs(pictures).names == ["0", "1", "2"]
    assert not io.is_known(tmp_path / "nothing")
    (tmp_path / "README").write_text("not DICOM")
    assert not io.is_known(tmp_path / "README")
    with pytest.raises(FormatError, match=r"README has the suffix ''"):
        io.open(tmp_path / "README")


def test_other_files_beside_the_slices_do_not_matter(series: Path) -> None:
    before = io.open(series).data[()]
    (series / "LICENSE").write_text("text")
    (series / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (series / ".hidden").write_bytes(bytes(128) + b"DICM")
    report = Dataset()
    report.update(pydicom.dcmread(next(series.glob("IM*")), stop_before_pixels=True))
    del report.Rows, report.Columns
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"  # a report in text
    report.file_meta = pydicom.dcmread(next(series.glob("IM*"))).file_meta
    report.save_as(series / "report.dcm", enforce_file_format=True)
    io.write(
        series / "zz.dcm",
        Image(np.ones((5, 6, 8), np.uint8), "zyx", source=series),
        content="classes",
    )
    assert np.array_equal(io.open(series).data[()], before)


# ── what is refused ───────────────────────────────────────────────────────────────────────────


def edit(path: Path, **tags: Any) -> None:
    made = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(made, name, value)
    made.save_as(path)


def refused(path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(FormatError) as found, caplog.at_level(logging.DEBUG):
        io.open(path).data[()]
    said = str(found.value) + caplog.text + "".join(capfd.readouterr())
    assert "secret" not in said.lower()
    assert "1970" not in said
    return str(found.value)


def by_place(series: Path) -> list[Path]:
    return sorted(series.iterdir(), key=lambda path: pydicom.dcmread(path).InstanceNumber)


def test_series_that_are_no_image_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    def fresh(name: str) -> tuple[Path, list[Path]]:
        folder = write_series(tmp_path / name, noise((7, 6, 8)), PLAIN)
        return folder, by_place(folder)

    def said(folder: Path) -> str:
        return refused(folder, caplog, capfd)

    folder, files = fresh("two")
    for path in files[:3]:
        edit(
            path, SeriesInstanceUID="9.9", SeriesNumber=4, SeriesDescription="scout", Modality="MR"
        )
    assert "holds 2 series (number" in (text := said(folder))
    assert "number 4, MR 'scout', 3 files" in text
    assert "number 3, CT 'thorax', 4 files" in text
    folder, files = fresh("gap")
    files[2].unlink()
    files[3].unlink()
    assert "lacks 2 slices: the others are 3 mm apart, but after that at 3 mm" in said(folder)
    folder, files = fresh("double")
    edit(files[2], ImagePositionPatient=[0, 0, 9])
    assert "holds 1 slices that lie where another one does" in said(folder)
    folder, files = fresh("uneven")
    edit(files[2], ImagePositionPatient=[0, 0, 6.2])
    assert "slices at uneven distances, from 2.8 to 3.2 mm" in said(folder)
    folder, files = fresh("aside")
    edit(files[2], ImagePositionPatient=[0.5, 0, 6])
    assert "slices at uneven distances" in said(folder)
    folder, files = fresh("turned")
    edit(files[2], ImageOrientationPatient=[0, 1, 0, 1, 0, 0])
    assert "turned differently" in said(folder)
    folder, files = fresh("size")
    save(header(noise((3, 3))), files[2])
    assert "slices of one series that differ: 3 x 3, 16 bits and 6 x 8, 16 bits" in said(folder)
    folder, files = fresh("nowhere")
    made = pydicom.dcmread(files[1])
    del made.ImagePositionPatient
    made.save_as(files[1])
    assert "holds 7 pictures of one series that do not say where they lie" in said(folder)
    folder, files = fresh("table")
    edit(files[1], ModalityLUTSequence=Sequence([Dataset()]))
    assert "gives its values by a table (Modality LUT)" in said(folder)
    folder, files = fresh("compressed")
    for path in files:
        made = pydicom.dcmread(path)
        made.PixelData = pydicom.encaps.encapsulate([b"1234"])
        made["PixelData"].is_undefined_length = True
        made.file_meta.TransferSyntaxUID = pydicom.uid.HTJ2KLossless
        made.save_as(path)
    assert (
        "is compressed as High-Throughput JPEG 2000 Image Compression (Lossless Only), which"
        in said(folder)
    )
    folder, files = fresh("colour")
    for path in files:
        edit(path, PhotometricInterpretation="PALETTE COLOR")
    assert "has colours of the kind PALETTE COLOR" in said(folder)
    made = header(noise((3, 3)), SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    del made.Rows
    save(made, tmp_path / "report.dcm")
    assert "report.dcm holds no picture of DICOM" in said(tmp_path / "report.dcm")


def test_slices_within_rounding_are_even(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "a", noise((4, 6, 8)), PLAIN)
    edit(by_place(folder)[1], ImagePositionPatient=[0, 0, 3.01])
    assert io.open(folder).spacing == pytest.approx((3, 0.8, 0.5))


def test_floats_are_read(tmp_path: Path) -> None:
    array = np.linspace(-1, 1, 30, dtype=np.float32).reshape(5, 6)
    made = header(np.zeros((5, 6), np.uint8), BitsAllocated=32, FloatPixelData=array.tobytes())
    del made.PixelData, made.BitsStored, made.HighBit, made.PixelRepresentation
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert np.array_equal(io.open(tmp_path / "a.dcm").data[()], array)


@pytest.mark.parametrize("length", [0, 100, 140, 300, 900])
def test_truncated_files_are_refused(
    series: Path, length: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = series / "IM0002"
    path.write_bytes(path.read_bytes()[:length])
    (alone := series.parent / "alone.dcm").write_bytes(path.read_bytes())
    refused(alone, caplog, capfd)
    if length >= 140:
        assert io.is_known(series)
        refused(series, caplog, capfd)


def test_sizes_of_nonsense_are_refused(series: Path) -> None:
    edit(series / "IM0002", Rows=65535, Columns=65535)
    path = (series / "IM0002").rename(series.parent / "large.dcm")
    with pytest.raises(FormatError, match=r"header promises 8589672450 bytes of pixels"):
        io.open(path)


# ── segmentations ─────────────────────────────────────────────────────────────────────────────


@many
@given(seed=st.integers(0, 2**16), frames=st.booleans())
def test_a_segmentation_lies_where_its_series_does(
    tmp_path_factory: pytest.TempPathFactory, seed: int, frames: bool
) -> None:
    folder, matrix = tmp_path_factory.mktemp("d"), turned(seed)
    random = np.random.default_rng(seed)
    volume = noise((4, 6, 8), "uint8", seed)
    if frames:
        save(enhanced(volume, matrix, random.permutation(4)), source := folder / "a.dcm")
    else:
        source = write_series(folder / "a", volume, matrix, seed)
    image = io.open(source)
    classes = random.integers(0, 3, (4, 6, 8)).astype(np.uint8)
    classes[0, 0] = 255
    result = Image(classes, "zyx", image.spacing, "millimeter", frame=image.frame, source=source)
    io.write(folder / "a.seg.dcm", result, legend=LEGEND, content="classes")

    read = highdicom.seg.segread(folder / "a.seg.dcm")
    assert [part.segment_label for part in read.SegmentSequence] == ["liver", "tumour"]
    assert read.PatientName == dicom_files.PATIENT
    for segment, colour in zip(read.SegmentSequence, LEGEND.colours[1:], strict=True):
        shown = segment.RecommendedDisplayCIELabValue
        rgb = highdicom.color.CIELabColor.from_dicom_value(shown).to_rgb()
        assert np.allclose(rgb, colour, atol=2)
    assert read.segmentation_type == highdicom.seg.SegmentationTypeValues.BINARY
    whole = read.get_volume(combine_segments=True)
    # The matrix of highdicom counts slices, rows and columns, to LPS.
    indices = np.argwhere(classes * (classes < 255))
    at = (affine_of(image) @ np.c_[indices[:, ::-1], np.ones(len(indices))].T)[:3] * [
        [-1],
        [-1],
        [1],
    ]
    there = np.rint(np.linalg.inv(whole.affine) @ np.vstack([at, np.ones(at.shape[1])]))[:3]
    got = whole.array[tuple(there.astype(int))]
    assert np.array_equal(got, classes[tuple(indices.T)])
    assert np.count_nonzero(whole.array) == len(indices)


def test_a_first_class_that_is_no_background_is_a_segment(series: Path, tmp_path: Path) -> None:
    classes = np.arange(5 * 6 * 8).reshape(5, 6, 8).astype(np.uint8) % 2
    classes[0] = 255
    legend = Legend(("fat", "muscle"), LEGEND.colours[:2], None)
    result = Image(classes, "zyx", source=series)
    io.write(tmp_path / "a.dcm", result, legend=legend, content="classes")
    read = highdicom.seg.segread(tmp_path / "a.dcm")
    assert [part.segment_label for part in read.SegmentSequence] == ["fat", "muscle"]
    found = read.get_volume(combine_segments=True).array
    assert [np.count_nonzero(found == segment) for segment in (1, 2)] == [96, 96]


def test_without_a_legend_and_without_an_object(series: Path, tmp_path: Path) -> None:
    nothing = Image(np.zeros((5, 6, 8), np.uint8), "zyx", source=series)
    io.write(tmp_path / "a.dcm", nothing, content="classes")
    read = highdicom.seg.segread(tmp_path / "a.dcm")
    assert [part.segment_label for part in read.SegmentSequence] == ["class 1"]
    assert not read.pixel_array.any()
    with pytest.raises(FormatError, match=r"a\.dcm is a segmentation \(DICOM-SEG\), which"):
        io.open(tmp_path / "a.dcm")


def test_what_is_no_segmentation_is_refused(series: Path, tmp_path: Path) -> None:
    classes, path = np.ones((5, 6, 8), np.uint8), tmp_path / "a.dcm"
    with pytest.raises(FormatError, match="this would be classes of no DICOM series"):
        io.write(path, Image(classes, "zyx"), content="classes")
    with pytest.raises(FormatError, match="this would be probabilities of one"):
        io.write(path, Image(classes, "zyx", source=series), content="probabilities")
    with pytest.raises(FormatError, match=r"shape \(4, 6, 8\), and the series .* has \(5, 6, 8\)"):
        io.write(path, Image(classes[1:], "zyx", source=series), content="classes")
    for file in series.iterdir():
        made = pydicom.dcmread(file)
        del made.StudyInstanceUID
        made.save_as(file)
    with pytest.raises(FormatError, match=r"highdicom makes no segmentation of .*scan, for"):
        io.write(path, Image(classes, "zyx", source=series), content="classes")
    assert not path.exists()
