"""AgentTTS (arXiv 2508.00890) and what it was compared with, as searchers whose unit of spending is a trial.

They know of a market what a language model is told of it (`market_allocations`). Without a model, `ScriptedAgent`
stands in for it. What is measured and remembered is the nearest configuration to what was proposed, as in the public
code, which looks proposals up in a table.
"""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from apportion.agent.cassette import CassetteAgent, Endpoint
from apportion.agent.question import Agent, Question
from apportion.agent.tts.brief import Brief
from apportion.agent.tts.evolution import EvolutionAgent
from apportion.agent.tts.history import History, Source
from apportion.agent.tts.knowledge import best, distilled
from apportion.agent.tts.numeric import NumericAgent
from apportion.agent.tts.scripted import ScriptedAgent
from apportion.agent.tts.settings import INSIGHTS, WAYS, Memory, Settings
from apportion.bench.searchers.by_trial import MOST_ASKS, REPEATS_IN_A_ROW, Trials
from apportion.bench.searchers.market_allocations import MarketAllocations
from apportion.envs.replay.market import Market, Spent
from apportion.errors import GraphError, RecordedError

SOURCES: Mapping[Source, str] = {"agent": "valid", "repaired": "repaired", "fallback": "replaced"}

MOST_SET = {"batch": 100, "memory_tokens": 10_000}  # in the name of a way
ELSEWHERE = 10**6  # added to the seed of a market, for the one that knowledge is from
STUDY = 50  # trials that knowledge is from, as many as the paper gives a search


@dataclass(frozen=True)
class Answering:
    """Who answers in place of the scripted agent.

    Attributes:
        model: name under which the server knows it, and under which its answers are kept.
        endpoint: of the server; None to replay only.
        cassette: file of answers; None to keep none.
    """

    model: str
    endpoint: str | None = None
    cassette: Path | None = None

    def agent(self) -> CassetteAgent:
        """The agent that asks the server, or replays the file."""
        return CassetteAgent(self.cassette, self.model, Endpoint(self.endpoint) if self.endpoint else None)


@dataclass(frozen=True)
class Way:
    """A searcher by an agent.

    Attributes:
        agent: what answers if no model does; it is given what another study has found, where the searcher knows one.
        modelled: whether a model may answer in its place.
        taught: whether it is given the knowledge of another study: by `NumericAgent`, on other examples of the same
            task. Of similar tasks that is the most similar one; what the study spends is not counted.
    """

    settings: Settings
    agent: Callable[[History | None], Agent[Brief]] = lambda found: ScriptedAgent()
    modelled: bool = True
    taught: bool = False


def _copilot(found: History | None) -> Agent[Brief]:
    return ScriptedAgent(known=tuple(allocation for allocation, _ in best(found)) if found else ())


WITHOUT = {f"agenttts-{n}": Way(replace(WAYS["agenttts"], insights=tuple({*INSIGHTS} - {n}))) for n in INSIGHTS}
BY_AGENT: Mapping[str, Way] = {
    "agenttts": Way(WAYS["agenttts"]),
    **WITHOUT,
    "agenthpo": Way(WAYS["agenthpo"]),
    "mlcopilot": Way(WAYS["mlcopilot"], _copilot, taught=True),
    "llm_zero_shot": Way(WAYS["llm_zero_shot"], lambda found: ScriptedAgent(memory=False)),
    "agenttts-evolution": Way(WAYS["agenttts"], lambda found: EvolutionAgent(), modelled=False),
    "agenttts-numeric": Way(WAYS["agenttts"], lambda found: NumericAgent(), modelled=False),
}
"""Ways by name; `agenttts-2` is AgentTTS without insight 2."""


def way(name: str) -> Way | None:
    """The way of a name, None where there is none. It may set keys of `search.agent`: `agenttts/batch=3/memory=none`.

    Raises:
        RecordedError: a key or its value is wrong.
    """
    first, *rest = name.split("/")
    if first not in BY_AGENT:
        return None
    changes: dict[str, Any] = {}
    for text in rest:
        key, _, value = text.partition("=")
        if key in MOST_SET and key not in changes and value.isdecimal() and 1 <= int(value[:9]) <= MOST_SET[key]:
            changes[key] = int(value)
        elif key == "memory" and key not in changes and value in get_args(Memory):
            changes[key] = value
        else:
            raise RecordedError(
                f"{first!r} may be followed by batch=N (1 to {MOST_SET['batch']}), memory_tokens=N (1 to "
                f"{MOST_SET['memory_tokens']:,}) and memory={'|'.join(get_args(Memory))}, each once, / between, got "
                f"{text!r:.60}; mend it."
            )
    own = BY_AGENT[first]
    return replace(own, settings=replace(own.settings, **changes))


class ByAgent:
    """A searcher by an agent.

    Attributes:
        counts: of the last search: questions asked, proposals that were usable at once, after a repair, or that chance
            had to replace, and tokens of a model, None where its server does not say.
    """

    def __init__(self, way: Way, answering: Answering | None = None) -> None:
        self._way, self._answering = way, answering if way.modelled else None
        self.counts: dict[str, int | None] = {}

    def __call__(self, market: Market, rng: np.random.Generator) -> None:
        """Search until the cap, or until nothing new is proposed.

        Raises:
            Spent: at the cap.
            RecordedError: a model does not answer, or the task is none that allocations stand for.
        """
        seed = int(rng.integers(2**31))
        found = _elsewhere(market, seed) if self._way.taught else None
        settings = self._way.settings
        if found is not None:
            settings = replace(settings, knowledge=distilled(found, MarketAllocations(market)))
        model = self._answering.agent() if self._answering else None
        agent = _Counted(model or self._way.agent(found))
        study = _Study(market, agent, seed, settings)
        try:
            study.run(MOST_ASKS * market.task.trials)
        finally:
            sources = Counter(p.origin.source for round_ in study.history.rounds for p in round_.proposals)
            self.counts = {"asked": agent.asked, "tokens": model.tokens if model else 0}
            self.counts |= {count: sources[source] for source, count in SOURCES.items()}


class _Counted:
    """An agent, and how often it was asked."""

    def __init__(self, agent: Agent[Brief]) -> None:
        self._agent, self.asked = agent, 0

    def answer(self, question: Question[Brief]) -> str:
        self.asked += 1
        return self._agent.answer(question)


class _Study:
    """A study of a market by an agent."""

    def __init__(self, market: Market, agent: Agent[Brief], seed: int, settings: Settings) -> None:
        import optuna

        from apportion.agent.tts.sampler import AgentTTSSampler

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._market, self._space = market, MarketAllocations(market)
        sampler = AgentTTSSampler(self._space, agent, seed, settings)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)

    @property
    def history(self) -> History:
        """All that was tried."""
        from apportion.agent.tts.sampler import history

        return history(self._study.trials, self._space, self._study.direction)

    def run(self, most: int) -> None:
        """Measure up to so many proposals."""
        trials, distributions = Trials(self._market), self._space.distributions()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # LangGraph's of the packages that it is made of
            for _ in range(most):
                if trials.repeats >= REPEATS_IN_A_ROW:
                    break
                try:
                    trial = self._study.ask(distributions)
                except GraphError:  # nothing new is left to try
                    break
                self._study.tell(trial, trials.measure(self._space.configuration(trial.params)))


def _elsewhere(market: Market, seed: int) -> History:
    """A study by `NumericAgent` of the same task on other examples."""
    other = Market(market.task, market.seed + ELSEWHERE, market.currency, bank=market.bank)
    study = _Study(other, NumericAgent(), seed, Settings(insights=()))
    with contextlib.suppress(Spent):
        study.run(STUDY)
    return study.history
