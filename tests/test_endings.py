"""How runs end is heard, and no result is lost at the end of one."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import odekit as ok
from odekit.base.errors import StoreError
from odekit.cli import DONE, FAILED, IO_ERROR, main
from odekit.store import checkpoint
from odekit.store import netcdf as store
from odekit.verbs.show import summary
from sweeps import labelled, sweep
from test_checkpoint import CHILD, SLOW, assert_same, committee, slow_problem
from test_cli import DIVERGING, SMALL

SWEPT = SMALL.replace("learning_rate = 0.5", 'learning_rate = { over = "eta", values = [0.5] }')


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "scenario.toml"
    path.write_text(SMALL)
    return path


def diverging(rates=50.0):
    return committee(ok.Phase("main", 1e3, rates), activation="linear")


def command(arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    line = f"{sys.executable} -m odekit {arguments}"
    return subprocess.run(line, shell=True, capture_output=True, text=True, check=False, **more)


# ------------------------------------------------------------------------------------ two writers


def test_a_second_writer_of_a_checkpoint_is_refused(tmp_path):
    """Two threads here; two processes in the slow lane."""
    refused = []

    def first():
        ok.solve(slow_problem(), checkpoint=tmp_path, **SLOW)

    thread = threading.Thread(target=first)
    thread.start()
    while not (tmp_path / "problem.json").exists():
        assert thread.is_alive()
    try:
        ok.solve(slow_problem(), checkpoint=tmp_path, **SLOW)
    except ok.CheckpointError as error:
        refused.append(str(error))
    thread.join()
    assert "another run is writing to it" in refused[0]
    assert_same(
        ok.solve(slow_problem(), checkpoint=tmp_path, **SLOW), ok.solve(slow_problem(), **SLOW)
    )


TWICE = "print(ok.Status(solve(0.0).status.item()).word, flush=True)"


def test_two_processes_leave_one_run(tmp_path):
    tests = str(Path(__file__).parent)
    code = textwrap.dedent(CHILD).format(tests=tests, folder=str(tmp_path)) + TWICE
    pipe = subprocess.PIPE
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True)
        for _ in range(2)
    ]
    said = [child.communicate(timeout=120) for child in both]
    # One may have waited for the other's kernels, and found it done.
    assert all(out == "completed\n" or "another run is writing" in err for out, err in said)
    assert any(out == "completed\n" for out, _ in said)
    whole = ok.solve(slow_problem(), **SLOW)
    assert_same(ok.solve(slow_problem(), checkpoint=tmp_path, **SLOW), whole)


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_segments_of_two_writers_are_no_run(tmp_path):
    """Where a disk has no locks: the rows of one are not taken for those of the other."""
    for name, steps in (("a", 5), ("b", 8)):
        for budget in range(steps, 4 * steps, steps):
            ok.solve(committee(), checkpoint=tmp_path / name, max_steps=budget)
    other = "rows-000001.npz"
    shutil.copy(tmp_path / "b" / other, tmp_path / "a" / other)
    with pytest.raises(ok.CheckpointError, match=rf"{other}: is damaged \(it begins at row"):
        ok.solve(committee(), checkpoint=tmp_path / "a")


# ----------------------------------------------------------------------------------- kept results


def appears(monkeypatch, target: Path, what: str):
    """Let something happen to the target while the run is computed."""
    real = ok.solve

    def solve(*arguments, **keywords):
        ds = real(*arguments, **keywords)
        if what == "file":
            target.write_text("mine")
        else:
            shutil.rmtree(target.parent)
        return ds

    monkeypatch.setattr(ok, "solve", solve)


def test_a_target_that_appears_costs_no_result(scenario, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.nc"
    appears(monkeypatch, out, "file")
    assert main(["run", str(scenario), "-o", str(out)]) == IO_ERROR
    said = capsys.readouterr()
    assert "exists already" in said.err
    assert f"The result is kept in {tmp_path / 'out-kept.nc'}" in said.err
    assert f"Result     {out}" not in said.out
    assert out.read_text() == "mine"
    assert ok.open(tmp_path / "out-kept.nc").status == 0


def test_a_folder_that_disappears_costs_no_result(scenario, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    out = tmp_path / "there" / "out.nc"
    appears(monkeypatch, out, "gone")
    assert main(["run", str(scenario), "-o", str(out)]) == IO_ERROR
    assert f"The result is kept in {tmp_path / 'out-kept.nc'}" in capsys.readouterr().err
    assert ok.open(tmp_path / "out-kept.nc").status == 0


def test_a_full_disk_costs_no_result(scenario, tmp_path, monkeypatch, capsys):
    full, free = tmp_path / "full", tmp_path / "free"
    full.mkdir()
    free.mkdir()
    monkeypatch.chdir(free)
    write = store._write

    def no_space(plan, path):
        if Path(path).parent == full:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(plan, path)

    monkeypatch.setattr(store, "_write", no_space)
    assert main(["run", str(scenario), "-o", str(full / "out.nc")]) == IO_ERROR
    said = capsys.readouterr().err
    assert "No space left" in said
    assert f"The result is kept in {free / 'out-kept.nc'}" in said
    assert list(full.iterdir()) == []


def test_a_result_that_nothing_takes_is_said_to_be_lost(scenario, tmp_path, monkeypatch, capsys):
    def no_space(plan, path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store, "_write", no_space)
    assert main(["run", str(scenario), "-o", str(tmp_path / "out.nc")]) == IO_ERROR
    assert "it is lost" in capsys.readouterr().err


def test_a_store_whose_place_is_taken_stays_beside_it(tmp_path, monkeypatch):
    """The same call puts it there once there is room, and computes nothing."""
    path = tmp_path / "grid.zarr"

    def taken(*arguments):
        raise StoreError(path, "exists already", "")

    monkeypatch.setattr("odekit.store.zarrstore.publish", taken)
    with pytest.raises(ok.StoreError, match=r"complete in .*grid\.zarr\.part: once there is room"):
        ok.solve(sweep(), store=path)
    monkeypatch.undo()
    monkeypatch.setattr("odekit.sweeps.jobs.run_block", None)
    assert_same(ok.solve(sweep(), store=path, chunk_size=24), ok.open(path))


@pytest.mark.parametrize(
    ("problem", "options"), [(slow_problem(), {"max_step": 0.05}), (sweep(), {"chunk_size": 6})]
)
def test_a_checkpoint_that_disappears_costs_no_result(tmp_path, monkeypatch, problem, options):
    folder = tmp_path / "state"
    writes = []

    def gone(path, arrays):
        writes.append(path)
        shutil.rmtree(folder, ignore_errors=True)
        write(path, arrays)

    write = checkpoint.write_arrays
    monkeypatch.setattr("odekit.store.checkpoint.write_arrays", gone)
    monkeypatch.setattr("odekit.sweeps.chunkfolder.write_arrays", gone)
    with pytest.warns(ok.CheckpointWarning, match="could not be written.*The run goes on") as heard:
        ds = ok.solve(problem, checkpoint=ok.Checkpoint(folder, 0.0), **options)
    assert len(heard) == 1
    assert len(writes) > 2
    assert_same(ds, ok.solve(problem, **options))


# ------------------------------------------------------------------------------- ends of streams


def test_a_closed_stderr_costs_no_result(scenario, tmp_path):
    out = tmp_path / "out.nc"
    done = command(f"run {scenario} -o {out} 2>&-")
    assert done.returncode == DONE
    assert "completed" in done.stdout
    assert ok.open(out).status == 0
    for closed in (">&-", "<&- >&- 2>&-", "--progress 2>&-"):
        assert command(f"run {scenario} -o {out} --overwrite {closed}").returncode == DONE
        assert ok.open(out).status == 0


def test_a_reader_of_progress_that_leaves_costs_no_result(scenario, tmp_path):
    out, picture = tmp_path / "out.nc", tmp_path / "out.png"
    line = f"run {scenario} -o {out} --plot {picture} --progress 2>&1 | true"
    assert command(line).stderr == ""
    assert ok.open(out).status == 0
    assert picture.exists()


def test_a_broken_pipe_is_quiet(scenario, tmp_path):
    out = tmp_path / "out.nc"
    main(["run", str(scenario), "-o", str(out)])
    done = command(f"show {out} | head -1")
    assert (done.stdout, done.stderr) == ("A small run\n", "")


# ------------------------------------------------------------------------------------- statuses


def test_a_run_that_diverges_is_heard_once_with_the_remedy():
    with pytest.warns(ok.NotCompletedWarning) as heard:
        ds = ok.solve(diverging())
    assert len(heard) == 1
    said = str(heard[0].message)
    assert said.startswith(f"the run ended at t = {float(ds.t_last):.6g}: blow_up, ")
    assert ok.Status.BLOW_UP.remedy in said
    assert heard[0].filename == __file__
    assert issubclass(ok.NotCompletedWarning, UserWarning)


def test_a_sweep_says_how_many_of_each():
    problem = diverging(labelled("eta", [0.1, 50.0, 0.2, 60.0]))
    with pytest.warns(ok.NotCompletedWarning) as heard:
        ok.solve(problem)
    assert len(heard) == 1
    said = str(heard[0].message)
    assert "2 of 4 runs did not complete" in said
    assert "2 blow_up" in said
    with pytest.warns(ok.NotCompletedWarning, match="3 of 4 runs.*\n.*1 step_budget.*\n.*2 blow_up|"
                      "3 of 4 runs.*\n.*2 blow_up.*\n.*1 step_budget|4 of 4"):  # fmt: skip
        ok.solve(problem, max_steps=40)


def test_networks_and_descent_are_heard_too():
    with pytest.warns(ok.NotCompletedWarning, match="the run ended"):
        ok.simulate(diverging(), input_dim=50, seed=0)
    net = ok.linear.deep([1, 1])
    steep = ok.LinearProblem(
        network=net,
        weights={"W1": [[0.1]]},
        tasks=ok.linear.Correlations(yx=[[1.0]], xx=[[1.0]]),
        phases=ok.Phase("main", duration=1000, learning_rate=5.0),
    )
    with pytest.warns(ok.NotCompletedWarning, match="blow_up"):
        ok.descend(steep)


def test_what_completes_and_what_is_silenced_is_not_heard():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ok.solve(committee())
        warnings.simplefilter("ignore", ok.NotCompletedWarning)
        ok.solve(diverging())


def test_the_command_says_it_on_stderr(scenario, tmp_path, capsys):
    scenario.write_text(DIVERGING)
    assert main(["run", str(scenario), "-o", str(tmp_path / "out.nc")]) == FAILED
    said = capsys.readouterr().err
    assert said.startswith("odekit: the run ended at t = ")
    assert ok.Status.BLOW_UP.remedy in said
    assert "Warning" not in said


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_a_sweep_of_one_run_that_failed_can_be_shown(scenario, tmp_path, capsys):
    ds = ok.solve(diverging(labelled("eta", [50.0])))
    assert f"blow_up: the state grew beyond all bounds (t = {float(ds.t_last[0]):.6g})" in (
        " ".join(summary(ds).split())
    )


def test_a_phase_of_one_swept_length_can_be_shown():
    problem = committee(ok.Phase("main", labelled("span", [3.0]), 0.5))
    assert "for 3 to 3 over span" in summary(ok.solve(problem))
    assert np.isfinite(ok.solve(problem).phase_end).all()
