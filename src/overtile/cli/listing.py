"""Which files `overtile predict` predicts, and into which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from overtile import io, vectors
from overtile.errors import DataError, OutputError, SettingsError
from overtile.layouts import channel_files, find_images


@dataclass(frozen=True)
class Jobs:
    """Files to predict.

    Attributes
    ----------
    pairs
        Of an image, which may be the first of the files of its channels, and its output.
    root
        The folder of the outputs; None of a single one.
    aside
        Names of labels that lie among the images.
    """

    pairs: tuple[tuple[Path, Path], ...]
    root: Path | None = None
    aside: tuple[str, ...] = ()

    def todo(self, *, resume: bool) -> list[tuple[Path, Path]]:
        """All of them; to resume a folder, without those that are done."""
        left_out = resume and self.root is not None
        return [pair for pair in self.pairs if not (left_out and pair[1].exists())]

    def place(self, output: Path) -> Path:
        """The folder of an output, from that of all on."""
        return Path() if self.root is None else output.parent.relative_to(self.root)


def list_jobs(images: Path, output: Path, suffix: str | None, channels: int) -> Jobs:
    """Each image with the file that its prediction goes to.

    Parameters
    ----------
    images, output
        Two files, or two folders. Of a folder without an image, but with folders of images, or of
        a data set, the outputs lie in folders of the same names.
    suffix
        Of the outputs in a folder, without its dot; tif by default.
    channels
        Of the model's images: where there are several, each may be a file (CASE_0000, CASE_0001),
        which are predicted together into CASE.

    Raises
    ------
    DataError, OutputError, SettingsError
        No image in a folder; a folder into a file; two images whose outputs have one name; a suffix
        for a single file.
    """
    images = io.place(images)
    if not images.is_dir() or io.is_known(images):
        if suffix is not None:
            raise SettingsError(
                f"--format {suffix} is for a folder of images: of a single one, the name of the "
                "output tells its format."
            )
        return Jobs(((images, output),))
    if io.is_known(output) or vectors.is_annotation(output):
        raise OutputError(f"{images} is a folder, so the output is one too: {output} names a file.")
    found = find_images(images)
    if not found.files:
        known = ", ".join(suffix for form in io.FORMATS for suffix in form.suffixes)
        raise DataError(f"{images} holds no image: expected {known}.")
    pairs = tuple(
        (path, output / path.parent.relative_to(images) / f"{case}{_suffix_for(path, suffix)}")
        for path, case in _cases(found.files, channels)
    )
    taken: dict[Path, Path] = {}
    for source, target in pairs:
        if target in taken:
            raise OutputError(
                f"{taken[target].name} and {source.name} would both be predicted into {target}: "
                "move one of them to another folder."
            )
        taken[target] = source
        target.parent.mkdir(parents=True, exist_ok=True)
    return Jobs(pairs, output, tuple(label.name for label in found.labels))


def _cases(files: tuple[Path, ...], channels: int) -> list[tuple[Path, str]]:
    """Each image by its first file, with the name of what becomes of it."""
    joined = {path: channel_files(path, channels) for path in files}
    others = {path for paths in joined.values() for path in paths[1:]}
    return [
        (path, io.stem_of(path)[: -len("_0000")] if joined[path] else io.stem_of(path))
        for path in files
        if path not in others
    ]


def _suffix_for(path: Path, suffix: str | None) -> str:
    """How the prediction of an image of a folder ends."""
    return io.format_of(path).predicted_as if suffix is None else f".{suffix}"
