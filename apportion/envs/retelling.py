"""What later prompts read of a stage where that is not its answer: items that it picked, or how its program ran.

It does not know prompts or graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from apportion.envs import programs
from apportion.envs.sandbox import Sandbox
from apportion.template import as_text

Retelling = Callable[[str, Mapping[str, object], Sandbox], Coroutine[Any, Any, str]]
"""A stage's answer, the example's fields and a sandbox to what later prompts read."""


def picked(field: str) -> Retelling:
    """The items of a field, of a text its lines, whose numbers from 1 the answer lists, one a line.

    The answer is one that the parser `ids` gave; numbers without an item are left out.
    """

    async def retell(answer: str, fields: Mapping[str, object], sandbox: Sandbox) -> str:
        value = fields[field]
        items = value if isinstance(value, list) else as_text(value).splitlines()
        return "\n".join(items[n - 1] for n in map(int, answer.split(", ")) if 0 < n <= len(items))

    return retell


async def run(answer: str, fields: Mapping[str, object], sandbox: Sandbox) -> str:
    """The program, and below it how it ended when it was run and the last of what it printed.

    Raises:
        SandboxError: no sandbox can be had.
    """
    done = await programs.run(sandbox, answer)
    end = "It was run and ended without an error." if done.fault is None else f"It was run and failed: {done.fault}"
    printed = done.printed.strip()[-programs.SHOWN_CHARACTERS :] or "(nothing)"
    return f"```python\n{answer}\n```\n{end}\nIt printed:\n{printed}"
