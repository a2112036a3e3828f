"""Ask and tell: what is proposed depends on the records alone, not on how often the run was interrupted."""

from __future__ import annotations

import json
from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from apportion.graphs.space import SearchSpace
from apportion.search.engine import NUMBER, Engine, directions, frozen
from apportion.search.objectives import Objective
from apportion.search.samplers import MADE_ONCE, SAMPLERS
from apportion.search.trial import Trial
from apportion.statistics import Interval
from apportion.testing.synthetic import SyntheticProblem
from tests.search.kit import ACCURACY, FLOPS, MODELS, SIZES, SPACE

ONE, TWO = (ACCURACY,), (ACCURACY, FLOPS)
PROBLEM = SyntheticProblem(MODELS, SIZES)
TRIALS = 22


def engine(sampler: str, objectives: tuple[Objective, ...] = TWO, seed: int = 7, space: SearchSpace = SPACE) -> Engine:
    return Engine(space, sampler, objectives, seed, TRIALS)


def judged(asked: Trial) -> Trial:
    """Measured by the formula; every seventh fails, every fifth is over a budget."""
    if asked.number % 7 == 6:
        return replace(asked, state="failed", reason="no reply")
    means = {"accuracy": PROBLEM.strength(asked.graph), **PROBLEM.costs(asked.graph)}
    over = 0.5 if asked.number % 5 == 4 else -0.5
    metrics = {name: Interval(mean, mean, mean, 20) for name, mean in means.items()}
    state = "infeasible" if over > 0 else "complete"
    return replace(asked, state=state, metrics=metrics, violations={"usd": over, "failures": -0.05})  # type: ignore[arg-type]


def baselines() -> list[Trial]:
    """One of the space and one from outside of it."""
    graph, params = SPACE.uniform("large", "vote")
    inside = Trial(0, "majority vote of large", baseline=True, graph=graph, params=params)
    return [judged(inside), judged(replace(inside, number=1, params=None))]


def search(engine: Engine, told: list[Trial], until: int = TRIALS) -> list[Trial]:
    """Ask, measure and tell; the records as they come back from a log."""
    told = list(told)
    for number in range(len(told), until):
        params, _, memory = engine.ask(number)
        asked = Trial(number, "it", False, SPACE.build(params), params, memory=memory)
        done = judged(asked)
        engine.tell(done)
        told.append(Trial.from_dict(json.loads(json.dumps(done.to_dict()))))
    return told


def begun(engine: Engine) -> list[Trial]:
    told = baselines()
    for done in told:
        engine.tell(done)
    return told


@pytest.mark.parametrize("objectives", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("sampler", [*SAMPLERS, *MADE_ONCE])
def test_a_rebuilt_engine_goes_on_as_if_nothing_had_happened(sampler: str, objectives: tuple[Objective, ...]) -> None:
    first = engine(sampler, objectives)
    told = search(first, begun(first))
    for k in range(TRIALS):
        again = engine(sampler, objectives)
        again.add(told[:k])
        if k > 1:
            params, _, memory = again.ask(k)
            assert (params, memory) == (told[k].params, told[k].memory), k
    for k in (2, 9, 16):
        again = engine(sampler, objectives)
        again.add(told[:k])
        assert search(again, told[:k]) == told


@pytest.mark.parametrize("sampler", [*SAMPLERS, *MADE_ONCE])
def test_the_seed_alone_decides(sampler: str) -> None:
    def proposed(seed: int) -> list[object]:
        made = engine(sampler, seed=seed)
        return [t.params for t in search(made, begun(made), 12)]

    assert proposed(1) == proposed(1)
    assert proposed(1) != proposed(2)


@pytest.mark.parametrize("sampler", [*SAMPLERS, *MADE_ONCE])
def test_what_is_asked_is_of_the_space(sampler: str) -> None:
    made = engine(sampler, seed=3)
    for done in search(made, begun(made)):
        if done.params is not None:
            SPACE.check(done.params)  # types count: no bool, no float
            assert json.loads(json.dumps(done.memory)) == done.memory


def test_a_sampler_learns() -> None:
    """After the start TPE proposes stronger graphs than chance does."""
    means = {}
    for sampler in ("random", "tpe"):
        strengths = []
        for seed in range(3):
            made = engine(sampler, ONE, seed)
            strengths += [PROBLEM.strength(t.graph) for t in search(made, begun(made))[-10:]]
        means[sampler] = sum(strengths) / len(strengths)
    assert means["tpe"] > means["random"] + 0.05


def test_a_failed_trial_is_no_value() -> None:
    record = frozen(replace(baselines()[0], state="failed", metrics={}), SPACE, TWO)
    assert (record.state, record.values) == (TrialState.FAIL, None)


def test_a_told_trial_as_a_record() -> None:
    graph, params = SPACE.uniform("small", "vote")
    done = judged(Trial(3, "tpe", False, graph, params, memory={"note": 1}))
    record = frozen(done, SPACE, TWO)
    assert record.state == TrialState.COMPLETE and record.params == params
    assert record.values == [done.mean("accuracy"), done.mean("flops")]
    assert record.constraints == done.violations
    assert record.system_attrs["note"] == 1 and record.user_attrs["graph"] == graph.key
    optuna.create_study(directions=directions(TWO)).add_trial(record)


def test_a_metric_may_have_any_name_and_a_record_keeps_the_number_of_its_trial() -> None:
    graph, params = SPACE.uniform("small", "vote")
    done = judged(Trial(3, "tpe", False, graph, params))
    named = replace(done, metrics={**done.metrics, NUMBER: done.metrics["accuracy"]})
    assert frozen(named, SPACE, TWO).user_attrs[NUMBER] == 3


def test_a_baseline_from_outside_the_space_has_no_parameters() -> None:
    record = frozen(baselines()[1], SPACE, TWO)
    assert record.params == {} and record.values is not None


def test_the_order_of_directions() -> None:
    assert [d.name for d in directions(TWO)] == ["MAXIMIZE", "MINIMIZE"]
