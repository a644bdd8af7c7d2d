"""Symmetries: what a relabelling of units, signs or directions must do to the flow, or to a run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import ProblemError
from odekit.systems.committee.problem import Problem
from odekit.systems.committee.state import OrderParameters
from odekit.testing.blocks import Blocks, derivative
from odekit.testing.report import FACTOR, RHS_RTOL, committee_of, hold, rtol_of

if TYPE_CHECKING:
    import xarray as xr

    from odekit.testing.report import Floats

    Rerun = Callable[[Problem], xr.Dataset]


class Move:
    """A symmetry as matrices: units W → S W, fixed vectors B → O B."""

    def __init__(self, S: Floats, O: Floats) -> None:
        self.S, self.O = S, O

    def blocks(self, b: Blocks) -> Blocks:
        """The blocks of the moved vectors; readouts move along."""
        S, O = self.S, self.O
        u = None if b.u is None else np.asarray(b.u) @ O.T
        return Blocks(S @ b.Q @ S.T, S @ b.R @ O.T, O @ b.T @ O.T, np.asarray(b.v) @ S.T, u)

    def problem(self, problem: Problem) -> Problem:
        """The problem of the moved vectors."""
        state, order = problem.state, np.abs(self.S).argmax(axis=1)
        phases = [
            phase
            if phase.frozen is None
            else dataclasses.replace(phase, frozen=[phase.frozen[k] for k in order])
            for phase in problem.phases
        ]
        return problem.replace(
            state=OrderParameters(
                Q=_apply(_apply(state.Q, self.S, -1), self.S, -2),
                R=_apply(_apply(state.R, self.O, -1), self.S, -2),
                T=_apply(_apply(state.T, self.O, -1), self.O, -2),
            ),
            heads={name: _apply(v, self.S, -1) for name, v in problem.heads.items()},
            tasks={
                name: dataclasses.replace(task, readout=_apply(task.readout, self.O, -1))
                for name, task in problem.tasks.items()
            },
            phases=phases,
        )


def _apply(value: Any, matrix: Floats, axis: int) -> Any:
    """A matrix along one of the last axes, of an array or a labelled array."""
    plain = np.moveaxis(np.moveaxis(np.asarray(value), axis, -1) @ matrix.T, -1, axis)
    return value.copy(data=plain) if hasattr(value, "dims") else plain


def assert_permutation_equivariant(
    subject: Any,
    at: Blocks | None = None,
    *,
    order: Any = None,
    vectors: Any = None,
    t: float = 0.0,
    rerun: Rerun | None = None,
    rtol: float | None = None,
    factor: float = FACTOR,
) -> None:
    """Assert that relabelling units (and fixed vectors) commutes with the flow.

    Parameters
    ----------
    subject : callable or Dataset
        A right-hand side (see `odekit.testing.Flow`), or a finished run, whose problem is solved
        once more with its units relabelled.
    at : Blocks
        Point of a right-hand side.
    order : sequence of int, shape (K,), optional
        New order of the student's units; all are shifted by one by default.
    vectors : sequence of int, shape (P,), optional
        New order of the fixed vectors; theirs is kept by default. Needs ``at.u``.
    t : float
        Time of a right-hand side.
    rerun : callable, optional
        Solves a problem as `subject` was; by default `odekit.solve` with its options and times.
    rtol : float, optional
        Unit of the tolerance: 1e-14 for a right-hand side, the run's own for a run.
    factor : float
        Deviation allowed, in units of rtol.

    Raises
    ------
    LawBroken
        An AssertionError that names the worst entry.

    Examples
    --------
    >>> import numpy as np
    >>> def decay(t, Q, R, T, v):
    ...     return -2 * Q, -R, -v
    >>> assert_permutation_equivariant(decay, Blocks.of(np.eye(3), 2, v=[1.0, 2.0]))
    """
    K, P = _sizes(subject, at)
    S = np.eye(K)[np.roll(np.arange(K), 1) if order is None else list(order)]
    O = np.eye(P) if vectors is None else np.eye(P)[list(vectors)]
    _commutes(
        "relabelling units commutes with the flow", subject, at, Move(S, O), t, rerun, rtol, factor
    )


def assert_sign_equivariant(
    subject: Any,
    at: Blocks | None = None,
    *,
    signs: Any = None,
    vectors: Any = None,
    t: float = 0.0,
    rerun: Rerun | None = None,
    rtol: float | None = None,
    factor: float = FACTOR,
) -> None:
    """Assert that w_k → −w_k, v_k → −v_k commutes with the flow, as it does for an odd g.

    Parameters
    ----------
    subject, at, t, rerun, rtol, factor
        As in `assert_permutation_equivariant`.
    signs : sequence of ±1, shape (K,), optional
        Which units turn over; every other one, from the first, by default.
    vectors : sequence of ±1, shape (P,), optional
        Which fixed vectors turn over with their readouts; none by default. Needs ``at.u``.

    Raises
    ------
    LawBroken
    """
    K, P = _sizes(subject, at)
    s = np.where(np.arange(K) % 2, 1.0, -1.0) if signs is None else np.asarray(signs, dtype=float)
    b = np.ones(P) if vectors is None else np.asarray(vectors, dtype=float)
    move = Move(np.diag(s), np.diag(b))
    _commutes(
        "turning units over commutes with the flow", subject, at, move, t, rerun, rtol, factor
    )


def assert_rotation_invariant(
    subject: Any,
    at: Blocks | None = None,
    *,
    vectors: Any = None,
    seed: int = 0,
    t: float = 0.0,
    rerun: Rerun | None = None,
    rtol: float | None = None,
    factor: float = FACTOR,
) -> None:
    """Assert that another basis of fixed vectors changes nothing but their own overlaps.

    Only overlaps matter, and the fixed vectors that no task uses only look on: B → OB among them
    turns their columns of R and leaves everything else alone. For linear g it holds for all of
    them, the teachers' readouts u → Ou turning along.

    Parameters
    ----------
    subject, at, t, rerun, rtol, factor
        As in `assert_permutation_equivariant`.
    vectors : sequence of int, optional
        Fixed vectors among which to turn; those that no task uses by default. Needs ``at.u``, or
        else is needed itself.
    seed : int
        Of the random rotation.

    Raises
    ------
    LawBroken
    """
    _, P = _sizes(subject, at)
    chosen = _unused(subject, at, P) if vectors is None else list(vectors)
    if len(chosen) < 1:
        raise ProblemError(
            "vectors",
            "must hold the fixed vectors to turn",
            "none, and every one is used by a task",
            "Add fixed vectors with readout 0, or name those of a linear network.",
        )
    O = np.eye(P)
    gaussian = np.random.default_rng(seed).standard_normal((len(chosen), len(chosen)))
    O[np.ix_(chosen, chosen)] = np.linalg.qr(gaussian)[0]
    K = _sizes(subject, at)[0]
    _commutes(
        "turning the basis of fixed vectors changes nothing else",
        subject,
        at,
        Move(np.eye(K), O),
        t,
        rerun,
        rtol,
        factor,
    )


# ------------------------------------------------------------------------------------------ helpers


def _sizes(subject: Any, at: Blocks | None) -> tuple[int, int]:
    if at is not None:
        K, P = np.shape(at.R)
        return K, P
    if not hasattr(subject, "sizes"):
        raise ProblemError(
            "at", "must be the Blocks at which to test a right-hand side", "None", ""
        )
    return subject.sizes["student"], subject.sizes["teacher"]


def _unused(subject: Any, at: Blocks | None, P: int) -> list[int]:
    if at is None:
        problem = committee_of(subject)
        rows = [np.abs(np.asarray(task.readout)).reshape(-1, P) for task in problem.tasks.values()]
        used = np.concatenate(rows).max(axis=0)
    elif at.u is None:
        raise ProblemError("vectors", "must be given where `at.u` is not", "None", "")
    else:
        used = np.abs(np.atleast_2d(at.u)).max(axis=0)
    return [int(n) for n in np.flatnonzero(used == 0)]


def _commutes(
    law: str,
    subject: Any,
    at: Blocks | None,
    move: Move,
    t: float,
    rerun: Rerun | None,
    rtol: float | None,
    factor: float,
) -> None:
    if at is None:
        _runs_alike(law, subject, move, rerun, rtol, factor)
        return
    dQ, dR, dv = derivative(subject, t, at)
    moved = derivative(subject, t, move.blocks(at))
    S, O = move.S, move.O
    expected = (S @ dQ @ S.T, S @ dR @ O.T, dv @ S.T)
    size = max(float(np.abs(x).max(initial=0.0)) for x in (*moved, *expected, at.joint, at.v))
    for name, found, wanted in zip(("dQ", "dR", "dv"), moved, expected, strict=True):
        hold(law, name, found - wanted, size=size, rtol=rtol or RHS_RTOL, factor=factor, time=t)


def _runs_alike(
    law: str, ds: xr.Dataset, move: Move, rerun: Rerun | None, rtol: float | None, factor: float
) -> None:
    problem = committee_of(ds)
    other = (rerun or solver_of(ds))(move.problem(problem))
    S, O = move.S, move.O
    pairs = {
        "Q": _apply(_apply(ds.Q.values, S, -1), S, -2),
        "R": _apply(_apply(ds.R.values, O, -1), S, -2),
        "readout": _apply(ds.readout.values, S, -1),
        "generalization_error": ds.generalization_error.values,
    }
    reached = np.isfinite(ds.Q.values).all(axis=(-1, -2))
    for name, wanted in pairs.items():
        off = np.where(_like(reached, wanted), other[name].values - wanted, 0.0)
        hold(
            law,
            name,
            off,
            size=float(np.nanmax(np.abs(wanted))),
            rtol=rtol or rtol_of(ds),
            factor=factor,
            time=ds.time.values,
            dims=[str(d) for d in ds[name].dims],
        )


def _like(rows: Any, values: Any) -> Any:
    """Rows spread over the core axes of an array."""
    return rows.reshape(rows.shape + (1,) * (values.ndim - rows.ndim))


def solver_of(ds: xr.Dataset) -> Rerun:
    """A function that solves a problem with the options and at the times of a result."""
    from odekit.verbs.solve import solve

    options = json.loads(ds.attrs.get("odekit_solver", "{}"))
    options["t_eval"] = ds.time.values

    def again(problem: Problem) -> xr.Dataset:
        return solve(problem, **options)

    return again
