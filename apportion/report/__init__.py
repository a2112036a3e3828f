"""What a person looks at: the summary of a run, its terminal views and its plots."""

from apportion.report.summary import Summary, summarise

__all__ = ["Summary", "summarise"]
