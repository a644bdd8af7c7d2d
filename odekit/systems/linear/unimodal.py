"""How long a multimodal network knows one of its inputs only."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import count
from odekit.base.errors import ProblemError
from odekit.systems.linear.broadcast import broadcast, check

LAYERS = 10_000


def unimodal_ratio(
    ratio: Any, correlation: Any, depth: int = 2, fusion: int | None = None, start: Any = None
) -> Any:
    """Time at which the second modality is learnt, over that of the first, from small weights.

    The target is y = x_A + x_B, with standard deviations r : 1 and correlation ρ. Modality A comes
    first, towards what it would answer alone, 1 + ρ/r, and then B, at the rate of what is left.
    With L layers of which L_f are before the fusion, k = (1 + ρr)/(r² + ρr) and a balanced start,
    u₀ before the fusion and √2 u₀ behind it,

        L_f = L:  t_B/t_A = 1 + (r² − 1)/(1 − ρ²),
        L_f < L:  t_B/t_A = 1 + (r² − 1)/(1 − ρ²) u₀^{L − L_f} l / [(1 + ρ/r)^{1 − L_f/L} I],

    l = 1/(L_f − 2), or ln(1/u₀) for L_f = 2, and I = ∫ dx x^{1 − L_f} (x² + z²)^{−(L − L_f)/2} over
    A's growth x from 1 to 1/u₀, beside which B's is z: z^{2 − L_f} = 1 − k + k x^{2 − L_f}, or x^k.

    Parameters
    ----------
    ratio : array_like or DataArray
        r >= 1.
    correlation : array_like or DataArray
        ρ, between −1 and 1.
    depth : int
        Number L of layers.
    fusion : int, optional
        Number L_f of layers before the modalities meet; by default all of them. With one of them
        they are learnt together: 1.
    start : array_like or DataArray, optional
        u₀, between 0 and 1; only needed for 1 < L_f < L.

    Returns
    -------
    ndarray or DataArray

    Raises
    ------
    ProblemError
        If r < 1, |ρ| >= 1, the fusion is behind the last layer, or u₀ is needed and missing.

    Notes
    -----
    Zhang, Latham & Saxe (2024). To leading order in u₀: reached like 1/ln(1/u₀) for two layers
    (ρ = 0.9, r = 2: 16.6 for 16.8 at u₀ = 1e-9), like u₀² for deeper ones that fuse at the end; the
    excess over 1 of L = 4, L_f = 3, 2 is too large by 13 and 17 % at u₀ = 0.1, 1.3 and 8 % at 0.01.
    Halfway between both times A's weight is off by ρ/r.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.linear.unimodal_ratio(2.0, [0.0, 0.9]).round(3)
    array([ 4.   , 16.789])
    >>> ok.linear.unimodal_ratio(2.0, [0.0, 0.6], depth=4, fusion=3, start=0.1).round(3)
    array([1.748, 2.114])
    """
    L = count("depth", depth, most=LAYERS)
    before = L if fusion is None else count("fusion", fusion, most=L)
    given = {"ratio": ratio, "correlation": correlation}
    if start is not None:
        given["start"] = start
    elif 1 < before < L:
        rule = f"must be given for {before} of {L} layers before the fusion"
        raise ProblemError("start", rule, "None", "Give the initial weight u₀ of those layers.")

    def solve(ratio: Floats, correlation: Floats, **more: Floats) -> tuple[Floats, ...]:
        check("ratio", ratio >= 1, "must be >= 1", ratio, "Name the modalities the other way.")
        check("correlation", np.abs(correlation) < 1, "must be between -1 and 1", correlation)
        u = more.get("start", np.asarray(0.5))
        check("start", (u > 0) & (u < 1), "must be between 0 and 1", u)
        r, rho, u = np.broadcast_arrays(ratio, correlation, u)
        return (_ratio(r, rho, u, L, before),)

    return broadcast(solve, given)[0]


def _ratio(r: Floats, rho: Floats, u: Floats, L: int, before: int) -> Floats:
    if before == 1:
        return np.ones(r.shape)
    excess = (r - 1) * (r + 1) / ((1 - rho) * (1 + rho))
    if before == L:
        return np.asarray(1 + excess)
    lasts = -np.log(u) if before == 2 else 1 / (before - 2)
    slower = (1 + rho * r) / (r * (r + rho))
    shared = (1 + rho / r) ** (1 - before / L) * _growth(slower, u, L, before)
    return np.asarray(1 + excess * u ** (L - before) * lasts / shared)


def _growth(k: Floats, u: Floats, L: int, before: int) -> Floats:
    """I, over 1/x."""
    from scipy.integrate import tanhsinh

    def other(v: Floats, k: Floats) -> Floats:
        if before == 2:
            return np.asarray(v ** (2 - 2 * k))
        return np.asarray(v * v * (1 - k + k * v ** (before - 2)) ** (2 / (2 - before)))

    def density(v: Floats, k: Floats) -> Floats:
        return np.asarray(v ** (L - 3) * (1 + other(v, k)) ** (-(L - before) / 2))

    return np.asarray(tanhsinh(density, u, 1.0, args=(k,)).integral)
