"""Batches are read from trials in the order of the run, whatever the order in which these were told."""

from __future__ import annotations

import random
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from apportion.agent.reinforce.history import Asked, Proposal
from apportion.agent.reinforce.rounds import ASKED, PROPOSAL, history, rounds_of
from apportion.agent.reinforce.sampler import AgentReinforceSampler
from apportion.errors import StoreError
from apportion.graphs.notation import from_lines
from apportion.search.engine import NUMBER
from apportion.search.reinforce.settings import Settings
from tests.agent.reinforce.kit import Told, cost, one, terms, wide

SPACE = one()
UP, DOWN = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE


def trial(number: int, round_: int, *, first: bool = False, failed: bool = False) -> FrozenTrial:
    kept: dict[str, Any] = {PROPOSAL: Proposal(round_, "drawn").to_dict()}
    if first:
        kept[ASKED] = Asked({"solve": {"small": round_ + 1}}).to_dict()
    return create_trial(
        state=TrialState.FAIL if failed else TrialState.COMPLETE,
        values=None if failed else [number / 10, 1.0],
        params=from_lines(SPACE, wide(SPACE, 1 + number % 3)),
        distributions=SPACE.distributions(),
        system_attrs=kept,
        user_attrs={NUMBER: number},
    )


TRIALS = [
    trial(4, 0, first=True, failed=True),
    trial(5, 0),
    trial(6, 1, first=True),
    trial(7, 1),
    trial(8, 2, first=True),
]


@pytest.mark.parametrize("seed", range(4))
def test_a_trial_that_was_measured_anew_and_told_last_stands_where_it_stood(seed: int) -> None:
    told = random.Random(seed).sample(TRIALS, len(TRIALS))
    found = rounds_of(told)
    assert [[own.user_attrs[NUMBER] for own in batch] for batch in found.batches] == [[4, 5], [6, 7], [8]]
    assert [asked.mix["solve"]["small"] for asked in found.asked] == [1, 2, 3]
    known = history(found, SPACE, [UP, DOWN], Settings(), cost, ["accuracy", "usd"])
    assert [own.number for own in known.tried] == [4, 5, 6, 7, 8] and known.tried[0].utility is None
    assert known.objectives == ["accuracy (higher is better)", "usd (lower is better)"]
    assert [own.number for own in known.batch] == [8]


def test_a_batch_whose_beginning_is_gone_is_refused() -> None:
    with pytest.raises(StoreError, match=r"trial 5 does not; bring"):
        rounds_of(TRIALS[1:])


@pytest.mark.parametrize(
    ("edited", "said"),
    [
        (Asked({"solve": {"huge": 3}}), "a mix must be of the space's models"),
        (Asked({"other": {"small": 3}}), "a mix must be of the space's models"),
        (Asked({"solve": {"small": 9}}), "a mix must be of the space's models"),
        (Asked({}, table=(("solve.9.model", (("small", 1.0),)),)), "a table that was given must be of the space"),
        (Asked({}, table=(("solve.1.model", (("huge", 1.0),)),)), "a table that was given must be of the space"),
    ],
)
def test_what_was_edited_to_be_of_another_space_is_refused(edited: Asked, said: str) -> None:
    sampler = AgentReinforceSampler(SPACE, Told(()), terms(SPACE))
    study = optuna.create_study(directions=[UP, DOWN])
    changed = trial(6, 1, first=True)
    changed.system_attrs[ASKED] = edited.to_dict()
    beginning = trial(4, 0, first=True)
    if edited.mix:
        beginning.system_attrs[ASKED] = edited.to_dict()
        changed = trial(6, 1, first=True)
    study.add_trials([beginning, trial(5, 0), changed])
    with pytest.raises(StoreError, match=said):
        sampler.fold(study)


def test_objectives_without_names_and_trials_of_another_space() -> None:
    other = create_trial(params={"x": 1}, distributions={"x": CategoricalDistribution([1])}, values=[0.5, 0.5])
    known = history(rounds_of([other]), SPACE, [DOWN, UP], Settings(), cost)
    assert known.objectives == ["score (lower is better)", "objective 2 (higher is better)"] and not known.tried
