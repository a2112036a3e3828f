"""The pretest: the best of the candidates wins, of equals the cheaper, and few examples are asked, each once."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.agent.reinforce.pretest import FIRST, Pretested, raced
from apportion.errors import LimitReached
from apportion.graphs.graph import Graph
from apportion.graphs.notation import from_lines
from tests.agent.reinforce.kit import DECIDED, Measures, cost, one

SPACE = one(20)
Score = Callable[[Graph, int], float | None]


def chain(n: int, model: str = "small") -> Graph:
    """So many slots in a row."""
    lines = [f"solve.{slot}: model {model}; to {slot + 1 if slot < n else 'final'}" for slot in range(1, n + 1)]
    return SPACE.build(from_lines(SPACE, [*lines, DECIDED]))


GRAPHS = [chain(n) for n in range(1, 18)]  # of rising cost


def qualities(graphs: Sequence[Graph], rng: random.Random) -> dict[str, float]:
    """Different means, by key."""
    values = [place / len(graphs) for place in range(len(graphs))]
    rng.shuffle(values)
    return dict(zip((graph.key for graph in graphs), values, strict=True))


def noisy(quality: dict[str, float], rng: random.Random, examples: int) -> Score:
    """Examples differ, but not in which graph is better on them."""
    noise = [rng.gauss(0.0, 1.0) for _ in range(examples)]
    return lambda graph, example: quality[graph.key] + noise[example]


def asked(probe: Measures) -> dict[str, list[int]]:
    """Examples that each graph was asked, in order."""
    found: dict[str, list[int]] = defaultdict(list)
    for key, part in probe.seen:
        found[key] += range(probe.examples)[part]
    return found


Pick = Callable[[Sequence[Graph], Measures], int]
"""The place of the graph that wins."""


def wins(pick: Pick, seeds: int) -> int:
    """How often the best graph wins, whatever its place among the candidates."""
    found = 0
    for seed in range(seeds):
        rng = random.Random(seed)
        graphs = rng.sample(GRAPHS, rng.randint(2, 12))
        quality = qualities(graphs, rng)
        place = pick(graphs, Measures(noisy(quality, rng, 40)))
        found += quality[graphs[place].key] == max(quality.values())
    return found


def test_the_best_candidate_wins_whatever_its_place() -> None:
    assert wins(lambda graphs, probe: raced(graphs, probe, cost)[0].place, 150) == 150


def test_a_tie_test_that_is_always_true_would_be_seen() -> None:
    """As the public code of Agent-REINFORCE chooses: with the difference itself in place of its absolute value."""
    rng = random.Random(0)

    def public(graphs: Sequence[Graph], probe: Measures) -> int:
        means = [sum(float(own or 0.0) for own in probe.scores(graph, slice(0, 40))) / 40 for graph in graphs]
        best = max(means)
        return rng.choice([place for place, mean in enumerate(means) if mean - best < 1e-6])

    assert wins(public, 150) < 60


def test_all_that_were_compared_are_ranked() -> None:
    """Those that went further first, and within a round the better ones."""
    for seed in range(30):
        rng = random.Random(seed)
        graphs = rng.sample(GRAPHS, 11)
        quality = qualities(graphs, rng)
        ranked = raced(graphs, Measures(noisy(quality, rng, 200), 200), cost)
        assert sorted(own.place for own in ranked) == list(range(11))
        order = [(-own.examples, -quality[graphs[own.place].key]) for own in ranked]
        assert order == sorted(order)
        assert [own.examples for own in ranked] == [32] * 2 + [16] + [8] * 3 + [4] * 5


@pytest.mark.parametrize("n", range(2, 18))
def test_ties_go_to_the_cheaper_graph_and_then_to_the_first(n: int) -> None:
    for seed in range(5):
        graphs = random.Random(seed).sample(GRAPHS, n)
        flat = Measures(lambda graph, example: 0.5)
        assert graphs[raced(graphs, flat, cost)[0].place] is min(graphs, key=cost)
        assert raced(graphs, flat, lambda graph: 1.0)[0].place == 0
        dear = min(graphs, key=cost)
        unknown = raced(graphs, flat, lambda graph, dear=dear: None if graph is dear else cost(graph))  # type: ignore[misc]
        assert graphs[unknown[0].place] is min((own for own in graphs if own is not dear), key=cost)
        assert raced(graphs, flat, lambda graph: None)[0].place == 0


def test_a_better_graph_wins_over_a_cheaper_one() -> None:
    graphs = GRAPHS[:6]
    for best in graphs:
        probe = Measures(lambda graph, example, best=best: 0.5 + 1e-6 * (graph is best))  # type: ignore[misc]
        assert graphs[raced(graphs, probe, cost)[0].place] is best


@given(st.integers(0, 17), st.integers(1, 100), st.integers(0, 99))
def test_each_example_is_asked_once_and_no_more_than_sequential_halving_asks(n: int, examples: int, seed: int) -> None:
    rng = random.Random(seed)
    graphs = rng.sample(GRAPHS, n)
    probe = Measures(noisy(qualities(graphs, rng), rng, examples), examples)
    ranked = raced(graphs, probe, cost)
    found = asked(probe)
    assert {own.place: own.examples for own in ranked} == {place: len(found[g.key]) for place, g in enumerate(graphs)}
    for own in found.values():
        assert own == list(range(len(own)))
    rounds = max(1, math.ceil(math.log2(n))) if n else 0
    assert sum(map(len, found.values())) <= FIRST * n * rounds
    assert all(len(own) <= min(examples, FIRST * 2 ** (rounds - 1)) for own in found.values())
    if n > 1 and examples >= FIRST * 2 ** (rounds - 1):
        assert len(found[graphs[ranked[0].place].key]) == FIRST * 2 ** (rounds - 1), "the last two are compared longest"


def test_what_is_compared_has_the_same_examples() -> None:
    probe = Measures(noisy(qualities(GRAPHS, random.Random(3)), random.Random(3), 100), 100)
    raced(GRAPHS, probe, cost)
    sizes = sorted(len(own) for own in asked(probe).values())
    assert sizes == [4] * 8 + [8] * 4 + [16] * 2 + [32] + [64] * 2


def test_who_answers_nothing_is_last_and_has_no_mean() -> None:
    graphs = GRAPHS[:5]
    probe = Measures(lambda graph, example: None if graph is graphs[0] else 0.0)
    ranked = raced(graphs, probe, cost)
    assert ranked[-1] == Pretested(0, None, FIRST)
    assert all(own.mean == 0.0 for own in ranked[:-1])
    silent = raced(graphs, Measures(lambda graph, example: None), cost)
    assert [own.mean for own in silent] == [None] * 5 and graphs[silent[0].place] is graphs[0], "the cheapest"


def test_examples_without_an_answer_are_left_out_of_the_mean() -> None:
    one_, other = GRAPHS[:2]
    probe = Measures(lambda graph, example: (None if example % 2 else 0.8) if graph is other else 0.6)
    ranked = raced([one_, other], probe, cost)
    assert [(own.place, own.examples) for own in ranked] == [(1, 4), (0, 4)]
    assert [own.mean for own in ranked] == pytest.approx([0.8, 0.6])


@pytest.mark.parametrize("examples", [1, 2, 3])
def test_with_fewer_examples_than_a_first_round_all_are_asked_all(examples: int) -> None:
    graphs = GRAPHS[:6]
    probe = Measures(lambda graph, example: float(graph is graphs[4]), examples)
    ranked = raced(graphs, probe, cost)
    assert ranked[0] == Pretested(4, 1.0, examples)
    assert [own.place for own in ranked] == [4, 0, 1, 2, 3, 5]
    assert [own.examples for own in ranked] == [examples] * 6


def test_where_examples_end_all_that_are_left_are_compared_on_all() -> None:
    rng = random.Random(1)
    ranked = raced(GRAPHS[:16], Measures(noisy(qualities(GRAPHS[:16], rng), rng, 11), 11), cost)
    assert [own.examples for own in ranked] == [11] * 4 + [8] * 4 + [4] * 8


def test_one_candidate_wins_at_once() -> None:
    probe = Measures(lambda graph, example: 0.25)
    assert raced(GRAPHS[:1], probe, cost) == [Pretested(0, 0.25, FIRST)]
    assert len(probe.seen) == 1
    assert raced([], probe, cost) == []


def test_a_limit_ends_it() -> None:
    def spent(graph: Graph, example: int) -> float:
        raise LimitReached("calls", "`calls` must be at most 3.")

    with pytest.raises(LimitReached):
        raced(GRAPHS[:3], Measures(spent), cost)
