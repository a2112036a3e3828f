"""What is kept on disk: one SQLite file with calls, results, trials and events. Knows nothing of graphs or models."""

from apportion.store.calls import Calls, Draw, DrawStatus
from apportion.store.database import Database
from apportion.store.trials import Trials

__all__ = ["Calls", "Database", "Draw", "DrawStatus", "Trials"]
