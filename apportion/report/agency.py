"""What the agent of a run did: its rounds, what became of its proposals, and which insights held."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from apportion import agents
from apportion.agent.finding import Finding
from apportion.agent.nudge import Nudge
from apportion.agent.reading import plain
from apportion.agent.tts.findings import findings
from apportion.agent.tts.history import Source, Tried
from apportion.graphs.space import SearchSpace
from apportion.run import RunFolder
from apportion.search.objectives import Objective

SOURCES: Mapping[Source, str] = {
    "initial": "initial trials",
    "agent": "as proposed",
    "repaired": "repaired",
    "fallback": "by chance",
}
OWN: tuple[Source, ...] = ("agent", "repaired")
VERDICTS = {True: "held", False: "did not hold", None: "stays open"}


@dataclass(frozen=True)
class Followed:
    """A guideline, and the trials that followed it in any round.

    Attributes:
        guideline: in the agent's words; where there is none, who proposed, in brackets.
        trials: that followed it, at least one.
    """

    guideline: str
    trials: Sequence[Tried]

    @property
    def rounds(self) -> list[int]:
        """In which it was followed."""
        return sorted({trial.origin.round for trial in self.trials if trial.origin is not None})

    @property
    def scores(self) -> list[float]:
        """Of the trials that were measured."""
        return [trial.score for trial in self.trials if trial.score is not None]

    @property
    def expected(self) -> list[float]:
        """Scores, of the trials of which one was expected."""
        return [own.expected for t in self.trials if (own := t.origin) is not None and own.expected is not None]


@dataclass(frozen=True)
class Agency:
    """What an agent did.

    Attributes:
        answered: who answered: a model's name, or which code.
        asked: questions.
        refused: what was wrong with candidates and answers.
        trials: told so far, baselines left out; scores with the larger the better.
        stands: what a person has pinned and noted.
    """

    answered: str
    rounds: int
    asked: int
    refused: Sequence[str]
    trials: Sequence[Tried]
    findings: Sequence[Finding]
    stands: Nudge

    @property
    def sources(self) -> dict[Source, int]:
        """Trials by where they came from."""
        counts = Counter(trial.origin.source for trial in self.trials if trial.origin is not None)
        return {source: counts[source] for source in SOURCES}

    @property
    def followed(self) -> list[Followed]:
        """Each guideline once, the one with the best score first."""
        by: dict[str, list[Tried]] = {}
        for trial in self.trials:
            if trial.origin is not None:
                by.setdefault(trial.origin.guideline or _nameless(trial.origin.source), []).append(trial)
        found = [Followed(guideline, trials) for guideline, trials in by.items()]
        return sorted(found, key=lambda own: max(own.scores, default=-math.inf), reverse=True)

    def to_dict(self) -> dict[str, Any]:
        """JSON values, as `apportion show --json` prints them."""
        return {
            "answered": self.answered,
            "rounds": self.rounds,
            "asked": self.asked,
            "refused": list(self.refused),
            "sources": self.sources,
            "findings": [asdict(finding) for finding in self.findings],
            "trials": [
                {"trial": trial.number, "score": trial.score, **(asdict(trial.origin) if trial.origin else {})}
                for trial in self.trials
            ],
            "pins": dict(self.stands.pins),
            "notes": list(self.stands.notes),
        }


def agency(folder: RunFolder, space: SearchSpace, objectives: Sequence[Objective]) -> Agency | None:
    """What the agent of a run did by now; None where the sampler asks none, or one that wires slots."""
    search = folder.spec.search
    if not search.asks_agent or search.wires_graphs:
        return None
    past = agents.past(folder, space, objectives)
    rounds = past.history.rounds
    code = "evolution" if search.agent.evolution else "numeric"
    return Agency(
        search.agent.model or code,
        len(rounds),
        sum(round_.asked for round_ in rounds),
        [line for round_ in rounds for line in round_.refused],
        [trial for trial in past.history.tried if trial.origin is not None],
        findings(past.history, past.allocations),
        (agents.nudges_of(folder) or [Nudge()])[-1],
    )


def sentences(of: Agency) -> list[str]:
    """What the agent did, in sentences."""
    counts = ", ".join(f"{count} {SOURCES[source]}" for source, count in of.sources.items() if count)
    lines = [
        f"Agent ({of.answered}): {of.rounds} rounds, {of.asked} questions; trials: {counts or 'none'}; answers or "
        f"candidates that could not be used: {len(of.refused)}."
    ]
    for finding in of.findings if of.trials else ():
        what = (
            "What it expected:" if finding.insight is None else f"Insight {finding.insight} {VERDICTS[finding.held]}:"
        )
        lines.append(f"{what} {finding.text}")
    chance = of.sources["fallback"]
    if chance > sum(of.sources[source] for source in OWN):
        why = f", the last because {of.refused[-1]}" if of.refused else ""
        lines.append(f"Warning: chance proposed more of the trials than the agent did{why}")
    lines += [f"Pinned: {name}={value}." for name, value in of.stands.pins.items()]
    return [*lines, *(f"Note {number}: {plain(note)}" for number, note in enumerate(of.stands.notes, 1))]


def _nameless(source: Source) -> str:
    return "(no guideline)" if source in OWN else f"({SOURCES[source]})"
