"""Laws that every run obeys: positivity, descent, conservation, symmetries, fixed points.

Whole runs hold them within multiples of rtol; right-hand sides within multiples of rounding.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import odekit as ok
from odekit.layout import CommitteeLayout

EPS = np.finfo(float).eps
RTOL = 1e-8
ACTIVATIONS = ("erf", "linear", "relu")

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 3)
few = settings(max_examples=8, deadline=None)
many = settings(max_examples=25, deadline=None)


def weights(rng, K, P, N=12):
    """Student units of norm 1 and fixed vectors of norm about 1, correlated."""
    W = rng.standard_normal((K, N))
    W *= np.sqrt(N) / np.linalg.norm(W, axis=1, keepdims=True)
    return W, rng.standard_normal((P, N))


def readout(rng, K):
    """Small beside the first layer: by their imbalance no ReLU unit reaches the kink at w = 0."""
    return rng.uniform(-0.5, 0.5, K)


def random_problem(rng, K, P, activation="erf", *, W=None, B=None, **phase):
    """One task, both layers learning; gradient flow where the activation allows nothing else."""
    W, B = weights(rng, K, P) if W is None else (W, B)
    phase = {
        "duration": 20.0,
        "learning_rate": 0.3,
        "readout_learning_rate": 0.2,
        "gradient_flow": activation == "relu",
        **phase,
    }
    return ok.Problem(
        state=ok.OrderParameters.from_weights(W, B),
        heads={"main": readout(rng, K)},
        tasks={"main": ok.Task(rng.uniform(-1, 1, P), noise_std=0.2)},
        phases=[ok.Phase("main", **phase)],
        activation=activation,
    )


def derivative(problem):
    """dQ, dR, dv at the start."""
    layout = CommitteeLayout(problem)
    frame, y = layout.start()
    return layout.unpack(layout.system(0, frame, 0.0).rhs(0.0, y))


def run(problem, rows=41, **options):
    total = sum(phase.duration for phase in problem.phases)
    ds = ok.solve(problem, t_eval=np.linspace(0, total, rows), **options)
    assert ds.status == ok.Status.COMPLETED
    return ds


def joint(ds):
    T = np.broadcast_to(ds.T.values, (ds.sizes["time"], *ds.T.shape))
    R = ds.R.values
    return np.block([[ds.Q.values, R], [np.swapaxes(R, 1, 2), T]])


# ------------------------------------------------------------------------------------ positivity


@pytest.mark.parametrize("activation", ACTIVATIONS)
@few
@given(seed=seeds, K=sizes, P=sizes)
def test_overlaps_stay_those_of_real_vectors(activation, seed, K, P):
    rng = np.random.default_rng(seed)
    ds = run(random_problem(rng, K, P, activation))
    C = joint(ds)
    size = np.abs(C).max(axis=(1, 2))
    assert (np.linalg.eigvalsh(C)[:, 0] > -10 * RTOL * size).all()
    Q, R, T = ds.Q.values, ds.R.values, ds.T.values
    # The rest of the student that no fixed vector explains; T may be close to singular.
    rest = Q - R @ np.linalg.pinv(T, rcond=1e-10) @ np.swapaxes(R, 1, 2)
    condition = np.linalg.cond(T)
    assert (np.linalg.eigvalsh(rest)[:, 0] > -10 * RTOL * condition * size).all()


@pytest.mark.parametrize("gradient_flow", [True, False])
def test_a_student_within_the_teachers_space_stays_there_only_in_gradient_flow(gradient_flow):
    """The Schur complement starts at zero: the drift keeps it there, the η² line lifts it."""
    rng = np.random.default_rng(5)
    B = rng.standard_normal((3, 12))
    W = rng.uniform(-1, 1, (2, 3)) @ B
    problem = random_problem(rng, 2, 3, W=W, B=B, gradient_flow=gradient_flow)
    ds = run(problem)
    Q, R, T = ds.Q.values, ds.R.values, ds.T.values
    rest = Q - R @ np.linalg.solve(T, np.swapaxes(R, 1, 2))
    off = 100 * RTOL * np.abs(Q).max()
    assert (np.linalg.eigvalsh(rest) > -off).all()
    if gradient_flow:
        assert np.abs(rest).max() < off
    else:
        assert np.linalg.eigvalsh(rest[1:]).min() > 1e-6


# --------------------------------------------------------------------------------------- descent


@pytest.mark.parametrize("activation", ACTIVATIONS)
@few
@given(seed=seeds, K=sizes, P=sizes, fixed=st.booleans())
def test_gradient_flow_never_raises_the_error(activation, seed, K, P, fixed):
    rng = np.random.default_rng(seed)
    eta_v = 0.0 if fixed and activation != "relu" else 0.5
    problem = random_problem(rng, K, P, activation, gradient_flow=True, readout_learning_rate=eta_v)
    error = run(problem).generalization_error.values[:, 0]
    assert (np.diff(error) < 10 * RTOL * error[0]).all()
    assert error[-1] < error[0]


def replay_problem(rng, activation):
    """Two tasks of two units, mixed, with weight decay; one head each."""
    problem = random_problem(rng, 2, 4, activation)
    tasks = {name: ok.Task(rng.uniform(-1, 1, 4), noise_std=0.1) for name in "ab"}
    phase = ok.Phase(
        {"a": 0.7, "b": 0.3},
        duration=30.0,
        learning_rate=0.4,
        readout_learning_rate=0.5,
        weight_decay=0.03,
        readout_weight_decay=0.1,
        gradient_flow=True,
    )
    heads = {name: readout(rng, 2) for name in "ab"}
    return problem.replace(heads=heads, tasks=tasks, phases=[phase])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@few
@given(seed=seeds)
def test_gradient_flow_lowers_the_penalised_loss_of_a_mixture(activation, seed):
    """Σ p ε + κ_w/2 Σ|w|²/N + κ_v/2 Σ p |v|² falls; the error of one task may rise."""
    ds = run(replay_problem(np.random.default_rng(seed), activation))
    p = np.array([0.7, 0.3])
    weight = np.trace(ds.Q.values, axis1=1, axis2=2)
    heads = (ds.readout.values**2).sum(axis=2) @ p
    loss = ds.generalization_error.values @ p + 0.03 / 2 * weight + 0.1 / 2 * heads
    assert (np.diff(loss) < 10 * RTOL * loss[0]).all()


def test_online_learning_may_raise_the_error():
    """The law above is gradient flow's alone: with noise a student at its teacher gets worse."""
    rng = np.random.default_rng(0)
    _, B = weights(rng, 2, 2)
    problem = random_problem(rng, 2, 2, W=B, B=B)
    problem = problem.replace(heads={"main": problem.tasks["main"].readout})
    error = run(problem).generalization_error.values[:, 0]
    assert abs(error[0]) < 10 * EPS
    assert error[-1] > 1e-4


# ----------------------------------------------------------------------------------- conservation


@pytest.mark.parametrize("activation", ["linear", "relu"])
@few
@given(seed=seeds, K=sizes, P=sizes, eta_v=st.floats(0.2, 0.5))
def test_imbalance_of_the_layers_is_conserved(activation, seed, K, P, eta_v):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, K, P, activation, gradient_flow=True, readout_learning_rate=eta_v)
    ds = run(problem)
    v = ds.readout.values[:, 0]
    imbalance = ds.Q.values / 0.3 - v[:, :, None] * v[:, None, :] / eta_v
    if activation == "relu":
        imbalance = np.diagonal(imbalance, axis1=1, axis2=2)
    size = np.abs(ds.Q.values).max() / 0.3 + (v**2).max() / eta_v
    assert np.abs(imbalance - imbalance[0]).max() < 50 * RTOL * size
    moved = np.abs(ds.Q.values[-1] - ds.Q.values[0]).max() / 0.3
    assert moved > 1e-6


@pytest.mark.parametrize("setting", ["online", "decay"])
def test_imbalance_is_not_conserved_beyond_gradient_flow(setting):
    changes = {"gradient_flow": False} if setting == "online" else {"weight_decay": 0.1}
    problem = random_problem(
        np.random.default_rng(1), 2, 2, "linear", **{"gradient_flow": True, **changes}
    )
    dQ, _, dv = derivative(problem)
    v = problem.heads["main"]
    drift = np.diag(dQ) / 0.3 - 2 * v * dv[0] / 0.2
    assert np.abs(drift).max() > 1e-2


# ------------------------------------------------------------------------------------- symmetries


def assert_same_flow(problem, other, units=slice(None), signs=1.0, columns=slice(None), turn=None):
    """The other's derivatives are the problem's, with units reordered and signs changed."""
    dQ, dR, dv = derivative(problem)
    Q2, R2, v2 = derivative(other)
    s = np.broadcast_to(signs, len(dQ))
    expected_R = (s[:, None] * dR[units])[:, columns]
    if turn is not None:
        expected_R = expected_R @ turn.T
    size = 1.0 + max(np.abs(x).max() for x in (dQ, dR, dv))
    allowed = {"rtol": 0, "atol": 1e3 * EPS * size}
    assert_allclose(Q2, s[:, None] * s * dQ[units][:, units], **allowed)
    assert_allclose(R2, expected_R, **allowed)
    assert_allclose(v2, s * dv[:, units], **allowed)


def moved(problem, W, B, v, u):
    return problem.replace(
        state=ok.OrderParameters.from_weights(W, B),
        heads={"main": v},
        tasks={"main": ok.Task(u, noise_std=0.2)},
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@many
@given(seed=seeds, K=sizes, P=sizes)
def test_permuting_units_commutes_with_the_flow(activation, seed, K, P):
    rng = np.random.default_rng(seed)
    W, B = weights(rng, K, P)
    problem = random_problem(rng, K, P, activation, W=W, B=B, weight_decay=0.1)
    v, u = problem.heads["main"], problem.tasks["main"].readout
    units, columns = rng.permutation(K), rng.permutation(P)
    other = moved(problem, W[units], B[columns], v[units], u[columns])
    assert_same_flow(problem, other, units, columns=columns)


@pytest.mark.parametrize("activation", ["erf", "linear"])
@many
@given(seed=seeds, K=sizes, P=sizes)
def test_turning_units_over_commutes_with_the_flow_of_odd_activations(activation, seed, K, P):
    rng = np.random.default_rng(seed)
    W, B = weights(rng, K, P)
    problem = random_problem(rng, K, P, activation, W=W, B=B)
    v, u = problem.heads["main"], problem.tasks["main"].readout
    s, b = rng.choice([-1.0, 1.0], K), rng.choice([-1.0, 1.0], P)
    other = moved(problem, s[:, None] * W, b[:, None] * B, s * v, b * u)
    assert_same_flow(problem, other, signs=s, turn=np.diag(b))


def test_turning_units_over_changes_relu():
    rng = np.random.default_rng(2)
    W, B = weights(rng, 2, 2)
    problem = random_problem(rng, 2, 2, "relu", W=W, B=B)
    v, u = problem.heads["main"], problem.tasks["main"].readout
    with pytest.raises(AssertionError):
        assert_same_flow(problem, moved(problem, -W, B, -v, u), signs=-1.0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@many
@given(seed=seeds, K=sizes, P=sizes)
def test_rotating_input_space_changes_nothing(activation, seed, K, P):
    """Only overlaps matter: rotated weights have the same ones, and the same flow."""
    rng = np.random.default_rng(seed)
    W, B = weights(rng, K, P)
    problem = random_problem(rng, K, P, activation, W=W, B=B)
    v, u = problem.heads["main"], problem.tasks["main"].readout
    turn = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    assert_same_flow(problem, moved(problem, W @ turn, B @ turn, v, u))


@many
@given(seed=seeds, K=sizes, P=sizes)
def test_another_basis_of_a_linear_teacher_changes_nothing(seed, K, P):
    """B → OB and u → Ou describe the same target, seen through other fixed vectors."""
    rng = np.random.default_rng(seed)
    W, B = weights(rng, K, P)
    problem = random_problem(rng, K, P, "linear", W=W, B=B)
    v, u = problem.heads["main"], problem.tasks["main"].readout
    turn = np.linalg.qr(rng.standard_normal((P, P)))[0]
    assert_same_flow(problem, moved(problem, W, turn @ B, v, turn @ u), turn=turn)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@many
@given(seed=seeds, K=sizes, P=sizes)
def test_fixed_vectors_outside_the_task_only_look_on(activation, seed, K, P):
    """Their overlaps are linear in the weights: a mean of two vectors has the mean overlap."""
    rng = np.random.default_rng(seed)
    W, B = weights(rng, K, P + 2)
    B[P + 1] = 0.5 * (B[0] + B[P])
    problem = random_problem(rng, K, P, activation, W=W, B=B[:P])
    v, u = problem.heads["main"], problem.tasks["main"].readout
    more = moved(problem, W, B, v, np.append(u, [0.0, 0.0]))
    (dQ, dR, dv), (Q2, R2, v2) = derivative(problem), derivative(more)
    allowed = {"rtol": 1e3 * EPS, "atol": 1e3 * EPS * (1 + np.abs(dQ).max())}
    assert_allclose(Q2, dQ, **allowed)
    assert_allclose(R2[:, :P], dR, **allowed)
    assert_allclose(v2, dv, **allowed)
    assert_allclose(R2[:, P + 1], 0.5 * (R2[:, 0] + R2[:, P]), **allowed)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_permuted_units_run_alike(activation):
    """The same symmetry over a whole run, through whatever steps the method takes."""
    rng = np.random.default_rng(4)
    W, B = weights(rng, 3, 2)
    problem = random_problem(rng, 3, 2, activation, W=W, B=B)
    v, u = problem.heads["main"], problem.tasks["main"].readout
    order = [2, 0, 1]
    one, two = run(problem), run(moved(problem, W[order], B, v[order], u))
    allowed = {"rtol": 0, "atol": 20 * RTOL * float(abs(one.Q).max())}
    assert_allclose(two.Q.values, one.Q.values[:, order][:, :, order], **allowed)
    assert_allclose(two.R.values, one.R.values[:, order], **allowed)
    assert_allclose(two.generalization_error, one.generalization_error, **allowed)


# ----------------------------------------------------------------------------------- fixed points


@pytest.mark.parametrize("activation", ACTIVATIONS)
@many
@given(seed=seeds, K=sizes)
def test_a_student_that_equals_its_teacher_stands_still(activation, seed, K):
    rng = np.random.default_rng(seed)
    _, B = weights(rng, K, K)
    v = rng.uniform(-1, 1, K)
    problem = random_problem(rng, K, K, activation, W=B, B=B)
    problem = problem.replace(heads={"main": v}, tasks={"main": ok.Task(v)})
    size = np.abs(problem.state.Q).max()
    allowed = 1e3 * EPS * size
    for part in derivative(problem):
        assert np.abs(part).max() <= allowed


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_run_that_starts_at_the_teacher_stays_there(activation):
    rng = np.random.default_rng(6)
    _, B = weights(rng, 2, 2)
    v = np.array([0.7, -1.1])
    problem = random_problem(rng, 2, 2, activation, W=B, B=B, duration=1e4)
    problem = problem.replace(heads={"main": v}, tasks={"main": ok.Task(v)})
    ds = run(problem)
    for name in ("Q", "R", "readout"):
        values = ds[name].values
        assert np.abs(values - values[0]).max() < 100 * RTOL * np.abs(values[0]).max()
    assert np.abs(ds.generalization_error).max() < 10 * RTOL
