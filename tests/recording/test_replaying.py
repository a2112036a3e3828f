"""A search on a recording: the same numbers as when the models were asked, at the same price, and nobody is asked."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import apportion
from apportion.api import Result
from apportion.build import build, space_of
from apportion.envs.worker import Request
from apportion.errors import RecordedError, StoreError, WorkerError
from apportion.evaluators.benchmark import Benchmark
from apportion.graphs.graph import Graph
from apportion.recording.replaying import benchmark
from apportion.recording.table import read
from apportion.recording.taking import record
from apportion.search.problem import Row
from apportion.spec import LoadedSpec, load_spec
from apportion.testing.fakes import FakeWorker
from apportion.testing.server import hashed_reply
from tests.recording.kit import altered, columns_of, completions, recorded, scores, slot_task, template_task, without
from tests.support import quick_retries, server_process

VARYING = ("folder", "elapsed_s", "ledger", "break_even", "replayed")
"""What `show --json` says that is not the same of a replay."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server_process() as url:
        yield url


def comparable(result: Result) -> dict[str, Any]:
    return {name: value for name, value in result.to_dict().items() if name not in VARYING}


def probed_task(folder: Path, url: str, **keys: Any) -> Path:
    """One whose speeds are not given, and which needs them."""
    task = template_task(folder, url, **keys)
    text = re.sub(r", rates: \{.*?\}", "", task.read_text())
    task.write_text(text.replace("  - minimize: flops\n", "  - minimize: flops\n  - minimize: latency_s\n"))
    return task


ROLES = {
    template_task: {"voter", "fuser", "scorer", "refiner"},
    slot_task: {"refiner", "critic", "fuser", "verifier"},
    probed_task: {"voter", "fuser"},
}


@pytest.mark.parametrize("make", ROLES)
def test_a_replay_gives_the_numbers_of_the_search(make: Callable[..., Path], tmp_path: Path) -> None:
    with server_process("--reply-ms", "3") as url:
        task = make(tmp_path, url, trials=20)
        live = apportion.load(task).run(tmp_path / "live")
    path = record(tmp_path / "live").path
    again = apportion.load(task).replay(path, tmp_path / "again")

    graphs = {trial.key: trial.graph for trial in live.summary.trials}
    assert live.summary.state == "done" and len(graphs) > 20
    assert {node.role for graph in graphs.values() for node in graph.nodes} >= ROLES[make]
    assert comparable(again) == comparable(live)
    rows = scores(tmp_path / "live")
    assert scores(tmp_path / "again") == rows != []
    assert again.replayed is not None and live.replayed is None
    fresh, banked = (sum_of(again, name) for name in ("calls_fresh", "calls_banked"))
    assert (again.replayed.missing, again.replayed.asked) == (0, fresh + banked)

    made = benchmark(load_spec(task), read(path))
    for key, split in {row[:2] for row in rows}:
        then = [(*row[3:6], json.loads(row[6])) for row in rows if row[:2] == (key, split)]
        assert asyncio.run(measured(made, [graphs[key]], split)) == then, "in memory too"


async def measured(made: Benchmark, graphs: Sequence[Graph], split: str = "search") -> list[Row]:
    return [row for graph in graphs for row in [row async for row in made.measure(graph, split)]]


async def asked(loaded: LoadedSpec, out: Path, graphs: Sequence[Graph]) -> list[Row]:
    """The rows of graphs for which the models are asked."""
    search = build(loaded, out)
    try:
        async with search.session():
            return await measured(search.benchmark, graphs)
    finally:
        await search.close()


def sum_of(result: Result, name: str, spenders: tuple[str, ...] = ("candidate", "judge", "searcher")) -> float:
    return sum(result.summary.ledger[spender][name] or 0 for spender in spenders)


def test_a_replay_pays_what_was_recorded(url: str, tmp_path: Path) -> None:
    task = template_task(tmp_path, url, trials=8)
    live = apportion.load(task).run(tmp_path / "live")
    columns = columns_of(record(tmp_path / "live", tmp_path / "rec.parquet").path)
    again = apportion.load(task).replay(tmp_path / "rec.parquet", tmp_path / "again")
    once = recorded(columns)
    prompt, completion, seconds, usd = (sum(row[place] for row in once) for place in (5, 6, 7, 8))
    assert sum_of(again, "calls_fresh") == sum_of(again, "attempts") == len(once)
    assert sum_of(again, "prompt_tokens") == prompt and sum_of(again, "completion_tokens") == completion
    assert sum_of(again, "seconds") == pytest.approx(seconds) and sum_of(again, "usd") == pytest.approx(usd)
    for name in ("calls_fresh", "calls_banked", "prompt_tokens", "completion_tokens"):
        assert sum_of(again, name) == sum_of(live, name)
    assert completions(tmp_path / "again") == completions(tmp_path / "live")


def test_what_timed_out_is_a_wrong_answer_again(tmp_path: Path) -> None:
    def late(request: Request) -> str:
        said = request.messages[-1].content
        if len(said) > 40 and request.seed and request.seed % 4 == 0:  # in the second stage
            raise WorkerError("timeout", "a reply must end within 1 s")
        return hashed_reply({"messages": said, "seed": request.seed})

    task = template_task(tmp_path, "http://127.0.0.1:9/v1", trials=8)
    search = build(load_spec(task), tmp_path / "live")
    endpoints = search.dispatcher.endpoints
    search.dispatcher.endpoints = {name: replace(e, worker=FakeWorker(late)) for name, e in endpoints.items()}

    async def run() -> None:
        try:
            await search.run()
        finally:
            await search.close()

    with quick_retries():
        asyncio.run(run())
    live = apportion.open_run(tmp_path / "live")
    columns = columns_of(record(tmp_path / "live", tmp_path / "rec.parquet").path)
    late_rows = [
        correct for status, correct in zip(columns["status"], columns["correct"], strict=True) if status == "timeout"
    ]
    assert late_rows and not any(late_rows)
    again = apportion.load(task).replay(tmp_path / "rec.parquet", tmp_path / "again")
    assert scores(tmp_path / "again") == scores(tmp_path / "live")
    assert any(row[4] == "timeout" for row in scores(tmp_path / "live"))
    assert again.replayed is not None and again.replayed.missing == 0
    ours, theirs = again.summary.ledger["candidate"], live.summary.ledger["candidate"]
    assert {name: n for name, n in ours.items() if name != "seconds"} == {
        n: v for n, v in theirs.items() if n != "seconds"
    }


def test_limits_hold_in_a_replay(url: str, tmp_path: Path) -> None:
    task = template_task(tmp_path, url, trials=12)
    apportion.load(task).run(tmp_path / "live")
    record(tmp_path / "live", tmp_path / "rec.parquet")
    again = apportion.load(task, ["limits.calls=60"]).replay(tmp_path / "rec.parquet", tmp_path / "again")
    assert sum_of(again, "attempts") <= 60 and "`limits.calls` is 60" in again.summary.reason


def test_no_server_no_key_and_no_model_file_are_needed(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-none")
    task = template_task(tmp_path, url, trials=4, extra=", api_key_env: SOME_KEY")
    live = apportion.load(task).run(tmp_path / "live")
    record(tmp_path / "live", tmp_path / "rec.parquet")
    monkeypatch.delenv("SOME_KEY")
    assert comparable(apportion.load(task).replay(tmp_path / "rec.parquet", tmp_path / "keyless")) == comparable(live)

    monkeypatch.setenv("APPORTION_MODELS", str(tmp_path / "none"))
    names = {"small": "smollm2-135m-instruct", "large": "qwen2.5-coder-0.5b-instruct"}
    text = task.read_text()
    for name, gguf in names.items():
        text = re.sub(rf"endpoint: \S+ model: {name}, (logprobs: true, )?", f"gguf: {gguf}, ", text)
    task.write_text(re.sub(r"timeout_s: [\d.]+, |, api_key_env: SOME_KEY", "", text))
    local = altered(
        tmp_path / "rec.parquet",
        lambda columns: None,
        lambda about: [about["models"][name].update(served=gguf) for name, gguf in names.items()],
    )
    assert comparable(apportion.load(task).replay(local, tmp_path / "local")) == comparable(live)


def test_what_was_not_recorded_fails_once_and_costs_nothing(url: str, tmp_path: Path) -> None:
    task = template_task(tmp_path, url, trials=8)
    live = apportion.load(task).run(tmp_path / "live")
    whole = record(tmp_path / "live", tmp_path / "rec.parquet").path
    columns = columns_of(whole)
    last = [place == (2, "hint") for place in zip(columns["sample_index"], columns["stage"], strict=True)]
    holed = altered(whole, lambda columns: without(columns, last.__getitem__))
    again = apportion.load(task).replay(holed, tmp_path / "again")
    assert again.replayed is not None and 0 < again.replayed.missing < again.replayed.asked
    assert sum_of(again, "calls_failed") == again.replayed.missing
    assert sum_of(again, "attempts") == sum_of(again, "calls_fresh") + again.replayed.missing, "none is tried twice"
    assert sum_of(again, "usd") < sum_of(live, "usd")
    words = f"{again.replayed.missing:,} of {again.replayed.asked:,} draws that were asked for were not recorded"
    assert words in repr(again) and words in again._repr_html_()
    assert {(f[1], f[2]) for f in again.summary.failures} == {("rejected", f"not recorded in {holed.name}")}
    assert apportion.open_run(tmp_path / "again").to_dict()["replayed"] == again.to_dict()["replayed"]


def test_a_replay_says_that_it_is_one(url: str, tmp_path: Path) -> None:
    task = template_task(tmp_path, url)
    live = apportion.load(task).run(tmp_path / "live")
    path = record(tmp_path / "live").path
    again = apportion.load(task).replay(path, tmp_path / "again")
    said = f"Replayed from {path}; nothing was asked."
    for shown in (repr(again), again._repr_html_(), repr(apportion.open_run(tmp_path / "again"))):
        assert said in shown and "All draws that were asked for were recorded." in shown
    assert "replayed" not in live.to_dict() and "eplayed" not in repr(live)


def test_what_is_replayed_is_not_banked_with_what_was_asked(url: str, tmp_path: Path) -> None:
    task = template_task(tmp_path, url)
    task.write_text(task.read_text() + "bank: bank.sqlite\n")
    apportion.load(task).run(tmp_path / "live")
    path = record(tmp_path / "live", tmp_path / "rec.parquet").path
    before = (tmp_path / "bank.sqlite").read_bytes()
    again = apportion.load(task).replay(path, tmp_path / "again")
    assert again.replayed is not None and again.replayed.missing == 0
    assert (tmp_path / "bank.sqlite").read_bytes() == before


def test_a_folder_is_of_a_search_or_of_one_recording(url: str, tmp_path: Path) -> None:
    task = template_task(tmp_path, url)
    live, again = tmp_path / "live", tmp_path / "again"
    apportion.load(task).run(live)
    path = record(live, tmp_path / "rec.parquet").path
    first = apportion.load(task).replay(path, again)
    assert apportion.load(task).replay(path, again).to_dict() == first.to_dict(), "it is done, and is shown again"
    other = altered(path, lambda columns: without(columns, lambda row: row == 0))
    searches: tuple[Callable[[], Result], ...] = (
        lambda: apportion.load(task).replay(path, live),
        lambda: apportion.load(task).replay(other, again),
        lambda: apportion.load(task).run(again),
    )
    for search in searches:
        with pytest.raises(StoreError, match=r"differs in recording: .*name another folder with --out"):
            search()


# --- a recording of something else -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A task and its recording."""
    folder = tmp_path_factory.mktemp("made")
    task = template_task(folder, url, trials=8)
    apportion.load(task).run(folder / "live")
    return task, record(folder / "live", folder / "rec.parquet").path


OTHER_TASKS = {
    "another prompt": ("Give a hint.", "Give a clue.", r"must ask what .* differs in stages\.hint\.prompt: .*restore"),
    "another length": ("max_tokens: 16\n", "max_tokens: 17\n", r"differs in stages\.hint\.max_tokens: 16 -> 17; "),
    "another stage": ("name: hint", "name: clue", r"differs in .*stages\.clue"),
    "another model": (
        "  large: {",
        "  huge: {",
        r"hold every model of the task, but .* lacks 'huge'; it has small, large",
    ),
    "another server's name": ("model: large", "model: larger", r"'large' is large, but it is larger; restore that"),
    "other questions": ("question}", "target}", r"differs in stages"),
}


@pytest.mark.parametrize("other", OTHER_TASKS)
def test_a_recording_of_another_task_is_refused_at_once(other: str, made: tuple[Path, Path], tmp_path: Path) -> None:
    (task, path), (old, new, said) = made, OTHER_TASKS[other]
    text = task.read_text().replace(old, new)
    if other == "another model":
        text = text.replace("small, large]", "small, huge]")
    if other == "another stage":
        text = text.replace("{hint}", "{clue}")
    (tmp_path / "data.jsonl").write_text((task.parent / "data.jsonl").read_text())
    (tmp_path / "task.yaml").write_text(text)
    with pytest.raises(RecordedError, match=said) as refused:
        apportion.load(tmp_path / "task.yaml").replay(path, tmp_path / "again")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "again").exists()


def test_other_examples_are_refused_and_changed_ones_are_told(made: tuple[Path, Path], tmp_path: Path) -> None:
    task, path = made
    data = (task.parent / "data.jsonl").read_text()
    (tmp_path / "task.yaml").write_text(task.read_text())
    (tmp_path / "data.jsonl").write_text(data.replace("Which is", "What is"))
    other = apportion.load(tmp_path / "task.yaml")
    with pytest.raises(RecordedError, match=r"but .* has none of them \(data: other content\); record anew"):
        other.replay(path, tmp_path / "again")
    (tmp_path / "data.jsonl").write_text(data.replace('"target": "alpha"', '"target": "golf"'))
    said = repr(apportion.load(tmp_path / "task.yaml").replay(path, tmp_path / "again"))
    assert "Since the recording was made, the task has changed: data: other content." in said
    said = repr(apportion.load(task, ["seed=5"]).replay(path, tmp_path / "seed"))
    assert re.search(r"\d+ of 14 examples are not in the recording\.", said)


def test_a_task_may_be_searched_otherwise(made: tuple[Path, Path], tmp_path: Path) -> None:
    """Whatever prompts do not follow from may be changed: that is what replays are for."""
    task, path = made
    changes = ("search.sampler=tpe", "limits.trials=5", "budget.flops=4e11", "models.small.price.prompt=9")
    result = apportion.load(task, changes).replay(path, tmp_path / "again")
    assert result.replayed is not None and result.replayed.remarks == ()


def test_graphs_by_chance(made: tuple[Path, Path], tmp_path: Path) -> None:
    """What a recording of some graphs gives for others: the true answers, or none where a draw was not recorded."""
    task, path = made
    loaded, chance = load_spec(task), random.Random(0)
    space = space_of(loaded.spec)
    graphs = [space.build(space.point(chance.randrange(space.size))) for _ in range(20)]
    live = asyncio.run(asked(loaded, tmp_path / "other", graphs))
    replayed = asyncio.run(measured(benchmark(loaded, read(path)), graphs))
    had = [(ours, theirs) for ours, theirs in zip(replayed, live, strict=True) if ours[1] != "failed"]
    assert 0 < len(had) < len(live) and all(ours == theirs for ours, theirs in had)


def test_a_missing_file_is_said(made: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(RecordedError, match=r"a recording must be a parquet file, but .*none\.parquet: No such file"):
        apportion.load(made[0]).replay(tmp_path / "none.parquet", tmp_path / "again")


def test_an_agent_s_model_is_not_replayed_by_chance(made: tuple[Path, Path], tmp_path: Path) -> None:
    task, recording = made
    asking = ["search.sampler=agenttts", "search.agent.model=" + next(iter(apportion.load(task).loaded.spec.models))]
    with pytest.raises(RecordedError, match=r"holds no answers of an agent.*search\.agent\.model=null"):
        apportion.load(task, asking).replay(recording, tmp_path / "asked")
    assert apportion.load(task, asking[:1]).replay(recording, tmp_path / "by code").best is not None
