"""Weight vectors that have given order parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import count, is_labelled
from odekit.base.errors import ProblemError
from odekit.systems.committee.groups import fractions, sizes
from odekit.systems.committee.state import joint

if TYPE_CHECKING:
    from odekit.systems.committee.state import OrderParameters

MOST_NUMBERS = 2**28
NULL = 1e-14
"""Eigenvalue, of vectors scaled to length one, that is zero but for rounding."""


def realise(
    state: OrderParameters,
    input_dim: int,
    seed: Any,
    groups: Mapping[str, Any] | None = None,
) -> tuple[Floats, Floats]:
    """Draw weight vectors whose overlaps are exactly those of a state.

    A factor of [[Q, R], [Rᵀ, T]] times a random orthonormal frame: all directions are equally
    likely, and the overlaps equal the state's to rounding. The state may be rank-deficient.

    Parameters
    ----------
    state : OrderParameters
        With plain numbers.
    input_dim : int
        N, at least the rank of the joint matrix of overlaps: K + P or less.
    seed : int or numpy.random.SeedSequence
    groups : dict of str to float, optional
        Fractions of the groups of inputs, where the state has any: one group after the other.

    Returns
    -------
    W : ndarray, shape (K, N)
        First-layer weights, with W Wᵀ/N = Q.
    B : ndarray, shape (P, N)
        Fixed vectors, with W Bᵀ/N = R and B Bᵀ/N = T.

    Raises
    ------
    ProblemError
        If there are no such vectors in N dimensions, or the state is swept.

    Examples
    --------
    >>> import odekit as ok
    >>> state = ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]])
    >>> W, B = ok.realise(state, input_dim=100, seed=0)
    >>> (W @ B.T / 100).round(12)
    array([[0.1]])
    """
    if any(is_labelled(x) for x in (state.Q, state.R, state.T)):
        remedy = "Select one point of the sweep."
        raise ProblemError("state", "must hold plain numbers", "labelled arrays", remedy)
    N = count("input_dim", input_dim, most=MOST_NUMBERS)
    blocks = [np.asarray(x) for x in (state.Q, state.R, state.T)]
    if (state.groups is None) != (groups is None):
        given = "none" if groups is None else repr(dict(groups))
        raise ProblemError("groups", "must be those of the state", given, "")
    if groups is not None:
        seeds = _sequence(seed).spawn(len(groups))
        numbers = sizes(fractions("groups", groups), N)
        parts = zip(zip(*blocks, strict=True), numbers, seeds, strict=True)
        vectors = np.concatenate(
            [_vectors(*part, f" in group {i}") for i, part in enumerate(parts)], 1
        )
    else:
        vectors = _vectors(blocks, N, seed, "")
    return vectors[: state.student], vectors[state.student :]


def _sequence(seed: Any) -> np.random.SeedSequence:
    """A seed as numpy takes it apart, without counting the parts."""
    if isinstance(seed, np.random.SeedSequence):
        return np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key)
    return np.random.SeedSequence(seed)


def _vectors(blocks: Sequence[Floats], N: int, seed: Any, where: str) -> Floats:
    """Vectors in N dimensions, the rows, of overlaps Q, R and T."""
    rows = factor(*blocks)
    rank = rows.shape[1]
    if rank > N:
        raise ProblemError(
            "input_dim",
            f"must be at least the rank of the overlaps, {rank}",
            f"{N}{where}",
            "No vectors in fewer dimensions have these overlaps.",
        )
    if len(rows) * N > MOST_NUMBERS:
        most = f"must make at most {MOST_NUMBERS} weights with the {len(rows)} vectors"
        raise ProblemError("input_dim", most, str(N), "")
    rng = np.random.default_rng(seed)
    return np.asarray(np.sqrt(N) * rows @ _frame(rng, N, rank).T)


def _frame(rng: np.random.Generator, N: int, rank: int) -> Floats:
    """Orthonormal columns, shape (N, rank), of which no direction is preferred (Haar's measure).

    LAPACK's signs are not random: as they stand, every first column leans to one side.
    """
    q, r = np.linalg.qr(rng.standard_normal((N, rank)))
    return np.asarray(q * np.copysign(1.0, np.diagonal(r)))


def factor(Q: Floats, R: Floats, T: Floats) -> Floats:
    """F of full column rank with F Fᵀ = [[Q, R], [Rᵀ, T]], shape (K + P, rank).

    All vectors are scaled to length one first, so that small overlaps keep their digits.
    """
    C = joint(Q, R, T)
    size = np.sqrt(np.maximum(np.diag(C), 0.0))
    scale = np.where(size > 0, size, 1.0)
    eigenvalues, vectors = np.linalg.eigh(C / np.outer(scale, scale))
    kept = eigenvalues > NULL * len(C)
    return np.asarray(size[:, None] * vectors[:, kept] * np.sqrt(eigenvalues[kept]))
