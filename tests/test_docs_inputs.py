"""The page on inputs: its blocks run as they stand, one after the other."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "inputs.md"


def test_the_page_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {}
    for code in blocks:
        exec(compile(code, str(PAGE), "exec"), names)
    off = names["sim"].Q_group - names["run"].Q_group.sel(time=names["sim"].time, method="nearest")
    assert float(abs(off).max()) < 1 / 500**0.5
    assert all(0.0 < error < 1.0 for error in names["errors"].values())
