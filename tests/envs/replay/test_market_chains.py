"""A market keeps its books of a chain by what each draw was asked about, and sells nothing of it twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from apportion.envs.replay.chained import Branches, Chained
from apportion.envs.replay.market import Currency, Market, Spent
from apportion.envs.replay.rule import Drawn
from apportion.errors import RecordedError
from tests.envs.replay.test_chained import FIRST, MODELS, QUESTIONS, SECOND, TASK, by_hand, made, row

pytest.importorskip("pyarrow")

EXAMPLES = len(QUESTIONS)
EVERYONE = np.arange(EXAMPLES)
CURRENCIES: list[Currency] = ["draws", "cost"]
Ints = NDArray[np.int64]
Key = tuple[int, int, int]  # an arm, an example and, of the second stage, the answer that is read


@cache
def chain(trials: int = 1000) -> Chained:
    """All questions of `test_chained`: some draws are silent, and some answers were not recorded."""
    with TemporaryDirectory() as folder:
        return made(Path(folder), TASK.replace("search: 2", "search: 3").replace("trials: 3", f"trials: {trials}"))


@cache
def whole() -> Chained:
    """A chain in which nobody is silent and everything was recorded."""
    rng, rows = np.random.default_rng(0), list[dict[str, Any]]()
    for question, model, i in product(QUESTIONS, MODELS, range(4)):
        rows.append(row(question, "capital", model, i, str(rng.choice(["Oslo", "Rome"])), None, "{}"))
        for read in ("Oslo", "Rome"):
            answer = str(rng.choice(["yes", "no"]))
            rows.append(row(question, "day", model, i, answer, answer == "yes", json.dumps({"capital": read})))
    with TemporaryDirectory() as folder:
        return made(Path(folder), TASK.replace("search: 2", "search: 3").replace("trials: 3", "trials: 1000"), rows)


def numbers(task: Chained) -> st.SearchStrategy[int]:
    return st.integers(0, len(task.configurations) - 1)


class Hand:
    """What a market of a chain should do, one draw after the other."""

    def __init__(self, market: Market) -> None:
        assert isinstance(market.task, Chained)
        self.market, self.task = market, market.task
        self.bought = Counter[Key]()
        self.right = np.zeros((len(market.arms), EXAMPLES), dtype=int)

    def draws(self, arm: int, trial: int) -> Drawn:
        own = self.market.arms[arm]
        rng = np.random.default_rng([self.market.seed, 1 + arm, trial])
        return self.task.stages[own.stage].drawn(own.model, self.market.split.questions[0], rng)

    def on(self, configuration: int, example: int, trial: int = 0) -> tuple[dict[Key, list[bool]], float]:
        """Which draws it wants, by what they are asked about, with those that are right; and what they give."""
        one, two = (own.options[o] for own, o in zip(self.task.stages, self.row(configuration), strict=True))
        above, below = self.draws(one.arm, trial), self.draws(len(MODELS) + two.arm, trial)
        assert isinstance(below, Branches)
        said = above.answers[example, : one.n].tolist()
        wanted = {(one.arm, example, -1): [False] * one.n}
        read = voted(said)
        if read is None:
            return wanted, 0.0
        at = [i for i, state in enumerate(below.questions.tolist()) if self.task.answer[state] == said[read]]
        key = (len(MODELS) + two.arm, example, said[read])
        if not at:
            return wanted | {key: [False] * two.n}, 0.0
        right = below.correct[at[0], : two.n].tolist()
        place = voted(below.answers[at[0], : two.n].tolist())
        if self.task.stages[1].rules[two.rule].name == "any_correct":
            return wanted | {key: right}, float(any(right))
        return wanted | {key: right}, 0.0 if place is None else float(right[place])

    def row(self, configuration: int) -> list[int]:
        found: list[int] = self.task.configurations[configuration].tolist()
        return found

    def score(self, configuration: int, examples: Sequence[int]) -> list[float]:
        """What it gives, with its draws bought as far as they were not."""
        values = []
        for example in examples:
            wanted, value = self.on(configuration, example)
            for key, right in wanted.items():
                self.right[key[:2]] += sum(right[self.bought[key] :])
                self.bought[key] = max(self.bought[key], len(right))
            values.append(value)
        return values

    def price(self, wanted: dict[Key, int]) -> float:
        return sum(n * self.market.arms[arm].price for (arm, _, _), n in wanted.items())

    @property
    def drawn(self) -> list[list[int]]:
        table = np.zeros_like(self.right)
        for key, n in self.bought.items():
            table[key[:2]] += n
        found: list[list[int]] = table.tolist()
        return found


def voted(answers: list[int]) -> int | None:
    """The first draw of the answer that is named most often, by the first of those that tie; None for silence."""
    votes = Counter(answer for answer in answers if answer >= 0)
    most = max(votes.values(), default=0)
    return next((i for i, answer in enumerate(answers) if votes[answer] == most > 0), None)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([chain, whole]), st.sampled_from(CURRENCIES), st.integers(0, 5))
def test_configurations_share_the_first_draws_on_what_was_read(
    data: st.DataObject, made: Callable[[], Chained], currency: Currency, seed: int
) -> None:
    market = Market(made(), seed, currency)
    hand = Hand(market)
    for _ in range(data.draw(st.integers(1, 6))):
        configuration = data.draw(numbers(made()))
        examples = data.draw(st.lists(st.integers(0, EXAMPLES - 1), min_size=1, unique=True))
        assert market.score(configuration, np.array(examples)).tolist() == hand.score(configuration, examples)
        assert market.spent == pytest.approx(hand.price(dict(hand.bought)))
        assert market.drawn.tolist() == hand.drawn and market.right.tolist() == hand.right.tolist()


@settings(max_examples=30, deadline=None)
@given(st.lists(numbers(chain()), min_size=1, max_size=6), st.sampled_from(CURRENCIES), st.integers(0, 5))
def test_a_trial_with_the_bank_pays_what_no_trial_bought_on_what_it_reads(
    configurations: list[int], currency: Currency, seed: int
) -> None:
    market = Market(chain(), seed, currency, bank=True)
    hand = Hand(market)
    for configuration in configurations:
        assert market.measure(configuration) == pytest.approx(np.mean(hand.score(configuration, range(EXAMPLES))))
        assert market.spent == pytest.approx(hand.price(dict(hand.bought)))
    assert market.trials == len(configurations)


@settings(max_examples=30, deadline=None)
@given(st.lists(numbers(chain()), min_size=1, max_size=6), st.sampled_from(CURRENCIES), st.integers(0, 5))
def test_a_trial_without_the_bank_pays_for_all_that_it_asks(
    configurations: list[int], currency: Currency, seed: int
) -> None:
    market = Market(chain(), seed, currency)
    hand, spent = Hand(market), 0.0
    for trial, configuration in enumerate(configurations, 1):
        asked = [hand.on(configuration, example, trial) for example in range(EXAMPLES)]
        spent += sum(hand.price({key: len(right) for key, right in wanted.items()}) for wanted, _ in asked)
        assert market.measure(configuration) == pytest.approx(np.mean([value for _, value in asked]))
        assert market.spent == pytest.approx(spent)
    assert not market.drawn.any()


@settings(max_examples=40, deadline=None)
@given(st.lists(numbers(whole()), min_size=1, max_size=8), st.sampled_from(CURRENCIES), st.integers(0, 5))
def test_the_bank_never_costs_more(configurations: list[int], currency: Currency, seed: int) -> None:
    with_bank, without = (Market(whole(), seed, currency, bank=bank) for bank in (True, False))
    for configuration in configurations:
        with_bank.measure(configuration)
        without.measure(configuration)
        assert with_bank.spent <= without.spent * (1 + 1e-12)
    assert without.spent == pytest.approx(EXAMPLES * without.prices[configurations].sum())


@settings(max_examples=40, deadline=None)
@given(st.lists(numbers(chain()), min_size=1, max_size=8), st.sampled_from(CURRENCIES), st.integers(0, 5))
def test_a_trial_never_costs_more_for_those_before_it(configurations: list[int], currency: Currency, seed: int) -> None:
    """Where some are silent, trials of other draws may ask less: the same draws are compared."""
    market = Market(chain(), seed, currency, bank=True)
    for configuration in configurations:
        alone, before = Market(chain(), seed, currency, bank=True), market.spent
        assert alone.measure(configuration) == market.measure(configuration)
        assert market.spent - before <= alone.spent * (1 + 1e-12)


def of(one: tuple[str, int], two: tuple[str, int, str]) -> int:
    """The number of a configuration: models and draws of both stages, and the rule of the second."""
    for number, chosen in enumerate(chain().configurations):
        (above, first), (below, second) = ((s, s.options[o]) for s, o in zip(chain().stages, chosen, strict=True))
        named = above.models[first.arm], first.n, below.models[second.arm], second.n, below.rules[second.rule].name
        if named == (*one, *two):
            return number
    raise AssertionError("there is no such configuration")


def example(market: Market, question: str) -> Ints:
    return np.flatnonzero(market.split.questions[0] == QUESTIONS.index(question))


def test_silence_is_not_asked_about() -> None:
    market = Market(chain(), 0)
    assert set(FIRST["z", "small"]) == {None}
    assert market.score(of(("small", 3), ("small", 2, "any_correct")), example(market, "z")).tolist() == [0.0]
    assert market.spent == 3 and market.drawn.sum() == 3


def test_what_was_not_recorded_is_wrong_paid_and_bought_once() -> None:
    """The large model says three things of `z`, of which the small one was asked about one, and was right twice."""
    few, many = (of(("large", 1), ("small", n, "any_correct")) for n in (1, 2))
    met = set()
    for seed in range(12):
        market = Market(chain(), seed)
        z = example(market, "z")
        (value,) = market.score(many, z)
        assert market.spent == 1 + 2
        market.score(few, z)
        assert market.spent == 1 + 2, "it has all that it asks for"
        assert market.right.sum() >= value and market.drawn.sum() == 3
        met.add((value, int(market.right.sum()) > 0))
    assert met == {(0.0, False), (1.0, True)}


def books(market: Market) -> tuple[object, ...]:
    return market.spent, market.trials, market.drawn.tolist(), market.right.tolist()


REFUSED: dict[str, Callable[[Market], object]] = {
    "measure": lambda market: market.measure(of(("small", 3), ("large", 2, "majority"))),
    "score": lambda market: market.score(of(("small", 3), ("large", 2, "majority")), EVERYONE),
    "scores": lambda market: market.scores(EVERYONE, np.random.default_rng(0)),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("bank", [False, True])
def test_beyond_the_cap_nothing_is_bought(name: str, *, bank: bool) -> None:
    market, free = (Market(chain(), 4, bank=bank) for _ in range(2))
    small = of(("small", 1), ("small", 1, "majority"))
    for own in (market, free):
        own.score(small, EVERYONE[:2])
    before = books(market)
    REFUSED[name](free)
    market.cap = free.spent - 0.5
    with pytest.raises(Spent):
        REFUSED[name](market)
    assert books(market) == before
    market.cap = free.spent
    REFUSED[name](market)
    assert books(market) == books(free), "what can be paid still is, and is the same"


def recorded(task: Chained, question: str) -> dict[tuple[int, str], int]:
    """All draws on a question of the models of each stage, of the second on what those of the first said."""
    said = {answer for (own, _), answers in FIRST.items() if own == question for answer in answers}
    draws = {(0, model): len(FIRST[question, model]) for model in MODELS}
    for (own, read, model), answers in SECOND.items():
        if own == question and read in said:
            draws[1, model] = draws.get((1, model), 0) + len(answers)
    return draws


@pytest.mark.parametrize("currency", CURRENCIES)
@pytest.mark.parametrize("before", [None, 0, 7])
def test_all_draws_of_some_examples(currency: Currency, before: int | None) -> None:
    """What the first stage said of them is known by then, and so is what can be asked; nothing is bought twice."""
    market, examples = Market(chain(), 1, currency), np.array([2, 0])
    named = [QUESTIONS[q] for q in market.split.questions[0][examples]]
    if before is not None:
        market.score(before, examples)
    found = market.scores(examples, np.random.default_rng(0))
    expected = [[by_hand(chain(), row, question)[0] for question in named] for row in chain().configurations.tolist()]
    assert found == pytest.approx(np.array(expected), abs=1e-12)
    arms = [(arm.stage, chain().stages[arm.stage].models[arm.model]) for arm in market.arms]
    drawn = [[recorded(chain(), question).get(arm, 0) for question in named] for arm in arms]
    bought = np.sum(drawn, axis=1) @ [arm.price for arm in market.arms]
    lost = Counter[int]() if before is None else unrecorded(market, before, examples)
    assert market.spent == pytest.approx(bought + sum(n * market.arms[a].price for a, n in lost.items()))
    if not lost:
        assert market.drawn[:, examples].tolist() == drawn
    assert not market.drawn[:, 1].any()
    spent = market.spent
    market.scores(examples, np.random.default_rng(1))
    assert market.spent == spent


def unrecorded(market: Market, configuration: int, examples: Ints) -> Counter[int]:
    """Draws by arm that were paid though what they ask about was not recorded."""
    lost = Counter[int]()
    for e in examples.tolist():
        for (arm, _, answer), right in Hand(market).on(configuration, e)[0].items():
            state = chain().states(np.array([answer]))[0]
            model = market.arms[arm].model
            if answer >= 0 and (state < 0 or not chain().stages[1].known[state, model]):
                lost[arm] += len(right)
    return lost


def test_after_all_draws_a_score_is_free() -> None:
    market = Market(whole(), 0)
    market.scores(EVERYONE, np.random.default_rng(0))
    spent = market.spent
    assert (market.drawn[:2] == 4).all() and set(market.drawn[2:].flat) <= {4, 8} and not market.right[:2].any()
    for configuration in range(len(whole().configurations)):
        market.score(configuration, EVERYONE)
    assert market.spent == spent


def test_a_draw_of_an_example_alone_is_not_sold() -> None:
    market = Market(chain(), 0)
    for arm in range(len(market.arms)):
        with pytest.raises(RecordedError, match=r"a draw of the chain 'small' is of what .*; use `score` or"):
            market.buy(arm, EVERYONE)
    with pytest.raises(TypeError, match="must be independent"):
        market.worth(0, np.array([0]), np.array(0.5), ())
    assert market.spent == 0 and not market.drawn.any()
