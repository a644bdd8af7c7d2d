"""Predicted fluctuations: their sources against steps in N dimensions, and against networks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from scipy import special

import odekit as ok
from odekit.cli import main
from odekit.dynamics.noise import half_curvature
from odekit.systems.committee.diffusion import Diffusion, nodes
from odekit.systems.committee.points import CommitteePoints
from test_against_sgd import one_phase, switch, two_teachers

SIGMAS = 4.5
NAMES = ("Q", "R", "readout", "generalization_error")
ACTIVATIONS = {
    "erf": (
        lambda z: special.erf(z / np.sqrt(2)),
        lambda z: np.sqrt(2 / np.pi) * np.exp(-0.5 * z * z),
    ),
    "linear": (lambda z: z, np.ones_like),
}

# --------------------------------------------------------------------- one step, in N dimensions

STEPS = {
    "both layers": ([one_phase("a")], "erf"),
    "mixture with decay": (
        [
            one_phase(
                {"a": 0.6, "b": 0.4},
                weight_decay=0.5,
                readout_weight_decay=0.4,
                learning_rate=1.5,
            )
        ],
        "erf",
    ),
    "batches": ([one_phase("a", batch_size=3, learning_rate=2.0)], "erf"),
    "copies": (
        [one_phase("a", 1.0), one_phase("b", consolidation=switch("fisher", 2.0), batch_size=2)],
        "erf",
    ),
    "frozen unit": ([one_phase("a", frozen=[False, True])], "linear"),
}


def steps(problem, N, count, seed=0):
    """N times the changes of a state in single steps of weight vectors, and its parts.

    Nothing is averaged: a network with the state's overlaps takes steps on fresh inputs.
    """
    points = CommitteePoints(problem, {})
    index, phase = len(problem.phases) - 1, problem.phases[-1]
    frame, y = points.start()
    for i in range(index + 1):
        frame, y = points.enter(i, frame, y)
    c, (Q, R, v) = points.committee(phase, frame), points.unpack(y[0])
    g, dg = ACTIVATIONS[problem.activation]
    rng, K, b = np.random.default_rng(seed), points.K, phase.batch_size
    C = np.block([[Q, R], [R.T, np.asarray(c.T)]])
    e, V = np.linalg.eigh(C)
    vectors = np.zeros((len(C), N))
    vectors[:, : len(C)] = V * np.sqrt(np.maximum(e, 0))
    W, B = vectors[:K], vectors[K:]
    found = []
    for x in np.split(rng.standard_normal((count, b, N)), count // 1024):
        s = rng.choice(len(c.p), p=c.p, size=x.shape[:2])
        head = np.asarray(c.head)[s]
        lam, rho = x @ W.T, x @ B.T
        delta = np.einsum("mbp,mbp->mb", g(rho), c.u[s]) - np.einsum("mbk,mbk->mb", g(lam), v[head])
        delta += c.sigma[s] * rng.standard_normal(s.shape)
        A = phase.learning_rate * c.move * v[head] * dg(lam) * delta[..., None] / b
        hold = (c.kappa_w + c.F.sum(0))[:, None] * W
        pull = sum((F[:, None] * B[a] for F, a in zip(c.F, c.anchor, strict=True)), 0 * W)
        penalty = phase.learning_rate * np.asarray(c.move)[:, None] * (hold - pull)
        dW = (np.einsum("mbk,mbn->mkn", A, x) - penalty) / N
        dQ = np.einsum("mkn,ln->mkl", dW, W)
        dQ = dQ + np.swapaxes(dQ, 1, 2) + np.einsum("mkn,mln->mkl", dW, dW)
        dv = np.zeros((len(x), *v.shape))
        for h in range(len(v)):
            mine, own = head == h, np.asarray(c.v_head) == h
            F_v = np.asarray(c.F_v)[own]
            held = (c.kappa_v + F_v.sum(0)) * v[h] - (F_v * np.asarray(c.v_anchor)[own]).sum(0)
            gain = (g(lam) * (delta * mine)[..., None]).mean(1)
            dv[:, h] = phase.readout_learning_rate / N * (gain - mine.mean(1)[:, None] * held)
        dR, (i, j) = dW @ B.T, points.upper
        parts = [dQ[:, i, j], dR.reshape(len(x), -1), dv.reshape(len(x), -1)]
        found.append(N * np.hstack(parts))
    f = points.equations(index, frame, 0.0).rhs(0.0, y[0])
    rates = float(phase.learning_rate), float(phase.readout_learning_rate)
    return np.concatenate(found), f, Diffusion(points, phase, frame)(y[0], rates)


@pytest.mark.parametrize("name", STEPS)
def test_mean_of_a_step_at_small_n(name):
    """The equations and the drift are the mean at every N, to the standard error of the mean."""
    phases, activation = STEPS[name]
    N, count = 12, 2**15
    Z, f, scatter = steps(two_teachers(phases, activation=activation), N, count)
    error = Z.std(0) / np.sqrt(count) + 1e-12
    assert (np.abs(Z.mean(0) - f - scatter.drift / N) < SIGMAS * error).all()
    if name in ("mixture with decay", "batches"):
        assert (np.abs(Z.mean(0) - f) / error).max() > 2 * SIGMAS


@pytest.mark.parametrize("name", STEPS)
def test_covariance_of_a_step(name):
    phases, activation = STEPS[name]
    N, count = 300, 2**13
    Z, _, scatter = steps(two_teachers(phases, activation=activation), N, count)
    off = Z - Z.mean(0)
    products = off[:, :, None] * off[:, None, :]
    error = products.std(0) / np.sqrt(count)
    size = np.sqrt(np.outer(np.diag(scatter.B), np.diag(scatter.B)))
    # 1/N is what B leaves out.
    assert (np.abs(products.mean(0) - scatter.B) < SIGMAS * error + 8 * size / N + 1e-12).all()


@pytest.mark.parametrize("r", [0, 1, 3, 4, 6])
def test_nodes_have_the_moments_of_normal_variates(r):
    z, weight = nodes(r)
    assert weight.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose((weight[:, None] * z).T @ z, np.eye(r), atol=1e-9)
    fourth = weight @ (z[:, :1] ** 4) if r else 3.0
    assert float(np.squeeze(fourth)) == pytest.approx(3, abs=1e-9 if r <= 4 else 0.02)


def test_half_of_a_curvature():
    A = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, -1.0], [0.0, -1.0, 3.0]])
    L = np.array([[1.0, 0, 0], [0.3, 0.2, 0], [-0.1, 0.4, 0.0]])
    found = half_curvature(lambda x: np.array([0.5 * x @ A @ x + x[0], 7.0]), L @ L.T)
    np.testing.assert_allclose(found, [0.5 * np.trace(A @ L @ L.T), 0.0], rtol=1e-6, atol=1e-8)


# ---------------------------------------------------------------------------------- along a run


def linear_unit(t):
    return ok.Problem(
        state=ok.OrderParameters(Q=[[0.5]], R=[[0.2]], T=[[1.0]]),
        heads={"a": [1.0]},
        tasks={"a": ok.Task([1.0], noise_std=0.3)},
        phases=[ok.Phase("a", t, 0.8)],
        activation="linear",
    )


def exact_means(N, t):
    """E[Q] and E[R] of a linear unit in N dimensions: Saad & Solla's step, averaged exactly."""
    Q, R, eta, noise = 0.5, 0.2, 0.8, 0.09
    for _ in range(round(t * N)):
        D = 1.0 - 2.0 * R + Q
        gain = eta**2 / N * (D * (1.0 + 2.0 / N) + noise)
        Q, R = Q + 2.0 * eta * (R - Q) / N + gain, R + eta * (1.0 - R) / N
    return Q, R


def test_the_shift_of_a_linear_unit_is_that_of_the_exact_recursion():
    """N times what is left falls as 1/N, and Richardson's extrapolation leaves nothing."""
    t = 3.0
    run = ok.solve(linear_unit(t), t_eval=[t], rtol=1e-10, atol=1e-13)
    shift = ok.fluctuations(run, input_dim=1000)
    predicted = 1000 * np.array([shift.Q_shift.item(), shift.R_shift.item()])
    solution = np.array([run.Q.item(), run.R.item()])
    left = [N * (np.array(exact_means(N, t)) - solution) - predicted for N in (200, 400)]
    assert np.abs(left[0]).max() > 1e-3
    np.testing.assert_allclose(2 * left[1] - left[0], 0, atol=2e-5)


RUNS = {
    "both layers": [one_phase("a", 3.0)],
    "schedule, mixture, decay": [
        one_phase(
            {"a": 0.6, "b": 0.4},
            2.0,
            batch_size=2,
            weight_decay=0.5,
            learning_rate=ok.Schedule([0.0, 1.0, 2.0], [2.0, 0.3, 1.0]),
        )
    ],
    "copies": [
        one_phase("a", 1.0),
        one_phase("b", 2.0, consolidation=switch("fisher", 3.0)),
    ],
}


def predicted_and_found(problem, N, replicas, times, **keywords):
    run = ok.solve(problem, t_eval=times)
    found = ok.fluctuations(run, input_dim=N)
    sim = ok.simulate(problem, input_dim=N, seed=1, replicas=replicas, t_eval=times, **keywords)
    return run, found, sim


@pytest.mark.parametrize("name", RUNS)
def test_networks_scatter_as_predicted(name):
    """Spreads to the sampling error of a standard deviation, 1/√(2n), and what 1/N leaves out."""
    N, n = 500, 500
    problem = two_teachers(RUNS[name])
    total = sum(p.duration for p in problem.phases)
    run, found, sim = predicted_and_found(problem, N, n, [0.0, 0.45 * total, total])
    for variable in NAMES:
        predicted = found[f"{variable}_std"].values[1:].ravel()
        spread = sim[variable].std("replica", ddof=1).values[1:].ravel()
        moving = predicted > 1e-3 * predicted.max()
        ratio = np.log(spread[moving] / predicted[moving])
        assert (np.abs(ratio) < SIGMAS / np.sqrt(2 * n) + 8 / N).all(), ratio
        off = (sim[variable].mean("replica") - run[variable]).values[1:].ravel()[moving]
        shift = found[f"{variable}_shift"].values[1:].ravel()[moving]
        assert (np.abs(off - shift) < SIGMAS * spread[moving] / np.sqrt(n)).all()
    assert (found.reliable == 1).all()
    figures = ok.compare(run, sim, fluctuations=found)
    np.testing.assert_allclose(figures.in_predicted_std, 1, atol=0.1)


def test_networks_that_end_a_phase_each_at_its_time():
    """Rows are at one time, at which phases have run for times that scatter."""
    problem = two_teachers(
        [
            one_phase("a", 3.0, learning_rate=1.5, until=0.1),
            one_phase("b", 1.0),
            one_phase("a", 1.0),
        ]
    )
    N, n = 2000, 300
    ends = ok.solve(problem).phase_end.values
    times = [ends[0] + 0.5, ends[1] + 0.5]
    _, found, sim = predicted_and_found(problem, N, n, times, check_every=0.002)
    fixed = ok.fluctuations(
        ok.solve(problem.replace_phase(0, until=None, duration=ends[0]), t_eval=times), input_dim=N
    )
    differs = 0.0
    for variable in NAMES:
        predicted = found[f"{variable}_std"].values.ravel()
        moving = predicted > 1e-3 * predicted.max()
        spread = sim[variable].std("replica", ddof=1).values.ravel()[moving]
        ratio = np.log(spread / predicted[moving])
        assert (np.abs(ratio) < SIGMAS / np.sqrt(2 * n) + 0.02).all(), ratio
        other = np.log(spread / fixed[f"{variable}_std"].values.ravel()[moving])
        differs = max(differs, np.abs(other).max())
    assert differs > 2 * (SIGMAS / np.sqrt(2 * n) + 0.02)
    assert np.isnan(found.Q_shift).all()


def test_points_of_a_sweep():
    etas = xr.DataArray([0.5, 0.9], dims="eta", coords={"eta": [0.5, 0.9]})
    problem = two_teachers([one_phase("a", 1.0)])
    times = [0.0, 0.5, 1.0]
    sweep = ok.fluctuations(
        ok.solve(problem.replace_phase(0, learning_rate=etas), t_eval=times), input_dim=100
    )
    one = ok.fluctuations(
        ok.solve(problem.replace_phase(0, learning_rate=0.9), t_eval=times),
        input_dim=100,
        covariance=True,
    )
    assert sweep.R_std.dims == ("eta", "time", "student", "teacher")
    np.testing.assert_allclose(sweep.R_std.sel(eta=0.9), one.R_std, rtol=1e-9)
    variance = one.covariance.sel(number="R[1, 2]", number_other="R[1, 2]")
    np.testing.assert_allclose(np.sqrt(variance), one.R_std.sel(student=1, teacher=2), rtol=1e-9)


# ---------------------------------------------------------------------------------------- escape


def symmetric(duration):
    state = ok.OrderParameters(Q=[[0.25, 0.2], [0.2, 0.25]], R=np.full((2, 2), 0.1), T=np.eye(2))
    return ok.Problem(
        state=state,
        heads={"a": [1.0, 1.0]},
        tasks={"a": ok.Task([1.0, 1.0])},
        phases=[ok.Phase("a", duration, 1.0)],
    )


def test_times_of_escape_from_a_symmetric_start():
    """A Gaussian amplitude times e^(λt): the mean moves by ln N/2λ, the spread is 1.11/λ."""
    times = np.arange(0.0, 201.0)
    run = ok.solve(symmetric(200.0), t_eval=times)
    with pytest.warns(ok.FluctuationWarning, match="they escape at t = 8"):
        found = ok.fluctuations(run, input_dim=1000)
    with pytest.warns(ok.FluctuationWarning):
        more = ok.fluctuations(run, input_dim=4000)
    assert not found.reliable[-1]
    assert found.reliable[0]
    later = float(more.escape_time - found.escape_time)
    rate = np.log(2) / later
    assert float(found.escape_time_std) == pytest.approx(np.pi / (2 * np.sqrt(2)) / rate, rel=0.04)
    sim = ok.simulate(symmetric(200.0), input_dim=1000, seed=0, replicas=96, t_eval=times)
    spread = sim.R.max(["student", "teacher"]) - sim.R.min(["student", "teacher"])
    escaped = times[(spread >= 0.3).values.argmax(axis=1)]
    error = float(found.escape_time_std) / np.sqrt(96)
    # The linear growth is that to 2.5 % of the rate's logarithm, and rows are 1 apart.
    assert abs(escaped.mean() - 0.5 - float(found.escape_time)) < 3 * error + 2.0
    low, high = found.escape_quantile.sel(quantile=0.25), found.escape_quantile.sel(quantile=0.75)
    assert 0.3 < ((escaped > float(low)) & (escaped < float(high))).mean() < 0.7


# ---------------------------------------------------------------------- refusals, files, pictures


def short():
    return ok.solve(two_teachers([one_phase("a", 0.5)]), t_eval=[0.0, 0.25, 0.5])


def test_refusals():
    with pytest.raises(ok.ProblemError, match="theory"):
        ok.fluctuations(
            ok.simulate(two_teachers([one_phase("a", 0.1)]), input_dim=50, seed=0), input_dim=50
        )
    with pytest.raises(ok.ProblemError) as error:
        ok.fluctuations(short(), input_dim=0)
    assert error.value.argument == "input_dim"
    with pytest.raises(ok.ProblemError, match="must be a result of"):
        ok.plot.plot_run(short(), bands=short())


def test_gradient_flow_has_no_shift():
    problem = two_teachers([one_phase("a", 0.5, learning_rate=0.05, gradient_flow=True)])
    found = ok.fluctuations(ok.solve(problem.replace(activation="relu")), input_dim=100)
    assert np.isnan(found.Q_shift).all()
    assert (found.Q_std[-1] > 0).all()


def test_files_and_pictures(tmp_path, capsys):
    run = short()
    found = ok.fluctuations(run, input_dim=200)
    ok.save(run, tmp_path / "run.nc")
    ok.save(found, tmp_path / "bands.nc")
    xr.testing.assert_allclose(ok.open(tmp_path / "bands.nc"), found)
    files = [str(tmp_path / name) for name in ("run.nc", "bands.nc", "both.png")]
    assert main(["plot", *files[:2], "-o", files[2]]) == 0
    command = ["fluctuations", files[0], "-o", str(tmp_path / "own.nc"), "--input-dim", "200"]
    assert main(command) == 0
    xr.testing.assert_allclose(ok.open(tmp_path / "own.nc"), found)
    again = [files[1], "-o", str(tmp_path / "again.nc"), "--input-dim", "2"]
    assert main(["fluctuations", *again]) == 2
    capsys.readouterr()
    figure = ok.plot.plot_run(run, bands=found)
    assert sum(len(ax.collections) for ax in figure.axes) > 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ok.plot.plot_run(run, bands=found, beside=[found])
