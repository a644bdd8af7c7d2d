"""The equations describe online SGD: mean over replicas of a finite-N run against `solve`.

Order parameters of SGD deviate from their limit by O(1/√N) in each run and by O(1/N) in the mean.
So the mean over replicas must lie within 4 of its standard errors plus c/N of the solution, at
every time and for every component; c = 4 is a few times the size of the order parameters. Where a
test names a problem that differs in the very thing it is about, the same data must rule that
problem out, at more than twice the allowance: the test can tell.
"""

from __future__ import annotations

import numpy as np
import pytest

import odekit as ok
from sgd import simulate

STANDARD_ERRORS = 4
BIAS = 4
RULED_OUT = 2

TEACHERS = np.array(
    [
        [1.0, 0.3, 0.5, 0.1],
        [0.3, 0.8, -0.2, 0.4],
        [0.5, -0.2, 1.1, 0.2],
        [0.1, 0.4, 0.2, 0.9],
    ]
)
"""Two teachers of two units, overlapping within and between, in no symmetric way."""
STUDENT = np.array([[0.6, 0.2], [0.2, 0.9]])
OVERLAPS = np.array([[0.3, 0.1, 0.2, 0.0], [-0.1, 0.4, 0.0, 0.3]])
FIRST, SECOND = [1.0, -0.7, 0.0, 0.0], [0.0, 0.0, 0.8, 1.2]


def two_teachers(phases, *, shared=False, noise=0.3, activation="erf"):
    """K = 2 student of two tasks, with a head each or one for both."""
    heads = {"a": [0.9, -0.5]} if shared else {"a": [0.9, -0.5], "b": [0.4, 1.1]}
    return ok.Problem(
        state=ok.OrderParameters(Q=STUDENT, R=OVERLAPS, T=TEACHERS),
        heads=heads,
        tasks={
            "a": ok.Task(FIRST, noise_std=noise),
            "b": ok.Task(SECOND, noise_std=2 * noise, head="a" if shared else None),
        },
        phases=phases,
        activation=activation,
    )


def one_phase(tasks="a", duration=10.0, **settings):
    settings = {"learning_rate": 0.8, "readout_learning_rate": 0.6, **settings}
    return ok.Phase(tasks, duration, **settings)


def sample(problem, input_dim, replicas, times):
    """Q, R, readouts of every replica as one matrix: (replica, time, component)."""
    runs = [simulate(problem, input_dim, seed, times) for seed in range(replicas)]
    return np.array([flat(*run) for run in runs])


def flat(Q, R, readout):
    rows = len(Q)
    upper = np.triu_indices(Q.shape[-1])
    return np.hstack([Q[:, *upper], R.reshape(rows, -1), readout.reshape(rows, -1)])


def excess(problem, runs, input_dim, times, bias=BIAS):
    """Largest deviation of the replicas' mean from the solution, in units of the allowance."""
    ds = ok.solve(problem, t_eval=times)
    assert ds.status == ok.Status.COMPLETED
    solution = flat(ds.Q.values, ds.R.values, ds.readout.values)
    error = runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
    deviation = np.abs(runs.mean(axis=0) - solution)
    return (deviation / (STANDARD_ERRORS * error + bias / input_dim)).max()


def agree(problem, *, not_this=(), input_dim=500, replicas=16, bias=BIAS):
    """Assert that SGD follows the problem's equations, and not those of each other problem."""
    total = sum(phase.duration for phase in problem.phases)
    times = total * np.array([0.1, 0.25, 0.5, 0.75, 1.0])
    runs = sample(problem, input_dim, replicas, times)
    x = excess(problem, runs, input_dim, times, bias)
    others = [excess(other, runs, input_dim, times, bias) for other in not_this]
    assert x < 1
    assert all(other > RULED_OUT for other in others)


# ------------------------------------------------------------------------------------- one task


@pytest.mark.parametrize("activation", ["erf", "linear"])
def test_both_layers_learn_from_noisy_labels(activation):
    rates = {"learning_rate": 0.8 if activation == "erf" else 0.4, "duration": 20.0}
    problem = two_teachers([one_phase(**rates)], activation=activation)
    agree(
        problem,
        not_this=[
            two_teachers([one_phase(**rates)], noise=0.0, activation=activation),
            problem.replace_phase(0, gradient_flow=True),
            problem.replace_phase(0, readout_learning_rate=0.0),
        ],
    )


def test_long_online_run_through_specialisation():
    """From a start without preference to t = 50."""
    start = ok.OrderParameters(Q=0.25 * np.eye(2), R=[[0.15, 0.05], [0.05, 0.1]], T=np.eye(2))
    problem = ok.Problem(
        state=start,
        heads={"main": [1.0, 1.0]},
        tasks={"main": ok.Task([1.0, 1.0], noise_std=0.2)},
        phases=[ok.Phase("main", 50.0, learning_rate=1.0)],
    )
    agree(problem, replicas=12)


def test_relu_follows_gradient_flow_in_large_batches():
    """Batches of 40 leave η/b = 1/200 of the η² line, which gradient flow drops."""
    flow = one_phase(duration=8.0, learning_rate=0.2, gradient_flow=True, batch_size=40)
    problem = two_teachers([flow], activation="relu", noise=0.1)
    fixed = problem.replace_phase(0, readout_learning_rate=0.0)
    agree(problem, not_this=[fixed], input_dim=250, replicas=6)


@pytest.mark.parametrize(("batch", "rate"), [(1, 2.0), (4, 4.0)])
def test_weight_decay_and_batches(batch, rate):
    decay = {"weight_decay": 0.3, "readout_weight_decay": 0.2, "batch_size": batch}
    problem = two_teachers([one_phase(duration=8.0, learning_rate=rate, **decay)])
    agree(
        problem,
        not_this=[
            problem.replace_phase(0, gradient_flow=True),
            problem.replace_phase(0, batch_size=5 - batch),
            problem.replace_phase(0, weight_decay=0.15),
            problem.replace_phase(0, readout_weight_decay=0.1),
        ],
    )


def test_frozen_unit():
    frozen = one_phase(frozen=[True, False], weight_decay=0.2)
    problem = two_teachers([frozen])
    agree(problem, not_this=[problem.replace_phase(0, frozen=None)])


# ---------------------------------------------------------------------------------- several tasks


@pytest.mark.parametrize("shared", [False, True])
def test_mixture(shared):
    """η = 2: the η² line averages the tasks' powers, not the power of an average task."""
    problem = two_teachers([one_phase({"a": 0.7, "b": 0.3}, learning_rate=2.0)], shared=shared)
    agree(
        problem,
        not_this=[
            problem.replace_phase(0, tasks={"a": 0.5, "b": 0.5}),
            problem.replace_phase(0, gradient_flow=True),
        ],
        replicas=32,
    )


def test_a_heads_decay_counts_in_proportion_to_its_training():
    mixed = one_phase({"a": 0.7, "b": 0.3}, readout_weight_decay=0.4, weight_decay=0.1)
    problem = two_teachers([mixed])
    agree(problem, not_this=[problem.replace_phase(0, readout_weight_decay=0.28)])


def test_copied_head_after_a_switch():
    phases = [one_phase("a", 5.0), one_phase("b", 5.0, copy_heads={"b": "a"})]
    problem = two_teachers(phases)
    agree(problem, not_this=[problem.replace_phase(1, copy_heads=None)])


# ---------------------------------------------------------------------------------- consolidation


def switch(kind, strength=1.0, task=None):
    return ok.Consolidation(kind, strength, task)


STRENGTHS = {"fisher": 2.0, "node": 1.0, "quadratic": 0.5}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", STRENGTHS)
def test_consolidation_after_a_switch(kind, shared):
    phases = [one_phase("a", 4.0), one_phase("b", 8.0, consolidation=switch(kind, STRENGTHS[kind]))]
    problem = two_teachers(phases, shared=shared)
    another = {"fisher": "node", "node": "quadratic", "quadratic": "fisher"}[kind]
    agree(
        problem,
        not_this=[
            problem.replace_phase(1, consolidation=None),
            problem.replace_phase(1, consolidation=switch(kind, STRENGTHS[kind] / 2)),
            problem.replace_phase(1, consolidation=switch(another, STRENGTHS[kind])),
        ],
    )


def test_consolidations_accumulate_over_two_switches():
    phases = [
        one_phase("a", 3.0),
        one_phase("b", 4.0, consolidation=switch("fisher", 2.0)),
        one_phase("a", 5.0, consolidation=switch("node", 2.0)),
    ]
    problem = two_teachers(phases)
    agree(
        problem,
        not_this=[
            problem.replace_phase(1, consolidation=None),
            problem.replace_phase(2, consolidation=None),
            problem.replace_phase(2, consolidation=switch("node", 2.0, "a")),
        ],
    )


def test_everything_at_once():
    """Mixture, batches, decay, a frozen unit, a copied and a shared head, two consolidations."""
    tasks = {
        "a": ok.Task(FIRST, noise_std=0.2),
        "b": ok.Task(SECOND, noise_std=0.4),
        "c": ok.Task([0.5, 0.0, 0.5, -0.5], head="a"),
    }
    phases = [
        one_phase({"a": 0.6, "b": 0.4}, 3.0, batch_size=2),
        one_phase("b", 3.0, consolidation=switch("fisher", 2.0, "a"), frozen=[False, True]),
        one_phase(
            {"c": 0.5, "b": 0.5},
            4.0,
            consolidation=switch("quadratic", 0.3, "b"),
            copy_heads={"b": "a"},
            weight_decay=0.1,
            readout_weight_decay=0.1,
            learning_rate=1.2,
        ),
    ]
    agree(two_teachers(phases[:1]).replace(tasks=tasks, phases=phases))
