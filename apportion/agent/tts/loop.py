"""One round of an agent: recall, diagnose, guide, propose, validate, repair once, hand over.

The round is a function of what was tried and of what the agent answers. Answers are kept by whoever gives them (a
model's in the run's bank), so a round that is cut short is gone through again without asking anew, and needs no
checkpoint of its own.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict

from apportion.agent.question import Agent, Question
from apportion.agent.tts import prompting
from apportion.agent.tts.allocation import Allocations
from apportion.agent.tts.brief import Brief
from apportion.agent.tts.candidates import Unseen, anywhere
from apportion.agent.tts.diagnosis import diagnosis, stalled
from apportion.agent.tts.history import History, Origin, Proposal, Round, Source
from apportion.agent.tts.memory import remembered
from apportion.agent.tts.reply import guidelines, proposals
from apportion.agent.tts.settings import MOST_GUIDELINES, Settings
from apportion.envs.worker import Message
from apportion.errors import AgentError, GraphError

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

STRIDE = 1_000_003  # a prime, so that rounds of neighbouring seeds do not share seeds


class State(TypedDict, total=False):
    """What the steps of a round hand on.

    Attributes:
        said: the turns of the conversation about proposals.
        wrong: what is wrong with candidates, of the last reply.
        silent: whether the last question had no answer, so that there is nothing to repair.
    """

    brief: Brief
    notes: list[str]
    task: str
    trials: str
    diagnosis: str
    said: list[str]
    proposals: list[Proposal]
    wrong: list[str]
    refused: list[str]
    asked: int
    repaired: bool
    silent: bool


@dataclass(frozen=True)
class Loop:
    """Asks an agent for what to try next."""

    agent: Agent[Brief]
    settings: Settings

    def round(self, space: Allocations, history: History, seed: int, notes: Sequence[str] = ()) -> Round:
        """What to try next, at least one proposal.

        Args:
            notes: by the person in charge.

        Raises:
            AgentError: there is none that can be used, and chance may not fill in.
            GraphError: no allocation is within the budget.
        """
        number = len(history.rounds) + 1
        told = tuple(prompting.priors(self.settings.insights))
        if number > 1:
            told = tuple(n for n in told if n != 1)  # the initial trials have compared models already
        brief = Brief(space, history, told, (), self.settings.batch, stalled(history), number, seed * STRIDE + number)
        start = State(brief=brief, notes=list(notes), asked=0, refused=[], repaired=False)
        end = self._graph.invoke(start)
        return Round(number, end["brief"].guidelines, end["proposals"], end["asked"], end["refused"])

    @cached_property
    def _graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        from langgraph.graph import END, START, StateGraph

        graph = StateGraph(State)
        for step in (self.recall, self.diagnose, self.guide, self.propose, self.validate, self.repair, self.hand_over):
            graph.add_node(step.__name__, step)
        graph.add_edge(START, "recall")
        for before, after in (("recall", "diagnose"), ("diagnose", "guide"), ("guide", "propose")):
            graph.add_edge(before, after)
        graph.add_edge("propose", "validate")
        graph.add_conditional_edges("validate", self._usable, ["repair", "hand_over"])
        graph.add_edge("repair", "validate")
        graph.add_edge("hand_over", END)
        return graph.compile()

    def recall(self, state: State) -> State:
        """What the task is, and what was tried."""
        brief, own = state["brief"], self.settings
        space = brief.allocations
        trials = remembered(brief.history, space.unit, own.memory, own.memory_tokens)
        return {"task": prompting.task(space, own.knowledge, state["notes"]), "trials": trials}

    def diagnose(self, state: State) -> State:
        """How the search stands."""
        return {"diagnosis": diagnosis(state["brief"])}

    def guide(self, state: State) -> State:
        """Ask for guidelines."""
        brief = state["brief"]
        if not self.settings.guidelines:
            return {}
        told, most = self._told(brief), min(brief.batch, MOST_GUIDELINES)
        asked = prompting.guide(state["task"], told, state["trials"], state["diagnosis"], most, explore=brief.stalled)
        schema = prompting.guidelines_schema(told, most)
        reply, refused = self._ask("guide", prompting.messages(asked), schema, brief)
        own = guidelines(reply, brief.insights, most)
        brief = replace(brief, guidelines=own)
        refused += [] if own or refused else ["the reply held no guidelines."]
        return {
            "brief": brief,
            "asked": state["asked"] + 1,
            "refused": [*state["refused"], *refused],
        }

    def propose(self, state: State) -> State:
        """Ask for allocations."""
        brief = state["brief"]
        space, rules = brief.allocations, brief.rules
        asked = prompting.propose(
            space, state["task"], self._told(brief), state["trials"], state["diagnosis"], rules, brief.batch,
            explore=brief.stalled,
        )  # fmt: skip
        schema = prompting.candidates_schema(space, len(rules), brief.batch)
        reply, refused = self._ask("propose", prompting.messages(asked), schema, brief)
        return {
            "silent": bool(refused),
            "said": [asked, reply],
            "proposals": [],
            "asked": state["asked"] + 1,
            "refused": [*state["refused"], *refused],
        }

    def validate(self, state: State) -> State:
        """Take what can be used of the last reply."""
        brief, own = state["brief"], state["proposals"]
        if state["silent"]:
            return {"wrong": []}
        known = [tried.allocation for tried in brief.history.tried] + [proposal.allocation for proposal in own]
        source: Source = "repaired" if state["repaired"] else "agent"
        good, wrong = proposals(
            state["said"][-1], brief.allocations, brief.rules, known, brief.batch - len(own), brief.round, source
        )
        return {"proposals": [*own, *good], "wrong": wrong, "refused": [*state["refused"], *wrong]}

    def repair(self, state: State) -> State:
        """Ask once more for those that could not be used."""
        brief, said = state["brief"], state["said"]
        count = brief.batch - len(state["proposals"])
        asked = prompting.repair(state["wrong"], count)
        schema = prompting.candidates_schema(brief.allocations, len(brief.rules), count)
        reply, refused = self._ask("repair", prompting.messages(*said, asked), schema, brief)
        return {
            "said": [*said, asked, reply],
            "repaired": True,
            "silent": bool(refused),
            "asked": state["asked"] + 1,
            "refused": [*state["refused"], *refused],
        }

    def hand_over(self, state: State) -> State:
        """What can be used; where nothing can, chance."""
        own = state["proposals"]
        if own:
            return {"proposals": own}
        if self.settings.fail_closed:
            said = state["refused"][-1] if state["refused"] else "it said nothing."
            raise AgentError(
                f"the agent must propose what can be tried, but did not: {said} A note may help: nudge it."
            )
        return {"proposals": by_chance(state["brief"])}

    def _usable(self, state: State) -> str:
        return "repair" if state["wrong"] and not state["repaired"] and not state["silent"] else "hand_over"

    def _told(self, brief: Brief) -> dict[int, str]:
        """The priors of the round."""
        return {n: text for n, text in prompting.priors(self.settings.insights).items() if n in brief.insights}

    def _ask(
        self, purpose: str, messages: tuple[Message, ...], schema: dict[str, Any], brief: Brief
    ) -> tuple[str, list[str]]:
        """The answer, empty where there is none, with why."""
        try:
            return self.agent.answer(Question(purpose, messages, schema, brief)), []
        except AgentError as error:
            return "", [str(error)]


def by_chance(brief: Brief) -> list[Proposal]:
    """A batch of random allocations within the budget, new ones as far as they are found.

    Raises:
        GraphError: none is found.
    """
    space, rng = brief.allocations, random.Random(brief.seed)
    unseen = Unseen(space, [tried.allocation for tried in brief.history.tried])
    found = list(unseen.some(anywhere(space, rng), brief.batch))
    if not found and next(anywhere(space, rng), None) is None:
        raise GraphError(
            f"an answer must cost at most {space.budget:.6g} {space.unit}, but no random allocation does; raise it."
        )
    if not found:
        raise GraphError(
            "an agent must have something new to try, but chance finds nothing that was not tried; end here."
        )
    return [Proposal(own, Origin(brief.round, "fallback")) for own in found]
