"""What the agent of a run did: its rounds, what became of its proposals, and which insights held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from apportion import agents
from apportion.agent.findings import Finding, findings
from apportion.agent.history import Source, Tried
from apportion.agent.nudge import Nudge
from apportion.agent.reply import plain
from apportion.graphs.space import SearchSpace
from apportion.run import RunFolder
from apportion.search.objectives import Objective

SOURCES: Mapping[Source, str] = {
    "initial": "initial trials",
    "agent": "as proposed",
    "repaired": "repaired",
    "fallback": "by chance",
}
VERDICTS = {True: "held", False: "did not hold", None: "is not shown"}


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
    """What the agent of a run did by now; None where the sampler asks none."""
    search = folder.spec.search
    if not search.asks_agent:
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
        f"Agent ({of.answered}): {of.rounds} rounds, {of.asked} questions; trials: {counts or 'none'}; "
        f"{len(of.refused)} answers or candidates could not be used."
    ]
    for finding in of.findings:
        what = (
            "What it expected:" if finding.insight is None else f"Insight {finding.insight} {VERDICTS[finding.held]}:"
        )
        lines.append(f"{what} {finding.text}")
    chance = of.sources["fallback"]
    if chance > (of.sources["agent"] + of.sources["repaired"]):
        why = f", the last because {of.refused[-1]}" if of.refused else ""
        lines.append(f"Warning: chance proposed {chance} trials, more than the agent did{why}")
    lines += [f"Pinned: {name}={value}." for name, value in of.stands.pins.items()]
    return [*lines, *(f"Note: {plain(note)}" for note in of.stands.notes)]


def table(of: Agency) -> Table:
    """Each trial's guideline, and what was expected beside what was measured."""
    made = Table(title="Proposals", title_justify="left", show_edge=False, pad_edge=False)
    for name in ("trial", "round", "expected", "measured"):
        made.add_column(name, justify="right")
    made.add_column("from")
    made.add_column("guideline", overflow="fold")
    for trial in of.trials:
        if (origin := trial.origin) is not None:
            numbers = (_number(origin.expected), _number(trial.score))
            made.add_row(
                str(trial.number), str(origin.round), *numbers, SOURCES[origin.source], Text(origin.guideline or "-")
            )
    return made


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
