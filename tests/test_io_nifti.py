"""NIfTI: what nibabel writes is read whole and by window; what we write, nibabel and ITK read."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from overtile import io
from overtile.errors import FormatError
from overtile.image import Image, Orientation

KINDS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64"]
UNITS = {"": "unknown", "millimeter": "mm", "micrometer": "micron", "meter": "meter"}
many = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def noise(shape: tuple[int, ...], kind: str = "int16", seed: int = 0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    if kind.startswith("float"):
        return random.normal(0, 1e3, shape).astype(kind)
    limits = np.iinfo(kind)
    return random.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)


def turned(seed: int, *, shear: bool = False) -> NDArray[np.float64]:
    """A matrix with any turn, mirrored or not, of voxels of any size, as float32 holds it."""
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(random.uniform(0.2, 6, 3))
    if shear:
        matrix[:3, 2] += 0.3 * matrix[:3, 0]
    matrix[:3, 3] = random.uniform(-200, 200, 3)
    return matrix.astype(np.float32).astype(np.float64)


def affine_of(image: Image) -> NDArray[np.float64]:
    assert isinstance(image.frame, Orientation)
    return np.array([*image.frame.affine, (0, 0, 0, 1)])


def positions_of_itk(path: Path, indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Where SimpleITK says that voxels (i, j, k) lie, to the right, front and top."""
    image = SimpleITK.ReadImage(str(path))
    found = [image.TransformIndexToPhysicalPoint(tuple(map(int, one))) for one in indices]
    return np.array(found) * (-1, -1, 1)


@many
@given(
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=3).map(tuple),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**16),
    unit=st.sampled_from(sorted(UNITS)),
    form=st.sampled_from([nibabel.Nifti1Image, nibabel.Nifti2Image]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
    big_endian=st.booleans(),
    data=st.data(),
)
def test_what_nibabel_writes_is_read(
    tmp_path: Path,
    shape: tuple[int, ...],
    kind: str,
    seed: int,
    unit: str,
    form: Any,
    suffix: str,
    big_endian: bool,
    data: st.DataObject,
) -> None:
    array, matrix = noise(shape, kind, seed), turned(seed)
    path = tmp_path / f"a{suffix}"
    header = form.header_class(endianness=">" if big_endian else "<")
    volume = form(array, matrix, header, dtype=kind)
    volume.set_sform(matrix, code := seed % 4 + 1)
    volume.header.set_xyzt_units(UNITS[unit])
    nibabel.save(volume, path)
    image = io.open(path)
    assert image.axes == "zyx"[-len(shape) :]
    assert image.data.dtype == kind
    assert np.array_equal(image.data[()], array.T)
    window = tuple(slice(*sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2)))) for n in shape)
    assert np.array_equal(image.data[window[::-1]], array[window].T)
    assert image.by_window == (suffix == ".nii")
    scale = {"micrometer": 1e-3, "meter": 1e3}.get(unit, 1)
    assert np.allclose(affine_of(image), np.diag([scale] * 3 + [1]) @ matrix, rtol=1e-6)
    assert image.frame.space == ("unknown", "scanner", "aligned", "talairach", "mni")[code]  # type: ignore[union-attr]
    assert image.spacing == pytest.approx(volume.header.get_zooms()[::-1])
    assert image.unit == unit


@many
@given(
    axes=st.sampled_from(["yx", "zyx", "cyx", "czyx", "tzyx", "tczyx", "tyx", "tcyx"]),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**16),
    unit=st.sampled_from(["", "millimeter", "micrometer", "meter", "nanometer"]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
    shear=st.booleans(),
)
def test_what_we_write_nibabel_reads(
    tmp_path: Path, axes: str, kind: str, seed: int, unit: str, suffix: str, shear: bool
) -> None:
    random = np.random.default_rng(seed)
    array = noise(tuple(random.integers(1, 6, len(axes)).tolist()), kind, seed)
    matrix = turned(seed, shear=shear)
    sizes = np.linalg.norm(matrix[:3, :3], axis=0)
    scale = {"micrometer": 1e3, "meter": 1e-3, "nanometer": 1e6}.get(unit, 1)
    in_unit = tuple((sizes[::-1] * scale)[-sum(axis in "zyx" for axis in axes) :])
    space = ("scanner", "aligned", "talairach", "mni")[seed % 4]
    frame = Orientation(tuple(map(tuple, matrix[:3].tolist())), space)  # type: ignore[arg-type]
    path = tmp_path / f"b{suffix}"
    io.write(path, Image(array, axes, in_unit, unit, frame=frame), overwrite=True)

    read: Any = nibabel.load(path)
    order = [axis for axis in "xyztc" if axis in axes]
    want = array.transpose([axes.index(axis) for axis in order])
    got = np.asarray(read.dataobj)
    assert got.dtype.newbyteorder("=") == kind
    assert np.array_equal(got.reshape(want.shape), want)
    if axes == "czyx":
        assert got.shape == want.shape
    stored = "micrometer" if unit == "micrometer" else unit if unit != "nanometer" else "millimeter"
    back = {"micrometer": 1e3, "meter": 1e-3}.get(stored, 1)
    assert read.header.get_xyzt_units()[0] == UNITS[stored]
    assert np.allclose(read.affine, np.diag([back] * 3 + [1]) @ matrix, rtol=1e-6)
    assert int(read.header["sform_code"]) == seed % 4 + 1
    assert (int(read.header["qform_code"]) == 0) == shear
    if not shear:
        assert np.allclose(read.get_qform(), read.affine, rtol=1e-4, atol=4e-3 * back)
    assert np.allclose(
        read.header.get_zooms()[: len(in_unit)][::-1], sizes[-3:][::-1][-len(in_unit) :] * back
    )

    again = io.open(path)
    assert (again.axes, again.data.dtype) == (axes, kind)
    assert np.array_equal(again.data[()], array)
    assert np.allclose(affine_of(again), matrix, rtol=1e-6)


def test_a_second_statement_of_place_is_kept(tmp_path: Path) -> None:
    atlas, scanner = turned(1), turned(2)
    scanner[:3, :3] *= np.linalg.norm(atlas[:3, :3], axis=0) / np.linalg.norm(
        scanner[:3, :3], axis=0
    )
    volume = nibabel.Nifti1Image(noise((4, 5, 6)), atlas)
    volume.set_sform(atlas, 4)
    volume.set_qform(scanner, 1)
    nibabel.save(volume, tmp_path / "a.nii.gz")
    image = io.open(tmp_path / "a.nii.gz")
    io.write(tmp_path / "b.nii", image)
    read: Any = nibabel.load(tmp_path / "b.nii")
    assert np.allclose(read.get_sform(), atlas)
    assert np.allclose(read.get_qform(), scanner, atol=1e-4)
    assert [int(read.header[f"{one}form_code"]) for one in "sq"] == [4, 1]
    # ITK believes another of the two than we do: it finds what it found before.
    corners = np.array([[0, 0, 0], [3, 4, 5]])
    before = positions_of_itk(tmp_path / "a.nii.gz", corners)
    assert np.allclose(positions_of_itk(tmp_path / "b.nii", corners), before, atol=1e-3)


def test_a_file_that_states_no_place_gets_none(tmp_path: Path) -> None:
    volume = nibabel.Nifti1Image(noise((4, 5, 6)), None)
    volume.header.set_zooms((2, 3, 4))
    nibabel.save(volume, tmp_path / "a.nii")
    image = io.open(tmp_path / "a.nii")
    assert image.frame is None
    assert image.spacing == (4, 3, 2)
    io.write(tmp_path / "b.nii", image)
    read: Any = nibabel.load(tmp_path / "b.nii")
    assert np.array_equal(read.affine, nibabel.load(tmp_path / "a.nii").affine)  # type: ignore[attr-defined]
    assert int(read.header["sform_code"]) == int(read.header["qform_code"]) == 0


def damage(path: Path, place: str, value: Any) -> None:
    """Set a field of the header of a file to anything."""
    content = bytearray(path.read_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
    header[place] = value
    content[:348] = header.binaryblock
    path.write_bytes(content)


def test_headers_that_are_half_right_are_understood(tmp_path: Path) -> None:
    """A broken quaternion beside a good sform, no sizes, a unit that there is not."""
    path, matrix = tmp_path / "a.nii", turned(3)
    nibabel.save(nibabel.Nifti1Image(noise((4, 5, 6)), matrix), path)
    damage(path, "qform_code", 1)
    damage(path, "quatern_b", 7)
    damage(path, "xyzt_units", 7)
    damage(path, "pixdim", [0] * 8)
    image = io.open(path)
    assert np.allclose(affine_of(image), matrix)
    assert image.spacing == pytest.approx(np.linalg.norm(matrix[:3, :3], axis=0)[::-1])
    assert image.unit == ""
    damage(path, "srow_x", 0)  # no voxel has a volume
    assert io.open(path).frame is None
    damage(path, "sform_code", 0)
    damage(path, "qform_code", 0)
    assert io.open(path).spacing is None


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32"])
@pytest.mark.parametrize(("slope", "intercept"), [(2.5, -1024), (1, -3), (1, 0), (0, 5)])
def test_the_scale_of_a_file_is_applied(
    tmp_path: Path, kind: str, slope: float, intercept: float
) -> None:
    array, path = noise((4, 5, 6), kind), tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    damage(path, "scl_slope", slope)
    damage(path, "scl_inter", intercept)
    got = io.open(path).data[()]
    assert np.allclose(got.T, np.asarray(nibabel.load(path).dataobj), rtol=1e-6)  # type: ignore[attr-defined]
    plain = slope == 0 or (slope, intercept) == (1, 0)
    assert got.dtype == (kind if plain else "float64" if kind == "int32" else "float32")


@pytest.mark.parametrize(("steps", "axes"), [(1, "zyx"), (2, "czyx"), (8, "czyx"), (9, "tzyx")])
def test_a_fourth_axis_is_channels_or_time_by_its_length(
    tmp_path: Path, steps: int, axes: str
) -> None:
    array = noise((4, 5, 6, steps))
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    image = io.open(tmp_path / "a.nii.gz")
    assert image.axes == axes
    assert np.array_equal(image.data[()].reshape(steps, 6, 5, 4), array.T)


def test_a_fifth_axis_is_channels(tmp_path: Path) -> None:
    for sizes, axes in (((4, 5, 6, 1, 3), "czyx"), ((4, 5, 6, 2, 3), "tczyx")):
        array = noise(sizes)
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii")
        image = io.open(tmp_path / "a.nii")
        assert image.axes == axes
        want = array[..., 0, :].T if axes == "czyx" else array.transpose(3, 4, 2, 1, 0)
        assert np.array_equal(image.data[()], want)


@pytest.mark.parametrize("bands", ["RGB", "RGBA"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_colours_are_channels_and_alpha_is_left_out(
    tmp_path: Path, bands: str, suffix: str
) -> None:
    kind, path = np.dtype([(band, "u1") for band in bands]), tmp_path / f"a{suffix}"
    array = noise((4, 5, 6, len(bands)), "uint8")
    nibabel.save(nibabel.Nifti1Image(array.view(kind)[..., 0], np.eye(4)), path)
    image = io.open(path)
    assert image.axes == "czyx"
    assert np.array_equal(image.data[()], array[..., :3].T)
    assert np.array_equal(image.data[1, 2:4], array[..., 1].T[2:4])


def test_long_axes_make_a_nifti_2(tmp_path: Path) -> None:
    array = noise((2, 32768), "uint8")
    io.write(tmp_path / "a.nii", Image(array, "yx"))
    read: Any = nibabel.load(tmp_path / "a.nii")
    assert isinstance(read, nibabel.Nifti2Image)
    assert np.array_equal(np.asarray(read.dataobj).T, array)
    assert np.array_equal(io.open(tmp_path / "a.nii").data[()], array)


def test_what_nifti_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="NIfTI cannot hold pixels of the type float16"):
        io.write(tmp_path / "a.nii", Image(np.zeros((3, 4), np.float16), "yx"))
    with pytest.raises(FormatError, match="spacing is in 'parsec', and medical formats hold"):
        io.write(tmp_path / "a.nii", Image(np.zeros((3, 4), np.uint8), "yx", (1, 1), "parsec"))
    assert not list(tmp_path.iterdir())


# ── damaged files ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(noise((20, 30, 10)), np.eye(4)), path)
    return path


@pytest.mark.parametrize("length", [1, 100, 400, 5000])
def test_a_truncated_file_is_refused(volume: Path, length: int) -> None:
    content = volume.read_bytes()
    volume.write_bytes(content[:length])
    with pytest.raises(FormatError, match=r"a\.nii .*(damaged or truncated|first bytes)"):
        io.open(volume)
    packed = volume.with_suffix(".nii.gz")
    packed.write_bytes(gzip.compress(content)[:length])
    with pytest.raises(FormatError, match=r"a\.nii\.gz .*(damaged or truncated|first bytes)"):
        io.open(packed).data[()]
    packed.write_bytes(gzip.compress(content[:-7]))
    with pytest.raises(FormatError, match="7 bytes are missing at its end"):
        io.open(packed).data[()]


def test_headers_of_nonsense_are_refused(volume: Path) -> None:
    for place, value, message in [
        ("dim", [2, 32767, 32767, 1, 1, 1, 1, 1], "bytes are missing at its end"),
        ("dim", [3, 5, -1, 2, 1, 1, 1, 1], "has the sizes .* expected 2 to 5"),
        ("dim", [6, 5, 2, 2, 2, 2, 2, 1], r"has the sizes \(5, 2, 2, 2, 2, 2\): expected at most"),
        ("dim", [1, 5, 1, 1, 1, 1, 1, 1], "has the sizes .* expected 2 to 5"),
        ("datatype", 32, "holds 'complex64', which is not a kind of pixel"),
        ("datatype", 77, "damaged or truncated"),
        ("magic", b"ni1", "its mark is b'ni1'"),
    ]:
        content = volume.read_bytes()
        damage(volume, place, value)
        with pytest.raises(FormatError, match=message):
            io.open(volume)
        volume.write_bytes(content)
    damage(volume, "scl_slope", 2)
    damage(volume, "scl_inter", np.inf)
    with pytest.raises(FormatError, match="invalid intercept inf"):
        io.open(volume)
    damage(volume, "scl_inter", 0)
    damage(volume, "dim", [4, 5, 6, 2, 9, 1, 1, 1])
    damage(volume, "datatype", 128)
    assert io.open(volume).axes == "tczyx"
    damage(volume, "dim", [5, 5, 6, 2, 2, 2, 1, 1])
    with pytest.raises(FormatError, match=r"\(5, 6, 2, 2, 2\) and colours: expected at most x"):
        io.open(volume)


def test_a_bomb_is_refused_before_it_is_decoded(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = volume.with_suffix(".nii.gz")
    damage(volume, "dim", [3, 30000, 30000, 30000, 1, 1, 1, 1])
    packed.write_bytes(gzip.compress(volume.read_bytes()))
    with pytest.raises(FormatError, match=r"header promises .* which no compression brings into"):
        io.open(packed)
    damage(volume, "dim", [3, 100, 100, 50, 1, 1, 1, 1])
    packed.write_bytes(gzip.compress(volume.read_bytes()[:352] + bytes(10**6)))
    monkeypatch.setattr("overtile.io.gzipped.free_memory", lambda: 999_999)
    with pytest.raises(
        FormatError, match=r"takes 0\.0 GB when it is decoded, and 0\.0 GB of memory"
    ):
        io.open(packed)
    monkeypatch.setattr("overtile.io.gzipped.free_memory", lambda: 1_000_000)
    assert not io.open(packed).data[()].any()


def test_names_and_contents_that_differ(volume: Path, tmp_path: Path) -> None:
    packed = gzip.compress(volume.read_bytes())
    (tmp_path / "b.nii").write_bytes(packed)  # compressed without saying so: read all the same
    assert np.array_equal(io.open(tmp_path / "b.nii").data[()], io.open(volume).data[()])
    (tmp_path / "c.tif").write_bytes(packed)
    with pytest.raises(FormatError, match=r"named like TIFF but compressed as a whole \(gzip\)"):
        io.open(tmp_path / "c.tif")
    volume.rename(tmp_path / "d.png")
    with pytest.raises(FormatError, match=r"holds NIfTI: rename it to d\.nii"):
        io.open(tmp_path / "d.png")
    assert io.stem_of(Path("brain.v2.nii.gz")) == "brain.v2"
    assert io.is_known(Path("brain.nii.gz"))
    assert not io.is_known(Path("brain.tif.gz"))


# ── real data ─────────────────────────────────────────────────────────────────────────────────


def test_the_volumes_of_the_decathlon(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "msd" / "Task04_Hippocampus"
    for path in sorted(folder.glob("*/*.nii.gz"))[::20]:
        image, read = io.open(path), nibabel.load(path)
        assert np.array_equal(image.data[()], np.asarray(read.dataobj).T)  # type: ignore[attr-defined]
        assert np.allclose(affine_of(image), read.affine)  # type: ignore[attr-defined]
        assert (image.axes, image.unit) == ("zyx", "millimeter")
        io.write(tmp_path / "a.nrrd", image, overwrite=True)
        before, after = (SimpleITK.ReadImage(str(one)) for one in (path, tmp_path / "a.nrrd"))
        assert np.array_equal(*map(SimpleITK.GetArrayFromImage, (before, after)))
        corners = np.array([[0, 0, 0], np.array(before.GetSize()) - 1])
        there = [positions_of_itk(one, corners) for one in (path, tmp_path / "a.nrrd")]
        assert np.allclose(*there, atol=1e-4)
