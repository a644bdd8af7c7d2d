"""Units of networks in the order of the theory's: where they are alike, which is which is chance.

On a plateau small fluctuations decide which unit learns what. A network that finds the solution of
the theory under other names agrees with it, and must not be averaged as if it did not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odekit.systems.committee.activations import NAMES, Activation

if TYPE_CHECKING:
    import xarray as xr

Floats = np.ndarray[Any, np.dtype[np.float64]]

WORTH = 0.5
"""Part of its squared deviation that a network under other names may keep: a labelling that fits
better by little is one of many that fluctuations offer."""
SAME = 1e-12
"""Relative difference of readouts that no phase trains up to which they are equal."""
SIGNS = (1.0, -1.0)


class Rows(NamedTuple):
    """One trajectory: R (time, K, P), Q (time, K, K), and v (time, H O, K) of heads and outputs.

    Biases, if there are any, are the last row of v.
    """

    R: Floats
    Q: Floats
    v: Floats


class Rules(NamedTuple):
    """What of a problem tells its units apart.

    Attributes
    ----------
    own : ndarray, shape (rules, K)
        What phases say of single units: which are frozen, how often they answer.
    parity : int
        −1 where w → −w, v → −v changes nothing (odd g), 1 where w → −w alone does (even g), else 0.
    """

    own: Any
    parity: int


BY_PAIR = ("Q_group", "velocity_Q", "velocity_student")
OTHERS = (*BY_PAIR, "R_group", "velocity_teacher")
"""Further overlaps that some problems have."""


def relabelled(run: xr.Dataset, sim: xr.Dataset) -> tuple[xr.Dataset, xr.DataArray]:
    """Networks with their units in the order and of the signs that fit the theory best.

    Units may be exchanged where the problem treats them alike: if they are frozen in the same
    phases, move, and have equal readouts in every head that is never trained. For odd and even g
    the signs of weights (and readouts) may change too.

    Parameters
    ----------
    run, sim : Dataset
        Theory and networks, with the sweep dims in common; rows at other times are compared with
        the theory's nearest.

    Returns
    -------
    Dataset
        `sim` with Q, R and readouts relabelled.
    DataArray of bool
        Which networks were: over the dims of the sweep and ``replica``.
    """
    import xarray as xr

    lead = [d for d in sim.R.dims if d not in ("time", "student", "teacher")]
    blocks = ["R", "Q", "readout", *(["bias"] if "bias" in sim else [])]
    names = [*blocks, *(name for name in OTHERS if name in sim)]
    networks = sim[names].transpose(*lead, "time", "group", ..., missing_dims="ignore")
    theory = run[blocks].sel(time=sim.time, method="nearest")
    theory = theory.transpose(*[d for d in lead if d in theory.dims], "time", ...)
    rules = _rules(sim.attrs, sim.sizes["student"])
    shape = tuple(sim.sizes[d] for d in lead)
    moved, changed = np.zeros(shape, dtype=bool), networks.copy(deep=True)
    for place in np.ndindex(*shape):
        here = dict(zip(lead, place, strict=True))
        index = {d: i for d, i in here.items() if d in theory.dims}
        rows = _rows(networks, here)
        found = _best(_rows(theory, index), rows, rules)
        if found is not None:
            moved[place] = True
            again = _relabel(rows, *found, rules.parity)
            changed.R.values[place], changed.Q.values[place] = again.R, again.Q
            v = again.v[:, :-1] if "bias" in blocks else again.v
            changed.readout.values[place] = v.reshape(changed.readout.values[place].shape)
            if "bias" in blocks:
                changed.bias.values[place] = again.v[:, -1]
            for name in names[len(blocks) :]:
                changed[name].values[place] = _of_units(changed[name].values[place], name, *found)
    back = {name: changed[name].transpose(*sim[name].dims) for name in changed}
    return sim.assign(back), xr.DataArray(moved, dims=lead)


def _rows(ds: xr.Dataset, index: Mapping[Any, int]) -> Rows:
    one = ds.isel(index)
    v = one.readout.transpose("time", "head", ..., "student").values
    parts = [v.reshape(len(v), -1, v.shape[-1])]
    if "bias" in one:
        parts.append(one.bias.transpose("time", "student").values[:, np.newaxis])
    return Rows(
        one.R.transpose("time", "student", "teacher").values,
        one.Q.transpose("time", "student", "student_other").values,
        np.concatenate(parts, axis=1),
    )


def _rules(attrs: Mapping[Any, Any], K: int) -> Rules:
    problem = json.loads(attrs["odekit_problem"])
    own = [phase.get("frozen") or [False] * K for phase in problem["phases"]]
    of_units = [problem.get("test_scale"), *(p.get("keep_probability") for p in problem["phases"])]
    own += [row for given in of_units for row in _of_each(given, K)]
    given = problem["activation"]
    parity = _parity(given if isinstance(given, str) else given["name"])
    # Even units with a bias need another change of signs than those without.
    parity = 0 if parity == 1 and "biases" in problem else parity
    return Rules(np.array(own, dtype=float), parity)


def _of_each(given: Any, K: int) -> list[Any]:
    """Rows (K,) of what plain data say of each unit; none of one number for all."""
    if isinstance(given, Mapping):
        given = given.get("values") if "student" in given.get("dims", ()) else None
    return [] if given is None or np.ndim(given) == 0 else list(np.reshape(given, (-1, K)))


def _parity(name: str) -> int:
    """That of one's own functions is in no file: their signs stay."""
    if name in ("erf", "linear"):
        return -1
    return Activation.shipped(name).parity if name in NAMES else 0


def _best(theory: Rows, network: Rows, rules: Rules) -> tuple[Any, Floats] | None:
    """Order and signs of the network's units that fit, or None if it fits as it is."""
    from scipy.optimize import linear_sum_assignment

    sound = np.isfinite(theory.R).all(axis=(1, 2)) & np.isfinite(network.R).all(axis=(1, 2))
    a, b = (Rows(*(x[sound] for x in rows)) for rows in (theory, network))
    if not sound.any():
        return None
    costs = np.array([_costs(a, b, sign, rules) for sign in SIGNS])
    _, order = linear_sum_assignment(costs.min(axis=0))
    K = len(order)
    signs = np.take(SIGNS, costs[:, np.arange(K), order].argmin(axis=0))
    if (order == np.arange(K)).all() and (signs == 1.0).all():
        return None
    before, after = _deviation(a, b), _deviation(a, _relabel(b, order, signs, rules.parity))
    return (order, signs) if after < WORTH * before else None


def _relabel(rows: Rows, order: Any, signs: Floats, parity: int) -> Rows:
    of_readout = signs if parity == -1 else np.ones_like(signs)
    return Rows(
        rows.R[:, order] * signs[:, None],
        rows.Q[:, order][:, :, order] * np.outer(signs, signs),
        rows.v[:, :, order] * of_readout,
    )


def _of_units(blocks: Floats, name: str, order: Any, signs: Floats) -> Floats:
    """Overlaps over each group of inputs, (time, group, K, K or P), with their units relabelled."""
    found = blocks[..., order, :] * signs[:, None]
    return found[..., order] * signs if name in BY_PAIR else found


def _deviation(theory: Rows, network: Rows) -> float:
    return float(sum(((x - y) ** 2).sum() for x, y in zip(theory, network, strict=True)))


def _costs(theory: Rows, network: Rows, sign: float, rules: Rules) -> Floats:
    """Squared deviation if unit l stands for the theory's unit k, shape (K, K)."""
    of_readout = sign if rules.parity == -1 else 1.0
    norms, others = (np.diagonal(rows.Q, axis1=1, axis2=2) for rows in (theory, network))
    R = theory.R[:, :, None] - sign * network.R[:, None]
    v = theory.v[:, :, :, None] - of_readout * network.v[:, :, None]
    off = (R**2).sum(axis=(0, 3)) + (v**2).sum(axis=(0, 1))
    off += ((norms[:, :, None] - others[:, None]) ** 2).sum(axis=0)
    return np.where(_alike(theory, network, sign, of_readout, rules), off, np.inf)


def _alike(theory: Rows, network: Rows, sign: float, of_readout: float, rules: Rules) -> Any:
    """Which units may take which places, shape (K, K)."""
    K = theory.R.shape[1]
    same = np.eye(K, dtype=bool) if sign > 0 else np.zeros((K, K), dtype=bool)
    if sign < 0 and rules.parity == 0:
        return same
    moves = (np.ptp(theory.R, axis=0) > 0).any(axis=1) | (np.ptp(network.R, axis=0) > 0).any(axis=1)
    alike = (rules.own[:, :, None] == rules.own[:, None]).all(axis=0)
    still = np.ptp(theory.v, axis=0).max(axis=1) == 0.0  # heads that no phase trains
    v = theory.v[0, still]
    off = np.abs(v[:, :, None] - of_readout * v[:, None]).max(axis=0, initial=0.0)
    equal = off <= SAME * np.abs(v).max(initial=0.0)
    return same | (equal & alike & np.outer(moves, moves))
