"""Recorded outcomes of models, and what a choice among draws of them is worth, without asking any model again."""
