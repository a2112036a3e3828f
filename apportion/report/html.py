"""A run as a fragment of HTML for notebooks: tables and the best graph, no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from apportion.graphs.drawing.graphs import to_svg
from apportion.report.agency import sentences
from apportion.report.summary import Summary
from apportion.report.terminal import ledger_rows, losses, named, refusals, repayments, spread, verdict
from apportion.search.trial import Trial


def to_html(summary: Summary) -> str:
    """Front, baselines, best graph, verdict, what the agent did, and ledger."""
    metrics = summary.metrics
    parts = [
        f"<h3>{escape(summary.study)}: {escape(summary.state)}</h3><p>{escape(summary.reason)}</p>",
        _trials("Front on the search split", summary.front, metrics),
        _trials("Baselines", summary.baselines, metrics),
    ]
    if summary.best is not None:
        picture = to_svg(summary.best.graph, summary.shares(summary.best.graph))
        parts.append(f"<h4>Best graph: trial {summary.best.number}</h4>{picture}")
    told = sentences(summary.agent) if summary.agent else summary.wiring.sentences() if summary.wiring else ()
    lines = (*verdict(summary), *refusals(summary), *losses(summary), *told)
    parts += [f"<p>{escape(line)}</p>" for line in lines]
    paid = (f"<p>{escape(line)}</p>" for line in repayments(summary))
    ledger = _table(["", *summary.ledger], ledger_rows(summary.ledger))
    return "".join([*parts, "<h4>Ledger</h4>", ledger, *paid])


def _trials(title: str, trials: Sequence[Trial], metrics: Sequence[str]) -> str:
    rows = [[str(t.number), *(spread(t.metrics.get(m)) for m in metrics), named(t)] for t in trials]
    return f"<h4>{escape(title)}</h4>" + _table(["trial", *metrics, "graph"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    header = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"
