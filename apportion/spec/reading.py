"""Which stage reads which, and what of it: only earlier ones, each once named, none in vain.

It knows the stages' names and templates only, not the data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from apportion.spec.draft import Draft
from apportion.spec.problems import Finding, safe, show, twins
from apportion.spec.schema import StageSpec
from apportion.template import names


def findings(draft: Draft) -> Iterator[Finding]:
    """Everything that is wrong with the names and the reading order of the stages."""
    yield from _stage_names(draft)
    for number, stage in enumerate(draft.stages):
        yield from _order(number, draft)
        if stage is not None:
            yield from _retold(number, stage, draft)


def texts(stage: StageSpec | None) -> Iterator[tuple[str, str]]:
    """The templates of a stage with their keys."""
    if stage is not None:
        yield "prompt", stage.prompt
        if stage.system is not None:
            yield "system", stage.system


def _stage_names(draft: Draft) -> Iterator[Finding]:
    for number, twin in twins(draft.stage_names):
        yield ("stages", number, "name"), f"stage names must be unique, but {show(twin)} is given twice; rename one"
    read = {name for stage in draft.stages for _, text in texts(stage) for name in names(text)}
    for number, name in enumerate(draft.stage_names[:-1]):
        if name is not None and name not in read and None not in draft.stages:
            text = f"every stage but the last must be read by a later one, but {show(name)} is not"
            yield ("stages", number, "name"), f"{text}; write {{{safe(name)}}} in a later prompt, or remove the stage"


def _order(number: int, draft: Draft) -> Iterator[Finding]:
    """A stage reads only stages before it."""
    later = set(draft.stage_names[number:]) - set(draft.stage_names[:number])
    reads = _reads(draft)
    own = draft.stage_names[number]
    for key, text in texts(draft.stages[number]):
        for name in names(text):
            if name not in later or own is None:
                continue
            other = "itself" if name == own else show(name)
            law = f"stages must only read earlier stages, but {show(own)} reads {other}"
            cycle = _path(name, own, reads)
            if cycle:
                chain = " -> ".join(safe(step, 20) for step in (own, *cycle))
                yield ("stages", number, key), f"{law} in the cycle {chain}; remove one of these placeholders"
            else:
                yield ("stages", number, key), f"{law}, which comes later; move {show(name)} up"


def _retold(number: int, stage: StageSpec, draft: Draft) -> Iterator[Finding]:
    """What later prompts read in place of a stage's answer."""
    if stage.picks is not None and stage.runs:
        yield ("stages", number, "runs"), "goes not with picks, as an answer is numbers or a program; remove one"
    if (stage.picks is not None or stage.runs) and number == len(draft.stages) - 1:
        key = "runs" if stage.runs else "picks"
        yield ("stages", number, key), "says what later prompts read, but no stage follows; remove it"
    if stage.picks is not None and stage.parse != "ids":
        yield ("stages", number, "picks"), f"goes with parse: ids only, but parse is {show(stage.parse)}; write ids"
    if stage.picks is not None and not any(stage.picks in names(text) for _, text in texts(stage)):
        law = f"must be a field that the stage's prompt shows, but {show(stage.picks)} is not"
        yield ("stages", number, "picks"), f"{law}; write {{{safe(stage.picks)}}} in it"


def _reads(draft: Draft) -> Mapping[str, list[str]]:
    return {
        own: [name for _, text in texts(stage) for name in names(text) if name in draft.stage_names]
        for own, stage in zip(draft.stage_names, draft.stages, strict=True)
        if own is not None
    }


def _path(start: str, goal: str, reads: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The shortest chain of readings from one stage to another, empty when there is none."""
    paths: deque[tuple[str, ...]] = deque([(start,)])
    seen = {start}
    while paths:
        path = paths.popleft()
        if path[-1] == goal:
            return path
        for name in reads.get(path[-1], []):
            if name not in seen:
                seen.add(name)
                paths.append((*path, name))
    return ()
