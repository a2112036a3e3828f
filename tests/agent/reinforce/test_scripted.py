"""The scripted agent answers as a model must, follows each insight that it is told, and no other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion.agent.finding import Finding
from apportion.agent.question import Question
from apportion.agent.reinforce.brief import Brief
from apportion.agent.reinforce.history import Proposal, Tried
from apportion.agent.reinforce.loop import NAMED
from apportion.agent.reinforce.mixes import mixes
from apportion.agent.reinforce.moves import depth, moves
from apportion.agent.reinforce.reply import answer_of, mixes_of
from apportion.agent.reinforce.scripted import STEP, ScriptedAgent
from apportion.graphs.graph import Graph
from apportion.graphs.notation import from_lines
from apportion.graphs.parameters import Value
from apportion.graphs.probabilistic import ProbabilisticGraph, from_table
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from tests.agent.reinforce.kit import MODELS, brief, cost, one, terms, two, wide
from tests.agent.reinforce.kit import tried as tried_

ALL = {1: "mixes", 2: "width and depth", 3: "both"}
SPACE = one(5)
FUSING = SearchSpace((SlotStage("solve", MODELS, 5, ("fuser", "refiner"), ("decider",)),))
MIXED = SearchSpace(
    (*two().stages, TemplateStage("check", ("small", "large"), ("vote", "single"), (2, 3), None, ("solve",)))
)
SPACES = {
    "one": SPACE,
    "free order": one(4, free_order=True),
    "two": two(),
    "templates beside": MIXED,
    "fusing": FUSING,
}


def said(own: Brief, purpose: str = "update") -> str:
    return ScriptedAgent().answer(Question(purpose, (), {}, own))


def proposed(own: Brief) -> Graph | None:
    lines = json.loads(said(own))["graph"]
    return None if lines is None else own.space.build(from_lines(own.space, lines))


def history(space: SearchSpace, n: int, seed: int, budget: float | None) -> list[Tried]:
    """Random graphs with random scores; every fourth was not measured."""
    prices = terms(space, budget).purse.prices
    distribution = ProbabilisticGraph(space, prices, budget)
    distribution.set_probabilities({name: {"no": 0.5, "yes": 0.5} for name in space.parameters if ">" in name})
    generator = torch.Generator().manual_seed(seed)
    found = []
    for number, params in enumerate(distribution.params(distribution.sample(n, generator))):
        graph = space.build(params)
        value = None if number % 4 == 3 else float(torch.rand(1, generator=generator))
        found.append(
            Tried(number, graph, params, () if value is None else (value,), value, cost(graph), Proposal(0, "drawn"))
        )
    return found


@st.composite
def briefs(draw: st.DrawFn) -> Brief:
    """Rounds of any search, also of a distribution that has almost settled."""
    space = draw(st.sampled_from(list(SPACES.values())))
    budget = draw(st.sampled_from([None, 9.0, 14.0]))
    seed = draw(st.integers(0, 99))
    tried = history(space, draw(st.integers(1, 7)), seed, budget)
    distribution = ProbabilisticGraph(space)
    noise = torch.randn(distribution.logits.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    distribution.set_logits(draw(st.sampled_from([0.0, 1.0, 8.0])) * noise)
    told = {n: text for n, text in ALL.items() if draw(st.booleans())}
    own = brief(space, terms(space, budget), tried, insights=told, roles=draw(st.booleans()))
    return replace(own, probabilities=distribution.probabilities(), seed=draw(st.integers(0, 2**50)))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(briefs())
def test_nothing_is_wrong_with_its_answers_and_they_are_the_same_for_the_same_brief(own: Brief) -> None:
    update = replace(own, mixes=())
    text = said(update)
    assert said(update) == text
    answer, wrong = answer_of(text, update)
    assert wrong == [] and answer.cut == ""
    assert bool(answer.table) == bool(own.history.measured)
    for p in answer.table.values():
        assert sum(p.values()) == pytest.approx(1.0) and min(p.values()) >= 0.0
    if answer.params is not None:
        graph = own.space.build(answer.params)
        assert own.terms.covers(graph) and graph.key not in {tried.graph.key for tried in own.history.tried}
        assert answer.expected == max(score for _, score in own.history.measured)
    assert own.roles or not any(name.endswith(".role") for name in answer.table)
    if own.mixes:
        named = said(own, "mix")
        assert said(own, "mix") == named
        found, wrong = mixes_of(named, own, NAMED)
        assert wrong == [] and found and all(mix in own.mixes for mix in found)


def test_other_seeds_and_purposes_are_other_chances() -> None:
    own = replace(brief(SPACE, history=history(SPACE, 6, 1, 9.0)), mixes=())
    assert len({said(replace(own, seed=seed)) for seed in range(10)}) > 1


def test_rounding_leaves_no_probability_below_zero() -> None:
    """Of what all but sums to 1 without the last value, that has none left."""
    space = SearchSpace((SlotStage("solve", ("a", "b", "c", "d", "e"), 2, ("refiner",), ("voter",)),))
    lines = ["solve.1: model a; to final", "solve.2: model b; to final", "solve.final: role voter"]
    tried = Tried(0, space.build(from_lines(space, lines)), from_lines(space, lines), (0.5,), 0.5, 1.0, None)
    own = replace(brief(space, terms(space, None, lambda graph: 1.0), [tried]), mixes=())
    little = 0.00015  # of which half is rounded up
    for rest in (
        (little, 1 - 4 * little, little, little, little),
        (0.7, 0.1, 0.1, 0.1, 0.0),
        (0.2, 0.2, 0.2, 0.2, 0.2),
    ):
        p: dict[Value, float] = {**dict(zip("abcde", rest, strict=True)), "absent": 0.0}
        text = said(replace(own, probabilities={**own.probabilities, "solve.2.model": p}))
        answer, wrong = answer_of(text, own)
        assert wrong == []
        assert answer.table["solve.2.model"]["b"] == pytest.approx((1 - STEP) * p["b"] + STEP, abs=3e-4)


def test_the_table_goes_half_of_the_way_to_the_best_three() -> None:
    best = [tried_(SPACE, n, wide(SPACE, 2, "large"), 0.9) for n in range(2)]
    third = tried_(SPACE, 2, ["solve.1: model large; to 2, final", "solve.2: model small; role refiner; to final",
                              "solve.final: role decider; model small"], 0.8)  # fmt: skip
    worst = tried_(SPACE, 3, wide(SPACE, 5, "small"), 0.1)
    own = replace(brief(SPACE, terms(SPACE, 40.0), [worst, *best, third]), mixes=())
    table = answer_of(said(own), own)[0].table
    was = own.probabilities
    assert table["solve.1.model"]["large"] == pytest.approx(0.5 * was["solve.1.model"]["large"] + 0.5, abs=1e-3)
    assert table["solve.1>2"]["yes"] == pytest.approx(0.5 * was["solve.1>2"]["yes"] + 0.5 / 3, abs=0.006)
    assert table["solve.2.role"]["refiner"] > was["solve.2.role"]["refiner"]
    assert "solve.3.model" not in table, "which none of them has"


# Insight 1


def named(insights: dict[int, str], means: dict[str, float], seed: int = 0) -> list[dict[str, dict[str, int]]]:
    findings = [Finding(1, True, "solve", means)] if means else []
    own = brief(SPACE, terms(SPACE, 14.0), insights=insights, findings=findings)
    return list(json.loads(said(replace(own, seed=seed), "mix"))["mixes"])


def test_by_insight_1_it_names_the_model_that_did_best_alone_and_the_most_even_mix() -> None:
    assert named(ALL, {"small": 0.3, "large": 0.8})[0] == {"solve": {"small": 1, "large": 3}}, "as large as can be paid"
    assert named(ALL, {"small": 0.8, "large": 0.3})[0] == {"solve": {"small": 5}}
    spreads = [
        abs(mix["solve"].get("small", 0) - mix["solve"].get("large", 0)) for mix in listed() if len(mix["solve"]) == 2
    ]
    even = named(ALL, {"small": 0.8, "large": 0.3})[1]["solve"]
    assert len(even) == 2 and abs(even["small"] - even["large"]) == min(spreads)


def listed() -> list[dict[str, dict[str, int]]]:
    return [{stage: dict(own) for stage, own in mix.items()} for mix in mixes(SPACE, terms(SPACE, 14.0).purse)]


def test_without_insight_1_mixes_are_chance_whatever_was_found() -> None:
    left = {2: "", 3: ""}
    for seed in range(10):
        good, bad = ({"small": a, "large": 1.0 - a} for a in (0.9, 0.1))
        assert named(left, good, seed) == named(left, bad, seed) == named(left, {}, seed)
    assert {json.dumps(mix) for seed in range(40) for mix in named(left, {}, seed)} == set(map(json.dumps, listed()))


# Insights 2 and 3

Score = Callable[[Graph], float]


def rows(score: Score, sizes: Sequence[int] = (2, 3)) -> list[Tried]:
    """Drafts side by side, two of them refined one after the other, with scores."""
    found = []
    for n in sizes:
        found.append(wide(SPACE, n))
    found.append(["solve.1: model small; to 3", "solve.2: model small; to final", "solve.3: model small; to final",
                  "solve.final: role decider; model small"])  # fmt: skip
    graphs = [tried_(SPACE, number, lines, 0.0) for number, lines in enumerate(found)]
    return [replace(own, values=(score(own.graph),), utility=score(own.graph)) for own in graphs]


def steps(insights: dict[int, str], tried: Sequence[Tried], **more: Any) -> Counter[str]:
    """Kinds of the steps that it takes from the best graph, over some seeds."""
    own = replace(brief(SPACE, terms(SPACE, 60.0), tried, insights=insights, **more), mixes=())
    best = max(tried, key=lambda one_: one_.utility or 0.0)
    near = moves(SPACE, best.graph)
    graphs = [proposed(replace(own, seed=seed)) for seed in range(8)]
    return Counter(near[graph.key][0] if graph is not None and graph.key in near else "two" for graph in graphs)


def by_width(graph: Graph) -> float:
    """The more drafts the better, and no row of slots."""
    return 0.1 * sum(node.role == "generator" for node in graph.nodes) - 0.3 * (depth(graph) - 2)


def by_depth(graph: Graph) -> float:
    return 0.2 * (depth(graph) - 2) + 0.01 * len(graph.nodes)


def test_by_insight_2_it_goes_on_in_the_kind_of_step_that_has_helped() -> None:
    assert steps({2: ""}, rows(by_width)).keys() == {"wider"}
    assert steps({2: ""}, rows(by_depth)).keys() == {"deeper"}


def test_without_insights_steps_are_chance_whatever_has_helped() -> None:
    for score in (by_width, by_depth):
        assert len(steps({}, rows(score))) >= 3
    assert steps({1: ""}, rows(by_width))["wider"] < 6


def test_steps_of_models_are_judged_by_insight_1_only() -> None:
    """A small model in place of a large one has lost much, whatever else the graph had."""
    large = [tried_(SPACE, n, wide(SPACE, n, "large"), 0.9 - 0.01 * abs(n - 3)) for n in range(1, 6)]
    mixed = [["solve.1: model small; to final", *wide(SPACE, n, "large")[1:]] for n in range(1, 6)]
    tried = [*large, *(tried_(SPACE, 5 + n, lines, 0.1) for n, lines in enumerate(mixed))]
    assert steps({1: ""}, tried)["model"] == 0
    assert steps({}, tried)["model"] > 0 and steps({3: ""}, tried)["model"] > 0


def test_only_by_insight_3_are_width_and_depth_changed_together() -> None:
    tried = [tried_(SPACE, 0, wide(SPACE, 4), 0.5)]
    assert steps({1: "", 2: ""}, tried)["two"] == 0
    assert steps(ALL, tried)["two"] > 0


# What it may not do


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([SPACE, FUSING]), st.integers(0, 30))
def test_where_roles_are_not_searched_it_leaves_them(space: SearchSpace, seed: int) -> None:
    """Every slot plays the first role that it can, in what was tried and so in what it proposes."""
    distribution = ProbabilisticGraph(space)
    first = {
        name: {v: float(v == own.values[0]) for v in own.values}
        for name, own in space.parameters.items()
        if ".role" in name
    }
    distribution.set_probabilities(
        {**first, **{name: {"no": 0.5, "yes": 0.5} for name in space.parameters if ">" in name}}
    )
    drawn = distribution.params(distribution.sample(6, torch.Generator().manual_seed(seed)))
    tried = [
        Tried(n, space.build(p), p, (n / 6,), n / 6, cost(space.build(p)), Proposal(0, "drawn"))
        for n, p in enumerate(drawn)
    ]
    for told in ({}, {}, {}, {}, ALL):
        seed += 1
        own = replace(brief(space, terms(space, 60.0), tried, insights=told, roles=False), mixes=(), seed=seed)
        graph = proposed(own)
        assert graph is not None
        for node in graph.nodes[:-1]:
            heard = sum(graph.widths[source.id] for source in graph.candidates(node))
            if heard:
                assert node.role == ("fuser" if space is FUSING and heard > 1 else "refiner")


def test_before_anything_was_measured_it_says_nothing() -> None:
    own = replace(brief(SPACE, history=[tried_(SPACE, 0, wide(SPACE, 2))]), mixes=())
    assert json.loads(said(own)) == {"table": [], "graph": None}


def test_where_nothing_new_can_be_paid_it_gives_a_table_only() -> None:
    space = one(1)
    tried = [tried_(space, 0, wide(space, 1), 0.5)]
    own = replace(brief(space, terms(space, 2.0), tried, insights=ALL), mixes=())
    found = json.loads(said(own))
    assert found["graph"] is None and "expected" not in found and found["table"]
    assert from_table(space, "\n".join(found["table"]))
