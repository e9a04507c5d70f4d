"""All methods by name, and which packages they want."""

from __future__ import annotations

import importlib.util

from benchmarks.methods import BASELINES, Method
from benchmarks.ours import OURS
from benchmarks.rivals import PACKAGES, RIVALS

METHODS: dict[str, Method] = {**OURS, **BASELINES, **RIVALS}


def missing(method: str) -> str | None:
    """The module that a method wants and that cannot be found, or None."""
    module = PACKAGES.get(method)
    if module is None:
        return None
    try:
        return None if importlib.util.find_spec(module) else module
    except ModuleNotFoundError:
        return module
