"""What the documents show runs as it stands there, and what they point to exists."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
RUN = re.compile(r"\./run (\w+)")


def name(document):
    return str(document.relative_to(ROOT))


def commands(block):
    """The words of each `gaussflow ...` line of a shell block; the demo has a test of its own."""
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["gaussflow"] and words[1] != "demo":
            yield words


def script(document):
    """The Python blocks of a document and its commands, as one script; the commands run in the same process."""
    lines = []
    for language, block in BLOCK.findall(document.read_text(encoding="utf-8")):
        if language == "python":
            lines.append(block)
        elif language == "bash":
            lines += [f"from gaussflow.cli import main; assert main({words[1:]!r}) == 0" for words in commands(block)]
    return "\n".join(lines)


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if script(d)], ids=name)
def test_examples_run_in_the_order_in_which_they_stand(document, tmp_path):
    path = tmp_path / "examples.py"
    path.write_text(script(document), encoding="utf-8")
    done = subprocess.run([sys.executable, path], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")
    broken = [link for link in LINK.findall(text) if "://" not in link and not (document.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_words_of_run_exist(document):
    usage = subprocess.run(["sh", ROOT / "run", "help"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"^  (\w+)  ", usage, re.MULTILINE))
    assert set(RUN.findall(document.read_text(encoding="utf-8"))) <= known


def test_the_readme_has_examples_of_both_kinds():
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert sum(language == "python" for language, _ in blocks) >= 2
    assert [words[1] for _, block in blocks for words in commands(block)] == ["fit", "fit", "score", "sample", "synth"]


def test_run_refuses_words_it_does_not_know():
    done = subprocess.run(["sh", ROOT / "run", "nonsense"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "no such word: nonsense" in done.stderr
