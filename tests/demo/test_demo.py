import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml

import apportion.demo
from apportion.bench.searchers.task_file import load
from apportion.cli import main
from apportion.envs.replay.market import Market, Spent

README = Path(__file__).parents[2] / "README.md"


def test_it_searches_the_shipped_recording(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    best = re.search(r"the best has (0\.\d{3})", out)
    leads = [float(value) for value in re.findall(r"^ +\$\d+\.\d\d +(0\.\d{3})", out, re.MULTILINE)]
    tpe = re.search(r"tpe for the same money.*: (0\.\d{3})", out)
    assert best and tpe and leads
    assert max(leads) <= float(best[1])
    assert leads[-1] >= leads[0]
    assert leads[-1] >= 0.9 * float(best[1])


@pytest.mark.parametrize("seed", [0, 1, 2, 7, 10**30])
def test_its_lines_fit_into_a_hundred_columns(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seed", str(seed)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 10 and max(map(len, lines)) <= 100


def test_it_says_what_the_readme_says(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(
        r"^    \$ apportion demo\n((?:    .*\n|\n)+)", README.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert main(["demo"]) == 0
    assert untimed(textwrap.dedent(block).strip()) == untimed(capsys.readouterr().out.strip())


def untimed(text: str) -> str:
    timed, count = re.subn(r"in \d+\.\d s;", "in some seconds;", text)
    assert count == 1
    return timed


@pytest.mark.parametrize(
    ("seed", "said"), [("-1", "`--seed` must be at least 0, got -1; raise it."), ("x", "invalid int")]
)
def test_a_seed_that_is_none_is_said_in_one_line(seed: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["demo", "--seed", seed])
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        code = ended.code
    captured = capsys.readouterr()
    assert (code, captured.out, captured.err.count("\n")) == (2, "", 1) and said in captured.err


def test_a_search_that_its_cap_stopped_did_not_stop_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(market: Market, rng: np.random.Generator) -> None:
        market.lead(0, 0.5)
        raise Spent

    monkeypatch.setattr(apportion.demo, "searcher", lambda name: stopped)
    text = "\n".join(apportion.demo.run(0))
    assert "its cap stopped it" in text and "by itself" not in text


def test_a_seed_gives_the_same_search_again() -> None:
    first, again, other = ([line for line in apportion.demo.run(seed) if " s; " not in line] for seed in (3, 3, 4))
    assert first == again != other


def test_the_recording_is_whole_and_of_three_kinds() -> None:
    task = load(apportion.demo.TASK)
    assert [len(stage.recorded.questions) for stage in task.stages] == [250, 347, 272]
    assert {len(stage.models) for stage in task.stages} == {6}
    assert yaml.safe_load(apportion.demo.TASK.read_text())["budget"] == task.budget


def test_its_licence_goes_along() -> None:
    assert "Apache License" in (Path(apportion.demo.TASK).parent / "LICENSE.recording").read_text()
