"""Which label belongs to which image, told by names: the pairing is a bijection, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overtile.errors import DataError
from overtile.layouts.names import (
    describe_match,
    match_by_words,
    match_children,
    match_cores,
    part_of,
    words,
)

letters = st.text("abxyz_-. 0123456789", min_size=1, max_size=6)
stems = st.lists(letters, min_size=1, max_size=8, unique=True)


@settings(max_examples=300, deadline=None)
@given(images=stems, labels=stems)
def test_any_pairing_is_a_bijection(images: list[str], labels: list[str]) -> None:
    matched = match_cores(images, labels)
    if matched is not None:
        assert sorted(matched) == sorted(images)
        assert sorted(matched.values()) == sorted(labels)


# Signs part what is added from the name itself: without them "t1" + "0" would be "t10".
added = st.text("abmask", max_size=5)


@settings(max_examples=300, deadline=None)
@given(
    cores=st.lists(st.text("abm019", min_size=1, max_size=4), min_size=2, max_size=8, unique=True),
    starts=st.tuples(added, added),
    ends=st.tuples(added, added),
    shuffle=st.randoms(use_true_random=False),
)
def test_beginnings_and_ends_that_all_have_are_taken_off(
    cores: list[str], starts: tuple[str, str], ends: tuple[str, str], shuffle: object
) -> None:
    def named(side: int) -> dict[str, str]:
        start = f"{starts[side]}_" if starts[side] else ""
        return {core: start + core + (f"_{ends[side]}" if ends[side] else "") for core in cores}

    left, right = named(0), named(1)
    labels = list(right.values())
    shuffle.shuffle(labels)  # type: ignore[attr-defined]
    assert match_cores(list(left.values()), labels) == {left[core]: right[core] for core in cores}


def test_numbers_are_not_cut_in_two() -> None:
    assert match_cores(["t01", "t02"], ["t11", "t12"]) is None
    assert match_cores(["t01", "t02"], ["m01", "m02"]) == {"t01": "m01", "t02": "m02"}
    assert match_cores(["a_1", "b_1"], ["a_21", "b_21"]) == {"a_1": "a_21", "b_1": "b_21"}
    assert match_cores(["t1"], ["t2"]) is None


def test_words_and_numbers_of_names() -> None:
    assert words("Train-labels01_Ground Truth") == ["train", "labels", "01", "groundtruth"]
    assert words("trainannot") == ["train", "annot"]
    assert part_of("val_images") == "validation"
    assert part_of("Tile 1") == part_of("train_test") == ""


def test_words_tell_images_from_labels() -> None:
    names = ["train-volume", "train-labels", "test-volume"]
    assert match_by_words(names, "f", "") == {"train-volume": "train-labels", "test-volume": None}
    assert match_by_words(["images", "masks"], "f", "") == {"images": "masks"}
    assert match_by_words(["a", "b"], "f", "") is None
    assert match_by_words(["a", "b_mask"], "f", "") is None


def test_two_candidates_are_refused_with_both_shown() -> None:
    with pytest.raises(DataError, match=r"In here, masks and labels fit the image images equally"):
        match_by_words(["images", "masks", "labels"], "here", "Choose.")
    with pytest.raises(DataError, match=r"a and a_image fit the label a_mask equally .* Choose\."):
        match_by_words(["a", "a_image", "a_mask"], "here", "Choose.")
    with pytest.raises(DataError, match=r"label a_b_x fits a and a_b equally well.*CSV"):
        match_children(["a", "a_b", "a_b_x"])


def test_names_that_contain_those_of_images() -> None:
    assert match_children(["a", "a_road", "a_car", "b", "b_road"]) == {
        "a": {"_road": "a_road", "_car": "a_car"},
        "b": {"_road": "b_road"},
    }
    assert match_children(["1", "edge-1"]) == {"1": {"edge-": "edge-1"}}
    assert match_children(["t1", "t1_2"]) is None  # a number is no kind of label
    assert match_children(["a", "a_road", "c"]) is None
    assert match_children(["a", "ab"]) is None


def test_how_names_differ_is_said() -> None:
    assert describe_match({"a": "a"}) == "paired by file name"
    assert describe_match({"a": "m_a.gt"}) == "paired by file name ('m_' + image + '.gt')"
    assert describe_match({"im1": "gt1"}) == "paired by file name (gt1 for im1)"
