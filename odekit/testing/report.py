"""How a broken law is told: its worst entry, the time, and the tolerance in units of rtol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import ProblemError
from odekit.dataset.provenance import problem_of
from odekit.systems.committee.problem import Problem

if TYPE_CHECKING:
    import xarray as xr

Floats = np.ndarray[Any, np.dtype[np.float64]]

RHS_RTOL = 1e-14
"""Unit of deviations of a right-hand side in closed form: some tens of roundings."""
RUN_RTOL = 1e-8
"""Unit of deviations of a result that does not say its own rtol."""
FACTOR = 100.0
"""Deviation allowed, in units of rtol: errors add up over a run, roundings over the terms."""


class LawBroken(AssertionError):
    """A law does not hold.

    Parameters
    ----------
    law : str
        One sentence.
    entry : str
        The worst entry, such as ``"dQ[0, 1]"``.
    off : float
        How far it is off, in units of rtol times the size of what is compared.
    allowed : float
        How far it may be off, in the same units.
    detail : str
        Values, time and tolerance, for people.

    Examples
    --------
    >>> print(LawBroken("T is constant", "T[0, 0]", 5e6, 100.0, "at t = 3"))
    T is constant: broken.
      worst entry  T[0, 0], at t = 3
      off by       5e+06 rtol
      allowed      100 rtol
    """

    def __init__(self, law: str, entry: str, off: float, allowed: float, detail: str) -> None:
        self.law, self.entry, self.off, self.allowed = law, entry, off, allowed
        lines = [
            f"{law}: broken.",
            f"  worst entry  {entry}, {detail}",
            f"  off by       {off:.3g} rtol",
            f"  allowed      {allowed:g} rtol",
        ]
        super().__init__("\n".join(lines))


def hold(
    law: str,
    name: str,
    deviation: Any,
    *,
    size: Any,
    rtol: float,
    factor: float,
    time: Any = 0.0,
    dims: Sequence[str] = (),
) -> None:
    """Raise `LawBroken` unless every |deviation| is at most factor · rtol · size.

    Parameters
    ----------
    deviation : array_like
        Zero where the law holds; NaN counts as broken.
    size : array_like
        What the deviation is relative to, of a shape that broadcasts.
    time : float or array_like
        Of every row, if the first of `dims` is ``"time"``.
    """
    off = np.abs(np.asarray(deviation, dtype=float))
    if not off.size:
        return
    unit = rtol * np.maximum(np.broadcast_to(size, off.shape), np.finfo(float).tiny)
    ratio = np.where(np.isfinite(off), off / unit, np.inf)
    place = np.unravel_index(int(ratio.argmax()), ratio.shape)
    if ratio[place] <= factor:
        return
    # Rows are told by their time.
    rows = "time" in dims
    index = ", ".join(
        f"{dim}={i}" if dims else str(i)
        for dim, i in zip(dims or [""] * len(place), place, strict=True)
        if dim != "time"
    )
    when = np.asarray(time)[place[list(dims).index("time")]] if rows else time
    value, whole = np.asarray(deviation)[place], float(unit[place] / rtol)
    detail = f"at t = {float(when):g}: deviation {float(value):.4g} of a size {whole:.4g}"
    entry = f"{name}[{index}]" if index else name
    raise LawBroken(law, entry, float(ratio[place]), factor, f"{detail}, rtol = {rtol:g}")


def rtol_of(ds: xr.Dataset) -> float:
    """The tolerance that a result was computed with; `RUN_RTOL` if it does not say."""
    try:
        options = json.loads(ds.attrs.get("odekit_solver", "{}"))
        return float(options.get("rtol", RUN_RTOL))
    except (TypeError, ValueError, AttributeError):
        return RUN_RTOL


def committee_of(ds: xr.Dataset) -> Problem:
    """The problem that a result holds, of which the law must know the committee."""
    problem = Problem.from_dict(problem_of(ds))
    if not isinstance(problem, Problem):
        remedy = "`odekit validate` checks the laws of other kinds."
        raise ProblemError("subject", "must be a result of a Problem", problem.kind, remedy)
    return problem
