"""Stages of slots in a task: each mistake with its line and remedy, overrides, and what their answers cost at least."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.build import space_of
from apportion.graphs.graph import Graph
from apportion.graphs.paper import Length, Lengths, on_paper
from apportion.graphs.slots import SlotStage
from apportion.graphs.templates import TemplateStage
from apportion.spec import json_schema, load_spec
from apportion.spec.paper import cheapest, guessed_lengths, shortest_prompt_tokens
from apportion.spec.schema import ModelSpec, Price, StageSpec, TaskSpec
from tests.strategies import mixed_spaces, running_params

Spoil = Callable[..., list[str]]
Write = Callable[[str | bytes], Path]
Edit = tuple[str, str]

SLOTTED: tuple[Edit, ...] = (
    ("    templates: [single, vote, best_of_n]\n", "    slots: 3\n"),
    (
        "    scorer: big\n",
        "    roles: [refiner, fuser]\n    final: [voter, decider]\n    final_models: [big]\n"
        "    temperatures: [0.2, 0.9]\n    keep: 2\n",
    ),
)
"""What makes the first stage of the good task, from line 23, one of slots."""

READING = "refiner, fuser, decider, critic, ranker, scorer, verifier, tester, voter, id_voter, weighted_voter"

# what is written -> what is written instead, and how the one problem begins
MISTAKES: list[tuple[str, str, str]] = [
    # kind
    (
        "slots: 3",
        "slots: 3\n    templates: [single]",
        "23: stages.0: a stage must have exactly one of templates and slots",
    ),
    ("    slots: 3\n", "", "23: stages.0: a stage must have exactly one of templates and slots, but has neither; keep"),
    (
        "keep: 2",
        "keep: 2\n    scorer: big",
        "37: stages.0.scorer: goes with templates only, but the stage has none; rem",
    ),
    ("slots: 3", "slot: 3", "27: stages.0.slot: unknown key 'slot'; did you mean 'slots'?"),
    ("final_models: [big]", "finals: [big]", "34: stages.0.finals: unknown key 'finals'; did you mean 'final'?"),
    # slots
    ("slots: 3", "slots: 0", "27: stages.0.slots: must be at least 1, but is 0; raise it"),
    ("slots: 3", "slots: 25", "27: stages.0.slots: must be at most 24, but is 25; lower it"),
    ("slots: 3", "slots: 2.5", "27: stages.0.slots: must be a whole number, but is 2.5"),
    ("slots: 3", "slots: true", "27: stages.0.slots: must be a whole number, but is true"),
    ("slots: 3", "slots: [3]", "27: stages.0.slots: must be a whole number, but is a list of 1"),
    # roles
    (
        "[refiner, fuser]",
        "[refinr]",
        f"32: stages.0.roles.0: must be one of {READING}, but is 'refinr'; did you mean 'ref",
    ),
    (
        "[refiner, fuser]",
        "[refiner, fuse]",
        f"32: stages.0.roles.1: must be one of {READING}, but is 'fuse'; did you mean",
    ),
    ("[refiner, fuser]", "[generator]", f"32: stages.0.roles.0: must be one of {READING}, but is 'generator'"),
    ("[refiner, fuser]", "[refiner, refiner]", "32: stages.0.roles.1: a list must not repeat itself, but 'refiner' is"),
    ("[refiner, fuser]", "[]", "32: stages.0.roles: must have 1 or more entries"),
    ("[refiner, fuser]", "refiner", "32: stages.0.roles: must be a list, but is 'refiner'; write it like [a, b]"),
    ("[refiner, fuser]", "[1]", "32: stages.0.roles.0: must be text, but is 1"),
    (
        "[refiner, fuser]",
        "[fuser, ranker]",
        "23: stages.0: a slot that reads one draft must have a role to play, but fuser, ",
    ),
    (
        "[refiner, fuser]",
        "[critic, voter]",
        "23: stages.0: a slot that reads one draft, and its comments, must have a role",
    ),
    (
        "[refiner, fuser]",
        "[weighted_voter]",
        "23: stages.0: a slot that reads one draft must have a role to play, but weigh",
    ),
    # the final node
    (
        "[voter, decider]",
        "[votr]",
        f"33: stages.0.final.0: must be one of {READING}, but is 'votr'; did you mean 'voter'?",
    ),
    (
        "[voter, decider]",
        "[voter, voter]",
        "33: stages.0.final.1: a list must not repeat itself, but 'voter' is given twi",
    ),
    ("[voter, decider]", "[]", "33: stages.0.final: must have 1 or more entries"),
    (
        "[voter, decider]",
        "[fuser]",
        "23: stages.0: a final node that reads one draft must have a role to play, but fuser need",
    ),
    (
        "[voter, decider]",
        "[voter, critic]",
        "23: stages.0: a final node must give one text, but a critic gives all it read",
    ),
    (
        "final_models: [big]",
        "final_models: [bgi]",
        "34: stages.0.final_models.0: must be a key of `models`, but is 'bgi'; did",
    ),
    ("final_models: [big]", "final_models: [big, big]", "34: stages.0.final_models.1: a list must not repeat itself"),
    ("final_models: [big]", "final_models: []", "34: stages.0.final_models: must have 1 or more entries"),
    # numbers
    (
        "[0.2, 0.9]",
        "[0.9, 0.2]",
        "23: stages.0: `temperatures` must be from 0 to 2 and rise, got [0.9, 0.2] in 'pick'; mend",
    ),
    ("[0.2, 0.9]", "[0.2, 0.2]", "23: stages.0: `temperatures` must be from 0 to 2 and rise, got [0.2, 0.2]"),
    ("[0.2, 0.9]", "[0.2, 2.5]", "35: stages.0.temperatures.1: must be at most 2.0, but is 2.5; lower it"),
    ("[0.2, 0.9]", "[-1, 0.9]", "35: stages.0.temperatures.0: must be at least 0"),
    ("[0.2, 0.9]", "[]", "35: stages.0.temperatures: must have 1 or more entries"),
    (
        "samples: [1, 5]",
        "samples: [5, 1]",
        "28: stages.0.samples: the least must not be above the most, but is [5, 1]; swap",
    ),
    ("samples: [1, 5]", "samples: [0, 5]", "28: stages.0.samples.0: must be at least 1"),
    ("keep: 2", "keep: 0", "36: stages.0.keep: must be at least 1"),
    ("keep: 2", "keep: 101", "36: stages.0.keep: must be at most 100"),
]


@pytest.mark.parametrize(
    ("old", "new", "said"), MISTAKES, ids=[f"{n}-{said[:40]}" for n, (_, _, said) in enumerate(MISTAKES)]
)
def test_one_mistake(spoil: Spoil, old: str, new: str, said: str) -> None:
    (found,) = spoil(*SLOTTED, (old, new))
    assert found.startswith(f"spec.yaml:{said}"), found
    assert re.fullmatch(r"[^;]+; .+", found) and len(found) < 400 and found.isprintable()


def test_without_a_mistake(spoil: Spoil) -> None:
    assert spoil(*SLOTTED) == []
    assert spoil(SLOTTED[0], ("    scorer: big\n", "")) == [], "every key but `slots` may be left out"


@pytest.mark.parametrize(
    ("key", "line"),
    [("roles", "[fuser]"), ("final", "[voter]"), ("final_models", "[big]"), ("keep", "1"), ("temperatures", "[0.5]")],
)
def test_keys_of_slots_do_not_go_with_templates(spoil: Spoil, key: str, line: str) -> None:
    (found,) = spoil(("scorer: big", f"{key}: {line}"))
    assert found == f"spec.yaml:32: stages.0.{key}: goes with slots only, but the stage has none; remove it"


def test_mistakes_of_a_stage_are_said_together(spoil: Spoil) -> None:
    found = spoil(
        *SLOTTED,
        ("[refiner, fuser]", "[refinr, refinr]"),
        ("[voter, decider]", "[voter, decidr]"),
        ("final_models: [big]", "final_models: [bgi]"),
        ("keep: 2", "keep: 2\n    scorer: big"),
    )
    places = [line.split(": ")[1].removeprefix("stages.0.") for line in found]
    assert places == ["roles.1", "roles.0", "roles.1", "final.1", "final_models.0", "scorer"]


def test_a_price_is_wanted_of_a_final_model_too(spoil: Spoil) -> None:
    (found,) = spoil(*SLOTTED, ("[small, big]", "[small]"), ("{prompt: 0.1, completion: 0.2}", "null"))
    assert found.startswith("spec.yaml:18: models.big.price: limits.usd must know every price, but that of 'big' is")


# Values


def slotted(good: str) -> str:
    for old, new in SLOTTED:
        good = good.replace(old, new)
    return good


def test_the_space_of_a_task(good: str, write: Write) -> None:
    space = space_of(load_spec(write(slotted(good))).spec)
    assert space.stages == (
        SlotStage(
            "pick", ("small", "big"), 3, ("refiner", "fuser"), ("voter", "decider"), (1, 5), (0.2, 0.9), ("big",), 2
        ),
        TemplateStage("solve", ("small",), ("single",), (1, 1), None, ("pick",)),
    )


def test_what_is_left_out(good: str, write: Write) -> None:
    bare = good.replace("templates: [single]\n", "slots: 2\n").replace(
        "templates: [single, vote, best_of_n]", "slots: 1e0"
    )
    spec = load_spec(write(bare.replace("    scorer: big\n", "    temperatures: [0, 1]\n"))).spec
    assert spec.stages[0].slots == 1 and type(spec.stages[0].slots) is int
    assert space_of(spec).stages[1] == SlotStage("solve", ("small",), 2, (), ("voter",), reads=("pick",))
    parameters = space_of(spec).parameters
    assert parameters["pick.1.temperature"].values == (0.0, 1.0), "YAML's whole numbers are temperatures too"
    assert "pick.final.model" not in parameters and "solve.1>2" not in parameters


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("stages.0.slots=25", "--set stages.0.slots: must be at most 24, but is 25; lower it"),
        ("stages.0.sluts=2", "--set stages.0.sluts: unknown key 'sluts'; did you mean 'slots'?"),
        ("stages.0.roles=[refinr]", "--set stages.0.roles: stages.0.roles.0: must be one of refiner, fuser"),
        ("stages.0.roles=[fuser]", "spec.yaml:23: stages.0: a slot that reads one draft must have a role to play"),
        ("stages.0.final=critic", "--set stages.0.final: must be a list, but is 'critic'"),
        ("stages.0.final_models=[bgi]", "--set stages.0.final_models: stages.0.final_models.0: must be a key of"),
        ("stages.0.templates=[single]", "spec.yaml:23: stages.0: a stage must have exactly one of templates and slots"),
        ("stages.0.scorer=big", "--set stages.0.scorer: goes with templates only, but the stage has none; remove it"),
        ("search.sampler=reinforced", "--set search.sampler: must be one of allocator, random, grid, tpe, nsga2, re"),
        ("plugins=debate.py", "--set plugins: must be a list, but is 'debate.py'; write it like [a, b]"),
    ],
)
def test_overrides_that_are_wrong(spoil: Spoil, override: str, said: str) -> None:
    (found,) = spoil(*SLOTTED, settings=(override,))
    assert found.startswith(said), found


def test_overrides_make_one_kind_of_stage_the_other(folder: Path) -> None:
    keys = ("slots=2", "templates=null", "scorer=null", "roles=[refiner]", "temperatures=[0.1,0.2]")
    loaded = load_spec(folder / "spec.yaml", [*(f"stages.0.{key}" for key in keys), "search.sampler=gptswarm"])
    stage = space_of(loaded.spec).stages[0]
    assert stage == SlotStage("pick", ("small", "big"), 2, ("refiner",), ("voter",), (1, 5), (0.1, 0.2))
    assert loaded.spec.search.sampler == "gptswarm"


def test_the_json_schema_knows_both_kinds(good: str) -> None:
    jsonschema: Any = pytest.importorskip("jsonschema")
    schema = json_schema()
    stage = schema["definitions"]["StageSpec"]
    validator = jsonschema.Draft7Validator({**stage, "definitions": schema["definitions"]})
    right = pyyaml.safe_load(slotted(good))["stages"][0]
    assert list(validator.iter_errors(right)) == []
    wrong: list[dict[str, Any]] = [{"templates": ["single"]}, {"slots": 0}, {"slots": 25}, {"roles": []}, {"keep": 0}]
    wrong += [{"final": "voter"}, {"temperatures": [3.0]}, {"final_models": [1]}, {"rolls": ["fuser"]}]
    for change in wrong:
        assert list(validator.iter_errors({**right, **change})), change
    assert list(validator.iter_errors({key: value for key, value in right.items() if key != "slots"}))


# What an answer costs at least


@pytest.mark.parametrize(
    ("edits", "calls"),
    [
        ((), 1),  # one slot, and a vote, which is code
        ((("samples: [1, 5]", "samples: [3, 5]"),), 3),
        ((("[voter, decider]", "[decider]"),), 2),
        ((("[voter, decider]", "[weighted_voter, decider]"),), 1),  # from below: a vote by score needs a scorer too
        ((("samples: [1, 5]", "samples: [2, 5]"), ("[voter, decider]", "[scorer, decider]")), 3),
    ],
)
def test_the_fewest_calls(spoil: Spoil, edits: tuple[Edit, ...], calls: int) -> None:
    least = calls + 1  # of the stage that reads it
    assert spoil(*SLOTTED, *edits, settings=(f"budget.calls={least}",)) == []
    (found,) = spoil(*SLOTTED, *edits, settings=(f"budget.calls={least - 0.5}",))
    assert found == (
        f"--set budget.calls: even the cheapest answer costs {least} calls, but budget.calls is {least - 0.5}; "
        f"raise it above {least}, or shorten prompts and stages"
    )


MODELS = {
    "small": ModelSpec(gguf="s.gguf", parameters=1e8, layers=30, width=576, price=Price(prompt=0.1, completion=0.3)),
    "medium": ModelSpec(gguf="m.gguf", parameters=1e9, price=Price(prompt=0.2, completion=0.2)),
    "large": ModelSpec(gguf="l.gguf", parameters=8e9, layers=32, width=4096, price=Price(prompt=3, completion=1)),
}
ROWS = ({"q": "which one?"}, {"q": "which of all these is it?"})


def as_spec(stage: TemplateStage | SlotStage) -> StageSpec:
    """The part of a task that describes a stage."""
    common: dict[str, Any] = {"name": stage.name, "models": stage.models, "samples": stage.samples, "max_tokens": 8}
    common["prompt"] = " ".join(["{q}", *(f"{{{name}}}" for name in stage.reads)])
    if isinstance(stage, TemplateStage):
        common |= {"templates": stage.templates, "scorer": stage.scorer}
        return StageSpec(**common)
    return StageSpec(
        **common,
        slots=stage.slots,
        roles=stage.roles or None,
        final=stage.final,
        temperatures=stage.temperatures or None,
        final_models=stage.final_models or None,
        keep=stage.keep,
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_graph_costs_less_than_the_cheapest_answer(data: st.DataObject) -> None:
    """With the shortest prompts and replies of one token, on every currency."""
    space = data.draw(mixed_spaces())
    spec = TaskSpec.model_construct(stages=tuple(as_spec(stage) for stage in space.stages), models=MODELS)
    lengths: dict[tuple[str, ...], Length] = {
        (s.name,): Length(shortest_prompt_tokens(spec, s, ROWS), 1.0) for s in spec.stages
    }
    cards = {name: model.card(name) for name, model in MODELS.items()}
    graph: Graph = space.build(data.draw(running_params(space)))
    cost = on_paper(graph, cards, Lengths(lengths), {})
    for metric, least in cheapest(spec, ROWS).items():
        paid = cost[metric]
        assert paid is not None and least <= paid * (1 + 1e-9), metric


def test_a_cheap_model_at_the_end_is_not_charged_as_a_dear_one() -> None:
    stage = SlotStage("s", ("large",), 1, (), ("decider",), final_models=("small", "large"))
    spec = TaskSpec.model_construct(stages=(as_spec(stage),), models=MODELS)
    only_large = TaskSpec.model_construct(
        stages=(as_spec(SlotStage("s", ("large",), 1, (), ("decider",))),), models=MODELS
    )
    assert cheapest(spec, ROWS)["flops"] < cheapest(only_large, ROWS)["flops"]
    assert cheapest(spec, ROWS)["calls"] == 2


def test_lengths_are_guessed_from_the_task(good: str, write: Write) -> None:
    text = slotted(good).replace("You pick facts.", "Für {question}!")  # ü is two bytes
    loaded = load_spec(write(text))
    rows = [{"facts": ["a"], "question": "1234"}, {"facts": ["abc"], "question": "1234567890"}]
    fixed = len("Für !".encode()) + len("Facts: , question: , {} if none.")
    filled = ((len("a") + 2 * 4) + (len("abc") + 2 * 10)) / 2
    guess = guessed_lengths(loaded.spec, rows).known
    assert guess["pick",] == Length((fixed + filled) / 4, 32)
    assert guess["solve",] == Length((len("Fact: , question: ") + (4 + 10) / 2) / 4, 10), "what is read counts nothing"
    assert guessed_lengths(loaded.spec, []).known["pick",] == Length(fixed / 4, 32)
    assert set(guess) == {("pick",), ("solve",)}
