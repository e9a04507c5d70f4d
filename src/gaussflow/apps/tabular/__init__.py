"""Tables of mixed columns: their exact law, new rows drawn from it, and rows completed."""

from gaussflow.apps.tabular._synthesizer import TableSynthesizer

__all__ = ["TableSynthesizer"]
