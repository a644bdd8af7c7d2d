"""The page on testing one's own equations: its code runs, and prints what it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from mutants import MUTANTS
from test_testing import STRATEGIES

PAGE = (Path(__file__).parents[1] / "docs" / "testing.md").read_text()
BLOCK = re.compile(r"^```(python)?\n(.*?)^```", re.M | re.S)


def test_code_of_the_page_runs_and_prints_what_it_says():
    names: dict[str, object] = {}
    printed = ""
    for language, text in BLOCK.findall(PAGE):
        if not language:
            assert printed.rstrip() == text.rstrip()
            continue
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(text, "docs/testing.md", "exec"), names)
        printed = said.getvalue()
    assert "online" in names


def test_tables_of_the_page_are_complete():
    assert all(f"| {mutant} |" in PAGE for mutant in MUTANTS)
    assert all(f"`{name}" in PAGE for name in STRATEGIES)
