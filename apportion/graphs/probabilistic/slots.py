"""Making the graphs of one stage of slots: edges, then roles. What the slots bought is settled before.

n graphs are made side by side, the last dimension of every tensor; loops run over K slots only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from apportion.errors import GraphError
from apportion.graphs.probabilistic.batch import StageBatch
from apportion.graphs.probabilistic.choosing import (
    LEAST,
    Chooser,
    coins,
    column,
    dot,
    has_any,
    log,
    odds_of,
    pick_if_any,
)
from apportion.graphs.roles import ROLES
from apportion.graphs.slots import SlotStage

MOST_FREE = 63  # slots of which one may be reached from another are kept as the bits of a number
FUSER_LIFT = 0.5  # Agent-REINFORCE (released code of arXiv 2511.00086) adds it to P(fuser) where no fuser is read


@dataclass(frozen=True)
class Rules:
    """The composition rules of some roles as tensors, one row a role."""

    least: Tensor
    gives_new: Tensor
    gives_one: Tensor
    gives_all: Tensor
    reads_comments: Tensor
    writes_comments: Tensor
    reads_scores: Tensor
    writes_scores: Tensor

    @classmethod
    def of(cls, names: tuple[str, ...]) -> Rules:
        """The rules of roles by name."""
        roles = [ROLES[name] for name in names]
        return cls(
            torch.tensor([role.least for role in roles], dtype=torch.int32),
            torch.tensor([role.gives == "new" for role in roles]),
            torch.tensor([role.gives == "new" and not role.calls_model for role in roles]),
            torch.tensor([role.gives == "all" for role in roles]),
            *(
                torch.tensor([getattr(role, trait) == does for role in roles])
                for trait in ("comments", "scores")
                for does in ("reads", "writes")
            ),
        )

    def feasible(self, given: Tensor, scored: Tensor, commented: Tensor) -> Tensor:
        """Roles that may read such candidates: roles x n.

        Args:
            given: n, number of candidates.
            scored: n, whether each of them has a score.
            commented: n, whether a critic is among what is read.
        """
        enough = given >= self.least[:, None]
        return enough & (scored | ~self.reads_scores[:, None]) & (self.reads_comments[:, None] | ~commented)


@dataclass
class _Outputs:
    """What slots give, K x n: numbers of texts, and whether those have scores or are a critic's or a fuser's."""

    widths: Tensor
    scored: Tensor
    critics: Tensor
    fusers: Tensor


class SlotMaker:
    """Makes the edges and roles of a stage.

    Args:
        edge_shift: added to every edge's logit: -2 is the sparse prior of Agent-REINFORCE.
        fuser_rule: draw fusers as that paper's code does: likelier by half where it reads no fuser, else never.

    Raises:
        GraphError: a stage of free order has too many slots.
    """

    def __init__(self, stage: SlotStage, edge_shift: float, *, fuser_rule: bool) -> None:
        self.stage = stage
        self._shift = edge_shift
        self._slots = Rules.of(stage.roles)
        roles = [ROLES[name] for name in stage.roles]
        # Whether some slots give anything but what they draw.
        self._marks = any(
            role.gives != "new" or not role.calls_model or "writes" in (role.scores, role.comments) for role in roles
        )
        self._final = Rules.of(stage.final)
        hearing = [
            ROLES[name]
            for name in stage.final
            if ROLES[name].comments == "reads" and ROLES[name].least <= 1 and ROLES[name].scores != "reads"
        ]
        self._final_hears = bool(hearing)
        code_hears = any(not role.calls_model for role in hearing)
        self._may_be_unheard = not code_hears and any(role.comments == "writes" for role in roles)
        self._deciding = torch.tensor([ROLES[name].calls_model for name in stage.final])
        if stage.free_order and stage.slots > MOST_FREE:
            raise GraphError(
                f"in free order a stage must have at most {MOST_FREE} slots to be drawn, but {stage.name!r} has "
                f"{stage.slots}; use fewer, or the slots' own order."
            )
        pairs = torch.tensor(stage.pairs, dtype=torch.long).reshape(-1, 2) - 1
        self._from, self._to = pairs[:, 0], pairs[:, 1]
        self._fuser = stage.roles.index("fuser") if fuser_rule and "fuser" in stage.roles else None

    def edges(
        self, logits: Tensor, present: Tensor, place: Tensor | None, chooser: Chooser, given: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Choose the edges between slots.

        Args:
            logits: one a pair of the stage.
            present: K x n.
            place: K x n, the slot that stands at each place of the order in which edges are tried; None where edges
                run from a slot to later ones only, so that no order is needed.
            given: K x K x n.

        Returns:
            Edges, K x K x n from slot to slot; which pairs could have one, pairs x n; and with `place` what each slot
            reaches, K x n as bits.
        """
        slots, n = present.shape
        wanted = chooser.edges(logits + self._shift, n, None if given is None else given[self._from, self._to])
        edges = torch.zeros(slots, slots, n, dtype=torch.bool)
        if place is None:
            could, reach = present[self._from] & present[self._to], None
        else:
            edges[self._from, self._to] = wanted
            could, reach = _without_cycles(edges, present, place)
            could = could[self._from, self._to]
        edges[self._from, self._to] = wanted & could
        return (edges if given is None else given), could, reach

    def edge_log_p(self, logits: Tensor, edges: Tensor, could: Tensor, useful: Tensor | None) -> Tensor:
        """Log-probability of the edges between slots: n.

        Args:
            useful: K x n, to leave out edges to slots that are not; None for all edges.
        """
        heads = edges[self._from, self._to]
        impossible = has_any(heads & ~could)
        # In free order an edge that leaves no trace may have kept out one that would have left one.
        if useful is not None and not self.stage.free_order:
            read = useful[self._to]
            heads, could = heads & read, could & read
        return coins(logits + self._shift, heads, could).masked_fill(impossible, -torch.inf)

    def last(self, logits: Tensor, present: Tensor, chooser: Chooser, given: Tensor | None) -> tuple[Tensor, Tensor]:
        """Choose the edges to the final node, at least one.

        Returns:
            K x n, and their log-probability given that there is one: n.
        """
        x = logits + self._shift
        probable = x.clamp(min=math.log(LEAST))
        none_log_p = (logsigmoid(-probable)[:, None] * present).cumsum(0)
        heads = chooser.some(x, none_log_p, present, given)
        impossible = has_any(heads & ~present) | ~has_any(heads)
        # Of independent edges, given that there is one; log sigmoid(x) - log sigmoid(-x) is x.
        log_p = dot(probable, heads) + none_log_p[-1] - log(-none_log_p[-1].expm1())
        return heads, log_p.masked_fill(impossible, -torch.inf)

    def useful(self, edges: Tensor, last: Tensor, reach: Tensor | None) -> Tensor:
        """K x n: slots from which a path leads to the final node."""
        if reach is not None:
            return (reach & _either(_bits(last, reach.dtype))).bool()
        found = last.clone()
        for slot in reversed(range(len(found))):
            found[slot] |= has_any(edges[slot] & found)
        return found

    def roles(
        self,
        logits: Tensor,
        final_logits: Tensor,
        edges: Tensor,
        last: Tensor,
        samples: Tensor,
        useful: Tensor,
        reach: Tensor | None,
        paid: Tensor,
        chooser: Chooser,
        given: StageBatch | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Choose the roles of the slots in topological order, then that of the final node.

        Args:
            logits: roles by slots.
            samples: K x n, numbers of samples.
            reach: as `edges` gives it.
            paid: n, whether the final node can afford a model.

        Returns:
            The roles, K x n, that of the final node, n, and their log-probability, n.
        """
        slots, n = useful.shape
        out = _Outputs((samples * useful).int(), *torch.zeros(3, slots, n, dtype=torch.bool))
        total = torch.zeros(n, dtype=logits.dtype)
        odds = odds_of(logits)
        roles = torch.full((slots, n), -1)
        for slot in self._walk(reach):
            reads = _row(edges.transpose(0, 1), slot) & useful
            width = _sum(reads * out.widths)
            active = _row(useful, slot) & (width > 0)
            scored, commented = self._heard(out, reads)
            allowed = self._slots.feasible(width, scored, commented) & active
            if self._may_be_unheard:
                deaf = _row(last, slot) & ~(paid & self._final_hears)
                allowed = allowed & ~(self._slots.writes_comments[:, None] & deaf)
            own = odds[:, slot, None] if isinstance(slot, int) else column(odds, slot)
            if self._fuser is not None:
                own, allowed = self._by_fuser_rule(own, allowed, has_any(reads & out.fusers))
            role, log_p = pick_if_any(chooser, own, allowed, None if given is None else _row(given.roles, slot))
            total = total + log_p
            _enter(roles, slot, torch.where(active, role, -1))
            if self._fuser is not None:
                _enter(out.fusers, slot, active & (role == self._fuser))
            if self._marks:
                self._pass_on(out, slot, role, active, width, scored)
        final = self._final.feasible(_sum(last * out.widths), ~has_any(last & ~out.scored), has_any(last & out.critics))
        final = final & (paid | ~self._deciding[:, None])
        final_odds, known = odds_of(final_logits[:, None]), None if given is None else given.final_role
        final_role, log_p = pick_if_any(chooser, final_odds, final, known)
        return roles, final_role, total + log_p

    def _heard(self, out: _Outputs, reads: Tensor) -> tuple[Tensor, Tensor]:
        """Whether each candidate that is read has a score, and whether a critic is among what is read: n, or 1."""
        if not self._marks:
            no = torch.zeros(1, dtype=torch.bool)
            return no, no
        return ~has_any(reads & ~out.scored), has_any(reads & out.critics)

    def _pass_on(
        self, out: _Outputs, slot: int | Tensor, role: Tensor, active: Tensor, width: Tensor, scored: Tensor
    ) -> None:
        """Note what a slot gives to those that read it.

        Args:
            width: n, number of candidates that it reads.
            scored: n, whether each of them has a score.
        """
        passes = active & ~self._slots.gives_new[role]
        kept = torch.where(self._slots.gives_all[role], width, width.clamp(max=self.stage.keep))
        drawn = _row(out.widths, slot).masked_fill(active & self._slots.gives_one[role], 1)
        _enter(out.widths, slot, torch.where(passes, kept, drawn))
        _enter(out.scored, slot, (active & self._slots.writes_scores[role]) | (passes & scored))
        _enter(out.critics, slot, active & self._slots.writes_comments[role])

    def _walk(self, reach: Tensor | None) -> Iterable[int | Tensor]:
        """Slots in topological order, by themselves or n at a time."""
        if not self.stage.roles:
            return ()
        # A slot reaches all that a slot which it reaches does, and more, which makes it the larger number.
        return range(self.stage.slots) if reach is None else reach.argsort(0, descending=True)

    def decides(self, final_role: Tensor) -> Tensor:
        """n: whether the final node calls a model."""
        return self._deciding[final_role]

    def _by_fuser_rule(self, odds: Tensor, allowed: Tensor, above_fuser: Tensor) -> tuple[Tensor, Tensor]:
        """Odds and roles such that P(fuser) is min(1, softmax + 0.5) above assistants, and 0 above a fuser."""
        assert self._fuser is not None
        fuser = torch.arange(len(allowed)).eq(self._fuser)[:, None]
        allowed = allowed & ~(fuser & above_fuser)
        p = odds * (allowed | ~has_any(allowed))
        p = p / p.sum(0)
        usual = p[self._fuser]
        lifted = (usual + FUSER_LIFT).clamp(max=1.0)
        others = p * ((1.0 - lifted) / (1.0 - usual).clamp(min=LEAST))
        return torch.where(allowed[self._fuser], torch.where(fuser, lifted, others), p), allowed


def _without_cycles(wanted: Tensor, present: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Try edges place by place, from and to, and skip those that would close a cycle.

    All edges from one slot are tried at once: what they close are paths that lead to it, and it is on none of those.

    Returns:
        Edges that could be there, K x K x n; and what each slot reaches by those that stay, itself included, as bits.
    """
    slots = len(present)
    reach = _bits(torch.ones_like(present), torch.int32 if slots < 32 else torch.int64)
    could = torch.zeros_like(wanted)
    for slot in place:
        leads = (reach >> slot.to(reach.dtype)) & 1
        free = present & _row(present, slot) & ~leads.bool()
        _enter(could, slot, free)
        gained = _either((free & _row(wanted, slot)) * reach)
        reach |= leads * gained
    return could, reach


def _bits(there: Tensor, kind: torch.dtype) -> Tensor:
    """Each slot as a bit of its own where it is there: K x n."""
    return there << torch.arange(len(there), dtype=kind)[:, None]


def _either(bits: Tensor) -> Tensor:
    """All bits of a column as one number."""
    return functools.reduce(torch.bitwise_or, bits.unbind())


def _sum(widths: Tensor) -> Tensor:
    return widths.sum(0, dtype=widths.dtype)


def _row(table: Tensor, slot: int | Tensor) -> Tensor:
    """The row of one slot, or of one slot a column."""
    if isinstance(slot, int):
        return table[slot]
    return table.gather(0, slot.expand(1, *table.shape[1:]))[0]


def _enter(table: Tensor, slot: int | Tensor, row: Tensor) -> None:
    """Set the row of one slot, or of one slot a column."""
    if isinstance(slot, int):
        table[slot] = row
    else:
        table.scatter_(0, slot.expand(1, *table.shape[1:]), row[None])
