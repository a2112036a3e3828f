"""What an agent that wires slots did, in sentences."""

from __future__ import annotations

from apportion.agent.nudge import Nudge
from apportion.agent.reinforce.history import Asked, Proposal, Tried
from apportion.graphs.graph import Graph, Node
from apportion.report.wiring import Wiring
from apportion.search.objectives import Objective

GRAPH = Graph((Node("solve.1", "solve", "generator", "small", samples=1),))


def tried(number: int, score: float | None, proposal: Proposal) -> Tried:
    return Tried(number, GRAPH, {}, () if score is None else (score,), score, 1.0, proposal)


def said(trials: list[Tried], asked: list[Asked]) -> str:
    return "\n".join(Wiring("planner", asked, trials, Objective("accuracy", maximize=True), Nudge()).sentences())


def test_what_the_agent_foretold_is_held_against_what_was_measured() -> None:
    trials = [
        tried(3, 0.4, Proposal(1, "agent", expected=0.7)),
        tried(4, 0.9, Proposal(1, "drawn")),
        tried(5, 0.6, Proposal(2, "repaired", expected=0.8)),
        tried(6, None, Proposal(3, "agent", expected=0.1)),  # was not measured
        tried(7, 0.2, Proposal(4, "agent")),  # nothing was foretold
    ]
    assert "Of 2 graphs of its own it expected 0.75, and measured was 0.5 (medians)." in said(trials, [Asked({})])
    assert "expected" not in said(trials[1:2], [Asked({})])


def test_the_best_is_told_beside_the_last() -> None:
    trials = [tried(3, 0.9, Proposal(0, "pretest")), tried(4, 0.4, Proposal(0, "drawn"))]
    text = said(trials, [Asked({"solve": {"small": 2}}, questions=1)])
    assert "graphs: 1 of the pretest, 1 drawn" in text and "It began with the mix solve: 2 small." in text
    assert "is trial 4 (0.4 accuracy on the search split), the best of them trial 3 (0.9)." in text
