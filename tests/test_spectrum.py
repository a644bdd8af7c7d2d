"""Eigenvalues of small matrices against LAPACK's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from odekit_kernels.integrators.spectrum import radius_beyond, spectrum


@njit(error_model="numpy")
def found(J, H, p):
    return spectrum(J, H, p)


@njit(error_model="numpy")
def found_beyond(J, enough, H, p):
    return radius_beyond(J, enough, H, p)


def check(J, tolerance=1e-12):
    n = len(J)
    radius, growth = found(J, np.zeros((n, n)), np.zeros(3))
    values = np.linalg.eigvals(J)
    size = np.linalg.norm(J)
    assert abs(radius - np.abs(values).max()) <= tolerance * size
    assert abs(growth - max(values.real.max(), 0.0)) <= tolerance * size


KINDS = {
    "general": lambda A: A,
    "symmetric": lambda A: A + A.T,
    "stable": lambda A: -(A @ A.T),
    "triangular": np.triu,
    "graded": lambda A: A * np.logspace(-8, 2, len(A)),
    "of rank one": lambda A: np.outer(A[0], A[-1]),
    "nearly a multiple of one": lambda A: -1.1 * np.eye(len(A)) + 1e-9 * A,
    "zero": lambda A: 0.0 * A,
}


@given(
    n=st.integers(1, 30),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(sorted(KINDS)),
)
def test_radius_and_growth_are_those_of_lapack(n, seed, kind):
    """To 1e-12 of the norm; a defective matrix would have less, and none of these is one."""
    check(KINDS[kind](np.random.default_rng(seed).normal(size=(n, n))))


@given(
    n=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(sorted(KINDS)),
    part=st.floats(0.1, 10.0),
)
def test_a_bound_on_the_radius_is_enough_or_it_is_the_radius(n, seed, kind, part):
    J = KINDS[kind](np.random.default_rng(seed).normal(size=(n, n)))
    size = np.linalg.norm(J)
    radius, _ = found(J, np.zeros((n, n)), np.zeros(3))
    norms = (size, np.linalg.norm(J, 1), np.linalg.norm(J, np.inf))
    enough = part * min(norms)
    value, exact = found_beyond(J, enough, np.zeros((n, n)), np.zeros(3))
    assert exact == (enough < min(norms) * (1.0 - 1e-14)) or part == pytest.approx(1.0)
    if exact:
        assert value == radius
    else:
        assert radius - 1e-12 * size <= value <= enough


@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([0.0, 1e-9, 1e-6]))
def test_clusters_of_eigenvalues_split(seed, spread):
    """As on a symmetric plateau: many modes of nearly one rate, under a similarity that mixes."""
    rng = np.random.default_rng(seed)
    rates = np.repeat([-1.1, -0.9, 0.0, 0.03], [6, 6, 6, 8])
    basis = np.linalg.qr(rng.normal(size=(26, 26)))[0] + 0.1 * rng.normal(size=(26, 26))
    J = basis @ np.diag(rates + spread * rng.normal(size=26)) @ np.linalg.inv(basis)
    check(J, 1e-9)  # the inverse costs some digits


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_gives_nan(bad):
    J = np.eye(4)
    J[1, 2] = bad
    assert np.isnan(found(J, np.zeros((4, 4)), np.zeros(3))).all()
    assert np.isnan(found_beyond(J, 1e300, np.zeros((4, 4)), np.zeros(3))[0])
