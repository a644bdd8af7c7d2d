"""Pages of the documentation whose code prints what the page says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(python)?\n(.*?)^```", re.M | re.S)


def blocks(page):
    """Language and text of every block."""
    return BLOCK.findall((DOCS / page).read_text())


def run_and_compare(page, sure=str.split):
    """Run a page's code in one go; how many outputs were compared, by what is `sure` in them."""
    names: dict[str, object] = {}
    printed, compared = "", 0
    for language, text in blocks(page):
        if not language:
            if not text.startswith("odekit "):
                assert sure(printed) == sure(text)
                compared += 1
            continue
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(text, f"docs/{page}", "exec"), names)
        printed = said.getvalue()
    return compared
