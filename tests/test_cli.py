"""The command line as users and scripts meet it: exit codes, one line for a mistake, JSON, plain text, no secrets."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

import apportion
from apportion.cli import main
from apportion.store.database import Database
from apportion.store.trials import SCHEMA
from tests.support import ROOT, Task, rows, run_cli, server_process, start_cli, wait_until, write_task

NOWHERE = "http://127.0.0.1:9/v1"
CANARY = "sk-canary-5f1d7c2e9ab04388"
HEAVY = {
    "torch",
    "langgraph",
    "litellm",
    "optuna",
    "aiohttp",
    "pydantic",
    "networkx",
    "matplotlib",
    "pandas",
    "numpy",
    "rich",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server_process() as url:
        yield url


@pytest.fixture(scope="module")
def task(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("task"), url, Task(trials=6, sampler="random"))


@pytest.fixture(scope="module")
def finished(task: Path) -> Path:
    """The folder of a search that is done, with graphs over the budget among its trials."""
    folder = task.parent / "run"
    apportion.load(task, ["budget.flops=3e11"]).run(folder)
    return folder


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command, in this process."""
    try:
        code = main(arguments)
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        code = ended.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# --- the user's mistakes ---------------------------------------------------------------------------------------------

MISTAKES = {
    "no such file": (["run", "{folder}/none.yaml"], r".*none\.yaml: .*mend the path"),
    "no command": ([], r"apportion: .*COMMAND.*; see apportion --help"),
    "unknown command": (["rum"], r"apportion: .*invalid choice: 'rum'.*; see apportion --help"),
    "unknown option": (
        ["run", "{task}", "--trails", "3"],
        r"apportion.*: unrecognized arguments: --trails 3;.*",
    ),
    "option without its value": (["run", "{task}", "--out"], r"apportion run: .*expected one argument.*"),
    "--set without a value": (
        ["run", "{task}", "--set", "limits.trials"],
        r"--set limits\.trials: .*path=value.*",
    ),
    "--set of an unknown key": (["run", "{task}", "--set", "limits.trails=3"], r"--set limits\.trails: .*trials.*"),
    "--set of a wrong value": (["run", "{task}", "--set", "limits.trials=-3"], r".*limits\.trials.*"),
    "a limit that no search can keep": (["run", "{task}", "--set", "limits.tokens=3"], r".*limits\.tokens.*raise it.*"),
    "a run folder that is a file": (["run", "{task}", "--out", "{file}"], r".*{file}.*"),
    "a run folder below a file": (["run", "{task}", "--out", "{file}/run"], r".*{file}.*"),
    "a run folder that cannot be made": (["run", "{task}", "--out", "/proc/none/run"], r".*/proc/none.*"),
    "no run folder": (["show", "{folder}/none"], r".*{folder}/none.*name the folder of a run\."),
    "a folder without a run": (["show", "{folder}"], r".*{folder}.*name the folder of a run\."),
    "a run that has not begun": (["show", "{begun}"], r".*{begun}.*run it\."),
    "a folder of another program": (["show", "{other}"], r".*another SQLite file.*"),
    "an unknown format": (["export", "{finished}", "--to", "mlflow", "x"], r"apportion export: .*'mlflow'.*"),
    "an unknown storage": (
        ["export", "{finished}", "--to", "optuna", "nonsense"],
        r"`URL` must open an Optuna.*",
    ),
    "an unknown model": (["models", "pull", "gpt-9"], r".*gpt-9.*"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    mistake: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"task": write_task(tmp_path / "task", NOWHERE), "folder": tmp_path, "file": tmp_path / "file"}
    places |= {"finished": finished, "begun": tmp_path / "begun", "other": tmp_path / "other"}
    places["file"].touch()
    Database(places["begun"] / "run.sqlite", SCHEMA).close()
    places["other"].mkdir()
    with sqlite3.connect(places["other"] / "run.sqlite") as connection:
        connection.execute("CREATE TABLE studies (id)")
    connection.close()
    arguments, expected = MISTAKES[mistake]
    code, out, err = said([argument.format(**places) for argument in arguments], capsys)
    assert (code, out) == (2, "")
    pattern = re.sub(r"\{(\w+)\}", lambda match: re.escape(str(places[match[1]])), expected)
    assert re.fullmatch(pattern, err.rstrip("\n")), err
    assert not (tmp_path / "task" / "runs").exists()


def test_all_mistakes_of_a_task_file_are_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_task(tmp_path, NOWHERE)
    path.write_text(path.read_text().replace("sampler: tpe", "sampler: tpee").replace("trials: 4", "trials: many"))
    code, out, err = said(["validate", str(path)], capsys)
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 2 and all(line.startswith(f"{path}:") for line in lines)


def test_a_missing_key_is_said_before_anything_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    path = write_task(tmp_path, NOWHERE, Task(extra=", api_key_env: SOME_KEY"))
    assert said(["validate", str(path)], capsys)[0] == 0
    code, out, err = said(["run", str(path), "--out", str(tmp_path / "run")], capsys)
    assert (code, out) == (2, "")
    assert err == "environment: SOME_KEY must hold an API key, but is not set; export it.\n"
    assert not (tmp_path / "run").exists()


# --- how a search ends -----------------------------------------------------------------------------------------------


def test_done_is_0(task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(["run", str(task), "--out", str(tmp_path / "run")], capsys)
    assert (code, err) == (0, "")
    assert "tiny  done" in out and "Front" in out and "Ledger" in out


def test_nothing_feasible_when_measured_is_3(task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", str(task), "--out", str(tmp_path / "run"), "--set", "budget.flops=4e10"]
    code, out, err = said(arguments, capsys)
    assert (code, err) == (3, "")
    assert "`budget.flops` is 4e+10" in out and "No graph was feasible" in out
    assert said(arguments, capsys)[0] == 3, "and again"


@pytest.mark.parametrize("limit", ["limits.calls=3", "limits.calls=30", "limits.tokens=3000", "limits.usd=0.0005"])
def test_a_limit_that_leaves_the_end_undone_is_4_and_can_be_raised(
    task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: str
) -> None:
    name, value = limit.split("=")
    code, out, err = said(["run", str(task), "--out", str(tmp_path / "run"), "--set", limit], capsys)
    assert code in (0, 4) and err == ""
    assert f"`{name}` is {float(value):g}" in out
    result = apportion.open_run(tmp_path / "run")
    assert (code == 0) == (result.summary.closing is not None) == (result.summary.state == "done")
    if limit == "limits.calls=3":
        assert code == 4


@pytest.mark.parametrize("asked", ["", "objectives.1.minimize=latency_s", "budget.latency_s=1000"])
def test_speeds_are_probed_only_where_latency_is_asked_for(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: str
) -> None:
    path = write_task(tmp_path, url, Task(trials=1))
    path.write_text(re.sub(r", rates: \{.*?\}", "", path.read_text()))
    run, more = tmp_path / "run", ["--set", asked] if asked else []
    assert said(["run", str(path), "--out", str(run), *more], capsys)[0] == 0
    shown = json.loads(said(["show", str(run), "--json"], capsys)[1])
    assert (shown["ledger"]["searcher"]["calls_fresh"] > 0) == bool(asked)
    assert ("latency_s" in shown["best"]["metrics"]) == bool(asked) == bool(shown["rates"])


# --- what is shown ---------------------------------------------------------------------------------------------------

SUMS = {"calls_fresh", "calls_banked", "calls_failed", "prompt_tokens", "completion_tokens", "flops", "usd", "seconds"}


def check_metrics(metrics: dict[str, Any]) -> None:
    assert {"accuracy", "calls", "tokens", "flops", "usd", "latency_s"} <= metrics.keys()
    for interval in metrics.values():
        assert interval.keys() == {"mean", "low", "high", "n"}
        assert interval["low"] <= interval["mean"] <= interval["high"] and interval["n"] > 0


def test_show_as_json(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(["show", str(finished), "--json"], capsys)
    assert (code, err) == (0, "")
    shown = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert {"study", "state", "trials", "best", "front", "baselines", "test", "ledger"} <= shown.keys()
    assert (shown["study"], shown["state"]) == ("tiny", "done")
    assert {"complete", "pruned", "infeasible", "failed"} <= shown["trials"].keys()
    assert shown["trials"]["infeasible"] > 0 and shown["trials"]["complete"] > 0
    assert {"trial", "graph", "metrics"} <= shown["best"].keys()
    assert len(shown["baselines"]) == 4
    for trial in (shown["best"], *shown["front"], *shown["baselines"]):
        check_metrics(trial["metrics"])
    check_metrics(shown["test"]["winner"]["metrics"])
    assert shown["ledger"].keys() == {"candidate", "judge", "searcher"}
    assert all(sums.keys() >= SUMS for sums in shown["ledger"].values())
    assert all(trial["state"] == "complete" for trial in shown["front"])


def test_the_ledger_shown_is_the_sum_of_the_attempts(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(said(["show", str(finished), "--json"], capsys)[1])["ledger"]["candidate"]
    ((count, prompt, completion, flops),) = rows(
        finished / "run.sqlite", "SELECT count(*), sum(prompt_tokens), sum(completion_tokens), sum(flops) FROM attempt"
    )
    assert shown["calls_fresh"] == count
    assert (shown["prompt_tokens"], shown["completion_tokens"], shown["flops"]) == (prompt, completion, flops)


def test_where_there_is_no_terminal_lines_are_plain_and_whole(task: Path, tmp_path: Path) -> None:
    code, out, err = run_cli("run", task, "--out", tmp_path / "run", COLUMNS="60", TERM="xterm-256color")
    assert (code, err) == (0, "")
    assert "\x1b" not in out and "\r" not in out
    told = [line for line in out.splitlines() if re.match(r"trial \d+ +(complete|infeasible)", line)]
    assert len(told) == len({line.split()[1] for line in told}) >= 5
    summary = apportion.open_run(tmp_path / "run").summary
    fresh = banked = 0
    for line in told:
        own = re.search(r"^trial (\d+) .*\((\d+) fresh, (\d+) banked\)  ", line)
        assert own, line
        assert int(own[2]) + int(own[3]) == round(6 * summary.by_number(int(own[1])).mean("calls"))
        fresh, banked = fresh + int(own[2]), banked + int(own[3])
    ledger = summary.ledger["candidate"]  # of validation and test too
    assert 0 < fresh <= int(ledger["calls_fresh"] or 0) and 0 < banked <= int(ledger["calls_banked"] or 0)
    code, shown, _ = run_cli("show", tmp_path / "run")
    assert code == 0 and "\x1b" not in shown
    assert "candidate" in shown and "completion tokens" in shown, "no column is cut where nothing limits the width"


@pytest.mark.parametrize("command", ["show {run}", "show {run} --json", "schema", "run {task} --out {run}"])
def test_a_reader_that_leaves_early_is_no_error(finished: Path, task: Path, command: str) -> None:
    filled = command.format(run=finished, task=f"{task} --set budget.flops=3e11")
    line = f"{sys.executable} -m apportion.cli {filled} | head -1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert ended.stderr == ""
    assert ended.stdout.count("\n") == 1
    assert ended.returncode in ((0, 130) if command.startswith("run") else (0,))


@pytest.mark.parametrize("command", ["show {run}", "show {run} --json", "schema", "validate {task}"])
def test_output_without_room_is_said_in_one_line(finished: Path, task: Path, command: str) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ended = subprocess.run(
            [sys.executable, "-m", "apportion.cli", *command.format(run=finished, task=task).split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
    said = "what is printed must be written, but no space is left for it; make room or send it elsewhere.\n"
    assert (ended.returncode, ended.stderr) == (2, said)


def test_a_path_that_is_no_text_is_shown_escaped(finished: Path, tmp_path: Path) -> None:
    code, out, err = run_cli("export", finished, "--to", "json", tmp_path / "\udcff")
    assert (code, err) == (0, "") and out.endswith("\\udcff\n") and (tmp_path / "\udcff").exists()


def test_a_search_whose_reader_leaves_is_interrupted_and_goes_on_later(task: Path, tmp_path: Path) -> None:
    command = f"{sys.executable} -m apportion.cli run {task} --out {tmp_path / 'run'}"
    line = f"{command} | head -1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert (ended.returncode, ended.stderr) == (130, "")
    assert main(["run", str(task), "--out", str(tmp_path / "run")]) == 0


# --- quick help ------------------------------------------------------------------------------------------------------


def test_help_is_instant() -> None:
    def seconds() -> float:
        began = time.perf_counter()
        command = [sys.executable, "-m", "apportion.cli", "--help"]
        assert (
            "usage: apportion" in subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
        )
        return time.perf_counter() - began

    assert statistics.median(seconds() for _ in range(5)) < 0.3


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["export", "--help"], ["nonsense"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import contextlib, sys, apportion\nfrom apportion.cli import main\n"
        f"with contextlib.suppress(SystemExit):\n    main({arguments!r})\n"
        f"print(sorted(sys.modules.keys() & {HEAVY!r}), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stderr.splitlines()[-1] == "[]"


# --- export ----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_export_to_optuna(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    code, out, err = said(["export", str(finished), "--to", "optuna", storage], capsys)
    result = apportion.open_run(finished)
    measured = [t for t in result.summary.trials if t.state not in ("running", "repeated")]
    assert (code, err) == (0, "") and out == f"{len(measured)} trials written to {storage}\n"
    study = optuna.load_study(study_name="tiny", storage=storage)
    assert study.metric_names == ["accuracy", "flops"]
    assert [t.user_attrs["graph"] for t in study.trials] == [t.key for t in measured]
    values = [[t.mean("accuracy"), t.mean("flops")] if t.metrics else None for t in measured]
    assert [t.values for t in study.trials] == values
    assert {t.user_attrs["graph"] for t in study.best_trials} == {t.key for t in result.front}
    code, out, err = said(["export", str(finished), "--to", "optuna", storage], capsys)
    assert (code, out) == (2, "") and "already has 'tiny'" in err
    optuna.storages.get_storage(storage).remove_session()


# --- secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 3])
def test_a_key_is_nowhere_even_when_the_server_echoes_it(tmp_path: Path, every: int) -> None:
    task, run = (
        Task(extra=", api_key_env: CANARY_KEY", trials=2, split="{search: 3, validation: 2, test: 2}"),
        tmp_path / "run",
    )
    with server_process("--fault", "401_echo", "--every", str(every)) as url:
        path = write_task(tmp_path, url, task)
        code, out, err = run_cli("run", path, "--out", run, CANARY_KEY=CANARY)
        _, shown, complaints = run_cli("show", run, "--json", CANARY_KEY=CANARY)
    assert code in (0, 3, 4) and err == complaints == ""
    messages = rows(run / "run.sqlite", "SELECT DISTINCT message FROM attempt WHERE outcome = 'rejected'")
    assert messages == [("HTTP 401: Incorrect API key provided: Bearer [key]",)]
    written = [path.read_bytes() for path in run.rglob("*") if path.is_file()]
    assert written
    for text in (out.encode(), shown.encode(), *written):
        assert CANARY.encode() not in text
        assert CANARY.encode("utf-16-le") not in text


# --- stages of slots and roles of one's own --------------------------------------------------------------------------

SLOTS = "    slots: 2\n    roles: [refiner]\n    samples: [1, 2]\n    temperatures: [0.2, 0.9]\n"
DEBATER = """\
import apportion
from apportion.envs.roles import Job, NodeRun, Role


async def debate(job: Job) -> NodeRun:
    return job.answered(await job.ask(job.dressed(job.candidates), job.sampling))


apportion.add_role("debater", Role("new", 1, comments="reads"), debate, "{task} Others say: {candidates}")
"""


def slotted(folder: Path, url: str, slots: str = SLOTS, **more: Any) -> Path:
    """The small task with slots in its first stage."""
    path = write_task(folder, url, Task(trials=6, **more))
    text = path.read_text()
    templates = "    templates: [single, vote]\n    samples: [1, 3]\n"
    assert templates in text
    path.write_text(text.replace(templates, slots))
    return path


def as_shown(run: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `show --json` prints of what does not depend on interruptions."""
    code, out, err = said(["show", str(run), "--json"], capsys)
    assert (code, err) == (0, "")
    shown: dict[str, Any] = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    return {name: value for name, value in shown.items() if name not in ("folder", "elapsed_s", "ledger", "break_even")}


def test_slots_are_searched_killed_gone_on_with_and_shown(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = slotted(tmp_path, url, sampler="reinforce")
    arguments = ["run", str(path), "--set", "budget.flops=6e11", "--out"]
    assert said(["validate", *arguments[1:4]], capsys)[0] == 0
    code, out, err = said([*arguments, str(tmp_path / "whole")], capsys)
    assert (code, err) == (0, "") and " T=0.2" in out
    killed = tmp_path / "killed"
    with start_cli(*arguments, killed) as process:
        wait_until(lambda: told_in(killed) >= 6 or process.poll() is not None)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert "outcome" not in {name for (name,) in rows(killed / "run.sqlite", "SELECT name FROM fact")}
    code, out, err = said([*arguments, str(killed)], capsys)
    assert (code, err) == (0, "")
    assert "tiny  done" in out

    shown = as_shown(killed, capsys)
    assert shown == as_shown(tmp_path / "whole", capsys)
    assert (shown["state"], shown["trials"]["complete"] > 4) == ("done", True)
    for trial in (shown["best"], *shown["front"], *shown["baselines"]):
        check_metrics(trial["metrics"])
    of_slots = [trial for trial in apportion.open_run(killed).summary.trials if trial.label == "reinforce"]
    nodes = [node for trial in of_slots for node in trial.graph.nodes if node.stage == "hint" and node.model]
    assert {node.temperature for node in nodes} <= {0.2, 0.9}
    code, out, err = said(["show", str(killed)], capsys)
    assert (code, err) == (0, "") and "Best graph" in out and "Ledger" in out
    assert said([*arguments, str(killed)], capsys)[1].startswith(f"The search in {killed} is done: nothing to buy.")


def told_in(run: Path) -> int:
    """Trials that are told in the store of a run."""
    try:
        return len(rows(run / "run.sqlite", 'SELECT 1 FROM trial WHERE record NOT LIKE \'%"state": "running"%\''))
    except sqlite3.Error:
        return 0  # there is no such file or table yet


@pytest.mark.parametrize("sampler", ["reinforce", "gptswarm"])
def test_a_budget_that_covers_no_graph_of_slots_is_3(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], sampler: str
) -> None:
    path = slotted(tmp_path, url, sampler=sampler)
    arguments = ["run", str(path), "--out", str(tmp_path / "run"), "--set", "budget.flops=4e10"]
    for _ in range(2):
        code, out, err = said(arguments, capsys)
        assert (code, err) == (3, "")
        said_why = (
            "the sampler found no graph to try: the budget must cover one graph, but it is 4e+10 and the cheapest"
        )
        assert said_why in " ".join(out.split()) and "No graph was feasible" in out
    assert as_shown(tmp_path / "run", capsys)["state"] == "infeasible"


def test_a_space_that_a_grid_cannot_list_is_said_in_one_line(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = slotted(tmp_path, url, sampler="grid")
    arguments = [str(path), "--set", "stages.0.slots=9"]
    code, out, err = said(["run", *arguments, "--out", str(tmp_path / "run")], capsys)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"a stage's graphs are listed up to [\d,]+ settings, .*; use fewer slots, or .*\n", err), err
    assert said(["validate", *arguments], capsys) == (2, "", err)
    assert said(["validate", *arguments, "--set", "search.sampler=tpe"], capsys)[0] == 0


def test_what_a_sampler_needs_is_named(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [
        name for name in sys.modules if name.startswith(("apportion.search.reinforce", "apportion.graphs.prob"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    path = slotted(tmp_path, url, sampler="reinforce")
    code, out, err = said(["run", str(path), "--out", str(tmp_path / "run")], capsys)
    assert (code, out) == (2, "")
    assert err == "this needs the module 'torch', which is not installed; pip install 'apportion[torch]'.\n"


def test_a_role_of_the_users_is_searched_and_shown(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = slotted(tmp_path, url, SLOTS.replace("refiner", "debater").replace("slots: 2", "slots: 3"), sampler="random")
    path.write_text(path.read_text() + "plugins: [roles/debate.py]\n")
    plugin, run = tmp_path / "roles" / "debate.py", tmp_path / "run"
    plugin.parent.mkdir()
    plugin.write_text(DEBATER)
    code, out, err = run_cli("run", path, "--out", run, "--set", "limits.trials=8")
    assert (code, err) == (0, "") and "debater " in out and "tiny  done" in out

    plugin.write_text("print('hello')\n" + DEBATER)
    best = tmp_path / "best.json"
    for looking in (("show", run, "--json"), ("show", run), ("export", run, "--to", "json", best)):
        code, out, err = run_cli(*looking)
        assert (code, err) == (0, "hello\n") and "hello" not in out
    assert json.loads(run_cli("show", run, "--json")[1])["state"] == "done"
    code, out, err = run_cli("validate", path)
    assert (code, err) == (0, "hello\n") and "hello" not in out
    records = [json.loads(record) for (record,) in rows(run / "run.sqlite", "SELECT record FROM trial")]
    played = [node["role"] for record in records for node in record["graph"]["nodes"]]
    assert "debater" in played and not any(record["state"] == "failed" for record in records)

    plugin.write_text("raise RuntimeError('gone\\nfor good')")
    for command in (["show", str(run)], ["export", str(run), "--to", "json", str(tmp_path / "other.json")]):
        code, out, err = said(command, capsys)
        assert (code, out) == (2, "")
        why = "raises RuntimeError: gone for good; bring it back as it was."
        assert err == f"the graphs in {run} have roles of {plugin}, which {why}\n"
