"""One mistake at a time in a task that is otherwise right: its line, place, law and remedy; and many at once."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apportion.errors import SpecError
from apportion.spec import load_spec

Spoil = Callable[..., list[str]]
Write = Callable[[str | bytes], Path]

LINE = re.compile(r"(spec\.yaml|facts\.jsonl)(:\d+)?: [^:]+: .+; [a-z].+|.*did you mean '.+'\?|.*; use one of .+")
PICK = 'prompt: "Facts: {facts}, question: {question}, {{}} if none."'
SOLVE = 'prompt: "Fact: {pick}, question: {question}"'

# what is written -> what is written instead, and how the one problem begins
MISTAKES: list[tuple[str, str, str]] = [
    # types
    ("name: quickstart", "name: 2026", "1: name: must be text, but is 2026; put it in quotes"),
    ("name: quickstart", "name: Quick start", "1: name: must match ^[a-z0-9]"),
    ("name: quickstart", "name: ../x", "1: name: must match"),
    ("name: quickstart", f"name: {'x' * 65}", "1: name: must have at most 64 characters"),
    ("seed: 7", "seed: seven", "2: seed: must be a whole number, but is 'seven'; write"),
    ("seed: 7", "seed: true", "2: seed: must be a whole number, but is true"),
    ("seed: 7", "seed: 1:30", "2: seed: must be a whole number, but is '1:30'"),
    ("seed: 7", "seed: -1", "2: seed: must be at least 0, but is -1; raise it"),
    ("seed: 7", "seed: 0x1ffffffff", "2: seed: must be at most 4294967295"),
    ("seeds: true", "seeds: no", "11: models.small.seeds: must be true or false (yes, no, on and off are text)"),
    ("layers: 30", 'layers: "30"', "8: models.small.layers: must be a whole number, but is '30'"),
    ("layers: 30", "layers: 30.5", "8: models.small.layers: must be a whole number, but is 30.5"),
    ("temperature: 0.7", "temperature: .nan", "29: stages.0.temperature: must be a finite number, but is .nan"),
    ("temperature: 0.7", "temperature: 2.5", "29: stages.0.temperature: must be at most 2.0, but is 2.5; lower"),
    ("parameters: 7.6e9", "parameters: 0", "17: models.big.parameters: must be greater than 0"),
    ("parameters: 7.6e9", "parameters: 7B", "17: models.big.parameters: must be a number, but is '7B'"),
    ("usd: 1.0", "usd: 1e999", "46: limits.usd: must be a finite number, but is .inf"),
    ("tokens: 2e6", "tokens: 2.5", "46: limits.tokens: must be a whole number, but is 2.5"),
    ("samples: [1, 5]", "samples: 5", "28: stages.0.samples: must be a list, but is 5; write it like [a, b]"),
    ("samples: [1, 5]", "samples: [5]", "28: stages.0.samples: must have more items"),
    ("samples: [1, 5]", "samples: [0, 5]", "28: stages.0.samples.0: must be at least 1"),
    ("samples: [1, 5]", "samples: [1, 101]", "28: stages.0.samples.1: must be at most 100"),
    ("samples: [1, 5]", "samples: [1, 2, 3]", "28: stages.0.samples: must have at most 2 entries"),
    ("budget: {flops: 3e12}", "budget:", "45: budget: must be a mapping of keys, but is null; write"),
    ("{sampler: tpe, finalists: 3}", "{sampler: tpe2}", "47: search.sampler: must be one of allocator, random, grid"),
    ("[single, vote, best_of_n]", "[sinlge]", "27: stages.0.templates.0: must be one of single, vote"),
    ('stop: ["."]', 'stop: [""]', "31: stages.0.stop.0: must not be empty"),
    ("{regex: 'Answer: (.*)'}", "lastline", "35: stages.1.parse: must be one of text, last_line"),
    ("{regex: 'Answer: (.*)'}", "{regx: x}", "35: stages.1.parse.regx: unknown key 'regx'; did you mean 'regex'?"),
    ("{regex: 'Answer: (.*)'}", "{regex: 'A('}", "35: stages.1.parse.regex: must be a regular expression, but"),
    ("{regex: 'Answer: (.*)'}", "{regex: 'A'}", "35: stages.1.parse.regex: must have exactly one group, but 'A' has 0"),
    ("{regex: 'Answer: (.*)'}", "{regex: '(A)', json: b}", "35: stages.1.parse: must hold exactly one of"),
    ("{regex: 'Answer: (.*)'}", "{choice: [A]}", "35: stages.1.parse.choice: must have 2 or more entries"),
    ("{regex: 'Answer: (.*)'}", "{choice: [A, B, A]}", "35: stages.1.parse.choice.2: a list must not repeat"),
    ("{exact: answer}", "exact", "40: evaluators.accuracy: must be a mapping of keys, but is 'exact'"),
    ("{exact: answer}", "{exat: answer}", "40: evaluators.accuracy.exat: unknown key 'exat'; did you mean 'exact'?"),
    ("{exact: answer}", "{exact: 3}", "40: evaluators.accuracy.exact: must be text, but is 3"),
    ("{exact: answer}", "{}", "40: evaluators.accuracy: must hold exactly one of exact, numeric"),
    # keys
    ("seed: 7", "sead: 7", "2: sead: unknown key 'sead'; did you mean 'seed'?"),
    ("seed: 7", "seed: 7\nseed: 8", "3: seed: a key must be given once, but it is also on line 2"),
    ("    parameters: 7.6e9\n", "", "13: models.big.parameters: required key is absent; add `parameters: …`"),
    ("    price: {prompt: 0.1, completion: 0.2}\n", "", "13: models.big.price: required key is absent; add"),
    ("prompt: 0.1, completion", "prmpt: 0.1, prompt: 1, completion", "18: models.big.price.prmpt: unknown key"),
    ("model: Qwen/Qwen2.5-7B-Instruct", "model: q\n    api_key: sk-abcdefghijk", "16: models.big.api_key: unknown key"),
    # models
    ("    model: Qwen/Qwen2.5-7B-Instruct\n", "", "13: models.big.model: is required with endpoint; add"),
    (
        "gguf: small.gguf",
        "gguf: small.gguf\n    endpoint: http://h/v1",
        "4: models.small: a model must have exactly one",
    ),
    ("    gguf: small.gguf\n", "", "4: models.small: a model must have exactly one of gguf and endpoint, but has nei"),
    ("gguf: small.gguf", "gguf: smal.gguf", "5: models.small.gguf: must be a file that can be read, but 'smal.gguf' d"),
    ("context: 4096", "api_key_env: KEY", "6: models.small.api_key_env: goes with endpoint only"),
    ("model: Qwen/Qwen2.5-7B-Instruct", "model: q\n    context: 9", "16: models.big.context: goes with gguf only"),
    ("    width: 576\n", "", "8: models.small.layers: layers and width go together, but width is absent"),
    ("http://127.0.0.1:8000/v1", "127.0.0.1:8000", "14: models.big.endpoint: must be an http or https URL; write"),
    ("http://127.0.0.1:8000/v1", "http://[", "14: models.big.endpoint: must be an http or https URL"),
    ("http://127.0.0.1:8000/v1", "http://u:hunter2@h/v1", "14: models.big.endpoint: must hold no credentials"),
    ("http://127.0.0.1:8000/v1", "http://h/v1?key=hunter2", "14: models.big.endpoint: must hold no credentials"),
    ("OPENAI_API_KEY", "sk-proj-hunter2hunter2", "16: models.big.api_key_env: must be the NAME of an environment"),
    ("OPENAI_API_KEY", "hunter2 x", "16: models.big.api_key_env: must be the NAME of an environment variable; write"),
    ("OPENAI_API_KEY", "${OPENAI_API_KEY}", "16: models.big.api_key_env: must be the NAME of an environment"),
    # stages
    ("models: [small, big]", "models: [small, bgi]", "26: stages.0.models.1: must be a key of `models`, but is 'bgi'"),
    ("models: [small, big]", "models: []", "26: stages.0.models: must have 1 or more entries"),
    ("models: [small, big]", "models: [small, small]", "26: stages.0.models.1: a list must not repeat itself"),
    ("scorer: big", "scorer: huge", "32: stages.0.scorer: must be a key of `models`, but is 'huge'; use one of"),
    (
        PICK,
        'prompt: "{solve}"',
        "25: stages.0.prompt: stages must only read earlier stages, but 'pick' reads 'solve' in",
    ),
    (PICK, 'prompt: "{pick}"', "25: stages.0.prompt: stages must only read earlier stages, but 'pick' reads itself"),
    (PICK, 'prompt: "{fact}"', "25: stages.0.prompt: must be a field of the data, but 'fact' is not; the data has id,"),
    (PICK, 'prompt: "{facts.a}"', "25: stages.0.prompt: braces must hold a plain name, but hold 'facts.a'; write"),
    (PICK, 'prompt: "{facts!r}"', "25: stages.0.prompt: braces must hold a plain name"),
    (PICK, 'prompt: "{facts"', "25: stages.0.prompt: braces must be paired, but a lone '{' stands at 0; double it"),
    (PICK, 'prompt: ""', "25: stages.0.prompt: must not be empty"),
    ("system: You pick facts.", "system: '{x}'", "24: stages.0.system: must be a field of the data, but 'x'"),
    (SOLVE, 'prompt: "{question}"', "23: stages.0.name: every stage but the last must be read by a later one"),
    ("- name: pick", "- name: facts", "23: stages.0.name: a stage must not be named like a field of the data"),
    ("- name: solve", "- name: pick", "33: stages.1.name: stage names must be unique"),
    ("- name: solve", "- name: a b", "33: stages.1.name: must match"),
    ("samples: [1, 5]", "samples: [5, 1]", "28: stages.0.samples: the least must not be above the most"),
    ("samples: [1, 5]", "samples: [1, 1]", "28: stages.0.samples: vote takes at least 2 samples, but at most 1"),
    ("[single, vote, best_of_n]", "[vote]", "28: stages.0.samples: vote takes at least 2 samples, but the least is 1"),
    # metrics, prices, budgets
    ("minimize: flops", "minimize: flop", "44: objectives.1.minimize: must be an evaluator or a cost, but is 'flop'"),
    ("minimize: flops", "minimise: flops", "44: objectives.1.minimise: unknown key 'minimise'; did you mean"),
    ("minimize: flops", "minimize: accuracy", "44: objectives.1: a metric must be one objective only"),
    ("maximize: accuracy", "minimize: usd", "43: objectives.0.minimize: the first objective must be an evaluator"),
    ("  near: {", "  usd: {", "41: evaluators.usd: an evaluator must not be named like a cost"),
    ("{prompt: 0.1, completion: 0.2}", "null", "18: models.big.price: limits.usd must know every price, but that of"),
    ("budget: {flops: 3e12}", "budget: {flops: 1e8}", "45: budget.flops: even the cheapest answer costs 3.51"),
    ("budget: {flops: 3e12}", "budget: {calls: 1}", "45: budget.calls: even the cheapest answer costs 2 calls"),
    ("budget: {flops: 3e12}", "budget: {usd: 1e-9}", "45: budget.usd: even the cheapest answer costs 3"),
    ("calls: 5000", "calls: 1", "46: limits.calls: even the cheapest answer costs 2 calls, but limits.calls is 1"),
    ("tokens: 2e6", "tokens: 9", "46: limits.tokens: even the cheapest answer costs"),
    # data
    ("path: facts.jsonl", "path: fact.jsonl", "20: data.path: must be a file that can be read, but 'fact.jsonl' does"),
    ("path: facts.jsonl", "path: .", "20: data.path: must be a file that can be read, but '.' is not a regular file"),
    ("path: facts.jsonl", "path: ${HOME}/f", "20: data.path: must be a file that can be read, but '${HOME}/f' does"),
    ("path: facts.jsonl", f"path: {'x' * 5000}", "20: data.path: must be a file that can be read, but 'xxxx"),
    (
        "search: 4, validation",
        "search: 5, validation",
        "21: data.split: the splits must fit the data, but they take 11",
    ),
    ("search: 4, validation", "search: 0, validation", "21: data.split.search: must be at least 1"),
    ("search: 4, validation: 3, ", "search: 4, ", "21: data.split.validation: required key is absent"),
    ("{exact: answer}", "{exact: anser}", "40: evaluators.accuracy.exact.field: must be a field of the data"),
    # the file
    ("seed: 7", "\tseed: 7", "2: YAML: the file must be valid YAML"),
    ("name: quickstart", "name: a: b", "1: YAML: the file must be valid YAML, but mapping values are not allowed"),
    ("seed: 7", "seed: *x", "2: seed: an alias must follow its anchor"),
    ("seed: 7", "seed: &x [*x]", "2: seed.0: an alias must not contain itself"),
    ("seed: 7", "<<: {seed: 7}", "2: top level: merge keys `<<` are refused"),
    ("seed: 7", "---\nseed: 7", "2: YAML: a task file must be one document"),
    ("seed: 7", "7: seed", "2: top level: keys must be text, but one is 7"),
    ("seed: 7", "seed: 7\x07", "2: YAML: control characters are not allowed"),
]


@pytest.mark.parametrize(
    ("old", "new", "said"), MISTAKES, ids=[f"{n}-{said[:40]}" for n, (_, _, said) in enumerate(MISTAKES)]
)
def test_one_mistake(spoil: Spoil, old: str, new: str, said: str) -> None:
    started = time.process_time()
    found = spoil((old, new))
    assert time.process_time() - started < 1
    assert found[0].startswith(f"spec.yaml:{said}"), found
    assert all(LINE.fullmatch(line) and len(line) < 400 and line.isprintable() for line in found), found
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "1: top level: a task file must be a mapping of keys, but is empty; begin with `name: …`"),
        (b"# nothing yet\n", "1: top level: a task file must be a mapping of keys, but is empty"),
        (b"budget:10", "1: top level: a task file must be a mapping of keys, but is 'budget:10'"),
        (b"- a\n- b\n", "1: top level: a task file must be a mapping of keys, but is a list of 2"),
        ("name: quick".encode("utf-16"), "1: YAML: the file must be UTF-8, but is UTF-16; save it as UTF-8"),
        (b"name: quick\xe9", "1: YAML: the file must be UTF-8, but byte 11 is not"),
        (b"a" * 10_000_000, " YAML: a task file must be at most 1,000,000 bytes"),
        (b"[" * 500_000, "1: YAML: a task must be at most 64 levels deep"),
        (b"{}", "1: name: required key is absent; add `name: …`"),
    ],
    ids=lambda content: repr(content[:20]),
)
def test_no_task_at_all(write: Write, content: bytes, said: str) -> None:
    path = write(content)
    with pytest.raises(SpecError) as error:
        load_spec(path)
    assert error.value.problems[0].startswith(f"{path}:{said}")


def test_good_but_for_style(folder: Path, good: str, write: Write) -> None:
    assert load_spec(write(b"\xef\xbb\xbf" + good.replace("\n", "\r\n").encode())).spec.name == "quickstart"
    shared = good.replace("[small, big]", "&m [small, big]").replace("models: [small]\n", "models: *m\n")
    assert load_spec(write(shared)).spec.stages[1].models == ("small", "big")


def test_many_mistakes_are_reported_at_once_by_line(spoil: Spoil) -> None:
    found = spoil(
        ("seed: 7", "seed: x\nseed: 8"),
        ("OPENAI_API_KEY", "sk-proj-hunter2hunter2"),
        ("models: [small, big]", "models: [small, bgi]"),
        ("{exact: answer}", "{exact: anser}"),
        ("minimize: flops", "minimize: flop"),
        ("{sampler: tpe, finalists: 3}", "{sampler: tpee}"),
    )
    lines = [int(line.split(":")[1]) for line in found]
    assert lines == [2, 3, 17, 27, 41, 45, 48]


def test_a_mistake_in_one_part_hides_none_in_another(spoil: Spoil) -> None:
    """A model and a stage that the schema refuses still count as names."""
    found = spoil(
        ("parameters: 1.35e8", "parameters: x"), ("max_tokens: 32", "max_tokens: x"), (SOLVE, 'prompt: "{pick} {q}"')
    )
    assert [line.split(": ")[1] for line in found] == [
        "models.small.parameters",
        "stages.0.max_tokens",
        "stages.1.prompt",
    ]


def test_a_cycle_is_named(spoil: Spoil) -> None:
    (said, *_) = spoil((PICK, 'prompt: "{solve}"'))
    assert "'pick' reads 'solve' in the cycle pick -> solve -> pick; remove" in said
    (_, said) = spoil((PICK, 'prompt: "{solve}"'), (SOLVE, 'prompt: "{question}"'))
    assert "'pick' reads 'solve', which comes later; move 'solve' up" in said


def test_too_many_mistakes_are_cut(write: Write, good: str) -> None:
    path = write(good + "".join(f"k{n}: {n}\n" for n in range(30_000)))
    started = time.process_time()
    with pytest.raises(SpecError) as error:
        load_spec(path)
    assert time.process_time() - started < 1
    assert len(error.value.problems) == 101 and "more than 100 problems; mend these first" in error.value.problems[-1]


@given(data=st.data())
@settings(max_examples=150, deadline=timedelta(seconds=2), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_edit_gives_a_task_or_problems(write: Write, good: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 30)))
    path = write((good[:start] + data.draw(st.text(max_size=12)) + good[end:]).encode("utf-8", "surrogatepass"))
    try:
        load_spec(path)
    except SpecError as error:
        assert error.problems and all(line.isprintable() for line in error.problems)


@given(content=st.binary(max_size=200))
@settings(max_examples=150, deadline=timedelta(seconds=2), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_problems(write: Write, content: bytes) -> None:
    with pytest.raises(SpecError):
        load_spec(write(content))
