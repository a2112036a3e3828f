"""Answers of a language model that are kept in a file, a line each, so that a search by it can be replayed without it.

A line is JSON: `model`, `messages`, `schema`, `seed`, `reply`, `tokens`, `seconds`. A question is the same where the
first four are. It knows questions and answers, not what is asked about.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from apportion.agent.question import Brief, Question
from apportion.envs.reply_checks import printable
from apportion.errors import RecordedError

TIMEOUT_S = 600.0
MOST_TOKENS = 2000  # of a reply, as of an agent in a run
NO_KEY = "none"  # what a server that wants no key is sent


@dataclass(frozen=True)
class Answer:
    """What a model answered.

    Attributes:
        tokens: of the question and the answer; None where the server does not say.
        seconds: until the answer was there.
    """

    reply: str
    tokens: int | None
    seconds: float


class Server(Protocol):
    """Whatever a question is put to."""

    def ask(self, model: str, question: Question[Brief]) -> Answer:
        """One answer.

        Raises:
            RecordedError: there is none.
        """
        ...


@dataclass(frozen=True)
class Endpoint:
    """A server with OpenAI's interface. Its key, where it wants one, is that of the environment: OPENAI_API_KEY.

    Needs the package `openai`.
    """

    url: str

    def ask(self, model: str, question: Question[Brief]) -> Answer:
        """One answer in the form of the question's schema.

        Raises:
            RecordedError: the server cannot be reached or refuses.
            ModuleNotFoundError: `openai` is not installed.
        """
        import openai

        form = {"name": question.purpose, "schema": dict(question.schema), "strict": True}
        asked: dict[str, Any] = {
            "model": model,
            "messages": [asdict(message) for message in question.messages],
            "response_format": {"type": "json_schema", "json_schema": form},
            "max_tokens": MOST_TOKENS,
            "seed": question.brief.seed % 2**31,
        }
        key = os.environ.get("OPENAI_API_KEY", NO_KEY)
        started = time.perf_counter()
        try:
            with openai.OpenAI(base_url=self.url, api_key=key, timeout=TIMEOUT_S) as client:
                said = client.chat.completions.create(**asked)
            reply = said.choices[0].message.content if said.choices else ""
            tokens = said.usage.total_tokens if said.usage else None
        except (openai.OpenAIError, ValueError, AttributeError, TypeError) as error:  # whatever the server sends
            why = printable(str(error), key)
            raise RecordedError(f"the agent's server {self.url} must answer, but: {why}; mend it and go on.") from None
        spoken, counted = isinstance(reply, str), isinstance(tokens, int)
        return Answer(reply if spoken else "", tokens if counted else None, time.perf_counter() - started)


class CassetteAgent:
    """Answers what was answered before and, where a server is given, asks it the rest and records that.

    Several processes may use one file at once: the first to have recorded an answer is whom the others go by.

    Args:
        path: the file; None to record nowhere.
        server: None to replay only.

    Attributes:
        tokens: of all answers given, recorded ones too; None if one of them is not known.
    """

    def __init__(self, path: Path | None, model: str, server: Server | None = None) -> None:
        self._path, self._model, self._server = path, model, server
        self._known: dict[str, Answer] = {}
        self._read_to = 0
        self.tokens: int | None = 0

    def answer(self, question: Question[Brief]) -> str:
        """The recorded answer, or a new one.

        Raises:
            RecordedError: the file lacks the question and no server is given, the server fails, or the file is wrong.
        """
        line = {
            "model": self._model,
            "messages": [asdict(message) for message in question.messages],
            "schema": question.schema,
            "seed": question.brief.seed,
        }
        key = _key(line)
        if key not in self._known:
            self._read()
        if key not in self._known:
            if self._server is None and self._path is not None and not self._path.exists():
                raise RecordedError(f"answers must be in {self._path}, but there is no such file; mend the name.")
            if self._server is None:
                raise RecordedError(
                    f"{self._path} must hold every question to {self._model!r}, but lacks one ({question.purpose}, "
                    f"round {question.brief.round}); name an endpoint to record it."
                )
            self._keep(key, line, self._server.ask(self._model, question))
        found = self._known[key]
        self.tokens = None if self.tokens is None or found.tokens is None else self.tokens + found.tokens
        return found.reply

    def _keep(self, key: str, line: Mapping[str, Any], found: Answer) -> None:
        """Record an answer unless another process has recorded one meanwhile."""
        if self._path is None:
            self._known[key] = found
            return
        try:
            with self._path.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._read()
                file.truncate(self._read_to)  # a last line that was cut short is no answer
                if key not in self._known:
                    file.write(json.dumps({**line, **asdict(found)}).encode() + b"\n")
                    self._known[key] = found
        except OSError as error:
            raise RecordedError(f"answers must be written to {self._path}, but {error.strerror}; make room.") from None

    def _read(self) -> None:
        """What was written since the last time; a last line that is cut short is none."""
        if self._path is None or not self._path.exists():
            return
        try:
            with self._path.open("rb") as file:
                file.seek(self._read_to)
                text = file.read()
        except OSError as error:
            raise RecordedError(f"{self._path} must be readable, but {error.strerror}; name another.") from None
        whole = text[: text.rfind(b"\n") + 1]
        for line in whole.splitlines():
            try:
                own = json.loads(line)
                self._known.setdefault(_key(own), _answer(own))
            except (ValueError, TypeError, KeyError):
                raise RecordedError(
                    f"{self._path} must hold an answer a line, got {line!r:.60}; name another."
                ) from None
        self._read_to += len(whole)


def _answer(line: Mapping[str, Any]) -> Answer:
    """The answer of a line.

    Raises:
        KeyError, TypeError: there is none.
    """
    reply, tokens, seconds = line["reply"], line["tokens"], line["seconds"]
    known = isinstance(reply, str) and isinstance(tokens, int | None) and isinstance(seconds, int | float)
    if not known:
        raise TypeError("no answer")
    return Answer(reply, tokens, seconds)


def _key(line: Mapping[str, Any]) -> str:
    """Digest of what makes a question the same."""
    asked = [line["model"], line["messages"], line["schema"], line["seed"]]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
