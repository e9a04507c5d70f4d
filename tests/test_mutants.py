"""The planted bugs of ``mutants.py`` can be planted: what each replaces stands in the source."""

import pytest

from mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}: {mutant.old.strip()[:40]}")
def test_the_text_that_a_bug_replaces_is_there(mutant: Mutant):
    text = (ROOT / "src" / "gaussflow" / mutant.file).read_text()
    assert text.count(mutant.old) == 1
    assert mutant.old != mutant.new
