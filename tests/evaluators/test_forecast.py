"""What graphs are expected to cost agrees with what they cost, once rollouts of real runs have been seen."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import pytest

from apportion.envs import parsers
from apportion.envs.dispatch import Dispatcher
from apportion.envs.endpoint import Endpoint
from apportion.envs.environment import Environment
from apportion.envs.limits import Allowance, Limits
from apportion.envs.rollout import Candidate, NodeRun, Rollout
from apportion.envs.stage import Example, Stage
from apportion.envs.worker import Request, Sampling
from apportion.evaluators.benchmark import Benchmark
from apportion.evaluators.costs import costs
from apportion.evaluators.forecast import Forecast
from apportion.graphs.cost import COSTS, ModelCard, Rates
from apportion.graphs.graph import Graph, Node
from apportion.graphs.paper import Length, Lengths
from apportion.store.calls import Draw, DrawStatus
from apportion.testing.fakes import FakeWorker
from tests.support import open_calls

PLAIN = {"small": ModelCard("small", 1e9, 0, 0, 1.0, 2.0), "large": ModelCard("large", 8e9, 0, 0, 10.0, 20.0)}
"""Without attention every cost but seconds is a sum of lengths, so that means agree to the last digit."""
CURVED = {"small": ModelCard("small", 1e6, 24, 1024, 1.0, 2.0), "large": ModelCard("large", 1e6, 48, 4096, 10.0, 20.0)}
"""Attention is nearly all that they cost."""
RATES = {"small": Rates(100.0, 10.0, 4), "large": Rates(50.0, 5.0, 4)}
GUESS = Lengths({("find",): Length(40.0, 30.0), ("answer",): Length(50.0, 10.0)})
HOW = Sampling(0.7, 64)
STAGES = {
    "find": Stage("find", "Hint for {q}?", parsers.text, HOW, "Be brief."),
    "answer": Stage("answer", "With {find}: {q}?", parsers.text, HOW),
}
EXAMPLES = [Example(str(i), {"q": " ".join(["word"] * (3 + i * i % 7)) + str(i)}) for i in range(12)]


def spoken(request: Request) -> str:
    """Some words that no other request is answered with; a verdict or a grade where one is asked for."""
    said = request.messages[-1].content
    digest = hashlib.sha256(f"{said}{request.seed}{request.model}".encode()).hexdigest()
    if request.sampling.top_logprobs:
        return "yes it is right"
    if "one number only" in said:
        return f"{int(digest[:4], 16) % 11} of ten"
    if "Rank these" in said:
        return "2 > 1 > 3"
    return " ".join(digest[i : i + 4] for i in range(0, 12 + 4 * (int(digest[-2:], 16) % 9), 4))


DRAFTS = Node("d", "find", "generator", "small", 3)
LONE = Node("d", "find", "generator", "large")
GRAPHS = {
    "one call": Graph((LONE,)),
    "vote": Graph((DRAFTS, Node("v", "find", "voter", inputs=("d",)))),
    "refiner": Graph((LONE, Node("r", "find", "refiner", "small", 1, ("d",)))),
    "refiners of three": Graph(
        (DRAFTS, Node("r", "find", "refiner", "large", 2, ("d",)), Node("v", "find", "voter", inputs=("r",)))
    ),
    "fuser": Graph((DRAFTS, Node("f", "find", "fuser", "large", 1, ("d",)))),
    "fuser of two nodes": Graph(
        (DRAFTS, Node("e", "find", "generator", "large", 2), Node("f", "find", "fuser", "small", 1, ("d", "e")))
    ),
    "critic": Graph(
        (DRAFTS, Node("c", "find", "critic", "large", 2, ("d",)), Node("f", "find", "fuser", "small", 1, ("c",)))
    ),
    "verifier": Graph((DRAFTS, Node("y", "find", "verifier", "large", 2, ("d",)))),
    "scorer": Graph((DRAFTS, Node("s", "find", "scorer", "large", 1, ("d",)))),
    "ranker": Graph((DRAFTS, Node("k", "find", "ranker", "large", 1, ("d",)))),
    "chain": Graph(
        (
            DRAFTS,
            Node("f", "find", "fuser", "small", 1, ("d",)),
            Node("e", "answer", "generator", "small", 2, ("f",)),
            Node("r", "answer", "refiner", "large", 1, ("e",)),
        )
    ),
}
CHOSEN = {  # whose choice among drafts may fall on longer or shorter ones
    "two verified": Graph(
        (
            DRAFTS,
            Node("y", "find", "verifier", "large", 1, ("d",), keep=2),
            Node("f", "find", "fuser", "small", 1, ("y",)),
        )
    ),
    "ranked and criticised": Graph(
        (
            DRAFTS,
            Node("k", "find", "ranker", "large", 1, ("d",), keep=2),
            Node("c", "find", "critic", "small", 1, ("k",)),
            Node("r", "find", "decider", "large", 1, ("c",)),
        )
    ),
}


def rollouts(tmp_path: Path, *graphs: Graph) -> list[Rollout]:
    """Each graph on each example, by real runs over a store."""

    async def main() -> list[Rollout]:
        endpoints = {
            name: Endpoint(card, FakeWorker(spoken), name, name, 8, seeds=True, logprobs=True)
            for name, card in PLAIN.items()
        }
        with open_calls(tmp_path / "run.sqlite") as calls:
            dispatcher = Dispatcher(calls, endpoints, Allowance(Limits()))
            environment = Environment(STAGES, dispatcher)
            found = [await environment.run(graph, example) for graph in graphs for example in EXAMPLES]
            await dispatcher.close()
            return found

    return asyncio.run(main())


def learnt(seen: Sequence[Rollout], cards: dict[str, ModelCard] = PLAIN) -> Forecast:
    forecast = Forecast(cards, GUESS)
    for rollout in seen:
        forecast.learn(rollout)
    return forecast


def means(seen: Sequence[Rollout], cards: dict[str, ModelCard] = PLAIN) -> dict[str, float]:
    """What the rollouts cost on average."""
    found: dict[str, float] = {}
    for name, cost in costs(cards, RATES).items():
        paid = [value for rollout in seen if (value := cost(rollout)) is not None]
        found |= {name: fmean(paid)} if paid else {}
    return found


@pytest.mark.parametrize("name", GRAPHS)
def test_what_was_seen_is_expected(tmp_path: Path, name: str) -> None:
    seen = rollouts(tmp_path, GRAPHS[name])
    assert all(rollout.status == "ok" for rollout in seen)
    expected, paid = learnt(seen).costs(GRAPHS[name]), means(seen)
    assert expected["calls"] == paid["calls"]
    for metric in ("tokens", "flops", "usd"):
        assert expected[metric] == pytest.approx(paid[metric], rel=0.005), metric
    curved = learnt(seen, CURVED).costs(GRAPHS[name])
    assert curved["flops"] == pytest.approx(means(seen, CURVED)["flops"], rel=0.1)


@pytest.mark.parametrize("name", CHOSEN)
def test_of_texts_that_are_chosen_the_mean_is_expected(tmp_path: Path, name: str) -> None:
    seen = rollouts(tmp_path, CHOSEN[name])
    expected, paid = learnt(seen).costs(CHOSEN[name]), means(seen)
    assert expected["calls"] == paid["calls"]
    for metric in ("tokens", "flops", "usd"):
        assert expected[metric] == pytest.approx(paid[metric], rel=0.05), metric


def test_graphs_seen_together_are_expected_together(tmp_path: Path) -> None:
    """A role's length is a mean over graphs that use it differently."""
    seen = rollouts(tmp_path, *GRAPHS.values())
    forecast = learnt(seen)
    for i, (name, graph) in enumerate(GRAPHS.items()):
        paid = means(seen[i * len(EXAMPLES) : (i + 1) * len(EXAMPLES)])
        assert forecast.costs(graph)["tokens"] == pytest.approx(paid["tokens"], rel=0.15), name


def test_a_graph_that_was_not_seen_is_expected_from_its_parts(tmp_path: Path) -> None:
    forecast = learnt(rollouts(tmp_path, GRAPHS["vote"], GRAPHS["fuser"]))
    more = Graph(
        (
            Node("d", "find", "generator", "small", 5),
            Node("f", "find", "fuser", "large", 2, ("d",)),
            Node("v", "find", "voter", inputs=("f",)),
        )
    )
    paid = means(rollouts(tmp_path, more))
    for metric in ("calls", "tokens", "flops", "usd"):
        assert forecast.costs(more)[metric] == pytest.approx(paid[metric], rel=0.1)


def test_the_order_of_rollouts_does_not_matter(tmp_path: Path) -> None:
    seen = rollouts(tmp_path, *GRAPHS.values())
    first = learnt(seen)
    for seed in range(3):
        other = learnt(random.Random(seed).sample(seen, len(seen)))
        assert sorted(other.to_dict()["sums"]) == sorted(first.to_dict()["sums"])
        assert [other.costs(graph) for graph in GRAPHS.values()] == [first.costs(graph) for graph in GRAPHS.values()]


def test_what_was_learnt_is_recalled(tmp_path: Path) -> None:
    forecast = learnt(rollouts(tmp_path, GRAPHS["critic"], GRAPHS["chain"]))
    again = Forecast(PLAIN, GUESS)
    again.recall(json.loads(json.dumps(forecast.to_dict())))
    assert again.to_dict() == forecast.to_dict()
    assert [again.costs(graph) for graph in GRAPHS.values()] == [forecast.costs(graph) for graph in GRAPHS.values()]


# Before anything was seen, and what says nothing


def test_a_guess_is_what_there_is_before_the_first_rollout() -> None:
    found = Forecast(PLAIN, GUESS).costs(GRAPHS["vote"])
    assert found["tokens"] == 3 * (40 + 30) and found["calls"] == 3
    assert found["flops"] == 2e9 * (40 + 3 * 30) and found["usd"] == pytest.approx(3 * (40 * 1 + 30 * 2) / 1e6)
    assert found["latency_s"] is None


@pytest.mark.parametrize(
    ("status", "prompt_tokens", "completion_tokens", "expected"),
    [
        ("ok", 100, 6, 106.0),
        ("truncated", 100, 64, 164.0),
        ("refused", 100, 0, 100.0),
        ("failed", 0, 0, 70.0),
        ("timeout", 0, 0, 70.0),
    ],
)
def test_a_draw_without_a_reply_says_nothing(
    status: DrawStatus, prompt_tokens: int, completion_tokens: int, expected: float
) -> None:
    draw = Draw("k", 0, status, "", "", prompt_tokens, completion_tokens)
    graph = GRAPHS["one call"]
    forecast = learnt([Rollout(graph, "1", status, None, {"d": NodeRun(status, (), (draw,))})])
    assert forecast.costs(graph)["tokens"] == expected


def test_nodes_that_were_not_run_say_nothing(tmp_path: Path) -> None:
    graph = GRAPHS["fuser"]
    lost = Draw("k", 0, "failed")
    runs = {"d": NodeRun("failed", (), (lost, lost, lost)), "f": NodeRun("failed")}
    assert learnt([Rollout(graph, "1", "failed", None, runs)]).to_dict()["sums"] == []


# How replies ended


def test_replies_are_counted_by_how_they_ended(tmp_path: Path) -> None:
    statuses: tuple[DrawStatus, ...] = ("ok", "ok", "truncated", "refused", "timeout", "failed")
    draws = tuple(Draw("k", i, status) for i, status in enumerate(statuses))
    written = (Candidate("yes", "yes", ("d", 0)), Candidate("?", None, ("d", 1)))
    graph = Graph((Node("d", "find", "generator", "small", 6), Node("s", "find", "scorer", "large", 1, ("d",))))
    runs = {"d": NodeRun("ok", written, draws), "s": NodeRun("ok", written[1:], draws[1:3])}
    for status in ("ok", "failed"):
        ends = learnt([Rollout(graph, "1", status, "yes", runs)]).to_dict()["ends"]
        assert sorted(ends) == [
            ["find", "large", "ok", 2],  # what a judge begins to say is heard, and no parser reads it
            *(["find", "small", end, 1] for end in ("failed", "ok", "refused", "timeout", "truncated", "unparsed")),
        ]


def test_of_a_run_before_ends_were_counted_none_are_known() -> None:
    forecast = Forecast(PLAIN, GUESS)
    forecast.recall({"sums": [["find", "generator", "small", 1, 2, 3, 4]]})
    assert forecast.to_dict()["ends"] == []


# Prices, and the door to a study


def test_prices_are_those_of_one_call(tmp_path: Path) -> None:
    fresh = Forecast(PLAIN, GUESS)
    assert fresh.prices("tokens", ["find", "answer"]) == {
        "find": {"small": 70.0, "large": 70.0},
        "answer": {"small": 60.0, "large": 60.0},
    }
    assert fresh.prices("calls", ["find"]) == {"find": {"small": 1.0, "large": 1.0}}
    assert fresh.prices("flops", ["find"])["find"] == {"small": 2e9 * 70, "large": 16e9 * 70}
    seen = rollouts(tmp_path, GRAPHS["one call"])
    forecast = learnt(seen)
    for metric in ("tokens", "flops", "usd"):
        assert forecast.prices(metric, ["find"])["find"]["large"] == pytest.approx(means(seen)[metric])
    assert forecast.prices("tokens", ["answer"]) == fresh.prices("tokens", ["answer"])


def test_prices_that_are_not_known_are_none() -> None:
    cards = {"small": PLAIN["small"], "large": ModelCard("large", 8e9)}
    forecast = Forecast(cards, GUESS)
    assert forecast.prices("usd", ["find"])["find"] == {"small": pytest.approx(100 / 1e6), "large": None}
    assert forecast.prices("latency_s", ["find"]) == {"find": {"small": None, "large": None}}
    assert forecast.prices("tokens", ["nowhere"]) == {"nowhere": {"small": None, "large": None}}
    forecast.rates = RATES
    assert forecast.prices("latency_s", ["find"])["find"] == {"small": 40 / 100 + 30 / 10, "large": 40 / 50 + 30 / 5}


class Given(Environment):
    """Gives one rollout for any example."""

    def __init__(self, rollout: Rollout) -> None:
        self._rollout = rollout

    async def run(self, graph: Graph, example: Example, spender: object = "candidate") -> Rollout:
        return self._rollout


def test_a_benchmark_learns_from_the_search_split_alone(tmp_path: Path) -> None:
    (one,) = (r for r in rollouts(tmp_path, GRAPHS["one call"]) if r.example_id == "0")
    forecast = Forecast(PLAIN, GUESS)
    splits = {"search": EXAMPLES[:2], "validation": EXAMPLES[:3], "test": EXAMPLES[:4]}
    benchmark = Benchmark(Given(one), splits, {}, {}, 2, forecast)

    async def measured(split: str) -> None:
        async for _ in benchmark.measure(one.graph, split):
            pass

    for split in ("validation", "test"):
        asyncio.run(measured(split))
        assert benchmark.learnt() == {"sums": [], "ends": []}
    asyncio.run(measured("search"))
    assert benchmark.learnt() == learnt([one, one]).to_dict()
    assert benchmark.on_paper(one.graph) == forecast.costs(one.graph)
    assert benchmark.prices("tokens", ["find"]) == forecast.prices("tokens", ["find"])
    benchmark.recall({})
    assert benchmark.learnt() == learnt([one, one]).to_dict(), "nothing to recall leaves what is there"
    benchmark.recall(learnt([one]).to_dict())
    assert benchmark.learnt() == learnt([one]).to_dict()


def test_without_a_forecast_nothing_is_expected(tmp_path: Path) -> None:
    benchmark = Benchmark(Given(rollouts(tmp_path, GRAPHS["one call"])[0]), {}, {}, {}, 2)
    benchmark.recall({"sums": []})
    assert (benchmark.on_paper(GRAPHS["vote"]), benchmark.prices("flops", ["find"]), benchmark.learnt()) == ({}, {}, {})
    assert set(Forecast(PLAIN, GUESS).costs(GRAPHS["vote"])) == set(COSTS)
