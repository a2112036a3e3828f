"""A searcher of a user's own module runs as the documents say; their example is what is run here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from apportion.bench.searchers.race import race
from apportion.bench.searchers.registry import searcher
from apportion.envs.replay.market import Market
from apportion.errors import RecordedError
from tests.bench.searchers.easy import best, easy, searched
from tests.bench.searchers.test_command import write_tasks

pytest.importorskip("pyarrow")
DOCUMENT = Path(__file__).parents[3] / "docs" / "recorded-outcomes.md"


def section() -> str:
    text = DOCUMENT.read_text(encoding="utf-8").partition("## A searcher of your own\n")[2]
    return text.partition("\n## ")[0]


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The folder of the example's module."""
    (code,) = re.findall(r"```python\n# halving\.py\n(.*?)```", section(), re.DOTALL)
    assert len(code.splitlines()) <= 30
    (tmp_path / "halving.py").write_text(code, encoding="utf-8")
    return tmp_path


@pytest.fixture
def named(example: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its name, where it can be imported in this process."""
    monkeypatch.syspath_prepend(example)
    monkeypatch.delitem(sys.modules, "halving", raising=False)
    return "halving:search"


@pytest.mark.parametrize("seed", range(5))
def test_the_example_finds_what_is_clearly_best_and_stops(named: str, seed: int) -> None:
    market = Market(easy(), seed)
    assert searched(searcher(named), market, seed)
    assert market.leads[-1].configuration == best(market)
    assert market.spent < 0.3 * market.cap


def test_the_example_keeps_the_cap(named: str) -> None:
    market = Market(easy(2, trials=3), 0)
    assert not searched(searcher(named), market)
    assert 0 < market.spent <= market.cap


def test_the_command_runs_it_over_processes_and_its_prints_do_not_spoil_the_json(example: Path) -> None:
    (task, _) = write_tasks(example)
    command = [
        sys.executable, "-m", "apportion.cli", "bench", "searchers", task, "--samplers", "random,halving:search",
        "--seeds", "2", "--workers", "1", "--json", "--out", str(example / "runs.jsonl"),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(example)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["tasks"]
    own = found["samplers"]["halving:search"]
    assert own["runs"] == 2 and own["stopped"] == 1.0 and 0 <= own["hit_99"] <= 1
    assert len(re.findall(r"^\d+ of \d+: \d+ leads 8$", done.stderr, re.MULTILINE)) == 2  # once a run
    samplers = [json.loads(line)["job"]["sampler"] for line in (example / "runs.jsonl").read_text().splitlines()]
    assert sorted(samplers) == ["halving:search"] * 2 + ["random"] * 2


def test_all_that_the_document_says_a_market_offers_is_there() -> None:
    market = Market(easy(2), 0)
    rows = re.findall(r"^\| (`.+?) \| (.+) \|$", section(), re.MULTILINE)
    names = {name for cells, _ in rows for name in re.findall(r"`(\w+)", cells)}
    assert names >= {"configurations", "arms", "options", "measure", "buy", "score", "lead", "spent", "cap"}
    assert not {name for name in names if not hasattr(market, name)}
    option, arm = market.options(1)[0], market.arms[0]
    assert all(hasattr(option, name) for name in ("arm", "n", "rule"))
    assert all(hasattr(arm, name) for name in ("stage", "price", "size", "most"))
    assert market.arm(1, option) == 3  # the first model of the second stage
    assert market.configurations.shape[1] == 2
    some = np.array([4, 0])
    assert market.buy(3, some).shape == market.score(0, some).shape == (2,)
    assert market.spent == market.drawn.sum() and isinstance(market.measure(0), float)


@pytest.mark.parametrize("name", ["halving:absent", "no_such_module:search"])
def test_what_is_not_there_is_said_in_one_line(named: str, name: str) -> None:
    from apportion.errors import RecordedError

    with pytest.raises(RecordedError, match=f"'{name}' must be a function of a module, but .*; mend the name"):
        searcher(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nsearch = 1 / 0\n", r"raises ZeroDivisionError: division by zero at .*poor\.py:2; mend it\.$"),
        ("def search(:\n", r"raises SyntaxError: invalid syntax \(poor\.py, line 1\); mend it\.$"),
        ("import sys\nsys.exit(3)\n", r"raises SystemExit: 3 at .*poor\.py:2; mend it\.$"),
        ("search = 5\n", r"'poor:search' must be a function of a module, but is 5; mend the name\.$"),
    ],
)
def test_a_module_that_raises_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    (tmp_path / "poor.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "poor", raising=False)
    with pytest.raises(RecordedError, match=said):
        searcher("poor:search")
    sys.modules.pop("poor", None)


def test_runs_of_a_searcher_that_has_changed_are_not_taken_for_its_own(
    named: str, example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = write_tasks(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(example))
    out = tmp_path / "runs.jsonl"
    first = list(race([path], [(named, False)], 1, "draws", out, 1))
    assert list(race([path], [(named, False)], 1, "draws", out, 1)) == first
    module = example / "halving.py"
    module.write_text(module.read_text() + "# changed")
    with pytest.raises(RecordedError, match=r"must hold runs of 'halving:search' as it is, but its module changed"):
        list(race([path], [(named, False)], 1, "draws", out, 1))
