"""Settings that a command line changes: --set KEY=VALUE."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from overtile.errors import SettingsError
from overtile.labels.told import read_table
from overtile.settings import Settings, from_dict


def parse_change(text: str) -> tuple[str, Any]:
    """Key and value of "norm=batch", the value being YAML.

    Raises
    ------
    SettingsError
        Not of this form.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"--set {text}: expected key=value, such as norm=batch.")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise SettingsError(
            f"--set {text}: the value is not YAML; expected a number, a word, true or false, or a "
            "list such as [32, 64, 64]."
        ) from error


def change(settings: Settings, changes: Sequence[str]) -> Settings:
    """Settings with some changed by their dotted names, such as "network.depth=3".

    Raises
    ------
    SettingsError
        A change that is not of this form, or one that `from_dict` refuses.
    """
    content = settings.model_dump(mode="json")
    for text in changes:
        key, value = parse_change(text)
        if key == "network.name":
            content["network"] = {}  # another network has other settings
        *groups, name = key.split(".")
        inside = content
        for group in groups:
            # What is no group of settings becomes one, so that `from_dict` refuses it by its name.
            if not isinstance(inside.get(group), dict):
                inside[group] = {}
            inside = inside[group]
        inside[name] = value
    return from_dict(Settings, content, "--set")


def label_changes(
    kind: str, ignore: Sequence[str] | None, colours: Path | None, *, repair: bool
) -> list[str]:
    """Changes for --labels-are, --ignore, --colours and --repair, which stand in the settings.

    Raises
    ------
    DataError
        The file of colours cannot be read as such.
    """
    changes = [] if kind == "auto" else [f"labels.kind={kind}"]
    if repair:
        changes.append("labels.repair=true")
    if ignore:
        items = [item.strip() for text in ignore for item in text.split(",")]
        changes.append(f"labels.ignore={json.dumps(items)}")
    if colours is not None:
        table = [named.model_dump() for named in read_table(colours)]
        changes.append(f"labels.colours={json.dumps(table)}")
    return changes
