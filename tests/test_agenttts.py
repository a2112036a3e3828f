"""The six tasks of AgentTTS, each searched end to end against the real test server, whose model knows the answers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from apportion.build import build
from apportion.search.trial import Trial
from apportion.spec import LoadedSpec, load_spec
from apportion.template import as_text, parts
from apportion.testing.answers import Json
from apportion.testing.server import MockServer
from tests.support import ROOT

TASKS = ROOT / "experiments" / "agenttts"
Row = Mapping[str, Any]

FAILS = "```python\nprint(leger)\n```"
RUNS = "```python\nledger = 'a plan of the garden'\nprint(ledger)\n```"
REPLIES: dict[str, Callable[[Row], str]] = {  # stage -> what the model says
    "select": lambda row: f"[{', '.join(row['evidence'])}]",
    "answer": lambda row: f"{row['answers'][-1]}.",
    "plan": lambda row: as_text(row["steps"]),
    "choose": lambda row: as_text([f"- {node}" for node in reversed(row["nodes"])]),
    "fill": lambda row: as_text(row["arguments"]),
    "code": lambda row: "def main():\n    pass  # TODO",
    "review": lambda row: FAILS,
    "test": lambda row: RUNS,
}
METRICS = {
    "2wiki": {"answer_em": 1.0, "answer_f1": 1.0, "retrieval_f1": 1.0},
    "hotpotqa": {"answer_em": 1.0, "answer_f1": 1.0, "retrieval_f1": 1.0},
    "cwq": {"answer_em": 1.0, "retrieval_f1": 1.0},
    "webqsp": {"answer_em": 1.0, "retrieval_f1": 1.0},
    "taskbench": {"argument_f1": 1.0, "node_f1": 1.0, "steps_rouge_l": 1.0},
    "chatdev": {"completeness": 1.0, "executability": 1.0},
}


def knowing(loaded: LoadedSpec) -> Callable[[Json], str]:
    """A model that tells by a prompt which stage asks about which row, and says what the test wants said."""
    rows = (*loaded.rows.search, *loaded.rows.validation, *loaded.rows.test)
    ends = {stage.name: parts(stage.prompt)[-1][0] for stage in loaded.spec.stages}

    def reply(body: Json) -> str:
        prompt = body["messages"][-1]["content"]
        stage = next(name for name, end in ends.items() if end in prompt)
        row = next(row for row in rows if (row.get("question") or row.get("request") or row["name"]) in prompt)
        return REPLIES[stage](row)

    return reply


def searched(name: str, out: Path) -> tuple[list[Trial], list[str]]:
    """The trials of a small search of a task, and the prompts that were asked."""

    async def run() -> tuple[list[Trial], list[str]]:
        path = TASKS / name / "task.yaml"
        async with MockServer(reply=knowing(load_spec(path)), keep_bodies=True) as server:
            spec = load_spec(path).spec
            ends = [f"models.{model}.endpoint={server.url}" for model in spec.models]
            least = [f"stages.{n}.samples=[2,2]" for n, _ in enumerate(spec.stages)]
            search = build(load_spec(path, [*ends, *least, "limits.trials=2", "search.finalists=1"]), out)
            try:
                await search.run()
            finally:
                await search.close()
            return list(search.study.trials), [body["messages"][-1]["content"] for body in server.bodies]

    return asyncio.run(run())


@pytest.mark.parametrize("name", METRICS)
def test_a_task_of_agenttts_is_searched(name: str, tmp_path: Path) -> None:
    if name == "chatdev" and shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: apt install bubblewrap")
    trials, prompts = searched(name, tmp_path)
    assert any(trial.counted and trial.state == "complete" for trial in trials), "a graph was found"
    for trial in trials:
        if trial.state == "complete":
            assert {metric: trial.mean(metric) for metric in METRICS[name]} == METRICS[name], str(trial.graph)
            assert name != "chatdev" or 0.0 < trial.mean("consistency") < 1.0
    shown = [prompt for prompt in prompts if prompt.startswith(("Passages", "Facts"))]
    assert bool(shown) == ("retrieval_f1" in METRICS[name]), "the second stage reads the chunks themselves"
    assert all(prompt.splitlines()[1].startswith("[") for prompt in shown)
    assert (name == "chatdev") == any("It was run and failed: NameError" in prompt for prompt in prompts)
