"""Each template as the nodes it stands for, and what they cost in calls."""

from __future__ import annotations

import pytest

from apportion.graphs.graph import Graph, Node
from apportion.graphs.templates import TEMPLATES, StageChoice

UP = Node("up", "before", "generator", "m")
CHOICE = StageChoice("s", "m", 3, "judge", ("up",))
DRAFTS = Node("s.draft", "s", "generator", "m", 3, ("up",))

NODES: dict[str, tuple[tuple[Node, ...], int]] = {  # template -> nodes, calls
    "single": ((Node("s.draft", "s", "generator", "m", 1, ("up",)),), 1),
    "vote": ((DRAFTS, Node("s.vote", "s", "voter", None, 1, ("s.draft",))), 3),
    "vote_ids": ((DRAFTS, Node("s.vote_ids", "s", "id_voter", None, 1, ("s.draft",))), 3),
    "fuse": ((DRAFTS, Node("s.fuse", "s", "fuser", "m", 1, ("s.draft",))), 4),
    "best_of_n": ((DRAFTS, Node("s.score", "s", "scorer", "judge", 1, ("s.draft",))), 6),
    "refine": (
        (
            Node("s.draft", "s", "generator", "m", 1, ("up",)),
            Node("s.refine1", "s", "refiner", "m", 1, ("s.draft",)),
            Node("s.refine2", "s", "refiner", "m", 1, ("s.refine1",)),
        ),
        3,
    ),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_nodes(name: str) -> None:
    nodes, calls = NODES[name]
    assert TEMPLATES[name](CHOICE) == nodes
    assert Graph((UP, *nodes)).calls == 1 + calls


def test_more_samples_go_on_where_fewer_end() -> None:
    for name, make in TEMPLATES.items():
        few, many = (Graph((UP, *make(StageChoice("s", "m", n, "judge", ("up",))))) for n in (2, 3))
        assert all(many.draw_starts[node.id] == few.draw_starts[node.id] for node in few.nodes), name
