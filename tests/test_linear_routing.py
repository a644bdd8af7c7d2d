"""Modes of routing networks and of biases: against the flow, and published numbers."""

import mpmath as mp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import odekit as ok
from odekit.base.errors import ProblemError

M, K = 7, 4
OFFSETS = (-1, 0, 1, 2)
Y = np.vstack([[6, 6, 6, 6], [4, 4, 0, 0], [0, 0, 4, 4], 3 * np.eye(4)])
STRENGTHS = np.linalg.svd(Y, compute_uv=False)


def integrate(slope, start, t):
    run = solve_ivp(slope, (0, t[-1]), start, t_eval=t, method="DOP853", rtol=1e-12, atol=1e-14)
    return run.y.T


# ---------------------------------------------------------------------------------------- routing


def test_the_whole_network_from_a_decoupled_start():
    """Seven inputs, seven outputs, 28 trained pairs, all matrices."""
    rng = np.random.default_rng(0)
    R1, R2 = (np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(2))
    u, _, vt = np.linalg.svd(Y, full_matrices=False)
    A, B, C = (np.tile(R1 @ vt, (M, 1, 1)), R2 @ R1.T, np.tile(u @ R2.T, (M, 1, 1)))
    pairs = [(i, (i + offset) % M) for i in range(M) for offset in OFFSETS]
    sizes = np.cumsum([A.size, B.size])

    def unpack(x):
        one, two, three = np.split(x, sizes)
        return one.reshape(A.shape), two.reshape(B.shape), three.reshape(C.shape)

    def slope(_t, x):
        A, B, C = unpack(x)
        dA, dB, dC = np.zeros_like(A), np.zeros_like(B), np.zeros_like(C)
        for i, j in pairs:
            error = Y - C[j] @ B @ A[i]
            dA[i] += B.T @ C[j].T @ error
            dB += C[j].T @ error @ A[i].T
            dC[j] += error @ A[i].T @ B.T
        return np.concatenate([d.ravel() for d in (dA, dB, dC)])

    t = np.array([0.0, 0.05, 0.1])
    start = 0.2 * np.concatenate([W.ravel() for W in (A, B, C)])
    run = integrate(slope, start, t)
    a, b = ok.linear.routing_mode(t[:, None], STRENGTHS, 0.2, M, K)
    for row, state in enumerate(run):
        A, B, C = unpack(state)
        for W, exact in ((A[2], a), (B, b), (C[5], a)):
            found = np.linalg.svd(W, compute_uv=False)
            np.testing.assert_allclose(found, np.sort(exact[row])[::-1], atol=1e-8)


def test_published_half_times_and_ends():
    a, b = ok.linear.routing_mode(np.inf, STRENGTHS, 0.2, M, K)
    np.testing.assert_allclose(STRENGTHS, [13.60147, 6.40312, 3.0, 3.0], atol=1e-5)
    np.testing.assert_allclose(b, [4.549, 3.530, 2.730, 2.730], atol=5e-4)
    np.testing.assert_allclose(a, [1.729, 1.347, 1.048, 1.048], atol=5e-4)

    def late(epoch, s):
        half = 0.5 * ok.linear.routing_mode(np.inf, s, 0.08, M, K)[1]
        return ok.linear.routing_mode(epoch * 0.02 / 14, s, 0.08, M, K)[1] - half

    found = [brentq(late, 0, 1000, args=(s,)) for s in STRENGTHS]
    np.testing.assert_allclose(found, [72.4, 150.7, 312.9, 312.9], atol=0.05)


@given(
    s=st.floats(-2, 3),
    part=st.floats(-4, -0.01),
    t=st.floats(-3, 1),
    M=st.sampled_from([1, 2, 7, 30]),
)
def test_the_time_of_what_is_learnt(s, part, t, M):
    """The clock by quadrature in 30 digits, at the b that was found."""
    s = 10.0**s
    first = 10.0**part * s ** (1 / 3)
    t = 10.0**t / (first * s)
    a, b = ok.linear.routing_mode(t, s, first, M, 1)
    end = ok.linear.routing_mode(np.inf, s, first, M, 1)[1]
    assert first <= b <= end
    assert b * b - M * a * a == pytest.approx(-(M - 1) * first**2, abs=1e-13 * (b * b + M * a * a))
    if (end - b) < 1e-3 * end or (b - first) < 1e-3 * first:
        return
    with mp.workdps(30):
        c = (M - 1) * mp.mpf(first) ** 2

        def density(b):
            return M / ((b * b + c) * (M * mp.mpf(s) - c * b - b**3))

        points = [mp.mpf(first), *(mp.mpf(x) for x in np.geomspace(first, b, 6)[1:-1]), mp.mpf(b)]
        exact = mp.quad(density, points)
        doubt = float(density(mp.mpf(b)) * b + density(mp.mpf(first)) * first) * 1e-15
    assert abs(float(exact - mp.mpf(t))) <= 1e-12 * t + 10 * doubt


def test_one_domain_is_a_chain():
    t = np.array([0.0, 0.5, 2.0, 5.0, 50.0, np.inf])
    a, b = ok.linear.routing_mode(t, 1.7, 0.1, 1, 1)
    np.testing.assert_allclose(a, b, rtol=1e-14)
    chain = ok.linear.balanced_mode(t[:-1], 1.7, 1e-3, depth=3)
    np.testing.assert_allclose((a * a * b)[:-1], chain, rtol=1e-11)
    assert b[-1] == pytest.approx(1.7 ** (1 / 3), rel=1e-15)


def test_more_domains_are_faster():
    t = np.linspace(0.01, 0.5, 5)
    learnt = [np.prod(ok.linear.routing_mode(t, 3.0, 0.1, m, 1), axis=0) for m in (1, 2, 4, 8)]
    assert np.all(np.diff(learnt, axis=0) > 0)
    one, two = (ok.linear.routing_mode(x, 3.0, 0.1, 4, k)[1] for x, k in ((2 * t, 1), (t, 2)))
    np.testing.assert_allclose(one, two, rtol=1e-14)  # K is a rate


def test_routing_labels_and_refusals():
    s = xr.DataArray([3.0, 6.0], dims="mode")
    t = xr.DataArray([0.0, 0.1], dims="time")
    a, b = ok.linear.routing_mode(t, s, 0.1, M, K)
    assert a.dims == b.dims == ("time", "mode")
    assert float(b[1, 1]) == ok.linear.routing_mode(0.1, 6.0, 0.1, M, K)[1]
    with pytest.raises(ProblemError, match="`start` must be between 0 and the cube root"):
        ok.linear.routing_mode(1.0, 1.0, 1.0, M, K)
    with pytest.raises(ProblemError, match="`strength` must be > 0"):
        ok.linear.routing_mode(1.0, [1.0, 0.0], 0.1, M, K)
    with pytest.raises(ProblemError, match="`outputs` must be between 1 and 7"):
        ok.linear.routing_mode(1.0, 1.0, 0.1, M, 8)


# ------------------------------------------------------------------------------------------ biases


def tree():
    """8 items of 14 features: halves, quarters and the items themselves."""
    return np.vstack([np.kron(np.eye(n), np.ones(8 // n)) for n in (2, 4, 8)])


def course(t, s, d, start=1e-3):
    return ok.linear.balanced_mode(t, s, d * start) / d


def test_modes_of_the_hierarchy():
    s, d = ok.linear.bias_modes(tree())
    known = [0.992157, 0.330719, 0.216506, 0.216506, *[0.125] * 4]
    np.testing.assert_allclose(s, known, atol=5e-7)
    np.testing.assert_allclose(d, [1.125] + [0.125] * 7, rtol=1e-15)
    without, even = ok.linear.bias_modes(tree(), bias=False)
    np.testing.assert_allclose(without[:2], np.sqrt(7) / 8, rtol=1e-14)
    assert set(even) == {0.125}


def test_published_half_times_and_losses_of_the_constant():
    s, d = ok.linear.bias_modes(tree())

    def late(t, s, d):
        return course(t, s, d) - 0.5 * s / d

    found = [brentq(late, 0, 100, args=(s[i], d[i])) for i in (0, 1, 2, 4)]
    np.testing.assert_allclose(found, [3.417, 11.914, 17.220, 27.627], atol=5e-4)
    u = course(np.array([0.0, 5, 10, 20, 40])[:, None], s, d)
    loss = 1.5 - (s * u - 0.5 * d * u**2).sum(-1)
    np.testing.assert_allclose(loss, [1.49775, 1.04887, 0.85436, 0.20950, 4.7e-4], atol=1e-4)


def test_the_network_with_a_bias_from_an_aligned_start():
    targets, n = tree(), 8
    s, d = ok.linear.bias_modes(targets)
    mean = targets.mean(1)
    u, _, vt = np.linalg.svd(targets - mean[:, None], full_matrices=False)
    left = np.column_stack([mean / np.linalg.norm(mean), u[:, :7]])
    right = np.zeros((8, 9))
    right[0] = np.append(np.ones(n), n) / np.sqrt(n + n * n)
    right[1:, :8] = vt[:7]
    xx = np.block([[np.eye(n) / n, np.full((n, 1), 1 / n)], [np.full((1, n), 1 / n), 1.0]])
    yx = np.column_stack([targets / n, mean])

    def slope(_t, x):
        one, two = x[:72].reshape(8, 9), x[72:].reshape(14, 8)
        error = yx - two @ one @ xx
        return np.concatenate([(two.T @ error).ravel(), (error @ one.T).ravel()])

    t = np.array([0.0, 2.0, 5.0, 12.0, 30.0])
    run = integrate(slope, np.sqrt(1e-3) * np.concatenate([right.ravel(), left.ravel()]), t)
    for row, x in zip(course(t[:, None], s, d), run, strict=True):
        found = np.diag(left.T @ x[72:].reshape(14, 8) @ x[:72].reshape(8, 9) @ right.T)
        np.testing.assert_allclose(found, row, atol=2e-10)


def test_what_an_output_bias_takes():
    length = np.linalg.norm(tree().mean(1))
    assert ok.linear.output_bias(length, 8, 1e-3) / length == pytest.approx(0.9919, abs=5e-5)
    starts, g = np.geomspace(1e-9, 0.3, 7), np.sqrt(1.125)
    found = ok.linear.output_bias(length, 8, starts)
    np.testing.assert_allclose(found + g * starts * np.exp(2 * g * found), length, rtol=1e-14)
    assert np.all(np.diff(found) < 0)
    for start, end in zip(starts[-3:], found[-3:], strict=True):

        def slope(_t, x):
            error = length - x[0] - g * x[1]
            return [error, 2 * x[1] * g * error]

        assert integrate(slope, [0.0, start], [0.0, 60.0])[-1][0] == pytest.approx(end, abs=1e-10)
    assert ok.linear.output_bias(1e3, 8, 1e-3) < 1e3  # e^(2000) is never formed
    assert ok.linear.output_bias(0.1, 8, 1.0) < 0


def test_bias_labels_and_refusals():
    size = xr.DataArray([1.0, 2.0], dims="size")
    targets = size * xr.DataArray(tree(), dims=("output", "item"))
    s, d = ok.linear.bias_modes(targets)
    assert s.dims == d.dims == ("size", "mode")
    np.testing.assert_allclose(s[1], ok.linear.bias_modes(2 * tree())[0], rtol=1e-15)
    words = targets.rename(output="feature", item="word")
    np.testing.assert_array_equal(ok.linear.bias_modes(words, dims=("feature", "word"))[0], s)
    with pytest.raises(ProblemError, match="`targets` must have a mean that is orthogonal"):
        ok.linear.bias_modes([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    with pytest.raises(ProblemError, match="`targets` must have at least two items"):
        ok.linear.bias_modes([[1.0], [2.0]])
    with pytest.raises(ProblemError, match="`bias` must be True or False"):
        ok.linear.bias_modes(tree(), bias="hidden")
    with pytest.raises(ProblemError, match="`start` must be > 0"):
        ok.linear.output_bias(1.0, 8, 0.0)
