"""Which files of a folder are predicted, and images whose channels are files."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

import overtile
from overtile import io
from overtile.cli import main
from overtile.cli.listing import list_jobs
from overtile.errors import DataError, FormatError
from overtile.image import Image
from overtile.layouts import channel_files, find_images, open_channels
from overtile.settings import Settings, UNetSettings, WindowSettings


def save(folder: Path, *names: str, channels: int = 1) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (channels, 40, 48), dtype=np.uint8)
        io.write(
            path, Image(noise if channels > 1 else noise[0], "cyx"[-noise.ndim + (channels == 1) :])
        )


def test_a_folder_of_images_is_all_of_them(tmp_path: Path) -> None:
    save(tmp_path, "a.png", "b.tif", "deeper/c.png")
    found = find_images(tmp_path)
    assert [path.name for path in found.files] == ["a.png", "b.tif"]
    assert found.labels == ()


def test_labels_beside_their_images_are_left_aside(tmp_path: Path) -> None:
    save(tmp_path, "a.png", "a_mask.png", "b.png", "b_mask.png", "c.png")
    found = find_images(tmp_path)
    assert [path.name for path in found.files] == ["a.png", "b.png", "c.png"]
    assert [path.name for path in found.labels] == ["a_mask.png", "b_mask.png"]


def test_names_that_pair_in_two_ways_are_images(tmp_path: Path) -> None:
    save(tmp_path, "a.png", "a_mask.png", "mask_a.png")
    assert {path.name for path in find_images(tmp_path).files} >= {"a.png"}


def test_folders_in_folders(tmp_path: Path) -> None:
    save(tmp_path, "x/1/a.png", "x/2/a.png", "y/b.tif")
    (tmp_path / "x" / "round").symlink_to(tmp_path, target_is_directory=True)
    jobs = list_jobs(tmp_path, tmp_path / "out", None, 1)
    names = {path.relative_to(tmp_path / "out").as_posix() for _, path in jobs.pairs}
    assert {"x/1/a.tif", "x/2/a.tif", "y/b.tif"} <= names
    assert jobs.place(tmp_path / "out" / "x" / "1" / "a.tif") == Path("x/1")
    with pytest.raises(DataError, match="holds no image: expected"):
        list_jobs(tmp_path / "out", tmp_path / "other", None, 1)


def test_of_a_data_set_the_images_alone(tmp_path: Path) -> None:
    save(tmp_path, "set/images/a.png", "set/images/b.png", "set/masks/a.png", "set/masks/b.png")
    jobs = list_jobs(tmp_path, tmp_path / "out", "png", 1)
    assert [target.relative_to(tmp_path / "out").as_posix() for _, target in jobs.pairs] == [
        "set/images/a.png",
        "set/images/b.png",
    ]


@pytest.mark.parametrize(
    ("names", "count", "joined"),
    [
        (("a_0000.tif", "a_0001.tif"), 2, 2),
        (("a_0000.tif", "a_0001.tif"), 1, 0),
        (("a_0000.tif", "a_0001.tif"), 3, 0),
        (("a_0000.tif", "a_0001.tif", "a_0002.tif"), 2, 0),  # rather a film
        (("a_0000.tif", "a_0001.png"), 2, 0),
        (("a_0001.tif", "a_0002.tif"), 2, 0),
    ],
)
def test_channel_files(tmp_path: Path, names: tuple[str, ...], count: int, joined: int) -> None:
    save(tmp_path, *names)
    found = channel_files(tmp_path / names[0], count)
    assert [path.name for path in found] == list(names[:joined])
    jobs = list_jobs(tmp_path, tmp_path / "out", None, count)
    assert len(jobs.pairs) == len(names) - max(joined - 1, 0)
    assert (jobs.pairs[0][1].name == "a.tif") == bool(joined)


def test_frames_that_hold_all_channels_are_images_each(tmp_path: Path) -> None:
    save(tmp_path, "a_0000.tif", "a_0001.tif", "a_0002.tif", channels=3)
    assert channel_files(tmp_path / "a_0000.tif", 3) == ()
    assert open_channels(tmp_path / "a_0000.tif", 3).data.shape == (3, 40, 48)
    assert len(list_jobs(tmp_path, tmp_path / "out", None, 3).pairs) == 3


def case(folder: Path, name: str, seed: int) -> NDArray[np.float32]:
    """Two modalities of a volume as nnU-Net has them, and what they are together."""
    modalities = np.random.default_rng(seed).normal(size=(2, 8, 40, 32)).astype(np.float32)
    for channel, modality in enumerate(modalities):
        file = nibabel.Nifti1Image(modality.T, np.diag([2, 2, 3, 1]))  # type: ignore[no-untyped-call]
        nibabel.save(file, folder / f"{name}_{channel:04}.nii.gz")  # type: ignore[attr-defined]
    return modalities


def test_modalities_in_files_are_predicted_as_one_image(tmp_path: Path) -> None:
    images = tmp_path / "imagesTs"
    images.mkdir()
    network = UNetSettings(padding="same", depth=2, base_channels=4, dropout=0, dimensions=3)
    chosen = Settings(network=network, window=WindowSettings(size_px=16, batch_size=1))
    both = {name: case(images, name, seed) for seed, name in enumerate(("one", "two"))}
    label = (both["one"][0] > 0).astype(np.uint8)
    model = overtile.train(
        [Image(both["one"], "czyx")], [Image(label, "zyx")], steps=1, settings=chosen
    )
    model.save(tmp_path / "m")
    given = ["--precision", "float32", "-o", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(tmp_path / "m"), str(images), *given])
    assert ended.value.code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "one.nii.gz",
        "two.nii.gz",
    ]
    segmenter = overtile.load(tmp_path / "m", precision="float32")
    for name, modalities in both.items():
        file = nibabel.load(tmp_path / "out" / f"{name}.nii.gz")  # type: ignore[attr-defined]
        assert np.array_equal(file.affine, np.diag([2, 2, 3, 1]))
        want = segmenter.predict(Image(modalities, "czyx"))
        assert np.array_equal(np.asarray(file.dataobj).T, want)
    with pytest.raises(FormatError, match="would be classes in 8 planes"):
        segmenter.predict_file(images / "one_0000.nii.gz", tmp_path / "a.png")
    assert not list(tmp_path.glob("a.png*"))
