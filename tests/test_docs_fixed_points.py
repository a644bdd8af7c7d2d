"""The page on fixed points: its code runs and prints what it says; its pictures can be made."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from odekit import cli
from pages import run_and_compare
from test_examples import load

PAGE = (Path(__file__).parents[1] / "docs" / "fixed-points.md").read_text()


def sure(text):
    """What does not depend on rounding."""
    text = re.sub(r"\d+ steps, \|dy/dt\| [\d.e+-]+", "", " ".join(text.split()))
    return re.sub(r"-(0\.?)(?=[\s\]])", r"\1", text)


def test_code_of_the_page_runs_and_prints_what_it_says():
    assert run_and_compare("fixed-points.md", sure) == 6


def test_commands_of_the_page_have_these_options(capsys):
    assert cli.main(["fixed-point", "--help"]) == 0
    said = capsys.readouterr().out
    for option in set(re.findall(r"--\w[\w-]*", PAGE[PAGE.index("## From the command") :])):
        assert option in said


@pytest.fixture
def module():
    return load("fixed_points")


def test_the_picture_of_plateaus(module):
    found = module.plateau_of(3, [0.5, 0.9, 1.27, 1.31])
    assert found["index"].values.tolist() == [4, 4, 4, 6]
    assert (found.name == "symmetric plateau").all()
    assert (np.diff(found.generalization_error[:, 0]) > 0).all()


def test_the_picture_of_critical_rates(module):
    assert module.critical_rate(1) == pytest.approx(np.pi * np.sqrt(5 / 3), abs=1e-9)


def test_the_picture_of_noise_floors(module, monkeypatch):
    monkeypatch.setattr(module.np, "linspace", lambda a, b, n: np.array([a, b]))
    monkeypatch.setattr(module.np, "geomspace", lambda a, b, n: np.array([a, b]))
    figure = module.floor()
    assert len(figure.axes[0].lines) == 7
