"""The page on fluctuations: its code runs and prints what it says; its pictures can be made."""

from __future__ import annotations

from pages import run_and_compare
from test_examples import load


def test_code_of_the_page_runs_and_prints_what_it_says():
    assert run_and_compare("fluctuations.md") == 3


def test_the_pictures():
    module = load("fluctuations")
    for figure, panels in ((module.spread(4), 3), (module.escapes(4), 1)):
        assert len(figure.axes) == panels
        assert all(ax.lines for ax in figure.axes)
