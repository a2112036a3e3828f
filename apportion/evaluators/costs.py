"""What one answer costs: calls, tokens, FLOPs, USD, and seconds on the critical path.

Costs are those of answering afresh, whether the draws came from the bank or not. Seconds come from rates that were
probed at a stated concurrency, never from the time a call took during the search, which holds the search's own load.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from apportion.envs.rollout import NodeRun, Rollout
from apportion.graphs.cost import ModelCard, Rates, call_latency_s, call_usd, decode_flops, prefill_flops
from apportion.graphs.cost import eflops as call_eflops
from apportion.store.calls import Draw

Cost = Callable[[Rollout], float | None]


def calls(rollout: Rollout) -> float:
    """Model calls."""
    return float(len(rollout.draws))


def tokens(rollout: Rollout) -> float:
    """Prompt and completion tokens of all calls."""
    return float(sum(draw.prompt_tokens + draw.completion_tokens for draw in rollout.draws))


def flops(cards: Mapping[str, ModelCard]) -> Cost:
    """FLOPs: samples of one prompt encode it once, F(S) = prefill + S · decode (AgentTTS, arXiv 2508.00890)."""

    def measure(rollout: Rollout) -> float:
        total, encoded = 0.0, set()
        for name, run in rollout.nodes.items():
            model = rollout.graph.by_id[name].model
            for draw in run.draws:
                card = cards[str(model)]
                if draw.prompt_tokens and draw.key not in encoded:  # a draw without a reply counts no tokens
                    encoded.add(draw.key)
                    total += prefill_flops(card, draw.prompt_tokens)
                total += decode_flops(card, draw.prompt_tokens, draw.completion_tokens)
        return total

    return measure


def eflops(cards: Mapping[str, ModelCard]) -> Cost:
    """Equivalent FLOPs, KV traffic included (Kinetics, arXiv 2506.05333), samples of a prompt at their mean length.

    None where a card lacks the size of its KV cache.
    """

    def measure(rollout: Rollout) -> float | None:
        total = 0.0
        for name, run in rollout.nodes.items():
            prompts: dict[str, list[Draw]] = {}
            for draw in run.draws:
                prompts.setdefault(draw.key, []).append(draw)
            for draws in prompts.values():
                card = cards[str(rollout.graph.by_id[name].model)]
                lengths = [draw.completion_tokens for draw in draws]
                cost = call_eflops(card, draws[0].prompt_tokens, sum(lengths) / len(lengths), len(lengths))
                if cost is None:
                    return None
                total += cost
        return total

    return measure


def usd(cards: Mapping[str, ModelCard]) -> Cost:
    """USD by list price, every call paying for its own prompt; None where a price is unknown."""

    def measure(rollout: Rollout) -> float | None:
        total = 0.0
        for name, run in rollout.nodes.items():
            for draw in run.draws:
                card = cards[str(rollout.graph.by_id[name].model)]
                price = call_usd(card, draw.prompt_tokens, draw.completion_tokens)
                if price is None:
                    return None
                total += price
        return total

    return measure


def latency_s(rates: Mapping[str, Rates]) -> Cost:
    """Seconds on the critical path: draws of a node run side by side, nodes wait for their inputs."""

    def node_s(model: str | None, run: NodeRun) -> float:
        if model is None or not run.draws:
            return 0.0
        return max(call_latency_s(rates[model], d.prompt_tokens, d.completion_tokens) for d in run.draws)

    def measure(rollout: Rollout) -> float:
        done: dict[str, float] = {}
        for node in rollout.graph.nodes:
            ready = max((done[source] for source in node.inputs), default=0.0)
            done[node.id] = ready + node_s(node.model, rollout.nodes[node.id])
        return done[rollout.graph.output.id]

    return measure


def costs(cards: Mapping[str, ModelCard], rates: Mapping[str, Rates]) -> dict[str, Cost]:
    """Every cost metric by name; `latency_s` only where rates are known."""
    known: dict[str, Cost] = {"calls": calls, "tokens": tokens, "flops": flops(cards)}
    known |= {"eflops": eflops(cards), "usd": usd(cards)}
    return {**known, "latency_s": latency_s(rates)} if rates else known
