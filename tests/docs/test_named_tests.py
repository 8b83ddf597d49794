"""Tests that pages name as their proof are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = {path: path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py")}
PAGES = [
    page for page in ROOT.glob("docs/**/*.md") if page.parent.name != "decisions"
]  # these are of their day
NAMED = re.compile(r"`([\w/]*test_\w+\.py)?(?:::)?(test_\w+)?`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_they_are_there(page: Path) -> None:
    for file, test in NAMED.findall(page.read_text(encoding="utf-8")):
        files = [path for path in TESTS if path.match(file or "*")]
        assert files, f"there is no {file}"
        named = re.compile(rf"def {test}\(")
        modules = test in {path.stem for path in files}
        assert not test or modules or any(named.search(TESTS[path]) for path in files), f"{file}: no {test}"
