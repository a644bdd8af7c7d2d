"""J and ∂f/∂θ of the drive in full at the stages of recorded steps, for `integrators.variations`.

Derivatives by a phase's numbers are differences along directions in its row of constants: exact but
for rounding by probabilities, masks, noise, labels, readouts and rates, of which the right-hand
side is a polynomial; of fourth order by the others. Errors are differentiated by the state and by
their own constants alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels._jit import kernel
from odekit_kernels.committee.driven import drive_row, drive_shifted
from odekit_kernels.committee.general import alone
from odekit_kernels.committee.general.differences import fill_steps, jacobian, put_trials
from odekit_kernels.committee.general.law import overlaps
from odekit_kernels.committee.general.rhs import errors
from odekit_kernels.integrators.runge_kutta import reach
from odekit_kernels.integrators.spectrum import radius_beyond
from odekit_kernels.lanes.values import pick, place, smaller
from odekit_kernels.simd import WIDTH

__all__ = [
    "GeneralTape",
    "drive",
    "errors_and_slopes",
    "fill_jacobian",
    "fill_stages",
    "flow",
    "radius",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
POINTS = WIDTH // 2
RATE_STEP = 0.25
"""By which learning rates are shifted: f is quadratic in them."""


class GeneralTape(NamedTuple):
    """A structured phase, and scratch memory.

    Attributes
    ----------
    plan, whole_plan : GeneralPlan
        Of the phase, and of one that watches all tasks of the problem.
    wiring, whole_wiring : Wiring
    M, M8, whole, whole8 : ndarray, shapes (size,) and (size, 8)
        Memories of one trajectory and of eight, with the constants of the two.
    places, whole_places : ndarray of int64
        Where the numbers of a row of constants stand in them.
    row, whole_row : ndarray
        The constants, those of the phase at the time that it was driven to.
    driven : Driven
        Which of the phase's follow schedules.
    shifted, weight, entry : ndarray, shapes (r, size), (r,) and (r,) of int64
        Rows; Σ weight f(row) over those of an entry is its derivative. Entries after θ are those of
        what moves in time.
    offset : ndarray, shape (r, driven)
        By how much rows are shifted in what is driven.
    whole_shifted, whole_weight, whole_entry : ndarray
        The same of the errors.
    wants : ndarray, shape (2,)
        1.0 where the derivative by a layer's learning rate is wanted.
    J, dy, out, steps : ndarray, shapes (n, n), (n,), (W,) and (1, n)
    """

    plan: Any
    whole_plan: Any
    wiring: Any
    whole_wiring: Any
    M: Array
    M8: Array
    whole: Array
    whole8: Array
    places: Indices
    whole_places: Indices
    row: Array
    whole_row: Array
    driven: Any
    shifted: Array
    weight: Array
    entry: Indices
    offset: Array
    whole_shifted: Array
    whole_weight: Array
    whole_entry: Indices
    wants: Array
    J: Array
    dy: Array
    out: Array
    steps: Array


@kernel(_nrt=False)
def load(M: Any, places: Any, row: Any) -> None:
    """Write a row of constants to the memory of one trajectory."""
    for i in range(row.shape[0]):
        M[places[i]] = row[i]


@kernel(_nrt=False)
def drive(t: float, tape: Any) -> None:
    """Put what follows schedules where it is at a time since the phase began."""
    drive_row(t, tape.driven, tape.row)
    for j in range(tape.driven.entry.shape[0]):
        entry = tape.driven.entry[j]
        tape.M[tape.places[entry]] = tape.row[entry]
        for lane in range(WIDTH):
            place(tape.M8, tape.places[entry], lane, tape.row[entry])


@kernel(_nrt=False)
def flow(y: Any, eta_w: float, eta_v: float, tape: Any, dy: Any) -> None:
    """Right-hand side at these rates."""
    tape.M[tape.plan.eta_w], tape.M[tape.plan.eta_v] = eta_w, eta_v
    alone.rhs(tape.M, tape.plan, tape.wiring, y, dy)


@kernel(_nrt=False)
def fill_jacobian(y: Any, eta_w: float, eta_v: float, tape: Any, J: Any) -> None:
    """Jacobian at these rates."""
    for lane in range(WIDTH):
        place(tape.M8, tape.plan.eta_w, lane, eta_w)
        place(tape.M8, tape.plan.eta_v, lane, eta_v)
    jacobian(tape.M8, tape.plan, tape.wiring, y, J)


@kernel(_nrt=False)
def radius(
    y: Any, eta_w: float, eta_v: float, enough: float, tape: Any, scratch: Any, three: Any
) -> Any:
    """Spectral radius of the Jacobian, see `radius_beyond`."""
    fill_jacobian(y, eta_w, eta_v, tape, tape.J)
    return radius_beyond(tape.J, enough, scratch, three)


@kernel(_nrt=False)
def fill_numbers(y: Any, eta_w: float, eta_v: float, tape: Any, f: Any, by_rate: Any) -> None:
    """Write the derivatives of the right-hand side by θ, (n, d), and by what moves in time.

    The latter are the rates of both layers, and what a phase has of `shifted` beyond d.
    """
    f[:] = 0.0
    by_rate[:] = 0.0
    dy = tape.dy
    for r in range(tape.shifted.shape[0]):
        load(tape.M, tape.places, tape.shifted[r])
        flow(y, eta_w, eta_v, tape, dy)
        entry = tape.entry[r]
        for i in range(dy.shape[0]):
            if entry < f.shape[1]:
                f[i, entry] += tape.weight[r] * dy[i]
            else:
                by_rate[i, 2 + entry - f.shape[1]] += tape.weight[r] * dy[i]
    load(tape.M, tape.places, tape.row)
    for layer in range(2):
        if tape.wants[layer] == 0.0:
            continue
        for sign in (1.0, -1.0):
            step = sign * RATE_STEP
            rate_w = eta_w + step if layer == 0 else eta_w
            rate_v = eta_v + step if layer == 1 else eta_v
            flow(y, rate_w, rate_v, tape, dy)
            for i in range(dy.shape[0]):
                by_rate[i, layer] += 0.5 / step * dy[i]


@kernel(_nrt=False)
def errors_and_slopes(y: Any, tape: Any, e: Any, e_y: Any, e_theta: Any) -> None:
    """Write the errors of all tasks (W,), with derivatives by state (W, n) and θ (W, d)."""
    m, w, M, n = tape.whole_plan, tape.whole_wiring, tape.whole8, y.shape[0]
    e_theta[:] = 0.0
    for r in range(tape.whole_shifted.shape[0]):
        load(tape.whole, tape.whole_places, tape.whole_shifted[r])
        alone.errors(tape.whole, m, w, y, tape.out)
        for task in range(m.W):
            e_theta[task, tape.whole_entry[r]] += tape.whole_weight[r] * tape.out[task]
    load(tape.whole, tape.whole_places, tape.whole_row)
    alone.errors(tape.whole, m, w, y, e)
    for lane in range(WIDTH):
        for i in range(n):
            place(M, m.y + i, lane, y[i])
    overlaps(M, m, m.y)
    fill_steps(M, m, w, y, tape.steps)
    for j in range(0, n, 2):
        put_trials(M, m, y, j, tape.steps)
        errors(M, m, w, m.y)
        for column in range(j, smaller(j + 2, n)):
            first, h = (column - j) * POINTS, tape.steps[0, column]
            for task in range(m.W):
                at = m.error + task
                slope = 8.0 * (pick(M, at, first + 2) - pick(M, at, first + 1))
                slope += pick(M, at, first) - pick(M, at, first + 3)
                e_y[task, column] = slope / (12.0 * h)


@kernel
def fill_stages(course: Any, pair: Any, tape: Any, W: int, out: Any) -> None:
    """Derivatives at the stages of recorded steps of a structured phase.

    Parameters
    ----------
    course : replay.Course
    pair : runge_kutta.Pair
    tape : GeneralTape
    W : int
        0, or the number of tasks: whether their errors are wanted.
    out : variations.Stages
        Receives them.
    """
    n, s = course.y.shape[1], pair.B.shape[0]
    k, at = np.zeros((s, n)), np.zeros(n)
    for step in range(course.h.shape[0]):
        for i in range(s):
            eta_w, eta_v = course.eta[step, i, 0], course.eta[step, i, 1]
            reach(course.y[step], course.h[step], pair.A[i], k, i, at)
            drive(course.t[step] + course.h[step] * pair.C[i], tape)
            drive_shifted(tape.driven, tape.row, tape.offset, tape.shifted)
            flow(at, eta_w, eta_v, tape, k[i])
            fill_jacobian(at, eta_w, eta_v, tape, out.J[step, i])
            fill_numbers(at, eta_w, eta_v, tape, out.f[step, i], out.by_rate[step, i])
            if W > 0:
                errors_and_slopes(at, tape, out.e[step, i], out.e_y[step, i], out.e_theta[step, i])
