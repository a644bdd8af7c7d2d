"""The drive in full, against its equations written out and those of less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

import test_groups_kernels as old
import transcription_inputs as inputs
from general_committees import flat, given_of, memory_of, of_groups, row_of, sizes_of, wiring_of
from odekit_kernels._jit import kernel
from odekit_kernels.committee.activations import ERF, LINEAR, QUADRATURE, RELU
from odekit_kernels.committee.general import equations
from odekit_kernels.committee.general.alone import errors, rhs
from odekit_kernels.committee.general.differences import jacobian
from odekit_kernels.committee.general.plan import (
    ADAGRAD,
    RMS,
    GeneralPlan,
    constants,
    layout,
    make_plan,
)
from odekit_kernels.committee.rows import errors_of_groups_of_rows
from odekit_kernels.integrators.registry import equations_of
from odekit_kernels.integrators.registry import rhs as registered_rhs
from odekit_kernels.lanes.memory import make_memory, places_of
from odekit_kernels.simd import WIDTH
from test_transcription_inputs import setting
from transcription_inputs import State

EPS = np.finfo(float).eps
WIDTHS = {
    ERF: [1.0, 1.0, 2.0, 2.0],
    QUADRATURE: [1.0] * 4,
    RELU: [1.0] * 4,
    LINEAR: [-1.0, -1.0, 2.0, 2.0],
}


def full(activation=ERF, size=0.4):
    """Two groups, clusters, labels, biases, outputs, heads, dropout, penalties: all of it."""
    start, vectors, phase = setting(1, size=size)
    if activation == LINEAR:
        vectors = replace(vectors, g=lambda x: x, slope=np.ones_like)
    return start, vectors, phase


def alone(start, vectors, phase, activation=ERF, scale=1.0, **more):
    """Memory, plan and wiring of one trajectory; `more` goes to sizes or to constants."""
    names = set(more) & {"heavy", "adaptive", "biases"}
    plan = make_plan(sizes_of(start, phase, activation=activation, **{n: more[n] for n in names}))
    given = given_of(start, vectors, phase, scale) | {n: more[n] for n in set(more) - names}
    return memory_of(plan, row_of(plan, given)), plan, wiring_of(start, phase, WIDTHS[activation])


def derivative(made, y):
    """The right-hand side at y."""
    dy = np.full_like(y, np.nan)
    rhs(*made, y, dy)
    return dy


def found_errors(made, y):
    out = np.full(made[1].W, np.nan)
    errors(*made, y, out)
    return out


@kernel(_nrt=False)
def in_lanes(M, m, w, y, dy):
    registered_rhs(M, m, w, y, dy, True, True, True)


# ------------------------------------------------------------------------------ written out


@pytest.mark.parametrize("activation", [ERF, LINEAR])
def test_with_all_that_there_is_it_is_the_literal_one(activation):
    """So small fields need no more than 22 nodes a dimension for rounding."""
    start, vectors, phase = full(activation)
    made = alone(start, vectors, phase, activation, 0.7)
    y = flat(start)
    expected = flat(inputs.rhs(start, vectors, phase, 22))
    assert np.abs(expected).min() > 1e-5
    assert_allclose(derivative(made, y), expected, rtol=0, atol=100 * EPS)
    expected = inputs.errors(start, vectors, phase.tasks, 22, 0.7)
    assert_allclose(found_errors(made, y), expected, rtol=0, atol=100 * EPS)


@pytest.mark.parametrize("activation", [ERF, LINEAR])
def test_lanes_are_one_trajectory(activation):
    start, vectors, phase = full(activation, 1.0)
    M, plan, w = alone(start, vectors, phase, activation, heavy=1, adaptive=RMS, floor=0.1)
    y = np.random.default_rng(0).uniform(0.1, 0.2, plan.n)
    y[: flat(start).size] = flat(start)
    M8 = make_memory(plan.size)
    M8[:] = M[:, None]
    M8[plan.y : plan.y + plan.n] = y[:, None]
    in_lanes(M8, plan, w, plan.y, plan.k)
    dy, out = derivative((M, plan, w), y), found_errors((M, plan, w), y)
    lanes = M8[plan.k : plan.k + plan.n]
    assert_allclose(lanes, np.tile(dy[:, None], WIDTH), rtol=0, atol=300 * EPS)
    places, row = places_of(constants(plan)), M[None, places_of(constants(plan))]
    found, which = np.empty((11, plan.W)), np.zeros(11, dtype=np.int64)
    rows = np.repeat(y[None], 11, axis=0)
    errors_of_groups_of_rows(M8, plan, w, rows, row, places, which, found)
    assert_allclose(found, np.tile(out, (11, 1)), rtol=0, atol=100 * EPS)
    assert equations_of(GeneralPlan).rhs is equations.rhs


# --------------------------------------------------------------------------------- reductions


@pytest.mark.parametrize("activation", [ERF, LINEAR, RELU])
@pytest.mark.parametrize("name", old.PROBLEMS)
def test_with_groups_alone_it_is_that_of_groups(name, activation):
    """Right-hand side, errors and Jacobian; with means of 0, and with moments that know of none."""
    y, system = old.make(name, activation, seed=1)
    sizes, given, w = of_groups(y, system, old.RATES)
    plan = make_plan(sizes)
    row = row_of(plan, given)
    made = (memory_of(plan, row), plan, w)
    work, S = old.work_for(y, system), len(system.p)
    dy, out, J = np.empty_like(y), np.empty(S), np.empty((len(y), len(y)))
    old.rhs(y, *old.RATES, system, work, dy)
    assert_allclose(derivative(made, y), dy, rtol=0, atol=500 * EPS)
    zero = (made[0], plan._replace(means=1), w)
    assert_allclose(derivative(zero, y), dy, rtol=0, atol=500 * EPS)
    given = (system.T, system.inputs, system.u, system.head)
    old.errors(y, activation, *given, work, out)
    assert_allclose(found_errors(made, y), out, rtol=0, atol=100 * EPS)
    old.jacobian(y, *old.RATES, system, work, J)
    found = np.full_like(J, np.nan)
    jacobian(memory_of(plan, row, lanes=True), plan, w, y, found)
    # Differences of fourth order: ReLU has a root where two fields coincide.
    tolerance = 1e-7 if activation == RELU else 1e-11
    assert_allclose(found, J, rtol=0, atol=tolerance * max(1.0, np.abs(J).max()))


@pytest.mark.parametrize(
    ("name", "off"), [("gradient flow", 1e-13), ("three groups, two laws", 1e-7)]
)
def test_a_sign_teacher_is_an_erf_of_large_fields(name, off):
    """A width of 1/SHARP² leaves E[sign²] off by its root, 1e-8, in the η² line alone."""
    sharp, (y, system) = 1e8, old.make(name, ERF, seed=4)
    sizes, given, w = of_groups(y, system, old.RATES)
    w.width[sizes.K :] = 0.0
    plan = make_plan(sizes)
    made, dy = (memory_of(plan, row_of(plan, given)), plan, w), np.empty_like(y)
    inside = system.inputs
    inside = inside._replace(st=sharp * inside.st, tt=sharp**2 * inside.tt)
    old.rhs(y, *old.RATES, system._replace(inputs=inside), old.work_for(y, system), dy)
    assert_allclose(derivative(made, y), dy, rtol=0, atol=off)


def test_readout_penalties_hold_every_output_of_their_head():
    start, vectors, phase = full()
    y, rng = flat(start), np.random.default_rng(3)
    F_v, held = rng.random((1, 2)), rng.normal(size=(1, 2, 2))
    made = alone(start, vectors, phase, F_v=F_v, v_anchor=held)
    change = derivative(made, y) - derivative(alone(start, vectors, phase), y)
    first, shape = layout(made[1])["heads"]
    expected = np.zeros(shape)
    # The penalty is of head 0, which the first two tasks train.
    expected[0] = -phase.eta_v * phase.p[:2].sum() * F_v * (start.heads[0] - held[0])
    assert_allclose(change[first : first + expected.size], expected.ravel(), rtol=0, atol=20 * EPS)
    assert not np.delete(change, np.arange(first, first + expected.size)).any()


# ------------------------------------------------------------------------------ heavy ball, rates


def with_passive(start, vectors, phase, X, Y, Z):
    """The same with velocities and copies of the units as fixed vectors, which drive nothing."""
    Q, R, T = start.Q, start.R, vectors.T
    Xt, Yt, Rt = (np.swapaxes(x, 1, 2) for x in (X, Y, R))
    rows = [np.concatenate(x, axis=2) for x in ((T, Yt, Rt), (Y, Z, X), (R, Xt, Q))]
    pad = (0, 4)
    tasks = tuple(
        replace(t, readout=np.pad(t.readout, ((0, 0), pad)), mean=np.pad(t.mean, pad))
        if np.ndim(t.mean)
        else replace(t, readout=np.pad(t.readout, ((0, 0), pad)))
        for t in phase.tasks
    )
    return (
        State(Q, np.concatenate([R, Xt, Q], axis=2), start.heads, start.bias),
        replace(
            vectors,
            T=np.concatenate(rows, axis=1),
            teacher_bias=np.pad(vectors.teacher_bias, pad),
        ),
        replace(phase, tasks=tasks),
    )


def test_velocities_are_passive_vectors():
    """Steps along fixed vectors that drive nothing make the equations of section 14."""
    start, vectors, phase = full(size=1.0)
    phase = replace(phase, move=np.array([1.0, 0.0]))
    rng, gamma, K, P, G = np.random.default_rng(2), 1.7, 2, 2, 2
    X, Y, W = rng.normal(size=(G, K, K)), rng.normal(size=(G, K, P)), rng.normal(size=(G, K, 5))
    Z, heads, bias = (
        W @ np.swapaxes(W, 1, 2),
        rng.normal(size=start.heads.shape),
        rng.normal(size=K),
    )
    k, l = np.triu_indices(K)
    velocities = [
        np.concatenate([x.ravel(), y.ravel(), z[k, l]]) for x, y, z in zip(X, Y, Z, strict=True)
    ]
    y = np.concatenate([flat(start), *velocities, heads.ravel(), bias])
    made = alone(start, vectors, phase, heavy=1, friction=gamma)
    assert layout(made[1])["bias_velocities"] == (len(y) - K, (K,))
    found = derivative(made, y)

    start, vectors, phase = with_passive(start, vectors, phase, X, Y, Z)
    M, plan, w = alone(start, vectors, phase)
    w = w._replace(width=np.array([1.0, 1.0, 2.0, 2.0, *[1.0] * 4]))
    step = derivative((M, plan, w), flat(start))
    m, blocks = phase.move, []
    for g in range(G):
        size = 3 + K * (P + 2 * K)
        dQ, A = step[g * size :][:3], step[g * size + 3 :][: size - 3].reshape(K, -1)
        along_B, along_v, along_w = A[:, :P], A[:, P : P + K], A[:, P + K :]
        square = dQ - (along_w + along_w.T)[k, l]
        dX = m[:, None] * (along_w - gamma * X[g]) + m * Z[g]
        dY = m[:, None] * (along_B - gamma * Y[g])
        dZ = along_v + along_v.T - gamma * (m[:, None] + m) * Z[g]
        moved = m[:, None] * X[g]
        blocks.append(np.concatenate([(moved + moved.T)[k, l], (m[:, None] * Y[g]).ravel()]))
        velocities[g] = np.concatenate([dX.ravel(), dY.ravel(), dZ[k, l] + square])
    rest = G * size
    d_heads, d_bias = step[rest : rest + heads.size], step[rest + heads.size :]
    expected = [*blocks, heads.ravel(), bias, *velocities]
    expected += [d_heads - gamma * heads.ravel(), d_bias - gamma * bias]
    assert_allclose(found, np.concatenate(expected), rtol=0, atol=300 * EPS)


@pytest.mark.parametrize("adaptive", [ADAGRAD, RMS])
def test_rates_fall_with_the_squared_gradients_of_units_that_move(adaptive):
    start, vectors, phase = full()
    phase = replace(phase, move=np.array([1.0, 0.0]))
    B, forget, floor = 1.6, 0.7, 0.3
    made = alone(start, vectors, phase, adaptive=adaptive, forget=forget, floor=floor)
    found = derivative(made, np.append(flat(start), B))
    factor = 1 / np.sqrt(B + (floor if adaptive == RMS else 0.0))
    rates = {n: factor * getattr(phase, n) for n in ("eta_w", "eta_v", "eta_b")}
    slow = replace(phase, **rates)
    literal = inputs.rhs(start, vectors, slow, 22)
    assert_allclose(found[:-1], flat(literal), rtol=0, atol=100 * EPS)
    quiet = inputs.rhs(start, vectors, replace(slow, inverse_batch=0.0), 22)
    # What the η² line adds is η² E|∇_w|² per coordinate.
    power = np.trace(literal.Q - quiet.Q, axis1=1, axis2=2) / rates["eta_w"] ** 2
    gradient = vectors.fractions @ power
    assert found[-1] == pytest.approx(gradient if adaptive == ADAGRAD else forget * (gradient - B))
