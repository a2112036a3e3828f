"""Hypothesis strategies of values: search spaces, their parameters, graphs beyond any space, prompts' texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from apportion.bench.networkx_sampling import NetworkxSampler
from apportion.graphs.graph import Graph, Node
from apportion.graphs.parameters import Choice, Count, Value
from apportion.graphs.roles import ROLES
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace, Stage
from apportion.graphs.templates import TEMPLATES, TemplateStage

MODELS = ("small", "medium", "large")
STAGES = ("find", "think", "answer")
READERS = tuple(name for name, role in ROLES.items() if role.least)
MODEST = ("refiner", "decider")  # roles that can play on whatever a slot reads
ENDS = ("refiner", "decider", "voter", "scorer", "verifier", "tester")  # roles that make do with one unscored draft

replies = st.text(max_size=60) | st.text(alphabet="0123456789,.-+eE{}[]\"':ab \n", max_size=60)
"""What a model may write: any text, and texts thick with what parsers look for."""

anything = replies | st.text(st.characters(exclude_categories=()), max_size=60)
"""What may come of it where nobody checked it: halves of surrogate pairs too."""


def subsets(values: Sequence[str]) -> st.SearchStrategy[tuple[str, ...]]:
    """One or more of the values, in any order."""
    return st.lists(st.sampled_from(values), min_size=1, max_size=len(values), unique=True).map(tuple)


@st.composite
def stage_spaces(draw: st.DrawFn, name: str, earlier: tuple[str, ...] = ()) -> TemplateStage:
    """The choices of one stage, which reads the stage before it and may read others."""
    least = draw(st.integers(1, 3))
    samples = (least, draw(st.integers(least, 4)))
    others = draw(st.sets(st.sampled_from(earlier))) if earlier else set()
    return TemplateStage(
        name,
        draw(subsets(MODELS[:2])),
        draw(subsets(tuple(TEMPLATES))),
        samples,
        draw(st.none() | st.sampled_from(MODELS)),
        tuple(stage for stage in earlier if stage in others or stage == earlier[-1]),
    )


@st.composite
def spaces(draw: st.DrawFn, stages: int = 2) -> SearchSpace:
    """A space of up to `stages` stages and a few hundred graphs."""
    names = STAGES[: draw(st.integers(1, stages))]
    return SearchSpace(tuple(draw(stage_spaces(name, names[:i])) for i, name in enumerate(names)))


@st.composite
def slot_stages(draw: st.DrawFn, name: str, earlier: tuple[str, ...] = (), slots: int = 3) -> SlotStage:
    """A stage of up to `slots` slots, which reads the stage before it."""
    least = draw(st.integers(1, 2))
    return SlotStage(
        name,
        draw(subsets(MODELS[:2])),
        draw(st.integers(1, slots)),
        draw(st.just(()) | _with_one_of(MODEST, READERS)),
        draw(_with_one_of(ENDS, tuple(role for role in READERS if role != "critic"))),
        (least, draw(st.integers(least, 3))),
        draw(st.sampled_from([(), (0.5,), (0.0, 1.0)])),
        draw(st.just(()) | subsets(MODELS)),
        draw(st.integers(1, 2)),
        earlier[-1:],
        draw(st.booleans()),
    )


def _with_one_of(needed: Sequence[str], names: Sequence[str]) -> st.SearchStrategy[tuple[str, ...]]:
    both = st.tuples(st.sampled_from(needed), st.lists(st.sampled_from(names), max_size=3))
    return both.map(lambda drawn: tuple(dict.fromkeys((*drawn[1], drawn[0]))))


@st.composite
def mixed_spaces(draw: st.DrawFn, slots: int = 3) -> SearchSpace:
    """A space of one or two stages, one of slots and perhaps one of templates beside it, in either order."""
    names = STAGES[: draw(st.integers(1, 2))]
    slotted = draw(st.sampled_from(names))
    stages: list[Stage] = []
    for i, name in enumerate(names):
        stages.append(
            draw(slot_stages(name, names[:i], slots)) if name == slotted else draw(stage_spaces(name, names[:i]))
        )
    return SearchSpace(tuple(stages))


def params(space: SearchSpace) -> st.SearchStrategy[dict[str, Value]]:
    """A complete set of parameters of a space."""
    return st.fixed_dictionaries({name: values(parameter) for name, parameter in space.parameters.items()})


@st.composite
def running_params(draw: st.DrawFn, space: SearchSpace) -> dict[str, Value]:
    """A complete set of parameters of a space, slots included, that builds a graph."""
    even = {name: dict.fromkeys(own.values, 1.0 / len(own.values)) for name, own in space.parameters.items()}

    def choose(weights: Sequence[float]) -> int:
        return draw(st.sampled_from([i for i, weight in enumerate(weights) if weight > 0.0]))

    return NetworkxSampler(space, even).draw(choose)


def values(parameter: Choice | Count) -> st.SearchStrategy[Value]:
    """A value of one parameter."""
    if isinstance(parameter, Choice):
        return st.sampled_from(parameter.values)
    return st.integers(parameter.least, parameter.most)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A valid graph: in each stage drafts, perhaps improved ones, and a node that makes one text of them."""
    nodes: list[Node] = []
    outputs: list[str] = []
    for stage in STAGES[: draw(st.integers(1, 3))]:
        upstream = tuple(outputs[-1:])

        def add(role: str, inputs: tuple[str, ...], samples: int = 1, stage: str = stage) -> str:
            model = None if role == "voter" else draw(st.sampled_from(MODELS))
            nodes.append(Node(f"{stage}{len(nodes)}", stage, role, model, samples, inputs))
            return nodes[-1].id

        drafts = [add("generator", upstream, draw(st.integers(1, 3))) for _ in range(draw(st.integers(1, 3)))]
        texts = [draw(st.sampled_from([draft, ""])) or add("refiner", (draft,)) for draft in drafts]
        lone = len(texts) == 1 and nodes[-1].samples == 1
        role = draw(st.sampled_from(["voter", "scorer", "refiner"] if lone else ["voter", "scorer", "fuser"]))
        least = 2 if role == "fuser" else 1
        if sum(node.samples for node in nodes if node.id in texts) >= least:
            add(role, (*texts, *upstream), draw(st.integers(1, 2)) if role == "scorer" else 1)
        else:
            add("refiner", tuple(texts))
        outputs.append(nodes[-1].id)
    return Graph(tuple(nodes))


def renamed(graph: Graph) -> Graph:
    """The same graph under other node ids."""
    record: dict[str, Any] = graph.to_dict()
    for node in record["nodes"]:
        node["id"], node["inputs"] = f"x-{node['id']}", [f"x-{source}" for source in node["inputs"]]
    return Graph.from_dict(record)
