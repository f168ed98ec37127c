"""Every `raise` in the source was executed by the tests; reads the coverage that they left.

Run by `make test` after the tests, and by nothing else: alone it would know nothing.
"""

from __future__ import annotations

import ast
from pathlib import Path

import coverage

ROOT = Path(__file__).parents[2]


def test_every_raise_was_executed() -> None:
    data = coverage.CoverageData(str(ROOT / ".coverage"))
    data.read()
    executed = {Path(name).resolve(): set(data.lines(name) or []) for name in data.measured_files()}
    missed = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            lines = executed.get(path.resolve(), set())
            if isinstance(node, ast.Raise) and node.lineno not in lines:
                missed.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not missed, "no test executes these lines:\n" + "\n".join(missed)
