"""The notebooks of the documentation run as they stand, and show what they say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
NUMBER = re.compile(r"(?<![\w.])-?\d+\.?\d*(?:e[+-]?\d+)?(?![\w.])")
BOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_holds(path, tmp_path):
    book = nbformat.read(path, as_version=4)
    before = _shown(book)
    nbclient.NotebookClient(
        book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    words, numbers = _shown(book)
    assert words == before[0]
    # Errors near 1e-9 are known to the absolute tolerance, 1e-11.
    np.testing.assert_allclose(numbers, before[1], rtol=1e-4, atol=1e-10)


def _shown(book):
    """Words and numbers of the texts that the cells show, without counts of work."""
    shown = [o.get("data", {}) for cell in book.cells for o in cell.get("outputs", [])]
    text = "\n".join(d["text/plain"].split("Status")[0] for d in shown if "text/plain" in d)
    return re.sub(" +", " ", NUMBER.sub("#", text)), [float(x) for x in NUMBER.findall(text)]
