"""The minimal model: against long arithmetic, the flow, and published numbers."""

import mpmath as mp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import odekit as ok
from odekit.base.errors import ProblemError

BETA = np.array([0.0, 1.0])


def flow(a, w, beta, rates, t):
    def slope(_t, x):
        error = beta - x[0] * x[1:]
        return np.concatenate([[rates[0] * error @ x[1:]], rates[1] * x[0] * error])

    run = solve_ivp(slope, (0, t[-1]), [a, *w], t_eval=t, method="DOP853", rtol=1e-13, atol=1e-14)
    return run.y[0], run.y[1:].T


@pytest.mark.parametrize("seed", range(20))
def test_flow_of_random_networks_and_rates(seed):
    rng = np.random.default_rng(seed)
    d = rng.integers(1, 5)
    a, w = rng.normal(), rng.normal(size=d) * 10.0 ** rng.uniform(-1, 0.5)
    beta, rates = 2 * rng.normal(size=d), 10.0 ** rng.uniform(-1, 1, 2)
    t = np.linspace(0, 10, 6) / (rates.prod() * np.linalg.norm(beta) + rates.sum())
    found = ok.linear.minimal(t, a, w, beta, list(rates))
    for x, y in zip(found, flow(a, w, beta, rates, t), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-11 * np.abs(y).max())


def long_minimal(t, a, w, beta):
    """The matrix exponential and the integral, entry by entry, to 60 digits."""
    with mp.workdps(60):
        t, a = mp.mpf(float(t)), mp.mpf(float(a))
        w, beta = ([mp.mpf(float(x)) for x in v] for v in (w, beta))
        s = mp.sqrt(sum(x * x for x in beta))
        p = sum(x * y for x, y in zip(w, beta, strict=True)) / s
        D = a * a - sum(x * x for x in w)
        S = mp.sqrt(D * D + 4 * s * s)
        high, low = (D + S) / 2, (D - S) / 2
        # F = one e^(high t) + two e^(low t), and s G = F' − D F.
        one, two = (high * a + s * p) / S, -(low * a + s * p) / S
        F = one * mp.exp(high * t) + two * mp.exp(low * t)
        G = ((high - D) * one * mp.exp(high * t) + (low - D) * two * mp.exp(low * t)) / s
        total = one**2 * mp.expm1(2 * high * t) / (2 * high)
        total += two**2 * mp.expm1(2 * low * t) / (2 * low)
        total += 2 * one * two * (mp.expm1(D * t) / D if D else t)
        root = mp.sqrt(1 + 2 * total)
        rest = [x - p * y / s for x, y in zip(w, beta, strict=True)]
        return F / root, [(G * y / s + x) / root for x, y in zip(rest, beta, strict=True)]


scales = st.floats(-3, 3).map(lambda x: 10.0**x)


@given(a=scales, one=scales, two=scales, s=st.floats(-2, 2), sign=st.sampled_from([-1, 1]),
       t=st.floats(-4, 3))  # fmt: skip
def test_scales_of_six_decades_against_long_arithmetic(a, one, two, s, sign, t):
    beta, w = np.array([0.0, 10.0**s]), np.array([one, sign * two])
    t = 10.0**t / (a * a + w @ w + beta[1])
    found, exact = ok.linear.minimal(t, a, w, beta), long_minimal(t, a, w, beta)
    # Starts beside the surface between the basins are as uncertain as their place.
    D = a * a - w @ w
    up = 0.5 * (D + np.hypot(D, 2 * beta[1]))
    terms = up * a, w @ beta
    doubt = sum(map(abs, terms)) / max(abs(sum(terms)), 1e-300)
    size = max(abs(found[0]), np.abs(found[1]).max())
    bound = 1e-14 * doubt * (1 + abs(D) * t * 1e-2) * size * 10
    for x, y in zip([found[0], *found[1]], [exact[0], *exact[1]], strict=True):
        assert abs(float(x - y)) <= bound


def test_large_imbalance_and_infinite_times():
    for a, w in ((1e3, [0.1, 0.2]), (0.1, [1e3, 200.0]), (1e-8, [1e-8, 0.0])):
        t = np.array([0.0, 1e-6, 1.0, 1e3, np.inf])
        found = ok.linear.minimal(t, a, w, BETA)
        assert all(np.isfinite(x).all() for x in found)
        np.testing.assert_allclose(found[0][0], a, rtol=1e-15)
        np.testing.assert_allclose(found[1][0], w, rtol=1e-14, atol=1e-20)
        np.testing.assert_allclose(found[0][-1] * found[1][-1], BETA, atol=1e-9)
    # Without a target; at rest; on the surface, into the saddle.
    a, w = ok.linear.minimal([0.0, 1.0, np.inf], 1.0, [0.0, 2.0], [0.0, 0.0])
    assert a.tolist()[2] == 0.0
    assert np.all(np.diff(np.abs(a)) < 0)
    np.testing.assert_allclose(a**2 - (w**2).sum(-1), -3.0, rtol=1e-14)
    a, w = ok.linear.minimal([1.0, np.inf], 0.0, [0.0, 0.0], BETA)
    assert not a.any()
    assert not w.any()
    a, w = ok.linear.minimal([0.0, 1e3, np.inf], 0.5, [0.0, -0.5], BETA)
    assert ok.linear.minimal_basin(0.5, [0.0, -0.5], BETA) == 0.0
    np.testing.assert_allclose(a, [0.5, 0.0, 0.0], atol=1e-300)
    a, w = ok.linear.minimal([1.0, np.inf], 0.0, [3.0, 0.0], BETA)
    assert not a.any()  # w ⊥ β without readout stays
    np.testing.assert_allclose(w, [[3.0, 0.0]] * 2, rtol=1e-14)


# ------------------------------------------------------------------------------ published numbers


def start(delta, size=1.0):
    a = np.sqrt((delta + np.sqrt(delta**2 + 4 * size**2)) / 2)
    return a, np.array([-size / a, 0.0])


def alignment(w):
    return w @ BETA / np.linalg.norm(w, axis=-1)


def kernel(a, w):
    return np.asarray(a)[..., None, None] ** 2 * np.eye(2) + w[..., :, None] * w[..., None, :]


def distance(a, w):
    one, two = kernel(a[:1], w[:1]), kernel(a, w)
    sizes = np.linalg.norm(one, axis=(-2, -1)) * np.linalg.norm(two, axis=(-2, -1))
    return 1 - (one * two).sum((-2, -1)) / sizes


PUBLISHED = {
    -4: ([0.0659, 0.0843, 0.1694, 0.9861], 0.0759, 10.133, [0.0055, 0.0081, 0.0284, 0.8713]),
    -2: ([0.2041, 0.3169, 0.7579, 1.0], 0.2452, 3.3115, [0.0432, 0.0914, 0.4414, 0.7133]),
    -1: ([0.4164, 0.6851, 0.9867, 1.0], 0.4268, 1.2867, [0.1170, 0.2763, 0.4777, 0.4864]),
    0: ([0.7616, 0.9640, 0.9999, 1.0], 0.6244, 0.5547, [0.1160, 0.1859, 0.2000, 0.2000]),
    1: ([0.9560, 0.9985, 1.0, 1.0], 0.8013, 0.3122, [0.0386, 0.0488, 0.0501, 0.0501]),
    2: (None, 0.9142, 0.2015, [0.0109, 0.0123, 0.0124, 0.0124]),
    4: ([0.9999, 1.0, 1.0, 1.0], 0.9867, 0.1423, [0.0014, 0.0015, 0.0015, 0.0015]),
}


@pytest.mark.parametrize("delta", PUBLISHED)
def test_lazy_rich_and_delayed_rich(delta):
    cosine, size, half, moved = PUBLISHED[delta]
    a, w = ok.linear.minimal([0.0, 1.0, 2.0, 5.0, 20.0], *start(delta), BETA)
    if cosine is not None:
        np.testing.assert_allclose(alignment(w)[1:], cosine, atol=1e-4)
    assert a[1] * np.linalg.norm(w[1]) == pytest.approx(size, abs=1e-4)
    np.testing.assert_allclose(distance(a, w)[1:], moved, atol=1e-4)

    rows = xr.DataArray(np.arange(0, 20.1, 0.25), dims="time")
    _, w = ok.linear.minimal(rows.values, *start(delta), BETA)
    curve = xr.DataArray(alignment(w), dims="time", coords={"time": rows.values}, name="cosine")
    assert float(ok.measures.escape_time(curve, 0.5)) == pytest.approx(half, abs=1e-3)


def test_the_edge_between_the_basins():
    def side(across):
        return ok.linear.minimal(np.inf, 0.6, [1.3, across], BETA)[0]

    def basin(across):
        return ok.linear.minimal_basin(0.6, [1.3, across], BETA)

    for sign in (side, basin):
        assert sign(-0.309147854) > 0 > sign(-0.309147874)


@pytest.mark.parametrize("rates", [(0.3, 2.0), (5.0, 0.1)])
def test_rates_are_a_change_of_scale(rates):
    one, two = np.sqrt(rates)
    a, w = start(-1.0)
    t = np.linspace(0, 5, 7)
    even = ok.linear.minimal(t, a, w, BETA)
    found = ok.linear.minimal(t / (one * two) ** 2, a * one, w * two, BETA * one * two, rates)
    np.testing.assert_allclose(found[0] / one, even[0], rtol=1e-13)
    np.testing.assert_allclose(found[1] / two, even[1], atol=1e-13)
    given = a * one, w * two, BETA * one * two, rates
    assert ok.linear.minimal_basin(*given) == ok.linear.minimal_basin(a, w, BETA) == 1.0


some = st.floats(-3, 3).map(lambda x: round(x, 100))


@given(a=some, one=some, two=some)
def test_basins_are_where_networks_end(a, one, two):
    basin = ok.linear.minimal_basin(a, [one, two], BETA)
    end, _ = ok.linear.minimal(np.inf, a, [one, two], BETA)
    assert np.sign(end) == basin
    assert ok.linear.minimal_basin(-a, [-one, -two], BETA) == -basin


# --------------------------------------------------------------------------------- arrays, labels


def test_labels_and_arrays_agree():
    t = xr.DataArray([0.0, 1.0, 2.0], dims="time")
    a = xr.DataArray([1.0, 0.1], dims="draw", coords={"draw": [3, 4]})
    w = xr.DataArray([[1.0, -0.5], [0.3, 2.0]], dims=("draw", "input"))
    rate = xr.DataArray([0.5, 1.0, 2.0], dims="rate")
    beta = xr.DataArray(BETA, dims="input")
    found = ok.linear.minimal(t, a, w, beta, (rate, 1.0))
    assert found[0].dims == ("time", "draw", "rate")
    assert found[1].dims == ("time", "draw", "rate", "input")
    assert found[0].draw.values.tolist() == [3, 4]
    one = ok.linear.minimal(t.values, 0.1, w.values[1], BETA, (2.0, 1.0))
    for x, y in zip(found, one, strict=True):
        np.testing.assert_array_equal(x.isel(draw=1, rate=2), y)
    assert ok.linear.minimal_basin(a, w, BETA).dims == ("draw",)
    pixels = ok.linear.minimal(1.0, 1.0, w.rename(input="pixel"), BETA, dim="pixel")[1]
    assert pixels.dims == ("draw", "pixel")


def test_bad_arguments_are_named():
    minimal = ok.linear.minimal
    with pytest.raises(ProblemError, match="`beta` must have as many inputs as `w`, got 3 and 2"):
        minimal(1.0, 1.0, [1.0, 2.0, 3.0], BETA)
    with pytest.raises(ProblemError, match=r"`rates\[1\]` must be > 0, got 0"):
        minimal(1.0, 1.0, BETA, BETA, (1.0, 0.0))
    with pytest.raises(ProblemError, match="`rates` must be two"):
        minimal(1.0, 1.0, BETA, BETA, 2.0)
    with pytest.raises(ProblemError, match="`w` must have the dims"):
        minimal(1.0, 1.0, 1.0, BETA)
    with pytest.raises(ProblemError, match="`time` must be >= 0"):
        minimal(-1.0, 1.0, BETA, BETA)
