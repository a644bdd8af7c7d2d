"""The page on gradients: its code runs and prints what it says."""

from __future__ import annotations

from pages import run_and_compare


def test_code_of_the_page_runs_and_prints_what_it_says():
    assert run_and_compare("gradients.md") == 8
