"""What one answer of a whole graph costs on paper: expected lengths of prompts and replies to every cost metric.

Lengths begin as a guess for each stage and are refined by the token counts of a run's draws. How these ended is
counted beside them, as replies that were cut off or never came make a graph look cheap.
It does not know prompts, texts or draws, only how many tokens they have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from apportion.graphs.cost import COSTS, ModelCard, Rates, call_latency_s, call_usd, decode_flops, eflops, prefill_flops
from apportion.graphs.graph import Graph, Node
from apportion.graphs.roles import ROLES


@dataclass(frozen=True, slots=True)
class Length:
    """Expected tokens of one call.

    Attributes:
        prompt_tokens: of its prompt, without the candidates that stand in it.
        completion_tokens: of its reply.
        made: share of the calls that a node may make which it does make: a stage whose prompt cannot be filled in is
            not asked at all, and who judges asks once for equal answers.
    """

    prompt_tokens: float
    completion_tokens: float
    made: float = 1.0


@dataclass(frozen=True, slots=True)
class Lengths:
    """Expected lengths of a task's calls.

    Attributes:
        known: by (stage,), which every stage needs, (stage, role) and (stage, role, model); the longest key holds.
    """

    known: Mapping[tuple[str, ...], Length]

    def of(self, node: Node) -> Length | None:
        """The expected length of the node's calls; None for a stage that is not known."""
        kind = (node.stage, node.role, node.model or "")
        return next((self.known[kind[:n]] for n in (3, 2, 1) if kind[:n] in self.known), None)


@dataclass(frozen=True, slots=True)
class Measured:
    """Token counts of the draws of a run.

    Attributes:
        sums: draws, prompt tokens without candidates, completion tokens, and the draws that there might have been at
            most, by (stage, role, model).
        ends: replies by (stage, model, how they ended).
    """

    sums: Mapping[tuple[str, str, str], tuple[int, int, int, int]] = field(default_factory=dict)
    ends: Mapping[tuple[str, str, str], int] = field(default_factory=dict)

    def possible(self, stage: str, role: str, model: str, calls: int) -> Measured:
        """These counts with a node that might have made so many calls."""
        kind = (stage, role, model)
        draws, prompts, completions, most = self.sums.get(kind, (0, 0, 0, 0))
        return replace(self, sums={**self.sums, kind: (draws, prompts, completions, most + calls)})

    def plus(
        self, stage: str, role: str, model: str, prompt_tokens: int, completion_tokens: int, read_tokens: int = 0
    ) -> Measured:
        """These counts and those of one more draw that has a reply.

        Args:
            read_tokens: completion tokens of the candidates, and of the comments on them, that its prompt holds.
        """
        kind = (stage, role, model)
        draws, prompts, completions, most = self.sums.get(kind, (0, 0, 0, 0))
        own = max(0, prompt_tokens - read_tokens)  # reasoning is counted with a candidate, but not shown with it
        sums = (draws + 1, prompts + own, completions + completion_tokens, most)
        return replace(self, sums={**self.sums, kind: sums})

    def ended(self, stage: str, model: str, ends: Iterable[str]) -> Measured:
        """These counts with replies that ended so."""
        counts = Counter({**self.ends})
        counts.update((stage, model, end) for end in ends)
        return replace(self, ends=dict(counts))

    def to_dict(self) -> dict[str, Any]:
        """The counts as JSON values; `from_dict` is the inverse."""
        return {
            "sums": [[*kind, *counts] for kind, counts in self.sums.items()],
            "ends": [[*kind, count] for kind, count in self.ends.items()],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Measured:
        """The counts that `to_dict` wrote."""
        return cls(
            {(stage, role, model): (n, p, c, most) for stage, role, model, n, p, c, most in data["sums"]},
            {(stage, model, end): count for stage, model, end, count in data.get("ends", ())},  # not in older runs
        )


def refined(lengths: Lengths, measured: Measured) -> Lengths:
    """The lengths with measured means in place of guesses.

    A (stage, role, model) that was never seen takes the mean of its (stage, role), else that of its stage, each over
    all draws, else what `lengths` says.
    """
    sums: dict[tuple[str, ...], tuple[int, ...]] = {}
    for kind, counts in measured.sums.items():
        for key in (kind[:1], kind[:2], kind):
            sums[key] = tuple(map(sum, zip(counts, sums.get(key, (0, 0, 0, 0)), strict=True)))
    seen = {
        key: Length(prompts / n, completions / n, min(1.0, n / most) if most else 1.0)
        for key, (n, prompts, completions, most) in sums.items()
        if n
    }
    return Lengths({**lengths.known, **seen})


def on_paper(
    graph: Graph, cards: Mapping[str, ModelCard], lengths: Lengths, rates: Mapping[str, Rates]
) -> dict[str, float | None]:
    """Every metric of `COSTS` for one answer of a graph, as `apportion.evaluators.costs` would count it.

    A node makes all the calls that it may: a role that is asked for each candidate finds no two of them alike.
    A text that is chosen among candidates has their mean length.

    Returns:
        None, never 0, for what is not known: all but calls where a stage has no length; USD, equivalent FLOPs and
        seconds where a price, the size of a KV cache or a speed is missing.
    """
    costs: dict[str, float | None] = {**dict.fromkeys(COSTS), "calls": float(graph.calls)}
    asked = _asked(graph, lengths)
    if asked is not None:
        prompts = [prompt for node in graph.nodes for prompt in asked[node.id]]
        costs["tokens"] = float(sum(p.made * p.draws * (p.tokens + p.completion_tokens) for p in prompts))
        costs["flops"] = sum(_flops(asked, cards).values())
        costs["eflops"] = _eflops(prompts, cards)
        costs["usd"] = _usd(prompts, cards)
        costs["latency_s"] = _latency_s(graph, asked, rates)
    return costs


def shares(graph: Graph, cards: Mapping[str, ModelCard], lengths: Lengths) -> dict[str, float]:
    """Each node's share of the FLOPs of one answer, from 0 to 1, by id; empty where a stage has no length."""
    asked = _asked(graph, lengths)
    flops = {} if asked is None else _flops(asked, cards)
    return {name: own / sum(flops.values()) for name, own in flops.items()}


@dataclass(frozen=True, slots=True)
class _Text:
    """Tokens of a candidate and of the comments on it."""

    tokens: float
    comments: float = 0.0


@dataclass(frozen=True, slots=True)
class _Prompt:
    """One prompt of a node, how many completions are drawn for it, and how likely it is asked at all.

    Prompts of one key are the same prompt.
    """

    key: tuple[object, ...]
    model: str
    tokens: float
    completion_tokens: float
    draws: int
    made: float


def _asked(graph: Graph, lengths: Lengths) -> dict[str, list[_Prompt]] | None:
    """The prompts of each node; None where a length is not known."""
    texts: dict[str, list[_Text]] = {}
    asked: dict[str, list[_Prompt]] = {}
    for node in graph.nodes:
        length = lengths.of(node)
        if length is None:
            return None
        read = [text for source in graph.candidates(node) for text in texts[source.id]]
        texts[node.id] = _given(graph, node, length, read)
        asked[node.id] = _prompts(graph, node, length, read)
    return asked


def _given(graph: Graph, node: Node, length: Length, read: Sequence[_Text]) -> list[_Text]:
    """The texts that a node gives."""
    role = ROLES[node.role]
    if role.gives == "new":
        return [_Text(length.completion_tokens)] * node.samples
    added = node.samples * length.completion_tokens if role.comments == "writes" else 0.0
    if role.gives == "kept":
        mean = _Text(fmean(text.tokens for text in read), fmean(text.comments for text in read))
        read = [mean] * graph.widths[node.id]
    return [_Text(text.tokens, text.comments + added) for text in read]


def _prompts(graph: Graph, node: Node, length: Length, read: Sequence[_Text]) -> list[_Prompt]:
    """The prompts of a node that calls a model: one for each share of the candidates that a prompt holds."""
    if node.model is None:
        return []
    reads_comments = ROLES[node.role].comments == "reads"
    shown = [text.tokens + (text.comments if reads_comments else 0.0) for text in read]
    held = _held(node, len(read))
    shares = [shown[i : i + held] for i in range(0, len(shown), held)] if held else [[]]
    sources = tuple(source.id for source in graph.candidates(node)) if held else ()
    kind = (node.stage, node.role, node.model, node.temperature, sources)
    return [
        _Prompt(
            (*kind, i),
            node.model,
            length.prompt_tokens + sum(share),
            length.completion_tokens,
            node.samples,
            length.made,
        )
        for i, share in enumerate(shares)
    ]


def _held(node: Node, candidates: int) -> int:
    """How many of its candidates each prompt of a node holds."""
    if node.role == "tester":  # its tests come from the task alone, and are run on the candidates
        return 0
    return 1 if ROLES[node.role].each else candidates


def _flops(asked: Mapping[str, Sequence[_Prompt]], cards: Mapping[str, ModelCard]) -> dict[str, float]:
    """FLOPs by node: samples of one prompt encode it once, F(S) = prefill + S · decode (AgentTTS, arXiv 2508.00890).

    Of nodes that share a prompt the first one encodes it.
    """
    flops: dict[str, float] = {}
    encoded: set[tuple[object, ...]] = set()
    for name, prompts in asked.items():
        fresh = [p for p in prompts if p.key not in encoded]
        encoded.update(p.key for p in fresh)
        decoded = (p.made * p.draws * decode_flops(cards[p.model], p.tokens, p.completion_tokens) for p in prompts)
        flops[name] = sum(p.made * prefill_flops(cards[p.model], p.tokens) for p in fresh) + sum(decoded)
    return flops


def _eflops(prompts: Sequence[_Prompt], cards: Mapping[str, ModelCard]) -> float | None:
    """Equivalent FLOPs, KV traffic included (Kinetics, arXiv 2506.05333); None where a card lacks its KV cache."""
    each = [eflops(cards[p.model], p.tokens, p.completion_tokens, p.draws) for p in prompts]
    known = [p.made * cost for p, cost in zip(prompts, each, strict=True) if cost is not None]
    return sum(known) if len(known) == len(each) else None


def _usd(prompts: Sequence[_Prompt], cards: Mapping[str, ModelCard]) -> float | None:
    """USD by list price, every call paying for its own prompt; None where a price is unknown."""
    total = 0.0
    for prompt in prompts:
        price = call_usd(cards[prompt.model], prompt.tokens, prompt.completion_tokens)
        if price is None:
            return None
        total += prompt.made * prompt.draws * price
    return total


def _latency_s(graph: Graph, asked: Mapping[str, Sequence[_Prompt]], rates: Mapping[str, Rates]) -> float | None:
    """Seconds on the critical path: draws of a node side by side, nodes wait for their inputs; None without a rate."""
    done: dict[str, float] = {}
    for node in graph.nodes:
        if node.model is not None and node.model not in rates:
            return None
        seconds = (p.made * call_latency_s(rates[p.model], p.tokens, p.completion_tokens) for p in asked[node.id])
        ready = max((done[source] for source in node.inputs), default=0.0)
        done[node.id] = ready + max(seconds, default=0.0)
    return done[graph.output.id]
