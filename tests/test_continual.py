"""Many tasks, heads and phases: what happens at switches, and what consolidation does after them.

Equations are checked against SGD elsewhere; here are the limits and identities that they imply.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import odekit as ok
import transcription
from single import Single

EPS = np.finfo(float).eps
RTOL = 1e-8
KINDS = ("fisher", "node", "quadratic")

# Two teachers of two units, overlapping within and between; a third task mixes them.
T = np.array(
    [[1.0, 0.3, 0.5, 0.1], [0.3, 0.8, -0.2, 0.4], [0.5, -0.2, 1.1, 0.2], [0.1, 0.4, 0.2, 0.9]]
)
Q = np.array([[0.6, 0.2], [0.2, 0.9]])
R = np.array([[0.3, 0.1, 0.2, 0.0], [-0.1, 0.4, 0.0, 0.3]])
TASKS = {
    "a": ok.Task([1.0, -0.7, 0.0, 0.0], noise_std=0.1),
    "b": ok.Task([0.0, 0.0, 0.8, 1.2]),
    "c": ok.Task([0.5, 0.0, -0.5, 0.3], noise_std=0.2),
}
HEADS = {"a": [0.9, -0.5], "b": [0.4, 1.1], "c": [-0.3, 0.6]}


def curriculum(*phases, activation="erf", shared=False):
    """A problem of three tasks, each with its own head or all with a's."""
    tasks = TASKS
    if shared:
        tasks = {n: ok.Task(t.readout, noise_std=t.noise_std, head="a") for n, t in TASKS.items()}
    return ok.Problem(
        state=ok.OrderParameters(Q=Q, R=R, T=T),
        heads={"a": HEADS["a"]} if shared else HEADS,
        tasks=tasks,
        phases=phases,
        activation=activation,
    )


def phase(tasks, duration=10.0, **settings):
    rates = {"learning_rate": 0.6, "readout_learning_rate": 0.4}
    return ok.Phase(tasks, duration, **{**rates, **settings})


def solve(problem, **options):
    ds = ok.solve(problem, **options)
    assert ds.status == ok.Status.COMPLETED
    return ds


def at(ds, time):
    """The row of a time, which must be one of those kept."""
    return ds.sel(time=float(time))


def assert_same_state(one, two, atol):
    for name in ("Q", "R", "readout"):
        assert_allclose(one[name].values, two[name].values, rtol=0, atol=atol)


# ------------------------------------------------------------------------ the same task, continued


@pytest.mark.parametrize("activation", ["erf", "linear"])
def test_a_second_task_with_overlap_one_continues_the_first(activation):
    """V = 1 and a copied head: the second phase goes on as the first would have."""
    state = ok.OrderParameters(
        Q=Q, R=np.hstack([R[:, :1], R[:, :1]]), T=ok.teachers.rotated(1, 1.0)
    )
    tasks = {
        "a": ok.Task(ok.teachers.embed([1.0], 0), noise_std=0.1),
        "b": ok.Task(ok.teachers.embed([1.0], 1), noise_std=0.1),
    }
    heads = {"a": [0.9, -0.5], "b": [0.4, 1.1]}
    phases = [phase("a", 15.0), phase("b", 25.0, copy_heads={"b": "a"})]
    two = ok.Problem(state, heads, tasks, phases, activation)
    one = two.replace(phases=[phase("a", 40.0)])
    times = np.linspace(15.0, 40.0, 26)[1:]
    switched, continued = (solve(p, t_eval=times) for p in (two, one))
    close = {"rtol": 0, "atol": 10 * RTOL}
    assert_allclose(switched.Q.values, continued.Q.values, **close)
    assert_allclose(switched.R.values, continued.R.values, **close)
    assert_array_equal(switched.R.values[..., 0], switched.R.values[..., 1])
    assert_allclose(
        switched.readout.sel(head="b").values, continued.readout.sel(head="a").values, **close
    )
    assert_allclose(
        switched.generalization_error.sel(task="b").values,
        continued.generalization_error.sel(task="a").values,
        **close,
    )


def test_splitting_a_phase_changes_nothing():
    whole = solve(curriculum(phase("a", 30.0)), t_eval=[10.0, 20.0, 30.0])
    parts = solve(curriculum(*[phase("a", 10.0)] * 3), t_eval=[10.0, 20.0, 30.0])
    assert_same_state(whole, parts, 10 * RTOL)
    assert_array_equal(parts.phase, [0, 1, 2])


def test_a_mixture_of_one_task_with_itself_is_that_task():
    twins = {**TASKS, "d": ok.Task(TASKS["a"].readout, noise_std=0.1, head="a")}
    problem = curriculum(phase("a", 20.0)).replace(tasks=twins)
    mixed = problem.replace(phases=[phase({"a": 0.25, "d": 0.75}, 20.0)])
    assert_same_state(solve(problem, t_eval=[20.0]), solve(mixed, t_eval=[20.0]), 10 * RTOL)


# ------------------------------------------------------------------------------- consolidation


def entered(problem, index=1):
    """Equations and state as a phase begins, the phases before it solved."""
    layout = Single(problem)
    frame, y = layout.start()
    begin = 0.0
    for i in range(index + 1):
        frame, y = layout.enter(i, frame, y)
        if i < index:
            end = begin + problem.phases[i].duration
            upto = problem.replace(phases=problem.phases[: i + 1])
            row = at(solve(upto, t_eval=[end]), end)
            extra = layout.unpack(y)[1][:, layout.P :]
            assert not extra.size, "written for one consolidation"
            y = layout.pack(row.Q.values, row.R.values, row.readout.values)
            begin = end
    return layout, layout.equations(index, frame, begin), begin, y


@pytest.mark.parametrize("activation", ["erf", "linear", "relu"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_consolidation_adds_nothing_at_the_switch_itself(kind, shared, activation):
    flow = {"gradient_flow": activation == "relu"}
    hold = ok.Consolidation(kind, strength=50.0)
    second = phase("b", consolidation=hold, **flow)
    held = curriculum(phase("a", **flow), second, activation=activation, shared=shared)
    free = held.replace_phase(1, consolidation=None)
    layout, with_it, t, y = entered(held)
    _, without, _, y_free = entered(free)
    assert_array_equal(layout.visible(y), y_free)
    dy = layout.visible(with_it.rhs(t, y))
    size = 50.0 * np.abs(y).max()
    assert_allclose(dy, without.rhs(t, y_free), rtol=0, atol=100 * EPS * size)
    # Away from the copies it does pull, on a shared head too.
    moved = y + 1e-2 * np.random.default_rng(3).standard_normal(y.size)
    pull = layout.visible(with_it.rhs(t, moved)) - without.rhs(t, layout.visible(moved))
    Q_pull, R_pull, v_pull = layout.unpack(pull)
    assert np.abs(Q_pull).max() > 1e-4
    assert np.abs(R_pull).max() > 1e-4
    assert (np.abs(v_pull).max() > 1e-4) == shared


def motion(kind, strength, shared=False, **options):
    """How far weights and head move in 100 units of time after the switch."""
    hold = ok.Consolidation(kind, strength)
    problem = curriculum(phase("a"), phase("b", 100.0, consolidation=hold), shared=shared)
    ds = solve(problem, t_eval=[10.0, 110.0], **options)
    names = ("Q", "R", "readout") if shared else ("Q", "R")
    return max(float(np.abs(ds[n][1] - ds[n][0]).max()) for n in names), ds


@pytest.mark.parametrize("kind", KINDS)
def test_strong_consolidation_freezes_the_first_layer(kind):
    """Motion shrinks like 1/strength, and the stiffness costs no more steps."""
    far, middle, near = (motion(kind, strength) for strength in (1e3, 1e4, 1e5))
    assert_allclose(far[0] / middle[0], 10.0, rtol=0.1)
    assert_allclose(middle[0] / near[0], 10.0, rtol=0.02)
    assert near[0] < 1e-3
    assert int(near[1].n_steps) < 2000
    free = motion(kind, 0.0)[0]
    assert free > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_strong_consolidation_freezes_a_shared_head(kind):
    """Its own penalty holds the head as the first layer's holds weights: nothing is learnt."""
    far, near = (motion(kind, strength, shared=True) for strength in (1e4, 1e5))
    assert_allclose(far[0] / near[0], 10.0, rtol=0.05)
    assert near[0] < 1e-3
    error = near[1].generalization_error.sel(task="a").values
    assert abs(error[1] - error[0]) < 1e-3


def test_an_own_head_learns_on_features_that_are_held():
    _, ds = motion("quadratic", 1e5)
    before, after = ds.generalization_error.sel(task="b").values
    assert after < 0.9 * before
    forgetting = np.diff(ds.generalization_error.sel(task="a").values)
    assert abs(forgetting) < 1e-3


@pytest.mark.parametrize("method", ["Radau", "BDF", "LSODA"])
def test_stiff_methods_agree_with_the_one_chosen(method):
    chosen = motion("fisher", 1e4)[1]
    other = motion("fisher", 1e4, method=method)[1]
    assert_same_state(chosen, other, 100 * RTOL)


def test_forgetting_falls_as_strength_grows():
    errors = [
        float(motion("fisher", s)[1].generalization_error.sel(task="a")[-1])
        for s in (0.0, 1.0, 10.0, 100.0)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 5 * errors[-1]


def test_consolidations_of_one_point_add_up():
    """Two consolidations at switches that nothing moved between are one of twice the strength."""
    hold = ok.Consolidation("fisher", 3.0, "a")
    still = phase("a", 1.0, consolidation=hold, learning_rate=0.0, readout_learning_rate=0.0)
    twice = ok.Consolidation("fisher", 6.0, "a")
    split = curriculum(phase("a"), still, phase("b", 20.0, consolidation=hold))
    whole = curriculum(
        phase("a"),
        phase("a", 1.0, learning_rate=0.0, readout_learning_rate=0.0),
        phase("b", 20.0, consolidation=twice),
    )
    assert_same_state(solve(split, t_eval=[31.0]), solve(whole, t_eval=[31.0]), 20 * RTOL)


def test_consolidation_stays_in_force_in_later_phases():
    hold = ok.Consolidation("quadratic", 1e5)
    problem = curriculum(phase("a"), phase("b", consolidation=hold), phase("c", 50.0))
    ds = solve(problem, t_eval=[10.0, 20.0, 70.0])
    assert np.abs(np.diff(ds.Q.values, axis=0)).max() < 1e-3
    assert np.abs(np.diff(ds.R.values, axis=0)).max() < 1e-3


# ------------------------------------------------------------------------------------- switches


def test_the_row_at_a_switch_holds_the_old_state():
    problem = curriculum(phase("a"), phase("b", copy_heads={"b": "a"}), phase("c"))
    ds = solve(problem)
    assert_array_equal(np.diff(ds.time) > 0, True)
    assert_array_equal(ds.phase_end, [10.0, 20.0, 30.0])
    assert_array_equal(ds.phase_outcome, [ok.Outcome.DURATION] * 3)
    # The phase of a row is the one that led to it.
    expected = np.searchsorted([10.0, 20.0], ds.time.values, side="left")
    assert_array_equal(ds.phase, expected)
    assert set(ds.phase.values) == {0, 1, 2}
    old = at(ds, 10.0)
    assert_array_equal(old.readout.sel(head="b"), HEADS["b"])
    after = ds.isel(time=int(np.flatnonzero(ds.time == 10.0)[0]) + 1)
    step = float(after.time) - 10.0
    jump = np.abs(after.readout.sel(head="b") - old.readout.sel(head="a")).max()
    assert jump < step
    assert np.abs(old.readout.sel(head="a") - HEADS["b"]).max() > 0.1


def test_rows_asked_for_at_switches_are_those_of_a_run_without_the_next_phase():
    problem = curriculum(phase("a"), phase("b", copy_heads={"b": "a"}))
    both = at(solve(problem, t_eval=[5.0, 10.0, 15.0]), 10.0)
    first = at(solve(curriculum(phase("a")), t_eval=[5.0, 10.0]), 10.0)
    assert_same_state(both, first, 0.0)
    assert_array_equal(both.generalization_error, first.generalization_error)


def test_heads_are_copied_all_at_once():
    swap = phase("c", copy_heads={"a": "b", "b": "a"}, readout_learning_rate=0.0)
    ds = solve(curriculum(swap), t_eval=[10.0])
    assert_array_equal(ds.readout.sel(head="a")[0], HEADS["b"])
    assert_array_equal(ds.readout.sel(head="b")[0], HEADS["a"])


def test_only_the_trained_head_moves():
    ds = solve(curriculum(phase("a"), phase({"b": 0.5, "c": 0.5})), t_eval=[0.0, 10.0, 20.0])
    v = ds.readout
    moved = np.abs(np.diff(v, axis=0)).max(axis=2) > 0
    assert_array_equal(moved, [[True, False, False], [False, True, True]])


def test_errors_of_all_tasks_are_kept_trained_or_not():
    ds = solve(curriculum(phase("a"), phase({"a": 0.5, "b": 0.5})))
    assert list(ds.task.values) == ["a", "b", "c"]
    u = np.array([TASKS[n].readout for n in "abc"])
    for i in range(0, ds.sizes["time"], 20):
        row = ds.isel(time=i)
        y = transcription.pack(row.Q.values, row.R.values, row.readout.values)
        expected = transcription.errors(y, transcription.ERF, T, u, [0, 1, 2], 2)
        assert_allclose(row.generalization_error, expected, rtol=0, atol=100 * EPS)


# ------------------------------------------------------------------------------------ thresholds


def test_a_phase_ends_when_its_error_is_reached():
    problem = curriculum(phase("a", 500.0, until=0.02), phase("b", 5.0))
    ds = solve(problem)
    assert_array_equal(ds.phase_outcome, [ok.Outcome.THRESHOLD, ok.Outcome.DURATION])
    end = float(ds.phase_end[0])
    assert 0 < end < 500.0
    assert_allclose(ds.phase_end[1], end + 5.0, rtol=1e-15)
    assert float(ds.time[-1]) == float(ds.phase_end[1])
    error = ds.generalization_error.sel(task="a")
    assert_allclose(at(error, end), 0.02, rtol=10 * RTOL)
    assert (error[ds.time < end] > 0.02).all()
    # The same point on a run without the threshold.
    free = solve(curriculum(phase("a", 500.0)), t_eval=[end])
    assert_same_state(at(ds, end), free.isel(time=0), 10 * RTOL)


def test_a_threshold_below_the_noise_floor_is_missed():
    ds = solve(curriculum(phase("a", 30.0, until=1e-9), phase("b", 5.0)))
    assert_array_equal(ds.phase_outcome, [ok.Outcome.THRESHOLD_MISSED, ok.Outcome.DURATION])
    assert_array_equal(ds.phase_end, [30.0, 35.0])
    assert ok.Outcome.THRESHOLD_MISSED.remedy


def test_a_threshold_that_holds_already_ends_the_phase_at_once():
    ds = solve(curriculum(phase("a"), phase("b", until=100.0), phase("c")))
    outcomes = [ok.Outcome.DURATION, ok.Outcome.THRESHOLD, ok.Outcome.DURATION]
    assert_array_equal(ds.phase_outcome, outcomes)
    assert_array_equal(ds.phase_end, [10.0, 10.0, 20.0])
    assert_array_equal(np.diff(ds.time) > 0, True)
    skipped = curriculum(phase("a"), phase("c"))
    assert_same_state(at(ds, 20.0), at(solve(skipped), 20.0), 0.0)


def test_a_threshold_for_two_tasks_waits_for_both():
    mixed = {"a": 0.5, "b": 0.5}
    both = phase(mixed, 2000.0, until={"a": 0.05, "b": 0.08})
    ds = solve(curriculum(both))
    assert_array_equal(ds.phase_outcome, [ok.Outcome.THRESHOLD])
    error = ds.generalization_error.isel(time=-1)
    ratio = np.array([error.sel(task="a") / 0.05, error.sel(task="b") / 0.08])
    assert_allclose(ratio.max(), 1.0, rtol=10 * RTOL)
    assert ratio.min() < 1.0
    alone = [
        float(solve(curriculum(phase(mixed, 2000.0, until={n: level}))).phase_end[0])
        for n, level in (("a", 0.05), ("b", 0.08))
    ]
    assert_allclose(ds.phase_end[0], max(alone), rtol=10 * RTOL)
    assert min(alone) < 0.99 * max(alone)


def test_a_threshold_on_a_task_that_is_not_trained():
    """It is watched all the same; here it is never reached."""
    problem = curriculum(phase("a", 20.0), phase("b", 30.0, until={"a": 1e-6}))
    assert_array_equal(solve(problem).phase_outcome[1], ok.Outcome.THRESHOLD_MISSED)


# ---------------------------------------------------------------------------- curricula, freezing


def test_phases_repeat_tasks_and_change_rates():
    phases = [phase("a"), phase("b", learning_rate=0.2), phase("a", 20.0), phase("b", 20.0)]
    ds = solve(curriculum(*phases))
    assert_array_equal(ds.phase_end, [10.0, 20.0, 40.0, 60.0])
    error = ds.generalization_error
    learnt = [at(error, t).values for t in (10.0, 20.0, 40.0, 60.0)]
    for i, task in enumerate([0, 1, 0, 1]):
        before = learnt[i - 1] if i else error.values[0]
        assert learnt[i][task] < before[task]
    slow = solve(curriculum(phase("a"), phase("b", learning_rate=0.0)), t_eval=[10.0, 20.0])
    assert_array_equal(slow.Q[0], slow.Q[1])
    assert_array_equal(slow.R[0], slow.R[1])


@pytest.mark.parametrize("method", [None, "RK45", "Radau", "BDF", "LSODA"])
def test_frozen_units_do_not_move_at_all(method):
    """Their rows are equal to the last bit, under decay and consolidation too."""
    settings = {
        "frozen": [False, True],
        "weight_decay": 0.1,
        "consolidation": ok.Consolidation("node", 2.0),
    }
    problem = curriculum(phase("a"), phase("b", 20.0, **settings), phase("a"))
    ds = solve(problem, method=method)
    frozen = ds.isel(time=(ds.time >= 10.0) & (ds.time <= 30.0))
    assert frozen.sizes["time"] > 50
    start, end = frozen.isel(time=0), frozen.isel(time=-1)
    assert_array_equal(frozen.R[:, 1], np.broadcast_to(start.R[1], frozen.R[:, 1].shape))
    assert_array_equal(frozen.Q[:, 1, 1], np.full(frozen.sizes["time"], start.Q[1, 1]))
    # The other unit moves, so their overlap does, and every readout still trains.
    assert np.abs(end.R[0] - start.R[0]).max() > 0.01
    assert abs(end.Q[0, 1] - start.Q[0, 1]) > 0.01
    assert (np.abs(end.readout.sel(head="b") - start.readout.sel(head="b")) > 0.01).all()
    later = ds.isel(time=-1)
    assert np.abs(later.R[1] - end.R[1]).max() > 0.001


def test_all_units_frozen_leaves_a_linear_problem_for_the_readout():
    """Gradient descent on a quadratic: it ends at the least-squares readout of fixed features."""
    ds = solve(curriculum(phase("b", 2000.0, frozen=[True, True])))
    I2 = np.array([[i2(Q[k, k], Q[l, l], Q[k, l]) for l in range(2)] for k in range(2)])
    cross = np.array([[i2(Q[k, k], T[n, n], R[k, n]) for n in range(4)] for k in range(2)])
    best = np.linalg.solve(I2, cross @ TASKS["b"].readout)
    assert_allclose(ds.readout.sel(head="b")[-1], best, rtol=100 * RTOL)
    assert_array_equal(ds.Q[-1], Q)


def i2(aa, bb, ab):
    return 2 / np.pi * np.arcsin(ab / np.sqrt((1 + aa) * (1 + bb)))


# -------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("make", "argument", "given"),
    [
        (lambda: curriculum(phase("a"), phase("z")), "phases[1].tasks", "'z'"),
        (lambda: curriculum(phase({"a": 0.5, "z": 0.5})), "phases[0].tasks", "'z'"),
        (lambda: phase({"a": 0.7, "b": 0.2}), "tasks", "0.9"),
        (lambda: phase({"a": 1.2, "b": -0.2}), "tasks['a']", "1.2"),
        (lambda: ok.Consolidation("fisher", -1.0), "strength", "-1"),
        (lambda: ok.Consolidation("ewc", 1.0), "kind", "'ewc'"),
        (lambda: curriculum(phase("a", frozen=[True])), "phases[0].frozen", "(1,)"),
        (lambda: phase("a", frozen=[1, 0]), "frozen", "[1, 0]"),
        (lambda: phase("a", until=0.0), "until", "0"),
        (lambda: phase("a", until={"b": -1.0}), "until['b']", "-1"),
        (lambda: curriculum(phase("a", until={"z": 0.1})), "phases[0].until", "'z'"),
        (lambda: curriculum(phase("a", copy_heads={"b": "z"})), "phases[0].copy_heads", "'z'"),
        (
            lambda: curriculum(
                phase("a"), phase("b", consolidation=ok.Consolidation("node", 1, "z"))
            ),
            "phases[1].consolidation.task",
            "'z'",
        ),
        (
            lambda: curriculum(phase("a", consolidation=ok.Consolidation("node", 1))),
            "phases[0].consolidation.task",
            "None",
        ),
        (
            lambda: curriculum(
                phase({"a": 0.5, "b": 0.5}), phase("c", consolidation=ok.Consolidation("node", 1))
            ),
            "phases[1].consolidation.task",
            "None",
        ),
    ],
)
def test_bad_curricula_are_refused_with_the_argument_named(make, argument, given):
    with pytest.raises(ok.ProblemError) as caught:
        make()
    message = str(caught.value)
    assert message.startswith(f"`{argument}` must ")
    assert given in message
