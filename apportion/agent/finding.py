"""What was seen of an insight on the task at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """What trials or a probe say of an insight.

    Attributes:
        insight: its number; None of what the agent expected.
        held: None where nothing can be said.
        text: with numbers.
        means: of models that were compared, by name, of insight 1.
    """

    insight: int | None
    held: bool | None
    text: str
    means: Mapping[str, float] = field(default_factory=dict)
