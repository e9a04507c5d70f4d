"""Rules between columns in a file: JSON that people can read, shorten and write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from gaussflow.apps.tabular.rules._rules import Constraint, from_json, to_json
from gaussflow.apps.tabular.rules._suggest import Suggestion


def write_rules(path: str | Path, suggestions: Sequence[Suggestion]) -> None:
    """Write rules as a list in JSON, each with what it says in words."""
    told = [{**to_json(each.rule), "says": str(each)} for each in suggestions]
    Path(path).write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_rules(path: str | Path) -> list[Constraint]:
    """The rules of a file; raises ValueError that names the file and what is wrong with it."""
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} holds no JSON: {error}.") from error
    if not isinstance(told, list) or not all(isinstance(each, dict) for each in told):
        raise ValueError(f"{path} holds no list of rules, as --suggest writes it.")
    rules = []
    for number, each in enumerate(told, 1):
        try:
            rules.append(from_json({key: value for key, value in each.items() if key != "says"}))
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"{path}: rule {number} cannot be read: {error}.") from error
    return rules
