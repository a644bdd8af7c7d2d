"""Steps of Radau with their stages in one call: those of scipy's own, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import Radau

from odekit.integrate.radau import StagesAtOnce


class Field:
    """Van der Pol's oscillator, called stage by stage or for many at once."""

    def __init__(self, mu):
        self.mu, self.single, self.many = mu, 0, 0

    def derivative(self, y):
        return np.array([y[1], self.mu * (1 - y[0] ** 2) * y[1] - y[0]])

    def __call__(self, t, y):
        self.single += 1
        return self.derivative(y)

    def at(self, t, y):
        assert y.flags.c_contiguous
        self.many += 1
        return np.array([self.derivative(row) for row in y])

    def jac(self, t, y):
        return np.array([[0, 1], [-2 * self.mu * y[0] * y[1] - 1, self.mu * (1 - y[0] ** 2)]])


@pytest.mark.parametrize(
    ("mu", "span", "rtol", "longest"),
    [(1, 20, 1e-6, np.inf), (1e3, 3e3, 1e-4, 20.0), (1e6, 3.0, 1e-8, np.inf), (50, 99, 1e-9, 0.3)],
)
def test_steps_are_those_of_scipy(mu, span, rtol, longest):
    """Through rejected steps, iterations that fail, and steps that are held short."""
    own, other = Field(mu), Field(mu)
    given = (0.0, np.array([2.0, 0.0]), span)
    options = {"rtol": rtol, "atol": 1e-3 * rtol, "max_step": longest}
    a = StagesAtOnce(own, *given, jac=own.jac, **options)
    b = Radau(other, *given, jac=other.jac, **options)
    while b.status == "running":
        assert a.step() == b.step()
        assert (a.status, a.t, a.h_abs) == (b.status, b.t, b.h_abs)
        np.testing.assert_array_equal(a.y, b.y)
        np.testing.assert_array_equal(a.J, b.J)
        inside = b.t_old + np.array([0.2, 0.7]) * (b.t - b.t_old)
        np.testing.assert_array_equal(a.dense_output()(inside), b.dense_output()(inside))
    assert own.single + 3 * own.many == other.single
    assert own.many > own.single / 2


def test_steps_of_no_length_are_given_up():
    """Towards infinity in finite time: dy/dt = y² from 1."""

    class Squared(Field):
        def derivative(self, y):
            return y**2

        def jac(self, t, y):
            return np.diag(2 * y)

    own, other = Squared(0), Squared(0)
    a = StagesAtOnce(own, 0.0, np.ones(1), 2.0, jac=own.jac)
    b = Radau(other, 0.0, np.ones(1), 2.0, jac=other.jac)
    with np.errstate(all="ignore"):
        while b.status == "running":
            assert a.step() == b.step()
    assert (a.status, a.t) == ("failed", b.t)
