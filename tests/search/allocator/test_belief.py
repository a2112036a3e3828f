"""Values are what samples of worth give together, example by example where stages share their questions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Literal, cast

import numpy as np
import pytest

from apportion.envs.replay.composed import Composed
from apportion.envs.replay.market import Market
from apportion.envs.replay.recorded import Recorded
from apportion.envs.replay.rules import RULES
from apportion.envs.replay.task import stage
from apportion.search import market as protocol
from apportion.search.allocator import belief as module
from apportion.search.allocator.belief import OFF, OFF_MORE, SAMPLES, UNSEEN, UNSEEN_WEIGHT, Belief, Believer
from apportion.search.market import Floats, Ints
from tests.envs.replay.tables import some

ROWS = np.array([[0, 1], [2, 0], [1, 2], [0, 0]])
SEEN, NEW = 4, 2
ARMS = [0, 1, 1]  # of the options of both stages
Combine = Literal["all", "mean", "any"]
COMBINE: dict[Combine, Callable[[Sequence[Any]], Any]] = {
    "all": lambda parts: parts[0] * parts[1],
    "mean": lambda parts: (parts[0] + parts[1]) / 2,
    "any": lambda parts: parts[0] + parts[1] - parts[0] * parts[1],
}
every_combination = pytest.mark.parametrize("combine", COMBINE)


def believing(combine: Combine, worth: Sequence[Floats], examples: int = SEEN, n: Sequence[int] = (1, 1, 1)) -> Belief:
    """Two stages of three options, of which the last two draw from one arm."""
    options = [SimpleNamespace(arm=arm, rule=0, n=own) for arm, own in zip(ARMS, n, strict=True)]
    market = SimpleNamespace(shared=combine == "any", combined=COMBINE[combine], options=lambda _: options)
    p = np.zeros((SAMPLES, 4, worth[0].shape[2]))
    return Belief(cast(protocol.Market, market), p, list(worth), examples)


def random(combine: Combine, unseen: int = NEW) -> Belief:
    rng = np.random.default_rng(1)
    return believing(combine, [rng.random((SAMPLES, 3, SEEN + unseen)).astype(np.float32) for _ in range(2)])


def same(x: Sequence[float] | Floats) -> Floats:
    """A worth that is known: all samples are alike, and all options."""
    return np.tile(np.asarray(x, dtype=np.float32), (SAMPLES, 3, 1))


def over_all(belief: Belief, rounds: int = 60) -> Floats:
    return np.vstack([belief.values_over_all(ROWS, np.random.default_rng(seed)) for seed in range(rounds)])


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model of success is off by nothing."""
    monkeypatch.setattr(module, "OFF", 0.0)
    monkeypatch.setattr(module, "OFF_MORE", 0.0)


@every_combination
@pytest.mark.parametrize("unseen", [0, NEW])
def test_values_are_of_all_meetings_of_the_seen_questions(combine: Combine, unseen: int) -> None:
    belief = random(combine, unseen)
    values = belief.values(ROWS)
    assert values.shape == (SAMPLES, len(ROWS))
    meetings = [(e, e) for e in range(SEEN)] if combine == "any" else [*itertools.product(range(SEEN), repeat=2)]
    for sample, (number, (a, b)) in itertools.product((0, 7, SAMPLES - 1), enumerate(ROWS)):
        met = [COMBINE[combine]([belief.worth[0][sample, a, e], belief.worth[1][sample, b, f]]) for e, f in meetings]
        assert values[sample, number] == pytest.approx(np.mean(met), abs=1e-6)


def test_values_of_more_configurations_than_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    belief = random("any")
    many = np.tile(ROWS, (3, 1))
    whole = belief.values(many)
    monkeypatch.setattr(module, "PART", 5)
    assert belief.values(many) == pytest.approx(whole, abs=1e-6)
    assert whole[:, 8:] == pytest.approx(whole[:, :4], abs=1e-6)


@every_combination
def test_what_holds_on_every_example_holds_over_all(combine: Combine, exact: None) -> None:
    """As weights of examples sum to 1."""
    value = over_all(believing(combine, [same([0.3] * 6), same([0.6] * 6)]), 3)
    assert value == pytest.approx(COMBINE[combine]([0.3, 0.6]), abs=1e-5)


def test_the_spread_over_all_is_that_of_a_dirichlet_process(exact: None) -> None:
    """Of one stage, as the other is always right: seen examples count 1 each, unseen ones UNSEEN_WEIGHT in all."""
    x = np.array([0.1, 0.9, 0.2, 0.6, 1.0, 0.4])
    values = over_all(believing("all", [same(x), same([1.0] * 6)]))[:, 0]
    counts = np.array([1.0] * SEEN + [UNSEEN_WEIGHT / NEW] * NEW)
    share = counts / counts.sum()
    mean = share @ x
    variance = (share @ x**2 - mean**2) / (counts.sum() + 1)
    assert values.mean() == pytest.approx(mean, abs=5 * (variance / len(values)) ** 0.5)
    assert values.var() == pytest.approx(variance, rel=0.1)


def test_questions_of_stages_are_weighed_apart_where_they_meet_at_random(exact: None) -> None:
    x = [0.0, 1.0, 0.0, 1.0]
    alone = over_all(believing("all", [same(x), same([1.0] * 4)]))[:, 0].var()
    assert over_all(believing("mean", [same(x), same(x)]))[:, 0].var() == pytest.approx(alone / 2, rel=0.1)


def test_shared_questions_are_weighed_alike(exact: None) -> None:
    one, other = [0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]
    assert over_all(believing("any", [same(one), same(other)]), 3) == pytest.approx(1.0, abs=1e-5)
    both = over_all(believing("any", [same(one), same(one)]))[:, 0]
    assert both.mean() == pytest.approx(0.5, abs=0.02) and both.var() == pytest.approx(0.25 / 5, rel=0.1)


@every_combination
def test_over_all_is_less_sure_than_over_the_split_and_its_mean_is_near(combine: Combine) -> None:
    rng = np.random.default_rng(2)
    means = rng.random((3, 12))  # of options on examples; the unseen are like the seen
    likely = means[:, [*range(12), *rng.integers(12, size=8)]]
    worth = [rng.beta(8 * likely, 8 * (1 - likely), (SAMPLES, *likely.shape)).astype(np.float32) for _ in range(2)]
    belief = believing(combine, worth, 12)
    split, every = belief.values(ROWS), over_all(belief, 20)
    assert (every.std(axis=0) > 1.3 * split.std(axis=0)).all()
    assert every.mean(axis=0) == pytest.approx(split.mean(axis=0), abs=0.06)


def test_the_model_is_off_alike_for_all_options_of_an_arm_and_rule_but_less_near_0_and_1() -> None:
    worth = same([0.0] * SEEN)
    worth[:, :, :] = np.array([0.5, 0.5, 0.9])[:, None]
    off = over_all(believing("mean", [worth, same([1.0] * SEEN)])) * 2 - 1  # the second is off by nothing
    first, last, middle = off[:, 0], off[:, 1], off[:, 2]
    assert first.std() == pytest.approx(OFF, rel=0.1) and first.mean() == pytest.approx(0.5, abs=0.003)
    assert (last - 0.9) / (2 * 0.3) == pytest.approx(middle - 0.5, abs=1e-4), "one arm"
    assert abs(np.corrcoef(first, middle)[0, 1]) < 0.1, "two arms"


def test_the_model_is_more_off_the_more_is_drawn_and_not_at_all_where_nothing_is() -> None:
    half = same([0.5] * SEEN)
    off = 2 * over_all(believing("mean", [half, half], n=(0, 1, 64))) - 1  # rows: one draw, 64, both, none
    assert np.abs(off[:, 3]).max() < 1e-6
    assert off[:, 0].std() == pytest.approx(OFF, rel=0.1)
    assert off[:, 1].std() == pytest.approx(np.hypot(OFF, 6 * OFF_MORE), rel=0.1)


def test_the_model_is_off_where_stages_share_their_questions_too() -> None:
    """By the sum over stages, from what they are worth together."""
    off = over_all(believing("any", [same([0.5] * SEEN), same([0.0] * SEEN)]))[:, 0] - 0.5
    assert off.std() == pytest.approx(OFF * 2**0.5, rel=0.1)


@every_combination
@pytest.mark.parametrize("stage", [0, 1])
def test_the_slope_is_how_values_change_with_the_worth_of_a_stage(combine: Combine, stage: int) -> None:
    belief, row, step = random(combine), ROWS[2], 0.01
    means = [worth[:, option, :SEEN].mean(axis=0) for worth, option in zip(belief.worth, row, strict=True)]
    if combine != "any":
        means = [np.full(SEEN, mean.mean()) for mean in means]
    found = [COMBINE[combine]([mean + side * (s == stage) for s, mean in enumerate(means)]) for side in (-step, step)]
    slope = np.broadcast_to(belief.slope(row, stage), SEEN)
    assert slope == pytest.approx((found[1] - found[0]) / (2 * step), rel=1e-4)


# --- what is learnt of a market ---------------------------------------------------------------------------------------

EXAMPLES = 24
EASY = np.arange(EXAMPLES) % 2 == 0  # questions that models are always right on; on the others they never are


def halved(combine: Combine) -> Market:
    """Two models at a stage each, right on every second question, whose order is that of the examples."""
    right = np.repeat(np.where(EASY, 4, 0)[:, None], 2, axis=1)
    questions = tuple(f"{q:02}" for q in range(EXAMPLES))
    table = Recorded("halved", questions, (("", "m0"), ("", "m1")), np.full(right.shape, 4), right, None)
    rules = [RULES["any_correct"]]
    made = [stage(m, table, "", {m: 1.0}, rules, 4.0, [0.25, 1.0], optional=combine == "any") for m in ("m0", "m1")]
    market = Market(Composed("halved", tuple(made), 8.0, EXAMPLES, 1000, combine), 0)
    for examples in np.split(np.tile(np.arange(EXAMPLES), 4), 4):
        market.buy(0, examples)
    return market


def knows_of_other(market: Market) -> float:
    """By how much the second model is thought better on questions that the first, which alone was asked, answers."""
    belief = Believer(market).look(market.configurations, np.random.default_rng(0), unseen=False)
    solved = market.right[0] > 0
    mean = belief.p[:, 1].mean(axis=0)
    return float(mean[solved].mean() - mean[~solved].mean())


def test_what_is_hard_for_one_is_so_for_others_where_questions_are_shared() -> None:
    assert knows_of_other(halved("any")) > 0.25
    assert abs(knows_of_other(halved("mean"))) < 0.1, "another question is another matter"


def test_worth_is_that_of_the_options_asked_about_and_of_no_others() -> None:
    market = halved("all")
    believer = Believer(market)
    asked = np.array([[1, 0]])
    belief = believer.look(asked, np.random.default_rng(0), unseen=True)
    assert belief.examples == EXAMPLES and belief.p.shape == (SAMPLES, 2, EXAMPLES + UNSEEN)
    assert [market.option(0, n).n for n in (0, 1)] == [1, 4]
    assert belief.worth[0][:, 1] == pytest.approx(1 - (1 - belief.p[:, 0]) ** 4, abs=1e-6)
    assert belief.worth[1][:, 0] == pytest.approx(belief.p[:, 1], abs=1e-6)
    assert not belief.worth[0][:, 0].any() and not belief.worth[1][:, 1].any()
    assert believer.look(asked, np.random.default_rng(0), unseen=False).p.shape == (SAMPLES, 2, EXAMPLES)


def test_no_draws_are_worth_nothing_in_a_mixture() -> None:
    market = halved("any")
    belief = Believer(market).look(market.configurations, np.random.default_rng(0), unseen=True)
    assert [market.option(s, 0).n for s in (0, 1)] == [0, 0]
    assert not belief.worth[0][:, 0].any() and belief.worth[0][:, 1:].any(axis=(0, 2)).all()


def test_an_unseen_example_is_as_one_that_nobody_was_asked_about() -> None:
    """Half of all examples are asked, and are all or nothing: what is not known of an example is which it is."""
    market = halved("all")
    market.drawn[0, 12:] = market.right[0, 12:] = 0
    believer = Believer(market)
    looks = [believer.look(np.array([[1, 0]]), np.random.default_rng(seed), unseen=True).p[:, 0] for seed in range(5)]
    p = np.vstack(looks)
    asked, waiting, unseen = p[:, :12], p[:, 12:EXAMPLES], p[:, EXAMPLES:]
    assert unseen.mean() == pytest.approx(waiting.mean(), abs=0.05)
    assert unseen.std() == pytest.approx(waiting.std(), abs=0.03)
    assert unseen.std(axis=0).mean() > 2 * asked.std(axis=0).mean()


def test_habits_are_asked_for_once_a_model_and_rule_and_unseen_examples_have_those_of_some_seen_one() -> None:
    options = [SimpleNamespace(arm=arm, rule=rule, n=n) for arm in (0, 1) for rule in (0, 1) for n in (1, 2)]
    asked: list[int] = []

    def habits(stage: int, option: int, k: int, rng: np.random.Generator) -> protocol.Habits:
        asked.append(option)
        return (np.tile(100.0 * option + np.arange(EXAMPLES), (k, 1)),)

    def worth(stage: int, options: Ints, p: Floats, habits: protocol.Habits) -> Floats:
        assert habits[0].shape == p.shape == (SAMPLES, EXAMPLES + UNSEEN)
        return np.repeat(habits[0][..., None], len(options), axis=-1)

    books: Ints = np.zeros((2, EXAMPLES), dtype=np.int64)
    market = SimpleNamespace(
        arms=[SimpleNamespace(stage=0, size=1.0)] * 2,
        configurations=np.arange(8)[:, None],
        drawn=books,
        right=books,
        shared=False,
        options=lambda _: options,
        habits=habits,
        worth=worth,
    )
    believer = Believer(cast(protocol.Market, market))
    belief = believer.look(np.arange(8)[:, None], np.random.default_rng(0), unseen=True)
    assert len(asked) == 4 and {(options[o].arm, options[o].rule) for o in asked} == {
        *itertools.product((0, 1), (0, 1))
    }
    of_seen, of_unseen = belief.worth[0][..., :EXAMPLES], belief.worth[0][..., EXAMPLES:] % 100
    assert (of_seen[:, 4] % 100 == np.arange(EXAMPLES)).all() and (of_seen[:, 4] == of_seen[:, 5]).all()
    assert (of_unseen == of_unseen[0, 0]).all(), "the same example's, whatever the option"
    assert len(np.unique(of_unseen)) > UNSEEN / 3 and (of_unseen < EXAMPLES).all()
    part = believer.look(np.arange(4)[:, None], np.random.default_rng(0), unseen=True)
    assert part.p[:, 0].any() and not part.p[:, 1].any(), "no time goes into models that nobody asks about"


def test_a_vote_is_worth_what_agreement_says_on_examples_unseen_too() -> None:
    table = some(3, EXAMPLES, 2, 40)
    own = stage("vote", table, "", {"m0": 1.0, "m1": 1.0}, [RULES["majority"]], 40.0, [0.1, 0.25], 10)
    market = Market(Composed("vote", (own,), 40.0, EXAMPLES, 100), 0)
    for arm, _ in itertools.product((0, 1), range(10)):
        market.buy(arm, np.arange(EXAMPLES))
    belief = Believer(market).look(market.configurations, np.random.default_rng(0), unseen=True)
    true = market.task.value(market.configurations, market.split)
    assert belief.values(market.configurations).mean(axis=0) == pytest.approx(true, abs=0.08)
    assert np.ptp(true) > 0.2
    worth = belief.worth[0]
    assert worth.min() >= 0 and worth.max() <= 1 + 1e-6
    assert worth[:, :, EXAMPLES:].mean() == pytest.approx(worth[:, :, :EXAMPLES].mean(), abs=0.1)
