"""What the agent of a run did that wires slots: mixes, tables, graphs of its own, and how far it was followed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from apportion import agents
from apportion.agent.nudge import Nudge
from apportion.agent.reading import plain
from apportion.agent.reinforce.history import Asked, Source, Tried
from apportion.agent.reinforce.mixes import shown
from apportion.graphs.space import SearchSpace
from apportion.report.agency import VERDICTS
from apportion.run import RunFolder
from apportion.search.objectives import Objective

SOURCES: Mapping[Source, str] = {
    "pretest": "of the pretest",
    "drawn": "drawn",
    "agent": "its own",
    "repaired": "its own after a repair",
}
MOST_PRETESTED = 3  # mixes that are named


@dataclass(frozen=True)
class Wiring:
    """What an agent did.

    Attributes:
        answered: who answered: a model's name, or code.
        rounds: what was asked and told, the first before the first batch.
        trials: told so far, baselines left out.
        objective: by which they are compared.
        stands: what a person has noted.
    """

    answered: str
    rounds: Sequence[Asked]
    trials: Sequence[Tried]
    objective: Objective
    stands: Nudge

    @property
    def sources(self) -> dict[Source, int]:
        """Trials by where they came from."""
        counts = Counter(trial.proposal.source for trial in self.trials if trial.proposal is not None)
        return {source: counts[source] for source in SOURCES}

    @property
    def best(self) -> Tried | None:
        """The best by the first objective, of equals the first."""
        sign = 1.0 if self.objective.maximize else -1.0
        return max((own for own in self.trials if own.values), key=lambda own: sign * own.values[0], default=None)

    @property
    def last(self) -> Tried | None:
        """The last that was measured."""
        return next((own for own in reversed(self.trials) if own.values), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON values, as `apportion show --json` prints them."""
        return {
            "answered": self.answered,
            "rounds": [own.to_dict() for own in self.rounds],
            "sources": self.sources,
            "best": None if self.best is None else self.best.number,
            "last": None if self.last is None else self.last.number,
            "trials": [
                {"trial": own.number, "values": list(own.values), **(asdict(own.proposal) if own.proposal else {})}
                for own in self.trials
            ],
            "notes": list(self.stands.notes),
        }

    def sentences(self) -> list[str]:
        """The same in sentences."""
        counts = ", ".join(f"{count} {SOURCES[source]}" for source, count in self.sources.items() if count)
        updates = _many(max(0, len(self.rounds) - 1), "update")
        asked = _many(sum(own.questions for own in self.rounds), "question")
        refused = sum(len(own.refused) for own in self.rounds)
        lines = [
            f"Agent ({self.answered}): {updates}, {asked}; graphs: {counts or 'none'}; lines of its replies that could "
            f"not be used: {refused}."
        ]
        for first in self.rounds[:1]:
            lines += [f"It began with the mix {shown(first.mix)}{_pretested(first)}."] if first.mix else []
            lines += [f"Insight {own.insight} {VERDICTS[own.held]}: {own.text}" for own in first.swept]
        weight = next((own.weight for own in reversed(self.rounds) if own.weight is not None and own.table), None)
        if weight is not None:
            lines.append(
                f"Its tables weigh {weight:.2f}, gradients {1 - weight:.2f}, by what each foretold of the next batch."
            )
        told = [own for own in self.rounds[1:] if own.questions]
        if told and not any(own.table or own.graph for own in told):
            why = f", the last because {told[-1].refused[-1]}" if told[-1].refused else "."
            lines.append(f"Warning: nothing that it said of tables and graphs could be used{why}")
        if expected := [
            (own.proposal.expected, own.values[0])
            for own in self.trials
            if own.proposal is not None and own.proposal.expected is not None and own.values
        ]:
            foretold, scored = map(median, zip(*expected, strict=True))
            of = _many(len(expected), "graph")
            lines.append(f"Of {of} of its own it expected {foretold:.3g}, and measured was {scored:.3g} (medians).")
        if self.best is not None and self.last is not None:
            lines.append(
                f"The last graph that was proposed is trial {self.last.number} ({self.last.values[0]:.3g} "
                f"{self.objective.metric} on the search split), the best of them trial {self.best.number} "
                f"({self.best.values[0]:.3g})."
            )
        return [*lines, *(f"Note {number}: {plain(note)}" for number, note in enumerate(self.stands.notes, 1))]


def wiring(folder: RunFolder, space: SearchSpace, objectives: Sequence[Objective]) -> Wiring | None:
    """What the agent of a run did by now; None where the sampler asks none that wires slots."""
    search = folder.spec.search
    if not search.wires_graphs:
        return None
    from apportion.agents.wired import past

    history = past(folder, space, objectives)
    return Wiring(
        search.agent.model or "code",
        history.asked,
        [trial for trial in history.tried if trial.proposal is not None],
        objectives[0],
        (agents.nudges_of(folder) or [Nudge()])[-1],
    )


def _pretested(asked: Asked) -> str:
    """The best of the mixes that were pretested."""
    if len(asked.pretested) < 2:
        return ""
    own = [f"{mix} scored {'none' if mean is None else f'{mean:.2f}'} on {n}" for mix, mean, n in asked.pretested]
    return f", the best of {len(own)} in the pretest ({'; '.join(own[:MOST_PRETESTED])} examples)"


def _many(count: int, of: str) -> str:
    return f"{count} {of}" if count == 1 else f"{count} {of}s"
