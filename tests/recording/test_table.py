"""The file of a recording: what is written is read again, whatever texts are in it, and a broken one is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion.errors import RecordedError
from apportion.recording.table import About, AskedAbout, ModelAbout, Row, read, write
from tests.recording.kit import altered

ABOUT = About(
    task="t",
    models={"m": ModelAbout(identity="i", served="s", rates=(1.0, 2.0))},
    asked=AskedAbout(stages={"s": {"prompt": "p", "stop": ["x"]}}, roles={"generator": "1"}, data_sha256="2"),
)
ROW = Row("t", "q1", "s", "m", 0, "a", True, 3, 2, 0.5, 1e-6, "k1", "{}", "generator", "ok", "a.", "stop", None)

texts = st.text(st.characters(codec="utf-8"))
rows = st.builds(
    ROW._replace,
    question_id=texts,
    sample_index=st.integers(0, 2**40),
    answer=st.none() | texts,
    correct=st.none() | st.booleans(),
    prompt_tokens=st.integers(0, 2**40),
    latency_s=st.floats(0, 1e9),
    cost_usd=st.none() | st.floats(0, 1e9),
    request=texts,
    status=st.sampled_from(["ok", "truncated", "refused", "timeout"]),
    reply=texts,
    finish_reason=texts,
    first_token=st.none() | st.dictionaries(texts, st.floats(-1e9, 0)).map(json.dumps),
)


@given(st.lists(rows, max_size=8, unique_by=lambda row: (row.request, row.sample_index)))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, given: list[Row]) -> None:
    path = tmp_path_factory.mktemp("table") / "rec.parquet"
    write(path, ABOUT, given)
    recording = read(path)
    assert recording.about == ABOUT and recording.questions == {row.question_id for row in given}
    assert len(recording.replies) == len(given)
    for row in given:
        found = recording.find(row.request, row.sample_index)
        if row.status == "timeout":
            assert found == "timeout"
        else:
            assert found is not None and found != "timeout"
            assert (found.text, found.status, found.finish_reason) == (row.reply, row.status, row.finish_reason)
            assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (row.prompt_tokens, 2)
            assert found.latency_s == row.latency_s and found.first_token == json.loads(row.first_token or "{}")
        assert recording.find(row.request, row.sample_index + 2**50) is None
    assert [tuple(row.values()) for row in pq.read_table(path).to_pylist()] == [tuple(row) for row in given]


def test_one_completion_may_serve_several_questions(tmp_path: Path) -> None:
    write(tmp_path / "rec.parquet", ABOUT, [ROW, ROW._replace(question_id="q2")])
    recording = read(tmp_path / "rec.parquet")
    assert recording.questions == {"q1", "q2"} and len(recording.replies) == 1


def put(column: str, value: Any) -> Callable[[dict[str, list[Any]]], object]:
    """Another value in the second row."""
    return lambda columns: columns[column].__setitem__(1, value)


BROKEN: dict[str, tuple[Callable[[dict[str, list[Any]]], object], str]] = {
    "a column is absent": (
        lambda c: c.pop("request"),
        r"must have the column 'request', but .* lacks it; record it anew",
    ),
    "a column of words": (
        lambda c: c.update(latency_s=["soon", "late"]),
        r"`latency_s` of .* must be double, got string",
    ),
    "an absent value": (put("reply", None), r"`reply` must be given, but is not in row 2 of "),
    "an unknown status": (
        put("status", "lost"),
        r"`status` must be one of ok, truncated, refused, timeout, got 'lost' in row 2",
    ),
    "tokens below 0": (put("prompt_tokens", -1), r"tokens must be 0 or more, got -1 in row 2"),
    "no number": (put("latency_s", float("nan")), r"`latency_s` must be finite and 0 or more, got nan in row 2"),
    "a time below 0": (put("latency_s", -0.5), r"`latency_s` must be finite and 0 or more, got -0\.5 in row 2"),
    "no JSON": (
        put("first_token", "{"),
        r"`first_token` must be a JSON object of log-probabilities, got '\{' in row 2",
    ),
    "a list": (put("first_token", "[]"), r"`first_token` must be a JSON object"),
    "a probability": (put("first_token", '{"yes": 0.5}'), r"`first_token` must be a JSON object"),
    "one sample twice": (
        put("sample_index", 0),
        r"sample 0 of a request must be one, but an earlier row has another in row 2",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_table_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    change, said = BROKEN[kind]
    write(tmp_path / "rec.parquet", ABOUT, [ROW, ROW._replace(sample_index=1, reply="b.")])
    with pytest.raises(RecordedError, match=said) as refused:
        read(altered(tmp_path / "rec.parquet", change))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda about: about.pop("models"), r"must say what was recorded, but models: Field required; record it anew"),
        (lambda about: about.update(models={"m": 1}), r"must say what was recorded, but models\.m: "),
        (lambda about: about["asked"].pop("stages"), r"must say what was recorded, but asked\.stages: Field required"),
        (lambda about: about.update(version=2), r"must be of version 1, got 2; replay it with a newer apportion"),
    ],
)
def test_wrong_words_about_itself(change: Callable[[dict[str, Any]], object], said: str, tmp_path: Path) -> None:
    write(tmp_path / "rec.parquet", ABOUT, [ROW])
    with pytest.raises(RecordedError, match=said) as refused:
        read(altered(tmp_path / "rec.parquet", lambda columns: None, change))
    assert "\n" not in str(refused.value)


def test_files_that_are_no_recordings(tmp_path: Path) -> None:
    plain = tmp_path / "plain.parquet"
    pq.write_table(pa.table({name: [value] for name, value in ROW._asdict().items()}), plain)
    with pytest.raises(RecordedError, match=r"must come from `apportion record`, but .*plain\.parquet does not"):
        read(plain)
    pa.csv.write_csv(pa.table({"a": [1]}), tmp_path / "table.csv")
    torn = tmp_path / "torn.parquet"
    write(torn, ABOUT, [ROW] * 50)
    torn.write_bytes(torn.read_bytes()[:-20])
    (tmp_path / "empty.parquet").touch()
    for path in (tmp_path / "table.csv", torn, tmp_path / "empty.parquet", tmp_path, tmp_path / "none.parquet"):
        with pytest.raises(RecordedError, match="a recording must be a parquet file, but ") as refused:
            read(path)
        assert "\n" not in str(refused.value) and str(path) in str(refused.value)


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    write(tmp_path / "rec.parquet", ABOUT, [ROW])
    table = pq.read_table(tmp_path / "rec.parquet")
    pq.write_table(table.append_column("reply", table.column("reply")), tmp_path / "two.parquet")
    with pytest.raises(RecordedError, match=r"must have the column 'reply' once, but .*two\.parquet has more"):
        read(tmp_path / "two.parquet")
