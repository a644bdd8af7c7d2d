"""Plateaus of the error: where they are found, and at which level."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import brentq

import odekit as ok
from odekit import measures as m
from odekit.measures.stretches import stretches

BAND = np.log(1.1)


def soft_committee(K, duration, weight_std=1e-8, noise=0.0, rate=1.0, flow=True):
    return ok.Problem(
        state=ok.OrderParameters.draw(K, K, weight_std=weight_std, input_dim=10_000, seed=7),
        heads={"main": np.ones(K)},
        tasks={"main": ok.Task(np.ones(K), noise)},
        phases=[ok.Phase("main", duration, rate, gradient_flow=flow)],
    )


def online(rate, duration=500.0):
    """K = M = 3 at a large learning rate: two plateaus, one after the other."""
    return soft_committee(3, duration, weight_std=1e-3, rate=rate, flow=False)


def numbers(found):
    return np.stack([found[name].values for name in ("level", "start", "end")], -1)


# -------------------------------------------------------------------------------- what is one


def of_curve(y, t=None, **more):
    t = np.linspace(0.0, 100.0, 4001) if t is None else t
    given = {"begin": 0.0, "jumped": False, "threshold": 0.1, "contrast": 5.0, **more}
    return stretches(t, np.exp(y(t)), **given)


@pytest.mark.parametrize(
    "y",
    [
        lambda t: -0.3 * t,
        lambda t: -2 * np.log1p(t),
        lambda t: -0.1 * np.log1p(10 * t),
        lambda t: -0.01 * (t - 50) ** 2,
        lambda t: np.abs(t - 50) / 10,
        lambda t: np.sin(t / 5),
        lambda t: 0.05 * np.sin(t),
    ],
    ids=[
        "exponential",
        "power",
        "slow power",
        "maximum",
        "kink",
        "waves",
        "ripples from the start",
    ],
)
def test_curves_without_a_plateau(y):
    assert of_curve(y) == []


def test_steps_are_plateaus_however_late_and_short():
    def y(t):
        return -0.5 * sum(1 + np.tanh(8 * (t - at)) for at in (5.0, 60.0, 96.0, 98.0))

    found = of_curve(y)
    # The edge of a band of ln 1.1 beyond a step of height 1 and width 1/8.
    off = np.arctanh(1 - 2 * BAND) / 8
    levels = np.exp([-1.0, -2.0, -3.0, -4.0])
    np.testing.assert_allclose([one.level for one in found], levels, rtol=1e-6)
    starts, ends = [5.0, 60.0, 96.0, 98.0], [60.0, 96.0, 98.0, np.nan]
    np.testing.assert_allclose([one.start for one in found], np.add(starts, off), atol=1e-3)
    np.testing.assert_allclose([one.end for one in found], np.subtract(ends, off), atol=1e-3)


def test_a_first_stretch_counts_after_a_jump():
    def y(t):
        return -0.5 * (1 + np.tanh(8 * (t - 60.0)))

    assert len(of_curve(y)) == 1
    first, last = of_curve(y, jumped=True)
    assert (first.start, first.level, np.isnan(last.end)) == (0.0, pytest.approx(1.0), True)


# ------------------------------------------------------------------------------- exact solutions


@pytest.mark.parametrize("K", [2, 3])
def test_level_of_the_symmetric_plateau(K):
    # Off the saddle by the initial asymmetry, 1e-8, times its growth up to the flattest row.
    level = K / np.pi * (np.pi / 6 - K * np.arcsin(1 / (2 * K)))
    found = m.plateau(ok.solve(soft_committee(K, 2000.0)))
    assert dict(found.sizes) == {"plateau": 1}
    assert found.level.item() == pytest.approx(level, rel=1e-6)
    assert found.start.item() < 20 < 100 < found.end.item()


def test_plateaus_of_a_linear_network_are_those_of_its_closed_solution():
    """Modes of strengths 4, 1 and 0.2 are learned one after the other."""
    strengths = np.array([4.0, 1.0, 0.2])
    net = ok.linear.deep([3, 3, 3])
    target = np.diag(strengths)
    problem = ok.LinearProblem(
        network=net,
        weights=ok.linear.aligned(net, target, np.full((2, 3), 1e-4)),
        tasks=ok.linear.Correlations(yx=target, xx=np.eye(3)),
        phases=ok.Phase("main", duration=150.0, learning_rate=1.0),
    )
    found = m.plateau(ok.solve(problem, t_eval=[0.0, 150.0]))

    def log_error(t):
        learnt = [np.asarray(ok.linear.balanced_mode(t, s, 1e-8, depth=2)) for s in strengths]
        return np.log(0.5 * sum((s - a) ** 2 for s, a in zip(strengths, learnt, strict=True)))

    ideal = 0.5 * np.array([1.0**2 + 0.2**2, 0.2**2])
    np.testing.assert_allclose(found.level, ideal, rtol=1e-3)
    for level, start, end in numbers(found):
        t = np.linspace(start, end, 20_001)
        y = log_error(t)
        flattest = y[np.argmin(np.abs(np.gradient(y, t)))]
        # To what the error changes between two rows where it changes least.
        assert np.log(level) == pytest.approx(flattest, abs=1e-5)
        middle = 0.5 * (start + end)
        for edge, value, far in ((start, 1, start - 0.5), (end, -1, end + 1)):
            exact = brentq(_off(log_error, np.log(level) + value * BAND), far, middle)
            assert edge == pytest.approx(exact, abs=1e-4)


def _off(function, value):
    return lambda t: function(t) - value


@pytest.mark.parametrize("eta", [0.99, 1.203])
def test_edges_lie_where_very_dense_rows_say(eta):
    found = numbers(m.plateau(ok.solve(online(eta))))
    assert len(found) == (1 if eta < 1 else 2)
    edges = found[:, 1:].ravel()
    rows = np.unique(np.concatenate([edge + np.linspace(-0.5, 0.5, 201) for edge in edges]))
    inner = np.concatenate([np.linspace(a + 0.6, b - 0.6, 400) for _, a, b in found])
    rows = np.unique(np.append(rows, inner))
    dense = ok.solve(online(eta), t_eval=rows, rtol=1e-11, atol=1e-14)
    y = np.log(dense.generalization_error.values[:, 0])
    for level, start, end in found:
        off = np.abs(y - np.log(level)) > BAND
        middle = np.searchsorted(rows, 0.5 * (start + end))
        before = np.flatnonzero(off[:middle])[-1]
        after = middle + np.flatnonzero(off[middle:])[0]
        assert rows[before] - 1e-3 <= start <= rows[before + 1] + 1e-3
        assert rows[after - 1] - 1e-3 <= end <= rows[after] + 1e-3
        # Where it is flattest: the level is found to the change within an interval of the search.
        own = slice(before + 1, after)
        flattest = np.argmin(np.abs(np.gradient(y[own], rows[own])))
        assert np.log(level) == pytest.approx(y[own][flattest], abs=1e-3)


# ------------------------------------------------------------------------- properties of the run


@pytest.mark.parametrize("eta", [0.99, 1.35])
def test_the_rows_of_the_dataset_do_not_matter(eta):
    grids = [None, [0.0, 500.0], np.append(0, np.geomspace(1e-3, 500.0, 3000)), [3.0, 90.0, 91.0]]
    first, *others = [numbers(m.plateau(ok.solve(online(eta), t_eval=grid))) for grid in grids]
    assert first.size
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-6)


def test_all_plateaus_are_listed_and_the_escape_is_the_earlier_the_larger_the_rate():
    etas = np.array([0.3, 0.5, 0.8, 0.99, 1.1, 1.203, 1.35])
    rate = xr.DataArray(etas, dims="eta", coords={"eta": etas})
    ds = ok.solve(online(rate, 2000.0))
    found = m.plateau(ds)
    assert found.level.dims == ("eta", "plateau")
    many = found.level.notnull().sum("plateau").values
    np.testing.assert_array_equal(many, [1, 1, 1, 1, 2, 2, 2])
    leaves = found.end.isel(plateau=0)
    assert (leaves.diff("eta") < 0).all()
    # Later plateaus are lower, and come after the end of the one before.
    second = found.isel(plateau=1).dropna("eta")
    before = found.isel(plateau=0).sel(eta=second.eta)
    assert (second.level < before.level).all()
    assert (second.start > before.end).all()
    assert (second.end > second.start).all()


def test_plateau_grows_with_the_logarithm_of_the_symmetry():
    runs = [ok.solve(soft_committee(2, 2000.0, std)) for std in (1e-2, 1e-5, 1e-8)]
    ends = [m.plateau(ds).end.item() for ds in runs]
    steps = np.diff(ends)
    assert steps[0] > 20
    # Equal ratios of the asymmetry take equal times to grow, once it is small.
    assert steps[1] == pytest.approx(steps[0], rel=0.02)


def test_a_phase_that_ends_as_it_begins_has_no_plateau():
    run = ok.solve(soft_committee(2, 10.0, weight_std=0.1).replace_phase(0, until=9.0))
    assert run.phase_end[0] == 0.0
    assert m.plateau(run).level.size == 0


def test_no_plateau():
    found = m.plateau(ok.solve(soft_committee(1, 100.0, weight_std=0.1)))
    assert found.level.dims == ("plateau",)
    assert found.level.size == 0


def test_a_run_that_ends_on_the_plateau_knows_no_end():
    found = m.plateau(ok.solve(soft_committee(2, 50.0)))
    assert found.level.item() == pytest.approx(0.0116108, rel=1e-5)
    assert found.start.item() < 20
    assert np.isnan(found.end.item())


def test_the_floor_of_the_noise_comes_last_and_has_no_end():
    problem = soft_committee(2, 3e4, weight_std=1e-3, noise=0.1, rate=0.1, flow=False)
    ds = ok.solve(problem)
    found = m.plateau(ds)
    # Above the gradient-flow level 0.0116 by the noise, of order η σ² = 1e-3.
    assert 0 < found.level[0].item() - 0.0116 < 1e-3
    assert found.end[0].item() < 3000
    assert found.level[-1].item() == pytest.approx(ds.generalization_error[-1, 0].item(), rel=1e-6)
    assert np.isnan(found.end[-1])
    assert found.sizes["plateau"] == 2


# ------------------------------------------------------------------------------- sweeps and phases


def two_phases(**more):
    family = ok.task_family(units=2, tasks=2, feature_similarity=0.5)
    start = ok.OrderParameters.draw(2, family.T, weight_std=1e-4, input_dim=10_000, seed=7)
    phases = [ok.Phase("1", 300.0, 1.0, **more), ok.Phase("2", 2000.0, 1.0)]
    return ok.Problem(start, family.heads([1.0, 1.0]), family.tasks, phases)


def test_a_sweep_is_its_runs_in_phases_that_begin_at_other_times():
    etas = np.array([0.4, 0.7, 1.0])
    rate = xr.DataArray(etas, dims="eta", coords={"eta": etas})
    length = xr.DataArray([1000.0, 2000.0], dims="length")
    problem = two_phases(until=1e-3).replace_phase(0, learning_rate=rate)
    ds = ok.solve(problem.replace_phase(1, duration=length))
    found = m.plateau(ds, phase=1).transpose("eta", "length", "plateau")
    assert found.sizes["plateau"]
    for i, eta in enumerate(etas):
        for j, last in enumerate(length.values):
            single = two_phases(until=1e-3).replace_phase(0, learning_rate=eta)
            one = ok.solve(single.replace_phase(1, duration=last))
            alone = numbers(m.plateau(one, phase=1))
            own = numbers(found.isel(eta=i, length=j))[: len(alone)]
            # The grid of rows is that of a phase which begins at a rounded other time.
            np.testing.assert_allclose(own, alone, rtol=1e-5)
            assert (own[:, 1] > one.phase_end[0].item()).all()
    first = m.plateau(ds, phase=0)
    assert first.level.dims == ("eta", "length", "plateau")
    xr.testing.assert_equal(first.isel(length=0), first.isel(length=1))


def test_selections_and_renamed_dims_are_found_again():
    etas = np.array([0.5, 0.99, 1.203])
    ds = ok.solve(online(xr.DataArray(etas, dims="eta", coords={"eta": etas})))
    whole = m.plateau(ds)
    xr.testing.assert_equal(m.plateau(ds.sel(eta=[1.203, 0.5])), whole.sel(eta=[1.203, 0.5]))
    np.testing.assert_array_equal(
        m.plateau(ds.sel(eta=0.99)).end, whole.end.sel(eta=0.99)[:1], strict=False
    )
    np.testing.assert_array_equal(m.plateau(ds.rename(eta="rate")).end, whole.end)


def test_a_sweep_over_start_asks_for_another_name():
    ds = ok.solve(soft_committee(2, 50.0, rate=xr.DataArray([0.5, 1.0], dims="start")))
    with pytest.raises(ok.ProblemError, match=r"ds.rename\(start='start_'\)"):
        m.plateau(ds)
    assert m.plateau(ds.rename(start="start_")).end.dims == ("start_", "plateau")


# ---------------------------------------------------------------------------------- rows alone


def test_what_cannot_be_solved_again_is_read_from_its_rows_with_a_warning():
    # Up to where the error is as small as its rounding: rows alone do not know that.
    ds = ok.solve(soft_committee(2, 500.0))
    exact = numbers(m.plateau(ds))
    with pytest.warns(UserWarning, match="plateau sees the rows of the dataset only"):
        rough = numbers(m.plateau(ds.drop_attrs()))
    # Rows are 5 % apart.
    np.testing.assert_allclose(rough[:, 0], exact[:, 0], rtol=1e-5)
    np.testing.assert_allclose(rough[:, 1:], exact[:, 1:], rtol=0.03)

    flat = ds.assign(generalization_error=ds.generalization_error * 0 + 1.0)
    with pytest.warns(UserWarning, match="does not give its rows"):
        assert m.plateau(flat).sizes["plateau"] == 0
    joined = xr.concat([ds, flat], dim="copy", data_vars="all", join="exact")
    with pytest.warns(UserWarning, match="dims"):
        found = m.plateau(joined, "main")
    np.testing.assert_array_equal(numbers(found.isel(copy=0)), rough)
    assert found.level[1].isnull().all()

    shifted = ds.assign(phase=ds.phase + 1).assign_coords(time=ds.time + 500.0)
    shifted["phase"][0] = 0
    with pytest.warns(UserWarning, match="no phase 1"):
        later = numbers(m.plateau(shifted.drop_dims("phase_index"), phase=1))
    np.testing.assert_allclose(later - [0.0, 500.0, 500.0], rough, rtol=1e-12)


def test_functions_of_ones_own_are_not_at_hand():
    own = ok.Activation(
        "bent", lambda x: x + 0.2 * np.tanh(x), lambda x: 1.2 - 0.2 * np.tanh(x) ** 2
    )
    ds = ok.solve(soft_committee(1, 20.0, weight_std=0.1).replace(activation=own))
    with pytest.warns(UserWarning, match="must be given again"):
        m.plateau(ds)


def test_plateaus_of_simulations_are_those_of_the_theory():
    problem = soft_committee(2, 1000.0, weight_std=0.03, rate=0.5, flow=False)
    theory = numbers(m.plateau(ok.solve(problem)))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = m.plateau(ok.simulate(problem, input_dim=500, seed=0, replicas=2))
    assert found.level.dims == ("replica", "plateau")
    first = numbers(found)[:, 0]
    np.testing.assert_allclose(first[:, 0], np.full(2, theory[0]), rtol=0.05)
    np.testing.assert_allclose(first[:, 1], np.full(2, theory[1]), rtol=0.5)
    np.testing.assert_allclose(first[:, 2], np.full(2, theory[2]), rtol=0.3)


def test_a_phase_that_begins_on_a_plateau_by_a_jump_counts_it():
    """A head copied at the switch: the error jumps, and then the units are slow to leave."""
    family = ok.task_family(units=2, tasks=2, feature_similarity=1.0)
    start = ok.OrderParameters.draw(2, family.T, weight_std=1e-4, input_dim=10_000, seed=7)
    heads = family.heads([[1.0, 1.0], [0.1, 0.1]])
    phases = [ok.Phase("1", 100.0, 1.0), ok.Phase("2", 1000.0, 1.0, copy_heads={"2": "1"})]
    ds = ok.solve(ok.Problem(start, heads, family.tasks, phases))
    assert abs(np.log(ds.generalization_error.sel(task="2", time=100.0) / 0.0205)) > BAND
    found = m.plateau(ds, phase=1)
    first = numbers(found)[0]
    assert first[1] == 100.0
    alone = numbers(m.plateau(ok.solve(ok.Problem(start, heads, family.tasks, [phases[0]]))))
    np.testing.assert_allclose(first[0], alone[0, 0], rtol=1e-2)
