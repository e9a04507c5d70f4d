"""History: what happened, step by step or block by block, as records that go to JSON and back."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, overload


class History:
    """A list of records, one for each epoch or block: dictionaries of numbers, strings and booleans.

    Parameters
    ----------
    records
        The records to start with.

    Examples
    --------
    >>> from gaussflow import History
    >>> history = History([{"block": 1, "gain": 0.5}, {"block": 2, "gain": 0.25, "kept": False}])
    >>> len(history), history[-1]["gain"], history.column("kept")
    (2, 0.25, [None, False])
    >>> print(history)
    block  gain   kept
        1   0.5
        2  0.25  False
    """

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self.records: list[dict[str, Any]] = []
        for record in records:
            self.append(record)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record; tensors and numpy numbers of one element become plain numbers."""
        self.records.append({str(key): _plain(value) for key, value in record.items()})

    def column(self, name: str) -> list[Any]:
        """The values of one key over all records, None where a record has none."""
        return [record.get(name) for record in self.records]

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The records as strict JSON, written to ``path`` where one is given; NaN and infinities become null."""
        text = json.dumps([{k: _strict(v) for k, v in record.items()} for record in self.records], allow_nan=False)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> History:
        """Read what `to_json` wrote to a file; raises ValueError when it is not a list of records."""
        try:
            records = json.loads(Path(path).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is no history: it is not JSON [{error}].") from error
        if not (isinstance(records, list) and all(isinstance(record, dict) for record in records)):
            raise ValueError(f"{path} is no history: it wants a JSON list of objects.")
        return cls(records)

    def table(self) -> str:
        """A readable table, one line for each record, columns in the order in which they first came."""
        names = list(dict.fromkeys(name for record in self.records for name in record))
        lines = [names, *([_cell(record.get(name)) for name in names] for record in self.records)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
        return "\n".join("  ".join(map(str.rjust, line, widths)).rstrip() for line in lines)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"History({len(self)} records)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.records)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | History:
        return History(self.records[index]) if isinstance(index, slice) else self.records[index]


def _plain(value: Any) -> Any:
    """A tensor or array as plain numbers, so that a record holds no device memory and goes to JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    raise TypeError(f"History holds numbers, strings and lists of them; got {type(value).__name__}.")


def _strict(value: Any) -> Any:
    if isinstance(value, list):
        return [_strict(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
