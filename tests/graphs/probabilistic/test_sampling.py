"""What is drawn comes as often as it should, runs, and stays within its budget."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion.bench.networkx_sampling import by_chance
from apportion.errors import GraphError
from apportion.graphs.graph import Graph
from apportion.graphs.parameters import Value
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.slots import FINAL, YES, SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from tests.graphs.probabilistic.kit import CASES, LEVEL, Case, agree, everything, fit, nominal, orders, plain, reference
from tests.strategies import MODELS, mixed_spaces

Setting = tuple[tuple[str, Value], ...]
slow = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", CASES)
def test_frequencies_are_the_probabilities(name: str) -> None:
    distribution = CASES[name].distribution()
    expected: dict[Setting, float] = defaultdict(float)
    for order in orders(name):
        for params, p in zip(*everything(name, order), strict=True):
            expected[plain(params)] += float(p) / len(orders(name))
    batch = distribution.sample(3000, torch.Generator().manual_seed(3))
    assert fit(Counter(map(plain, distribution.params(batch))), expected) > LEVEL


def test_the_test_sees_a_wrong_sampler() -> None:
    drawn, p = everything("plain", None)
    expected = {plain(params): float(q) for params, q in zip(drawn, p, strict=True)}
    wrong = CASES["plain"].distribution(spread=1.3)
    batch = wrong.sample(3000, torch.Generator().manual_seed(3))
    assert fit(Counter(map(plain, wrong.params(batch))), expected) < LEVEL


LARGER: dict[str, Case] = {
    "slots beside templates, in a budget": Case(
        (
            TemplateStage("t", ("a", "b"), ("single", "vote", "refine"), (2, 3)),
            SlotStage(
                "s", ("a", "b"), 4, ("refiner", "fuser", "critic", "ranker"), ("decider", "fuser"), (1, 2), (0.2, 0.9),
                final_models=("b", "a"), keep=2, reads=("t",),
            ),
        ),
        {("t", "a"): 1.0, ("t", "b"): 2.0, ("s", "a"): 1.0, ("s", "b"): 2.0},
        11.0,
    ),
    "free order, in a budget": Case(
        (
            SlotStage("s", ("a", "b"), 4, ("refiner", "scorer", "weighted_voter"), ("voter",), (1, 2), free_order=True),
            SlotStage("t", ("b", "a"), 3, ("refiner", "fuser"), ("decider", "weighted_voter"), reads=("s",)),
        ),
        {("t", "a"): 1.0, ("t", "b"): 2.0, ("s", "a"): 1.0, ("s", "b"): 2.0},
        10.0,
        fuser_rule=True,
    ),
}  # fmt: skip


def features(space: SearchSpace, params: dict[str, Value]) -> list[tuple[str, object]]:
    """What is compared of spaces that are too large for their settings to be counted."""
    graph = space.build(params)
    return [
        ("key", graph.key),
        ("models", tuple(sorted(str(node.model) for node in graph.nodes))),
        ("roles", tuple(sorted(node.role for node in graph.nodes))),
        ("edges", tuple(sorted(name for name, value in params.items() if value == YES))),
        ("samples", tuple(value for name, value in params.items() if name.endswith(".samples"))),
        ("temperatures", tuple(value for name, value in params.items() if name.endswith(".temperature"))),
    ]


@pytest.mark.parametrize("name", LARGER)
def test_large_spaces_are_drawn_as_the_slow_sampler_draws_them(name: str) -> None:
    distribution = LARGER[name].distribution(spread=1.0)
    slowly, rng = reference(distribution, LARGER[name]), random.Random(4)
    fast = distribution.params(distribution.sample(2500, torch.Generator().manual_seed(5)))
    one: dict[str, Counter[object]] = defaultdict(Counter)
    other: dict[str, Counter[object]] = defaultdict(Counter)
    for params in fast:
        for what, seen in features(distribution.space, params):
            one[what][seen] += 1
    for _ in range(700):
        for what, seen in features(distribution.space, slowly.draw(by_chance(rng))):
            other[what][seen] += 1
    assert {what: agree(one[what], other[what]) for what in one if agree(one[what], other[what]) <= LEVEL} == {}


@pytest.mark.parametrize("name", ["a budget", "free order, in a budget"])
def test_what_is_left_is_drawn_however_far_below_the_rest_its_logits_are(name: str) -> None:
    distribution = CASES[name].distribution()
    logits = torch.full_like(distribution.logits, -1e4)
    logits[distribution.layout.blocks["s.1.model"].start + 1] = 1e4  # of the dear model, which leaves nothing to others
    distribution.set_logits(logits)
    batch = distribution.sample(500, torch.Generator().manual_seed(8))
    assert bool(batch.log_prob.isfinite().all())
    torch.testing.assert_close(distribution.log_prob(batch), batch.log_prob)
    for graph in distribution.graphs(batch):
        assert nominal(graph, CASES[name].prices, distribution.space) <= 5.0


def test_the_same_generator_draws_the_same() -> None:
    distribution = LARGER["free order, in a budget"].distribution()
    one, two = (distribution.params(distribution.sample(20, torch.Generator().manual_seed(6))) for _ in range(2))
    assert one == two


@st.composite
def distributions(draw: st.DrawFn) -> tuple[ProbabilisticGraph, dict[tuple[str, str], float], float | None]:
    """A distribution with its prices and its budget, if that covers a graph."""
    space = draw(mixed_spaces(slots=4))
    prices = {(stage.name, model): draw(st.sampled_from([0.0, 1.0, 3.0])) for stage in space.stages for model in MODELS}
    budget = draw(st.none() | st.floats(6.0, 40.0))
    try:
        made = ProbabilisticGraph(space, prices, budget, fuser_rule=draw(st.booleans()))
    except GraphError as error:
        assert str(error).startswith("the budget must cover one graph, but it is ")
        made, budget = ProbabilisticGraph(space), None
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    made.set_logits(
        draw(st.sampled_from([0.0, 2.0, 30.0])) * torch.randn(made.logits.shape, generator=generator).double()
    )
    return made, prices, budget


@slow
@given(distributions(), st.integers(0, 99))
def test_all_that_is_drawn_runs_within_its_budget(
    drawn: tuple[ProbabilisticGraph, dict[tuple[str, str], float], float | None], seed: int
) -> None:
    distribution, prices, budget = drawn
    batch = distribution.sample(30, torch.Generator().manual_seed(seed))
    assert bool(batch.log_prob.isfinite().all()) and bool((batch.log_prob <= 1e-12).all())
    torch.testing.assert_close(distribution.log_prob(batch), batch.log_prob)
    for params in distribution.params(batch):
        _check(distribution.space, params, prices, budget)


@slow
@given(distributions(), st.floats(0.0, 1.0), st.none() | st.integers(0, 3))
def test_what_is_decoded_runs_within_its_budget(
    drawn: tuple[ProbabilisticGraph, dict[tuple[str, str], float], float | None], threshold: float, most: int | None
) -> None:
    distribution, prices, budget = drawn
    _check(distribution.space, distribution.mode(), prices, budget)
    decoded = distribution.decode(threshold, most)
    _check(distribution.space, decoded, prices, budget)
    probabilities = distribution.probabilities()
    for stage in distribution.space.stages:
        there = [name for name, value in decoded.items() if value == YES and name.startswith(f"{stage.name}.")]
        ending = [name for name in there if name.endswith(FINAL)]
        sure = [name for name in there if name not in ending or len(ending) > 1]
        assert all(probabilities[name][YES] > threshold for name in sure)
        readers = Counter(name.partition(">")[0] for name in sure)
        assert most is None or all(n <= most for n in readers.values())


def _check(
    space: SearchSpace, params: dict[str, Value], prices: dict[tuple[str, str], float], budget: float | None
) -> Graph:
    graph = space.build(params)
    assert space.build(space.params(graph)).key == graph.key
    if budget is not None:
        assert nominal(graph, prices, space) <= budget * (1.0 + 1e-6)
    return graph
