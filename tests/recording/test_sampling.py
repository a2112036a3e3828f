"""Buying all that graphs of a space may ask: nothing is lacking afterwards, and nothing is bought twice."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import apportion
from apportion.build import build, space_of
from apportion.envs.rollout import Candidate, NodeRun, Rollout
from apportion.errors import ApportionError, LimitReached
from apportion.graphs.slots import SlotStage
from apportion.graphs.templates import TemplateStage
from apportion.recording.replaying import benchmark
from apportion.recording.sampling import Asked, Extent, Way, passed_on, sample, walk, ways
from apportion.recording.table import read
from apportion.recording.taking import record
from apportion.spec import load_spec
from tests.faults.test_kill import billed, killed_after, left_in
from tests.recording.kit import columns_of, completions, slot_task, template_task
from tests.support import quick_retries, run_cli, server_process
from tests.test_recompute import Refusing

ALL = 99
TEMPLATES = ("single", "vote", "fuse", "best_of_n", "refine")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server_process() as url:
        yield url


def sampled(task: Path, out: Path, extent: Extent, changes: tuple[str, ...] = ()) -> list[tuple[int, int, int]]:
    """Sample into a run folder; returns what was told of its progress."""
    told: list[tuple[int, int, int]] = []

    async def run() -> None:
        search = build(load_spec(task, changes), out)
        try:
            await sample(search, extent, lambda *progress: told.append(progress))
        finally:
            await search.close()

    asyncio.run(run())
    return told


# --- what a stage is asked -------------------------------------------------------------------------------------------


def test_a_stage_of_templates_is_asked_in_every_way() -> None:
    stage = TemplateStage("s", ("small", "large"), TEMPLATES, (2, 4))
    found = ways(stage, 6)
    keys = {way.graph.key for way in found}
    assert len(keys) == len(found)
    plain = [way for way in found if way.plain]
    assert [(way.model, way.graph.nodes[0].samples) for way in plain] == [("small", 6), ("large", 6)]
    # 4 templates of 2 to 4 samples and one call, for each model; the baselines are among them.
    assert len(found) == 2 * (4 * 3 + 1 + 1)
    assert len(ways(stage, 4)) == 2 * (4 * 3 + 1), "what is asked anyway is not asked twice"


def test_a_stage_of_slots_is_asked_plainly_at_each_temperature() -> None:
    stage = SlotStage("s", ("small", "large"), 3, ("refiner",), ("voter",), (1, 2), temperatures=(0.3, 0.8))
    drafts = [(w.model, w.graph.nodes[0].samples, w.graph.nodes[0].temperature) for w in ways(stage, 5)]
    for model in ("small", "large"):
        asked = [draft[1:] for draft in drafts if draft[0] == model]
        assert asked == [(5, 0.3), (5, 0.8), (1, None), (6, None)], "and once as each baseline asks"


def asked(model: str, answer: str | None, *plain: str) -> Asked:
    """A way that ended with an answer, and its plain samples if it is that."""
    stage = TemplateStage("s", (model,), ("vote",), (2, 2))
    way = Way(model, ways(stage, 2)[0].graph, bool(plain))
    texts = tuple(Candidate(text, text, ("d", i)) for i, text in enumerate(plain))
    runs = {node.id: NodeRun("ok", texts) for node in way.graph.nodes}
    return Asked(way, {}, Rollout(way.graph, "x", "ok", answer, runs))


def test_later_stages_are_asked_on_the_commonest_values_of_each_model() -> None:
    plain = asked("small", "a", "a", "a", "a", "b", "c")
    small = [plain, asked("small", "c"), asked("small", "c"), asked("small", None)]
    large = [asked("large", "d"), asked("large", "a")]
    assert passed_on([*small, *large], 1) == ["c", "d"]
    assert passed_on([*small, *large], 2) == ["c", "a", "d"]
    assert passed_on([*small, *large], ALL) == ["c", "a", "b", "d"]
    assert passed_on([asked("small", None)], ALL) == []


# --- all that a space may ask ----------------------------------------------------------------------------------------


def test_every_graph_of_a_space_of_templates_can_be_replayed(url: str, tmp_path: Path) -> None:
    task = template_task(tmp_path, url, split="{search: 2, validation: 1, test: 1}")
    told = sampled(task, tmp_path / "all", Extent(5, ALL))
    assert told == [(1, 4, 0), (2, 4, 0), (3, 4, 0), (4, 4, 0)]
    path = record(tmp_path / "all").path
    loaded = load_spec(task)
    space = space_of(loaded.spec)
    graphs = [space.build(point) for point in space.grid()]
    search = build(loaded, tmp_path / "all")  # of the same bank, from which nothing is lacking
    for endpoint in search.dispatcher.endpoints.values():
        object.__setattr__(endpoint, "worker", Refusing())

    async def compare() -> int:
        made, compared = benchmark(loaded, read(path)), 0
        async with search.session():
            for graph in graphs:
                for split in ("search", "validation", "test"):
                    live = [row async for row in search.benchmark.measure(graph, split)]
                    assert [row async for row in made.measure(graph, split)] == live
                    assert all(row[1] == "ok" for row in live)
                    compared += len(live)
        await search.close()
        return compared

    assert asyncio.run(compare()) == len(graphs) * 4 > 200
    again = apportion.load(task, ["limits.trials=30", "search.sampler=tpe"]).replay(path, tmp_path / "again")
    assert again.replayed is not None and again.replayed.missing == 0


def test_twenty_graphs_by_chance_are_as_if_asked(url: str, tmp_path: Path) -> None:
    """Graphs that were never run, on a recording of samples, against the server in a folder of their own."""
    task = template_task(tmp_path, url, split="{search: 4, validation: 1, test: 1}")
    sampled(task, tmp_path / "all", Extent(3, ALL, ("search",)))
    loaded, chance = load_spec(task), random.Random(1)
    space = space_of(loaded.spec)
    graphs = [space.build(space.point(chance.randrange(space.size))) for _ in range(20)]
    assert {node.role for graph in graphs for node in graph.nodes} >= {"voter", "fuser", "scorer", "refiner"}
    made = benchmark(loaded, read(record(tmp_path / "all").path))

    async def compare() -> None:
        live = build(loaded, tmp_path / "live")
        try:
            async with live.session():
                for graph in graphs:
                    rows = [row async for row in live.benchmark.measure(graph, "search")]
                    assert [row async for row in made.measure(graph, "search")] == rows
        finally:
            await live.close()

    asyncio.run(compare())


def test_the_baselines_of_free_graphs_can_be_replayed(url: str, tmp_path: Path) -> None:
    task = slot_task(tmp_path, url)
    sampled(task, tmp_path / "all", Extent(9, ALL))
    path = record(tmp_path / "all").path
    again = apportion.load(task, ["limits.trials=1"]).replay(path, tmp_path / "again")
    assert all(trial.state == "complete" for trial in again.baselines)
    indexes: dict[tuple[Any, ...], set[int]] = {}
    columns = columns_of(path)
    names = ("question_id", "stage", "model", "read", "role", "sample_index")
    for *place, role, index in zip(*(columns[name] for name in names), strict=True):
        if role == "generator":
            indexes.setdefault(tuple(place), set()).add(index)
    assert set(map(len, indexes.values())) == {9}


def test_of_many_values_the_commonest_are_passed_on(url: str, tmp_path: Path) -> None:
    """Replies differ each time here, so each model has as many values of the first stage as it may."""
    task = template_task(tmp_path, url, split="{search: 2, validation: 1, test: 1}")
    sampled(task, tmp_path / "all", Extent(6, 2, ("search",)))
    columns = columns_of(record(tmp_path / "all").path)
    read_by: dict[str, set[str]] = {}
    for question, stage, values in zip(columns["question_id"], columns["stage"], columns["read"], strict=True):
        if stage == "answer":
            read_by.setdefault(question, set()).add(json.loads(values)["hint"])
        else:
            assert values == "{}"
    assert len(read_by) == 2 and all(len(values) == 4 for values in read_by.values()), "two of each of two models"


def test_what_a_search_needs_is_in_the_bank_when_it_runs_in_the_same_folder(url: str, tmp_path: Path) -> None:
    task = template_task(tmp_path, url, trials=10)
    sampled(task, tmp_path / "run", Extent(3, ALL))
    result = apportion.load(task).run(tmp_path / "run")
    ledger = result.summary.ledger
    assert result.summary.state == "done" and ledger["candidate"]["calls_fresh"] == 0 < (
        ledger["searcher"]["attempts"] or 0
    )


# --- the end, and going on -------------------------------------------------------------------------------------------


def test_a_limit_ends_it_and_a_higher_one_lets_it_go_on(url: str, tmp_path: Path) -> None:
    task = template_task(tmp_path, url)
    with pytest.raises(LimitReached, match=r"`limits\.calls` is 50"):
        sampled(task, tmp_path / "all", Extent(3, ALL), ("limits.calls=50",))
    had = completions(tmp_path / "all")
    assert 0 < len(had) <= 50
    sampled(task, tmp_path / "all", Extent(3, ALL))
    assert set(had) < set(completions(tmp_path / "all"))


def test_what_failed_is_counted_and_asked_for_again(tmp_path: Path) -> None:
    log, run = tmp_path / "billed.jsonl", tmp_path / "all"
    with server_process("--fault", "400", "--every", "9", log=log) as url:
        task = template_task(tmp_path, url, split="{search: 2, validation: 1, test: 1}")
        with quick_retries():
            *_, (_, _, failed) = sampled(task, run, Extent(3, ALL))
        had = {row[:2] for row in completions(run)}
        assert failed > 0
        code, out, err = run_cli("sample", task, "--samples", "3", "--states", str(ALL), "--out", run)
        assert (code, err) == (4, "") and re.search(
            r"\d+ draws failed; the same command asks for them again; write", out
        )
    assert had < {row[:2] for row in completions(run)}


def test_servers_that_are_down_end_it(tmp_path: Path) -> None:
    task = template_task(tmp_path, "http://127.0.0.1:9/v1", split="{search: 12, validation: 1, test: 1}")
    said = r"servers must answer, but 10 examples in a row gave nothing: \w+ \(unreachable\): .*the same command\."
    with quick_retries(), pytest.raises(ApportionError, match=said):
        sampled(task, tmp_path / "all", Extent(2, 2))


def test_killed_at_random_it_buys_nothing_twice(tmp_path: Path) -> None:
    chance, log, run = random.Random(1), tmp_path / "billed.jsonl", tmp_path / "all"
    with server_process("--reply-ms", "10", log=log) as url:
        task = template_task(tmp_path, url, split="{search: 3, validation: 2, test: 2}")
        command: tuple[str | Path, ...] = ("sample", task, "--samples", "3", "--out", run)
        lefts, sent = [], []
        for _ in range(3):
            if not killed_after(command, lambda: len(billed(log)), chance.randint(1, 150), chance.uniform(0, 0.02)):
                break
            time.sleep(0.1)  # for the server to read what was on its way
            lefts.append(left_in(run))
            sent.append(len(billed(log)))
            assert run_cli("record", run)[0] in (0, 2), "what is there can be recorded at any time"
        assert lefts, "it was never killed"
        code, _, err = run_cli(*command)
        assert (code, err) == (0, "")
        bodies = billed(log)
        sampled(task, tmp_path / "whole", Extent(3, 3))
    for left, at in zip(lefts, sent, strict=True):
        assert not left.banked & set(bodies[at:]), "what was in the bank was sent again"
    for body, count in Counter(bodies).items():
        assert count <= 1 + sum(body in left.in_flight for left in lefts)
    assert [row[:7] for row in completions(run)] == [row[:7] for row in completions(tmp_path / "whole")]


def test_a_recording_of_more_samples_holds_the_fewer(url: str, tmp_path: Path) -> None:
    task = template_task(tmp_path, url)
    sampled(task, tmp_path / "all", Extent(2, 1, ("search",)))
    few = read(record(tmp_path / "all", tmp_path / "few.parquet").path)
    sampled(task, tmp_path / "all", Extent(6, 3))
    many = read(record(tmp_path / "all", tmp_path / "many.parquet").path)
    assert few.replies.items() < many.replies.items()
    assert len(many.replies) == len(completions(tmp_path / "all"))


def test_a_walk_asks_nothing_of_what_has_no_value(tmp_path: Path) -> None:
    task = template_task(tmp_path, "http://127.0.0.1:9/v1")
    loaded = load_spec(task)
    search = build(loaded, tmp_path / "all")

    async def run() -> list[Asked]:
        example = search.benchmark.splits["search"][0]
        found = walk(search.benchmark.environment, space_of(loaded.spec), Extent(2, 3), example)
        return [one async for one in found]

    with quick_retries():
        stages = [one.way.graph.nodes[0].stage for one in asyncio.run(run())]
    asyncio.run(search.close())
    assert set(stages) == {"hint"}
