"""Searching on a recording: the study of a task with every model answered from the file.

Draws are bought as ever, at the task's prices, so that ledger, limits and metrics are those of a search; only nobody is
asked. It does not know how the recording was made.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from apportion.build import Search, benchmark_of, examples_of, given_rates, space_of, stages_of, wired
from apportion.envs.dispatch import Dispatcher
from apportion.envs.endpoint import Endpoint, canonical_sampling
from apportion.envs.limits import Allowance, Limits
from apportion.envs.stage import Example
from apportion.errors import RecordedError
from apportion.evaluators.benchmark import Benchmark
from apportion.evaluators.costs import costs
from apportion.graphs.cost import Rates
from apportion.graphs.graph import escaped
from apportion.graphs.slots import SlotStage
from apportion.recording.table import About, Recording
from apportion.recording.taking import asked_by, served_name
from apportion.recording.worker import NO_PAUSE_S, NOT_RECORDED, endpoints_from
from apportion.run import STORE, RunFolder
from apportion.spec import LoadedSpec, TaskSpec, differences, fingerprint
from apportion.store import Database, Memory, MemoryCalls
from apportion.store.calls import SCHEMA, draw_key

FACT = "replayed"
"""Under which a run folder keeps what it was replayed from."""


class Replayed(NamedTuple):
    """What a replay says of itself.

    Attributes:
        remarks: how the task differs from the recorded one, as far as that is known at the start.
        asked: draws that graphs asked for; those that were asked for again count again.
        missing: those of them that were not recorded.
    """

    file: str
    remarks: tuple[str, ...]
    asked: int
    missing: int

    @property
    def origin(self) -> list[str]:
        """What it was replayed from, in sentences."""
        return [f"Replayed from {self.file}; nothing was asked.", *self.remarks]

    @property
    def lack(self) -> str:
        """What was not there, in a sentence."""
        if not self.missing:
            return "All draws that were asked for were recorded."
        return f"{self.missing:,} of {self.asked:,} draws that were asked for were not recorded, and count as failed."


def replay(loaded: LoadedSpec, recording: Recording, out: Path) -> Search:
    """Wire up a replay in the folder `out`, new or to go on with.

    Raises:
        RecordedError: the recording is of another task, or lacks one of its models.
        StoreError: the folder is in use or belongs to another task or recording.
    """
    remarks = checked(loaded, recording)
    folder = RunFolder.start(out, {**fingerprint(loaded), "recording": recording.sha256}, None)
    folder.trials.set_fact(FACT, {"file": str(recording.path), "remarks": remarks})
    return wired(loaded, folder, _endpoints(loaded, recording), _rates(loaded, recording), NO_PAUSE_S)


def benchmark(loaded: LoadedSpec, recording: Recording) -> Benchmark:
    """The examples of a task, to measure graphs on without a folder: bank and ledger are in memory, no limit holds.

    Raises:
        RecordedError: the recording is of another task, or lacks one of its models.
    """
    checked(loaded, recording)
    endpoints = _endpoints(loaded, recording)
    dispatcher = Dispatcher(MemoryCalls(Memory(), ""), endpoints, Allowance(Limits()), NO_PAUSE_S)
    made = benchmark_of(loaded, dispatcher)
    rates = {**_rates(loaded, recording), **given_rates(loaded.spec)}
    cards = {name: endpoint.card for name, endpoint in endpoints.items()}
    made.costs = costs(cards, rates if rates.keys() == cards.keys() else {})
    return made


def replayed(folder: RunFolder, ledger: Mapping[str, Mapping[str, float | int | None]]) -> Replayed | None:
    """What is to be said of a run that is a replay; None of any other.

    Args:
        ledger: of the run, as it stands now.
    """
    fact: dict[str, Any] | None = folder.trials.fact(FACT)
    if fact is None:
        return None
    asked = ("calls_fresh", "calls_banked", "calls_failed")
    calls = sum(int(sums[name] or 0) for sums in ledger.values() for name in asked)
    with contextlib.closing(Database(folder.path / STORE, SCHEMA)) as database:
        ((missing,),) = database.read("SELECT count(*) FROM attempt WHERE outcome = ?", (NOT_RECORDED,))
    return Replayed(fact["file"], tuple(fact["remarks"]), calls, missing)


def checked(loaded: LoadedSpec, recording: Recording) -> list[str]:
    """Hold a task against a recording.

    Returns:
        What differs or is missing, in sentences.

    Raises:
        RecordedError: it asks other models or other prompts, so that no draw would be found.
    """
    file = escaped(str(recording.path))
    _check_agent(file, loaded.spec)
    _check_models(file, loaded.spec, recording.about)
    now, then = (asked.model_dump() for asked in (asked_by(loaded.spec, fingerprint(loaded)), recording.about.asked))
    then["stages"] = {name: asked for name, asked in then["stages"].items() if name in now["stages"]}
    changed = differences(then, now)
    altered = "; ".join([line for line in changed if line.startswith("stages.")][:3])
    if altered:
        raise RecordedError(
            f"a replay must ask what was asked when {file} was recorded, but the task differs in {altered}; "
            "restore that, or record anew."
        )
    examples = [example for split in examples_of(loaded).values() for example in split]
    absent = sum(example.id not in recording.questions for example in examples)
    if not any(_prompted(loaded.spec, recording, example) for example in examples):
        why = f" ({changed[0]})" if changed else ""
        raise RecordedError(
            f"a recording must hold prompts of the task's examples, but {file} has none of them{why}; record anew."
        )
    remarks = [f"Since the recording was made, the task has changed: {line}." for line in changed]
    return [*remarks, f"{absent:,} of {len(examples):,} examples are not in the recording."] if absent else remarks


def _check_agent(file: str, spec: TaskSpec) -> None:
    """A recording holds what candidates were asked, and nothing that an agent was."""
    if spec.search.asks_agent and spec.search.agent.model is not None:
        raise RecordedError(
            f"a replay asks no model, and {file} holds no answers of an agent, but search.agent.model is "
            f"{escaped(spec.search.agent.model)!r}; add `--set search.agent.model=null`, and code answers."
        )


def _check_models(file: str, spec: TaskSpec, about: About) -> None:
    for name in spec.models:
        if name not in about.models:
            listed = ", ".join(about.models)
            raise RecordedError(
                f"a recording must hold every model of the task, but {file} lacks {name!r}; it has {listed}."
            )
        then, now = about.models[name].served, served_name(spec, name)
        if then != now:
            raise RecordedError(
                f"a model must be the one of {file}, where {name!r} is {escaped(then)}, but it is {now}; restore that."
            )


def _prompted(spec: TaskSpec, recording: Recording, example: Example) -> bool:
    """Whether some model's first sample of a first stage was recorded."""
    first = {stage.name: stage for stage in space_of(spec).stages if not stage.reads}
    for name, stage in stages_of(spec).items():
        if name in first:
            own = first[name]
            warmths = (stage.sampling.temperature, *(own.temperatures if isinstance(own, SlotStage) else ()))
            asked = [(message.role, message.content) for message in stage.messages(example.fields)]
            for model, warmth in itertools.product(own.models, warmths):
                how = canonical_sampling(replace(stage.sampling, temperature=warmth))
                key, _ = draw_key(recording.about.models[model].identity, asked, how)
                if recording.find(key, 0) is not None:
                    return True
    return False


def _endpoints(loaded: LoadedSpec, recording: Recording) -> dict[str, Endpoint]:
    identities = {name: model.identity for name, model in recording.about.models.items()}
    return endpoints_from(loaded.spec, identities, recording.find, recording.path.name)


def _rates(loaded: LoadedSpec, recording: Recording) -> dict[str, Rates]:
    """Speeds that were probed when the recording was made."""
    models = loaded.spec.models
    known = {name: model.rates for name, model in recording.about.models.items() if name in models}
    return {name: Rates(*rates, models[name].concurrency) for name, rates in known.items() if rates is not None}
