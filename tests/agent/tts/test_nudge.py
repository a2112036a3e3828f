"""What a person pins and notes: it is checked, kept in order, and heeded by every later proposal."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import apportion
from apportion import agents
from apportion.agent.nudge import MOST_NOTES, Nudge, standing
from apportion.agent.tts.allocation import Choice
from apportion.agent.tts.pinning import Pinned, nudged
from apportion.build import space_of
from apportion.errors import ApportionError, GraphError, StoreError
from apportion.graphs.templates import TemplateStage
from apportion.run import RunFolder
from apportion.spec import fingerprint, load_spec
from tests.agent.planner import planner_process, write
from tests.agent.tts.test_live import allocations
from tests.support import rows, run_cli, start_cli, wait_until

SPACE = allocations(
    TemplateStage("find", ("small", "large"), ("single", "vote"), (4, 6)),
    TemplateStage("tell", ("small", "large"), ("single", "vote", "fuse"), (1, 6), reads=("find",)),
    budget=8.0,
)


def asked(
    before: Nudge,
    *pin: str,
    unpin: tuple[str, ...] = (),
    note: tuple[str, ...] = (),
    drop: tuple[int, ...] = (),
    after: int = 0,
) -> Nudge:
    return nudged(before, SPACE, after, pin, unpin, note, drop)


def test_a_nudge_holds_all_that_stands() -> None:
    first = asked(Nudge(), "tell.model=large", "tell.samples=3", note=("Keep it\n cheap.",), after=5)
    assert first == Nudge(5, {"tell.model": "large", "tell.samples": 3}, ("Keep it cheap.",))
    second = asked(first, "tell.how=vote", unpin=("tell.samples",), note=("Hurry.",), after=9)
    assert second == Nudge(9, {"tell.model": "large", "tell.how": "vote"}, ("Keep it cheap.", "Hurry."))
    assert Nudge.from_dict(json.loads(json.dumps(second.to_dict()))) == second
    both = [first, second]
    assert [standing(both, told) for told in (4, 5, 8, 9, 99)] == [Nudge(), first, first, second, second]


@pytest.mark.parametrize(
    ("pin", "said"),
    [
        ("tell", "a pin must be STAGE.model="),
        ("tell.model", "a pin must be STAGE.model="),
        ("tell.depth=3", "a pin must be STAGE.model="),
        ("ask.model=small", "with a stage of find, tell"),
        ("tell.model=gpt-9", "`tell.model` must be one of small, large, got 'gpt-9'"),
        ("find.how=vote", "nothing: there is one way only"),
        ("tell.samples=0", "whole number from 1 to 6, got '0'"),
        ("tell.samples=1e1", "whole number from 1 to 6, got '1e1'"),
        ("find.samples=2", "that the stage can draw, got 2; the nearest is 1"),
        ("find.samples=" + "9" * 400, "whole number from 1 to 6"),
    ],
)
def test_a_pin_that_the_space_does_not_have_is_refused(pin: str, said: str) -> None:
    with pytest.raises(GraphError) as error:
        asked(Nudge(), pin)
    assert said in str(error.value)


def test_pins_that_leave_nothing_within_the_budget_and_strange_words_are_refused() -> None:
    with pytest.raises(GraphError, match=r"within 8 calls, but with find.samples=6, tell.samples=6 the cheapest costs"):
        asked(Nudge(), "find.samples=6", "tell.samples=6")
    with pytest.raises(GraphError, match="pinned is nothing"):
        asked(Nudge(), unpin=("tell.model",))
    with pytest.raises(GraphError, match=r"1 to 2000 .*, got 0"):
        asked(Nudge(), note=(" ",))


def test_one_sample_that_is_to_be_merged_is_refused() -> None:
    with pytest.raises(GraphError, match=r"one sample is merged in no way"):
        asked(Nudge(), "tell.samples=1", "tell.how=vote")


def test_a_note_says_nothing_to_a_terminal() -> None:
    assert asked(Nudge(), note=("\x1b[31mred\x07 \u202ewords\udcff",)).notes == ("[31mred words",)
    with pytest.raises(GraphError, match=r"must be a whole number"):
        asked(Nudge(), "tell.samples=\u0664")


def test_only_what_is_pinned_is_offered() -> None:
    space = Pinned(SPACE, {"tell.model": "large", "tell.samples": 3, "tell.how": "vote"})
    find, tell = space.stages
    assert find == SPACE.stages[0]
    assert (tell.models, tell.hows, tell.least, tell.most) == (("large",), ("vote",), 3, 3)
    fitted = space.fit({"find": Choice("small", 1), "tell": Choice("small", 1, "fuse")})
    assert fitted == {"find": Choice("small", 1), "tell": Choice("large", 3, "vote")}
    earlier = SPACE.params(SPACE.fit({"find": Choice("small", 1), "tell": Choice("small", 1)}))
    assert space.allocation(earlier)["tell"].model == "small"


def test_notes_are_taken_back_by_the_numbers_that_stand() -> None:
    first = asked(Nudge(), "tell.model=large", note=("One.", "Two.", "Three."), after=2)
    second = asked(first, unpin=("tell.model",), drop=(3, 1), note=("Four.",), after=6)
    assert second == Nudge(6, {}, ("Two.", "Four.")), "numbers are of those before, whatever else is asked"
    assert [standing([first, second], told) for told in (5, 6)] == [first, second]
    for numbers, said in (
        ((3,), r"from 1 to 2, each once\), got 3; see --list"),
        ((0,), "got 0; see"),
        ((1, 1), "got 1; see"),
    ):
        with pytest.raises(GraphError, match=said):
            asked(second, drop=numbers)
    with pytest.raises(GraphError, match=r"there is none\), got 1"):
        asked(Nudge(), drop=(1,))


def test_a_note_must_have_a_model_that_reads_it(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/v1"
    loaded = load_spec(write(tmp_path, url, url), ["search.agent.model=null"])
    with contextlib.closing(RunFolder.start(tmp_path / "run", fingerprint(loaded), None)) as folder:
        with pytest.raises(ApportionError, match="a note must have a model that reads it, but code answers"):
            agents.nudge(folder, space_of(loaded.spec), notes=("Be bold.",))
        assert agents.nudge(folder, space_of(loaded.spec), ["answer.model=large"]).pins == {"answer.model": "large"}


def test_only_so_many_notes_stand_at_once() -> None:
    full = asked(Nudge(), note=tuple(map(str, range(MOST_NOTES))))
    with pytest.raises(GraphError, match=rf"at most {MOST_NOTES} notes may stand at once, .* got 21; take some back"):
        asked(full, note=("More.",))
    assert asked(full, drop=(1,), note=("More.",)).notes[-2:] == (str(MOST_NOTES - 1), "More.")
    older = Nudge(0, {}, (*full.notes, "Of an earlier version."))
    assert asked(older, "tell.model=large").notes == older.notes, "what stands already may stay"


def test_a_pin_that_the_space_does_not_have_is_not_heeded() -> None:
    with pytest.raises(StoreError, match=r"a pin that stands must be one .*, got 'tell.model=gpt-9'; take it back"):
        Pinned(SPACE, {"tell.model": "gpt-9"})
    stale = Nudge(0, {"tell.model": "gpt-9", "tell.samples": 3})
    assert asked(stale, unpin=("tell.model",)).pins == {"tell.samples": 3}


def told(run: Path) -> list[dict[str, Any]]:
    """Trials that were asked for and told, in order."""
    try:
        found = rows(run / "run.sqlite", "SELECT record FROM trial ORDER BY number")
    except sqlite3.Error:  # there is no such file or table yet
        return []
    records = [json.loads(record) for (record,) in found]
    return [record for record in records if not record["baseline"] and record["state"] != "running"]


def test_an_interrupted_search_heeds_a_nudge_when_it_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with planner_process(tmp_path / "models.jsonl", 100) as url, planner_process(tmp_path / "asked.jsonl") as planner:
        task = write(tmp_path, url, planner, trials=9)
        with start_cli("run", task, "--out", run) as process:
            wait_until(lambda: len(told(run)) >= 2)
            code, _, err = run_cli("nudge", run, "--pin", "answer.model=large")
            assert code == 2 and "one process at a time" in err
            process.kill()
            process.wait()
        before = len(told(run))
        code, out, err = run_cli(
            "nudge", run, "--pin", "answer.model=large", "--pin", "hint.samples=1", "--note", "Be bold."
        )
        assert (code, err) == (0, "")
        assert out.splitlines() == ["pinned: answer.model=large", "pinned: hint.samples=1", "note 1: Be bold."]
        assert run_cli("nudge", run)[1] == run_cli("nudge", run, "--list")[1] == out
        assert run_cli("nudge", run, "--pin", "answer.model=gpt-9")[0] == 2
        assert run_cli("nudge", run, "--note", "Be timid.")[1].endswith("note 2: Be timid.\n")
        for wrong in ("0", "one", "3"):
            code, _, err = run_cli("nudge", run, "--drop-note", wrong)
            assert code == 2 and len(err.splitlines()) == 1 and "see --list" in err
        assert run_cli("nudge", run, "--drop-note", "2")[1] == out
        code, out, err = run_cli("run", task, "--out", run)
        assert (code, err) == (0, "")
    assert "Pinned: answer.model=large." in out and "Note 1: Be bold." in out
    later = [record["params"] for record in told(run)[before + 1 :]]  # one may have been asked for by then
    assert later and all(params["answer.model"] == "large" and params["hint.template"] == "single" for params in later)
    agent = apportion.open_run(run).to_dict()["agent"]
    assert agent["pins"] == {"answer.model": "large", "hint.samples": 1} and agent["notes"] == ["Be bold."]
    asked_for = rows(run / "run.sqlite", "SELECT request FROM prompt WHERE request LIKE '%person in charge: Be bold.%'")
    assert asked_for, "the note is in later questions"
    code, _, err = run_cli("nudge", run, "--note", "Too late.")
    assert code == 2 and "is done" in err
