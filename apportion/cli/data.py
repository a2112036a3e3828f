"""Commands that make data: reasoning-gym. They do not know how a row is made."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from apportion.cli.common import OK

if TYPE_CHECKING:
    from apportion.cli.common import Commands


def add(commands: Commands) -> None:
    """Add the commands and their arguments."""
    data = commands.add_parser("data", help="data that is made rather than brought")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    gym = actions.add_parser("reasoning-gym", help="tasks by reasoning-gym, the same for the same seed")
    gym.add_argument("name", metavar="NAME", nargs="?", help="of the data set (default: list their names)")
    gym.add_argument("--size", metavar="N", type=_count, default=100, help="rows (default 100)")
    gym.add_argument("--seed", metavar="S", type=_seed, default=0, help="of the rows (default 0)")
    gym.add_argument("--out", metavar="FILE", type=Path, help="JSONL file to write (default: NAME-S.jsonl)")
    gym.set_defaults(command=_reasoning_gym)


def _reasoning_gym(arguments: argparse.Namespace) -> int:
    import asyncio

    from apportion.errors import ApportionError
    from apportion.evaluators.judged import names

    if arguments.name is None:
        for name in asyncio.run(names()):
            print(name)
        return OK
    out = arguments.out or Path(f"{arguments.name}-{arguments.seed}.jsonl")
    lines = asyncio.run(_lines(arguments.name, arguments.size, arguments.seed))
    try:
        out.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        law = f"the rows must be written, but {out} cannot be ({error.strerror or error})"
        raise ApportionError(f"{law}; name another file.") from None
    print(f"{out}: {len(lines)} row{'s' * (len(lines) > 1)}")
    return OK


async def _lines(name: str, size: int, seed: int) -> list[str]:
    import json

    from apportion.evaluators.judged import rows

    return [json.dumps(row) + "\n" async for row in rows(name, size, seed)]


def _count(text: str) -> int:
    """A number of rows."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, but is {number}")
    return number


def _seed(text: str) -> int:
    """A seed that every data set takes."""
    if not 0 <= (number := int(text)) < 2**31:
        raise argparse.ArgumentTypeError(f"must be from 0 to 2^31 - 1, but is {number}")
    return number
