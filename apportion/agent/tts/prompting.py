"""The words of each question: the task, what is remembered, what was told by a person, and the form of the answer.

The templates are the text files beside it. It does not know who answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from apportion.agent.question import conversation
from apportion.agent.tts.allocation import Allocation, Allocations, Choice, StageChoices
from apportion.agent.tts.history import Guideline
from apportion.agent.tts.initial import one_pass, usual
from apportion.agent.tts.settings import INSIGHTS
from apportion.envs.worker import Message
from apportion.template import render

EXPLORE = (
    " Scores have hardly changed of late: leave the beaten track, cross good allocations with each other, and change "
    "what was not changed yet."
)
MOST_TOLD = 5  # lines of what was wrong that are told back


def priors(insights: Sequence[int | str]) -> dict[int, str]:
    """What an agent is told beforehand, by number: insights have theirs, one's own words the next ones."""
    own = [text for text in insights if isinstance(text, str)]
    numbered = {n: _text(f"insights/{n}.txt") for n in INSIGHTS if n in insights}
    return numbered | {len(INSIGHTS) + i: text for i, text in enumerate(own, 1)}


def task(space: Allocations, knowledge: str, notes: Sequence[str]) -> str:
    """The stages, the budget and what is known beforehand."""
    stages = "\n".join(_stage(space, stage) for stage in space.stages)
    return _sections(
        _filled("task", stages=stages, budget=_budget(space)),
        f"Seen in other studies:\n{knowledge}" if knowledge else "",
        "\n".join(f"Note by the person in charge: {note}" for note in notes),
    )


def guide(of_task: str, told: Mapping[int, str], trials: str, diagnosis: str, most: int, *, explore: bool) -> str:
    """The question for guidelines."""
    context = _sections(of_task, _insights(told), _history(trials, diagnosis))
    return _filled("guide", context=context, most=str(most), explore=EXPLORE if explore else "")


def propose(
    space: Allocations,
    of_task: str,
    told: Mapping[int, str],
    trials: str,
    diagnosis: str,
    rules: Sequence[Guideline],
    count: int,
    *,
    explore: bool,
) -> str:
    """The question for allocations. Where there are guidelines, these stand for insights, diagnosis and exploring."""
    listed = "\n".join(f"{number}. {text}" for number, (text, _) in enumerate(rules, 1))
    if rules:
        context = _sections(of_task, _history(trials, ""), f"Guidelines:\n{listed}")
    else:
        context = _sections(of_task, _insights(told), _history(trials, diagnosis))
    explored = EXPLORE if explore and not rules else ""
    return _filled("propose", context=context, count=str(count), explore=explored, example=_example(space))


def repair(wrong: Sequence[str], count: int) -> str:
    """The question once more, with what was wrong."""
    more = [f"({len(wrong) - MOST_TOLD} more)"] if len(wrong) > MOST_TOLD else []
    return _filled("repair", wrong="\n".join([*wrong[:MOST_TOLD], *more]), count=str(count))


def messages(*said: str) -> tuple[Message, ...]:
    """What is said in turns: first by us, then by the agent, and so on, below the system's message."""
    return conversation(_text("prompts/system.txt"), *said)


def guidelines_schema(told: Mapping[int, str], most: int) -> dict[str, Any]:
    """JSON schema of guidelines."""
    insight = {"anyOf": [{"type": "null"}, {"type": "integer", "enum": sorted(told)}]} if told else {"type": "null"}
    item = _object({"text": {"type": "string"}, "insight": insight})
    return _object({"guidelines": {"type": "array", "items": item, "minItems": 1, "maxItems": most}})


def candidates_schema(space: Allocations, rules: int, count: int) -> dict[str, Any]:
    """JSON schema of allocations."""
    guideline = {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 1, "maximum": rules}]}
    item = _object(
        {
            "stages": _object({stage.name: _choice_schema(stage) for stage in space.stages}),
            "guideline": guideline if rules else {"type": "null"},
            "expected": {"type": ["number", "null"]},
        }
    )
    return _object({"candidates": {"type": "array", "items": item, "minItems": 1, "maxItems": count}})


def _choice_schema(stage: StageChoices) -> dict[str, Any]:
    samples = {"type": "integer", "minimum": stage.least, "maximum": stage.most}
    how = {"how": {"type": "string", "enum": list(stage.hows)}} if stage.hows else {}
    return _object({"model": {"type": "string", "enum": list(stage.models)}, "samples": samples, **how})


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _stage(space: Allocations, stage: StageChoices) -> str:
    """A stage, and what each of its models adds to the cost of the cheapest answer."""
    cheapest = _cheapest(space)
    base = space.cost(cheapest)
    lines = [f"- {stage.name}: from {stage.least} to {stage.most} samples" + _merged(stage)]
    for model in stage.models:
        first = _added(space, {**cheapest, stage.name: one_pass(stage, model)}, base)
        ways = {how: _more(space, stage, model, how, base) for how in stage.hows or (usual(stage),)}
        lines.append(f"    {model}{'' if first is None else _priced(first, ways)}")
    return "\n".join(lines)


def _more(space: Allocations, stage: StageChoices, model: str, how: str, base: float | None) -> list[float]:
    """What the two numbers of samples above the fewest add; fewer where there are none, or costs are not known."""
    numbers = range(stage.least + 1, min(stage.least + 2, stage.most) + 1)
    costs = (_added(space, {**_cheapest(space), stage.name: Choice(model, n, how)}, base) for n in numbers)
    return [cost for cost in costs if cost is not None]


def _priced(first: float, ways: Mapping[str, Sequence[float]]) -> str:
    """What a model adds; each way of merging by itself where it costs something of its own."""
    same = {(f"{costs[0] - first:.4g}", f"{costs[-1] - costs[0]:.4g}") for costs in ways.values() if len(costs) == 2}
    if len(same) == 1 and len(set(*same)) == 1:
        return f": adds {first:.4g}, and {same.pop()[0]} a further sample"
    said = [f": adds {first:.4g}"]
    for how, costs in ways.items():
        name = f" by {how}" if how else ""
        said += [f"; the next sample{name} {costs[0] - first:.4g}"] if costs else []
        said += [f", each further {costs[1] - costs[0]:.4g}"] if len(costs) > 1 else []
    return "".join(said)


def _merged(stage: StageChoices) -> str:
    return f", merged by `how`: {', '.join(stage.hows)}" if stage.hows else ""


def _added(space: Allocations, allocation: Allocation, base: float | None) -> float | None:
    cost = space.cost(allocation)
    return None if cost is None or base is None else cost - base


def _budget(space: Allocations) -> str:
    base = space.cost(_cheapest(space))
    begins = "" if base is None else f"The cheapest answer costs {base:.4g} {space.unit}; the choices above add to it. "
    return begins + (
        "There is no bound on the cost of an answer, but cheaper is better."
        if space.budget is None
        else f"The budget of one answer is {space.budget:.6g} {space.unit}."
    )


def _cheapest(space: Allocations) -> Allocation:
    return {stage.name: one_pass(stage, stage.models[0]) for stage in space.stages}


def _history(trials: str, diagnosis: str) -> str:
    """What was tried; empty where nothing is to be shown."""
    return _sections(_filled("history", trials=trials), diagnosis) if trials else ""


def _insights(told: Mapping[int, str]) -> str:
    return "\n".join(f"Insight {number}. {text}" for number, text in told.items())


def _example(space: Allocations) -> str:
    """The form of an allocation, with no choice that could be copied."""
    how = {stage.name: ', "how": WAY' if stage.hows else "" for stage in space.stages}
    each = (f'"{stage.name}": {{"model": MODEL, "samples": NUMBER{how[stage.name]}}}' for stage in space.stages)
    return "{" + ", ".join(each) + "}"


def _sections(*texts: str) -> str:
    return "\n\n".join(text for text in texts if text)


def _filled(template: str, **values: str) -> str:
    return render(_text(f"prompts/{template}.txt"), values)


@cache
def _text(name: str) -> str:
    return (files("apportion.agent.tts") / name).read_text(encoding="utf-8").strip("\n")
