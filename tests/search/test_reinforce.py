"""REINFORCE as a sampler: its state is a fold of the trials, each update is the one on paper, and it finds things."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from torch import Tensor

from apportion.errors import GraphError
from apportion.graphs.parameters import Params, Value
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.search.reinforce.drawing import FEWEST_TOLD, Measured, candidates, fresh
from apportion.search.reinforce.policy import one_thread, sparse
from apportion.search.reinforce.sampler import DRAWN, ReinforceSampler
from apportion.search.reinforce.settings import GPTSWARM, Settings
from apportion.testing.landscape import MODELS as UNITS
from apportion.testing.landscape import SIZES, Landscape, LandscapeProblem
from tests.search.kit import SPACE, TINY

SLOTS = SearchSpace((SlotStage("answer", ("small", "large"), 2, ("refiner",), ("voter",), (1, 2)),))
FREE = SearchSpace((SlotStage("answer", ("small", "large"), 3, ("refiner",), ("decider",), free_order=True),))
MIXED = SearchSpace((*TINY.stages, replace(SLOTS.stages[0], name="check", reads=("answer",))))
EASY = SearchSpace((SlotStage("answer", ("small", "large"), 3, ("refiner",), ("voter",), (1, 3)),))
SPACES = {"slots": SLOTS, "free order": FREE, "templates": SPACE, "both": MIXED}
EVERY = {
    "ours": replace(Settings(), batch=4),
    "unscreened": replace(Settings(), batch=4, screened=1),
    "gptswarm": GPTSWARM,
    "moving": replace(GPTSWARM, baseline="moving", entropy=0.01, used=True, fresh=True),
}
UP, DOWN = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
Worth = Callable[[Params], float]


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with one_thread():
        yield


def worth(params: Params) -> float:
    """A made-up accuracy from 0 to 1: the more of a graph's parameters are large, the better."""
    good = [value in ("large", "yes", "vote", 2, 3) for value in params.values()]
    return sum(good) / len(good)


def study_of(sampler: optuna.samplers.BaseSampler, *directions: StudyDirection) -> optuna.Study:
    return optuna.create_study(directions=directions or (UP,), sampler=sampler)


def driven(sampler: ReinforceSampler, space: SearchSpace, n: int, value: Worth = worth) -> optuna.Study:
    """A study of n trials, every sixth of which fails and every fifth is refused."""
    study = study_of(sampler)
    for number in range(n):
        trial = study.ask(space.distributions())
        if number % 6 == 5:
            study.tell(trial, state=TrialState.FAIL)
        elif number % 5 == 4:
            trial.set_constraint("paper", 0.5)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, value(trial.params))
    return study


def records(study: optuna.Study) -> list[FrozenTrial]:
    """The trials as a log keeps them: through JSON."""
    return [
        create_trial(
            state=t.state,
            values=t.values,
            params=json.loads(json.dumps(t.params)),
            distributions=t.distributions,
            system_attrs=json.loads(json.dumps({DRAWN: t.system_attrs[DRAWN]})) if DRAWN in t.system_attrs else None,
            constraints=t.constraints or None,
        )
        for t in study.get_trials(deepcopy=False)
    ]


def folded(space: SearchSpace, settings: Settings, trials: Sequence[FrozenTrial], *, by: int = 1000) -> Tensor:
    """Logits of a new sampler after these trials, folded whenever so many have come."""
    sampler, study = ReinforceSampler(space, 3, settings), study_of(RANDOM)
    for start in range(0, len(trials), by):
        study.add_trials(list(trials[start : start + by]))
        sampler.fold(study)
    return sampler.distribution.logits.detach().clone()


RANDOM = optuna.samplers.RandomSampler(seed=1)

# The fold


@pytest.mark.parametrize("settings", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_the_same_trials_give_the_same_distribution_bit_by_bit(space: SearchSpace, settings: Settings) -> None:
    sampler = ReinforceSampler(space, 3, settings)
    study = driven(sampler, space, 20)
    sampler.fold(study)
    logits = sampler.distribution.logits.detach()
    assert bool(logits.isfinite().all()) and bool((logits != 0).any())
    kept = records(study)
    for by in (1, 5, 7, 1000):
        assert torch.equal(folded(space, settings, kept, by=by), logits), by
    for k in (0, 3, 9, 17):
        again, rebuilt = ReinforceSampler(space, 3, settings), study_of(RANDOM)
        rebuilt.add_trials(kept[:k])
        rebuilt.sampler = again
        asked = rebuilt.ask(space.distributions())
        attributes = rebuilt.get_trials()[k].system_attrs
        assert (asked.params, attributes[DRAWN]) == (kept[k].params, kept[k].system_attrs[DRAWN]), k


@pytest.mark.parametrize("settings", EVERY.values(), ids=EVERY)
def test_whole_batches_only(settings: Settings) -> None:
    kept = [t for t in records(driven(ReinforceSampler(SLOTS, 3, settings), SLOTS, 20)) if t.state != TrialState.FAIL]
    size = settings.batch
    start = folded(SLOTS, settings, ())
    assert torch.equal(folded(SLOTS, settings, kept[: size - 1]), start)
    one = folded(SLOTS, settings, kept[:size])
    assert not torch.equal(one, start)
    assert torch.equal(folded(SLOTS, settings, kept[: 2 * size - 1]), one)
    assert not torch.equal(folded(SLOTS, settings, kept[: 2 * size]), one)


def foreign(params: Mapping[str, Value], space: SearchSpace, **more: Any) -> FrozenTrial:
    given: dict[str, Any] = {"value": 1.0, "params": dict(params), "distributions": space.distributions(), **more}
    return create_trial(**given)


def test_trials_that_were_not_drawn_here_or_failed_are_left_out() -> None:
    settings = EVERY["ours"]
    kept = records(driven(ReinforceSampler(SLOTS, 3, settings), SLOTS, 20))
    logits = folded(SLOTS, settings, kept)
    assert torch.equal(folded(SLOTS, settings, [t for t in kept if t.state != TrialState.FAIL]), logits)
    others = [
        foreign(SLOTS.point(0), SLOTS),
        foreign({}, SLOTS, distributions={}),
        create_trial(state=TrialState.FAIL, system_attrs={DRAWN: []}),
        create_trial(state=TrialState.RUNNING, params=SLOTS.point(1), distributions=SLOTS.distributions()),
        foreign(SLOTS.point(2), SLOTS, system_attrs={DRAWN: [], "fixed_params": SLOTS.point(2)}),
    ]
    among = [trial for own in kept for trial in (own, *others)]
    assert torch.equal(folded(SLOTS, settings, among), logits)


def test_parameters_that_the_user_gave_or_did_not_ask_for_are_not_learnt_from() -> None:
    settings = replace(GPTSWARM, batch=1)
    sampler = ReinforceSampler(SLOTS, 3, settings)
    study = study_of(sampler)
    study.enqueue_trial({"answer.1>final": "no", "answer.2>final": "no"})  # no graph
    study.enqueue_trial(SLOTS.point(3))
    for _ in range(2):
        study.tell(study.ask(SLOTS.distributions()), 1.0)
    part = study.ask()
    part.suggest_categorical("answer.1.model", ("small", "large"))
    study.tell(part, 1.0)
    sampler.fold(study)
    assert torch.equal(sampler.distribution.logits, start(SLOTS, settings))
    study.tell(study.ask(SLOTS.distributions()), 1.0)
    sampler.fold(study)
    assert bool((sampler.distribution.logits != 0).any())


def test_a_sampler_may_serve_one_study_after_another() -> None:
    sampler = ReinforceSampler(SLOTS, 3, EVERY["ours"])
    first = driven(sampler, SLOTS, 12)
    second = driven(sampler, SLOTS, 12, lambda params: 1.0 - worth(params))
    alone = driven(ReinforceSampler(SLOTS, 3, EVERY["ours"]), SLOTS, 12, lambda params: 1.0 - worth(params))
    assert [t.params for t in second.trials] == [t.params for t in alone.trials]
    again = study_of(RANDOM)
    again.add_trials(records(first))  # of the same numbers
    sampler.fold(again)
    assert torch.equal(sampler.distribution.logits, folded(SLOTS, EVERY["ours"], records(first)))


def test_trials_may_end_out_of_order() -> None:
    """As with several workers: the fold is that of the numbers, once all have ended."""
    sampler = ReinforceSampler(SLOTS, 3, EVERY["ours"])
    study = study_of(sampler)
    asked = [study.ask(SLOTS.distributions()) for _ in range(8)]
    for trial in reversed(asked):
        study.tell(trial, worth(trial.params))
        sampler.fold(study)
    assert torch.equal(sampler.distribution.logits, folded(SLOTS, EVERY["ours"], records(study)))
    keys = {SLOTS.build(trial.params).key for trial in asked}
    assert SLOTS.build(study.ask(SLOTS.distributions()).params).key not in keys


# One update


def by_hand(
    space: SearchSpace,
    settings: Settings,
    batches: Sequence[Sequence[FrozenTrial]],
    advantages: Sequence[Sequence[float]],
) -> tuple[Tensor, Tensor]:
    """Gradient of the last batch, and logits after all, by the formulas of Adam (arXiv 1412.6980)."""
    distribution = ProbabilisticGraph(space)
    distribution.set_logits(start(space, settings))
    m = v = torch.zeros_like(distribution.logits)
    gradient = m
    for step, (batch, advantage) in enumerate(zip(batches, advantages, strict=True), 1):
        orders = [trial.system_attrs[DRAWN] for trial in batch]
        drawn = distribution.batch([trial.params for trial in batch], orders if orders[0] else None)
        log_p = distribution.used_log_prob(drawn) if settings.used else distribution.log_prob(drawn)
        gain = sum(a * log_p[i] for i, a in enumerate(advantage)) / len(batch)
        gain = gain + settings.entropy * distribution.entropy()
        (gradient,) = torch.autograd.grad(gain, distribution.logits)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        move = settings.lr * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
        distribution.set_logits(distribution.logits.detach() + move)
    return gradient, distribution.logits.detach()


def start(space: SearchSpace, settings: Settings) -> torch.Tensor:
    """The logits before anything is learnt."""
    return ReinforceSampler(space, 5, settings).distribution.logits.detach()


def told(space: SearchSpace, settings: Settings, values: Sequence[float]) -> tuple[ReinforceSampler, list[FrozenTrial]]:
    """A sampler that has learnt from trials of these values."""
    sampler = ReinforceSampler(space, 5, settings)
    study = study_of(sampler)
    for value in values:
        study.tell(study.ask(space.distributions()), value)
    sampler.fold(study)
    return sampler, study.get_trials()


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_updates_of_gptswarm_by_hand(space: SearchSpace) -> None:
    """Adam with a step of 0.1 up the gradient of the mean of log P times utility, three graphs at a time."""
    values = [0.2, 0.9, 0.4, 0.5, 0.0, 1.0]
    sampler, trials = told(space, GPTSWARM, values)
    _, logits = by_hand(space, GPTSWARM, [trials[:3], trials[3:]], [values[:3], values[3:]])
    assert (GPTSWARM.lr, GPTSWARM.batch, GPTSWARM.baseline, GPTSWARM.entropy) == (0.1, 3, "none", 0.0)
    assert torch.allclose(sampler.distribution.logits.detach(), logits, atol=1e-12)
    one, _ = told(space, GPTSWARM, values[:3])
    steps = one.distribution.logits.detach() - start(space, GPTSWARM)
    assert set(steps.abs().round(decimals=6).tolist()) <= {0.0, 0.1}, "Adam's first step"


VALUES = [0.2, 0.9, 0.4, 0.5, 0.3, 0.3, 0.3, 0.7]
BASELINES: dict[str, tuple[list[float], list[float]]] = {
    "none": (VALUES[:4], VALUES[4:]),
    "leave_one_out": (
        [0.2 - 1.8 / 3, 0.9 - 1.1 / 3, 0.4 - 1.6 / 3, 0.5 - 1.5 / 3],
        [0.3 - 1.3 / 3, 0.3 - 1.3 / 3, 0.3 - 1.3 / 3, 0.7 - 0.9 / 3],
    ),
    "moving": (VALUES[:4], [0.3 - 0.5, 0.3 - 0.5, 0.3 - 0.5, 0.7 - 0.5]),  # the mean of the first batch is 0.5
}


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("baseline", BASELINES)
def test_what_is_taken_from_each_utility(baseline: Any, used: bool) -> None:  # noqa: FBT001
    settings = replace(GPTSWARM, batch=4, baseline=baseline, used=used)
    sampler, trials = told(SLOTS, settings, VALUES)
    gradient, logits = by_hand(SLOTS, settings, [trials[:4], trials[4:]], BASELINES[baseline])
    found = sampler.distribution.logits.grad
    assert found is not None and torch.allclose(found, gradient, atol=1e-12)
    assert torch.allclose(sampler.distribution.logits.detach(), logits, atol=1e-9)


def test_the_moving_average_moves_slowly() -> None:
    settings = replace(GPTSWARM, batch=1, baseline="moving")
    sampler, trials = told(SLOTS, settings, [1.0, 0.0, 0.5])
    gradient, _ = by_hand(SLOTS, settings, [[t] for t in trials], [[1.0], [0.0 - 1.0], [0.5 - 0.9]])
    assert sampler.distribution.logits.grad is not None
    assert torch.allclose(sampler.distribution.logits.grad, gradient, atol=1e-12)


@pytest.mark.parametrize("settings", [replace(Settings(), batch=4), replace(GPTSWARM, baseline="leave_one_out")])
def test_equal_utilities_move_nothing(settings: Settings) -> None:
    sampler, _ = told(SLOTS, settings, [0.5] * settings.batch)
    assert torch.allclose(sampler.distribution.logits.detach(), folded(SLOTS, settings, ()), atol=1e-5)


def test_where_it_starts() -> None:
    assert start(SLOTS, replace(GPTSWARM, absent=None)).count_nonzero() == 0
    probabilities = ReinforceSampler(SLOTS, 5, replace(GPTSWARM, edge=0.3, absent=0.4)).distribution.probabilities()
    assert probabilities["answer.1>2"] == pytest.approx({"no": 0.7, "yes": 0.3})
    others = {model: 0.6 / len(SLOTS.stages[0].models) for model in SLOTS.stages[0].models}
    assert probabilities["answer.2.model"] == pytest.approx({**others, "absent": 0.4})


def test_entropy_is_raised() -> None:
    settings = replace(GPTSWARM, entropy=0.1)
    before = float(ReinforceSampler(SLOTS, 5, settings).distribution.entropy().detach())
    bored, trials = told(SLOTS, settings, [0.0] * 15)
    assert float(bored.distribution.entropy().detach()) > before
    _, logits = by_hand(SLOTS, settings, [trials[i : i + 3] for i in range(0, 15, 3)], [[0.0] * 3] * 5)
    assert torch.allclose(bored.distribution.logits.detach(), logits, atol=1e-9)
    kept = records(driven(ReinforceSampler(SLOTS, 5, GPTSWARM), SLOTS, 36))
    entropies = []
    for weight in (0.0, 0.05, 0.5):
        distribution = ProbabilisticGraph(SLOTS)
        distribution.set_logits(folded(SLOTS, replace(GPTSWARM, entropy=weight), kept))
        entropies.append(float(distribution.entropy().detach()))
    assert entropies == sorted(set(entropies))


def measured(*values: float, **constraints: float) -> FrozenTrial:
    if not values:
        return create_trial(state=TrialState.PRUNED, constraints=constraints)
    return create_trial(values=values, constraints=constraints or None)


KEEN = replace(GPTSWARM, penalty=2.0, weight=0.4)
UTILITIES: list[tuple[FrozenTrial, list[StudyDirection], float]] = [
    (measured(0.7), [UP], 0.7),
    (measured(0.7), [DOWN], -0.7),
    (measured(0.7, 30.0), [UP, DOWN], 0.7 - 0.4 * (30 - 10) / (50 - 10)),
    (measured(0.7, 10.0), [UP, DOWN], 0.7),
    (measured(0.7, 50.0), [UP, UP], 0.7 + 0.4),
    (measured(0.7, 30.0, 0.5), [DOWN, UP, DOWN], -0.7 + 0.4 * 0.5 - 0.4 * 0.75),
    (measured(0.7, flops=0.5, failures=-0.05), [UP], 0.7 - 2.0 * 0.5),
    (measured(0.7, flops=0.5, failures=0.25), [UP], 0.7 - 2.0 * 0.75),
    (measured(0.7, 30.0, flops=-0.5), [UP, DOWN], 0.7 - 0.4 * 0.5),
    (measured(paper=1.5), [UP], -2.0 * 1.5),
    (measured(paper=1.5), [UP, DOWN], -2.0 * 1.5),
]


@pytest.mark.parametrize(("trial", "directions", "utility"), UTILITIES)
def test_utilities(trial: FrozenTrial, directions: list[StudyDirection], utility: float) -> None:
    """The first objective as it is, others as shares of their range so far, and what is over a bound."""
    seen = [measured(0.1, 10.0, 0.2), measured(0.9, 50.0, 0.6), *([trial] if len(trial.values or ()) == 3 else [])]
    found = ReinforceSampler(SLOTS, 0, KEEN)._utility(trial, seen, directions)
    assert found == pytest.approx(utility)


def test_an_objective_that_is_the_same_everywhere_counts_nothing() -> None:
    trial = measured(0.7, 30.0)
    assert ReinforceSampler(SLOTS, 0, KEEN)._utility(trial, [trial, trial], [UP, DOWN]) == 0.7


# What is proposed


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_new_graphs_only(space: SearchSpace) -> None:
    study = study_of(ReinforceSampler(space, 1))
    study.add_trial(foreign(space.point(0), space))
    study.add_trial(foreign({}, space, distributions={}))  # of nobody's space
    keys = [space.build(space.point(0)).key]
    for _ in range(min(40, space.size // 2)):
        asked = study.ask(space.distributions())
        study.tell(asked, worth(asked.params))
        keys.append(space.build(asked.params).key)
    assert len(set(keys)) == len(keys)


def test_when_all_graphs_are_known_it_goes_on_with_them() -> None:
    study = study_of(ReinforceSampler(TINY, 1))
    points = list(TINY.grid())
    study.add_trials([foreign(point, TINY) for point in points])
    for _ in range(3):
        asked = study.ask(TINY.distributions())
        assert asked.params in points
        study.tell(asked, worth(asked.params))


def test_a_settled_distribution_looks_around_and_stays_as_it_is() -> None:
    sampler = ReinforceSampler(TINY, 1)
    study = study_of(sampler)
    first = study.ask(TINY.distributions())
    study.tell(first, 1.0)
    settled = {
        name: {value: float(first.params[name] == value) for value in own.values}
        for name, own in TINY.parameters.items()
    }
    sampler.distribution.set_probabilities(settled)
    before = sampler.distribution.logits.detach().clone()
    with torch.no_grad():
        known = {TINY.build(first.params).key}
        drawn = fresh(sampler.distribution, known, [], torch.Generator().manual_seed(1))
    assert drawn.params != first.params
    assert torch.equal(sampler.distribution.logits.detach(), before)


def test_graphs_that_failed_may_be_proposed_again() -> None:
    study = study_of(ReinforceSampler(TINY, 1))
    points = list(TINY.grid())
    study.add_trials([foreign(point, TINY) for point in points[1:]])
    study.add_trial(create_trial(state=TrialState.FAIL, params=points[0], distributions=TINY.distributions()))
    assert study.ask(TINY.distributions()).params == points[0]


def test_the_order_of_free_slots_is_kept_with_the_trial() -> None:
    sampler = ReinforceSampler(FREE, 1, GPTSWARM)
    study = driven(sampler, FREE, 6)
    for trial in study.trials:
        order = trial.system_attrs[DRAWN]
        assert sorted(order) == [0, 1, 2] and all(type(place) is int for place in order)
        drawn = sampler.distribution.batch([trial.params], [order])
        assert math.isfinite(float(sampler.distribution.log_prob(drawn).detach()))
    assert len({tuple(trial.system_attrs[DRAWN]) for trial in study.trials}) > 1
    assert all(t.system_attrs[DRAWN] == [] for t in driven(ReinforceSampler(SLOTS, 1), SLOTS, 3).trials)


def test_a_budget_that_covers_no_graph_is_refused() -> None:
    prices = {("answer", "small"): 1.0, ("answer", "large"): 3.0}
    with pytest.raises(
        GraphError, match=r"the budget must cover one graph, but it is 0\.5 and the cheapest one costs 1;"
    ):
        ReinforceSampler(SLOTS, 0, None, prices, 0.5)
    within = ReinforceSampler(SLOTS, 0, GPTSWARM, prices, 4.0)
    for trial in driven(within, SLOTS, 12).trials:
        graph = SLOTS.build(trial.params)
        assert sum(prices["answer", node.model] * node.samples for node in graph.nodes if node.model) <= 4.0


# In anybody's study


def objective(trial: optuna.Trial) -> float:
    template = trial.suggest_categorical("answer.template", ("single", "vote"))
    model = trial.suggest_categorical("answer.model", ("small", "large"))
    samples = trial.suggest_int("answer.samples", 2, 3)
    if trial.number == 2:
        raise RuntimeError("a server is down")
    if trial.number == 3:
        raise optuna.TrialPruned
    return (0.6 if model == "large" else 0.2) + (0.1 * samples if template == "vote" else 0.0)


@pytest.mark.parametrize("settings", EVERY.values(), ids=EVERY)
def test_an_objective_function_may_use_it(settings: Settings) -> None:
    study = study_of(ReinforceSampler(TINY, 1, settings))
    study.optimize(objective, n_trials=30, catch=RuntimeError)
    assert study.best_value == pytest.approx(0.9)
    assert study.best_params == {"answer.template": "vote", "answer.model": "large", "answer.samples": 3}
    assert [t.state.name for t in study.trials[:4]] == ["COMPLETE", "COMPLETE", "FAIL", "PRUNED"]


def test_so_may_one_of_two_objectives_with_constraints() -> None:
    def both(trial: optuna.Trial) -> tuple[float, float]:
        params = {name: trial._suggest(name, own) for name, own in SLOTS.distributions().items()}
        graph = SLOTS.build(params)
        trial.set_constraint("calls", graph.calls / 3 - 1)
        return worth(params), float(graph.calls)

    sampler = ReinforceSampler(SLOTS, 1, replace(Settings(), batch=4))
    study = study_of(sampler, UP, DOWN)
    study.optimize(both, n_trials=20)
    assert len(study.trials) == 20 and study.best_trials
    assert bool((sampler.distribution.logits != 0).any())


def test_a_parameter_of_another_space_is_refused() -> None:
    with pytest.raises(LookupError, match="`x` must be a parameter of the space, and it is not; ask with"):
        study_of(ReinforceSampler(TINY, 0)).ask().suggest_int("x", 0, 1)


def test_distributions_of_values_are_those_of_the_space() -> None:
    sampler = ReinforceSampler(SLOTS, 0)
    study = study_of(sampler)
    space = sampler.infer_relative_search_space(study, study.ask()._cached_frozen_trial)
    assert space["answer.1.samples"] == IntDistribution(1, 2)
    assert space["answer.1>final"] == CategoricalDistribution(("no", "yes"))
    assert list(space) == list(SLOTS.parameters)


# What it finds


def landscape(
    space: SearchSpace, n: int, settings: Settings | None = None, seed: int = 1
) -> tuple[optuna.Study, float]:
    """A search for a mix of calls side by side, without a budget."""
    problem = LandscapeProblem(UNITS, SIZES, {"answer": Landscape(1, 4.0, {"small": 0.5, "large": 0.5})})
    study = study_of(ReinforceSampler(space, seed, settings))
    for _ in range(n):
        asked = study.ask(space.distributions())
        study.tell(asked, problem.strength(space.build(asked.params)))
    return study, 1.0


def test_the_best_graph_of_an_easy_landscape_is_found() -> None:
    study, best = landscape(EASY, 120)
    values = [trial.value or 0.0 for trial in study.trials]
    assert study.best_value == max(values) == pytest.approx(best)
    assert study.best_trial.number == values.index(max(values)) < len(values) - 1, "the best measured, not the last"
    early, late = values[:20], values[-20:]
    assert max(late) > sum(early) / 20


def test_it_learns_in_a_space_of_templates() -> None:
    gains = []
    for seed in range(4):
        sampler = ReinforceSampler(SPACE, seed, replace(GPTSWARM, lr=0.3, baseline="leave_one_out"))
        values = [trial.value for trial in driven(sampler, SPACE, 60).trials if trial.value is not None]
        gains.append((sum(values[-12:]) - sum(values[:12])) / 12)
    assert sum(gains) / 4 > 0.03


def test_candidates_come_from_the_distribution_from_the_start_and_from_near_the_best() -> None:
    distribution = ReinforceSampler(EASY, 1).distribution
    best = study_of(ReinforceSampler(EASY, 1)).ask(EASY.distributions()).params
    start = sparse(EASY, Settings())
    measured = [Measured(EASY.build(best), best, 1.0)]
    drawn = candidates(distribution, measured, torch.Generator().manual_seed(3), 300, start)
    alike = [sum(own.params[name] == best[name] for name in best) / len(best) for own in drawn]
    assert len(drawn) == 300
    assert sum(alike[200:]) / 100 > sum(alike[:200]) / 200 + 0.2
    assert distribution.probabilities() == ReinforceSampler(EASY, 1).distribution.probabilities()


@pytest.mark.parametrize("told", [FEWEST_TOLD - 1, FEWEST_TOLD])
def test_once_enough_is_known_the_most_promising_candidate_is_proposed(
    told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def last(graphs: Sequence[object], measured: Sequence[object], utilities: Sequence[float]) -> Tensor:
        asked.append(len(graphs))
        assert len(measured) == len(utilities) == told
        return torch.arange(len(graphs))

    monkeypatch.setattr("apportion.search.reinforce.drawing.promise", last)
    sampler = ReinforceSampler(EASY, 1)
    study = study_of(sampler)
    for _ in range(told):
        trial = study.ask(EASY.distributions())
        study.tell(trial, worth(trial.params))
    study.ask(EASY.distributions())
    assert len(asked) == (told >= FEWEST_TOLD)
    assert all(graphs > 1 for graphs in asked)
