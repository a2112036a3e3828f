"""Rules over the keys of a spec that are about the agent of a search."""

from __future__ import annotations

from collections.abc import Iterator
from os.path import normpath
from pathlib import Path

from apportion.spec.draft import Draft
from apportion.spec.problems import Finding, nearest, show, twins
from apportion.spec.searching import AGENTS, ALLOCATING, WIRING, SearchSpec

CHOOSING = {"evolution", "memory"}
WIRED = {"update", "mix", "initial_insights", "sweeps", "roles", "credit"}
"""Keys of an agent that chooses among templates, and of one that wires slots."""


def findings(draft: Draft, folder: Path) -> Iterator[Finding]:
    """What is wrong with the agent of a spec.

    Args:
        draft: the parts that are right by themselves.
        folder: where relative paths begin.
    """
    search = draft.search
    if search is None:
        return
    agent, samplers = search.agent, ", ".join(AGENTS)
    if not search.asks_agent:
        for key in ("agent", "warm_start"):
            if key in search.model_fields_set and getattr(search, key) not in ((), type(agent)()):
                text = f"goes with a sampler that asks an agent ({samplers}), but the sampler is {show(search.sampler)}"
                yield ("search", key), f"{text}; remove it, or name one of them"
        return
    yield from _kind(draft, search)
    if agent.model is not None and agent.evolution:
        yield ("search", "agent", "evolution"), "goes without a model, but the agent has one; remove one of them"
    if agent.model is not None and agent.model not in draft.models:
        text = f"must be a key of `models`, but is {show(agent.model)}; {nearest(agent.model, draft.models)}"
        yield ("search", "agent", "model"), text
    for number, insight in enumerate(agent.insights or ()):
        if isinstance(insight, str) and agent.model is None:
            text = "text of your own must have a model that reads it, but the agent has none"
            yield ("search", "agent", "insights", number), f"{text}; name agent.model, or remove the text"
    for number, _ in twins(map(repr, agent.insights or ())):
        yield (
            ("search", "agent", "insights", number),
            "a list must not repeat itself, but this is given twice; remove one",
        )
    for number, _ in twins(_one_spelling(folder / path) for path in search.warm_start):
        text = f"a folder must be named once, but {show(search.warm_start[number])} is one of those before it"
        yield ("search", "warm_start", number), f"{text}; remove it"
    model = draft.models.get(agent.model or "")
    if model is not None and model.price is None and draft.limits is not None and draft.limits.usd is not None:
        text = f"limits.usd must know every price, but that of {show(agent.model)} is null"
        yield ("models", str(agent.model), "price"), f"{text}; write {{prompt: …, completion: …}}, or remove limits.usd"
    if model is not None and model.gguf is not None and agent.max_tokens >= model.context:
        text = f"must be below the context of {show(agent.model)}, {model.context}, which holds the question too"
        yield ("search", "agent", "max_tokens"), f"{text}, but is {agent.max_tokens}; lower it, or raise the context"


def _kind(draft: Draft, search: SearchSpec) -> Iterator[Finding]:
    """Keys and stages of the one kind of agent with a sampler of the other: those that choose, and those that wire."""
    place = ("search", "sampler")
    stages = [stage for stage in draft.stages if stage is not None]
    given = search.agent.model_fields_set
    if search.wires_graphs:
        if stages and all(stage.slots is None for stage in stages):
            text = f"{show(search.sampler)} wires slots, but all stages have templates"
            yield place, f"{text}; give one of them slots, or name agenttts"
        for key in sorted(given & CHOOSING):
            if getattr(search.agent, key):
                text = f"goes with {', '.join(ALLOCATING)}, but the sampler is {show(search.sampler)}"
                yield ("search", "agent", key), f"{text}; remove it"
        return
    for stage in stages:
        if stage.slots is not None:
            text = f"{show(search.sampler)} chooses among templates, but stage {show(stage.name)} has slots"
            yield place, f"{text}; give it templates, or name agent_reinforce"
    for key in sorted(given & WIRED):
        if getattr(search.agent, key) is not None:
            text = f"goes with {', '.join(WIRING)}, but the sampler is {show(search.sampler)}"
            yield ("search", "agent", key), f"{text}; remove it"


def _one_spelling(path: Path) -> str:
    """A path as it is called whatever way it is named, links included; the folder may be gone by now."""
    try:
        return str(path.resolve())
    except (OSError, RuntimeError, ValueError):  # a ring of links, or no path at all
        return normpath(path)
