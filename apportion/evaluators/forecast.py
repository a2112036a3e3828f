"""What a graph will cost, before it is run: formulas on paper, with token counts of the rollouts seen so far.

It begins with a guess from the task itself: prompts at four bytes a token, replies as long as they may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from apportion.envs.rollout import NodeRun, Rollout
from apportion.graphs.cost import ModelCard, Rates
from apportion.graphs.graph import Graph, Node, calls_of
from apportion.graphs.paper import Lengths, Measured, on_paper, refined
from apportion.graphs.roles import ROLES


class Forecast:
    """Costs of graphs on paper, refined by what was measured.

    Args:
        guess: lengths of every stage before anything is known.

    Attributes:
        rates: speeds of the models; without them seconds are not known.
    """

    def __init__(self, cards: Mapping[str, ModelCard], guess: Lengths) -> None:
        self.rates: Mapping[str, Rates] = {}
        self._cards = cards
        self._guess = guess
        self._measured = Measured()

    def learn(self, rollout: Rollout) -> None:
        """Count how a rollout's draws ended and, unless it failed, their tokens; in whatever order rollouts come."""
        for name, run in rollout.nodes.items():
            node = rollout.graph.by_id[name]
            self._measured = self._measured.ended(node.stage, str(node.model), _ends(node, run))
        if rollout.status == "failed":
            return
        tokens: dict[tuple[str, int], int] = {}
        for name, run in rollout.nodes.items():
            ok = [draw.completion_tokens for draw in run.draws if draw.status == "ok"]
            if ROLES[rollout.graph.by_id[name].role].gives == "new":
                tokens |= {(name, i): count for i, count in enumerate(ok)}
        for node in rollout.graph.nodes:
            if node.model is not None:
                most = calls_of(rollout.graph, node)
                self._measured = self._measured.possible(node.stage, node.role, node.model, most)
        for name, run in rollout.nodes.items():
            node = rollout.graph.by_id[name]
            read = _read(rollout, node, tokens)
            for draw in run.draws:
                if draw.prompt_tokens:  # a draw without a reply says nothing
                    kind = (node.stage, node.role, str(node.model))
                    self._measured = self._measured.plus(*kind, draw.prompt_tokens, draw.completion_tokens, read)

    def costs(self, graph: Graph) -> dict[str, float | None]:
        """Every cost of one answer of a graph; None where it is not known."""
        return on_paper(graph, self._cards, refined(self._guess, self._measured), self.rates)

    def prices(self, metric: str, stages: Sequence[str]) -> dict[str, dict[str, float | None]]:
        """What one call of each model costs that answers a stage afresh, by stage and model."""
        lone = {stage: {m: Graph((Node("one", stage, "generator", m),)) for m in self._cards} for stage in stages}
        return {stage: {m: self.costs(graph)[metric] for m, graph in graphs.items()} for stage, graphs in lone.items()}

    def to_dict(self) -> dict[str, Any]:
        """What was learnt, as JSON values."""
        return self._measured.to_dict()

    def recall(self, learnt: Mapping[str, Any]) -> None:
        """Take over what an earlier session learnt."""
        self._measured = Measured.from_dict(learnt)


def _ends(node: Node, run: NodeRun) -> Iterator[str]:
    """How each reply of a node ended: its status, or `unparsed` where the stage's parser found no value in a whole one.

    Of a judge the beginning tells as much, so that none is truncated.
    """
    writes = ROLES[node.role].gives == "new"
    unparsed = sum(candidate.value is None for candidate in run.candidates) if writes else 0
    for draw in run.draws:
        if draw.status == "ok" and unparsed:
            unparsed -= 1
            yield "unparsed"
        else:
            yield "ok" if draw.status == "truncated" and not writes else draw.status


def _read(rollout: Rollout, node: Node, tokens: Mapping[tuple[str, int], int]) -> int:
    """Completion tokens of the candidates, and of the comments on them, that a prompt of a node holds."""
    role = ROLES[node.role]
    if role.least == 0 or node.role == "tester":
        return 0
    sources = [source.id for source in rollout.graph.candidates(node) if source.id in rollout.nodes]
    origins = {candidate.origin for source in sources for candidate in rollout.nodes[source].candidates}
    total = sum(tokens.get(origin, 0) for origin in origins)
    if role.each:
        return round(total / len(origins)) if origins else 0
    critics = [s for s in sources if ROLES[rollout.graph.by_id[s].role].comments == "writes"]
    comments = sum(draw.completion_tokens for s in critics for draw in rollout.nodes[s].draws)
    return total + (comments if role.comments == "reads" else 0)
