"""What is kept of a run: calls, results, trials and events, in one SQLite file; calls also in memory.

It knows nothing of graphs or models.
"""

from apportion.store.calls import Calls, Draw, DrawStatus
from apportion.store.database import Database
from apportion.store.memory import Memory, MemoryCalls
from apportion.store.trials import Trials

__all__ = ["Calls", "Database", "Draw", "DrawStatus", "Memory", "MemoryCalls", "Trials"]
