"""The ways of answering one stage, each a small subgraph of a model and a number of samples.

`single`     one call.
`vote`       n samples, majority of the parsed values (self-consistency, arXiv 2203.11171).
`fuse`       n samples, merged by the same model: the operator of AgentTTS (arXiv 2508.00890).
`best_of_n`  n samples, a scorer model grades each distinct one, the best is kept.
`refine`     a draft, then n - 1 rounds of improving it (self-refine, arXiv 2303.17651).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from apportion.graphs.graph import Node


@dataclass(frozen=True, slots=True)
class StageChoice:
    """What is chosen for one stage.

    Attributes:
        samples: drafts of `vote`, `fuse`, `best_of_n`; calls in all of `refine`; `single` ignores it.
        scorer: model that grades in `best_of_n`.
        upstream: ids of the stage outputs that the stage's prompt reads.
    """

    stage: str
    model: str
    samples: int
    scorer: str
    upstream: tuple[str, ...]

    def drafts(self, samples: int) -> Node:
        """The generator that answers the stage's prompt afresh."""
        return Node(f"{self.stage}.draft", self.stage, "generator", self.model, samples, self.upstream)


def single(choice: StageChoice) -> tuple[Node, ...]:
    """One call."""
    return (choice.drafts(1),)


def vote(choice: StageChoice) -> tuple[Node, ...]:
    """Samples and their majority."""
    drafts = choice.drafts(choice.samples)
    return drafts, Node(f"{choice.stage}.vote", choice.stage, "voter", inputs=(drafts.id,))


def fuse(choice: StageChoice) -> tuple[Node, ...]:
    """Samples merged by the model that drew them."""
    drafts = choice.drafts(choice.samples)
    return drafts, Node(f"{choice.stage}.fuse", choice.stage, "fuser", choice.model, inputs=(drafts.id,))


def best_of_n(choice: StageChoice) -> tuple[Node, ...]:
    """Samples of which a scorer keeps the best."""
    drafts = choice.drafts(choice.samples)
    return drafts, Node(f"{choice.stage}.score", choice.stage, "scorer", choice.scorer, inputs=(drafts.id,))


def refine(choice: StageChoice) -> tuple[Node, ...]:
    """A draft and rounds of improvement."""
    chain = [choice.drafts(1)]
    for n in range(1, choice.samples):
        name = f"{choice.stage}.refine{n}"
        chain.append(Node(name, choice.stage, "refiner", choice.model, inputs=(chain[-1].id,)))
    return tuple(chain)


TEMPLATES: Mapping[str, Callable[[StageChoice], tuple[Node, ...]]] = {
    "single": single,
    "vote": vote,
    "fuse": fuse,
    "best_of_n": best_of_n,
    "refine": refine,
}
