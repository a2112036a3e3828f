"""AgentTTS in an Optuna study: what it asks for, in which order, what it remembers, and that it goes on alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import optuna
import pytest
from optuna.trial import TrialState

from apportion.agent.nudge import Nudge
from apportion.agent.question import Agent, Question
from apportion.agent.tts.allocation import Allocation, affordable
from apportion.agent.tts.brief import Brief
from apportion.agent.tts.history import Proposal
from apportion.agent.tts.sampler import MEMORY, AgentTTSSampler, history
from apportion.agent.tts.settings import Settings
from apportion.errors import AgentError, GraphError
from tests.agent.tts.kit import Told, two_wiki

GUIDES = json.dumps({"guidelines": [{"text": "Few samples of 3b answer well.", "insight": 2}]})
SPACE = two_wiki()
INITIAL = 5


def candidates(*samples: int, guideline: int | None = 1, model: str = "3b") -> str:
    stages = [{"retrieve": {"model": "72b", "samples": 1}, "answer": {"model": model, "samples": n}} for n in samples]
    return json.dumps({"candidates": [{"stages": own, "guideline": guideline, "expected": 0.6} for own in stages]})


def score(allocation: Allocation) -> float:
    return 0.5 + allocation["answer"].samples / 1000


def studied(sampler: AgentTTSSampler, trials: int, study: optuna.Study | None = None) -> optuna.Study:
    study = study or optuna.create_study(direction="maximize")
    study.sampler = sampler
    for _ in range(trials):
        trial = study.ask(SPACE.distributions())
        study.tell(trial, score(SPACE.allocation(trial.params)))
    return study


def samples(study: optuna.Study) -> list[int]:
    return [trial.params["answer.samples"] for trial in study.trials]


def proposal(study: optuna.Study, number: int) -> Proposal:
    return Proposal.from_dict(study.trials[number].system_attrs[MEMORY]["proposal"])


def of(agent: Agent[Brief], nudges: Sequence[Nudge] = (), **settings: Any) -> AgentTTSSampler:
    return AgentTTSSampler(SPACE, agent, 0, Settings(**{"batch": 3, **settings}), nudges)


def test_the_initial_trials_come_first_and_then_what_the_agent_proposes() -> None:
    agent = Told([GUIDES, candidates(10, 20, 30), GUIDES, candidates(40)])
    study = studied(of(agent), INITIAL + 4)
    assert samples(study)[INITIAL:] == [10, 20, 30, 40]
    assert [question.purpose for question in agent.questions] == ["guide", "propose"] * 2
    origin = proposal(study, INITIAL).origin
    assert (origin.round, origin.source, origin.insight, origin.expected) == (1, "agent", 2, 0.6)
    assert origin.guideline == "Few samples of 3b answer well."
    assert proposal(study, 0).origin.source == "initial"


def test_later_rounds_are_not_told_the_first_insight() -> None:
    agent = Told([GUIDES, candidates(10), GUIDES, candidates(40)])
    studied(of(agent), INITIAL + 2)
    first, later = agent.questions[0].messages[-1].content, agent.questions[2].messages[-1].content
    assert all(f"Insight {n}." in first for n in (1, 2, 3))
    assert "Insight 1." not in later and "Insight 2." in later and "Insight 3." in later
    assert "\n5 | 72b x 1 | 3b x 10 | 0.51 | 826\n" in later


def test_without_the_first_insight_a_search_begins_at_random() -> None:
    agent = Told([GUIDES, candidates(10)])
    study = studied(of(agent, insights=(2, 3)), 2)
    assert proposal(study, 0).origin.source == "fallback" and samples(study)[1] == 10
    assert "Insight 1." not in agent.questions[0].messages[-1].content


def test_who_knows_other_studies_is_asked_at_once() -> None:
    agent = Told([candidates(10, 20, 30, guideline=None)])
    study = studied(of(agent, insights=(), guidelines=False, knowledge="3b answered best."), 3)
    assert samples(study) == [10, 20, 30] and proposal(study, 0).origin.round == 1
    assert "3b answered best." in agent.questions[0].messages[-1].content


def test_a_study_that_goes_on_goes_on_alike_and_asks_nothing_again() -> None:
    answers = [GUIDES, candidates(10, 20, 30), GUIDES, candidates(40, 50, 60)]
    whole = studied(of(Told(answers)), INITIAL + 6)
    for cut in range(1, INITIAL + 6):
        before = Told(answers)
        study = studied(of(before), cut)
        study = studied(of(Told(answers[len(before.questions) :])), INITIAL + 6 - cut, study)
        assert samples(study) == samples(whole)


def test_what_cannot_be_used_is_told_back_once() -> None:
    agent = Told([GUIDES, candidates(10, 90, model="70b"), candidates(11, 12)])
    study = studied(of(agent), INITIAL + 2)
    assert [question.purpose for question in agent.questions] == ["guide", "propose", "repair"]
    assert "candidate 1: an answer may cost 1000 units at most" in agent.questions[2].messages[-1].content
    assert agent.questions[2].messages[-2].content == agent.answers[1]
    assert samples(study)[INITIAL:] == [11, 12] and proposal(study, INITIAL).origin.source == "repaired"


@pytest.mark.parametrize("answers", [[], ["", ""], [GUIDES, "no", "no"], [GUIDES, candidates(10**9), "{}"]])
def test_where_nothing_can_be_used_chance_fills_in(answers: list[str]) -> None:
    study = studied(of(Told(answers)), INITIAL + 3)
    for number in range(INITIAL, INITIAL + 3):
        own = proposal(study, number)
        assert own.origin.source == "fallback" and affordable(SPACE, own.allocation)
    assert study.trials[INITIAL].system_attrs[MEMORY]["round"]["refused"]


def test_or_the_search_ends_where_that_is_asked_for() -> None:
    with pytest.raises(AgentError, match="must propose what can be tried"):
        studied(of(Told([GUIDES, "no", "no"]), fail_closed=True), INITIAL + 1)


def test_no_history_and_no_guidelines_where_neither_is_asked_for() -> None:
    agent = Told([candidates(10), candidates(20)])
    studied(of(agent, insights=(), guidelines=False, memory="none"), 3)
    assert [question.purpose for question in agent.questions] == ["propose", "propose"]
    assert "scored" not in agent.questions[1].messages[-1].content


def test_pins_and_notes_hold_from_where_they_were_said() -> None:
    answers = [GUIDES, candidates(10, 20, 30), GUIDES, candidates(40, 41, model="8b"), candidates(42, model="8b")]
    agent = Told(answers)
    nudge = Nudge(INITIAL + 1, {"answer.model": "3b"}, ("Mind the cost.",))
    study = studied(of(agent, [nudge]), INITIAL + 2)
    assert samples(study)[INITIAL] == 10, "before it was said"
    assert "Note by the person in charge: Mind the cost." in agent.questions[2].messages[-1].content
    assert "the model of 'answer' must be one of 3b" in agent.questions[4].messages[-1].content
    assert study.trials[-1].params["answer.model"] == "3b", "what is proposed against it is not tried"


def test_exploring_is_advised_when_scores_have_stopped_to_rise() -> None:
    worse = [GUIDES, candidates(1), GUIDES, candidates(2), GUIDES, candidates(3)]
    agent = Told(worse)
    studied(of(agent), INITIAL + 3)
    assert [question.brief.stalled for question in agent.questions[::2]] == [False, False, True]
    assert "leave the beaten track" in agent.questions[4].messages[-1].content


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_history_says_what_is_better_as_a_larger_score(direction: Literal["maximize", "minimize"]) -> None:
    study = optuna.create_study(direction=direction)
    for value in (0.2, 0.4):
        study.tell(study.ask(SPACE.distributions()), value)
    study.tell(study.ask(SPACE.distributions()), state=TrialState.FAIL)
    study.ask(SPACE.distributions())
    past = history(study.trials, SPACE, study.direction)
    assert [tried.score for tried in past.tried] == (
        [0.2, 0.4, None] if direction == "maximize" else [-0.2, -0.4, None]
    )
    assert past.best is past.tried[1 if direction == "maximize" else 0]


def test_a_trial_enqueued_by_the_user_is_history_too() -> None:
    class Seen:
        def answer(self, question: Question[Brief]) -> str:
            return candidates(len(question.brief.history.tried))

    study = optuna.create_study(direction="maximize", sampler=of(Seen(), insights=(), guidelines=False, batch=1))
    study.enqueue_trial(SPACE.params(SPACE.allocation({"retrieve.model": "7b", "retrieve.samples": 1,
                                                       "answer.model": "3b", "answer.samples": 99})))  # fmt: skip
    studied(of(Seen(), insights=(), guidelines=False, batch=1), 3, study)
    assert samples(study)[0] == 99 and samples(study)[2] == 2


def test_an_agent_that_gives_no_answer_is_not_asked_to_mend_it() -> None:
    agent = Told([GUIDES])
    studied(of(agent), INITIAL + 1)
    assert [question.purpose for question in agent.questions] == ["guide", "propose"]
    with pytest.raises(AgentError, match="said nothing more"):
        studied(of(Told([GUIDES]), fail_closed=True), INITIAL + 1)


def test_where_nothing_new_is_left_the_search_ends() -> None:
    only: dict[str, str | int] = {
        "answer.model": "3b",
        "answer.samples": 3,
        "retrieve.model": "7b",
        "retrieve.samples": 1,
    }
    nudge = Nudge(0, only)
    agent = Told(["no"] * 9)
    study = studied(of(agent, [nudge]), 1)
    with pytest.raises(GraphError, match="nothing that was not tried"):
        studied(of(agent, [nudge]), 1, study)
    assert len(agent.questions) == 3
