"""Windows around rare classes: how many, which, and that all others stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

import overtile
from overtile import networks, rareclasses
from overtile.dataset import Example, Slabs
from overtile.layouts import pairs
from overtile.normalise import Normalisation
from overtile.rareclasses import (
    ClassPixels,
    RareWindows,
    choose_share,
    find_classes,
    kept_px,
)
from overtile.sample import draw_sample
from overtile.settings import AugmentSettings, LossSettings, Settings, UNetSettings, WindowSettings
from overtile.training.data import TrainingData

WINDOW, SIDE = 8, 60


def example(*spots: tuple[int, int, int], side: int = SIDE) -> Example:
    """An image of class 0 with single pixels (class, y, x); its gray values name its pixels."""
    target = np.zeros((side, side), np.int16)
    for number, y, x in spots:
        target[y, x] = number
    image = np.arange(side**2, dtype=np.float32).reshape(1, side, side)
    return Example(image, target, np.ones((side, side), np.float32), np.array([], np.int64))


def made_of(target: NDArray[np.int16], shape: tuple[int, int]) -> Example:
    return Example(np.zeros((1, *shape)), target, np.ones(shape, np.float32), np.array([]))


def places_of(one: Example, classes: int, most: int = 100) -> ClassPixels:
    return find_classes((one.target == number for number in range(classes)), most, 0)


def slabs(
    examples: list[Example], rare: RareWindows | None, *, sparse: bool = False, steps: int = 300
) -> Slabs:
    return Slabs(
        examples,
        [Normalisation((0.0,), (1.0,))] * len(examples),
        labelled_px=np.array([np.count_nonzero(each.labelled) for each in examples]),
        sparse=sparse,
        rare=rare,
        context_px=(WINDOW, WINDOW),
        window_px=(WINDOW, WINDOW),
        seed=3,
        steps=(0, steps),
        batch_size=3,
    )


class TestWhere:
    @given(
        st.lists(st.integers(1, 9), min_size=1, max_size=3),
        st.integers(1, 60),
        st.integers(1, 50),
        st.integers(0, 1000),
    )
    @settings(max_examples=40, deadline=None)
    def test_places_are_of_the_class(
        self, shape: list[int], most: int, block: int, seed: int
    ) -> None:
        """All of them, or as many as are kept, none twice, whatever is looked through at a time."""
        target = np.random.default_rng(seed).integers(-1, 3, shape)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rareclasses, "BLOCK_PX", block)
            found = find_classes((target == number for number in range(3)), most, seed)
        again = find_classes((target == number for number in range(3)), most, seed)
        for number in range(3):
            count = np.count_nonzero(target == number)
            places = found.places[number]
            assert found.counts[number] == count
            assert len(set(places.tolist())) == len(places) == min(count, most)
            assert (target.ravel()[places] == number).all()
            assert np.array_equal(places, again.places[number])

    def test_each_pixel_is_kept_as_often(self) -> None:
        mask = np.zeros((10, 10), bool)
        mask[2:4] = True
        kept = np.concatenate([find_classes([mask], 5, seed).places[0] for seed in range(800)])
        counts = np.bincount(kept, minlength=100)[20:40]
        assert counts.sum() == 4000
        assert stats.chisquare(counts).pvalue > 1e-4

    @pytest.mark.parametrize(("images", "classes"), [(1, 2), (60, 12), (5000, 12), (10**6, 3)])
    def test_what_is_kept_is_bounded(self, images: int, classes: int) -> None:
        kept = kept_px(images, classes)
        assert 100 <= kept <= 10_000
        assert kept == 100 or kept * images * classes <= 2**22

    def test_classes_that_overlap_have_their_own_pixels(self) -> None:
        target = np.zeros((2, 3, 3), np.int16)
        target[0, :2], target[1, 1:] = 1, 1
        target[1, 0, 0] = -1  # and so the pixel is unlabelled in both
        one = made_of(target, (3, 3))
        assert np.flatnonzero(one.of_class(0)).tolist() == [1, 2, 3, 4, 5]
        assert np.flatnonzero(one.of_class(1)).tolist() == [3, 4, 5, 6, 7, 8]

    def test_classes_of_a_pixel(self) -> None:
        target = np.array([[0, 1], [-1, 1]], np.int16)
        one = made_of(target, (2, 2))
        assert [np.flatnonzero(one.of_class(n)).tolist() for n in range(3)] == [[0], [1, 3], []]


class TestWindows:
    @given(st.floats(0, 0.999), st.integers(0, 10**6), st.integers(1, 500))
    @settings(max_examples=60, deadline=None)
    def test_they_are_spread_evenly(self, share: float, first: int, count: int) -> None:
        one = example((1, 5, 5))
        rare = RareWindows(share, [places_of(one, 2)], overlap=False)
        taken = sum(rare.takes(number) for number in range(first, first + count))
        assert abs(taken - share * count) <= 1 + 1e-6

    def test_they_show_the_class_as_often_as_computed(self) -> None:
        """All that are drawn around it, and of the others those whose place happens to hold it."""
        y, x, share = 3, 40, 1 / 3
        one = example((1, y, x))
        made = slabs([one], RareWindows(share, [places_of(one, 2)], overlap=False), steps=1000)
        shown = [bool((made[item][1] == 1).any()) for item in range(len(made))]
        starts = SIDE - WINDOW + 1
        by_chance = np.prod([min(at, SIDE - WINDOW) - max(0, at - WINDOW + 1) + 1 for at in (y, x)])
        others = sum(shown) - len(made) // 3
        assert sum(shown[number] for number in range(len(made)) if made.rare.takes(number)) == 1000
        assert stats.binomtest(others, 2000, by_chance / starts**2).pvalue > 1e-3

    def test_all_others_stay_bit_for_bit(self) -> None:
        examples = [example((1, 3, 3), (2, 50, 50)), example((1, 20, 20))]
        images = [places_of(each, 3) for each in examples]
        plain = slabs(examples, None)
        none = slabs(examples, RareWindows(0, images, overlap=False))
        some = slabs(examples, RareWindows(0.4, images, overlap=False))
        for item in range(300):
            assert all(map(torch.equal, none[item], plain[item]))
            if not some.rare.takes(item):
                assert all(map(torch.equal, some[item], plain[item]))

    def test_a_window_is_a_function_of_seed_step_and_index(self) -> None:
        one = example((1, 3, 3), (2, 50, 50))
        rare = RareWindows(0.5, [places_of(one, 3)], overlap=False)
        first, later = slabs([one], rare), slabs([one], rare)
        later.steps = (7, 300)
        for item in (4, 0, 9):
            assert all(map(torch.equal, first[item + 21], later[item]))

    def test_every_place_is_still_drawn(self) -> None:
        """A corner is in one window of 169: 1500 others miss it with a chance of 1e-4."""
        one = example((1, 3, 3), side=20)
        rare = RareWindows(0.5, [places_of(one, 2)], overlap=False)
        made = slabs([one], rare, steps=1000)
        seen = np.zeros(20**2, bool)
        for item in range(len(made)):
            if not rare.takes(item):
                seen[made[item][0].flatten().long()] = True
        assert seen.all()

    def test_a_window_lies_anywhere_around_its_pixel(self) -> None:
        one = example((1, 30, 2))
        rare = RareWindows(0.999, [places_of(one, 2)], overlap=False)
        made = slabs([one], rare, steps=400)
        rows, columns = set(), set()
        for item in range(1, len(made)):
            if rare.takes(item):
                y, x = np.argwhere(made[item][1].numpy() == 1)[0]
                rows.add(int(y))
                columns.add(int(x))
        assert rows == set(range(WINDOW))
        assert columns == {0, 1, 2}  # not over the image's edge

    def test_each_class_is_drawn_as_often_but_the_commonest(self) -> None:
        """And of a class each pixel, in whichever image it is."""
        many = example(*[(1, y, x) for y in range(9) for x in range(3)], (3, 40, 40))
        few = example(*[(1, y, x) for y in range(3) for x in range(3)])
        rare = RareWindows(0.5, [places_of(each, 5) for each in (many, few)], overlap=False)
        assert rare.classes.tolist() == [1, 3]  # 2 and 4 are nowhere
        random = np.random.default_rng(0)
        drawn = [rare.draw(random) for _ in range(2000)]
        of_class = [(many, few)[place].target.ravel()[pixel] for place, pixel in drawn]
        assert stats.binomtest(of_class.count(1), 2000, 1 / 2).pvalue > 1e-3
        in_few = sum(place for place, _ in drawn)
        assert stats.binomtest(in_few, of_class.count(1), 9 / 36).pvalue > 1e-3

    def test_sparse_labels_have_rare_classes_too(self) -> None:
        one = example((1, 30, 30), (2, 9, 9))
        one.target[one.target == 0] = -1
        one.target[9, 20:50] = 0
        rare = RareWindows(0.5, [places_of(one, 3)], overlap=False)
        made = slabs([one], rare, sparse=True, steps=60)
        for item in range(len(made)):
            labels = made[item][1]
            assert (labels > 0).any() if rare.takes(item) else (labels >= 0).any()

    def test_a_single_class_is_not_rare(self) -> None:
        rare = RareWindows(0.5, [places_of(example(), 2)], overlap=False)
        assert not any(map(rare.takes, range(20)))

    def test_a_class_that_may_overlap_is_drawn_even_alone(self) -> None:
        rare = RareWindows(0.5, [places_of(example((1, 5, 5)), 2)], overlap=True)
        assert rare.classes.tolist() == [0, 1]


class TestShare:
    @pytest.mark.parametrize(
        ("counts", "share", "words"),
        [
            ((9000, 1000), 0, "the rarest class, b, has 10.00% of all"),
            ((9950, 50), 1 / 3, "because b has only 0.50% of the labelled pixels"),
            ((40, 9000, 9000), 1 / 3, "because a has only 0.22%"),
            ((9000, 0, 1000), 0, "the rarest class, c"),
            ((9000, 0), 0, "the rarest class, a, has 100.00%"),
            ((0, 0), 0, "no class has a pixel"),
        ],
    )
    def test_it_says_why(self, counts: tuple[int, ...], share: float, words: str) -> None:
        chosen, reason = choose_share(counts, "abc"[: len(counts)], sum(counts))
        assert chosen == share
        assert words in reason

    def test_a_class_that_overlaps_others_is_rare_by_all_pixels(self) -> None:
        chosen, reason = choose_share([9000, 80], "ab", 10_000)
        assert chosen == 1 / 3
        assert "b has only 0.80%" in reason


def test_training_finds_them() -> None:
    """Through the settings: of the loader's windows a share shows the class, others seldom do."""
    image, _ = draw_sample(0, 0, (256, 256))
    label: NDArray[np.uint8] = np.zeros((256, 256), np.uint8)
    label[:128], label[200:204, 100:104] = 1, 2
    chosen = Settings(
        network=UNetSettings(padding="same", depth=2, base_channels=4, norm="batch"),
        window=WindowSettings(size_px=32, batch_size=3, rare_share=0.5),
        border="own",
    )
    data = TrainingData(pairs([image], [label]), chosen)
    assert [each.counts.tolist() for each in data.class_pixels] == [[32752, 32768, 16]]
    fields = networks.fields_of(chosen.network)
    shown = {0.0: 0, 0.5: 0}
    for share in shown:
        window = chosen.window.model_copy(update={"rare_share": share})
        load = data.loader(chosen.model_copy(update={"window": window}), fields)
        for _, target, _, _ in load(0, 40):
            middle = (target.shape[-1] - 32) // 2
            inside = target[:, middle:-middle, middle:-middle]
            shown[share] += int((inside == 2).any(dim=2).any(dim=1).sum())
    # Half of the 120 windows are drawn around class 0 or 2, half of them around each.
    assert shown[0.0] < 12
    assert 15 < shown[0.5] < 45


@pytest.mark.parametrize("terms", [{"focal": 1}, {"tversky": 1, "boundary": 1}])
def test_it_learns_with_each_loss(terms: dict[str, float]) -> None:
    """Windows around cells, bent by least squares; on a held-out picture it finds the cells."""
    chosen = Settings(
        network=UNetSettings(padding="same", depth=2, base_channels=4, norm="batch"),
        window=WindowSettings(size_px=32, batch_size=2, rare_share=0.5),
        augment=AugmentSettings(deformation="mls-rigid", control_points="random"),
        loss=LossSettings(cross_entropy=0, **terms),
        border="own",
        averaging=0.9,
        precision="float32",
        layout="contiguous",
    )
    drawn = [draw_sample(0, index, (128, 112)) for index in range(4)]
    images, labels = ([pair[part] for pair in drawn] for part in (0, 1))
    model = overtile.train(images[:3], labels[:3], steps=80, settings=chosen)
    assert overtile.evaluate(model, images[3:], labels[3:]).mean["IoU object"] > 0.4
