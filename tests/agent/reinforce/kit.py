"""Spaces of slots with prices, what was tried of them, and agents and probes that answer what they are told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from apportion.agent.finding import Finding
from apportion.agent.question import Question
from apportion.agent.reinforce.brief import Brief, Terms
from apportion.agent.reinforce.history import Asked, History, Proposal, Source, Tried
from apportion.agent.reinforce.mixes import Mix, Purse, mixes
from apportion.errors import AgentError
from apportion.graphs.credit import Credit
from apportion.graphs.graph import Graph, calls_of
from apportion.graphs.notation import from_lines
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace

PRICES = {"small": 1.0, "large": 4.0}
MODELS = tuple(PRICES)
DECIDED = "solve.final: role decider; model small"
"""The last line of a graph of `one`."""


def one(slots: int = 4, *, free_order: bool = False) -> SearchSpace:
    """A space of one stage of slots."""
    stage = SlotStage("solve", MODELS, slots, ("refiner", "fuser"), ("decider",), free_order=free_order)
    return SearchSpace((stage,))


def two() -> SearchSpace:
    """A stage without edges between slots, whose values are whole numbers and floats too, and one that reads it."""
    find = SlotStage("find", MODELS, 2, (), ("voter",), samples=(1, 3), temperatures=(0.0, 1.0))
    solve = SlotStage("solve", MODELS, 3, ("refiner", "fuser"), ("decider", "voter"), reads=("find",))
    return SearchSpace((find, solve))


def cost(graph: Graph) -> float:
    """What an answer costs: the price of each call, whatever it reads."""
    return sum(calls_of(graph, node) * PRICES[node.model] for node in graph.nodes if node.model)


def terms(space: SearchSpace, budget: float | None = 9.0, known: Callable[[Graph], float | None] = cost) -> Terms:
    """Prices of a call of each stage and model; the bound is the nominal one too."""
    prices = {(stage.name, model): price for stage in space.stages for model, price in PRICES.items()}
    return Terms(Purse(prices, budget), known, budget, "units")


def tried(
    space: SearchSpace,
    number: int,
    lines: Sequence[str],
    score: float | None = None,
    round_: int | None = 0,
    source: Source = "drawn",
    expected: float | None = None,
) -> Tried:
    """A graph that was measured with a score, None if it could not be.

    Args:
        round_: None for a baseline.
    """
    params = from_lines(space, lines)
    graph = space.build(params)
    proposal = None if round_ is None else Proposal(round_, source, expected=expected)
    return Tried(number, graph, params, () if score is None else (score,), score, cost(graph), proposal)


def wide(space: SearchSpace, n: int, model: str = "small") -> list[str]:
    """Lines of so many slots of the stage `solve` side by side, in a space of that stage alone."""
    return [*(f"solve.{slot}: model {model}; to final" for slot in range(1, n + 1)), DECIDED]


def brief(
    space: SearchSpace,
    own: Terms | None = None,
    history: Sequence[Tried] = (),
    asked: Sequence[Asked] = (),
    insights: Mapping[int, str] | None = None,
    findings: Sequence[Finding] = (),
    listed: Sequence[Mix] | None = None,
    *,
    roles: bool = True,
) -> Brief:
    """What a round knows, with an even distribution."""
    own = own or terms(space)
    listed = mixes(space, own.purse) if listed is None else listed
    probabilities = ProbabilisticGraph(space).probabilities()
    return Brief(space, own, History(history, asked), insights or {}, findings, listed, probabilities, roles, 1, 7)


@dataclass
class Told:
    """An agent that gives these answers in turn, and none after the last.

    Attributes:
        questions: that it was asked.
    """

    answers: Sequence[str]
    questions: list[Question[Brief]] = field(default_factory=list)

    def answer(self, question: Question[Brief]) -> str:
        self.questions.append(question)
        if len(self.questions) > len(self.answers):
            raise AgentError("the agent must answer, but said nothing more; tell it more.")
        return self.answers[len(self.questions) - 1]


@dataclass
class Measures:
    """A probe whose scores are a function of the graph and the place of the example.

    Attributes:
        seen: what was asked for, graph by key and part.
    """

    score: Callable[[Graph, int], float | None]
    examples: int = 40
    credits: Credit | None = None
    seen: list[tuple[str, slice]] = field(default_factory=list)

    def scores(self, graph: Graph, part: slice) -> list[float | None]:
        self.seen.append((graph.key, part))
        return [self.score(graph, place) for place in range(self.examples)[part]]

    def credit(self, graph: Graph) -> Credit | None:
        return self.credits
