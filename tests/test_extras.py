"""What is said where a module of an extra is not installed."""

from __future__ import annotations

import sys

import pytest

from apportion.extras import EXTRAS, missing, needed


def test_the_extra_that_brings_a_module_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    with (
        pytest.raises(ModuleNotFoundError, match=r"needs .*matplotlib.*pip install 'apportion\[viz\]'\.$") as raised,
        needed(),
    ):
        from matplotlib.figure import Figure  # noqa: F401
    assert raised.value.name is not None and raised.value.name.split(".")[0] == "matplotlib"


def test_every_extra_is_one(pyproject: dict[str, dict[str, dict[str, object]]]) -> None:
    assert set(EXTRAS.values()) <= pyproject["project"]["optional-dependencies"].keys()


def test_of_others_only_the_name_is_said() -> None:
    assert missing("no_such.part") == "this needs the module 'no_such.part', which is not installed; install it."


@pytest.fixture
def pyproject() -> dict[str, dict[str, dict[str, object]]]:
    import tomllib
    from pathlib import Path

    return tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
