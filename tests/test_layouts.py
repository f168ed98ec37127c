"""Pairs: the right label to each image, in order, nothing read before its time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from overtile import io, layouts
from overtile.errors import DataError, FormatError
from overtile.image import Image


def picture(seed: int, shape: tuple[int, ...] = (6, 8)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def fill(folder: Path, names: list[str], seed: int = 0) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        io.write(folder / name, Image(picture(seed + number), "yx"))
    return folder


def rows(pairs: layouts.Pairs) -> list[tuple[str, str, str | None]]:
    return [(p.name, p.image.origin, p.label.origin if p.label else None) for p in pairs]


# ── folders ───────────────────────────────────────────────────────────────────────────────────


def test_folders_are_paired_by_stem_in_the_order_of_numbers(tmp_path: Path) -> None:
    images = fill(tmp_path / "images", ["t10.png", "t2.tif", "t1.png", ".hidden.png"])
    labels = fill(tmp_path / "labels", ["t1.tif", "t2.png", "t10.TIF"], seed=9)
    (images / "notes.txt").write_text("no image")
    (images / "more").mkdir()
    found = layouts.pairs(images, str(labels))
    assert rows(found) == [
        ("t1", "images/t1.png", "labels/t1.tif"),
        ("t2", "images/t2.tif", "labels/t2.png"),
        ("t10", "images/t10.png", "labels/t10.TIF"),
    ]
    assert np.array_equal(found[2].image.read(), picture(0)[None])
    assert found[2].label is not None
    assert np.array_equal(found[2].read_label().values, picture(11))


def test_stacks_inside_folders_are_paired_page_by_page(tmp_path: Path) -> None:
    images, labels = fill(tmp_path / "i", ["a.png"]), fill(tmp_path / "l", ["a.png"])
    io.write(images / "b.tif", Image(picture(1, (3, 6, 8)), "zyx"))
    io.write(labels / "b.tif", Image(picture(2, (3, 6, 8)), "zyx"))
    found = layouts.pairs(images, labels)
    assert found.names == ["a", "b[0]", "b[1]", "b[2]"]
    assert np.array_equal(found[2].image.read()[0], picture(1, (3, 6, 8))[1])
    assert [name for name, _ in layouts.list_images(images)] == found.names
    io.write(labels / "b.tif", Image(picture(2, (2, 6, 8)), "zyx"), overwrite=True)
    with pytest.raises(DataError, match=r"3 images \(the first is i/b\.tif\[0\]\) but 2 labels"):
        layouts.pairs(images, labels)


def test_a_file_without_partner_is_named(tmp_path: Path) -> None:
    images = fill(tmp_path / "images", [f"t{number}.png" for number in range(9)])
    labels = fill(tmp_path / "labels", ["t0.png", "t1.png"])
    with pytest.raises(
        DataError,
        match=r"7 of 9 images .* t2, t3, t4, t5, t6 and 2 more\. Expected .*labels.t2 with any",
    ):
        layouts.pairs(images, labels)
    with pytest.raises(DataError, match=r"7 of 9 labels in .*images have no image .*: t2, t3") as e:
        layouts.pairs(labels, images)
    assert "Add the images" in str(e.value)


def test_a_folder_that_holds_no_or_doubtful_images_is_named(tmp_path: Path) -> None:
    empty = fill(tmp_path / "empty", [])
    with pytest.raises(DataError, match=r"empty holds no image: found no file, expected .*\.png"):
        layouts.pairs(empty)
    fill(empty / "train", [])
    (empty / "a.txt").write_text("")
    with pytest.raises(DataError, match="found 1 other files and the folders train, expected"):
        layouts.pairs(empty)
    double = fill(tmp_path / "double", ["a.png", "a.tif", "b.png"])
    with pytest.raises(DataError, match=r"several files of one name: a\.png, a\.tif\. Which"):
        layouts.pairs(double)
    with pytest.raises(DataError, match="double was given both as the images and as the labels"):
        layouts.pairs(double, double)
    with pytest.raises(DataError, match="double is a folder, and what was given with it is not"):
        layouts.pairs(picture(0), double)


# ── files, stacks, arrays, lists ──────────────────────────────────────────────────────────────


def test_a_pair_of_stacks_is_paired_by_position(tmp_path: Path) -> None:
    image, label = picture(0, (4, 6, 8)), picture(1, (4, 6, 8)) % 2
    io.write(tmp_path / "volume.tif", Image(image, "zyx"))
    io.write(tmp_path / "labels.tif", Image(label, "zyx"))
    from_files = layouts.pairs(tmp_path / "volume.tif", tmp_path / "labels.tif")
    from_arrays = layouts.pairs(image, label)
    from_lists = layouts.pairs(list(image), [*label])
    mixed = layouts.pairs(tmp_path / "volume.tif", Image(label, "zyx"))
    for found in (from_files, from_arrays, from_lists, mixed):
        assert len(found) == 4
        for number, pair in enumerate(found):
            assert pair.label is not None
            assert np.array_equal(pair.image.read(), image[number][None])
            assert np.array_equal(pair.read_label().values, label[number])
    assert from_files.names[3] == "volume[3]"
    assert from_arrays.names == from_lists.names == ["0", "1", "2", "3"]
    with pytest.raises(DataError, match=r"4 images \(the first is volume.* but 3 labels \(.*list"):
        layouts.pairs(tmp_path / "volume.tif", list(label[:3]))


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".ome.zarr"])
def test_a_stack_is_one_volume_in_three_dimensions(tmp_path: Path, suffix: str) -> None:
    image, label = picture(0, (4, 6, 8)), picture(1, (4, 6, 8)) % 2
    images, labels = tmp_path / "images", tmp_path / "labels"
    for folder, pixels in ((images, image), (labels, label)):
        folder.mkdir()
        io.write(folder / f"brain{suffix}", Image(pixels, "zyx"))
    of_folders = layouts.pairs(images, labels, 3)
    of_files = layouts.pairs(images / f"brain{suffix}", labels / f"brain{suffix}", 3)
    of_both = layouts.pairs([images / f"brain{suffix}"], [Image(label, "zyx")], 3)
    for found in (of_folders, of_files, of_both):
        (pair,) = found
        assert pair.label is not None
        assert np.array_equal(pair.image.read(), image[None])
        assert np.array_equal(pair.read_label().values, label)
        layouts.check_pair(pair.name, pair.image.read(), pair.read_label().values)
    assert of_files.names == of_both.names == ["brain"]


def test_volumes_have_channels_and_are_held_out_by_name_or_number() -> None:
    image, film = picture(0, (3, 4, 6, 8)), picture(1, (5, 4, 6, 8))
    (pair,) = layouts.pairs(Image(image, "czyx"), film[0], 3)
    assert np.array_equal(pair.image.read(), image)
    found = layouts.pairs([film[0], Image(film, "tzyx")], [film[0], Image(film, "tzyx")], 3)
    assert found.names == ["0", "1[0]", "1[1]", "1[2]", "1[3]", "1[4]"]
    assert np.array_equal(found[3].image.read(), film[2][None])
    kept, held = layouts.split(found, "1[3],-1")
    assert (kept.names, held.names) == (["0", "1[0]", "1[1]", "1[2]"], ["1[3]", "1[4]"])
    (alone,) = layouts.pairs(film[0], dimensions=3)
    assert (alone.image.read().shape, alone.label) == ((1, 4, 6, 8), None)


def test_what_has_no_depth_is_no_volume(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", ["a.png", "b.tif"])
    for content, words in (
        (folder / "a.png", r"a\.png holds a single plane\. Expected volumes \(z y x\)"),
        (folder / "b.tif", r"b\.tif has the axes 'yx' of shape \(6, 8\), and none .* is z"),
        (picture(0, (6, 8, 3)), r"array has the axes 'cyx'.*Image\(array, 'zyx'\)"),
        ([Image(picture(0, (4, 6, 8)), "tyx")], r"list\[0\] has the axes 'tyx'"),
        (folder, r"f/a\.png holds a single plane"),
    ):
        with pytest.raises(DataError, match=words):
            layouts.pairs(content, dimensions=3)


def test_volumes_of_other_sizes_are_no_pair() -> None:
    with pytest.raises(DataError, match="has 4 x 6 x 8 pixels and its label 4 x 6 x 7: expected"):
        layouts.check_pair("brain", picture(0, (1, 4, 6, 8)), picture(0, (4, 6, 7)))


def test_one_file_or_array_is_one_pair(tmp_path: Path) -> None:
    folder = fill(tmp_path / "f", ["a.png", "b.tif"])
    found = layouts.pairs(folder / "a.png", folder / "b.tif")
    assert rows(found) == [("a", "a.png", "b.tif")]
    assert rows(layouts.pairs(picture(0, (6, 8, 3)), picture(1))) == [("0", "array", "array")]


def test_lists_of_files_take_their_stems_as_names_unless_these_repeat(tmp_path: Path) -> None:
    first, second = fill(tmp_path / "1", ["a.png", "b.tif"]), fill(tmp_path / "2", ["a.png"])
    io.write(first / "s.tif", Image(picture(3, (2, 6, 8)), "zyx"))
    names = layouts.pairs([first / "a.png", str(first / "s.tif"), picture(0)]).names
    assert names == ["a", "s[0]", "s[1]", "2"]
    assert layouts.pairs([first / "a.png", second / "a.png"]).names == ["0-a", "1-a"]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file or folder .*none\.tif: check the name"):
        layouts.pairs(tmp_path / "none.tif")
    with pytest.raises(DataError, match="The list is empty"):
        layouts.pairs([])
    (tmp_path / "a.doc").write_text("text")
    with pytest.raises(FormatError, match=r"suffix '\.doc'"):
        layouts.pairs(tmp_path / "a.doc")


def test_labels_in_equal_channels_are_gray_others_colours_or_refused(
    tmp_path: Path,
) -> None:
    label = picture(0)
    for name, axes in (("gray.png", "cyx"), ("gray.tif", "cyx")):
        io.write(tmp_path / name, Image(np.stack([label] * 3), axes))
        pair = layouts.pairs(picture(1), tmp_path / name)[0]
        assert pair.label is not None
        assert np.array_equal(pair.read_label().values, label)
    pair = layouts.pairs(picture(1), picture(0, (6, 8, 3)))[0]
    assert pair.read_label().coding == "colours"
    pair = layouts.pairs(picture(1), picture(0, (6, 8, 4)).astype(np.uint16))[0]
    with pytest.raises(DataError, match="label array has 4 channels that differ, of uint16"):
        pair.read_label()


def test_a_palette_is_read_as_indices_in_labels_only(shared_data: Path) -> None:
    voc = shared_data / "voc" / "VOCdevkit" / "VOC2012"
    images = [voc / "JPEGImages" / "2011_000003.jpg"]
    pair = layouts.pairs(images, [voc / "SegmentationClass" / "2011_000003.png"])[0]
    assert pair.label is not None
    assert pair.image.read().shape == (3, *pair.read_label().values.shape)
    assert set(np.unique(pair.read_label().values)) == {0, 5, 15, 255}  # chair, person, void


def test_listing_reads_no_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "f", ["a.png", "b.tif"])
    io.write(tmp_path / "stack.tif", Image(picture(0, (5, 6, 8)), "zyx"))
    content = bytearray((folder / "a.png").read_bytes())
    content[40:] = b""  # a damaged file is noticed when it is read, not before
    (folder / "a.png").write_bytes(content)
    asked: list[Any] = []
    monkeypatch.setattr(io.tiff.TiffPages, "__getitem__", lambda _, key: asked.append(key))
    found = layouts.pairs(folder)
    assert found.names == ["a", "b"]
    train, held = layouts.split(layouts.pairs(tmp_path / "stack.tif"), "3:5")
    assert (len(train), len(held), asked) == (3, 2, [])
    with pytest.raises(FormatError, match=r"a\.png is damaged or truncated"):
        found[0].image.read()


# ── what is shown ─────────────────────────────────────────────────────────────────────────────


def test_the_pairing_is_shown_in_a_few_lines(tmp_path: Path) -> None:
    images = fill(tmp_path / "images", [f"t{number}.png" for number in range(6)])
    labels = fill(tmp_path / "labels", [f"t{number}.tif" for number in range(6)])
    assert layouts.pairs(images, labels).describe().splitlines() == [
        "6 pairs, paired by file name",
        "  t0: images/t0.png + labels/t0.tif",
        "  t1: images/t1.png + labels/t1.tif",
        "  t2: images/t2.png + labels/t2.tif",
        "  ...",
        "  t5: images/t5.png + labels/t5.tif",
    ]
    assert layouts.pairs([picture(0)]).describe() == "1 image, without labels\n  0: list[0]"


# ── choosing ──────────────────────────────────────────────────────────────────────────────────

ends = st.none() | st.integers(-30, 30)


@settings(max_examples=60, deadline=None)
@given(start=ends, stop=ends, step=st.none() | st.integers(1, 4))
def test_ranges_are_pythons(start: int | None, stop: int | None, step: int | None) -> None:
    text = ":".join("" if end is None else str(end) for end in (start, stop))
    text += "" if step is None else f":{step}"
    want = list(range(30))[slice(start, stop, step)]
    if want:
        assert list(layouts.parse_range(text, 30) or []) == want
    else:
        with pytest.raises(DataError, match=f"The range {text} holds none of the 30 images"):
            layouts.parse_range(text, 30)


@pytest.fixture
def thirty() -> layouts.Pairs:
    return layouts.pairs([picture(number) for number in range(30)])


def test_images_are_chosen_by_position_range_and_name(
    thirty: layouts.Pairs, tmp_path: Path
) -> None:
    for choice, want in [
        ("24:30", [24, 25, 26, 27, 28, 29]),
        ("0,10, 20", [0, 10, 20]),
        ("-6:", [24, 25, 26, 27, 28, 29]),
        ("-1,0,0:2", [0, 1, 29]),
        (range(24, 26), [24, 25]),
        ([3, -2], [3, 28]),
    ]:
        assert layouts.select(thirty, choice).names == [str(number) for number in want]
    io.write(tmp_path / "em.tif", Image(picture(0, (3, 6, 8)), "zyx"))
    named = layouts.pairs([tmp_path / "em.tif", picture(1)])
    assert layouts.select(named, "em[1]").names == ["em[1]"]
    assert layouts.select(named, "em*").names == ["em[0]", "em[1]", "em[2]"]


@settings(max_examples=30, deadline=None)
@given(held=st.sets(st.integers(0, 9), min_size=1, max_size=9))
def test_a_split_parts_all_pairs_in_two(held: set[int]) -> None:
    ten = layouts.pairs(picture(0, (10, 6, 8)))
    train, out = layouts.split(ten, held)
    assert out.names == [str(number) for number in sorted(held)]
    assert sorted(train.names + out.names) == ten.names


def test_a_choice_of_nothing_says_what_would_work(thirty: layouts.Pairs) -> None:
    with pytest.raises(DataError, match=r"range 24:40 reaches beyond the 30 images.*0:30"):
        layouts.select(thirty, "24:40")
    with pytest.raises(DataError, match="no image 30: expected a position from 0 to 29, or from"):
        layouts.select(thirty, [30])
    for nothing in ("frame7", "", "2:3:0", "1.5"):
        with pytest.raises(DataError, match=f"'{nothing}' chooses no image.*names.*: 0, 1, 2, 3"):
            layouts.select(thirty, nothing)
    with pytest.raises(DataError, match="'' chooses no image"):
        layouts.select(thirty, [])
    with pytest.raises(DataError, match="All 30 images are held out"):
        layouts.split(thirty, "0:30")
    for share in ("0%", "100%"):
        with pytest.raises(DataError, match="leaves nothing on one side: expected 1% to 99%"):
            layouts.split(thirty, share)


def grouped(*members: tuple[str, str, Any]) -> layouts.Pairs:
    """Pairs of these names, groups and parts."""
    (one,) = layouts.pairs([picture(0)])
    return layouts.Pairs(
        tuple(
            layouts.Pair(name, one.image, one.image, group, part) for name, group, part in members
        ),
        "made up",
    )


def test_a_share_of_one_stack_is_the_block_at_its_end() -> None:
    stack = layouts.pairs(picture(0, (30, 6, 8)))
    train, held = layouts.split(stack, "20%")
    assert held is not None
    assert held.names == ["24", "25", "26", "27", "28", "29"]
    assert layouts.straddling(train, held) == []


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=8),
    share=st.integers(1, 99),
)
def test_a_share_of_several_groups_parts_none_of_them(sizes: list[int], share: int) -> None:
    names = [(f"{g}.{i}", f"g{g}", "") for g, size in enumerate(sizes) for i in range(size)]
    train, held = layouts.split(grouped(*names), f"{share}%")
    assert held is not None
    assert layouts.straddling(train, held) == []
    assert sorted(train.names + held.names) == sorted(name for name, _, _ in names)
    ends = [sum(sizes[-count:]) for count in range(1, len(sizes))]  # those that can be held out
    wanted = share / 100 * sum(sizes)
    assert abs(len(held) - wanted) <= min(abs(end - max(wanted, 1)) for end in ends) + 1


def test_groups_and_parts_are_chosen_by_their_names() -> None:
    pairs = grouped(
        *[(f"0001TP_{n}", "0001TP", "training") for n in range(3)],
        *[(f"0006R0_{n}", "0006R0", "validation") for n in range(2)],
        ("01/t000", "01", "test"),
    )
    for choice, want in [
        ("0006R0", [3, 4]),
        ("0006R0*", [3, 4]),
        ("01", [5]),  # a group before a position
        ("validation, test", [3, 4, 5]),
        ("0001TP_1,0001TP_2", [1, 2]),
    ]:
        chosen = layouts.select(pairs, choice)
        assert chosen.names == [pairs.names[place] for place in want]
    train, held = layouts.split(pairs, "0001TP_1,5")
    assert held is not None
    assert layouts.straddling(train, held) == ["0001TP"]
    with pytest.raises(DataError, match=r"chooses no image.*names of groups.*: 0001TP, 0006R0, 01"):
        layouts.select(pairs, "0007*")


def test_the_split_of_a_data_set_is_its_own() -> None:
    pairs = grouped(
        ("a", "", "training"), ("b", "", ""), ("c", "", "validation"), ("d", "", "test")
    )
    train, held = layouts.split(pairs)
    assert held is not None
    assert (train.names, held.names) == (["a", "b"], ["c", "d"])
    assert layouts.scored(pairs).names == ["c", "d"]
    assert layouts.scored(pairs, "0:2").names == ["a", "b"]
    train, held = layouts.split(pairs, "a")  # what is chosen stands for the split of the set
    assert train.names == ["b", "c", "d"]
    plain = grouped(("a", "", ""), ("b", "", "training"))
    assert layouts.split(plain)[1] is None
    assert layouts.scored(plain).names == ["a", "b"]
    assert layouts.scored(plain, held_out=("b",)).names == ["b"]
    assert layouts.scored(plain, held_out=("b", "elsewhere")).names == ["a", "b"]
    assert layouts.scored(plain, "a", held_out=("b",)).names == ["a"]
    assert layouts.scored(pairs, held_out=("a",)).names == ["a"]
    with pytest.raises(DataError, match="All 1 images are held out"):
        layouts.split(grouped(("a", "", "test")))


def test_groups_and_parts_are_shown() -> None:
    many = grouped(*[(f"{g}.{i}", f"g{g}", "") for g in range(9) for i in range(2)])
    assert "  groups: g0 (2), g1 (2), g2 (2), g3 (2), g4 (2) and 4 more" in many.describe()
    few = grouped(("a", "x", "test"), ("b", "y", ""))
    assert few.describe().splitlines()[1:3] == [
        "  groups: x (1), y (1)",
        "  parts: test (1), no part (1)",
    ]


def test_formats_of_volumes_decide_unless_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan is a volume by nature; here TIFF plays the part of such a format."""
    from dataclasses import replace

    table = tuple(replace(form, volumes=form.name == "TIFF") for form in io.FORMATS)
    monkeypatch.setattr("overtile.io.naming.FORMATS", table)
    for name in ("images", "labels"):
        fill(tmp_path / name, [])
        io.write(tmp_path / name / "a.tif", Image(picture(0, (3, 6, 8)), "zyx"))
    folders = (tmp_path / "images", tmp_path / "labels")
    files = tuple(folder / "a.tif" for folder in folders)
    for found in (
        layouts.pairs(tmp_path),
        layouts.pairs(*folders),
        layouts.pairs(*files),
        layouts.pairs([files[0]], [files[1]]),
        layouts.pairs(folders[0]),
    ):
        assert (len(found), found.dimensions) == (1, 3)
    assert layouts.pairs(folders[0]).describe().startswith("1 volume, without labels")
    assert layouts.pairs(*folders).describe().startswith("1 pair of volumes, paired by file name")
    assert len(layouts.pairs(tmp_path, dimensions=2)) == 3
    io.write(files[0], Image(picture(0), "yx"), overwrite=True)
    assert layouts.pairs(files[0]).dimensions == 2


# ── real data ─────────────────────────────────────────────────────────────────────────────────


def test_isbi_and_camvid_as_published(shared_data: Path) -> None:
    isbi = shared_data / "isbi2012"
    found = layouts.pairs(isbi / "train-volume.tif", isbi / "train-labels.tif")
    assert len(found) == 30
    assert found[29].image.read().shape == (1, 512, 512)
    assert set(np.unique(found[29].read_label().values)) == {0, 255}
    camvid = layouts.pairs(shared_data / "camvid" / "train", shared_data / "camvid" / "trainannot")
    assert len(camvid) == 62
    assert len(layouts.select(camvid, "0006R0*")) == 17  # one drive, as the README of the data says
