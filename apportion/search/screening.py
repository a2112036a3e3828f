"""Which of many drawn graphs is worth measuring: a Gaussian process over counts of their structure.

It knows graphs and how good the measured ones were, not where either comes from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from apportion.graphs.graph import Graph, Node

Floats = NDArray[np.float64]

SCALE = 0.3  # squared length of the kernel, in roots of the number of counts
NOISE = 1e-3  # variance of what is measured, in that of the measurements
CAUTION = 1.0  # deviations above the mean that a graph is given credit for


def promise(graphs: Sequence[Graph], measured: Sequence[Graph], utilities: Sequence[float]) -> Floats:
    """Upper confidence bounds of the utilities of graphs, given those of measured ones.

    The Gaussian process of `posterior` over what `structure` counts. Its constants were set on synthetic problems, see
    `SCALE`, `NOISE` and `CAUTION`.

    Args:
        measured: two graphs or more.

    Returns:
        One number a graph, in deviations of the utilities from their mean.
    """
    x = _vectors([*measured, *graphs])
    known, asked = x[: len(measured)], x[len(measured) :]
    mean, deviation = posterior(known, asked, np.asarray(utilities, dtype=np.float64), NOISE)
    return np.asarray(mean + CAUTION * deviation)


def posterior(known: Floats, asked: Floats, utilities: Floats, noise: float) -> tuple[Floats, Floats]:
    """Mean and deviation of what is asked for, given the utilities of what is known.

    A Gaussian process with a squared-exponential kernel (Rasmussen and Williams 2006, algorithm 2.1).

    Args:
        known, asked: a row each; columns alike.
        noise: variance of what is measured, in that of the utilities.

    Returns:
        Both in deviations of the utilities, the mean from their mean.
    """
    y = (utilities - utilities.mean()) / (utilities.std() or 1.0)
    factor = np.linalg.cholesky(_kernel(known, known) + noise * np.eye(len(known)))
    solved = np.linalg.solve(factor, np.column_stack([y, _kernel(known, asked)]))
    mean, explained = solved[:, 1:].T @ solved[:, 0], np.square(solved[:, 1:]).sum(axis=0)
    return np.asarray(mean), np.sqrt(np.maximum(1.0 - explained, 0.0))


def likeness(graphs: Sequence[Graph]) -> Floats:
    """The kernel of `promise`: 1 for graphs of the same counts, and less the more they differ. Graphs x graphs."""
    x = _vectors(graphs)
    return _kernel(x, x)


def structure(graph: Graph) -> Counter[tuple[str, ...]]:
    """How deep each stage of a graph is, and how many nodes, edges and samples of each kind it has."""
    counts: Counter[tuple[str, ...]] = Counter()
    level: dict[str, int] = {}
    for stage in graph.stages:
        nodes = [node for node in graph.nodes if node.stage == stage]
        own = {node.id for node in nodes}
        for node in nodes:
            inner = [source for source in node.inputs if source in own]
            level[node.id] = 1 + max((level[source] for source in inner), default=0)
            counts[stage, "depth"] = max(counts[stage, "depth"], level[node.id])
            counts[stage, "role", node.role] += 1
            counts[stage, "edges", _kind(node, nodes)] += len(inner)
            if node.model is not None:
                counts[stage, "samples", "reads" if inner else "drafts", node.model] += node.samples
    return counts


def _kind(node: Node, nodes: Sequence[Node]) -> str:
    return "final" if node is nodes[-1] else "between"


def _vectors(graphs: Sequence[Graph]) -> Floats:
    """Logarithms of the counts, a row a graph."""
    counted = [structure(graph) for graph in graphs]
    names = sorted({name for counts in counted for name in counts})
    return np.log1p(np.array([[counts[name] for name in names] for counts in counted], dtype=np.float64))


def _kernel(a: Floats, b: Floats) -> Floats:
    squared = np.square(a[:, None, :] - b[None, :, :]).sum(axis=2)
    return np.asarray(np.exp(-squared / (2.0 * SCALE * np.sqrt(a.shape[1]))))
