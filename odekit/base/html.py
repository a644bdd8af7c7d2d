"""Words as a table for a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from odekit.base.errors import printable


def as_table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A titled table of two columns; all text is escaped.

    Examples
    --------
    >>> as_table("Phase", []) + as_text("a < b")
    '<table><caption>Phase</caption></table><pre>a &lt; b</pre>'
    """
    body = "".join(
        f"<tr><th>{_cell(name)}</th><td style='text-align:left'>{_cell(said)}</td></tr>"
        for name, said in rows
    )
    return f"<table><caption>{_cell(title)}</caption>{body}</table>"


def _cell(text: str) -> str:
    return escape(printable(text)).replace("\n", "<br>")


def as_text(text: str) -> str:
    """Lines of text as they stand, in letters of equal width."""
    return f"<pre>{escape(printable(text))}</pre>"
