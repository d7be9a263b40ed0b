"""Results on a page: a run, two runs compared, several runs together, the index of a store."""

from microtome.report.page import write_report

__all__ = ["write_report"]
