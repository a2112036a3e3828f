"""Boxes and arrows as a value, which draws itself as SVG, Mermaid or PNG.

It does not know what is drawn, nor how (`rendering`), nor where things stand (`layout`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

INK = "#555555"


@dataclass(frozen=True, slots=True)
class Box:
    """A box with a label.

    Attributes:
        id: unique in the picture.
        lines: of the label, the first in bold; each is shortened to the width of the box.
        group: of boxes that stand together, in columns of their own.
        fill: a colour, `#RRGGBB` like the others.
        stroke: of the frame.
        dashed: whether the frame is.
        title: what is said when it is pointed at; nothing of it is shortened.
        share: length of the bar below the label, from 0 to 1; None for no bar.
    """

    id: str
    lines: tuple[str, ...]
    group: str = ""
    fill: str = "#FFFFFF"
    stroke: str = INK
    dashed: bool = False
    title: str = ""
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Arrow:
    """An arrow from a box to another.

    Attributes:
        source: id of a box, as is `target`.
        width: in pixels.
        kind: arrows from one box may share a part of their way, if they are of one kind.
    """

    source: str
    target: str
    width: float = 1.2
    colour: str = INK
    dashed: bool = False
    title: str = ""
    kind: str = ""

    @property
    def plain(self) -> bool:
        """Whether it is drawn like most."""
        return (self.width, self.colour, self.dashed) == (1.2, INK, False)


@dataclass(frozen=True)
class Picture:
    """What is to be seen.

    Attributes:
        boxes: those of a group in an order that arrows follow as far as they can.
        arrows: later ones are drawn over earlier ones.
        subtitle: a line below.
        legend: kinds of boxes, each named by its first line.
    """

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    subtitle: str = ""
    legend: tuple[Box, ...] = ()

    def svg(self) -> str:
        """A self-contained SVG element."""
        from apportion.graphs.drawing.rendering import svg

        return svg(self)

    def mermaid(self) -> str:
        """Mermaid flowchart source, groups as subgraphs; without subtitle and legend."""
        from apportion.graphs.drawing.rendering import mermaid

        return mermaid(self)

    def png(self, path: Path | str) -> Path:
        """Write a PNG; needs the extra `viz`.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        from apportion.graphs.drawing.rendering import png

        return png(self, Path(path))

    def _repr_svg_(self) -> str:
        return self.svg()


def mixed(colour: str, share: float) -> str:
    """So much of a colour in white."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 + share * (part - 255)):02X}" for part in parts)
