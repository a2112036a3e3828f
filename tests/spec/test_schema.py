"""The spec as values: defaults, frozen, JSON schema, overrides, identity."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml
from pydantic import ValidationError

from apportion.errors import SpecError
from apportion.spec import differences, fingerprint, json_schema, load_spec
from apportion.spec.jsonschema import known_keys
from apportion.spec.problems import looks_like_key, safe
from apportion.spec.schema import FieldOptions, NumericOptions, ParseRule, TaskSpec

Spoil = Callable[..., list[str]]
Write = Callable[[str | bytes], Path]


def test_good_task(folder: Path) -> None:
    loaded = load_spec(folder / "spec.yaml")
    spec = loaded.spec
    assert spec.models["small"].concurrency == 4 and spec.models["big"].concurrency == 8
    assert spec.models["big"].stream and not spec.models["big"].seeds
    assert spec.models["small"].card("small").parameters == 1.35e8
    assert spec.stages[0].samples == (1, 5) and spec.stages[1].samples == (1, 1)
    assert spec.stages[1].max_tokens == 10 and type(spec.stages[1].max_tokens) is int
    assert spec.stages[0].parse == "text"
    parse = spec.stages[1].parse
    assert isinstance(parse, ParseRule) and (parse.kind, parse.value) == ("regex", "Answer: (.*)")
    assert spec.evaluators["accuracy"].kind == "exact"
    assert spec.evaluators["accuracy"].options == FieldOptions(field="answer")
    assert spec.evaluators["near"].options == NumericOptions(field="answer", tolerance=0.5)
    assert [(o.kind, o.metric) for o in spec.objectives] == [("maximize", "accuracy"), ("minimize", "flops")]
    assert spec.limits.tokens == 2_000_000 and spec.limits.trials == 30
    assert loaded.resolve("small.gguf") == folder / "small.gguf"
    with pytest.raises(ValidationError):
        spec.seed = 8


def test_every_key_is_described_and_lists_are_tuples() -> None:
    schema = json_schema()
    for model in (schema, *schema["definitions"].values()):
        for key, field in model["properties"].items():
            assert field.get("description"), key
    assert "list[" not in str(TaskSpec.model_fields)


def test_json_schema_is_draft_7(folder: Path) -> None:
    jsonschema: Any = pytest.importorskip("jsonschema")
    schema = json_schema()
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#" and schema["title"]
    text = json.dumps(schema)
    assert "$defs" not in text and "prefixItems" not in text
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    good = pyyaml.safe_load((folder / "spec.yaml").read_text().replace("1e1", "10"))
    for model in good["models"].values():  # YAML 1.1 reads 1.35e8 as text
        model["parameters"] = float(model["parameters"])
    good["budget"]["flops"], good["limits"]["tokens"] = 3e12, 2_000_000
    assert list(validator.iter_errors(good)) == []
    for spoiled in _spoiled(good):
        assert list(validator.iter_errors(spoiled)), spoiled
    schema["title"] = "mine"
    assert json_schema()["title"] != "mine"


def _spoiled(good: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {**good, "sead": 3}
    yield {**good, "models": {}}
    yield {**good, "models": {"a b": good["models"]["big"]}}
    yield {**good, "models": {"x": {"parameters": 1, "price": None}}}
    yield {**good, "evaluators": {"x": {"exact": "a", "choice": "a"}}}
    yield {**good, "stages": [{**good["stages"][0], "samples": [1, 101]}]}
    yield {**good, "limits": {"tokens": 0}}


def test_known_keys() -> None:
    assert "prompt" in (known_keys(("stages", 0)) or {})
    assert set(known_keys(("stages", 0, "parse")) or {}) == {"regex", "choice", "json"}
    assert "tolerance" in (known_keys(("evaluators", "x", "numeric")) or {})
    assert known_keys(("models",)) is None
    assert known_keys(("name",)) == {}
    assert known_keys(("no", "such")) == {}


def test_overrides(folder: Path) -> None:
    loaded = load_spec(
        folder / "spec.yaml",
        [
            "seed=9",
            "stages.0.samples=[2,3]",
            "models.big.price.prompt=1e-1",
            "limits.wall_s=null",
            "search.sampler=random",
            "evaluators.loose={contains: answer}",
            "stages.0.system=a = b",
        ],
    )
    spec = loaded.spec
    assert (spec.seed, spec.stages[0].samples, spec.search.sampler) == (9, (2, 3), "random")
    assert spec.models["big"].price is not None and spec.models["big"].price.prompt == 0.1
    assert spec.limits.wall_s is None and spec.evaluators["loose"].kind == "contains"
    assert spec.stages[0].system == "a = b"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("stages.0.smaples=[1,3]", "--set stages.0.smaples: unknown key 'smaples'; did you mean 'samples'?"),
        ("modles.big.price=null", "--set modles.big.price: unknown key 'modles'; did you mean 'models'?"),
        ("models.bgi.price=null", "--set models.bgi.price: there is no 'bgi' here; did you mean 'big'?"),
        ("stages.2.name=x", "--set stages.2.name: there is no item 2; the list has 2 items"),
        ("stages.first.name=x", "--set stages.first.name: there is no item 'first'; the list has 2"),
        ("name.x=1", "--set name.x: unknown key 'x'; remove it"),
        ("seed", "--set seed: must be path=value; write it like stages.0.samples=[1,3]"),
        ("=3", "--set : top level: must be path=value"),
        ("seed=[", "--set seed: the file must be valid YAML"),
        ("seed=!!int 3", "--set seed: tags are refused"),
        ("seed=no", "--set seed: must be a whole number, but is 'no'; write digits"),
        ("stages.0.samples=[1,x]", "--set stages.0.samples: stages.0.samples.1: must be a whole number, but is 'x'"),
        ("limits.usd=.inf", "--set limits.usd: must be a finite number, but is .inf"),
        ("stages.0.models=[bgi]", "--set stages.0.models: stages.0.models.0: must be a key of `models`, but is 'bgi'"),
        ("models.big.api_key_env=sk-abcdefghijklmnop", "--set models.big.api_key_env: must be the NAME"),
    ],
)
def test_overrides_that_are_wrong(spoil: Spoil, setting: str, said: str) -> None:
    (found,) = spoil(settings=(setting,))
    assert found.startswith(said) and "abcdefghijklmnop" not in found


def test_all_overrides_are_reported(spoil: Spoil) -> None:
    found = spoil(("seed: 7", "seed: x"), settings=("nmae=x", "limits.usd=-1"))
    assert [line.split(": ")[0] for line in found] == ["spec.yaml:2", "--set nmae", "--set limits.usd"]


def test_catalogue_names(spoil: Spoil) -> None:
    assert spoil(("gguf: small.gguf", "gguf: smollm2-135m-instruct")) == []
    (said,) = spoil(("gguf: small.gguf", "gguf: smollm2-135m"))
    assert said.startswith("spec.yaml:5: models.small.gguf: must be a .gguf file or a name from")
    assert said.endswith("did you mean 'smollm2-135m-instruct'?")


def test_fingerprint_sees_values_not_wording(folder: Path, good: str, write: Write) -> None:
    first = fingerprint(load_spec(folder / "spec.yaml"))
    assert json.loads(json.dumps(first)) == first
    same = good.replace("{exact: answer}", "\n    exact: {field: answer}  # the same").replace("1e1", "10")
    assert fingerprint(load_spec(write(same))) == first
    assert differences(first, fingerprint(load_spec(write(same)))) == []


def test_differences_name_places_and_values(folder: Path, good: str, write: Write) -> None:
    old = json.loads(json.dumps(fingerprint(load_spec(folder / "spec.yaml"))))
    (folder / "facts.jsonl").write_text((folder / "facts.jsonl").read_text() + "\n")
    changed = good.replace("seed: 7", "seed: 8").replace("samples: [1, 5]", "samples: [1, 3]").replace("usd: 1.0, ", "")
    found = differences(old, fingerprint(load_spec(write(changed + "#"))))
    assert found == ["spec.seed: 7 -> 8", "spec.stages.0.samples.1: 5 -> 3", "data: other content"]  # limits may differ


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("OPENAI_API_KEY", False),
        ("MY_VERY_LONG_PROVIDER_API_KEY_2026", False),
        ("sk-proj-abc", True),
        ("hf_abcdefghij", True),
        ("AKIAIOSFODNN7EXAMPLE", True),
        ("3f9a1b2c4d5e6f708192a3b4c5d6e7f8", True),
        ("Bearer abc", True),
        ("Qwen/Qwen2.5-7B-Instruct", False),
    ],
)
def test_what_looks_like_a_key(text: str, key: bool) -> None:  # noqa: FBT001
    assert looks_like_key(text) is key


def test_shown_text_is_short_and_printable() -> None:
    assert safe("a\x1b[31m\u202e\n" + "b" * 500).isprintable()
    assert len(safe("b" * 500)) == 60


def test_missing_task_file(tmp_path: Path) -> None:
    for path in (tmp_path / "no.yaml", tmp_path):
        with pytest.raises(SpecError) as error:
            load_spec(path)
        assert error.value.problems[0].startswith(f"{path}: task file: must be a file that can be read, but it ")
