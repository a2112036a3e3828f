"""Reads YAML safely: every value keeps its line, and no file can hang, explode or run anything.

Scalars follow the core schema of YAML 1.2 (`1e3` is a number; `no`, `1:30` and dates are text; `010` is ten).
Refused: tags, merge keys, several documents, duplicate keys, keys that are not text, aliases that contain themselves.
It does not know what a task is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

import yaml

from apportion.spec.problems import Place, Problem, dotted, safe, show

MAX_BYTES = 1_000_000
MAX_NODES = 100_000
MAX_DEPTH = 64
MAX_PROBLEMS = 100
MAX_DIGITS = 300  # a longer number is no float (the largest is 1.8e308)
TEXT_PER_NODE = 16  # characters of text that count as one node, so that aliases cannot multiply long text either

Scalar = str | int | float | bool | None

_PARSER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_UNPRINTABLE = re.compile(
    "[^\x09\x0a\x0d\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_WORDS: dict[str, Scalar] = {"": None, "~": None}
_WORDS |= dict.fromkeys(("null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it was written.

    Attributes:
        source: the file, or `--set a.b`.
        line: line of the key or list item, from 1; 0 when there is none.
        size: nodes in it with aliases expanded.
        height: levels of lists and mappings in it.
    """

    value: Scalar | tuple[Node, ...] | dict[str, Node]
    source: str
    line: int
    size: int = 1
    height: int = 0

    def plain(self) -> object:
        """The value without places: scalars, tuples and dicts."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, tuple):
            return tuple(node.plain() for node in self.value)
        return self.value

    def get(self, step: str | int) -> Node | None:
        """The node one step below, None when there is none."""
        if isinstance(self.value, dict) and isinstance(step, str):
            return self.value.get(step)
        if isinstance(self.value, tuple) and isinstance(step, int) and 0 <= step < len(self.value):
            return self.value[step]
        return None

    def find(self, place: Place) -> Node:
        """The deepest node on the way to `place`."""
        node = self
        for step in place:
            below = node.get(step)
            if below is None:
                break
            node = below
        return node

    def problem(self, place: Place, text: str) -> Problem:
        """What is wrong at `place`, with the nearest line that exists."""
        node = self.find(place)
        return Problem(node.source, node.line, dotted(place), text)


def read(data: bytes, source: str) -> tuple[Node | None, list[Problem]]:
    """Read one YAML document.

    Args:
        data: the file's bytes.
        source: how messages call the file.

    Returns:
        The top node, None when the document cannot be read at all, and every problem met.
    """
    builder = _Builder(source)
    try:
        text = _decode(data, source)
        for event in yaml.parse(text, Loader=_PARSER):  # events only: nothing is constructed
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        return None, [*builder.problems, _syntax(error, source)]
    except _Refused as refused:
        return None, [*builder.problems, refused.problem]
    return builder.root or Node(None, source, 1), builder.problems


class _Refused(Exception):
    """The document cannot be read any further."""

    def __init__(self, source: str, line: int, text: str, place: str = "YAML") -> None:
        self.problem = Problem(source, line, place, text)


def _decode(data: bytes, source: str) -> str:
    if len(data) > MAX_BYTES:
        raise _Refused(source, 0, f"a task file must be at most {MAX_BYTES:,} bytes; put data in the JSONL file")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise _Refused(source, 1, "the file must be UTF-8, but is UTF-16; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        law = f"the file must be UTF-8, but byte {error.start} is not; save it as UTF-8"
        raise _Refused(source, line, law) from None
    if bad := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        raise _Refused(source, line, f"control characters are not allowed, but there is {show(bad[0])}; remove it")
    return text


def _syntax(error: yaml.MarkedYAMLError, source: str) -> Problem:
    problem, context = error.problem or "it cannot be parsed", error.context or ""
    # The end of the file says little; the place where the unfinished thing began says where to look.
    at_end = "end of stream" in problem or "<stream end>" in problem
    mark = error.context_mark if at_end and error.context_mark else error.problem_mark
    remedy = "check the indentation, brackets and quotes at this line"
    if "quoted scalar" in context:
        remedy = "close the quote"
    elif "cannot start any token" in problem:
        remedy = "indent with spaces, not tabs, and quote text that begins with @, ` or %"
    elif "mapping values are not allowed" in problem:
        remedy = "put text that holds ': ' in quotes"
    if context and error.context_mark and mark is not error.context_mark:
        context += f" that began on line {error.context_mark.line + 1}"
    text = f"the file must be valid YAML, but {safe(problem)}{' ' if context else ''}{safe(context)}; {remedy}"
    return Problem(source, mark.line + 1 if mark else 0, "YAML", text)


@dataclass(slots=True)
class _Open:
    """A mapping or a list whose end has not been read yet."""

    line: int
    anchor: str | None
    is_mapping: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Node] = field(default_factory=dict)
    awaits_key: bool = True
    key: str | None = None  # None while the value of a refused key is read
    key_line: int = 0


class _Builder:
    """Builds nodes from parser events, counting as it goes."""

    def __init__(self, source: str) -> None:
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._source = source
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._total = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """Take the next event."""
        line = event.start_mark.line + 1 if event.start_mark else 0
        match event:
            case yaml.ScalarEvent():
                self._refuse_tag(event.tag, line)
                self._scalar(event, line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._refuse_tag(event.tag, line)
                self._check_depth(len(self._stack) + 1, line)
                self._anchors.pop(event.anchor or "", None)  # from here on the name means this value
                self._stack.append(_Open(self._line(line), event.anchor, isinstance(event, yaml.MappingStartEvent)))
            case yaml.AliasEvent():
                self._alias(event.anchor or "", line)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise _Refused(self._source, line, "a task file must be one document; remove this second `---`")

    def _line(self, line: int) -> int:
        """The line of a value: that of its key, if it has one."""
        level = self._stack[-1] if self._stack else None
        return line if level is None or level.awaits_key else level.key_line

    def _refuse_tag(self, tag: str | None, line: int) -> None:
        if tag is not None:
            short = tag.replace("tag:yaml.org,2002:", "!!")
            self._report(line, f"tags are refused, but there is {show(short)}; remove the tag")

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        plain = event.implicit[0]
        if plain and event.value == "<<" and self._stack and self._stack[-1].is_mapping and self._stack[-1].awaits_key:
            self._report(line, "merge keys `<<` are refused; write the keys out, or use an alias for one whole value")
            self._stack[-1].awaits_key, self._stack[-1].key = False, None
            return
        value = self._resolve(event.value, line) if plain else event.value
        node = Node(value, self._source, self._line(line), 1 + len(event.value) // TEXT_PER_NODE)
        self._add(node, event.anchor, line)

    def _resolve(self, text: str, line: int) -> Scalar:
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            if len(text) > MAX_DIGITS:
                law = f"a number must have at most {MAX_DIGITS} digits; write it like 1e9"
                raise _Refused(self._source, line, law, self._here())
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if _FLOAT.fullmatch(text):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        return text

    def _alias(self, name: str, line: int) -> None:
        node = self._anchors.get(name)
        if node is None:
            law = f"an alias must follow its anchor, but &{safe(name)} is not above; add it"
            if any(level.anchor == name for level in self._stack):
                law = f"an alias must not contain itself, but *{safe(name)} does; write it out"
            raise _Refused(self._source, line, law, self._here())
        self._check_depth(len(self._stack) + node.height, line)
        self._add(replace(node, line=self._line(line)), None, line)

    def _close(self) -> None:
        level = self._stack.pop()
        children = tuple(level.entries.values()) if level.is_mapping else tuple(level.items)
        node = Node(
            level.entries if level.is_mapping else children,
            self._source,
            level.line,
            1 + sum(child.size for child in children),
            1 + max((child.height for child in children), default=0),
        )
        self._add(node, level.anchor, level.line, counted=True)

    def _add(self, node: Node, anchor: str | None, line: int, *, counted: bool = False) -> None:
        self._total += 1 if counted else node.size  # what is inside a closed level is counted already
        if self._total > MAX_NODES:
            law = f"a task must have at most {MAX_NODES:,} values, aliases expanded; cut it"
            raise _Refused(self._source, line, law)
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            self.root = node
            return
        level = self._stack[-1]
        if not level.is_mapping:
            level.items.append(node)
        elif level.awaits_key:
            self._key(level, node)
        else:
            if level.key is not None and level.key not in level.entries:
                level.entries[level.key] = node
            level.awaits_key, level.key = True, None

    def _key(self, level: _Open, node: Node) -> None:
        level.awaits_key, level.key_line = False, node.line
        if not isinstance(node.value, str):
            self._report(node.line, f"keys must be text, but one is {show(node.plain())}; put the key in quotes")
            return
        level.key = node.value
        if node.value in level.entries:
            first = level.entries[node.value].line
            self._report(node.line, f"a key must be given once, but it is also on line {first}; remove one of the two")

    def _check_depth(self, depth: int, line: int) -> None:
        if depth > MAX_DEPTH:
            raise _Refused(self._source, line, f"a task must be at most {MAX_DEPTH} levels deep; nest it less")

    def _here(self) -> str:
        steps = (level.key if level.is_mapping else len(level.items) for level in self._stack)
        return dotted(tuple(step for step in steps if step is not None))

    def _report(self, line: int, text: str) -> None:
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Refused(self._source, line, f"more than {MAX_PROBLEMS} problems; mend the first ones")
        self.problems.append(Problem(self._source, line, self._here(), text))
