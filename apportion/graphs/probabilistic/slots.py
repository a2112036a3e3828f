"""Making the graphs of one stage of slots: edges, then roles. What the slots bought is settled before.

B graphs are made side by side; loops run over K slots only. Everything works in topological places: place k reads
places before k, whichever slots stand there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from apportion.errors import GraphError
from apportion.graphs.probabilistic.batch import StageBatch
from apportion.graphs.probabilistic.choosing import Chooser, coins, pick
from apportion.graphs.roles import ROLES
from apportion.graphs.slots import SlotStage

MOST_FREE = 63  # slots of which one may be reached from another are kept as the bits of a number
FUSER_LIFT = 0.5  # Agent-REINFORCE (released code of arXiv 2511.00086) adds it to P(fuser) where no fuser is read


@dataclass(frozen=True)
class Rules:
    """The composition rules of some roles as tensors, one row a role."""

    least: Tensor
    keeps: Tensor
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
            torch.tensor([role.least for role in roles]),
            torch.tensor([role.gives == "kept" for role in roles]),
            torch.tensor([role.gives == "all" for role in roles]),
            *(
                torch.tensor([getattr(role, trait) == does for role in roles])
                for trait in ("comments", "scores")
                for does in ("reads", "writes")
            ),
        )

    def feasible(self, given: Tensor, scored: Tensor, commented: Tensor) -> Tensor:
        """Roles that may read such candidates: B x roles.

        Args:
            given: B, number of candidates.
            scored: B, whether each of them has a score.
            commented: B, whether a critic is among what is read.
        """
        enough = given[:, None] >= self.least
        return enough & (scored[:, None] | ~self.reads_scores) & (self.reads_comments | ~commented[:, None])


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
        self._final = Rules.of(stage.final)
        self._final_hears = any(
            ROLES[name].comments == "reads" and ROLES[name].least <= 1 and ROLES[name].scores != "reads"
            for name in stage.final
        )
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
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Choose the edges between slots.

        Args:
            logits: one a pair of the stage.
            present: B x K.
            place: B x K, the slot that stands at each place of the order in which edges are tried; None where edges
                run from a slot to later ones only, so that no order is needed.

        Returns:
            Edges, B x K x K from slot to slot; which of them could be there, likewise; and B x K, the slots in
            topological order.
        """
        batch, slots = present.shape
        square = logits.new_full((slots, slots), -torch.inf)
        square[self._from, self._to] = logits + self._shift
        if place is None:
            could = present[:, :, None] & present[:, None, :] & square.isfinite()
            wanted = chooser.edges(square.expand(batch, -1, -1), given)
            order = torch.arange(slots).expand(batch, slots)
            return wanted & could if given is None else wanted, could, order
        rows = place[:, :, None].expand(-1, -1, slots)
        turned = square.expand(batch, -1, -1).gather(1, rows).gather(2, rows.transpose(1, 2))
        theirs = None if given is None else given.gather(1, rows).gather(2, rows.transpose(1, 2))
        wanted = chooser.edges(turned, theirs)
        here = present.gather(1, place)
        edges, could, reach = _without_cycles(wanted, here)
        back = place.argsort(1)
        rows = back[:, :, None].expand(-1, -1, slots)
        edges, could = (t.gather(1, rows).gather(2, rows.transpose(1, 2)) for t in (edges, could))
        # A slot has more ancestors than any of its ancestors has.
        ancestors = ((reach[:, :, None] >> torch.arange(slots)) & 1).sum(0)
        order = place.gather(1, ancestors.argsort(dim=1, stable=True))
        return (edges if given is None else given), could, order

    def edge_log_p(self, logits: Tensor, edges: Tensor, could: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of each edge's being there or not: B x pairs, and which of them are impossible: B."""
        heads, thrown = edges[:, self._from, self._to], could[:, self._from, self._to]
        x = (logits + self._shift).expand(heads.shape)
        log_p = torch.where(heads, logsigmoid(x), logsigmoid(-x))
        return log_p.where(thrown, 0.0), (heads & ~thrown).any(1)

    def last(self, logits: Tensor, present: Tensor, chooser: Chooser, given: Tensor | None) -> tuple[Tensor, Tensor]:
        """Choose the edges to the final node, at least one.

        Returns:
            B x K, and their log-probability given that there is one: of the first, then of each that comes after it.
        """
        x = (logits + self._shift).expand(present.shape)
        none = logsigmoid(-x).where(present, 0.0)
        first_log_p = (logsigmoid(x) + none.cumsum(1) - none).masked_fill(~present, -torch.inf).log_softmax(1)
        heads = chooser.some(x, first_log_p, present, given)
        first = heads.to(torch.uint8).argmax(1, keepdim=True)
        after = present & (torch.arange(present.shape[1]) > first)
        log_p = first_log_p.gather(1, first)[:, 0] + coins(x, heads.scatter(1, first, value=False), after)
        return heads, log_p.masked_fill(~heads.any(1), -torch.inf)

    def useful(self, edges: Tensor, last: Tensor, order: Tensor) -> Tensor:
        """B x K: slots from which a path leads to the final node."""
        found = last.clone()
        for k in reversed(range(order.shape[1])):
            slot = order[:, k, None]
            reads = edges.gather(1, slot[:, :, None].expand(-1, -1, edges.shape[2]))[:, 0]
            found = found.scatter(1, slot, found.gather(1, slot) | (reads & found).any(1, keepdim=True))
        return found

    def roles(
        self,
        logits: Tensor,
        final_logits: Tensor,
        made: StageBatch,
        samples: Tensor,
        useful: Tensor,
        order: Tensor,
        chooser: Chooser,
    ) -> Tensor:
        """Choose the roles of the slots in topological order, then that of the final node, into `made`.

        Args:
            logits: slots by roles.
            made: its roles are those that are given, if any.
            samples: B x K, numbers of samples.

        Returns:
            B, their log-probability.
        """
        batch, slots = useful.shape
        widths = torch.where(useful, samples, 0)
        scored = torch.zeros(batch, slots, dtype=torch.bool)
        critics, fusers = torch.zeros_like(scored), torch.zeros_like(scored)
        total = torch.zeros(batch, dtype=logits.dtype)
        roles = torch.full((batch, slots), -1)
        fixed = bool((order == order[:1]).all()) if batch else True
        for k in range(slots if self.stage.roles else 0):
            slot = order[:, k, None]
            if fixed:
                at = int(slot[0])
                reads, own = made.edges[:, :, at] & useful, logits[at].expand(batch, -1)
                mine, deciding, earlier = useful[:, at], made.last[:, at], made.roles[:, at]
            else:
                reads = made.edges.gather(2, slot[:, None, :].expand(-1, slots, -1))[:, :, 0] & useful
                own = logits[slot[:, 0]]
                mine, deciding, earlier = (t.gather(1, slot)[:, 0] for t in (useful, made.last, made.roles))
            active = mine & reads.any(1)
            given, all_scored = (reads * widths).sum(1), (scored | ~reads).all(1)
            allowed = self._slots.feasible(given, all_scored, (reads & critics).any(1))
            if not self._final_hears:
                allowed = allowed & ~(self._slots.writes_comments & deciding[:, None])
            if self._fuser is not None:
                allowed, own = self._by_fuser_rule(own, allowed, (reads & fusers).any(1))
            role, log_p = pick(chooser, own, allowed & active[:, None], earlier)
            total = total + log_p
            width = torch.where(self._slots.gives_all[role], given, torch.full_like(given, -1))
            width = torch.where(self._slots.keeps[role], given.clamp(max=self.stage.keep), width)
            marks = self._slots.writes_scores[role] | ((width >= 0) & all_scored)
            column = slot
            roles = roles.scatter(1, column, torch.where(active, role, -1)[:, None])
            changed = torch.where(active & (width >= 0), width, widths.gather(1, column)[:, 0])
            widths = widths.scatter(1, column, changed[:, None])
            scored = scored.scatter(1, column, (active & marks)[:, None])
            critics = critics.scatter(1, column, (active & self._slots.writes_comments[role])[:, None])
            if self._fuser is not None:
                fusers = fusers.scatter(1, column, (active & (role == self._fuser))[:, None])
        made.roles = roles
        final = self._final.feasible(
            (made.last * widths).sum(1), (scored | ~made.last).all(1), (made.last & critics).any(1)
        )
        made.final_role, log_p = pick(chooser, final_logits.expand(batch, -1), final, made.final_role)
        return total + log_p

    def decides(self, made: StageBatch) -> Tensor:
        """B: whether the final node calls a model."""
        return self._deciding[made.final_role]

    def _by_fuser_rule(self, logits: Tensor, allowed: Tensor, above_fuser: Tensor) -> tuple[Tensor, Tensor]:
        """Roles and logits such that P(fuser) is min(1, softmax + 0.5) above assistants, and 0 above a fuser."""
        fuser = torch.arange(allowed.shape[1]).eq(self._fuser or 0)
        allowed = allowed & ~(fuser & above_fuser[:, None])
        some = allowed.any(-1, keepdim=True)
        log_p = logits.masked_fill(~allowed & some, -torch.inf).log_softmax(-1)
        p = log_p.exp()[:, self._fuser or 0, None]
        lifted = (p + FUSER_LIFT).clamp(max=1.0)
        others = log_p + torch.log((1.0 - lifted).clamp(min=1e-300)) - torch.log((1.0 - p).clamp(min=1e-300))
        certain = fuser & (lifted >= 1.0)
        can = allowed[:, self._fuser or 0, None]
        allowed = torch.where(can & (lifted >= 1.0), certain, allowed)
        turned = torch.where(fuser.expand(log_p.shape), lifted.log().expand(log_p.shape), others)
        return allowed, torch.where(can, turned, log_p).masked_fill(~allowed, 0.0)


def _without_cycles(wanted: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Try edges place by place, from and to, and skip those that would close a cycle.

    Returns:
        The edges that stay and those that could have been there, B x K x K; and what each place reaches, K x B, as
        bits.
    """
    batch, slots = present.shape
    tried = wanted.permute(1, 2, 0).contiguous()
    here = present.T.contiguous()
    could = torch.zeros_like(tried)
    reach = torch.zeros(slots, batch, dtype=torch.int32 if slots < 31 else torch.int64)
    for a in range(slots):
        for b in range(slots):
            if a == b:
                continue
            free = here[a] & here[b] & ((reach[b] >> a) & 1 == 0)
            could[a, b] = free
            kept = free & tried[a, b]
            gained = torch.where(kept, reach[b] | (1 << b), 0)
            above = -((reach >> a) & 1)  # all bits where the place leads to a
            above[a] = -1
            reach |= above & gained
    edges = tried & could
    return edges.permute(2, 0, 1), could.permute(2, 0, 1), reach
