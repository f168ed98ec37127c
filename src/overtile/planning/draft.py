"""Settings while they are chosen: what is open, what was chosen, and why."""

from __future__ import annotations

from typing import Any

from overtile.presets import Wanted
from overtile.settings import Settings, dotted_names, from_dict

Choice = tuple[Any, str]
"""A value, and the reason for it in a sentence."""


class Draft:
    """Settings on their way to a plan.

    Parameters
    ----------
    wanted
        Settings, and which of them are to be kept.

    Attributes
    ----------
    settings
        As chosen so far.
    reasons
        Of what was looked at, by the dotted name of the setting.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.settings = wanted.settings
        self.reasons: dict[str, str] = {}
        self._wanted = wanted

    def is_open(self, name: str) -> bool:
        """Whether a setting, by its dotted name, is left to the plan."""
        return self.settings.preset == "default" and not self._wanted.keeps(name)

    def is_set(self, name: str) -> bool:
        """Whether a person set this very setting, by its dotted name."""
        if self._wanted.kept is not None:
            return self._wanted.keeps(name)
        group, _, key = name.rpartition(".")
        return key in (getattr(self.settings, group) if group else self.settings).model_fields_set

    def choose(self, name: str, choice: Choice) -> None:
        """Set what is open, for the reason given; what is not open is kept, and that is its reason.

        A choice may be made again, by what comes later.
        """
        if self.is_open(name):
            self.decide(name, choice)
        elif self._wanted.keeps(name):
            self.reasons[name] = "As you set it."
        else:
            self.reasons[name] = f"As the preset {self.settings.preset} has it."

    def decide(self, name: str, choice: Choice) -> None:
        """Set what follows from the data, whoever set it."""
        value, self.reasons[name] = choice
        group, _, key = name.rpartition(".")
        changed = value
        if group:
            changed = getattr(self.settings, group).model_copy(update={key: value})
        self.settings = self.settings.model_copy(update={group or key: changed})

    def finished(self) -> Settings:
        """The settings, checked once more against each other.

        Raises
        ------
        SettingsError
            A clash of what was chosen with what was kept.
        """
        for name in self._wanted.set_one_by_one:
            self.reasons.setdefault(name, "As you set it.")
        content = self.settings.model_dump(mode="json")
        order = [*dotted_names(content)]
        self.reasons = {name: self.reasons[name] for name in order if name in self.reasons}
        return from_dict(Settings, content, "The plan")
