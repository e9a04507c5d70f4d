"""Tables of mixed columns: their exact law, new rows drawn from it, and rows completed."""

from gaussflow.apps.tabular._synthesizer import TableSynthesizer
from gaussflow.apps.tabular.report._table_report import TableReport, compare_tables
from gaussflow.apps.tabular.rules._rules import FixedCombinations, FunctionOf, Inequality, NotNullIf, NullIf, Range, Sum
from gaussflow.apps.tabular.rules._suggest import Suggestion, suggest_constraints

__all__ = [
    "FixedCombinations",
    "FunctionOf",
    "Inequality",
    "NotNullIf",
    "NullIf",
    "Range",
    "Suggestion",
    "Sum",
    "TableReport",
    "TableSynthesizer",
    "compare_tables",
    "suggest_constraints",
]
