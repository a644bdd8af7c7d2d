"""The command line: what it prints and writes, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import odekit as ok
from odekit.base.text import carried
from odekit.cli import BAD_INPUT, DONE, FAILED, IO_ERROR, main

DATA = Path(__file__).parent.parent / "data"

SMALL = """
title = "A small run"
references = ["Somebody (2021)"]
[state]
Q = [[1.0, 0.0], [0.0, 0.5]]
R = [[0.1, 0.0], [0.0, 0.1]]
T = 2
[heads]
main = [1.0, 1.0]
[tasks.main]
readout = [1.0, 1.0]
[[phases]]
tasks = "main"
duration = 50
learning_rate = 0.5
[[phases]]
tasks = "main"
duration = 10
learning_rate = 0.1
until = 1e-9
[solver]
rtol = 1e-7
"""

DIVERGING = 'activation = "linear"' + SMALL.replace("rate = 0.5", "rate = 50")


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "scenario.toml"
    path.write_text(SMALL)
    return path


def stderr(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_run_writes_a_file_and_a_picture_and_says_so(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, picture = tmp_path / "out.nc", tmp_path / "out.png"
    assert main(["run", str(scenario), "-o", str(out), "--plot", str(picture)]) == DONE
    said = capsys.readouterr().out
    assert str(out) in said
    assert str(picture) in said
    assert picture.read_bytes().startswith(b"\x89PNG")
    ds = ok.open(out)
    assert (ds.attrs["title"], ds.attrs["references"]) == ("A small run", "Somebody (2021)")
    expected = ok.solve(ok.load_scenario(scenario).problem, rtol=1e-7)
    np.testing.assert_array_equal(ds.generalization_error, expected.generalization_error)


def test_summary_names_problem_phases_values_and_status(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.nc"
    main(["run", str(scenario), "-o", str(out)])
    capsys.readouterr()
    assert main(["show", str(out)]) == DONE
    said = " ".join(capsys.readouterr().out.split())
    error = float(ok.open(out).generalization_error[-1, 0])
    for words in (
        "A small run",
        "erf, K = 2 student units, P = 2 fixed vectors",
        "0: main, for 50, eta 0.5; the phase lasted its whole duration, at t = 50",
        "until main <= 1e-09",
        "before the threshold of `until` was reached",
        f"generalization error of 'main': {carried(error, 1e-7)}",
        "completed: every phase ran to its end.",
    ):
        assert words in said


def test_a_result_runs_again_with_its_options(scenario: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.nc", tmp_path / "second.nc"
    assert main(["run", str(scenario), "-o", str(first), "--method", "RK45"]) == DONE
    assert main(["run", str(first), "-o", str(second)]) == DONE
    a, b = ok.open(first), ok.open(second)
    np.testing.assert_array_equal(a.Q, b.Q)
    np.testing.assert_array_equal(a.time, b.time)
    assert a.attrs["odekit_problem"] == b.attrs["odekit_problem"]
    assert a.attrs["odekit_solver"] == b.attrs["odekit_solver"]
    assert json.loads(b.attrs["odekit_solver"])["method"] == "RK45"
    assert b.attrs["title"] == "A small run"


def test_a_result_may_replace_itself(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.nc"
    assert main(["run", str(scenario), "-o", str(out)]) == DONE
    assert main(["run", str(out), "-o", str(out), "--overwrite"]) == DONE


def test_options_of_the_command_line_win(scenario: Path, tmp_path: Path) -> None:
    fine, coarse = tmp_path / "fine.nc", tmp_path / "coarse.nc"
    assert main(["run", str(scenario), "-o", str(fine), "--rtol", "1e-11", "--atol", "1e-13"]) == 0
    assert main(["run", str(scenario), "-o", str(coarse), "--rtol", "1e-4", "--atol", "1e-6"]) == 0
    assert int(ok.open(fine).n_steps) > int(ok.open(coarse).n_steps)


def test_existing_target_is_refused_before_computing(
    scenario: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("computed")

    monkeypatch.setattr(ok, "solve", never)
    out, picture = tmp_path / "out.nc", tmp_path / "out.png"
    out.write_text("mine")
    assert main(["run", str(scenario), "-o", str(out)]) == IO_ERROR
    assert "exists already" in stderr(capsys)
    picture.write_text("mine")
    other = ["run", str(scenario), "-o", str(tmp_path / "b.nc"), "--plot", str(picture)]
    assert main(other) == IO_ERROR
    missing = str(tmp_path / "none" / "out.nc")
    assert main(["run", str(scenario), "-o", missing]) == IO_ERROR
    assert main([*other[:-1], str(tmp_path / "figure.jpeg")]) == BAD_INPUT
    same = str(tmp_path / "same.png")
    assert main(["run", str(scenario), "-o", same, "--plot", same]) == BAD_INPUT
    assert out.read_text() == picture.read_text() == "mine"


def test_picture_without_matplotlib_is_refused_before_computing(
    scenario: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("odekit.verbs.plot.find_spec", lambda name: None)
    out = tmp_path / "out.nc"
    picture = ["--plot", str(tmp_path / "out.png")]
    assert main(["run", str(scenario), "-o", str(out), *picture]) == BAD_INPUT
    assert "pip install 'odekit[plot]'" in stderr(capsys)
    assert not out.exists()


def test_mistakes_of_a_scenario_are_listed_with_code_2(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = (
        SMALL.replace("T = 2", "T = 0")
        .replace("title =", "titel =")
        .replace("duration = 50", "duration = -50")
        .replace("rtol = 1e-7", "rtol = 1")
        .replace("until = 1e-9", 'until = "never"')
        .replace('tasks = "main"\nduration = 10', 'tasks = "mian"\nduration = 10')
    )
    scenario.write_text(bad)
    assert main(["run", str(scenario), "-o", str(tmp_path / "out.nc")]) == BAD_INPUT
    said = stderr(capsys)
    keys = ["titel", "state.T", "phases[0].duration", "phases[1].until", "phases[1].tasks"]
    for key in (*keys, "solver.rtol"):
        assert f"  {key}: " in said
    assert "6 mistakes" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out.nc").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run"], BAD_INPUT),
        (["run", "scenario.toml"], BAD_INPUT),
        (["walk"], BAD_INPUT),
        (["run", "scenario.toml", "-o", "out.nc", "--method", "Euler"], BAD_INPUT),
        (["run", "scenario.toml", "-o", "out.nc", "--rtol", "2"], BAD_INPUT),
        (["run", "scenario.toml", "-o", "out.nc", "--checkpoint-every", "3"], BAD_INPUT),
        (["run", "none.toml", "-o", "out.nc"], IO_ERROR),
        (["show", "none.nc"], IO_ERROR),
        (["show", "scenario.toml"], IO_ERROR),
        (["plot", "none.nc", "-o", "figure.png"], IO_ERROR),
        (["plot", "none.nc", "-o", "figure.txt"], BAD_INPUT),
        (["validate", "none.nc"], IO_ERROR),
        (["--version"], DONE),
        (["--help"], DONE),
    ],
)
def test_exit_codes(
    scenario: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
) -> None:
    monkeypatch.chdir(scenario.parent)
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert bool(captured.err) == (code != DONE)
    assert not Path("out.nc").exists()


def test_failure_keeps_what_was_computed_with_code_1(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario.write_text(DIVERGING)
    out = tmp_path / "out.nc"
    assert main(["run", str(scenario), "-o", str(out)]) == FAILED
    said = capsys.readouterr().out
    assert "blow_up: " in said
    assert "lower" in said
    ds = ok.open(out)
    assert ok.Status(int(ds.status)) is ok.Status.BLOW_UP
    assert ds.sizes["time"] >= 1
    assert main(["show", str(out)]) == DONE


def test_sweep(scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    axis = 'learning_rate = { over = "eta", geomspace = [0.1, 1, 3] }'
    scenario.write_text(SMALL.replace("learning_rate = 0.5", axis))
    out, picture = tmp_path / "out.nc", tmp_path / "out.png"
    assert main(["run", str(scenario), "-o", str(out), "--plot", str(picture)]) == DONE
    said = " ".join(capsys.readouterr().out.split())
    assert "eta: 3 values from 0.1 to 1" in said
    assert "3 of 3 runs completed" in said
    ds = ok.open(out)
    last = [ds.generalization_error.isel(eta=i).dropna("time")[-1, 0].item() for i in range(3)]
    low, high = (carried(x, 1e-7) for x in (min(last), max(last)))
    assert f"generalization error of 'main': {low} to {high}" in said
    assert main(["validate", str(out)]) == DONE
    again = tmp_path / "again.nc"
    assert main(["run", str(out), "-o", str(again)]) == DONE
    np.testing.assert_array_equal(ok.open(again).Q, ds.Q)


def test_plot_of_a_stored_result(scenario: Path, tmp_path: Path) -> None:
    out, picture = tmp_path / "out.nc", tmp_path / "figure.svg"
    main(["run", str(scenario), "-o", str(out)])
    assert main(["plot", str(out), "-o", str(picture), "--time", "linear"]) == DONE
    assert main(["plot", str(out), "-o", str(picture)]) == IO_ERROR
    assert main(["plot", str(out), "-o", str(picture), "--overwrite"]) == DONE


def test_validate_passes_a_good_file_and_fails_each_broken_law(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.nc"
    main(["run", str(scenario), "-o", str(out)])
    capsys.readouterr()
    assert main(["validate", str(out)]) == DONE
    table = capsys.readouterr().out
    assert "FAIL" not in table
    assert table.count("ok  ") == 10
    good = ok.open(out)

    def changed(name: str, row: int, value: object) -> set[str]:
        ds = good.copy(deep=True)
        ds[name][row] = value
        ok.save(ds, tmp_path / "bad.nc", overwrite=True)
        code = main(["validate", str(tmp_path / "bad.nc")])
        lines = capsys.readouterr().out.splitlines()
        found = {line[6:].split("  ")[0] for line in lines if line.startswith("FAIL")}
        assert code == (FAILED if found else DONE)
        return found

    errors = "errors follow from the overlaps"
    semidefinite, cosines = "overlaps are positive semidefinite", "cosines are at most 1"
    assert changed("Q", 5, [[0.1, 0.5], [0.5, 0.1]]) == {semidefinite, errors}
    assert changed("Q", 5, [[1.0, 0.1], [0.2, 1.0]]) >= {"Q is symmetric"}
    assert changed("R", 5, [[2.0, 0.0], [0.0, 2.0]]) == {semidefinite, cosines, errors}
    assert changed("generalization_error", 5, -0.1) == {"errors are not negative", errors}
    assert changed("generalization_error", 5, 0.3) == {errors}
    assert changed("generalization_error", 5, np.nan) >= {"values are finite"}
    assert changed("Q", 0, [[1.0, 0.0], [0.0, 0.6]]) == {
        "rows begin at the problem's state",
        errors,
    }
    assert changed("status", ..., 99) == {"schema"}


def odekit(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "odekit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_module_is_the_command() -> None:
    done = odekit("--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"odekit, version {ok.__version__}")


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys; from odekit.cli import main; main(['--help']);"
        "heavy = {'numpy', 'scipy', 'xarray', 'numba', 'pydantic', 'matplotlib', 'netCDF4'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_reader_that_leaves_is_no_error(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.nc"
    main(["run", str(scenario), "-o", str(out)])
    command = f"{sys.executable} -m odekit show {out}"
    piped = subprocess.run(
        f"{command} | true", shell=True, capture_output=True, text=True, check=False
    )
    assert piped.stderr == ""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interruption_writes_the_partial_result(scenario: Path, tmp_path: Path, name: str) -> None:
    long = SMALL.replace("duration = 50", "duration = 1e9") + 'method = "RK45"\n'
    scenario.write_text(long.replace("rtol = 1e-7", "rtol = 1e-12\nmax_steps = 1000000000"))
    out = tmp_path / "out.nc"
    command = [sys.executable, "-m", "odekit", "run", str(scenario), "-o", str(out), "--progress"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stderr is not None
    # A bar that has moved shows that steps are taken: before, kernels are compiled.
    os.set_blocking(process.stderr.fileno(), False)
    deadline = time.monotonic() + 180
    seen = b""
    while (
        not re.search(rb"[1-9]\d*%", seen)
        and time.monotonic() < deadline
        and process.poll() is None
    ):
        time.sleep(0.05)
        seen += process.stderr.read() or b""
    time.sleep(0.3)
    process.send_signal(getattr(signal, name))
    said = process.communicate(timeout=60)[0].decode()
    assert process.returncode == FAILED
    assert "interrupted: " in said
    ds = ok.open(out)
    assert ok.Status(int(ds.status)) is ok.Status.INTERRUPTED
    assert 0 < float(ds.t_last) < 1e9


def test_checkpoint_folder_is_used(scenario: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "state", tmp_path / "out.nc"
    again = ["run", str(scenario), "-o", str(out), "--checkpoint", str(folder)]
    assert main([*again, "--checkpoint-every", "0.001"]) == DONE
    assert any(folder.iterdir())
    first = ok.open(out)
    assert main([*again, "--overwrite"]) == DONE
    np.testing.assert_array_equal(ok.open(out).Q, first.Q)


@pytest.mark.parametrize(
    ("name", "final", "within"),
    [
        # Units of the tolerance: what the next order in the learning rate, or the time left, makes.
        ("plateau", 0.0, 1e-9),
        ("saad_solla_k3", 0.0, 1e-9),
        ("noise_floor_l0", 1e-4 * 0.02 / (2 * np.pi) * 2 / np.sqrt(3), 1e-8),
        ("noise_floor_l1", 1e-4 * 0.02 / (2 * np.pi) * (1 + 2 / np.sqrt(3)), 1.3e-8),
        ("noise_floor_l2", 1e-4 * 0.02 / (2 * np.pi) * (2 + 2 / np.sqrt(3)), 2e-8),
        ("linear_exact", 0.5 * 0.01 / (4 - 2 * 0.5), 1e-10),
        ("relu_imbalance", 0.0, 1e-6),
        ("linear_imbalance", 0.0, 1e-9),
    ],
)
def test_shipped_scenario_ends_where_its_description_says(
    name: str, final: float, within: float, tmp_path: Path
) -> None:
    out = tmp_path / "out.nc"
    assert main(["run", str(DATA / f"{name}.toml"), "-o", str(out)]) == DONE
    assert abs(float(ok.open(out).generalization_error[-1, 0]) - final) <= within
    assert main(["validate", str(out)]) == DONE


@pytest.mark.parametrize(("name", "whole"), [("relu_imbalance", False), ("linear_imbalance", True)])
def test_shipped_imbalance_is_conserved(name: str, whole: bool) -> None:
    problem = ok.load_scenario(DATA / f"{name}.toml").problem
    phase = problem.phases[0]
    ds = ok.solve(problem, rtol=1e-10, atol=1e-12)
    v = ds.readout.values[:, 0]
    kept = ds.Q.values / phase.learning_rate
    kept = kept - np.einsum("tk,tl->tkl", v, v) / phase.readout_learning_rate
    kept = kept if whole else np.einsum("tkk->tk", kept)
    # 100 times the solver's relative tolerance, on overlaps of order 1.
    np.testing.assert_allclose(kept - kept[0], 0.0, atol=1e-8)
    assert np.abs(ds.Q.values[-1] - ds.Q.values[0]).max() > 0.1


def test_every_shipped_scenario_is_in_this_list() -> None:
    shipped = {p.stem for p in DATA.glob("*.toml")}
    listed = test_shipped_scenario_ends_where_its_description_says.pytestmark[0].args[1]
    one_task = {case[0] for case in listed}
    assert one_task <= shipped
    for path in DATA.glob("*.toml"):
        scenario = ok.load_scenario(path)
        assert scenario.title
        assert scenario.description
        assert scenario.references


@pytest.mark.parametrize("output", ["same.toml", "out.txt"])
def test_a_result_never_replaces_its_scenario(tmp_path, output, capsys):
    scenario = tmp_path / "same.toml"
    scenario.write_text((DATA / "linear_exact.toml").read_text())
    before = scenario.read_text()
    code = main(["run", str(scenario), "-o", str(tmp_path / output), "--overwrite"])
    assert (code, scenario.read_text()) == (2, before)
    assert "name" in capsys.readouterr().err


def test_a_text_named_nc_is_no_scenario(tmp_path, capsys):
    path = tmp_path / "text.nc"
    path.write_text("hello")
    assert main(["run", str(path), "-o", str(tmp_path / "o.nc")]) == 3
    assert "is not a netCDF-4 file" in capsys.readouterr().err
