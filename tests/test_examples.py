"""The examples run, shortened, and show what their pages say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from odekit.verbs.validate import validate

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


def test_timing_of_pathways():
    """Boundaries and parts of the box from an independent computation."""
    ds = load("linear_networks").timing_map()
    for first, second in ((10, 1.8368), (20, 4.7900), (40, 11.1843), (50, 14.3307)):
        edge = np.interp(0.0, ds.first_done.sel(first=first), ds.second)
        assert edge == pytest.approx(second, abs=3e-3)  # between rows 0.2 apart
    for first, second in ((20, 2.2193), (50, 5.5463), (100, 11.0860)):
        edge = np.interp(0.0, ds.winner_done.sel(first=first, second=slice(0, 15)), ds.second[:76])
        assert edge == pytest.approx(second, abs=2e-3)
    box = ds.isel(first=slice(None, None, 2))
    parts = [float((times < 0).mean()) for times in (box.first_done, box.second_done)]
    np.testing.assert_allclose(parts, [0.637, 0.025], atol=5e-3)


def test_unimodal_phases_from_a_balanced_start():
    module = load("linear_networks")
    first, second = module.unimodal_times(3, module.axis("start", [0.01, 0.1]))
    found = (second / first).values
    assert found[1] == pytest.approx(1.70, abs=0.01)
    formula = module.ok.linear.unimodal_ratio(2.0, 0.3, 4, 3, np.array([0.01, 0.1]))
    np.testing.assert_allclose((found - 1) / (formula - 1), [0.987, 0.87], atol=0.01)


@pytest.fixture
def beside(monkeypatch):
    """Examples that import each other, as they do when they are run."""
    monkeypatch.syspath_prepend(str(EXAMPLES))


def z_scores(theory, replicas):
    """Deviation of a mean over replicas, the second axis, in its standard errors."""
    spread = replicas.std(axis=1, ddof=1) / np.sqrt(replicas.shape[1])
    return (replicas.mean(axis=1) - theory)[1:] / spread[1:]


@pytest.mark.parametrize("units", [1, 2])
def test_policy_committee_against_its_episodes(beside, units):
    module = load("policy_episodes")
    given = {**module.COMMITTEE, **module.TEACHER}
    if units == 1:  # the RL perceptron, with its head of one number
        given = {**module.PERCEPTRON, "reward": [-0.2, -0.2, -0.2, 1.0]}
    problem, times = module.problem(**given), [0.0, 2.0, 6.0]
    R, Q = module.episodes(problem, 800, 24, times)
    run = module.ok.solve(problem, t_eval=times)
    assert np.abs(z_scores(run.R.values, R)).max() < 4.0
    assert np.abs(z_scores(run.Q.values, Q)).max() < 4.0
    moved = abs(run.R.values[-1] - run.R.values[0]).max()
    spread = R[-1].std(axis=0).max() / np.sqrt(24)
    assert moved > 20 * spread  # the comparison can tell
    assert all(verdict.holds for verdict in validate(run))


def test_policy_committee_picture(beside):
    figure = load("policy_episodes").draw(N=50, replicas=3)
    assert len(figure.axes[1].lines) == 4


def test_kuramoto_grows_as_it_should(beside):
    module = load("kuramoto")
    figure = module.draw()
    lines = figure.axes[0].lines
    for line, dots in zip(lines[::2], lines[1::2], strict=True):
        assert np.allclose(line.get_ydata()[::10], dots.get_ydata(), rtol=1e-6)
    steady, breathing = (line.get_ydata() for line in figure.axes[1].lines)
    assert np.allclose(steady, 1.0, atol=1e-6)
    assert np.ptp(breathing[100:]) > 0.1


def test_examples_of_declared_systems_are_short():
    for name in ("policy_committee", "policy_episodes", "kuramoto"):
        assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 80
