"""Proposals by a genetic algorithm over allocations, the other option that the public code of AgentTTS provides for.

Rank selection, one-point crossover over stages and mutation with the constants of that code (AgentTTS, arXiv
2508.00890); there ranks gave the worst parent the highest probability, here they give it to the best.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace

from apportion.agent.question import Question
from apportion.agent.tts.allocation import Allocation, Allocations, Choice, StageChoices
from apportion.agent.tts.brief import Brief
from apportion.agent.tts.candidates import TRIES, Candidate, Unseen, anywhere, cut, some_way, written

ELITES = 10  # the best trials, of which parents are drawn
CROSSOVER, MUTATION = 0.8, 0.5  # probabilities: of a pair of parents, and of each stage of a child
STEP = 0.1  # of the range of samples; 10 where that is 1 to 100
GUIDELINE = "Cross and mutate the best trials."


class EvolutionAgent:
    """Answers with children of the best trials, and with random allocations where there are none yet."""

    def answer(self, question: Question[Brief]) -> str:
        """Candidates as JSON; the same for the same brief."""
        if question.purpose == "guide":
            return json.dumps({"guidelines": [{"text": GUIDELINE, "insight": None}]})
        brief = question.brief
        rng = random.Random(brief.seed)
        unseen = Unseen(brief.allocations, [tried.allocation for tried in brief.history.tried])
        ranked = sorted(brief.history.measured, key=lambda own: -own[1])[:ELITES]
        elites = [tried.allocation for tried, _ in ranked]
        found: list[Candidate] = []
        for _ in range(TRIES if len(elites) > 1 else 0):
            if len(found) == brief.batch:
                break
            child = unseen.take(cut(brief.allocations, bred(elites, brief.allocations, rng)))
            if child is not None:
                found.append(Candidate(child))
        for drawn in anywhere(brief.allocations, rng):
            if len(found) >= brief.batch:
                break
            fresh = unseen.take(drawn)
            if fresh is not None:
                found.append(Candidate(fresh))
        return written(found, brief)


def bred(elites: Sequence[Allocation], space: Allocations, rng: random.Random) -> Allocation:
    """A child of two of the elites.

    Args:
        elites: two or more, the best first.
    """
    first, second = parents(len(elites), rng)
    return mutated(crossed(elites[first], elites[second], rng), space, rng)


def parents(count: int, rng: random.Random) -> tuple[int, int]:
    """Two different places of a ranking, the first of which is the likeliest: n, n - 1, ... of n (n + 1) / 2."""
    places = list(range(count))
    (first,) = rng.choices(places, weights=range(count, 0, -1))
    places.remove(first)
    (second,) = rng.choices(places, weights=[count - place for place in places])
    return first, second


def crossed(first: Allocation, second: Allocation, rng: random.Random) -> Allocation:
    """The first stages of one and the last ones of another, or the first parent as it is."""
    stages = list(first)
    if len(stages) == 1 or rng.random() >= CROSSOVER:
        return first
    point = rng.randrange(1, len(stages))
    return {stage: (first if place < point else second)[stage] for place, stage in enumerate(stages)}


def mutated(allocation: Allocation, space: Allocations, rng: random.Random) -> Allocation:
    """With another model, and a step more or fewer samples, at some stages."""
    return {
        stage.name: _mutated(allocation[stage.name], stage, rng) if rng.random() < MUTATION else allocation[stage.name]
        for stage in space.stages
    }


def _mutated(choice: Choice, stage: StageChoices, rng: random.Random) -> Choice:
    step = max(1, round(STEP * (stage.most - stage.least)))
    samples = choice.samples + rng.choice((-step, 0, step))
    samples = min(max(samples, stage.least), stage.most)
    return replace(choice, model=rng.choice(stage.models), samples=samples, how=some_way(stage, rng))
