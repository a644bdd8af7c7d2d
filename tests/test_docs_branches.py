"""The page on branches: its code runs and prints what it says; its pictures can be made."""

from __future__ import annotations

import re

import pytest

from odekit import cli
from pages import blocks, run_and_compare
from test_examples import load


def sure(text):
    """What does not depend on rounding: special points to eight digits."""
    text = re.sub(r"\d+ points", "points", " ".join(text.split()))
    return re.sub(r"0\.\d+", lambda m: f"{float(m[0]):.8f}", text)


def test_code_of_the_page_runs_and_prints_what_it_says():
    assert run_and_compare("branches.md", sure) == 3


def test_commands_of_the_page_have_these_options(capsys):
    text = "\n".join(block for _, block in blocks("branches.md") if block.startswith("odekit "))
    for name in ("continue", "plot"):
        assert cli.main([name, "--help"]) == 0
        said = capsys.readouterr().out
        lines = [line for line in text.splitlines() if line.startswith(f"odekit {name} ")]
        for option in set(re.findall(r"--\w[\w-]*", "\n".join(lines))):
            assert option in said


@pytest.fixture
def module():
    return load("branches")


def test_the_picture_of_decay(module, monkeypatch):
    monkeypatch.setattr(module, "under_decay", lambda K, real=module.under_decay: real(2))
    figure = module.decay()
    assert [ax.get_title("right") for ax in figure.axes] == ["K = 2", "K = 3"]
    colours = {line.get_color() for line in figure.axes[0].lines}
    assert len(colours) >= 2


def test_the_picture_of_noise_floors(module):
    figure = module.floor()
    (ax,) = figure.axes
    marks = [line.get_marker() for line in ax.lines if line.get_marker() != "None"]
    assert marks == ["o"]
    assert ax.get_ylabel() == "Q[0, 0]"
