"""What is believed of success: from counts of known odds, of models never asked, and of cells that were never right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from apportion.search.allocator import success
from apportion.search.allocator.success import Floats, Ints, SuccessModel, _hopeless

SIZES = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
EXAMPLES = 20
K = 400


def chance(odds: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-odds)))


def fitted(right: Ints, drawn: Ints, sizes: Floats = SIZES) -> SuccessModel:
    """A model that has come to rest."""
    model = SuccessModel(sizes, right.shape[1])
    for _ in range(30):
        model.fit(right, drawn)
    return model


def sampled(model: SuccessModel, models: int = len(SIZES), seed: int = 0) -> Floats:
    """K samples: K x models x examples."""
    return model.sample(K, np.random.default_rng(seed), np.arange(models)).astype(np.float64)


def odds(seed: int, left: float) -> Floats:
    """Log odds as the model takes them to be: a line in log size, eases of examples, and what is left."""
    rng = np.random.default_rng(seed)
    line = np.linspace(-2.0, 2.0, len(SIZES))[:, None]
    return np.asarray(line + rng.normal(0, 1.5, EXAMPLES) + rng.normal(0, left, (len(SIZES), EXAMPLES)))


def counts(p: Floats, n: int, seed: int = 1) -> tuple[Ints, Ints]:
    drawn = np.full(p.shape, n)
    return np.random.default_rng(seed).binomial(drawn, p), drawn


@pytest.mark.parametrize("seed", range(3))
def test_with_more_draws_the_means_come_to_the_truth(seed: int) -> None:
    p = chance(odds(seed, 1.0))
    samples = [sampled(fitted(*counts(p, n))) for n in (5, 50, 500)]
    errors = [np.abs(own.mean(axis=0) - p).mean() for own in samples]
    spreads = [own.std(axis=0).mean() for own in samples]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.02
    assert spreads[0] > spreads[1] > spreads[2]
    assert errors[2] / 2 < spreads[2] < 4 * errors[2]  # as unsure as it is wrong


@pytest.mark.parametrize("seed", range(3))
def test_few_draws_of_others_are_better_than_the_shares_alone(seed: int) -> None:
    p = chance(odds(seed, 0.5))
    right, drawn = counts(p, 2)
    assert np.abs(sampled(fitted(right, drawn)).mean(axis=0) - p).mean() < 0.6 * np.abs(right / drawn - p).mean()


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_a_model_asked_nowhere_lies_on_the_line_and_follows_the_examples(gone: int) -> None:
    true = odds(4, 0.0)
    right, drawn = counts(chance(true), 20)
    right[gone], drawn[gone] = 0, 0
    samples = sampled(fitted(right, drawn))
    assert samples[:, gone].mean() == pytest.approx(chance(true[gone]).mean(), abs=0.1)
    assert np.corrcoef(samples[:, gone].mean(axis=0), true[0])[0, 1] > 0.9
    of_model = samples.mean(axis=2).std(axis=0)
    assert of_model[gone] > 3 * np.delete(of_model, gone).max()


def test_the_largest_model_is_thought_better_than_the_smallest_when_neither_was_asked() -> None:
    right, drawn = counts(chance(odds(4, 0.0)), 20)
    for gone in (0, 4):
        right[gone], drawn[gone] = 0, 0
    means = sampled(fitted(right, drawn)).mean(axis=(0, 2))
    assert means[0] + 0.1 < means[2] < means[4] - 0.1


def test_before_any_draw_nothing_is_known() -> None:
    nothing = np.zeros((len(SIZES), EXAMPLES), dtype=np.int64)
    samples = sampled(fitted(nothing, nothing))
    assert samples.mean() == pytest.approx(0.46, abs=0.05)  # half, less what is never right
    assert samples.std(axis=0).min() > 0.3


@given(st.floats(0, 0.5), st.floats(1e-6, 1.0))
def test_hopeless_is_the_rule_of_bayes(never: float, missed: float) -> None:
    wrong_and_never, wrong_by_chance = never * 1.0, (1 - never) * missed
    found = _hopeless(np.array([never]), np.array([missed]))
    assert found[0] == pytest.approx(wrong_and_never / (wrong_and_never + wrong_by_chance))
    assert _hopeless(np.array([never]), np.array([np.inf]))[0] == 0.0  # it was right once


def test_what_was_missed_is_the_integral_over_what_is_left() -> None:
    right, drawn = counts(chance(odds(0, 1.0)), 6)
    right[:, :5] = 0
    model = SuccessModel(SIZES, EXAMPLES)
    model.fit(right, drawn)
    z = np.linspace(-8, 8, 4001)
    density = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
    for scale, size in enumerate(success.SCALES):
        expected = ((1.0 - chance(model._base[..., None] + size * z)) ** 6 * density).sum(axis=-1)
        assert model._missed[scale][right == 0] == pytest.approx(expected[right == 0], rel=0.01)
    assert np.isinf(model._missed[:, right > 0]).all()


@pytest.mark.parametrize("seed", range(3))
def test_cells_never_right_are_thought_worse_of_than_by_log_odds_alone(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = chance(np.hstack([odds(3 * seed + i, 0.3) for i in range(3)]))
    hopeless = np.random.default_rng(seed).random(p.shape) < 0.5 * (1.0 - p)
    p[hopeless] = 0.0
    right, drawn = counts(p, 8)
    with_never = sampled(fitted(right, drawn)).mean(axis=0)
    monkeypatch.setattr(success, "NEVER", np.zeros(4))
    alone = sampled(fitted(right, drawn)).mean(axis=0)
    assert with_never[hopeless].mean() < 0.85 * alone[hopeless].mean()
    assert np.abs(with_never - p).mean() < np.abs(alone - p).mean()


def test_samples_are_probabilities_and_the_same_for_a_seed() -> None:
    model = fitted(*counts(chance(odds(0, 1.0)), 3))
    some = np.array([3, 1])
    first, again, other = (model.sample(7, np.random.default_rng(seed), some) for seed in (5, 5, 6))
    assert first.shape == (7, 2, EXAMPLES) and first.dtype == np.float32
    assert first.min() >= 0 and first.max() <= 1
    assert (first == again).all() and (first != other).any()


def test_samples_of_some_models_are_of_those() -> None:
    model = fitted(*counts(chance(odds(0, 0.5)), 50))
    every, some = sampled(model), model.sample(K, np.random.default_rng(1), np.array([3, 1]))
    assert some.mean(axis=(0, 2)) == pytest.approx(every.mean(axis=(0, 2))[[3, 1]], abs=0.02)


@pytest.mark.parametrize("n", [1, 12])
def test_the_order_of_models_and_examples_is_of_no_importance(n: int) -> None:
    right, drawn = counts(chance(odds(3, 1.0)), n)
    drawn[0, ::3], right[0, ::3] = 0, 0
    model = fitted(right, drawn)
    rng = np.random.default_rng(0)
    a, b = rng.permutation(len(SIZES)), rng.permutation(EXAMPLES)
    other = fitted(right[a][:, b], drawn[a][:, b], SIZES[a])
    for own, permuted in ((model._mean, other._mean), (model._variance, other._variance)):
        assert permuted == pytest.approx(own[a][:, b], abs=1e-8)
    assert other._hopeless == pytest.approx(model._hopeless[a][:, b], abs=1e-8)


def test_cells_given_their_observations_are_those_of_one_dense_gaussian() -> None:
    right, drawn = counts(chance(odds(0, 1.0)[:3, :4]), 5)
    drawn[1, 2], right[1, 2] = 0, 0
    model = SuccessModel(SIZES[:3], 4)
    model.fit(right, drawn)
    abilities, left = model._ability * np.eye(3) + model._trend, model._left.ravel()
    model._weigh(right, drawn)
    model._solve()
    same_example = np.kron(np.ones((3, 3)), np.eye(4))
    prior = np.kron(abilities, np.ones((4, 4))) + model._ease * same_example + np.diag(np.repeat(left, 4))
    at = np.flatnonzero(drawn)  # a cell that was not asked has no observation
    gain = prior[:, at] @ np.linalg.inv(prior[np.ix_(at, at)] + np.diag(1.0 / model._precision.flat[at]))
    assert model._mean.ravel() == pytest.approx(gain @ model._seen.flat[at])
    assert model._variance.ravel() == pytest.approx(np.diag(prior - gain @ prior[at]))


def test_further_examples_are_as_those_that_nobody_was_asked_about() -> None:
    right, drawn = counts(chance(odds(3, 1.0)), 8)
    drawn[:, 12:], right[:, 12:] = 0, 0
    model = fitted(right, drawn)
    with_new = model.sample(20 * K, np.random.default_rng(0), np.array([4, 1]), new=3).astype(np.float64)
    assert with_new.shape == (20 * K, 2, EXAMPLES + 3)
    waiting, new = with_new[:, :, 12:EXAMPLES], with_new[:, :, EXAMPLES:]
    for statistic in (np.mean, np.std, lambda own, axis: (own == 0).mean(axis=axis)):
        assert statistic(new, axis=(0, 2)) == pytest.approx(statistic(waiting, axis=(0, 2)), abs=0.01)
    assert (new.std(axis=(0, 2)) > 1.5 * with_new[:, :, :12].std(axis=0).mean(axis=1)).all()
    # The same example is as easy or hard for both models, and another one is another matter.
    alike, apart = (np.corrcoef(new[:, 0, 0], new[:, 1, at])[0, 1] for at in (0, 1))
    both = np.corrcoef(waiting[:, 0, 0], waiting[:, 1, 0])[0, 1]
    assert alike == pytest.approx(both, abs=0.04) and alike > apart + 0.2
    without = sampled(model)
    assert with_new[:, 0, :12].mean(axis=0) == pytest.approx(without[:, 4, :12].mean(axis=0), abs=0.05)


def test_before_any_draw_further_examples_are_as_all_others() -> None:
    nothing = np.zeros((len(SIZES), EXAMPLES), dtype=np.int64)
    samples = fitted(nothing, nothing).sample(4 * K, np.random.default_rng(0), np.arange(len(SIZES)), new=EXAMPLES)
    seen, new = np.split(samples, 2, axis=2)
    assert new.mean() == pytest.approx(seen.mean(), abs=0.01) and new.std() == pytest.approx(seen.std(), abs=0.01)


TABLES = {
    "never right": [[0, 0], [0, 0]],
    "always right": [[1000, 1000], [1000, 1000]],
    "against each other": [[0, 1000], [1000, 0]],
    "half": [[500, 500], [500, 500]],
    "one model": [[0, 1000, 500]],
    "one example": [[0], [1000]],
    "one cell": [[1000]],
}


@pytest.mark.parametrize("sizes", [SIZES, np.full(5, 3.0)], ids=["apart", "equal"])
@pytest.mark.parametrize("name", TABLES)
def test_extreme_counts_give_shares_that_fit_them(name: str, sizes: Floats) -> None:
    right = np.array(TABLES[name])
    samples = sampled(fitted(right, np.full(right.shape, 1000), sizes[: len(right)]), len(right))
    assert np.isfinite(samples).all()
    assert samples.mean(axis=0) == pytest.approx(right / 1000, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(arrays(np.int64, (3, 4), elements=st.integers(0, 40)), st.integers(0, 2**32 - 1))
def test_any_counts_give_probabilities(drawn: Ints, seed: int) -> None:
    right = np.random.default_rng(seed).integers(0, drawn + 1)
    model = SuccessModel(SIZES[:3], 4)
    model.fit(right, drawn)
    samples = model.sample(5, np.random.default_rng(seed), np.arange(3))
    assert ((samples >= 0) & (samples <= 1)).all()
