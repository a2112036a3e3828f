"""Spending by the example finds the best programs and tests of a small task, and buys nothing twice."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apportion.envs.replay.chained import Chained
from apportion.envs.replay.market import Currency, Market, Spent
from apportion.envs.replay.selected import Every, Selected
from apportion.envs.replay.task import stage
from apportion.search.allocator import allocate
from apportion.search.allocator.by_example import FEWEST, WEIGHT, search_by_example
from apportion.search.market import Ints
from tests.bench.searchers.easy import searched
from tests.envs.replay import test_chained
from tests.envs.replay.test_selected import Table, task

QUESTIONS, PROGRAMS, TESTS = 24, 4, 3


@pytest.fixture(scope="module")
def tests_tell() -> Selected:
    """Correct programs pass the good tests and wrong ones seldom: more of both is clearly better."""
    rng = np.random.default_rng(0)
    tables: list[Table] = []
    corrects: list[list[bool]] = []
    for _ in range(QUESTIONS):
        correct = (rng.random(PROGRAMS) < 0.5).tolist()
        good = rng.random(TESTS) < 0.6
        tables.append([[int(t and (right or rng.random() < 0.2)) for t in good] for right in correct])
        corrects.append(correct)
    return replace(task(tables, corrects), search=20, trials=80)


def alone(search: int) -> Selected:
    """One program and one test on each question, so that there is one configuration."""
    own = task([[[1]]] * QUESTIONS, [[True], [False]] * (QUESTIONS // 2))
    code, test = own.stages
    rules = [code.rules[0]]
    stages = (
        stage("code", code.recorded, "", {"m": 1.0}, rules, 100, [0.01]),
        stage("test", test.recorded, "", {"m": 1.0}, [Every()], 100, [0.01]),
    )
    return replace(own, stages=stages, search=search, trials=80)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_is_found_and_the_search_stops(tests_tell: Selected, seed: int) -> None:
    market = Market(tests_tell, seed)
    assert searched(allocate, market, seed)
    assert tests_tell.truth[market.leads[-1].configuration] >= 0.99 * tests_tell.truth.max()
    assert np.median(tests_tell.truth) < 0.8 * tests_tell.truth.max()  # so that this says something
    assert market.spent < 0.05 * market.cap
    assert all(0.0 <= lead.sure <= 1.0 for lead in market.leads)


def test_everything_of_an_example_is_bought_once_and_no_fewer_than_a_few(tests_tell: Selected) -> None:
    market = Market(tests_tell, 0)
    asked: list[int] = []
    scores = market.scores

    def noted(examples: Ints, rng: np.random.Generator) -> object:
        asked.extend(examples.tolist())
        return scores(examples, rng)

    market.scores = noted  # type: ignore[method-assign, assignment]
    searched(search_by_example, market)
    assert len(asked) == len(set(asked)) >= FEWEST
    bought = np.isin(np.arange(market.split.size), asked)
    assert (market.drawn == np.array([[PROGRAMS], [TESTS]]) * bought).all()
    assert market.spent == market.drawn.sum()


def test_a_seed_gives_the_same_search(tests_tell: Selected) -> None:
    runs = []
    for seed in (3, 3, 4):
        market = Market(tests_tell, 0)
        searched(search_by_example, market, seed)
        runs.append((market.leads, market.drawn.tolist()))
    assert runs[0] == runs[1] != runs[2]


def test_the_cap_is_kept_and_its_exception_goes_through(tests_tell: Selected) -> None:
    market = Market(tests_tell, 0)
    market.cap = 60.0  # eight examples
    with pytest.raises(Spent):
        search_by_example(market, np.random.default_rng(0))
    assert market.spent == 8 * (PROGRAMS + TESTS) and len(market.leads) == 1


@pytest.mark.parametrize("search", [1, 2, 9])
def test_it_ends_where_there_are_no_more_examples(tests_tell: Selected, search: int) -> None:
    market = Market(replace(tests_tell, search=search), 0)
    assert searched(search_by_example, market)
    assert (market.drawn.T == [PROGRAMS, TESTS]).all()
    assert not np.isnan(market.leads[-1].sure)


@pytest.mark.parametrize("search", [1, 20])
def test_one_configuration_is_the_best(search: int) -> None:
    market = Market(alone(search), 0)
    assert len(market.configurations) == 1 and searched(search_by_example, market)
    assert market.leads[-1].configuration == 0 and market.leads[-1].sure == 1.0


@dataclass
class Fixed:
    """A market of two configurations whose scores are given: configurations x examples."""

    given: np.ndarray[Any, np.dtype[np.float64]]
    leads: list[tuple[int, float]] = field(default_factory=list)

    @property
    def drawn(self) -> Ints:
        return np.zeros((1, self.given.shape[1]), dtype=np.int64)

    def scores(self, examples: Ints, rng: np.random.Generator) -> object:
        return self.given[:, examples]

    def lead(self, configuration: int, sure: float) -> None:
        self.leads.append((configuration, sure))


def test_what_leads_is_best_on_what_was_bought_and_the_examples_are_a_sample() -> None:
    """One is right on five of eight and the other on three: the five weigh as Beta(5 w, 3 w), w of an example."""
    right = np.array([1.0, 1, 0, 1, 0, 1, 1, 0])
    stated = []
    for seed in range(40):
        market = Fixed(np.stack([1 - right, right]))
        search_by_example(market, np.random.default_rng(seed))  # type: ignore[arg-type]
        ((leader, sure),) = market.leads
        assert leader == 1
        stated.append(sure)
    beta = np.random.default_rng(0).beta(5 * WEIGHT, 3 * WEIGHT, 100_000)
    assert np.mean(stated) == pytest.approx(np.mean(beta >= 0.99 * (1 - beta)), abs=0.015)
    assert min(stated) < max(stated) < 0.9


def test_it_goes_on_as_long_as_there_is_something_to_gain() -> None:
    even = np.arange(40) % 2.0
    alike, apart = np.stack([even, 1 - even]), np.stack([np.zeros(40), np.ones(40)])
    asked = []
    for given in (alike, apart):
        market = Fixed(given)
        search_by_example(market, np.random.default_rng(0))  # type: ignore[arg-type]
        asked.append(len(market.leads))
    assert asked == [1 + -(-(40 - 8) // 3), 1 + -(-(FEWEST - 8) // 3)]


CHAIN = """\
name: tiny
search: 20
budget: 6
shares: [0.17, 0.34, 0.5, 0.67, 0.84]
chain: true
stages:
  capital: {data: table.parquet, prices: {small: 1, large: 2}}
  day: {data: table.parquet, prices: {small: 1, large: 2}, select: [majority]}
"""
KNOWS, READS = {"small": 0.75, "large": 0.75}, {"small": 0.25, "large": 0.95}
"""Chances that a model knows a capital, and that it reads right where it is the right one."""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chained:
    """A vote of the small model first, and a draw of the large one on what it says, is clearly best."""
    pytest.importorskip("pyarrow")
    rng, rows, row = np.random.default_rng(0), [], test_chained.row
    for question, model, i in product(map(str, range(30)), KNOWS, range(6)):
        capital = "Oslo" if rng.random() < KNOWS[model] else str(rng.choice(["Rome", "Lima", "Bonn"]))
        rows.append(row(question, "capital", model, i, capital, None, "{}"))
        for read in ("Oslo", "Rome", "Lima", "Bonn"):
            right = bool(read == "Oslo" and rng.random() < READS[model])
            answer = "yes" if right else str(rng.integers(4))
            rows.append(row(question, "day", model, i, answer, right, json.dumps({"capital": read})))
    return test_chained.made(Path(tmp_path_factory.mktemp("chain")), CHAIN, rows)


@pytest.mark.parametrize("currency", ["draws", "cost"])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_a_chain_is_found(chain: Chained, seed: int, currency: Currency) -> None:
    market = Market(chain, seed, currency)
    assert searched(allocate, market, seed)
    assert chain.truth[market.leads[-1].configuration] >= 0.99 * chain.truth.max()
    one, two = (own.options[o] for own, o in zip(chain.stages, chain.configurations[chain.truth.argmax()], strict=True))
    assert [chain.stages[0].models[one.arm], chain.stages[1].models[two.arm]] == ["small", "large"]
    assert np.median(chain.truth) < 0.7 * chain.truth.max()  # so that this says something
    assert market.spent < market.cap and all(0.0 <= lead.sure <= 1.0 for lead in market.leads)


def test_a_chain_is_searched_up_to_the_cap_and_not_beyond(chain: Chained) -> None:
    free = Market(chain, 0)
    assert searched(search_by_example, free)
    market = Market(chain, 0)
    market.cap = free.spent - 1
    with pytest.raises(Spent):
        search_by_example(market, np.random.default_rng(0))
    assert 0 < market.spent <= market.cap and market.leads == free.leads[: len(market.leads)]
