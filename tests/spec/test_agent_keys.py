"""The keys of a task about an agent, budgets in AgentTTS's units, and what becomes of them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import apportion
from apportion.agents.tts import allocations_of, settings
from apportion.build import objectives_of, plan_of, space_of
from apportion.graphs.cost import flops_units, units, units_flops
from apportion.run import RunFolder
from apportion.spec import TaskSpec, load_spec
from apportion.testing.server import MockServer
from tests.agent.planner import reply
from tests.agent.planner import write as write_planned
from tests.support import run_cli

Spoil = Callable[..., list[str]]
Write = Callable[[str | bytes], Path]
SEARCH = "{sampler: tpe, finalists: 3}"


def searched(folder: Path, write: Write, text: str, good: str) -> TaskSpec:
    return load_spec(write(good.replace(SEARCH, text))).spec


def test_what_is_absent_is_as_the_sampler_has_it(folder: Path, write: Write, good: str) -> None:
    plain = settings(searched(folder, write, "{sampler: agenttts}", good))
    assert (plain.batch, plain.insights, plain.memory) == (10, (1, 2, 3), "some")
    zero = settings(searched(folder, write, "{sampler: llm_zero_shot, agent: {batch: 2}}", good), "Known.")
    assert (zero.batch, zero.insights, zero.memory, zero.knowledge) == (2, (), "none", "Known.")
    own = settings(
        searched(folder, write, '{sampler: agenthpo, agent: {model: big, insights: [3, "Be quick."]}}', good)
    )
    assert own.insights == (3, "Be quick.")
    digits = settings(searched(folder, write, '{sampler: agenthpo, agent: {model: big, insights: ["1", 1]}}', good))
    assert digits.insights == ("1", 1), "text is no number"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{sampler: tpe, agent: {model: big}}", "search.agent: goes with a sampler that asks an agent"),
        ("{sampler: tpe, warm_start: [runs/x]}", "search.warm_start: goes with a sampler that asks an agent"),
        (
            "{sampler: agenttts, agent: {model: bigg}}",
            "search.agent.model: must be a key of `models`, but is 'bigg'; did",
        ),
        ("{sampler: agenttts, agent: {model: big, evolution: true}}", "search.agent.evolution: goes without a model"),
        ("{sampler: agenttts, agent: {insights: [4]}}", "search.agent.insights.0: must be one of 1, 2, 3, but is 4"),
        ('{sampler: agenttts, agent: {insights: [""]}}', "search.agent.insights.0: must not be empty"),
        (
            '{sampler: agenttts, agent: {insights: ["Be quick."]}}',
            "insights.0: text of your own must have a model that",
        ),
        ("{sampler: agenttts, agent: {insights: [2, 2]}}", "search.agent.insights.1: a list must not repeat itself"),
        ("{sampler: agenttts, agent: {batch: 0}}", "search.agent.batch: must be at least 1"),
        ("{sampler: agenttts, agent: {memory: most}}", "search.agent.memory: must be one of all, some, none"),
        (
            "{sampler: agenttts, agent: {insights: [true]}}",
            "insights.0: must be 1, 2 or 3, or text of your own, but",
        ),
        (
            "{sampler: agenttts, agent: {insights: [1, false]}}",
            "insights.1: must be 1, 2 or 3, or text of your own",
        ),
        ('{sampler: agenttts, agent: {insights: ["  "]}}', "search.agent.insights.0: must not be blank, but is '  '"),
        ("{sampler: agenttts, warm_start: [a, b, a]}", "search.warm_start.2: a folder must be named once, but 'a' is"),
        (
            "{sampler: agenttts, warm_start: [a, b/../a/]}",
            "search.warm_start.1: a folder must be named once, but 'b/",
        ),
        (
            "{sampler: agenttts, agent: {model: small, max_tokens: 4096}}",
            "search.agent.max_tokens: must be below the context of 'small', 4096, which holds the question too, but",
        ),
        ("{sampler: agenttts, agent: {modle: big}}", "search.agent.modle: unknown key 'modle'; did you mean 'model'"),
    ],
)
def test_mistakes_about_the_agent(spoil: Spoil, text: str, said: str) -> None:
    (problem,) = spoil((SEARCH, text))
    assert said in problem


def test_an_agent_chooses_among_templates(spoil: Spoil) -> None:
    slots = ("templates: [single]\n    max_tokens: 1e1", "slots: 2\n    max_tokens: 1e1")
    (problem,) = spoil((SEARCH, "{sampler: agenttts}"), slots)
    assert "search.sampler: 'agenttts' chooses among templates, but stage 'solve' has slots; give it" in problem


def test_the_price_of_an_agent_must_be_known_where_usd_are_limited(spoil: Spoil) -> None:
    """Though no stage has the model."""
    (problem,) = spoil(
        (SEARCH, "{sampler: agenttts, agent: {model: big}}"),
        ("    price: {prompt: 0.1, completion: 0.2}", "    price: null"),
        ("models: [small, big]", "models: [small]"),
        ("    scorer: big\n", ""),
    )
    assert "models.big.price: limits.usd must know every price, but that of 'big' is null" in problem


def test_units_stand_for_flops(folder: Path, write: Write, good: str, spoil: Spoil) -> None:
    """Of 2WikiMultiHopQA one pass of each largest model, 929 units in AgentTTS's paper."""
    chosen = [(72e9, 2048, 128), (70e9, 256, 64)]
    total = sum(units(*of, 1) for of in chosen)
    assert total == pytest.approx(928.67, abs=0.01)
    flops = sum(2 * parameters * (prompt + completion) for parameters, prompt, completion in chosen)
    assert units_flops(total, 2) == pytest.approx(flops) and flops_units(flops, 2) == pytest.approx(total)

    spec = load_spec(write(good.replace("{flops: 3e12}", "{units: 1000, calls: 9}"))).spec
    plan = plan_of(spec, {"search": 4, "validation": 3, "test": 3})
    assert plan.bounds == {"calls": 9, "flops": pytest.approx(units_flops(1000, 2))}
    space = allocations_of(spec, space_of(spec), lambda graph: {"flops": units_flops(7.0, 2)})
    least = space.fit({stage.name: space.allocation(space.space.point(0))[stage.name] for stage in space.stages})
    assert (space.unit, space.budget) == ("units of AgentTTS", 1000) and space.cost(least) == pytest.approx(7.0)
    (problem,) = spoil(("{flops: 3e12}", "{flops: 3e12, units: 1000}"))
    assert "budget.units: units stand for flops, but both are given; keep one" in problem


def test_what_other_runs_taught_is_told_and_kept(tmp_path: Path) -> None:
    async def work() -> None:
        async with MockServer(reply=reply, keep_bodies=True) as server:
            task = write_planned(tmp_path, server.url, server.url, trials=4)
            await apportion.load(task).arun(tmp_path / "first")
            server.bodies.clear()
            warm = ["search.warm_start=[first]", "search.sampler=mlcopilot"]
            second = await apportion.load(task, warm).arun(tmp_path / "second")
            told = [body["messages"][1]["content"] for body in server.bodies if body["model"] == "planner"]
            assert told and all(" trials of a similar task the best were:" in text for text in told)
            assert second.summary.agent is not None
            shutil.rmtree(tmp_path / "first")
            again = await apportion.load(task, warm).arun(tmp_path / "second")
            assert again.best is not None and again.to_dict() == second.to_dict(), "the others are read once"

    asyncio.run(work())
    folder = RunFolder.view(tmp_path / "second")
    assert "similar task" in folder.trials.fact("knowledge")
    assert objectives_of(folder.spec)[0].metric == "accuracy"
    folder.close()


def test_a_run_to_learn_from_must_be_one(tmp_path: Path) -> None:
    task = write_planned(tmp_path, "http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1")
    with pytest.raises(apportion.errors.StoreError, match="a run folder must hold"):
        apportion.load(task, ["search.warm_start=[nowhere]"]).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_runs_to_learn_from_are_looked_at_before_anything_is_bought(tmp_path: Path) -> None:
    task = write_planned(tmp_path, "http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1")
    code, _, said = run_cli("validate", task, "--set", "search.warm_start=[nowhere]")
    assert code == 2 and "a run folder must hold run.sqlite, but" in said and "Traceback" not in said
    (tmp_path / "run").mkdir()
    code, _, said = run_cli("run", task, "--out", tmp_path / "run", "--set", "search.warm_start=[x/../run]")
    assert code == 2 and "a run must learn from others, but x/../run is its own; name another" in said
