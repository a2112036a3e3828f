"""What a recording says of a run: every completion of its bank, and for what it was asked; at any time of the run."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import apportion
from apportion.build import build, evaluators_of, examples_of, stages_of
from apportion.envs.replay import recorded as outcomes
from apportion.errors import ApportionError, RecordedError, StoreError
from apportion.recording.table import read
from apportion.recording.taking import record
from apportion.spec import load_spec
from apportion.store.calls import draw_key
from apportion.testing.answers import Json
from apportion.testing.server import MockServer, hashed_reply
from tests.faults.test_kill import billed, killed_after
from tests.recording.kit import columns_of, completions, recorded, scores, slot_task, template_task
from tests.support import Task, rows, run_cli, server_process, start_cli, tiny_disk, wait_until, write_task


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server_process() as url:
        yield url


@pytest.mark.parametrize("make", [template_task, slot_task])
def test_it_holds_all_that_the_bank_holds(make: Any, url: str, tmp_path: Path) -> None:
    task = make(tmp_path, url, trials=15)
    live = apportion.load(task).run(tmp_path / "run")
    taken = record(tmp_path / "run")
    assert taken.path == tmp_path / "run" / "recording.parquet"
    columns = columns_of(taken.path)
    assert recorded(columns) == completions(tmp_path / "run")
    assert taken.completions == len(completions(tmp_path / "run")) == live.summary.ledger["candidate"]["calls_fresh"]
    assert taken.questions == 14
    kept = rows(tmp_path / "run" / "run.sqlite", "SELECT key, idx, logprobs FROM first_token")
    first = {
        (request, index): json.loads(text)
        for request, index, text in zip(
            columns["request"], columns["sample_index"], columns["first_token"], strict=True
        )
        if text is not None
    }
    assert first == {(key, index): json.loads(text) for key, index, text in kept}
    assert bool(first) == (make is slot_task), "verifiers of a model that gives log-probabilities ask for them"


def test_each_row_tells_for_what_it_was_asked(url: str, tmp_path: Path) -> None:
    """Told from the rows alone: the plain prompts, what was read of the first stage, answers and whether right."""
    task = template_task(tmp_path, url, trials=15)
    apportion.load(task).run(tmp_path / "run")
    path = record(tmp_path / "run").path
    loaded = load_spec(task)
    stages, about = stages_of(loaded.spec), read(path).about
    examples = {example.id: example for split in examples_of(loaded).values() for example in split}
    (right,) = evaluators_of(loaded.spec).values()
    answers: dict[str, set[str]] = {}
    columns = columns_of(path)
    table = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for row in table:
        example, stage, values = examples[row["question_id"]], stages[row["stage"]], json.loads(row["read"])
        assert row["dataset"] == "tiny" and values.keys() == ({"hint"} if stage.name == "answer" else set())
        if row["role"] == "generator":
            said = [(m.role, m.content) for m in stage.messages({**example.fields, **values})]
            how = stage.sampling
            sampling = json.dumps([how.temperature, how.max_tokens, how.top_p, []], separators=(",", ":"))
            assert row["request"] == draw_key(about.models[row["model"]].identity, said, sampling)[0]
        if row["role"] in ("generator", "fuser", "refiner"):
            assert row["answer"] == stage.parse(row["reply"])
            correct = row["answer"] is not None and right(row["answer"], example)
            assert row["correct"] == (correct if stage.name == "answer" else None)
        else:
            assert row["role"] == "scorer" and row["answer"] is None and row["correct"] is None
        if stage.name == "hint":
            answers.setdefault(example.id, set()).add(row["answer"])
    for row in table:
        if row["stage"] == "answer":
            assert json.loads(row["read"])["hint"] in answers[row["question_id"]]
    places = Counter((row["question_id"], row["stage"], row["request"], row["sample_index"]) for row in table)
    assert set(places.values()) == {1}


def test_a_task_of_one_stage_and_votes_is_a_table_of_outcomes(url: str, tmp_path: Path) -> None:
    task = write_task(tmp_path, url, Task(sampler="random"))
    text = task.read_text()
    text = text[: text.index("  - name: hint")] + text[text.index("  - name: answer") :]
    task.write_text(text.replace("Hint: {hint}. ", "").replace("[single, vote, fuse]", "[single, vote]"))
    apportion.load(task).run(tmp_path / "run")
    path = record(tmp_path / "run").path
    table, columns = outcomes.read(path), columns_of(path)
    assert table.dataset == "tiny" and table.pairs == (("answer", "large"), ("answer", "small"))
    assert len(table.questions) == 14 and table.drawn.sum() == len(columns["request"])
    assert table.correct.sum() == sum(columns["correct"])


def test_it_is_the_same_whenever_it_is_made(url: str, tmp_path: Path) -> None:
    task = template_task(tmp_path, url)
    apportion.load(task).run(tmp_path / "run")
    first = record(tmp_path / "run").path.read_bytes()
    assert record(tmp_path / "run").path.read_bytes() == first
    apportion.load(task).replay(tmp_path / "run" / "recording.parquet", tmp_path / "again")
    assert recorded(columns_of(record(tmp_path / "again").path)) == recorded(
        columns_of(tmp_path / "run" / "recording.parquet")
    )


# --- while it runs, and after a kill ---------------------------------------------------------------------------------


def test_a_run_under_way_is_recorded_and_goes_on(tmp_path: Path) -> None:
    log, run = tmp_path / "billed.jsonl", tmp_path / "run"
    with server_process("--reply-ms", "60", log=log) as url:
        task = template_task(tmp_path, url, trials=8)
        with start_cli("run", task, "--out", run) as process:
            wait_until(lambda: len(billed(log)) >= 60)
            taken = record(run, tmp_path / "early.parquet")
            assert process.poll() is None and taken.completions > 20
            out, err = process.communicate(timeout=60)
            assert (process.returncode, err) == (0, ""), out
    early, late = read(taken.path), read(record(run).path)
    assert early.replies.items() < late.replies.items()
    ledger = apportion.open_run(run).summary.ledger["candidate"]
    assert ledger["calls_failed"] == 0 and ledger["calls_fresh"] == len(late.replies), "recording enters nothing"


def test_a_killed_run_is_recorded(tmp_path: Path) -> None:
    log, run = tmp_path / "billed.jsonl", tmp_path / "run"
    with server_process("--reply-ms", "20", log=log) as url:
        task = template_task(tmp_path, url, trials=8)
        assert killed_after(("run", task, "--out", run), lambda: len(billed(log)), 80, 0.0)
    replies = read(record(run).path).replies
    assert {(row[0], row[1]) for row in completions(run)} == replies.keys()
    again = apportion.load(task).replay(run / "recording.parquet", tmp_path / "again")
    assert again.replayed is not None and again.replayed.missing > 0
    assert again.summary.ledger["candidate"]["calls_fresh"] == len(replies)


# --- hostile replies -------------------------------------------------------------------------------------------------

HOSTILE = {
    "control characters": "a\x01b\x1b[31mred\x7f\r\n\tc\x85\u2028d",
    "a NUL": "before\x00after",
    "half a surrogate pair": "lone \ud800 and \udfff",
    "other planes": "\U0001f9d1\u200d\U0001f680 \u202eback\u202c \ufeff",
    "quotes and commas": '",\n"",;\\"\'"{{x}}\n---\n[1] {"hint": 1}',
    "1 MB": "x" * 1_000_000,
    "only blanks": " \n\t ",
    "nothing": "",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_replies_come_through(kind: str, tmp_path: Path) -> None:
    def reply(body: Json) -> str:
        return HOSTILE[kind] if "hint" in str(body["messages"]) and body["seed"] % 3 else hashed_reply(body)

    async def run() -> Path:
        async with MockServer(reply=reply) as server:
            task = template_task(tmp_path, server.url, split="{search: 3, validation: 2, test: 2}")
            await apportion.load(task).arun(tmp_path / "run")
            return task

    task = asyncio.run(run())
    path = record(tmp_path / "run").path
    assert recorded(columns_of(path)) == completions(tmp_path / "run")
    again = apportion.load(task).replay(path, tmp_path / "again")
    assert scores(tmp_path / "again") == scores(tmp_path / "run")
    assert again.replayed is not None and again.replayed.missing == 0
    assert completions(tmp_path / "again") == completions(tmp_path / "run")


# --- what cannot be recorded -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    apportion.load(template_task(folder, url)).run(folder / "run")
    return folder / "run"


def test_a_folder_that_holds_no_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"a run folder must hold run\.sqlite, but .* does not; name the folder"):
        record(tmp_path)


def test_a_run_that_has_asked_nothing(tmp_path: Path) -> None:
    task = template_task(tmp_path, "http://127.0.0.1:9/v1")
    search = build(load_spec(task), tmp_path / "run")
    asyncio.run(search.close())
    with pytest.raises(ApportionError, match=r"a run must have completions to be recorded, but .* has none yet"):
        record(tmp_path / "run")
    assert not (tmp_path / "run" / "recording.parquet").exists()


def test_a_run_whose_examples_have_changed_or_gone(url: str, tmp_path: Path) -> None:
    apportion.load(template_task(tmp_path, url)).run(tmp_path / "run")
    data = tmp_path / "data.jsonl"
    data.write_text(data.read_text().replace("number 1?", "number one?"))
    with pytest.raises(
        StoreError, match=r"the examples of this run must be as they were, but .*data\.jsonl has changed"
    ):
        record(tmp_path / "run")
    data.unlink()
    with pytest.raises(StoreError, match=r"must be in .*data\.jsonl, but it does not exist; bring it back"):
        record(tmp_path / "run")


def test_a_run_of_an_older_version(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "apportion.store.trials.Trials.fact",
        lambda trials, name, then=apportion.store.Trials.fact: None if name == "task" else then(trials, name),
    )
    with pytest.raises(
        StoreError, match=r"must know its task file .* older version; name the folder to `apportion run`"
    ):
        record(finished)


def test_where_a_file_cannot_be_written(finished: Path, tmp_path: Path) -> None:
    for target, said in (
        (tmp_path / "rec.csv", r"must be a \.parquet file, got 'rec\.csv'"),
        (tmp_path / "none" / "rec.parquet", r"must be written, but No such file or directory: .*name another -o"),
        (Path("/proc/rec.parquet"), r"must be written, but .*: /proc/rec\.parquet"),
    ):
        with pytest.raises(RecordedError, match=said) as refused:
            record(finished, target)
        assert "\n" not in str(refused.value)
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(RecordedError, match="must be written, but Is a directory"):
        record(finished, tmp_path / "folder.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.parquet"], "nothing is left behind"


def test_an_older_file_is_replaced_as_a_whole_or_not_at_all(finished: Path, tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", "64k") as disk:
        target = disk / "rec.parquet"
        target.write_bytes(b"old")
        (disk / "ballast").write_bytes(b"0" * 56_000)
        with pytest.raises(RecordedError, match=r"must be written, but No space left on device: .*name another -o"):
            record(finished, target)
        assert target.read_bytes() == b"old" and len([*disk.iterdir()]) == 2
        (disk / "ballast").unlink()
        record(finished, target)
        assert len(read(target).replies) > 50


# --- the command line ------------------------------------------------------------------------------------------------


def test_the_commands(url: str, tmp_path: Path) -> None:
    task, run = template_task(tmp_path, url, split="{search: 3, validation: 2, test: 2}"), tmp_path / "all"
    code, out, err = run_cli("sample", task, "--samples", "3", "--states", "9", "--out", run)
    assert (code, err) == (0, "") and "7/7 examples" in out
    assert out.rstrip().endswith(f"All is bought; write what there is to a file with: apportion record {run}")
    file = tmp_path / "rec.parquet"
    code, out, err = run_cli("record", run, "-o", file)
    assert (code, err) == (0, "")
    assert out == f"{len(completions(run)):,} completions for 7 examples written to {file}\n"
    code, out, err = run_cli("replay", task, "--recording", file, "--out", tmp_path / "again")
    assert (code, err) == (0, "")
    assert f"Replayed from {file}; nothing was asked." in out
    assert out.rstrip().endswith("All draws that were asked for were recorded.")
    code, out, err = run_cli("replay", task, "--recording", file, "--out", tmp_path / "again")
    assert code == 0 and f"The replay in {tmp_path / 'again'} is done" in out
    code, shown, err = run_cli("show", tmp_path / "again")
    assert (code, err) == (0, "") and shown in out
    code, out, err = run_cli("show", tmp_path / "again", "--json")
    said = json.loads(out)["replayed"]
    assert said["file"] == str(file) and said["missing"] == 0 < said["asked"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sample", "{task}"), r"apportion sample: .*--samples; see apportion sample --help"),
        (("sample", "{task}", "--samples", "0"), r"apportion sample: .*whole number from 1 to 10000, got '0'; see .*"),
        (("sample", "{task}", "--samples", "2", "--split", "all"), r"apportion sample: .*invalid choice: 'all'.*"),
        (("record", "{folder}"), r"a run folder must hold run\.sqlite, but .*name the folder of a run\."),
        (
            ("record", "{run}", "-o", "{folder}/x.csv"),
            r"a recording must be a \.parquet file, got 'x\.csv'; name it so\.",
        ),
        (("replay", "{task}"), r"apportion replay: .*--recording; see apportion replay --help"),
        (("replay", "{task}", "--recording", "{folder}/no.parquet"), r"a recording must be a parquet file, but .*"),
        (("replay", "{task}", "--recording", "{task}"), r"a recording must be a parquet file, but .*"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], said: str, finished: Path, tmp_path: Path) -> None:
    places = {"task": finished.parent / "task.yaml", "run": finished, "folder": tmp_path}
    code, out, err = run_cli(*(argument.format(**places) for argument in arguments))
    assert (code, out) == (2, "")
    assert re.fullmatch(said, err.rstrip("\n")), err


def test_a_limit_is_4_and_a_signal_is_130(tmp_path: Path) -> None:
    log, run = tmp_path / "billed.jsonl", tmp_path / "all"
    with server_process("--reply-ms", "40", log=log) as url:
        task = template_task(tmp_path, url)
        code, out, err = run_cli("sample", task, "--samples", "2", "--out", run, "--set", "limits.calls=40")
        assert (code, err) == (4, "")
        assert "`limits.calls` is 40" in out and out.rstrip().endswith("What was bought is kept.")
        with start_cli("sample", task, "--samples", "2", "--split", "search", "--out", run) as process:
            wait_until(lambda: len(billed(log)) >= 80)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (130, "")
    again = f"go on with: apportion sample {task} --samples 2 --states 3 --split search --out {run}"
    assert out.rstrip().endswith(again)
