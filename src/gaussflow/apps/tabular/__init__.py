"""Tables of mixed columns: their exact law, new rows drawn from it, and rows completed."""

from gaussflow.apps.tabular._synthesizer import TableSynthesizer
from gaussflow.apps.tabular._table_report import TableReport, compare_tables

__all__ = ["TableReport", "TableSynthesizer", "compare_tables"]
