"""Laws of a declared system: as data, which a file holds, or as a function of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from odekit.base.errors import ProblemError

KINDS = {
    "conserved": '("conserved", {"S": 1, "I": 1})',
    "symmetric": '("symmetric", "Q")',
    "semidefinite": '("semidefinite", "Q")',
    "within": '("within", "S", 0, 1)',
}
"""Laws that are data, and how they are written."""


def check_laws(laws: Any, state: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse what is no law."""
    if not isinstance(laws, Mapping):
        raise ProblemError("laws", "must be laws by name", repr(laws)[:80], "")
    for name, law in laws.items():
        where = f"laws[{name!r}]"
        if callable(law) or law is None:  # a file knows its name alone
            continue
        if not isinstance(law, tuple | list) or not law or law[0] not in KINDS:
            forms = ", ".join(KINDS.values())
            rule = f"must be a function (y, p) or one of {forms}"
            raise ProblemError(where, rule, repr(law)[:80])
        for variable in _variables(where, law):
            if variable not in state:
                known = ", ".join(map(repr, state))
                raise ProblemError(where, f"must be of state variables ({known})", repr(variable))
        if law[0] in ("symmetric", "semidefinite") and len(state[law[1]]) != 2:
            raise ProblemError(where, "must be of a matrix", str(state[law[1]]), "")


def _variables(where: str, law: Any) -> list[str]:
    kind, *rest = law
    numbers: list[Any]
    if kind == "conserved" and len(rest) == 1 and isinstance(rest[0], Mapping) and rest[0]:
        names, numbers = list(rest[0]), list(rest[0].values())
    elif kind == "within" and len(rest) == 3:
        names, numbers = [rest[0]], rest[1:]
    elif kind in ("symmetric", "semidefinite") and len(rest) == 1:
        names, numbers = [rest[0]], []
    else:
        raise ProblemError(where, f"must have the form {KINDS[kind]}", repr(law)[:80], "")
    if not all(isinstance(x, int | float) and np.isfinite(x) for x in numbers):
        raise ProblemError(where, "must have finite numbers", repr(law)[:80], "")
    return [str(name) for name in names]


def written(laws: Mapping[str, Any]) -> dict[str, Any]:
    """Laws as JSON data; of a function its name alone, null."""
    return {name: list(law) if is_data(law) else None for name, law in laws.items()}


def is_data(law: Any) -> bool:
    """Whether a law is no function."""
    return isinstance(law, tuple | list)


def read(data: Mapping[str, Any]) -> dict[str, Any]:
    """Laws from JSON data; None in place of functions."""
    return {name: None if law is None else tuple(law) for name, law in data.items()}
