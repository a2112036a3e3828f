"""Collaboration graphs as values: nodes, templates, the search space, costs on paper, drawing."""

from apportion.graphs.cost import ModelCard, Rates
from apportion.graphs.graph import Graph, Node
from apportion.graphs.slots import SlotStage
from apportion.graphs.space import SearchSpace
from apportion.graphs.templates import TemplateStage

__all__ = ["Graph", "ModelCard", "Node", "Rates", "SearchSpace", "SlotStage", "TemplateStage"]
