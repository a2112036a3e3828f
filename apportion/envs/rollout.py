"""What running one graph on one example gave: every text, every draw, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from apportion.graphs.graph import Graph
from apportion.store.calls import Draw, DrawStatus


@dataclass(frozen=True, slots=True)
class Candidate:
    """One text of a node.

    Attributes:
        text: as the model wrote it.
        value: what the stage's parser read from it; None when it has no value of its form.
        origin: id of the node that wrote it, and its place among that node's texts.
        score: from 0 to 1, as the last judge gave it; None when none did.
        comments: of critics.
    """

    text: str
    value: str | None
    origin: tuple[str, int]
    score: float | None = None
    comments: tuple[str, ...] = ()


def merged(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Each text once, at its first place: with every comment on it, and the last score."""
    found: dict[tuple[str, int], Candidate] = {}
    for candidate in candidates:
        known = found.setdefault(candidate.origin, candidate)
        if known is candidate and not candidate.comments:
            continue  # the common case: nothing to merge
        found[candidate.origin] = replace(
            known,
            score=known.score if candidate.score is None else candidate.score,
            comments=tuple(dict.fromkeys((*known.comments, *candidate.comments))),
        )
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class NodeRun:
    """What one node did.

    Attributes:
        status: `ok` when it gave a candidate; else why it gave none.
        draws: every completion it used, in the order of the sample index.
        retold: what later prompts read in place of its first candidate's value; None where they read that.
    """

    status: DrawStatus
    candidates: tuple[Candidate, ...] = ()
    draws: tuple[Draw, ...] = ()
    retold: str | None = None


def value_of(run: NodeRun) -> str | None:
    """What a node answers: the value of its first candidate."""
    return run.candidates[0].value if run.candidates else None


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

    def answer_of(self, stage: str) -> str | None:
        """The value of a stage's last node, None when it has none or was not run."""
        run = self.nodes.get(self.graph.stage_outputs[stage].id)
        return value_of(run) if run is not None else None

    @property
    def draws(self) -> tuple[Draw, ...]:
        """Every completion that the graph used."""
        return tuple(draw for run in self.nodes.values() for draw in run.draws)
