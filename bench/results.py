"""What benchmarks found, kept: bench/results/NAME.json, and the tables of README between marks."""

from __future__ import annotations

import json
import math
import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
PACKAGES = ("odekit", "numpy", "numba", "scipy")


def processor():
    """Name of this machine's processor."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return named[1] if named else platform.processor() or platform.machine()


def machine():
    """When and where numbers were taken."""
    several = hasattr(os, "sched_getaffinity")
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if several else os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def plain(value):
    """As JSON has it: no arrays, nulls for what is no number."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def keep(name, found):
    """Write what a benchmark found, in one step."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps({**machine(), "found": plain(found)}, indent=1) + "\n")
    part.replace(path)


def kept(name):
    """The same, read again."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def said(name, summary):
    """A table of README, and the machine below it."""
    of = kept(name)
    cores = f"{of['cores']} cores" if of["cores"] != 1 else "one core"
    return f"{summary(of['found'])}\n\n{of['processor']}, {cores}, {of['date']}."


def into_readme(name, text):
    """Put a text between its marks, if README has them."""
    begin, end = f"<!-- bench {name} -->\n", f"\n<!-- end of {name} -->"
    before, mark, rest = README.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if mark and closed:
        README.write_text(before + begin + text + end + after)
