"""Images with annotations by shapes -> pairs whose labels are drawn when they are asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from overtile import io, vectors
from overtile.errors import DataError, FormatError
from overtile.labels import Kind, LabelMeaning
from overtile.layouts.found import Found, Row
from overtile.layouts.pair import Pairs
from overtile.layouts.tree import Folder, in_order, is_folder, look
from overtile.text import shown
from overtile.vectors import Annotations, Drawing


def are_annotations(images: Path, labels: Path) -> bool:
    """Whether labels are annotations: a file of them, or a folder of such files.

    A folder that holds images beside them is one of annotations only if it is that of the images.
    """
    if not is_folder(labels):
        return vectors.is_annotation(labels)
    if not is_folder(images) or io.is_known(labels):
        return False
    same = images.resolve() == labels.resolve()
    return bool(_annotation_files(labels)) and (same or not _image_files(labels))


def pair_annotations(images: Path, labels: Path) -> Found:
    """Images with the labels that are drawn from their annotations.

    Parameters
    ----------
    images, labels
        An image and its file of annotations; a folder and a file for all of its images, which
        names them (COCO) or lies on their map (GeoJSON, GeoPackage); or two folders, or one with
        both, paired by the stems of the files. A folder with one COCO file stands for it.

    Returns
    -------
    Found
        Objects are drawn where all shapes are of one class, else classes; see `drawn_as`.

    Raises
    ------
    DataError
        Images without annotations, or annotations without image.
    FormatError
        A file that cannot be read.
    """
    if not images.exists():
        raise DataError(f"There is no file or folder {images}: check the name.")
    if is_folder(labels):
        named, how, of_many = *_by_stem(images, labels), False
    elif is_folder(images) and not io.is_known(images):
        named, how, of_many = _by_name(images, vectors.open(labels), labels)
    else:
        one = _the_one(vectors.open(labels), labels, images)
        named, how, of_many = (
            [(io.stem_of(images), images, one)],
            f"drawn from {labels.name}",
            False,
        )
    meaning = vectors.understand_shapes([one for _, _, one in named])
    left_out = sum({id(one): one.left_out for _, _, one in named}.values())
    if left_out:
        how += f"; {left_out} shapes are left out (points, lines, or of a form not known)"
    rows = [Row(name, path, Drawing(one, meaning, of_many)) for name, path, one in named]
    return Found(tuple(rows), how, meaning.hints)


def find_annotations(folder: Folder) -> Found | None:
    """Images with annotations of the same names, beside them or in a folder, or a COCO file."""
    files = [path for path in folder.others if vectors.is_annotation(path)]
    stems = {io.stem_of(path) for path in folder.images}
    beside = [path for path in files if path.stem in stems]
    images = [path for path in folder.folders if look(path).images]
    drawn = [path for path in folder.folders if path not in images and _annotation_files(path)]
    try:
        if beside:
            vectors.open(beside[0])  # a .json beside an image may say anything
            return pair_annotations(folder.path, folder.path)
        for path in files if len(files) == 1 else []:
            names = [name for name in vectors.open(path) if name]
            if names and folder.images:
                return pair_annotations(folder.path, path)
            if names and len(images) == 1:
                return pair_annotations(images[0], path)
        if len(images) == len(drawn) == 1 and not folder.images:
            vectors.open(_annotation_files(drawn[0])[0])
            return pair_annotations(images[0], drawn[0])
    except FormatError:
        return None
    return None


def drawn_as(pairs: Pairs, kind: Literal["auto"] | Kind | LabelMeaning) -> Pairs:
    """Pairs whose annotations are drawn as classes or as instances, if that is said.

    Parameters
    ----------
    pairs
        Of any kind; labels that are images stay as they are.
    kind
        What is drawn: the class of each shape, or a number for each; or as a model learnt it, so
        that classes keep their values.
    """
    drawings = {
        place: pair.label.content
        for place, pair in enumerate(pairs)
        if pair.label is not None and isinstance(pair.label.content, Drawing)
    }
    if kind == "auto" or not drawings:
        return pairs
    meaning = vectors.understand_shapes([one.annotations for one in drawings.values()], kind)
    again = {id(one): replace(one, meaning=meaning) for one in drawings.values()}
    members = list(pairs)
    for place, drawing in drawings.items():
        pair = members[place]
        assert pair.label is not None
        label = replace(pair.label, content=again[id(drawing)])
        members[place] = replace(pair, label=label)
    return replace(pairs, members=tuple(members), hints=meaning.hints)


Named = list[tuple[str, Path, Annotations]]
"""Name, file and annotations of each image."""


def _by_stem(images: Path, labels: Path) -> tuple[Named, str]:
    files, drawn = _image_files(images), _annotation_files(labels)
    stems = {path.stem: path for path in drawn}
    if len(drawn) == 1:
        read = vectors.open(drawn[0])
        if "" not in read and not {io.stem_of(path) for path in files} & set(stems):
            found, how, _ = _by_name(images, read, drawn[0])
            return found, how
    if len(stems) < len(drawn):
        double = [path.name for path in drawn if stems[path.stem] != path]
        raise DataError(
            f"{labels} holds several annotations of one name: {shown(double)}. Which are to be "
            "drawn is unclear: keep one of each."
        )
    named = {io.stem_of(path): path for path in files}
    _check_partners(
        [path.name for stem, path in named.items() if stem not in stems],
        [path.name for stem, path in stems.items() if stem not in named],
        f"{labels}, by the stem of their names",
    )
    return [
        (stem, path, _the_one(vectors.open(stems[stem]), stems[stem], path))
        for stem, path in named.items()
    ], "annotations paired by file name"


def _by_name(images: Path, read: dict[str, Annotations], labels: Path) -> tuple[Named, str, bool]:
    """The images of a folder with those annotations of a file that name them."""
    files = _image_files(images)
    if set(read) == {""}:
        everywhere = read[""]
        how = f"all drawn from {labels.name}"
        return [(io.stem_of(path), path, everywhere) for path in files], how, len(files) > 1
    found, missing = [], []
    for name, one in read.items():
        path = _find(images, name)
        if path is None:
            missing.append(name)
        else:
            stem = path.relative_to(images).with_name(io.stem_of(path)).as_posix()
            found.append((stem, path, one))
    named = {path for _, path, _ in found}
    _check_partners([path.name for path in files if path not in named], missing, str(labels))
    return (
        sorted(found, key=lambda one: in_order(one[0])),
        f"drawn from {labels.name} by file name",
        False,
    )


def _find(images: Path, name: str) -> Path | None:
    """The file that annotations name: in the folder of images, or in a folder inside it."""
    inside = PurePosixPath(name)
    tried = [images / inside.name] if inside.name else []
    if not inside.is_absolute() and ".." not in inside.parts:
        tried.insert(0, images / inside)
    return next((path for path in tried if path.is_file()), None)


def _the_one(read: dict[str, Annotations], labels: Path, image: Path) -> Annotations:
    """The annotations of an image among those of a file: the only ones, or those of its name."""
    if len(read) == 1:
        return next(iter(read.values()))
    for name, one in read.items():
        if PurePosixPath(name).name == image.name:
            return one
    raise DataError(
        f"{labels} has annotations of {len(read)} images, none of them {image.name}: there are "
        f"{shown(list(read))}. Give the image that was annotated."
    )


def _check_partners(images: list[str], annotations: list[str], where: str) -> None:
    if images:
        raise DataError(
            f"{len(images)} images have no annotations in {where}: {shown(images)}. Expected "
            "some for each; an image that shows nothing has an empty list of them. Annotate these "
            "images, or move them elsewhere."
        )
    if annotations:
        raise DataError(
            f"{len(annotations)} annotations have no image: {shown(annotations)} of {where}. "
            "Add the images, or move these annotations elsewhere."
        )


def _image_files(folder: Path) -> tuple[Path, ...]:
    return look(folder).images


def _annotation_files(folder: Path) -> list[Path]:
    return [path for path in look(folder).others if vectors.is_annotation(path)]
