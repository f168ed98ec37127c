"""Labels in colour: RGB, palettes that agree or differ, tables of names, repair."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow

from overtile import io, jobs, layouts
from overtile.cli import main
from overtile.doctor import examine
from overtile.errors import DataError, SettingsError
from overtile.file_to_file import PredictOptions
from overtile.image import Image
from overtile.labels import ClassHint, Hints, Label, LabelMeaning, told, understand
from overtile.labels.told import read_table
from overtile.layouts.source import Source
from overtile.legend import Legend
from overtile.segmenter import load
from overtile.settings import (
    LabelSettings,
    NamedClass,
    Settings,
    UNetSettings,
    WindowSettings,
    from_yaml,
    to_yaml,
)

PHOTO = np.random.default_rng(0).integers(0, 255, (20, 24), np.uint8)
BLACK = (0, 0, 0)


def read(path: Path) -> Label:
    return Source(path.name, path, is_label=True).read_label(Source("", path))


def class_ids(seed: int, count: int, shape: tuple[int, int] = (20, 24)) -> NDArray[np.uint8]:
    """Each of some classes in at least ten pixels."""
    random = np.random.default_rng(seed)
    ids = np.repeat(np.arange(count), 10)
    ids = np.concatenate([ids, random.integers(0, count, shape[0] * shape[1] - ids.size)])
    return random.permutation(ids).reshape(shape).astype(np.uint8)


def colours(seed: int, count: int) -> NDArray[np.uint8]:
    """Different ones, in the order of their codes, none of them gray."""
    random = np.random.default_rng(seed)
    codes = random.choice(np.arange(1, 2**24, 7), count, replace=False)
    return np.stack([np.sort(codes) >> 16, np.sort(codes) >> 8 & 255, np.sort(codes) & 255], 1)


def save(path: Path, ids: NDArray[np.uint8], table: NDArray[Any], way: str, seed: int = 0) -> Label:
    """Write class ids in colour as Pillow does, and read them: RGB, or a palette in any order."""
    table = table.astype(np.uint8)
    if way == "rgb":
        picture = Pillow.fromarray(table[ids])
    else:
        order = np.arange(len(table))
        if way == "shuffled":
            order = np.random.default_rng(seed).permutation(len(table))
        picture = Pillow.fromarray(np.argsort(order)[ids].astype(np.uint8))
        picture.putpalette(table[order].tobytes())
    picture.save(path)
    return read(path)


class TestColours:
    @given(st.integers(0, 1000), st.integers(2, 12))
    @settings(max_examples=20, deadline=None)
    def test_one_map_is_the_same_however_it_is_coded(
        self, tmp_path_factory: pytest.TempPathFactory, seed: int, count: int
    ) -> None:
        """As numbers, as RGB, in one palette, in a palette of its own for every file."""
        folder, table = tmp_path_factory.mktemp("coded"), colours(seed, count)
        maps = [class_ids(seed + number, count) for number in range(3)]
        numbers = understand(maps, "classes")
        for way in ("rgb", "palette", "shuffled"):
            labels = [
                save(folder / f"{way}{n}.png", ids, table, way, seed + n)
                for n, ids in enumerate(maps)
            ]
            meaning = understand(labels, "classes")
            for label, ids in zip(labels, maps, strict=True):
                found = meaning.class_map(label)
                assert np.array_equal(np.array(meaning.colours)[found], table[ids])
                if meaning.coding == "colours" or way == "palette":  # both in the order of codes
                    assert np.array_equal(found, numbers.class_map(ids))

    def test_palettes_and_rgb_in_one_set(self, tmp_path: Path) -> None:
        table, ids = np.array([BLACK, (255, 0, 0), (9, 200, 30)]), class_ids(0, 3)
        ways = {"rgb": 0, "palette": 1, "shuffled": 2}
        labels = [save(tmp_path / f"{way}.png", ids, table, way, n) for way, n in ways.items()]
        meaning = understand(labels)
        assert meaning.coding == "colours"
        assert meaning.names == ("#000000", "#09C81E", "#FF0000")
        assert meaning.background == 0  # black
        for label in labels:
            assert np.array_equal(meaning.class_map(label), np.array([0, 2, 1])[ids])

    def test_gray_among_colours_is_a_colour(self) -> None:
        gray = np.where(class_ids(0, 2) > 0, 255, 0).astype(np.uint8)
        red = Label(np.where(gray > 0, 0xFF0000, 0xFFFFFF), "colours")
        meaning = understand([gray, red])
        assert meaning.values == (0, 0xFF0000, 0xFFFFFF)
        assert np.array_equal(meaning.class_map(gray), np.where(gray > 0, 2, 0))
        with pytest.raises(DataError, match="value 300, and other labels of the set are in colour"):
            understand([gray.astype(int) + 45, red])

    def test_palettes_that_agree_leave_numbers(self, tmp_path: Path) -> None:
        table = np.array([BLACK, (128, 0, 0), (0, 128, 0)])
        label = save(tmp_path / "a.png", class_ids(0, 3), table, "palette")
        assert label.palette[:3] == tuple(map(tuple, table.tolist()))
        meaning = understand([label])
        assert (meaning.coding, meaning.values) == ("numbers", (0, 1, 2))
        assert meaning.colours == tuple(map(tuple, table.tolist()))

    @pytest.mark.parametrize("way", ["rgb", "shuffled"])
    def test_a_label_coded_otherwise_is_read_by_its_colours(self, tmp_path: Path, way: str) -> None:
        """As in an evaluation, where the model learnt from numbers with a palette."""
        table, ids = colours(3, 4), class_ids(0, 4)
        meaning = understand([save(tmp_path / "a.png", ids, table, "palette")], "classes")
        assert meaning.coding == "numbers"
        other = save(tmp_path / "b.png", ids, table, way, 5)
        assert np.array_equal(meaning.class_map(other), ids)
        foreign = save(tmp_path / "c.png", ids, colours(4, 4), way, 5)
        with pytest.raises(DataError, match=r"holds the colour #.* none of those that the other"):
            meaning.class_map(foreign)

    def test_rare_colours_without_a_name_are_left_unlabelled(self) -> None:
        codes = np.repeat([[0x112233, 0x445566]], 200, axis=0).repeat(100, axis=1)
        codes[5, 5] = 0x010203
        meaning = understand([Label(codes, "colours")])
        assert meaning.values == (0x112233, 0x445566)
        assert "#010203 (0.0025% of all pixels) without a name and so rare" in meaning.reason
        assert meaning.class_map(Label(codes, "colours"))[5, 5] == -1
        named = Hints((ClassHint("dot", colour=(1, 2, 3)),))
        assert understand([Label(codes, "colours")], hints=named).names[0] == "dot"

    def test_a_slip_in_a_label_that_comes_later_is_left_unlabelled(self) -> None:
        codes = np.where(class_ids(0, 2, (40, 60)) > 0, 0xFF0000, 0x00FF00)
        meaning = understand([Label(codes, "colours")])
        before = meaning.class_map(Label(codes, "colours"))
        codes[0, :4] = 0
        after = meaning.class_map(Label(codes, "colours"))
        assert (after[0, :4] == -1).all()
        after[0, :4] = before[0, :4]
        assert np.array_equal(after, before)
        codes[0] = 0
        with pytest.raises(DataError, match="the colour #000000, which is none of the classes"):
            meaning.class_map(Label(codes, "colours"))

    def test_a_photograph_is_refused(self) -> None:
        codes = np.random.default_rng(0).integers(0, 2**24, (40, 40))
        with pytest.raises(DataError, match=r"1600 different colours \(#.*saved as JPEG"):
            understand([Label(codes, "colours")])
        with pytest.raises(DataError, match="All labels hold the colour #0000FF everywhere"):
            understand([Label(np.full((9, 9), 255), "colours")])

    def test_objects_in_colours(self) -> None:
        ids = np.kron(np.arange(6).reshape(2, 3), np.ones((4, 4), int))
        label = Label(np.array([0, 9, 0xFF0000, 0x00FF00, 0x123456, 0xFFFFFF])[ids], "colours")
        meaning = understand([label], "instances")
        assert np.array_equal(meaning.class_map(label), ids > 0)
        found = meaning.objects(label)
        assert len(np.unique(found)) == 6
        assert all(len(np.unique(found[ids == number])) == 1 for number in range(6))
        assert not found[ids == 0].any()
        assert found.max() == 5

    def test_nan_is_not_labelled(self) -> None:
        label = class_ids(0, 3).astype(np.float32)
        label[:3] = np.nan
        meaning = understand([label])
        assert meaning.values == (0, 1, 2)
        expected = np.where(np.isnan(label), -1, label)
        assert np.array_equal(meaning.class_map(label), expected)
        assert (understand([label], "instances").class_map(label)[:3] == -1).all()


class TestWritten:
    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_class_ids_come_back_with_their_colours(self, tmp_path: Path, suffix: str) -> None:
        table, ids = colours(1, 5), class_ids(0, 5)
        legend = Legend(("straße", "b", "c", "d", "e"), tuple(map(tuple, table.tolist())))
        io.write(tmp_path / f"a{suffix}", Image(ids, "yx"), legend=legend, content="classes")
        label = read(tmp_path / f"a{suffix}")
        meaning = understand([label], "classes")
        assert np.array_equal(meaning.class_map(label), ids)
        if suffix == ".png":
            assert np.array_equal(meaning.colours, table)
            with Pillow.open(tmp_path / "a.png") as picture:
                first = picture.text["Classes"].splitlines()[0]
            assert first == "0 straße #{:02X}{:02X}{:02X} (background)".format(*table[0])


class TestPictures:
    def test_a_class_0_that_is_no_background_is_shown(self) -> None:
        legend = Legend(("a", "b"), ((1, 1, 1), (2, 2, 2)), None)
        assert legend.pictured.names == ("no class", "a", "b")
        assert legend.pictured_ids(np.array([-1, 0, 1])).tolist() == [-1, 1, 2]
        known = Legend(("a", "b"), ((1, 1, 1), (2, 2, 2)))
        assert known.pictured is known
        assert known.pictured_ids(np.array([-1, 0, 1])).tolist() == [-1, 0, 1]

    def test_of_classes_that_overlap_the_last_is_shown(self) -> None:
        legend = Legend(("a", "b"), ((1, 1, 1), (2, 2, 2)), None)
        layers = np.array([[0, 1, 0, 1, -1], [0, 0, 1, 1, -1]])
        assert legend.pictured_ids(layers, overlap=True).tolist() == [0, 1, 2, 2, -1]


class TestTold:
    def test_names_ignored_and_background(self) -> None:
        hints = Hints((ClassHint("void", 7), ClassHint("road", 2), ClassHint("_background_", 1)))
        label = np.array([[1, 2, 7, 11, 2]])
        meaning = understand([label], hints=told(LabelSettings(ignore=(11,)), hints))
        assert meaning.values == (1, 2)
        assert meaning.names == ("_background_", "road")
        assert meaning.background == 0
        assert meaning.class_map(label).tolist() == [[0, 1, -1, -1, 1]]
        assert "7 (void) = not labelled" in meaning.reason

    def test_only_background_is_black(self) -> None:
        label = np.array([[0, 1, 2, 1]])
        streets = Hints((ClassHint("sky", 0), ClassHint("road", 1), ClassHint("tree", 2)))
        colours = understand([label], "classes", streets).colours
        assert len(set(colours)) == 3
        assert (0, 0, 0) not in colours
        assert understand([label]).colours[0] == (0, 0, 0)

    def test_the_background_is_the_first_class(self) -> None:
        hints = Hints((ClassHint("cell", 0), ClassHint("Background", 9), ClassHint("dog", 4)))
        label = np.array([[0, 9, 9, 0, 5]])
        meaning = understand([label], "classes", hints)
        assert meaning.names == ("Background", "cell", "class 5")
        assert meaning.class_map(label).tolist() == [[1, 0, 0, 1, 2]]
        assert "as you said" in meaning.reason
        assert "Named, but in no label: dog. In labels, but without a name: 5." in meaning.reason

    def test_without_a_background_among_the_names_there_is_none(self) -> None:
        hints = Hints((ClassHint("sky", 0), ClassHint("road", 1)))
        assert understand([np.array([[0, 1]])], hints=hints).background is None

    def test_classes_of_one_name_are_told_apart(self) -> None:
        hints = Hints((ClassHint("car", 0), ClassHint("car", 1)))
        assert understand([np.array([[0, 1]])], hints=hints).names == ("car (0)", "car (1)")

    def test_the_layout_may_know_the_kind(self) -> None:
        meaning = understand([np.array([[0, 1, 0, 2]])], hints=Hints(kind="instances"))
        assert meaning.kind == "instances"
        assert "as the data set says" in meaning.reason

    def test_ignored_colours_of_a_palette(self, tmp_path: Path) -> None:
        table = np.array([BLACK, (128, 0, 0), (0x9B, 0x9B, 0x9B)])
        ids = class_ids(0, 3)
        label = save(tmp_path / "a.png", ids, table, "palette")
        hints = told(LabelSettings(ignore=("#9b9b9b",)), Hints())
        assert np.array_equal(understand([label], hints=hints).class_map(label) == -1, ids == 2)

    def test_what_users_say_stands_in_the_settings(self) -> None:
        says = LabelSettings(
            kind="classes",
            ignore=("11", "#9b9b9b", -3),
            colours=(NamedClass(name="road", colour="#6EC1E4"),),
        )
        assert says.ignore == (11, "#9B9B9B", -3)
        text = to_yaml(Settings(labels=says))
        assert from_yaml(Settings, text, "it").labels == says
        assert LabelSettings(ignore=7).ignore == (7,)
        assert told(says, Hints((ClassHint("x", 1),))).classes == (
            ClassHint("road", None, (0x6E, 0xC1, 0xE4)),
        )
        with pytest.raises(SettingsError, match="whole numbers or colours such as '#9B9B9B', not "):
            from_yaml(LabelSettings, "ignore: [white]", "it")

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("a.csv", "road,#6EC1E4\nroof,#3C1098\n"),
            ("a.csv", "name,color\nroad,6ec1e4\nroof,3c1098\n"),
            ("a.txt", "road\t110\t193\t228\nroof\t60\t16\t152\n"),
            ("a.csv", "name;r;g;b\nroad;110;193;228\n\nroof;60;16;152\n"),
            ("a.csv", "R,G,B,class name,size\n110,193,228,road,4\n60,16,152,roof,1\n"),
            ("a.txt", "110 193 228\troad\n60 16  152: roof\n"),
            ("a.json", '{"road": "#6EC1E4", "roof": [60, 16, 152]}'),
            ("a.json", '[{"name": "road", "color": "#6EC1E4"}, {"Name": "roof", "rgb": "3c1098"}]'),
            ("a.json", '{"classes": [{"title": "road", "color": "#6EC1E4"},'
             '{"title": "roof", "color": "#3C1098"}], "tags": []}'),
        ],
    )  # fmt: skip
    def test_tables_of_colours(self, tmp_path: Path, name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        assert read_table(tmp_path / name) == (
            NamedClass(name="road", colour="#6EC1E4"),
            NamedClass(name="roof", colour="#3C1098"),
        )

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("a.csv", "0,back ground\n7,cell\n"),
            ("a.txt", "value,name\n0,back ground\n7,cell\n"),
            ("a.json", '{"back ground": 0, "cell": 7}'),
            ("a.json", '[{"id": 0, "name": "back ground"}, {"id": 7, "name": "cell"}]'),
        ],
    )
    def test_tables_of_values(self, tmp_path: Path, name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        assert read_table(tmp_path / name) == (
            NamedClass(name="back ground", value=0),
            NamedClass(name="cell", value=7),
        )

    def test_a_value_with_a_colour(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("3,cell,#00ff00\n0,none,1,2,3\n")
        assert read_table(tmp_path / "a.csv") == (
            NamedClass(name="cell", value=3, colour="#00FF00"),
            NamedClass(name="none", value=0, colour="#010203"),
        )

    @pytest.mark.parametrize(
        ("name", "text", "words"),
        [
            ("a.csv", "", "is no table of classes, it is empty"),
            ("a.csv", "1,cell\nroad\n", r"is no table of classes \(entry 2\)"),
            ("a.csv", "road,300,1,1\n", r"is no table of classes \(entry 1\)"),
            ("a.json", '{"road": "red"}', r"is no table of classes \(entry 1\)"),
            ("a.json", '[{"x": 1}]', r"is no table of classes \(entry 1\)"),
            ("a.json", '"road"', "is no table of classes, it is empty"),
            ("a.json", "{", "cannot be read as a table of classes"),
        ],
    )
    def test_what_is_no_table(self, tmp_path: Path, name: str, text: str, words: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=words):
            read_table(tmp_path / name)


class TestRepair:
    def test_jpeg_damage_of_two_classes(self, tmp_path: Path) -> None:
        truth = np.kron(class_ids(0, 2, (8, 8)), np.ones((13, 13), np.uint8))
        Pillow.fromarray(truth * 255).save(tmp_path / "a.jpg", quality=70)
        label = read(tmp_path / "a.jpg")
        with pytest.raises(DataError, match=r"too many to be classes.*--repair"):
            understand([label], "classes")
        meaning = understand([label], "classes", repair=True)
        assert np.abs(np.array(meaning.values) - (0, 255)).max() < 5
        assert "taken for the nearest of these (--repair)" in meaning.reason
        assert np.array_equal(meaning.class_map(label), truth)
        assert np.array_equal(meaning.stray(label), ~np.isin(label.values, meaning.values))

    def test_smooth_edges_of_named_colours(self, tmp_path: Path) -> None:
        table = np.array([(60, 16, 152), (110, 193, 228), (254, 221, 58)])
        truth = np.kron(class_ids(0, 3, (6, 6)), np.ones((12, 12), np.uint8))
        drawn = Pillow.fromarray(table.astype(np.uint8)[truth])
        drawn.resize((100, 100), Pillow.Resampling.BILINEAR).resize((72, 72), 2).save(
            tmp_path / "a.png"
        )
        label = read(tmp_path / "a.png")
        hints = Hints(tuple(ClassHint(str(c), colour=tuple(c)) for c in table.tolist()))
        meaning = understand([label], "classes", hints, repair=True)
        assert set(meaning.colours) == set(map(tuple, table.tolist()))
        found = np.array(meaning.colours)[meaning.class_map(label)]
        # By brute force, the nearest of the colours for every pixel.
        pixels = np.stack([label.values >> 16, label.values >> 8 & 255, label.values & 255], -1)
        distance = ((pixels[:, :, None] - np.array(meaning.colours)) ** 2).sum(-1)
        least = ((pixels - found) ** 2).sum(-1)
        assert np.array_equal(least, distance.min(-1))

    def test_values_between_two_are_rounded(self) -> None:
        label = np.array([[0, 0.2, 0.7, 1, np.nan]])
        meaning = understand([label], repair=True)
        assert meaning.class_map(label).tolist() == [[0, 0, 1, 1, -1]]
        assert meaning.stray(label).tolist() == [[False, True, True, False, False]]

    def test_nothing_frequent_is_nothing_to_repair(self) -> None:
        label = np.arange(1600).reshape(40, 40)
        with pytest.raises(DataError, match="All labels hold nothing but what is ignored"):
            understand([label], "classes", repair=True)

    def test_without_repair_a_stray_value_is_refused(self) -> None:
        meaning = LabelMeaning("classes", (0xFF, 0xFF00), ("a", "b"), "", coding="colours")
        label = Label(np.array([[0xFF, 0x123456]]), "colours")
        assert meaning.stray(label).tolist() == [[False, True]]
        with pytest.raises(
            DataError, match="the colour #123456, which is none of the classes #000"
        ):
            meaning.class_map(label)


class TestRealData:
    def test_dubai(self, shared_data: Path) -> None:
        """Palettes that differ, RGB, and a table of classes with other colours, 54 masks."""
        files = sorted((shared_data / "dubai").glob("Tile */masks/*.png"))
        assert len(files) == 54
        assert len({read(file).palette[:2] for file in files}) > 2
        table = read_table(shared_data / "dubai" / "classes.json")
        meaning = understand(
            (read(file) for file in files), hints=told(LabelSettings(colours=table), Hints())
        )
        assert meaning.names == ("#3C1098", "#6EC1E4", "#8429F6", "#E2A929", "#FEDD3A")
        assert meaning.background is None
        assert "#9B9B9B (Unlabeled) = not labelled" in meaning.reason
        assert "#000000 (0.0046% of all pixels)" in meaning.reason
        for file in files[::9]:
            with Pillow.open(file) as picture:
                rgb = np.asarray(picture.convert("RGB"))
            ids = meaning.class_map(read(file))
            shown = np.array([*meaning.colours, (0x9B, 0x9B, 0x9B)])[ids]
            black = (rgb == 0).all(axis=-1)
            assert (ids[black] == -1).all()
            assert np.array_equal(shown[~black], rgb[~black])

    def test_every_tile_of_dubai_is_understood_alone(self, shared_data: Path) -> None:
        for number in (1, 6):
            files = sorted((shared_data / "dubai" / f"Tile {number}" / "masks").glob("*.png"))
            assert 0 not in understand(read(file) for file in files).values

    def test_a_satellite_mask(self, shared_data: Path) -> None:
        label = read(shared_data / "multiband" / "mask_14.tif")
        meaning = understand([label])
        assert (meaning.coding, len(meaning.values), meaning.background) == ("colours", 6, 0)

    def test_voc(self, shared_data: Path) -> None:
        files = sorted((shared_data / "voc").glob("VOCdevkit/*/SegmentationClass/*.png"))
        labels = [read(file) for file in files]
        hints = Hints((ClassHint("background", 0), ClassHint("person", 15)))
        meaning = understand(labels, hints=hints)
        assert (meaning.kind, meaning.coding) == ("classes", "numbers")
        assert dict(zip(meaning.names, meaning.colours, strict=True))["person"] == (192, 128, 128)
        assert meaning.background == 0
        with Pillow.open(files[0]) as picture:
            rgb = np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0).astype(np.int64)
        coloured = Label((rgb[0] << 16) + (rgb[1] << 8) + rgb[2], "colours")
        assert np.array_equal(meaning.class_map(coloured), meaning.class_map(labels[0]))
        assert (meaning.class_map(coloured) == -1).any()

    def test_camvid_with_void_ignored(self, shared_data: Path) -> None:
        files = sorted((shared_data / "camvid" / "trainannot").glob("*.png"))[:10]
        labels = [read(file) for file in files]
        meaning = understand(labels, hints=told(LabelSettings(ignore=(11,)), Hints()))
        assert meaning.values == tuple(range(11))
        assert np.array_equal(meaning.class_map(labels[0]) == -1, labels[0].values == 11)


def test_a_label_of_channels_among_numbers_is_refused() -> None:
    meaning = understand([class_ids(0, 2)])
    with pytest.raises(DataError, match="has 2 channels, one for each class: expected one value"):
        meaning.class_map(Label(np.zeros((2, 5, 5)), "channels"))


def test_pairs_read_colours(tmp_path: Path) -> None:
    table = colours(0, 3)
    save(tmp_path / "a.png", class_ids(0, 3), table, "rgb")
    (pair,) = layouts.pairs(PHOTO, tmp_path / "a.png")
    assert pair.read_label().coding == "colours"
    assert json.dumps(pair.read_label().shape) == "[20, 24]"


SMALL = Settings(
    network=UNetSettings(padding="same", depth=1, base_channels=4, norm="batch", dropout=0),
    window=WindowSettings(size_px=16, batch_size=2),
    border="own",
    precision="float32",
    layout="channels_last",
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with labels in palettes that agree, a table of names, and a model of them."""
    folder = tmp_path_factory.mktemp("work")
    for name in ("images", "labels", "rgb"):
        (folder / name).mkdir()
    table = colours(5, 4)
    for number in range(2):
        ids = class_ids(number, 4)
        io.write(folder / "images" / f"{number}.png", Image(PHOTO, "yx"))
        save(folder / "labels" / f"{number}.png", ids, table, "palette")
        save(folder / "rgb" / f"{number}.png", ids, table, "rgb")
    names = ["field", "background", "road", "cloud"]
    codes = ["#{:02X}{:02X}{:02X}".format(*colour) for colour in table]
    lines = [f"{name},{code}" for name, code in zip(names, codes, strict=True)]
    (folder / "names.csv").write_text("\n".join(lines))
    # Without channels and classes, which are counted.
    own = [line for line in to_yaml(SMALL).splitlines() if "classes: 2" not in line]
    (folder / "settings.yaml").write_text("\n".join(own))
    arguments = ["--settings", folder / "settings.yaml", "--steps", 2, "--colours"]
    arguments += [folder / "names.csv", "--ignore", codes[3]]
    run("train", folder / "images", folder / "labels", "-o", folder / "m", *arguments)
    return folder


def run(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(part) for part in arguments])
    assert ended.value.code == 0


class TestModel:
    def test_it_remembers_names_colours_background_and_what_is_ignored(self, work: Path) -> None:
        made = load(work / "m", engine="torch")
        table = list(map(tuple, colours(5, 4).tolist()))
        assert made.classes == ("background", "field", "road")
        assert made.legend.colours == (table[1], table[0], table[2])
        assert made.legend.background == 0
        ids = class_ids(0, 4)
        for folder in ("labels", "rgb"):
            label = read(work / folder / "0.png")
            expected = np.array([1, 0, 2, -1])[ids]
            assert np.array_equal(made.meaning.class_map(label), expected)

    def test_labels_coded_otherwise_have_the_same_scores(self, work: Path) -> None:
        made = load(work / "m", engine="torch")
        one, other = (jobs.evaluate(made, work / "images", work / f) for f in ("labels", "rgb"))
        assert repr(one) == repr(other)  # which holds NaN to be equal

    def test_class_ids_are_written_in_the_colours_of_the_labels(self, work: Path) -> None:
        run("predict", work / "m", work / "images" / "0.png", "-o", work / "p.png")
        label = read(work / "p.png")
        assert label.palette[:3] == load(work / "m", engine="torch").legend.colours
        made = load(work / "m", engine="torch")
        assert np.array_equal(made.predict(PHOTO), label.values)
        assert np.array_equal(made.meaning.class_map(label), label.values)

    def test_measurements_name_the_class_of_each_object(self, work: Path) -> None:
        """That whose mean probability over the object is highest, background left aside."""
        made = load(work / "m", engine="torch")
        io.write(work / "i.tif", Image(PHOTO, "yx"), overwrite=True)
        for suffix in (".tif", ".zarr"):
            options = PredictOptions(
                "objects", measurements=work / "o.csv", overwrite=True, tile_px=16
            )
            made.predict_file(work / "i.tif", work / f"o{suffix}", options)
            ids = made.objects(PHOTO)
            assert np.array_equal(io.open(work / f"o{suffix}", as_label=True).data[()], ids)
            likely = made.probabilities(PHOTO)
            rows = list(csv.DictReader((work / "o.csv").read_text().splitlines()))
            assert len(rows) == ids.max() > 0
            for row in rows:
                means = likely[1:, ids == int(row["id"])].mean(axis=1)
                assert row["class"] == made.classes[1 + means.argmax()]

    def test_they_are_shown(self, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run("inspect", work / "m")
        said = " ".join(capsys.readouterr().out.split())
        assert "field" in said
        assert "#{:02X}{:02X}{:02X}".format(*colours(5, 4)[2]) in said
        assert "Objective: cross-entropy over the" in said
        run("check", work / "images", work / "rgb", "--colours", work / "names.csv")
        assert "= road" in " ".join(capsys.readouterr().out.split())

    def test_repair_is_an_option(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        ids = np.kron(class_ids(0, 2, (8, 8)), np.ones((13, 13), np.uint8))
        noise = np.random.default_rng(0).integers(0, 255, ids.shape, np.uint8)
        io.write(tmp_path / "image.png", Image(noise, "yx"))
        Pillow.fromarray(ids * np.uint8(255)).save(tmp_path / "label.jpg", quality=50)
        paths = (tmp_path / "image.png", tmp_path / "label.jpg")
        with pytest.raises(SystemExit):
            main(["check", *map(str, paths)])
        assert "Error:" in capsys.readouterr().err
        run("check", *paths, "--repair")
        said = capsys.readouterr()
        assert "(--repair)" in " ".join(said.out.split())
        assert "are taken for the nearest (--repair)" in " ".join(said.err.split())
        half = ids - np.float32(0.2)
        assert examine(layouts.pairs(noise, half), LabelSettings(repair=True)).ok
