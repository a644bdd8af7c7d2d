"""`odekit fixed-point`: scenarios and results in, words and files out, exit codes."""

import numpy as np
import pytest

import odekit as ok
from odekit import cli
from odekit.verbs.scenario import parse_scenario
from test_fixed_point import committee, off_plateau

DONE, FAILED, BAD_INPUT, IO_ERROR = 0, 1, 2, 3
SCENARIO = """
title = "Two units"
[state]
Q = [[0.4, 0.3], [0.3, 0.4]]
R = [[0.39, 0.4], [0.4, 0.39]]
T = [[1.0, 0.0], [0.0, 1.0]]
[heads]
main = [1.0, 1.0]
[tasks.main]
readout = [1.0, 1.0]
[[phases]]
tasks = "main"
duration = 600.0
learning_rate = 0.5
"""


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(SCENARIO)
    return path


def test_of_a_scenario(scenario, tmp_path, capsys):
    out = tmp_path / "point.nc"
    assert cli.main(["fixed-point", str(scenario), "-o", str(out)]) == DONE
    said = capsys.readouterr().out
    for words in ("Two units", "symmetric plateau", "index 1: 1 of 9", "2 not trained"):
        assert words in said
    assert "+0.0316182" in said
    ds = ok.open(out)
    assert ds.title == "Two units"
    assert float(ds.eigenvalue_real[0]) == pytest.approx(0.5 * 0.0632363242, abs=1e-9)
    assert cli.main(["show", str(out)]) == DONE
    assert capsys.readouterr().out.strip() in said
    assert cli.main(["validate", str(out)]) == DONE
    assert "FAIL" not in capsys.readouterr().out


def test_of_a_run_and_its_plateaus(scenario, tmp_path, capsys):
    run, out = tmp_path / "run.nc", tmp_path / "point.nc"
    assert cli.main(["run", str(scenario), "-o", str(run)]) == DONE
    capsys.readouterr()
    assert cli.main(["fixed-point", str(run)]) == DONE
    assert "perfect learning" in capsys.readouterr().out
    assert cli.main(["fixed-point", str(run), "--time", "60", "-o", str(out)]) == DONE
    assert "the row at t = " in capsys.readouterr().out
    assert cli.main(["fixed-point", str(run), "-o", str(out)]) == IO_ERROR  # it is there
    capsys.readouterr()
    code = cli.main(["fixed-point", str(run), "--plateaus", "-o", str(out), "--overwrite"])
    assert code == DONE
    first = capsys.readouterr().out
    assert "escape: predicted at t = " in first
    assert cli.main(["fixed-point", str(scenario), "--plateaus"]) == DONE
    assert "Plateau 0" in capsys.readouterr().out
    assert ok.open(out).status.dims == ("plateau",)
    assert cli.main(["validate", str(out)]) == DONE


def test_keys_of_a_scenario(tmp_path, capsys):
    path = tmp_path / "two.toml"
    path.write_text(SCENARIO + "[fixed_point]\ntime = 60.0\nmax_steps = 50\n")
    assert parse_scenario(path.read_text()).fixed_point == {"time": 60.0, "max_steps": 50}
    assert cli.main(["fixed-point", str(path)]) == DONE
    assert "the row at t = 60" in capsys.readouterr().out
    with pytest.raises(ok.ScenarioError) as info:
        parse_scenario(SCENARIO + "[fixed_point]\ntime = -1.0\nphase = 3\nmax_steps = 0\nb = 1\n")
    keys = [key for key, _ in info.value.problems]
    assert sorted(keys) == [f"fixed_point.{k}" for k in ("b", "max_steps", "phase", "time")]


def test_failures_have_their_exit_codes(tmp_path, capsys):
    path, out = tmp_path / "two.toml", tmp_path / "point.nc"
    path.write_text(SCENARIO + "[fixed_point]\nmax_steps = 1\n")
    assert cli.main(["fixed-point", str(path), "-o", str(out)]) == FAILED
    said = capsys.readouterr()
    assert "1 of 1 searches found no fixed point" in said.err
    assert "spent" in said.out
    assert int(ok.open(out).status) == ok.Convergence.SPENT  # it is kept
    assert cli.main(["validate", str(out)]) == DONE
    capsys.readouterr()
    for arguments, code in (
        (["--phase", "2"], BAD_INPUT),
        (["--time", "-1"], BAD_INPUT),
        (["--time", "1e9"], BAD_INPUT),
        (["--time", "1", "--plateaus"], BAD_INPUT),
        (["-o", str(tmp_path / "point.png")], BAD_INPUT),
        (["-o", str(tmp_path / "no" / "point.nc")], IO_ERROR),
    ):
        assert cli.main(["fixed-point", str(path), *arguments]) == code, arguments
    assert cli.main(["fixed-point", str(tmp_path / "none.nc")]) == IO_ERROR


def test_edited_files_are_told(tmp_path, capsys):
    ds = ok.fixed_point(off_plateau(2, 0.5))
    file = ok.save(ds.assign(physical=ds.physical * 0), tmp_path / "edited.nc")
    assert cli.main(["validate", str(file)]) == FAILED
    assert "FAIL  physical" in capsys.readouterr().out
    part = ok.save(ds.drop_vars("n_zero"), tmp_path / "part.nc")
    assert cli.main(["validate", str(part)]) == FAILED
    assert cli.main(["show", str(part)]) == BAD_INPUT
    assert "`n_zero` is missing" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_files_hold_all_of_it(tmp_path, suffix):
    ds = ok.fixed_point(off_plateau(3, 0.5))
    opened = ok.open(ok.save(ds, tmp_path / f"point{suffix}"))
    assert opened.load().identical(ds)


def test_words_for_points_that_are_not_physical_and_sweeps():
    found = ok.fixed_point(off_plateau(2, 0.5))
    assert "not physical" in ok.summary(found.assign(physical=found.physical * 0))
    import xarray as xr

    rates = xr.DataArray(np.linspace(0.3, 0.9, 3), dims="eta", coords={"eta": [0.3, 0.6, 0.9]})
    swept = ok.fixed_point(off_plateau(2, rates))
    said = ok.summary(swept)
    assert "3 symmetric plateau: index 1, errors" in said
    assert "3 searches over eta (3)" in said
    spent = ok.summary(ok.fixed_point(committee(2, 0.5, Q=np.eye(2)), max_steps=1))
    assert "spent: the number of steps allowed was used up" in spent
