"""A killed run resumes, for explicit methods to the bit; what does not fit is refused."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import odekit as ok
from odekit import Outcome, Status
from odekit.store.checkpoint import differing_keys

# What may differ: the work done, and when and where.
WORK = ["n_rhs", "n_jac"]


def committee(*phases, **more):
    return ok.Problem(
        state=ok.OrderParameters(
            Q=[[0.3, 0.05], [0.05, 0.2]], R=[[0.1, 0.02], [-0.03, 0.15]], T=np.eye(2)
        ),
        heads={"main": [1.0, 0.8]},
        tasks={"main": ok.Task([1.0, 1.0], noise_std=0.1)},
        phases=phases or [ok.Phase("main", 50.0, 0.5)],
        **more,
    )


def continual():
    """Three phases: an event, a schedule, two consolidations, a copied head and a mixture."""
    return ok.Problem(
        state=ok.OrderParameters(
            Q=[[0.3, 0.05], [0.05, 0.2]], R=[[0.1, 0.02], [-0.03, 0.15]], T=np.eye(2)
        ),
        heads={"a": [1.0, 0.5], "b": [0.1, -0.1]},
        tasks={"a": ok.Task([1.0, 0.0]), "b": ok.Task([0.0, 1.0], noise_std=0.1)},
        phases=[
            ok.Phase("a", 500.0, 0.5, readout_learning_rate=0.2, until=0.02),
            ok.Phase(
                "b",
                20.0,
                ok.Schedule([0.0, 5.0, 20.0], [0.5, 0.2, 0.1]),
                readout_learning_rate=0.2,
                consolidation=ok.Consolidation("fisher", 1.0),
                copy_heads={"b": "a"},
            ),
            ok.Phase(
                {"a": 0.3, "b": 0.7},
                10.0,
                0.3,
                weight_decay=1e-3,
                consolidation=ok.Consolidation("node", 0.5, task="b"),
            ),
        ],
    )


def assert_same(a, b):
    """Bitwise, in every variable but the work done."""
    a, b = a.drop_vars(WORK), b.drop_vars(WORK)
    assert a.sizes == b.sizes
    for name in a.variables:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=str(name))


def in_pieces(problem, folder, steps, **options):
    """Run with a budget of steps that grows until the run is done, and count the pieces."""
    budget = steps
    for piece in range(1, 1000):
        run = ok.solve(problem, checkpoint=folder, max_steps=budget, **options)
        if run.status != Status.STEP_BUDGET:
            return run, piece
        budget += steps
    raise AssertionError("never done")


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
@pytest.mark.parametrize(("method", "steps"), [("DOP853", 1), (None, 3), ("RK45", 7), ("RK23", 8)])
def test_resumed_runs_are_the_uninterrupted_ones_to_the_bit(tmp_path, method, steps):
    options = {"method": method, "rtol": 1e-4 if method == "RK23" else 1e-8}
    options["t_eval"] = [0.0, 0.3, 20.0, 49.9]
    whole = ok.solve(committee(), **options)
    resumed, pieces = in_pieces(committee(), tmp_path, steps, **options)
    assert pieces > 2
    assert_same(resumed, whole)


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
@pytest.mark.parametrize(("method", "steps"), [("DOP853", 2), (None, 5)])
def test_phases_events_schedules_and_consolidations_resume_to_the_bit(tmp_path, method, steps):
    whole = ok.solve(continual(), method=method)
    assert whole.phase_outcome[0] == Outcome.THRESHOLD
    resumed, pieces = in_pieces(continual(), tmp_path, steps, method=method)
    assert pieces > 5
    assert_same(resumed, whole)


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
@pytest.mark.parametrize("method", ["Radau", "BDF", "LSODA"])
def test_implicit_methods_resume_to_their_tolerance(tmp_path, method):
    options = {"method": method, "t_eval": np.linspace(0, 50, 11), "rtol": 1e-6}
    whole = ok.solve(committee(), **options)
    resumed, _ = in_pieces(committee(), tmp_path, 40, **options)
    np.testing.assert_array_equal(resumed.time, whole.time)
    # A restart begins at low order: within a hundred times rtol.
    np.testing.assert_allclose(resumed.Q, whole.Q, atol=1e-4)


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_steady_phases_resume_to_the_bit(tmp_path):
    options = {"steady_state": 1e-4, "method": "DOP853"}
    problem = committee(ok.Phase("main", 1e5, 0.5), ok.Phase("main", 1e5, 0.2))
    whole = ok.solve(problem, **options)
    assert whole.phase_outcome.values.tolist() == [Outcome.STEADY, Outcome.STEADY]
    resumed, _ = in_pieces(problem, ok.Checkpoint(tmp_path, 0.0), 1, **options)
    assert_same(resumed, whole)


def test_a_finished_run_is_read_back_and_not_run_again(tmp_path):
    first = ok.solve(continual(), checkpoint=tmp_path)
    again = ok.solve(continual(), checkpoint=tmp_path)
    assert_same(first, again)
    assert again.n_rhs == first.n_rhs


def test_checkpoints_change_nothing(tmp_path):
    assert_same(
        ok.solve(continual(), checkpoint=ok.Checkpoint(tmp_path, 0.0)), ok.solve(continual())
    )


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_rows_before_the_first_one_asked_for_resume_too(tmp_path):
    """No row is written before the run is stopped."""
    whole = ok.solve(committee(), t_eval=[49.0])
    resumed, _ = in_pieces(committee(), tmp_path, 4, t_eval=[49.0])
    assert_same(resumed, whole)


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_a_numerical_failure_is_the_same_after_resuming(tmp_path):
    problem = committee(ok.Phase("main", 1e3, 50.0), activation="linear")
    whole = ok.solve(problem)
    assert whole.status == Status.BLOW_UP
    resumed, _ = in_pieces(problem, tmp_path, 100)
    assert_same(resumed, whole)
    assert_same(ok.solve(problem, checkpoint=tmp_path), whole)


# --------------------------------------------------------------------------------------- kill -9

CHILD = """
    import os, random, signal, sys, time, warnings
    sys.path.insert(0, {tests!r})
    import odekit as ok
    warnings.simplefilter("ignore", ok.NotCompletedWarning)
    from test_checkpoint import slow_problem, SLOW
    def solve(seconds):
        folder = ok.Checkpoint({folder!r}, seconds)
        return ok.solve(slow_problem(), checkpoint=folder, **SLOW)
"""
KILL = """
    ok.solve(slow_problem(), max_steps=1)
    chance = random.Random(1)
    for kill in range(20):
        pid = os.fork()
        if pid == 0:
            solve([0.0, 0.01, 0.05][kill % 3])
            os._exit(0)
        time.sleep(chance.uniform(0.0, 0.06))
        os.kill(pid, signal.SIGKILL)
        print(os.WIFSIGNALED(os.waitpid(pid, 0)[1]), flush=True)
"""
INTERRUPT = """
    ok.solve(slow_problem(), max_steps=1)
    print("ready", flush=True)
    print(ok.Status(solve(1e6).status.item()).word)
"""
SLOW = {"max_step": 1e-4, "method": "DOP853"}
"""A second or two: twice what twenty kills wait in all."""


def slow_problem():
    return committee(ok.Phase("main", 25.0, 0.5), ok.Phase("main", 2.0, 0.1, weight_decay=0.01))


def start(folder, code):
    tests = str(Path(__file__).parent)
    code = textwrap.dedent(CHILD).format(tests=tests, folder=str(folder)) + textwrap.dedent(code)
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True)


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills its own forks")
def test_a_run_killed_at_random_moments_resumes_to_the_bit(tmp_path):
    whole = ok.solve(slow_problem(), **SLOW)
    out, err = start(tmp_path, KILL).communicate(timeout=60)
    assert (out, err) == ("True\n" * 20, "")
    resumed = ok.solve(slow_problem(), checkpoint=tmp_path, max_steps=1, **SLOW)
    assert 0 < resumed.t_last < 27
    assert_same(ok.solve(slow_problem(), checkpoint=tmp_path, **SLOW), whole)


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_resumes_to_the_bit(tmp_path, number):
    whole = ok.solve(slow_problem(), **SLOW)
    child = start(tmp_path, INTERRUPT)
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.1)
    child.send_signal(number)
    out, err = child.communicate(timeout=20)
    assert (out, err) == ("interrupted\n", "")
    assert_same(ok.solve(slow_problem(), checkpoint=tmp_path, **SLOW), whole)


# -------------------------------------------------------------------------------------- refusals


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_a_changed_problem_is_refused_and_the_keys_named(tmp_path):
    ok.solve(continual(), checkpoint=tmp_path, max_steps=20)
    changes = {
        "phases[1].consolidation.strength": continual().replace_phase(
            1, consolidation=ok.Consolidation("fisher", 2.0)
        ),
        "phases[2].learning_rate, phases[2].weight_decay": continual().replace_phase(
            2, learning_rate=0.31, weight_decay=0.0
        ),
        "activation": continual().replace(activation="linear"),
        "heads.a": continual().replace(heads={"a": [1.0, 0.6], "b": [0.1, -0.1]}),
        "tasks.b.noise_std": continual().replace(
            tasks={"a": ok.Task([1.0, 0.0]), "b": ok.Task([0.0, 1.0], noise_std=0.2)}
        ),
        "phases. ": continual().replace(phases=continual().phases[:2]),
    }
    for keys, problem in changes.items():
        with pytest.raises(ok.CheckpointError) as caught:
            ok.solve(problem, checkpoint=tmp_path)
        assert f"differs in {keys}" in str(caught.value)
        assert "Name another folder" in str(caught.value)
    with pytest.raises(ok.CheckpointError, match=r"solver\.method"):
        ok.solve(continual(), checkpoint=tmp_path, method="RK45")
    with pytest.raises(ok.CheckpointError, match=r"solver\.t_eval"):
        ok.solve(continual(), checkpoint=tmp_path, t_eval=[1.0])
    # Budgets are no part of the problem.
    assert ok.solve(continual(), checkpoint=tmp_path, max_seconds=60).status == Status.COMPLETED


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_heads_in_another_order_are_another_run(tmp_path):
    """The state on disk is by place: taken for the other order, heads would be swapped."""
    problem = continual()
    ok.solve(problem, checkpoint=tmp_path, max_steps=20)
    swapped = problem.replace(heads=dict(reversed(problem.heads.items())))
    assert swapped == problem
    with pytest.raises(ok.CheckpointError, match=r"differs in order\.heads"):
        ok.solve(swapped, checkpoint=tmp_path)


def test_differing_keys_say_where():
    a = {"x": 1, "y": [{"z": 1}, {"z": 2}], "w": [1, 2]}
    assert differing_keys(a, a) == []
    assert differing_keys(a, {**a, "x": 2}) == ["x"]
    assert differing_keys(a, {**a, "y": [{"z": 1}, {"z": 3}]}) == ["y[1].z"]
    assert differing_keys(a, {**a, "w": [1]}) == ["w"]
    assert differing_keys(a, {"x": 1}) == ["w", "y"]


@pytest.mark.parametrize("name", ["problem.json", "state.npz", "rows-000000.npz"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "removed"])
def test_damaged_files_are_refused_by_name(tmp_path, name, damage):
    ok.solve(committee(), checkpoint=tmp_path, max_steps=20)
    path = tmp_path / name
    data = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        flipped = bytes([*data[:-9], data[-9] ^ 1, *data[-8:]])
        path.write_bytes(
            {"cut": data[: len(data) // 2], "flipped": flipped, "emptied": b""}[damage]
        )
    if (name, damage) == ("state.npz", "removed"):
        # Nothing says how far the run was: it starts anew.
        assert_same(ok.solve(committee(), checkpoint=tmp_path), ok.solve(committee()))
        return
    with pytest.raises(ok.CheckpointError) as caught:
        ok.solve(committee(), checkpoint=tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert "\n" not in message
    if (name, damage) != ("problem.json", "removed"):
        assert name in message or "differs in" in message


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_json_that_is_no_problem_is_refused(tmp_path):
    ok.solve(committee(), checkpoint=tmp_path, max_steps=5)
    for text in ["[]", "null", "{}"]:
        (tmp_path / "problem.json").write_text(text)
        with pytest.raises(ok.CheckpointError, match=r"damaged|differs in \w"):
            ok.solve(committee(), checkpoint=tmp_path)


def test_folders_with_other_files_and_files_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ok.CheckpointError, match="empty folder"):
        ok.solve(committee(), checkpoint=tmp_path)
    with pytest.raises(ok.CheckpointError, match=r"thesis\.tex"):
        ok.solve(committee(), checkpoint=tmp_path / "thesis.tex")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["thesis.tex"]


# -------------------------------------------------------------------------------- the argument


def test_a_number_is_an_interval_and_the_folder_named_by_the_problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ok.solve(committee(), checkpoint=30)
    ok.solve(continual(), checkpoint=0.5)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) == 2
    assert all(n.startswith("odekit-") and n.endswith(".checkpoint") for n in names)
    ok.solve(committee(), checkpoint=30)
    assert sorted(p.name for p in tmp_path.iterdir()) == names


@pytest.mark.parametrize("value", [True, [1], {}, -1.0, np.nan, "", ok.solve])
def test_other_values_are_refused(value):
    with pytest.raises(ok.ProblemError):
        ok.solve(committee(), checkpoint=value)


def test_nested_folders_are_made_and_leave_no_temporary_files(tmp_path):
    folder = tmp_path / "a" / "b"
    ok.solve(committee(), checkpoint=ok.Checkpoint(folder, 0.0), max_step=0.5)
    names = sorted(p.name for p in folder.iterdir())
    assert {"problem.json", "state.npz", "rows-000000.npz"} <= set(names)
    assert not [n for n in names if n.endswith(".tmp")]
