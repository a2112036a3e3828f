"""A table is read back as it was written, and nothing else is read."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion.errors import GraphError
from apportion.graphs.probabilistic import ProbabilisticGraph, from_table, moved, to_table
from apportion.graphs.probabilistic.table import pattern
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from tests.strategies import mixed_spaces

SPACE = SearchSpace(
    (
        SlotStage("solve", ("small", "large"), 2, ("refiner", "fuser"), ("decider",), (1, 3), (0.2, 1.0), ("large",)),
        TemplateStage("answer", ("small",), ("single", "vote"), (2, 3), reads=("solve",)),
    )
)
FREE = SearchSpace((SlotStage("s", ("m",), 3, ("refiner",), ("decider",), free_order=True),))
TABLE = """\
solve.1: model small=0.50, large=0.50; samples 1=0.33, 2=0.33, 3=0.33; temperature 0.2=0.50, 1.0=0.50; \
role refiner=0.50, fuser=0.50; to 2=0.12, final=0.12
solve.2: model small=0.33, large=0.33, absent=0.33; samples 1=0.33, 2=0.33, 3=0.33; temperature 0.2=0.50, 1.0=0.50; \
role refiner=0.50, fuser=0.50; to final=0.12
solve.final: role decider=1.00; model large=1.00
answer: template single=0.50, vote=0.50; model small=1.00; samples 2=0.50, 3=0.50"""
slow = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def distributions(draw: st.DrawFn) -> ProbabilisticGraph:
    made = ProbabilisticGraph(draw(mixed_spaces()))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    spread = draw(st.sampled_from([0.0, 1.0, 5.0, 100.0]))
    made.set_logits(spread * torch.randn(made.logits.shape, generator=generator, dtype=torch.float64))
    return made


def test_a_table() -> None:
    assert to_table(ProbabilisticGraph(SPACE)) == TABLE


@slow
@given(distributions())
def test_tables_come_back_within_rounding(distribution: ProbabilisticGraph) -> None:
    known = distribution.probabilities()
    read = from_table(distribution.space, to_table(distribution))
    assert read.keys() == known.keys()
    for name, values in read.items():
        assert sum(values.values()) == pytest.approx(1.0)
        assert values == pytest.approx(known[name], abs=0.0101 if ">" in name else 0.005 * (1 + len(values)))
    distribution.set_probabilities(read)
    assert len(distribution.graphs(distribution.sample(5, torch.Generator().manual_seed(0)))) == 5


@slow
@given(distributions())
def test_the_pattern_is_of_every_line_of_a_table(distribution: ProbabilisticGraph) -> None:
    of_line = re.compile(pattern(distribution.space))
    for line in to_table(distribution).splitlines():
        head, _, rest = line.partition(": ")
        assert of_line.search(line), line
        assert all(of_line.search(f"{head}: {group};") for group in rest.split("; "))
        assert not of_line.search(f"{line} ") and not of_line.search(head) and not of_line.search(f"x{line}")


@pytest.mark.parametrize(
    "line",
    [
        "small 3",
        "solve.1: model small",
        "solve.1: model huge=0.5",
        "solve.1: to 2=.5",
        "solve.1: to 2=1.7",
        "solve.1: model small=1; model small=1",
        "solve.1: model small=0.5, small=0.2, small=0.2, small=0.1",
    ],
)
def test_what_is_no_line_of_a_table_does_not_fit_the_pattern(line: str) -> None:
    assert not re.search(pattern(SPACE), line)


def test_keys_may_be_left_out_of_the_pattern() -> None:
    line = "solve.1: model small=1.00; role refiner=1.00;"
    assert re.search(pattern(SPACE), line) and not re.search(pattern(SPACE, ["role"]), line)
    assert re.search(pattern(SPACE, ["role"]), "solve.1: model small=1.00;")


def test_many_values_get_more_decimals() -> None:
    space = SearchSpace((SlotStage("s", ("m",), 1, (), ("voter",), (1, 40)),))
    distribution = ProbabilisticGraph(space)
    assert "1=0.025, 2=0.025" in to_table(distribution)
    assert from_table(space, to_table(distribution))["s.1.samples"] == pytest.approx(dict.fromkeys(range(1, 41), 0.025))


def test_what_a_table_leaves_out_does_not_change() -> None:
    read = from_table(SPACE, "\n solve.2 : to final = 1 ;  samples 2=.25,1=0.75\n\n")
    assert read == {"solve.2>final": {"no": 0.0, "yes": 1.0}, "solve.2.samples": {1: 0.75, 2: 0.25, 3: 0.0}}
    distribution = ProbabilisticGraph(SPACE)
    before = distribution.probabilities()
    distribution.set_probabilities(read)
    after = distribution.probabilities()
    assert {name for name in before if before[name] != pytest.approx(after[name])} == set(read)
    assert from_table(SPACE, "") == {}


def test_rounded_sums_are_made_whole() -> None:
    read = from_table(SPACE, "solve.1: samples 1=0.33, 2=0.33, 3=0.33")
    assert read["solve.1.samples"] == pytest.approx({1: 1 / 3, 2: 1 / 3, 3: 1 / 3})


def test_edges_of_free_order_are_never_shown_as_certain() -> None:
    distribution = ProbabilisticGraph(FREE)
    distribution.set_probabilities({"s.1>2": {"yes": 1.0}, "s.2>1": {"yes": 1.0}, "s.1>final": {"yes": 1.0}})
    first = to_table(distribution).splitlines()[0]
    assert first == "s.1: model m=1.00; role refiner=1.00; to 2=0.99, 3=0.12, final=1.00"
    assert from_table(FREE, to_table(distribution))["s.2>1"]["yes"] == 0.99


REFUSED: dict[str, tuple[str, str]] = {
    "another stage": (
        "think.1: model small=1.00",
        "line 1: a line must begin with solve.1, solve.2, solve.final, answer and a colon, got 'think.1'; "
        "leave it out.",
    ),
    "prose": (
        "Here is the table:\n" + TABLE,
        "line 1: a line must begin with solve.1, solve.2, solve.final, answer and a colon, "
        "got 'Here is the table'; leave it out.",
    ),
    "a fence": (
        f"{TABLE}\n```",
        "line 5: a line must begin with solve.1, solve.2, solve.final, answer and a colon, got '```'; leave it out.",
    ),
    "another parameter": (
        "solve.1: prompt kind=1.00",
        "line 1: solve.1 must give model, samples, temperature, role, to, got 'prompt'; leave it out.",
    ),
    "no parameter": (
        "solve.final:",
        "line 1: solve.final must give role, model, got ''; leave it out.",
    ),
    "edges of the final node": (
        "solve.final: to 1=0.50",
        "line 1: solve.final must give role, model, got 'to'; leave it out.",
    ),
    "another value": (
        "solve.1: model huge=1.00",
        "line 1: `solve.1.model` must be among small, large, got 'huge=1.00'; write VALUE=PROBABILITY.",
    ),
    "no value": (
        "solve.1: model",
        "line 1: `solve.1.model` must be among small, large, got ''; write VALUE=PROBABILITY.",
    ),
    "no number": (
        "\nsolve.1: model small",
        "line 2: `solve.1.model` must be among small, large, got 'small'; write VALUE=PROBABILITY.",
    ),
    "an edge against the order": (
        "solve.2: to 1=0.50",
        "line 1: an edge of solve.2 must be among final, got '1=0.50'; write VALUE=PROBABILITY.",
    ),
    "an edge to itself": (
        "solve.1: to 1=0.50",
        "line 1: an edge of solve.1 must be among 2, final, got '1=0.50'; write VALUE=PROBABILITY.",
    ),
    "more than 1": (
        "solve.1: to 2=1.01",
        "line 1: an edge of solve.1 must have probabilities from 0 to 1, got '1.01' for '2'; mend it.",
    ),
    "less than 0": (
        "solve.1: to 2=-0.10",
        "line 1: an edge of solve.1 must have probabilities from 0 to 1, got '-0.10' for '2'; mend it.",
    ),
    "not a number": (
        "solve.1: model small=nan, large=1.00",
        "line 1: `solve.1.model` must have probabilities from 0 to 1, got 'nan' for 'small'; mend it.",
    ),
    "endless": (
        "solve.1: to 2=inf",
        "line 1: an edge of solve.1 must have probabilities from 0 to 1, got 'inf' for '2'; mend it.",
    ),
    "very long": (
        f"solve.1: to 2={'9' * 5000}",
        f"line 1: an edge of solve.1 must have probabilities from 0 to 1, got '{'9' * 59} for '2'; mend it.",
    ),
    "percent": (
        "solve.1: to 2=12%",
        "line 1: an edge of solve.1 must have probabilities from 0 to 1, got '12%' for '2'; mend it.",
    ),
    "other digits": (
        "solve.1: to 2=\N{BENGALI DIGIT ONE}.5",
        "line 1: an edge of solve.1 must have probabilities from 0 to 1, got '\N{BENGALI DIGIT ONE}.5' for '2'; "
        "mend it.",
    ),
    "a sum below 1": (
        "solve.1: model small=0.50, large=0.40",
        "line 1: the probabilities of `solve.1.model` must sum to 1, got 0.9; mend them.",
    ),
    "a sum above 1": (
        "solve.1: samples 1=0.50, 2=0.50, 3=0.50",
        "line 1: the probabilities of `solve.1.samples` must sum to 1, got 1.5; mend them.",
    ),
    "nothing at all": (
        "solve.1: model small=0, large=0",
        "line 1: the probabilities of `solve.1.model` must sum to 1, got 0; mend them.",
    ),
    "a value twice": (
        "solve.1: model small=0.50, small=0.50",
        "line 1: `solve.1.model` must give a value once, but 'small' stands twice; remove one.",
    ),
    "an edge twice": (
        "solve.1: to 2=0.50, 2=0.50",
        "line 1: an edge of solve.1 must give a value once, but '2' stands twice; remove one.",
    ),
    "an edge in two lines": (
        "solve.1: to 2=0.50\nsolve.1: to 2=0.50",
        "line 2: a table must give each choice once, but `solve.1>2` stands twice; remove one.",
    ),
    "a line twice": (
        f"{TABLE}\n{TABLE.splitlines()[-1]}",
        "line 5: a table must give each choice once, but `answer.template` stands twice; remove one.",
    ),
    "ten megabytes": ("x" * 10_000_000, "a table must have at most 100000 characters, got 10000000; shorten it."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_refused_in_one_line(name: str) -> None:
    text, said = REFUSED[name]
    with pytest.raises(GraphError) as error:
        from_table(SPACE, text)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "s.1: to 2=1\ns.2: to 1=1.00",
            "line 2: edges of probability 1 must not form a cycle, but s.1 -> s.2 -> s.1 do",
        ),
        (
            "s.1: to 2=1\ns.3: to final=1, 1=1\ns.2: to 3=1",
            "line 3: edges of probability 1 must not form a cycle, but s.3 -> s.1 -> s.2 -> s.3 do; lower one of them.",
        ),
    ],
)
def test_cycles_of_certain_edges_are_refused(text: str, said: str) -> None:
    with pytest.raises(GraphError) as error:
        from_table(FREE, text)
    assert str(error.value).startswith(said)
    assert from_table(FREE, text.replace("=1.00", "=0.99").replace("2: to 3=1", "2: to 3=0.99"))


ENDS = st.sampled_from(
    ["", "\n", ":", ";", ",", "=", " ", "to", "0", "1", ".", "-", "nan", "2", "final", "small", "é", "9" * 400]
)


@slow
@given(st.data(), st.sampled_from([SPACE, FREE]))
def test_an_edited_table_is_a_distribution_or_refused(data: st.DataObject, space: SearchSpace) -> None:
    distribution = ProbabilisticGraph(space)
    text = to_table(distribution)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(ENDS) + text[at + data.draw(st.integers(0, 6)) :]
    try:
        read = from_table(space, text)
    except GraphError as error:
        assert str(error).startswith("line ") and "\n" not in str(error) and str(error).endswith(".")
    else:
        distribution.set_probabilities(read)
        distribution.graphs(distribution.sample(3, torch.Generator().manual_seed(0)))


def test_a_step_on_the_way() -> None:
    distribution = ProbabilisticGraph(SPACE)
    wanted = from_table(SPACE, "solve.1: model small=1.00; to 2=0.90")
    step = moved(distribution, wanted, 0.25)
    assert step == {
        "solve.1.model": pytest.approx({"small": 0.625, "large": 0.375}),
        "solve.1>2": pytest.approx({"no": 0.75 * 0.880797 + 0.25 * 0.1, "yes": 0.75 * 0.119203 + 0.25 * 0.9}, abs=1e-6),
    }
    distribution.set_probabilities(step)
    assert distribution.probabilities()["solve.1.model"]["small"] == pytest.approx(0.625)
    assert moved(distribution, wanted, 1.0) == {name: pytest.approx(p) for name, p in wanted.items()}
    stay = moved(distribution, wanted, 0.0)
    assert stay == {name: pytest.approx(distribution.probabilities()[name]) for name in wanted}


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_step_too_far_is_refused(weight: float) -> None:
    with pytest.raises(GraphError) as error:
        moved(ProbabilisticGraph(SPACE), {}, weight)
    assert str(error.value) == f"`weight` must be from 0 to 1, got {weight}; mend it."


def test_a_step_to_nowhere_is_refused() -> None:
    with pytest.raises(GraphError) as error:
        moved(ProbabilisticGraph(SPACE), {"solve.9.model": {"small": 1.0}}, 0.5)
    assert str(error.value) == "probabilities must be of parameters of the space, got 'solve.9.model'; leave it out."
