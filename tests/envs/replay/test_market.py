"""A market asks for what is drawn and for nothing else, and its draws are the recorded ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from statistics import mean
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.envs.replay.composed import Composed
from apportion.envs.replay.market import Currency, Market, Spent
from apportion.envs.replay.recorded import NONE
from apportion.envs.replay.rules import RULES, Verified
from apportion.envs.replay.task import stage
from tests.envs.replay.tables import some

EXAMPLES = 6
CURRENCIES: list[Currency] = ["draws", "cost"]
Buy = Callable[[Market], object]


@cache
def task(trials: int = 1000) -> Composed:
    """Two stages whose models have 6 draws of 7 and 8 questions; the budget leaves some configurations out."""
    prices, shares = {"m0": 1.0, "m1": 1.5}, [0.1, 0.2, 0.4, 0.6, 1.0]
    rules = [RULES["any_correct"], Verified(0.8, 0.6)]
    one = stage("one", some(3, 7, 2, 6), "", prices, rules, 10.0, shares)
    two = stage("two", some(4, 8, 2, 6), "", prices, [RULES["majority"]], 10.0, shares)
    return Composed("t", (one, two), 10.0, EXAMPLES, trials)


CONFIGURATION = st.integers(0, len(task().configurations) - 1)


def draws(configuration: int) -> dict[tuple[int, int], int]:
    """Draws an example, by stage and model."""
    own = task()
    chosen = [own.stages[s].options[o] for s, o in enumerate(own.configurations[configuration])]
    return {(s, option.arm): option.n for s, option in enumerate(chosen)}


def unit(stage_model: tuple[int, int], currency: Currency) -> float:
    s, m = stage_model
    return 1.0 if currency == "draws" else float(task().stages[s].prices[m])


@pytest.mark.parametrize("currency", CURRENCIES)
@pytest.mark.parametrize("trials", [1, 7])
def test_the_cap_is_what_random_configurations_cost(currency: Currency, trials: int) -> None:
    own = task(trials)
    costs = [sum(n * unit(arm, currency) for arm, n in draws(c).items()) for c in range(len(own.configurations))]
    market = Market(own, 0, currency)
    assert market.prices.tolist() == pytest.approx(costs)
    assert market.cap == pytest.approx(mean(costs) * EXAMPLES * trials)


def test_arms() -> None:
    market = Market(task(), 0, "cost")
    assert [arm[:4] for arm in market.arms] == [(0, 0, 1.0, 1.0), (0, 1, 1.5, 1.5), (1, 0, 1.0, 1.0), (1, 1, 1.5, 1.5)]
    assert [arm.price for arm in Market(task(), 0).arms] == [1.0] * 4
    assert [arm.size for arm in Market(task(), 0).arms] == [1.0, 1.5, 1.0, 1.5]
    assert [arm.most for arm in market.arms] == [6, 6, 6, 6]
    for s in (0, 1):
        assert [market.arms[market.arm(s, option)][:2] for option in market.options(s)] == [
            (s, option.arm) for option in market.options(s)
        ]


@settings(max_examples=40)
@given(st.lists(CONFIGURATION, min_size=1, max_size=6), st.sampled_from(CURRENCIES))
def test_every_trial_is_paid_anew_without_the_bank(configurations: list[int], currency: Currency) -> None:
    market = Market(task(), 0, currency)
    for configuration in configurations:
        before = market.spent
        market.measure(configuration)
        price = sum(EXAMPLES * n * unit(arm, currency) for arm, n in draws(configuration).items())
        assert market.spent - before == pytest.approx(price)
    assert market.trials == len(configurations)


@settings(max_examples=40)
@given(st.lists(CONFIGURATION, min_size=1, max_size=6), st.sampled_from(CURRENCIES))
def test_with_the_bank_only_what_lacks_is_paid(configurations: list[int], currency: Currency) -> None:
    market = Market(task(), 0, currency, bank=True)
    most: dict[tuple[int, int], int] = {}
    found: dict[int, float] = {}
    for configuration in configurations:
        value = market.measure(configuration)
        most |= {arm: max(n, most.get(arm, 0)) for arm, n in draws(configuration).items()}
        assert market.spent == pytest.approx(sum(EXAMPLES * n * unit(arm, currency) for arm, n in most.items()))
        assert found.setdefault(configuration, value) == value, "the same draws are used again"
    assert market.trials == len(configurations)


def test_without_the_bank_draws_are_new_ones() -> None:
    market = Market(task(), 0)
    assert len({market.measure(0) for _ in range(20)}) > 1


def test_a_seed_gives_the_same_draws() -> None:
    everyone = np.arange(EXAMPLES)
    runs = []
    for seed in (5, 5, 6):
        market = Market(task(), seed)
        measured = [market.measure(c) for c in (0, 9, 0)]
        bought = [market.buy(arm, everyone).tolist() for arm in (0, 1, 2, 3, 3)]
        runs.append((measured, bought, market.score(11, everyone).tolist(), market.split.questions.tolist()))
    assert runs[0] == runs[1] != runs[2]


def test_what_is_bought_first_changes_no_draw() -> None:
    one, other = Market(task(), 1), Market(task(), 1)
    other.measure(3)
    other.buy(3, np.array([1]))
    assert one.buy(0, np.arange(EXAMPLES)).tolist() == other.buy(0, np.arange(EXAMPLES)).tolist()


def test_all_draws_of_an_example_are_those_recorded() -> None:
    market = Market(task(), 2)
    for arm in range(4):
        own = market.task.stages[market.arms[arm].stage]
        questions = market.split.questions[market.arms[arm].stage]
        bought = np.array([market.buy(arm, np.arange(EXAMPLES)) for _ in range(6)])
        assert (
            bought.sum(axis=0).tolist() == own.recorded.correct[questions, own.columns[market.arms[arm].model]].tolist()
        )
        assert market.right[arm].tolist() == bought.sum(axis=0).tolist()
    assert len(set(map(tuple, market.split.questions.T.tolist()))) == EXAMPLES


def test_no_draw_after_the_last() -> None:
    market = Market(task(), 0)
    for _ in range(6):
        market.buy(3, np.array([2]))
    spent = market.spent
    with pytest.raises(ValueError, match="an example of arm 3 must have a draw left, but all 6 are bought"):
        market.buy(3, np.array([1, 2]))
    assert market.spent == spent == 6 and market.drawn[3].tolist() == [0, 0, 6, 0, 0, 0]


def books(market: Market) -> tuple[object, ...]:
    return market.spent, market.trials, market.drawn.tolist(), market.right.tolist()


def dearest(market: Market) -> int:
    return int(market.prices.argmax())


REFUSED: dict[str, Buy] = {
    "measure": lambda market: market.measure(dearest(market)),
    "score": lambda market: market.score(dearest(market), np.arange(EXAMPLES)),
    "buy": lambda market: market.buy(0, np.arange(EXAMPLES)),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("bank", [False, True])
def test_beyond_the_cap_nothing_is_bought(name: str, *, bank: bool) -> None:
    market, other = Market(task(1), 4, bank=bank), Market(task(1), 4, bank=bank)
    market.cap = other.cap = 8.0
    assert market.buy(0, np.array([0, 1, 2])).tolist() == other.buy(0, np.array([0, 1, 2])).tolist()
    before = books(market)
    with pytest.raises(Spent):
        REFUSED[name](market)
    assert books(market) == before
    assert market.buy(0, np.arange(5)).tolist() == other.buy(0, np.arange(5)).tolist(), "what can be paid still is"
    assert market.spent == 8.0
    with pytest.raises(Spent):
        market.buy(1, np.array([0]))


def test_a_refused_trial_banks_nothing() -> None:
    market = Market(task(1), 0, bank=True)
    cheapest = int(market.prices.argmin())
    market.cap = EXAMPLES * market.prices[cheapest]
    with pytest.raises(Spent):
        market.measure(dearest(market))
    market.measure(cheapest)
    assert market.spent == market.cap


@settings(max_examples=40)
@given(st.data(), st.sampled_from(CURRENCIES))
def test_scores_and_single_draws_share_their_books(data: st.DataObject, currency: Currency) -> None:
    market = Market(task(), 3, currency)
    own = np.zeros((4, EXAMPLES), dtype=int)
    for _ in range(data.draw(st.integers(1, 6))):
        examples = np.array(data.draw(st.lists(st.integers(0, EXAMPLES - 1), min_size=1, unique=True)))
        if data.draw(st.booleans()):
            arm = data.draw(st.integers(0, 3))
            if (own[arm, examples] < market.arms[arm].most).all():
                market.buy(arm, examples)
                own[arm, examples] += 1
        else:
            configuration = data.draw(CONFIGURATION)
            market.score(configuration, examples)
            for (s, m), n in draws(configuration).items():
                own[2 * s + m, examples] = np.maximum(own[2 * s + m, examples], n)
        assert market.drawn.tolist() == own.tolist()
        each = [unit(arm, currency) for arm in ((0, 0), (0, 1), (1, 0), (1, 1))]
        assert market.spent == pytest.approx(float(own.sum(axis=1) @ each))
    fresh = Market(task(), 3)
    for arm, e in zip(*np.nonzero(own), strict=True):
        right = [bool(fresh.buy(int(arm), np.array([e]))[0]) for _ in range(own[arm, e])]
        assert market.right[arm, e] == sum(right)


@pytest.mark.parametrize("bank", [False, True])
@pytest.mark.parametrize("configuration", [0, 13, 27, 41, -1])
def test_what_is_measured_is_the_value_but_for_chance(configuration: int, *, bank: bool) -> None:
    own, differences = task(), []
    row = own.configurations[[configuration]]
    for seed in range(300):
        market = Market(own, seed, bank=bank)
        differences.append(market.measure(configuration) - own.value(row, market.split)[0])
    assert np.std(differences) > 0
    assert abs(np.mean(differences)) < 4 * np.std(differences) / np.sqrt(len(differences))


def test_the_value_of_a_split_is_the_truth_but_for_chance() -> None:
    own = task()
    values = np.array([own.value(own.configurations, Market(own, seed).split) for seed in range(300)])
    wrong = np.abs(values.mean(axis=0) - own.truth)
    assert (wrong < 4.5 * values.std(axis=0) / np.sqrt(len(values)) + 1e-9).all()


def test_a_lead_is_noted_when_it_changes() -> None:
    market = Market(task(), 0)
    market.lead(3)
    market.buy(0, np.array([0]))
    market.lead(3, 0.5)
    market.lead(3, 0.5)
    market.measure(0)
    market.lead(3, 0.5)
    market.lead(4, 0.5)
    market.lead(3, 0.5)
    assert [(lead.configuration, lead.trials) for lead in market.leads] == [(3, 0), (3, 0), (4, 1), (3, 1)]
    assert [lead.spent for lead in market.leads] == [0, 1, market.spent, market.spent]


def test_a_lead_of_no_known_chance_is_noted_once() -> None:
    market = Market(task(), 0)
    for configuration in (3, 3, 3, 4, 4):
        market.lead(configuration)
        market.buy(0, np.array([len(market.leads)]))
    assert [lead.configuration for lead in market.leads] == [3, 4]


def habits(market: Market, stage: int, option: int) -> list[list[list[float]]]:
    return [own.tolist() for own in market.habits(stage, option, 5, np.random.default_rng(0))]


@pytest.mark.parametrize("seed", range(4))
def test_habits_are_learnt_from_the_draws_that_were_bought(seed: int) -> None:
    market = Market(task(), seed)
    number, option = next((i, o) for i, o in enumerate(market.options(1)) if o.arm == 1)
    unknown = habits(market, 1, number)
    for n in range(5):
        market.buy(3, np.arange(n + 1))
    drawn = market.task.stages[1].drawn(1, market.split.questions[1], np.random.default_rng([seed, 4, 0]))
    bought = np.arange(6) < market.drawn[3][:, None]
    silenced = replace(drawn, answers=np.where(bought, drawn.answers, NONE), correct=drawn.correct & bought)
    rule = task().stages[1].rules[option.rule]
    known = rule.habits(silenced, np.full(EXAMPLES, 6), 5, np.random.default_rng(0))
    assert habits(market, 1, number) == [own.tolist() for own in known] != unknown
    other = next(i for i, o in enumerate(market.options(1)) if o.arm == 0)
    assert habits(market, 1, other) == unknown, "of each model its own"
    assert market.spent == market.drawn.sum() == 15, "nothing is bought to learn them"


def test_all_numbers_of_draws_of_a_model_have_the_same_habits() -> None:
    market = Market(task(), 0)
    market.buy(3, np.arange(EXAMPLES))
    assert len({str(habits(market, 1, i)) for i, o in enumerate(market.options(1)) if o.arm == 1}) == 1
    assert habits(market, 0, 0) == [], "what a checker makes of draws hangs on nothing else"


def test_worth_is_that_of_the_rule() -> None:
    market = Market(task(), 8)
    p = np.linspace(0, 1, 3 * EXAMPLES).reshape(3, EXAMPLES)
    market.buy(2, np.arange(EXAMPLES))
    for s in (0, 1):
        for number, option in enumerate(market.options(s)):
            rule = task().stages[s].rules[option.rule]
            habits = market.habits(s, number, 3, np.random.default_rng(0))
            assert (market.worth(s, np.array([number]), p, habits)[..., 0] == rule.worth(p, option.n, habits)).all()
            assert market.option(s, number) == option
    of_one = np.array([n for n, option in enumerate(market.options(0)) if (option.arm, option.rule) == (0, 0)])
    worth = market.worth(0, of_one, p, ())
    assert worth.shape == (*p.shape, len(of_one)) and len(of_one) > 2
    assert (np.diff(worth, axis=-1) >= 0).all()


def test_what_stages_give_together_is_said_by_the_task() -> None:
    parts = [np.array([[0.5, 1.0]]), np.array([[0.25, 0.5]])]
    together: dict[Literal["all", "mean", "any"], list[float]] = {
        "all": [0.125, 0.5],
        "mean": [0.375, 0.75],
        "any": [0.625, 1.0],
    }
    for combine, expected in together.items():
        market = Market(mixture() if combine == "any" else replace(task(), combine=combine), 0)
        assert market.combined(parts).tolist() == [expected]
        assert market.independent and market.shared == (combine == "any")


def test_random_parts_are_for_stages_that_depend_on_each_other() -> None:
    market = Market(task(), 0)
    assert market.independent
    with pytest.raises(TypeError, match="must depend on each other, but do not; use `worth`"):
        market.scores(np.array([0]), np.random.default_rng(0))
    assert market.spent == 0


@cache
def mixture(trials: int = 1000) -> Composed:
    """Two models on the same questions, of which any suffices; each may draw nothing."""
    table, rules = some(3, 7, 2, 6), [Verified(0.8, 0.6), RULES["any_correct"], RULES["majority"]]
    made = [stage(m, table, "", {m: 1.0}, rules, 8.0, [0.25, 0.5], optional=True) for m in ("m0", "m1")]
    return Composed("t", tuple(made), 8.0, EXAMPLES, trials, "any")


def test_no_draws_cost_nothing_and_are_worth_nothing() -> None:
    market, everyone = Market(mixture(), 0), np.arange(EXAMPLES)
    alone = market.configurations.tolist().index([0, 2])
    assert market.option(0, 0).n == 0 and market.option(1, 2)[:3] == (0, 2, 1)
    market.measure(alone)
    assert market.spent == 2 * EXAMPLES and market.prices[alone] == 2
    first = market.score(alone, everyone)
    assert market.drawn.tolist() == [[0] * EXAMPLES, [2] * EXAMPLES]
    own = Market(mixture(), 0)
    bought = np.array([own.buy(1, everyone) for _ in range(2)]).any(axis=0)
    assert first.tolist() == bought.tolist()
    p = np.linspace(0, 1, EXAMPLES)[None]
    assert not market.worth(0, np.array([0]), p, ()).any()


def test_mixtures_are_measured_as_their_value_says() -> None:
    own = mixture()
    for at in range(0, len(own.configurations), 9):
        found = [Market(own, seed) for seed in range(60)]
        differences = [m.measure(at) - own.value(own.configurations[[at]], m.split)[0] for m in found]
        assert abs(mean(differences)) < 4 * np.std(differences) / np.sqrt(len(found)) + 1e-12
