"""The least that one answer can cost on paper, to refuse budgets and limits that no graph can keep.

A bound from below: the cheapest choice of each stage, its shortest prompt, one token a reply. It never refuses what
could be met. It does not know lines of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from apportion.graphs.cost import call_usd, decode_flops, prefill_flops
from apportion.graphs.paper import Length, Lengths
from apportion.graphs.roles import ROLES
from apportion.spec.data import Row
from apportion.spec.problems import Finding
from apportion.spec.schema import ModelSpec, StageSpec, TaskSpec
from apportion.template import as_text, parts

BYTES_PER_TOKEN = 8
"""A token seldom covers more bytes than this in any vocabulary, so bytes / 8 bounds a text's tokens from below."""

LIKELY_BYTES_PER_TOKEN = 4
"""Rule of thumb for byte-pair vocabularies on English text."""


def findings(spec: TaskSpec, rows: Sequence[Row]) -> Iterator[Finding]:
    """Every bound that is below what the cheapest answer costs.

    Args:
        spec: a spec without any other mistake.
        rows: the rows that its prompts will be filled with.
    """
    least = cheapest(spec, rows)
    for section, bounds in (("budget", spec.budget), ("limits", spec.limits)):
        for name, cost in least.items():
            bound = getattr(bounds, name, None)
            if bound is not None and cost > bound:
                text = f"even the cheapest answer costs {cost:.6g} {name}, but {section}.{name} is {bound:.6g}"
                yield (section, name), f"{text}; raise it above {cost:.6g}, or shorten prompts and stages"


def cheapest(spec: TaskSpec, rows: Sequence[Row]) -> dict[str, float]:
    """The least of each cost that one answer can have: calls, tokens, flops and, if every price is known, usd."""
    total = {"calls": 0.0, "tokens": 0.0, "flops": 0.0, "usd": 0.0}
    for stage in spec.stages:
        calls = _least_calls(stage)
        prompt = shortest_prompt_tokens(spec, stage, rows)
        costs = [_costs(spec.models[name], calls, prompt) for name in stage.models]
        for metric in list(total):
            if all(metric in cost for cost in costs):
                total[metric] += min(cost[metric] for cost in costs)
            else:
                del total[metric]
    return total


def guessed_lengths(spec: TaskSpec, rows: Sequence[Row]) -> Lengths:
    """A guess of every stage's lengths before anything is known: four bytes a token, replies as long as they may be."""
    stages = {other.name for other in spec.stages}
    known: dict[tuple[str, ...], Length] = {}
    for stage in spec.stages:
        pieces = [piece for text in (stage.system or "", stage.prompt) for piece in parts(text)]
        read = [name for _, name in pieces if name is not None and name not in stages]
        fixed = sum(_bytes(literal) for literal, _ in pieces)
        filled = fmean(sum(_bytes(as_text(row[name])) for name in read) for row in rows) if rows else 0.0
        known[(stage.name,)] = Length((fixed + filled) / LIKELY_BYTES_PER_TOKEN, stage.max_tokens)
    return Lengths(known)


def shortest_prompt_tokens(spec: TaskSpec, stage: StageSpec, rows: Sequence[Row]) -> float:
    """Tokens of the shortest prompt of a stage, from below: answers of earlier stages count as empty."""
    stages = {other.name for other in spec.stages}
    pieces = [piece for text in (stage.system or "", stage.prompt) for piece in parts(text)]
    fixed = sum(_bytes(literal) for literal, _ in pieces)
    read = [name for _, name in pieces if name is not None and name not in stages]
    filled = min((sum(_bytes(as_text(row[name])) for name in read) for row in rows), default=0)
    return max(1, fixed + filled) / BYTES_PER_TOKEN


def _costs(model: ModelSpec, calls: int, prompt: float) -> dict[str, float]:
    """Least costs of `calls` calls that may share one encoding of the prompt."""
    card = model.card("")
    costs = {
        "calls": float(calls),
        "tokens": prompt + calls,
        "flops": prefill_flops(card, prompt) + calls * decode_flops(card, prompt, 1),
    }
    usd = call_usd(card, prompt, calls)
    return costs if usd is None else {**costs, "usd": usd}


def _least_calls(stage: StageSpec) -> int:
    if stage.templates is not None:
        return min(_calls(stage, name) for name in stage.templates)
    return stage.samples[0] + min(ROLES[role].calls_model for role in stage.final)


def _calls(stage: StageSpec, template: str) -> int:
    """Least model calls of a template: samples, and one that merges or scores them."""
    if template == "single":
        return 1
    samples = max(2, stage.samples[0])
    return samples + (1 if template in ("fuse", "best_of_n") else 0)


def _bytes(text: str) -> int:
    return len(text.encode())
