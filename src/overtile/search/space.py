"""What tuning tries: a few values of some settings, around those that a plan or a user chose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from overtile.errors import SettingsError
from overtile.settings import Settings, from_dict

Value = int | float


@dataclass(frozen=True)
class Tried:
    """What is tried of one setting.

    Attributes
    ----------
    name
        Of the setting, dotted, as for --set.
    default
        Its value in the settings that tuning begins with, which is among those tried.
    values
        In order; or of a range its two ends, anything between which is tried, evenly by ratio.
    is_range
        Whether it is a range.
    why
        What the setting decides.
    """

    name: str
    default: Value
    values: tuple[Value, ...]
    is_range: bool
    why: str

    def __str__(self) -> str:
        return (" to " if self.is_range else ", ").join(f"{value:g}" for value in self.values)


def _halved_and_doubled(base: Value) -> tuple[Value, ...]:
    return (max(1, int(base) // 2), int(base), int(base) * 2)


def _none_and_doubled(base: Value) -> tuple[Value, ...]:
    return (0.0, float(base), 2.0 * base)


TABLE: tuple[tuple[str, Callable[[Value], tuple[Value, ...]], str], ...] = (
    ("network.depth", lambda n: (n - 1, n, n + 1), "how far the network sees"),
    ("network.base_channels", _halved_and_doubled, "its width, against the steps in the time"),
    ("network.kernel_size", lambda n: (3, n, 5), "sight and cost of each convolution"),
    ("optimiser.learning_rate", lambda r: (r / 8, r * 4), "size of the steps"),
    ("window.batch_size", _halved_and_doubled, "calm steps against many"),
    ("loss.dice", lambda w: (0.0, w, 1.0), "cross-entropy alone, or the overlap as well"),
    ("loss.focal", lambda w: (0.0, w, 1.0), "whether what is right already counts less"),
    ("pixel_weight.border_weight", _none_and_doubled, "how much borders count"),
    ("augment.deform", lambda s: (0.0, s, 1.0), "share of windows that are bent"),
    ("augment.elastic_std_px", lambda p: (p / 2, p, 2 * p), "how far they are bent"),
    ("augment.recolour", lambda s: (0.0, s, 1.0), "share of windows whose gray values change"),
    ("augment.colour", _none_and_doubled, "how much channels change by themselves"),
)
"""Setting, what is tried of it by the value that it has, and what it decides."""

RANGES = {"optimiser.learning_rate"}


def space_around(settings: Settings) -> tuple[Tried, ...]:
    """What is tried around some settings.

    Only settings that the network has, and only values that are allowed beside all others.
    """
    content = settings.model_dump(mode="json")
    if content["network"].get("strides"):  # so many that they give the depth
        content["network"].pop("depth")
    space = []
    for name, values_of, why in TABLE:
        group, key = name.split(".")
        if (base := content[group].get(key)) is None:
            continue
        values = tuple(sorted({v for v in values_of(base) if _is_allowed(settings, name, v)}))
        if len(values) > 1:
            space.append(Tried(name, base, values, name in RANGES, why))
    return tuple(space)


def _is_allowed(settings: Settings, name: str, value: Value) -> bool:
    try:
        changed(settings, {name: value})
    except SettingsError:
        return False
    return True


def changed(settings: Settings, values: Mapping[str, Value | str]) -> Settings:
    """Settings with values by their dotted names.

    Raises
    ------
    SettingsError
        They are out of range, or clash.
    """
    content: dict[str, Any] = settings.model_dump(mode="json")
    for name, value in values.items():
        group, key = name.split(".")
        content[group][key] = value
    return from_dict(Settings, content, "tuning")
