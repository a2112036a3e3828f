"""Settings of all tests: Hypothesis sets no deadlines, for they measure the machine and not the code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("apportion", deadline=None)
settings.load_profile("apportion")
