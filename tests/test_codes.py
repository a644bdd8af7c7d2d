"""Codes of activations in their own types: the same numbers, from kernels without the others."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

from committees import random_committee
from odekit_kernels._jit import NO_JIT, kernel
from odekit_kernels.committee import moments
from odekit_kernels.committee.activations import (
    CODES,
    ERF,
    KINDS,
    QUADRATURE,
    RELU,
    kind_of,
    linear,
    relu,
)
from odekit_kernels.committee.codes import code_of
from odekit_kernels.committee.memory import CommitteePlan, GroupsPlan, SizedPlan, make_plan
from odekit_kernels.committee.one import errors, jacobian, make_work, rhs

EPS = np.finfo(float).eps


@kernel
def bare(activation):
    return code_of(activation)


@kernel
def second(activation, work, rows):
    moments.second(activation, work, rows, 3)


@pytest.mark.parametrize("code", [*CODES.values(), QUADRATURE])
def test_a_code_is_the_same_number_everywhere(code):
    own = kind_of(code)
    assert code_of(own) == bare(own) == code_of(code) == bare(code) == code
    assert pickle.loads(pickle.dumps(own)) == own
    assert type(pickle.loads(pickle.dumps(own))) is type(own)


def test_derivatives_errors_and_jacobians_are_those_of_the_bare_code():
    given = {"K": 2, "P": 3, "S": 2, "H": 2, "activation": RELU, "inverse_batch": 0.0}
    y, system = random_committee(np.random.default_rng(0), **given)
    found = []
    for activation in (RELU, kind_of(RELU)):
        own, work = system._replace(activation=activation), make_work(2, 3, 2, 2)
        dy, J, e = np.empty(y.size), np.empty((y.size, y.size)), np.empty(2)
        rhs(y, 0.5, 0.3, own, work, dy)
        jacobian(y, 0.5, 0.3, own, work, J)
        errors(y, activation, own.T, own.u, own.head, work, e)
        found.append((dy, J, e))
    for a, b in zip(*found, strict=True):
        assert_allclose(b, a, rtol=0, atol=100 * EPS * np.abs(a).max())


@pytest.mark.skipif(NO_JIT, reason="nothing is compiled")
def test_a_kernel_holds_the_moments_of_its_activation_alone():
    """By a kind of whole number that no other kernel asks for rows with."""
    work, known = make_work(2, 1, 1, 1), (linear.second, relu.second)
    before = [len(f.overloads) for f in known]
    second(KINDS[ERF](ERF), work, np.int8(2))
    assert [len(f.overloads) for f in known] == before
    second(ERF, work, np.int8(2))
    assert [len(f.overloads) for f in known] == [n + 1 for n in before]


def test_plans_that_compile_apart_have_types_of_their_own():
    sizes = {"H": 1, "S": 1, "c": 0, "W": 0, "online": True, "stages": 7}
    own = make_plan(2, 2, activation=ERF, **sizes)
    other = make_plan(3, 2, activation=ERF, **sizes)
    grouped = make_plan(2, 2, activation=ERF, **sizes, groups=(2, 1))
    assert [type(m) for m in (own, other, grouped)] == [SizedPlan, CommitteePlan, GroupsPlan]
    assert [type(m.activation) for m in (own, other, grouped)] == [KINDS[ERF]] * 3
    assert make_plan(2, 2, activation=QUADRATURE, **sizes).activation == QUADRATURE
