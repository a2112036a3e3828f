"""A task that passes every check, in a folder of its own, for tests that spoil one thing at a time."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from apportion.errors import SpecError
from apportion.spec import load_spec

GOOD = """\
name: quickstart
seed: 7
models:
  small:
    gguf: small.gguf
    context: 4096
    parameters: 1.35e8
    layers: 30
    width: 576
    price: {prompt: 0.02, completion: 0.04}
    seeds: true
    rates: {prefill_tok_s: 500, decode_tok_s: 40}
  big:
    endpoint: http://127.0.0.1:8000/v1
    model: Qwen/Qwen2.5-7B-Instruct
    api_key_env: OPENAI_API_KEY
    parameters: 7.6e9
    price: {prompt: 0.1, completion: 0.2}
data:
  path: facts.jsonl
  split: {search: 4, validation: 3, test: 3}
stages:
  - name: pick
    system: You pick facts.
    prompt: "Facts: {facts}, question: {question}, {{}} if none."
    models: [small, big]
    templates: [single, vote, best_of_n]
    samples: [1, 5]
    temperature: 0.7
    max_tokens: 32
    stop: ["."]
    scorer: big
  - name: solve
    prompt: "Fact: {pick}, question: {question}"
    parse: {regex: 'Answer: (.*)'}
    models: [small]
    templates: [single]
    max_tokens: 1e1
evaluators:
  accuracy: {exact: answer}
  near: {numeric: {field: answer, tolerance: 0.5}}
objectives:
  - maximize: accuracy
  - minimize: flops
budget: {flops: 3e12}
limits: {usd: 1.0, calls: 5000, tokens: 2e6, wall_s: 600}
search: {sampler: tpe, finalists: 3}
bank: ../bank.sqlite
"""


def facts(rows: int = 10) -> str:
    """The data of the good task."""
    return "".join(
        json.dumps({"id": n, "facts": ["a", "b"], "question": f"what is {n}?", "answer": str(n)}) + "\n"
        for n in range(rows)
    )


@pytest.fixture(autouse=True)
def catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue of one model, so that these tests do not rest on the real one."""
    models = ModuleType("apportion.models")
    models.CATALOGUE = {"smollm2-135m-instruct": object()}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "apportion.models", models)


@pytest.fixture
def good() -> str:
    """A task file without a mistake."""
    return GOOD


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with everything that the good task names."""
    (tmp_path / "small.gguf").touch()
    (tmp_path / "facts.jsonl").write_text(facts())
    (tmp_path / "spec.yaml").write_text(GOOD)
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Callable[[str | bytes], Path]:
    """Write a task file and say where it is."""

    def write(text: str | bytes) -> Path:
        path = folder / "spec.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def spoil(write: Callable[[str | bytes], Path]) -> Callable[..., list[str]]:
    """Replace text of the good task and collect what is said, without the folder's name."""

    def spoil(*edits: tuple[str, str], settings: tuple[str, ...] = ()) -> list[str]:
        text = GOOD
        for old, new in edits:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path = write(text)
        try:
            load_spec(path, settings)
        except SpecError as error:
            return [problem.replace(f"{path.parent}/", "") for problem in error.problems]
        return []

    return spoil
