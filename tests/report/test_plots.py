"""The course of a search's probabilities as one figure: a row a stage, everything in it, readable at twelve slots."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh

from apportion.graphs.parameters import Value
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from apportion.report.plots import Snapshot, plot_evolution

AT = (0, 8, 24)


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
    assert len(areas) == 2 and tops == pytest.approx([0.9, 1.0])


def test_one_snapshot_is_no_course() -> None:
    with pytest.raises(ValueError, match="two snapshots or more, got 1; take more"):
        plot_evolution(snapshots(2)[:1], AT[:1])
