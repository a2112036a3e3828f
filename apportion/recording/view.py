"""How far a sampling is: one line, redrawn in a terminal; a line an example elsewhere."""

from __future__ import annotations

import time

from rich.console import Console

from apportion.build import Search
from apportion.report.terminal import number


class SamplingView:
    """The view of a running sampling.

    Attributes:
        failed: draws that were not had so far.
    """

    def __init__(self, search: Search, console: Console) -> None:
        self._search = search
        self._console = console
        self.failed = 0
        self._priced = all(model.price is not None for model in search.spec.models.values())
        self._started = time.monotonic()
        self._status = console.status("starting")

    def __enter__(self) -> SamplingView:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._status.stop()

    def on_example(self, done: int, total: int, failed: int) -> None:
        """Show that another example is done."""
        self.failed = failed
        spent, elapsed_s = self._search.allowance.spent, self._search.allowance.elapsed_s
        eta_s = (time.monotonic() - self._started) / done * (total - done)
        usd = f"  {number(spent.usd)} USD" if self._priced else ""
        line = (
            f"{done:,}/{total:,} examples  {spent.calls:,} calls in all, {failed:,} failed  {spent.tokens:,} tokens"
            f"{usd}  {elapsed_s:.0f} s  ETA {eta_s:.0f} s"
        )
        if self._console.is_terminal:
            self._status.update(line)
        else:
            self._console.print(line, soft_wrap=True, markup=False, highlight=False)
