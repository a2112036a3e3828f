"""Who may import whom: the table of CONTRIBUTING.md, held against the imports of the code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "apportion"
SHARED = {"errors"}
ROOMS = {
    "graphs": set(),
    "store": set(),
    "search": {"graphs", "statistics"},
    "envs": {"graphs", "store", "template"},
    "evaluators": {"envs", "graphs", "store"},
    "spec": {"graphs", "template", "models"},
    "testing": {"envs", "graphs", "search", "statistics"},
    "bench": {"envs", "evaluators", "graphs", "search", "spec", "statistics", "store", "testing"},
    "demo": {"bench", "envs"},
}


def imported_rooms(module: Path) -> set[str]:
    """The rooms of ours that a module imports, wherever in it."""
    names = []
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("apportion.")}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    for module in (PACKAGE / room).glob("**/*.py"):
        strangers = imported_rooms(module) - ROOMS[room] - SHARED - {room}
        assert not strangers, f"{module.relative_to(PACKAGE)} imports {strangers}"
