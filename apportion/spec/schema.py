"""The task spec as frozen values: every key of the YAML, its type, range, default and description.

One key at a time: it does not know files, the model catalogue or rules over several keys (`check` does).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag

from apportion.graphs.cost import ModelCard
from apportion.graphs.slots import SlotStage
from apportion.graphs.templates import TemplateStage
from apportion.spec.searching import Budget, Limits, SearchSpec
from apportion.spec.types import (
    MAX_ITEMS,
    Count,
    Model,
    ModelName,
    Name,
    OneOf,
    Pattern,
    Positive,
    Samples,
    Slots,
    Temperature,
    Template,
    Text,
    Url,
    Variable,
    Words,
)

DEFAULT_SLOTS = {"gguf": 4, "endpoint": 8}
TemplateName = Literal["single", "vote", "vote_ids", "fuse", "best_of_n", "refine"]
Format = Literal["jsonl", "hotpotqa", "kgqa", "taskbench", "srdd", "math", "mmlu", "humaneval"]


class Price(Model):
    """What a model's tokens cost."""

    prompt: float = Field(ge=0, description="USD per million prompt tokens.")
    completion: float = Field(ge=0, description="USD per million completion tokens.")


class RatesSpec(Model):
    """How fast a model is; measured before the search when absent."""

    prefill_tok_s: Positive = Field(description="Prompt tokens per second of one request.")
    decode_tok_s: Positive = Field(description="Completion tokens per second of one request.")


class ModelSpec(Model):
    """A model that stages may call: a local file (`gguf`) or a server (`endpoint`)."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["gguf"]}, {"required": ["endpoint", "model"]}]}
    )

    gguf: Text | None = Field(
        default=None, description="A name from `apportion models list`, or a .gguf file relative to this file."
    )
    context: Count = Field(default=2048, description="Tokens of context per slot of a gguf model.")
    endpoint: Url | None = Field(default=None, description="URL of an OpenAI-compatible server, with its /v1.")
    model: Text | None = Field(default=None, description="The server's name for the model; required with endpoint.")
    api_key_env: Variable | None = Field(
        default=None, description="Name of the environment variable that holds the key, never the key itself."
    )
    timeout_s: Positive = Field(default=60.0, description="Seconds after which one attempt is given up.")
    stream: bool = Field(
        default=True, description="Whether replies are streamed, which gives the time to the first token."
    )
    parameters: Positive = Field(description="Active parameters, a count such as 7e9; FLOPs are computed from it.")
    layers: Count | None = Field(default=None, description="Transformer layers; with width, FLOPs include attention.")
    width: Count | None = Field(default=None, description="Model dimension; goes with layers.")
    kv_elements_per_token: Count | None = Field(
        default=None,
        description="Keys and values kept for a token, 2 x KV heads x head dimension x layers; gives eflops.",
    )
    gqa_ratio: Count | None = Field(
        default=None, description="Query heads that share a KV head; goes with kv_elements_per_token."
    )
    price: Price | None = Field(description="USD per million tokens, or null when it is not known.")
    seeds: bool = Field(default=False, description="Whether the server may be sent a seed with each request.")
    logprobs: bool = Field(default=False, description="Whether the server gives log-probabilities; verifiers use them.")
    json_schema: bool = Field(
        default_factory=lambda given: bool(given.get("gguf")),
        description="Whether the server keeps replies to a JSON schema; agents use it; default true for gguf only.",
    )
    concurrency: Count = Field(
        default_factory=lambda given: DEFAULT_SLOTS["gguf" if given.get("gguf") else "endpoint"],
        description="Requests in flight at most; default 4 for gguf, 8 for endpoint.",
    )
    rates: RatesSpec | None = Field(default=None, description="Known speed; measured before the search when absent.")

    def card(self, name: str) -> ModelCard:
        """What the cost formulas need."""
        price = self.price
        return ModelCard(
            name,
            self.parameters,
            self.layers or 0,
            self.width or 0,
            None if price is None else price.prompt,
            None if price is None else price.completion,
            self.kv_elements_per_token or 0,
            self.gqa_ratio or 0,
        )


class SplitCounts(Model):
    """Rows of each split, taken after a seeded shuffle."""

    search: Count = Field(description="Rows that the search measures graphs on.")
    validation: Count = Field(description="Rows that choose among the finalists.")
    test: Count = Field(description="Rows that are used once, at the end.")


class SplitField(Model):
    """The data names the split of each row itself."""

    field: Text = Field(description="Field that holds search, validation or test.")


def _split_kind(value: object) -> str:
    named = isinstance(value, SplitField) or (isinstance(value, dict) and "field" in value)
    return "split:field" if named else "split:counts"


class DataSpec(Model):
    """The examples: a JSONL file, one object a line, or a public data set's file."""

    path: Text = Field(description="Data file, relative to this file.")
    format: Format = Field(
        default="jsonl",
        description="Format of the file: jsonl, hotpotqa (2WikiMultiHopQA too), kgqa, taskbench, srdd, "
        "math (MATH-500 too), mmlu, humaneval.",
    )
    id: Text = Field(default="id", description="Field that holds a unique id.")
    without: Annotated[tuple[Text, ...], Field(max_length=MAX_ITEMS)] = Field(
        default=(), description="Ids of rows that are left out."
    )
    split: Annotated[
        Annotated[SplitCounts, Tag("split:counts")] | Annotated[SplitField, Tag("split:field")],
        Discriminator(_split_kind),
    ] = Field(description="{search: n, validation: n, test: n}, or {field: name}.")


class ParseRule(OneOf):
    """A way of taking the answer out of a reply that needs an argument."""

    regex: Pattern | None = Field(
        default=None, description="Regular expression with one group; the group of its first match is the answer."
    )
    choice: Annotated[tuple[Text, ...], Field(min_length=2, max_length=MAX_ITEMS)] | None = Field(
        default=None, description="The words that the answer may be."
    )
    json_key: Text | None = Field(default=None, alias="json", description="Key of the JSON object in the reply.")


ParseWord = Literal["text", "last_line", "first_line", "number", "ids", "code"]
Parse = Annotated[
    Annotated[ParseWord, Tag("parse:word")] | Annotated[ParseRule, Tag("parse:rule")],
    Discriminator(lambda v: "parse:rule" if isinstance(v, (dict, ParseRule)) else "parse:word"),
]


class StageSpec(Model):
    """One step of the system: a prompt, and the choices that the search has for answering it."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["templates"]}, {"required": ["slots"]}]})

    name: Name = Field(description="Later prompts read the stage's answer as {name}.")
    system: Template | None = Field(default=None, description="System message; same placeholders as prompt.")
    prompt: Template = Field(description="User message; {field} is a data field or an earlier stage, {{ }} are braces.")
    parse: Parse = Field(
        default="text",
        description="text, last_line, first_line, number, ids, code, {regex: …}, {choice: [words]} or {json: key}.",
    )
    picks: Text | None = Field(
        default=None, description="Field whose items the answer numbers, from 1; later prompts read those items."
    )
    runs: bool = Field(
        default=False,
        description="Whether the answer, a program, is run in the sandbox; later prompts read how.",
    )
    models: Words = Field(description="Models that may be chosen.")
    templates: Annotated[tuple[TemplateName, ...], Field(min_length=1, max_length=MAX_ITEMS)] | None = Field(
        default=None,
        description="Ways of answering to choose from: single, vote, vote_ids, fuse, best_of_n, refine. Or give slots.",
    )
    slots: Slots | None = Field(
        default=None, description="Instead of templates: nodes, wired freely, that may come before the final one."
    )
    roles: Words | None = Field(
        default=None,
        description="Roles of slots that read others, such as refiner, fuser, critic, ranker, verifier; "
        "a slot that reads none is a generator, and without roles all are.",
    )
    final: Words = Field(
        default=("voter",), description="Roles of the final node: voter, weighted_voter, decider, fuser, ranker, …."
    )
    final_models: Words | None = Field(default=None, description="Models of the final node; `models` when absent.")
    keep: Samples = Field(default=1, description="Candidates that a slot passes on which chooses among them, at most.")
    samples: tuple[Samples, Samples] = Field(
        default=(1, 1), description="Least and most samples, [least, most]; single always takes one."
    )
    temperatures: Annotated[tuple[Temperature, ...], Field(min_length=1, max_length=MAX_ITEMS)] | None = Field(
        default=None, description="Temperatures that a slot may have, rising; the stage's own when absent."
    )
    temperature: Temperature = Field(default=0.7, description="Sampling temperature.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Nucleus sampling mass.")
    max_tokens: Count = Field(description="Most completion tokens of one reply.")
    stop: tuple[Text, ...] = Field(default=(), max_length=MAX_ITEMS, description="Strings that end a reply.")
    scorer: Text | None = Field(
        default=None, description="Model that scores in best_of_n; the stage's own when absent."
    )

    def space(self, reads: tuple[str, ...]) -> TemplateStage | SlotStage:
        """What the search may choose for the stage.

        Args:
            reads: earlier stages that its prompts read.

        Raises:
            GraphError: its roles cannot be wired freely.
        """
        if self.slots is None:
            return TemplateStage(self.name, self.models, self.templates or (), self.samples, self.scorer, reads)
        return SlotStage(
            self.name,
            self.models,
            self.slots,
            self.roles or (),
            self.final,
            self.samples,
            self.temperatures or (),
            self.final_models or (),
            self.keep,
            reads,
        )


class StageOptions(Model):
    """Whose answer is measured."""

    stage: Name | None = Field(default=None, description="Stage whose answer is measured; the last one when absent.")


class FieldOptions(StageOptions):
    """Which field holds the expected value."""

    field: Text = Field(description="Data field with the expected value.")


class NumericOptions(FieldOptions):
    """How near a number must come."""

    tolerance: float = Field(
        default=1e-6,
        ge=0,
        description="Largest difference that counts as equal: absolute, or relative to a larger value.",
    )


class JsonFieldsOptions(FieldOptions):
    """Which keys are compared."""

    fields: Words | None = Field(
        default=None, description="Keys that are compared; all keys of the expected object when absent."
    )


class UnitTestsOptions(FieldOptions):
    """Where the parts of a program's test are."""

    entry: Text = Field(default="entry_point", description="Data field with the name of the function.")
    prompt: Text = Field(default="prompt", description="Data field with the beginning of the program.")


def _long_form(value: object) -> object:
    """`exact: answer` is short for `exact: {field: answer}`."""
    return value if isinstance(value, (dict, FieldOptions)) else {"field": value}


Expected = Annotated[FieldOptions, BeforeValidator(_long_form, json_schema_input_type=str | FieldOptions)]
ExpectedNumber = Annotated[NumericOptions, BeforeValidator(_long_form, json_schema_input_type=str | NumericOptions)]
ExpectedObject = Annotated[
    JsonFieldsOptions, BeforeValidator(_long_form, json_schema_input_type=str | JsonFieldsOptions)
]

ExpectedTests = Annotated[UnitTestsOptions, BeforeValidator(_long_form, json_schema_input_type=str | UnitTestsOptions)]


class EvaluatorSpec(OneOf):
    """How a stage's answer becomes a number from 0 to 1: the kind, and the field it is compared with."""

    exact: Expected | None = Field(default=None, description="1 when equal to the field.")
    numeric: ExpectedNumber | None = Field(default=None, description="1 when the same number.")
    choice: Expected | None = Field(default=None, description="1 when the same choice.")
    contains: Expected | None = Field(default=None, description="1 when the answer contains the field.")
    regex: Expected | None = Field(default=None, description="1 when the pattern in the field matches.")
    json_fields: ExpectedObject | None = Field(
        default=None, description="1 when the answer's JSON object has the field's values."
    )
    squad_em: Expected | None = Field(default=None, description="1 when equal to the field but for articles and marks.")
    squad_f1: Expected | None = Field(default=None, description="F1 of the words of the answer and the field.")
    set_f1: Expected | None = Field(
        default=None, description="F1 of the answer's lines, or ids, and the field's items."
    )
    rouge_l: Expected | None = Field(default=None, description="ROUGE-L F1 of the answer against the field's text.")
    lexical_cosine: Expected | None = Field(
        default=None, description="Cosine of the word counts of a program and of the field: a stand-in for embeddings."
    )
    complete: StageOptions | None = Field(default=None, description="1 when the program has no pass, ... or TODO.")
    executable: StageOptions | None = Field(
        default=None, description="1 when the program, run in the sandbox, ends in time and without an exception."
    )
    unit_tests: ExpectedTests | None = Field(
        default=None, description="1 when what the function gives in the sandbox passes all asserts of the field."
    )
    math_equal: Expected | None = Field(
        default=None, description="1 when mathematically the same as the field, in LaTeX or plain; needs extra math."
    )
    reasoning_gym: Expected | None = Field(
        default=None, description="Score of reasoning-gym, the field saying how the row was made; needs its extra."
    )

    @property
    def options(self) -> StageOptions:
        """The stage, and for most kinds a field and whatever else the kind takes."""
        options: StageOptions = self.value
        return options

    @property
    def field(self) -> str | None:
        """The field that the answer is compared with, None for kinds that look at the answer alone."""
        return self.options.field if isinstance(self.options, FieldOptions) else None

    @property
    def fields(self) -> dict[str, str]:
        """Every field that must be in the data, by the option that names it."""
        found = {} if self.field is None else {"field": self.field}
        if isinstance(self.options, UnitTestsOptions):
            found |= {"entry": self.options.entry, "prompt": self.options.prompt}
        return found


class Objective(OneOf):
    """A metric and its direction."""

    maximize: Text | None = Field(
        default=None, description="An evaluator's name, or calls, tokens, flops, eflops, usd, latency_s."
    )
    minimize: Text | None = Field(
        default=None, description="An evaluator's name, or calls, tokens, flops, eflops, usd, latency_s."
    )

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return str(self.value)


class TaskSpec(Model):
    """A task: models, data, stages, what is measured, and what may be spent."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)] = Field(
        description="Name of the task and of its run folders: lower case, digits, - and _."
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="Seed of the split, the search and the draws.")
    plugins: tuple[Text, ...] = Field(
        default=(),
        max_length=MAX_ITEMS,
        description="Python files, relative to this file, that add roles with `apportion.add_role`; they are run.",
    )
    models: Annotated[dict[ModelName, ModelSpec], Field(min_length=1, max_length=MAX_ITEMS)] = Field(
        description="Models by name."
    )
    data: DataSpec = Field(description="The examples.")
    stages: Annotated[tuple[StageSpec, ...], Field(min_length=1, max_length=MAX_ITEMS)] = Field(
        description="Steps in order; the last one gives the answer."
    )
    evaluators: Annotated[dict[Name, EvaluatorSpec], Field(min_length=1, max_length=MAX_ITEMS)] = Field(
        description="Metrics by name."
    )
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=MAX_ITEMS)] = Field(
        description="What the search looks for; the first is an evaluator."
    )
    budget: Budget = Field(default=Budget(), description="Bounds on one answer.")
    limits: Limits = Field(default=Limits(), description="What the search may spend.")
    search: SearchSpec = Field(default=SearchSpec(), description="How the search proposes graphs.")
    bank: Text | None = Field(
        default=None, description="SQLite file that keeps draws over runs, relative to this file."
    )
