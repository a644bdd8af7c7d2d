"""Weight vectors with given overlaps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import odekit as ok
from committees import gram
from odekit.systems.committee.state import joint

ROUNDING = 1e-13


def state_of(C, K):
    return ok.OrderParameters(Q=C[:K, :K], R=C[:K, K:], T=C[K:, K:])


def off(state, W, B):
    """Largest deviation of any overlap, relative to the lengths of its two vectors."""
    C = joint(state.Q, state.R, state.T)
    vectors = np.vstack([W, B])
    size = np.sqrt(np.diag(C))
    scale = np.outer(size, size)
    difference = np.abs(vectors @ vectors.T / W.shape[1] - C)
    return (difference / np.where(scale > 0, scale, 1.0)).max()


@given(
    K=st.integers(1, 5),
    P=st.integers(1, 5),
    more=st.integers(0, 40),
    seed=st.integers(0, 2**32),
    log_scale=st.floats(-12, 3),
)
def test_overlaps_are_exact(K, P, more, seed, log_scale):
    """Also where the student's weights are many orders smaller than the teacher's."""
    C = gram(np.random.default_rng(seed), K + P, K + P + 2)
    size = np.where(np.arange(K + P) < K, 10.0**log_scale, 1.0)
    state = state_of(C * np.outer(size, size), K)
    W, B = ok.realise(state, input_dim=K + P + more, seed=seed)
    assert off(state, W, B) < ROUNDING


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_rank_deficient_states_fit_into_as_many_dimensions(rank):
    vectors = np.random.default_rng(0).normal(size=(5, rank))
    state = state_of(vectors @ vectors.T, 2)
    W, B = ok.realise(state, input_dim=rank, seed=0)
    # The factor is a square root: eigenvalues lost to rounding count by their size alone.
    assert off(state, W, B) < 10 * ROUNDING
    if rank > 1:
        with pytest.raises(ok.ProblemError, match="rank of the overlaps"):
            ok.realise(state, input_dim=rank - 1, seed=0)


def test_specialised_students_and_units_at_zero():
    state = ok.OrderParameters(Q=[[1.0, 0.0], [0.0, 0.0]], R=[[1.0, 0.0], [0, 0]], T=np.eye(2))
    W, B = ok.realise(state, input_dim=50, seed=3)
    assert off(state, W, B) < ROUNDING
    np.testing.assert_allclose(W[0], B[0], atol=1e-13)
    assert not W[1].any()


def test_seeds_turn_the_frame():
    state = ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]])
    W, _ = ok.realise(state, input_dim=30, seed=0)
    again, _ = ok.realise(state, input_dim=30, seed=0)
    other, _ = ok.realise(state, input_dim=30, seed=1)
    np.testing.assert_array_equal(W, again)
    assert np.abs(W - other).max() > 0.1


def test_directions_are_random():
    """No input is preferred: each carries an Nth of every weight vector, on average."""
    state = ok.OrderParameters(Q=[[1.0]], R=[[0.3]], T=[[1.0]])
    share = np.mean([ok.realise(state, 8, seed)[0][0] ** 2 for seed in range(2000)], axis=0)
    # Var(w_i²) = 2 N/(N + 2) − … < 2 for a random direction of length √N.
    assert np.abs(share - 1).max() < 4 * np.sqrt(2 / 2000)


DRAWS = 4000


@pytest.fixture(scope="module")
def drawn():
    """Vectors of length √N in 6 dimensions, shape (draws, 3, 6), of overlaps C."""
    C = np.array([[1.0, 0.3, -0.2], [0.3, 1.0, 0.5], [-0.2, 0.5, 1.0]])
    pairs = [ok.realise(state_of(C, 2), 6, seed) for seed in range(DRAWS)]
    return C, np.array([np.vstack(pair) for pair in pairs])


def test_no_side_is_preferred(drawn):
    """Means vanish, of every weight: raw factors of LAPACK lean to one side in each coordinate."""
    _, vectors = drawn
    assert np.abs(vectors.mean(axis=0)).max() < 4.5 / np.sqrt(DRAWS)
    # Products of the weights of one vector too: they have variance N²/(N (N + 2)) at most.
    for x in vectors.swapaxes(0, 1):
        second = x.T @ x / DRAWS
        assert np.abs(second - np.eye(6)).max() < 4.5 * np.sqrt(2 / DRAWS)


def test_weights_of_two_vectors_are_correlated_by_their_overlap_alone(drawn):
    C, vectors = drawn
    second = np.einsum("smi,snj->mnij", vectors, vectors) / DRAWS
    off = second - C[:, :, None, None] * np.eye(6)
    assert np.abs(off).max() < 4.5 * np.sqrt(2 / DRAWS)


def test_weights_have_the_distribution_of_a_point_on_a_sphere(drawn):
    """(1 + w/√N)/2 ~ Beta((N − 1)/2, (N − 1)/2), of every coordinate and along any direction."""
    _, vectors = drawn
    beta = stats.beta(2.5, 2.5)
    along = np.array([1.0, -2.0, 0.5, 0.0, 1.0, 3.0])
    directions = np.vstack([np.eye(6), along / np.linalg.norm(along)])
    for x in vectors.swapaxes(0, 1):
        for w in directions @ x.T:
            assert stats.kstest(0.5 * (1.0 + w / np.sqrt(6)), beta.cdf).pvalue > 1e-5


def test_as_many_vectors_as_dimensions_are_turned_and_reflected():
    state = state_of(np.eye(3), 1)
    frames = [np.vstack(ok.realise(state, 3, seed)) for seed in range(400)]
    signs = [np.sign(np.linalg.det(frame)) for frame in frames]
    assert abs(np.mean(signs)) < 4.5 / 20


@pytest.mark.parametrize(
    ("change", "argument"), [({"input_dim": 0}, "input_dim"), ({"input_dim": 2.5}, "input_dim")]
)
def test_refusals(change, argument):
    state = ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]])
    with pytest.raises(ok.ProblemError) as error:
        ok.realise(**{"state": state, "input_dim": 10, "seed": 0, **change})
    assert error.value.argument == argument


def test_a_sweep_is_refused():
    state = ok.OrderParameters.draw(2, 2, weight_std=1.0, input_dim=100, seed=0, draws=3)
    with pytest.raises(ok.ProblemError, match="plain numbers"):
        ok.realise(state, input_dim=10, seed=0)
