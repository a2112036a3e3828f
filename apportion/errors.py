"""The exceptions of the package.

ApportionError
  RecordedError        a table of recorded outcomes is wrong, or lacks what is asked of it
  SpecError            the task file is wrong: one line per problem, `file:line: place: law, value, remedy`
  GraphError           a graph cannot run (also ValueError)
  StoreError           the run folder or the bank cannot be used: changed spec, locked, newer format, disk full
  WorkerError          one attempt at one call failed: kind, HTTP status, whether a retry can help
  EvaluatorError       an evaluator raised: its name and the example
  RoleError            an operator of a role raised: its name and what
  LimitReached         the search's own limit; ends a study, is not a failure

A message states the law, the value and the remedy, in one line.
"""

from __future__ import annotations

from typing import Literal

FailureKind = Literal[
    "rate_limited", "server", "unreachable", "connection", "timeout", "bad_response", "incomplete", "rejected"
]


class ApportionError(Exception):
    """Root of every error that this package raises on purpose."""


class RecordedError(ApportionError):
    """A table of recorded outcomes is wrong, or lacks what is asked of it."""


class SpecError(ApportionError):
    """The task file is wrong.

    Attributes:
        problems: every problem found, each one line `file:line: place: law, value, remedy`.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class GraphError(ApportionError, ValueError):
    """A graph breaks a composition rule, so it cannot be run."""


class StoreError(ApportionError):
    """The run folder or the bank cannot be opened or written."""


class EvaluatorError(ApportionError):
    """An evaluator raised on an example."""


class RoleError(ApportionError):
    """The operator of a role raised."""


class AgentError(ApportionError):
    """The agent gave no answer, or none that could be used where nothing may take its place."""


class LimitReached(ApportionError):
    """A limit of the search would be passed by the next call.

    Attributes:
        limit: name of the limit (`usd`, `calls`, `tokens`, `wall_s`, `trials`).
    """

    def __init__(self, limit: str, message: str) -> None:
        self.limit = limit
        super().__init__(message)


class WorkerError(ApportionError):
    """One attempt at one model call did not give a usable reply.

    Attributes:
        kind: what went wrong. `rate_limited` 429; `server` 5xx or an error object inside a 200; `unreachable` no
            connection could be made, so nothing was sent; `connection` reset or short body; `timeout`;
            `bad_response` the server answered with something that is not a chat completion; `incomplete` a stream
            that ended without its end marker; `rejected` any other 4xx, which a retry cannot mend.
        status: HTTP status, None when there was none.
        retry_after_s: seconds the server asked to wait, None when it did not.
        possibly_billed: whether the provider may have charged for the attempt.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.kind: FailureKind = kind
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(message)

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.kind != "rejected"

    @property
    def possibly_billed(self) -> bool:
        """Whether tokens may have been generated although no usable reply came back."""
        return self.kind in ("timeout", "connection", "bad_response", "incomplete")
