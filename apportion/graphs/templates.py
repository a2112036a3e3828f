"""A stage that is answered in one of a few ways, each a small subgraph of a model and a number of samples.

`single`     one call.
`vote`       n samples, majority of the parsed values (self-consistency, arXiv 2203.11171).
`vote_ids`   n samples, each a list of ids, and the ids that most of them list, as AgentTTS's code merges retrievals.
`fuse`       n samples, merged by the same model: the operator of AgentTTS (arXiv 2508.00890).
`best_of_n`  n samples, a scorer model grades each distinct one, the best is kept.
`refine`     a draft, then n - 1 rounds of improving it (self-refine, arXiv 2303.17651).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from apportion.errors import GraphError
from apportion.graphs.graph import Node
from apportion.graphs.parameters import Choice, Count, Parameter, Params, Value


@dataclass(frozen=True, slots=True)
class StageChoice:
    """What is chosen for one stage.

    Attributes:
        samples: drafts of `vote`, `vote_ids`, `fuse`, `best_of_n`; calls in all of `refine`; `single` ignores it.
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


def vote_ids(choice: StageChoice) -> tuple[Node, ...]:
    """Samples and the ids that most of them list."""
    drafts = choice.drafts(choice.samples)
    return drafts, Node(f"{choice.stage}.vote_ids", choice.stage, "id_voter", inputs=(drafts.id,))


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
    "vote_ids": vote_ids,
    "fuse": fuse,
    "best_of_n": best_of_n,
    "refine": refine,
}


@dataclass(frozen=True)
class TemplateStage:
    """What may be chosen for one stage, as templates.

    Attributes:
        samples: least and most samples of the templates that draw several.
        scorer: the model that grades in `best_of_n`; None is the stage's own model.
        reads: earlier stages that the prompt reads.
    """

    name: str
    models: tuple[str, ...]
    templates: tuple[str, ...]
    samples: tuple[int, int]
    scorer: str | None = None
    reads: tuple[str, ...] = ()

    @property
    def count(self) -> Count:
        """The range of samples where a template draws several: never below 2."""
        return Count(max(2, self.samples[0]), max(2, self.samples[1]))

    @property
    def widest(self) -> int:
        """Samples that a template may draw."""
        return self.count.most

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """`<stage>.template`, `<stage>.model` and, where some template draws several, `<stage>.samples`."""
        parameters: dict[str, Parameter] = {
            f"{self.name}.template": Choice(self.templates),
            f"{self.name}.model": Choice(self.models),
        }
        if set(self.templates) != {"single"}:
            parameters[f"{self.name}.samples"] = self.count
        return parameters

    def nodes(self, params: Params, upstream: tuple[str, ...]) -> tuple[Node, ...]:
        """The stage's nodes."""
        model = str(params[f"{self.name}.model"])
        samples = int(params.get(f"{self.name}.samples", 1))
        choice = StageChoice(self.name, model, samples, self.scorer or model, upstream)
        return TEMPLATES[str(params[f"{self.name}.template"])](choice)

    def choices(self, nodes: Sequence[Node]) -> dict[str, Value]:
        """Parameters that give such nodes.

        Raises:
            GraphError: no template gives them.
        """
        wanted = _shape(nodes)
        for point in self.points():
            if _shape(self.nodes(point, ())) == wanted:
                return point
        raise GraphError(
            f"{self.name!r} must be answered by one of {', '.join(self.templates)} within its models and samples, "
            f"but the graph has {', '.join(str(node) for node in nodes)}; choose one of them."
        )

    def used(self, params: Params) -> list[str]:
        """Names of the parameters that shape the stage."""
        single = params[f"{self.name}.template"] == "single"
        return [name for name in self.parameters if not (single and name.endswith(".samples"))]

    def points(self) -> Iterator[dict[str, Value]]:
        """Parameters of every distinct way of answering."""
        for template, model in itertools.product(self.templates, self.models):
            params: dict[str, Value] = {f"{self.name}.template": template, f"{self.name}.model": model}
            if set(self.templates) == {"single"}:
                yield params
            else:
                most = self.count.least if template == "single" else self.count.most
                for samples in range(self.count.least, most + 1):
                    yield {**params, f"{self.name}.samples": samples}


def _shape(nodes: Sequence[Node]) -> list[object]:
    """What nodes are but for their ids and for what they read of other stages."""
    place = {node.id: i for i, node in enumerate(nodes)}
    return [
        (n.role, n.model, n.samples, n.temperature, n.keep, [place[i] for i in n.inputs if i in place]) for n in nodes
    ]
