"""Declared systems in lanes and for one trajectory: flow, errors, and the Jacobian.

The user's function sees one trajectory, as plain numbers: it may branch, and call what functions
it likes. Each lane is therefore copied to contiguous memory and back, some 2n + P moves beside a
call. A derivative that it does not write is NaN.
"""

# ruff: noqa: ARG001, ARG005 - numba reads a function's arguments from its signature

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from odekit_kernels._jit import alternatives, inner, kernel, outer
from odekit_kernels.lanes.values import lanes, larger, pick, place
from odekit_kernels.outside.functions import ON_DEVICE, call, compiled, record_at
from odekit_kernels.outside.plan import (
    DeclaredPlan,
    Wiring,
    Work,
    constants,
    make_plan,
    make_work,
    static,
)
from odekit_kernels.simd import WIDTH

__all__ = [
    "DeclaredPlan",
    "Wiring",
    "Work",
    "constants",
    "errors",
    "errors_of_rows",
    "flow",
    "jacobian",
    "losses",
    "make_plan",
    "make_work",
    "rhs",
    "slopes",
    "static",
]

STEP = 6e-6
"""Cube root of the rounding, the best step of central differences relative to the state."""
LEAST = 1e-2
"""Part of the largest entry that every entry is taken to be at least, for its step."""

# ------------------------------------------------------------------------------------ the functions


def derive(M: Any, m: Any) -> None:
    """Write the derivative of the state at `m.at` to `m.out`."""
    derive_by_address(M, m)


def judge(M: Any, m: Any) -> None:
    """Write the error of the state at `m.at` to `m.out`."""
    judge_by_address(M, m)


def derive_by_address(M: Any, m: Any) -> None:
    """`derive`, by the address in the plan."""
    call(m.rhs, M, flat(M, m.at), flat(M, m.given), M, flat(M, m.out))


def judge_by_address(M: Any, m: Any) -> None:
    """`judge`, by the address in the plan."""
    call(m.judge, M, flat(M, m.at), flat(M, m.given), M, flat(M, m.out))


@alternatives(derive, strict=False)
def _derive(M: Any, m: Any) -> Any:
    f = getattr(m.instance_class, "rhs_of", None)
    if f is None:
        return derive_by_address
    function, state, parameters = compiled(f.function, ON_DEVICE), f.state, f.parameters

    def derive_here(M: Any, m: Any) -> None:
        y, p = record_at(M, m.at, state), record_at(M, m.given, parameters)
        function(y, p, record_at(M, m.out, state))

    return derive_here


@alternatives(judge, strict=False)
def _judge(M: Any, m: Any) -> Any:
    f = getattr(m.instance_class, "judge_of", None)
    if f is None:
        return judge_by_address
    function, state, parameters = compiled(f.function, ON_DEVICE), f.state, f.parameters

    def judge_here(M: Any, m: Any) -> None:
        M[m.out] = function(record_at(M, m.at, state), record_at(M, m.given, parameters))

    return judge_here


def differentiate(M: Any, m: Any, square: Any) -> None:
    """Write the Jacobian at `m.at` of one trajectory by the user's function to `square`."""
    differentiate_by_address(M, m, square)


def differentiate_by_address(M: Any, m: Any, square: Any) -> None:
    """`differentiate`, by the address in the plan."""
    call(m.slopes, M, m.at, m.given, square, 0)


def nothing(M: Any, m: Any, square: Any) -> None:
    """`differentiate` where the user gave no function, and it is not called."""


@alternatives(differentiate, strict=False)
def _differentiate(M: Any, m: Any, square: Any) -> Any:
    if not hasattr(m.instance_class, "rhs_of"):
        return differentiate_by_address
    f = getattr(m.instance_class, "slopes_of", None)
    if f is None:
        return nothing
    function, state, parameters = compiled(f.function, ON_DEVICE), f.state, f.parameters

    def differentiate_here(M: Any, m: Any, square: Any) -> None:
        function(record_at(M, m.at, state), record_at(M, m.given, parameters), square)

    return differentiate_here


# ---------------------------------------------------------------------------- contiguous in a group


def flat(M: Any, block: int) -> int:
    """Where a block begins, counted in single doubles."""
    return block * WIDTH if M.ndim == 2 else block


def read(M: Any, block: int, j: int) -> float:
    """Number j of a contiguous block."""
    return float(M.reshape(-1)[flat(M, block) + j])


def write(M: Any, block: int, j: int, x: float) -> None:
    """Set number j of a contiguous block."""
    M.reshape(-1)[flat(M, block) + j] = x


@alternatives(flat, strict=False)
def _flat(M: Any, block: Any) -> Any:
    wide = isinstance(M, types.Array) and M.ndim == 2
    return (lambda M, block: block * WIDTH) if wide else (lambda M, block: block)


# Rows are whole: a block's number j lies in lane j % 8 of row j // 8.
@alternatives(read, strict=False)
def _read(M: Any, block: Any, j: Any) -> Any:
    if M.ndim == 2:
        return lambda M, block, j: M[block + j // WIDTH, j % WIDTH]
    return lambda M, block, j: M[block + j]


def _write_wide(M: Any, block: int, j: int, x: float) -> None:
    M[block + j // WIDTH, j % WIDTH] = x


def _write_single(M: Any, block: int, j: int, x: float) -> None:
    M[block + j] = x


@alternatives(write, strict=False)
def _write(M: Any, block: Any, j: Any, x: Any) -> Any:
    return _write_wide if M.ndim == 2 else _write_single


@inner
def gather(M: Any, first: int, count: int, block: int, lane: int) -> None:
    """Copy values of one lane to a contiguous block."""
    for j in range(count):
        write(M, block, j, pick(M, first + j, lane))


@inner
def forget(M: Any, m: Any) -> None:
    """Make what is to be written NaN."""
    for i in range(m.n):
        write(M, m.out, i, np.nan)


# ----------------------------------------------------------------------------------- flow and error


@inner
def give(M: Any, m: Any, s: int, lane: int) -> None:
    """Parameters of a task of the mixture, and the learning rates."""
    gather(M, m.parameters + s * m.P, m.P, m.given, lane)
    write(M, m.given, m.P, pick(M, m.eta_w, lane))
    write(M, m.given, m.P + 1, pick(M, m.eta_v, lane))


@inner
def rhs(M: Any, m: Any, y: Any, dy: Any) -> None:
    """Time derivative of the state at `y`, averaged over the tasks, to `dy`."""
    for lane in range(lanes(M)):
        gather(M, y, m.n, m.at, lane)
        for s in range(m.S):
            give(M, m, s, lane)
            forget(M, m)
            derive(M, m)
            share = pick(M, m.share + s, lane)
            for i in range(m.n):
                before = pick(M, dy + i, lane) if s > 0 else 0.0
                place(M, dy + i, lane, before + share * read(M, m.out, i))


@inner
def ignore_rates(M: Any, m: Any) -> None:
    """An error knows of no phase, and of no learning rate."""
    write(M, m.given, m.P, np.nan)
    write(M, m.given, m.P + 1, np.nan)


@outer
def errors(M: Any, m: Any, y: Any) -> None:
    """Errors of the watched tasks, to `m.error`."""
    ignore_rates(M, m)
    for lane in range(lanes(M)):
        gather(M, y, m.n, m.at, lane)
        for s in range(m.W):
            gather(M, m.watched + s * m.P, m.P, m.given, lane)
            write(M, m.out, 0, np.nan)
            judge(M, m)
            place(M, m.error + s, lane, read(M, m.out, 0))


# ----------------------------------------------------------------------------------------- Jacobian


@inner
def scaled(a: float, h: float, low: float, high: float, middle: float) -> float:
    """A derivative from values h below and above; from one side where the other is not finite."""
    if low - low != 0.0:
        return (high - middle) / h
    if high - high != 0.0:
        return (middle - low) / h
    return (high - low) / a


@inner
def differences(M: Any, m: Any, J: Any) -> None:
    """Jacobian of the state at `m.y` of one trajectory, by differences."""
    size = 0.0
    for i in range(m.n):
        size = larger(size, abs(M[m.y + i]))
    rhs(M, m, m.y, m.k)
    for j in range(m.n):
        y = M[m.y + j]
        h = STEP * larger(larger(abs(y), LEAST * size), LEAST)
        up, down = y + h, y - h
        M[m.y + j] = down
        rhs(M, m, m.y, m.trial)
        M[m.y + j] = up
        rhs(M, m, m.y, m.new)
        M[m.y + j] = y
        for i in range(m.n):
            J[i, j] = scaled(up - down, up - y, M[m.trial + i], M[m.new + i], M[m.k + i])


@inner
def given_slopes(M: Any, m: Any, square: Any, J: Any) -> None:
    """Jacobian of the state at `m.y` of one trajectory, by the user's function."""
    gather(M, m.y, m.n, m.at, 0)
    for s in range(m.S):
        give(M, m, s, 0)
        for i in range(m.n):
            for j in range(m.n):
                square[i, j] = 0.0
                if s == 0:
                    J[i, j] = 0.0
        differentiate(M, m, square)
        for i in range(m.n):
            for j in range(m.n):
                J[i, j] += M[m.share + s] * square[i, j]


@inner
def slopes_of(M: Any, m: Any, square: Any, y: Any, J: Any) -> None:
    """Jacobian at y, in the memory of one trajectory."""
    for i in range(m.n):
        M[m.y + i] = y[i]
    if m.slopes == 0:
        differences(M, m, J)
    else:
        given_slopes(M, m, square, J)


@outer
def jacobian(M: Any, m: Any, lane: int, work: Any, y: Any, J: Any) -> None:
    """Jacobian of a trajectory in a lane, with its state in `y`, to `J`."""
    for j in range(m.size):
        work.memory[j] = pick(M, j, lane)
    slopes_of(work.memory, m, work.square, y, J)


# ------------------------------------------------------------------------------ single trajectories


@inner
def load(M: Any, m: Any, y: Any, eta_w: float, eta_v: float) -> None:
    """State and learning rates of one trajectory."""
    M[m.eta_w], M[m.eta_v] = eta_w, eta_v
    for i in range(m.n):
        M[m.y + i] = y[i]


@kernel(_nrt=False)
def flow(M: Any, m: Any, y: Any, eta_w: float, eta_v: float, dy: Any) -> None:
    """Time derivative.

    Parameters
    ----------
    M : ndarray, shape (m.size,)
        Memory of one trajectory, shares and parameters in their places.
    m : DeclaredPlan
    y, dy : ndarray, shape (n,)
        State; receives its derivative.
    eta_w, eta_v : float
        Learning rates.
    """
    load(M, m, y, eta_w, eta_v)
    rhs(M, m, m.y, m.new)
    for i in range(m.n):
        dy[i] = M[m.new + i]


@kernel(_nrt=False)
def slopes(M: Any, m: Any, square: Any, y: Any, eta_w: float, eta_v: float, J: Any) -> None:
    """Jacobian of `flow`, to J (n, n); `square` has its shape."""
    load(M, m, y, eta_w, eta_v)
    slopes_of(M, m, square, y, J)


@kernel(_nrt=False)
def losses(M: Any, m: Any, y: Any, out: Any) -> None:
    """Errors of the watched tasks at y, to out (W,)."""
    for i in range(m.n):
        M[m.y + i] = y[i]
    errors(M, m, m.y)
    for s in range(m.W):
        out[s] = M[m.error + s]


@kernel(_nrt=False)
def errors_of_rows(M: Any, m: Any, rows: Any, tables: Any, out: Any) -> None:
    """Errors of every task in every row.

    Parameters
    ----------
    M, m
        Memory of one trajectory, and its plan.
    rows : ndarray, shape (points, rows, n)
    tables : ndarray, shape (points or 1, tasks, P)
        Parameters.
    out : ndarray, shape (points, rows, tasks)
    """
    ignore_rates(M, m)
    for b in range(rows.shape[0]):
        own = b if tables.shape[0] > 1 else 0
        for r in range(rows.shape[1]):
            for i in range(m.n):
                M[m.at + i] = rows[b, r, i]
            for s in range(tables.shape[1]):
                for j in range(m.P):
                    M[m.given + j] = tables[own, s, j]
                M[m.out] = np.nan
                judge(M, m)
                out[b, r, s] = M[m.out]
