"""From what an agent wrote to mixes, a table of probabilities and a graph. A reply is hostile until it is read here.

It knows the space, the budget and what was tried, not how the agent is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from apportion.agent.reading import SHOWN, items, objects, score, whole
from apportion.agent.reinforce.brief import ROUNDING, Brief, Terms
from apportion.agent.reinforce.mixes import Mix, fits, shown
from apportion.errors import GraphError
from apportion.graphs.graph import Graph
from apportion.graphs.notation import from_lines
from apportion.graphs.parameters import Value
from apportion.graphs.probabilistic import from_table
from apportion.graphs.probabilistic.projection import Trimmed, trim
from apportion.graphs.pruning import cast
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace

MOST_LINES, MOST_LINE = 400, 2_000  # of a table or a graph that are looked at, and characters of a line
OVER = 1e300  # more than any cost: what breaks another bound is too dear
MOST_WRONG, MOST_MIXES = 20, 10  # of which is said what is wrong, and that are looked at


@dataclass(frozen=True)
class Answer:
    """What could be used of a reply.

    Attributes:
        table: probabilities of the parameters that it gives.
        params: of its graph, within the budget; None for none.
        cut: what was left out of it for that, in words.
    """

    table: Mapping[str, Mapping[Value, float]] = field(default_factory=dict)
    params: Mapping[str, Value] | None = None
    cut: str = ""
    expected: float | None = None


def mixes_of(text: str, brief: Brief, most: int) -> tuple[list[Mix], list[str]]:
    """Mixes within the budget, each once, and what is wrong with the others.

    Args:
        most: mixes that are taken.
    """
    good: list[Mix] = []
    wrong: list[str] = []
    stages = [stage for stage in brief.space.stages if isinstance(stage, SlotStage)]
    for number, item in enumerate(items(text, "mixes", stages[0].name)[:MOST_MIXES], 1):
        if len(good) == most:
            break
        try:
            mix = _mix(item, stages, brief)
        except GraphError as error:
            wrong.append(f"mix {number}: {error}")
            continue
        if mix not in good:
            good.append(mix)
    if not good and not wrong:
        wrong.append("the reply must hold a JSON object with a list of `mixes`, but none can be read; write one.")
    return good, wrong


def _mix(item: object, stages: Sequence[SlotStage], brief: Brief) -> Mix:
    if not isinstance(item, Mapping):
        raise GraphError(f"it must be an object of models and counts by stage, got {item!r:.{SHOWN}}; write one.")
    if len(stages) == 1 and stages[0].name not in item:
        item = {stages[0].name: item}  # with one stage there is no doubt which
    mix: dict[str, dict[str, int]] = {}
    for stage in stages:
        said = item.get(stage.name)
        if not isinstance(said, Mapping):
            raise GraphError(f"it must count the models of {stage.name!r}, got {said!r:.{SHOWN}}; add them.")
        counts: dict[str, int] = {}
        for model, given in said.items():
            count = whole(given)
            if model not in stage.models or count is None or not 0 <= count <= stage.slots:
                listed = ", ".join(stage.models)
                raise GraphError(
                    f"{stage.name!r} must count {listed} from 0 to {stage.slots}, got {given!r:.{SHOWN}} of "
                    f"{model!r:.{SHOWN}}; mend it."
                )
            if count:
                counts[model] = count
        mix[stage.name] = counts
    if not fits(brief.space, brief.terms.purse, mix):
        near = next(iter(brief.mixes), None)
        instead = f"one of those that are listed, as {shown(near)}" if near else "fewer slots"
        raise GraphError(f"a mix must have a slot for each stage and be within the budget; name {instead}.")
    return mix


def answer_of(text: str, brief: Brief, earlier: Answer | None = None) -> tuple[Answer, list[str]]:
    """What can be used of a reply, and what is wrong with the rest of it, a line each.

    Args:
        earlier: what an earlier reply held, which stands where this one holds nothing.
    """
    earlier = earlier or Answer()
    said = next((found for found in objects(text) if found.keys() & {"table", "graph"}), None)
    if said is None:
        law = "the reply must be a JSON object with a `table` and a `graph`, but none can be read; write one."
        return earlier, [law]
    wrong: list[str] = []
    graph = _graph(said.get("graph"), brief, wrong)  # first, as of very much that is wrong only the first is told
    table = _table(said.get("table"), brief.space, wrong)
    found = earlier if graph is None else replace(graph, expected=score(said.get("expected")))
    return replace(found, table=table or earlier.table), wrong[:MOST_WRONG]


def _table(said: object, space: SearchSpace, wrong: list[str]) -> dict[str, dict[Value, float]]:
    """What the lines give that can be read; of a parameter that is given twice the first."""
    table: dict[str, dict[Value, float]] = {}
    for number, line in enumerate(_lines(said, "table", wrong), 1):
        try:
            table = {**from_table(space, line), **table}
        except GraphError as error:
            wrong.append(f"table, line {number}: {str(error).removeprefix('line 1: ')}")
    return table


def _graph(said: object, brief: Brief, wrong: list[str]) -> Answer | None:
    """The graph within the budget; None where there is none that is new."""
    lines = _lines(said, "graph", wrong)
    if not lines:
        return None
    try:
        params = from_lines(brief.space, lines)
        if not brief.roles:
            params = cast(brief.space, {**params, **first_roles(brief.space)})
        graph = brief.space.build(params)
        trimmed = trimmed_to(brief.space, brief.terms, graph)
        if trimmed.graph.key in {tried.graph.key for tried in brief.history.tried}:
            after = f" when it is cut to what can be paid ({_cut(trimmed)})" if trimmed.removed else ""
            raise GraphError(f"a graph must be new, but this was tried{after}; change it.")
        return Answer(params=brief.space.params(brief.space.arranged(trimmed.graph)), cut=_cut(trimmed))
    except GraphError as error:
        wrong.append(f"graph: {error}")
        return None


def first_roles(space: SearchSpace) -> dict[str, Value]:
    """Each slot plays the first role that it may."""
    return {name: parameter.values[0] for name, parameter in space.parameters.items() if name.endswith(".role")}


def only(space: SearchSpace, values: Mapping[str, Value]) -> dict[str, dict[Value, float]]:
    """Probabilities of parameters that have one value and no other."""
    return {
        name: {value: float(value == own) for value in space.parameters[name].values} for name, own in values.items()
    }


def trimmed_to(space: SearchSpace, terms: Terms, graph: Graph) -> Trimmed:
    """A graph cut down to the budget, as far as costs are known.

    Raises:
        GraphError: it cannot be.
    """
    if terms.covers(graph):
        return Trimmed(graph, (), ())

    def cost(own: Graph) -> float:
        return (terms.cost(own) or 0.0) + (0.0 if terms.within(own) else OVER)

    bound = OVER / 2 if terms.budget is None else terms.budget * (1 + ROUNDING)
    try:
        return trim(space, graph, cost, bound)
    except GraphError:
        raise GraphError(
            f"an answer must be within the budget, but costs {terms.cost(graph) or 0.0:.4g} {terms.unit}, and is over "
            "it without its smallest models too; take fewer or smaller models."
        ) from None


def _cut(trimmed: Trimmed) -> str:
    """What was left out, and which roles changed."""
    gone = [f"without {', '.join(trimmed.removed)}"] if trimmed.removed else []
    return "; ".join([*gone, *(f"{own.node} as {own.now}, not {own.was}" for own in trimmed.changed)])


def _lines(said: object, what: str, wrong: list[str]) -> list[str]:
    """Lines of a list or of one text; none of null. What is no text in a list is a line that nothing can read."""
    if said is None:
        return []
    if not isinstance(said, str | list):
        wrong.append(f"{what}: it must be a list of lines, got {said!r:.{SHOWN}}; write one.")
        return []
    texts = [said] if isinstance(said, str) else [own if isinstance(own, str) else repr(own) for own in said]
    lines = [line[:MOST_LINE].strip() for text in texts[:MOST_LINES] for line in text.splitlines()]
    return [line for line in lines if line][:MOST_LINES]
