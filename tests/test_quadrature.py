"""Activations on the quadrature path: moments, accuracy, features, files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy.integrate import dblquad
from scipy.special import erf

import odekit as ok
import sgd
import transcription
from odekit.activations import NAMES, SMOOTH, Activation, node_counts
from odekit.layout import CommitteeLayout
from odekit.quadrature import LEVEL, Moments, level_of
from odekit.testing import assert_agrees, assert_jacobian_matches, right_hand_side
from odekit.testing.moments import functions_of
from odekit_kernels import hermite, kinked

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


# --------------------------------------------------------------------- against closed forms of erf


@pytest.mark.parametrize("rank", [None, 2, 1])
@pytest.mark.parametrize("accuracy", [1e-4, 1e-8, 1e-11])
def test_erf_moments_reach_the_accuracy_that_was_asked_for(rank, accuracy):
    g = transcription.Erf()
    own = Activation("own", OWN_ERF.function, OWN_ERF.derivative, accuracy=accuracy)
    for seed in range(5):
        C, K = covariance(seed, rank=rank), 2
        fields = range(4)
        moments = Moments(own, diffusion=True)
        I2, J2, G2 = moments.second(C, K)
        I4 = quadruple(C, K, moments.fourth(C, K))
        pairs = {
            "I2": (I2, [[g.I2(C, k, a) for a in fields] for k in range(K)]),
            "J2": (J2, [[g.J2(C, k, a) for a in fields] for k in range(K)]),
            "I3": (
                third(C, J2, G2),
                [[[g.I3(C, k, b, a) for a in fields] for b in fields] for k in range(K)],
            ),
            "I4": (
                I4,
                [
                    [[[g.I4(C, k, l, a, b) for b in fields] for a in fields] for l in range(K)]
                    for k in range(K)
                ],
            ),
            "variance": (moments.variance(C), [[g.I2(C, a, b) for b in fields] for a in fields]),
        }
        for name, (found, wanted) in pairs.items():
            wanted = np.array(wanted)
            assert np.abs(found - wanted).max() < accuracy * np.abs(wanted).max(), name


@pytest.mark.parametrize("apart", [0.0, 1e-12, 1e-8, 1e-5])
def test_coinciding_and_nearly_coinciding_fields_are_no_special_case(apart):
    """A specialised student: C is singular, or all but."""
    g, rng = transcription.Erf(), np.random.default_rng(0)
    B = rng.standard_normal((2, 6)) / np.sqrt(6)
    W = B + apart * rng.standard_normal((2, 6))
    C = np.vstack([W, B]) @ np.vstack([W, B]).T
    I4 = quadruple(C, 2, Moments(OWN_ERF, diffusion=True).fourth(C, 2))
    wanted = [
        [[[g.I4(C, k, l, a, b) for b in range(4)] for a in range(4)] for l in range(2)]
        for k in range(2)
    ]
    # The closed form takes differences of products of four; near singular ones cost it digits.
    assert_allclose(I4, wanted, rtol=0, atol=1e-8)


# ------------------------------------------------------------------------ against integrals, draws


@pytest.mark.parametrize("name", SMOOTH)
def test_two_point_moments_against_adaptive_quadrature(name):
    g, dg = functions_of(name)
    C = np.array([[0.9, 0.4], [0.4, 1.2]])
    inverse, norm = np.linalg.inv(C), 1 / (2 * np.pi * np.sqrt(np.linalg.det(C)))

    def integral(f):
        def density(y, x):
            z = np.array([x, y])
            return norm * np.exp(-0.5 * z @ inverse @ z) * f(x, y)

        return dblquad(density, -8, 8, -8, 8, epsabs=1e-9, epsrel=1e-9)[0]

    I2, J2, G2 = Moments(Activation.shipped(name), diffusion=False).second(C, 1)
    found = [I2[0, 1], J2[0, 1], third(C, J2, G2)[0, 1, 1]]
    wanted = [
        integral(lambda x, y: g(x) * g(y)),
        integral(lambda x, y: dg(x) * dg(y)),
        integral(lambda x, y: dg(x) * y * g(y)),
    ]
    assert_allclose(found, wanted, atol=1e-8)


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "leaky_relu"])
def test_four_point_moments_against_draws(name):
    """10⁶ draws of four fields of full rank: to five standard errors of each mean."""
    g, dg = functions_of(name)
    C = covariance(3)
    x = np.random.default_rng(1).standard_normal((1_000_000, 4)) @ np.linalg.cholesky(C).T
    f, d = g(x), dg(x[:, :2])
    moments = Moments(Activation.shipped(name), diffusion=True)
    I4 = quadruple(C, 2, moments.fourth(C, 2))
    for k, l, a, b in np.ndindex(2, 2, 4, 4):
        if k <= l and a <= b:
            samples = d[:, k] * d[:, l] * f[:, a] * f[:, b]
            error = samples.std() / np.sqrt(len(samples))
            assert abs(samples.mean() - I4[k, l, a, b]) < 5 * error + 1e-12


def test_relu_moments_are_the_closed_forms():
    g = transcription.ReLU()
    for seed in range(5):
        C = covariance(seed)
        I2, J2, G2 = kinked.second(C, 2, 0.0)
        assert_allclose(I2, [[g.I2(C, k, a) for a in range(4)] for k in range(2)], atol=1e-14)
        assert_allclose(J2, [[g.J2(C, k, a) for a in range(4)] for k in range(2)], atol=1e-14)
        wanted = [[[g.I3(C, k, b, a) for a in range(4)] for b in range(4)] for k in range(2)]
        assert_allclose(third(C, J2, G2), wanted, atol=1e-14)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.5, 1.0, -1.0])
def test_kinked_fourth_moments_converge_in_few_nodes(slope):
    for seed in range(3):
        C = covariance(seed)
        assert_allclose(kinked.fourth(C, 2, slope, 32), kinked.fourth(C, 2, slope, 256), atol=1e-14)
    linear = kinked.fourth(C, 2, 1.0, 32)
    assert_allclose(linear, np.broadcast_to(C, linear.shape), atol=1e-14)


@pytest.mark.parametrize("apart", [0.0, 1e-9, 1e-7, 1e-5])
def test_kinked_fourth_moments_are_continuous_where_fields_coincide(apart):
    """By index (k = a), by value (student = teacher), with either sign, three and four at once."""
    rng = np.random.default_rng(2)
    B = rng.standard_normal((2, 6)) / np.sqrt(6)
    base = np.vstack([B[0], -B[0], B])
    W = base + apart * rng.standard_normal(base.shape)
    exact = np.vstack([B[0], -B[0], B])
    one, two = (kinked.fourth(V @ V.T, 2, 0.0, 64) for V in (W, exact))
    assert np.abs(one - two).max() < 1e-8 + 10 * apart
    # relu(x) relu(−x) = 0, and so is every product that holds both slopes.
    assert_allclose(two[1], 0.0, atol=1e-14)
    # E[g'(x)² g(x)²] = C/2.
    C = exact @ exact.T
    assert two[0][0, 0] == pytest.approx(C[0, 0] / 2, abs=1e-14)


@pytest.mark.parametrize("apart", [1e-8, 1e-7, 1e-6, 2e-6, 3e-6, 5e-6, 1e-5])
def test_three_different_fields_may_be_close(apart):
    """Redundant students at their teacher: off by 5e-6 at most, and by no more than that."""
    rng = np.random.default_rng(5)
    for _ in range(10):
        b, d = rng.standard_normal((2, 6)), rng.standard_normal((4, 6))
        base = np.array([b[0], b[0], b[0], b[1]])

        def I4(apart, base=base, d=d):
            V = base + apart * d
            return kinked.fourth(V @ V.T, 2, 0.0, 64)[1, 2, 3]

        # Linear in the distance, to its square.
        slope = (I4(1e-4) - I4(0.0)) / 1e-4
        assert abs(I4(apart) - I4(0.0) - slope * apart) < 1e-5 * abs(I4(0.0))


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
    rhs = right_hand_side(curriculum(name))
    assert_jacobian_matches(rhs.flat, rhs.flat_jacobian, rhs.start, rtol=1e-8)


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
    assert ok.Status(int(ds.status)) is ok.Status.NONFINITE
    assert ds.sizes["time"] > 1
    assert np.isfinite(ds.Q).all()


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


def test_ones_own_is_known_again_but_not_its_functions(tmp_path):
    """A file can be read, shown and validated; solving it again takes the functions."""
    from odekit.summary import summary
    from odekit.validate import validate

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
    rule = hermite.make_rule(48, 24, False)
    assert np.array_equal(rule.z, -rule.z[::-1])
    assert np.array_equal(rule.x, -rule.x[::-1])
    # E[z⁴] = 3, and the coefficients of z² are E[z² h_n] = (1, 0, √2, 0, …).
    assert rule.w @ rule.z**4 == pytest.approx(3.0, abs=1e-10)
    assert_allclose((rule.x**2 @ rule.A)[:4], [1.0, 0.0, np.sqrt(2), 0.0], atol=1e-13)
    half = hermite.make_rule(48, 24, True)
    x, y = half.plane
    assert (half.weight @ (x * x * y * y)) == pytest.approx(1.0, abs=1e-10)


def test_layouts_of_compiled_activations_have_no_quadrature():
    assert CommitteeLayout(curriculum("erf")).moments is None
    assert CommitteeLayout(curriculum("relu")).moments is not None
