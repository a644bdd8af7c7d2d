"""Decay of modes and unimodal phases: against the flow, and published numbers."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

import odekit as ok
from odekit.base.errors import ProblemError


def integrate(slope, start, t, rtol=1e-11, atol=1e-14):
    run = solve_ivp(slope, (0, t[-1]), start, t_eval=t, method="LSODA", rtol=rtol, atol=atol)
    return run.y


# ------------------------------------------------------------------------------------------ decay


def test_decay_is_a_penalty_on_the_rank():
    """Singular values 3 x 4 of a network with rates and decays of its own in each layer."""
    U, V = (
        np.linalg.qr(np.random.default_rng(i).normal(size=(n, n)))[0] for i, n in ((0, 3), (1, 4))
    )
    s = np.array([2.25987, 1.69675, 0.42002])
    target, decays, rates = (U * s) @ V[:3], (0.9, 0.4), (0.5, 2.0)

    def slope(_t, x):
        one, two = x[:12].reshape(3, 4), x[12:].reshape(3, 3)
        error = target - two @ one
        d_one = rates[0] * (two.T @ error - decays[0] * one)
        d_two = rates[1] * (error @ one.T - decays[1] * two)
        return np.concatenate([d_one.ravel(), d_two.ravel()])

    x = integrate(slope, np.random.default_rng(2).normal(size=21), [0.0, 300.0])[:, -1]
    found = np.linalg.svd(x[12:].reshape(3, 3) @ x[:12].reshape(3, 4))[1]
    ends = ok.linear.decayed_strength(s, decays)
    np.testing.assert_allclose(ends, [1.65987, 1.09675, 0.0], atol=1e-12)
    np.testing.assert_allclose(found, ends, atol=1e-8)


def test_three_layers_jump():
    assert ok.linear.decay_onset(1.0, 3) == pytest.approx(0.47247, abs=5e-6)
    ends = ok.linear.decayed_strength(1.0, [0.2] * 3, start=np.array([0.9, 0.2]) ** 3)
    np.testing.assert_allclose(ends, [0.783009, 0.0], atol=5e-7)
    t = np.array([0.0, 200.0])
    for w, end in zip((0.9, 0.2), ends, strict=True):
        found = integrate(lambda _t, w: w**2 * (1 - w**3) - 0.2 * w, [w], t)[0, -1] ** 3
        assert found == pytest.approx(end, abs=1e-9)


@pytest.mark.parametrize("depth", [3, 4, 7])
def test_deep_chains_of_unequal_rates_and_decays(depth):
    rng = np.random.default_rng(depth)
    decays, rates = rng.uniform(0.05, 0.4, (2, depth))
    s = 1.6
    assert np.exp(np.log(decays).mean()) < ok.linear.decay_onset(s, depth)

    def slope(_t, w):
        others = np.prod(np.where(np.eye(depth, dtype=bool), 1.0, w), axis=1)
        return rates * (others * (s - w.prod()) - decays * w)

    w = integrate(slope, np.full(depth, 1.2), [0.0, 2000.0])[:, -1]
    assert w.prod() == pytest.approx(ok.linear.decayed_strength(s, list(decays)), abs=1e-8)


@given(
    s=st.floats(-3, 3), share=st.floats(1e-6, 1.5), depth=st.integers(1, 12), part=st.floats(0, 1)
)
def test_ends_solve_their_equation(s, share, depth, part):
    s = 10.0**s
    kappa = share * (ok.linear.decay_onset(s, depth) if depth > 1 else 1.0)
    u = ok.linear.decayed_strength(s, [kappa] * depth)
    assert 0 <= u <= s
    if share > 1 and depth > 1:
        assert u == 0
    if u > 0:
        assert u + kappa * u ** (2 / depth - 1) == pytest.approx(s, rel=1e-12)
    # A start ends above or at 0, and never between.
    end = ok.linear.decayed_strength(s, [kappa] * depth, start=part * s)
    assert end in (0.0, u)
    if part * s >= u > 0:
        assert end == u
    if u > 0 and depth > 2 and end == 0:
        w = (part * s) ** (1 / depth)
        assert w ** (depth - 1) * (s - w**depth) <= kappa * w * (1 + 1e-9)  # it shrinks


def test_the_onset_is_where_both_ends_meet():
    for depth in (3, 4, 10):
        onset = ok.linear.decay_onset(2.0, depth)
        just = ok.linear.decayed_strength(2.0, [onset * (1 - 1e-9)] * depth)
        assert just == pytest.approx(2.0 * (depth - 2) / (2 * depth - 2), rel=1e-3)
        assert ok.linear.decayed_strength(2.0, [onset * (1 + 1e-9)] * depth) == 0.0
    assert ok.linear.decay_onset(2.0, 2) == 2.0
    assert ok.linear.decay_onset(2.0, 1) == np.inf
    assert ok.linear.decayed_strength(0.0, [0.1] * 3) == 0.0
    assert ok.linear.decayed_strength(1.5, [0.0] * 3) == 1.5
    assert ok.linear.decayed_strength(1.5, [0.5]) == 1.0


def test_a_balanced_mode_with_decay_is_logistic():
    t, s, kappa = np.linspace(0, 6, 7), 2.0, 0.5

    def slope(_t, w):
        return [w[1] * (s - w[0] * w[1]) - kappa * w[0], w[0] * (s - w[0] * w[1]) - kappa * w[1]]

    y = integrate(slope, [0.1, 0.1], t)
    found = ok.linear.balanced_mode(t, s - kappa, 0.01)
    np.testing.assert_allclose(y[0] * y[1], found, rtol=1e-8)
    assert found[-1] < ok.linear.decayed_strength(s, [kappa, kappa]) == 1.5


def test_decays_by_labels():
    s = xr.DataArray([1.0, 2.0], dims="s")
    kappa = xr.DataArray([0.1, 0.2, 5.0], dims="kappa", coords={"kappa": [0.1, 0.2, 5.0]})
    ends = ok.linear.decayed_strength(s, [kappa, 0.2, 0.3])
    assert ends.dims == ("s", "kappa")
    one = ok.linear.decayed_strength(2.0, [0.2, 0.2, 0.3])
    assert float(ends.isel(s=1).sel(kappa=0.2)) == one
    assert ok.linear.decay_onset(s, 3).dims == ("s",)


def test_bad_decays_are_named():
    ends = ok.linear.decayed_strength
    with pytest.raises(ProblemError, match=r"`decays\[1\]` must be >= 0, got -1"):
        ends(1.0, [1.0, -1.0])
    with pytest.raises(ProblemError, match="`decays` must be one for each layer"):
        ends(1.0, [])
    with pytest.raises(ProblemError, match="`decays` must be one for each layer"):
        ends(1.0, 0.5)
    with pytest.raises(ProblemError, match=r"`decays\[2\]` must be that of the first layer"):
        ends(1.0, [0.1, 0.1, 0.2], start=0.5)
    with pytest.raises(ProblemError, match="`strength` must be >= 0"):
        ends(-1.0, [0.1, 0.2])
    with pytest.raises(ProblemError, match="`depth`"):
        ok.linear.decay_onset(1.0, 0)


# -------------------------------------------------------------------------------- unimodal phases


def test_published_lines():
    ratio = ok.linear.unimodal_ratio
    found = ratio(2.0, [-0.9, -0.45, 0.0, 0.45, 0.9])
    np.testing.assert_allclose(found, [16.789, 4.762, 4.0, 4.762, 16.789], atol=5e-4)
    known = {4: (4.0, 5.688), 3: (1.748, 2.114), 2: (1.213, 1.306), 1: (1.0, 1.0)}
    for fusion, values in known.items():
        found = ratio(2.0, [0.0, 0.6], depth=4, fusion=fusion, start=0.1)
        np.testing.assert_allclose(found, values, atol=6e-4)
    np.testing.assert_array_equal(ratio(1.0, [0.3, -0.3], depth=3, fusion=2, start=0.1), 1.0)


@pytest.mark.parametrize("fusion", [2, 3, 4, 5])
@pytest.mark.parametrize(("r", "rho"), [(2.0, 0.0), (1.001, 0.9), (4.0, -0.7)])
def test_the_integral_of_the_growth(fusion, r, rho):
    """The growth of both modalities by quadrature over that of the first."""
    L, u = 6, 0.05
    k = (1 + rho * r) / (r * (r + rho))

    def density(x):
        z = x**k if fusion == 2 else (1 - k + k * x ** (2 - fusion)) ** (1 / (2 - fusion))
        return x ** (1 - fusion) * (x * x + z * z) ** (-(L - fusion) / 2)

    first = quad(density, 1, 1 / u, epsabs=0, epsrel=1e-12, limit=500)[0]
    lasts = np.log(1 / u) if fusion == 2 else 1 / (fusion - 2)
    excess = (r * r - 1) / (1 - rho * rho) * u ** (L - fusion) * lasts
    exact = 1 + excess / ((1 + rho / r) ** (1 - fusion / L) * first)
    assert ok.linear.unimodal_ratio(r, rho, L, fusion, u) == pytest.approx(exact, rel=1e-10)


def times(r, rho, depth, fusion, u0, until):
    """When both of two modalities of one unit a layer are at half of what they reach first."""
    own, shared = fusion, depth - fusion

    def slope(_t, x):
        a, b, c = x
        top = c**shared
        A, B = a**own * top, b**own * top
        ea = r * r + rho * r - A * r * r - B * rho * r
        eb = 1 + rho * r - A * rho * r - B
        dc = (a**own * ea + b**own * eb) * c ** (shared - 1) if shared else 0.0
        return [a ** (own - 1) * top * ea, b ** (own - 1) * top * eb, dc]

    def half(name, level):
        def event(_t, x):
            return x[name] ** own * x[2] ** shared - level

        return event

    events = [half(0, 0.5 * (1 + rho / r)), half(1, 0.5)]
    start = [u0, u0, np.sqrt(2) * u0]
    run = solve_ivp(slope, (0, until), start, method="LSODA", rtol=1e-9, atol=1e-14, events=events)
    return run.t_events[0][0], run.t_events[1][0]


def test_against_the_flow_of_small_weights():
    a, b = times(2.0, 0.0, 2, 2, 1e-9, 100.0)
    assert b / a == pytest.approx(ok.linear.unimodal_ratio(2.0, 0.0), rel=1e-3)
    for fusion, bound in ((3, 0.02), (2, 0.10)):
        a, b = times(2.0, 0.0, 4, fusion, 0.01, 1e5)
        line = ok.linear.unimodal_ratio(2.0, 0.0, 4, fusion, 0.01)
        assert abs((line - 1) / (b / a - 1) - 1) < bound


def test_unimodal_labels_and_refusals():
    r = xr.DataArray([1.5, 2.0, 3.0], dims="ratio")
    rho = xr.DataArray([0.0, 0.5], dims="correlation")
    found = ok.linear.unimodal_ratio(r, rho, depth=4, fusion=3, start=0.1)
    assert found.dims == ("ratio", "correlation")
    assert np.all(found.diff("ratio") > 0)
    assert float(found[1, 1]) == ok.linear.unimodal_ratio(2.0, 0.5, depth=4, fusion=3, start=0.1)
    with pytest.raises(ProblemError, match=r"`ratio` must be >= 1, got 0.5"):
        ok.linear.unimodal_ratio(0.5, 0.0)
    with pytest.raises(ProblemError, match="`correlation` must be between -1 and 1"):
        ok.linear.unimodal_ratio(2.0, 1.0)
    with pytest.raises(ProblemError, match="`start` must be given for 3 of 4 layers"):
        ok.linear.unimodal_ratio(2.0, 0.0, 4, 3)
    with pytest.raises(ProblemError, match="`start` must be between 0 and 1, got 2"):
        ok.linear.unimodal_ratio(2.0, 0.0, 4, 3, 2.0)
    with pytest.raises(ProblemError, match="`fusion`"):
        ok.linear.unimodal_ratio(2.0, 0.0, 4, 5)
