"""The bank shared by runs and processes, what makes two draws the same, and purchases for nothing."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import hypothesis.strategies as st
import pytest
from hypothesis import given

from apportion.envs.worker import Reply, Sampling, Usage
from apportion.errors import WorkerError
from apportion.store import Calls, Draw, Memory, MemoryCalls
from apportion.store.calls import MOST_PURCHASES, Booking, canonical, draw_key
from apportion.testing.fakes import FakeWorker, ScriptedWorker
from tests.envs.kit import saying
from tests.store.kit import Store, attempt_of
from tests.support import ROOT, ask, dispatcher, open_calls, rows


@pytest.fixture(params=["on disk", "in memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store that is new, and which any number of sessions may open."""
    memory = Memory()
    if request.param == "in memory":
        return lambda run: contextlib.nullcontext(MemoryCalls(memory, run))
    return lambda run: open_calls(tmp_path / "bank.sqlite", run)


# --- several runs on one store ---------------------------------------------------------------------------------------


def test_two_runs_share_the_bank_and_keep_ledgers_of_their_own(store: Store) -> None:
    async def draws(calls: Calls | MemoryCalls) -> list[Draw]:
        give = dispatcher(calls, FakeWorker(lambda request: f"said in {calls.run}"))
        return [await give.draw("m", ask("same"), Sampling(0.7, 8), index, "candidate") for index in range(3)]

    with store("a") as a, store("b") as b:
        first, second = asyncio.run(draws(a)), asyncio.run(draws(b))
        assert first == second
        assert {draw.text for draw in second} == {"said in a"}
        assert (a.ledger()["candidate"]["calls_fresh"], a.ledger()["candidate"]["calls_banked"]) == (3, 0)
        assert (b.ledger()["candidate"]["calls_fresh"], b.ledger()["candidate"]["calls_banked"]) == (0, 3)
        assert b.spent() == (0, 0, 0.0)


def test_runs_that_buy_the_same_draw_at_once_go_on_with_the_same_text(store: Store) -> None:
    async def both(a: Calls | MemoryCalls, b: Calls | MemoryCalls) -> list[Draw]:
        givers = [dispatcher(c, FakeWorker(lambda request, c=c: f"said in {c.run}", 0.05)) for c in (a, b)]  # type: ignore[misc]
        return await asyncio.gather(*(g.draw("m", ask("same"), Sampling(0.7, 8), 0, "candidate") for g in givers))

    with store("a") as a, store("b") as b:
        one, other = asyncio.run(both(a, b))
        assert one == other == a.find(one.key, 0) == b.find(one.key, 0)
        assert [c.ledger()["candidate"]["calls_fresh"] for c in (a, b)] == [1, 1], "both were paid for"


BUYER = """
import asyncio, sys
from pathlib import Path
from tests.support import ask, dispatcher, open_calls
from apportion.envs.worker import Sampling
from apportion.testing.fakes import FakeWorker
path, who = Path(sys.argv[1]), sys.argv[2]

async def buy(calls):
    worker = FakeWorker(lambda request: f"{request.messages[0].content} said to {who}", 0.1)
    give = dispatcher(calls, worker, concurrency=64)
    draws = [give.draw("m", ask(f"question {n}"), Sampling(0.7, 8), 0, "candidate") for n in range(50)]
    return [draw.text for draw in await asyncio.gather(*draws)]

with open_calls(path, who) as calls:
    print("ready", flush=True)
    sys.stdin.readline()
    print("\\n".join(asyncio.run(buy(calls))))
"""


def test_two_processes_buying_the_same_draws_end_with_the_same_texts(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUYER, str(tmp_path / "bank.sqlite")]
    pipe = subprocess.PIPE
    buyers = [
        subprocess.Popen([*command, who], stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) for who in "ab"
    ]
    for buyer in buyers:
        assert buyer.stdout is not None
        assert buyer.stdout.readline() == "ready\n"
    for buyer in buyers:
        assert buyer.stdin is not None
        buyer.stdin.write("\n")
        buyer.stdin.flush()
    ended = [buyer.communicate(timeout=30) for buyer in buyers]
    assert [errors for _, errors in ended] == ["", ""]
    first, second = (out.splitlines() for out, _ in ended)
    assert first == second
    assert sorted(first) == sorted(text for (text,) in rows(tmp_path / "bank.sqlite", "SELECT text FROM result"))


# --- what makes two draws the same -----------------------------------------------------------------------------------


def test_the_index_is_part_of_a_draw(store: Store) -> None:
    worker = ScriptedWorker([Reply(f"text {n}", "ok", "stop", Usage(1, 1), None, 0.1) for n in range(3)])

    async def run(calls: Calls | MemoryCalls) -> list[str]:
        give = dispatcher(calls, worker)
        return [(await give.draw("m", ask("q"), Sampling(0.7, 8), i, "candidate")).text for i in (0, 1, 2, 1, 0, 2)]

    with store("run") as calls:
        assert asyncio.run(run(calls)) == ["text 0", "text 1", "text 2", "text 1", "text 0", "text 2"]


def test_whatever_changes_the_distribution_of_replies_changes_the_key(tmp_path: Path) -> None:
    usual = Sampling(0.7, 8, 0.9, ("end",))
    samplings = [
        usual,
        dataclasses.replace(usual, temperature=0.8),
        dataclasses.replace(usual, max_tokens=9),
        dataclasses.replace(usual, top_p=1.0),
        dataclasses.replace(usual, stop=("end", "stop")),
        dataclasses.replace(usual, top_logprobs=10),
        dataclasses.replace(usual, top_logprobs=5),
    ]

    async def run(calls: Calls) -> list[str]:
        asked = [("m", ask("q"), sampling) for sampling in samplings]
        asked += [("m", ask("Q"), usual), ("m", ask("q") + ask(""), usual), ("other", ask("q"), usual)]
        keys = []
        for identity, messages, sampling in asked:
            give = dispatcher(calls, FakeWorker(lambda request: "said"), identity=identity)
            keys.append((await give.draw("m", messages, sampling, 0, "candidate")).key)
        return keys

    with open_calls(tmp_path / "bank.sqlite") as calls:
        keys = asyncio.run(run(calls))
        assert len(set(keys)) == len(keys)
        assert asyncio.run(run(calls)) == keys


def test_keys_do_not_change_between_versions(tmp_path: Path) -> None:
    """Else every bank would be bought again."""

    async def key(calls: Calls, sampling: Sampling) -> str:
        return (await dispatcher(calls, saying()).draw("m", ask("q"), sampling, 0, "candidate")).key

    with open_calls(tmp_path / "bank.sqlite") as calls:
        assert asyncio.run(key(calls, Sampling(0.7, 8, 0.9, ("end",)))) == "48dd2d6093213848083aec62972d56c6"
        assert asyncio.run(key(calls, Sampling(0.0, 4, top_logprobs=10))) == "c54dbdeaf649e5a644f7cdc5c8061c57"


def test_the_first_token_is_kept_with_the_draw(tmp_path: Path) -> None:
    first = {"yes": -0.125, "\ud83d é\x00": -3.5}
    path, how = tmp_path / "bank.sqlite", Sampling(0.0, 4, top_logprobs=10)

    async def draws(calls: Calls, *script: Reply) -> list[Draw]:
        give = dispatcher(calls, ScriptedWorker(script))
        return [await give.draw("m", ask(text), how, 0, "candidate") for text in ("asked", "not given")]

    with open_calls(path) as calls:
        replies = [Reply("yes", "ok", "stop", Usage(1, 1), None, 0.1, given) for given in (first, {})]
        bought = asyncio.run(draws(calls, *replies))
    with open_calls(path) as calls:
        assert asyncio.run(draws(calls)) == bought
    assert [draw.first_token for draw in bought] == [first, {}]
    assert [json.loads(kept) for (kept,) in rows(path, "SELECT logprobs FROM first_token")] == [first]


def test_a_bank_of_the_first_format_is_read_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "bank.sqlite"
    how, later = Sampling(0.7, 8), Sampling(0.7, 8, top_logprobs=2)
    reply = Reply("said", "ok", "stop", Usage(1, 1), None, 0.1, {"said": -0.5})

    async def one(calls: Calls, worker: ScriptedWorker, sampling: Sampling) -> Draw:
        return await dispatcher(calls, worker).draw("m", ask("q"), sampling, 0, "candidate")

    with open_calls(path) as calls:
        old = asyncio.run(one(calls, ScriptedWorker([dataclasses.replace(reply, first_token={})]), how))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript("DROP TABLE first_token; PRAGMA user_version = 1")
    with open_calls(path) as calls:
        assert asyncio.run(one(calls, ScriptedWorker([]), how)) == old
        assert asyncio.run(one(calls, ScriptedWorker([reply]), later)).first_token == {"said": -0.5}
    assert rows(path, "PRAGMA user_version") == [(2,)]


@pytest.mark.parametrize("pieces", [(["a", "b"], ["ab"]), (["a\x00", "b"], ["a", "\x00b"]), (["é"], ["e\u0301"])])
def test_keys_do_not_run_texts_together(pieces: tuple[list[str], list[str]]) -> None:
    one, other = (draw_key("m", [("user", text) for text in texts], "[0.7]")[0] for texts in pieces)
    assert one != other


anything = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\\x00\u2028,[]{}'))


@given(anything, st.lists(st.tuples(anything, anything)), st.lists(st.floats() | st.integers() | st.lists(anything)))
def test_a_record_is_the_canonical_json_of_what_is_asked(
    identity: str, messages: list[tuple[str, str]], sampling: list[object]
) -> None:
    key, record = draw_key(identity, messages, canonical(sampling))
    assert record == json.dumps([identity, messages, sampling], ensure_ascii=False, separators=(",", ":"))
    assert key == hashlib.sha256(record.encode()).hexdigest()[:32]


# --- purchases for nothing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status"), [("timeout", "timeout"), ("connection", "failed"), ("bad_response", "failed")]
)
def test_a_draw_that_stands_as_failed_reads_the_same_in_every_session(store: Store, kind: str, status: str) -> None:
    """Else a number that was shown with it could not be computed again."""

    async def run(calls: Calls | MemoryCalls, worker: ScriptedWorker) -> Draw:
        return await dispatcher(calls, worker).draw("m", ask("q"), Sampling(0.7, 8), 0, "candidate")

    worker = ScriptedWorker([WorkerError(cast(Any, kind), "broken")] * 3)
    with store("run") as calls:
        first = asyncio.run(run(calls, worker))
        again = asyncio.run(run(calls, worker))
    with store("run") as calls:
        later = asyncio.run(run(calls, ScriptedWorker([])))
    assert first == again == later
    assert first.status == status
    assert len(worker.requests) == MOST_PURCHASES


def test_lost_calls_do_not_count_as_broken_purchases(store: Store) -> None:
    """A kill says nothing of the draw: it is bought again however often we were killed."""
    for _ in range(5):
        with store("run") as calls:
            booking = asyncio.run(calls.book("candidate", "m", "x", "null", 0))
            assert isinstance(booking, Booking)
            assert booking.purchases == 0
        with store("run") as calls:
            assert calls.write_off(lambda model, request: attempt_of("lost", "possibly", 1, 1)) == 1
            assert calls.write_off(lambda model, request: attempt_of("lost", "possibly", 1, 1)) == 0
    with store("run") as calls:
        assert calls.ledger()["candidate"]["calls_lost"] == 5


def test_only_the_calls_of_the_own_run_are_written_off(store: Store) -> None:
    with store("a") as a, store("b") as b:
        asyncio.run(a.book("candidate", "m", "x", "null", 0))
        assert b.write_off(lambda model, request: attempt_of("lost", "possibly", 1, 1)) == 0
        assert a.write_off(lambda model, request: attempt_of("lost", "possibly", 1, 1)) == 1


def test_a_booking_that_nobody_waits_for_is_struck(tmp_path: Path) -> None:
    """Else the next session would write it off as lost, and charge for it."""

    async def leave(calls: Calls) -> None:
        booking = asyncio.ensure_future(calls.book("candidate", "m", "x", "null", 0))
        await asyncio.sleep(0)  # its first step submits the write
        booking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await booking

    with open_calls(tmp_path / "bank.sqlite") as calls:
        asyncio.run(leave(calls))
    assert rows(tmp_path / "bank.sqlite", "SELECT count(*) FROM call") == [(0,)]


def test_an_unknown_price_makes_the_sum_unknown(store: Store) -> None:
    with store("run") as calls:

        async def run() -> None:
            for index, usd in enumerate((0.5, None)):
                booking = await calls.book("judge", "m", "x", "null", index)
                assert isinstance(booking, Booking)
                attempt = attempt_of("ok", "yes", 1, 1)._replace(usd=usd)
                await calls.finish(booking.call, 0, attempt, Draw("x", index, "ok", "text"))

        asyncio.run(run())
        assert calls.ledger()["judge"]["usd"] is None
        assert calls.ledger()["candidate"]["usd"] == 0.0


def test_requests_are_kept_as_they_were_asked(tmp_path: Path) -> None:
    """The bank alone says what was asked, so that a result can be read without the task."""
    with open_calls(tmp_path / "bank.sqlite") as calls:
        give = dispatcher(calls, FakeWorker(lambda request: "said"))
        draw = asyncio.run(give.draw("m", ask("wie heißt du? 🦉"), Sampling(0.7, 8, 0.9, ("x",)), 0, "candidate"))
        ((request,),) = rows(tmp_path / "bank.sqlite", "SELECT request FROM prompt WHERE key = ?", (draw.key,))
        assert json.loads(request) == ["m", [["user", "wie heißt du? 🦉"]], [0.7, 8, 0.9, ["x"]]]
        assert "🦉" in request
