"""The closed forms on the page give the numbers beside them."""

import re
from pathlib import Path

import numpy as np
import xarray as xr

import odekit as ok

PAGE = Path(__file__).parents[1] / "docs" / "linear-networks.md"


def test_examples_of_closed_forms():
    text = PAGE.read_text()
    section = text[text.index("## Closed forms") : text.index("## Who learns which mode")]
    names, compared = {"np": np, "xr": xr, "ok": ok}, 0
    for line in "".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL)).splitlines():
        code, _, comment = line.partition("  #")
        if re.match(r"\w+(, \w+)* = ", code):
            exec(code, names)
            continue
        found = np.ravel(eval(code, names)) if comment[1:2] in "-0123456789" else ()
        said = re.match(r"[-\d., inf]*", comment.strip())
        if len(found) and said:
            known = [float(x) for x in said[0].split(",")[: len(found)]]
            np.testing.assert_allclose(found, known, rtol=6e-3, err_msg=line)
            compared += 1
    assert compared >= 10
