"""A probabilistic graph as a picture: the most probable choices, and arrows as bold as they are probable."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from apportion.graphs.drawing.distribution import LEAST, of_distribution
from apportion.graphs.parameters import Value
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage

FIND = TemplateStage("find", ("small", "large"), ("single", "vote"), (1, 3))
ANSWER = SlotStage(
    "answer", ("small", "large"), 2, ("refiner", "critic"), ("voter", "decider"), (1, 2), reads=("find",)
)
SPACE = SearchSpace((FIND, ANSWER))
ODDS: dict[str, dict[Value, float]] = {
    "find.template": {"single": 0.3, "vote": 0.7},
    "find.model": {"small": 0.1, "large": 0.9},
    "find.samples": {2: 0.2, 3: 0.8},
    "answer.1.model": {"small": 0.6, "large": 0.4},
    "answer.1.samples": {1: 0.5, 2: 0.5},
    "answer.1.role": {"refiner": 0.5, "critic": 0.5},
    "answer.2.model": {"small": 0.18, "large": 0.72, "absent": 0.1},
    "answer.2.samples": {1: 0.25, 2: 0.75},
    "answer.2.role": {"refiner": 0.9, "critic": 0.1},
    "answer.1>2": {"no": 0.2, "yes": 0.8},
    "answer.1>final": {"no": 0.99, "yes": 0.01},
    "answer.2>final": {"no": 0.0, "yes": 1.0},
    "answer.final.role": {"voter": 0.55, "decider": 0.45},
    "answer.final.model": {"small": 0.5, "large": 0.5},
}


def test_the_most_probable_choices_are_said() -> None:
    picture = of_distribution(SPACE, ODDS)
    assert {box.id: box.lines for box in picture.boxes} == {
        "find": ("vote 70%", "large 90%", "x3 80%"),
        "answer.1": ("1: generator 100%", "small 60%", "x1 50%"),
        "answer.2": (
            "2: refiner 72%",
            "there 90%",
            "large 80%",
            "x2 75%",
        ),  # 0.8 that it reads the other, 0.9 that it refines it
        "answer.final": ("final: voter 55%",),
    }
    assert "small 0.5, large 0.5" in picture.boxes[-1].title


def test_an_arrow_is_as_bold_as_it_is_probable() -> None:
    arrows = {(arrow.source, arrow.target): arrow for arrow in of_distribution(SPACE, ODDS).arrows}
    assert {ends: arrow.title.rpartition(" ")[2] for ends, arrow in arrows.items()} == {
        ("find", "answer.1"): "1",
        ("find", "answer.2"): "0.18",
        ("answer.1", "answer.2"): "0.72",
        ("answer.2", "answer.final"): "0.9",
    }
    by_width = sorted(arrows.values(), key=lambda arrow: arrow.width)
    assert [arrow.colour for arrow in by_width] == sorted((a.colour for a in arrows.values()), reverse=True)


@given(data=st.data(), free=st.booleans())
def test_any_distribution_can_be_drawn(*, data: st.DataObject, free: bool) -> None:
    space = SearchSpace((SlotStage("s", ("m", "n"), 4, ("refiner",), ("voter",), free_order=free),))
    yes = {name: data.draw(st.floats(0, 1)) for name in space.parameters if ">" in name}
    odds: dict[str, dict[Value, float]] = {
        name: {"no": 1 - yes[name], "yes": yes[name]} if name in yes else {v: 1 / len(p.values) for v in p.values}
        for name, p in space.parameters.items()
    }
    there = {str(slot): 1.0 if slot == 1 else 2 / 3 for slot in range(1, 5)} | {"final": 1.0}
    ends = {name: name.removeprefix("s.").split(">") for name in yes}
    drawn = [p * math.prod(there[end] for end in ends[name]) for name, p in yes.items()]
    assume(all(abs(p - LEAST) > 1e-12 for p in drawn))  # what is just as probable may fall to either side by rounding
    picture = of_distribution(space, odds)
    assert len(picture.arrows) == sum(p >= LEAST for p in drawn)
    assert picture.svg().startswith("<svg")


def test_a_parameter_that_is_absent_is_said() -> None:
    with pytest.raises(KeyError, match=r"answer\.1\.model"):
        of_distribution(SPACE, {name: odds for name, odds in ODDS.items() if name != "answer.1.model"})
