"""The drive in full from moments at nodes, and how often signs are wrong."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import erf

import test_groups_kernels as old
import transcription_inputs as inputs
from general_committees import flat, memory_of, of_groups, row_of
from odekit_kernels.committee.activations import ERF, LINEAR, QUADRATURE, RELU
from odekit_kernels.committee.general import nodes
from odekit_kernels.committee.general.alone import wrong
from odekit_kernels.committee.general.plan import make_plan
from odekit_kernels.committee.quadrature import kinked
from odekit_kernels.committee.quadrature import nodes as quadrature
from odekit_kernels.committee.quadrature.hermite import make_nodes
from test_general_kernels import alone, derivative, found_errors, full


def slope(x):
    return np.sqrt(2 / np.pi) * np.exp(-(x**2) / 2)


def smooth(g, dg, m, inner):
    return nodes.Smooth(g, dg, lambda M, C: make_nodes(m, inner, False))


def test_of_erf_at_nodes_it_is_the_closed_one():
    start, vectors, phase = full()
    vectors = replace(vectors, teacher=vectors.g)
    closed = alone(start, vectors, phase, scale=0.7)
    closed[2].width[:] = 1.0
    y, g = flat(start), smooth(lambda x: erf(x / np.sqrt(2)), slope, 40, 40)
    M, plan, w = closed[0].copy(), closed[1]._replace(activation=QUADRATURE), closed[2]
    assert_allclose(nodes.rhs(M, plan, w, y, g), derivative(closed, y), rtol=0, atol=1e-13)
    assert_allclose(nodes.errors(M, plan, w, y, g), found_errors(closed, y), rtol=0, atol=1e-13)


def test_of_tanh_it_is_the_literal_one():
    """22 nodes of Gauss and Hermite a direction leave some 1e-8 at so small fields."""
    start, vectors, phase = full()
    dtanh = lambda x: 1 - np.tanh(x) ** 2  # noqa: E731
    vectors = replace(vectors, g=np.tanh, slope=dtanh, teacher=np.tanh)
    M, plan, w = alone(start, vectors, phase, QUADRATURE)
    y = flat(start)
    found = nodes.rhs(M, plan, w, y, smooth(np.tanh, dtanh, 64, 64))
    assert_allclose(found, flat(inputs.rhs(start, vectors, phase, 22)), rtol=0, atol=1e-8)
    found = nodes.errors(M, plan, w, y, smooth(np.tanh, dtanh, 64, 64))
    assert_allclose(found, inputs.errors(start, vectors, phase.tasks, 22), rtol=0, atol=1e-8)


def test_of_rectified_units_online_it_is_the_one_without_means():
    y, system = old.committee(np.random.default_rng(5), activation=RELU, G=2, V=2, S=2, H=2)
    sizes, given, w = of_groups(y, system, old.RATES)
    plan = make_plan(sizes)
    M = memory_of(plan, row_of(plan, given))
    moments = [partial(f, slope=0.0) for f in (kinked.second, partial(kinked.fourth, m=64))]
    at_nodes, work = system._replace(activation=QUADRATURE), old.work_for(y, system)
    expected = quadrature.rhs(y, *old.RATES, at_nodes, work, *moments)
    found = nodes.rhs(M, plan, w, y, nodes.Rectified(48))
    assert_allclose(found, expected, rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------ misclassification


def one_output(activation, units, labels):
    """Clusters of one output; with labels −1, 1, … or the sign of the first fixed vector."""
    start, vectors, phase = full(activation, 1.0)
    tasks = []
    for task, label in zip(phase.tasks, labels, strict=True):
        u = np.array([[0.0 if label else -0.8, 0.0]])
        tasks.append(replace(task, readout=u, label=np.array([label]), noise_std=0.0))
    start = replace(start, heads=start.heads[:, :1].copy())
    start.heads[..., units:] = 0.0
    phase = replace(phase, tasks=tuple(tasks))
    return start, vectors, phase


@pytest.mark.parametrize(("activation", "units"), [(ERF, 1), (LINEAR, 2)])
def test_closed_chances_of_a_wrong_sign_are_those_at_nodes(activation, units):
    start, vectors, phase = one_output(activation, units, (1.0, -0.5, 0.0))
    made, y, out = alone(start, vectors, phase, activation), flat(start), np.empty(3)
    wrong(*made, y, out)
    found, error = nodes.wrong(*made, y, vectors.g, vectors.teacher, 24)
    assert error.max() < 1e-9
    assert_allclose(out, found, rtol=0, atol=1e-9)
    assert np.all((out > 0.05) & (out < 0.95))


def test_chances_of_more_units_are_those_of_samples():
    start, vectors, phase = one_output(ERF, 2, (1.0, -0.5, 0.0))
    made, y, out = alone(start, vectors, phase), flat(start), np.empty(3)
    wrong(*made, y, out)
    assert np.isnan(out).all()
    found, error = nodes.wrong(*made, y, vectors.g, vectors.teacher, 48)
    assert error.max() < 1e-3
    rng, n = np.random.default_rng(0), 200_000
    for s, task in enumerate(phase.tasks):
        overlaps = inputs.whole(start, vectors)
        second = inputs.seen(task, 2, 2, 2)
        C = np.einsum("t,tab,tab->ab", vectors.fractions, second, overlaps)
        M, _ = inputs.shift(task, overlaps, vectors, start.bias)
        x = rng.multivariate_normal(M, C, n).T
        target = task.label + task.readout @ vectors.teacher(x[2:])
        share = np.mean((start.heads[task.head] @ vectors.g(x[:2])) * target < 0)
        assert abs(share - found[s]) < 4 * np.sqrt(found[s] / n) + 1e-3
