"""Annotations by shapes: one module a format, one table; read, drawn as labels, and written.

A file becomes `Annotations` of one image or of many; `understand_shapes` tells what those of a set
are drawn as, and a `Drawing` is the label of one image. `write` makes shapes of class ids and of
objects; drawn again they cover the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from overtile.errors import FormatError, optional
from overtile.image import Georeference, Image
from overtile.io.output import Content, new_path
from overtile.labels import Kind, LabelMeaning
from overtile.legend import Legend
from overtile.vectors.coco import is_coco, parse_coco
from overtile.vectors.drawing import Drawing, Meaning, understand_shapes
from overtile.vectors.geojson import is_geojson, parse_geojson, write_geojson
from overtile.vectors.geopackage import read_geopackage, write_geopackage
from overtile.vectors.labelme import is_labelme, parse_labelme
from overtile.vectors.outlines import Outline, outlines
from overtile.vectors.parsing import read_json
from overtile.vectors.rois import read_rois, write_rois
from overtile.vectors.shapes import Annotations, Shape

__all__ = [
    "Annotations",
    "Drawing",
    "Form",
    "Meaning",
    "Shape",
    "check_content",
    "form_of",
    "is_annotation",
    "open",
    "redraw",
    "understand_shapes",
    "write",
]


def _read_json_of_any_form(path: Path) -> dict[str, Annotations]:
    content = read_json(path)
    for belongs, parse in (
        (is_coco, parse_coco),
        (is_labelme, parse_labelme),
        (is_geojson, parse_geojson),
    ):
        if belongs(content):
            return parse(path, content)
    raise FormatError(
        f"{path} is JSON, but no annotations that Overtile knows: expected COCO ('images' and "
        "'annotations'), LabelMe ('shapes') or GeoJSON ('type': 'FeatureCollection')."
    )


@dataclass(frozen=True)
class Form:
    """A format of annotations.

    Attributes
    ----------
    name, suffixes
        What it is called, and how its files end.
    read
        From a path to the annotations of each image, by its name in the file; under "" those of
        the image that the file is given with.
    write
        From (path, outlines, crs as WKT or None for pixels); None where we only read it.
    on_map
        Whether what is written lies on the map, where the image does.
    needs
        Libraries of the extra "geo".
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Path], dict[str, Annotations]]
    write: Callable[[Path, Iterator[Outline], str | None], None] | None = None
    on_map: bool = True
    needs: tuple[str, ...] = ()


def _write_rois(path: Path, found: Iterator[Outline], _: str | None) -> None:
    write_rois(path, found)


FORMS = (
    Form("GeoJSON", (".geojson",), _read_json_of_any_form, write_geojson),
    Form("GeoPackage", (".gpkg",), read_geopackage, write_geopackage, needs=("pyogrio", "shapely")),
    Form("set of ImageJ ROIs", (".zip",), read_rois, _write_rois, on_map=False),
    Form("ImageJ ROI", (".roi",), read_rois),
    Form("COCO, LabelMe or GeoJSON", (".json",), _read_json_of_any_form),
)


def form_of(path: Path) -> Form | None:
    """The format that a name's suffix stands for; None where it is none of annotations."""
    return next((form for form in FORMS if path.name.lower().endswith(form.suffixes)), None)


def is_annotation(path: Path) -> bool:
    """Whether the suffix of a name is one of annotations; a folder has none."""
    return form_of(path) is not None and not path.is_dir()


def open(path: str | Path) -> dict[str, Annotations]:  # noqa: A001 - as io.open
    """The annotations of a file, for each image that it names; "" is the image it is given with.

    Raises
    ------
    FormatError
        The suffix is not one of annotations, or the file is damaged or of another form.
    MissingError
        The library of the format is not installed.
    """
    path = Path(path)
    form = form_of(path)
    if form is None:
        known = ", ".join(suffix for form in FORMS for suffix in form.suffixes)
        raise FormatError(f"{path} is no file of annotations that Overtile knows: {known}.")
    if path.exists() and not path.is_file():
        raise FormatError(
            f"{path} is a pipe, a socket or a device: expected a file with annotations in it."
        )
    return form.read(path)


def check_content(path: Path, content: Content) -> None:
    """Refuse what could not be written as shapes.

    Raises
    ------
    FormatError
        Something else than class ids or objects, or a format that we only read.
    MissingError
        The library of the format is not installed.
    """
    form = form_of(path)
    if form is None or form.write is None:
        able = ", ".join(suffix for form in FORMS if form.write for suffix in form.suffixes)
        raise FormatError(f"{path} cannot be written: expected a name that ends in {able}.")
    if content not in ("classes", "objects"):
        raise FormatError(
            f"{path} would be a {form.name}, which holds shapes of classes or objects, not "
            f"{content}: use .tif."
        )
    for library in form.needs:
        optional(library, "geo")


def redraw(path: Path, like: Image, legend: Legend | None) -> Image:
    """The pixels that `write` made a file of: class ids with a legend, else numbered objects.

    Raises as `open` and `Drawing.draw`.
    """
    (found,) = open(path).values()
    names = legend.names if legend else ()
    kind: Kind = "classes" if legend else "instances"
    meaning = understand_shapes([found], LabelMeaning(kind, tuple(range(len(names))), names, ""))
    return Drawing(found, meaning).draw(like)


def write(
    path: str | Path,
    image: Image,
    *,
    content: Content,
    legend: Legend | None = None,
    overwrite: bool = False,
) -> None:
    """A new file of shapes along the edges of pixels; drawn again they cover the same pixels.

    Parameters
    ----------
    path
        .geojson, .gpkg or .zip.
    image
        Class ids, a channel each where classes overlap, or object ids. Over a map, coordinates are
        those of its coordinate reference system, which the file states (ROIs are in pixels always).
    content
        Of class ids, a shape is a face-connected region of a class other than the background; of
        objects, one object of a plane, in several pieces if need be.
    legend
        Of class ids.
    overwrite
        Whether a file of this name may be replaced.

    Raises
    ------
    FormatError, MissingError
        As `check_content`.
    OutputError
        The file exists already, or cannot be written.
    """
    path = Path(path)
    check_content(path, content)
    form = form_of(path)
    assert form is not None
    assert form.write is not None
    frame = image.frame if form.on_map else None
    crs = (frame.crs or None) if isinstance(frame, Georeference) else None
    placed = Image(image.data, image.axes, frame=frame)
    with new_path(path, overwrite) as part:
        form.write(part, outlines(placed, legend if content == "classes" else None), crs)
