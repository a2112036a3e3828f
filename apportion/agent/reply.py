"""From what an agent wrote to guidelines and proposals. A reply is hostile until it is read here.

It knows the space and what was tried, not how the agent is asked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from apportion.agent.allocation import Allocation, Allocations, Choice, StageChoices, affordable, shown
from apportion.agent.candidates import Unseen, cut
from apportion.agent.history import Guideline, Origin, Proposal, Source
from apportion.agent.initial import usual
from apportion.errors import GraphError

MOST_TEXT = 100_000  # characters of a reply that are looked at
MOST_CANDIDATES, MOST_WRONG = 100, 20  # of a reply that are looked at, and of which is said what is wrong
MOST_STARTS = 200  # braces at which an object is looked for
MOST_WORDS = 400  # characters of a guideline
MOST_SCORE = 1e9  # of what is expected; more is no score
SHOWN = 60  # characters of what is wrong that are quoted


def items(text: str, key: str, sign: str) -> list[Any]:
    """The list under a key of the first JSON object that has it; prose around it, or fences, do no harm.

    Args:
        sign: a key of each item, by which items are known that stand without a list around them.

    Returns:
        Whatever stands in the list; nothing where there is none.
    """
    loose: list[Any] = []
    for found in _objects(text[:MOST_TEXT]):
        if key in found:
            listed = found[key]
            return listed if isinstance(listed, list) else [listed]
        if sign in found:
            loose.append(found)
    return loose


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


def _objects(text: str) -> list[Mapping[str, Any]]:
    """JSON objects that stand in a text, outermost ones, in order."""
    found: list[Mapping[str, Any]] = []
    decoder = json.JSONDecoder(parse_constant=_no_number)
    at = text.find("{")
    for _ in range(MOST_STARTS):
        if at < 0:
            break
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            found.append(value)
        at = text.find("{", end)
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def plain(words: str) -> str:
    """In one line, without what a terminal might take for a command."""
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())


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
    model, samples, how = said.get("model"), _whole(said.get("samples")), said.get("how") or usual(stage)
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


def _whole(said: object) -> int | None:
    """A whole number, also where it was written as 3.0 or "3"."""
    if isinstance(said, bool):
        return None
    if isinstance(said, str) and said.strip().isdecimal() and said.isascii() and len(said) < 10:
        return int(said)
    if isinstance(said, float):
        return int(said) if said.is_integer() else None
    return said if isinstance(said, int) else None


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
    return Origin(round_, source, text, insight, _score(expected))


def _score(said: object) -> float | None:
    """What a score is expected to be; None for what is no finite number."""
    if isinstance(said, bool) or not isinstance(said, (int, float)) or abs(said) > MOST_SCORE:
        return None
    return float(said) if math.isfinite(said) else None
