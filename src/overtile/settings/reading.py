"""Frozen groups of settings, read from YAML with errors that say what would work, and written."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Tag, ValidationError

from overtile.errors import SettingsError


class Frozen(BaseModel):
    """A group of settings: immutable, and refusing keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


T = TypeVar("T", bound=Frozen)

COMMENT_WIDTH = 94


def to_yaml(settings: Frozen) -> str:
    """Settings as YAML text, in the order of their definition."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)


def dotted_names(content: dict[str, Any]) -> Iterator[str]:
    """The names of settings, such as ``window.size_px``, in their order."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from (f"{name}.{key}" for key in value)
        else:
            yield name


def to_explained_yaml(settings: Frozen, reasons: Mapping[str, str]) -> str:
    """Settings as YAML text, the reason of each as a comment above it.

    Parameters
    ----------
    settings
        A group that holds settings and groups of them.
    reasons
        By the dotted name of the setting, such as ``window.size_px``.
    """
    lines: list[str] = []
    for name, value in settings.model_dump(mode="json").items():
        if not isinstance(value, dict):
            lines += [*_comment(reasons.get(name), ""), _line(name, value)]
            continue
        lines += [*_comment(reasons.get(name), ""), f"{name}:"]
        for key, inner in value.items():
            lines += _comment(reasons.get(f"{name}.{key}"), "  ")
            lines.append(textwrap.indent(_line(key, inner), "  "))
    return "\n".join(lines) + "\n"


def _line(name: str, value: Any) -> str:
    """A setting on a line of its own, lists and all."""
    flow = isinstance(value, list | dict)
    text = yaml.safe_dump(value if flow else {name: value}, default_flow_style=flow, width=math.inf)
    return f"{name}: {text.rstrip()}" if flow else text.rstrip("\n")


def _comment(reason: str | None, indent: str) -> list[str]:
    """Lines of a comment; what YAML could not read in one becomes a question mark."""
    words = " ".join((reason or "").split())
    plain = "".join(letter if letter.isprintable() else "?" for letter in words)
    return [f"{indent}# {line}" for line in textwrap.wrap(plain, COMMENT_WIDTH)]


def from_yaml(kind: type[T], text: str, origin: str) -> T:
    """Settings of a kind from YAML text; `origin` names the text in an error.

    Raises
    ------
    SettingsError
        Not YAML, not a mapping, a key that does not exist, a value out of range, or a clash.
    """
    return from_dict(kind, mapping_of(text, origin), origin)


def mapping_of(text: str, origin: str) -> dict[str, Any]:
    """What YAML text holds, not looked at yet.

    Raises
    ------
    SettingsError
        Not YAML, or not a mapping.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{origin} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{origin} holds no settings: expected 'key: value' lines.")
    return content


def from_dict(kind: type[T], content: dict[str, Any], origin: str) -> T:
    """Settings of a kind from a dictionary; raises as `from_yaml` does."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise SettingsError(f"{origin}: {_sentence(kind, error)}") from error


def _sentence(kind: type[Frozen], error: ValidationError) -> str:
    """What pydantic found, one clause a finding, each with the place and what would work."""
    clauses = []
    for finding in error.errors():
        place, group = _follow(kind, finding["loc"])
        message = finding["msg"].removeprefix("Value error, ")
        if finding["type"] == "extra_forbidden":
            message = f"there is no such setting; known here: {', '.join(group.model_fields)}"
        elif finding["type"] == "union_tag_invalid":
            known = finding["ctx"]["expected_tags"]
            message = f"there is no '{finding['ctx']['tag']}'; known: {known}"
        elif finding["type"] != "value_error":
            message = f"{message}, not {finding['input']!r}"
        clauses.append(f"{place}: {message}" if place else message)
    return "; ".join(clauses) + "."


def _follow(kind: type[BaseModel], location: tuple[int | str, ...]) -> tuple[str, type[BaseModel]]:
    """The dotted name of a place, without the tags of unions, and the innermost group it is in."""
    names: list[str] = []
    tagged: dict[str, type[BaseModel]] = {}
    for part in map(str, location):
        if part in tagged:
            kind, tagged = tagged[part], {}
            continue
        names.append(part)
        field = kind.model_fields.get(part)
        inner = field.annotation if field else None
        tagged = _tagged(inner)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            kind = inner
    return ".".join(names), kind


def _tagged(union: Any) -> dict[str, type[BaseModel]]:
    """Tag -> group of settings, of a union of such."""
    return {
        mark.tag: part.__origin__
        for part in get_args(union)
        for mark in getattr(part, "__metadata__", ())
        if isinstance(mark, Tag)
    }
