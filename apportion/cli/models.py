"""Commands on the catalogue of small models: list, pull. They do not know what a model is asked."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from apportion.cli.common import OK

if TYPE_CHECKING:
    from apportion.cli.common import Commands


def add(commands: Commands) -> None:
    """Add the commands and their arguments."""
    models = commands.add_parser("models", help="small models for trying things out")
    actions = models.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="names, sizes, licences").set_defaults(command=_list)
    pull = actions.add_parser("pull", help="bring models to this machine")
    pull.add_argument("names", metavar="NAME", nargs="*", help="which (default: all)")
    pull.set_defaults(command=_pull)


def _list(arguments: argparse.Namespace) -> int:
    from apportion.models import CATALOGUE, cache_folder

    print(f"{'name':<28} {'parameters':>10} {'MB':>6}  {'licence':<12} here")
    for name, entry in CATALOGUE.items():
        here = "yes" if (cache_folder() / f"{name}.gguf").exists() else "no"
        print(f"{name:<28} {entry.parameters:>10.3g} {entry.size / 1e6:>6.0f}  {entry.licence:<12} {here}")
    return OK


def _pull(arguments: argparse.Namespace) -> int:
    from apportion.models import CATALOGUE, pull

    for name in arguments.names or CATALOGUE:
        print(pull(name))
    return OK
