"""Plateaus of runs, the fixed points that they pass, and when they leave them."""

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import odekit as ok
from odekit.dynamics.directions import directions, growing, zero_space
from test_fixed_point import committee, off_plateau


def at_plateau(K, eta, off=1e-4, duration=None):
    """A run that falls onto the plateau, with a deviation of R that is not symmetric."""
    there = ok.fixed_point(off_plateau(K, eta))
    apart = np.random.default_rng(1).standard_normal((K, K))
    apart -= apart.mean(axis=0) + apart.mean(axis=1)[:, None] - apart.mean()
    R = 0.9 * there.R.values + off * apart
    return committee(K, eta, Q=there.Q.values, R=R, duration=duration or 2000.0 / eta)


@pytest.mark.parametrize(("K", "eta", "within"), [
    (2, 0.1, 0.025), (2, 0.5, 0.025), (2, 1.0, 0.025), (3, 0.5, 0.06),
])  # fmt: skip
def test_escapes_are_predicted(K, eta, within):
    """By the rates of the fixed point, against an event of scipy's along the equations."""
    problem = at_plateau(K, eta)
    found = ok.plateaus(ok.solve(problem)).isel(plateau=0)
    assert found.name == "symmetric plateau"
    assert found["index"] == (K - 1) ** 2
    assert found.start < found.start_time < found.end
    field = ok.equations(problem)

    def spread(t, y):
        R = field.unpack(y).R.values
        return R.max() - R.min() - 0.3

    spread.terminal = True
    own = solve_ivp(field.rhs, (0, 2000 / eta), field.start, "DOP853", events=spread, rtol=1e-10)
    happened = own.t_events[0][0]
    assert float(found.escape_predicted) == pytest.approx(found.escape_happened.item(), rel=within)
    if K == 2:  # the deviation has one direction: the same event
        assert float(found.escape_happened) == pytest.approx(happened, rel=2e-3)
        assert float(found.escape_predicted) == pytest.approx(happened, rel=within)


def test_all_phases_in_order():
    """A plateau, what comes after it, and the floor of a phase with another task."""
    first = at_plateau(2, 0.5, duration=1000.0)
    noisy = {"main": ok.Task([1.0, 1.0]), "noisy": ok.Task([1.0, 1.0], noise_std=0.3, head="main")}
    second = ok.Phase("noisy", 3000.0, 1.0)
    run = ok.solve(first.replace(tasks=noisy, phases=[first.phases[0], second]))
    found = ok.plateaus(run)
    assert found.name.values.tolist() == ["symmetric plateau", "noise floor"]
    assert found.phase.values.tolist() == [0, 1]
    assert found["index"].values.tolist() == [1, 0]
    assert np.isnan(found.escape_predicted[1])
    assert np.isnan(found.end[1])  # the phase ends on it
    assert found.Q.dims == ("plateau", "student", "student_other")
    one = ok.plateaus(run, phase=1)
    assert one.sizes["plateau"] == 1
    assert one.isel(plateau=0).name == "noise floor"


def test_sweeps_equal_single_calls(tmp_path):
    problem = at_plateau(2, 0.5)
    etas = xr.DataArray([0.4, 0.5, 1.0], dims="eta", coords={"eta": [0.4, 0.5, 1.0]})
    run = ok.solve(problem.replace_phase(0, learning_rate=etas, duration=1500.0))
    found = ok.plateaus(run)
    assert found.status.dims == ("eta", "plateau")
    one = ok.plateaus(run.sel(eta=0.5))
    for name in ("Q", "eigenvalue_real", "escape_predicted", "escape_happened", "level", "start"):
        assert_allclose(found[name].sel(eta=0.5)[:1], one[name][:1], rtol=1e-6, atol=1e-9)
    file = ok.save(found, tmp_path / "plateaus.nc")
    assert ok.open(file).identical(found)
    assert "symmetric plateau" in ok.summary(ok.open(file))


def test_runs_of_different_numbers_of_plateaus_are_padded():
    """One start is on the way to a plateau, the other specialised already."""
    problem = at_plateau(2, 0.5, off=1e-4)
    R = np.stack([problem.state.R, np.eye(2) * 0.9])
    Q = np.stack([problem.state.Q, np.eye(2)])
    state = ok.OrderParameters(
        Q=xr.DataArray(Q, dims=("begin", "student", "student_other")),
        R=xr.DataArray(R, dims=("begin", "student", "teacher")),
        T=np.eye(2),
    )
    found = ok.plateaus(ok.solve(problem.replace(state=state)))
    assert found.name[0, 0] == "symmetric plateau"
    missing = np.isnan(found.start)
    assert missing.any()
    assert (found.status.values[missing.values] == ok.Convergence.NO_START).all()


def test_a_run_without_plateaus():
    problem = committee(1, 1.0, Q=[[0.5]], R=[[0.4]], duration=5.0)
    found = ok.plateaus(ok.solve(problem))
    assert found.sizes["plateau"] == 0
    assert found.name.size == found.Q.size == 0
    assert "Phases" in ok.summary(found)


def test_plateaus_of_a_phase_with_copies():
    rng = np.random.default_rng(2)
    W = rng.standard_normal((4, 40)) / np.sqrt(40)
    C = W @ W.T
    kept = ok.Consolidation("quadratic", strength=0.2, task="one")
    phases = [
        ok.Phase("one", 30.0, 0.5, gradient_flow=True),
        ok.Phase("two", 3000.0, 0.5, gradient_flow=True, consolidation=kept),
    ]
    problem = ok.Problem(
        ok.OrderParameters(Q=C[:2, :2], R=C[:2, 2:], T=C[2:, 2:]),
        {"one": [0.8, 0.6], "two": [0.5, 0.7]},
        {"one": ok.Task([1.0, 0.0]), "two": ok.Task([0.0, 1.0])},
        phases,
    )
    run = ok.solve(problem)
    found = ok.plateaus(run, phase=1)
    last = ok.fixed_point(run)
    assert_allclose(found.Q[-1], last.Q, rtol=0, atol=1e-8)
    assert found.R_copies.dims == ("plateau", "student", "copy")


def test_the_growing_part_of_a_deviation():
    """Against the exponential of the Jacobian, with zeros that share eigenvectors."""
    J = np.array([[0.5, 1.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0, 0, 0, 0]])
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    J = turn @ J @ turn.T
    found = directions(J[None])
    assert found.unstable.tolist() == [1]
    assert found.zero.sum() == 2
    assert zero_space(J, np.zeros(4, dtype=bool), 1.0).shape == (4, 2)
    d = np.array([0.3, -0.2, 0.5, 0.1])
    values, parts = growing(J, found, 0, d)
    t = 40.0
    exact = expm(J * t) @ d
    assert_allclose((parts * np.exp(values * t)).sum(axis=1).real, exact, rtol=1e-6)


BAD = {
    "no run": (lambda run: ok.plateaus(3), "run"),
    "phase": (lambda run: ok.plateaus(run, phase=4), "phase"),
    "task": (lambda run: ok.plateaus(run, task="other"), "task"),
    "size": (lambda run: ok.plateaus(run, size=0.0), "size"),
    "threshold": (lambda run: ok.plateaus(run, threshold=-1.0), "threshold"),
    "problem": (lambda run: ok.plateaus(off_plateau(2, 0.5)), "run"),
}


@pytest.mark.parametrize(("call", "argument"), BAD.values(), ids=BAD)
def test_bad_arguments_are_refused(call, argument):
    run = ok.solve(committee(2, 0.5, duration=5.0))
    with pytest.raises(ok.ProblemError) as info:
        call(run)
    assert info.value.argument == argument
