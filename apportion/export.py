"""Taking a run elsewhere: a graph as a file (JSON, Mermaid, Python, LangGraph), or all trials as an Optuna study.

A file that runs holds the graph, its models and its stages, never a key. It needs no run folder.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from string import Template
from urllib.parse import unquote

import optuna
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from apportion import __version__
from apportion.answering import needs_of, parts_of
from apportion.build import objectives_of, space_of
from apportion.errors import ApportionError
from apportion.graphs.drawing.graphs import to_mermaid
from apportion.report.summary import summarise
from apportion.run import RunFolder
from apportion.search.engine import directions, frozen
from apportion.search.trial import Trial
from apportion.spec import TaskSpec

# No JSON text has three quotes in a row that are not escaped, and a raw text keeps the escapes as they are.
PARTS = '''
TASK = r"""
$task
"""

GRAPH = r"""
$graph
"""

PLUGINS = r"""
$plugins
"""
'''

PYTHON = f'''\
"""Answers with the graph of trial $trial of `$study`: python FILE $fields

Relative paths of model files begin at this file's folder. Written by apportion {__version__}.
"""

import json
import sys
from pathlib import Path

from apportion.answering import Answerer, plug_in, script
from apportion.graphs.graph import Graph
{PARTS}

def answerer() -> Answerer:
    """The graph, ready to answer: `async with answerer() as ready: rollout = await ready.answer(fields)`."""
    plug_in(json.loads(PLUGINS))
    return Answerer(json.loads(TASK), Graph.from_json(GRAPH), base=Path(__file__).parent)


if __name__ == "__main__":
    sys.exit(script(answerer))
'''

LANGGRAPH = f'''\
"""A LangGraph application of the graph of trial $trial of `$study`: python FILE $fields

`(await app.ainvoke({{"fields": {{...}}}}))["answer"]` from other programs. Relative paths of model files begin at this
file's folder. Written by apportion {__version__}.
"""

import json
import sys
from pathlib import Path

from langgraph.graph.state import CompiledStateGraph

from apportion.answering import Answerer, plug_in, script
from apportion.envs.langgraph import to_langgraph
from apportion.graphs.graph import Graph
{PARTS}

def answerer() -> Answerer:
    """The graph, ready to answer."""
    plug_in(json.loads(PLUGINS))
    return Answerer(json.loads(TASK), Graph.from_json(GRAPH), base=Path(__file__).parent)


def application(ready: Answerer) -> CompiledStateGraph:
    """The graph as an application."""
    return to_langgraph(ready.graph, ready.environment)


if __name__ == "__main__":
    sys.exit(script(answerer, application))  # before `app` is built, so that a mistake is said in one line

app = application(answerer())
'''


def to_file(folder: RunFolder, form: str, path: Path, number: int | None = None) -> Trial:
    """Write the graph of one trial as a new file.

    Args:
        form: `json`, `mermaid`, `python` or `langgraph`.
        number: of the trial; the best one if None.

    Returns:
        The trial.

    Raises:
        ApportionError: there is no such trial, the file exists, or it cannot be written.
    """
    trial = _trial(folder, number)
    text = _text(folder.spec, trial, form, folder.trials.fact("plugins") or [])
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ApportionError(f"a file is not written over, but {path} exists; name another, or remove it.") from None
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()  # of a full disk half a file is left, which would stand in the way of the next try
        raise ApportionError(f"`TARGET` must be writable, but {error.strerror}: {path}; name another.") from None
    return trial


def to_optuna(folder: RunFolder, url: str) -> int:
    """Write the measured trials of a run as a new Optuna study named like the task.

    Args:
        url: an Optuna storage URL such as `sqlite:///study.db`.

    Returns:
        The number of trials written.

    Raises:
        ApportionError: the storage already has a study of that name, or cannot be opened; without its password.
    """
    spec = folder.spec
    objectives, space = objectives_of(spec), space_of(spec)
    told = [trial for trial in folder.told() if trial.state not in ("running", "repeated")]
    try:
        study = optuna.create_study(storage=url, study_name=spec.name, directions=directions(objectives))
        with warnings.catch_warnings():  # experimental since Optuna 3.2; the dashboard shows the names
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([o.metric for o in objectives])
        study.add_trials([frozen(trial, space, objectives) for trial in told])
    except optuna.exceptions.DuplicatedStudyError:
        raise ApportionError(
            f"a study is exported once, but {public(url)} already has {spec.name!r}; name another storage."
        ) from None
    except Exception as error:  # noqa: BLE001  # chained it might show the password
        said = _public_words(error, url)
        raise ApportionError(
            f"`URL` must open an Optuna storage, but {public(url)}{said}; try sqlite:///study.db."
        ) from None
    return len(told)


def public(url: str) -> str:
    """A storage URL as it may be shown: without its password and without its query, which may hold one too."""
    parsed = _parsed(url)
    return "it is no URL" if parsed is None else parsed.set(query={}).render_as_string(hide_password=True)


def _public_words(error: Exception, url: str) -> str:
    """What an error says of a storage, in a line; nothing where it might quote a password."""
    parsed = _parsed(url)
    said = " ".join(str(error).partition("\n")[0].split())  # SQLAlchemy's further lines say where to read on
    secrets = [] if parsed is None else [str(parsed.password or ""), *map(str, parsed.query.values())]
    quoted = parsed is None or any(secret and secret in text for secret in secrets for text in (said, unquote(said)))
    return "" if quoted else f": {said}"


def _parsed(url: str) -> URL | None:
    """The parts of a storage URL; None where a password could stand in any of them."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return None
    return None if "@" in (parsed.host or "") else parsed  # an `@` of the password that is not written as %40


def _trial(folder: RunFolder, number: int | None) -> Trial:
    summary = summarise(folder)
    if number is None:
        if summary.best is None:
            raise ApportionError(
                f"a run must have a feasible graph, but {folder.path} has none; name one with --trial."
            )
        return summary.best
    return summary.by_number(number)


def _text(spec: TaskSpec, trial: Trial, form: str, plugins: Sequence[str]) -> str:
    graph = trial.graph
    if form == "json":
        return graph.to_json() + "\n"
    if form == "mermaid":
        return to_mermaid(graph) + "\n"
    return Template({"python": PYTHON, "langgraph": LANGGRAPH}[form]).substitute(
        trial=trial.number,
        study=spec.name,
        fields=" ".join(f'"{name}=..."' if " " in name else f"{name}=..." for name in needs_of(spec, graph)),
        task=json.dumps(parts_of(spec, graph), indent=2),
        graph=graph.to_json(),
        plugins=json.dumps(plugins),
    )
