"""What moves the distribution: a gradient, a table, or both by who foretold better; and nothing else does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from apportion.agent.reinforce.learner import FLOOR, RATE, Learner, Learnt, correlation, floored
from apportion.agent.reinforce.settings import NUMERIC, Settings
from apportion.graphs.notation import from_lines
from apportion.graphs.parameters import Value
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.space import SearchSpace
from apportion.search.reinforce.policy import Policy, one_thread, sparse
from tests.agent.reinforce.kit import DECIDED, one, terms, two

SPACE = one(3)
EDGE = "solve.1>2"
TABLE: dict[str, dict[Value, float]] = {
    EDGE: {"no": 0.1, "yes": 0.9},
    "solve.2.model": {"small": 0.2, "large": 0.7, "absent": 0.1},
}
Batches = Sequence[tuple[Sequence[Learnt], Mapping[str, Mapping[Value, float]] | None]]


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with one_thread():
        yield


def learner(update: str = "both", space: SearchSpace = SPACE, budget: float | None = None, **more: Any) -> Learner:
    prices = terms(space, budget).purse.prices
    return Learner(ProbabilisticGraph(space, prices, budget), Settings(update=update, **more))  # type: ignore[arg-type]


def after(own: Learner, batches: Batches) -> Tensor:
    for batch, table in batches:
        own.learn(batch, table)
    return logits(own)


def logits(own: Learner) -> Tensor:
    found = own.distribution.logits.detach().clone()
    assert bool(found.isfinite().all())
    return found


def drawn(seed: int, n: int = 4, space: SearchSpace = SPACE, utilities: Sequence[float] | None = None) -> list[Learnt]:
    distribution = ProbabilisticGraph(space)
    generator = torch.Generator().manual_seed(seed)
    batch = distribution.sample(n, generator)
    orders: list[list[int]] = [[]] * n if batch.order is None else batch.order.tolist()
    u = torch.rand(n, generator=generator).tolist() if utilities is None else utilities
    return [Learnt(*own) for own in zip(distribution.params(batch), orders, u, strict=True)]


def graph(edge: bool, utility: float) -> Learnt:  # noqa: FBT001
    """Two slots, one of which reads the other or does not."""
    first = "solve.1: model small; to 2, final" if edge else "solve.1: model small; to final"
    return Learnt(from_lines(SPACE, [first, "solve.2: model small; to final", DECIDED]), (), utility)


def stepped(batches: Sequence[Sequence[Learnt]], start: Tensor | None = None) -> Tensor:
    """Logits after steps up the gradient alone."""
    distribution = ProbabilisticGraph(SPACE)
    policy = Policy(distribution, NUMERIC, sparse(SPACE, NUMERIC))
    if start is not None:
        distribution.set_logits(start)
    for batch in batches:
        policy.step([own.params for own in batch], [own.order for own in batch], [own.utility for own in batch])
    return policy.logits


def tabled(before: Tensor, table: Mapping[str, Mapping[Value, float]]) -> Tensor:
    """Logits as a table has them."""
    distribution = ProbabilisticGraph(SPACE)
    distribution.set_logits(before)
    distribution.set_probabilities({name: floored(own) for name, own in table.items()})
    return distribution.logits.detach().clone()


START = stepped([])

# Which of them moves it


def test_where_it_starts() -> None:
    own = learner()
    assert torch.equal(logits(own), START) and own.weight == 0.5
    assert own.distribution.probabilities()[EDGE]["yes"] == pytest.approx(0.35)
    assert own.start == sparse(SPACE, NUMERIC)


def test_the_gradient_alone() -> None:
    one_, two_ = drawn(1), drawn(2)
    assert torch.equal(after(learner("gradient"), [(one_, TABLE), (two_, None)]), stepped([one_, two_]))
    assert not torch.equal(stepped([one_, two_]), START)


def test_the_text_alone() -> None:
    found = after(learner("text"), [(drawn(1), TABLE)])
    assert torch.equal(found, tabled(START, TABLE))
    own = learner("text")
    after(own, [(drawn(1), TABLE)])
    before, now = ProbabilisticGraph(SPACE), own.distribution.probabilities()
    before.set_logits(START)
    assert now[EDGE] == pytest.approx(TABLE[EDGE]) and now["solve.2.model"] == pytest.approx(TABLE["solve.2.model"])
    rest = {name: p for name, p in before.probabilities().items() if name not in TABLE}
    assert {name: now[name] for name in rest} == rest, "what the table leaves out"
    assert torch.equal(after(own, [(drawn(2), None), ([], {})]), found), "no table moves nothing"


def test_both_meet_in_the_middle_at_first() -> None:
    batch = drawn(1)
    found = after(learner("both"), [(batch, TABLE)])
    torch.testing.assert_close(found, 0.5 * stepped([batch]) + 0.5 * tabled(START, TABLE))


def test_both_without_a_table_are_the_gradient() -> None:
    one_, two_ = drawn(1), drawn(2)
    assert torch.equal(after(learner("both"), [(one_, None), (two_, {})]), stepped([one_, two_]))


def test_in_turn_a_gradient_comes_first_and_then_a_table() -> None:
    one_, two_ = drawn(1), drawn(2)
    own = learner("alternating")
    first = after(own, [(one_, TABLE)])
    assert torch.equal(first, stepped([one_])), "and no table"
    assert torch.equal(after(own, [(two_, TABLE)]), tabled(first, TABLE)), "and no gradient"
    third = after(own, [(drawn(3), TABLE)])
    own = learner("alternating")
    assert torch.equal(after(own, [(one_, None), (two_, TABLE), (drawn(3), None)]), third)


@pytest.mark.parametrize("update", ["text", "gradient", "both", "alternating"])
def test_without_a_batch_only_a_table_moves_it(update: str) -> None:
    own = learner(update)
    after(own, [([], None)])
    assert torch.equal(after(own, [([], None)]), START)
    own = learner(update)
    if update == "alternating":
        after(own, [([], None)])
    found = after(own, [([], TABLE)])
    share = {"text": 1.0, "gradient": 0.0, "both": 0.5, "alternating": 1.0}[update]
    torch.testing.assert_close(found, START + share * (tabled(START, TABLE) - START))
    assert own.weight == 0.5


def test_start_over_forgets_everything() -> None:
    batches = [(drawn(1), TABLE), (drawn(2), TABLE), (drawn(3), None)]
    own = learner()
    first, weight = after(own, batches), own.weight
    own.start_over({})
    assert torch.equal(logits(own), START) and own.weight == 0.5
    assert torch.equal(after(own, batches), first) and own.weight == weight
    own.start_over({EDGE: {"no": 0.8, "yes": 0.2}})
    assert own.distribution.probabilities()[EDGE]["yes"] == pytest.approx(0.2)


def test_the_same_is_learnt_from_the_same() -> None:
    batches = [(drawn(seed), TABLE if seed else None) for seed in range(3)]
    assert torch.equal(after(learner(), batches), after(learner(), batches))


# Who foretold better

UP: dict[str, dict[Value, float]] = {EDGE: {"no": 0.1, "yes": 0.9}}
DOWN: dict[str, dict[Value, float]] = {EDGE: {"no": 0.9, "yes": 0.1}}
GOOD_WITH = [graph(edge=True, utility=0.9), graph(edge=True, utility=0.8), graph(edge=False, utility=0.1),
             graph(edge=False, utility=0.2)]  # fmt: skip
ALIKE = [replace(own, utility=0.5) for own in GOOD_WITH]


def test_the_weight_rises_where_the_table_foretold_the_next_batch() -> None:
    own = learner()
    own.learn(ALIKE, UP)
    assert own.weight == 0.5, "nothing has followed it yet"
    own.learn(GOOD_WITH, None)
    u = np.array([batch.utility for batch in GOOD_WITH])
    expected = np.corrcoef(u, [1.0, 1.0, 0.0, 0.0])[0, 1]  # the gradient of equal utilities foretold nothing
    assert own.weight == pytest.approx(1.0 / (1.0 + math.exp(-RATE * expected)), abs=1e-3) and own.weight > 0.7


def test_the_weight_falls_where_the_table_foretold_the_contrary() -> None:
    own = learner()
    own.learn(ALIKE, DOWN)
    own.learn(GOOD_WITH, None)
    assert own.weight < 0.3


def test_the_weight_falls_where_the_gradient_foretold_and_the_table_did_not() -> None:
    own = learner()
    own.learn(GOOD_WITH, {"solve.3.model": {"small": 0.3, "large": 0.3, "absent": 0.4}})  # which no graph of them has
    own.learn(GOOD_WITH, None)
    assert own.weight < 0.35
    both = learner()
    both.learn(GOOD_WITH, UP)
    both.learn(GOOD_WITH, None)
    assert both.weight == pytest.approx(0.5, abs=0.05), "where both did it stays"


def test_the_weight_is_used_and_each_table_counts_once() -> None:
    own = learner()
    own.learn(ALIKE, UP)
    own.learn(GOOD_WITH, None)
    weight, before = own.weight, logits(own)
    own.learn(GOOD_WITH, None)
    own.learn([GOOD_WITH[0]], None)
    assert own.weight == weight, "there was no table since"
    own.start_over({})
    own.learn(ALIKE, UP)
    own.learn(GOOD_WITH, DOWN)
    text = tabled(logits_after_one(), DOWN)
    gradient = stepped_after_one()
    torch.testing.assert_close(logits(own), (1.0 - own.weight) * gradient + own.weight * text)
    assert own.weight == weight and not torch.equal(before, logits(own))


def logits_after_one() -> Tensor:
    own = learner()
    own.learn(ALIKE, UP)
    return logits(own)


def stepped_after_one() -> Tensor:
    """Logits one gradient step on, Adam remembering the step before."""
    own = learner()
    own.learn(ALIKE, UP)
    own.learn(GOOD_WITH, None)
    return logits(own)


def test_one_graph_tells_nothing_of_who_foretold_better() -> None:
    own = learner()
    own.learn(ALIKE, UP)
    own.learn([graph(edge=True, utility=0.9)], None)
    assert own.weight == 0.5
    own.learn(GOOD_WITH, None)
    assert own.weight > 0.7, "the table is judged by the next that can"


@pytest.mark.parametrize("update", ["text", "gradient", "alternating"])
def test_only_both_weigh(update: str) -> None:
    own = learner(update)
    after(own, [(GOOD_WITH, UP)] * 4)
    assert own.weight == 0.5


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=4))
def test_the_weight_stays_between_and_logits_finite(rounds: list[tuple[int, bool]]) -> None:
    own = learner(budget=9.0)
    after(own, [(drawn(seed, 3), TABLE if table else None) for seed, table in rounds])
    assert 0.0 < own.weight < 1.0


# What may not be


def test_what_the_agent_takes_for_impossible_may_still_be_drawn() -> None:
    own = learner("text")
    own.learn([], {EDGE: {"no": 1.0, "yes": 0.0}, "solve.2.model": {"small": 1.0, "large": 0.0, "absent": 0.0}})
    p = own.distribution.probabilities()
    assert p[EDGE]["yes"] == pytest.approx(FLOOR / (1 + FLOOR)) and p["solve.2.model"]["large"] > 0.9 * FLOOR
    batch = own.distribution.params(own.distribution.sample(2000, torch.Generator().manual_seed(1)))
    assert any(params["solve.2.model"] == "large" for params in batch)
    assert any(params[EDGE] == "yes" for params in batch)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60).filter(lambda own: sum(own) > 0))
def test_floors(given_: list[float]) -> None:
    p: dict[Value, float] = {n: own / sum(given_) for n, own in enumerate(given_)}
    found = floored(p)
    assert sum(found.values()) == pytest.approx(1.0)
    least = min(FLOOR, 0.5 / len(p))
    assert min(found.values()) >= least / (1 + least * len(p)) - 1e-12
    assert sorted(found, key=lambda n: p[n]) == sorted(found, key=lambda n: (found[n], p[n]))


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=9))
def test_correlations_are_pearsons(pairs: list[tuple[float, float]]) -> None:
    a, b = (np.array(own) for own in zip(*pairs, strict=True))
    found = correlation(torch.tensor(a), torch.tensor(b))
    if a.std() * b.std() > 1e-6:
        assert found == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)
    assert correlation(torch.full((3,), 2.0), torch.rand(3)) == 0.0
    assert correlation(torch.tensor([1.0, -math.inf]), torch.tensor([1.0, 2.0])) == 0.0


@pytest.mark.parametrize("update", ["text", "gradient", "both", "alternating"])
def test_roles_that_are_not_searched_stay_the_first(update: str) -> None:
    table: dict[str, dict[Value, float]] = {**TABLE, "solve.2.role": {"refiner": 0.1, "fuser": 0.9}}
    own = learner(update, roles=False)
    after(own, [(drawn(seed), table) for seed in range(4)])
    p = own.distribution.probabilities()
    assert all(p[f"solve.{slot}.role"]["refiner"] > 1 - 1e-9 for slot in (1, 2, 3))
    own.start_over({"solve.2.role": {"refiner": 0.5, "fuser": 0.5}})
    assert own.distribution.probabilities()["solve.2.role"]["refiner"] > 1 - 1e-9
    searched = learner("text")
    searched.learn([], table)
    assert searched.distribution.probabilities()["solve.2.role"]["fuser"] == pytest.approx(0.9)


def dear(utility: float) -> Learnt:
    """Three large slots."""
    return Learnt(from_lines(SPACE, [*(f"solve.{n}: model large; to final" for n in (1, 2, 3)), DECIDED]), (), utility)


@pytest.mark.parametrize("update", ["text", "gradient", "both", "alternating"])
def test_graphs_that_the_budget_does_not_let_it_draw_do_no_harm(update: str) -> None:
    own, without = learner(update, budget=6.0), learner(update, budget=6.0)
    for table in (TABLE, UP, None):
        own.learn([dear(0.9), *GOOD_WITH, dear(0.1)], table)
        without.learn(GOOD_WITH, table)
        assert torch.equal(logits(own), logits(without)) and own.weight == without.weight
    own.learn([dear(0.5), dear(0.6)], UP)
    without.learn([], UP)
    assert torch.equal(logits(own), logits(without))


@pytest.mark.parametrize("space", [one(3, free_order=True), two()], ids=["free order", "two stages"])
def test_other_spaces_are_learnt_too(space: SearchSpace) -> None:
    own = learner(space=space)
    start = logits(own)
    batches: Batches = [(drawn(seed, 4, space), {"solve.1>2": {"no": 0.2, "yes": 0.8}}) for seed in range(3)]
    assert not torch.equal(after(own, batches), start)
