"""A language model as the agent: each answer is a draw of the run, so it is banked, counted and never bought twice.

A search asks its sampler in a thread; the draw is made on the event loop of the search.
"""

from __future__ import annotations

import asyncio
import json

from apportion.agent.question import Brief, Question
from apportion.agent.waiting import on_loop
from apportion.envs.dispatch import Dispatcher
from apportion.envs.worker import Sampling
from apportion.errors import AgentError


class WorkerAgent:
    """An `Agent` whose answers are draws of a model.

    Args:
        model: one of the dispatcher's.
        loop: on which the dispatcher draws; it must run in another thread than `answer`.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        model: str,
        loop: asyncio.AbstractEventLoop,
        *,
        temperature: float,
        max_tokens: int,
    ) -> None:
        self._dispatcher = dispatcher
        self._model = model
        self._loop = loop
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._schemas = dispatcher.endpoints[model].schemas

    def answer(self, question: Question[Brief]) -> str:
        """The text of the draw, as it came. A question that is asked in several rounds has a sample for each.

        Raises:
            AgentError: the draw failed or timed out.
            LimitReached: it may not be bought.
            CancelledError: the search was stopped.
        """
        # Its keys unsorted, as models write in their order.
        schema = json.dumps(question.schema, separators=(",", ":")) if self._schemas else ""
        sampling = Sampling(self._temperature, self._max_tokens, schema=schema)
        index = max(0, question.brief.round - 1)
        drawing = self._dispatcher.draw(self._model, question.messages, sampling, index, "searcher")
        draw = on_loop(drawing, self._loop)
        if draw.status in ("failed", "timeout"):
            why = draw.finish_reason or draw.status
            raise AgentError(f"the agent must answer, but {self._model!r} did not ({why}); mend it and run again.")
        return draw.text
