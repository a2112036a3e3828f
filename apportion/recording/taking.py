"""Making the recording of a run folder: what its bank holds, with the question, stage and role that each was asked for.

The bank knows prompts, not what they were asked for. So the graphs of the run's trials, and what was sampled, are run
again on every example, answered from the bank: each completion is noted where it is used. Nobody is asked, and nothing
is written into the folder, so that another process may be running in it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from apportion.build import evaluators_of, examples_of, space_of, stages_of
from apportion.envs.dispatch import Dispatcher
from apportion.envs.environment import Environment
from apportion.envs.limits import Allowance, Limits
from apportion.envs.rollout import Rollout, value_of
from apportion.envs.stage import Example
from apportion.envs.worker import Reply, ReplyStatus, Usage
from apportion.errors import ApportionError, StoreError
from apportion.evaluators import ANSWERS
from apportion.graphs.graph import Node
from apportion.graphs.roles import ROLES
from apportion.recording.sampling import extents_of, walk
from apportion.recording.table import About, AskedAbout, ModelAbout, Row, write
from apportion.recording.worker import NO_PAUSE_S, TIMEOUT, Find, Kept, endpoints_from
from apportion.run import RunFolder
from apportion.spec import LoadedSpec, TaskSpec
from apportion.spec import data as examples_file
from apportion.store import Calls, Draw, Memory, MemoryCalls
from apportion.store.calls import BANKED, canonical


class Taken(NamedTuple):
    """What was written.

    Attributes:
        completions: different ones; one that several questions share has a row for each of them.
    """

    path: Path
    completions: int
    questions: int


def record(path: Path, target: Path | None = None) -> Taken:
    """Write the recording of a run, finished or not.

    Args:
        path: the run folder.
        target: the file; `recording.parquet` in the folder if None.

    Raises:
        StoreError: it is no run folder, or the task's examples are not what they were.
        ApportionError: there is no completion yet, or the file cannot be written.
    """
    folder = RunFolder.view(path)
    try:
        loaded = _task(folder)
        rows = asyncio.run(taken(folder, loaded))
        about = about_of(loaded, folder)
    finally:
        folder.close()
    if not rows:
        raise ApportionError(f"a run must have completions to be recorded, but {path} has none yet; let it begin.")
    target = target or path / "recording.parquet"
    write(target, about, rows)
    return Taken(target, len({(r.request, r.sample_index) for r in rows}), len({r.question_id for r in rows}))


async def taken(folder: RunFolder, loaded: LoadedSpec) -> list[Row]:
    """What the bank of a run holds of its own task, in the order of examples and stages."""
    spec, space = loaded.spec, space_of(loaded.spec)
    allowance = Allowance(Limits())
    find = _found_in(folder.calls)
    endpoints = endpoints_from(spec, folder.trials.fact("identities"), find, str(folder.path))
    graphs = {trial.key: trial.graph for trial in folder.told()}.values()
    sampled, notes = extents_of(folder), _Notes(loaded)
    for split, examples in examples_of(loaded).items():
        for example in examples:
            # Of each example anew, as what the bank lacks is entered as a failed call.
            dispatcher = Dispatcher(MemoryCalls(Memory(), ""), endpoints, allowance, NO_PAUSE_S)
            environment = Environment(stages_of(spec), dispatcher)
            for graph in graphs:
                notes.add(example, await environment.run(graph, example), {})
            for extent in sampled:
                if split in extent.splits:
                    async for asked in walk(environment, space, extent, example):
                        notes.add(example, asked.rollout, asked.state)
    return notes.rows()


def about_of(loaded: LoadedSpec, folder: RunFolder) -> About:
    """What a recording of a run says of itself."""
    facts, models = folder.trials, loaded.spec.models
    identities, probed = facts.fact("identities"), facts.fact("rates") or {}
    rates = {name: (prefill, decode) for name, (prefill, decode) in probed.items()}
    return About(
        task=loaded.spec.name,
        models={
            name: ModelAbout(identity=identities[name], served=served_name(loaded.spec, name), rates=rates.get(name))
            for name in models
        },
        asked=asked_by(loaded.spec, facts.fact("fingerprint")),
    )


def served_name(spec: TaskSpec, model: str) -> str:
    """The server's name for a model, or the name or path of its file."""
    return str(spec.models[model].gguf or spec.models[model].model)


def asked_by(spec: TaskSpec, fingerprint: Mapping[str, Any]) -> AskedAbout:
    """The parts of a task that its prompts follow from."""
    fields = {"system", "prompt", "temperature", "top_p", "max_tokens", "stop"}
    stages = {stage.name: stage.model_dump(mode="json", include=fields) for stage in spec.stages}
    return AskedAbout(stages=stages, roles=fingerprint["roles"], data_sha256=fingerprint["data_sha256"])


class _Notes:
    """Completions where they were used, each once for a question and stage."""

    def __init__(self, loaded: LoadedSpec) -> None:
        spec = loaded.spec
        self._task = spec.name
        self._parse = {stage.name: stage.parse for stage in stages_of(spec).values()}
        self._last = spec.stages[-1].name
        kinds = [name for name, e in spec.evaluators.items() if e.kind in ANSWERS and e.options.stage is None]
        self._right = evaluators_of(spec)[kinds[0]] if kinds else None
        self._reads = {stage.name: stage.reads for stage in space_of(spec).stages}
        self._order = {name: place for place, name in enumerate(self._reads)}
        self._rows: dict[tuple[str, str, str, int], Row] = {}
        self._examples: dict[str, int] = {}

    def add(self, example: Example, rollout: Rollout, state: Mapping[str, str]) -> None:
        """Note what a rollout used.

        Args:
            state: values of stages that are not in the graph.
        """
        self._examples.setdefault(example.id, len(self._examples))
        outputs = {stage: value_of(rollout.nodes[last.id]) for stage, last in rollout.graph.stage_outputs.items()}
        values = {**state, **outputs}
        for name, run in rollout.nodes.items():
            node = rollout.graph.by_id[name]
            read = canonical({stage: values[stage] for stage in self._reads[node.stage]})
            for draw in run.draws:
                place = example.id, node.stage, draw.key, draw.index
                if draw.status in (*BANKED, TIMEOUT) and place not in self._rows:
                    self._rows[place] = self._row(example, node, read, draw)

    def rows(self) -> list[Row]:
        """All rows, in an order that depends on them alone."""

        def order(row: Row) -> tuple[object, ...]:
            place = self._examples[row.question_id], self._order[row.stage]
            return *place, row.read, row.role, row.model, row.request, row.sample_index

        return sorted(self._rows.values(), key=order)

    def _row(self, example: Example, node: Node, read: str, draw: Draw) -> Row:
        writes = ROLES[node.role].gives == "new"
        answer = self._parse[node.stage](draw.text) if writes and draw.status == "ok" else None
        correct = None
        if writes and node.stage == self._last and self._right is not None:
            correct = answer is not None and bool(self._right(answer, example))
        return Row(
            dataset=self._task,
            question_id=example.id,
            stage=node.stage,
            model=str(node.model),
            sample_index=draw.index,
            answer=answer,
            correct=correct,
            prompt_tokens=draw.prompt_tokens,
            completion_tokens=draw.completion_tokens,
            latency_s=draw.latency_s,
            cost_usd=draw.usd,
            request=draw.key,
            read=read,
            role=node.role,
            status=draw.status,
            reply=draw.text,
            finish_reason=draw.finish_reason,
            first_token=json.dumps(dict(draw.first_token)) if draw.first_token else None,
        )


def _found_in(calls: Calls) -> Find:
    """Completions of a bank as their servers gave them, and draws that timed out so often that this stands for them."""

    def find(key: str, index: int) -> Kept | None:
        draw = calls.find(key, index)
        if draw is None:
            standing = calls.standing(key, index)
            return TIMEOUT if standing is not None and standing.status == TIMEOUT else None
        usage = Usage(draw.prompt_tokens, draw.completion_tokens, draw.usage_estimated)
        status = cast(ReplyStatus, draw.status)  # nothing else is banked
        return Reply(draw.text, status, draw.finish_reason, usage, draw.ttft_s, draw.latency_s, draw.first_token)

    return find


def _task(folder: RunFolder) -> LoadedSpec:
    """The task of a run with its examples, if they are what they were when it began."""
    spec, known = folder.spec, folder.trials.fact("task")
    if known is None:
        raise StoreError(
            f"a run must know its task file to be recorded, but {folder.path} was begun by an older version; "
            "name the folder to `apportion run` once more."
        )
    path = Path(known)
    file = path.parent / spec.data.path
    fault = examples_file.file_fault(file)
    if fault is not None:
        raise StoreError(f"the examples of this run must be in {file}, but it {fault}; bring it back.")
    table = examples_file.read(file, str(file), spec.data.id, spec.data.format, spec.data.without)
    if table.sha256 != folder.trials.fact("fingerprint")["data_sha256"]:
        raise StoreError(f"the examples of this run must be as they were, but {file} has changed; bring it back.")
    splits, _ = examples_file.deal(table, spec.data.split, spec.seed)
    return LoadedSpec(spec, path, splits, table.sha256)
