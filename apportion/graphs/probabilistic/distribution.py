"""A distribution over the graphs of a search space: one logit a value of every parameter, an edge has one.

Graphs are drawn as in Agent-REINFORCE (arXiv 2511.00086), many at a time: which slots are there and their models,
within what is left of a nominal budget; edges under a sparse prior; roles in topological order given what they read.
Every condition (a path to the final node, the roles' rules, the budget) holds by construction, so nothing is drawn
again, and the log-probability is that of what was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from apportion.errors import GraphError
from apportion.graphs.graph import Graph
from apportion.graphs.parameters import Params, Value
from apportion.graphs.probabilistic.batch import Batch, StageBatch
from apportion.graphs.probabilistic.choosing import Chance, Chooser, Given, Greedy, odds_of, pick
from apportion.graphs.probabilistic.encoding import decoded, encoded
from apportion.graphs.probabilistic.layout import Layout, edge_names, last_names, slot_names
from apportion.graphs.probabilistic.purchases import Market, Prices
from apportion.graphs.probabilistic.slots import SlotMaker
from apportion.graphs.slots import FINAL, SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage

EDGE_SHIFT = -2.0  # sigmoid(0 - 2) = 0.119: the sparse prior of Agent-REINFORCE's released code at temperature 1
FAR = 1e4  # below the others, a logit is of what never happens
MOST_LOGIT = 30.0  # sigmoid is 1 - 1e-13 there; more would only make gradients vanish


class ProbabilisticGraph(torch.nn.Module):
    """A distribution over the graphs of a space.

    Args:
        prices: by stage and model, the nominal cost of one call; needed with a budget.
        budget: bound on the nominal cost of a drawn graph; None for none.
        edge_shift: added to the logit of every edge.
        fuser_rule: draw fusers as Agent-REINFORCE does: likelier by half where they read no fuser, else never.

    Attributes:
        logits: every logit, a flat vector; `layout` says which is whose.

    Raises:
        GraphError: the budget covers no graph, or a price is missing.
    """

    def __init__(
        self,
        space: SearchSpace,
        prices: Prices | None = None,
        budget: float | None = None,
        edge_shift: float = EDGE_SHIFT,
        *,
        fuser_rule: bool = False,
    ) -> None:
        super().__init__()
        self.space = space
        self.layout = Layout(space)
        self.edge_shift = edge_shift
        self.logits = torch.nn.Parameter(torch.zeros(self.layout.size, dtype=torch.float64))
        self._market = Market(space, self.layout, prices or {}, budget)
        self._slotted = [stage for stage in space.stages if isinstance(stage, SlotStage)]
        self._templates = [stage for stage in space.stages if isinstance(stage, TemplateStage)]
        self._makers = {s.name: SlotMaker(s, edge_shift, fuser_rule=fuser_rule) for s in self._slotted}
        self._count = sum(stage.slots for stage in self._slotted)
        self._random_order = any(stage.free_order for stage in self._slotted)

    # Drawing

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        """Draw n graphs."""
        order = None
        if self._random_order:
            order = torch.rand(n, self._count, generator=generator).argsort(1)
        return self._make(n, Chance(generator), order, None)

    def log_prob(self, batch: Batch) -> Tensor:
        """Log-probability of realised graphs under the present logits, differentiable: n.

        Of graphs drawn in random order it is that of the trajectory, given the order. Minus infinity for what cannot
        be drawn.
        """
        return self._make(len(batch), Given(), batch.order, batch).log_prob

    def used_log_prob(self, batch: Batch) -> Tensor:
        """`log_prob` without the choices that left no trace in the graph.

        Its gradient has the same mean with less noise, exactly so where no budget ties the choices together.
        """
        return self._make(len(batch), Given(), batch.order, batch, used=True).log_prob

    def mode(self) -> dict[str, Value]:
        """Parameters of the graph that takes the most probable value at every step."""
        return self.decode(threshold=0.5, most_readers=None)

    def decode(self, threshold: float = 0.55, most_readers: int | None = 2) -> dict[str, Value]:
        """Parameters of one graph: edges above a probability, each slot read by a few, everything else most probable.

        The final node reads the slot that is most probable there in any case.

        Args:
            threshold: probability above which an edge stays. Agent-REINFORCE takes 0.55.
            most_readers: edges that may leave a slot, the most probable first; None for any number. There it is 2.
        """
        logits = self.logits.detach().clone()
        if most_readers is not None:
            far = FAR + float(logits.max() - logits.min())
            for names in self._edges_by_source():
                places = sorted((self.layout.blocks[name].start for name in names), key=lambda i: -float(logits[i]))
                logits[places[most_readers:]] -= far  # which keeps their order for a final node that would read none
        with torch.no_grad():
            pruned = torch.func.functional_call(self, {"logits": logits}, (Greedy(threshold),))
        return self.params(pruned)[0]

    def forward(self, chooser: Chooser) -> Batch:
        """Make one graph as a chooser has it, slots in their own order."""
        order = torch.arange(self._count)[None] if self._random_order else None
        return self._make(1, chooser, order, None)

    # Numbers

    def entropy(self) -> Tensor:
        """Sum of the entropies of all parameters in nats, each by itself, before any rule or budget; differentiable."""
        _check_finite(self.logits)
        total = torch.zeros((), dtype=self.logits.dtype)
        for block in self.layout.blocks.values():
            x = self.logits[block.where]
            log_p = torch.stack(self._edge_log_p(x)) if block.edge else x.log_softmax(0)
            total = total - (log_p.exp() * log_p).sum()
        return total

    def probabilities(self) -> dict[str, dict[Value, float]]:
        """Probability of every value of every parameter by itself, before any rule or budget."""
        _check_finite(self.logits)
        with torch.no_grad():
            found: dict[str, dict[Value, float]] = {}
            for name, block in self.layout.blocks.items():
                x = self.logits[block.where]
                p = torch.stack(self._edge_log_p(x)).exp()[:, 0] if block.edge else x.softmax(0)
                found[name] = dict(zip(block.values, p.tolist(), strict=True))
        return {name: found[name] for name in self.space.parameters}

    def set_probabilities(self, probabilities: Mapping[str, Mapping[Value, float]]) -> None:
        """Set the logits of some parameters from probabilities.

        Raises:
            GraphError: an unknown parameter or value, a probability below 0, or a sum that is not 1.
        """
        logits = self.logits.detach().clone()
        for name, given in probabilities.items():
            block = self.layout.blocks.get(name)
            if block is None:
                raise GraphError(f"probabilities must be of parameters of the space, got {name!r}; leave it out.")
            p = [float(given.get(value, 0.0)) for value in block.values]
            strange = [value for value in given if value not in block.values]
            if strange or not all(0.0 <= q <= 1.0 for q in p) or abs(sum(p) - 1.0) > 1e-6:
                raise GraphError(
                    f"`{name}` must give each of {', '.join(map(str, block.values))} a probability, and 1 in all, "
                    f"got {dict(given)}; mend it."
                )
            log_p = torch.tensor(p, dtype=logits.dtype).log()
            new = (log_p[1:] - log_p[:1] - self.edge_shift) if block.edge else log_p - log_p.max()
            logits[block.where] = new.clamp(-MOST_LOGIT, MOST_LOGIT)
        self.set_logits(logits)

    def set_logits(self, logits: Tensor) -> None:
        """Replace all logits.

        Raises:
            GraphError: one of them is not finite, or their number is another.
        """
        if logits.shape != self.logits.shape:
            raise GraphError(f"there must be {self.layout.size} logits, got {list(logits.shape)}; mend their number.")
        _check_finite(logits)
        with torch.no_grad():
            self.logits.copy_(logits)

    # Parameters and graphs

    def params(self, batch: Batch) -> list[dict[str, Value]]:
        """Parameters of realised graphs, ready for `SearchSpace.build`."""
        return decoded(self.layout, batch)

    def graphs(self, batch: Batch) -> list[Graph]:
        """The graphs of a batch."""
        return [self.space.build(params) for params in self.params(batch)]

    def batch(self, params: Sequence[Params], order: Sequence[Sequence[int]] | None = None) -> Batch:
        """Realised graphs from their parameters; the inverse of `params`.

        Args:
            order: of each graph, as `Batch.order` has it; needed where the space has stages of free order.

        Raises:
            GraphError: it is needed and not given.
        """
        if self._random_order and order is None:
            raise GraphError("graphs of free order must have their `order`, got none; give what `Batch.order` was.")
        return encoded(self.layout, params, order)

    # Making

    def _make(
        self, n: int, chooser: Chooser, order: Tensor | None, given: Batch | None, *, used: bool = False
    ) -> Batch:
        """Make n graphs, whatever the way of choosing, and say how probable they are.

        Args:
            used: whether choices that left no trace are left out of that.
        """
        _check_finite(self.logits)
        walked = None if order is None else order.T.contiguous()
        theirs = None if given is None else given.bought
        bought, free = self._market.buy(n, self.logits, chooser, walked, theirs, presence=used)
        made = Batch(sum(bought.point_log_p.values(), torch.zeros(n, dtype=self.logits.dtype)), order, bought)
        start = 0
        for stage in self._slotted:
            own = slice(start, start + stage.slots)
            free = self._make_stage(stage, own, made, free, chooser, given, used=used)
            start = own.stop
        return made

    def _make_stage(
        self,
        stage: SlotStage,
        own: slice,
        made: Batch,
        free: Tensor,
        chooser: Chooser,
        given: Batch | None,
        *,
        used: bool,
    ) -> Tensor:
        """Make the edges and roles of one stage, and add to the log-probability.

        Args:
            own: the stage's slots among all.
            free: n, of the budget.

        Returns:
            n, what is free of the budget now.
        """
        maker, logits, bought, n = self._makers[stage.name], self.logits, made.bought, len(made)
        old = None if given is None else given.slots[stage.name]
        present = bought.models[own] >= 0
        place = None
        if made.order is not None and stage.free_order:
            alone = stage.slots == self._count
            place = made.order.T.contiguous() if alone else made.order.argsort(1).T[own].argsort(0)
        pair_logits = logits[self.layout.run(edge_names(stage))]
        edges, could, reach = maker.edges(pair_logits, present, place, chooser, old.edges if old else None)
        last, last_log_p = maker.last(
            logits[self.layout.run(last_names(stage))], present, chooser, old.last if old else None
        )
        useful = maker.useful(edges, last, reach) & present
        temperatures, warmth_log_p = self._temperatures(stage, n, chooser, old)
        roles, final_role, role_log_p = maker.roles(
            logits[self.layout.run(slot_names(stage, "role"))].view(stage.slots, -1).T,
            logits[self.layout.blocks[f"{stage.name}.{FINAL}.role"].where],
            edges,
            last,
            bought.samples[own] + stage.samples[0],
            useful,
            reach,
            self._market.covers_final(stage.name, free),
            chooser,
            old,
        )
        common = last_log_p + role_log_p
        if stage.name in self._market.finals:
            theirs = None if given is None else given.bought.finals[stage.name]
            calls = maker.decides(final_role)
            bought.finals[stage.name], final_log_p, free = self._market.buy_final(
                stage.name, free, calls, logits, chooser, theirs
            )
            common = common + final_log_p
        made.slots[stage.name] = StageBatch(temperatures, edges, last, roles, final_role)
        slot_log_p = bought.slot_log_p[own] + warmth_log_p
        if bought.presence_log_p is not None:
            slot_log_p = slot_log_p.where(useful, bought.presence_log_p[own])
        edge_log_p = maker.edge_log_p(pair_logits, edges, could, useful if used else None)
        made.log_prob = made.log_prob + common + edge_log_p + slot_log_p.sum(0)
        return free

    def _temperatures(
        self, stage: SlotStage, n: int, chooser: Chooser, old: StageBatch | None
    ) -> tuple[Tensor, Tensor]:
        """Temperature of each slot, K x n places, and their log-probabilities."""
        names = slot_names(stage, "temperature")
        if not names:
            return torch.zeros(stage.slots, n, dtype=torch.long), torch.zeros(stage.slots, n, dtype=self.logits.dtype)
        odds = odds_of(self.logits[self.layout.run(names)].view(stage.slots, -1).T).repeat_interleave(n, 1)
        given = old.temperatures.flatten() if old else None
        chosen, log_p = pick(chooser, odds, torch.ones_like(odds, dtype=torch.bool), given)
        return chosen.view(-1, n), log_p.view(-1, n)

    def _edge_log_p(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of "no" and "yes"."""
        x = logits + self.edge_shift
        return logsigmoid(-x), logsigmoid(x)

    def _edges_by_source(self) -> list[list[str]]:
        found = []
        for stage in self._slotted:
            names = [*edge_names(stage), *last_names(stage)]
            for slot in range(1, stage.slots + 1):
                found.append([name for name in names if name.startswith(f"{stage.name}.{slot}>")])
        return found


def _check_finite(logits: Tensor) -> None:
    if not bool(logits.isfinite().all()):
        place = int(logits.isfinite().int().argmin())
        raise GraphError(f"logits must be finite, got {logits[place].item()} at place {place}; use smaller steps.")
