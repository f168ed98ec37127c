"""Data sets as their owners lay them out, made small: what is recognised of each."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from overtile import io, layouts
from overtile.errors import DataError, SettingsError
from overtile.image import Image
from overtile.labels import ClassHint
from overtile.layouts.openers import Objects
from overtile.layouts.pairlist import read_pairlist
from overtile.layouts.table import recognise
from overtile.layouts.tree import look


def draw(*names: str, under: Path, value: int = 1, axes: str = "yx") -> None:
    """Image files of one value each, with the folders that they lie in."""
    for name in names:
        path = under / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".jpg", ".jpeg", ".gif"):  # written by another library than ours
            from PIL import Image as Picture

            Picture.new("L", (6, 4), value).save(path)
        else:
            io.write(path, Image(np.full((2, 3, 4, 6)[-len(axes) :], value, np.uint8), axes))


def rows(pairs: layouts.Pairs) -> list[tuple[str, str, str]]:
    return [(p.name, p.image.origin, p.label.origin if p.label else "") for p in pairs]


# ── folders of images and masks ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("images", "labels", "part"),
    [
        ("images", "labels", ""),
        ("images", "masks", ""),
        ("img", "ann", ""),
        ("image", "label", ""),
        ("Images", "GT", ""),
        ("inputs", "ground truth", ""),
        ("train", "trainannot", "training"),
        ("train", "train_masks", "training"),
        ("test_images", "test_labels", "test"),
    ],
)
def test_common_names_of_folders(tmp_path: Path, images: str, labels: str, part: str) -> None:
    draw(f"{images}/a.png", f"{images}/b.tif", f"{labels}/a.png", f"{labels}/b.png", under=tmp_path)
    found = layouts.pairs(tmp_path)
    assert found.layout == "folders"
    assert rows(found) == [
        ("a", f"{images}/a.png", f"{labels}/a.png"),
        ("b", f"{images}/b.tif", f"{labels}/b.png"),
    ]
    assert {pair.part for pair in found} == {part}


@pytest.mark.parametrize("form", ["{}_mask", "{}_label", "{}.gt", "mask_{}", "seg-{}", "m{}.fin_x"])
def test_labels_that_are_named_otherwise(tmp_path: Path, form: str) -> None:
    for name in ("i_1", "i_2", "i_10"):
        draw(f"photos/{name}.png", f"other/{form.format(name)}.png", under=tmp_path)
    found = layouts.pairs(tmp_path / "photos", tmp_path / "other")
    assert [row[2] for row in rows(found)] == [
        f"other/{form.format(name)}.png" for name in ("i_1", "i_2", "i_10")
    ]
    assert "' + image" in found.how or "image + '" in found.how


def test_parts_inside_folders_and_folders_inside_parts(tmp_path: Path) -> None:
    for part in ("train", "val"):
        draw(f"1/images/{part}/a.png", f"1/masks/{part}/a.png", under=tmp_path)
        draw(f"2/{part}/images/a.png", f"2/{part}/masks/a_seg.png", under=tmp_path)
    for name, layout in (("1", "folders"), ("2", "tiles")):
        found = layouts.pairs(tmp_path / name)
        assert found.layout == layout
        assert [(p.name, p.part) for p in found] == [
            ("training/a", "training"),
            ("validation/a", "validation"),
        ]
    apart = layouts.pairs(tmp_path / "1" / "images", tmp_path / "1" / "masks")
    assert apart.names == ["training/a", "validation/a"]
    assert "parts: training (1), validation (1)" in apart.describe()


def test_parts_with_images_beside_their_masks(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        draw(f"{part}/{part}_1.jpg", f"{part}/{part}_1_mask.png", under=tmp_path)
        (tmp_path / part / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, crack")
    found = layouts.pairs(tmp_path)
    assert [(p.name, p.part) for p in found] == [("train_1", "training"), ("valid_1", "validation")]
    assert found.hints.classes == (ClassHint("background", 0), ClassHint("crack", 1))


def test_scenes_are_groups(tmp_path: Path) -> None:
    for scene in ("Tile 1", "Tile 2"):
        draw(f"{scene}/images/a.jpg", f"{scene}/masks/a.png", under=tmp_path)
    draw("spare/images/a.png", under=tmp_path)
    (tmp_path / "classes.json").write_text(
        '{"classes": [{"title": "Water", "color": "#50E3C2"}, '
        '{"title": "Unlabeled", "color": "#9B9B9B"}], "tags": []}'
    )
    found = layouts.pairs(tmp_path)
    assert (found.layout, found.names) == ("tiles", ["Tile 1/a", "Tile 2/a"])
    assert dict(found.groups) == {"Tile 1": 1, "Tile 2": 1}
    assert found.hints.classes == (ClassHint("Water", None, (0x50, 0xE3, 0xC2)),)
    assert found.hints.ignored == (0x9B9B9B,)
    assert found.aside == ("spare/",)
    assert "left aside, without label: spare/" in found.describe()


def test_a_mask_for_each_class_in_folders(tmp_path: Path) -> None:
    draw("images/a.png", "images/b.png", "masks/car/a.png", "masks/road/a.png", under=tmp_path)
    draw("masks/road/b.png", under=tmp_path)
    for found in (layouts.pairs(tmp_path), layouts.pairs(tmp_path / "images", tmp_path / "masks")):
        label = found[1].label
        assert label is not None
        assert label.open().channel_names == ("car", "road")
        assert np.asarray(label.open().data[:])[:, 0, 0].tolist() == [0, 1]
    draw("masks/road/c.png", under=tmp_path)
    with pytest.raises(DataError, match="masks of the class 'road', but c in it have no image"):
        layouts.pairs(tmp_path)
    draw("images/c.png", "images/d.png", under=tmp_path)
    with pytest.raises(DataError, match=r"image d\.png has no mask of any class .*car.d with any"):
        layouts.pairs(tmp_path)


def test_a_folder_of_objects_for_each_image(tmp_path: Path) -> None:
    draw("images/a.png", "images/b.png", "masks/a/1.png", "masks/a/2.png", under=tmp_path)
    draw("masks/b/1.png", under=tmp_path)
    found = layouts.pairs(tmp_path)
    assert rows(found)[0] == ("a", "images/a.png", "masks/a/1.png and 1 more")
    assert found[1].read_label().values.max() == 1
    draw("images/c.png", under=tmp_path)
    with pytest.raises(DataError, match=r"for each of 2 images, one file an object, but not for c"):
        layouts.pairs(tmp_path)


def test_two_folders_of_labels_are_refused(tmp_path: Path) -> None:
    draw("images/a.png", "masks/a.png", "labels/a.png", under=tmp_path)
    with pytest.raises(DataError, match=r"labels and masks fit the image images equally.*Give the"):
        layouts.pairs(tmp_path)
    assert len(layouts.pairs(tmp_path / "images", tmp_path / "masks")) == 1


def test_labels_without_an_image_are_named(tmp_path: Path) -> None:
    draw("images/a.png", "masks/a.png", "masks/b.png", under=tmp_path)
    with pytest.raises(DataError, match=r"1 of 2 labels .* have no image of the same name .*: b"):
        layouts.pairs(tmp_path)


# ── one folder with both ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", ["{}_mask", "gt-{}", "{}_tumour", "edges_{}"])
def test_images_beside_their_labels(tmp_path: Path, form: str) -> None:
    names = ["a1", "a2", "b_1"]
    draw(*[f"{name}.png" for name in names], under=tmp_path)
    draw(*[f"{form.format(name)}.tif" for name in names], under=tmp_path)
    found = layouts.pairs(tmp_path)
    assert found.layout == "together"
    assert rows(found) == [(n, f"{n}.png", f"{form.format(n)}.tif") for n in names]


def test_photographs_with_labels_of_the_same_name(tmp_path: Path) -> None:
    draw("a.jpg", "b.jpeg", "a.png", "b.tif", under=tmp_path)
    assert rows(layouts.pairs(tmp_path)) == [("a", "a.jpg", "a.png"), ("b", "b.jpeg", "b.tif")]
    draw("b.png", under=tmp_path)  # two labels
    with pytest.raises(DataError, match=r"several files of one name: a\.jpg, a\.png, b\.jpeg"):
        layouts.pairs(tmp_path)
    (tmp_path / "b.png").unlink()
    (tmp_path / "b.tif").unlink()
    with pytest.raises(DataError, match="several files of one name"):
        layouts.pairs(tmp_path)


@pytest.mark.parametrize("masks", ["{}", "train_masks/{}"])
def test_carvana(tmp_path: Path, masks: str) -> None:
    """Cars from all sides: masks as GIF where that format is known, in one folder or in two."""
    suffix = ".gif" if io.is_known(Path("a.gif")) else ".png"
    inside = "train/{}" if "/" in masks else "{}"
    for car in ("0cdf5b5d0ce1_01", "0cdf5b5d0ce1_10", "fff9b3a5373f_02"):
        draw(inside.format(f"{car}.jpg"), masks.format(f"{car}_mask{suffix}"), under=tmp_path)
    found = layouts.pairs(tmp_path)
    assert [(p.image.origin, p.label.origin) for p in found if p.label] == [
        (inside.format(f"{p.name}.jpg"), masks.format(f"{p.name}_mask{suffix}")) for p in found
    ]
    assert len(found) == 3


def test_a_pair_of_stacks(tmp_path: Path) -> None:
    draw("train-volume.tif", "train-labels.tif", "test-volume.tif", under=tmp_path, axes="zyx")
    found = layouts.pairs(tmp_path)
    assert found.names == ["train-volume[0]", "train-volume[1]", "train-volume[2]"]
    assert found.aside == ("test-volume",)
    assert dict(found.groups) == {"train-volume": 3}
    files = (tmp_path / "train-volume.tif", tmp_path / "train-labels.tif")
    assert [p.group for p in layouts.pairs(*files)] == ["train-volume"] * 3
    assert [p.group for p in layouts.pairs(np.ones((5, 6, 7)), np.ones((5, 6, 7)))] == ["stack"] * 5
    (volume,) = layouts.pairs(tmp_path, dimensions=3)
    assert volume.image.read().shape == (1, 3, 4, 6)


def test_a_mask_for_each_class_beside_the_image(tmp_path: Path) -> None:
    draw("a.png", "a_car.png", "a_road.png", "b.png", "b_road.png", under=tmp_path)
    found = layouts.pairs(tmp_path)
    assert (found.layout, found.names) == ("class-files", ["a", "b"])
    assert [pair.label.open().channel_names for pair in found if pair.label] == [
        ("car", "road")
    ] * 2


def test_two_layouts_that_fit_equally_well_are_refused(tmp_path: Path) -> None:
    draw("images/a.png", "masks/a.png", "b.png", "b_mask.png", under=tmp_path)
    with pytest.raises(DataError, match=r"folders \(1 pairs.*together \(1 pairs.*--layout folders"):
        layouts.pairs(tmp_path)
    assert layouts.pairs(tmp_path, layout="folders").names == ["a"]
    assert layouts.pairs(tmp_path, layout="together").names == ["b"]


def test_images_alone_stay_images(tmp_path: Path) -> None:
    draw("a_1.png", "a_2.png", "overview.png", under=tmp_path)
    found = layouts.pairs(tmp_path)
    assert (found.layout, found.names) == ("", ["a_1", "a_2", "overview"])
    with pytest.raises(DataError, match=r"no labels were found with them.*voc: JPEGImages"):
        layouts.check_labelled(found, tmp_path)
    with pytest.raises(DataError, match="What was given holds images, and no labels"):
        layouts.check_labelled(layouts.pairs(np.ones((5, 6))), np.ones((5, 6)))


# ── known data sets ───────────────────────────────────────────────────────────────────────────


def films(root: Path) -> None:
    draw(*[f"0{film}/t00{frame}.tif" for film in (1, 2) for frame in (0, 1, 2)], under=root)
    draw("01_GT/SEG/man_seg000.tif", "02_GT/SEG/man_seg002.tif", under=root, value=1)
    draw("02_GT/SEG/man_seg_000_001.tif", "01/overview.tif", under=root)
    draw("01_ST/SEG/man_seg001.tif", "01_ST/SEG/man_seg002.tif", under=root, value=2)


def test_cell_tracking_takes_silver_before_gold(tmp_path: Path) -> None:
    films(tmp_path / "set")
    found = layouts.pairs(tmp_path)  # the folder above
    assert (found.layout, found.hints.kind) == ("ctc", "instances")
    assert [(p.name, p.group, p.read_label().values[0, 0]) for p in found] == [
        ("01/t001", "01", 2),
        ("01/t002", "01", 2),
        ("02/t002", "02", 1),
    ]
    assert found.aside == ("01/t000", "02/t000", "02/t001")
    assert "silver and gold labels, which in some frames may be" in found.how
    gold = layouts.pairs(tmp_path / "set", layout="ctc-gold")
    assert [(p.name, p.read_label().values[0, 0]) for p in gold] == [("01/t000", 1), ("02/t002", 1)]


def test_cells_of_the_challenge_are_known_by_their_names(tmp_path: Path) -> None:
    """Given as folders, as lists and as one file; other names say nothing."""
    names = ("man_seg000.tif", "man_seg001.tif")
    draw(*[f"SEG/{name}" for name in names], "other/t000.tif", "other/t001.tif", under=tmp_path)
    draw("01/000.tif", "01/001.tif", under=tmp_path)
    images = [tmp_path / "01" / f"00{n}.tif" for n in range(2)]
    labels = [tmp_path / "SEG" / name for name in names]
    for pairs in (
        layouts.pairs(tmp_path / "01", tmp_path / "SEG"),
        layouts.pairs(images, labels),
        layouts.pairs(images[0], labels[0]),
    ):
        assert pairs.hints.kind == "instances"
    assert layouts.pairs(images, [labels[0], tmp_path / "other" / "t001.tif"]).hints.kind is None
    assert layouts.pairs([np.ones((5, 6))], [np.ones((5, 6), int)]).hints.kind is None


def test_cell_tracking_in_three_dimensions(tmp_path: Path) -> None:
    draw("Fluo-N3DH/01/t000.tif", "Fluo-N3DH/01_GT/SEG/man_seg000.tif", under=tmp_path, axes="zyx")
    found = layouts.pairs(tmp_path / "Fluo-N3DH")
    assert (len(found), found.dimensions) == (1, 3)
    assert "1 pair of volumes, gold labels" in found.describe()
    assert len(layouts.pairs(tmp_path, dimensions=2)) == 3


def test_one_file_for_each_nucleus(tmp_path: Path) -> None:
    draw("x/images/x.png", *[f"x/masks/{n}.png" for n in "abcde"], under=tmp_path)
    draw("y/images/y.png", "y/masks/f.png", "z/images/z.png", under=tmp_path)
    found = layouts.pairs(tmp_path)
    assert (found.layout, found.hints.kind) == ("dsb2018", "instances")
    assert rows(found) == [
        ("x", "x/images/x.png", "x/masks (5 files)"),
        ("y", "y/images/y.png", "y/masks/f.png"),
    ]
    assert found.aside == ("z",)


def pascal(root: Path) -> Path:
    draw(*[f"JPEGImages/{name}.jpg" for name in "abcd"], under=root)
    draw(*[f"SegmentationClass/{name}.png" for name in "abc"], under=root)
    draw(*[f"SegmentationObject/{name}.png" for name in "ab"], under=root)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\nd\n")
    return root


def test_pascal_voc(tmp_path: Path) -> None:
    pascal(tmp_path / "VOCdevkit" / "VOC2012")
    found = layouts.pairs(tmp_path)
    assert [(p.name, p.part) for p in found] == [("a", "training"), ("b", "validation"), ("c", "")]
    assert found.aside == ("d",)
    assert len(found.hints.classes) == 21
    assert found.hints.classes[15] == ClassHint("person", 15)
    assert (found.hints.ignored, found.hints.kind) == ((255,), "classes")
    objects = layouts.pairs(tmp_path, layout="voc-objects")
    assert (objects.names, objects.hints.kind) == (["a", "b"], "instances")
    pascal(tmp_path / "VOCdevkit" / "VOC2007")
    with pytest.raises(DataError, match=r"several data sets: .*VOC2007 \(voc\); .*VOC2012 \(voc\)"):
        layouts.pairs(tmp_path)


def test_damaged_pascal_voc(tmp_path: Path) -> None:
    root = pascal(tmp_path / "voc")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"val\.txt cannot be read as a list of names"):
        layouts.pairs(root)
    draw("SegmentationClass/e.png", under=root)
    with pytest.raises(DataError, match=r"labels without an image of the same name .*: e"):
        layouts.pairs(root)


def test_camvid_knows_its_classes_and_drives(tmp_path: Path) -> None:
    for part, name in (("train", "0001TP_1"), ("val", "0016E5_2"), ("test", "Seq05VD_f3")):
        draw(f"{part}/{name}.png", f"{part}annot/{name}.png", under=tmp_path)
    found = layouts.pairs(tmp_path)
    assert found.layout == "camvid"
    assert {(p.group, p.part) for p in found} == {
        ("0001TP", "training"),
        ("0016E5", "validation"),
        ("Seq05VD", "test"),
    }
    assert (found.hints.classes[8].name, found.hints.ignored) == ("Car", (11,))
    draw("train/other.png", "trainannot/other.png", under=tmp_path)
    assert layouts.pairs(tmp_path).layout == "folders"


def test_nnunet_of_both_dialects(tmp_path: Path) -> None:
    one, two = tmp_path / "Task01", tmp_path / "Dataset002"
    draw("imagesTr/a_0000.png", "imagesTr/a_0001.png", "labelsTr/a.png", under=two)
    draw("imagesTs/b_0000.png", "imagesTs/b_0001.png", under=two)
    about = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "tumour": 1, "whole": [1, 2], "ignore": 3},
        "numTraining": 1,
        "file_ending": ".png",
    }
    (two / "dataset.json").write_text(json.dumps(about))
    found = layouts.pairs(two)
    assert (found.layout, found.names, found.aside) == ("nnunet", ["a"], ("b",))
    image = found[0].image.open()
    assert (image.axes, image.data.shape, image.channel_names) == ("cyx", (2, 4, 6), ("T1", "T2"))
    assert found.hints.classes == (ClassHint("background", 0), ClassHint("tumour", 1))
    assert (found.hints.ignored, found.hints.modalities) == ((3,), ("T1", "T2"))
    assert "2 files for each image" in found.how

    for name in ("imagesTr/a", "labelsTr/a", "imagesTs/b", "labelsTs/b"):
        path = one / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    about = {
        "tensorImageSize": "3D",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "Anterior"},
    }
    (one / "dataset.json").write_text(json.dumps(about))
    known = recognise(one)
    assert known is not None
    assert known.found.volumes
    assert [(row.name, row.part) for row in known.found.rows] == [("a", "training"), ("b", "test")]
    assert known.found.hints.classes == (ClassHint("background", 0), ClassHint("Anterior", 1))
    assert known.found.hints.modalities == ("MRI",)


def test_damaged_nnunet(tmp_path: Path) -> None:
    draw("imagesTr/a.png", "labelsTr/b.png", under=tmp_path)
    about = tmp_path / "dataset.json"
    for text, said in (
        ("{", r"dataset\.json cannot be read as JSON"),
        ("[1]", "describes no data set"),
        ('{"file_ending": ".png"}', r"labelsTr .* holds b, and imagesTr no image of it: .*b_0000"),
        ('{"labels": 3}', r"no case with both .* names end in \.nii\.gz"),
    ):
        about.write_text(text)
        with pytest.raises(DataError, match=said):
            layouts.pairs(tmp_path)


# ── a CSV of pairs ────────────────────────────────────────────────────────────────────────────


def test_a_csv_of_pairs(tmp_path: Path) -> None:
    draw("i/a.png", "i/b.png", "i/c.png", "x/l.png", "x/m.png", "j/a.png", under=tmp_path)
    table = tmp_path / "pairs.csv"
    table.write_text(
        "\ufeffImage,mask,group,split\n i/a.png,x/l.png,g1,train\n\ni/b.png,x\\m.png,g2,val\n"
        "i/c.png,,,\nj/a.png,x/l.png,g2,test\n",
        encoding="utf-8",
    )
    for path in (table, tmp_path):
        found = layouts.pairs(path)
        assert found.layout == "csv"
        assert [(p.name, p.group, p.part) for p in found] == [
            ("training/g1/a", "g1", "training"),
            ("validation/g2/b", "g2", "validation"),
            ("test/g2/a", "g2", "test"),
        ]
        assert found.aside == ("c",)
        assert found.describe().startswith("Layout csv: 3 pairs, listed in pairs.csv")
    table.write_text("image,mask\ni/a.png,x/l.png\nj/a.png,x/l.png\n")
    assert layouts.pairs(table).names == ["0-a", "1-a"]


def test_several_files_in_a_csv_are_channels(tmp_path: Path) -> None:
    draw("a.png", "b.png", "l.png", "m.png", under=tmp_path)
    table = tmp_path / "pairs.csv"
    for text, names in (
        ("image;label\na.png;l.png\n", None),
        ("image_1\timage_2\tlabel_road\tlabel_car\na.png\tb.png\tl.png\t\n", ("road", "car")),
        ("image,mask\na.png;b.png,l.png; m.png\n", ("1", "2")),
    ):
        table.write_text(text)
        (pair,) = layouts.pairs(table)
        assert pair.image.read().shape[0] == (1 if names is None else 2)
        assert pair.label is not None
        assert pair.label.open().channel_names == (names or ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "begins with ''"),
        ("name,size\n", r"begins with 'name,size': expected a first line such as 'image,label'"),
        ("image,label\n", "lists no image with a label"),
        ("image,label\na.png,b.png\n", r"line 2: there is no file .*b\.png"),
        ("image,label\n,a.png\n", "line 2: there is no image"),
        ("image,label,split\na.png,a.png,later\n", "'later' is no part: expected train"),
        (f"image,label\n{'x' * 400},a.png\n", "line 2: there is no file"),
        ("image,label\na.png,\xff\n", "cannot be read as a CSV of pairs"),
        (f"image,label\na.png,{'x' * 200_000}\n", "cannot be read as a CSV of pairs: field larger"),
    ],
)
def test_a_csv_that_is_not_understood(tmp_path: Path, text: str, said: str) -> None:
    draw("a.png", under=tmp_path)
    (tmp_path / "pairs.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=said):
        layouts.pairs(tmp_path / "pairs.csv")


def test_another_csv_beside_images_is_passed_over(tmp_path: Path) -> None:
    draw("images/a.png", "masks/a.png", under=tmp_path)
    for text in ("image,label\nimages/a.png,cat\n", "", "image,label", "a,b\n1,2\n", "x" * 200_000):
        (tmp_path / "table.csv").write_text(text)
        assert layouts.pairs(tmp_path).layout == "folders"
    (tmp_path / "table.csv").write_bytes(b"image,label\n\xff,\xff\n")
    assert layouts.pairs(tmp_path).layout == "folders"


def test_two_csv_are_refused(tmp_path: Path) -> None:
    draw("a.png", "l.png", under=tmp_path)
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text("image,label\na.png,l.png\n")
    with pytest.raises(DataError, match=r"several lists of pairs: one\.csv, two\.csv"):
        layouts.pairs(tmp_path)


# ── tables of classes ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "text", "classes", "ignored"),
    [
        ("classes.txt", "sky\nroad\n", [("sky", 0, None), ("road", 1, None)], ()),
        ("label_colors.txt", "64 128 64\tAnimal\n0 0 0 Void", [("Animal", None, (64, 128, 64))], 0),
        ("class_dict.csv", "name,r,g,b\nroad,1,2,3\n", [("road", None, (1, 2, 3))], ()),
        ("classes.txt", "facade\nwall, old\n", [("facade", 0, None), ("wall, old", 1, None)], ()),
        ("labels.csv", "class,value\nroad,7\nvoid,9\n", [("road", 7, None)], 9),
        ("legend.csv", "name,r,g,b,id\nroad,1,2,3,7\n", [("road", 7, (1, 2, 3))], ()),
        ("legend.json", '[{"name": "a", "id": 7, "hex": "010203"}]', [("a", None, (1, 2, 3))], ()),
        ("classes.json", '["a", "b"]', [("a", 0, None), ("b", 1, None)], ()),
        ("classes.json", '{"a": 3, "b": [1, 2, 3]}', [("a", 3, None), ("b", None, (1, 2, 3))], ()),
        ("classes.json", '[{"name": "a", "id": 4}]', [("a", 4, None)], ()),
        ("labels.json", '{"images": [], "categories": []}', [], ()),
        ("notes.txt", "sky", [], ()),
    ],
)
def test_class_tables(
    tmp_path: Path, name: str, text: str, classes: list[tuple[object, ...]], ignored: object
) -> None:
    draw("images/a.png", "masks/a.png", under=tmp_path)
    (tmp_path / name).write_text(text)
    hints = layouts.pairs(tmp_path).hints
    assert [(c.name, c.value, c.colour) for c in hints.classes] == classes
    assert hints.ignored == (ignored if isinstance(ignored, tuple) else (ignored,))


def test_a_damaged_class_table_is_named_and_a_large_one_passed_over(tmp_path: Path) -> None:
    draw("images/a.png", "masks/a.png", under=tmp_path)
    (tmp_path / "classes.json").write_text("{")
    with pytest.raises(DataError, match=r"classes\.json cannot be read as a table of classes"):
        layouts.pairs(tmp_path)
    (tmp_path / "classes.json").write_text("{" * (2 << 20))
    assert layouts.pairs(tmp_path).hints.classes == ()


# ── what is asked for, and folders as they should not be ──────────────────────────────────────


def test_a_layout_that_is_asked_for(tmp_path: Path) -> None:
    draw("a.png", under=tmp_path)
    with pytest.raises(SettingsError, match=r"no layout 'coco'\. Known are: nnunet: dataset\.json"):
        layouts.pairs(tmp_path, layout="coco")
    with pytest.raises(DataError, match="does not have the layout voc: expected JPEGImages and"):
        layouts.pairs(tmp_path, layout="voc")
    with pytest.raises(SettingsError, match="layout voc tells where labels lie, and labels were"):
        layouts.pairs(tmp_path, tmp_path / "a.png", layout="voc")
    with pytest.raises(SettingsError, match="layout voc is that of a folder, and another thing"):
        layouts.pairs(np.ones((5, 6)), layout="voc")


def test_links_that_loop_are_passed_over(tmp_path: Path) -> None:
    draw("set/images/a.png", "set/masks/a.png", under=tmp_path)
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "set" / "loop").symlink_to(tmp_path / "set" / "loop")
    (tmp_path / "set" / "images" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    found = layouts.pairs(tmp_path)
    assert (found.layout, found.names) == ("tiles", ["a"])
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "self").symlink_to(empty)
    with pytest.raises(DataError, match=r"empty holds no image: .* the folders self"):
        layouts.pairs(empty)


def test_what_cannot_be_read_is_a_clear_error(tmp_path: Path) -> None:
    draw("a.png", under=tmp_path)
    with pytest.raises(DataError, match=r"The folder .*a\.png cannot be read: Not a directory"):
        look(tmp_path / "a.png")
    for content in (tmp_path / ("x" * 300), tmp_path / ("x" * 300 + ".png")):
        for given in (content, [content]):
            with pytest.raises(DataError, match="cannot be reached: File name too long"):
                layouts.pairs(given)


def test_names_that_are_no_utf8_are_read_and_shown_with_an_escape(tmp_path: Path) -> None:
    strange = os.fsdecode(b"caf\xe9")
    draw("one/images/a.png", "one/masks/a.png", under=tmp_path)
    for path in ("one/images/{}.png", "one/masks/{}.png", "{}"):
        old = tmp_path / path.format("a" if "." in path else "one")
        old.rename(tmp_path / path.format(strange))
    draw("two/images/a.png", "two/masks/a.png", under=tmp_path)
    found = layouts.pairs(tmp_path)
    assert [(p.name, p.group) for p in found] == [(r"caf\udce9",) * 2, ("a", "two")]
    assert found[0].image.read().shape == (1, 4, 6)


def test_files_that_are_known_by_their_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A format may know its files by more than their names, as DICOM does."""
    for name in ("IM1", "notes"):
        (tmp_path / name).touch()
    monkeypatch.setattr(io, "is_known", lambda path: path.name == "IM1")
    found = look(tmp_path)
    assert found.images == (tmp_path / "IM1",)
    assert found.others == (tmp_path / "notes",)


def test_names_and_lists_decide_before_any_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films(tmp_path / "ctc")
    pascal(tmp_path / "voc")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(io, "open", refuse)
    for name in ("ctc", "voc"):
        known = recognise(tmp_path / name)
        assert known is not None
        assert known.layout == name


# ── real data ─────────────────────────────────────────────────────────────────────────────────

REAL = [
    ("isbi2012", "together", 30, {"train-volume": 30}, {"": 30}, 1),
    ("ctc", "ctc", 21, {"01": 21}, {"": 21}, 9),
    ("dsb2018", "dsb2018", 206, None, {"": 206}, 0),
    ("dubai", "tiles", 54, {f"Tile {number}": 9 for number in range(1, 7)}, {"": 54}, 0),
    ("camvid", "camvid", 62, {"0001TP": 11, "0006R0": 17, "0016E5": 34}, {"training": 62}, 0),
    ("voc", "voc", 3, None, {"training": 2, "validation": 1}, 0),
    ("multiband", "together", 1, None, {"": 1}, 0),
    ("volumes", "together", 31, {"nuclei3d_image": 31}, {"": 31}, 0),
]
"""Folder, layout, pairs, groups (None: each image its own), parts, and images left aside."""


@pytest.mark.parametrize(("name", "layout", "count", "groups", "parts", "aside"), REAL)
def test_real_data_are_recognised(
    shared_data: Path,
    name: str,
    layout: str,
    count: int,
    groups: dict[str, int] | None,
    parts: dict[str, int],
    aside: int,
) -> None:
    found = layouts.pairs(shared_data / name)
    assert (found.layout, len(found), len(found.aside)) == (layout, count, aside)
    assert dict(found.groups) == (groups or dict.fromkeys(found.names, 1))
    assert {part: [p.part for p in found].count(part) for part in parts} == parts
    assert found.dimensions == 2
    image, label = found[0].image.read(), found[0].label
    assert label is not None
    assert label.open().data.shape[-2:] == image.shape[1:]


def test_the_real_decathlon(shared_data: Path) -> None:
    known = recognise(shared_data / "msd")
    assert known is not None
    found = known.found
    assert (known.layout, len(found.rows), found.volumes) == ("nnunet", 60, True)
    assert [c.name for c in found.hints.classes] == ["background", "Anterior", "Posterior"]
    assert found.hints.modalities == ("MRI",)


def test_every_real_nucleus_has_an_id(shared_data: Path) -> None:
    found = layouts.pairs(shared_data / "dsb2018")
    for pair in found.members[::30]:
        assert pair.label is not None
        content = pair.label.content
        assert isinstance(content, Objects)
        ids = np.unique(pair.read_label().values)
        assert np.array_equal(ids[ids > 0], np.arange(1, len(content.paths) + 1))


def test_gold_of_real_films(shared_data: Path) -> None:
    gold = layouts.pairs(shared_data / "ctc", layout="ctc-gold")
    assert gold.names == [f"01/t{number:03}" for number in (2, 5, 21, 31, 33, 34, 39, 54, 67)]


def test_several_real_data_sets_are_not_one(shared_data: Path) -> None:
    with pytest.raises(DataError, match=r"holds several data sets: .*camvid.*Give the one"):
        layouts.pairs(shared_data)


def test_a_pipe_is_no_csv(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pairs.csv")
    with pytest.raises(DataError, match="cannot be read as a CSV of pairs: it is a pipe"):
        read_pairlist(tmp_path / "pairs.csv")
