"""The examples run, shortened, and show what their pages say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_digits(monkeypatch, capsys):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra `examples`)")
    digits = load("digits")
    x = digits.inputs()
    assert x.shape == (1797, 45)
    fourth = (x**4).mean(axis=0)
    assert 2 < fourth.min() < fourth.max() < 6
    monkeypatch.setattr(digits, "SWITCH", 30.0)
    figure = digits.draw(np.array([0.0, 1.0]), replicas=2)
    assert len(figure.axes[0].get_legend().get_texts()) == 3
    assert capsys.readouterr().out.count("digits") == 3


def test_finite_size(monkeypatch):
    module = load("finite_size")
    monkeypatch.setattr(module, "SIZES", (50, 200))
    found = module.deviations(replicas=4)
    ratio = found.deviation[0] / found.deviation[1]
    assert (ratio > 1.2).all()
    assert module.draw(found).axes[0].get_xscale() == "log"


def test_linear_networks():
    module = load("linear_networks")
    shares = [line.get_ydata() for line in module.race().axes[0].lines]
    assert len(shares) == 3
    assert all(np.all(np.diff(share) > 0) and abs(share[-1] - 1) < 0.1 for share in shares)
