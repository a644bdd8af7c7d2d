"""Moments of fields with means at nodes: against closed ones, other rules, and sampling."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from odekit_kernels._jit import NO_JIT
from odekit_kernels.committee.activations import ERF, RELU
from odekit_kernels.committee.quadrature import hermite, kinked, means, rectified
from test_moments_means import SIGN, bent, computed, fields
from test_moments_means import hermite as grid_of


def moments_at_nodes(M, C, g, dg, m, inner):
    rule = hermite.make_nodes(m, inner, False)
    e, p, d = means.alone(M, C, g, dg, rule)
    pair = means.pairs(M, C, 2, g, dg, rule)
    I2 = means.products(M, C, g, rule)
    I3, I4 = means.triples(M, C, 2, g, dg, rule)
    found = {"e2": e[2], "p2": p[2], "d2": d[2], "I23": I2[2, 3], "I00": I2[0, 0]}
    for name, a in (("02", 2), ("01", 1), ("00", 0)):
        found |= {
            "F" + name: pair.F[0, a], "J" + name: pair.J2[0, a], "D" + name: pair.D[0, a],
        }  # fmt: skip
    found |= {"I02": pair.I2[0, 2], "I01": pair.I2[0, 1], "T012": I3[1, 2], "T002": I3[0, 2]}
    found |= {"T010": I3[1, 0], "Q0123": I4[1, 2, 3], "Q0023": I4[0, 2, 3]}
    return found | {"Q0102": I4[1, 0, 2], "Q0000": I4[0, 0, 0]}


def test_erf_at_nodes_is_erf_in_closed_form():
    g, dg, _ = bent(1.0)
    for seed in range(3):
        M, C = fields(np.random.default_rng(seed))
        found, closed = moments_at_nodes(M, C, g, dg, 64, 40), computed(M, C, ERF)
        off = {name: abs(value - closed[name]) for name, value in found.items()}
        assert max(off.values()) < 1e-12, off


def test_coinciding_fields_at_nodes():
    """A fixed vector that is a unit, and one of no variance."""
    g, dg, _ = bent(1.0)
    M, C = fields(np.random.default_rng(4))
    M[2], C[2], C[:, 2] = M[0], C[0], C[:, 0]
    C[2, 2] = C[0, 0]
    C[3], C[:, 3] = 0.0, 0.0
    found, closed = moments_at_nodes(M, C, g, dg, 64, 40), computed(M, C, ERF)
    off = {name: abs(value - closed[name]) for name, value in found.items()}
    assert max(off.values()) < 1e-12, off


def test_tanh_at_nodes_and_the_power_of_the_noise():
    """S_kl = E[(g'_k δ_k)(g'_l δ_l)] on a grid of four dimensions, two outputs and a constant."""
    g, dg = np.tanh, lambda x: 1 / np.cosh(x) ** 2
    rng = np.random.default_rng(6)
    M, C = fields(rng, largest=0.3, mean=0.4)
    C = 0.5 * C
    V, u, y = rng.normal(size=(2, 2)), rng.normal(size=(2, 2)), rng.normal(size=2)
    sigma = [0.3, 0.1]
    c = np.hstack([-V, u])
    grid, w = grid_of(30, 4)
    x = M[:, None] + np.linalg.cholesky(C) @ grid
    delta = V.T @ (y[:, None] + c @ g(x))
    slopes = dg(x[:2])
    # What the grid leaves, 30 nodes a direction, is below 1e-9.
    H = V.T @ c
    noise = V.T @ np.diag(np.square(sigma)) @ V
    rule = hermite.make_nodes(64, 40, False)
    I3, I4 = means.triples(M, C, 2, g, dg, rule)
    pair = means.pairs(M, C, 2, g, dg, rule)
    found = means.power(H, V.T @ y, noise, pair.J2, I3, I4)
    expected = [
        (slopes[k] * slopes[l] * (delta[k] * delta[l] + noise[k, l])) @ w
        for k, l in ((0, 0), (0, 1), (1, 1))
    ]
    assert_allclose(found, expected, rtol=0, atol=3e-9)
    A = [[(slopes[k] * delta[k] * x[b]) @ w for b in range(4)] for k in range(2)]
    _, p, d = means.alone(M, C, g, dg, rule)
    h = (V.T @ y) * p[:2] + (H * pair.F).sum(axis=1)
    D = (V.T @ y) * d[:2] + (H * pair.D).sum(axis=1)
    assert_allclose(h[:, None] * M + D[:, None] * C[:2] + (H * pair.J2) @ C, A, rtol=0, atol=3e-9)


def rectified_by_grid(M, C, k, l, a, b, m=60):
    """I4 on the quadrant: panels over φ_k and φ_l, a and b given them on a split plane of nodes."""
    x, w = np.polynomial.legendre.leggauss(m)
    x, w = 5.0 * (x + 1), 5.0 * w
    L = np.linalg.inv(C[np.ix_([k, l], [k, l])])
    X, Y = (side.ravel() for side in np.meshgrid(x, x, indexing="ij"))
    z = np.stack([X - M[k], Y - M[l]])
    f = np.exp(-0.5 * (z * (L @ z)).sum(axis=0)) * np.sqrt(np.linalg.det(L)) / (2 * np.pi)
    load = C[[a, b]][:, [k, l]] @ L
    rest = C[np.ix_([a, b], [a, b])] - load @ C[[k, l]][:, [a, b]]
    mean = M[[a, b]][:, None] + load @ z
    u, v = (side.ravel() for side in np.meshgrid(x, x, indexing="ij"))
    N = np.linalg.inv(rest)
    weight = (w[:, None] * w).ravel()
    inner = []
    for m_a, m_b in mean.T:
        y, z = u - m_a, v - m_b
        q = N[0, 0] * y**2 + 2 * N[0, 1] * y * z + N[1, 1] * z**2
        inner.append((weight * u * v) @ np.exp(-0.5 * q))
    inner = np.array(inner) * np.sqrt(np.linalg.det(N)) / (2 * np.pi)
    return (weight * f) @ inner


def test_rectified_fields_at_nodes_of_the_quadrant():
    rng = np.random.default_rng(8)
    M, C = fields(rng)
    C = 0.6 * C + 0.4 * np.diag(np.diagonal(C))
    I3, I4 = rectified.triples(M, C, 2, 48)
    assert_allclose(I4[1, 2, 3], rectified_by_grid(M, C, 0, 1, 2, 3), rtol=0, atol=1e-10)
    closed = computed(M, C, RELU)
    # g'_k g'_k = g'_k and g'_k g_k = g_k: moments of fewer fields.
    found = [I3[0, 2], I4[0, 0, 2], I4[0, 0, 0]]
    assert_allclose(found, [closed[name] for name in ("F02", "I02", "I00")], rtol=0, atol=1e-12)
    # E[g'_k g'_l g_k] is F(l, k), and E[g'_k g'_l g_k g_l] is I2(k, l).
    swapped = [1, 0, 2, 3]
    F = computed(M[swapped], C[np.ix_(swapped, swapped)], RELU)["F01"]
    assert_allclose([I3[1, 0], I4[1, 0, 1]], [F, closed["I01"]], rtol=0, atol=1e-12)


def test_rectified_fields_without_means_are_those_of_the_path():
    _, C = fields(np.random.default_rng(9))
    K = 1 if NO_JIT else 2
    _, I4 = rectified.triples(np.zeros(4), C, K, 64)
    assert_allclose(I4, kinked.fourth(C, K, 0.0, 64), rtol=0, atol=1e-9)


# ------------------------------------------------------------------------------- misclassification


def test_one_unit_at_nodes_is_the_closed_form():
    M, C = fields(np.random.default_rng(11))
    closed = computed(M, C, ERF, 1.0, SIGN, SIGN)

    def g(x):
        return bent(1.0)[0](x[0])

    label, _ = means.negative(M[:1], C[:1, :1], g, np.ones(1), 8)
    teacher = means.Teacher(M[2], C[2, 2], C[:1, 2])
    sign, _ = means.negative(M[:1], C[:1, :1], g, np.ones(1), 8, teacher)
    assert label == pytest.approx(closed["label"], abs=1e-13)
    assert sign == pytest.approx(closed["sign"], abs=1e-13)


@pytest.mark.parametrize("taught", [False, True])
def test_more_units_against_sampling(taught):
    rng = np.random.default_rng(12)
    M, C = fields(rng)
    v = np.array([0.9, -0.5, 0.4])

    def f(x):
        return v @ np.tanh(x[:3])

    teacher = means.Teacher(M[3], C[3, 3], C[:3, 3]) if taught else None
    chance, error = means.negative(M[:3], C[:3, :3], f, v, 48, teacher)
    x = rng.multivariate_normal(M, C, size=400_000).T
    sampled = np.mean((f(x) < 0) != (taught and x[3] < 0))
    assert error < 1e-5
    assert abs(chance - sampled) < 4 * np.sqrt(chance * (1 - chance) / 400_000)


def test_a_teacher_that_is_the_output_is_never_wrong():
    M, C = fields(np.random.default_rng(13))
    v = np.array([0.7, 0.4])
    teacher = means.Teacher(v @ M[:2], v @ C[:2, :2] @ v, C[:2, :2] @ v)
    chance, _ = means.negative(M[:2], C[:2, :2], lambda x: v @ x, v, 24, teacher)
    # The sine of the angle between the two is the root of a rounding.
    assert chance == pytest.approx(0.0, abs=1e-7)
