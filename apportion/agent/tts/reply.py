"""From what an agent wrote to guidelines and proposals. A reply is hostile until it is read here.

It knows the space and what was tried, not how the agent is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from apportion.agent.reading import SHOWN, items, plain, score, whole
from apportion.agent.tts.allocation import Allocation, Allocations, Choice, StageChoices, affordable, shown
from apportion.agent.tts.candidates import Unseen, cut
from apportion.agent.tts.history import Guideline, Origin, Proposal, Source
from apportion.agent.tts.initial import usual
from apportion.errors import GraphError

MOST_CANDIDATES, MOST_WRONG = 100, 20  # of a reply that are looked at, and of which is said what is wrong
MOST_WORDS = 400  # characters of a guideline


def guidelines(text: str, insights: Sequence[int], most: int) -> list[Guideline]:
    """Guidelines, each with the number of the insight that it says it rests on; None for none, or for one not told.

    Args:
        most: guidelines that are taken.
    """
    found: list[Guideline] = []
    for item in items(text, "guidelines", "text")[:most]:
        words = item.get("text") if isinstance(item, Mapping) else item
        if isinstance(words, str) and words.strip():
            insight = item.get("insight") if isinstance(item, Mapping) else None
            number = insight if type(insight) is int and insight in insights else None
            found.append((plain(words)[:MOST_WORDS], number))
    return found


def proposals(
    text: str,
    space: Allocations,
    rules: Sequence[Guideline],
    known: Sequence[Allocation],
    most: int,
    round_: int,
    source: Source,
) -> tuple[list[Proposal], list[str]]:
    """Proposals within the space and the budget that are new, and what is wrong with the others.

    Args:
        rules: the guidelines that proposals may refer to, from 1.
        known: allocations that were tried or proposed before.
        most: proposals that are taken.

    Returns:
        Proposals, and a line for each candidate that is none, which names one near it that could be.
    """
    good: list[Proposal] = []
    wrong: list[str] = []
    unseen, instead = Unseen(space, known), Unseen(space, known)
    for number, item in enumerate(items(text, "candidates", "stages")[:MOST_CANDIDATES], 1):
        if len(good) == most:
            break
        try:
            allocation = _allocation(item, space)
            _check(allocation, space, unseen, instead)
        except GraphError as error:
            wrong.append(f"candidate {number}: {error}")
            continue
        good.append(Proposal(allocation, _origin(item, rules, round_, source)))
    if not good and not wrong:
        wrong.append("the reply must hold a JSON object with a list of `candidates`, but none can be read; write one.")
    return good, wrong[:MOST_WRONG]


def _allocation(item: object, space: Allocations) -> Allocation:
    """What a candidate says, as the space has it.

    Raises:
        GraphError: it says something else.
    """
    said = item.get("stages", item) if isinstance(item, Mapping) else None
    if not isinstance(said, Mapping):
        raise GraphError(f"it must be an object with `stages`, got {item!r:.{SHOWN}}; write one.")
    names = [stage.name for stage in space.stages]
    absent = [name for name in names if name not in said]
    if absent:
        raise GraphError(f"it must choose for {', '.join(names)}, but {absent[0]!r} is absent; add it.")
    strange = [str(name) for name in said if name not in names]
    if strange and said is not item:  # beside stages that stand for themselves, a guideline may stand too
        raise GraphError(f"stages must be {', '.join(names)}, got {strange[0]!r:.{SHOWN}}; leave it out.")
    return space.fit({stage.name: _choice(said[stage.name], stage) for stage in space.stages})


def _choice(said: object, stage: StageChoices) -> Choice:
    if not isinstance(said, Mapping):
        raise GraphError(f"{stage.name!r} must have a `model` and `samples`, got {said!r:.{SHOWN}}; write both.")
    model, samples, how = said.get("model"), whole(said.get("samples")), said.get("how") or usual(stage)
    if model not in stage.models:
        listed = ", ".join(stage.models)
        raise GraphError(f"the model of {stage.name!r} must be one of {listed}, got {model!r:.{SHOWN}}; choose one.")
    if samples is None or not stage.least <= samples <= stage.most:
        raise GraphError(
            f"the samples of {stage.name!r} must be a whole number from {stage.least} to {stage.most}, got "
            f"{said.get('samples')!r:.{SHOWN}}; choose one."
        )
    if not stage.hows:
        how = ""
    elif how not in stage.hows:
        listed = ", ".join(stage.hows)
        raise GraphError(f"`how` of {stage.name!r} must be one of {listed}, got {how!r:.{SHOWN}}; choose one.")
    return Choice(str(model), samples, str(how))


def _check(allocation: Allocation, space: Allocations, unseen: Unseen, instead: Unseen) -> None:
    """Let a new allocation within the budget through.

    Args:
        instead: what is named in place of one that is not let through, each once.
    """
    if unseen.take(allocation) is not None:
        instead.take(allocation)
        return
    affords = affordable(space, allocation)
    near = instead.near(allocation if affords else cut(space, allocation) or allocation)
    if affords:
        remedy = "change it" if near is None else f"try {shown(near)}"
        raise GraphError(f"candidates must be new, but {shown(allocation)} is known; {remedy}.")
    remedy = "fewer samples or smaller models" if near is None else f"less: try {shown(near)}"
    raise GraphError(
        f"an answer may cost {space.budget:.6g} {space.unit} at most, but {shown(allocation)} costs "
        f"{space.cost(allocation):.6g}; take {remedy}."
    )


def _origin(item: object, rules: Sequence[Guideline], round_: int, source: Source) -> Origin:
    said = item if isinstance(item, Mapping) else {}
    number, expected = said.get("guideline"), said.get("expected")
    text, insight = rules[number - 1] if type(number) is int and 1 <= number <= len(rules) else ("", None)
    return Origin(round_, source, text, insight, score(expected))
