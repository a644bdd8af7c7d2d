"""Closed solutions of one mode, against exact arithmetic and against the flow."""

from decimal import Decimal, getcontext

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import odekit as ok
from odekit.base.errors import ProblemError


def in_long_arithmetic(t, s, a, b):
    """The Riccati solution as theory writes it, to 80 digits: cancellation does not matter."""
    getcontext().prec = 80
    t, s, a, b = (Decimal(float(x)) for x in (t, s, a, b))
    c = a * a - b * b
    r = (c * c + 4 * s * s).sqrt()
    above, below = 2 * s + r, 2 * s - r
    P = (a + b) ** 2
    kappa = (P - above) / (P - below) * (-r * t).exp()
    P = (above - below * kappa) / (1 - kappa)
    p = P.sqrt().copy_sign(a + b)
    q = c / p
    return (p + q) / 2, (p - q) / 2


decades = st.floats(-6, 6).map(lambda x: 10.0**x)


@given(a=decades, b=decades, s=st.floats(-3, 3).map(lambda x: 10.0**x), t=st.floats(-9, 6))
def test_one_mode_over_twelve_decades_of_imbalance(a, b, s, t):
    t = 10.0**t
    found = ok.linear.one_mode(t, s, a, b)
    for x, exact in zip(found, in_long_arithmetic(t, s, a, b), strict=True):
        assert abs(Decimal(float(x)) - exact) <= Decimal("1e-13") * abs(exact)


@given(a=decades, b=decades, s=st.floats(-3, 3).map(lambda x: 10.0**x), t=st.floats(-6, 3))
def test_one_mode_that_starts_against_its_target(a, b, s, t):
    """The product passes zero: there the error is one of the larger weight."""
    t = 10.0**t / (a * a + b * b + s)
    if a == b:
        b *= 1.5
    found = ok.linear.one_mode(t, s, a, -b)
    exact = in_long_arithmetic(t, s, a, -b)
    largest = max(abs(x) for x in exact)
    for x, y in zip(found, exact, strict=True):
        assert abs(Decimal(float(x)) - y) <= Decimal("1e-12") * largest


def test_one_mode_at_the_ends():
    a, b = ok.linear.one_mode([0.0, 1.0, np.inf], 2.0, 0.5, 0.5)
    np.testing.assert_allclose((a * b)[[0, 2]], [0.25, 2.0], rtol=1e-15)
    # Balanced: the logistic curve of the theory.
    t = np.linspace(0, 10, 50)
    a, b = ok.linear.one_mode(t, 2.0, 0.1, 0.1)
    np.testing.assert_allclose(a * b, ok.linear.balanced_mode(t, 2.0, 0.01), rtol=1e-13)
    growth = np.exp(4 * t)
    np.testing.assert_allclose(a * b, 2 * growth / (growth - 1 + 2 / 0.01), rtol=1e-12)
    # Neither strength nor imbalance: a' = -a³.
    a, _ = ok.linear.one_mode(t, 0.0, 1.0, 1.0)
    np.testing.assert_allclose(a, (1 + 2 * t) ** -0.5, rtol=1e-14)
    # At the saddle.
    assert ok.linear.one_mode(3.0, 1.0, 0.0, 0.0) == (0.0, 0.0)
    # On the stable manifold, against the target: it runs into the saddle.
    a, b = ok.linear.one_mode([0.0, 1e3], 1.0, 0.5, -0.5)
    assert a[1] * b[1] == pytest.approx(0.0, abs=1e-300)


def test_one_mode_is_continuous_in_the_imbalance():
    gaps = np.geomspace(1e-18, 1e-6, 13)
    a, _ = ok.linear.one_mode(2.0, 1.0, 0.1 + gaps, 0.1)
    even, _ = ok.linear.one_mode(2.0, 1.0, 0.1, 0.1)
    assert np.all(np.abs(a - even) <= 20 * gaps + 1e-15)


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 9])
def test_balanced_chains(depth):
    s, start = 1.7, 1e-3
    t = np.geomspace(0.1, 1e3, 12)

    def slope(_t, u):
        return depth * u ** (2 - 2 / depth) * (s - u)

    run = solve_ivp(slope, (0, t[-1]), [start], t_eval=t, method="DOP853", rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(ok.linear.balanced_mode(t, s, start, depth), run.y[0], rtol=1e-8)


def test_labels_are_broadcast_by_name():
    s = xr.DataArray([1.0, 2.0], dims="s", coords={"s": [1.0, 2.0]})
    t = xr.DataArray(np.linspace(0, 3, 4), dims="time")
    a, b = ok.linear.one_mode(t, s, 0.1, 0.2)
    assert dict(a.sizes) == {"time": 4, "s": 2}
    np.testing.assert_allclose(a.sel(s=2.0), ok.linear.one_mode(t.values, 2.0, 0.1, 0.2)[0])
    assert ok.linear.balanced_mode(t, s, 0.1, 3).dims == ("time", "s")
    assert (a * b).sel(s=1.0).values[-1] < 1.0


def test_what_has_no_solution_is_refused():
    with pytest.raises(ProblemError, match="`start` must be between 0 and `strength`"):
        ok.linear.balanced_mode(1.0, 1.0, 2.0)
    with pytest.raises(ProblemError, match="`time` must be >= 0"):
        ok.linear.one_mode(-1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ProblemError, match="`first`"):
        ok.linear.one_mode(1.0, 1.0, np.nan, 1.0)
