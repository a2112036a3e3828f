import numpy as np
import pytest
from numpy.testing import assert_allclose

from apportion.graphs.graph import Graph, Node
from apportion.search.screening import CAUTION, NOISE, promise, structure


def chain(*models: str, samples: int = 1) -> Graph:
    """A draft, then refiners, one a model."""
    first, *rest = models
    nodes = [Node("1", "answer", "generator", first, samples=samples)]
    for k, model in enumerate(rest, 2):
        nodes.append(Node(str(k), "answer", "refiner", model, inputs=(str(k - 1),)))
    return Graph((*nodes, Node("final", "answer", "voter", inputs=(str(len(models)),))))


def test_the_structure_of_a_graph_is_counted_by_stage() -> None:
    assert structure(chain("small", "large", samples=3)) == {
        ("answer", "depth"): 3,
        ("answer", "role", "generator"): 1,
        ("answer", "role", "refiner"): 1,
        ("answer", "role", "voter"): 1,
        ("answer", "samples", "drafts", "small"): 3,
        ("answer", "samples", "reads", "large"): 1,
        ("answer", "edges", "between"): 1,
        ("answer", "edges", "final"): 1,
    }


def test_what_an_earlier_stage_hands_over_is_no_edge_of_the_later_one() -> None:
    graph = Graph((Node("a", "find", "generator", "small"), Node("b", "answer", "generator", "small", inputs=("a",))))
    counts = structure(graph)
    assert counts["answer", "samples", "drafts", "small"] == 1
    assert counts["answer", "depth"] == 1
    assert counts["answer", "edges", "final"] == 0


MEASURED = [chain("small"), chain("small", "small"), chain("large"), chain("large", "small", "small", samples=5)]


def test_measured_graphs_are_promised_what_they_gave() -> None:
    utilities = np.array([0.1, 0.5, 0.2, 0.9])
    deviations = (utilities - utilities.mean()) / utilities.std()
    found = promise(MEASURED, MEASURED, utilities.tolist())
    assert_allclose(found, deviations, atol=2 * CAUTION * NOISE**0.5)


def test_a_graph_unlike_all_others_is_promised_its_deviation_above_the_mean() -> None:
    far = chain(*["huge"] * 30, samples=50)
    assert promise([far], MEASURED, [0.1, 0.5, 0.2, 0.9])[0] == pytest.approx(CAUTION, abs=0.05)


def test_nearer_to_the_good_is_promised_more() -> None:
    near_good, near_bad = chain("large", "small", "small", samples=4), chain("small", samples=2)
    better, worse = promise([near_good, near_bad], MEASURED, [0.1, 0.2, 0.2, 0.9])
    assert better > worse


def test_equal_utilities_promise_nothing_but_what_is_unknown() -> None:
    known, unknown = promise([MEASURED[0], chain("huge", samples=9)], MEASURED, [0.4] * 4)
    assert np.isfinite([known, unknown]).all()
    assert known < 0.1 < unknown


def test_utilities_may_be_of_any_scale() -> None:
    small = [0.1, 0.5, 0.2, 0.9]
    large = [1e6 * utility - 3 for utility in small]
    asked = [chain("large", "large"), chain("small", samples=3)]
    assert_allclose(promise(asked, MEASURED, large), promise(asked, MEASURED, small), rtol=1e-6)
