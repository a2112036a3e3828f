"""Races: every run is made once and kept, a spoilt file is refused, and one run may serve two names."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from apportion.bench.searchers import race as module
from apportion.bench.searchers.race import Job, Run, race, read
from apportion.bench.searchers.task_file import digest
from apportion.errors import RecordedError
from tests.bench.searchers.test_command import write_tasks

pytest.importorskip("pyarrow")
Asked = list[tuple[str, bool]]


@pytest.fixture
def task(tmp_path: Path) -> str:
    return write_tasks(tmp_path)[0]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Jobs that were run, in a thread instead of a process."""
    jobs: list[Job] = []
    run: Callable[[Job], Run] = module.run

    def noted(job: Job) -> Run:
        jobs.append(job)
        return run(job)

    monkeypatch.setattr(module, "run", noted)
    monkeypatch.setattr(module, "ProcessPoolExecutor", lambda count, context, begin: ThreadPoolExecutor(count))
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    return jobs


def sought(task: str, samplers: Asked, out: Path | None, seeds: int = 2) -> list[Run]:
    runs = race([task], samplers, seeds, "draws", out, workers=1)
    return sorted(runs, key=lambda own: (own.job.sampler, own.job.bank, own.job.seed))


def test_runs_are_resumed_from_the_file(task: str, made: list[Job], tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    first = sought(task, [("random", False)], out)
    assert len(made) == len(read(out)) == 2
    assert sorted(read(out), key=lambda own: own.job.seed) == first  # nothing is lost in writing
    both = sought(task, [("random", False), ("grid", True)], out, seeds=3)
    assert [job for job in made[2:] if job.sampler == "random"] == [Job(task, "random", 2, "draws", bank=False)]
    assert len(made) == 2 + 1 + 3 and len(both) == 6
    assert both[3:5] == first
    assert sought(task, [("random", False), ("grid", True)], out, seeds=3) == both and len(made) == 6


def test_a_run_is_the_same_where_it_is_made_again(task: str, made: list[Job]) -> None:
    first, again = (sought(task, [("random", True)], None) for _ in range(2))
    assert [replace(own, seconds=0) for own in first] == [replace(own, seconds=0) for own in again]
    assert len(made) == 4


def test_other_jobs_of_the_file_are_left_alone(task: str, made: list[Job], tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    sought(task, [("random", False), ("random", True)], out)
    (run,) = sought(task, [("random", False)], out, seeds=1)
    assert run.job == Job(task, "random", 0, "draws", bank=False)
    assert len(read(out)) == len(made) == 4


SPOILT: dict[str, Callable[[str], str]] = {
    "cut": lambda line: line[:-30],
    "empty": lambda line: "",
    "no object": lambda line: "[]",
    "lacks a field": lambda line: json.dumps({k: v for k, v in json.loads(line).items() if k != "optimum"}),
    "has one too many": lambda line: json.dumps({**json.loads(line), "more": 1}),
    "no job": lambda line: json.dumps({**json.loads(line), "job": {"task": "t"}}),
    "a lead too short": lambda line: json.dumps({**json.loads(line), "leads": [[1, 2]]}),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_spoilt_line_is_refused_with_its_number(kind: str, task: str, made: list[Job], tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    sought(task, [("random", False)], out)
    first, second = out.read_text().splitlines()
    text = "\n".join([first, SPOILT[kind](second), first]) + "\n"
    out.write_text(text)
    with pytest.raises(RecordedError, match=r"runs\.jsonl must be a run, but line 2 is not; name another"):
        sought(task, [("random", False)], out)
    assert out.read_text() == text and len(made) == 2


@pytest.mark.parametrize("name", ["allocator", "racing"])
def test_who_spends_by_the_draw_runs_once_for_both_names(name: str, task: str, made: list[Job], tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    runs = sought(task, [(name, False), (name, True)], out, seeds=1)
    assert made == [Job(task, name, 0, "draws", bank=False)] and len(read(out)) == 1
    assert [own.job.bank for own in runs] == [False, True]
    assert replace(runs[0], job=runs[1].job) == runs[1]
    assert sought(task, [(name, True)], out, seeds=1) == runs[1:] and len(made) == 1


def test_who_spends_by_the_trial_runs_for_each_name(task: str, made: list[Job]) -> None:
    alone, banked = sought(task, [("random", False), ("random", True)], None, seeds=1)
    assert [job.bank for job in made] == [False, True]
    assert banked.spent < alone.spent


def test_runs_of_a_task_that_changed_are_refused(task: str, made: list[Job], tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    sought(task, [("random", False)], out)
    Path(task).write_text(Path(task).read_text() + "# other\n")
    with pytest.raises(RecordedError, match=r"runs\.jsonl must hold runs of .* as it is, but it changed"):
        sought(task, [("random", False)], out, seeds=3)


def test_files_are_digested_once_and_every_run_is_stamped(
    task: str, made: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_tasks(tmp_path)[1]
    digested: list[Path] = []

    def noted(path: Path) -> str:
        digested.append(path)
        return digest(path)

    monkeypatch.setattr(module, "digest", noted)
    out = tmp_path / "runs.jsonl"
    samplers = [("random", False), ("grid", False)]
    runs = list(race([task, other], samplers, 3, "draws", out, workers=1))
    assert sorted(digested) == sorted([Path(task), Path(other)]) and len(runs) == 2 * 2 * 3
    assert all(own.digest == digest(Path(own.job.task)) for own in [*runs, *read(out)])


def test_runs_of_before_there_was_a_hypervolume_are_read(task: str, made: list[Job], tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    (now,) = sought(task, [("random", False)], out, seeds=1)
    record = json.loads(out.read_text())
    assert record.pop("hypervolume") == now.hypervolume and 0 < (now.hypervolume or 0) <= 1
    out.write_text(json.dumps(record) + "\n")
    assert sought(task, [("random", False)], out, seeds=1) == [replace(now, hypervolume=None)] and len(made) == 1


def test_who_offers_no_front_has_no_hypervolume(task: str, made: list[Job]) -> None:
    (own,) = sought(task, [("successive_halving", False)], None, seeds=1)
    assert own.leads and own.hypervolume is None


def test_who_lacks_a_module_is_told_so(
    task: str, made: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lacking_searcher.py").write_text("def search(market, rng):\n    import no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        sought(task, [("lacking_searcher:search", False)], None, seeds=1)


@pytest.mark.parametrize("cut", [1, 50])
def test_a_torn_end_of_the_file_is_made_again(cut: int, task: str, made: list[Job], tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    sought(task, [("random", False)], out, seeds=3)
    out.write_bytes(out.read_bytes()[:-cut])
    assert len(sought(task, [("random", False)], out, seeds=3)) == 3
    assert len(made) == 4
    assert len(read(out)) == 3


def test_a_torn_end_that_cannot_be_cut_off_is_said(
    task: str, made: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs.jsonl"
    sought(task, [("random", False)], out)
    torn = out.read_bytes()[:-1]
    out.write_bytes(torn)

    def refused(path: Path, size: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "truncate", refused)
    with pytest.raises(RecordedError, match=r"runs\.jsonl must be writable, .* Read-only file system; name another\.$"):
        sought(task, [("random", False)], out)
    assert out.read_bytes() == torn and len(made) == 2


@pytest.mark.parametrize("text", ["{}", "notes", '{"tasks": [1, 2]}', "first\nsecond"])
def test_a_file_of_something_else_is_left_as_it_is(text: str, task: str, made: list[Job], tmp_path: Path) -> None:
    out = tmp_path / "notes.txt"
    out.write_text(text)
    with pytest.raises(RecordedError, match=r"each line of .*notes\.txt must be a run, but line 1 is not"):
        sought(task, [("random", False)], out)
    assert out.read_text() == text and not made


def test_a_searcher_that_raises_is_named(
    task: str, made: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "def search(market, rng):\n    helped(market)\n\n\ndef helped(market):\n    market.lead(-1)\n"
    (tmp_path / "poor_searcher.py").write_text(text + "\n\ndef ended(market, rng):\n    raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    said = (
        r"but 'poor_searcher:search' raised ValueError: a lead must be one of \d+ .* at .*poor_searcher\.py:6, on .*, "
        r"seed 0; mend the searcher\.$"
    )
    with pytest.raises(RecordedError, match=said) as error:
        sought(task, [("poor_searcher:search", False)], None, seeds=1)
    assert str(error.value).count("; mend") == 1
    with pytest.raises(RecordedError, match=r"raised SystemExit: 0 at .*poor_searcher\.py:10, on"):
        sought(task, [("poor_searcher:ended", False)], None, seeds=1)


def test_a_searcher_that_ends_its_process_does_not_hang_the_race(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ended_searcher.py").write_text("import os\n\n\ndef search(market, rng):\n    os._exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    with pytest.raises(RecordedError, match="must not end its process"):
        sought(task, [("ended_searcher:search", False)], None, seeds=2)
