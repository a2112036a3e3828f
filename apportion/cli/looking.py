"""Commands that look at a task file or a run: validate, show, schema, export (take it elsewhere). They buy nothing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from apportion.cli.common import OK, aside, graphs, load, opened, shown, spec_arguments
from apportion.errors import ApportionError

if TYPE_CHECKING:
    from apportion.cli.common import Commands


def add(commands: Commands) -> None:
    """Add the commands and their arguments."""
    validate = commands.add_parser("validate", help="say everything that is wrong with a task file")
    spec_arguments(validate)
    validate.set_defaults(command=_validate)

    show = commands.add_parser("show", help="show a run: front, best graph, test, ledger")
    show.add_argument("run", metavar="RUN", help="run folder")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(command=_show)

    schema = commands.add_parser("schema", help="print the JSON schema of task files, for editors")
    schema.set_defaults(command=_schema)

    export = commands.add_parser("export", help="take a run elsewhere: its best graph as a file, or all its trials")
    export.add_argument("run", metavar="RUN", help="run folder")
    forms = "json, mermaid; python and langgraph, which answer by themselves; optuna, all trials"
    export.add_argument("--to", choices=["json", "langgraph", "mermaid", "optuna", "python"], required=True, help=forms)
    export.add_argument("--trial", metavar="N", type=int, help="another graph than the best")
    export.add_argument("target", metavar="TARGET", help="new file; for optuna a storage such as sqlite:///study.db")
    export.set_defaults(command=_export)


def _validate(arguments: argparse.Namespace) -> int:
    loaded = load(arguments)
    from apportion.build import check_warm_start, space_of

    with aside():
        check_warm_start(loaded)
    space = space_of(loaded.spec)
    if loaded.spec.search.sampler == "grid":
        space.point(0)  # raises where the space cannot be listed, as the run would
    sizes = {name: len(getattr(loaded.rows, name)) for name in ("search", "validation", "test")}
    print(f"{arguments.spec}: valid; {graphs(space)}; examples {json.dumps(sizes)}")
    return OK


def _show(arguments: argparse.Namespace) -> int:
    result = opened(Path(arguments.run))
    if arguments.json:
        print(json.dumps(result.to_dict(), indent=2, allow_nan=False))
        return OK
    from apportion.report.terminal import Output

    shown(result, Output())
    return OK


def _schema(arguments: argparse.Namespace) -> int:
    from apportion.spec import json_schema

    print(json.dumps(json_schema(), indent=2))
    return OK


def _export(arguments: argparse.Namespace) -> int:
    from apportion.export import public, to_file, to_optuna
    from apportion.run import RunFolder

    if arguments.to == "optuna" and arguments.trial is not None:
        raise ApportionError("`--trial` names one graph, but a study takes all trials; leave it out.")
    with aside():
        folder = RunFolder.view(Path(arguments.run))
    try:
        if arguments.to == "optuna":
            print(f"{to_optuna(folder, arguments.target)} trials written to {public(arguments.target)}")
        else:
            trial = to_file(folder, arguments.to, Path(arguments.target), arguments.trial)
            print(f"trial {trial.number} written to {arguments.target}")
    finally:
        folder.close()
    return OK
