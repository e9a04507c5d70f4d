"""Nested dataclasses of arrays as JSON and three flat tensors, and back; nothing in a file is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

DTYPES = {"floats": np.dtype(np.float64), "integers": np.dtype(np.int64), "booleans": np.dtype(np.bool_)}
STORED = DTYPES | {"booleans": np.dtype(np.uint8)}  # every bit of which counts in the checksum


class Packer:
    """Collects the arrays of an object that becomes JSON."""

    def __init__(self) -> None:
        self._parts: dict[str, list[np.ndarray]] = {name: [] for name in DTYPES}
        self._sizes = dict.fromkeys(DTYPES, 0)

    def json(self, thing: Any) -> Any:
        """JSON of dataclasses, arrays, lists and plain values."""
        if is_dataclass(thing):
            inside = {field.name: self.json(getattr(thing, field.name)) for field in fields(thing)}
            return {"class": type(thing).__name__, **inside}
        if isinstance(thing, np.ndarray):
            name = next(name for name, dtype in DTYPES.items() if dtype == thing.dtype)
            start = self._sizes[name]
            self._parts[name].append(thing.ravel())
            self._sizes[name] += thing.size
            return {"array": name, "start": start, "shape": list(thing.shape)}
        if isinstance(thing, np.generic):  # names of columns may be numpy's
            thing = thing.item()
        if isinstance(thing, float) and not np.isfinite(thing):
            return {"number": repr(float(thing))}
        return [self.json(each) for each in thing] if isinstance(thing, list | tuple) else thing

    def tensors(self) -> dict[str, Tensor]:
        """The numbers, by kind."""
        return {
            name: torch.from_numpy(np.concatenate([np.empty(0, STORED[name]), *parts]).astype(STORED[name]))
            for name, parts in self._parts.items()
        }


def unpacked(packed: Any, tensors: Mapping[str, Tensor], classes: Mapping[str, type]) -> Any:
    """The object that `Packer` wrote; raises ValueError for what it did not write."""
    if isinstance(packed, list):
        return [unpacked(each, tensors, classes) for each in packed]
    if not isinstance(packed, dict):
        return packed
    if "number" in packed:
        return float(packed["number"])
    if "array" in packed:
        name, start, shape = packed["array"], packed["start"], packed["shape"]
        size = int(np.prod(shape, dtype=object)) if shape else 1
        if name not in tensors or start < 0 or min(shape, default=0) < 0 or start + size > len(tensors[name]):
            raise ValueError("an array lies outside of the numbers held")
        return tensors[name].numpy()[start : start + size].astype(DTYPES[name]).reshape(shape)
    kind = classes.get(packed.get("class", ""))
    if kind is None:
        raise ValueError(f"it names {str(packed.get('class'))[:40]!r}, which is no part of a table's law")
    told = set(packed) - {"class"}
    wanted = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    if not wanted <= told <= {f.name for f in fields(kind)}:
        raise ValueError(f"{kind.__name__} has other parts than this release knows")
    return kind(**{name: unpacked(packed[name], tensors, classes) for name in packed if name != "class"})
