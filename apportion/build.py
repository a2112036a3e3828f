"""From a task spec to a study that can run: the one module that knows every room."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from apportion import agents
from apportion.envs import parsers, retelling
from apportion.envs.dispatch import BACKOFF_S, Dispatcher
from apportion.envs.endpoint import Endpoint
from apportion.envs.environment import Environment
from apportion.envs.limits import Allowance, Limits, Spend
from apportion.envs.probe import probe
from apportion.envs.stage import Example, Stage
from apportion.envs.worker import Sampling, Worker
from apportion.errors import LimitReached, SpecError
from apportion.evaluators import EVALUATORS, Evaluator
from apportion.evaluators.benchmark import Benchmark
from apportion.evaluators.costs import costs
from apportion.evaluators.forecast import Forecast
from apportion.graphs.cost import ModelCard, Rates
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage
from apportion.models import CATALOGUE, locate
from apportion.run import STORE, RunFolder
from apportion.search.objectives import Constraint, Objective
from apportion.search.plan import Plan
from apportion.search.study import Outcome, Study
from apportion.spec import LoadedSpec, TaskSpec, fingerprint
from apportion.spec.paper import guessed_lengths
from apportion.spec.schema import ModelSpec, StageSpec
from apportion.template import names

LATENCY = "latency_s"
KNOWLEDGE = "knowledge"
"""Under which a run keeps what it was told of others."""
LOCAL_QUEUE = 7
"""Requests a slot that a local server's worker has to choose from: samples of one prompt take turns in one slot."""


@dataclass
class Search:
    """Everything of one run, wired up.

    Attributes:
        rates: speeds that are known beside those of the spec, so that they need not be probed.
    """

    folder: RunFolder
    study: Study
    dispatcher: Dispatcher
    benchmark: Benchmark
    forecast: Forecast
    allowance: Allowance
    spec: TaskSpec
    rates: Mapping[str, Rates] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether the folder holds a search that came to its end, so that there is nothing to do."""
        outcome = self.folder.outcome
        return outcome is not None and outcome["state"] == "done"

    async def run(self) -> Outcome:
        """Search and close.

        Raises:
            ApportionError: the store or an evaluator failed, or a rate that is needed cannot be had.
        """
        async with self.session():
            return await self.study.run()

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """What goes before buying and after it: a kill is written off, speeds are probed; the time is kept.

        Raises:
            ApportionError: the store failed, an evaluator cannot judge, or a rate that is needed cannot be had.
        """
        trials = self.folder.trials
        lost = self.dispatcher.write_off()
        trials.log("start", possibly_billed=lost)
        try:
            await self.benchmark.check()
            rates = await self._rates()
            self.benchmark.costs = costs(_cards(self.dispatcher.endpoints), rates)
            self.forecast.rates = rates
            yield
        finally:
            trials.set_fact("elapsed_s", self.allowance.elapsed_s)
            trials.log("stop", elapsed_s=self.allowance.elapsed_s)

    async def close(self) -> None:
        """Stop what is in flight, end the local servers, commit."""
        try:
            await self.dispatcher.close()
        finally:
            self.folder.close()

    async def _rates(self) -> dict[str, Rates]:
        """Rates of every model, given or, where latency is asked for, probed; empty if one of them cannot be had."""
        known = given_rates(self.spec)
        timed = _timed(self.spec)
        for name in timed if _needs_latency(self.spec) else ():
            if name not in known and name in self.rates:
                known[name] = self.rates[name]
            elif name not in known:  # a probe costs calls
                with contextlib.suppress(LimitReached):  # the study meets the same limit, and ends in good order
                    rates = await probe(self.dispatcher, name)
                    if rates is not None:
                        known[name] = rates
        missing = [name for name in timed if name not in known]
        if missing and _needs_latency(self.spec):
            raise SpecError(
                [f"models.{missing[0]}.rates: seconds need known rates, but probing gave none; give `rates`."]
            )
        self.folder.trials.set_fact("rates", {name: [r.prefill_tok_s, r.decode_tok_s] for name, r in known.items()})
        return {} if missing else known


def build(loaded: LoadedSpec, out: Path) -> Search:
    """Wire up a run in the folder `out`, new or to go on with.

    Raises:
        SpecError: a key or a model file is missing on this machine.
        StoreError: the folder is in use or belongs to another task.
    """
    spec = loaded.spec
    endpoints = endpoints_of(spec, loaded.path.parent)
    for path in spec.search.warm_start:
        if loaded.resolve(path).resolve() == out.resolve():
            raise SpecError([f"search.warm_start: a run must learn from others, but {path} is its own; name another."])
    if not (out / STORE).exists():  # a run that goes on has read them
        check_warm_start(loaded)  # what is wrong with one is said before there is a folder
    bank = loaded.resolve(spec.bank) if spec.bank else None
    return wired(loaded, RunFolder.start(out, fingerprint(loaded), bank), endpoints)


def check_warm_start(loaded: LoadedSpec) -> None:
    """See that every run that a task is to learn from is one, and can be opened.

    Raises:
        StoreError: one is none.
    """
    for path in loaded.spec.search.warm_start:
        RunFolder.view(loaded.resolve(path)).close()


def wired(
    loaded: LoadedSpec,
    folder: RunFolder,
    endpoints: Mapping[str, Endpoint],
    rates: Mapping[str, Rates] | None = None,
    backoff_s: float = BACKOFF_S,
) -> Search:
    """Wire up a run in an open folder, which is closed if that fails.

    Args:
        endpoints: who answers, by model name.
        rates: speeds that are known beside those of the spec.
        backoff_s: first pause before a retry, in seconds.
    """
    spec = loaded.spec
    try:
        folder.trials.set_fact("plugins", [str(loaded.resolve(path).resolve()) for path in spec.plugins])
        folder.trials.set_fact("task", str(loaded.path.resolve()))
        folder.trials.set_fact("identities", {name: endpoint.identity for name, endpoint in endpoints.items()})
        allowance = _allowance(spec, folder)
        dispatcher = Dispatcher(folder.calls, endpoints, allowance, backoff_s)
        forecast = Forecast(_cards(endpoints), guessed_lengths(spec, loaded.rows.search))
        benchmark = benchmark_of(loaded, dispatcher, forecast)
        plan = plan_of(spec, {name: len(split) for name, split in benchmark.splits.items()})
        sampler = None
        if spec.search.asks_agent:
            known = _knowledge(loaded, folder)
            sampler = agents.asking(spec, plan.space, plan.objectives, benchmark, folder, known)
        study = Study(plan, benchmark, folder.trials, allowance, sampler)
    except BaseException:
        folder.close()
        raise
    return Search(folder, study, dispatcher, benchmark, forecast, allowance, spec, rates or {})


def benchmark_of(loaded: LoadedSpec, dispatcher: Dispatcher, forecast: Forecast | None = None) -> Benchmark:
    """The examples of a task with its stages and evaluators, without costs."""
    spec = loaded.spec
    window = 2 * sum(model.concurrency for model in spec.models.values())
    environment = Environment(stages_of(spec), dispatcher)
    of = {name: e.options.stage for name, e in spec.evaluators.items() if e.options.stage is not None}
    return Benchmark(environment, examples_of(loaded), evaluators_of(spec), {}, window, forecast, of)


def stages_of(spec: TaskSpec) -> dict[str, Stage]:
    """How each stage of a spec is asked and read, by name."""
    return {stage.name: _stage(stage) for stage in spec.stages}


def endpoints_of(spec: TaskSpec, base: Path) -> dict[str, Endpoint]:
    """The models of a spec, ready to be called; local servers start with their first call.

    Args:
        base: where relative paths of model files begin.

    Raises:
        SpecError: a key or a model file is missing on this machine.
    """
    keys = _api_keys(spec)
    return {name: _endpoint(name, model, base, keys) for name, model in spec.models.items()}


def space_of(spec: TaskSpec) -> SearchSpace:
    """The search space that a spec describes."""
    stages = [stage.name for stage in spec.stages]
    return SearchSpace(tuple(_stage_space(stage, stages) for stage in spec.stages))


def evaluators_of(spec: TaskSpec) -> dict[str, Evaluator]:
    """The evaluators of a spec, by metric."""
    return {name: _answer(e.kind, e.options.model_dump(exclude={"stage"})) for name, e in spec.evaluators.items()}


def examples_of(loaded: LoadedSpec) -> dict[str, list[Example]]:
    """The examples of a task, by split."""
    identity = loaded.spec.data.id
    splits = {"search": loaded.rows.search, "validation": loaded.rows.validation, "test": loaded.rows.test}
    return {name: [Example(str(row[identity]), row) for row in rows] for name, rows in splits.items()}


def given_rates(spec: TaskSpec) -> dict[str, Rates]:
    """Speeds that a spec gives, by model."""
    return {
        name: Rates(model.rates.prefill_tok_s, model.rates.decode_tok_s, model.concurrency)
        for name, model in spec.models.items()
        if model.rates is not None
    }


def gives_logprobs(model: ModelSpec) -> bool:
    """Whether a model's server gives log-probabilities: llama.cpp does."""
    return model.logprobs or model.gguf is not None


def _cards(endpoints: Mapping[str, Endpoint]) -> dict[str, ModelCard]:
    return {name: endpoint.card for name, endpoint in endpoints.items()}


def _stage_space(stage: StageSpec, stages: list[str]) -> TemplateStage | SlotStage:
    read = {*names(stage.prompt), *names(stage.system or "")}
    return stage.space(tuple(name for name in stages if name in read))


def plan_of(spec: TaskSpec, sizes: Mapping[str, int]) -> Plan:
    """What a study of a spec looks for, and how far.

    Args:
        sizes: number of examples of each split.
    """
    bounds = spec.budget.bounds(len(spec.stages))
    return Plan(
        space=space_of(spec),
        sampler=spec.search.sampler,
        objectives=objectives_of(spec),
        constraints=tuple(Constraint(metric, bound) for metric, bound in bounds.items()),
        trials=spec.limits.trials,
        finalists=spec.search.finalists,
        seed=spec.seed,
        sizes=sizes,
    )


def objectives_of(spec: TaskSpec) -> tuple[Objective, ...]:
    """The objectives of a spec."""
    return tuple(Objective(o.metric, maximize=o.maximize is not None) for o in spec.objectives)


def _knowledge(loaded: LoadedSpec, folder: RunFolder) -> str:
    """What a run is told of others, in words; kept with it, as the others may go on.

    Raises:
        StoreError: a folder is none of a run.
    """
    known: str | None = folder.trials.fact(KNOWLEDGE)
    if known is None:
        known = "\n\n".join(_learnt(loaded.resolve(path)) for path in loaded.spec.search.warm_start)
        folder.trials.set_fact(KNOWLEDGE, known)
    return known


def _learnt(path: Path) -> str:
    with contextlib.closing(RunFolder.view(path)) as other:
        return agents.learnt(other, space_of(other.spec), objectives_of(other.spec))


def _timed(spec: TaskSpec) -> list[str]:
    """Models whose speed counts: those that a stage may ask."""
    asked = {name for stage in spec.stages for name in (*stage.models, stage.scorer, *(stage.final_models or ()))}
    return [name for name in spec.models if name in asked]


def _needs_latency(spec: TaskSpec) -> bool:
    return spec.budget.latency_s is not None or any(o.metric == LATENCY for o in spec.objectives)


def _allowance(spec: TaskSpec, folder: RunFolder) -> Allowance:
    limits = Limits(spec.limits.usd, spec.limits.calls, spec.limits.tokens, spec.limits.wall_s)
    return Allowance(limits, Spend(*folder.calls.spent()), folder.trials.fact("elapsed_s") or 0.0)


def _api_keys(spec: TaskSpec) -> dict[str, str]:
    """API keys by the name of their variable."""
    names = {model.api_key_env for model in spec.models.values() if model.api_key_env}
    missing = sorted(name for name in names if not os.environ.get(name))
    if missing:
        raise SpecError([f"environment: {name} must hold an API key, but is not set; export it." for name in missing])
    return {name: os.environ[name] for name in names}


def _endpoint(name: str, model: ModelSpec, base: Path, keys: Mapping[str, str]) -> Endpoint:
    worker, served, identity = _gguf(model, base) if model.gguf else _server(model, keys)
    queue = LOCAL_QUEUE * model.concurrency if model.gguf else 0
    card, slots = model.card(name), model.concurrency
    return Endpoint(card, worker, served, identity, slots, model.seeds, queue, gives_logprobs(model), model.json_schema)


def _server(model: ModelSpec, keys: Mapping[str, str]) -> tuple[Worker, str, str]:
    from apportion.envs.openai import OpenAIWorker

    assert model.endpoint is not None
    assert model.model is not None
    key = keys[model.api_key_env] if model.api_key_env else None
    worker = OpenAIWorker(model.endpoint, api_key=key, timeout_s=model.timeout_s, stream=model.stream)
    return worker, model.model, f"{model.endpoint.rstrip('/')}#{model.model}"


def _gguf(model: ModelSpec, base: Path) -> tuple[Worker, str, str]:
    from apportion.envs.local import LocalWorker

    assert model.gguf is not None
    path = locate(model.gguf, base)
    entry = CATALOGUE.get(model.gguf)
    digest = entry.sha256 if entry else _sha256(path)
    worker = LocalWorker(path, slots=model.concurrency, context=model.context, timeout_s=model.timeout_s)
    return worker, model.gguf, f"gguf:{digest}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stage(stage: StageSpec) -> Stage:
    return Stage(
        stage.name,
        stage.prompt,
        _parser(stage),
        Sampling(stage.temperature, stage.max_tokens, stage.top_p, stage.stop),
        stage.system,
        _retelling(stage),
    )


def _retelling(stage: StageSpec) -> retelling.Retelling | None:
    if stage.picks is not None:
        return retelling.picked(stage.picks)
    return retelling.run if stage.runs else None


def _parser(stage: StageSpec) -> parsers.Parser:
    if isinstance(stage.parse, str):
        return parsers.PLAIN[stage.parse]
    makers = {"regex": parsers.regex, "choice": parsers.choice, "json": parsers.json_key}
    make: Callable[..., parsers.Parser] = makers[stage.parse.kind]
    return make(stage.parse.value)


def _answer(kind: str, options: Mapping[str, object]) -> Evaluator:
    return EVALUATORS[kind](**{name: value for name, value in options.items() if value is not None})
