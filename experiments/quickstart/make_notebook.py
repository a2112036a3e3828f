"""Makes and executes quickstart.ipynb beside this file: `make notebook`.

The cells call `run()` inside Jupyter's own event loop. The run folders are those of the demo and of
experiments/three-stages, so that nothing is bought again after `make demo` and that search.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

HERE = Path(__file__).parent
GRAPH = """\
from apportion import Graph, Node

graph = Graph(
    (
        Node("capital.1", "capital", "generator", "small", samples=3),
        Node("capital.2", "capital", "generator", "large"),
        Node("capital.final", "capital", "fuser", "large", inputs=("capital.1", "capital.2")),
        Node("read.1", "read", "generator", "small", inputs=("capital.final",)),
        Node("read.2", "read", "generator", "large", samples=2, inputs=("capital.final",)),
        Node("read.final", "read", "verifier", "large", inputs=("read.1", "read.2")),
        Node("reply.1", "reply", "generator", "small", inputs=("capital.final", "read.final")),
        Node("reply.2", "reply", "critic", "large", inputs=("reply.1",)),
        Node("reply.final", "reply", "decider", "large", inputs=("reply.2",)),
    )
)
graph"""
ANSWERS = """\
import asyncio
from pathlib import Path

from apportion.answering import Answerer, parts_of

task = apportion.load("../three-stages/task.yaml")
rows = task.loaded.rows.search[:3]
parts, bank = parts_of(task.loaded.spec, graph), Path("../../runs/three-stages-by-hand.sqlite")
async with Answerer(parts, graph, bank) as answerer:
    questions = [{name: row[name] for name in answerer.needs} for row in rows]
    rollouts = await asyncio.gather(*map(answerer.answer, questions))
[(row["person"], row["country"], row["day"], rollout.answer) for row, rollout in zip(rows, rollouts, strict=True)]"""
TABLE = """\
import pandas as pd


def said(candidate):
    comments = "".join(f" ({comment})" for comment in candidate.comments)
    score = "" if candidate.score is None else f" @{candidate.score:.2f}"
    return candidate.text.strip() + comments + score


def texts(run):
    return " | ".join(map(said, run.candidates)) or "-"


pd.set_option("display.max_colwidth", None)
pd.DataFrame(
    [[texts(rollout.nodes[node.id]) for rollout in rollouts] for node in graph.nodes],
    index=[f"{node.id}: {node}" for node in graph.nodes],
    columns=[f"{row['person']}, {row['country']}" for row in rows],
)"""
SEARCH = """\
from apportion.graphs import drawing

found = task.run(out="../../runs/three-stages")
drawing.of_graph(graph, found.summary.shares(graph))"""
CELLS = (
    new_markdown_cell(
        "# A first search\n\nTwo small models, two stages. Which model, how many samples and which wiring for each "
        "stage answer best for their FLOPs? `task.yaml` says what may be chosen; `run()` searches, or reads the "
        "finished run."
    ),
    new_code_cell(
        'import apportion\n\ntask = apportion.load("task.yaml")\nresult = task.run(out="../../runs/quickstart")'
    ),
    new_markdown_cell("Front, baselines, best graph, verdict on the test split, and the ledger:"),
    new_code_cell("result"),
    new_markdown_cell("The best graph, with each node's share of the FLOPs of an answer:"),
    new_code_cell("result.picture()"),
    new_code_cell("result.share_of_spend()"),
    new_code_cell("print(result.best.graph)\nresult.best.metrics"),
    new_markdown_cell("Accuracy against FLOPs, with 95 % intervals:"),
    new_code_cell("result.plot_front()"),
    new_markdown_cell("The cheapest graph that is right at least half of the time, and everything as a data frame:"),
    new_code_cell("result.cheapest(accuracy=0.5)"),
    new_code_cell(
        'frame = result.to_frame()\nframe[["trial", "label", "state", "accuracy", "flops", "calls"]].round(3)'
    ),
    new_markdown_cell(
        "## Several stages, several roles\n\nA graph may also be wired by hand. This one answers in three stages: find "
        "the capital, find the day of its fair, write a line that names both. In the first stage a fuser merges drafts "
        "of two models, in the second a verifier keeps the draft that it believes most, in the third a critic comments "
        "on the draft before a decider has the last word. [Its task](../three-stages/task.yaml) has stages of free "
        "slots, so that a search can find such graphs too."
    ),
    new_code_cell(GRAPH),
    new_markdown_cell("Three questions, answered by the local models:"),
    new_code_cell(ANSWERS),
    new_markdown_cell("What each node said; in brackets the comments of the critic, after an @ the verifier's score:"),
    new_code_cell(TABLE),
    new_markdown_cell(
        "A search of the same task with `sampler: reinforce` keeps a distribution over all its graphs. It also knows "
        "how long prompts and replies are, and so where the FLOPs of any graph go, also of this one, which is over "
        "the budget:"
    ),
    new_code_cell(SEARCH),
    new_markdown_cell("What that search found, and how its winner differs from the graph that was wired by hand:"),
    new_code_cell("found"),
    new_code_cell("drawing.difference(graph, found.best.graph)"),
    new_markdown_cell("Its distribution over graphs at the end, and how it came there (an update takes eight trials):"),
    new_code_cell("learnt = found.distribution()\ndrawing.of_distribution(learnt.space, learnt.probabilities())"),
    new_code_cell("found.plot_evolution()"),
)


def main() -> None:
    """Execute the cells and write the notebook."""
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = new_notebook(cells=list(CELLS), metadata=metadata)
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(HERE)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times of execution would change the file each time
        if "outputs" in cell:  # warnings of other packages name folders of this machine
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    nbformat.write(notebook, HERE / "quickstart.ipynb")
    print(HERE / "quickstart.ipynb")


if __name__ == "__main__":
    main()
