"""Builders of arrays over labelled arguments: one call for every combination."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from odekit.base.checks import agree, is_labelled
from odekit.base.errors import ProblemError

MAX_COMBINATIONS = 10_000
"""Most combinations for which a builder (a draw, a teacher) is evaluated one by one."""


def spread(
    function: Callable[..., Any],
    cores: Sequence[tuple[str, ...]],
    inner: Collection[str] = (),
    **given: Any,
) -> list[Any]:
    """Evaluate a builder of arrays for every combination of its swept arguments.

    Parameters
    ----------
    function : callable
        Takes `given` without labels and returns one array for each of `cores`.
    cores : sequence of tuples of str
        Names of the dims of every array.
    inner : collection of str
        Dims of the arguments that `function` takes whole: they are not swept.
    **given : object
        Arguments; labelled arrays among them make the results labelled.
    """
    swept = {name: v for name, v in given.items() if is_labelled(v)}
    if not swept:
        return list(function(**given))
    agree(", ".join(swept), swept.values(), inner)
    import xarray as xr

    aligned = xr.broadcast(*swept.values(), exclude=inner)
    dims = tuple(d for d in aligned[0].dims if d not in inner)
    arrays = dict(zip(swept, (a.transpose(*dims, ...) for a in aligned), strict=True))
    shape = tuple(aligned[0].sizes[d] for d in dims)
    if np.prod(shape) > MAX_COMBINATIONS:
        raise ProblemError(
            "",
            f"must be built for at most {MAX_COMBINATIONS} combinations",
            str(int(np.prod(shape))),
            "Use fewer points, or build the arrays in Python.",
        )
    points = [
        function(**{**given, **{name: a.values[i] for name, a in arrays.items()}})
        for i in np.ndindex(*shape)
    ]
    coords = {d: aligned[0].coords[d] for d in dims if d in aligned[0].coords}
    return [
        xr.DataArray(
            np.reshape(many, (*shape, *np.shape(many[0]))), dims=(*dims, *core), coords=coords
        )
        for many, core in zip(zip(*points, strict=True), cores, strict=True)
    ]
