"""A graph is read back from its lines, and nothing else is read."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion.errors import GraphError
from apportion.graphs.notation import from_lines, pattern, to_lines
from apportion.graphs.probabilistic import ProbabilisticGraph
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from tests.strategies import mixed_spaces

SPACE = SearchSpace(
    (
        SlotStage("solve", ("small", "large"), 3, ("refiner", "fuser"), ("decider",), (1, 3), (0.2, 1.0), ("large",)),
        TemplateStage("answer", ("small",), ("single", "vote"), (2, 3), reads=("solve",)),
    )
)
LINES = [
    "solve.1: model small; samples 2; temperature 1.0; to 3",
    "solve.3: model large; samples 1; temperature 0.2; role fuser; to final",
    "solve.final: role decider; model large",
    "answer: template vote; model small; samples 3",
]


def test_lines() -> None:
    assert to_lines(SPACE, from_lines(SPACE, LINES)) == LINES
    assert from_lines(SPACE, LINES)["solve.2.model"] == "absent"


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(mixed_spaces(), st.integers(0, 99))
def test_graphs_come_back(space: SearchSpace, seed: int) -> None:
    made = ProbabilisticGraph(space)
    for params in made.params(made.sample(4, torch.Generator().manual_seed(seed))):
        graph = space.build(params)
        assert space.build(from_lines(space, to_lines(space, params))).key == graph.key


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(mixed_spaces(), st.integers(0, 99))
def test_the_pattern_is_of_every_line_of_a_graph_and_of_the_text_as_a_whole(space: SearchSpace, seed: int) -> None:
    made = ProbabilisticGraph(space)
    of_line, without = re.compile(pattern(space)), re.compile(pattern(space, ["role"]))
    for params in made.params(made.sample(4, torch.Generator().manual_seed(seed))):
        for line in to_lines(space, params):
            assert of_line.search(line), line
            assert bool(without.search(line)) is ("role " not in line)
            assert not of_line.search(f"{line} ") and not of_line.search(f"x{line}") and not of_line.search(line[:-1])


@pytest.mark.parametrize("line", ["solve.1: model absent; to 3", "solve.1: model small", "solve.3: ", "answer:"])
def test_what_makes_no_slot_does_not_fit_the_pattern(line: str) -> None:
    assert not re.search(pattern(SPACE), line)


def test_names_stand_for_themselves_in_the_pattern() -> None:
    strange = "a.b|c(1)+[x]$^{2}*?\\/-é d"
    space = SearchSpace((SlotStage(strange, ("m", ".*"), 1, (), ("voter",)),))
    assert re.search(pattern(space), f"{strange}.1: model .*; to final")
    assert not re.search(pattern(space), f"{strange}.1: model mm; to final")
    assert "\\-" not in pattern(space)  # ECMA 262 has no such escape


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["solve.9: model small"], "must begin with"),
        (["solve.1: model small; to final", "solve.1: model large; to final"], "stands twice"),
        (["solve.1: model huge; to final"], "must be one of small, large"),
        (["solve.1: model small; model large; to final"], "each once"),
        (["solve.1: colour blue; to final"], "may give model, samples, temperature, role, to"),
        (["solve.1: model small; to 1"], "must lead to"),
        (["solve.1: model small; to"], "must lead to"),
        (["solve.1: model small"], "must read a slot"),
        ([], "must read a slot"),
        (["solve.1: model small; samples 1; to 2", "solve.2: model small; role fuser; to final"], "fuser"),
    ],
)
def test_what_is_no_graph_is_refused(lines: list[str], said: str) -> None:
    with pytest.raises(GraphError, match=said):
        from_lines(SPACE, lines)
