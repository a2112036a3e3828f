"""The classic ways of spending test-time compute, as graphs as large as a budget on one answer allows.

For comparisons at equal spend: self-consistency (arXiv 2203.11171), self-refine (arXiv 2303.17651), mixture of agents
(arXiv 2406.04692) and a single call of a large model; and the complete graph by which Agent-REINFORCE
(arXiv 2511.00086) sets its budgets. What a graph costs it is told; it knows no accuracy.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from apportion.errors import GraphError
from apportion.graphs.cost import ModelCard, node_flops
from apportion.graphs.graph import Graph, Node
from apportion.graphs.roles import ROLES
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TEMPLATES, StageChoice

Cost = Callable[[Graph], float]
"""What one answer of a graph costs; it must rise with the calls of a graph, as FLOPs and USD do."""

LAYERS = (2, 3)
"""Layers of a mixture of agents, its last node counted as one: MoA-Lite and MoA of arXiv 2406.04692."""

MOST = 4096  # samples or nodes: a budget that covers as many bounds nothing


def classics(space: SearchSpace, stage: str, cost: Cost, budget: float) -> dict[str, Graph]:
    """The largest member of each classic family that a budget on one answer covers.

    - `single call of <model>`, and `single large model <model>` for the dearest that is covered;
    - `self-consistency of <model> x n`: n samples of one node and their majority;
    - `<role> <model> over <model> x n`, where the final node may not be a voter: it reads n generators. It calls their
      model if the space lets it, else the dearest that it may call;
    - `self-refine of <model> x n`: a draft and n - 1 rounds of refinement in a chain;
    - `mixture of agents of <models> in l layers x n`: layers of one node a model with n samples, generators first, then
      fusers that read the layer before, and a last fuser. The dearest models are left out until a member is covered,
      but two are left. The last fuser calls the dearest of the space's final models, else of the mixture's.

    They need not be graphs of the space: they may have more nodes, samples or roles. Temperatures are the stage's own.
    n is 2 or more, for mixtures 1 or more.

    Args:
        stage: name of the space's only stage, which is one of slots.

    Returns:
        Graphs by label; families of which no member is covered are left out.

    Raises:
        GraphError: the space has other stages, or the budget does not bound a family.
    """
    return dict(_Classics(_only(space, stage), cost, budget).all())


def complete(models: Sequence[str], final: str, stage: str) -> Graph:
    """Nodes of which each reads all before it, and a decider that reads them all.

    Args:
        models: of the nodes, a generator and then refiners.
        final: model of the decider.

    Raises:
        GraphError: there are no models.
    """
    ids = [f"{stage}.{i}" for i in range(1, len(models) + 1)]
    nodes = [
        Node(ids[i], stage, "refiner" if i else "generator", model, inputs=tuple(ids[:i]))
        for i, model in enumerate(models)
    ]
    return Graph((*nodes, Node(f"{stage}.final", stage, "decider", final, inputs=tuple(ids))))


def dag_flops(
    b: int, question_tokens: float, answer_tokens: float, node_card: ModelCard, final_card: ModelCard
) -> float:
    """FLOPs of the complete graph of b nodes of one model and a final node: Agent-REINFORCE's budget for b.

    Every node encodes its own prompt, the question and the answers of all nodes before it. Source: arXiv 2511.00086.
    """
    nodes = sum(node_flops(node_card, question_tokens, answer_tokens, read) for read in range(b))
    return nodes + node_flops(final_card, question_tokens, answer_tokens, b)


def _only(space: SearchSpace, name: str) -> SlotStage:
    """The stage of that name if it is the whole space."""
    stage = space.stages[0]
    if len(space.stages) == 1 and stage.name == name and isinstance(stage, SlotStage):
        return stage
    shown = ", ".join(f"{type(other).__name__} {other.name!r}" for other in space.stages)
    raise GraphError(
        f"classics are known for a space of one SlotStage only, got {shown} and the name {name!r}; "
        "give a space of the stage alone."
    )


@dataclass(frozen=True)
class _Classics:
    """The families of a stage under a budget, each as a label and its largest graph."""

    stage: SlotStage
    cost: Cost
    budget: float

    def all(self) -> Iterator[tuple[str, Graph]]:
        models = sorted(self.stage.models, key=self.price)
        covered = [model for model in models if self.price(model) <= self.budget]
        for model in covered:
            kind = "large model" if model == covered[-1] else "call of"
            yield f"single {kind} {model}", self.template("single", model)
        for model in covered:
            yield from self.of_one(model)
        for layers in LAYERS:
            yield from self.mixture(models, layers)

    def of_one(self, model: str) -> Iterator[tuple[str, Graph]]:
        """The families of which the drafts are all of one model."""
        yield from self.largest(f"self-consistency of {model}", lambda n: self.template("vote", model, n))
        asking = [name for name in self.stage.final if ROLES[name].calls_model and ROLES[name].scores != "reads"]
        if "voter" not in self.stage.final and asking:
            own = model in self.stage.deciding_models
            last = model if own else max(self.stage.deciding_models, key=self.price)
            label = f"{asking[0]} {last} over {model}"
            yield from self.largest(label, lambda n: self.decided(model, n, asking[0], last))
        yield from self.largest(f"self-refine of {model}", lambda n: self.template("refine", model, n))

    def mixture(self, models: Sequence[str], layers: int) -> Iterator[tuple[str, Graph]]:
        """The mixture of the most models, cheap ones first, of which a member is covered."""
        if len(models) < 2:
            return
        last = max(self.stage.final_models or models, key=self.price)
        label = f"mixture of agents of {', '.join(models)} in {layers} layers"
        found = list(self.largest(label, lambda n: self.mixed(models, n, layers, last), least=1))
        yield from found or self.mixture(models[:-1], layers)

    def largest(self, label: str, member: Callable[[int], Graph], least: int = 2) -> Iterator[tuple[str, Graph]]:
        """The largest covered member of a family whose members have a size, if there is one."""
        above = least
        while self.cost(member(above)) <= self.budget:
            if above >= MOST:
                raise GraphError(
                    f"`budget` must bound the size of a graph, but {self.budget:g} covers {label} x {above}; "
                    "lower it, or bound a cost to which every call adds, such as FLOPs."
                )
            above *= 2
        if above > least:
            between = range(above // 2 + 1, above)
            n = above // 2 + bisect_right(between, self.budget, key=lambda n: self.cost(member(n)))
            yield f"{label} x {n}", member(n)

    def price(self, model: str) -> float:
        return self.cost(self.template("single", model))

    def template(self, name: str, model: str, samples: int = 1) -> Graph:
        return Graph(TEMPLATES[name](StageChoice(self.stage.name, model, samples, model, ())))

    def decided(self, model: str, drafts: int, role: str, last: str) -> Graph:
        """Generators and a last node that reads them."""
        name = self.stage.name
        ids = tuple(f"{name}.{i}" for i in range(1, drafts + 1))
        nodes = (Node(draft, name, "generator", model) for draft in ids)
        return Graph((*nodes, Node(f"{name}.final", name, role, last, inputs=ids)))

    def mixed(self, models: Sequence[str], samples: int, layers: int, last: str) -> Graph:
        """Layers of a node a model, each of which reads the whole layer before."""
        name = self.stage.name
        nodes: list[Node] = []
        read: tuple[str, ...] = ()
        for layer in range(1, layers):
            role = "fuser" if read else "generator"
            made = [Node(f"{name}.{layer}.{model}", name, role, model, samples, read) for model in models]
            nodes, read = nodes + made, tuple(node.id for node in made)
        return Graph((*nodes, Node(f"{name}.final", name, "fuser", last, inputs=read)))
