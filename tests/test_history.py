"""History: records to JSON and back."""

import math
from pathlib import Path

import pytest
import torch

from gaussflow import History


def test_history_to_json_and_back(tmp_path: Path) -> None:
    history = History([{"a": torch.tensor(1.5), "b": math.nan}])
    history.append({"a": 2, "c": [1, 2.5], "d": None, "e": "x", "f": True})
    text = history.to_json(tmp_path / "h.json")
    assert "NaN" not in text
    again = History.from_json(tmp_path / "h.json")
    assert again == history
    assert again[0] == {"a": 1.5, "b": None}
    assert again.column("c") == [None, [1, 2.5]]
    assert isinstance(again[:1], History)
    assert [len(again), len(again[:1]), len(list(again))] == [2, 1, 2]
    assert str(history).splitlines()[0].split() == ["a", "b", "c", "d", "e", "f"]
    assert str(History()) == ""
    with pytest.raises(TypeError, match="History holds"):
        history.append({"x": object()})
    for wrong in ("{", "[1]", "{}", "[" * 10**5):
        (tmp_path / "h.json").write_text(wrong)
        with pytest.raises(ValueError, match="is no history"):
            History.from_json(tmp_path / "h.json")
    with pytest.raises(FileNotFoundError):
        History.from_json(tmp_path / "none")
