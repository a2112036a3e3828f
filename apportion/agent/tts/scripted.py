"""An agent without a model, which follows the insights of AgentTTS (arXiv 2508.00890) to the letter, or chance.

It stands in for a language model where the method is to be measured without one. It reads the brief of a question and
answers in the same JSON; of the task it knows no more than what was tried.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, islice

from apportion.agent.question import Question
from apportion.agent.tts.allocation import Allocation, Choice, StageChoices, shown
from apportion.agent.tts.brief import Brief
from apportion.agent.tts.candidates import Candidate, Unseen, anywhere, cut, some_samples, some_way, written
from apportion.agent.tts.evolution import bred
from apportion.agent.tts.findings import at_equal_cost, curves, favoured, slack
from apportion.errors import GraphError

GROWTH = 1.5  # factor between numbers of samples that are tried one after the other
AHEAD = 2  # of such numbers that are tried at once
BASES = 3  # of the best trials, from which a batch goes on
MUTATION = 0.5  # probability that chance changes a stage, as in the public code of AgentTTS
ELITES = 10  # of the best trials, which are crossed when scores have stalled
DRAWN = 40  # random changes of an allocation, of which a batch takes what is new


@dataclass(frozen=True)
class ScriptedAgent:
    """Answers by rule; the same for the same brief.

    1. For every stage the model that did best at equal compute is kept, a large one only if it is clearly better.
    2. Samples are climbed while they help, and settled at the peak or at the beginning of the plateau.
    3. Two stages are moved in opposite directions.

    An insight that it is not told is replaced by chance: models, samples, or which stages move and where.

    Attributes:
        memory: whether it looks at what was tried.
        known: allocations that another study found best, from which it begins.
    """

    memory: bool = True
    known: tuple[Allocation, ...] = ()

    def answer(self, question: Question[Brief]) -> str:
        """Guidelines or candidates as JSON."""
        brief = question.brief
        if not self.memory:
            brief = replace(brief, history=replace(brief.history, tried=()))
        thought = _Thought(brief, self.known)
        if question.purpose == "guide":
            said = [{"text": text, "insight": insight} for text, insight in thought.guidelines()]
            return json.dumps({"guidelines": said})
        return written(thought.candidates(random.Random(f"{brief.seed} {question.purpose}")), question.brief)


class _Thought:
    """What follows from a brief."""

    def __init__(self, brief: Brief, known: Sequence[Allocation]) -> None:
        self._brief, self._space, self._history, self._known = brief, brief.allocations, brief.history, known
        earlier = {insight for round_ in self._history.rounds for _, insight in round_.guidelines}
        self._told = {*brief.insights, *(earlier & {1})}  # models are compared once, in the first round
        self._margin = slack(self._history)
        self._models = self._preferred() if 1 in self._told else {}

    def guidelines(self) -> list[tuple[str, int | None]]:
        """One for each insight, and one to explore where scores have stalled or nothing is told."""
        base = self._bases()[:1]
        start = f" from {shown(base[0])}" if base else ""
        said: list[tuple[str, int | None]] = []
        if 1 in self._brief.insights and self._models:
            named = ", ".join(f"{stage} {model}" for stage, model in self._models.items())
            said.append((f"Keep what did best at equal cost, a large model only where clearly better: {named}.", 1))
        if 2 in self._told:
            said.append((f"Take more samples of one stage{start} while that helps, and stop at the peak.", 2))
        if 3 in self._told:
            said.append((f"Move two stages against each other{start}: one up, the other down.", 3))
        if self._brief.stalled or not said:
            said.append(("Explore: cross and mutate the best, and draw at random.", None))
        return said

    def candidates(self, rng: random.Random) -> list[Candidate]:
        """A batch, or fewer where no more is new."""
        unseen = Unseen(self._space, [tried.allocation for tried in self._history.tried])
        found: list[Candidate] = []

        def take(ideas: Iterator[tuple[Allocation, int | None]], most: int) -> None:
            for allocation, insight in ideas:
                if len(found) >= most:
                    return
                fitted = unseen.take(cut(self._space, allocation))
                if fitted is not None:
                    found.append(Candidate(fitted, insight, self._expected(fitted)))

        batch = self._brief.batch
        take(((own, None) for own in self._known), batch)
        if self._brief.stalled:
            take(self._explored(rng), batch // 2)
        for base in self._bases():
            ways = [self._composed(base), self._climbed(base, rng), self._traded(base, rng), self._swapped(base, rng)]
            take(_in_turn(ways), batch)
        take(self._explored(rng), batch)
        return found

    def _bases(self) -> list[Allocation]:
        """Where to go on from: the best trials, those with the preferred models unless others are clearly better."""
        ranked = sorted(self._history.measured, key=lambda own: -own[1])
        if not ranked:
            return list(self._known[:1])
        kept = [own for own in ranked if all(own[0].allocation[s].model == m for s, m in self._models.items())]
        if kept and kept[0][1] >= ranked[0][1] - self._margin:
            ranked = kept
        return [tried.allocation for tried, _ in ranked[:BASES]]

    def _preferred(self) -> dict[str, str]:
        """The model of each stage whose models were compared."""
        compared = {stage.name: at_equal_cost(self._history, self._space, stage) for stage in self._space.stages}
        return {stage: favoured(scores, self._margin) for stage, scores in compared.items() if scores}

    def _composed(self, base: Allocation) -> Iterator[tuple[Allocation, int | None]]:
        """The preferred models together, each with the samples that it did best with; until they were tried."""
        if all(base[stage].model == model for stage, model in self._models.items()):
            return
        ranked = [tried.allocation for tried, _ in sorted(self._history.measured, key=lambda own: -own[1])]
        together = dict(base)
        for stage, model in self._models.items():
            together[stage] = next(own[stage] for own in ranked if own[stage].model == model)
        yield together, 1

    def _climbed(self, base: Allocation, rng: random.Random) -> Iterator[tuple[Allocation, int | None]]:
        """Other samples of one stage."""
        if 2 in self._told:
            yield from _in_turn([self._stepped(base, stage) for stage in self._space.stages])
            return
        for _ in range(DRAWN):
            yield _at_some(base, self._space.stages, rng, lambda c, s: replace(c, samples=some_samples(s, rng))), None

    def _stepped(self, base: Allocation, stage: StageChoices) -> Iterator[tuple[Allocation, int | None]]:
        return ((self._with(base, stage, samples), 2) for samples in self._next(base, stage))

    def _traded(self, base: Allocation, rng: random.Random) -> Iterator[tuple[Allocation, int | None]]:
        """More samples of one stage and fewer of another."""
        if 3 in self._told:
            pairs = [*combinations(self._space.stages, 2)]
            for up, down in chain.from_iterable(((later, earlier), (earlier, later)) for earlier, later in pairs):
                for rise, fall in zip(self._rungs(base, up), self._rungs(base, down, up=False), strict=False):
                    yield self._with(self._with(base, up, rise), down, fall), 3
            return
        for _ in range(DRAWN):
            yield _at_some(base, self._space.stages, rng, lambda c, s: self._moved(base, s, rng)), None

    def _swapped(self, base: Allocation, rng: random.Random) -> Iterator[tuple[Allocation, int | None]]:
        """Another way of merging and, where no insight says which is best, other models."""
        for stage in self._space.stages:
            for how in stage.hows:
                yield {**base, stage.name: replace(base[stage.name], how=how)}, None
        if 1 not in self._told:
            for _ in range(DRAWN):
                yield _at_some(base, self._space.stages, rng, lambda c, s: replace(c, model=rng.choice(s.models))), None

    def _explored(self, rng: random.Random) -> Iterator[tuple[Allocation, int | None]]:
        """Children of the best, mutants of them, and anything, in turn."""
        ranked = sorted(self._history.measured, key=lambda own: -own[1])[:ELITES]
        elites = [tried.allocation for tried, _ in ranked]
        children = (bred(elites, self._space, rng) for _ in range(DRAWN if len(elites) > 1 else 0))
        ways = [((own, None) for own in children), ((own, None) for own in anywhere(self._space, rng))]
        yield from _in_turn(ways)

    def _with(self, base: Allocation, stage: StageChoices, samples: int) -> Allocation:
        return {**base, stage.name: replace(base[stage.name], samples=samples)}

    def _next(self, base: Allocation, stage: StageChoices) -> list[int]:
        """Numbers of samples that tell more of a stage's optimum, the likeliest to help first."""
        own = base[stage.name]
        points = {own.samples: 0.0} | next(
            (
                points
                for rest, choice, points in curves(self._history, stage.name)
                if (choice.model, choice.how) == (own.model, own.how) and all(base[s] == c for s, c in rest.items())
            ),
            {},
        )
        # On a plateau its beginning is the optimum: more samples would only cost more.
        best = min(n for n, score in points.items() if score >= max(points.values()) - self._margin / 2)
        below, above = [n for n in points if n < best], [n for n in points if n > best]
        at = {**base, stage.name: replace(own, samples=best)}
        rise = [round(math.sqrt(best * min(above)))] if above else list(islice(self._rungs(at, stage), AHEAD))
        fall = [round(math.sqrt(best * max(below)))] if below else list(islice(self._rungs(at, stage, up=False), AHEAD))
        return rise + fall

    def _rungs(self, base: Allocation, stage: StageChoices, *, up: bool = True) -> Iterator[int]:
        """More and more samples of a stage, or fewer and fewer, as far as they go, each a number that the space has."""
        own = base[stage.name]
        samples, bound, last = own.samples, stage.most if up else stage.least, own.samples
        while samples != bound:
            step = math.ceil(samples * GROWTH) if up else math.floor(samples / GROWTH)
            samples = min(step, bound) if up else max(step, bound)
            try:
                had = self._space.fit(self._with(base, stage, samples))[stage.name].samples
            except GraphError:
                continue
            if had != last:
                last = had
                yield had

    def _moved(self, base: Allocation, stage: StageChoices, rng: random.Random) -> Choice:
        rungs = [*islice(self._rungs(base, stage, up=rng.random() < 0.5), AHEAD)]
        own = replace(base[stage.name], how=some_way(stage, rng))
        return replace(own, samples=rng.choice(rungs)) if rungs else own

    def _expected(self, allocation: Allocation) -> float | None:
        """What the most similar trial gave; of those that are as similar, the mean."""
        distances = [(_distance(allocation, tried.allocation), score) for tried, score in self._history.measured]
        nearest = min((distance for distance, _ in distances), default=0.0)
        scores = [score for distance, score in distances if distance <= nearest + 1e-9]
        return sum(scores) / len(scores) if scores else None


def _in_turn(
    ways: Sequence[Iterator[tuple[Allocation, int | None]]],
) -> Iterator[tuple[Allocation, int | None]]:
    """One of each in turn, as long as they last."""
    left = list(ways)
    while left:
        for way in list(left):
            try:
                yield next(way)
            except StopIteration:
                left.remove(way)


def _at_some(
    base: Allocation,
    stages: Sequence[StageChoices],
    rng: random.Random,
    change: Callable[[Choice, StageChoices], Choice],
) -> Allocation:
    """A change at some of the stages, at least at one."""
    chosen = {stage.name for stage in stages if rng.random() < MUTATION} or {rng.choice(stages).name}
    return {s.name: change(base[s.name], s) if s.name in chosen else base[s.name] for s in stages}


def _distance(one: Allocation, other: Allocation) -> float:
    """Stages with another model or way, each as much as ten times the samples."""
    apart = 0.0
    for stage, choice in one.items():
        apart += (choice.model != other[stage].model) + (choice.how != other[stage].how)
        apart += abs(math.log10(choice.samples / other[stage].samples))
    return apart
