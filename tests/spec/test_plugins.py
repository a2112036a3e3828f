"""Roles of a task's own: the modules it names are run once, and what is wrong with them is said in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from apportion.build import space_of
from apportion.envs.roles import OPERATORS, prompts
from apportion.errors import SpecError
from apportion.graphs.roles import ROLES, Role
from apportion.graphs.slots import SlotStage
from apportion.spec import load_spec, plugins

Write = Callable[[str | bytes], Path]

DEBATER = '''\
"""A debater answers again after it has read the others."""

import pathlib

import apportion
from apportion.envs.roles import Job, NodeRun, Role


async def debate(job: Job) -> NodeRun:
    return job.answered(await job.ask(job.dressed(job.candidates), job.sampling))


apportion.add_role("debater", Role("new", 1, comments="reads"), debate, "{task} Others say: {candidates}")
with pathlib.Path(__file__).with_suffix(".runs").open("a") as file:
    file.write("run\\n")
'''
KEY = "sk-proj-hunter2hunter2"


@pytest.fixture(autouse=True)
def _only_for_one_test() -> Iterator[None]:
    with patch.dict(ROLES), patch.dict(OPERATORS), patch.dict(prompts.added):
        yield
    for name in [name for name in sys.modules if name.startswith("apportion_plugin_")]:
        del sys.modules[name]


@pytest.fixture
def with_debaters(folder: Path, good: str) -> Path:
    """A task whose first stage has slots that debate."""
    (folder / "debate.py").write_text(DEBATER)
    text = good.replace("seed: 7\n", "seed: 7\nplugins: [debate.py]\n").replace("    scorer: big\n", "")
    (folder / "spec.yaml").write_text(
        text.replace("templates: [single, vote, best_of_n]", "slots: 2\n    roles: [debater, fuser]")
    )
    return folder / "spec.yaml"


def said(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as error:
        load_spec(path, overrides)
    return [line.replace(f"{path.parent}/", "") for line in error.value.problems]


def test_a_role_of_a_plugin_is_one_of_the_roles(with_debaters: Path) -> None:
    loaded = load_spec(with_debaters)
    assert ROLES["debater"] == Role("new", 1, comments="reads")
    stage = space_of(loaded.spec).stages[0]
    assert isinstance(stage, SlotStage) and stage.roles == ("debater", "fuser")
    assert loaded.spec.plugins == ("debate.py",)


def test_its_role_may_be_misspelt_too(with_debaters: Path) -> None:
    with_debaters.write_text(with_debaters.read_text().replace("[debater, fuser]", "[debatr, fuser]"))
    (found,) = said(with_debaters)
    assert found.startswith("spec.yaml:29: stages.0.roles.0: must be one of refiner, ")
    assert found.endswith(", debater, but is 'debatr'; did you mean 'debater'?")


def test_without_the_plugin_there_is_no_such_role(with_debaters: Path) -> None:
    (found,) = said(with_debaters, "plugins=[]")
    assert found.startswith("spec.yaml:29: stages.0.roles.0: must be one of refiner, ") and "but is 'debater'" in found


def test_a_plugin_is_run_once_in_a_process(with_debaters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        load_spec(with_debaters)
    monkeypatch.chdir(with_debaters.parent)
    plugins.run(Path("debate.py"))  # the same file by another name
    assert with_debaters.with_name("debate.runs").read_text() == "run\n"


def test_two_plugins_of_one_name_are_two(with_debaters: Path, folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "debate.py").write_text(DEBATER.replace('"debater"', '"rival"'))
    load_spec(with_debaters, ["plugins=[debate.py, other/debate.py]"])
    assert {"debater", "rival"} <= ROLES.keys()


def test_a_plugin_that_was_mended_is_run_again(with_debaters: Path, folder: Path) -> None:
    (folder / "debate.py").write_text(DEBATER.replace("import pathlib", "import pathlob"))
    assert "plugins.0: must be a Python file that can be run" in said(with_debaters)[0]
    (folder / "debate.py").write_text(DEBATER)
    load_spec(with_debaters)


# what the plugin holds -> what is said of it
BROKEN: dict[str, tuple[str, str]] = {
    "raises": ("raise ValueError('no such debate')", "ValueError: no such debate; mend it"),
    "several lines": ("raise ValueError('a\\n  b\\n\\nc')", "ValueError: a b c; mend it"),
    "control characters": ("raise ValueError('\\x1b[31mred\\u202e')", "ValueError: \\x1b[31mred\\u202e; mend it"),
    "a key": (f"raise RuntimeError('{KEY} was refused')", "RuntimeError: (hidden: it looks like a key); mend it"),
    "a token": ("raise RuntimeError('refused ab12cd34ef56ab12cd34ef')", "RuntimeError: (hidden: it looks like a key)"),
    "a long text": ("raise ValueError('x ' * 5000)", f"ValueError: {'x ' * 99}x…; mend it"),
    "no text": ("raise KeyError", "KeyError: ; mend it"),
    "ends the process": ("import sys; sys.exit('bye')", "SystemExit: bye; mend it"),
    "no Python": ("def debate(:", "SyntaxError: invalid syntax (bad.py, line 1); mend it"),
    "no such module": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'; mend it"),
    "a role that is there": (
        "import apportion\nfrom apportion.envs.roles import Role\nasync def f(job): ...\n"
        "apportion.add_role('voter', Role('kept', 1, calls_model=False), f)",
        "GraphError: a role is added once, but 'voter' is there and does something else; choose another name.; mend",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_plugin_that_cannot_be_run_is_one_line(with_debaters: Path, folder: Path, what: str) -> None:
    text, ending = BROKEN[what]
    (folder / "bad.py").write_text(text)
    with_debaters.write_text(with_debaters.read_text().replace("[debate.py]", "\n  - debate.py\n  - bad.py"))
    (found,) = said(with_debaters)
    assert found.startswith(
        f"spec.yaml:5: plugins.1: must be a Python file that can be run, but 'bad.py' raises {ending}"
    ), found
    assert found.isprintable() and len(found) < 400 and "hunter2" not in found


@pytest.mark.parametrize(
    ("listed", "ending"),
    [
        ("[none.py]", "3: plugins.0: must be a Python file that can be run, but 'none.py' raises FileNotFoundError: "),
        (
            "[facts.jsonl]",
            "3: plugins.0: must be a Python file that can be run, but 'facts.jsonl' raises ImportError: it",
        ),
        ("[.]", "3: plugins.0: must be a Python file that can be run, but '.' raises ImportError: it is no .py file"),
        ("['']", "3: plugins.0: must not be empty"),
        ("debate.py", "3: plugins: must be a list, but is 'debate.py'; write it like [a, b]"),
        ("{a: debate.py}", "3: plugins: must be a list, but is a mapping of a"),
        ("[3, none.py]", "3: plugins.0: must be text, but is 3"),
    ],
)
def test_what_is_no_plugin(with_debaters: Path, listed: str, ending: str) -> None:
    with_debaters.write_text(with_debaters.read_text().replace("[debate.py]", listed))
    found = said(with_debaters)
    assert any(line.startswith(f"spec.yaml:{ending}") for line in found), found
    assert all(line.isprintable() and len(line) < 400 for line in found)
    if "[3," in listed:
        assert any(line.startswith("spec.yaml:3: plugins.1: must be a Python file") for line in found), found


def test_a_broken_plugin_hides_no_other_mistake(with_debaters: Path, folder: Path) -> None:
    (folder / "debate.py").write_text("1 / 0")
    found = said(with_debaters, "limits.trials=0")
    assert [line.split(": ")[0] for line in found] == ["spec.yaml:3", "spec.yaml:29", "--set limits.trials"]
    assert found[0].endswith("'debate.py' raises ZeroDivisionError: division by zero; mend it")


def test_overrides(with_debaters: Path, folder: Path) -> None:
    (folder / "debate.py").rename(folder / "elsewhere.py")
    assert load_spec(with_debaters, ["plugins=[elsewhere.py]"]).spec.plugins == ("elsewhere.py",)
    found = said(with_debaters, "plugins.0=none.py")
    assert found[0].startswith("spec.yaml:29: ") or found[0].startswith("--set plugins.0: ")
    assert any(
        line.startswith("--set plugins.0: must be a Python file that can be run, but 'none.py'") for line in found
    )
