"""Makes and executes quickstart.ipynb beside this file: `make notebook`.

The cells call `run()` inside Jupyter's own event loop. The run folder is the demo's, so that after `make demo` nothing
is bought again.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

HERE = Path(__file__).parent
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
    new_markdown_cell("The best graph draws itself:"),
    new_code_cell("result.best.graph"),
    new_code_cell("print(result.best.graph)\nresult.best.metrics"),
    new_markdown_cell("Accuracy against FLOPs, with 95 % intervals:"),
    new_code_cell("result.plot_front()"),
    new_markdown_cell("The cheapest graph that is right at least half of the time, and everything as a data frame:"),
    new_code_cell("result.cheapest(accuracy=0.5)"),
    new_code_cell(
        'frame = result.to_frame()\nframe[["trial", "label", "state", "accuracy", "flops", "calls"]].round(3)'
    ),
)


def main() -> None:
    """Execute the cells and write the notebook."""
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = new_notebook(cells=list(CELLS), metadata=metadata)
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(HERE)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times of execution would change the file each time
    nbformat.write(notebook, HERE / "quickstart.ipynb")
    print(HERE / "quickstart.ipynb")


if __name__ == "__main__":
    main()
