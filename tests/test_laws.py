"""Laws that every run obeys: positivity, descent, conservation, symmetries, fixed points.

All of it is said with the public tools of `odekit.testing`. Whole runs hold the laws within
multiples of their rtol; right-hand sides within multiples of rounding, or of the accuracy of a
quadrature.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import odekit as ok
from odekit.cli import main
from odekit.testing import (
    Blocks,
    LawBroken,
    assert_agrees,
    assert_conserved,
    assert_error_nonincreasing,
    assert_fixed_point,
    assert_jacobian_matches,
    assert_moments_match,
    assert_permutation_equivariant,
    assert_positive_semidefinite,
    assert_rotation_invariant,
    assert_sign_equivariant,
    strategies,
)
from odekit.testing.strategies import FEATURES, SINGULAR

EPS = np.finfo(float).eps
COMPILED = ("erf", "linear", "relu")
SMOOTH = ("tanh", "gelu", "softplus", "quadratic")
EVERY = (*COMPILED, *SMOOTH, "leaky_relu")
ODD = ("erf", "linear", "tanh")
HOMOGENEOUS = ("linear", "relu", "leaky_relu")
HARMLESS = ("full_rank", "rank_deficient", "specialised")
NO_PENALTY = ("both_layers", "noise", "mixture")

few = settings(max_examples=10, deadline=None)
many = settings(max_examples=25, deadline=None)


def unit(activation):
    """Unit of deviations of a right-hand side.

    A hundred of them are the default accuracy of smooth activations, or what the integral of kinked
    ones is off by at most with its 64 nodes; where all is in closed form it is rounding.
    """
    if activation in SMOOTH:
        return 1e-10
    return 1e-12 if activation in ("relu", "leaky_relu") else 1e-14


def flows(activation, **more):
    """Single phases in which nothing is missing that this activation can do quickly."""
    slow = activation in SMOOTH
    sizes = {"student": st.integers(1, 2), "teacher": st.integers(1, 2)} if slow else {}
    return strategies.problems(activation, **{**sizes, "phases": 1, "kinds": HARMLESS, **more})


def runs(activation, **more):
    """Gradient flow, in which every activation is quick."""
    return flows(activation, **{"gradient_flow": True, "phases": st.integers(1, 2), **more})


def solved(problem, rows=21):
    total = sum(phase.duration for phase in problem.phases)
    return ok.solve(problem, t_eval=np.linspace(0, total, rows), max_steps=5000)


# ------------------------------------------------------------------------------------ positivity


@pytest.mark.parametrize("activation", ["erf", "linear"])
@many
@given(data=st.data())
def test_overlaps_stay_those_of_real_vectors(activation, data):
    """Online, of any kind and with every feature."""
    assert_positive_semidefinite(solved(data.draw(strategies.problems(activation))))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@few
@given(data=st.data())
def test_overlaps_stay_so_for_kinked_units(activation, data):
    assert_positive_semidefinite(solved(data.draw(flows(activation, student=2, teacher=2))))


@pytest.mark.parametrize("activation", EVERY)
@few
@given(data=st.data())
def test_flow_stays_in_the_cone_at_its_boundary(activation, data):
    """Also with copies: a consolidation makes the covariance singular."""
    rhs = ok.equations(data.draw(flows(activation, kinds=SINGULAR)))
    assert_positive_semidefinite(rhs, rhs.blocks, rtol=unit(activation), factor=1e4)


@pytest.mark.parametrize("gradient_flow", [True, False])
def test_a_student_within_the_teachers_space_stays_there_only_in_gradient_flow(gradient_flow):
    """The Schur complement starts at zero: the drift keeps it there, the η² line lifts it."""
    rng = np.random.default_rng(5)
    B = rng.standard_normal((3, 12))
    problem = ok.Problem(
        state=ok.OrderParameters.from_weights(rng.uniform(-1, 1, (2, 3)) @ B, B),
        heads={"main": rng.uniform(-0.5, 0.5, 2)},
        tasks={"main": ok.Task(rng.uniform(-1, 1, 3), noise_std=0.2)},
        phases=[ok.Phase("main", 20.0, 0.3, 0.2, gradient_flow=gradient_flow)],
    )

    def rest(ds):
        R = ds.R.values
        return ds.Q.values - R @ np.linalg.solve(ds["T"].values, np.swapaxes(R, 1, 2))

    ds = solved(problem)
    assert_positive_semidefinite(ds)
    if gradient_flow:
        assert np.abs(rest(ds)).max() < 100 * 1e-8 * np.abs(ds.Q).max()
    else:
        assert np.linalg.eigvalsh(rest(ds)[1:]).min() > 1e-6


# --------------------------------------------------------------------------------------- descent


@pytest.mark.parametrize("activation", EVERY)
@few
@given(data=st.data())
def test_gradient_flow_never_raises_the_loss(activation, data):
    """The error of one task; that of a mixture, and its penalties, with decay."""
    features = tuple(f for f in FEATURES if f != "consolidation")
    assert_error_nonincreasing(solved(data.draw(runs(activation, features=features))))


def test_online_learning_may_raise_the_error():
    """The law above is gradient flow's alone: with noise a student at its teacher gets worse."""
    problem = at_teacher("erf", np.random.default_rng(0), noise_std=0.2)
    ds = solved(problem)
    error = ds.generalization_error.values[:, 0]
    assert abs(error[0]) < 10 * EPS
    assert error[-1] > 1e-4
    with pytest.raises(ok.ProblemError, match="gradient flow"):
        assert_error_nonincreasing(ds)


# ----------------------------------------------------------------------------------- conservation


@pytest.mark.parametrize("activation", HOMOGENEOUS)
@few
@given(data=st.data())
def test_imbalance_of_the_layers_is_conserved(activation, data):
    """Of every head that is trained, in mixtures; frozen units keep their overlaps."""
    rates = st.tuples(st.integers(8, 31), st.integers(8, 31))
    problem = data.draw(runs(activation, features=("mixture", "noise", "frozen"), phases=1))
    eta_w, eta_v = (x / 64 for x in data.draw(rates))
    problem = problem.replace_phase(0, learning_rate=eta_w, readout_learning_rate=eta_v)
    ds = solved(problem)
    found = ok.measures.conserved(ds)
    if not all(problem.phases[0].frozen or [False]):
        assert "unit_imbalance" in found
        assert ("imbalance_matrix" in found) == (activation == "linear")
    assert_conserved(ds)


@pytest.mark.parametrize("activation", EVERY)
@few
@given(data=st.data())
def test_what_no_rate_moves_stays(activation, data):
    assert_conserved(solved(data.draw(runs(activation))))


@pytest.mark.parametrize("until", [None, 9.0])
@pytest.mark.parametrize("first", [0, 1])
def test_heads_that_are_copied_break_no_law(first, until, tmp_path):
    """Neither as the first phase begins, nor as one does that has no length."""
    flow = {"learning_rate": 0.3, "readout_learning_rate": 0.1, "gradient_flow": True}
    phases = [ok.Phase("a", 2.0, **flow) for _ in range(3)]
    problem = ok.Problem(
        state=ok.OrderParameters([[0.5]], [[0.3]], [[1.0]]),
        heads={"a": [0.9], "b": [-0.3]},
        tasks={"a": ok.Task([1.0]), "b": ok.Task([0.5])},
        phases=phases,
        activation="relu",
    ).replace_phase(first, copy_heads={"a": "b", "b": "a"}, until=until)
    run = ok.solve(problem)
    found = ok.measures.conserved(run)
    for name in ("unit_imbalance_drift", "still_readout_drift"):
        assert float(abs(found[name]).max()) < 1e-6
    ok.save(run, tmp_path / "run.nc")
    assert main(["validate", str(tmp_path / "run.nc")]) == 0


@pytest.mark.parametrize("setting", ["online", "decay"])
def test_imbalance_is_not_conserved_beyond_gradient_flow(setting):
    rng = np.random.default_rng(1)
    changes = {"online": {}, "decay": {"gradient_flow": True, "weight_decay": 0.1}}[setting]
    problem = ok.Problem(
        state=ok.OrderParameters.from_weights(*rng.standard_normal((2, 2, 12))),
        heads={"main": [0.4, -0.3]},
        tasks={"main": ok.Task([0.5, 0.8])},
        phases=[ok.Phase("main", 20.0, 0.3, 0.2, **changes)],
        activation="linear",
    )
    rhs = ok.equations(problem)

    def imbalance(Q, R, T, v, *u):
        return Q / 0.3 - v.T @ v / 0.2

    with pytest.raises(LawBroken, match="imbalance is conserved: broken"):
        assert_conserved(rhs, imbalance, rhs.blocks)
    assert "unit_imbalance" not in ok.measures.conserved(solved(problem))


# ------------------------------------------------------------------------------------- symmetries


@pytest.mark.parametrize("activation", EVERY)
@few
@given(data=st.data())
def test_permuting_units_commutes_with_the_flow(activation, data):
    problem = data.draw(flows(activation, features=[f for f in FEATURES if f != "frozen"]))
    rhs = ok.equations(problem)
    K, P = rhs.blocks.R.shape
    units, vectors = data.draw(st.permutations(range(K))), data.draw(st.permutations(range(P)))
    assert_permutation_equivariant(
        rhs, rhs.blocks, order=units, vectors=vectors, rtol=unit(activation)
    )


@pytest.mark.parametrize("activation", ODD)
@few
@given(data=st.data())
def test_turning_units_over_commutes_with_the_flow_of_odd_activations(activation, data):
    rhs = ok.equations(data.draw(flows(activation)))
    K, P = rhs.blocks.R.shape
    signs = st.sampled_from([-1.0, 1.0])
    s, b = (data.draw(st.lists(signs, min_size=n, max_size=n)) for n in (K, P))
    assert_sign_equivariant(rhs, rhs.blocks, signs=s, vectors=b, rtol=unit(activation))


def test_turning_units_over_changes_relu():
    rhs = ok.equations(generic("relu", gradient_flow=True))
    with pytest.raises(LawBroken, match="turning units over"):
        assert_sign_equivariant(rhs, rhs.blocks)


@many
@given(problem=flows("linear"))
def test_another_basis_of_a_linear_teacher_changes_nothing(problem):
    """B → OB and u → Ou describe the same target, seen through other fixed vectors."""
    rhs = ok.equations(problem)
    every = range(rhs.blocks.R.shape[1])
    assert_rotation_invariant(rhs, rhs.blocks, vectors=every)


@pytest.mark.parametrize("activation", EVERY)
@few
@given(data=st.data())
def test_fixed_vectors_outside_the_task_only_look_on(activation, data):
    problem = data.draw(flows(activation, teacher=3, student=st.integers(1, 2)))
    onlookers = [np.array(u) * [1.0, 0.0, 0.0] for u in (t.readout for t in problem.tasks.values())]
    tasks = {
        name: ok.Task(u, task.noise_std)
        for u, (name, task) in zip(onlookers, problem.tasks.items(), strict=True)
    }
    rhs = ok.equations(problem.replace(tasks=tasks))
    assert_rotation_invariant(rhs, rhs.blocks, vectors=[1, 2], rtol=unit(activation))


@pytest.mark.parametrize("activation", COMPILED)
def test_relabelled_and_turned_runs_are_alike(activation):
    """The same symmetries over a whole run, through whatever steps the method takes."""
    problem = generic(activation, gradient_flow=activation == "relu")
    ds = solved(problem)
    assert_permutation_equivariant(ds, order=[2, 0, 1], vectors=[1, 0])
    if activation != "relu":
        assert_sign_equivariant(ds, vectors=[1.0, -1.0])
    if activation == "linear":
        assert_rotation_invariant(ds, vectors=[0, 1])


# ----------------------------------------------------------------------------------- fixed points


def generic(activation, **phase):
    rng = np.random.default_rng(4)
    return ok.Problem(
        state=ok.OrderParameters.from_weights(
            rng.standard_normal((3, 12)), rng.standard_normal((2, 12))
        ),
        heads={"main": rng.uniform(-0.5, 0.5, 3)},
        tasks={"main": ok.Task(rng.uniform(-1, 1, 2), noise_std=0.2)},
        phases=[ok.Phase("main", 20.0, 0.3, 0.2, weight_decay=0.01, **phase)],
        activation=activation,
    )


def at_teacher(activation, rng, duration=20.0, noise_std=0.0):
    B = rng.standard_normal((2, 12))
    v = np.array([0.7, -1.1])
    return ok.Problem(
        state=ok.OrderParameters.from_weights(B, B),
        heads={"main": v},
        tasks={"main": ok.Task(v, noise_std=noise_std)},
        phases=[ok.Phase("main", duration, 0.3, 0.2)],
        activation=activation,
    )


@pytest.mark.parametrize("activation", EVERY)
@few
@given(seed=st.integers(0, 2**32 - 1))
def test_a_student_that_equals_its_teacher_stands_still(activation, seed):
    rhs = ok.equations(at_teacher(activation, np.random.default_rng(seed)))
    assert_fixed_point(rhs, rhs.blocks, rtol=10 * unit(activation))


@pytest.mark.parametrize("activation", ["erf", "linear", "leaky_relu"])
def test_a_run_that_starts_at_the_teacher_stays_there(activation):
    duration = 100.0 if activation == "leaky_relu" else 1e4
    ds = solved(at_teacher(activation, np.random.default_rng(6), duration))
    assert_fixed_point(ds)
    assert np.abs(ds.generalization_error).max() < 10 * 1e-8


# ---------------------------------------------------------------------- Jacobians, moments, paths


@pytest.mark.parametrize("activation", ["erf", "linear"])
@few
@given(data=st.data())
def test_jacobian_is_the_derivative(activation, data):
    """Inside the cone: differences step over its boundary."""
    rhs = ok.equations(data.draw(flows(activation, kinds=("full_rank",))))
    assert_jacobian_matches(rhs.rhs, rhs.jac, rhs.start)


@pytest.mark.parametrize("activation", EVERY)
@pytest.mark.parametrize("scale", [0.01, 0.5, 1.0])
def test_moments_are_those_of_their_definition(activation, scale):
    for seed in range(3):
        assert_moments_match(activation, seed=seed, scale=scale)


@few
@given(problem=flows("erf"))
def test_quadrature_and_closed_forms_agree(problem):
    """The path of any activation, taken for one that has compiled closed forms."""
    from scipy.special import erf

    own = ok.Activation(
        "own", lambda x: erf(x / np.sqrt(2)), lambda x: np.sqrt(2 / np.pi) * np.exp(-x * x / 2)
    )
    one, two = ok.equations(problem), ok.equations(problem.replace(activation=own))
    for a, b in zip(one(0.0, *one.blocks), two(0.0, *two.blocks), strict=True):
        assert_allclose(b, a, rtol=0, atol=1e-8 * (1 + np.abs(a).max()))
    assert_allclose(two.error(*two.blocks), one.error(*one.blocks), rtol=0, atol=1e-8)


def test_runs_of_both_paths_agree():
    own = ok.Activation("own", lambda x: x, np.ones_like)
    problem = generic("linear")
    assert_agrees(solved(problem), solved(problem.replace(activation=own)))


def test_blocks_are_those_of_a_covariance():
    at = Blocks.of(np.eye(3), 2, v=[1.0, 2.0])
    assert_allclose(at.joint, np.eye(3))
