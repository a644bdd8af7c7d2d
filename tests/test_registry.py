"""Integrators take the equations of a plan's own type, and none in their place."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
from numba.core.errors import TypingError

from committees import random_committee
from odekit_kernels._jit import NO_JIT, kernel
from odekit_kernels.committee import memory
from odekit_kernels.committee.activations import CODES, QUADRATURE
from odekit_kernels.committee.one import errors, jacobian, make_work, rhs
from odekit_kernels.committee.rows import errors_of_rows, moments_of_rows
from odekit_kernels.integrators import registry
from odekit_kernels.lanes.memory import MACHINERY, lay_out, machinery, make_memory
from odekit_kernels.lanes.values import get, put
from odekit_kernels.simd import WIDTH

Decay = namedtuple("Decay", MACHINERY)
Stranger = namedtuple("Stranger", MACHINERY)
REFUSED = TypeError if NO_JIT else (TypeError, TypingError)


def plan_of(kind, n):
    places = lay_out((f for f in MACHINERY if f not in ("n", "W", "size")), machinery(n, 0, 1))
    return kind(n=n, W=0, **places)


@kernel(_nrt=False)
def rhs_of(M, m, w, y, dy):
    registry.rhs(M, m, w, y, dy, True, False, False)


@kernel(_nrt=False)
def errors_of(M, m, w, y):
    registry.errors(M, m, w, y)


@kernel(_nrt=False)
def jacobian_of(M, m, b, work, J):
    registry.jacobian(M, m, b, J[0], 0, work, J[0], J)


def decay_rhs(M, m, w, y, dy, moves, trains, decays):
    for i in range(m.n):
        put(M, dy + i, -1.0 * get(M, y + i))


def decay_errors(M, m, w, y):
    put(M, m.error, get(M, y))


def decay_jacobian(M, m, b, row, lane, work, y, J):
    for j in range(m.n):
        J[j, j] = -1.0


DECAY = {"rhs": decay_rhs, "errors": decay_errors, "jacobian": decay_jacobian}


def test_a_registered_plan_has_its_own_equations():
    registry.register(Decay, **DECAY)
    m, w = plan_of(Decay, 2), (0,)
    M = make_memory(m.size)
    M[m.y : m.y + 2] = np.arange(2.0 * WIDTH).reshape(2, WIDTH)
    rhs_of(M, m, w, m.y, m.k)
    np.testing.assert_array_equal(M[m.k : m.k + 2], -M[m.y : m.y + 2])
    registry.register(Decay, **DECAY)
    with pytest.raises(TypeError, match="Decay have other equations"):
        registry.register(Decay, **{**DECAY, "errors": decay_rhs})


@pytest.mark.parametrize("call", [rhs_of, errors_of, jacobian_of])
def test_a_plan_that_nobody_registered_is_named(call):
    m = plan_of(Stranger, 2)
    rest = {
        rhs_of: ((0,), m.y, m.k),
        errors_of: ((0,), m.y),
        jacobian_of: ((0,), (0,), np.zeros((2, 2))),
    }
    with pytest.raises(REFUSED, match=r"no equations are registered for plans of type.*Stranger"):
        call(make_memory(m.size), m, *rest[call])


@pytest.mark.parametrize("plan", [int, Decay(*range(len(MACHINERY))), dict])
def test_only_types_of_named_tuples_can_be_registered(plan):
    with pytest.raises(TypeError, match="`plan` must be a type of named tuples"):
        registry.register(plan, **DECAY)


# ----------------------------------------------------------------------------- codes of activations


@pytest.mark.parametrize("code", [3, -2, max(CODES.values()) + 1])
def test_a_plan_with_an_unknown_activation_is_refused(code):
    with pytest.raises(ValueError, match=r"`activation` must be one of 0 \(erf\).*got"):
        memory.make_plan(2, 2, 1, 1, 0, 1, code, True, 0)


@pytest.mark.parametrize("code", [7, QUADRATURE])
@pytest.mark.parametrize("rates", [(0.5, 0.0), (0.0, 0.5)])
def test_one_trajectory_with_an_unknown_activation_is_refused(code, rates):
    """It had ReLU's equations."""
    y, system = random_committee(np.random.default_rng(0), activation=code, inverse_batch=0.0)
    work, dy = make_work(2, 2, 1, 1), np.full_like(y, np.nan)
    with pytest.raises(ValueError, match="no compiled moments"):
        rhs(y, *rates, system, work, dy)
    with pytest.raises(ValueError, match="no compiled moments"):
        jacobian(y, *rates, system, work, np.empty((len(y), len(y))))
    with pytest.raises(ValueError, match="no compiled moments"):
        errors(y, code, system.T, system.u, system.head, work, np.empty(1))


def test_lanes_without_compiled_moments_are_nan():
    y, system = random_committee(np.random.default_rng(0))
    m = memory.make_plan(2, 2, 1, 1, 0, 1, QUADRATURE, True, 0)
    given = (
        system.head,
        y[np.newaxis],
        system.T[np.newaxis],
        system.u[np.newaxis],
        np.zeros(1, int),
    )
    out = np.zeros((1, 1))
    errors_of_rows(make_memory(m.size), m, *given, out)
    assert np.isnan(out).all()
    I2, J2 = np.zeros(3), np.zeros(3)
    moments_of_rows(make_memory(m.size), m, np.ones(3), I2, J2)
    assert np.isnan(I2).all()
    assert np.isnan(J2).all()
