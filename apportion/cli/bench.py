"""Commands that measure the framework itself: worker, end-to-end, graphs, searchers. They measure nothing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from apportion.cli.common import OK, aside

if TYPE_CHECKING:
    from apportion.cli.common import Commands


def add(commands: Commands) -> None:
    """Add the commands and their arguments."""
    bench = commands.add_parser("bench", help="measure the framework itself")
    benches = bench.add_subparsers(required=True, metavar="WHAT")

    worker = benches.add_parser("worker", help="requests per second of the worker beside other clients")
    worker.add_argument("--ways", type=int, default=64, help="requests in flight (default 64)")
    worker.add_argument("--requests", type=int, default=1000, help="requests of each case (default 1000)")
    worker.set_defaults(command=_worker)

    end_to_end = benches.add_parser("end-to-end", help="makespan of a search beside its lower bound")
    end_to_end.set_defaults(command=_end_to_end)

    graphs = benches.add_parser("graphs", help="drawing graphs, running their nodes and scheduling them, beside others")
    graphs.set_defaults(command=_graphs)

    searchers = benches.add_parser("searchers", help="searchers raced on tables of recorded outcomes")
    searchers.add_argument("tasks", metavar="TASK", nargs="+", help="task file of recorded outcomes (YAML)")
    names = "names with commas between; `+bank` after one offers it the bank (default random,tpe)"
    searchers.add_argument("--samplers", metavar="A,B", default="random,tpe", help=names)
    searchers.add_argument("--seeds", metavar="N", type=int, default=20, help="runs of each (default 20)")
    unit = "what a search pays in (default draws)"
    searchers.add_argument("--currency", choices=["draws", "cost"], default="draws", help=unit)
    searchers.add_argument("--out", metavar="FILE", help="keep the runs; those it holds are not made again")
    searchers.add_argument("--workers", metavar="W", type=int, help="processes (default: one a core)")
    searchers.add_argument("--plot", metavar="DIR", help="write a plot of each task")
    model = "model that answers for searchers by an agent, such as agenttts (default: a script does)"
    searchers.add_argument("--agent-model", metavar="NAME", help=model)
    server = "its server, with OpenAI's interface, like http://127.0.0.1:8000/v1"
    searchers.add_argument("--agent-endpoint", metavar="URL", type=_url, help=server)
    cassette = "file of its answers: those it holds are replayed, others are asked for and added"
    searchers.add_argument("--agent-cassette", metavar="FILE", help=cassette)
    searchers.set_defaults(command=_searchers)

    for command in (worker, end_to_end, graphs, searchers):
        command.add_argument("--json", action="store_true", help="print JSON")


def _worker(arguments: argparse.Namespace) -> int:
    from apportion.bench.worker import run

    return _cases(run(arguments.ways, arguments.requests), as_json=arguments.json)


def _end_to_end(arguments: argparse.Namespace) -> int:
    from apportion.bench.end_to_end import run

    return _cases(run(), as_json=arguments.json)


def _graphs(arguments: argparse.Namespace) -> int:
    from apportion.bench.graphs import run

    measured = run()
    if arguments.json:
        print(json.dumps(measured, indent=2))
        return OK
    return _cases([{"number": name, "value": value} for name, value in _flat(measured)], as_json=False)


def _searchers(arguments: argparse.Namespace) -> int:
    from apportion.bench.searchers.command import answering, run, tables

    model = answering(arguments.agent_model, arguments.agent_endpoint, arguments.agent_cassette)
    out, plots = (Path(name) if name else None for name in (arguments.out, arguments.plot))
    with aside():
        found = run(
            arguments.tasks, arguments.samplers, arguments.seeds, arguments.currency, out, arguments.workers, plots,
            model,
        )  # fmt: skip
    if arguments.json:
        print(json.dumps(found, indent=2, allow_nan=False))
        return OK
    from apportion.report.terminal import Output

    console = Output()
    for shown in tables(found, console.width):
        console.print(shown)
    return OK


def _url(text: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from apportion.spec.problems import show
    from apportion.spec.types import Url

    try:
        return str(TypeAdapter(Url).validate_python(text))
    except ValidationError:
        law = "must be an http or https URL without credentials or query, like http://127.0.0.1:8000/v1"
        got = "one that may hold a secret" if {*text} & {*"@?#"} else show(text)
        raise argparse.ArgumentTypeError(f"{law}, got {got}") from None


def _flat(numbers: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    for name, value in numbers.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def _cases(cases: list[dict[str, object]], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"cases": cases}, indent=2))
        return OK
    from rich.table import Table

    from apportion.report.terminal import Output

    table = Table(*cases[0])
    for case in cases:
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in case.values()))
    Output().print(table)
    return OK
