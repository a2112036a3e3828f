"""The summary of a run, finished or not: read from the run folder, ready for JSON, tables and plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from apportion.build import objectives_of, space_of
from apportion.errors import ApportionError
from apportion.graphs.cost import COSTS, ModelCard
from apportion.graphs.graph import Graph
from apportion.graphs.paper import Lengths, Measured, refined, shares
from apportion.report.agency import Agency, agency
from apportion.report.break_even import break_even
from apportion.report.wiring import Wiring, wiring
from apportion.run import RunFolder
from apportion.search.engine import REFUSED
from apportion.search.objectives import Objective, front, ranked
from apportion.search.trial import PAPER, Trial
from apportion.spec.paper import guessed_lengths

FAILURE = ("model", "kind", "message", "times")
STATES = ("complete", "pruned", "infeasible", "failed", "repeated", "running")


@dataclass(frozen=True)
class Summary:
    """What is known of a run.

    Attributes:
        state: `searching`, `done`, `undone` (a limit left validation or test undone) or `infeasible`.
        reason: why the search ended.
        closing: validation, test and verdict as JSON values; None before the end.
        failures: what went wrong most often: model, kind, message, how often.
        rates: prefill and decode tokens per second by model.
        cards: the models.
        lengths: of prompts and replies, as far as the run's draws have shown.
        ends: replies that graphs used on the search split, by (stage, model, how they ended): the status of a draw,
            or `unparsed` where the stage's parser found no value in what a role wrote.
        agent: what the agent did that chooses among templates; None where the sampler asks none.
        wiring: what the agent did that wires slots; None where the sampler asks none.
    """

    study: str
    folder: str
    state: str
    reason: str
    trials: Sequence[Trial]
    objectives: Sequence[Objective]
    budget: Mapping[str, float]
    closing: Mapping[str, Any] | None
    ledger: Mapping[str, Mapping[str, float | int | None]]
    failures: Sequence[tuple[str, str, str, int]]
    elapsed_s: float
    rates: Mapping[str, Sequence[float]]
    cards: Mapping[str, ModelCard]
    lengths: Lengths
    ends: Mapping[tuple[str, str, str], int]
    agent: Agency | None = None
    wiring: Wiring | None = None

    @property
    def front(self) -> list[Trial]:
        """Feasible graphs that no other betters, best in the first objective first."""
        return front(self.trials, self.objectives)

    @property
    def baselines(self) -> list[Trial]:
        """One call of each model and plain majority vote of each."""
        return [trial for trial in self.trials if trial.baseline]

    @property
    def best(self) -> Trial | None:
        """The winner on the validation split; before that, the best on the search split."""
        if self.closing:
            return self.by_number(self.closing["winner"])
        return next(iter(ranked(self.trials, self.objectives)), None)

    def by_number(self, number: int) -> Trial:
        """The trial of a number, as `show` and the lines of a search name it.

        Raises:
            ApportionError: there is none.
        """
        trial = next((trial for trial in self.trials if trial.number == number), None)
        if trial is None:
            there = f"from 0 to {self.trials[-1].number}" if self.trials else "of a trial, and this run has none"
            raise ApportionError(f"a trial's number must be {there}, got {number!r:.60}; choose another.")
        return trial

    @property
    def metrics(self) -> list[str]:
        """Metrics to show, objectives first, then costs that are known."""
        known = {name for trial in self.trials for name in trial.metrics}
        first = [o.metric for o in self.objectives]
        others = sorted(known - set(first) - set(COSTS)) + [c for c in COSTS if c in known and c not in first]
        return first + others

    @property
    def refused(self) -> dict[str, int]:
        """Proposals that were not measured, by why: `no_graph`, or over the budget `on_paper`; only what there was."""
        counts = {
            "no_graph": sum(len(trial.memory.get(REFUSED, ())) for trial in self.trials),
            "on_paper": sum(PAPER in trial.violations and trial.state != "repeated" for trial in self.trials),
        }
        return {why: count for why, count in counts.items() if count}

    @property
    def replies(self) -> dict[tuple[str, str], Counter[str]]:
        """How many replies of each model ended how, by (stage, model)."""
        counts: dict[tuple[str, str], Counter[str]] = {}
        for (stage, model, end), count in sorted(self.ends.items()):
            counts.setdefault((stage, model), Counter())[end] = count
        return counts

    def shares(self, graph: Graph) -> dict[str, float]:
        """Share of an answer's FLOPs that each node has, by id: on paper, with the lengths of the run's draws.

        Calls that a role was seen to leave out, as where an earlier stage gave no value, are left out in proportion.
        """
        return shares(graph, self.cards, self.lengths)

    def to_dict(self) -> dict[str, Any]:
        """JSON values, as `apportion show --json` prints them."""
        counts = Counter[str](trial.state for trial in self.trials)
        best = self.best
        return {
            "study": self.study,
            "folder": self.folder,
            "state": self.state,
            "reason": self.reason,
            "objectives": [{"metric": o.metric, "maximize": o.maximize} for o in self.objectives],
            "budget": dict(self.budget),
            "trials": {state: counts[state] for state in STATES},
            "refused": self.refused,
            "best": _trial(best) if best else None,
            "front": [_trial(trial) for trial in self.front],
            "baselines": [_trial(trial) for trial in self.baselines],
            "validation": self.closing["validation"] if self.closing else None,
            "test": _test(self.closing) if self.closing else None,
            "agent": next((own.to_dict() for own in (self.agent, self.wiring) if own), None),
            "break_even": [asdict(own) for own in break_even(self)],
            "ledger": {spender: dict(sums) for spender, sums in self.ledger.items()},
            "replies": [{"stage": stage, "model": model, **ends} for (stage, model), ends in self.replies.items()],
            "failures": [dict(zip(FAILURE, failure, strict=True)) for failure in self.failures],
            "elapsed_s": self.elapsed_s,
            "rates": {model: {"prefill_tok_s": r[0], "decode_tok_s": r[1]} for model, r in self.rates.items()},
            "intervals": "95 %: Wilson for shares, bootstrap for other means, paired bootstrap for differences",
        }


def summarise(folder: RunFolder) -> Summary:
    """Read the summary of an open run folder."""
    spec, outcome = folder.spec, folder.outcome or {}
    learnt = folder.trials.fact("learnt")
    measured = Measured.from_dict(learnt) if learnt else Measured()
    return Summary(
        study=spec.name,
        folder=str(folder.path),
        state=outcome.get("state", "searching"),
        reason=outcome.get("reason", ""),
        trials=folder.told(),
        objectives=objectives_of(spec),
        budget=spec.budget.bounds(len(spec.stages)),
        closing=outcome.get("closing"),
        ledger=folder.calls.ledger(),
        failures=folder.calls.failures(),
        elapsed_s=folder.trials.fact("elapsed_s") or 0.0,
        rates=folder.trials.fact("rates") or {},
        cards={name: model.card(name) for name, model in spec.models.items()},
        ends=measured.ends,
        agent=agency(folder, space_of(spec), objectives_of(spec)),
        wiring=wiring(folder, space_of(spec), objectives_of(spec)),
        lengths=refined(guessed_lengths(spec, ()), measured),  # of a guess without the data, draws soon leave nothing
    )


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "label": trial.label,
        "state": trial.state,
        "reason": trial.reason,
        "key": trial.key,
        "graph": trial.graph.to_dict(),
        "metrics": {name: interval.to_dict() for name, interval in trial.metrics.items()},
        "failure_rate": trial.failure_rate,
    }


def _test(closing: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "winner": {"trial": closing["winner"], "metrics": closing["test"]},
        "rival": {"trial": closing["rival"], "metrics": closing["rival_test"]}
        if closing["rival"] is not None
        else None,
        "cost": closing["cost"],
        "difference": closing["difference"],
        "verdict": closing["verdict"],
    }
