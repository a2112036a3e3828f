"""A picture of the probabilities that a search gives to the choices of a space.

Parameters count as independent of each other. It does not know how the probabilities came about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from apportion.graphs.drawing.graphs import fills
from apportion.graphs.drawing.picture import INK, Arrow, Box, Picture, mixed
from apportion.graphs.parameters import Value
from apportion.graphs.roles import ROLES
from apportion.graphs.slots import ABSENT, FINAL, YES, SlotStage
from apportion.graphs.space import SearchSpace, Stage

Odds = Mapping[Value, float]
LEAST = 0.02  # arrows that are less probable are left out
ALWAYS = 0.995  # a slot that is there so often is not said to be absent at times
FAINTEST = 0.25  # of a box's colour where its slot is absent
SUBTITLE = "Most probable choices; the bolder an arrow or a box, the more probable (arrows below 2 % left out)."


def of_distribution(space: SearchSpace, probabilities: Mapping[str, Odds]) -> Picture:
    """A box a slot, with its most probable role, model, samples and temperature; a stage of templates is one box.

    Args:
        probabilities: of the values of each parameter of the space.
    """
    colours = fills(model for stage in space.stages for model in stage.models)
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    ends: dict[str, str] = {}
    for stage in space.stages:
        odds = {name.removeprefix(f"{stage.name}."): probabilities[name] for name in stage.parameters}
        before = [ends[name] for name in stage.reads]
        if isinstance(stage, SlotStage):
            boxes += [_slot(stage, place, odds, colours) for place in _places(stage)]
            arrows += _slot_arrows(stage, odds, before)
        else:
            boxes.append(_template(stage, odds, colours))
            arrows += [_arrow(source, boxes[-1].id, 1.0) for source in before]
        ends[stage.name] = boxes[-1].id
    return Picture(tuple(boxes), tuple(sorted(arrows, key=lambda arrow: arrow.width)), SUBTITLE)


def _slot(stage: SlotStage, place: str, odds: Mapping[str, Odds], colours: Mapping[str | None, str]) -> Box:
    fresh = 0.0 if place == FINAL else _fresh(stage, place, odds)
    others = {role: (1 - fresh) * p for role, p in odds.get(f"{place}.role", {}).items()}
    role, p = _most({"generator": fresh, **others})
    calls = ROLES[str(role)].calls_model
    asked = {key: odds[f"{place}.{key}"] for key in _SAID if calls and f"{place}.{key}" in odds}
    there = _there(place, odds)
    if "model" in asked:
        asked["model"] = {model: q / (there or 1.0) for model, q in asked["model"].items() if model != ABSENT}
    model = str(_most(asked["model"])[0]) if calls else None
    seldom = [f"there {there:.0%}"] if there < ALWAYS else []
    lines = (f"{place}: {role} {p:.0%}", *seldom, *_said(asked))
    fill = mixed(colours[model], FAINTEST + (1.0 - FAINTEST) * there)
    return Box(f"{stage.name}.{place}", lines, stage.name, fill, title=_title(stage, place, odds))


def _slot_arrows(stage: SlotStage, odds: Mapping[str, Odds], before: list[str]) -> list[Arrow]:
    """Edges between slots; and from earlier stages to each slot, as probable as it is that the slot answers afresh."""
    places = _places(stage)
    pairs = [(a, b) for a in places for b in places if f"{a}>{b}" in odds]
    edges = {(a, b): _there(b, odds) * _read(a, b, odds) for a, b in pairs}
    found = [_arrow(f"{stage.name}.{a}", f"{stage.name}.{b}", p) for (a, b), p in edges.items() if p >= LEAST]
    for place in places[:-1]:
        fresh = _there(place, odds) * _fresh(stage, place, odds)
        found += [_arrow(source, f"{stage.name}.{place}", fresh) for source in before if fresh >= LEAST]
    return found


def _template(stage: Stage, odds: Mapping[str, Odds], colours: Mapping[str | None, str]) -> Box:
    template, p = _most(odds["template"])
    lines = (f"{template} {p:.0%}", *_said({key: odds[key] for key in _SAID if key in odds}))
    model = str(_most(odds["model"])[0])
    return Box(stage.name, lines, stage.name, colours[model], title=_title(stage, "", odds))


def _there(place: str, odds: Mapping[str, Odds]) -> float:
    """The probability that a slot is not absent."""
    return 1.0 - odds.get(f"{place}.model", {}).get(ABSENT, 0.0)


def _read(source: str, place: str, odds: Mapping[str, Odds]) -> float:
    """The probability that a slot which is there reads another."""
    return _there(source, odds) * odds[f"{source}>{place}"].get(YES, 0.0)


def _fresh(stage: SlotStage, place: str, odds: Mapping[str, Odds]) -> float:
    """The probability that a slot which is there reads no other, and so is a generator."""
    others = (other for other in _places(stage) if f"{other}>{place}" in odds)
    return math.prod(1.0 - _read(other, place, odds) for other in others)


def _places(stage: SlotStage) -> list[str]:
    return [*map(str, range(1, stage.slots + 1)), FINAL]


def _arrow(source: str, target: str, p: float) -> Arrow:
    title = f"{source} > {target.rpartition('.')[2]}: {p:.2g}"
    return Arrow(source, target, 0.6 + 3.0 * p, mixed(INK, 0.2 + 0.8 * p), title=title)


def _most(odds: Odds) -> tuple[Value, float]:
    """The most probable value, of equals the first, and its probability."""
    return max(odds.items(), key=lambda item: item[1])


_SAID = {"model": "{}", "samples": "x{}", "temperature": "T={}"}
"""How a label says a choice."""


def _said(asked: Mapping[str, Odds]) -> list[str]:
    return [f"{_SAID[key].format(value)} {p:.0%}" for key, (value, p) in ((k, _most(o)) for k, o in asked.items())]


def _title(stage: Stage, place: str, odds: Mapping[str, Odds]) -> str:
    """Every probability of a box."""
    own = {name: values for name, values in odds.items() if ">" not in name and name.startswith(place)}
    said = (f"{name}: {', '.join(f'{v} {p:.2g}' for v, p in values.items())}" for name, values in own.items())
    return f"{stage.name}: " + "; ".join(said)
