"""Overlaps to start from: given, of weights, or drawn; and which of them no vectors have."""

import time
import tracemalloc

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import odekit as ok
from odekit.systems.committee.start import factor
from odekit.systems.committee.state import joint


def explicit(rng, draws, std, T, N):
    """Q and R of weights drawn in all N dimensions, shapes (draws, K, K) and (draws, K, P)."""
    L = factor(T)
    B = np.zeros((len(T), N))
    B[:, : L.shape[1]] = np.sqrt(N) * L
    W = rng.standard_normal((draws, len(std), N)) * np.asarray(std)[:, None]
    return W @ np.swapaxes(W, 1, 2) / N, W @ B.T / N


TEACHERS = {
    "orthonormal": np.eye(2),
    "rank-deficient": ok.teachers.shared(1, 1),
    "overlapping": ok.teachers.rotated(1, 0.6),
}


@pytest.mark.parametrize("N", [2, 3, 12])  # P = 2
@pytest.mark.parametrize("teacher", TEACHERS)
def test_drawn_overlaps_have_the_moments_of_explicit_weights(teacher, N):
    """First, second and third moments agree to five standard errors of both samples.

    With K = 3 units, N = 2 and 3 leave fewer than K dimensions beside the teachers.
    """
    T, std, draws = TEACHERS[teacher], np.array([0.5, 1.0, 2.0]), 20_000
    start = ok.OrderParameters.draw(3, T, weight_std=std, input_dim=N, seed=5, draws=draws)
    Q, R = explicit(np.random.default_rng(11), draws, std, T, N)
    ours = np.concatenate([start.Q.values.reshape(draws, -1), start.R.values.reshape(draws, -1)], 1)
    theirs = np.concatenate([Q.reshape(draws, -1), R.reshape(draws, -1)], 1)
    ours, theirs = _monomials(ours), _monomials(theirs)
    error = np.sqrt((ours.var(0) + theirs.var(0)) / draws)
    assert (np.abs(ours.mean(0) - theirs.mean(0)) <= 5 * error + 1e-12).all()


def _monomials(x):
    """Entries, all products of two, and cubes."""
    products = x[:, :, None] * x[:, None, :]
    return np.concatenate([x, products.reshape(len(x), -1), x**3], axis=1)


def test_drawn_overlaps_have_the_distribution_of_explicit_weights():
    """Largest distance of the two empirical distributions: 1.95 √(2/n) is exceeded by chance in
    one case of a thousand."""
    draws, T, std = 20_000, np.eye(1), [1.0, 1.0]
    start = ok.OrderParameters.draw(2, T, weight_std=1.0, input_dim=4, seed=1, draws=draws)
    Q, R = explicit(np.random.default_rng(2), draws, std, T, 4)
    pairs = [(start.Q[:, 0, 0], Q[:, 0, 0]), (start.Q[:, 0, 1], Q[:, 0, 1])]
    pairs += [(start.R[:, 0, 0], R[:, 0, 0]), (start.Q[:, 1, 1] - start.R[:, 1, 0] ** 2, None)]
    pairs[-1] = (pairs[-1][0], Q[:, 1, 1] - R[:, 1, 0] ** 2)
    for ours, theirs in pairs:
        both = np.sort(np.concatenate([ours, theirs]))
        gap = np.searchsorted(np.sort(ours), both, "right")
        gap = gap - np.searchsorted(np.sort(theirs), both, "right")
        assert np.abs(gap).max() / draws < 1.95 * np.sqrt(2 / draws)


def test_in_fewer_dimensions_than_units_the_overlaps_have_their_rank():
    start = ok.OrderParameters.draw(4, 1, weight_std=1.0, input_dim=2, seed=0, draws=50)
    rank = np.linalg.matrix_rank(joint(start.Q, start.R, start.T), tol=1e-9, hermitian=True)
    assert (rank == 2).all()


def test_all_dimensions_within_the_teachers_span_leave_nothing_outside():
    start = ok.OrderParameters.draw(2, 3, weight_std=1.0, input_dim=3, seed=0)
    np.testing.assert_allclose(start.R @ start.R.T, start.Q, rtol=1e-13)


def test_input_dimension_costs_nothing():
    tracemalloc.start()
    begin = time.process_time()
    start = ok.OrderParameters.draw(8, 8, weight_std=1e-3, input_dim=10**15, seed=3)
    seconds = time.process_time() - begin
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (seconds < 1.0, peak < 2**20) == (True, True)
    np.testing.assert_allclose(np.diag(start.Q), 1e-6, rtol=1e-6)


def test_draws_are_reproducible_independent_and_labelled():
    def draw(**more):
        return ok.OrderParameters.draw(2, 2, weight_std=1e-3, input_dim=100, **more)

    np.testing.assert_array_equal(draw(seed=4).Q, draw(seed=4).Q)
    assert (draw(seed=4).Q != draw(seed=5).Q).all()
    many = draw(seed=4, draws=3)
    assert (many.Q.dims, many.R.dims) == (
        ("draw", "student", "student_other"),
        ("draw", "student", "teacher"),
    )
    assert many.Q.shape == (3, 2, 2)
    assert len(np.unique(many.Q[:, 0, 0])) == 3
    assert (many.student, many.teacher) == (2, 2)


def test_overlaps_of_weights():
    rng = np.random.default_rng(0)
    W, B = rng.standard_normal((3, 40)), rng.standard_normal((2, 40))
    start = ok.OrderParameters.from_weights(W, B)
    np.testing.assert_allclose(start.Q, W @ W.T / 40, rtol=1e-14)
    np.testing.assert_allclose(start.R, W @ B.T / 40, rtol=1e-14)
    np.testing.assert_allclose(start.T, B @ B.T / 40, rtol=1e-14)
    copies = ok.OrderParameters.from_weights(np.vstack([W, W]), W)
    assert (copies.student, copies.teacher) == (6, 3)


BAD = {
    "Q with NaN": ({"Q": [[np.nan]], "R": [[0.0]], "T": [[1.0]]}, "Q", "finite"),
    "T infinite": ({"Q": [[1.0]], "R": [[0.0]], "T": [[np.inf]]}, "T", "finite"),
    "R transposed": ({"Q": np.eye(3), "R": np.zeros((2, 3)), "T": np.eye(2)}, "R", "transposed"),
    "Q not square": ({"Q": np.ones((2, 3)), "R": [[0.0]], "T": [[1.0]]}, "Q", "square"),
    "Q a number": ({"Q": 1.0, "R": [[0.0]], "T": [[1.0]]}, "Q", "shape"),
    "Q empty": ({"Q": np.zeros((0, 0)), "R": np.zeros((0, 1)), "T": [[1.0]]}, "Q", "square"),
    "Q asymmetric": (
        {"Q": [[1, 0.1], [0.2, 1]], "R": np.zeros((2, 1)), "T": [[1.0]]},
        "Q",
        "symmetric",
    ),
    "Q masked": (
        {"Q": np.ma.masked_array([[1.0]], [[True]]), "R": [[0.0]], "T": [[1.0]]},
        "Q",
        "no masked entries",
    ),
    "T complex": ({"Q": [[1.0]], "R": [[0.0]], "T": [[1j]]}, "T", "real numbers"),
    "Q negative": ({"Q": [[-1.0]], "R": [[0.0]], "T": [[1.0]]}, "Q, R, T", "semidefinite"),
    "Q a hair negative": ({"Q": [[-1e-12]], "R": [[0.0]], "T": [[1.0]]}, "Q, R, T", "semidefinite"),
    "R too long": ({"Q": [[1.0]], "R": [[1.1]], "T": [[1.0]]}, "Q, R, T", "Cauchy"),
    "R too long, small": ({"Q": [[1e-12]], "R": [[1.1e-6]], "T": [[1.0]]}, "Q, R, T", "Cauchy"),
    "R of nothing": ({"Q": [[0.0]], "R": [[0.1]], "T": [[1.0]]}, "Q, R, T", "Cauchy"),
    "Q indefinite": (
        {"Q": [[1, 2], [2, 1]], "R": np.zeros((2, 1)), "T": [[1.0]]},
        "Q, R, T",
        "lowest",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_overlaps_that_no_vectors_have_are_refused(name):
    blocks, argument, said = BAD[name]
    with pytest.raises(ok.ProblemError, match=said) as caught:
        ok.OrderParameters(**blocks)
    assert caught.value.argument == argument


def test_rounded_overlaps_and_those_of_copied_units_pass():
    """Six digits, a student that equals its teacher, and one of length zero."""
    third = [[0.333333, 0.333333], [0.333333, 0.333333]]
    ok.OrderParameters(Q=third, R=third, T=[[0.333333, 0.333333]] * 2)
    ok.OrderParameters(Q=[[1.0]], R=[[1.0 + 1e-9]], T=[[1.0]])
    ok.OrderParameters(Q=[[0.0]], R=[[0.0]], T=[[1.0]])
    ok.OrderParameters(Q=[[1e-300]], R=[[0.0]], T=[[1.0]])


def test_asymmetry_of_rounding_is_removed():
    start = ok.OrderParameters(Q=[[1, 0.1], [0.1 + 1e-12, 1]], R=np.zeros((2, 1)), T=[[1.0]])
    assert start.Q[0, 1] == start.Q[1, 0]


def test_labelled_overlaps_are_checked_at_every_point_and_by_name():
    R = xr.DataArray([0.5, 0.9, 1.1], dims="overlap").expand_dims(student=1, teacher=1)
    good = ok.OrderParameters(Q=[[1.0]], R=R.isel(overlap=slice(2)), T=[[1.0]])
    assert good.R.dims == ("overlap", "student", "teacher")
    with pytest.raises(ok.ProblemError, match="semidefinite"):
        ok.OrderParameters(Q=[[1.0]], R=R, T=[[1.0]])
    Q = xr.DataArray([1.0, 2.0], dims="size").expand_dims(student=1, student_other=1)
    both = ok.OrderParameters(Q=Q, R=R.isel(overlap=slice(2)), T=[[1.0]])
    assert joint(both.Q, both.R, both.T).shape == (2, 2, 2, 2)
    # Two dims that share a name but not a length cannot be one axis.
    Q, R = Q.rename(size="overlap"), R.isel(overlap=slice(2))
    with pytest.raises(ok.ProblemError, match="agree in the lengths"):
        ok.OrderParameters(Q=Q, R=R.isel(overlap=slice(1)), T=[[1.0]])
    with pytest.raises(ok.ProblemError, match="coordinates"):
        ok.OrderParameters(
            Q=Q.assign_coords(overlap=[0.1, 0.2]), R=R.assign_coords(overlap=[0.3, 0.4]), T=[[1.0]]
        )


REFUSED = {
    "a thousand million units": ({"student": 10**9}, "student", "1024"),
    "no units": ({"student": 0}, "student", "between 1"),
    "half a unit": ({"student": 1.5}, "student", "integer"),
    "True units": ({"student": True}, "student", "integer"),
    "a thousand million teachers": ({"teacher": 10**9}, "teacher", "1024"),
    "many draws": ({"draws": 10**9}, "draws", "memory|2 GiB"),
    "no draws": ({"draws": 0}, "draws", "between 1"),
    "few dimensions": ({"teacher": 5, "input_dim": 4}, "input_dim", "at least"),
    "no spread": ({"weight_std": 0.0}, "weight_std", "> 0"),
    "spread of another length": ({"weight_std": [1.0, 1.0, 1.0]}, "weight_std", r"\(2,\)"),
    "empty spread": ({"weight_std": []}, "weight_std", "> 0"),
    "negative seed": ({"seed": -1}, "seed", "between 0"),
    "seed of text": ({"seed": "7"}, "seed", "integer"),
    "indefinite teacher": ({"teacher": [[1, 2], [2, 1]]}, "Q, R, T", "semidefinite"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_draws_that_cannot_be_are_refused_at_once(name):
    changes, argument, said = REFUSED[name]
    arguments = {"student": 2, "teacher": 2, "weight_std": 1.0, "input_dim": 10, "seed": 0}
    begin = time.process_time()
    with pytest.raises(ok.ProblemError, match=said) as caught:
        ok.OrderParameters.draw(**{**arguments, **changes})
    assert caught.value.argument == argument
    assert time.process_time() - begin < 1.0


def test_arrays_beyond_memory_are_refused_at_once():
    """A broadcast view of 10⁹ entries takes 8 bytes until it is copied."""
    begin = time.process_time()
    with pytest.raises(ok.ProblemError, match="at most"):
        ok.OrderParameters(np.broadcast_to(1.0, (40_000, 40_000)), [[0.0]], [[1.0]])
    with pytest.raises(ok.ProblemError, match="at most"):
        ok.OrderParameters([[1.0]], np.broadcast_to(0.0, (10**9, 1)), [[1.0]])
    with pytest.raises(ok.ProblemError, match="at most"):
        ok.OrderParameters.from_weights(np.broadcast_to(0.0, (1, 10**9)), [[1.0]])
    assert time.process_time() - begin < 1.0


@pytest.mark.parametrize(
    ("W", "B"), [([1.0], [[1.0]]), ([[1.0, 2.0]], [[1.0]]), (np.zeros((0, 2)), np.zeros((1, 2)))]
)
def test_weights_of_wrong_shape(W, B):
    with pytest.raises(ok.ProblemError, match="weight vectors"):
        ok.OrderParameters.from_weights(W, B)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 9), st.integers(0, 2**32))
def test_every_draw_is_a_possible_set_of_overlaps(K, P, extra, seed):
    """Construction checks it; here once more, to the rounding of eigenvalues."""
    start = ok.OrderParameters.draw(K, P, weight_std=1.0, input_dim=P + extra - 1, seed=seed)
    eigenvalues = np.linalg.eigvalsh(joint(start.Q, start.R, start.T))
    assert eigenvalues[0] >= -1e-13 * eigenvalues[-1]
    np.testing.assert_array_equal(start.Q, start.Q.T)
