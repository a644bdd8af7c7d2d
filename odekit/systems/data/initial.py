"""Initial weights of networks on data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from odekit.base.checks import MAX_NUMBERS, count, is_labelled, nonnegative
from odekit.base.errors import ProblemError

MOST_WIDTH = 65_536


def normal(
    widths: Sequence[int], scale: Any, *, seed: int, draws: int | None = None
) -> dict[str, Any]:
    """Independent normal weights w ~ N(0, scale²) of a chain of layers.

    Parameters
    ----------
    widths : sequence of int
        Units of the input, the hidden layers and the output.
    scale : float, DataArray, or one of them for each layer
        σ. Labelled arrays are swept over, with the same draws at every point. At σ = 1/√(inputs of
        the layer) fields are of order one.
    seed : int
    draws : int, optional
        That many independent draws, a sweep dim ``draw``.

    Returns
    -------
    dict of str to array, shape (to, from)
        ``W1``, ``W2``, …

    Raises
    ------
    ProblemError
        If the widths or scales are not those of layers.

    Examples
    --------
    >>> import odekit as ok
    >>> W = ok.data.normal([11, 200, 60], 1e-5, seed=0, draws=4)
    >>> W["W1"].dims, W["W2"].shape
    (('draw', 'hidden', 'input'), (4, 60, 200))
    """
    if isinstance(widths, str) or not isinstance(widths, Sequence) or len(widths) < 2:
        raise ProblemError("widths", "must hold two layers or more", repr(widths)[:80], "")
    layers = [count(f"widths[{i}]", n, most=MOST_WIDTH) for i, n in enumerate(widths)]
    shapes = list(zip(layers[1:], layers[:-1], strict=True))
    scales = list(scale) if isinstance(scale, list | tuple) else [scale] * len(shapes)
    if len(scales) != len(shapes):
        rule = f"must be one number, or {len(shapes)}: one for each layer"
        raise ProblemError("scale", rule, str(len(scales)), "")
    lead = () if draws is None else (count("draws", draws, most=10**9),)
    if sum(a * b for a, b in shapes) * int(np.prod(lead)) > MAX_NUMBERS:
        raise ProblemError("draws", f"must give at most {MAX_NUMBERS} weights", "more", "")
    rng = np.random.default_rng(count("seed", seed, most=2**63, least=0))
    names, found = nodes(len(shapes)), {}
    for i, (shape, given) in enumerate(zip(shapes, scales, strict=True)):
        sigma: Any = nonnegative("scale", given)
        z = rng.standard_normal((*lead, *shape))
        if lead or is_labelled(sigma):
            import xarray as xr

            core = (names[i + 1], names[i])
            z = sigma * xr.DataArray(z, dims=(*(("draw",) if lead else ()), *core))
            found[f"W{i + 1}"] = z.transpose(..., *core)
        else:
            found[f"W{i + 1}"] = sigma * z
    return found


def nodes(depth: int) -> list[str]:
    """Names of the layers' units, input to output, of so many layers of weights."""
    hidden = ["hidden"] if depth == 2 else [f"hidden{i}" for i in range(1, depth)]
    return ["input", *hidden, "output"]
