"""The course of a search's probabilities as one figure: a row a stage, everything in it, readable at twelve slots."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb

from apportion.graphs.parameters import Value
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from apportion.report.plots import GREY, Snapshot, plot_evolution

AT = (0, 8, 24)
FINAL_MODEL = "answer: model of the final node"


def snapshots(slots: int) -> list[Snapshot]:
    """Three snapshots of a space of two stages in which the first value of each parameter wins."""
    stage = SlotStage("answer", ("small", "large"), slots, ("refiner",), ("voter", "decider"), (1, 3))
    space = SearchSpace((TemplateStage("find", ("small",), ("single", "vote"), (1, 3)), stage))

    def odds(values: tuple[Value, ...], first: float) -> dict[Value, float]:
        rest = (1 - first) / max(1, len(values) - 1)
        return {value: first if i == 0 else rest for i, value in enumerate(values)}

    return [{name: odds(p.values, first) for name, p in space.parameters.items()} for first in (0.5, 0.7, 0.9)]


def panels(slots: int) -> dict[str, Axes]:
    figure = plot_evolution(snapshots(slots), AT)
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


@pytest.mark.parametrize("slots", [1, 3, 12])
def test_every_stage_has_its_panels(slots: int) -> None:
    shares = {"models of the slots", "roles of the slots", "role of the final node", "model of the final node"}
    answer = {f"answer: {title}" for title in (*shares, "edges")}
    assert panels(slots).keys() == {"find: template", "find: model", *answer}


def test_few_edges_are_lines() -> None:
    lines = {str(line.get_label()): np.asarray(line.get_ydata()) for line in panels(2)["answer: edges"].get_lines()}
    assert {name: list(line) for name, line in lines.items()} == {
        name: pytest.approx([0.5, 0.3, 0.1]) for name in ("1>2", "1>final", "2>final")
    }


def test_many_edges_are_a_map() -> None:
    axes = panels(12)["answer: edges"]
    (shown,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
    assert np.asarray(shown.get_array()).shape == (78, 3)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["66 between slots", "12 to final"]


def test_shares_fill_the_whole() -> None:
    areas = panels(12)["answer: models of the slots"].collections
    tops = [np.asarray(area.get_paths()[0].vertices)[:, 1].max() for area in areas]
    other = (0.1 + 11 * 0.05) / 12  # the first slot is never absent
    assert len(areas) == 3 and tops == pytest.approx([0.9, 0.9 + other, 1.0])


def test_a_model_has_one_colour_wherever_it_stands() -> None:
    def fills(title: str) -> dict[str, object]:
        areas = shown[title].collections
        return {str(area.get_label()): tuple(np.asarray(area.get_facecolor())[0, :3]) for area in areas}

    shown = panels(3)
    find, slots, final = (fills(title) for title in ("find: model", "answer: models of the slots", FINAL_MODEL))
    assert find["small"] == slots["small"] == final["small"] != slots["large"] == final["large"]
    assert slots["absent"] == to_rgb(GREY)
    roles = fills("answer: roles of the slots") | fills("answer: role of the final node")
    assert not {*roles.values()} & {*slots.values()}


def test_no_legend_hides_what_is_drawn() -> None:
    for title, axes in panels(3).items():
        axes.figure.draw_without_rendering()  # type: ignore[union-attr]
        legend = axes.get_legend()
        assert legend is not None and legend.get_window_extent().x0 >= axes.get_window_extent().x1, title
        assert axes.get_ylabel().endswith("probability")


def test_one_snapshot_is_no_course() -> None:
    with pytest.raises(ValueError, match=r"needs a distribution that has moved, but this has not; run more trials\.$"):
        plot_evolution(snapshots(2)[:1], AT[:1])
