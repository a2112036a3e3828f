"""What graphs cost the framework: drawing them, running their nodes, and keeping servers busy with them."""

from __future__ import annotations

from apportion.bench import executor, makespan, sampling


def run() -> dict[str, object]:
    """Measure all three; speeds and times are medians of repeats, the makespan is one run."""
    return {"sampling": sampling.run(), "executor": executor.run(), "makespan": makespan.run()}
