"""A distribution says of everything how probable it is: held against a slow one, exactly, where all can be listed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping

import pytest
import torch

from apportion.errors import GraphError
from apportion.graphs.parameters import Value
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.slots import ABSENT, SlotStage
from apportion.graphs.space import SearchSpace
from tests.graphs.probabilistic.kit import CASES, everything, nominal, orders, plain, realised

STAGE = SlotStage("s", ("a", "b"), 3, ("refiner", "fuser"), ("decider",), (1, 2))
SPACE = SearchSpace((STAGE,))
LISTED = [name for name in CASES if SearchSpace(CASES[name].stages).settings <= 5000]
UNTIED = [name for name in CASES if CASES[name].budget is None]


def test_the_sparse_prior_of_agent_reinforce() -> None:
    probabilities = ProbabilisticGraph(SPACE).probabilities()
    assert probabilities["s.1>2"]["yes"] == pytest.approx(0.119203, abs=5e-7)
    assert probabilities["s.3>final"]["yes"] == pytest.approx(0.119203, abs=5e-7)
    assert probabilities["s.1.model"] == {"a": 0.5, "b": 0.5}
    assert ProbabilisticGraph(SPACE, edge_shift=0.0).probabilities()["s.1>2"] == {"no": 0.5, "yes": 0.5}


@pytest.mark.parametrize("name", CASES)
def test_all_that_can_be_drawn_is_as_probable_as_the_slow_sampler_says(name: str) -> None:
    distribution = CASES[name].distribution()
    for order in orders(name):
        drawn, expected = everything(name, order)
        p = distribution.log_prob(realised(distribution, drawn, order)).detach().exp()
        torch.testing.assert_close(p, expected, rtol=1e-9, atol=1e-14)
        assert float(p.sum()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", LISTED)
def test_nothing_else_can_be_drawn(name: str) -> None:
    """Of all settings of all parameters, the others have probability 0 or differ in what leaves no trace at all."""
    distribution = CASES[name].distribution()
    space, order = distribution.space, orders(name)[-1]
    drawn, expected = everything(name, order)
    known = {plain(params): p for params, p in zip(drawn, expected.tolist(), strict=True)}
    rows = itertools.product(*(own.values for own in space.parameters.values()))
    settings = [dict(zip(space.parameters, row, strict=True)) for row in rows]
    p = distribution.log_prob(realised(distribution, settings, order)).detach().exp().tolist()
    assert len(settings) == space.settings
    for params, probability in zip(settings, p, strict=True):
        if probability > 0.0:
            assert probability == pytest.approx(known.get(plain(_without_trace(space, params))))


@pytest.mark.parametrize("name", [name for name in LISTED if CASES[name].budget])
def test_every_graph_within_the_budget_can_be_drawn(name: str) -> None:
    case, space = CASES[name], SearchSpace(CASES[name].stages)
    drawn = {space.build(params).key for order in orders(name) for params in everything(name, order)[0]}
    graphs = [space.build(params) for params in space.grid()]
    assert case.budget is not None
    assert drawn == {graph.key for graph in graphs if nominal(graph, case.prices, space) <= case.budget + 1e-6}
    assert len(drawn) < len(graphs)


def _without_trace(space: SearchSpace, params: dict[str, Value]) -> dict[str, Value]:
    """Parameters that may stand for the same draw: first values for what is of no use, samples of absent slots too."""
    first = {name: own.values[0] for name, own in space.parameters.items()}
    unused = set(first) - {name for stage in space.stages for name in stage.used(params)}
    idle = [name for name in unused if name.endswith((".role", "t.samples", "final.model"))]
    gone = [name for name in first if name.endswith(".samples") and params[f"{name[:-7]}model"] == ABSENT]
    return params | {name: first[name] for name in (*idle, *gone)}


@pytest.mark.parametrize("name", CASES)
def test_params_and_batch_are_a_round_trip(name: str) -> None:
    distribution = CASES[name].distribution()
    batch = distribution.sample(50, torch.Generator().manual_seed(1))
    params = distribution.params(batch)
    again = distribution.batch(params, None if batch.order is None else batch.order.tolist())
    torch.testing.assert_close(distribution.log_prob(again), batch.log_prob)
    torch.testing.assert_close(distribution.used_log_prob(again), distribution.used_log_prob(batch))
    assert distribution.params(again) == params
    assert [graph.key for graph in distribution.graphs(batch)] == [distribution.space.build(p).key for p in params]


def slopes(distribution: ProbabilisticGraph, function: Callable[[], torch.Tensor], ways: torch.Tensor) -> torch.Tensor:
    """Central differences of a function of the logits along some ways."""
    at, found = distribution.logits.detach().clone(), []
    for way in ways:
        distribution.set_logits(at + 1e-5 * way)
        above = function().detach()
        distribution.set_logits(at - 1e-5 * way)
        found.append((above - function().detach()) / 2e-5)
    distribution.set_logits(at)
    return torch.stack(found)


def gradient(distribution: ProbabilisticGraph, value: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(value, distribution.logits, allow_unused=True)[0]


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    distribution = CASES[name].distribution(spread=0.7)
    batch = distribution.sample(6, torch.Generator().manual_seed(2))
    weights = torch.arange(1.0, 7.0, dtype=torch.float64)
    functions: Mapping[str, Callable[[], torch.Tensor]] = {
        "log_prob": lambda: (distribution.log_prob(batch) * weights).sum(),
        "used_log_prob": lambda: (distribution.used_log_prob(batch) * weights).sum(),
        "entropy": distribution.entropy,
    }
    generator = torch.Generator().manual_seed(3)
    ways = torch.randn(3, distribution.layout.size, generator=generator, dtype=torch.float64)
    for function in functions.values():
        steepest = gradient(distribution, function())
        torch.testing.assert_close(ways @ steepest, slopes(distribution, function, ways), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        gradient(distribution, (batch.log_prob * weights).sum()),
        gradient(distribution, functions["log_prob"]()),
    )


@pytest.mark.parametrize("name", UNTIED)
def test_what_leaves_no_trace_does_not_move_the_mean_gradient(name: str) -> None:
    """Exactly, for a utility of the graph alone."""
    distribution = CASES[name].distribution()
    for order in orders(name):
        drawn, p = everything(name, order)
        utility = torch.tensor([int(distribution.space.build(params).key, 16) % 997 for params in drawn]) / 997.0
        batch = realised(distribution, drawn, order)
        full = gradient(distribution, (p * utility * distribution.log_prob(batch)).sum())
        used = gradient(distribution, (p * utility * distribution.used_log_prob(batch)).sum())
        torch.testing.assert_close(used, full, rtol=1e-9, atol=1e-12)


def test_entropy_is_the_sum_of_the_parameters_own() -> None:
    distribution = ProbabilisticGraph(SPACE, edge_shift=0.0)
    # Samples and roles of slots, edges, the first slot's model and the final one have two even values each; the models
    # of the other slots have three with absence; the final role is sure.
    assert distribution.entropy().item() == pytest.approx((1 + 3 + 3 + 6 + 1) * math.log(2.0) + 2 * math.log(3.0))


def params(*edges: str) -> dict[str, Value]:
    first = {name: parameter.values[0] for name, parameter in SPACE.parameters.items()}
    return first | {"s.3.model": ABSENT} | {f"s.{edge}": "yes" for edge in edges}


IMPOSSIBLE: dict[str, tuple[dict[str, Value], float | None]] = {  # parameters and budget
    "a final node that reads nothing": (params("1>2"), None),
    "a fuser of one draft": ({**params("1>2", "2>final"), "s.2.role": "fuser"}, None),
    "a model beyond the budget": ({**params("1>final"), "s.2.model": "b"}, 4.5),
    "samples beyond the budget": ({**params("1>final"), "s.2.model": "a", "s.2.samples": 2}, 3.5),
    "an edge from an absent slot": (params("3>final"), None),
    "an absent slot beside one that is read": (params("1>final", "3>final"), None),
    "an edge to an absent slot": (params("1>final", "1>3"), None),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_drawn_is_impossible(name: str) -> None:
    what, budget = IMPOSSIBLE[name]
    distribution = ProbabilisticGraph(SPACE, {("s", "a"): 1.0, ("s", "b"): 3.0}, budget)
    assert distribution.log_prob(distribution.batch([what, params("1>final")])).isfinite().tolist() == [False, True]


def test_an_edge_against_the_order_is_impossible() -> None:
    free = SearchSpace((SlotStage("s", ("a",), 2, ("refiner",), ("decider",), free_order=True),))
    distribution = ProbabilisticGraph(free)
    cycle = {name: parameter.values[0] for name, parameter in free.parameters.items()}
    cycle |= {"s.1>2": "yes", "s.2>1": "yes", "s.1>final": "yes"}
    assert distribution.log_prob(distribution.batch([cycle], [[0, 1]])).item() == -torch.inf
    with pytest.raises(GraphError, match=r"graphs of free order must have their `order`, got none; give"):
        distribution.batch([cycle])


def test_probabilities_come_back() -> None:
    distribution = CASES["samples and temperatures"].distribution()
    wanted = distribution.probabilities()
    fresh = ProbabilisticGraph(distribution.space)
    fresh.set_probabilities(wanted)
    for name, values in fresh.probabilities().items():
        assert values == pytest.approx(wanted[name], abs=1e-9)
    fresh.set_probabilities({"s.1>2": {"yes": 1.0}, "s.1.samples": {3: 1.0}})
    assert fresh.probabilities()["s.1>2"]["yes"] == pytest.approx(1.0, abs=1e-9)
    assert fresh.probabilities()["s.1.samples"] == pytest.approx({1: 0.0, 2: 0.0, 3: 1.0}, abs=1e-9)
    assert fresh.probabilities()["s.2.samples"] == pytest.approx(wanted["s.2.samples"], abs=1e-9)
    assert bool(fresh.logits.isfinite().all())


def test_mode_takes_the_likeliest_of_everything() -> None:
    distribution = ProbabilisticGraph(SPACE)
    likely = params("1>2", "2>final", "1>final") | {"s.1.model": "b", "s.1.samples": 2, "s.2.role": "fuser"}
    sure = {
        name: {value: 0.8 if value == likely[name] else 0.2 / (len(own.values) - 1) for value in own.values}
        for name, own in SPACE.parameters.items()
        if len(own.values) > 1
    }
    distribution.set_probabilities(sure)
    assert distribution.mode() == likely


def test_decoding_cuts_edges() -> None:
    distribution = ProbabilisticGraph(SearchSpace((SlotStage("s", ("a",), 4, ("refiner",), ("decider",)),)))
    edges = {"1>2": 0.9, "1>3": 0.8, "1>4": 0.7, "2>3": 0.54, "3>4": 0.56, "4>final": 0.3, "3>final": 0.2}
    distribution.set_probabilities({f"s.{edge}": {"yes": p, "no": 1.0 - p} for edge, p in edges.items()})

    def kept(decoded: Mapping[str, Value]) -> set[str]:
        return {name.removeprefix("s.") for name, value in decoded.items() if value == "yes"}

    assert kept(distribution.decode()) == {"1>2", "1>3", "3>4", "4>final"}
    assert kept(distribution.decode(threshold=0.5)) == {"1>2", "1>3", "2>3", "3>4", "4>final"}
    assert kept(distribution.decode(most_readers=None)) == {"1>2", "1>3", "1>4", "3>4", "4>final"}
    assert kept(distribution.decode(most_readers=1)) == {"1>2", "3>4", "4>final"}
    # No edge to the final node is among the likeliest of its slot: the likeliest of them stays in any case.
    assert kept(distribution.decode(most_readers=0)) == {"4>final"}


PRICES = {("s", "a"): 1.0, ("s", "b"): 3.0}


@pytest.mark.parametrize(
    ("prices", "budget", "said"),
    [
        (PRICES, 0.5, "the budget must cover one graph, but it is 0.5 and the cheapest one costs 2; raise it."),
        (
            PRICES,
            float("nan"),
            "the budget must cover one graph, but it is nan and the cheapest one costs 2; raise it.",
        ),
        (PRICES, -1.0, "the budget must cover one graph, but it is -1 and the cheapest one costs 2; raise it."),
        ({("s", "a"): 1.0}, 9.0, "a budget needs every model's price, but that of 'b' in 's' is None; give it."),
        ({}, 9.0, "a budget needs every model's price, but that of 'a' in 's' is None; give it."),
        (
            {**PRICES, ("s", "b"): -1.0},
            9.0,
            "a budget needs every model's price, but that of 'b' in 's' is -1.0; give it.",
        ),
        (
            {**PRICES, ("s", "b"): float("nan")},
            9.0,
            "a budget needs every model's price, but that of 'b' in 's' is nan; give it.",
        ),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(
    prices: Mapping[tuple[str, str], float], budget: float, said: str
) -> None:
    with pytest.raises(GraphError) as error:
        ProbabilisticGraph(SPACE, prices, budget)
    assert str(error.value) == said


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite_are_refused(bad: float) -> None:
    distribution = ProbabilisticGraph(SPACE)
    logits = torch.zeros_like(distribution.logits)
    logits[3] = bad
    with pytest.raises(GraphError) as error:
        distribution.set_logits(logits)
    assert str(error.value) == f"logits must be finite, got {bad} at place 3; use smaller steps."
    with torch.no_grad():
        distribution.logits[3] = bad  # as an optimiser may
    for use in (lambda: distribution.sample(1, torch.Generator()), distribution.decode):
        with pytest.raises(GraphError, match="logits must be finite"):
            use()


def test_another_number_of_logits_is_refused() -> None:
    with pytest.raises(GraphError) as error:
        ProbabilisticGraph(SPACE).set_logits(torch.zeros(2))
    assert str(error.value) == "there must be 29 logits, got [2]; mend their number."


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"s.9.model": {"a": 1.0}}, "probabilities must be of parameters of the space, got 's.9.model'; leave it out."),
        ({"s.1.model": {"a": 0.5, "c": 0.5}}, "`s.1.model` must give each of a, b a probability, and 1 in all"),
        ({"s.1.model": {"a": 0.5, "b": 0.6}}, "`s.1.model` must give each of a, b a probability, and 1 in all"),
        ({"s.1.model": {"a": 1.5, "b": -0.5}}, "`s.1.model` must give each of a, b a probability, and 1 in all"),
        ({"s.1>2": {"yes": float("nan"), "no": 0.5}}, "`s.1>2` must give each of no, yes a probability, and 1 in all"),
    ],
)
def test_what_is_no_distribution_is_refused(given: dict[str, dict[Value, float]], said: str) -> None:
    distribution = ProbabilisticGraph(SPACE)
    with pytest.raises(GraphError) as error:
        distribution.set_probabilities(given)
    assert str(error.value).startswith(said) and "\n" not in str(error.value)
    assert not bool(distribution.logits.any())


def test_slots_beyond_the_bits_of_a_number_are_refused() -> None:
    with pytest.raises(
        GraphError, match="in free order a stage must have at most 63 slots to be drawn, but 's' has 64"
    ):
        ProbabilisticGraph(SearchSpace((SlotStage("s", ("a",), 64, ("refiner",), ("decider",), free_order=True),)))
