"""Proposals by expected improvement of a Gaussian process over allocations: what answers where no model is asked.

It knows a space of allocations and what was tried there, no insight.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apportion.agent.question import Question
from apportion.agent.tts.allocation import Allocation, Allocations, Choice, StageChoices
from apportion.agent.tts.brief import Brief
from apportion.agent.tts.candidates import Candidate, Unseen, anywhere, cut, written
from apportion.search.screening import posterior

Floats = NDArray[np.float64]

FEW = 2_000  # allocations that are all looked at
FIELD, BEST = 500, 5  # of more, so many at random, and the neighbours of so many of the best trials
NOISE = 0.1  # variance of what is measured, in that of the scores of trials
SIZE, OWN = 3.0, 0.3  # weights of a model's size and of its being itself, beside the logarithm of samples
GUIDELINE = "Try what is expected to improve most on the best trial."
_erf = np.vectorize(math.erf, otypes=[np.float64])


class NumericAgent:
    """Answers with the allocations of the highest expected improvement; with random ones until two were measured."""

    def answer(self, question: Question[Brief]) -> str:
        """Candidates as JSON; the same for the same brief."""
        if question.purpose == "guide":
            return json.dumps({"guidelines": [{"text": GUIDELINE, "insight": None}]})
        brief, rng = question.brief, random.Random(question.brief.seed)
        scores = [score for _, score in brief.history.measured]
        if len(scores) < 2:
            unseen = Unseen(brief.allocations, (tried.allocation for tried in brief.history.tried))
            return written(map(Candidate, unseen.some(anywhere(brief.allocations, rng), brief.batch)), brief)
        return written(_improving(brief, _field(brief, rng)), brief)


def _improving(brief: Brief, field: Sequence[Allocation]) -> Iterator[Candidate]:
    """One after the other, each as if those before had come to what is expected of them (the kriging believer).

    (Ginsbourger et al. 2010, "Kriging is well-suited to parallelize optimization".)
    """
    measured = brief.history.measured
    known = features([tried.allocation for tried, _ in measured], brief.allocations)
    asked = features(field, brief.allocations)
    values = np.array([score for _, score in measured])
    left = np.ones(len(field), dtype=bool)
    for _ in range(min(brief.batch, len(field))):
        mean, deviation = posterior(known, asked, values, NOISE)
        gain = expected_improvement(mean, deviation, float((values.max() - values.mean()) / (values.std() or 1.0)))
        chosen = int(np.where(left, gain, -np.inf).argmax())
        expected = float(values.mean() + mean[chosen] * (values.std() or 1.0))
        left[chosen] = False
        yield Candidate(field[chosen], expected=expected)
        known, values = np.vstack([known, asked[chosen]]), np.append(values, expected)


def expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """Of normal values over the best one (Jones et al. 1998, eq. 15); elementwise."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(deviation > 0, (mean - best) / deviation, np.sign(mean - best) * np.inf)
    density = np.exp(-0.5 * np.square(z)) / math.sqrt(2 * math.pi)
    below = 0.5 * (1 + _erf(z / math.sqrt(2)))
    gain = np.where(deviation > 0, (mean - best) * below + deviation * density, mean - best)
    return np.maximum(gain, 0.0)  # the two terms may cancel to less


def features(allocations: Sequence[Allocation], space: Allocations) -> Floats:
    """A row an allocation, so that near models and near numbers of samples are alike.

    Of each stage the place of its model among all by size, the logarithm of one more than the samples, the same again
    for each model by itself, and each way of merging.
    """
    columns = {
        name: place
        for place, name in enumerate(
            (stage.name, kind, own)
            for stage in space.stages
            for kind, names in (("size", ("",)), ("samples", ("",)), ("model", stage.models), ("how", stage.hows))
            for own in names
        )
    }
    rows = np.zeros((len(allocations), len(columns)))
    for row, allocation in zip(rows, allocations, strict=True):
        for stage in space.stages:
            choice = allocation[stage.name]
            row[columns[stage.name, "size", ""]] = SIZE * _place(stage, choice.model)
            row[columns[stage.name, "samples", ""]] = math.log1p(choice.samples)
            row[columns[stage.name, "model", choice.model]] = OWN * math.log1p(choice.samples)
            if choice.how:
                row[columns[stage.name, "how", choice.how]] = 1.0
    return rows


def _place(stage: StageChoices, model: str) -> float:
    """From 0 of the smallest to 1 of the largest."""
    return stage.models.index(model) / max(1, len(stage.models) - 1)


def _field(brief: Brief, rng: random.Random) -> list[Allocation]:
    """Allocations that can be paid and were not tried: all, or some at random and the neighbours of the best."""
    space = brief.allocations
    unseen = Unseen(space, (tried.allocation for tried in brief.history.tried))
    if math.prod(len(stage.models) * len(stage.hows or " ") * len(_counts(stage)) for stage in space.stages) <= FEW:
        return list(unseen.some(_every(space), FEW))
    best = sorted(brief.history.measured, key=lambda own: -own[1])[:BEST]
    near = (cut(space, own) for tried, _ in best for own in _neighbours(tried.allocation, space))
    return [*unseen.some(near, FEW), *unseen.some(anywhere(space, rng, 2 * FIELD), FIELD)]


def _counts(stage: StageChoices) -> range:
    return range(stage.least, stage.most + 1)


def _every(space: Allocations) -> Iterator[Allocation]:
    names = [stage.name for stage in space.stages]
    choices: list[list[Any]] = [
        [Choice(*own) for own in product(stage.models, _counts(stage), stage.hows or ("",))] for stage in space.stages
    ]
    return (dict(zip(names, row, strict=True)) for row in product(*choices))


def _neighbours(allocation: Allocation, space: Allocations) -> Iterator[Allocation]:
    """With one choice changed: another model, another way, or some more or fewer samples."""
    for stage in space.stages:
        own = allocation[stage.name]
        numbers = {round(own.samples * 2.0**power) for power in (-2, -1, -0.5, 0.5, 1, 2)}
        near = {min(max(n, stage.least), stage.most) for n in {*numbers, own.samples - 1, own.samples + 1}}
        changed = [replace(own, samples=n) for n in sorted(near)]
        changed += [replace(own, model=model, samples=n) for model in stage.models for n in sorted(near)]
        changed += [replace(own, how=how) for how in stage.hows]
        yield from ({**allocation, stage.name: choice} for choice in changed)
