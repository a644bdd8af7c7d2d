"""Builders of groups: distractors, spectra of a covariance, hidden manifolds."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

import odekit as ok
from odekit.systems.committee.spectra import InputGroups


def learning(world, times, delta=1.0):
    """Errors of two units that learn two in this world."""
    C = 0.1 * np.array([[1.0, 0.2], [0.2, 0.8]])
    G = len(world.groups)
    T = world.teacher(np.eye(2))
    R = 0.05 * np.eye(2)[None] * np.sqrt(np.diagonal(T, axis1=1, axis2=2))[:, None]
    state = ok.OrderParameters(np.broadcast_to(C, (G, 2, 2)), R, T)
    problem = ok.Problem(
        state,
        {"main": [1.0, 1.0]},
        {"main": ok.Task([1.0, 1.0], **world.task)},
        ok.Phase("main", times[-1], 0.5),
        groups=world.groups,
    )
    return ok.solve(problem, t_eval=times, rtol=1e-10, atol=1e-12).generalization_error.values


def test_nodes_have_the_moments_of_the_spectrum():
    """n nodes of Gauss's have 2n moments."""
    rho = np.random.default_rng(0).uniform(0.2, 3.0, 300)
    world = ok.spectrum(rho, nodes=4)
    f, m = (np.array(list(x.values())) for x in (world.groups, world.input_variance))
    for power in range(8):
        assert_allclose(f @ m**power, np.mean(rho**power), rtol=1e-11)
    assert ok.spectrum(rho, nodes=8).error < world.error < 0.01
    assert ok.spectrum(rho[:3]).error == 0.0


def test_a_power_law_has_mean_one():
    world = ok.power_law(1.2, input_dim=1000, nodes=10)
    f, m = (np.array(list(x.values())) for x in (world.groups, world.input_variance))
    assert_allclose(f @ m, 1.0, rtol=1e-12)
    assert_allclose(list(ok.power_law(0.0).input_variance.values()), [1.0], rtol=1e-12)


@pytest.mark.parametrize("delta", [0.4, 1.0, 2.0])
def test_marchenko_pastur_is_that_of_random_features(delta):
    """Σ f of the manifold's modes, and their gains, are those of a large matrix F."""
    N = 1500
    D = round(delta * N)
    rng = np.random.default_rng(1)
    rho = np.linalg.eigvalsh(np.cov(rng.standard_normal((N, D)), rowvar=False, bias=True))
    rho = rho[rho > 1e-9]
    world = ok.hidden_manifold(delta, "linear", nodes=10)
    wide = max(delta, 1.0)
    modes = [g for g in world.groups if g.startswith("mode")]
    f = np.array([world.groups[g] for g in modes])
    a = np.array([world.student_gain[g] for g in modes])
    assert_allclose(f.sum() * wide, min(delta, 1.0), rtol=1e-12)
    for power in (1, 2, 3):
        # a² = ρ/δ; moments of a random matrix fluctuate by O(1/N) around their limit.
        expected = np.sum((rho / delta) ** power) / N
        assert_allclose(wide * f @ a ** (2 * power), expected, rtol=0.02)


def test_nodes_of_a_manifold_converge():
    """Against 40 nodes up to t = 20."""
    times = np.array([0.0, 1.0, 5.0, 20.0])
    exact = learning(ok.hidden_manifold(0.5, "sign", nodes=30), times)
    off = [
        np.abs(learning(ok.hidden_manifold(0.5, "sign", nodes=n), times) - exact).max()
        for n in (5, 8, 12)
    ]
    for found, most in zip(off, (4e-3, 1e-4, 1e-5), strict=True):
        assert found < most, off


def test_a_linear_manifold_of_full_width_is_white_noise():
    """δ = ρ = b = 1, ζ = 0: one mode of gain one, the old system."""
    one = ok.hidden_manifold(1.0, "linear", nodes=1)
    assert_allclose(list(one.student_gain.values()), [1.0])
    assert_allclose(list(one.student_noise_std.values()), [0.0], atol=1e-6)
    times = np.array([0.0, 1.0, 4.0])
    plain = learning(InputGroups({"all": 1.0}), times)
    assert_allclose(learning(one, times), plain, rtol=0, atol=1e-9)


def test_teachers_confined_to_the_relevant_inputs():
    world = ok.curriculum_groups(0.25)
    T = np.array([[1.0, 0.2], [0.2, 1.0]])
    f = np.array(list(world.groups.values()))
    assert_allclose(np.tensordot(f, world.teacher(T), 1), T)


SWEPT = xr.DataArray([0.2, 0.3], dims="a")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ok.spectrum([1.0, -0.5]), r"`eigenvalues` must be >= 0, got -0.5"),
        (lambda: ok.spectrum([1.0, 2.0], [0.5, 0.4]), r"`weights` .* sum to 1, got .* 0.9"),
        (lambda: ok.spectrum([1.0, 1.0], nodes=2), r"`nodes` must be between 1 and 1"),
        (lambda: ok.hidden_manifold(-1.0, "relu"), r"`latent_ratio` must be > 0"),
        (lambda: ok.hidden_manifold(1.0, "step"), r"`nonlinearity` must be a function or one of"),
        (lambda: ok.power_law(-1.0), r"`exponent` must be >= 0"),
        (lambda: ok.curriculum_groups(1.0), r"`relevant` must be below 1"),
        (lambda: ok.curriculum_groups(SWEPT), r"`relevant` must be one number, got .* \('a',\)"),
        (lambda: ok.hidden_manifold(SWEPT, "relu"), r"`latent_ratio` must be one number"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ok.ProblemError, match=message):
        call()
