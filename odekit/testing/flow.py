"""Laws of the flow itself: positivity, conservation, descent, fixed points."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import ProblemError
from odekit.systems.committee.descent import losses
from odekit.systems.committee.state import joint
from odekit.testing.blocks import Blocks, derivative
from odekit.testing.report import FACTOR, RHS_RTOL, committee_of, hold, rtol_of

if TYPE_CHECKING:
    import xarray as xr

    from odekit.testing.report import Floats

NULL = 1e-10
"""Eigenvalues of a covariance below this, relative to the largest, count as zero."""
ALONG_RTOL = 1e-10
"""Unit of deviations of a derivative along the flow, which is taken by differences."""


def assert_positive_semidefinite(
    subject: Any,
    at: Blocks | None = None,
    *,
    t: float = 0.0,
    rtol: float | None = None,
    factor: float = FACTOR,
) -> None:
    """Assert that overlaps stay those of real vectors.

    A run: the joint covariance [[Q, R], [Rᵀ, T]] has no negative eigenvalue in any row, relative to
    its largest (hence neither has Q − R T⁺ Rᵀ). A right-hand side: at a singular covariance the
    flow does not point out of the cone, xᵀ Ċ x >= 0 for every x with C x = 0; the fixed vectors
    stand still.

    Parameters
    ----------
    subject : callable or Dataset
        A right-hand side (see `odekit.testing.Flow`), or a finished run or simulation.
    at : Blocks
        Point of a right-hand side, with a singular joint covariance: fewer dimensions than vectors,
        or units that equal a fixed vector.
    t : float
        Time of a right-hand side.
    rtol : float, optional
        Unit of the tolerance; 1e-14 for a right-hand side, the run's own for a run.
    factor : float
        Deviation allowed, in units of rtol.

    Raises
    ------
    LawBroken
        An AssertionError that names the worst entry.
    ProblemError
        If the covariance at a point has full rank: the law says nothing there.

    Examples
    --------
    >>> import numpy as np
    >>> def decay(t, Q, R, T, v):
    ...     return -2 * Q, -R, -v
    >>> assert_positive_semidefinite(decay, Blocks.of(np.ones((2, 2)), 1, v=[1.0]))
    """
    if at is None:
        C = joint(*_matrices(subject))
        eigenvalues = np.linalg.eigvalsh(np.nan_to_num(C))
        hold(
            "overlaps are positive semidefinite",
            "lowest eigenvalue of [[Q, R], [R', T]]",
            np.minimum(eigenvalues[..., 0], 0.0),
            size=np.abs(eigenvalues).max(axis=-1),
            rtol=rtol or rtol_of(subject),
            factor=factor,
            time=subject.time.values,
            dims=[str(d) for d in subject.Q.dims[:-2]],
        )
        return
    C = at.joint
    eigenvalues, vectors = np.linalg.eigh(C)
    null = vectors[:, eigenvalues <= NULL * eigenvalues[-1]]
    if not null.shape[1]:
        raise ProblemError(
            "at",
            "must have a singular joint covariance",
            f"lowest eigenvalue {eigenvalues[0]:.3g} of {eigenvalues[-1]:.3g}",
            "Draw one with odekit.testing.strategies.covariances(kinds=('rank_deficient',)).",
        )
    dQ, dR, _ = derivative(subject, t, at)
    hold("dQ is symmetric", "dQ", dQ - dQ.T, size=np.abs(dQ).max(), rtol=rtol or RHS_RTOL,
         factor=factor, time=t)  # fmt: skip
    dC = np.block([[dQ, dR], [dR.T, np.zeros_like(at.T)]])
    lowest = np.linalg.eigvalsh(null.T @ dC @ null)[0]
    hold(
        "the flow stays among the overlaps of real vectors",
        "lowest eigenvalue of dC/dt on the null space of C",
        min(lowest, 0.0),
        size=max(float(np.abs(dC).max()), float(np.abs(C).max())),
        rtol=rtol or RHS_RTOL,
        factor=factor,
        time=t,
    )


def _matrices(ds: xr.Dataset) -> tuple[Any, Any, Any]:
    import xarray as xr

    plain = ds[["Q", "R", "T"]].drop_vars(list(ds.coords), errors="ignore")
    T = xr.broadcast(plain["T"], plain["Q"].isel(student=0, student_other=0, drop=True))[0]
    lead = [d for d in plain["Q"].dims if d not in ("student", "student_other")]
    T = T.transpose(*lead, "teacher", "teacher_other")
    return plain["Q"].values, plain["R"].values, T.values


def assert_conserved(
    subject: Any,
    quantity: Any = None,
    at: Blocks | None = None,
    *,
    t: float = 0.0,
    rtol: float | None = None,
    factor: float = FACTOR,
) -> None:
    """Assert that a quantity does not change along the flow.

    Parameters
    ----------
    subject : callable or Dataset
        A right-hand side, or a finished run or simulation.
    quantity : str, callable or None
        Of a run: a variable of `odekit.measures.conserved`, or a function of the dataset that
        returns a DataArray with the dim ``time``; None stands for all those that its problem has.
        Of a right-hand side: a function ``quantity(Q, R, T, v)`` that returns an array.
    at : Blocks
        Point of a right-hand side.
    t, rtol, factor
        As in `assert_positive_semidefinite`. The unit for a right-hand side is 1e-10, relative to
        the quantity's largest rate of change if its terms did not cancel.

    Raises
    ------
    LawBroken
    ProblemError
        If the problem has no such quantity.

    Examples
    --------
    >>> import numpy as np
    >>> def turn(t, Q, R, T, v):
    ...     return 0 * Q, 0 * R, np.array([-v[1], v[0]])
    >>> at = Blocks.of(np.eye(3), 2, v=[1.0, 2.0])
    >>> assert_conserved(turn, lambda Q, R, T, v: v @ v, at)
    """
    if at is None:
        _drift_of_run(subject, quantity, rtol or rtol_of(subject), factor)
        return
    d = derivative(subject, t, at)
    rate, size = _along(quantity, at, d)
    name = getattr(quantity, "__name__", "quantity")
    law = f"{name} is conserved"
    hold(law, f"d({name})/dt", rate, size=size, rtol=rtol or ALONG_RTOL, factor=factor, time=t)


def _along(function: Callable[..., Any], at: Blocks, d: tuple[Floats, ...]) -> tuple[Floats, float]:
    """Derivative of a function of the blocks along the flow, and the size that it could have."""
    blocks = [np.asarray(b, dtype=float) for b in (at.Q, at.R, at.v)]
    scale = max(float(np.abs(b).max()) for b in blocks)
    fastest = max(float(np.abs(x).max()) for x in d)
    if fastest == 0.0:
        return np.zeros_like(np.asarray(function(*at[:4]), dtype=float)), 1.0
    h = 1e-2 * scale / fastest

    def value(x: float) -> Floats:
        Q, R, v = (b + x * e for b, e in zip(blocks, d, strict=True))
        return np.asarray(function(Q, R, at.T, v), dtype=float)

    def slope(step: float) -> Floats:
        return (value(step) - value(-step)) / (2 * step)

    # Central differences are exact for quadratic quantities; these two for quartic ones.
    rate = (4 * slope(h / 2) - slope(h)) / 3
    size = max(float(np.abs(value(0.0)).max()), 1e-300) * fastest / scale
    # A quantity that vanishes by cancellation still changes with its terms.
    terms = [_one(function, at, blocks, i, d[i], h) for i in range(3)]
    return rate, max(size, *terms)


def _one(
    f: Callable[..., Any], at: Blocks, blocks: list[Floats], i: int, e: Floats, h: float
) -> float:
    """Rate of change by the motion of one block alone."""
    ends = []
    for x in (h, -h):
        b = list(blocks)
        b[i] = b[i] + x * e
        ends.append(np.asarray(f(b[0], b[1], at.T, b[2]), dtype=float))
    return float(np.abs(ends[0] - ends[1]).max()) / (2 * h)


def _drift_of_run(ds: xr.Dataset, quantity: Any, rtol: float, factor: float) -> None:
    from odekit.measures.conserved import conserved
    from odekit.systems.committee.conserved import drift

    if callable(quantity):
        values = quantity(ds)
        change = (values - values.isel(time=0)).transpose(*values.dims)
        name, whole = getattr(quantity, "__name__", "quantity"), float(np.abs(values).max())
        _hold_drift(name, change, whole, ds, rtol, factor)
        return
    found = conserved(ds)
    names = [str(n) for n in found if f"{n}_drift" in found]
    if quantity is not None and quantity not in names:
        raise ProblemError(
            "quantity",
            f"must be conserved by this problem ({', '.join(names) or 'it has none'})",
            repr(quantity),
            "See odekit.measures.conserved.",
        )
    for name in names if quantity is None else [quantity]:
        moved, size = drift(found, name)
        _hold_drift(name, moved.fillna(0.0), size.fillna(1.0).values, ds, rtol, factor)


def _hold_drift(name: str, moved: Any, size: Any, ds: Any, rtol: float, factor: float) -> None:
    hold(
        f"{name} is conserved",
        name,
        moved.values,
        size=size,
        rtol=rtol,
        factor=factor,
        time=ds.time.values,
        dims=[str(d) for d in moved.dims],
    )


def assert_error_nonincreasing(
    subject: Any,
    at: Blocks | None = None,
    *,
    error: Callable[..., float] | None = None,
    t: float = 0.0,
    rtol: float | None = None,
    factor: float = FACTOR,
) -> None:
    """Assert that gradient flow never raises the loss it descends.

    A run: in every phase of gradient flow Σ_τ p_τ ε_τ + ½κ_w Σ_k Q_kk + ½κ_v Σ_τ p_τ |v_τ|² falls,
    which is the trained task's generalization error where there is neither mixture nor decay.
    Phases under a consolidation are left out: its copies are not in the dataset.

    Parameters
    ----------
    subject : callable or Dataset
        A right-hand side, or a finished run.
    at : Blocks
        Point of a right-hand side.
    error : callable, optional
        ``error(Q, R, T, v)`` of a right-hand side; its own method `error` by default.
    t, rtol, factor
        As in `assert_positive_semidefinite`; the unit for a right-hand side is 1e-10.

    Raises
    ------
    LawBroken
    ProblemError
        If no phase of the run is gradient flow without consolidation.
    """
    law = "gradient flow never raises the error"
    if at is None:
        found = losses(subject, committee_of(subject))
        if not found:
            raise ProblemError(
                "subject",
                "must have a phase of gradient flow without consolidation",
                f"{subject.sizes['phase_index']} phases, none of them such",
                "Online learning may raise the error; set gradient_flow=True.",
            )
        for index, loss, size in found:
            rise = loss.diff("time", label="upper")
            values = np.maximum(rise.values, 0.0)
            hold(law, f"loss of phase {index}", np.nan_to_num(values), size=size,
                 rtol=rtol or rtol_of(subject), factor=factor, time=rise.time.values,
                 dims=[str(d) for d in rise.dims])  # fmt: skip
        return
    measure = error or getattr(subject, "error", None)
    if measure is None:
        raise ProblemError("error", "must be the loss, as a function of (Q, R, T, v)", "None", "")
    if error is None and at.u is not None:
        own, u = measure, at.u

        def measure(*blocks: Any) -> float:
            return float(own(*blocks, u))

    rate, size = _along(measure, at, derivative(subject, t, at))
    hold(law, "d(error)/dt", np.maximum(rate, 0.0), size=size, rtol=rtol or ALONG_RTOL,
         factor=factor, time=t)  # fmt: skip


def assert_fixed_point(
    subject: Any,
    at: Blocks | None = None,
    *,
    t: float = 0.0,
    rtol: float | None = None,
    factor: float = FACTOR,
) -> None:
    """Assert that nothing moves: a student that equals its teacher, without noise.

    Parameters
    ----------
    subject : callable or Dataset
        A right-hand side, or a finished run that started at the fixed point.
    at : Blocks
        Point of a right-hand side.
    t, rtol, factor
        As in `assert_positive_semidefinite`.

    Raises
    ------
    LawBroken
    """
    law = "a fixed point stands still"
    if at is None:
        for name in ("Q", "R", "readout"):
            array = subject[name]
            moved: Any = (array - array.isel(time=0)).transpose(*array.dims)
            hold(law, name, moved.fillna(0.0).values, size=float(np.abs(array).max()),
                 rtol=rtol or rtol_of(subject), factor=factor, time=subject.time.values,
                 dims=[str(d) for d in array.dims])  # fmt: skip
        return
    size = max(float(np.abs(x).max()) for x in (at.joint, np.asarray(at.v)))
    for name, d in zip(("dQ", "dR", "dv"), derivative(subject, t, at), strict=True):
        hold(law, name, d, size=size, rtol=rtol or RHS_RTOL, factor=factor, time=t)
