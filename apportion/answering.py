"""Answers new questions with a graph that a search has found: models, stages and a bank, and no study behind them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import ValidationError

from apportion.build import endpoints_of, stages_of
from apportion.envs.dispatch import Dispatcher
from apportion.envs.environment import Environment
from apportion.envs.limits import Allowance, Limits
from apportion.envs.rollout import Rollout
from apportion.envs.stage import Example
from apportion.errors import ApportionError, SpecError
from apportion.graphs.graph import Graph
from apportion.spec import TaskSpec, plugins
from apportion.spec.problems import dotted
from apportion.spec.schema import ModelSpec, StageSpec
from apportion.spec.types import Model
from apportion.store import Calls, Database, Memory, MemoryCalls
from apportion.store.books import Books
from apportion.store.calls import SCHEMA
from apportion.template import as_text, names

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

OK, UNANSWERED, MISTAKE, INTERRUPTED = 0, 1, 2, 130


class _Parts(Model):
    """What answering needs of a task."""

    models: dict[str, ModelSpec]
    stages: tuple[StageSpec, ...]


def parts_of(spec: TaskSpec, graph: Graph) -> dict[str, Any]:
    """The models and stages of a task that a graph uses, as JSON values: of a key only its variable's name."""
    used = {node.model for node in graph.nodes}
    parts = _Parts(
        models={name: model for name, model in spec.models.items() if name in used},
        stages=tuple(stage for stage in spec.stages if stage.name in graph.stages),
    )
    return parts.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def needs_of(spec: TaskSpec, graph: Graph) -> tuple[str, ...]:
    """Fields that the prompts read, in order, the graph's own stages left out."""
    prompts = [
        text for stage in spec.stages if stage.name in graph.stages for text in (stage.system or "", stage.prompt)
    ]
    return tuple(dict.fromkeys(name for text in prompts for name in names(text) if name not in graph.stages))


def plug_in(paths: Sequence[str]) -> None:
    """Run the Python files that add the roles of a graph.

    Raises:
        SpecError: one of them cannot be run.
    """
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for the answer alone
        faults = [f"plugins: {text}." for _, text in plugins.findings(paths, Path())]
    if faults:
        raise SpecError(faults)


class Answerer:
    """A graph that is ready to answer, until it is closed or its `async with` ends.

    Args:
        task: the parts `models` and `stages` of a task.
        graph: what answers.
        bank: store of the completions; None forgets them at the end.
        base: where relative paths of model files begin.

    Raises:
        SpecError: the parts are wrong, the graph needs more of them, or a key or a model file is missing here.
        StoreError: the bank cannot be opened.
    """

    def __init__(
        self, task: Mapping[str, Any], graph: Graph, bank: Path | None = None, base: Path | None = None
    ) -> None:
        spec = _spec(task, graph)
        endpoints = endpoints_of(spec, base or Path())
        self.graph = graph
        self.needs = needs_of(spec, graph)
        self._end = contextlib.ExitStack()
        self._calls: Books
        if bank is None:
            self._calls = MemoryCalls(Memory(), uuid.uuid4().hex)
        else:
            database = Database(bank, SCHEMA)
            self._end.callback(database.close)
            self._calls = Calls(database, uuid.uuid4().hex)
        self.environment = Environment(stages_of(spec), Dispatcher(self._calls, endpoints, Allowance(Limits())))

    async def answer(self, fields: Mapping[str, object]) -> Rollout:
        """Answer one question; what the bank has is not bought again.

        Args:
            fields: what the prompts read, by name, and no more: texts or other JSON values.

        Raises:
            ApportionError: the fields are not those, or the bank cannot be written.
        """
        return await self.environment.run(self.graph, Example("", self.checked(fields)))

    def checked(self, fields: Mapping[str, object]) -> Mapping[str, object]:
        """The fields, if they are those that the prompts read.

        Raises:
            ApportionError: one is missing, is not read, or is nothing that a prompt can hold.
        """
        known = ", ".join(self.needs) or "no fields"
        missing = [name for name in self.needs if name not in fields]
        if missing:
            raise ApportionError(f"a question must have {known}, but {missing[0]!r} is absent; give {missing[0]}=...")
        unknown = [name for name in fields if name not in self.needs]
        if unknown:
            raise ApportionError(f"a question must have {known} and no more, got {unknown[0]!r:.60}; leave it out.")
        for name, value in fields.items():
            try:
                as_text(value).encode()
            except (TypeError, ValueError) as error:  # no JSON value, or surrogates
                raise ApportionError(f"{name!r} must be text that UTF-8 can hold, but {error}; mend it.") from None
        return fields

    def failure(self) -> str:
        """What went wrong most often: model, kind and the server's words; empty if nothing did."""
        return next((f"{model} ({kind}): {message}" for model, kind, message, _ in self._calls.failures()), "")

    async def close(self) -> None:
        """End what is in flight and the local servers, commit. May be called twice."""
        try:
            await self.environment.dispatcher.close()
        finally:
            self._end.close()

    async def __aenter__(self) -> Answerer:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


Application: TypeAlias = "CompiledStateGraph[Any, Any, Any, Any]"


def script(make: Callable[[], Answerer], wrap: Callable[[Answerer], Application] | None = None) -> int:
    """What an exported file does when it is run: `name=value ...` on the command line, the answer on stdout.

    Args:
        make: gives the answerer.
        wrap: gives the LangGraph application that is asked in the graph's stead.

    Returns:
        The exit code: 0 answered, 1 no answer, 2 the user's mistake, 130 interrupted.
    """
    try:
        return asyncio.run(_scripted(make(), wrap, _fields(sys.argv[1:])))
    except ApportionError as error:
        print(error, file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        return INTERRUPTED


async def _scripted(answerer: Answerer, wrap: Callable[[Answerer], Application] | None, fields: dict[str, str]) -> int:
    async with answerer:
        if wrap is None:
            rollout = await answerer.answer(fields)
            status, answer = rollout.status, rollout.answer
        else:
            state = await wrap(answerer).ainvoke({"fields": answerer.checked(fields)})
            status, answer = state["status"], state["answer"]
        if answer is None:
            reason = answerer.failure() if status == "failed" else ""
            print(
                f"no answer: {'a reply without a value' if status == 'ok' else status} {reason}".rstrip(),
                file=sys.stderr,
            )
            return UNANSWERED
    _say(answer)
    return OK


def _say(answer: str) -> None:
    try:
        print(answer, flush=True)
    except (OSError, UnicodeEncodeError) as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left unwritten is not tried again
        if not isinstance(error, BrokenPipeError):  # a reader that has gone wants no more
            why = error.strerror if isinstance(error, OSError) else error
            raise ApportionError(f"stdout must take the answer, but {why}; send it elsewhere.") from error


def _fields(arguments: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for argument in arguments:
        name, sign, value = argument.partition("=")
        if not name or not sign:
            raise ApportionError(f"a field must be given as name=value, got {argument!r}; write it so.")
        if name in fields:
            raise ApportionError(f"a field must be given once, but {name!r} stands twice; leave one out.")
        fields[name] = value
    return fields


def _spec(task: Mapping[str, Any], graph: Graph) -> TaskSpec:
    try:
        parts = _Parts.model_validate_json(
            json.dumps({name: task.get(name) for name in _Parts.model_fields}), strict=False
        )
    except ValidationError as error:
        raise SpecError([f"{dotted(e['loc'])}: {e['msg']}; mend it." for e in error.errors()]) from None
    known = {"model": set(parts.models), "stage": {stage.name for stage in parts.stages}}
    for node in graph.nodes:
        for kind, name in (("model", node.model), ("stage", node.stage)):
            if name is not None and name not in known[kind]:
                raise SpecError([f"{kind}s: must have every {kind} of the graph, but {name!r} is absent; add it."])
    return TaskSpec.model_construct(models=parts.models, stages=parts.stages)  # the other parts are the search's
