"""What a person asks of a search under way: notes to the agent and, where allocations are chosen, pinned choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import starmap
from typing import Any

from apportion.agent.reading import plain
from apportion.errors import GraphError, StoreError

MOST_WORDS = 2_000  # characters of a note
MOST_NOTES = 20  # that stand at once: every later question tells them all
KEYS = ("model", "samples", "how")


@dataclass(frozen=True)
class Nudge:
    """What stands from some trial on, in place of the nudge before.

    Attributes:
        after: trials of the space that were told when it was made.
        pins: `STAGE.model`, `STAGE.samples` or `STAGE.how` to the one value that may be chosen.
        notes: guidelines in the person's own words, for all later rounds.
    """

    after: int = 0
    pins: Mapping[str, str | int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Nudge:
        """The nudge that `to_dict` wrote.

        Raises:
            StoreError: it is none, as where somebody has edited it.
        """
        law = "a nudge must be {after, pins, notes} as `apportion nudge` wrote it"
        if not isinstance(data, Mapping) or data.keys() != {"after", "pins", "notes"}:
            got = list(data) if isinstance(data, Mapping) else data
            raise StoreError(f"{law}, got {got!r:.80}; bring the run's store back from a copy.")
        after, pins, notes = data["after"], data["pins"], data["notes"]
        if not _count(after, 0):
            raise StoreError(f"{law}, but its `after` is {after!r:.60}; bring the run's store back from a copy.")
        if not isinstance(pins, dict) or not all(starmap(_kept, pins.items())):
            raise StoreError(f"{law}, but its `pins` are {pins!r:.80}; bring the run's store back from a copy.")
        if not isinstance(notes, list | tuple) or not all(isinstance(note, str) and note for note in notes):
            raise StoreError(f"{law}, but its `notes` are {notes!r:.80}; bring the run's store back from a copy.")
        return cls(after, pins, tuple(notes))


def standing(nudges: Sequence[Nudge], told: int) -> Nudge:
    """What stands when so many trials of the space are told: the last nudge that was made by then."""
    return next((nudge for nudge in reversed(nudges) if nudge.after <= told), Nudge())


def noted(before: Nudge, after: int, notes: Sequence[str] = (), drop: Sequence[int] = ()) -> Nudge:
    """The nudge after another, with notes that are taken back and made now.

    Args:
        notes: further ones.
        drop: numbers of notes that are taken back, from 1.

    Raises:
        GraphError: there is nothing to take back, a note is empty or too long, or there are too many.
    """
    kept = _without(before.notes, drop)
    for note in map(plain, notes):
        if not 1 <= len(note) <= MOST_WORDS:
            raise GraphError(
                f"a note must have 1 to {MOST_WORDS} characters that can be shown, got {len(note)}; mend it."
            )
    if notes and len(kept) + len(notes) > MOST_NOTES:
        raise GraphError(
            f"at most {MOST_NOTES} notes may stand at once, as all are told each time, got {len(kept) + len(notes)}; "
            "take some back with --drop-note, or say it in fewer."
        )
    return replace(before, after=after, notes=(*kept, *map(plain, notes)))


def _count(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _kept(name: object, value: object) -> bool:
    """Whether a pin is one as `_pin` gives it."""
    key = str(name).rpartition(".")[2]
    return isinstance(name, str) and key in KEYS and (_count(value, 1) if key == "samples" else isinstance(value, str))


def _without(notes: Sequence[str], numbers: Sequence[int]) -> tuple[str, ...]:
    """The notes that are not taken back, by numbers from 1.

    Raises:
        GraphError: there is none of a number, or it is given twice.
    """
    gone = set()
    for own in numbers:
        if not 1 <= own <= len(notes) or own in gone:
            of = f"from 1 to {len(notes)}, each once" if notes else "there is none"
            raise GraphError(f"a note that is taken back must be one that stands ({of}), got {own}; see --list.")
        gone.add(own)
    return tuple(note for number, note in enumerate(notes, 1) if number not in gone)
