"""Where modes end under weight decay: a smaller strength, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import count
from odekit.base.errors import ProblemError
from odekit.systems.linear.broadcast import broadcast, check

LAYERS = 10_000


def decayed_strength(strength: Any, decays: Sequence[Any], start: Any = None) -> Any:
    """Strength u at which a mode of a chain with weight decay ends.

    With a penalty ½ Σ_l κ_l |W_l|² on L layers, whatever their rates, and κ = (Π κ_l)^{1/L},

        s − u = κ u^{2/L − 1}:   L = 1: s/(1 + κ),   L = 2: (s − κ)₊,

    and for L > 2 the larger root, up to the onset κ_c (`decay_onset`), where u jumps to 0. There 0
    is always stable too, and weights that are too small end at it.

    Parameters
    ----------
    strength : array_like or DataArray
        Strength s of the mode, >= 0.
    decays : sequence of array_like or DataArray
        κ_l of each layer, >= 0; their number is the depth L.
    start : array_like or DataArray, optional
        u of a chain of equal weights at time 0, >= 0, which decides where L > 2; decays are equal
        too. By default weights are large.

    Returns
    -------
    ndarray or DataArray

    Raises
    ------
    ProblemError
        If strength, start or a decay is negative, or decays differ where `start` is given.

    Notes
    -----
    Decay of two layers is a penalty on the rank: it removes the modes with s <= √(κ₁κ₂). On the
    way, a balanced mode of equal rates and decays is `balanced_mode` with s − κ for s.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.linear.decayed_strength([2.0, 1.0, 0.5], decays=[0.9, 0.4]).round(6)
    array([1.4, 0.4, 0. ])
    >>> ok.linear.decayed_strength(1.0, decays=[0.2] * 3, start=[0.729, 0.008]).round(6)
    array([0.783009, 0.      ])
    """
    if isinstance(decays, str) or not hasattr(decays, "__len__") or not len(decays):
        raise ProblemError("decays", "must be one for each layer", repr(decays)[:80], "[κ₁, κ₂]")
    names = [f"decays[{i}]" for i in range(len(decays))]
    given = {"strength": strength, **dict(zip(names, decays, strict=True))}
    if start is not None:
        given["start"] = start

    def solve(strength: Floats, **others: Floats) -> tuple[Floats, ...]:
        kappas = [others[name] for name in names]
        for name, value in [("strength", strength), *others.items()]:
            check(name, value >= 0, "must be >= 0", value)
        if start is not None:
            for name, value in zip(names, kappas, strict=True):
                equal = value == kappas[0]
                check(name, equal, "must be that of the first layer", value, "Leave out `start`.")
        return (_ends(strength, kappas, others.get("start")),)

    return broadcast(solve, given)[0]


def decay_onset(strength: Any, depth: int) -> Any:
    """Decay κ above which a mode of strength s is not learnt.

    κ_c = u_c^{1 − 2/L} s L/(2L − 2), u_c = s (L − 2)/(2L − 2): s for two layers; for more the
    strength jumps from u_c to 0 there.

    Parameters
    ----------
    strength : array_like or DataArray
        Strength s of the mode, >= 0.
    depth : int
        Number L of layers.

    Returns
    -------
    ndarray or DataArray
        Of the geometric mean of the layers' decays; ∞ for one layer.

    Raises
    ------
    ProblemError
        If the strength is negative.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.linear.decay_onset([1.0, 2.0], depth=3).round(5)
    array([0.47247, 1.19055])
    """
    L = count("depth", depth, most=LAYERS)

    def solve(strength: Floats) -> tuple[Floats, ...]:
        check("strength", strength >= 0, "must be >= 0", strength)
        return (_onset(strength, L),)

    return broadcast(solve, {"strength": strength})[0]


def _jump(s: Floats, L: int) -> Floats:
    """u_c, at which the strength jumps."""
    return np.asarray(s * (L - 2) / (2 * L - 2))


def _onset(s: Floats, L: int) -> Floats:
    if L == 1:
        return np.full(np.shape(s), np.inf)
    return np.asarray(_jump(s, L) ** (1 - 2 / L) * s * L / (2 * L - 2))


def _ends(s: Floats, kappas: list[Floats], start: Floats | None) -> Floats:
    L = len(kappas)
    mean = np.ones(())
    for value in kappas:
        mean = np.asarray(mean * value ** (1 / L))
    s, kappa, u = np.broadcast_arrays(s, mean, np.inf if start is None else start)
    if L == 1:
        return np.asarray(s / (1 + kappa))
    if L == 2:
        return np.where(u > 0, np.maximum(s - kappa, 0.0), 0.0)
    from scipy.optimize import elementwise

    learnt = (kappa < _onset(s, L)) & (s > 0)
    share = np.where(learnt, kappa / np.where(s > 0, s, 1.0) ** (2 - 2 / L), 0.0)

    def excess(w: Floats, share: Floats) -> Floats:
        return np.asarray(w ** (1 - 2 / L) * (1 - w) - share)

    between = np.broadcast_to(_jump(np.ones(()), L), share.shape)

    def root(low: Floats, high: Floats) -> Floats:
        found = elementwise.find_root(
            excess, (low, high), args=(share,), tolerances={"xatol": 0.0, "xrtol": 1e-15}
        )
        return np.asarray(found.x)

    upper = s * root(between, np.ones(share.shape))
    saved = u > s * root(np.zeros(share.shape), between)
    return np.where(learnt & saved, upper, 0.0)
