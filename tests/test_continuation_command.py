"""`odekit continue`, the keys of its scenarios, and files of branches that were edited."""

import warnings

import pytest

import odekit as ok
from odekit import cli
from odekit.verbs.scenario import parse_scenario
from test_continuation import DECAY, decaying, two_units

SCENARIO = """
title = "Specialisation"
[state]
Q = [[0.9, 0.0], [0.0, 0.9]]
R = [[0.9, 0.0], [0.0, 0.9]]
T = [[1.0, 0.0], [0.0, 1.0]]
[heads]
main = [1.0, 1.0]
[tasks.main]
readout = [1.0, 1.0]
[[phases]]
tasks = "main"
duration = 100.0
learning_rate = 1.0
weight_decay = 0.01
gradient_flow = true
"""


def test_the_command(tmp_path, capsys):
    scenario, out, picture = (tmp_path / n for n in ("s.toml", "out.nc", "out.png"))
    scenario.write_text(SCENARIO)
    asked = ["continue", str(scenario), "--along", DECAY, "--between", "0", "0.06"]
    assert cli.main([*asked, "-o", str(out), "--plot", str(picture)]) == 0
    assert "pitchfork at 0.04945136" in capsys.readouterr().out
    assert picture.exists()
    assert ok.open(out).attrs["title"] == "Specialisation"
    assert cli.main(["show", str(out)]) == 0
    assert cli.main(["plot", str(out), "-o", str(tmp_path / "R.png"), "--show", "R[0, 1]"]) == 0
    assert cli.main([*asked, "-o", str(out)]) == 3
    assert cli.main([*asked, "--max-points", "4"]) == 1
    assert "max_points" in capsys.readouterr().err
    assert cli.main([*asked[:3], "decay", *asked[4:]]) == 2


def test_the_command_begins_at_the_last_row_of_a_run(tmp_path, capsys):
    run = ok.solve(decaying(2).replace_phase(0, duration=200.0))
    ok.save(run, tmp_path / "run.nc")
    asked = ["continue", str(tmp_path / "run.nc"), "--along", DECAY, "--between", "0.005", "0.02"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cli.main(asked) == 0
    assert "0 directions grow" in capsys.readouterr().out


def test_keys_of_a_scenario(tmp_path, capsys):
    path = tmp_path / "s.toml"
    path.write_text(SCENARIO + f'[continuation]\nalong = "{DECAY}"\nbetween = [0.0, 0.03]\n')
    assert cli.main(["continue", str(path)]) == 0
    assert "between 0 and 0.03" in capsys.readouterr().out
    assert cli.main(["continue", str(path), "--between", "0", "0.02", "--time", "50"]) == 0
    assert "between 0 and 0.02" in capsys.readouterr().out
    path.write_text(SCENARIO)
    assert cli.main(["continue", str(path)]) == 2
    assert "--along is needed" in capsys.readouterr().err
    wrong = "along = 'decay'\nbetween = [1.0, 0.0]\nphase = 2\nmax_points = 1\nb = 1\n"
    with pytest.raises(ok.ScenarioError) as info:
        parse_scenario(SCENARIO + "[continuation]\n" + wrong)
    keys = sorted(key for key, _ in info.value.problems)
    assert keys == [f"continuation.{k}" for k in ("along", "b", "between", "max_points", "phase")]


def test_edited_files_are_told(tmp_path, capsys):
    second = two_units()
    good = ok.save(second, tmp_path / "good.nc")
    assert cli.main(["validate", str(good)]) == 0
    said = capsys.readouterr().out
    assert "ok    points are fixed points" in said
    assert "ok    the index counts what grows" in said
    moved = ok.save(second.assign(R=second.R + 1e-6), tmp_path / "moved.nc")
    assert cli.main(["validate", str(moved)]) == 1
    assert "FAIL  points are fixed points" in capsys.readouterr().out
    more = ok.save(second.assign(n_unstable=second.n_unstable + 1), tmp_path / "more.nc")
    assert cli.main(["validate", str(more)]) == 1
    part = ok.save(second.drop_vars("special_kind"), tmp_path / "part.nc")
    for command in (["validate"], ["show"], ["plot", "-o", str(tmp_path / "p.png")]):
        assert cli.main([command[0], str(part), *command[1:]]) == (
            1 if command[0] == "validate" else 2
        )
    assert "`special_kind` is missing" in capsys.readouterr().err
