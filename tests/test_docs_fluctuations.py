"""The page on fluctuations: its code runs and prints what it says; its pictures can be made."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from test_examples import load

PAGE = (Path(__file__).parents[1] / "docs" / "fluctuations.md").read_text()
BLOCK = re.compile(r"^```(python)?\n(.*?)^```", re.M | re.S)


def test_code_of_the_page_runs_and_prints_what_it_says():
    names: dict[str, object] = {}
    printed, compared = "", 0
    for language, text in BLOCK.findall(PAGE):
        if not language:
            assert printed.split() == text.split()
            compared += 1
            continue
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(text, "docs/fluctuations.md", "exec"), names)
        printed = said.getvalue()
    assert compared == 3


def test_the_pictures():
    module = load("fluctuations")
    for figure, panels in ((module.spread(4), 3), (module.escapes(4), 1)):
        assert len(figure.axes) == panels
        assert all(ax.lines for ax in figure.axes)
