"""Fixed vectors and readouts: overlaps as asked for, and refusals of those that cannot be."""

import time

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import odekit as ok
from odekit.systems.committee.start import factor

# Rounding of a few products of numbers of order one.
ROUNDING = 1e-13


def test_orthonormal():
    np.testing.assert_array_equal(ok.teachers.orthonormal(3), np.eye(3))


def test_random_teachers_have_overlaps_of_order_one_over_root_n():
    T = ok.teachers.random(50, input_dim=10_000, seed=1, norm=2.0)
    np.testing.assert_array_equal(T, T.T)
    # Five standard errors: T_nn has variance 2·norm²/N, T_nm norm²/N.
    assert np.abs(np.diag(T) - 2.0).max() < 5 * 2.0 * np.sqrt(2 / 10_000)
    off = T[np.triu_indices(50, 1)]
    assert abs(off.std() * 100 / 2.0 - 1) < 5 / np.sqrt(2 * off.size)
    assert abs(off.mean()) < 5 * 2.0 / 100 / np.sqrt(off.size)
    np.testing.assert_array_equal(T, ok.teachers.random(50, input_dim=10_000, seed=1, norm=2.0))


@given(st.integers(1, 4), st.floats(-1, 1))
def test_rotated_pairs(units, V):
    T = ok.teachers.rotated(units, V)
    np.testing.assert_allclose(T[:units, units:], V * np.eye(units), atol=0)
    np.testing.assert_array_equal(T[:units, :units], np.eye(units))
    assert np.linalg.eigvalsh(T)[0] >= -ROUNDING


@given(st.integers(2, 6), st.floats(0, 1))
def test_rotated_families_of_one_common_overlap(tasks, where):
    lowest = -1 / (tasks - 1)
    V = lowest + where * (1 - lowest)
    T = ok.teachers.rotated(2, V, tasks=tasks)
    assert T.shape == (2 * tasks, 2 * tasks)
    assert np.linalg.eigvalsh(T)[0] >= -ROUNDING * tasks
    if tasks > 2:
        with pytest.raises(ok.ProblemError, match=f"{lowest:.3g}"):
            ok.teachers.rotated(2, lowest - 1e-6, tasks=tasks)


def test_rotated_by_a_matrix_of_overlaps():
    S = np.array([[1, 0.5, 0.1], [0.5, 1, 0.2], [0.1, 0.2, 1]])
    T = ok.teachers.rotated(2, S, tasks=3)
    np.testing.assert_array_equal(T[::2, ::2], S)
    assert not T[::2, 1::2].any()


def test_rotated_along_a_sweep():
    V = xr.DataArray([0.0, 0.5], dims="V", coords={"V": [0.0, 0.5]})
    T = ok.teachers.rotated(2, V)
    assert T.dims == ("V", "teacher", "teacher_other")
    np.testing.assert_array_equal(T.sel(V=0.5), ok.teachers.rotated(2, 0.5))


def test_shared_units():
    np.testing.assert_array_equal(ok.teachers.shared(2, 0), np.eye(4))
    T = ok.teachers.shared(3, 2, tasks=3)
    assert np.linalg.matrix_rank(T) == 2 + 3 * 1
    start = ok.OrderParameters.draw(2, T, weight_std=1.0, input_dim=50, seed=0)
    np.testing.assert_allclose(start.R[:, 0], start.R[:, 3], rtol=ROUNDING)


@given(st.integers(2, 5), st.floats(-1, 1), st.floats(0.1, 10))
def test_readouts_have_their_angle_and_size(units, cosine, scale):
    first, second = ok.teachers.readouts(units, cosine, scale=scale)
    np.testing.assert_allclose(first, scale, rtol=ROUNDING)
    size = scale * np.sqrt(units)
    np.testing.assert_allclose(np.linalg.norm(second), size, rtol=1e-12)
    # A pivot under 1e-13 counts as zero: cosines this near to ±1 are ±1.
    assert abs(first @ second / size**2 - cosine) < 1e-12


def test_readouts_of_one_unit_are_parallel():
    np.testing.assert_array_equal(ok.teachers.readouts(1, -1.0), [[1.0], [-1.0]])
    with pytest.raises(ok.ProblemError, match="1 dimensions"):
        ok.teachers.readouts(1, 0.5)
    with pytest.raises(ok.ProblemError, match="2 dimensions"):
        ok.teachers.readouts(2, 0.0, tasks=3)


def test_embedded_readouts():
    np.testing.assert_array_equal(ok.teachers.embed([2.0, 3.0], 1, tasks=3), [0, 0, 2, 3, 0, 0])


REFUSED = {
    "overlap": lambda: ok.teachers.rotated(1, 1.5),
    "overlap of text": lambda: ok.teachers.rotated(1, "x"),
    "overlap NaN": lambda: ok.teachers.rotated(1, np.nan),
    "asymmetric": lambda: ok.teachers.rotated(1, [[1, 0.5], [0.4, 1]]),
    "diagonal": lambda: ok.teachers.rotated(1, [[2, 0.5], [0.5, 1]]),
    "size": lambda: ok.teachers.rotated(1, np.eye(3)),
    "units": lambda: ok.teachers.orthonormal(10**9),
    "units and tasks": lambda: ok.teachers.rotated(1024, 0.5, tasks=1024),
    "shared units and tasks": lambda: ok.teachers.shared(1000, 1, tasks=1000),
    "readouts": lambda: ok.teachers.readouts(1024, 0.5, tasks=1024),
    "common": lambda: ok.teachers.shared(2, 3),
    "place": lambda: ok.teachers.embed([1.0], 2),
    "scale": lambda: ok.teachers.readouts(2, 0.5, scale=0.0),
    "norm": lambda: ok.teachers.random(2, input_dim=10, seed=0, norm=-1.0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_quick_and_in_one_line(name):
    begin = time.process_time()
    with pytest.raises(ok.ProblemError) as caught:
        REFUSED[name]()
    assert time.process_time() - begin < 1.0
    assert str(caught.value).startswith("`")
    assert "\n" not in str(caught.value)


@given(st.integers(1, 5), st.integers(0, 5), st.integers(0, 2**32))
def test_a_factor_exists_for_any_rank(P, rank, seed):
    B = np.random.default_rng(seed).standard_normal((P, rank))
    L = factor(B @ B.T)
    # A vanishing pivot, 1e-13 of the trace, hides entries up to its root in the rows below.
    np.testing.assert_allclose(L @ L.T, B @ B.T, atol=1e-6 * max(1.0, (B**2).sum()))
    assert L.shape == (P, P)


@given(st.floats(0.01, 10), st.lists(st.floats(-7, 7), min_size=1, max_size=5))
def test_polar_readouts_have_their_radius(radius, angles):
    v = ok.polar(radius, angles)
    assert v.shape == (len(angles) + 1,)
    np.testing.assert_allclose(np.linalg.norm(v), radius, rtol=ROUNDING)
    np.testing.assert_allclose(v[0], radius * np.cos(angles[0]), rtol=ROUNDING)


@pytest.mark.parametrize("units", [2, 3, 7])
def test_even_angles_weigh_all_units_alike(units):
    v = ok.polar(1.0, ok.even_angles(units))
    np.testing.assert_allclose(v, 1 / np.sqrt(units), rtol=ROUNDING)


def test_imbalance_keeps_the_product_and_refuses_no_gain():
    first, second = ok.imbalance(0.3, 5.0)
    assert (first / second, first * second) == (pytest.approx(25.0), pytest.approx(0.09))
    for scale, gain in [(0.0, 1.0), (1.0, -1.0)]:
        with pytest.raises(ok.ProblemError, match="> 0"):
            ok.imbalance(scale, gain)
    with pytest.raises(ok.ProblemError, match="angles"):
        ok.polar(1.0, [[0.0]])
