"""Finds how to spend test-time compute in systems of several language-model calls."""
