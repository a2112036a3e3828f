"""The race of searchers on recorded outcomes."""
