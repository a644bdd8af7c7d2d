"""Pages of the site that follow from the code: the reference of every public name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import odekit as ok

MODULES = ("linear", "teachers", "inputs", "measures", "plot", "testing")
GROUPS = {
    "The problem": (
        "Problem OrderParameters Task Phase Schedule Consolidation Activation task_family polar "
        "even_angles imbalance realise LinearProblem DeclaredProblem system"
    ),
    "What is done with it": (
        "solve simulate descend compare equations fixed_point plateaus continuation fluctuations "
        "load_scenario summary gather"
    ),
    "Gradients": "sensitivity optimise fit",
    "Results": "save open Checkpoint Status Outcome Convergence BranchEnd SpecialPoint",
    "Errors and warnings": (
        "OdekitError ProblemError ScenarioError StoreError SweepError CheckpointError "
        "CheckpointWarning NotCompletedWarning"
    ),
}
"""Names of `odekit` under the heading where they are looked for; the others come last."""
HEAD = """API reference
=============

Every public name, with shapes, units, errors, the source of its equation and an example.
"""


def reference() -> str:
    """The page that lists every public name, in reStructuredText."""
    left = [n for n in ok.__all__ if n not in MODULES and not n.startswith("__")]
    parts = [HEAD]
    for heading, names in GROUPS.items():
        here = [name for name in names.split() if name in left]
        left = [name for name in left if name not in here]
        parts.append(_section(heading, [f"odekit.{name}" for name in here]))
    parts.append(_section("Others", [f"odekit.{name}" for name in left]))
    for module in MODULES:
        names = [name for name in getattr(ok, module).__all__ if name not in ok.__all__]
        parts.append(_section(f"odekit.{module}", [f"odekit.{module}.{name}" for name in names]))
    of_results = ["odekit.accessor.Accessor", "odekit.accessor.ArrayAccessor"]
    parts.append(_section("Of every result", of_results))
    return "\n".join(filter(None, parts))


def _section(heading: str, names: list[str]) -> str:
    if not names:
        return ""
    listed = "\n".join(f"   {name}" for name in names)
    rule = "-" * len(heading)
    return f"{heading}\n{rule}\n\n.. autosummary::\n   :toctree: generated\n\n{listed}\n"


def write(app: Any) -> None:
    """Write the page before the pages of its names are made."""
    page = Path(app.srcdir) / "reference" / "api.rst"
    page.parent.mkdir(exist_ok=True)
    text = reference()
    if not page.exists() or page.read_text() != text:
        page.write_text(text)


def bars(_app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Keep the bars of an absolute value, which reStructuredText takes for a substitution."""
    in_code = False
    for i, line in enumerate(lines):
        in_code = line.lstrip().startswith(">>>") or (in_code and bool(line.strip()))
        if not in_code:
            lines[i] = line.replace("|", "\\|")


def setup(app: Any) -> dict[str, Any]:
    """Sphinx's entry."""
    write(app)  # before Sphinx looks which pages there are
    app.connect("autodoc-process-docstring", bars, priority=900)  # after numpydoc
    return {"parallel_read_safe": True}
