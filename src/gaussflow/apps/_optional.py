"""Packages that only some applications need, imported when they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def need(module: str, purpose: str) -> Any:
    """Import a module of the extra ``tabular``; raises ImportError that says how to get it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{purpose} needs {module.partition('.')[0]}, which is not installed: pip install 'gaussflow[tabular]'."
        ) from error
