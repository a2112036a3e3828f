"""The keys of a spec that say what may be spent and how graphs are proposed: `budget`, `limits`, `search`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, StringConstraints, Tag

from apportion.graphs.cost import units_flops
from apportion.spec.problems import show
from apportion.spec.types import MAX_ITEMS, Count, Model, ModelName, Positive, Samples, Temperature, Text, law

ALLOCATING = ("agenttts", "agenthpo", "mlcopilot", "llm_zero_shot")
WIRING = ("agent_reinforce", "textgrad", "maao")
AGENTS = (*ALLOCATING, *WIRING)
"""Samplers that ask an agent."""


def _no_truth(value: object) -> object:
    """To Python true is 1 too."""
    if isinstance(value, bool):
        raise law(f"must be 1, 2 or 3, or text of your own, but is {show(value)}; write one")
    return value


def _not_blank(text: str) -> str:
    if not text.strip():
        raise law(f"must not be blank, but is {show(text)}; write what the agent is to know, or leave it out")
    return text


Prior = Annotated[str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_not_blank)]
Insight = Annotated[
    Annotated[Literal[1, 2, 3], BeforeValidator(_no_truth), Tag("insight:number")]
    | Annotated[Prior, Tag("insight:text")],
    Discriminator(lambda value: "insight:text" if isinstance(value, str) else "insight:number"),
]


class Budget(Model):
    """Bounds on one answer, as a mean over the examples."""

    calls: Positive | None = Field(default=None, description="Model calls of one answer.")
    tokens: Positive | None = Field(default=None, description="Prompt and completion tokens of one answer.")
    flops: Positive | None = Field(default=None, description="FLOPs of one answer.")
    units: Positive | None = Field(
        default=None,
        description="FLOPs of one answer in AgentTTS's units, the sum over stages: kept as flops, "
        "(64 x units + 128 x stages) x 6e9.",
    )
    eflops: Positive | None = Field(default=None, description="FLOPs of one answer with its KV traffic counted.")
    usd: Positive | None = Field(default=None, description="USD of one answer.")
    latency_s: Positive | None = Field(default=None, description="Seconds to one answer.")

    def bounds(self, stages: int) -> dict[str, float]:
        """The bounds that are given by cost, units as FLOPs.

        Args:
            stages: of the task.
        """
        given: dict[str, float] = self.model_dump(exclude_none=True)
        units = given.pop("units", None)
        return given if units is None else {**given, "flops": units_flops(units, stages)}


class Limits(Model):
    """What the search itself may spend."""

    usd: Positive | None = Field(default=None, description="USD of the whole search.")
    calls: Count | None = Field(default=None, description="Model calls of the whole search.")
    tokens: Count | None = Field(default=None, description="Tokens of the whole search.")
    wall_s: Positive | None = Field(default=None, description="Seconds of the whole search.")
    trials: Count = Field(default=30, description="Graphs that the search may try.")


class AgentSpec(Model):
    """The agent that agenttts and those after it ask; code answers where it has no model."""

    model: ModelName | None = Field(
        default=None, description="Model that answers, a key of `models`; when absent code does, without a key."
    )
    evolution: bool = Field(default=False, description="Whether an evolutionary search answers in place of a model.")
    batch: Samples | None = Field(default=None, description="Proposals of a round; default 10, where it wires slots 4.")
    insights: Annotated[tuple[Insight, ...], Field(max_length=MAX_ITEMS)] | None = Field(
        default=None,
        description="What the agent is told beforehand: the method's insights by number, 1 to 3, and your own as text; "
        "default [1, 2, 3] for agenttts and agent_reinforce, none for the others.",
    )
    memory: Literal["all", "some", "none"] | None = Field(
        default=None, description="Earlier trials that the agent is shown; default some, for llm_zero_shot none."
    )
    memory_tokens: Count | None = Field(
        default=None,
        description="Tokens that the trials it is shown may take, of memory some; default 700, where it wires slots "
        "1200.",
    )
    update: Literal["text", "gradient", "both", "alternating"] | None = Field(
        default=None,
        description="What moves the distribution over graphs; default both for agent_reinforce, text for textgrad, "
        "alternating for maao.",
    )
    mix: Literal["agent", "random", "none"] | None = Field(
        default=None,
        description="Who names the mixes of models to begin with; default agent for agent_reinforce, else random.",
    )
    initial_insights: bool | None = Field(
        default=None, description="Whether the insights are told when mixes are named; default true."
    )
    sweeps: bool | None = Field(
        default=None,
        description="Whether the insights are tried on a few examples first; default true for agent_reinforce only.",
    )
    roles: bool | None = Field(default=None, description="Whether roles of slots are searched; default true.")
    credit: bool | None = Field(
        default=None, description="Whether the agent is shown what each node and edge was worth; default true."
    )
    fail_closed: bool = Field(
        default=False, description="Whether a round without a usable proposal ends the search; else chance proposes."
    )
    temperature: Temperature = Field(default=1.0, description="Sampling temperature of the agent's model.")
    max_tokens: Count = Field(default=2000, description="Most completion tokens of one reply of the agent.")


class SearchSpec(Model):
    """How graphs are proposed."""

    sampler: Literal[
        "allocator",
        "random",
        "grid",
        "tpe",
        "nsga2",
        "reinforce",
        "gptswarm",
        "maas",
        "agenttts",
        "agenthpo",
        "mlcopilot",
        "llm_zero_shot",
        "agent_reinforce",
        "textgrad",
        "maao",
    ] = Field(
        default="allocator",
        description="What chooses the next graph to measure; agenttts and those after it ask `agent`; reinforce, "
        "gptswarm, maas, agent_reinforce, textgrad and maao need the extra torch.",
    )
    finalists: Count = Field(default=3, description="Graphs that are measured again on the validation split.")
    agent: AgentSpec = Field(default=AgentSpec(), description="The agent of agenttts, agenthpo and the like.")
    warm_start: Annotated[tuple[Text, ...], Field(max_length=MAX_ITEMS)] = Field(
        default=(), description="Folders of other runs, relative to this file, from which the agent is told what held."
    )

    @property
    def asks_agent(self) -> bool:
        """Whether the sampler asks an agent."""
        return self.sampler in AGENTS

    @property
    def wires_graphs(self) -> bool:
        """Whether the agent that it asks wires slots, in place of choosing among templates."""
        return self.sampler in WIRING
