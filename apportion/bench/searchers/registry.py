"""Searchers by name, and those of a user's own module.

It knows where searchers are, not what they do.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from pathlib import Path
from traceback import walk_tb
from typing import cast

from apportion.bench.searchers.by_agent import BY_AGENT, Answering, ByAgent, way
from apportion.bench.searchers.by_draw import BY_DRAW
from apportion.bench.searchers.by_trial import BY_TRIAL, Searcher
from apportion.bench.searchers.osca import osca
from apportion.bench.searchers.surrogates import SURROGATES
from apportion.errors import RecordedError
from apportion.graphs.graph import escaped
from apportion.search.allocator import allocate
from apportion.spec.plugins import said
from apportion.spec.problems import show

SEARCHERS: dict[str, Searcher] = {
    "allocator": allocate,
    **BY_TRIAL,
    **SURROGATES,
    **BY_DRAW,
    "osca": osca,
    **{name: ByAgent(way) for name, way in BY_AGENT.items()},
}
"""All searchers of the package."""

SPENDS_BY_THE_DRAW = frozenset({"allocator", "osca", *BY_DRAW})
"""Those that never measure a whole trial."""


def asked(name: str, answering: Answering | None) -> str:
    """The name of a searcher whose agent is a model: `agenttts@MODEL`; that of others is theirs."""
    own = way(name)
    return f"{name}@{answering.model}" if answering and own is not None and own.modelled else name


def searcher(name: str, answering: Answering | None = None) -> Searcher:
    """A searcher by its name, or `module:function` for one's own.

    Args:
        answering: who answers for `NAME@MODEL`.

    Raises:
        RecordedError: there is none.
    """
    if name in SEARCHERS:
        return SEARCHERS[name]
    plain, at, _ = name.partition("@")
    own = way(plain)
    if own is not None and name == (asked(plain, answering) if at else plain):
        return ByAgent(own, answering if at else None)
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise RecordedError(
            f"a sampler must be one of {', '.join(SEARCHERS)} or module:function, got {name!r}; choose."
        )
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise RecordedError(f"{name!r} must be a function of a module, but {error}; mend the name.") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever the user's module raises is their mistake
        raise RecordedError(
            f"the module of {name!r} must be importable, but raises {raised(name, error)}; mend it."
        ) from None
    if not callable(found):
        raise RecordedError(f"{name!r} must be a function of a module, but is {show(found)}; mend the name.")
    return cast(Searcher, found)


def raised(name: str, error: BaseException) -> str:
    """What a searcher raised, and the line of the user's own module where it did, as far as it went through one."""
    module = name.partition(":")[0]
    own = [(f.f_code.co_filename, n) for f, n in walk_tb(error.__traceback__) if f.f_globals.get("__name__") == module]
    where = f" at {escaped(own[-1][0])}:{own[-1][1]}" if own else ""
    return f"{said(error).rstrip('.')}{where}"


def code(name: str) -> str:
    """Digest of the module of a user's own searcher; empty for those of the package.

    Raises:
        RecordedError: there is no such searcher.
    """
    module = name.partition(":")[0]
    if module == name:
        return ""
    searcher(name)  # says what is wrong
    source = importlib.util.find_spec(module)
    if source is None or source.origin is None or not Path(source.origin).is_file():
        return ""
    return hashlib.sha256(Path(source.origin).read_bytes()).hexdigest()
