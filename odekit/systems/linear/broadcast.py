"""Closed solutions take numbers, arrays and labelled arrays, and answer in kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import agree, as_floats, is_labelled
from odekit.base.errors import ProblemError

Solver = Callable[..., tuple[Any, ...]]


def broadcast(
    solve: Solver,
    given: Mapping[str, Any],
    core: Mapping[str, Sequence[str]] | None = None,
    out: Sequence[Sequence[str]] = ((),),
) -> tuple[Any, ...]:
    """Call with arrays; labelled arguments make labelled results.

    Parameters
    ----------
    solve : callable
        Of arrays by name, whose core dims are the last ones; to a tuple of arrays.
    given : mapping
        Arguments by name; "time" may be infinite, the others are finite.
    core : mapping, optional
        Names of the core dims of the arguments that have any.
    out : sequence of sequences of str
        Core dims of each result.

    Raises
    ------
    ProblemError
        If an argument is no array of numbers, lacks a core dim, or is an array without labels
        beside labelled ones: whose dims it has would be a guess.
    """
    core = core or {}
    arrays = {name: _numbers(name, value, core.get(name, ())) for name, value in given.items()}
    if not any(map(is_labelled, given.values())):
        return tuple(np.asarray(found)[()] for found in solve(**arrays))
    agree(", ".join(given), given.values(), {dim for dims in core.values() for dim in dims})
    import xarray as xr

    plain = [
        n for n in given if not is_labelled(given[n]) and arrays[n].ndim > len(core.get(n, ()))
    ]
    if plain:
        shape = f"an array of shape {arrays[plain[0]].shape} without labels"
        remedy = f'Write xarray.DataArray({plain[0]}, dims="…").'
        raise ProblemError(plain[0], "must be labelled, as other arguments are", shape, remedy)

    def call(*values: Any) -> Any:
        found = solve(**dict(zip(given, map(np.asarray, values), strict=True)))
        return found if len(out) > 1 else found[0]

    found = xr.apply_ufunc(
        call,
        *(v if is_labelled(v) else arrays[name] for name, v in given.items()),
        input_core_dims=[list(core.get(name, ())) for name in given],
        output_core_dims=[list(dims) for dims in out],
    )
    return found if isinstance(found, tuple) else (found,)


def check(argument: str, holds: Any, rule: str, given: Any, remedy: str = "") -> None:
    """Refuse an argument that breaks a rule anywhere, and show the first value that does."""
    if np.all(holds):
        return
    values = np.broadcast_to(np.asarray(given, dtype=float), np.shape(holds))
    raise ProblemError(argument, rule, f"{values[~np.asarray(holds)].flat[0]:g}", remedy)


def _numbers(name: str, value: Any, core: Sequence[str]) -> Floats:
    if name == "time":
        return _times(value)
    array = as_floats(name, value, "a number or an array of numbers")
    missing = [d for d in core if d not in value.dims] if is_labelled(value) else []
    if missing or array.ndim < len(core):
        has = f"dims {value.dims}" if is_labelled(value) else f"shape {array.shape}"
        raise ProblemError(name, f"must have the dims {tuple(core)}", has, "They come last.")
    return array


def _times(value: Any) -> Floats:
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        given = repr(value)[:80]
        raise ProblemError("time", "must be a number or an array of numbers", given) from None
    check("time", array >= 0, "must be >= 0", array, "Times count from the start.")
    return array
