"""What running one graph on one example gave: every text, every draw, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apportion.graphs.graph import Graph
from apportion.store.calls import Draw, DrawStatus


@dataclass(frozen=True, slots=True)
class Candidate:
    """One text of a node.

    Attributes:
        text: as the model wrote it.
        value: what the stage's parser read from it; None when it has no value of its form.
    """

    text: str
    value: str | None


@dataclass(frozen=True, slots=True)
class NodeRun:
    """What one node did.

    Attributes:
        status: `ok` when it gave a candidate; else why it gave none.
        draws: every completion it used, in the order of the sample index.
    """

    status: DrawStatus
    candidates: tuple[Candidate, ...] = ()
    draws: tuple[Draw, ...] = ()


@dataclass(frozen=True, slots=True)
class Rollout:
    """One graph on one example.

    Attributes:
        status: how it ended. Truncated, refused and timed-out replies are wrong answers; `failed` is no answer at all
            and is left out of averages.
        answer: the value of the last node, None when it has none.
        nodes: what each node that was run did, by node id.
    """

    graph: Graph
    example_id: str
    status: DrawStatus
    answer: str | None
    nodes: Mapping[str, NodeRun]

    @property
    def draws(self) -> tuple[Draw, ...]:
        """Every completion that the graph used."""
        return tuple(draw for run in self.nodes.values() for draw in run.draws)
