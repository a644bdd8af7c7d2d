"""Write a problem down as a scenario: the way back from `odekit.problem.plain` to TOML."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from odekit.base.errors import ProblemError
from odekit.problem.phase import Phase

BARE = re.compile(r"[A-Za-z0-9_-]+")


def scenario_text(parts: Mapping[str, Any], core: Collection[str]) -> str:
    """The text of a scenario.

    Parameters
    ----------
    parts : mapping
        Plain data by section, as in the file: values first, then tables and lists of tables.
    core : collection of str
        Dims of labelled arrays that no sweep has.

    Raises
    ------
    ProblemError
        If a number varies along several dims, or along one that scenarios do not name.

    Examples
    --------
    >>> print(scenario_text({"title": "One", "phases": [{"tasks": "main", "duration": 2.0}]}, ()))
    title = "One"
    <BLANKLINE>
    [[phases]]
    tasks = "main"
    duration = 2.0
    <BLANKLINE>
    """
    said = {name: _form(part, core, name) for name, part in parts.items()}
    values = {n: v for n, v in said.items() if not isinstance(v, dict) and not _tables(v)}
    lines = list(_lines(values))
    for name, part in said.items():
        if name not in values:
            lines += _section(_key(name), part, name)
    return "\n".join(lines).strip("\n") + "\n"


def used(phase: Mapping[str, Any]) -> dict[str, Any]:
    """The plain data of a phase without what is at its default."""
    usual = {f.name: f.default for f in fields(Phase)}
    return {name: v for name, v in phase.items() if v != usual.get(name, MISSING)}


def _tables(part: Any) -> bool:
    return isinstance(part, list) and bool(part) and isinstance(part[0], dict)


def _section(key: str, part: Any, name: str) -> list[str]:
    """A table; a table of tables, each under a heading of its own; or a list of tables."""
    if isinstance(part, list):
        return [line for one in part for line in ["", f"[[{key}]]", *_lines(one)]]
    if name == "tasks":
        named = {f"{key}.{_key(n)}": one for n, one in part.items()}
        return [line for n, one in named.items() for line in ["", f"[{n}]", *_lines(one)]]
    return ["", f"[{key}]", *_lines(part)]


def _lines(part: Mapping[str, Any]) -> list[str]:
    return [f"{_key(n)} = {_value(v)}" for n, v in part.items() if v is not None]


def _key(name: str) -> str:
    return name if BARE.fullmatch(name) else json.dumps(name)


def _value(item: Any) -> str:
    if isinstance(item, bool | str):
        return json.dumps(item)
    if isinstance(item, Mapping):
        return "{ " + ", ".join(_lines(item)) + " }"
    if isinstance(item, list):
        return "[" + ", ".join(map(_value, item)) + "]"
    return repr(item)


def _form(item: Any, core: Collection[str], where: str) -> Any:
    """Plain data in the forms of a scenario: what is swept as the values along its axis."""
    if isinstance(item, Mapping) and item.keys() == {"dims", "values", "coords"}:
        return _swept(item, core, where)
    if isinstance(item, Mapping):
        return {name: _form(v, core, f"{where}.{name}") for name, v in item.items()}
    if isinstance(item, list):
        return [_form(v, core, f"{where}[{i}]") for i, v in enumerate(item)]
    return item


def _swept(item: Mapping[str, Any], core: Collection[str], where: str) -> Any:
    dims, values = item["dims"], np.asarray(item["values"], dtype=float)
    over = [d for d in dims if d not in core]
    if not over:
        return values.tolist()
    if len(over) > 1 or over == ["draw"]:
        rule = "must vary along at most one dim, not named `draw`, to be in a scenario"
        raise ProblemError(where, rule, ", ".join(over), "Save a result instead.")
    labels = item["coords"].get(over[0], list(range(values.shape[dims.index(over[0])])))

    def entry(numbers: Any) -> Any:
        if numbers.ndim > 1:
            return [entry(n) for n in numbers]
        along = numbers.tolist()
        named = {} if along == labels and len(set(along)) == len(along) else {"labels": labels}
        return {"over": over[0], **named, "values": along}

    return entry(np.moveaxis(values, dims.index(over[0]), -1))
