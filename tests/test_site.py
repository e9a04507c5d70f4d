"""The tools of the site: broken links and foreign loads are found, and the tables say where their figures come from."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "docs" / "tools"))
import check_site
import results


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site of 60 pages that all link to the first."""
    for k in range(60):
        (tmp_path / f"page{k}").mkdir()
        (tmp_path / f"page{k}/index.html").write_text('<h1 id="top">page</h1><a href="../page0/#top">first</a>')
    return tmp_path


def test_a_whole_site_has_no_mistakes(site: Path) -> None:
    assert check_site.mistakes(site) == []


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ('<a href="../page99/">x</a>', "leads nowhere"),
        ('<a href="../page1/#bottom">x</a>', "names no part"),
        ('<img src="missing.png">', "leads nowhere"),
        ('<script src="https://cdn.example/x.js"></script>', "from elsewhere"),
        ('<link rel="stylesheet" href="//fonts.example/x.css">', "from elsewhere"),
    ],
)
def test_mistakes_are_found(site: Path, tag: str, message: str) -> None:
    (site / "page7/index.html").write_text(tag)
    assert [m for m in check_site.mistakes(site) if m.startswith("page7") and message in m]


def test_style_sheets_that_load_from_elsewhere_are_found(site: Path) -> None:
    (site / "site.css").write_text("@font-face { src: url('https://fonts.example/x.woff2') }")
    assert len(check_site.mistakes(site)) == 1


def test_links_to_elsewhere_are_fine(site: Path) -> None:
    (site / "page7/index.html").write_text('<a href="https://example.org/">x</a>')
    assert check_site.mistakes(site) == []


def test_results_become_tables_with_commit_and_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"table": "t", "rows": 1000, "dim": 3, "seed": 0, "seconds": 1.25, "nonfinite": 0.0, "commit": "abc"}
    row |= {"machine": "a machine", "versions": {"python": "3.11", "torch": "2.13"}}
    lines = [row | {"method": "a", "finite_nats": 1.0}, row | {"method": "b", "finite_nats": 2.0, "nonfinite": 0.5}]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, lines)))
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    text = results.with_results("before <!-- results: r.jsonl --> after")
    assert "| `a` | **1.00** (1.2 s) |" in text
    assert "| `b` | 2.00 (1.2 s), 50.0% of rows infinite |" in text
    assert "| `abc` | a machine | `a`, `b` | 1 | python 3.11, torch 2.13 |" in text
    assert text.startswith("before ")
    assert text.endswith(" after")


def test_formulas_become_mathml() -> None:
    pytest.importorskip("latex2mathml", reason="it comes with the extra docs")
    import mathml

    page = mathml.with_mathml(r'<span class="arithmatex">\(z \sim N(0, 1)\)</span>')
    assert page.startswith("<math")
    assert "&#x223C;" in page
    assert "arithmatex" not in page
    with pytest.raises(ValueError, match="without delimiters"):
        mathml.with_mathml('<span class="arithmatex">z</span>')
