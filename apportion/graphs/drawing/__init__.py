"""Pictures of graphs, of the difference of two, and of a distribution. Nothing is sent anywhere to draw one."""

from apportion.graphs.drawing.difference import difference, difference_text
from apportion.graphs.drawing.distribution import of_distribution
from apportion.graphs.drawing.graphs import of_graph, to_mermaid, to_png, to_svg, to_text
from apportion.graphs.drawing.picture import Picture

__all__ = [
    "Picture",
    "difference",
    "difference_text",
    "of_distribution",
    "of_graph",
    "to_mermaid",
    "to_png",
    "to_svg",
    "to_text",
]
