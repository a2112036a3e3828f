"""One row for each composition rule of the roles, and how many texts each kind of role gives."""

from __future__ import annotations

import pytest

from apportion.errors import GraphError
from apportion.graphs.graph import Graph, Node
from apportion.graphs.roles import ROLES

HEARING = "refiner, fuser, decider, ranker"


def draft(name: str = "d", samples: int = 1) -> Node:
    return Node(name, "s", "generator", "m", samples)


def node(name: str, role: str, *inputs: str, samples: int = 1, keep: int = 1, temperature: float | None = None) -> Node:
    return Node(name, "s", role, "m" if ROLES[role].calls_model else None, samples, inputs, temperature, keep)


BROKEN: dict[str, tuple[tuple[Node, ...], str]] = {
    "a critic ends its stage": (
        (draft(), node("c", "critic", "d")),
        f"a critic must be read by roles that read comments, but 'c' ends its stage; add one of {HEARING}.",
    ),
    "a critic is read by another stage only": (
        (draft(), node("c", "critic", "d"), Node("e", "t", "generator", "m", inputs=("c",))),
        f"a critic must be read by roles that read comments, but 'c' ends its stage; add one of {HEARING}.",
    ),
    "a critic is read by a voter": (
        (draft(), node("c", "critic", "d"), node("v", "voter", "c")),
        "a critic must be read by roles that read comments, but 'c' is read by 'v', a voter; "
        f"make it one of {HEARING}.",
    ),
    "a critic is read by a critic": (
        (draft(), node("c", "critic", "d"), node("k", "critic", "c"), node("r", "refiner", "k")),
        "a critic must be read by roles that read comments, but 'c' is read by 'k', a critic; "
        f"make it one of {HEARING}.",
    ),
    "a critic is heard by one of two": (
        (draft(), node("c", "critic", "d"), node("r", "refiner", "c"), node("v", "voter", "c", "r")),
        "a critic must be read by roles that read comments, but 'c' is read by 'v', a voter; "
        f"make it one of {HEARING}.",
    ),
    "a weighted voter without scores": (
        (draft(samples=2), node("w", "weighted_voter", "d")),
        "a weighted_voter needs candidates with scores, but 'd' gives 'w' none; "
        "put a scorer, verifier or ranker between them.",
    ),
    "a weighted voter with some scores": (
        (draft(), draft("e"), node("x", "scorer", "d"), node("w", "weighted_voter", "x", "e")),
        "a weighted_voter needs candidates with scores, but 'e' gives 'w' none; "
        "put a scorer, verifier or ranker between them.",
    ),
    "scores do not outlive a rewriting": (
        (draft(), node("x", "scorer", "d"), node("r", "refiner", "x"), node("w", "weighted_voter", "r")),
        "a weighted_voter needs candidates with scores, but 'r' gives 'w' none; "
        "put a scorer, verifier or ranker between them.",
    ),
    "a voter has no scores to pass on": (
        (draft(samples=2), node("v", "voter", "d"), node("w", "weighted_voter", "v")),
        "a weighted_voter needs candidates with scores, but 'v' gives 'w' none; "
        "put a scorer, verifier or ranker between them.",
    ),
    "a ranker of one": (
        (draft(), node("x", "ranker", "d")),
        "a ranker needs 2 or more candidates, but 'x' reads 1; add drafts.",
    ),
    "a voter of nothing": ((node("v", "voter"),), "a voter needs 1 or more candidates, but 'v' reads 0; add drafts."),
    "a writer that keeps": (
        (draft(samples=2), node("f", "fuser", "d", keep=2)),
        "`keep` above 1 is for roles that choose, got 2 in 'f'; leave it out.",
    ),
    "a critic that keeps": (
        (draft(samples=2), node("c", "critic", "d", keep=2), node("f", "fuser", "c")),
        "`keep` above 1 is for roles that choose, got 2 in 'c'; leave it out.",
    ),
    "nothing kept": (
        (draft(samples=2), node("v", "voter", "d", keep=0)),
        "`keep` above 1 is for roles that choose, got 0 in 'v'; leave it out.",
    ),
    "an end that keeps two": (
        (draft(samples=3), node("v", "voter", "d", keep=2)),
        "a stage must end in one text, but 'v' ends 's' with 2; add a voter.",
    ),
    "a temperature for code": (
        (draft(samples=2), node("v", "voter", "d", temperature=0.5)),
        "`temperature` must be from 0 to 2 and belong to a model, got 0.5 in 'v'; mend it.",
    ),
    "a temperature beyond reason": (
        (Node("d", "s", "generator", "m", temperature=2.5),),
        "`temperature` must be from 0 to 2 and belong to a model, got 2.5 in 'd'; mend it.",
    ),
    "a temperature that is no number": (
        (Node("d", "s", "generator", "m", temperature=float("nan")),),
        "`temperature` must be from 0 to 2 and belong to a model, got nan in 'd'; mend it.",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_rule_is_kept(name: str) -> None:
    nodes, said = BROKEN[name]
    with pytest.raises(GraphError) as error:
        Graph(nodes)
    assert str(error.value) == said


SOUND: dict[str, tuple[Node, ...]] = {
    "scores outlive a critic": (
        draft(samples=2),
        node("x", "verifier", "d", keep=2),
        node("c", "critic", "x"),
        node("k", "ranker", "c", keep=2),
        node("w", "weighted_voter", "k"),
    ),
    "scores outlive a voter": (
        draft(samples=3),
        node("x", "scorer", "d", keep=3),
        node("v", "voter", "x", keep=2),
        node("w", "weighted_voter", "v"),
    ),
    "a critic of two readers": (
        draft(),
        node("c", "critic", "d"),
        node("r", "refiner", "c"),
        node("e", "decider", "c", "r"),
    ),
    "a tester scores": (draft(samples=2), node("x", "tester", "d", keep=2), node("w", "weighted_voter", "x")),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_keeps_the_rules_is_a_graph(name: str) -> None:
    assert Graph(SOUND[name]).key


WIDTHS = {  # role -> texts given by 3 candidates, one draw, keep 1; and with keep 2 or, of a model, 2 draws
    "generator": (1, 2),
    "refiner": (1, 2),
    "fuser": (1, 2),
    "decider": (1, 2),
    "critic": (3, 3),
    "ranker": (1, 2),
    "scorer": (1, 2),
    "verifier": (1, 2),
    "tester": (1, 2),
    "voter": (1, 2),
    "weighted_voter": (1, 2),
    "id_voter": (1, 1),
}


@pytest.mark.parametrize("role", ROLES)
def test_widths(role: str) -> None:
    gives = ROLES[role].gives
    for more, width in enumerate(WIDTHS[role], 1):
        keep, samples = (more, 1) if gives == "kept" else (1, more if ROLES[role].calls_model else 1)
        above = (draft(samples=3), node("x", "scorer", "d", keep=3))
        read = node("n", role, *(() if ROLES[role].least == 0 else ("x",)), samples=samples, keep=keep)
        graph = Graph((*above, read, node("end", "decider", "n", "x")))
        assert graph.widths == {"d": 3, "x": 3, "n": width, "end": 1}


def test_no_more_is_kept_than_there_is() -> None:
    graph = Graph((draft(samples=2), node("x", "scorer", "d", keep=5), node("v", "voter", "x")))
    assert graph.widths["x"] == 2
