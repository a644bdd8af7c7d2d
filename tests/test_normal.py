"""The normal distribution of one variable and of two, against 40 digits and Owen's T."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import ndtr, owens_t

from odekit_kernels import normal
from odekit_kernels._jit import NO_JIT, kernel
from odekit_kernels.bivariate import arc
from odekit_kernels.lanes.values import get, put

EPS = np.finfo(float).eps


@kernel(_nrt=False)
def functions(x, out):
    for i in range(x.shape[0]):
        z = get(x, i)
        put(out, 5 * i, normal.exp(z))
        put(out, 5 * i + 1, normal.bell(z))
        put(out, 5 * i + 2, normal.balance(z))
        put(out, 5 * i + 3, normal.distribution(z))
        put(out, 5 * i + 4, arc(z, 0.5 - z, 0.3 * z, (1.0 - 0.3 * z) * (1.0 + 0.3 * z)))


@kernel(_nrt=False)
def powers(x, exponents, out):
    for i in range(x.shape[0]):
        for j in range(exponents.shape[0]):
            put(out, i * exponents.shape[0] + j, normal.power(get(x, i), exponents[j]))


def test_exponential_and_normal_distribution_against_40_digits():
    x = np.concatenate([np.linspace(-37.0, 37.0, 149), np.linspace(-1.6, 1.6, 33)])
    x = np.append(x, [1e-300, -1e-12])
    out = np.zeros(5 * len(x))
    functions(x, out)
    exp, bell, balance, distribution, _ = out.reshape(-1, 5).T
    with mpmath.workdps(40):
        z = [mpmath.mpf(float(value)) for value in x]
        exact = {
            "exp": [mpmath.exp(value) for value in z],
            "bell": [mpmath.exp(-value * value / 2) for value in z],
            "balance": [mpmath.erf(value / mpmath.sqrt(2)) for value in z],
            "distribution": [mpmath.ncdf(value) for value in z],
        }
    exact = {name: np.array([float(value) for value in row]) for name, row in exact.items()}
    assert_allclose(exp, exact["exp"], rtol=2 * EPS)
    # Without FMAs what rounding takes from x² stays: x²/2 ≤ 685 of them.
    far = 700 * EPS if NO_JIT else 5 * EPS
    assert_allclose(bell, exact["bell"], rtol=far)
    assert_allclose(distribution, exact["distribution"], rtol=far)
    assert_allclose(balance, exact["balance"], rtol=3 * EPS)
    assert_allclose(distribution, exact["distribution"], rtol=0, atol=EPS)


def test_far_away_and_not_a_number():
    x = np.array([np.inf, -np.inf, 1e300, -1e300, 0.0, -0.0, np.nan])
    out = np.zeros(5 * len(x))
    functions(x, out)
    _, bell, balance, distribution, _ = out.reshape(-1, 5).T
    assert_array_equal(bell, [0, 0, 0, 0, 1, 1, np.nan])
    assert_array_equal(balance, [1, -1, 1, -1, 0, 0, np.nan])
    assert_array_equal(distribution, [1, 0, 1, 0, 0.5, 0.5, np.nan])


def both_below(h, k, r):
    """Φ₂ by Owen's T."""
    h, k = np.where(h == 0, 1e-300, h), np.where(k == 0, 1e-300, k)
    rest = np.sqrt((1 - r) * (1 + r))
    T = owens_t(h, (k / h - r) / rest) + owens_t(k, (h / k - r) / rest)
    return 0.5 * (ndtr(h) + ndtr(k)) - T - np.where(h * k < 0, 0.5, 0.0)


@kernel(_nrt=False)
def arcs(h, k, r, cosine2, out):
    for i in range(h.shape[0]):
        out[i] = arc(h[i], k[i], r[i], cosine2[i])


@pytest.mark.parametrize("r", [0.0, 0.3, 0.6, 0.61, 0.75, 0.9, 0.91, 0.95, 0.99, 1 - 1e-6])
def test_two_normal_variables_against_owens_t(r):
    g = np.linspace(-8.0, 8.0, 33 if not NO_JIT else 9)
    h, k = (side.ravel() for side in np.meshgrid(g, g))
    for sign in (1.0, -1.0):
        R, out = np.full(h.shape, sign * r), np.zeros(h.shape)
        arcs(h, k, R, (1 - R) * (1 + R), out)
        # Owen's T has (k/h − r)/√(1 − r²) of a difference: its own error grows like 1/√(1 − r²).
        assert_allclose(
            ndtr(h) * ndtr(k) + out / (2 * np.pi),
            both_below(h, k, R),
            rtol=0,
            atol=6 * EPS / np.sqrt(1 - r * r),
        )


def test_two_variables_that_all_but_coincide_against_40_digits():
    cases = [(0.7, 0.7), (0.7, 0.7 + 1e-4), (-1.2, -1.2003), (0.3, -0.3), (0.0, 0.0), (2.0, 1.9)]
    for cosine2 in (1e-4, 1e-8, 1e-14):
        with mpmath.workdps(40):
            r = mpmath.sqrt(1 - mpmath.mpf(cosine2))

            def integrand(theta, h, k):
                top = (
                    mpmath.mpf(h) ** 2
                    + mpmath.mpf(k) ** 2
                    - 2 * h * mpmath.mpf(k) * mpmath.sin(theta)
                )
                return mpmath.exp(-top / (2 * mpmath.cos(theta) ** 2))

            end = mpmath.asin(r)
            steps = [end * (1 - mpmath.mpf(2) ** -i) for i in range(26)] + [end]
            exact = [
                float(mpmath.quad(lambda t, h=h, k=k: integrand(t, h, k), steps)) for h, k in cases
            ]
        h, k = np.array(cases).T.copy()
        out = np.zeros(len(cases))
        arcs(h, k, np.full(len(cases), float(r)), np.full(len(cases), cosine2), out)
        assert_allclose(out, exact, rtol=0, atol=20 * EPS)


def test_two_variables_that_coincide():
    g = np.linspace(-6.0, 6.0, 13)
    h, k = (side.ravel() for side in np.meshgrid(g, g))
    for r, expected in (
        (1.0, np.minimum(ndtr(h), ndtr(k))),
        (-1.0, np.maximum(ndtr(h) - ndtr(-k), 0)),
    ):
        out = np.zeros(h.shape)
        arcs(h, k, np.full(h.shape, r), np.zeros(h.shape), out)
        assert_allclose(ndtr(h) * ndtr(k) + out / (2 * np.pi), expected, rtol=0, atol=2 * EPS)


def test_powers_by_which_steps_change():
    edges = np.array([1.0, 0.5, 2.0, np.sqrt(0.5), np.nextafter(np.sqrt(0.5), 0.0)])
    x = np.concatenate([np.geomspace(1e-200, 1e200, 395), edges])
    exponents = np.array([-1 / 8, -1 / 5, -1 / 3, 0.5])
    exact = x[:, np.newaxis] ** exponents
    single, lanes = np.zeros(exact.size), np.zeros((exact.size // 8, 8))
    powers(x, exponents, single)
    assert_allclose(single.reshape(exact.shape), exact, rtol=2e-12)
    grouped = np.ascontiguousarray(x.reshape(-1, 8))
    powers(grouped, exponents, lanes)
    assert_array_equal(lanes.reshape(-1, 4, 8).swapaxes(1, 2).reshape(-1, 4), single.reshape(-1, 4))
    # An error of 0, or one that overflowed, still gives a number.
    powers(np.array([0.0, np.inf]), exponents, ends := np.zeros(8))
    assert np.all(np.isfinite(ends))
