"""Normalisation against numpy over all pixels at once, and what is chosen for which images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from overtile import io
from overtile.cli.changing import change
from overtile.errors import DataError, SettingsError
from overtile.missing import find_missing
from overtile.normalise import Normalisation
from overtile.normalise import statistics as measuring
from overtile.normalise.choice import choose_normalisation
from overtile.normalise.statistics import Distribution, known_pixels
from overtile.planes import planes
from overtile.settings import NormalisationSettings, Settings, from_dict

Images = list[NDArray[Any]]
quick = hypothesis_settings(max_examples=30, deadline=None)

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]


def choose(
    images: Images,
    foreground: Callable[[NDArray[Any]], NDArray[np.bool_]] = lambda image: image[0] < -np.inf,
    modalities: tuple[str, ...] = (),
    **chosen: Any,
) -> Normalisation:
    pairs = ((image, foreground(image)) for image in images)
    return choose_normalisation(pairs, NormalisationSettings(**chosen), modalities)


def noise(seed: int, scale: float = 1.0, shape: tuple[int, ...] = (2, 40, 50)) -> NDArray[Any]:
    return np.random.default_rng(seed).normal(3, scale, shape)


def all_of(images: Images) -> NDArray[np.float64]:
    """Every pixel that is not missing, (c n)."""
    flat = np.concatenate([image.reshape(len(image), -1) for image in images], axis=1)
    return flat[:, ~np.isnan(flat).any(axis=0)].astype(np.float64)


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "BLOCK_PX", {2: 3, 3: 2})


class TestMeasuring:
    @given(
        st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5), st.data()
    )
    @quick
    def test_statistics_are_those_of_all_known_pixels(
        self, shapes: list[tuple[int, int]], data: st.DataObject
    ) -> None:
        dtype = data.draw(st.sampled_from(["uint8", "uint16", "float32", "int32"]))
        random = np.random.default_rng(data.draw(st.integers(0, 99)))
        images = [random.integers(0, 250, (2, *shape)).astype(dtype) for shape in shapes]
        images.append(np.array([[[0, 7]], [[3, 9]]], dtype))
        if dtype == "float32":
            images[0][random.integers(2), random.random(shapes[0]) < 0.3] = np.nan
        flat = all_of(images)
        measured = choose(images, scheme="mean-std")
        assert measured.mean == pytest.approx(flat.mean(axis=1))
        assert measured.std == pytest.approx(flat.std(axis=1))
        normal = all_of([measured(image, find_missing(image)) for image in images[1:]])
        assert normal * np.array(measured.std)[:, None] == pytest.approx(
            all_of(images[1:]) - np.array(measured.mean)[:, None], abs=1e-3
        )

    def test_large_offsets_do_not_cancel(self) -> None:
        image = np.array([[[1e9, 1e9 + 1, 1e9 + 2]]])
        assert choose([image]).std == pytest.approx([np.sqrt(2 / 3)])

    @given(
        st.lists(st.tuples(st.sampled_from(INTEGERS), st.integers(1, 60)), min_size=1, max_size=4),
        st.floats(0, 100),
        st.integers(0, 99),
    )
    @quick
    def test_percentiles_are_numpys(
        self, parts: list[tuple[str, int]], percent: float, seed: int
    ) -> None:
        random = np.random.default_rng(seed)
        values = [random.integers(0, 100, (2, size)).astype(dtype) for dtype, size in parts]
        seen = Distribution(2)
        for part in values:
            seen.add(part)
        together = np.concatenate([part.astype(float) for part in values], axis=1)
        assert len(seen) == together.shape[1]
        expected = np.percentile(together, percent, axis=1, method="inverted_cdf")
        above = np.percentile(together, min(percent + 1e-9, 100), axis=1, method="inverted_cdf")
        got = seen.percentile(percent)
        assert ((got == expected) | (got == above)).all()  # where rounding decides
        clip = np.array([[20.0, 70.0], [5.0, 6.0]])
        mean, std = seen.clipped(clip)
        clipped = np.clip(together, clip[:, :1], clip[:, 1:])
        assert mean == pytest.approx(clipped.mean(axis=1))
        assert std == pytest.approx(clipped.std(axis=1))

    def test_a_sample_stands_for_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of 200,000 ordered numbers, within five standard deviations, whatever their order."""
        monkeypatch.setattr(measuring, "SAMPLE", 2000)
        for order in (1, -1):
            seen = Distribution(1)
            for part in np.arange(200_000.0)[::order].reshape(1, 8, -1).swapaxes(0, 1):
                seen.add(part)
            assert len(seen.keys) == 2000
            assert len(seen) == 200_000
            assert not seen.is_exact
            for percent in (1, 50, 99):
                share = percent / 100
                error = np.sqrt(share * (1 - share) / 2000)
                assert abs(seen.percentile(percent)[0] / 200_000 - share) < 5 * error

    def test_blocks_of_many_channels_are_small(self) -> None:
        class Wide:
            shape, dtype, most = (200, 300, 500), np.dtype(np.uint8), 0

            def __getitem__(self, key: tuple[slice, ...]) -> NDArray[np.uint8]:
                part = np.broadcast_to(np.zeros((), np.uint8), self.shape)[key]
                self.most = max(self.most, part.size)
                return part[:, :1, :1]

        image = Wide()
        assert len(list(known_pixels(image))) == 3 * 4  # of 128 px
        assert image.most <= 2**22

    @pytest.mark.parametrize("shape", [(1, 10, 11), (3, 4, 7), (2, 5, 6, 7)])
    @pytest.mark.usefixtures("_small_blocks")
    def test_every_known_pixel_is_seen_once(self, shape: Any) -> None:
        image = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
        image[0, 0, 1], image[-1, 2, 2] = np.nan, np.inf
        image[:, 1, 0] = 0
        flat = image.reshape(len(image), -1)
        flat = flat[:, np.isfinite(flat).all(axis=0)]
        got = np.concatenate(list(known_pixels(image)), axis=1)
        assert np.array_equal(np.sort(got), np.sort(flat))
        got = np.concatenate(list(known_pixels(image, leave_zero=True)), axis=1)
        assert np.array_equal(np.sort(got), np.sort(flat[:, (flat != 0).any(axis=0)]))
        inside = np.fmod(np.nan_to_num(image[0], posinf=0), 3) == 1
        got = np.concatenate(list(known_pixels(image, inside=inside)), axis=1)
        assert np.array_equal(np.sort(got), np.sort(flat[:, flat[0] % 3 == 1]))


class TestRefused:
    def test_a_constant_channel(self) -> None:
        image = np.stack([np.arange(9.0).reshape(3, 3), np.full((3, 3), 4.0)])
        with pytest.raises(DataError, match="Channel 1 has the value 4 at every pixel"):
            choose([image, image])

    def test_intensities_beyond_float32(self) -> None:
        for large in (-3.4e38, 1e200):
            image = np.array([[[0, 1, large]]])
            with pytest.raises(DataError, match="Channel 0 has intensities of a standard deviatio"):
                choose([image])

    @pytest.mark.parametrize("scheme", ["percentiles", "window"])
    def test_percentiles_without_contrast(self, scheme: Any) -> None:
        image = np.zeros((1, 30, 30), np.uint8)
        image[0, 0, 0] = 9
        with pytest.raises(DataError, match="Channel 0 has the same value, 0, from the percentile"):
            choose([image], scheme=scheme)

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"window": [240, -160]}, "window .* leave nothing between them"),
            ({"percentiles": [99, 1]}, "percentiles .* leave nothing between them"),
            ({"window": [0, 1], "scheme": "per-image"}, "the scheme per-image uses none"),
            ({"scheme": "z-score"}, "normalisation.scheme"),
        ],
    )
    def test_settings(self, given: Any, words: str) -> None:
        with pytest.raises(SettingsError, match=words):
            from_dict(Settings, {"normalisation": given}, "here")


class TestSchemes:
    def test_percentiles_are_those_of_all_images(self) -> None:
        images = [noise(number) for number in range(3)]
        images[0][0, 3, 3] = np.nan
        flat = all_of(images)
        made = choose(images, scheme="percentiles", percentiles=(2, 95))
        ends = [np.percentile(flat, p, axis=1, method="inverted_cdf") for p in (2, 95)]
        assert np.array(made.clip) == pytest.approx(np.stack(ends, axis=1))
        clipped = np.clip(flat, *[end[:, None] for end in ends])
        assert made.mean == pytest.approx(clipped.mean(axis=1))
        assert made.std == pytest.approx(clipped.std(axis=1))
        normal = all_of([made(image, find_missing(image)) for image in images[1:]])
        expected = (clipped - clipped.mean(axis=1)[:, None]) / clipped.std(axis=1)[:, None]
        assert normal == pytest.approx(expected[:, -normal.shape[1] :], abs=1e-5)

    def test_percentiles_reach_as_far_as_what_is_labelled(self) -> None:
        """Few bright cells are no hot pixels."""
        image = noise(0, shape=(1, 100, 100))
        image[0, :3, :10] = 100 + np.arange(30).reshape(3, 10)
        labelled = choose([image], lambda image: image[0] > 50, scheme="percentiles")
        assert labelled.clip[0][1] == 129
        assert choose([image], scheme="percentiles").clip[0][1] < 50

    def test_a_given_window(self) -> None:
        made = choose([noise(0, 100)], window=(-160, 240))
        assert made.scheme == "window"
        values = np.array([-1000, -160, 40, 240, 3000], np.int16)
        (got, _) = made(np.stack([values, values])[:, None])
        assert got[0, 2] == 0
        assert np.array_equal(got[0, :2], -got[0, 3:])
        assert got[0, 0] == got[0, 1] == pytest.approx(-np.sqrt(3))  # of a uniform distribution

    def test_a_window_on_the_command_line(self) -> None:
        chosen = change(Settings(), ["normalisation.window=[-160, 240]"])
        assert chosen.normalisation.window == (-160, 240)

    def test_the_window_of_what_is_labelled(self) -> None:
        image = noise(0, 100, (1, 60, 60))
        inside = (image[0] > 0) & (image[0] < 50)
        made = choose([image], lambda _: inside, scheme="window", percentiles=(1, 90))
        ends = np.percentile(image[0][inside], (1, 90), method="inverted_cdf")
        assert made.clip[0] == pytest.approx(tuple(ends))

    @pytest.mark.usefixtures("_small_blocks")
    def test_each_image_by_itself(self) -> None:
        made = choose([noise(0), 9 * noise(1)], scheme="per-image")
        for image in (noise(2), 1e6 * noise(3), np.moveaxis(noise(4, shape=(2, 5, 6, 7)), 3, 1)):
            image[1, 2, 3] = np.nan
            got = all_of([made.of(image)(image, find_missing(image))])
            known = all_of([image])
            count = got.shape[1] - np.isnan(image).any(axis=0).sum()  # without what was filled
            assert known.shape[1] == count
            expected = (known - known.mean(axis=1)[:, None]) / known.std(axis=1)[:, None]
            assert np.sort(got)[:, [0, -1]] == pytest.approx(
                np.sort(expected)[:, [0, -1]], abs=1e-4
            )

    def test_an_image_without_contrast_or_pixels_is_shifted(self) -> None:
        made = choose([noise(0)], scheme="per-image")
        assert (made.of(np.full((2, 4, 5), 7.0))(np.full((2, 4, 5), 7.0)) == 0).all()
        assert made.of(np.full((2, 4, 5), np.nan)).std == (1, 1)

    def test_a_frame_of_zeros_is_left_out(self) -> None:
        image = np.zeros((1, 20, 20))
        image[0, 5:15, 5:15] = np.random.default_rng(0).uniform(50, 90, (10, 10))
        made = choose([image], scheme="per-image")
        assert made.zero_is_background
        assert "a frame" in made.reason
        inside = image[image > 0]
        assert made.of(image).mean == pytest.approx((inside.mean(),))
        assert made.of(image).std == pytest.approx((inside.std(),))
        image[0, 0, 0] = -1  # a zero among negative values is a value
        assert not choose([image], scheme="per-image").zero_is_background

    def test_a_scheme_for_all_is_not_bound(self) -> None:
        made = choose([noise(0)])
        assert made.of(noise(1)) is made


class TestNumbers:
    @given(st.sampled_from(INTEGERS), st.integers(0, 99), st.booleans())
    @quick
    def test_integers_are_normalised_as_their_values(
        self, dtype: str, seed: int, clipped: bool
    ) -> None:
        random, limits = np.random.default_rng(seed), np.iinfo(dtype)
        image = random.integers(limits.min, limits.max, (2, 7, 9), dtype, endpoint=True)
        wide = image.astype(np.float64)
        made = choose([image], scheme="percentiles" if clipped else "mean-std")
        other = choose([wide], scheme=made.scheme)
        assert other.clip == made.clip
        assert other.mean + other.std == pytest.approx(made.mean + made.std, rel=1e-12)
        assert np.allclose(made(image), made(wide), rtol=1e-5, atol=1e-5)
        assert made(image).dtype == np.float32

    @given(st.sampled_from([1e-38, 1e-30, 1.0, 1e30, 1e36]), st.integers(0, 9))
    @quick
    def test_any_scale_that_float32_holds(self, scale: float, seed: int) -> None:
        image = noise(seed) * scale
        assert choose([image.astype(np.float32)])(image.astype(np.float32)) == pytest.approx(
            choose([noise(seed)])(noise(seed)), abs=1e-2 if scale < 1e-37 else 1e-4
        )

    def test_small_differences_of_large_numbers(self) -> None:
        image = 2**31 + np.arange(12, dtype=np.uint32).reshape(1, 3, 4)
        got = choose([image])(image)
        assert np.diff(got.ravel()) == pytest.approx(1 / np.arange(12).std(), rel=1e-4)

    def test_beyond_float32_is_infinite(self) -> None:
        assert np.isinf(Normalisation((0.0,), (1e-3,))(np.full((1, 1, 1), 3e38, np.float32))).all()


class TestChoice:
    def test_images_alike(self) -> None:
        made = choose([noise(0), noise(1), noise(2, 3), noise(3, 2)])
        assert made.scheme == "mean-std"
        assert "mean and standard deviation of the training images" in made.reason

    def test_images_of_no_common_unit(self) -> None:
        images = [noise(number, 10.0**number) for number in range(5)]
        made = choose(images)
        assert made.scheme == "per-image"
        assert "-fold" in made.reason
        assert choose(images[:3]).scheme == "mean-std"  # too few to tell

    def test_images_that_differ_mostly_in_brightness(self) -> None:
        """Their own deviations are alike, and small beside that of the set."""
        images = [noise(number) + 10 * number for number in range(4)]
        made = choose(images)
        assert made.scheme == "per-image"
        share = 1 / np.concatenate([image.ravel() for image in images]).std()
        assert f"varies by {share:.0%} of what the whole set does" in made.reason
        assert choose([noise(number) + number for number in range(4)]).scheme == "mean-std"
        assert choose(images[:3]).scheme == "mean-std"  # too few to tell

    def test_hot_pixels(self) -> None:
        image = np.random.default_rng(0).integers(100, 200, (1, 100, 100)).astype(np.uint16)
        image[0, 0, :10] = 60000
        made = choose([image])
        assert made.scheme == "percentiles"
        assert made.clip[0][1] < 200
        assert "extreme pixels make up" in made.reason
        labelled = choose([image], lambda image: image[0] > 1000)
        assert labelled.scheme == "mean-std"  # what is looked for is no defect

    @pytest.mark.parametrize(
        ("modalities", "scheme"),
        [
            (("CT",), "window"),
            (("ct", "CT"), "window"),
            (("CT", "PET"), "per-image"),
            (("MRI",), "per-image"),
            (("T1w", "FLAIR", "T2*", "MR_T1"), "per-image"),
            (("Magnetic Resonance Imaging",), "per-image"),
            (("CT angiography", "CTA"), "window"),
            (("mRNA",), "mean-std"),
            (("CTCF stain",), "mean-std"),
            (("fluorescence",), "mean-std"),
            (("cytoplasm", "pdac stain"), "mean-std"),
        ],
    )
    def test_modalities(self, modalities: tuple[str, ...], scheme: str) -> None:
        made = choose([noise(0), noise(1)], lambda image: image[0] > 3, modalities)
        assert made.scheme == scheme

    def test_what_is_said_wins(self) -> None:
        made = choose([noise(0)], modalities=("CT",), scheme="mean-std")
        assert made.scheme == "mean-std"
        assert "as you said" in made.reason


def _read(folder: Path, pattern: str, every: int = 1) -> Iterator[NDArray[Any]]:
    for path in sorted(folder.glob(pattern))[::every]:
        for plane in planes(io.open(path)):
            yield plane[:3] if path.suffix == ".png" else plane


@pytest.mark.parametrize(
    ("folder", "pattern", "every", "scheme"),
    [
        ("isbi2012", "train-volume.tif", 1, "mean-std"),
        ("ctc/DIC-C2DH-HeLa/01", "*.tif", 8, "mean-std"),
        ("dsb2018/stage1_train", "*/images/*.png", 8, "per-image"),
        ("dubai", "Tile [135]/images/*.jpg", 4, "mean-std"),
        ("camvid/train", "*.png", 8, "mean-std"),
        ("voc/VOCdevkit/VOC2012/JPEGImages", "*.jpg", 1, "mean-std"),
        ("volumes", "nuclei3d_image.tif", 1, "mean-std"),
        ("multiband", "14.tif", 1, "mean-std"),
    ],
)
def test_real_sets(shared_data: Path, folder: str, pattern: str, every: int, scheme: str) -> None:
    made = choose(list(_read(shared_data / folder, pattern, every)))
    assert made.scheme == scheme


def test_the_hippocampi_have_no_common_unit(shared_data: Path) -> None:
    """Even where their modality is not told."""
    nibabel = pytest.importorskip("nibabel")
    files = sorted((shared_data / "msd" / "Task04_Hippocampus" / "imagesTr").glob("*.nii.gz"))
    volumes = [np.asarray(nibabel.load(file).dataobj).transpose()[None] for file in files[:24]]
    made = choose(volumes)
    assert made.scheme == "per-image"
    assert not made.zero_is_background
    for volume in volumes[:4]:
        normal = made.of(volume)(volume)
        assert (normal.mean(), normal.std()) == pytest.approx((0, 1), abs=1e-3)
