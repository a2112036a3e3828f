"""The least that one answer can cost on paper, to refuse budgets and limits that no graph can keep.

A bound from below: the cheapest choice of each stage, its shortest prompt, one token a reply. It never refuses what
could be met. It does not know lines of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean

from apportion.graphs.cost import call_usd, decode_flops, prefill_flops
from apportion.graphs.paper import Length, Lengths
from apportion.graphs.roles import ROLES
from apportion.spec.formats import Row
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
    budget, limits = spec.budget.bounds(len(spec.stages)), spec.limits.model_dump(exclude_none=True)
    for section, bounds in (("budget", budget), ("limits", limits)):
        for name, cost in least.items():
            if name in bounds and cost > bounds[name]:
                in_units = section == "budget" and name == "flops" and spec.budget.units is not None
                is_, raise_ = ("stands for", "raise it") if in_units else ("is", f"raise it above {cost:.6g}")
                key = "units" if in_units else name
                text = f"even the cheapest answer costs {cost:.6g} {name}, but {section}.{key} {is_} {bounds[name]:.6g}"
                yield (section, key), f"{text}; {raise_}, or shorten prompts and stages"


def cheapest(spec: TaskSpec, rows: Sequence[Row]) -> dict[str, float]:
    """The least of each cost that one answer can have: calls, tokens, flops and, if every price is known, usd."""
    total = {"calls": 0.0, "tokens": 0.0, "flops": 0.0, "usd": 0.0}
    for stage in spec.stages:
        least = _cheapest(spec, stage, shortest_prompt_tokens(spec, stage, rows))
        total = {metric: cost + least[metric] for metric, cost in total.items() if metric in least}
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


def _cheapest(spec: TaskSpec, stage: StageSpec, prompt: float) -> dict[str, float]:
    """The least of each cost that a stage can have; a cost that is not known of every model is left out."""
    ways = [_ways(stage, template) for template in stage.templates] if stage.templates is not None else [_slots(stage)]
    found: list[dict[str, float]] = []
    for calls, deciding in ways:
        drafted = _least(_costs(spec.models[name], calls, prompt) for name in stage.models)
        # The last call may be of a cheaper model, and is not sure to show the whole prompt.
        decided = _least(_costs(spec.models[name], 1, 0) for name in deciding) if deciding else None
        found.append(drafted if decided is None else {m: drafted[m] + decided[m] for m in drafted if m in decided})
    return _least(found)


def _least(costs: Iterable[dict[str, float]]) -> dict[str, float]:
    """The least of each cost that all of them have."""
    listed = list(costs)
    return {metric: min(c[metric] for c in listed) for metric in listed[0] if all(metric in c for c in listed)}


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


def _slots(stage: StageSpec) -> tuple[int, Sequence[str]]:
    """Least calls of a slot, and the models of which one decides at the end, if it must be one."""
    if not all(ROLES[role].calls_model for role in stage.final):
        return stage.samples[0], ()
    return stage.samples[0], stage.final_models or stage.models


def _ways(stage: StageSpec, template: str) -> tuple[int, Sequence[str]]:
    """Least samples of a template, and the models of which one merges or scores them, if one does."""
    if template == "single":
        return 1, ()
    if template == "best_of_n":
        return max(2, stage.samples[0]), (stage.scorer,) if stage.scorer else stage.models
    return max(2, stage.samples[0]), stage.models if template == "fuse" else ()


def _bytes(text: str) -> int:
    return len(text.encode())
