"""From files of public data sets to rows with the fields that prompts and evaluators name; docs/tasks.md lists them.

It reads what the files say and draws no sample. Other keys of a record are left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from apportion.spec import benchmarks
from apportion.spec.problems import show
from apportion.spec.records import BadRow, Records, array, lines, loads, said, table
from apportion.template import as_text

Row = dict[str, Any]
Rows = Iterator[tuple[int, Row | BadRow]]

MOST_DISTRACTORS = 100
"""Triples of the neighbourhood that are shown beside the crucial ones, as in AgentTTS's code (arXiv 2508.00890)."""

TOOLS = "tool_desc.json"
"""Beside TaskBench's data.json: what the tools are."""


@dataclass(frozen=True)
class Format:
    """How a file is read.

    Attributes:
        rows: from its path to its rows, by number.
        lines: whether the numbers are those of lines, else from 1.
        beside: names of further files in its folder that are read.
    """

    rows: Callable[[Path], Rows]
    lines: bool
    beside: tuple[str, ...] = ()


def hotpotqa(number: int, record: Row) -> Row:
    """A question of HotpotQA (arXiv 1809.09600) or 2WikiMultiHopQA (arXiv 2011.01060), its paragraphs as chunks.

    Evidence are the numbers of the paragraphs whose titles the supporting facts name.
    """
    paragraphs = [_paragraph(pair) for pair in _list(record, "context")]
    facts = _list(record, "supporting_facts")
    if not all(isinstance(fact, list) and len(fact) == 2 for fact in facts):
        raise BadRow("supporting_facts", "must be pairs [title, sentence], but one is not")
    titles = [fact[0] for fact in facts]
    return {
        "id": _text(record, "_id"),
        "question": _text(record, "question"),
        "chunks": _numbered(f"{title}: {text}" for title, text in paragraphs),
        "evidence": [str(n) for n, (title, _) in enumerate(paragraphs, 1) if title in titles],
        "answers": [_text(record, "answer")],
    }


def kgqa(number: int, record: Row) -> Row:
    """A question of CWQ or WebQSP in the format of Generate-on-Graph (arXiv 2404.14741), its triples as chunks.

    They are the crucial ones, which are the evidence, among up to 100 others of two hops, in an order that depends on
    the question's id only.
    """
    name = _text(record, "ID", "QuestionId")
    crucial = _triples(record, "crucial_triples")
    known = {*crucial, *(_triples(record, "gt_triples") if "gt_triples" in record else ())}
    others = [triple for triple in _triples(record, "2hop_triples") if triple not in known][:MOST_DISTRACTORS]
    triples = sorted((*crucial, *others), key=lambda triple: sha256(f"{name}:{triple}".encode()).digest())
    if not triples:
        raise BadRow("2hop_triples", "there must be a triple to choose, but there is none")
    return {
        "id": name,
        "question": _text(record, "question", "RawQuestion"),
        "topics": _topics(record),
        "chunks": _numbered(" | ".join(triple) for triple in triples),
        "evidence": [str(n) for n, triple in enumerate(triples, 1) if triple in crucial],
        "answers": _answers(record),
    }


def taskbench(tools: list[str], number: int, record: Row) -> Row:
    """A request of TaskBench (arXiv 2311.18760) with its steps, tools, and arguments as `tool | name | value`.

    Args:
        tools: all tools there are, one text each.
    """
    nodes = _list(record, "task_nodes", "tool_nodes")
    if not all(isinstance(node, dict) and isinstance(node.get("task"), str) for node in nodes):
        raise BadRow("tool_nodes", "must be objects with a `task`, but one is not")
    return {
        "id": _text(record, "id"),
        "request": _text(record, "user_request", "instruction"),
        "tools": tools,
        "steps": [as_text(step) for step in _list(record, "task_steps", "tool_steps")],
        "nodes": [node["task"] for node in nodes],
        "arguments": [" | ".join((node["task"], *_argument(a))) for node in nodes for a in _list(node, "arguments")],
    }


def srdd(number: int, record: Row) -> Row:
    """A requirement of SRDD, ChatDev's data (arXiv 2307.07924); the id begins with its number, as names recur."""
    name, description, category = (_text(record, key) for key in ("Name", "Description", "Category"))
    return {"id": f"{number} {name}", "name": name, "description": description, "category": category}


def _each(records: Records, row: Callable[[int, Row], Row]) -> Rows:
    for number, record in records:
        try:
            yield number, record if isinstance(record, BadRow) else row(number, record)
        except BadRow as bad:
            yield number, bad


def _taskbench_rows(path: Path) -> Rows:
    return _each(lines(path), partial(taskbench, _tools(path.with_name(TOOLS))))


def _mmlu_rows(path: Path) -> Rows:
    if _is_json(path):
        return _each(lines(path), benchmarks.mmlu)
    return _each(table(path, benchmarks.MMLU_HEAD), benchmarks.mmlu_cells)


def _is_json(path: Path) -> bool:
    """Whether a file begins like lines of JSON."""
    with path.open("rb") as file:
        return file.read(1 << 10).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") or path.suffix == ".gz"


FORMATS: dict[str, Format] = {
    "jsonl": Format(lambda path: _each(lines(path), lambda number, record: record), lines=True),
    "hotpotqa": Format(lambda path: _each(array(path), hotpotqa), lines=False),
    "kgqa": Format(lambda path: _each(array(path), kgqa), lines=False),
    "taskbench": Format(_taskbench_rows, lines=True, beside=(TOOLS,)),
    "srdd": Format(lambda path: _each(table(path), srdd), lines=False),
    "math": Format(lambda path: _each(lines(path), benchmarks.math), lines=True),
    "mmlu": Format(_mmlu_rows, lines=False),
    "humaneval": Format(lambda path: _each(lines(path), benchmarks.humaneval), lines=True),
}
"""Every format by its name in the task file."""


def _value(record: Row, keys: tuple[str, ...]) -> tuple[str, Any]:
    """The first of some keys that is there, with its value."""
    for key in keys:
        if record.get(key) is not None:
            return key, record[key]
    raise BadRow(keys[0], f"every row must have {' or '.join(f'`{key}`' for key in keys)}, but this one does not")


def _text(record: Row, *keys: str) -> str:
    key, value = _value(record, keys)
    if not isinstance(value, str) or not value.strip():
        raise BadRow(key, f"must be text, but is {show(value)}")
    return value


def _list(record: Row, *keys: str) -> list[Any]:
    """A list, which some copies of TaskBench hold as JSON in a text."""
    key, value = _value(record, keys)
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            value = loads(value.encode())
    if not isinstance(value, list):
        raise BadRow(key, f"must be a list, but is {show(value)}")
    return value


def _paragraph(pair: object) -> tuple[str, str]:
    match pair:
        case [str(title), [*sentences]] if all(isinstance(sentence, str) for sentence in sentences):
            return title, " ".join(map(str, sentences))
    raise BadRow("context", f"must be pairs [title, sentences], but one is {show(pair)}")


def _triples(record: Row, key: str) -> dict[tuple[str, str, str], None]:
    """Triples, each once, in order."""
    found: dict[tuple[str, str, str], None] = {}
    for triple in _list(record, key):
        match triple:
            case [str(head), str(relation), str(tail)]:
                found[head, relation, tail] = None
            case _:
                raise BadRow(key, f"must be triples [head, relation, tail], but one is {show(triple)}")
    return found


def _topics(record: Row) -> list[str]:
    """Names of the entities that a question is about."""
    key, value = _value(record, ("topic_entity",))
    if not isinstance(value, dict):
        raise BadRow(key, f"must be an object of names by id, but is {show(value)}")
    return [as_text(topic) for topic in value.values()]


def _answers(record: Row) -> list[str]:
    """Names and aliases that count as right: of `answer`, or of `answers` as CWQ's own files have them."""
    key, value = _value(record, ("answer", "answers"))
    names: list[object] = []
    for answer in value if isinstance(value, list) else [value]:
        aliases = (answer.get("aliases") if isinstance(answer, dict) else None) or []
        if not isinstance(aliases, list):
            raise BadRow(key, f"must have `aliases` that are a list, but they are {show(aliases)}")
        names += [answer.get("answer"), *aliases] if isinstance(answer, dict) else [answer]
    found = list(dict.fromkeys(as_text(name) for name in names if name is not None))
    if not found:
        raise BadRow(key, "must hold an answer, but holds none")
    return found


def _argument(argument: object) -> tuple[str, ...]:
    """Name and value of an argument, or its value alone, as the tools of two of TaskBench's three parts take them."""
    if isinstance(argument, dict) and {"name", "value"} <= argument.keys():
        return as_text(argument["name"]), as_text(argument["value"])
    return (as_text(argument),)


def _tools(path: Path) -> list[str]:
    """All tools of TaskBench's file of them.

    Raises:
        BadRow: it is none.
    """
    law = f'{TOOLS} must be {{"nodes": [{{"id": …, "desc": …}}, …]}}'
    try:
        found = loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadRow("data", f"{law}, but is no JSON: {said(error)}; copy TaskBench's") from None
    nodes = found.get("nodes") if isinstance(found, dict) else None
    if not isinstance(nodes, list) or not nodes:
        got = "has no `nodes`" if nodes is None else f"its `nodes` are {show(nodes)}"
        raise BadRow("data", f"{law}, but {got}; copy TaskBench's")
    return [_tool(f"{TOOLS}, node {number}", node) for number, node in enumerate(nodes, 1)]


def _tool(where: str, node: object) -> str:
    """What a tool takes and does."""
    if not isinstance(node, dict):
        raise BadRow("data", f"{where} must be an object with `id` and `desc`, but is {show(node)}; mend it")
    for key in ("id", "desc"):
        if not isinstance(node.get(key), str):
            raise BadRow("data", f"{where} must have `{key}` that is text, but has {show(node.get(key))}; mend it")
    takes = _names(where, "parameters" if "parameters" in node else "input-type", node)
    gives = _names(where, "output-type", node)
    return f"{node['id']}({', '.join(takes)}){' -> ' if gives else ''}{', '.join(gives)}: {node['desc']}"


def _names(where: str, key: str, node: Mapping[str, Any]) -> list[str]:
    """The names in a list of a tool, which may be absent: of texts, or of objects with a `name`."""
    items = node.get(key) or []
    if isinstance(items, list):
        names = [item.get("name") if isinstance(item, dict) else item for item in items]
        found = [name for name in names if isinstance(name, str)]
        if len(found) == len(items):
            return found
    raise BadRow("data", f"{where} must have `{key}` that is a list of names, but has {show(items)}; mend it")


def _numbered(items: Iterable[str]) -> list[str]:
    """Texts of one line each with their number before them, from 1."""
    return [f"[{n}] {' '.join(text.split())}" for n, text in enumerate(items, 1)]
