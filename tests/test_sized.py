"""Sizes written into the equations as they are compiled, against the version for all sizes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from odekit_kernels._jit import kernel
from odekit_kernels.committee import lanes
from odekit_kernels.committee.activations import ERF, LINEAR
from odekit_kernels.committee.memory import (
    CommitteePlan,
    First,
    SizedPlan,
    Wiring,
    constants,
    make_plan,
)
from odekit_kernels.committee.sized import PLACES, SIZES, STEPS, has_sizes, with_places, with_sizes
from odekit_kernels.integrators import registry
from odekit_kernels.lanes.memory import firsts, make_memory

EPS = np.finfo(float).eps


@kernel(_nrt=False)
def of_any_size(M, m, w):
    lanes.rhs(M, m, w, m.y, m.k, True, True, True)


@kernel(_nrt=False)
def of_its_size(M, m, w):
    registry.rhs(M, m, w, m.y, m.k, True, True, True)


def plan(**changed):
    sizes = {"K": 2, "P": 2, "H": 1, "S": 1, "c": 0, "W": 0, "activation": ERF, "online": True}
    return make_plan(**{**sizes, "stages": 1, **changed})


def group(m, seed=0):
    """Memory of eight random trajectories of a plan with the written sizes, and its wiring."""
    rng, M = np.random.default_rng(seed), make_memory(m.size)
    for lane in range(8):
        w, teachers = rng.normal(size=(2, 5)) / 2, rng.normal(size=(2, 5)) / 2
        Q, R = w @ w.T, w @ teachers.T
        M[m.y : m.y + 9, lane] = [*Q[np.triu_indices(2)], *R.ravel(), *rng.normal(size=2)]
        for name, value in {"T": teachers @ teachers.T, "u": rng.normal(size=(1, 2))}.items():
            M[constants(m)[name].ravel(), lane] = value.ravel()
        for name in ("eta_w", "eta_v", "inverse_batch", "kappa_w", "kappa_v", "prob", "sigma"):
            M[getattr(m, name), lane] = rng.uniform(0.1, 1.0)
    none = np.zeros(0, dtype=np.int64)
    heads, first = np.zeros(1, dtype=np.int64), First(**firsts(constants(m)))
    return M, Wiring(heads, np.ones(2), none.reshape(0, 2), none, none, first)


def test_both_versions_have_the_same_derivatives_and_lanes_know_nothing_of_each_other():
    m = plan()
    M, w = group(m)
    of_any_size(M, m, w)
    general = M[m.k : m.k + 9].copy()
    M[m.k : m.k + 9] = np.nan
    of_its_size(M, m, w)
    found = M[m.k : m.k + 9].copy()
    assert_allclose(found, general, rtol=0, atol=100 * EPS * np.abs(general).max())
    M[:, 1:] = M[:, ::-1][:, :-1]
    of_its_size(M, m, w)
    assert_array_equal(M[m.k : m.k + 9, 0], found[:, 0])


def test_the_written_sizes_are_those_of_such_a_plan():
    m = plan()
    assert has_sizes(m)
    assert type(m) is SizedPlan
    assert with_sizes(m) == m
    assert set(SIZES) < set(m._fields)


@pytest.mark.parametrize("watched", [0, 1, 3])
@pytest.mark.parametrize("stages", [0, 7, 16])
def test_the_written_places_are_those_of_every_such_plan(watched, stages):
    m = plan(W=watched, stages=stages)
    assert with_sizes(m) == with_places(m) == m
    assert min(len(PLACES), len(STEPS)) > 20


@pytest.mark.parametrize(
    "changed",
    [{"K": 3}, {"P": 3}, {"H": 2}, {"S": 2}, {"c": 1}, {"activation": LINEAR}, {"online": False}],
)
def test_other_plans_keep_their_own(changed):
    assert type(plan(**changed)) is CommitteePlan
