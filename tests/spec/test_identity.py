"""The code and prompts of the roles belong to a run's identity: no search goes on with others and says nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import apportion
from apportion.errors import StoreError
from apportion.graphs.roles import ROLES
from apportion.run import RunFolder
from apportion.spec import differences, fingerprint, identity, load_spec
from apportion.spec.identity import COMMON

Write = Callable[[str | bytes], Path]
FOLDER = Path(apportion.__file__).parent / "envs" / "roles"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the roles, which stands for those of another version."""
    copy = tmp_path / "package" / "envs" / "roles"
    shutil.copytree(FOLDER, copy)
    monkeypatch.setattr(identity, "files", lambda package: copy.parent.parent)
    return copy


def test_the_roles_are_those_of_the_templates_and_slots_and_of_the_baselines(
    folder: Path, good: str, write: Write
) -> None:
    first = fingerprint(load_spec(folder / "spec.yaml"))
    assert list(first["roles"]) == ["generator", "scorer", "voter"]  # type: ignore[arg-type]
    slots = good.replace("    scorer: big\n", "").replace(
        "templates: [single, vote, best_of_n]", "slots: 2\n    roles: [refiner, fuser]\n    final: [decider]"
    )
    freely = fingerprint(load_spec(write(slots)))
    assert {"generator", "voter", "refiner", "fuser", "decider"} <= set(freely["roles"])  # type: ignore[arg-type]
    assert not any(line.startswith("roles: ") for line in differences(first, freely))


@pytest.mark.parametrize(
    ("file", "roles"),
    [
        ("scorer.txt", "scorer"),
        ("scorer.py", "scorer"),
        ("judging.py", "generator, scorer, voter"),
        ("ranker.txt", ""),
        ("__init__.py", ""),
    ],
)
def test_another_version_of_a_role_is_a_difference(folder: Path, elsewhere: Path, file: str, roles: str) -> None:
    before = fingerprint(load_spec(folder / "spec.yaml"))
    (elsewhere / file).write_text((elsewhere / file).read_text() + "\n# other\n")
    found = differences(before, fingerprint(load_spec(folder / "spec.yaml")))
    assert found == ([f"roles: other code or prompts of {roles} in this version of apportion"] if roles else [])


def test_every_file_of_the_roles_is_one_of_a_role_or_of_all() -> None:
    of_roles = {f"{role}{ending}" for role in ROLES for ending in (".py", ".txt")}
    assert {file.name for file in FOLDER.glob("*.*")} <= {*of_roles, *COMMON, "__init__.py"}


def test_a_run_of_which_nobody_kept_the_roles_is_refused_in_one_line(folder: Path) -> None:
    now = fingerprint(load_spec(folder / "spec.yaml"))
    RunFolder.start(folder / "run", {name: value for name, value in now.items() if name != "roles"}, None).close()
    with pytest.raises(StoreError) as error:
        RunFolder.start(folder / "run", now, None)
    assert str(error.value) == (
        f"a run goes on with the spec it began with, but {folder / 'run'} differs in roles: other code or prompts of "
        "generator, scorer, voter in this version of apportion; restore that, or name another folder with --out."
    )
    RunFolder.view(folder / "run").close()
