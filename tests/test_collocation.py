"""Steps of Radau IIA: their stages, and derivatives through them, of a small nonlinear system."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

from odekit.integrate import collocation
from odekit_kernels.integrators.variations import make_stages

M = np.array([[-2.0, 0.7, 0.1], [0.3, -40.0, 5.0], [-0.2, 1.0, -1.5]])


def f(y, a):
    return M @ y + a[0] * np.sin(y[::-1]) + a[1] * y**2


def jac(y, a):
    return M + a[0] * np.fliplr(np.diag(np.cos(y[::-1]))) + a[1] * np.diag(2 * y)


def steps(y, a, h):
    found = []
    for step in h:
        stages = collocation.solved(
            y, step, np.tile(y, (3, 1)), lambda _, at: f(at, a), lambda _, at: jac(at, a)
        )
        found.append(stages)
        y = stages[-1]
    return np.array(found)


Y, PLACE, LENGTHS = np.array([0.5, -0.3, 0.8]), np.array([0.9, -0.4]), np.array([0.3, 0.5, 1.1])


def integral(states, h):
    return np.sum(h[:, np.newaxis] * collocation.B * (states**3).sum(axis=-1))


def derivatives(states, a):
    stages = make_stages(len(states), 3, 3, 2, 1)
    for step, part in enumerate(states):
        for i, at in enumerate(part):
            stages.J[step, i] = jac(at, a)
            stages.f[step, i] = np.stack([np.sin(at[::-1]), at**2], axis=1)
            stages.e_y[step, i, 0] = 3 * at**2
    return stages


def test_order_five():
    # Errors of a smooth stretch fall as h⁵: halved steps are 32 times as good.
    exact = solve_ivp(lambda _, y: f(y, PLACE), (0, 0.2), Y, "Radau", rtol=1e-13, atol=1e-14)
    off = [
        np.abs(steps(Y, PLACE, np.full(n, 0.2 / n))[-1, -1] - exact.y[:, -1]).max() for n in (8, 16)
    ]
    assert 20 < off[0] / off[1] < 45


def test_derivatives_of_the_steps_that_were_taken():
    states, rows = steps(Y, PLACE, LENGTHS), np.array([-1, 0, -1])
    stages = derivatives(states, PLACE)
    # Parameters: the start, and both numbers; readings: a row, the end and the integral.
    S, Z = np.eye(3, 5), np.zeros((1, 5))
    theta, along = np.eye(2, 5, 3), np.zeros((0, 2), dtype=int)
    out = np.zeros((1, 3, 5)), np.zeros((1, 1, 5))
    collocation.forward(stages, LENGTHS, rows, S, theta, along, np.zeros((0, 3, 3)), Z, *out)

    def taken(x):
        found = steps(x[:3], x[3:], LENGTHS)
        return np.concatenate([found[1, -1], found[-1, -1], [integral(found, LENGTHS)]])

    x, wanted = np.concatenate([Y, PLACE]), np.zeros((7, 5))
    for j, d in enumerate(1e-3 * np.eye(5)):
        wanted[:, j] = 8 * (taken(x + d) - taken(x - d)) - (taken(x + 2 * d) - taken(x - 2 * d))
    found = np.concatenate([out[0][0], S, Z])
    np.testing.assert_allclose(found, wanted / 12e-3, rtol=0, atol=1e-10)

    lam, zeta = np.concatenate([np.zeros((3, 3)), np.eye(3), np.zeros((1, 3))]), np.eye(7)[:, 6:]
    bump = np.concatenate([np.eye(3), np.zeros((4, 3))])[np.newaxis]
    theta_bar, by_rate = np.zeros((7, 2)), np.zeros((7, 3, 3, 2))
    given = (lam, np.ascontiguousarray(zeta), bump, np.zeros((1, 7, 1)), theta_bar, by_rate)
    collocation.backward(stages, LENGTHS, rows, *given)
    np.testing.assert_allclose(np.hstack([lam, theta_bar]), found, rtol=0, atol=1e-14)


def test_stages_that_cannot_be_solved_are_none():
    nowhere = collocation.solved(
        Y, 1.0, np.tile(Y, (3, 1)), lambda _, at: 1 + 10 * at**2, lambda _, at: np.diag(20 * at)
    )
    assert nowhere is None
