"""The words of each question: the task, what was tried, what was found, and the form of the answer.

The templates are the text files beside it. It does not know who answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from apportion.agent.finding import Finding
from apportion.agent.question import conversation
from apportion.agent.reinforce.brief import Brief, Terms
from apportion.agent.reinforce.mixes import shown, spread
from apportion.agent.reinforce.settings import INSIGHTS
from apportion.envs.worker import Message
from apportion.graphs.graph import Graph, Node
from apportion.graphs.notation import EDGES, rows_of
from apportion.graphs.notation import pattern as graph_pattern
from apportion.graphs.probabilistic.table import pattern as table_pattern
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from apportion.template import render

MOST_TOLD = 5  # lines of what was wrong that are told back
MOST_SHOWN = 30  # mixes that are listed
ROLES = {
    "generator": "answers afresh",
    "refiner": "improves what it reads",
    "fuser": "merges two or more answers into one",
    "critic": "comments on what it reads",
    "ranker": "keeps the best of what it reads",
    "scorer": "keeps what it grades best",
    "verifier": "keeps what it takes for right",
    "tester": "keeps what passes tests that it writes",
    "decider": "gives the final answer",
    "voter": "takes the majority",
    "weighted_voter": "takes the majority by grades",
    "id_voter": "takes the ids that most name",
}


def priors(insights: Sequence[int | str]) -> dict[int, str]:
    """What an agent is told beforehand, by number: insights have theirs, one's own words the next ones."""
    own = [text for text in insights if isinstance(text, str)]
    numbered = {n: _text(f"insights/{n}.txt") for n in INSIGHTS if n in insights}
    return numbered | {len(INSIGHTS) + i: text for i, text in enumerate(own, 1)}


def task(space: SearchSpace, terms: Terms, knowledge: str, notes: Sequence[str]) -> str:
    """The stages, the budget and what is known beforehand."""
    stages = "\n".join(_stage(stage, terms) for stage in space.stages)
    return sections(
        _filled("task", stages=stages, budget=_budget(terms)),
        f"Seen in other studies:\n{knowledge}" if knowledge else "",
        "\n".join(f"Note by the person in charge: {note}" for note in notes),
    )


def mix(of_task: str, brief: Brief, count: int) -> str:
    """The question for mixes of models."""
    listed = "\n".join(f"- {shown(own)}" for own in spread(brief.mixes, MOST_SHOWN))
    context = sections(of_task, _insights(brief.insights, brief.findings))
    stages = [stage.name for stage in brief.space.stages if isinstance(stage, SlotStage)]
    example = "{" + ", ".join(f'"{name}": {{MODEL: NUMBER}}' for name in stages) + "}"
    return _filled("mix", context=context, mixes=listed, count=str(count), example=example)


def update(of_task: str, brief: Brief, trials: str, feedback: str, table: str) -> str:
    """The question for a table and a graph."""
    context = sections(
        of_task,
        _insights(brief.insights, brief.findings),
        f"Trials so far:\n{trials}" if trials else "",
        feedback,
    )
    roles = "" if brief.roles else "\n- Leave roles as they are."
    return _filled("update", context=context, table=table, roles=roles, line=_example(brief))


def repair(wrong: Sequence[str]) -> str:
    """The question once more, with what was wrong."""
    more = [f"({len(wrong) - MOST_TOLD} more)"] if len(wrong) > MOST_TOLD else []
    return _filled("repair", wrong="\n".join([*wrong[:MOST_TOLD], *more]))


def messages(*said: str) -> tuple[Message, ...]:
    """What is said in turns: first by us, then by the agent, and so on, below the system's message."""
    return conversation(_text("prompts/system.txt"), *said)


def mixes_schema(space: SearchSpace, count: int) -> dict[str, Any]:
    """JSON schema of mixes."""
    stages = {
        stage.name: _object(
            {model: {"type": "integer", "minimum": 0, "maximum": stage.slots} for model in stage.models}
        )
        for stage in space.stages
        if isinstance(stage, SlotStage)
    }
    return _object({"mixes": {"type": "array", "items": _object(stages), "minItems": 1, "maxItems": count}})


def update_schema(space: SearchSpace, *, roles: bool = True) -> dict[str, Any]:
    """JSON schema of a table and a graph.

    Args:
        roles: whether they may be given.
    """
    leave_out = () if roles else ("role",)
    most = len(rows_of(space))
    table, graph = (_lines(of(space, leave_out), most) for of in (table_pattern, graph_pattern))
    either = {"anyOf": [{"type": "null"}, graph]}
    return _object({"table": table, "graph": either, "expected": {"type": ["number", "null"]}})


def sections(*texts: str) -> str:
    """Those that are not empty, with an empty line between."""
    return "\n\n".join(text for text in texts if text)


def _lines(pattern: str, most: int) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "pattern": pattern}, "maxItems": most}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _stage(stage: SlotStage | TemplateStage, terms: Terms) -> str:
    """A stage, its models at the price of one call, and the roles that slots may play."""
    prices = ", ".join(f"{model}{_price(stage.name, model, terms)}" for model in stage.models)
    if isinstance(stage, TemplateStage):
        return f"Stage {stage.name}: answered by one of {', '.join(stage.templates)}. Models: {prices}."
    samples = f" Samples of a slot: {stage.samples[0]} to {stage.samples[1]}." if stage.samples != (1, 1) else ""
    roles = "; ".join(f"{name} {ROLES[name]}" for name in dict.fromkeys((*stage.roles, *stage.final)) if name in ROLES)
    read = " A slot that reads none answers afresh." if stage.roles else ""
    final = f" and a final one that reads some of them ({' or '.join(stage.final)})"
    return f"Stage {stage.name}: up to {stage.slots} slots{final}. Models: {prices}.{samples} Roles: {roles}.{read}"


def _price(stage: str, model: str, terms: Terms) -> str:
    """What a call alone costs, where it is known."""
    cost = terms.cost(Graph((Node(f"{stage}.1", stage, "generator", model),)))
    return "" if cost is None else f" ({cost:.4g} a call)"


def _budget(terms: Terms) -> str:
    if terms.budget is None:
        return "There is no bound on the cost of an answer, but cheaper is better."
    grows = "" if terms.unit == "calls" else ", and a call that reads more costs more"
    also = f" It may also take {terms.also}." if terms.also else ""
    return f"One answer may cost {terms.budget:.6g} {terms.unit} at most; prices are in {terms.unit}{grows}.{also}"


def _insights(told: Mapping[int, str], findings: Sequence[Finding]) -> str:
    """Insights, and below each what was seen of it on this task."""
    lines = [f"Insight {number}. {text}" for number, text in told.items()]
    held = {True: "It seems to hold here", False: "It does not seem to hold here", None: "Seen here"}
    lines += [f"- Insight {own.insight}: {held[own.held]}: {own.text}" for own in findings if own.insight in told]
    lines += [f"- Seen here: {own.text}" for own in findings if own.insight not in told]
    return "\n".join(lines)


def _example(brief: Brief) -> str:
    """A line of a graph, with nothing in it that could be copied; what is left out of it stays as it is."""
    slotted = [stage for stage in brief.space.stages if isinstance(stage, SlotStage)]
    stage = next((stage for stage in slotted if stage.roles), slotted[0])  # without roles slots read no other
    row = rows_of(brief.space)[f"{stage.name}.1"]
    keys = "; ".join(f"{key} {key.upper()}" for key in row.choices if key != "role" or brief.roles)
    return f"{stage.name}.1: {keys}; {EDGES} {'SLOT, ' if stage.roles else ''}final"


def _filled(template: str, **values: str) -> str:
    return render(_text(f"prompts/{template}.txt"), values)


@cache
def _text(name: str) -> str:
    return (files("apportion.agent.reinforce") / name).read_text(encoding="utf-8").strip("\n")
