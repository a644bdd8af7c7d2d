"""`odekit optimise`: scenarios in, words, files and pictures out, exit codes."""

from __future__ import annotations

import numpy as np
import pytest

import odekit as ok
from odekit import cli
from odekit.verbs.scenario import parse_scenario
from odekit.verbs.validate import validate

DONE, FAILED, BAD_INPUT, IO_ERROR = 0, 1, 2, 3
PROBLEM = """
title = "Two rates"
[state]
Q = [[0.5]]
R = [[0.1]]
T = [[1.0]]
[heads]
main = [1.0]
[tasks.main]
readout = [1.0]
noise_std = 0.3
[[phases]]
tasks = "main"
duration = 10.0
learning_rate = 1.0
"""
SEARCH = """
[optimise]
objective = "generalization_error[main]"
[optimise.controls]
"phases[0].learning_rate" = 2
[optimise.bounds]
"phases[0].learning_rate" = [0.0, 3.0]
"""


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "rates.toml"
    path.write_text(PROBLEM + SEARCH)
    return path


def test_a_search_its_file_its_run_and_its_picture(scenario, tmp_path, capsys):
    out, run, picture = (tmp_path / name for name in ("best.nc", "run.nc", "best.png"))
    asked = ["optimise", str(scenario), "-o", str(out), "--run", str(run), "--plot", str(picture)]
    assert cli.main(asked) == DONE
    said = capsys.readouterr().out
    for words in ("Two rates", "Objective", "phases[…].learning_rate: 1.1", "2 stationary"):
        assert words in " ".join(said.split())
    assert picture.stat().st_size > 5000
    ds = ok.open(out)
    assert ds.odekit.problem.phases[1].learning_rate == float(ds.control[0, 1])
    best = ok.open(run)
    assert float(best.generalization_error[-1, 0]) == pytest.approx(
        float(ds.objective[0]), rel=1e-5
    )
    assert cli.main(["show", str(out)]) == DONE
    assert capsys.readouterr().out.strip() in said
    assert cli.main(["validate", str(out)]) == DONE
    assert "FAIL" not in capsys.readouterr().out
    assert cli.main(asked) == IO_ERROR  # they are there
    broken = ds.load().assign(objective=ds.objective * 2)
    assert not all(verdict.holds for verdict in validate(broken))
    with pytest.raises(ok.ProblemError, match="whole result"):
        ok.summary(ds.drop_vars("gradient"))


def test_what_is_stopped_is_kept_and_said(scenario, tmp_path, capsys, monkeypatch):
    out = tmp_path / "best.nc"
    clock = iter(np.arange(0.0, 1000.0, 0.3))
    monkeypatch.setattr("odekit.control.search.time.monotonic", lambda: next(clock))
    asked = ["optimise", str(scenario), "-o", str(out), "--max-seconds", "0.7", "--starts", "3"]
    assert cli.main(asked) == FAILED
    assert "stopped" in capsys.readouterr().err
    ds = ok.open(out)
    assert ds.sizes["start"] == 1
    assert np.isfinite(ds.objective).all()


def test_keys_of_a_scenario(tmp_path, capsys):
    given = parse_scenario(PROBLEM + SEARCH).optimise
    assert given["bounds"] == {"phases[0].learning_rate": (0.0, 3.0)}
    assert given["controls"] == {"phases[0].learning_rate": 2}
    wrong = SEARCH.replace("2", "true").replace("[0.0, 3.0]", "[3.0, 0.0]")
    with pytest.raises(ok.ScenarioError) as info:
        parse_scenario(PROBLEM + wrong + "[optimise.x]\na = 1\n")
    assert {key.split(".")[0] for key, _ in info.value.problems} == {"optimise"}
    path = tmp_path / "none.toml"
    path.write_text(PROBLEM)
    assert cli.main(["optimise", str(path)]) == BAD_INPUT
    assert "controls" in capsys.readouterr().err
