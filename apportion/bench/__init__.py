"""Measuring the framework itself against a local mock server in another process."""
