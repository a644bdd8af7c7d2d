"""The variables of a declared system's dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odekit.dataset.common import registry
from odekit.dataset.variable import Variable, coordinate


def variables(declaration: Mapping[str, Any]) -> dict[str, Variable]:
    """Every variable by name.

    Parameters
    ----------
    declaration : mapping
        From `odekit.systems.outside.plain.declaration_plain`.
    """
    symbols, words = declaration.get("symbols", {}), declaration.get("long_names", {})
    dims = dict.fromkeys(d for dims in declaration["state"].values() for d in dims)
    found = [coordinate(dim, "int64", dim.replace("_", " ")) for dim in dims]
    for name, own in declaration["state"].items():
        text = words.get(name, name)
        found.append(Variable(name, ("time", *own), "float64", text, symbols.get(name, "")))
    error = words.get("error", "error")
    found.append(Variable("generalization_error", ("time", "task"), "float64", error))
    return registry(found, declaration.get("time", "steps / N"))
