"""Stages of which later prompts read more than the answer, and metrics of stages before the last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from apportion.spec import load_spec

Spoil = Callable[..., list[str]]
PICKING = ("stages:\n  - name: pick\n", "stages:\n  - name: pick\n    parse: ids\n    picks: facts\n")


def test_a_stage_may_pick(spoil: Spoil, folder: Path) -> None:
    assert spoil(PICKING) == []
    stages = load_spec(folder / "spec.yaml").spec.stages
    assert [(stage.picks, stage.runs) for stage in stages] == [("facts", False), (None, False)]


def test_a_metric_may_be_of_an_earlier_stage(spoil: Spoil, folder: Path) -> None:
    assert spoil(("{exact: answer}", "{exact: {field: answer, stage: pick}}\n  whole: {complete: {stage: pick}}")) == []
    evaluators = load_spec(folder / "spec.yaml").spec.evaluators
    assert [(e.kind, e.field, e.options.stage) for e in evaluators.values()] == [
        ("exact", "answer", "pick"),
        ("complete", None, "pick"),
        ("numeric", "answer", None),
    ]


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ([(PICKING[0], PICKING[1].replace("ids", "text"))], "stages.0.picks: goes with parse: ids only, but parse is"),
        ([(PICKING[0], PICKING[1].replace("facts", "answer"))], "stages.0.picks: must be a field that the stage's pro"),
        ([(PICKING[0], f"{PICKING[1]}    runs: true\n")], "stages.0.runs: goes not with picks"),
        ([("max_tokens: 1e1", "max_tokens: 1e1\n    runs: true")], "stages.1.runs: says what later prompts read, but"),
        (
            [("{exact: answer}", "{exact: {field: answer, stage: pik}}")],
            "accuracy.exact.stage: must be the name of a",
        ),
        ([("{exact: answer}", "{executable: answer}")], "evaluators.accuracy.executable: must be a mapping of keys"),
        ([("{exact: answer}", "{set_f1: answer}")], "answer: must be a list of texts, but is '0'; mend the row"),
        ([("path: facts.jsonl", "path: facts.jsonl\n  format: hotpot")], "data.format: must be one of jsonl, hotpotqa"),
        ([PICKING, ("facts.jsonl", "texts.jsonl")], "facts: must be a list of texts, but is 'a'; mend the row"),
    ],
)
def test_what_does_not_go_together_is_said(spoil: Spoil, folder: Path, edits: list[tuple[str, str]], said: str) -> None:
    (folder / "texts.jsonl").write_text((folder / "facts.jsonl").read_text().replace('["a", "b"]', '"a"'))
    found = spoil(*edits)
    assert any(said in line for line in found), found
