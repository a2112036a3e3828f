"""Agent-REINFORCE in an Optuna study: what it proposes is a function of the trials, and moves to what is better."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import optuna
import pytest
import torch
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from apportion.agent.question import Agent
from apportion.agent.reinforce.brief import Brief
from apportion.agent.reinforce.learner import Learner, Learnt
from apportion.agent.reinforce.rounds import ASKED, PROPOSAL
from apportion.agent.reinforce.sampler import AgentReinforceSampler
from apportion.agent.reinforce.scripted import ScriptedAgent
from apportion.agent.reinforce.settings import WAYS, Settings, Update
from apportion.errors import StoreError
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.search.reinforce.policy import one_thread
from tests.agent.reinforce.kit import Measures, terms
from tests.agent.reinforce.searching import (
    DOWN,
    FEW,
    SPACE,
    SPACES,
    UP,
    Asker,
    Rows,
    Silent,
    asked,
    logits,
    made,
    proposal,
    rebuilt,
    record,
    records,
    said,
    studied,
    worth,
)


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with one_thread():
        yield


# A function of the trials

WAYS_OF: dict[str, tuple[str, Update, Agent[Brief]]] = {
    "both": ("one", "both", Rows()),
    "text": ("one", "text", Rows()),
    "gradient": ("one", "gradient", Rows()),
    "in turn": ("one", "alternating", Rows()),
    "free order": ("free order", "both", Rows()),
    "two stages": ("two", "both", Rows()),
    "templates beside": ("templates beside", "both", Rows()),
    "no answers": ("one", "both", Silent()),
    "the script": ("one", "both", ScriptedAgent()),
}


@pytest.mark.parametrize(("name", "update", "agent"), WAYS_OF.values(), ids=WAYS_OF)
def test_a_study_that_is_rebuilt_at_any_trial_goes_on_alike(name: str, update: Update, agent: Agent[Brief]) -> None:
    """With a new sampler each time: the same graph for the same reason, after the same questions."""
    space, n = SPACES[name], 10
    whole, questions = Asker(agent), list[list[tuple[str, str]]]()
    sampler, study = made(space, whole, update=update), optuna.create_study(direction="maximize")
    for _ in range(n):
        before = len(whole.asked)
        studied(sampler, space, 1, study, trouble=True)
        questions.append(whole.asked[before:])
    kept = records(study)
    assert sum(map(len, questions)) >= {"gradient": 1, "alternating": 2}.get(update, 4)
    for k in range(n):
        again = Asker(agent)
        one_more = rebuilt(kept[:k], made(space, again, update=update))
        trial = one_more.ask(space.distributions())
        found = record(one_more.get_trials()[k], state=TrialState.COMPLETE, values=[0.0])
        assert (found.params, said(found)) == (kept[k].params, said(kept[k])), k
        assert again.asked == questions[k], k
        assert trial.number == k


def test_what_was_swept_is_not_swept_again() -> None:
    study = optuna.create_study(direction="maximize")
    seen = []
    for _ in range(5):
        probe = Measures(lambda graph, example: 0.5, 9)
        own = Settings(batch=2, numeric=FEW)
        studied(AgentReinforceSampler(SPACE, Rows(), terms(SPACE, 14.0), 3, own, probe), SPACE, 1, study)
        seen.append(len(probe.seen))
    assert seen[0] > 0 and seen[1:] == [0] * 4
    assert asked(study.trials[0]).swept and not asked(study.trials[2]).swept


def test_the_same_trials_give_the_same_distribution_however_they_came() -> None:
    sampler = made(SPACE, Rows())
    study = studied(sampler, SPACE, 11, trouble=True)
    kept = records(study)
    sampler.fold(study)
    for by in (1, 4, 11):
        other, again = made(SPACE, Silent()), rebuilt([])
        for start in range(0, len(kept), by):
            again.add_trials(kept[start : start + by])
            other.fold(again)
        assert torch.equal(logits(other), logits(sampler)) and other.weight == sampler.weight


def test_a_sampler_may_serve_one_study_after_another() -> None:
    sampler = made(SPACE, Rows())
    studied(sampler, SPACE, 7)
    second = studied(sampler, SPACE, 7)
    assert [t.params for t in second.trials] == [t.params for t in studied(made(SPACE, Rows()), SPACE, 7).trials]


def test_batches_begin_with_the_agents_graph_and_go_on_with_draws() -> None:
    agent = Asker(Rows())
    study = studied(made(SPACE, agent), SPACE, 9)
    assert [proposal(trial).source for trial in study.trials] == [
        "pretest",
        *["drawn"] * 2,
        *["agent", "drawn", "drawn"] * 2,
    ]
    assert [proposal(trial).round for trial in study.trials] == [0] * 3 + [1] * 3 + [2] * 3
    assert [purpose for purpose, _ in agent.asked] == ["mix", "update", "update"]
    assert [ASKED in trial.system_attrs for trial in study.trials] == [True, False, False] * 3
    assert proposal(study.trials[3]).expected == pytest.approx(0.51)
    assert len({SPACE.build(trial.params).key for trial in study.trials}) == 9, "new graphs only"
    assert asked(study.trials[0]).pretested and asked(study.trials[0]).mix


@pytest.mark.parametrize(
    ("update", "rounds"), [("both", [1, 2, 3]), ("text", [1, 2, 3]), ("gradient", []), ("alternating", [2])]
)
def test_who_is_asked_when(update: Update, rounds: list[int]) -> None:
    agent = Asker(Rows())
    study = studied(made(SPACE, agent, update=update), SPACE, 10)
    assert [purpose for purpose, _ in agent.asked if purpose != "repair"] == ["mix", *["update"] * len(rounds)]
    assert [n for n in (1, 2, 3) if asked(study.trials[3 * n]).questions] == rounds


@pytest.mark.parametrize("way", WAYS)
def test_published_ways_run(way: str) -> None:
    agent = Asker(Rows())
    own = replace(WAYS[way], numeric=FEW, batch=2)
    study = studied(AgentReinforceSampler(SPACE, agent, terms(SPACE, 14.0), 3, own), SPACE, 6)
    assert ("mix" in {purpose for purpose, _ in agent.asked}) == (way == "agent_reinforce")
    assert all("Insight 1." not in words for _, words in agent.asked) == (way != "agent_reinforce")
    assert len({SPACE.build(trial.params).key for trial in study.trials}) == 6


# Trials of others


def others() -> list[FrozenTrial]:
    """Trials that it did not propose."""
    distributions, point = SPACE.distributions(), SPACE.parse({"solve.1.model": "large", "solve.1>final": "yes",
                                                               "solve.final.role": "decider",
                                                               "solve.final.model": "large"})  # fmt: skip
    return [
        create_trial(params=point, distributions=distributions, value=0.9),
        create_trial(params={}, distributions={}, value=1.0),
        create_trial(state=TrialState.FAIL, params=point, distributions=distributions),
        create_trial(state=TrialState.FAIL),
        create_trial(state=TrialState.PRUNED, params=point, distributions=distributions),
        create_trial(state=TrialState.RUNNING, params=point, distributions=distributions),
        create_trial(state=TrialState.RUNNING),
    ]


def test_trials_of_others_move_nothing_and_are_remembered() -> None:
    sampler = made(SPACE, Rows())
    study = studied(sampler, SPACE, 10)
    sampler.fold(study)
    kept = records(study)
    among = [trial for own in kept for trial in (own, *others())]
    agent = Asker(Rows())
    other = made(SPACE, agent)
    again = rebuilt(among, other)
    other.fold(again)
    assert torch.equal(logits(other), logits(sampler)) and other.weight == sampler.weight
    for _ in range(3):
        again.tell(again.ask(SPACE.distributions()), 0.3)
    assert [proposal(trial).round for trial in again.trials[-3:]] == [3, 3, 4], "after whole batches of its own"
    assert agent.asked[0][0] == "update" and [purpose for purpose, _ in agent.asked].count("update") == 1
    assert "large" in agent.asked[0][1] and "0.9 |" in agent.asked[0][1], "the agent is shown what others measured"
    assert SPACE.build(others()[0].params).key not in {SPACE.build(t.params).key for t in again.trials[-3:]}


def test_failed_trials_fill_their_batch_and_move_nothing() -> None:
    sampler = made(SPACE, Rows(), update="gradient")
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(4):
        study.tell(study.ask(SPACE.distributions()), state=TrialState.FAIL)
    start = made(SPACE, Rows(), update="gradient")
    first = optuna.create_study(direction="maximize", sampler=start)
    first.ask(SPACE.distributions())
    sampler.fold(study)
    assert [proposal(trial).round for trial in study.trials] == [0, 0, 0, 1]
    assert torch.equal(logits(sampler), logits(start))


def test_refused_trials_are_learnt_from_by_what_they_are_over_and_failed_ones_are_not() -> None:
    sampler = made(SPACE, Silent(), terms(SPACE, None), update="gradient", mix="none", batch=4)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.tell(study.ask(SPACE.distributions()), 0.9)
    study.tell(study.ask(SPACE.distributions()), state=TrialState.FAIL)
    over = study.ask(SPACE.distributions())
    over.set_constraint("paper", 0.5)
    study.tell(over, state=TrialState.PRUNED)
    study.tell(study.ask(SPACE.distributions()), 0.2)
    params = [trial.params for trial in study.trials]
    study.ask(SPACE.distributions())
    alone = Learner(ProbabilisticGraph(SPACE), Settings(update="gradient", numeric=FEW))
    alone.learn([Learnt(params[0], (), 0.9), Learnt(params[2], (), -0.5), Learnt(params[3], (), 0.2)], None)
    assert torch.equal(logits(sampler), alone.distribution.logits)


def test_trials_may_run_side_by_side_and_end_out_of_order() -> None:
    sampler = made(SPACE, Rows())
    study = optuna.create_study(direction="maximize", sampler=sampler)
    running = [study.ask(SPACE.distributions()) for _ in range(8)]
    assert [proposal(trial).round for trial in study.trials] == [0, 0, 0, 1, 1, 1, 2, 2]
    for trial in reversed(running):
        study.tell(trial, worth(trial.params))
        sampler.fold(study)
    other, again = made(SPACE, Silent()), rebuilt(records(study))
    other.fold(again)
    assert torch.equal(logits(other), logits(sampler))


def test_what_was_not_asked_for_in_full_does_no_harm() -> None:
    sampler = made(SPACE, Rows())
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({"solve.1>final": "no", "solve.2>final": "no", "solve.3>final": "no", "solve.4>final": "no"})
    study.enqueue_trial(dict(SPACE.params(SPACE.build(SPACE.parse({
        "solve.1.model": "large", "solve.1>final": "yes", "solve.final.role": "decider", "solve.final.model": "small"
    })))))  # fmt: skip
    for _ in range(8):
        study.tell(study.ask(SPACE.distributions()), 0.5)
    assert bool(logits(sampler).isfinite().all())


def test_a_damaged_store_is_refused() -> None:
    kept = records(studied(made(SPACE, Rows()), SPACE, 4))
    for attrs in ({PROPOSAL: {"round": 0}}, {PROPOSAL: "drawn"}, {PROPOSAL: kept[1].system_attrs[PROPOSAL]}):
        study = rebuilt([record(kept[0], system_attrs=attrs), *kept[1:]], made(SPACE, Rows()))
        with pytest.raises(StoreError, match="bring the run's store back from a copy"):
            study.ask(SPACE.distributions())


# Objectives


@pytest.mark.parametrize("directions", [[UP], [DOWN], [UP, DOWN], [DOWN, UP], [DOWN, DOWN, UP]])
def test_the_distribution_moves_towards_what_is_better(directions: list[StudyDirection]) -> None:
    """What is good has the first slot large; the others objectives do not vary."""
    for update in ("gradient", "both"):
        sampler = made(SPACE, Silent(), terms(SPACE, None), update=update, mix="none")
        study = optuna.create_study(directions=directions, sampler=sampler)
        for _ in range(19):
            trial = study.ask(SPACE.distributions())
            good = float(trial.params["solve.1.model"] == "large")
            study.tell(trial, [good if directions[0] == UP else -good, *[3.0] * (len(directions) - 1)])
        assert sampler.distribution.probabilities()["solve.1.model"]["large"] > 0.8


def test_a_cheaper_graph_is_better_where_accuracy_is_the_same() -> None:
    sampler = made(SPACE, Silent(), terms(SPACE, None), mix="none")
    study = optuna.create_study(directions=[UP, DOWN], sampler=sampler)
    for _ in range(19):
        trial = study.ask(SPACE.distributions())
        study.tell(trial, [0.5, 9.0 if trial.params["solve.1.model"] == "large" else 1.0])
    assert sampler.distribution.probabilities()["solve.1.model"]["small"] > 0.8
