"""Missing pixels: they change nothing around them, weigh nothing, and are told in every output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import overtile
from overtile import io
from overtile.blending import blended, tile_mismatch
from overtile.cli import main
from overtile.dataset import Slabs, prepare
from overtile.engines import FunctionEngine
from overtile.errors import DataError
from overtile.file_to_file import FilePrediction, PredictOptions
from overtile.geometry import Field
from overtile.image import as_image
from overtile.labels import Hints, understand
from overtile.missing import clear_missing, find_missing, refuse_infinite
from overtile.normalise import Normalisation
from overtile.sample import draw_sample
from overtile.segmenter import Segmenter
from overtile.settings import (
    NormalisationSettings,
    PixelWeightSettings,
    Settings,
    UNetSettings,
    WindowSettings,
)
from overtile.tiler import Kind, Tiler
from overtile.tiles import Border, cut
from overtile.training.data import TrainingData

IMAGE, CELLS = draw_sample(4, 0, (90, 110))
KINDS: tuple[Kind, ...] = ("classes", "probabilities", "foreground")
MEAN, STD = 120.0, 40.0


def holed(image: NDArray[Any] = IMAGE, seed: int = 0) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The image in float32 with a corner, a frame on one side and single pixels missing."""
    missing = np.random.default_rng(seed).random(image.shape) < 0.01
    missing[:40, :50] = missing[:, -20:] = True
    return np.where(missing, np.nan, image).astype(np.float32), missing


HOLED, MISSING = holed()


@pytest.fixture(scope="module", params=["mean-std", "per-image"])
def model(model_folder: Path, request: pytest.FixtureRequest) -> Segmenter:
    trained = overtile.load(model_folder, precision="float32", engine="torch").model
    if request.param == "per-image":
        own = Normalisation((), (), scheme="per-image")
        trained = replace(trained, normalisation=own)
    return Segmenter(trained, precision="float32", engine="torch")


def network(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """A network that sees 4 pixels to each side."""
    wide = np.pad(windows, [(0, 0), (0, 0), (4, 4), (4, 4)])
    height, width = windows.shape[2:]
    shifted = [wide[..., y : y + height, x : x + width] for y, x in ((0, 4), (8, 2), (4, 8))]
    logits = np.sum(shifted, axis=0)
    return np.concatenate([logits, -logits], axis=1)


def tiler(engine: Any = None, border: Border = "own", scheme: Any = "mean-std") -> Tiler:
    normalisation = (
        Normalisation((MEAN,), (STD,))
        if scheme == "mean-std"
        else Normalisation((), (), scheme=scheme)
    )
    return Tiler(
        engine or FunctionEngine(network),
        (Field("same", 4, 4),) * 2,
        border=border,
        normalisation=normalisation,
        activation="softmax",
    )


class TestFound:
    @given(st.sampled_from(["float16", "float32", "float64"]), st.integers(0, 99))
    @settings(max_examples=20, deadline=None)
    def test_in_one_channel_is_in_all(self, dtype: str, seed: int) -> None:
        random = np.random.default_rng(seed)
        image = random.normal(size=(3, 6, 7)).astype(dtype)
        image[random.random(image.shape) < random.choice([0, 0.1])] = np.nan
        found = find_missing(image)
        expected = np.isnan(image.astype(float)).any(axis=0)
        assert np.array_equal(expected, np.zeros((6, 7)) if found is None else found)
        assert (found is None) == (not expected.any())

    def test_integers_are_not_looked_at(self) -> None:
        class Unread(np.ndarray):  # type: ignore[type-arg]
            def __array_ufunc__(self, *_: Any, **__: Any) -> Any:
                raise AssertionError("looked at")

        image = np.zeros((1, 4, 4), np.uint16).view(Unread)
        assert find_missing(image) is None
        refuse_infinite("it", image)

    @pytest.mark.parametrize("value", [np.inf, -np.inf])
    def test_infinity_is_refused(self, value: float) -> None:
        with pytest.raises(DataError, match="it holds infinite values: expected numbers, or NaN"):
            refuse_infinite("it", np.array([[0.0, value, np.nan]]))


class TestTiles:
    @pytest.mark.parametrize("border", ["own", "mirror"])
    @pytest.mark.parametrize("scheme", ["mean-std", "per-image"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_tiled_is_whole(self, border: Border, scheme: str, kind: Kind) -> None:
        run = tiler(border=border, scheme=scheme)
        whole = run.predict(HOLED[None], None, kind)
        for tile_px in (8, 20, 44):
            got = run.predict(HOLED[None], tile_px, kind)
            assert np.allclose(got, whole, atol=1e-6, equal_nan=True), tile_px

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_network_sees_the_mean(self, kind: Kind) -> None:
        filled = np.where(MISSING, np.float32(MEAN), HOLED)
        said = {"classes": 255, "probabilities": np.nan, "foreground": 0}[kind]
        expected = np.where(MISSING, said, tiler().predict(filled[None], None, kind))
        got = tiler().predict(HOLED[None], 20, kind)
        assert np.allclose(got, expected, atol=1e-6, equal_nan=True)

    def test_a_channel_is_enough(self) -> None:
        run = replace_normalisation(tiler(), Normalisation((0.0, 0.0), (1.0, 1.0)))
        image = np.stack([HOLED, IMAGE.astype(np.float32)])
        run.engine = FunctionEngine(lambda windows: windows)
        assert np.array_equal(run.predict(image, 20, "classes") == 255, MISSING)

    def test_in_parts_where_memory_is_short(self) -> None:
        class Narrow(FunctionEngine):
            def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
                if windows.size > 1500:
                    raise MemoryError
                return network(windows)

        for kind in KINDS:
            run = tiler(Narrow(network), scheme="per-image")
            got = run.predict(HOLED[None], 60, kind)
            expected = tiler(scheme="per-image").predict(HOLED[None], None, kind)
            assert np.allclose(got, expected, atol=1e-6, equal_nan=True)

    def test_blended(self) -> None:
        likely = blended(tiler(), HOLED[None], (24, 28))
        assert np.array_equal(np.isnan(likely), np.stack([MISSING] * 2))
        filled = np.where(MISSING, np.float32(MEAN), HOLED)
        other = blended(tiler(), filled[None], (24, 28))
        assert np.allclose(likely[:, ~MISSING], other[:, ~MISSING], atol=1e-6)

    @pytest.mark.parametrize("exact", [True, False])
    def test_two_tilings_are_compared_where_something_is_known(self, exact: bool) -> None:
        assert tile_mismatch(tiler(), HOLED[None], exact=exact).largest < (1e-5 if exact else 1)

    def test_what_is_all_missing_is_not_computed(self) -> None:
        seen = []

        def watched(windows: NDArray[np.float32]) -> NDArray[np.float32]:
            seen.append(windows.shape)
            return network(windows)

        run = tiler(FunctionEngine(watched))
        run.predict(HOLED[None], 20, "classes")
        tiles = cut(HOLED.shape, run.fields, 20, run.border)
        needed = sum(not MISSING[tile.write].all() for tile in tiles)
        assert len(seen) == needed < len(tiles)

    def test_values_that_float32_cannot_hold(self) -> None:
        run = replace_normalisation(tiler(), Normalisation((0.0,), (1e-3,)))
        image = np.full((1, 20, 20), -3.4e38, np.float32)
        with pytest.raises(DataError, match=r"values as large as 3\.4e\+38, too far from those"):
            run.predict(image, None, "classes")

    def test_a_plane_has_its_own_statistics_once(self, model: Segmenter) -> None:
        """Whatever the others of its stack are like, and however often it is sliced."""
        stack = np.stack([HOLED, 5 * HOLED - 9, np.full_like(HOLED, np.nan)])
        together = model.probabilities(stack, tile_px=40)
        for number, plane in enumerate(stack):
            alone = model.probabilities(plane, tile_px=40)
            assert np.allclose(together[number], alone, atol=1e-6, equal_nan=True)
        assert np.isnan(together[2]).all()
        if model.model.normalisation.scheme == "per-image":
            assert np.allclose(together[0], together[1], atol=1e-4, equal_nan=True)


def replace_normalisation(run: Tiler, normalisation: Normalisation) -> Tiler:
    run.normalisation = normalisation
    return run


class TestModel:
    def test_every_result(self, model: Segmenter) -> None:
        classes = model.predict(HOLED, tile_px=32)
        assert np.array_equal(classes == 255, MISSING)
        likely = model.probabilities(HOLED, tile_px=32)
        assert np.array_equal(np.isnan(likely), np.stack([MISSING] * 2))
        assert np.array_equal(likely.argmax(axis=0)[~MISSING], classes[~MISSING])
        whole = model.probabilities(HOLED)
        assert np.allclose(likely, whole, atol=1e-5, equal_nan=True)
        objects = model.objects(HOLED)
        assert objects.max() > 0
        assert not objects[MISSING].any()
        assert np.array_equal(model.find_objects(whole, as_image(HOLED)), objects)

    @pytest.mark.parametrize("content", ["classes", "probabilities", "objects"])
    def test_files(self, model: Segmenter, tmp_path: Path, content: Any) -> None:
        """Also where the run was stopped on the way."""
        source, target = tmp_path / "image.npy", tmp_path / f"{content}.npy"
        np.save(source, HOLED)

        def stop(done: int, total: int) -> None:
            if 0 < total / 2 < done < total:
                raise KeyboardInterrupt

        options = PredictOptions(content=content, tile_px=32)
        with pytest.raises(KeyboardInterrupt):
            FilePrediction(model.predictor, source, target, options).run(stop)
        model.predict_file(source, target, replace(options, resume=True))
        got = io.open(target).data[()]
        verbs: Any = {"classes": "predict", "probabilities": "probabilities", "objects": "objects"}
        expected = getattr(model, verbs[content])(HOLED, tile_px=32)
        assert np.array_equal(got, expected, equal_nan=content == "probabilities")

    def test_scores_do_not_see_them(self, model: Segmenter) -> None:
        """They are those of a label that leaves these pixels out."""
        labels = (CELLS > 0).astype(np.uint8)
        wild = np.where(MISSING, 1 - labels, labels)
        kept = overtile.evaluate(model, [HOLED], [labels])
        assert overtile.evaluate(model, [HOLED], [wild]).pooled == kept.pooled
        truth, found = labels[~MISSING], model.predict(HOLED)[~MISSING]
        assert kept.pooled["pixel error"] == pytest.approx((truth != found).mean())

    def test_a_report(self, model_folder: Path, tmp_path: Path) -> None:
        np.save(tmp_path / "i.npy", HOLED)
        np.save(tmp_path / "l.npy", CELLS)
        command = ["evaluate", model_folder, tmp_path / "i.npy", tmp_path / "l.npy"]
        page = tmp_path / "r.html"
        with pytest.raises(SystemExit) as ended:
            main([str(part) for part in [*command, "--report", page]])
        assert not ended.value.code
        assert page.read_text().count("<figure>") == 1

    def test_objects_grow_into_nothing_missing(self) -> None:
        objects = np.ones((6, 8), np.int32)
        image = np.ones((2, 6, 8))
        image[1, 2, 3:6] = np.nan
        clear_missing(objects, image, [np.s_[0:6, 0:4], np.s_[0:6, 4:8]])
        assert np.array_equal(objects == 0, np.isnan(image[1]))
        clear_missing(objects, np.ones((2, 6, 8), np.uint8), [np.s_[0:6, 0:8]])
        assert objects.sum() == 45


SMALL = Settings(
    network=UNetSettings(padding="same", depth=2, base_channels=4, norm="batch", dropout=0),
    window=WindowSettings(size_px=32, batch_size=2),
    border="own",
    calibrate=True,
    precision="float32",
    layout="channels_last",
)


class TestTraining:
    def test_they_weigh_nothing(self) -> None:
        meaning = understand([CELLS], "instances")
        (example,) = prepare([(HOLED[None], CELLS)], meaning, PixelWeightSettings())
        assert np.array_equal(example.target == -1, MISSING)
        assert np.array_equal(example.weight == 0, MISSING)
        assert example.areas_px.sum() == (example.target > 0).sum()

    def test_slabs_are_filled(self) -> None:
        meaning = understand([CELLS], "instances")
        examples = prepare([(HOLED[None], CELLS)], meaning, PixelWeightSettings())
        made = Slabs(
            examples,
            [Normalisation((MEAN,), (STD,))],
            labelled_px=np.array([1]),
            context_px=(100, 100),
            window_px=(32, 32),
            seed=0,
            steps=(0, 8),
            batch_size=1,
        )
        for image, target, weight, _ in (made[item] for item in range(8)):
            assert image.isfinite().all()
            # Nothing that is missing counts, and what counts is the image's own value.
            assert (image[0][target == -1] == 0).all()
            assert (weight[target == -1] == 0).all()

    @pytest.mark.parametrize("scheme", ["mean-std", "percentiles", "per-image", "window"])
    def test_a_run(self, scheme: Any, tmp_path: Path) -> None:
        chosen = SMALL.model_copy(
            update={"normalisation": SMALL.normalisation.model_copy(update={"scheme": scheme})}
        )
        made = overtile.train([HOLED, IMAGE], [CELLS, CELLS], steps=4, settings=chosen,
                              output=tmp_path / "a.model")  # fmt: skip
        again = overtile.load(tmp_path / "a.model")
        assert again.model.normalisation == made.model.normalisation
        assert made.model.normalisation.scheme == scheme
        reason = made.model.normalisation.reason
        assert "as you said" in reason
        assert f"{MISSING.sum()} missing pixels ({MISSING.mean() / 2:.1%} of all)" in reason
        assert all(np.isfinite(value).all() for value in made.model.parameters.values())
        assert np.array_equal(made.predict(HOLED) == 255, MISSING)

    def test_statistics_are_of_known_pixels(self) -> None:
        data = TrainingData(overtile.layouts.pairs([HOLED], [CELLS]), SMALL)
        known = HOLED[~MISSING].astype(float)
        assert data.normalisation.mean == pytest.approx([known.mean()])
        assert data.normalisation.std == pytest.approx([known.std()])

    def test_the_data_set_says_what_made_the_images(self) -> None:
        pairs = overtile.layouts.pairs([IMAGE], [CELLS])
        told = replace(pairs, hints=Hints(modalities=("MRI",)))
        data = TrainingData(told, SMALL)
        assert data.normalisation.scheme == "per-image"
        assert data.normalisations[0].mean == pytest.approx([IMAGE.mean()])

    @pytest.mark.parametrize("scheme", ["auto", "mean-std"])
    def test_what_the_user_says_is_stronger_than_the_pretraining(self, scheme: Any) -> None:
        chosen = SMALL.model_copy(update={"normalisation": NormalisationSettings(scheme=scheme)})
        data = TrainingData(overtile.layouts.pairs([IMAGE], [CELLS]), chosen)
        known: Any = SimpleNamespace(normalisation=Normalisation((9.0,), (8.0,), "pretraining"))
        data.normalise_for(known)
        assert (data.normalisation.source == "pretraining") == (scheme == "auto")
        assert list(data.normalisations) == [data.normalisation]

    def test_an_image_of_nothing_is_refused(self) -> None:
        with pytest.raises(DataError, match="0: all pixels of the image are missing"):
            overtile.train([HOLED * np.nan], [CELLS], steps=1, settings=SMALL)
