"""A recorded answer is replayed without its model; what was not recorded is an error that says so."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from apportion.agent.cassette import Answer, CassetteAgent, Endpoint
from apportion.agent.question import Brief, Question
from apportion.agent.tts.history import History
from apportion.envs.worker import Message
from apportion.errors import RecordedError
from apportion.testing.server import FaultRule, MockServer
from tests.agent.tts.kit import two_wiki
from tests.agent.tts.test_scripted import question


class Counted:
    """A server that counts."""

    def __init__(self) -> None:
        self.asked = 0

    def ask(self, model: str, question: Question[Brief]) -> Answer:
        self.asked += 1
        return Answer(f"{model} says {self.asked}", 7, 0.1)


def asked(text: str = "Which?", seed: int = 0) -> Question[Brief]:
    return replace(question(two_wiki(), History((), ()), seed=seed), messages=(Message("user", text),))


def test_answers_are_recorded_and_replayed_without_the_server(tmp_path: Path) -> None:
    path, server = tmp_path / "cassette.jsonl", Counted()
    first = CassetteAgent(path, "o3", server)
    said = [first.answer(asked(text)) for text in ("a", "b", "a")]
    assert said == ["o3 says 1", "o3 says 2", "o3 says 1"] and server.asked == 2 and first.tokens == 21
    assert set(json.loads(path.read_text().splitlines()[0])) == {
        "model", "messages", "schema", "seed", "reply", "tokens", "seconds"
    }  # fmt: skip
    again = CassetteAgent(path, "o3")
    assert [again.answer(asked(text)) for text in ("a", "b", "a")] == said and again.tokens == 21


@pytest.mark.parametrize(("model", "own"), [("o3", asked("other")), ("o4", asked()), ("o3", asked(seed=1))])
def test_another_question_model_or_seed_is_not_in_it(tmp_path: Path, model: str, own: Question[Brief]) -> None:
    path = tmp_path / "cassette.jsonl"
    CassetteAgent(path, "o3", Counted()).answer(asked())
    with pytest.raises(RecordedError, match=r"lacks one \(propose, round 1\); name an endpoint"):
        CassetteAgent(path, model).answer(own)


def test_the_first_recorded_answer_counts_for_all_who_write(tmp_path: Path) -> None:
    path = tmp_path / "cassette.jsonl"
    one, two = CassetteAgent(path, "o3", Counted()), CassetteAgent(path, "o3", Counted())
    two.answer(asked("before"))
    said = one.answer(asked())
    assert two.answer(asked()) == said == CassetteAgent(path, "o3").answer(asked())
    assert len(path.read_text().splitlines()) == 2


def test_without_a_file_answers_are_not_kept() -> None:
    agent = CassetteAgent(None, "o3", Counted())
    assert agent.answer(asked()) == agent.answer(asked()) == "o3 says 1"


def test_a_last_line_that_is_cut_short_is_none_and_other_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cassette.jsonl"
    CassetteAgent(path, "o3", Counted()).answer(asked())
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"model": "o3", "mess')
    assert CassetteAgent(path, "o3").answer(asked()) == "o3 says 1"
    CassetteAgent(path, "o3", Counted()).answer(asked("more"))
    assert CassetteAgent(path, "o3").answer(asked("more")) == "o3 says 1", "written after whole lines only"
    path.write_bytes(whole + b"no answer\n")
    with pytest.raises(RecordedError, match="an answer a line"):
        CassetteAgent(path, "o3").answer(asked("new"))


@pytest.mark.parametrize("wrong", [{"reply": 5}, {"tokens": "x"}, {"seconds": None}])
def test_a_line_without_an_answer_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    path, first = tmp_path / "answers.jsonl", asked()
    CassetteAgent(path, "m", Counted()).answer(first)
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong) + "\n")
    with pytest.raises(RecordedError, match="must hold an answer a line, got"):
        CassetteAgent(path, "m").answer(first)


def test_a_file_that_is_not_there_is_said_to_be_absent(tmp_path: Path) -> None:
    with pytest.raises(RecordedError, match=r"answers must be in .*none\.jsonl, but there is no such file"):
        CassetteAgent(tmp_path / "none.jsonl", "m").answer(asked())


def test_a_server_is_asked_with_the_messages_the_schema_and_the_seed() -> None:
    pytest.importorskip("openai")

    async def work() -> tuple[Answer, dict[str, object]]:
        async with MockServer(reply=lambda body: "all right", keep_bodies=True) as server:
            return await asyncio.to_thread(Endpoint(server.url).ask, "planner", asked(seed=5)), server.bodies[0]

    found, body = asyncio.run(work())
    assert found.reply == "all right" and found.tokens and found.seconds > 0
    assert body["model"] == "planner" and body["seed"] == 5
    assert body["messages"] == [{"role": "user", "content": "Which?"}]
    assert "json_schema" in str(body["response_format"])


def test_a_server_that_refuses_is_an_error_that_names_it() -> None:
    pytest.importorskip("openai")

    async def work() -> None:
        async with MockServer(reply=lambda body: "", faults=[FaultRule("400")]) as server:
            await asyncio.to_thread(Endpoint(server.url).ask, "planner", asked())

    with pytest.raises(RecordedError, match=r"the agent's server http\S+ must answer"):
        asyncio.run(work())


@pytest.mark.parametrize("fault", ["401_echo", "html", "truncated_json", "empty_body", "content_object", "usage_nan"])
def test_whatever_a_server_sends_the_key_is_not_shown(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecret-1234567890")

    async def work() -> Answer:
        async with MockServer(reply=lambda body: "well", faults=[FaultRule(fault)]) as server:
            return await asyncio.to_thread(Endpoint(server.url).ask, "planner", asked())

    try:
        found = asyncio.run(work())
    except RecordedError as error:
        assert "must answer" in str(error) and "verysecret" not in str(error) and len(str(error)) < 800
    else:
        assert isinstance(found.reply, str) and (found.tokens is None or isinstance(found.tokens, int))
