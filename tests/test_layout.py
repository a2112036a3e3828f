"""Who may import whom: the table of CONTRIBUTING.md, held against the imports of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "apportion"
SHARED = {"errors", "__version__"}
ROW = re.compile(r"^    (\w+)  +(\w+(?:, \w+)*)$", re.MULTILINE)
ROOMS = {
    room: set(others.split(", ")) - {"none"}
    for room, others in ROW.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
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


def test_the_table_names_every_room_and_no_other() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert set(ROOMS) == rooms - {"__init__", "errors"}
    assert set().union(*ROOMS.values()) <= set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    for module in [*PACKAGE.glob(f"{room}.py"), *(PACKAGE / room).glob("**/*.py")]:
        strangers = imported_rooms(module) - ROOMS[room] - SHARED - {room}
        assert not strangers, f"{module.relative_to(PACKAGE)} imports {strangers}"
