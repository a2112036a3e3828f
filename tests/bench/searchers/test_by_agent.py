"""Searchers by an agent see a market as allocations, remember what was measured, and can be replayed from a file."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apportion.agent.tts.allocation import Choice, affordable
from apportion.agent.tts.settings import WAYS
from apportion.bench.searchers.by_agent import BY_AGENT, Answering, ByAgent, way
from apportion.bench.searchers.market_allocations import MarketAllocations
from apportion.bench.searchers.race import Job, read, run
from apportion.bench.searchers.registry import asked, searcher
from apportion.cli import main
from apportion.envs.replay.composed import Composed
from apportion.envs.replay.market import Market
from apportion.envs.replay.rules import RULES
from apportion.envs.replay.task import stage
from apportion.errors import GraphError, RecordedError
from apportion.testing.server import MockServer
from tests.bench.searchers.easy import assert_a_seed_decides, best, easy, mixture, recorded, searched
from tests.bench.searchers.test_command import write_tasks

pytest.importorskip("pyarrow")


def priced() -> Composed:
    """Two stages of three models at different prices, the fair one with a prompt to pay once."""
    prices, once = {"poor": 1.0, "good": 4.0, "fair": 2.0}, {"fair": 3.0}
    shares = (0.05, 0.1, 0.2, 0.4, 0.8)
    rules = [RULES["any_correct"]]
    made = [stage(f"s{s}", recorded(), "", prices, rules, 20.0, shares, once=once) for s in range(2)]
    return Composed("priced", tuple(made), budget=20.0, search=30, trials=60)


def test_every_configuration_is_an_allocation_at_its_price() -> None:
    market = Market(priced(), 0)
    space = MarketAllocations(market)
    options = [range(len(own.options)) for own in market.task.stages]
    cost = market.task.cost(market.configurations)
    assert len(list(product(*options))) > len(market.configurations), "the budget leaves some out"
    for number, row in enumerate(market.configurations):
        chosen = {}
        for own, option in zip(market.task.stages, row, strict=True):
            chosen[own.name] = Choice(own.models[own.options[option].arm], own.options[option].n)
        assert space.fit(chosen) == chosen == space.allocation(space.params(chosen))
        assert space.configuration(space.params(chosen)) == number
        assert space.cost(chosen) == pytest.approx(cost[number]) and affordable(space, chosen)


def test_models_are_in_order_of_their_prices() -> None:
    first, _ = MarketAllocations(Market(priced(), 0)).stages
    assert first.models == ("poor", "fair", "good") and first.hows == () and (first.least, first.most) == (1, 8)


def test_a_prompt_is_paid_once_however_many_draws() -> None:
    space = MarketAllocations(Market(priced(), 0))
    costs = [space.cost({"s0": Choice("fair", n), "s1": Choice("poor", 1)}) for n in (1, 2, 5)]
    assert costs == [6.0, 8.0, 14.0]


def test_samples_are_snapped_to_the_nearest_that_can_be_paid() -> None:
    space = MarketAllocations(Market(priced(), 0))
    fitted = space.fit({"s0": Choice("poor", 3), "s1": Choice("good", 3)})
    assert {own: choice.samples for own, choice in fitted.items()} == {"s0": 2, "s1": 2}
    assert affordable(space, fitted)
    assert not affordable(space, space.fit({"s0": Choice("good", 4), "s1": Choice("good", 4)})), (
        "what is too dear stays"
    )


def test_what_the_task_does_not_have_is_refused() -> None:
    space = MarketAllocations(Market(priced(), 0))
    for wrong in ({"s0": Choice("good", 1)}, {"s0": Choice("gpt", 1), "s1": Choice("good", 1)}):
        with pytest.raises(GraphError, match="a model and a rule of the task"):
            space.fit(wrong)


def test_a_stage_that_may_draw_nothing_is_refused() -> None:
    with pytest.raises(RecordedError, match="must draw at every stage"):
        MarketAllocations(Market(mixture(), 0))


def test_prices_of_prompts_are_no_currency() -> None:
    with pytest.raises(RecordedError, match="search in draws"):
        Market(priced(), 0, "cost")


@pytest.mark.parametrize("name", list(BY_AGENT))
def test_an_easy_task_is_searched(name: str) -> None:
    market = Market(easy(2), 0)
    searched(searcher(name), market)
    assert market.trials and market.spent <= market.cap * (1 + 1e-9)
    assert market.task.truth[market.leads[-1].configuration] > 2 * np.median(market.task.truth)


@pytest.mark.parametrize("name", ["agenttts", "agenthpo", "mlcopilot", "agenttts-numeric"])
def test_whoever_remembers_finds_an_easy_optimum(name: str) -> None:
    found = []
    for seed in range(3):
        market = Market(easy(2), seed)
        searched(searcher(name), market, seed)
        found.append(market.leads[-1].configuration == best(market))
    assert sum(found) >= 2


@pytest.mark.parametrize(("name", "stages"), [("agenttts", 3), ("mlcopilot", 4), ("agenttts-evolution", 3)])
def test_a_seed_decides(name: str, stages: int) -> None:
    assert_a_seed_decides(searcher(name), easy(stages))


def test_proposals_and_questions_are_counted() -> None:
    search = searcher("agenttts")
    assert isinstance(search, ByAgent)
    searched(search, Market(easy(2, trials=20), 0))
    counts = search.counts
    assert counts["asked"] and counts["valid"] and counts["tokens"] == 0
    assert set(counts) == {"asked", "valid", "repaired", "replaced", "tokens"}


def test_the_name_of_a_model_is_part_of_the_name_of_a_searcher() -> None:
    model = Answering("o3", cassette=Path("none.jsonl"))
    assert asked("agenttts", model) == "agenttts@o3" and asked("tpe", model) == "tpe"
    assert asked("agenttts-numeric", model) == "agenttts-numeric"
    assert isinstance(searcher("agenttts@o3", model), ByAgent)
    with pytest.raises(RecordedError, match="must be one of"):
        searcher("agenttts@o3")


@pytest.mark.parametrize(
    "wrong", ["batch=0", "batch=ten", "batch", "memory=much", "insights=1", "batch=101", "batch=3/batch=4", ""]
)
def test_a_way_may_set_its_batch_and_memory(wrong: str) -> None:
    own = way("agenttts/batch=3/memory=none/memory_tokens=120")
    assert own is not None
    assert own.settings == replace(WAYS["agenttts"], batch=3, memory="none", memory_tokens=120)
    model = Answering("Qwen/o3", "http://127.0.0.1:1")
    name = asked("agenttts/batch=3", model)
    assert name == "agenttts/batch=3@Qwen/o3" and isinstance(searcher(name, model), ByAgent)
    assert isinstance(searcher("agenttts/batch=3"), ByAgent)
    with pytest.raises(RecordedError, match=r"'agenttts' may be followed by batch=N .* got .*; mend it"):
        searcher(f"agenttts/{wrong}")


def planned(body: dict[str, Any]) -> str:
    """What a model may say: one good candidate, one of a model that there is not, and, told so, another good one."""
    said = [message["content"] for message in body["messages"]]
    if '"guidelines": [{' in said[-1]:
        return json.dumps({"guidelines": [{"text": "Prefer the strong model.", "insight": 1}]})
    turn = len(said) + len(said[1]) % 7
    good = {"stages": {"answer": {"model": ("weak", "fair", "strong")[turn % 3], "samples": 1 + turn % 4}}}
    wrong = {"stages": {"answer": {"model": "gpt", "samples": 1}}}
    return json.dumps({"candidates": [good, wrong] if len(said) < 4 else [good]})


def test_a_model_answers_and_is_replayed_without_it(tmp_path: Path) -> None:
    pytest.importorskip("openai")
    task, _ = write_tasks(tmp_path)
    path = tmp_path / "cassette.jsonl"
    job = Job(task, "agenttts@planner", 0, "draws", bank=False)

    async def work() -> Any:
        async with MockServer(reply=planned) as server:
            return await asyncio.to_thread(run, job, Answering("planner", server.url, path))

    made = asyncio.run(work())
    assert made.agent["asked"] == len(path.read_text().splitlines()) > 0 and made.agent["tokens"] > 0
    assert made.agent["valid"] > 0
    again = run(job, Answering("planner", cassette=path))
    assert (again.leads, again.agent) == (made.leads, made.agent)
    with pytest.raises(RecordedError, match="lacks one"):
        run(Job(task, "agenttts@planner", 1, "draws", bank=False), Answering("planner", cassette=path))


def test_the_command_keeps_the_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, _ = write_tasks(tmp_path)
    out = tmp_path / "runs.jsonl"
    command = ["bench", "searchers", task, "--samplers", "random,agenttts", "--seeds", "1", "--workers", "1"]
    assert main([*command, "--out", str(out), "--json"]) == 0
    counts = {own.job.sampler: own.agent for own in read(out)}
    assert counts["random"] is None and counts["agenttts"] is not None and counts["agenttts"]["valid"]
    own = json.loads(capsys.readouterr().out)["tasks"][0]["samplers"]["agenttts"]
    assert own["runs"] == 1


@pytest.mark.parametrize("alone", [["--agent-model", "o3"], ["--agent-cassette", "c.jsonl"]])
def test_a_model_stands_with_a_server_or_a_file(
    alone: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, _ = write_tasks(tmp_path)
    assert main(["bench", "searchers", task, *alone]) != 0
    assert "`--agent-model` must stand with" in capsys.readouterr().err


def test_langgraph_is_imported_by_a_search_only() -> None:
    code = (
        "import sys; from apportion.bench.searchers import registry; "
        "sys.exit('langgraph' in sys.modules or 'openai' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
