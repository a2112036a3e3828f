"""Rules over several keys of a spec: names that must exist, reading order, prices, duplicates, files.

Each check takes the parts that are right by themselves and yields (place, what is wrong); none of them stops another.
It does not know lines of the file or what an answer costs (`paper` does).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from apportion.errors import GraphError
from apportion.graphs.cost import COSTS
from apportion.graphs.roles import ROLES
from apportion.spec import agents, extras, reading
from apportion.spec.data import file_fault
from apportion.spec.draft import Draft
from apportion.spec.problems import Finding, Place, nearest, safe, show, twins
from apportion.spec.schema import JsonFieldsOptions, ModelSpec, ParseRule, SplitCounts, StageSpec
from apportion.template import names

SAMPLED = frozenset({"vote", "vote_ids", "fuse", "best_of_n", "refine"})
"""Templates that draw several samples, at least two."""
TEMPLATE_KEYS = ("scorer",)
SLOT_KEYS = ("roles", "final", "final_models", "keep", "temperatures")


def findings(draft: Draft, folder: Path) -> Iterator[Finding]:
    """Everything that is wrong between the keys of a spec.

    Args:
        draft: the parts that are right by themselves.
        folder: where relative paths begin.
    """
    for name, model in draft.models.items():
        if model is not None:
            yield from _model(("models", name), model, folder)
    yield from reading.findings(draft)
    for number, stage in enumerate(draft.stages):
        if stage is not None:
            yield from _stage(("stages", number), stage, draft)
    yield from _same_questions(draft)
    yield from _metrics(draft)
    yield from _needed(draft)
    yield from _one_of_flops_and_units(draft)
    yield from agents.findings(draft, folder)
    yield from extras.findings(draft)


def fields(draft: Draft, known: Sequence[str]) -> Iterator[Finding]:
    """What is wrong between the names of a spec and those of its data.

    Args:
        draft: the parts that are right by themselves.
        known: fields that some row of the data has.
    """
    there = frozenset(known)
    for number, name in enumerate(draft.stage_names[:-1]):  # nobody reads the last one, so its name is its own affair
        if name in there:
            text = f"a stage must not be named like a field of the data, but {show(name)} is both; rename the stage"
            yield ("stages", number, "name"), text
    for place, field in fields_used(draft):
        if field not in there:
            yield place, f"must be a field of the data, but {show(field)} is not; {_listed(field, known)}"


def left_out(draft: Draft, found: Collection[str]) -> Iterator[Finding]:
    """Rows that are to be left out and are not there."""
    for number, name in enumerate(draft.data.without if draft.data else ()):
        if name not in found:
            yield ("data", "without", number), f"must be the id of a row, but {show(name)} is none; remove it"


def split(draft: Draft, rows: int) -> Iterator[Finding]:
    """Splits that take more rows than there are."""
    split = draft.data.split if draft.data else None
    if isinstance(split, SplitCounts) and (total := split.search + split.validation + split.test) > rows:
        yield ("data", "split"), f"the splits must fit the data, but they take {total} rows of {rows}; lower them"


def fields_used(draft: Draft) -> Iterator[tuple[Place, str]]:
    """Every field of the data that a prompt, an evaluator or the split reads, with the place."""
    for number, stage in enumerate(draft.stages):
        for key, text in reading.texts(stage):
            yield from ((("stages", number, key), name) for name in names(text) if name not in draft.stage_names)
    for name, evaluator in draft.evaluators.items():
        if evaluator is not None:
            for option, field in evaluator.fields.items():
                yield ("evaluators", name, evaluator.kind, option), field
    if draft.data is not None and not isinstance(draft.data.split, SplitCounts):
        yield ("data", "split", "field"), draft.data.split.field


def _model(place: Place, model: ModelSpec, folder: Path) -> Iterator[Finding]:
    if (model.gguf is None) == (model.endpoint is None):
        number = "neither" if model.gguf is None else "both"
        yield place, f"a model must have exactly one of gguf and endpoint, but has {number}; keep one"
    elif model.endpoint is not None:
        if model.model is None:
            yield (*place, "model"), "is required with endpoint; add the server's name for the model"
        if "context" in model.model_fields_set:
            yield (*place, "context"), "goes with gguf only, but the model has an endpoint; remove it"
    else:
        for key in ("model", "api_key_env"):
            if getattr(model, key) is not None:
                yield (*place, key), "goes with endpoint only, but the model has a gguf; remove it"
    for one, other in (("layers", "width"), ("kv_elements_per_token", "gqa_ratio")):
        if (getattr(model, one) is None) != (getattr(model, other) is None):
            there, absent = (other, one) if getattr(model, one) is None else (one, other)
            yield (*place, there), f"{one} and {other} go together, but {absent} is absent; add it, or remove both"
    if model.gguf is not None:
        yield from _gguf((*place, "gguf"), model.gguf, folder)


def _same_questions(draft: Draft) -> Iterator[Finding]:
    """A completion belongs to its prompt, not to its stage: stages that ask the same would share their samples."""
    asked: dict[object, str] = {}
    for number, stage in enumerate(draft.stages):
        if stage is not None:
            question = (stage.system, stage.prompt, stage.temperature, stage.top_p, stage.max_tokens, stage.stop)
            first = asked.setdefault(question, stage.name)
            if first != stage.name:
                text = f"stages must not ask the same, but {show(stage.name)} asks what {show(first)} does"
                yield ("stages", number, "prompt"), f"{text}; word one of them otherwise"


def _gguf(place: Place, gguf: str, folder: Path) -> Iterator[Finding]:
    if gguf.endswith(".gguf"):
        if fault := file_fault(folder / gguf):
            yield place, f"must be a file that can be read, but {show(gguf)} {fault}; mend the path"
        return
    from apportion.models import CATALOGUE  # only specs that name a model of it pay for loading it

    if gguf not in CATALOGUE:
        text = f"must be a .gguf file or a name from `apportion models list`, but is {show(gguf)}"
        yield place, f"{text}; {nearest(gguf, CATALOGUE)}"


def _stage(place: Place, stage: StageSpec, draft: Draft) -> Iterator[Finding]:
    for number, model in enumerate(stage.models):
        if model not in draft.models:
            yield (*place, "models", number), _no_model(model, draft)
    if stage.scorer is not None and stage.scorer not in draft.models:
        yield (*place, "scorer"), _no_model(stage.scorer, draft)
    for key in ("models", "templates", "stop", "roles", "final", "final_models"):
        yield from _no_twins((*place, key), getattr(stage, key) or ())
    if isinstance(stage.parse, ParseRule) and stage.parse.choice is not None:
        yield from _no_twins((*place, "parse", "choice"), stage.parse.choice)
    yield from _kind(place, stage, draft)


def _no_model(name: str, draft: Draft) -> str:
    return f"must be a key of `models`, but is {show(name)}; {nearest(name, draft.models)}"


def _kind(place: Place, stage: StageSpec, draft: Draft) -> Iterator[Finding]:
    """A stage is of templates or of slots, and has the keys of its kind only."""
    if (stage.templates is None) == (stage.slots is None):
        number = "neither" if stage.templates is None else "both"
        yield place, f"a stage must have exactly one of templates and slots, but has {number}; keep one"
        return
    strange = SLOT_KEYS if stage.templates else TEMPLATE_KEYS
    for key in strange:
        if key in stage.model_fields_set and getattr(stage, key) is not None:  # `--set` leaves a key out by null
            kind = "slots" if stage.templates else "templates"
            yield (*place, key), f"goes with {kind} only, but the stage has none; remove it"
    least, most = stage.samples
    if least > most:
        yield (*place, "samples"), f"the least must not be above the most, but is [{least}, {most}]; swap them"
    elif stage.templates is not None:
        yield from _samples(place, stage, stage.templates)
    else:
        yield from _slots(place, stage, draft)


def _slots(place: Place, stage: StageSpec, draft: Draft) -> Iterator[Finding]:
    for number, model in enumerate(stage.final_models or ()):
        if model not in draft.models:
            yield (*place, "final_models", number), _no_model(model, draft)
    reading = [name for name, role in ROLES.items() if role.least]
    strange = False
    for key in ("roles", "final"):
        for number, role in enumerate(getattr(stage, key) or ()):
            if role not in reading:
                strange = True
                text = f"must be one of {', '.join(reading)}, but is {show(role)}; {nearest(role, reading)}"
                yield (*place, key, number), text
    if not strange:
        try:
            stage.space(())
        except GraphError as error:
            yield place, str(error).rstrip(".")


def _samples(place: Place, stage: StageSpec, templates: Sequence[str]) -> Iterator[Finding]:
    least, most = stage.samples
    sampled = [name for name in templates if name in SAMPLED]
    if sampled and most < 2:
        text = f"{sampled[0]} takes at least 2 samples, but at most {most} may be drawn"
        yield (*place, "samples"), f"{text}; write samples: [{min(2, len(templates))}, 5]"
    elif least < 2 and len(sampled) == len(templates):
        text = f"{' and '.join(sampled)} takes at least 2 samples, but the least is {least}"
        yield (*place, "samples"), f"{text}; write samples: [2, {most}], or add single to templates"


def _metrics(draft: Draft) -> Iterator[Finding]:
    for name, evaluator in draft.evaluators.items():
        if name in COSTS:
            yield ("evaluators", name), f"an evaluator must not be named like a cost ({', '.join(COSTS)}); rename it"
        options = evaluator.options if evaluator is not None else None
        if evaluator is not None and options is not None and options.stage not in (None, *draft.stage_names):
            text = f"must be the name of a stage, but is {show(options.stage)}"
            stages = [stage for stage in draft.stage_names if stage is not None]
            yield ("evaluators", name, evaluator.kind, "stage"), f"{text}; {nearest(str(options.stage), stages)}"
        if isinstance(options, JsonFieldsOptions) and options.fields is not None:
            yield from _no_twins(("evaluators", name, "json_fields", "fields"), options.fields)
    known = (*draft.evaluators, *COSTS)
    metrics = [objective.metric if objective is not None else None for objective in draft.objectives]
    for number, (objective, metric) in enumerate(zip(draft.objectives, metrics, strict=True)):
        if objective is None or metric is None:
            continue
        place: Place = ("objectives", number, objective.kind)
        if metric not in known:
            yield place, f"must be an evaluator or a cost, but is {show(metric)}; {nearest(metric, known)}"
        elif number == 0 and metric in COSTS:
            yield place, f"the first objective must be an evaluator, but is {show(metric)}; put an evaluator first"
    for number, metric in twins(metrics):
        yield ("objectives", number), f"a metric must be one objective only, but {show(metric)} is two; remove one"


def _needed(draft: Draft) -> Iterator[Finding]:
    """What is counted must be known of every model: an unknown price is never 0."""
    usd, eflops = _counted(draft, "usd"), _counted(draft, "eflops")
    used = {
        name
        for stage in draft.stages
        if stage is not None
        for name in (*stage.models, stage.scorer, *(stage.final_models or ()))
    }
    for name, model in draft.models.items():
        if model is None or name not in used:
            continue
        if usd and model.price is None:
            text = f"{' and '.join(usd)} must know every price, but that of {show(name)} is null"
            yield ("models", name, "price"), f"{text}; write {{prompt: …, completion: …}}, or remove {usd[0]}"
        if eflops and model.kv_elements_per_token is None:
            text = f"{' and '.join(eflops)} must know every KV cache, but that of {show(name)} is absent"
            yield ("models", name), f"{text}; add kv_elements_per_token and gqa_ratio, or remove {eflops[0]}"


def _one_of_flops_and_units(draft: Draft) -> Iterator[Finding]:
    if draft.budget is not None and draft.budget.flops is not None and draft.budget.units is not None:
        yield ("budget", "units"), "units stand for flops, but both are given; keep one"


def _counted(draft: Draft, cost: str) -> list[str]:
    """Where a spec counts a cost."""
    places = [(section, getattr(draft, section)) for section in ("limits", "budget")]
    found = [f"{section}.{cost}" for section, part in places if getattr(part, cost, None) is not None]
    return found + [f"the objective {cost}" for o in draft.objectives if o is not None and o.metric == cost][:1]


def _no_twins(place: Place, items: Iterable[str]) -> Iterator[Finding]:
    for number, item in twins(items):
        yield (*place, number), f"a list must not repeat itself, but {show(item)} is given twice; remove one"


def _listed(field: str, known: Sequence[str]) -> str:
    listed = ", ".join(safe(name, 30) for name in known[:12]) + (", …" if len(known) > 12 else "")
    guess = nearest(field, known)
    return f"the data has {listed}" + (f": {guess}" if guess.startswith("did") else "; use one of them")
