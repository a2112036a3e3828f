"""Allocations of a search space whose stages are of templates, at the costs that its graphs have on paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from apportion.agent.tts.allocation import Allocation, Choice, StageChoices
from apportion.agent.tts.initial import usual
from apportion.errors import GraphError
from apportion.graphs.graph import Graph
from apportion.graphs.parameters import Value
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SINGLE, OPERATOR = "single", "fuse"  # one sample; AgentTTS's way of merging several (arXiv 2508.00890)


@dataclass(frozen=True)
class TemplateAllocations:
    """The allocations of a space of templates: one sample is `single`, more are merged by one of the others.

    Attributes:
        space: its stages must all be of templates.
        sizes: parameters of each model, by which models are put in order.
        price: cost of one answer of a graph; None where it is not known.
        unit: what it counts in, in words.
        budget: the most that one answer may cost; None without a bound.

    Raises:
        GraphError: when built, if a stage is of slots.
    """

    space: SearchSpace
    sizes: Mapping[str, float]
    price: Callable[[Graph], float | None]
    unit: str
    budget: float | None = None

    def __post_init__(self) -> None:
        for stage in self.space.stages:
            if not isinstance(stage, TemplateStage):
                raise GraphError(
                    f"an agent chooses among `templates`, but stage {stage.name!r} has `slots`; give it templates, or "
                    "take another sampler."
                )

    @cached_property
    def stages(self) -> tuple[StageChoices, ...]:
        """Models from the smallest to the largest; `fuse` before the other ways of merging."""
        return tuple(self._offered(stage) for stage in self._templates.values())

    def cost(self, allocation: Allocation) -> float | None:
        """Of one answer on paper, of the nearest allocation that the space has.

        Raises:
            GraphError: none is near.
        """
        return self.price(self.space.build(self.params(self.fit(allocation))))

    def fit(self, allocation: Allocation) -> Allocation:
        """The allocation with as many samples as its stages may draw, the fewer of two that are as near.

        Raises:
            GraphError: a stage is strange or absent, or has no such model or way of merging.
        """
        names = [stage.name for stage in self.stages]
        if set(allocation) != set(names):
            given = ", ".join(allocation) or "nothing"
            raise GraphError(f"an allocation must choose for {', '.join(names)}, got {given:.200}; mend it.")
        return {stage.name: self._fitted(stage, allocation[stage.name]) for stage in self.stages}

    def distributions(self) -> dict[str, BaseDistribution]:
        """The parameters in Optuna's terms."""
        return self.space.distributions()

    def params(self, allocation: Allocation) -> dict[str, Value]:
        """The parameters that stand for a fitted allocation; those that are not used have their first value."""
        found: dict[str, Value] = {}
        for name, choice in allocation.items():
            stage = self._templates[name]
            lone = choice.samples == 1
            own: dict[str, Value] = {
                f"{name}.template": SINGLE if lone else choice.how or _merging(stage)[0],
                f"{name}.model": choice.model,
                f"{name}.samples": stage.count.least if lone else choice.samples,
            }
            found |= {parameter: own[parameter] for parameter in stage.parameters}
        return found

    def allocation(self, params: Mapping[str, Value]) -> Allocation:
        """The allocation that parameters stand for.

        Raises:
            GraphError: a parameter is missing or out of the space.
        """
        self.space.check(params)
        found: dict[str, Choice] = {}
        for stage in self.stages:
            template, model = str(params[f"{stage.name}.template"]), str(params[f"{stage.name}.model"])
            if template == SINGLE:
                found[stage.name] = Choice(model, 1, usual(stage))
            else:
                how = template if stage.hows else ""
                found[stage.name] = Choice(model, int(params[f"{stage.name}.samples"]), how)
        return found

    @cached_property
    def _templates(self) -> Mapping[str, TemplateStage]:
        return {stage.name: stage for stage in self.space.stages if isinstance(stage, TemplateStage)}

    def _offered(self, stage: TemplateStage) -> StageChoices:
        merging = _merging(stage)
        return StageChoices(
            stage.name,
            tuple(sorted(stage.models, key=self.sizes.__getitem__)),
            merging if len(merging) > 1 else (),
            1 if SINGLE in stage.templates else stage.count.least,
            stage.count.most if merging else 1,
        )

    def _fitted(self, stage: StageChoices, choice: Choice) -> Choice:
        if choice.model not in stage.models:
            listed = ", ".join(stage.models)
            raise GraphError(f"the model of {stage.name!r} must be one of {listed}, got {choice.model!r}; choose one.")
        if choice.how and choice.how not in _merging(self._templates[stage.name]):
            listed = ", ".join(_merging(self._templates[stage.name])) or "none"
            raise GraphError(f"`how` of {stage.name!r} must be one of {listed}, got {choice.how!r}; choose one.")
        samples = min(max(choice.samples, stage.least), stage.most)
        least = self._templates[stage.name].count.least
        if 1 < samples < least:  # between one sample and the fewest that may be merged
            samples = 1 if stage.least == 1 and samples - 1 <= least - samples else least
        return Choice(choice.model, samples, (choice.how if samples > 1 and stage.hows else "") or usual(stage))


def _merging(stage: TemplateStage) -> tuple[str, ...]:
    """Ways of merging samples, AgentTTS's first."""
    return tuple(sorted((name for name in stage.templates if name != SINGLE), key=lambda name: name != OPERATOR))
