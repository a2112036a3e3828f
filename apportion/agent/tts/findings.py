"""Whether the insights of AgentTTS (arXiv 2508.00890) held on a task, as far as its trials can say.

Trials are compared only where nothing else differs. A difference counts where it is more than `slack`, since a trial
is measured once and on few examples. Where too little was compared, nothing is said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

from apportion.agent.finding import Finding
from apportion.agent.tts.allocation import Allocation, Allocations, Choice, StageChoices
from apportion.agent.tts.history import History

SLACK = 0.1  # of the range of all scores; less is no clear difference
LEAST_POINTS = 3  # numbers of samples of a curve that may show a peak
LEAST, MOST = 3, 2 / 3  # comparisons of which something is said, and the share that must agree

Scores = dict[Choice, float]


def findings(history: History, allocations: Allocations) -> list[Finding]:
    """What the trials say of insights 1, 2 and 3, and of what the agent expected."""
    if not slack(history):
        nothing = "All trials scored the same." if history.measured else "Nothing was measured."
        return [*(Finding(insight, None, nothing) for insight in (1, 2, 3)), _expectations(history)]
    return [
        _sizes(history, allocations),
        _peaks(history, allocations),
        _interdependence(history, allocations),
        _expectations(history),
    ]


def slack(history: History) -> float:
    """By how much scores must differ to be called different, in their unit."""
    scores = [score for _, score in history.measured]
    return SLACK * (max(scores) - min(scores)) if scores else 0.0


def groups(history: History, stage: str) -> list[tuple[Allocation, Scores]]:
    """Trials that differ in one stage only: what the other stages do, and the score of each choice there.

    Of an allocation that was tried twice the mean counts. In the order of their first trials.
    """
    found: dict[tuple[tuple[str, Choice], ...], dict[Choice, list[float]]] = {}
    for tried, score in history.measured:
        rest = tuple((name, choice) for name, choice in tried.allocation.items() if name != stage)
        found.setdefault(rest, defaultdict(list))[tried.allocation[stage]].append(score)
    return [(dict(rest), {c: sum(own) / len(own) for c, own in of.items()}) for rest, of in found.items()]


def at_equal_cost(history: History, space: Allocations, stage: StageChoices) -> dict[str, float]:
    """The best score of each model of a stage, where trials of most models differ there only.

    No model is credited with more than the dearest model's fewest samples cost, as in the initial trials of AgentTTS.

    Returns:
        Models from the smallest on; empty where no two were compared.
    """
    best: dict[str, float] = {}
    for rest, scores in groups(history, stage.name):
        own = _compared(scores, rest, space, stage)
        if len(own) > max(1, len(best)):
            best = own
    return {model: best[model] for model in stage.models if model in best}


def favoured(scores: dict[str, float], margin: float) -> str:
    """The smallest model within a margin of the best, since a larger one must be clearly better.

    Args:
        scores: of models from the smallest on, at least one.
    """
    return next(model for model, score in scores.items() if score >= max(scores.values()) - margin)


def curves(history: History, stage: str) -> Iterator[tuple[Allocation, Choice, dict[int, float]]]:
    """Scores by number of samples where nothing else differs: the other stages, the choice, and at least two points."""
    for rest, scores in groups(history, stage):
        by: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        for choice, score in scores.items():
            by[choice.model, choice.how][choice.samples] = score
        for (model, how), points in by.items():
            if len(points) > 1:
                yield rest, Choice(model, min(points), how), dict(sorted(points.items()))


def _compared(scores: Scores, rest: Allocation, space: Allocations, stage: StageChoices) -> dict[str, float]:
    def cost(choice: Choice) -> float:
        return space.cost({own.name: rest.get(own.name, choice) for own in space.stages}) or 0.0

    least: dict[str, float] = {}
    for choice in scores:
        least[choice.model] = min(cost(choice), least.get(choice.model, float("inf")))
    bound = max(least.values()) * (1 + 1e-6)
    best: dict[str, float] = {}
    for choice, score in scores.items():
        if cost(choice) <= bound:
            best[choice.model] = max(score, best.get(choice.model, score))
    return best


def _sizes(history: History, space: Allocations) -> Finding:
    """Insight 1: stages prefer different sizes."""
    margin, places, said = slack(history), [], []
    for stage in space.stages:
        scores = at_equal_cost(history, space, stage)
        if len(scores) < 2:
            continue
        listed = ", ".join(f"{model} {score:.3g}" for model, score in scores.items())
        if max(scores.values()) - min(scores.values()) <= margin:
            said.append(f"{stage.name} favours none ({listed})")
            continue
        best = favoured(scores, margin)
        places.append(_size(stage, best))
        said.append(f"{stage.name} favours {best} ({listed})")
    text = "No stage had two models compared for no more than the largest one's fewest samples cost."
    if said:
        text = f"For what the largest model's fewest samples cost, {'; '.join(said)}; {margin:.2g} is no difference."
    return Finding(1, len(set(places)) > 1 if len(places) > 1 else None, text)


def _size(stage: StageChoices, model: str) -> str:
    place = stage.models.index(model)
    return "smallest" if place == 0 else "largest" if place == len(stage.models) - 1 else f"size {place + 1}"


def _peaks(history: History, space: Allocations) -> Finding:
    """Insight 2: more samples stop to help."""
    margin, ended, said, count = slack(history), 0, [], 0
    for stage in space.stages:
        for _, choice, points in curves(history, stage.name):
            if len(points) < LEAST_POINTS:
                continue
            count += 1
            most = max(points)
            best = min(samples for samples, score in points.items() if score >= max(points.values()) - margin)
            ended += best < most
            said.append((len(points), f"{stage.name} by {choice.model}: {best} of up to {most} samples suffice"))
    if not count:
        return Finding(
            2, None, f"No model was tried with {LEAST_POINTS} numbers of samples where nothing else differs."
        )
    example = max(said, key=lambda own: own[0])[1]
    return Finding(2, _agreed(ended, count), f"More samples stop to help in {ended} of {count} comparisons; {example}.")


def _interdependence(history: History, space: Allocations) -> Finding:
    """Insight 3: after a better earlier stage, more samples of a later one help less."""
    margin, less, more, same = slack(history), 0, 0, 0
    for earlier, later in combinations([stage.name for stage in space.stages], 2):
        for better, worse in _pairs(history, earlier, later):
            for few, many in pairwise(sorted(set(better) & set(worse))):
                a, b = better[many] - better[few], worse[many] - worse[few]
                less, more, same = less + (a < b - margin), more + (a > b + margin), same + (abs(a - b) <= margin)
    count = less + more + same
    if not count:
        return Finding(3, None, "No two choices of an earlier stage were tried with the same numbers of samples later.")
    text = (
        f"After a better earlier stage more samples help a later one less in {less} of {count} comparisons, more in "
        f"{more}, as much in {same}."
    )
    return Finding(3, _agreed(less, less + more), text)


def _agreed(of: int, count: int) -> bool | None:
    """Whether most comparisons say so; None where they are few or at odds."""
    if count < LEAST:
        return None
    return True if of >= MOST * count else False if of <= (1 - MOST) * count else None


def _pairs(history: History, earlier: str, later: str) -> Iterator[tuple[dict[int, float], dict[int, float]]]:
    """Curves of a later stage after two choices of an earlier one, the better first, where nothing else differs."""
    by: dict[tuple[object, ...], list[dict[int, float]]] = defaultdict(list)
    for rest, choice, points in curves(history, later):
        others = tuple((name, own) for name, own in rest.items() if name != earlier)
        by[(choice.model, choice.how, others)].append(points)
    for found in by.values():
        for one, two in combinations(found, 2):
            shared = set(one) & set(two)
            if len(shared) > 1:
                swapped = sum(one[n] for n in shared) < sum(two[n] for n in shared)
                yield (two, one) if swapped else (one, two)


def _expectations(history: History) -> Finding:
    off = [
        score - tried.origin.expected
        for tried, score in history.measured
        if tried.origin is not None and tried.origin.expected is not None
    ]
    if not off:
        return Finding(None, None, "The agent stated no expectation.")
    return Finding(
        None, None, f"{_mean([abs(own) for own in off]):.3g} off on average, {_bias(off)} ({len(off)} trials)."
    )


def _bias(off: Sequence[float]) -> str:
    mean = _mean(off)
    return f"the score being {abs(mean):.3g} {'above' if mean >= 0 else 'below'} what was expected"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
