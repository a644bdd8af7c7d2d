"""Structured problems from what is said to the dataset: outputs, labels, means, biases, masks."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given as of
from hypothesis import settings
from numpy.testing import assert_allclose
from scipy.special import erf

import odekit as ok
import transcription_inputs as literal
from odekit.systems.committee.general import GeneralPoints
from odekit.systems.committee.structure import is_general
from odekit.testing.structured import structured_problems
from odekit.verbs.scenario import parse_scenario
from odekit.verbs.validate import validate

GROUPS = {"a": 0.4, "b": 0.6}
TIMES = [0.0, 0.5, 1.0, 2.0]


def start(K=2, P=1):
    rng = np.random.default_rng(5)
    W, B = 0.5 * rng.standard_normal((K, 50)), rng.standard_normal((P, 50))
    return ok.OrderParameters.from_weights(W, B, groups={"a": slice(0, 20), "b": slice(20, 50)})


def problem(**more):
    """Everything at once that the equations in closed form know, momentum and rates apart."""
    fields = {
        "state": start(),
        "heads": {"one": [[0.7, -0.4], [0.2, 0.5]], "two": [[0.3, 0.6], [-0.2, 0.1]]},
        "tasks": {
            "x": ok.Task(
                [[1.0], [-0.5]], label=[0.3, -1.0], noise_std=[0.1, 0.2], input_mean=[0.8],
                input_variance={"a": 0.7, "b": 1.2}, student_gain=0.9, head="one",
            ),
            "y": ok.Task(
                [[0.0], [0.4]], label=0.5, input_mean=[-0.6], head="one",
                student_noise_std={"a": 0.0, "b": 0.3},
            ),
            "z": ok.Task([[1.0], [1.0]], head="two"),
        },
        "phases": [
            ok.Phase(
                {"x": 0.5, "y": 0.3, "z": 0.2}, 2.0, {"a": 0.8, "b": 0.5}, 0.4, batch_size=2,
                weight_decay=0.1, readout_weight_decay=0.2, bias_learning_rate=0.3,
                keep_probability=[0.9, 0.6],
            )
        ],
        "groups": GROUPS,
        "biases": [0.2, -0.1],
        "teacher_biases": [0.3],
        "test_scale": [0.9, 0.6],
    }  # fmt: skip
    return ok.Problem(**(fields | more))


def transcribed(given):
    """The same problem as `transcription_inputs` has it, with its state at time 0."""
    heads, phase = list(given.heads), given.phases[0]
    of_groups = lambda x: np.array([x[g] if isinstance(x, dict) else x for g in GROUPS])  # noqa: E731
    tasks = {
        name: literal.Task(
            t.readout, heads.index(t.head), t.label, t.noise_std, of_groups(t.input_variance),
            0.0 if t.input_mean is None else t.input_mean, of_groups(t.student_gain),
            of_groups(t.student_noise_std),
        )
        for name, t in given.tasks.items()
    }  # fmt: skip
    learns = literal.Phase(
        tuple(tasks[n] for n in phase.mixture), np.array(list(phase.mixture.values())),
        of_groups(phase.learning_rate), phase.readout_learning_rate, phase.bias_learning_rate,
        1.0 / phase.batch_size, phase.keep_probability, 1.0, phase.weight_decay,
        phase.readout_weight_decay,
    )  # fmt: skip
    sharp = {"teacher": np.sign} if given.teacher_activation == "sign" else {}
    vectors = literal.Vectors(
        of_groups(GROUPS), given.state.T, teacher_bias=given.teacher_biases, **sharp
    )
    state = literal.State(
        given.state.Q, given.state.R, np.array(list(given.heads.values())), given.biases
    )
    return state, vectors, learns, tuple(tasks.values())


def equations(given):
    points = given.system.points(given, {})
    frame, y = points.start()
    frame, y = points.enter(0, frame, y)
    return points, points.equations(0, frame, 0.0), y[0]


def test_the_equations_are_the_literal_ones():
    """Every expectation over a grid of all fields, all masks one by one."""
    given = problem()
    points, found, y = equations(given)
    state, vectors, learns, tasks = transcribed(given)
    whole = literal.rhs(state, vectors, learns, nodes=24)
    K, G = 2, 2
    k, l = np.triu_indices(K)
    overlaps = [np.concatenate([whole.Q[g][k, l], whole.R[g].ravel()]) for g in range(G)]
    wanted = np.concatenate([*overlaps, whole.heads.ravel(), whole.bias])
    assert_allclose(found.rhs(0.0, y), wanted, rtol=0, atol=2e-7)
    errors = literal.errors(state, vectors, tasks, nodes=24, test_scale=given.test_scale)
    assert_allclose(points.errors(y[np.newaxis])[0], errors, rtol=0, atol=2e-8)


@pytest.fixture(scope="module")
def run():
    return ok.solve(problem(), t_eval=TIMES)


def test_datasets_have_what_the_problem_says(run):
    assert run.readout.dims == ("time", "head", "output", "student")
    assert run.bias.dims == ("time", "student")
    assert_allclose(run.bias[0], [0.2, -0.1])
    assert_allclose(run.readout[0, 1], [[0.3, 0.6], [-0.2, 0.1]])
    assert run.bias.attrs["long_name"] == "bias of student units"
    total = (run.group_fraction * run.Q_group).sum("group").transpose(*run.Q.dims)
    assert_allclose(run.Q, total, rtol=0, atol=1e-15)


def test_results_are_valid_and_come_back_from_files(run, tmp_path):
    assert all(verdict.holds for verdict in validate(run)), list(validate(run))
    ok.save(run, tmp_path / "run.nc")
    assert ok.open(tmp_path / "run.nc").identical(run)
    assert "outputs: 2" in ok.summary(run)


def test_pictures_have_biases_and_every_output(run):
    labels = [ax.get_ylabel() for ax in run.odekit.plot().axes]
    assert {"$b_k$", "$v_k$"} <= set(labels)


MORE = ok.Phase("x", 1.0, 0.3, momentum_decay=1.5, normalization=ok.RMSNorm(2.0, epsilon=0.1))


@pytest.mark.parametrize("way", ["data", "scenario"])
def test_problems_come_back(way):
    given = problem(phases=[*problem().phases, MORE])
    if way == "data":
        assert ok.Problem.from_dict(given.to_dict()) == given
    else:
        # Scenarios name the groups; states of groups are written by name.
        assert parse_scenario(given.to_toml()).problem == given


# -------------------------------------------------------------------------------------- reductions

WIDE = {
    "state": ok.OrderParameters([[0.5, 0.1], [0.1, 0.4]], [[0.2], [-0.1]], [[1.0]]),
    "heads": {"m": [0.7, -0.4]},
    "tasks": {"m": ok.Task([1.0], noise_std=0.2)},
    "phases": [
        ok.Phase("m", 1.0, 0.8, 0.4, batch_size=2, weight_decay=0.1),
        ok.Phase("m", 1.0, 0.5, 0.2, consolidation=ok.Consolidation("fisher", 2.0, "m")),
    ],
}
SAID = {
    "one output": {"heads": {"m": [[0.7, -0.4]]}, "tasks": {"m": ok.Task([[1.0]], noise_std=0.2)}},
    "biases of zero": {"biases": [0.0, 0.0]},
    "mean zero, variance one": {
        "tasks": {"m": ok.Task([1.0], noise_std=0.2, input_mean=[0.0])},
        "teacher_biases": [0.0],
    },
}


@pytest.mark.parametrize("said", SAID)
def test_what_changes_nothing_changes_nothing(said):
    plain, general = ok.Problem(**WIDE), ok.Problem(**(WIDE | SAID[said]))
    assert (is_general(plain), is_general(general)) == (False, True)
    a, b = (ok.solve(p, t_eval=TIMES, rtol=1e-10, atol=1e-13) for p in (plain, general))
    for name in ("Q", "R", "generalization_error"):
        assert_allclose(a[name], b[name], rtol=0, atol=1e-9)
    assert_allclose(a.readout, np.reshape(b.readout.values, a.readout.shape), rtol=0, atol=1e-9)


def test_what_is_at_its_default_is_not_general():
    """Today's equations serve, with today's numbers."""
    said = {
        "tasks": {"m": ok.Task([1.0], noise_std=0.2, label=0.0)},
        "phases": [ok.Phase("m", 1.0, 0.8, keep_probability=[1.0, 1.0], bias_learning_rate=0.0)],
        "test_scale": [1.0, 1.0],
    }
    given = ok.Problem(**(WIDE | said))
    assert not is_general(given)
    assert not isinstance(given.system.points(given, {}), GeneralPoints)


@pytest.mark.parametrize(
    "carried",
    [{"momentum_decay": 1.5}, {"normalization": ok.AdaGradNorm(0.3)},
     {"normalization": ok.RMSNorm(2.0, 0.3, 0.1), "momentum_decay": 0.5}],
    ids=["momentum", "adagrad", "rms with momentum"],
)  # fmt: skip
def test_what_a_phase_carries_goes_on_in_the_next(carried):
    """Two phases that say the same are one."""
    whole = ok.Phase("m", 2.0, 0.5, 0.2, bias_learning_rate=0.3, **carried)
    half = ok.Phase("m", 1.0, 0.5, 0.2, bias_learning_rate=0.3, **carried)
    base = WIDE | {"biases": [0.1, 0.0]}
    a, b = (
        ok.solve(ok.Problem(**(base | {"phases": phases})), t_eval=TIMES, rtol=1e-10)
        for phases in ([whole], [half, half])
    )
    for name in set(a.data_vars) & {"Q", "R", "bias", "velocity_Q", "squared_gradient"}:
        assert_allclose(a[name], b[name], rtol=0, atol=1e-8)
    assert ("velocity_teacher" in a) == ("momentum_decay" in carried)
    if "squared_gradient" in a:
        assert float(a.squared_gradient[0]) == pytest.approx(0.3)


def test_much_friction_is_sgd():
    """γ → ∞ at η/γ fixed, with an error of order 1/γ."""
    plain = ok.solve(ok.Problem(**(WIDE | {"phases": [ok.Phase("m", 2.0, 0.5)]})), t_eval=TIMES)
    off = []
    for gamma in (50.0, 100.0):
        heavy = ok.Phase("m", 2.0, 0.5 * gamma, momentum_decay=gamma)
        run = ok.solve(ok.Problem(**(WIDE | {"phases": [heavy]})), t_eval=TIMES)
        off.append(float(abs(run.R - plain.R).max()))
    assert off[0] < 0.02
    assert off[0] / off[1] == pytest.approx(2.0, rel=0.1)


def test_consolidation_takes_moments_with_means():
    """Fisher's information and the readout's penalty, E[g'²] and E[g²] of fields with means."""
    given = problem(
        phases=[
            *problem().phases,
            ok.Phase("z", 1.0, 0.3, consolidation=ok.Consolidation("fisher", 1.5, "x")),
        ]
    )  # fmt: skip
    points = given.system.points(given, {})
    frame, y = points.start()
    frame, y = points.enter(1, frame, y)
    state, vectors, _, tasks = transcribed(given)
    fisher = literal.fisher(state, vectors, tasks[0], nodes=40)
    assert_allclose(frame.F[0, 0], 1.5 * fisher, rtol=0, atol=1e-7)
    x, w = np.polynomial.hermite_e.hermegauss(80)
    M, C = points.own_laws.students(0, *(given.state.Q[None], given.state.R[None]), given.biases)
    squares = [
        w / w.sum() @ erf((m + np.sqrt(c) * x) / np.sqrt(2)) ** 2
        for m, c in zip(M[0], C[0], strict=True)
    ]
    assert_allclose(frame.F_v[0, 0], 1.5 * np.array(squares), rtol=1e-6)


# ------------------------------------------------------------------------------------- symmetries


def test_the_order_of_outputs_and_the_sign_of_units_do_not_matter(run):
    turned = problem(
        heads={n: np.asarray(v)[::-1] for n, v in problem().heads.items()},
        tasks={
            n: ok.Task(
                t.readout[::-1], label=np.broadcast_to(t.label, 2)[::-1].copy(), head=t.head,
                noise_std=np.broadcast_to(t.noise_std, 2)[::-1].copy(), input_mean=t.input_mean,
                input_variance=t.input_variance, student_gain=t.student_gain,
                student_noise_std=t.student_noise_std,
            )
            for n, t in problem().tasks.items()
        },
    )  # fmt: skip
    again = ok.solve(turned, t_eval=TIMES)
    assert_allclose(again.Q, run.Q, rtol=0, atol=1e-10)
    assert_allclose(again.readout[:, :, ::-1], run.readout, rtol=0, atol=1e-10)
    state = start()
    sign = np.array([1.0, -1.0])
    flipped = problem(
        state=ok.OrderParameters(state.Q * np.outer(sign, sign), state.R * sign[:, None], state.T),
        heads={n: v * sign for n, v in problem().heads.items()},
        biases=problem().biases * sign,
    )
    again = ok.solve(flipped, t_eval=TIMES)
    assert_allclose(again.R * sign[:, None], run.R, rtol=0, atol=1e-10)
    assert_allclose(again.generalization_error, run.generalization_error, rtol=0, atol=1e-10)


@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_conserved_in_gradient_flow(activation):
    """Σ f Q/η_w + b b/η_b − Σ V V/η_v of homogeneous units, the whole matrix for linear ones."""
    phase = ok.Phase(
        {"x": 0.5, "y": 0.3, "z": 0.2}, 2.0, 0.8, 0.4, gradient_flow=True, bias_learning_rate=0.3
    )
    given = problem(activation=activation, phases=[phase], test_scale=1.0)
    found = ok.solve(given, t_eval=TIMES)
    laws = {verdict.law: verdict for verdict in validate(found)}
    assert all(v.holds for v in laws.values()), laws
    assert "gradient flow never raises the loss" in laws
    wanted = "imbalance_matrix" if activation == "linear" else "unit_imbalance"
    assert f"{wanted} is conserved" in laws
    assert abs(found.readout - found.readout[0]).max() > 0.05


@settings(max_examples=12)
@of(structured_problems())
def test_every_run_obeys_its_laws(given):
    """Overlaps of real vectors, errors not below zero, what is conserved, losses that fall."""
    run = ok.solve(given, t_eval=[0.0, sum(float(p.duration) for p in given.phases)])
    assert all(verdict.holds for verdict in validate(run)), list(validate(run))
    assert ok.Problem.from_dict(given.to_dict()) == given
    assert parse_scenario(given.to_toml()).problem == given


# ----------------------------------------------------------------------------------------- a sweep


def test_a_sweep_is_its_runs():
    """In lanes, with labels, means, biases, masks and probabilities swept along one axis."""
    eta = xr.DataArray([0.4, 0.8], dims="i")
    label = xr.DataArray([1.0, 0.5], dims="i")
    mean = xr.DataArray([[-1.0], [-0.5]], dims=("i", "teacher"))
    clusters = {
        "p": ok.Task([0.0], label=label, input_mean=[1.0], head="m"),
        "n": ok.Task([0.0], label=-1.0, input_mean=mean, head="m"),
    }  # fmt: skip
    keep = xr.DataArray([[0.5, 1.0], [0.8, 0.9]], dims=("i", "student"))
    phase = ok.Phase({"p": 0.5, "n": 0.5}, 2.0, eta, 0.2, keep_probability=keep, until={"p": 0.3},
                     bias_learning_rate=0.3)  # fmt: skip
    given = ok.Problem(
        WIDE["state"], WIDE["heads"], clusters, [phase],
        biases=xr.DataArray([[0.1, 0.0], [0.0, 0.2]], dims=("i", "student")),
    )  # fmt: skip
    many = ok.solve(given, t_eval=TIMES)
    from odekit.problem.axes import at

    for i in range(2):
        one = ok.solve(at(given, {"i": i}), t_eval=TIMES)
        for name in ("Q", "R", "readout", "bias", "generalization_error"):
            here = many[name].isel(i=i).dropna("time")
            assert_allclose(here, one[name].sel(time=here.time), rtol=0, atol=1e-7)
        assert_allclose(many.phase_end.isel(i=i), one.phase_end, rtol=1e-5)


# -------------------------------------------------------------------------------------- quadrature


def test_units_at_nodes_are_those_in_closed_form():
    """erf as a function of one's own, with every term of the equations; its count is reported."""
    own = ok.Activation("soft", lambda x: erf(x / np.sqrt(2)), slope_of_erf)
    closed, at_nodes = (equations(problem(activation=g)) for g in ("erf", own))
    assert_allclose(at_nodes[1].rhs(0.0, at_nodes[2]), closed[1].rhs(0.0, closed[2]), atol=1e-7)
    assert at_nodes[1].accurate(at_nodes[2])
    rows = closed[2][np.newaxis, np.newaxis]
    assert_allclose(at_nodes[0].errors(rows), closed[0].errors(rows), rtol=0, atol=1e-7)
    report = at_nodes[0].arrays(rows)
    assert report["quadrature_nodes"][0] >= 16
    assert report["quadrature_error"][0] < 1e-7


def slope_of_erf(x):
    return np.sqrt(2 / np.pi) * np.exp(-0.5 * x * x)


def test_the_published_curriculum():
    """Saglietti et al. 2022: easy first .15586, hard first .16282, half of both at test."""
    errors = []
    for order in (("easy", "hard"), ("hard", "easy")):
        given = ok.Problem(
            ok.OrderParameters([[[1.0]], [[1.0]]], [[[0.0]], [[0.0]]], [[[2.0]], [[0.0]]]),
            {"main": [1.0]},
            {
                n: ok.Task([1.0], head="main", input_variance={"relevant": 1.0, "irrelevant": d})
                for n, d in (("easy", 0.0), ("hard", 2.0))
            },
            [ok.Phase(name, 3.0, 3.0) for name in order],
            groups={"relevant": 0.5, "irrelevant": 0.5},
            teacher_activation="sign",
        )
        run = ok.solve(given, t_eval=[0.0, 6.0])
        errors.append(float(run.misclassification[-1].mean()))
    assert_allclose(errors, [0.15586, 0.16282], rtol=0, atol=6e-6)


# ---------------------------------------------------------------------------------------- refusals


def refused(argument, rule):
    return pytest.raises(ok.ProblemError, match=f"(?s)`{argument}` {rule}")


def one(**said):
    return ok.Problem(**(WIDE | said))


WRONG = {
    "outputs of heads and readouts": (
        lambda: one(heads={"m": [[0.7, -0.4]] * 2}), r"tasks\['m'\].readout",
        "must have an axis of 2",
    ),
    "outputs of two heads": (
        lambda: one(heads={"m": [0.7, -0.4], "n": [[0.7, -0.4]]}), r"heads\['n'\]",
        "must have no axis",
    ),
    "labels of more outputs": (
        lambda: one(tasks={"m": ok.Task([1.0], label=[1.0, 2.0])}), r"tasks\['m'\].label",
        "must be a number",
    ),
    "mean of wrong length": (
        lambda: one(tasks={"m": ok.Task([1.0], input_mean=[1.0, 0.0])}), r"tasks\['m'\].input_mean",
        r"must have shape \(P,\) = \(1,\)",
    ),
    "probability above one": (
        lambda: ok.Phase("m", 1.0, 0.5, keep_probability=1.5), "keep_probability",
        "must be >= 0 and <= 1",
    ),
    "probabilities of other units": (
        lambda: one(phases=[ok.Phase("m", 1.0, 0.5, keep_probability=[0.5] * 3)]),
        r"phases\[0\].keep_probability", "must be a number or have shape",
    ),
    "bias of no use": (
        lambda: one(activation="linear", biases=[0.0, 0.0]), "biases",
        "must be left out where linear",
    ),
    "rate of biases without any": (
        lambda: one(phases=[ok.Phase("m", 1.0, 0.5, bias_learning_rate=0.1)]),
        r"phases\[0\].bias_learning_rate", "must be 0 without biases",
    ),
    "biases of other units": (lambda: one(biases=[0.0]), "biases", r"must have shape \(2,\)"),
    "normalised flow": (
        lambda: one(phases=[ok.Phase("m", 1.0, 0.5, gradient_flow=True,
                                     normalization=ok.AdaGradNorm())]),
        r"phases\[0\].normalization", "must be left out in gradient flow",
    ),
    "normalization of another kind": (
        lambda: ok.Phase("m", 1.0, 0.5, normalization="rms"), "normalization",
        "must be an AdaGradNorm",
    ),
    "sign teachers of ReLU": (
        lambda: one(activation="relu", teacher_activation="sign"), "teacher_activation",
        "must be left out",
    ),
    "a sweep over outputs": (
        lambda: one(phases=[ok.Phase("m", xr.DataArray([1.0, 2.0], dims="output"), 0.5)]),
        r"phases\[0\].duration", "must have sweep dims that nothing in the result has",
    ),
    "clusters of different lengths": (
        lambda: ok.gaussian_mixture([[1.0], [0.0]], labels=[1.0]), "labels", "must have 2 entries"
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_mistakes_name_argument_rule_value_and_remedy(wrong):
    make, argument, rule = WRONG[wrong]
    with refused(argument, rule):
        make()


@pytest.mark.parametrize("verb", ["equations", "fixed_point"])
def test_what_knows_only_the_committees_own_equations_refuses(verb):
    with pytest.raises(ok.ProblemError, match="must be without outputs, labels, means"):
        getattr(ok, verb)(one(biases=[0.1, 0.0]))


def test_published_dropout():
    """Mignacco & Mori 2025: two units learn one, noise 0.2; the best probability, and none."""
    state = ok.OrderParameters(np.zeros((2, 2)), np.zeros((2, 1)), [[1.0]])
    for keep, wanted in ((0.7664, 2.533331e-2), (1.0, 3.485615e-2)):
        given = ok.Problem(
            state, {"main": [1.0, 1.0]}, {"main": ok.Task([1.0], noise_std=0.2)},
            [ok.Phase("main", 5.0, 1.0, keep_probability=keep)],
            test_scale=keep, teacher_biases=[0.0],
        )  # fmt: skip
        error = float(ok.solve(given, t_eval=[0.0, 5.0]).generalization_error[-1, 0])
        assert error == pytest.approx(wanted, abs=2e-8)
