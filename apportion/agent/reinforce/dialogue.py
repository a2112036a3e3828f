"""One question to an agent, and the same once more where its reply cannot be used: ask, validate, repair, hand over.

A dialogue is a function of the question and of what the agent answers. Answers are kept by whoever gives them (a
model's in the run's bank), so one that is cut short is gone through again without asking anew, and needs no checkpoint
of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar

from apportion.agent.question import Agent, Question
from apportion.agent.reinforce import prompting
from apportion.agent.reinforce.brief import Brief
from apportion.errors import AgentError

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

Found = TypeVar("Found")


@dataclass(frozen=True)
class Put(Generic[Found]):
    """A question that is to be put.

    Attributes:
        words: of the question.
        read: from a reply, and what an earlier one held, to what both hold, and what is wrong with it, a line each.
        enough: whether nothing is asked again, whatever is wrong with the rest.
    """

    purpose: str
    words: str
    schema: Mapping[str, Any]
    brief: Brief
    read: Callable[[str, Found | None], tuple[Found, list[str]]]
    enough: Callable[[Found], bool]


@dataclass(frozen=True)
class Outcome(Generic[Found]):
    """What came of a question.

    Attributes:
        found: None where there was no reply at all.
        repaired: whether anything of it is from the second reply.
        asked: questions.
        refused: what was wrong, a line each.
    """

    found: Found | None
    repaired: bool
    asked: int
    refused: Sequence[str]


class State(TypedDict, total=False):
    """What the steps hand on.

    Attributes:
        said: the turns of the conversation.
        wrong: what is wrong with the last reply.
        silent: whether the last question had no answer, so that there is nothing to repair.
    """

    put: Put[Any]
    said: list[str]
    found: Any
    wrong: list[str]
    refused: list[str]
    asked: int
    repaired: bool
    silent: bool


@dataclass(frozen=True)
class Dialogue:
    """Puts questions to an agent."""

    agent: Agent[Brief]

    def put(self, question: Put[Found]) -> Outcome[Found]:
        """Ask, and ask once more if need be."""
        start = State(put=question, said=[question.words], found=None, refused=[], asked=0, repaired=False)
        end = self._graph.invoke(start)
        return Outcome(end["found"], end["repaired"], end["asked"], end["refused"])

    @cached_property
    def _graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        from langgraph.graph import END, START, StateGraph

        graph = StateGraph(State)
        for step in (self.ask, self.validate, self.repair):
            graph.add_node(step.__name__, step)
        graph.add_edge(START, "ask")
        graph.add_edge("ask", "validate")
        graph.add_conditional_edges("validate", self._next, {"repair": "repair", "end": END})
        graph.add_edge("repair", "validate")
        return graph.compile()

    def ask(self, state: State) -> State:
        """Put the question."""
        return self._answered(state, state["put"].purpose, state["said"])

    def validate(self, state: State) -> State:
        """Take what can be used of the last reply."""
        if state["silent"]:
            return {"wrong": []}
        found, wrong = state["put"].read(state["said"][-1], state["found"])
        repaired = state["asked"] > 1 and found != state["found"]
        return {"found": found, "wrong": wrong, "refused": [*state["refused"], *wrong], "repaired": repaired}

    def repair(self, state: State) -> State:
        """Put it once more, with what was wrong."""
        said = [*state["said"], prompting.repair(state["wrong"])]
        return self._answered(state, "repair", said)

    def _next(self, state: State) -> str:
        if not state["wrong"] or state["asked"] > 1:
            return "end"
        return "end" if state["put"].enough(state["found"]) else "repair"

    def _answered(self, state: State, purpose: str, said: list[str]) -> State:
        put = state["put"]
        question = Question(purpose, prompting.messages(*said), put.schema, put.brief)
        asked = state["asked"] + 1
        try:
            return {"said": [*said, self.agent.answer(question)], "asked": asked, "silent": False}
        except AgentError as error:
            return {"said": [*said, ""], "asked": asked, "silent": True, "refused": [*state["refused"], str(error)]}
