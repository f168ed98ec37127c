"""What `overtile plan` does, and what it and `overtile train --explain` print."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from overtile import io, jobs
from overtile.cli import STARTED
from overtile.cli.describing import say_recognised
from overtile.cli.show import print_table, say
from overtile.layouts import Pairs
from overtile.planning import Plan
from overtile.settings import Settings

AS_SET = "As you set it."

FEW = 12
"""So many settings of the user's own are listed one by one."""


def run_planning(
    pairs: Pairs,
    settings: Settings,
    output: Path | None,
    again: Sequence[str],
    *,
    overwrite: bool,
    **options: Any,
) -> None:
    """Make a plan, print it, and write its settings.

    Parameters
    ----------
    pairs, settings
        What it is made for, and from.
    output
        A new file for the settings; None for none.
    again
        The arguments that say which data these are, for the command that trains by the plan.
    overwrite
        Whether the file may be there already.
    options
        Of `jobs.plan`.
    """
    if output is not None:
        io.check_free(output, overwrite)
    say_recognised(pairs, options["holdout"])
    plan = jobs.plan(pairs, settings=settings, started=STARTED, on_understood=say, **options)
    print_plan(plan)
    say(plan.describe())
    if output is not None:
        with io.new_file(output, overwrite) as file:
            file.write(plan.to_yaml().encode())
        command = ["overtile", "train", *again, "--settings", str(output), "-o", "NAME.model"]
        say(f"Written. Edit it as you like, and train by it:\n  {shlex.join(command)}")
    else:
        say("With -o settings.yaml the plan is written to a file, to be edited and trained from.")


def print_plan(plan: Plan) -> None:
    """The choices with their reasons, what the data are like, and what it costs."""
    content = plan.settings.model_dump(mode="json")
    kept = [name for name, why in plan.reasons.items() if why == AS_SET]
    hidden = set(kept) if len(kept) > FEW else set()
    rows = [
        [name, _value(content, name), why]
        for name, why in plan.reasons.items()
        if name not in hidden
    ]
    print_table("Plan", ["setting", "value", "why"], rows, text=3)
    if hidden:
        say(f"{len(hidden)} settings are as you set them.")
    print_table("Data", ["what", "value"], [list(row) for row in plan.fingerprint.rows()], text=2)
    say(f"Machine: {plan.machine.describe()}.")


def _value(content: dict[str, Any], name: str) -> str:
    """A setting as it is written in a file."""
    value: Any = content
    for part in name.split("."):
        value = value[part]
    return value if isinstance(value, str) else json.dumps(value)
