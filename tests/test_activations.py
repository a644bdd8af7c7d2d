"""Activations on the quadrature path: whole runs, accuracy, names and files."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy.special import erf

import odekit as ok
import sgd
import transcription
from odekit.systems.committee.activations import NAMES, Activation, node_counts
from odekit.systems.committee.quadrature import LEVEL, Moments, level_of
from odekit.testing import assert_agrees, assert_jacobian_matches
from odekit.testing.moments import functions_of
from odekit_kernels.committee.quadrature import hermite
from single import Single

OWN_ERF = Activation(
    "own_erf", lambda x: erf(x / np.sqrt(2)), lambda x: np.sqrt(2 / np.pi) * np.exp(-x * x / 2)
)


def covariance(seed, D=4, rank=None):
    L = np.random.default_rng(seed).standard_normal((D, rank or D + 2))
    return L @ L.T / L.shape[1]


def quadruple(C, K, I4):
    """I4[k, l, a, b] for all k and l."""
    full = np.empty((K, K, *C.shape))
    for i, (k, l) in enumerate(zip(*np.triu_indices(K), strict=True)):
        full[k, l] = full[l, k] = I4[i]
    return full


def third(C, J2, G2):
    """I3[k, b, a] from what the quadrature gives."""
    K = len(J2)
    return C[:K, :, None] * G2[:, None, :] + C[None] * J2[:, None, :]


# ------------------------------------------------------------------------------------ whole runs


def curriculum(activation, **changes):
    """Two tasks, mixture, consolidation, decay, a frozen unit, noise, a schedule, a threshold."""
    rng = np.random.default_rng(0)
    phases = [
        ok.Phase({"a": 0.7, "b": 0.3}, 4.0, 0.3, 0.2, weight_decay=0.05, batch_size=2),
        ok.Phase(
            "b",
            4.0,
            ok.Schedule([0.0, 4.0], [0.4, 0.1]),
            0.3,
            readout_weight_decay=0.1,
            consolidation=ok.Consolidation("fisher", 0.5, "a"),
        ),
        ok.Phase("a", 4.0, 0.2, 0.1, frozen=[True, False], until=1e-3, copy_heads={"a": "b"}),
    ]
    return ok.Problem(
        state=ok.OrderParameters.from_weights(*rng.standard_normal((2, 2, 20))),
        heads={"a": [0.5, -0.3], "b": [0.2, 0.6]},
        tasks={
            "a": ok.Task([1.0, 0.0], noise_std=0.2),
            "b": ok.Task([0.3, 0.8]),
            "c": ok.Task([0.1, 0.5], head="b"),
        },
        phases=phases,
        activation=activation,
    ).replace(**changes)


TIMES = np.linspace(0.0, 12.0, 13)


@pytest.mark.parametrize(
    ("compiled", "own"),
    [
        ("erf", OWN_ERF),
        ("linear", Activation("own", lambda x: 1.0 * x, np.ones_like)),
        ("linear", Activation.shipped("leaky_relu", slope=1.0)),
    ],
)
def test_every_feature_of_the_equations_runs_on_either_path(compiled, own):
    one = ok.solve(curriculum(compiled), t_eval=TIMES)
    two = ok.solve(curriculum(own), t_eval=TIMES)
    assert_agrees(one, two, factor=10)
    assert_allclose(two.phase_end, one.phase_end, rtol=1e-7)
    assert float(two.quadrature_error) < 1e-8


def test_relu_in_gradient_flow_is_the_same_on_either_path():
    phases = [ok.Phase("a", 6.0, 0.3, 0.2, gradient_flow=True), ok.Phase("b", 6.0, 0.1, 0.1)]
    compiled = curriculum("relu", phases=phases[:1])
    leaky = curriculum(Activation.shipped("leaky_relu", slope=0.0), phases=phases[:1])
    one, two = (ok.solve(p, t_eval=TIMES[:7]) for p in (compiled, leaky))
    assert "quadrature_nodes" not in one
    assert_agrees(one, two, factor=10)
    # One online phase takes the whole run to the other path.
    assert "quadrature_nodes" in ok.solve(curriculum("relu", phases=phases), t_eval=[0.0, 1.0])


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_online_learning_agrees_with_finite_networks(name):
    """Plain SGD in 500 dimensions, 12 networks at once; the η² line is far from small."""
    problem = curriculum(name, phases=[ok.Phase("a", 3.0, 1.0, 0.5)])
    if name == "tanh":
        problem = problem.replace(activation=Activation.shipped(name, accuracy=1e-5))
    t = np.linspace(0, 3, 7)
    run = ok.solve(problem, t_eval=t)
    N, count = 500, 12
    Q, R, v = simulate(problem, *functions_of(name), N, count, t)
    unit = 1 / np.sqrt(N * count)
    drift = ok.solve(problem.replace_phase(0, gradient_flow=True), t_eval=t)
    for found, wanted in ((Q, run.Q.values), (R, run.R.values), (v, run.readout.values[:, 0])):
        assert np.abs(found - wanted).max() < 5 * unit * np.abs(wanted).max()
    # Without the η² line the same bound is broken.
    assert np.abs(drift.Q.values - Q).max() > 5 * unit * np.abs(Q).max()


def simulate(problem, g, dg, N, count, times):
    """SGD of one task in N dimensions: overlaps and readouts, averaged over networks."""
    rng, phase, task = np.random.default_rng(0), problem.phases[0], problem.tasks["a"]
    s = problem.state
    fields = sgd.realise(np.block([[s.Q, s.R], [s.R.T, s.T]]), N, rng)
    w, B = np.repeat(fields[None, :2], count, axis=0), fields[2:]
    v = np.repeat(problem.heads["a"][None], count, axis=0)
    rows = []
    for step in range(round(times[-1] * N) + 1):
        if round(times[len(rows)] * N) == step:
            overlaps = (w @ w.transpose(0, 2, 1) / N, w @ B.T / N, v)
            rows.append([x.mean(axis=0) for x in overlaps])
        x = rng.standard_normal((count, N))
        field = (w @ x[:, :, None])[:, :, 0] / np.sqrt(N)
        noise = task.noise_std * rng.standard_normal(count)
        error = g(x @ B.T / np.sqrt(N)) @ task.readout + noise - (v * g(field)).sum(axis=1)
        kick = phase.learning_rate / np.sqrt(N) * v * dg(field) * error[:, None]
        v = v + phase.readout_learning_rate / N * g(field) * error[:, None]
        w = w + kick[:, :, None] * x[:, None, :]
        if len(rows) == len(times):
            break
    return [np.array(block) for block in zip(*rows, strict=True)]


@pytest.mark.parametrize("name", ["softplus", "leaky_relu"])
def test_jacobian_by_differences_is_that_of_the_equations(name):
    rhs = ok.equations(curriculum(name))
    assert_jacobian_matches(rhs.rhs, rhs.jac, rhs.start, rtol=1e-8)


def test_an_implicit_method_runs_on_it():
    own = Activation.shipped("softplus", accuracy=1e-5)
    problem = curriculum(own, phases=[ok.Phase("a", 3.0, 0.3, 0.2)])
    one, two = (ok.solve(problem, t_eval=[0.0, 3.0], method=m) for m in ("DOP853", "Radau"))
    assert_agrees(one, two)
    assert int(two.n_jac) > 0


def test_sweeps_report_each_point():
    rates = xr.DataArray([0.1, 0.4], dims="eta", coords={"eta": [0.1, 0.4]})
    problem = curriculum("quadratic", phases=[ok.Phase("a", 2.0, 0.1)])
    ds = ok.solve(problem.replace_phase(0, learning_rate=rates))
    assert ds.quadrature_nodes.dims == ds.quadrature_error.dims == ("eta",)
    assert (ds.quadrature_error < 1e-8).all()


# -------------------------------------------------------------------------------------- accuracy


def test_nodes_change_at_levels_only_and_jump_by_less_than_the_accuracy():
    """The right-hand side is smooth between levels; none is where norms are 1."""
    own = Activation.shipped("tanh", accuracy=1e-6)
    edge = LEVEL**2
    counts = set()
    for size in (0.999 * edge, 1.001 * edge):
        C = covariance(0)
        C *= size / np.diagonal(C).max()
        moments = Moments(own, diffusion=True)
        counts.add(moments.nodes(C))
        assert moments.error(C, 2) < 1e-6
    assert len(counts) == 2
    assert level_of(np.eye(2) * 0.9999) == level_of(np.eye(2) * 1.0001)


def test_error_by_doubling_bounds_the_error():
    """Against twice as many nodes again, at few nodes where there is something to see."""
    g = transcription.Erf()
    for m in (16, 20, 24):
        own = Activation("own", OWN_ERF.function, OWN_ERF.derivative, nodes=m, accuracy=1.0)
        moments, C = Moments(own, diffusion=True), covariance(1)
        I4 = quadruple(C, 2, moments.fourth(C, 2))
        wanted = np.array(
            [
                [[[g.I4(C, k, l, a, b) for b in range(4)] for a in range(4)] for l in range(2)]
                for k in range(2)
            ]
        )
        true = np.abs(I4 - wanted).max() / np.abs(wanted).max()
        assert true < 2 * moments.error(C, 2)


def test_what_cannot_be_reached_is_refused_before_any_work():
    with pytest.raises(ok.ProblemError, match=r"(?s)256 nodes give to 1e-08.*accuracy") as caught:
        curriculum("tanh", state=ok.OrderParameters(np.eye(2) * 100, np.zeros((2, 2)), np.eye(2)))
    assert caught.value.argument == "activation"
    kink = Activation("kink", lambda x: np.abs(x), np.sign)
    with pytest.raises(ok.ProblemError, match="kinks"):
        curriculum(kink)
    with pytest.raises(ok.ProblemError, match="16 nodes"):
        curriculum(Activation.shipped("tanh", nodes=16))
    assert curriculum(Activation.shipped("tanh", nodes=16, accuracy=0.5)) is not None


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_a_run_that_grows_out_of_reach_ends_with_a_status():
    """Online at a large rate tanh's first layer grows until its accuracy is out of reach."""
    own = Activation.shipped("tanh", nodes=48, accuracy=1e-3)
    problem = ok.Problem(
        state=ok.OrderParameters([[0.5]], [[0.1]], [[1.0]]),
        heads={"main": [1.0]},
        tasks={"main": ok.Task([1.0], noise_std=3.0)},
        phases=[ok.Phase("main", 50.0, 4.0)],
        activation=own,
    )
    ds = ok.solve(problem)
    assert ok.Status(int(ds.status)) is ok.Status.INACCURATE
    assert ds.sizes["time"] > 1
    assert np.isfinite(ds.Q).all()


SINE = Activation("sine", lambda x: np.sin(3 * x), lambda x: 3 * np.cos(3 * x))


class Waves:
    """Moments of sin 3x in closed form: E[exp i q·x] = exp(−½ q·C q)."""

    def __init__(self, C):
        self.C = C

    def mean(self, *factors):
        """E of a product of sines (True) and cosines (False) of 3 x_a, as pairs (a, True)."""
        total = 0.0
        for signs in np.ndindex(*[2] * len(factors)):
            q, weight = np.zeros(len(self.C)), 1.0 + 0j
            for (a, is_sine), negative in zip(factors, signs, strict=True):
                sign = -1.0 if negative else 1.0
                q[a] += 3 * sign
                weight *= sign / 2j if is_sine else 0.5
            total += weight * np.exp(-0.5 * q @ self.C @ q)
        return total.real

    def I2(self, k, a):
        return self.mean((k, True), (a, True))

    def I4(self, k, l, a, b):
        return 9 * self.mean((k, False), (l, False), (a, True), (b, True))


@pytest.mark.parametrize("size", np.linspace(1.0, 7.5, 27))
def test_an_oscillation_is_seen_by_enough_nodes(size):
    """Even steps may miss one twice: once, and doubled. Some 0.4 of I4 were wrong at 5."""
    C = np.array([[1.0, 0.3, 0.2, 0.1], [0.3, 0.9, 0.1, 0.2], [0.2, 0.1, 0.4, 0.0],
                  [0.1, 0.2, 0.0, 0.4]]) * size  # fmt: skip
    moments, waves = Moments(SINE, diffusion=True), Waves(C)
    assert moments.accurate(C, 2)
    I2 = moments.second(C, 2)[0]
    assert_allclose(I2, [[waves.I2(k, a) for a in range(4)] for k in range(2)], atol=1e-8)
    I4 = quadruple(C, 2, moments.fourth(C, 2))
    wanted = [
        [[[waves.I4(k, l, a, b) for b in range(4)] for a in range(4)] for l in range(2)]
        for k in range(2)
    ]
    assert_allclose(I4, wanted, atol=3e-8)


def oscillating(**settings):
    """A unit whose weights grow through sizes at which sin 3x is hard to integrate."""
    own = Activation("sine", SINE.function, SINE.derivative, **settings)
    return ok.Problem(
        state=ok.OrderParameters([[4.0]], [[0.5]], [[1.0]]),
        heads={"main": [1.0]},
        tasks={"main": ok.Task([1.0], noise_std=1.0)},
        phases=[ok.Phase("main", 3.0, 0.5)],
        activation=own,
    )


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_an_oscillating_activation_is_integrated_or_the_run_ends():
    """dQ is all but (η²/b) v² (Σ c c I4 + σ² J2) here, or the status says that it is not."""
    ds = ok.solve(oscillating(), t_eval=np.linspace(0, 3, 301))
    Q = ds.Q.values[:, 0, 0]
    assert Q.max() > 8.0
    assert float(ds.quadrature_error) < 1e-8 or ds.status == ok.Status.INACCURATE
    rates = np.gradient(Q, ds.time.values)[1:-1]
    for i in range(10, len(rates), 40):
        C = np.array([[Q[i + 1], ds.R.values[i + 1, 0, 0]], [ds.R.values[i + 1, 0, 0], 1.0]])
        waves, c = Waves(C), np.array([-1.0, 1.0])
        power = sum(c[a] * c[b] * waves.I4(0, 0, a, b) for a in (0, 1) for b in (0, 1))
        power += 9 * waves.mean((0, False), (0, False))
        # The drift, of order exp(−9 Q/2), is 10⁻⁸ and less.
        assert rates[i] == pytest.approx(0.25 * power, rel=1e-5)


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_nodes_that_do_not_serve_later_end_the_run_with_what_it_has():
    """Enough at the start, and at no later size too few by their count: by what they give."""
    ds = ok.solve(oscillating(nodes=96, accuracy=1e-6), t_eval=np.linspace(0, 3, 31))
    assert ds.status == ok.Status.INACCURATE
    assert 0 < float(ds.t_last) < 3
    reached = ds.isel(time=ds.time < ds.t_last)
    assert np.isfinite(reached.Q).all()
    assert reached.sizes["time"] > 1


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_the_error_that_is_reported_is_the_largest_of_the_run(monkeypatch):
    """Not of five rows alone."""
    plain, spike = Moments.error, []

    def error(self, C, K):
        found = plain(self, C, K)
        if 5.0 < C[0, 0] < 5.6:  # between two of the five rows
            spike.append(C[0, 0])
            found = 1.0
        return found

    monkeypatch.setattr(Moments, "error", error)
    ds = ok.solve(oscillating(), t_eval=[0.0, 3.0])
    assert ds.status == ok.Status.INACCURATE
    assert float(ds.quadrature_error) == 1.0
    assert len(spike) >= 1


def test_fewer_nodes_serve_where_less_is_asked():
    counts = [
        node_counts(Activation.shipped("tanh", accuracy=a), 1.0, True) for a in (1e-3, 1e-6, 1e-9)
    ]
    assert counts == sorted(counts)
    assert node_counts(Activation.shipped("tanh"), 1.0, False)[1] < counts[0][1]
    assert max(node_counts(Activation.shipped("quadratic"), 3.0, True)) <= 32


# ------------------------------------------------------------------------------- names and files


@pytest.mark.parametrize("name", NAMES)
def test_shipped_names_round_trip(name):
    problem = curriculum(name)
    again = ok.Problem.from_dict(json.loads(json.dumps(problem.to_dict())))
    assert again == problem
    assert again.activation == name


def test_accuracy_nodes_and_slope_round_trip():
    own = Activation.shipped("leaky_relu", slope=0.25, nodes=40, accuracy=1e-5)
    again = ok.Problem.from_dict(json.loads(json.dumps(curriculum(own).to_dict()))).activation
    assert (again.slope, again.nodes, again.accuracy) == (0.25, 40, 1e-5)
    assert_allclose(again.function(np.array([-2.0])), [-0.5])


def own_slope(x):
    return np.cos(x)


@pytest.mark.parametrize(
    "own",
    [Activation.shipped("leaky_relu", slope=0.3), Activation("sine", np.sin, own_slope, nodes=40)],
)
def test_activations_travel_to_other_processes(own):
    again = pickle.loads(pickle.dumps(own))
    assert again.to_dict() == own.to_dict()
    assert_allclose(again.derivative(np.array([0.5])), own.derivative(np.array([0.5])))


def test_ones_own_is_known_again_but_not_its_functions(tmp_path):
    """A file can be read, shown and validated; solving it again takes the functions."""
    from odekit.verbs.show import summary
    from odekit.verbs.validate import validate

    sine = Activation("sine", np.sin, np.cos)
    problem = curriculum(sine, phases=[ok.Phase("a", 1.0, 0.1)])
    ok.save(ok.solve(problem), tmp_path / "own.nc")
    ds = ok.open(tmp_path / "own.nc")
    assert "sine" in summary(ds)
    verdicts = validate(ds)
    assert all(v.holds for v in verdicts)
    assert any("not checked" in v.found for v in verdicts)
    assert not any("not checked" in v.found for v in validate(ds, sine))

    stored = json.loads(ds.attrs["odekit_problem"])
    bare = ok.Problem.from_dict(stored)
    assert bare.to_dict() == problem.to_dict()
    with pytest.raises(ok.ProblemError, match=r"replace\(activation="):
        ok.solve(bare)
    assert_agrees(ok.solve(bare.replace(activation=sine)), ds)
    assert ok.Problem.from_dict(stored, sine) == problem
    with pytest.raises(ok.ProblemError, match="the file was made with"):
        ok.Problem.from_dict(stored, Activation("sine", np.cos, lambda x: -np.sin(x)))


@pytest.mark.parametrize(
    ("build", "argument"),
    [
        (lambda: Activation("tanh", np.sin, np.cos), "name"),
        (lambda: Activation("a b", np.sin, np.cos), "name"),
        (lambda: Activation("a", np.sin, np.sin), "derivative"),
        (lambda: Activation("a", np.sin, lambda x: 2 * np.cos(x)), "derivative"),
        (lambda: Activation("a", lambda x: x.sum(), np.cos), "function"),
        (lambda: Activation("a", lambda x: x * np.nan, np.cos), "function"),
        (lambda: Activation("a", lambda x: undefined(x), np.cos), "function"),  # noqa: F821
        (lambda: Activation("a", np.sin, np.cos, nodes=1), "nodes"),
        (lambda: Activation("a", np.sin, np.cos, accuracy=0.0), "accuracy"),
        (lambda: Activation.shipped("sigmoid"), "activation"),
        (lambda: Activation.shipped("tanh", slope=0.1), "slope"),
        (lambda: curriculum("sigmoid"), "activation"),
        (lambda: curriculum(np.tanh), "activation"),
    ],
)
def test_activations_that_are_none_are_refused(build, argument):
    with pytest.raises(ok.ProblemError) as caught:
        build()
    assert caught.value.argument == argument


def test_rules_are_symmetric_and_exact():
    rule = hermite.make_nodes(48, 24, False)
    assert np.array_equal(rule.z, -rule.z[::-1])
    assert np.array_equal(rule.x, -rule.x[::-1])
    # E[z⁴] = 3, and the coefficients of z² are E[z² h_n] = (1, 0, √2, 0, …).
    assert rule.w @ rule.z**4 == pytest.approx(3.0, abs=1e-10)
    assert_allclose((rule.x**2 @ rule.A)[:4], [1.0, 0.0, np.sqrt(2), 0.0], atol=1e-13)
    half = hermite.make_nodes(48, 24, True)
    x, y = half.plane
    assert (half.weight @ (x * x * y * y)) == pytest.approx(1.0, abs=1e-10)


def test_layouts_of_compiled_activations_have_no_quadrature():
    assert Single(curriculum("erf")).moments is None
    assert Single(curriculum("relu")).moments is not None
