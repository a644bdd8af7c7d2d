"""When modes reach a level: against long arithmetic, the flow, and published numbers."""

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

decades = st.floats(-6, 6).map(lambda x: 10.0**x)
strengths = st.floats(-3, 3).map(lambda x: 10.0**x)
EPS = np.finfo(float).eps


def long_time(s, a, b, y, gap=None):
    """The time by the Riccati equation of P = (a + b)², to 80 digits."""
    with mp.workdps(80):
        s, a, b, y = (mp.mpf(float(x)) for x in (s, a, b, y))
        if gap is not None:
            y = s - mp.mpf(float(gap))
        c = a * a - b * b
        r = mp.sqrt(c * c + 4 * s * s)

        def odds(P):
            return (P - (2 * s + r)) / (P - (2 * s - r))

        P = mp.sqrt(c * c + 4 * y * y) + 2 * y
        return mp.log(odds((a + b) ** 2) / odds(P)) / r


@given(a=decades, b=decades, s=strengths, share=st.floats(-12, -1e-3), end=st.booleans())
def test_times_have_one_rounding_of_the_argument(a, b, s, share, end):
    """Levels down to 1e-12 of both ends, over twelve decades of weights."""
    start = a * b
    if start == s:
        return
    part = (s - start) * 10.0**share
    if end:
        y, gap = s - part, part
        found = ok.linear.time_to(s, a, b, within=abs(gap))
        exact = long_time(s, a, b, s, gap)
    else:
        y = start + part
        gap = s - y
        if y == start or gap == 0:
            return
        found = ok.linear.time_to(s, a, b, level=y)
        exact = long_time(s, a, b, y)
    # dt/dy = 1/(R (s − y)): what a rounding of the level, or of the start, costs.
    c = (a - b) * (a + b)
    argument = abs(y) / np.hypot(c, 2 * y) / abs(gap) if not end else 0.0
    argument += abs(start) / (a * a + b * b) / abs(s - start)
    assert abs(found - exact) <= EPS * (8 * abs(exact) + 2 * argument)


@given(a=decades, b=decades, s=strengths, share=st.floats(0.01, 0.99))
def test_times_of_a_mode_that_starts_against_its_target(a, b, s, share):
    if abs(a - b) < 1e-3 * (a + b):
        b *= 1.5
    y = -a * b + share * (s + a * b)
    exact = long_time(s, a, -b, y)
    c = (a - b) * (a + b)
    argument = (abs(y) / np.hypot(c, 2 * y) + a * b / (a * a + b * b)) / (1 - share) / (s + a * b)
    argument += abs(a * b) / np.hypot(c, 2 * y) / (s - y)
    for sign in (1.0, -1.0):
        found = ok.linear.time_to(sign * s, a, -sign * b, level=sign * y)
        assert abs(found - exact) <= EPS * (30 * abs(exact) + 4 * argument)


@given(a=decades, b=decades, s=strengths, t=st.floats(-3, 1))
def test_time_to_inverts_the_mode(a, b, s, t):
    t = 10.0**t / (a * a + b * b + s)
    p, q = ok.linear.one_mode(t, s, a, b)
    if abs(p * q - a * b) > 1e-6 * a * b and abs(s - p * q) > 1e-6 * s:
        assert ok.linear.time_to(s, a, b, level=p * q) == pytest.approx(t, rel=1e-8)


def test_what_is_reached_at_once_and_what_never():
    time_to = ok.linear.time_to
    assert time_to(2.0, 1.0, 1.0, level=1.0) == 0.0
    assert time_to(2.0, 1.0, 1.0, above=0.5) == 0.0
    assert time_to(2.0, 1.0, 1.0, within=1.5) == 0.0
    for level in (0.5, 2.0, 2.5):  # behind, the target itself, beyond
        assert time_to(2.0, 1.0, 1.0, level=level) == np.inf
    assert time_to(2.0, 2.0, 2.0, above=3.0) == 0.0
    assert time_to(2.0, 1.0, 1.0, above=2.0) == np.inf
    # From above the target.
    assert 0 < time_to(2.0, 2.0, 2.0, within=0.5) == time_to(2.0, 2.0, 2.0, level=2.5) < np.inf
    # The saddle, and the line that runs into it: a = -b.
    assert time_to(1.0, 0.0, 0.0, above=0.5) == np.inf
    assert time_to(1.0, 0.5, -0.5, level=0.1) == np.inf
    assert time_to(1.0, 0.5, -0.5, level=-0.1) == pytest.approx(
        float(long_time(1.0, 0.5, -0.5 * (1 + 1e-12), -0.1)), rel=1e-9
    )
    # No target: a' = -a³ from 1, a² = 1/(1 + 2t).
    assert time_to(0.0, 1.0, 1.0, level=0.1) == pytest.approx(4.5, rel=1e-15)
    assert time_to(0.0, -1.0, 1.0, level=-0.1) == pytest.approx(4.5, rel=1e-15)
    assert time_to(0.0, 2.0, 1.0, within=0.1) == pytest.approx(
        float(long_time(1e-25, 2.0, 1.0, 0.1)), rel=1e-12
    )


# ------------------------------------------------------------------------------ published numbers

STRENGTH, START, HALF, NEAR = 10.0, 1e-3, 5.0, 1.0


def second(imbalance):
    return np.sqrt(START**2 + np.asarray(imbalance, dtype=float))


def test_escape_and_hitting_times_of_specialisation_by_timing():
    b = second([0, 1, 5, 20, 100])
    escape = ok.linear.time_to(STRENGTH, START, b, above=HALF)
    hit = ok.linear.time_to(STRENGTH, START, b, within=NEAR)
    known = [0.8059048, 0.1818979, 0.0951205, 0.0331082, 0.00690790]
    np.testing.assert_allclose(escape[:4], known[:4], rtol=0, atol=5.1e-8)
    np.testing.assert_allclose(escape[4], known[4], rtol=0, atol=5.1e-9)
    known = [0.9157660, 0.2914811, 0.1986651, 0.0974489, 0.0228198]
    np.testing.assert_allclose(hit, known, rtol=0, atol=1.1e-7)


def test_the_boundary_of_who_is_first():
    def late(other, one):
        hit = ok.linear.time_to(STRENGTH, START, second(one), within=NEAR)
        return hit - ok.linear.time_to(STRENGTH, START, second(other), above=HALF)

    known = {5: 0.7242, 10: 1.8368, 20: 4.7900, 40: 11.1843, 50: 14.3307}
    found = [brentq(late, 1e-6, 100, args=(one,)) for one in known]
    np.testing.assert_allclose(found, list(known.values()), atol=1e-4)
    assert brentq(lambda one: late(20.0, one), 50, 100) == pytest.approx(68.28, abs=0.02)
    one, two = np.meshgrid(np.linspace(0, 100, 101), np.linspace(0, 20, 101))
    first, other = late(two, one) < 0, late(one, two) < 0
    parts = first.mean(), other.mean(), (~first & ~other).mean()
    np.testing.assert_allclose(parts, [0.637, 0.025, 0.338], atol=0.005)


def test_the_boundary_of_a_race_for_one_mode():
    def lost(other, one):
        return ok.linear.race(np.inf, STRENGTH, [START] * 2, second([one, other]))[1] - NEAR

    known = {5: 0.5545, 10: 1.1095, 20: 2.2193, 50: 5.5463, 80: 8.8708, 100: 11.0860}
    found = [brentq(lost, 1e-6, 100, args=(one,)) for one in known]
    np.testing.assert_allclose(found, list(known.values()), atol=1e-4)


# ------------------------------------------------------------------------------------------ races


def flow(s, a, b, t):
    def slope(_t, x):
        a, b = x.reshape(2, -1)
        e = s - a @ b
        return np.concatenate([b * e, a * e])

    start = np.concatenate([a, b])
    run = solve_ivp(slope, (0, t[-1]), start, t_eval=t, method="DOP853", rtol=1e-12, atol=1e-14)
    a, b = run.y.reshape(2, len(a), -1)
    return (a * b).T


@pytest.mark.parametrize("seed", range(8))
def test_races_follow_the_flow(seed):
    rng = np.random.default_rng(seed)
    K, s = rng.integers(1, 6), 3.0 * rng.normal()
    a, b = 10.0 ** rng.uniform(-2, 0.5) * rng.normal(size=(2, K))
    t = np.linspace(0, 4, 9)
    exact = flow(s, a, b, t)
    np.testing.assert_allclose(ok.linear.race(t, s, a, b), exact, atol=1e-10)
    # When each is halfway to where it is at t = 1.
    level = 0.5 * (a * b + ok.linear.race(1.0, s, a, b))
    names = {"dims": "pathway"}
    times = ok.linear.race_time_to(
        s, xr.DataArray(a, **names), xr.DataArray(b, **names), level=xr.DataArray(level, **names)
    )
    then = np.diag(ok.linear.race(times.values, s, a, b))
    np.testing.assert_allclose(then, level, atol=1e-12 * np.abs(exact).max())
    assert np.all((times > 0) & (times < 1))


@given(a=decades, b=decades, s=strengths, t=st.floats(-6, 2))
def test_one_pathway_races_alone(a, b, s, t):
    t = 10.0**t / (a * a + b * b + s)
    p, q = ok.linear.one_mode(t, s, a, b)
    (alone,) = ok.linear.race(t, s, [a], [b])
    assert alone == pytest.approx(p * q, rel=1e-12, abs=1e-14 * (a * a + b * b))
    level = 0.5 * (a * b + s)
    one, alone = (
        ok.linear.time_to(s, a, b, level=level),
        ok.linear.race_time_to(s, [a], [b], level=level),
    )
    if abs(s - a * b) > 1e-6 * a * b:
        assert alone[0] == pytest.approx(one, rel=1e-7)


def long_race(t, s, a, b):
    """P of the sum by its Riccati solution, to 80 digits, and each pathway by the common factor."""
    with mp.workdps(80):
        t, s = mp.mpf(float(t)), mp.mpf(float(s))
        plus = [(mp.mpf(float(x)) + mp.mpf(float(y))) ** 2 for x, y in zip(a, b, strict=True)]
        minus = [(mp.mpf(float(x)) - mp.mpf(float(y))) ** 2 for x, y in zip(a, b, strict=True)]
        A, r = sum(plus), mp.sqrt(sum(plus) * sum(minus) + 4 * s * s)
        above, below = 2 * s + r, 2 * s - r
        kappa = (A - above) / (A - below) * mp.exp(-r * t)
        g = (above - below * kappa) / (1 - kappa) / A
        return [(p * g - m / g) / 4 for p, m in zip(plus, minus, strict=True)]


@given(a=st.tuples(decades, decades, decades), b=st.tuples(decades, decades, decades),
       s=strengths, t=st.floats(-6, 3))  # fmt: skip
def test_races_over_twelve_decades(a, b, s, t):
    total = np.dot(a, b)
    t = 10.0**t / (np.dot(a, a) + np.dot(b, b) + s)
    exact = np.array(long_race(t, s, a, b), dtype=float)
    found = ok.linear.race(t, s, a, b)
    if s > total:  # all grow
        np.testing.assert_allclose(found, exact, rtol=2e-13)
    else:
        size = np.square(a) + np.square(b)
        assert np.all(np.abs(found - exact) <= 2e-13 * (size + np.abs(exact)))


def test_shares_at_the_end():
    rng = np.random.default_rng(0)
    a, b = 1e-6 * rng.normal(size=(2, 5))
    end = ok.linear.race(np.inf, 2.0, a, b)
    np.testing.assert_allclose(end, 2.0 * (a + b) ** 2 / ((a + b) ** 2).sum(), rtol=1e-9)
    np.testing.assert_allclose(end.sum(), 2.0, rtol=1e-14)
    np.testing.assert_array_equal(ok.linear.race(0.0, 2.0, a, b), a * b)
    # Nothing is left without target; a pathway on the saddle stays; one at a + b = 0 ends there.
    assert ok.linear.race(np.inf, 0.0, [1.0, 2.0], [1.0, 2.0]).tolist() == [0.0, 0.0]
    assert ok.linear.race(5.0, 1.0, [0.0, 1.0], [0.0, 1.0]).tolist()[0] == 0.0
    assert ok.linear.race(np.inf, 1.0, [0.5], [-0.5]).tolist() == [0.0]
    losers = ok.linear.race_time_to(2.0, a, b, within=1e-3)
    assert np.isinf(losers).all()  # each has a share, none the whole
    assert ok.linear.race_time_to(2.0, [1.0, 1e-3], [1.0, 1e-3], above=0.5)[0] == 0.0


def test_from_far_above_the_target():
    """The factor g falls to 1e-9: it must not be the rest of 1 − (1 − g)."""
    found = ok.linear.race(np.inf, 1e-3, [1e3], [1e3])
    np.testing.assert_allclose(found, 1e-3, rtol=1e-14)


# --------------------------------------------------------------------------------- arrays, labels


def test_labels_and_arrays_agree():
    s = xr.DataArray([1.0, 2.0], dims="s", coords={"s": [1.0, 2.0]})
    a = xr.DataArray([[0.1, 0.2, 0.3], [0.3, 0.1, 0.1]], dims=("draw", "pathway"))
    t = xr.DataArray([0.0, 1.0, 2.0, 3.0], dims="time")
    y = ok.linear.race(t, s, a, 0.5 * a)
    assert y.dims == ("time", "s", "draw", "pathway")
    plain = ok.linear.race(t.values[:, None, None], s.values[:, None], a.values, 0.5 * a.values)
    np.testing.assert_array_equal(y, plain)
    own = ok.linear.race(t, s, a.rename(pathway="k"), 0.5 * a.rename(pathway="k"), dim="k")
    np.testing.assert_array_equal(own, plain)
    when = ok.linear.race_time_to(s, a, 0.5 * a, above=0.2)
    assert when.dims == ("s", "draw", "pathway")
    when = ok.linear.time_to(s, 0.1, 0.1, above=xr.DataArray([0.2, 0.3, 0.4], dims="level"))
    assert when.dims == ("s", "level")
    assert np.all(when.diff("level") > 0)
    assert np.all(when.diff("s") < 0)


def test_bad_arguments_are_named():
    time_to = ok.linear.time_to
    with pytest.raises(ProblemError, match="`level` must be the only one given of"):
        time_to(1.0, 1.0, 1.0)
    with pytest.raises(ProblemError, match="got level, above"):
        time_to(1.0, 1.0, 1.0, level=1.0, above=1.0)
    with pytest.raises(ProblemError, match="`within` must be > 0, got 0"):
        time_to(1.0, 1.0, 1.0, within=[1.0, 0.0])
    with pytest.raises(ProblemError, match="`above` must be finite"):
        time_to(1.0, 1.0, 1.0, above=np.nan)
    with pytest.raises(ProblemError, match=r"`first` must have the dims \('pathway',\)"):
        ok.linear.race(1.0, 1.0, xr.DataArray([1.0], dims="k"), 1.0)
    with pytest.raises(ProblemError, match="`second` must have the dims"):
        ok.linear.race(1.0, 1.0, [1.0], 1.0)
    s = xr.DataArray([1.0, 2.0], dims="s")
    with pytest.raises(ProblemError, match="`time` must be a number or an array of numbers"):
        ok.linear.race("late", 1.0, [1.0], [1.0])
    with pytest.raises(ProblemError, match="`time` must be >= 0, got nan"):
        ok.linear.race([1.0, np.nan], 1.0, [1.0], [1.0])
    with pytest.raises(ProblemError, match="`time` must be labelled"):
        ok.linear.one_mode([0.0, 1.0], s, 0.1, 0.1)  # not one time for each strength


# ------------------------------------------------------------------------------ measures of curves


def specialisation(rows):
    imbalance = xr.DataArray([0.0, 1.0, 5.0, 20.0], dims="imbalance")
    time = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, rows - 1)])
    time = xr.DataArray(time, dims="time", coords={"time": time})
    a, b = ok.linear.one_mode(time, STRENGTH, START, np.sqrt(START**2 + imbalance))
    return (a * b).rename("strength"), second(imbalance)


@pytest.mark.parametrize(("rows", "bound"), [(400, 2e-4), (200, 2.3e-3)])
def test_measured_times_of_modes(rows, bound):
    curve, b = specialisation(rows)
    escape = ok.measures.escape_time(curve, HALF)
    hit = ok.measures.hitting_time(curve, STRENGTH, NEAR)
    assert escape.dims == ("imbalance",)
    exact = ok.linear.time_to(STRENGTH, START, b, above=HALF)
    np.testing.assert_allclose(escape, exact, rtol=bound)
    exact = ok.linear.time_to(STRENGTH, START, b, within=NEAR)
    np.testing.assert_allclose(hit, exact, rtol=bound)


def test_measured_times_at_the_ends():
    time = np.arange(5.0)
    values = [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [0, 4, 0, 4, 0], [1, 1, np.nan, np.nan, np.nan]]
    curve = xr.DataArray(values, dims=("run", "time"), coords={"time": time}, name="y")
    escape, hit = ok.measures.escape_time, ok.measures.hitting_time
    assert escape(curve, 2.5).values.tolist() == [2.5, 0.0, 0.625, np.inf]
    assert escape(curve, 4.0).values.tolist() == [np.inf] * 4  # never above
    assert hit(curve, 2.0, 0.5).values.tolist() == [1.5, 1.5, 0.375, np.inf]
    assert hit(curve, 1.0, 0.5).values.tolist() == [0.5, 2.5, 0.125, 0.0]
    levels = xr.DataArray([0.5, 3.5, 0.0, 0.5], dims="run")
    assert escape(curve, levels).values.tolist() == [0.5, 0.0, 0.0, 0.0]
    assert escape(curve.astype(float) * np.nan, 1.0).isnull().all()
    since = curve.isel(run=0).assign_coords(time_since_switch=("time", time - 1.0))
    assert float(escape(since.isel(time=slice(1, None)), 2.5)) == 1.5
    assert "units" not in escape(curve, 2.5).attrs


def test_measures_refuse():
    time = np.arange(3.0)
    curve = xr.DataArray([0.0, 1.0, 2.0], dims="time", coords={"time": time}, name="y")
    with pytest.raises(ProblemError, match="`level` must be a number, or labelled"):
        ok.measures.escape_time(curve, [0.5, 1.5])
    with pytest.raises(ProblemError, match="`level` must not change with time"):
        ok.measures.escape_time(curve, curve)
    with pytest.raises(ProblemError, match="`eps` must be > 0"):
        ok.measures.hitting_time(curve, 1.0, 0.0)
    with pytest.raises(ProblemError, match="`curve` must have the dim `time`"):
        ok.measures.escape_time(curve.rename(time="step"), 1.0)
