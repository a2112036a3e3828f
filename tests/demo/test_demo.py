import re
from pathlib import Path

import pytest
import yaml

import apportion.demo
from apportion.bench.searchers.task_file import load
from apportion.cli import main


def test_it_searches_the_shipped_recording(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    best = re.search(r"the best has (0\.\d{3})", out)
    leads = [float(value) for value in re.findall(r"^ +\$\d+\.\d\d +(0\.\d{3})", out, re.MULTILINE)]
    tpe = re.search(r"tpe for the same money.*: (0\.\d{3})", out)
    assert best and tpe and leads
    assert max(leads) <= float(best[1])
    assert leads[-1] > leads[0]
    assert leads[-1] >= 0.9 * float(best[1])


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
