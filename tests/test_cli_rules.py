"""`gaussflow synth --suggest` and `--constraints`: rules written, said, shortened by hand, and kept."""

import json
import re

import pytest

from gaussflow.cli import main
from test_cli import fails

pandas = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from visits import broken, visits  # noqa: E402


@pytest.fixture
def at(tmp_path, monkeypatch):
    """Work in a folder with a table of visits."""
    monkeypatch.chdir(tmp_path)
    visits(300).drop(columns="group").to_csv("table.csv", index=False)
    return tmp_path


def test_rules_are_written_said_and_kept(at, capsys):
    assert main(["synth", "table.csv", "--out", "free.csv", "--suggest", "rules.json"]) == 0
    said = capsys.readouterr().err
    assert "rule: drugs + care = bill: holds in all 300 rows" in said
    assert "rules written to rules.json; take out what is not meant" in said
    told = json.loads((at / "rules.json").read_text())
    assert {"rule": "Sum", "parts": {"tuple": ["drugs", "care"]}, "total": "bill"}.items() <= told[0].items()
    told.append({"rule": "Range", "column": "admitted", "low": "2020-01-01", "high": None})
    (at / "rules.json").write_text(json.dumps(told))
    assert main(["synth", "table.csv", "--out", "kept.csv", "--rows", "800", "--constraints", "rules.json"]) == 0
    kept = pandas.read_csv("kept.csv", parse_dates=["admitted", "discharged"])
    counts = broken(kept.assign(group="adult"))
    assert not any(count for name, count in counts.items() if name not in ("groups", "pressures", "age"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no JSON", "rules.json holds no JSON"),
        ('{"rule": "Sum"}', "rules.json holds no list of rules"),
        ('[{"rule": "Hope"}]', "rule 1 cannot be read: 'Hope' is no rule between columns; known are Inequality"),
        ('[{"rule": "Inequality", "low": "drugs"}]', "rule 1 cannot be read: .*'high'"),
        ('[{"rule": "Inequality", "low": "bill", "high": "drugs"}]', "300 of 300 rows break the rule 'bill is at most"),
    ],
)
def test_rules_that_cannot_be_get_one_line(at, capsys, text, said):
    (at / "rules.json").write_text(text)
    assert re.search(said, fails(capsys, "synth", "table.csv", "--out", "new.csv", "--constraints", "rules.json"))
    assert not (at / "new.csv").exists()
