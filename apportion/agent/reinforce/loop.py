"""What Agent-REINFORCE asks between batches: mixes of models before the first one, then a table and a graph after each.

A round is a function of what was tried and of what the agent and the probe answer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from apportion.agent.finding import Finding
from apportion.agent.question import Agent
from apportion.agent.reinforce import prompting
from apportion.agent.reinforce.brief import Brief, Terms
from apportion.agent.reinforce.dialogue import Dialogue, Put
from apportion.agent.reinforce.history import Asked, History, Tried
from apportion.agent.reinforce.memory import remembered
from apportion.agent.reinforce.mixes import Mix, mixes, placed, shown, variants
from apportion.agent.reinforce.pretest import raced
from apportion.agent.reinforce.probe import Probe
from apportion.agent.reinforce.reply import Answer, answer_of, first_roles, mixes_of, only
from apportion.agent.reinforce.settings import Settings
from apportion.agent.reinforce.sweeps import sweep
from apportion.errors import AgentError
from apportion.graphs.digest import told
from apportion.graphs.parameters import Value
from apportion.graphs.probabilistic import ProbabilisticGraph, to_table
from apportion.graphs.slots import NO, YES
from apportion.graphs.space import SearchSpace

STRIDE = 1_000_003  # a prime, so that rounds of neighbouring seeds do not share seeds
NAMED = 2  # mixes that are named, as in the public code of Agent-REINFORCE
DRAWN = 32  # graphs of a mix, of which the first within the budget is tried
PRETEST_EDGE = 0.5  # probability of an edge of a graph by which a mix is tried, as there


@dataclass(frozen=True)
class Loop:
    """Asks an agent.

    Attributes:
        probe: None where nothing can be measured in part: then nothing is swept, and the first mix named is taken.
    """

    space: SearchSpace
    terms: Terms
    agent: Agent[Brief]
    settings: Settings
    probe: Probe | None
    seed: int

    def opening(self, distribution: ProbabilisticGraph, notes: Sequence[str] = ()) -> Asked:
        """The mix of models to begin with, and the graph by which it was tried.

        Raises:
            AgentError: no mix is named that can be used, and chance may not fill in.
            LimitReached: a draw that is needed may not be bought.
        """
        own = self.settings
        swept: list[Finding] = []
        told = own.update != "gradient" or (own.mix == "agent" and own.initial_insights)
        if own.sweeps and told and self.probe is not None:
            swept = sweep(self.space, self.probe, self.terms.covers)
        if own.mix == "none":
            return Asked({}, swept=swept)
        offered = mixes(self.space, self.terms.purse, self.seed)
        named, asked, refused = self._named(distribution, offered, swept, notes)
        return self._pretest(distribution, named, swept, asked, refused)

    def round(
        self,
        distribution: ProbabilisticGraph,
        history: History,
        findings: Sequence[Finding],
        number: int,
        notes: Sequence[str] = (),
    ) -> Asked:
        """What the agent makes of the last batch: a table and a graph, each if it gave one.

        Raises:
            AgentError: neither can be used, and the search may not go on without.
        """
        own = self.settings
        told_ = prompting.priors(own.insights)
        brief = self._brief(distribution, history, told_, findings, (), number)
        of_task = prompting.task(self.space, self.terms, own.knowledge, notes)
        trials = remembered(history, self.space, self.terms.unit, own.memory_tokens)
        table = to_table(distribution)
        words = prompting.update(of_task, brief, trials, self._feedback(history), table)
        put = Put(
            "update",
            words,
            prompting.update_schema(self.space, roles=own.roles),
            brief,
            lambda text, earlier: answer_of(text, brief, earlier),
            _whole,
        )
        end = Dialogue(self.agent).put(put)
        found = end.found or Answer()
        if own.fail_closed and not found.table and not found.params:
            raise AgentError(_unanswered(end.refused))
        return Asked(
            {},
            table=tuple((name, tuple(values.items())) for name, values in found.table.items()),
            graph=tuple((found.params or {}).items()),
            cut=found.cut,
            source="repaired" if end.repaired else "agent",
            expected=found.expected,
            questions=end.asked,
            refused=tuple(end.refused),
        )

    def _named(
        self,
        distribution: ProbabilisticGraph,
        offered: Sequence[Mix],
        findings: Sequence[Finding],
        notes: Sequence[str],
    ) -> tuple[list[Mix], int, Sequence[str]]:
        """Mixes by the agent or by chance."""
        own = self.settings
        if own.mix == "random":
            return self._by_chance(offered), 0, ()
        told_ = prompting.priors(own.insights) if own.initial_insights else {}
        brief = self._brief(distribution, History((), ()), told_, findings if told_ else (), offered, 0)
        words = prompting.mix(prompting.task(self.space, self.terms, own.knowledge, notes), brief, NAMED)
        schema = prompting.mixes_schema(self.space, NAMED)
        put = Put("mix", words, schema, brief, lambda text, _: mixes_of(text, brief, NAMED), bool)
        end = Dialogue(self.agent).put(put)
        if not end.found and own.fail_closed:
            raise AgentError(_unanswered(end.refused))
        return end.found or self._by_chance(offered), end.asked, end.refused

    def _by_chance(self, offered: Sequence[Mix]) -> list[Mix]:
        return random.Random(self.seed).sample(list(offered), min(NAMED, len(offered)))

    def _pretest(
        self, distribution: ProbabilisticGraph, named: Sequence[Mix], swept: Sequence[Finding], asked: int,
        refused: Sequence[str],
    ) -> Asked:  # fmt: skip
        """The best of the mixes and of those without their cheapest models, each by a graph of random edges."""
        tried = [own for mix in named for own in variants(self.space, self.terms.purse, mix)]
        tried = list({shown(mix): mix for mix in tried}.values())
        if not tried or self.probe is None:
            first = tried[0] if tried else {}
            return Asked(first, swept=tuple(swept), questions=asked, refused=tuple(refused))
        drawn = [self._random(distribution, mix, place) for place, mix in enumerate(tried)]
        tried = [mix for mix, params in zip(tried, drawn, strict=True) if params]
        params = [params for params in drawn if params]
        if not tried:  # what reads others is dearer than the calls that mixes are counted by
            return Asked({}, swept=tuple(swept), questions=asked, refused=tuple(refused))
        graphs = [self.space.build(own) for own in params]
        ranked = raced(graphs, self.probe, self.terms.cost)
        best = ranked[0].place
        return Asked(
            tried[best],
            pretested=tuple((shown(tried[own.place]), own.mean, own.examples) for own in ranked),
            swept=tuple(swept),
            graph=tuple(params[best].items()),
            source="pretest",
            questions=asked,
            refused=tuple(refused),
        )

    def _random(self, distribution: ProbabilisticGraph, mix: Mix, place: int) -> dict[str, Value]:
        """A graph of a mix within the budget, each edge as likely as not; empty where none is found."""
        even: dict[str, dict[Value, float]] = {
            name: {NO: 1.0 - PRETEST_EDGE, YES: PRETEST_EDGE} for name in self.space.parameters if ">" in name
        }
        before = distribution.logits.detach().clone()
        distribution.set_logits(torch.zeros_like(before))
        distribution.set_probabilities({**even, **placed(self.space, self.terms.purse, mix, sure=1.0)})
        if not self.settings.roles:
            distribution.set_probabilities(only(self.space, first_roles(self.space)))
        generator = torch.Generator().manual_seed(self.seed * STRIDE + place)
        with torch.no_grad():
            drawn = distribution.params(distribution.sample(DRAWN, generator))
        distribution.set_logits(before)
        return next((params for params in drawn if self.terms.covers(self.space.build(params))), {})

    def _feedback(self, history: History) -> str:
        """How the last batch went, what was foretold of it, and what the parts of its best graph were worth."""
        batch = [(own, own.utility) for own in history.batch if own.utility is not None]
        best = history.best
        lines = [] if best is None else [f"The best so far is trial {best.number}."]
        if batch:
            top = max(batch, key=lambda own: own[1])[0]
            lines.append(f"Of the last batch trial {top.number} did best.")
            lines += [line for own, _ in batch if (line := _foretold(own))]
            credit = self.probe.credit(top.graph) if self.settings.credit and self.probe is not None else None
            if credit is not None:
                lines.append(f"What the parts of trial {top.number} did:\n{told(credit)}")
        if history.asked and (last := history.asked[-1]).cut:
            lines.append(f"Your last graph was cut to what can be paid: {last.cut}.")
        if history.asked and (last := history.asked[-1]).refused and not (last.table and last.graph):
            lines.append(f"Not used of your last reply: {last.refused[0]}")
        return "\n".join(lines)

    def _brief(
        self, distribution: ProbabilisticGraph, history: History, insights: dict[int, str],
        findings: Sequence[Finding], offered: Sequence[Mix], number: int,
    ) -> Brief:  # fmt: skip
        probabilities = distribution.probabilities()
        seed = self.seed * STRIDE + number
        return Brief(
            self.space,
            self.terms,
            history,
            insights,
            findings,
            offered,
            probabilities,
            self.settings.roles,
            number,
            seed,
        )


def _foretold(tried: Tried) -> str:
    """What the agent expected of its own graph, and what came of it; empty for other graphs."""
    if tried.proposal is None or tried.proposal.expected is None or not tried.values:
        return ""
    expected, scored = tried.proposal.expected, tried.values[0]
    return f"Of trial {tried.number}, yours, you expected {expected:.3g}; it scored {scored:.3g}."


def _whole(answer: Answer) -> bool:
    return bool(answer.table and answer.params)


def _unanswered(refused: Sequence[str]) -> str:
    said = refused[-1] if refused else "it said nothing."
    return f"the agent must answer with what can be used, but did not: {said} A note may help: nudge it."
