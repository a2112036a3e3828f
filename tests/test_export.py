"""Graphs as files: those that run answer like the run they come from, by themselves and without a key in them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import apportion
from apportion.answering import Answerer, needs_of, parts_of
from apportion.cli import main
from apportion.envs.roles import OPERATORS
from apportion.errors import ApportionError, SpecError
from apportion.export import _text, public, to_optuna
from apportion.graphs.drawing.graphs import to_mermaid
from apportion.graphs.graph import Graph, Node
from apportion.graphs.roles import ROLES
from apportion.run import RunFolder
from apportion.search.trial import Trial
from apportion.spec import TaskSpec, load_spec, plugins
from tests.support import Task, rows, server_process, write_task

KEY = "sk-canary-77d0c2b19e"
HARD = "Is it \"so\", 'really'? 100 % \\n = ünd"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server_process() as url:
        yield url


@pytest.fixture(scope="module")
def task(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_task(
        tmp_path_factory.mktemp("task"), url, Task(trials=5, sampler="random", extra=", api_key_env: A_KEY")
    )
    prompt = "Say \"\"\"no\"\"\" or '''yes''' to \\\\ $5. {question}"
    path.write_text(path.read_text().replace("Give a hint. {question}", prompt.replace('"', '\\"')))
    return path


@pytest.fixture(scope="module")
def finished(task: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("A_KEY", KEY)
        apportion.load(task).run(task.parent / "run")
        yield task.parent / "run"


def own_answer(run: Path, graph: Graph, question: str) -> str:
    """What the run's own bank gives for an example, without a call."""

    async def answer() -> str | None:
        folder = RunFolder.view(run)
        parts = parts_of(folder.spec, graph)
        folder.close()
        async with Answerer(parts, graph, bank=run / "run.sqlite") as answerer:
            return (await answerer.answer({"question": question})).answer

    before = rows(run / "run.sqlite", "SELECT count(*) FROM attempt")
    said = asyncio.run(answer())
    assert said is not None and rows(run / "run.sqlite", "SELECT count(*) FROM attempt") == before
    return said


def export(run: Path, form: str, path: Path, *more: str) -> int:
    return main(["export", str(run), "--to", form, *more, str(path)])


def execute(path: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of an exported file, run from another folder."""
    ended = subprocess.run(
        [sys.executable, path, *arguments], capture_output=True, text=True, cwd="/", env=environment, timeout=30
    )
    return ended.returncode, ended.stdout, ended.stderr


# --- files that run --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["python", "langgraph"])
def test_a_file_answers_like_the_run(task: Path, finished: Path, tmp_path: Path, form: str) -> None:
    path = tmp_path / "answer.py"
    trials = apportion.open_run(finished).summary.trials
    most = max(trials, key=lambda trial: len(trial.graph.nodes))
    assert export(finished, form, path, "--trial", str(most.number)) == 0
    assert KEY not in path.read_text() and "A_KEY" in path.read_text()
    question = str(load_spec(task).rows.search[0]["question"])
    code, out, err = execute(path, f"question={question}", A_KEY=KEY)
    assert (code, out, err) == (0, own_answer(finished, most.graph, question) + "\n", "")
    code, out, err = execute(path, f"question={HARD}", A_KEY=KEY)
    assert (code, err) == (0, "") and out.strip()


@pytest.mark.parametrize("form", ["python", "langgraph"])
def test_a_file_says_mistakes_in_one_line(finished: Path, tmp_path: Path, form: str) -> None:
    path = tmp_path / "answer.py"
    assert export(finished, form, path) == 0
    missing = "a question must have question, but 'question' is absent; give question=...\n"
    assert execute(path, A_KEY=KEY) == (2, "", missing)
    assert execute(path, "what", A_KEY=KEY) == (
        2,
        "",
        "a field must be given as name=value, got 'what'; write it so.\n",
    )
    assert execute(path, "question=a", "question=b", A_KEY=KEY) == (
        2,
        "",
        "a field must be given once, but 'question' stands twice; leave one out.\n",
    )
    assert execute(path, "question=?", "hint=x", A_KEY=KEY) == (
        2,
        "",
        "a question must have question and no more, got 'hint'; leave it out.\n",
    )
    code, out, err = execute(path, "question=\udcff", A_KEY=KEY)
    assert (code, out) == (2, "") and re.fullmatch(
        r"'question' must be text that UTF-8 can hold, but .*; mend it.\n", err
    )
    no_key = "environment: A_KEY must hold an API key, but is not set; export it.\n"
    assert execute(path, "question=?") == (2, "", no_key)


@pytest.mark.parametrize("form", ["python", "langgraph"])
def test_an_answer_that_cannot_be_written_is_said_in_one_line(finished: Path, tmp_path: Path, form: str) -> None:
    path = tmp_path / "answer.py"
    assert export(finished, form, path) == 0
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ended = subprocess.run(
            [sys.executable, path, "question=?"], stdout=full, stderr=subprocess.PIPE, text=True, env={"A_KEY": KEY}
        )
    said = "stdout must take the answer, but No space left on device; send it elsewhere.\n"
    assert (ended.returncode, ended.stderr) == (2, said)
    ended = subprocess.run(
        ["bash", "-c", '"$0" "$1" question=? | true; exit ${PIPESTATUS[0]}', sys.executable, path],
        stderr=subprocess.PIPE,
        text=True,
        env={"A_KEY": KEY, "PATH": os.environ["PATH"]},
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_another_program_may_import_the_application(finished: Path, tmp_path: Path) -> None:
    assert export(finished, "langgraph", tmp_path / "exported.py") == 0
    program = (
        "import asyncio, exported\nprint(asyncio.run(exported.app.ainvoke({'fields': {'question': '?'}}))['answer'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env={"A_KEY": KEY}
    )
    assert (ended.returncode, ended.stdout) == (0, execute(tmp_path / "exported.py", "question=?", A_KEY=KEY)[1])


def test_a_file_without_an_answer_says_why(finished: Path, tmp_path: Path, url: str) -> None:
    path = tmp_path / "answer.py"
    assert export(finished, "python", path) == 0
    with server_process("--fault", "401_echo") as refusing:
        path.write_text(path.read_text().replace(url, refusing))
        code, out, err = execute(path, "question=?", A_KEY=KEY)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"no answer: failed (small|large) \(rejected\): HTTP 401: .*Bearer \[key\]\n", err)


# --- files that are read ---------------------------------------------------------------------------------------------


def test_json_and_mermaid(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = apportion.open_run(finished).best
    assert best is not None
    assert export(finished, "json", tmp_path / "graph.json") == export(finished, "mermaid", tmp_path / "graph.mmd") == 0
    assert capsys.readouterr().out.startswith(f"trial {best.number} written to {tmp_path / 'graph.json'}\n")
    assert Graph.from_json((tmp_path / "graph.json").read_text()) == best.graph
    assert (tmp_path / "graph.mmd").read_text() == to_mermaid(best.graph) + "\n"


def test_another_trial(finished: Path, tmp_path: Path) -> None:
    trials = apportion.open_run(finished).summary.trials
    assert export(finished, "json", tmp_path / "graph.json", "--trial", "1") == 0
    assert Graph.from_json((tmp_path / "graph.json").read_text()) == trials[1].graph


# --- mistakes --------------------------------------------------------------------------------------------------------

MISTAKES = {
    "a file that exists": (["--to", "json", "{file}"], "a file is not written over, but {file} exists; "),
    "a folder that is not there": (["--to", "json", "{file}/x"], "`TARGET` must be writable, but Not a directory"),
    "an unknown trial": (["--to", "json", "--trial", "99", "{new}"], "a trial's number must be from 0 to "),
    "a trial below 0": (["--to", "json", "--trial=-1", "{new}"], "a trial's number must be from 0 to "),
    "a trial that is no number": (["--to", "json", "--trial", "best", "{new}"], "apportion export: argument --trial"),
    "a trial of a study": (["--to", "optuna", "--trial", "1", "sqlite:///{new}"], "`--trial` names one graph"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line(
    finished: Path, tmp_path: Path, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"file": tmp_path / "there.json", "new": tmp_path / "new"}
    places["file"].write_text("mine")
    arguments, said = MISTAKES[mistake]
    try:
        code = main(["export", str(finished), *(argument.format(**places) for argument in arguments)])
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        code = ended.code
    captured = capsys.readouterr()
    assert (code, captured.out, captured.err.count("\n")) == (2, "", 1)
    assert captured.err.startswith(said.format(**places))
    assert places["file"].read_text() == "mine" and not places["new"].exists()


def test_a_run_without_a_feasible_graph(task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("A_KEY", KEY)
        assert apportion.load(task, ["budget.flops=4e10"]).run(tmp_path / "run").best is None
    assert export(tmp_path / "run", "json", tmp_path / "graph.json") == 2
    assert capsys.readouterr().err.startswith(f"a run must have a feasible graph, but {tmp_path / 'run'} has none; ")
    assert export(tmp_path / "run", "json", tmp_path / "graph.json", "--trial", "0") == 0


SECRET = "hunter%402"
STORAGES = {
    "no driver": (f"postgresql://user:{SECRET}@host/db", "postgresql://user:***@host/db: "),
    "no dialect": (f"nosuch://user:{SECRET}@host/db?password={SECRET}", "nosuch://user:***@host/db: "),
    "an @ that is not quoted": ("postgresql://user:a@hunter@host/db", "it is no URL; "),
    "a port that is none": (f"postgresql://user:{SECRET}@host:hunter/db", "it is no URL; "),
    "two slashes too few": (f"postgresql:user:{SECRET}@host", "it is no URL; "),
    "a file in no folder": ("sqlite:////nowhere/study.db", "sqlite:////nowhere/study.db: "),
}


@pytest.mark.parametrize("storage", STORAGES)
def test_a_password_of_a_storage_is_never_shown(
    finished: Path, storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url, said = STORAGES[storage]
    assert main(["export", str(finished), "--to", "optuna", url]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and "hunter" not in captured.err
    assert captured.err.startswith(f"`URL` must open an Optuna storage, but {said}")


@pytest.mark.parametrize("quoted", ["hunter@2", SECRET])
def test_an_error_that_quotes_a_password_is_left_out(
    finished: Path, monkeypatch: pytest.MonkeyPatch, quoted: str
) -> None:
    def refuse(storage: str, **more: object) -> None:
        raise RuntimeError(f"no entry for user:{quoted}@host")

    monkeypatch.setattr("optuna.create_study", refuse)
    folder = RunFolder.view(finished)
    with contextlib.closing(folder), pytest.raises(ApportionError) as error:
        to_optuna(folder, f"postgresql://user:{SECRET}@host/db")
    assert str(error.value) == (
        "`URL` must open an Optuna storage, but postgresql://user:***@host/db; try sqlite:///study.db."
    )


def test_a_password_is_not_shown_where_all_went_well() -> None:
    assert public(f"postgresql://user:{SECRET}@host/db?passfile=x") == "postgresql://user:***@host/db"


# --- answering -------------------------------------------------------------------------------------------------------

GRAPH = Graph((Node("a", "answer", "generator", "small"),))
MODEL = {"endpoint": "http://127.0.0.1:9/v1", "model": "m", "parameters": 1e9, "price": None}
STAGE = {"name": "answer", "prompt": "{q}", "models": ["small"], "templates": ["single"], "max_tokens": 4}
PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "no models": ({"stages": [STAGE]}, "models: "),
    "a wrong value": (
        {"models": {"small": {**MODEL, "parameters": -1}}, "stages": [STAGE]},
        "models.small.parameters: ",
    ),
    "a model that is not there": ({"models": {"big": MODEL}, "stages": [STAGE]}, "models: .* but 'small' is absent"),
    "a stage that is not there": (
        {"models": {"small": MODEL}, "stages": [{**STAGE, "name": "b"}]},
        "stages: .*'answer'",
    ),
}


@pytest.mark.parametrize("wrong", PARTS)
def test_parts_that_do_not_fit_the_graph(wrong: str) -> None:
    parts, said = PARTS[wrong]
    with pytest.raises(SpecError, match=f"^{said}"):
        Answerer(parts, GRAPH)


def test_parts_are_those_that_the_graph_uses(task: Path) -> None:
    spec: TaskSpec = load_spec(task).spec
    parts = parts_of(spec, GRAPH)
    assert list(parts["models"]) == ["small"] and [stage["name"] for stage in parts["stages"]] == ["answer"]
    assert json.loads(json.dumps(parts)) == parts


def test_a_bank_is_kept_and_another_forgotten(url: str, tmp_path: Path) -> None:
    parts = {"models": {"small": {**MODEL, "endpoint": url}}, "stages": [STAGE]}

    async def ask(bank: Path | None) -> None:
        async with Answerer(parts, GRAPH, bank) as answerer:
            first = await answerer.answer({"q": "why"})
            assert await answerer.answer({"q": "why"}) == first and first.status == "ok"
            with pytest.raises(ApportionError, match=r"must have q, but 'q' is absent"):
                await answerer.answer({"p": "why"})
            with pytest.raises(ApportionError, match=r"must have q and no more, got 'p'; leave it out"):
                await answerer.answer({"q": "why", "p": "why"})
            for value in ("\ud800", ["\ud800"], {"deep": "\ud800"}, object()):
                with pytest.raises(ApportionError, match=r"^'q' must be text that UTF-8 can hold, but "):
                    await answerer.answer({"q": value})

    for _ in range(2):
        asyncio.run(ask(tmp_path / "bank.sqlite"))
    assert rows(tmp_path / "bank.sqlite", "SELECT count(*) FROM attempt") == [(1,)]
    asyncio.run(ask(None))


@patch.dict(ROLES)
@patch.dict(OPERATORS)
def test_a_file_brings_the_roles_of_plugins_along(url: str, tmp_path: Path) -> None:
    plugin = tmp_path / "own_roles.py"
    plugin.write_text(
        "import apportion\n"
        "print('hello')\n"
        "from apportion.envs.roles import Job, NodeRun, Role\n"
        "async def echo(job: Job) -> NodeRun:\n"
        "    return NodeRun('ok', job.candidates[:1])\n"
        "apportion.add_role('exported_echo', Role('kept', 1, calls_model=False), echo)\n"
    )
    plugins.run(plugin)
    task = write_task(tmp_path, url)
    spec = load_spec(task).spec
    stage = spec.stages[-1].name
    model = spec.stages[-1].models[0]
    graph = Graph((Node("d", stage, "generator", model), Node("e", stage, "exported_echo", inputs=("d",))))
    text = _text(spec, Trial(0, "own", baseline=False, graph=graph), "python", [str(plugin)])
    file = tmp_path / "best.py"
    file.write_text(text)
    code, out, err = execute(file, *(f"{name}=x" for name in needs_of(spec, graph)))
    assert (code, err) == (0, "hello\n") and out and "hello" not in out
    plugin.unlink()
    code, out, err = execute(file, *(f"{name}=x" for name in needs_of(spec, graph)))
    assert (code, out) == (2, "") and err.startswith("plugins: must be a Python file that can be run")
