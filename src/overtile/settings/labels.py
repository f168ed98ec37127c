"""Settings of what label values mean."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from overtile.settings.reading import Frozen

LabelKind = Literal["classes", "instances", "multilabel", "scribbles"]
CODE = re.compile(r"#[0-9A-Fa-f]{6}")


class NamedClass(Frozen):
    """The name of a value, or of a colour such as "#3C1098"; at least one of the two is given."""

    name: str
    value: int | None = None
    colour: Annotated[str | None, Field(pattern=r"^#[0-9A-F]{6}$")] = None


class LabelSettings(Frozen):
    """What the values of labels mean, where the user says it.

    Attributes
    ----------
    kind
        ``classes``: a value is a class. ``instances``: a value is an object. ``multilabel``: a
        channel is a class, and classes overlap. ``scribbles``: as ``classes``, and 0 is not
        labelled. ``auto`` to tell by the values.
    ignore
        Values, or colours such as "#9B9B9B", that mean "not labelled".
    colours
        Names of values or colours.
    repair
        Whether stray values, as JPEG and smooth edges leave them, become the nearest class.
    """

    kind: Literal["auto"] | LabelKind = "auto"
    ignore: tuple[int | str, ...] = ()
    colours: tuple[NamedClass, ...] = ()
    repair: bool = False

    @field_validator("ignore", mode="before")
    @classmethod
    def _values_or_colours(cls, given: Any) -> tuple[int | str, ...]:
        items = given if isinstance(given, list | tuple) else [given]
        return tuple(_value_or_colour(item) for item in items)


def _value_or_colour(given: Any) -> int | str:
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    text = str(given).strip()
    if CODE.fullmatch(text):
        return text.upper()
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    raise ValueError(f"expected whole numbers or colours such as '#9B9B9B', not {given!r}")
