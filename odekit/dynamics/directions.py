"""Eigenvalues of Jacobians at fixed points: which grow, which vanish, and along what."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import schur

from odekit.base.arrays import Floats, Indices

ZERO = 1e-5
"""Eigenvalues below this part of the largest are zero: a block of three zeros that are one
direction splits by the cube root of rounding."""


class Directions(NamedTuple):
    """Eigenvalues and eigenvectors of m Jacobians, the fastest growing first.

    Attributes
    ----------
    values : ndarray of complex, shape (m, n)
    vectors : ndarray of complex, shape (m, n, n)
        Unit vectors: ``vectors[i, :, a]`` belongs to ``values[i, a]``.
    zero : ndarray of bool, shape (m, n)
        Which eigenvalues vanish.
    still : ndarray of bool, shape (m, n)
        Entries of the state that nothing moves.
    """

    values: Any
    vectors: Any
    zero: Any
    still: Any

    @property
    def unstable(self) -> Indices:
        """Number of directions that grow, shape (m,)."""
        return np.asarray(((self.values.real > 0) & ~self.zero).sum(axis=1))


def directions(J: Floats) -> Directions:
    """Eigenvalues and eigenvectors, sorted.

    Parameters
    ----------
    J : ndarray, shape (m, n, n)
        Finite.
    """
    values, vectors = np.linalg.eig(J)
    values, vectors = values.astype(complex), vectors.astype(complex)
    zero = np.abs(values) <= ZERO * np.abs(values).max(axis=1, initial=0.0)[:, np.newaxis]
    # Zeros of either sign stand together, and pairs of complex ones side by side.
    order = np.lexsort((-values.imag, np.where(zero, 0.0, -values.real)), axis=-1)
    return Directions(
        np.take_along_axis(values, order, 1),
        np.take_along_axis(vectors, order[:, np.newaxis, :], 2),
        np.take_along_axis(zero, order, 1),
        (J == 0.0).all(axis=2),
    )


def zero_space(J: Floats, still: Any, largest: float) -> Floats:
    """What vanishing eigenvalues act on, entries of the state that nothing moves left out.

    Parameters
    ----------
    J : ndarray, shape (n, n)
    still : ndarray of bool, shape (n,)
    largest : float
        Modulus of the largest eigenvalue.

    Returns
    -------
    ndarray, shape (n, q)
        An orthonormal basis of the invariant subspace of the q zeros.
    """
    moving = np.flatnonzero(~still)
    if not moving.size:
        return np.zeros((len(J), 0))
    limit = ZERO * largest

    def vanishes(real: float, imag: float = 0.0) -> bool:
        return bool(np.hypot(real, imag) <= limit)

    _, basis, q = schur(J[np.ix_(moving, moving)], sort=vanishes)
    space = np.zeros((len(J), q))
    space[moving] = basis[:, :q]
    return space


def growing(J: Floats, found: Directions, point: int, deviation: Floats) -> tuple[Any, Any]:
    """The part of a deviation from a fixed point that grows.

    Parameters
    ----------
    J : ndarray, shape (n, n)
    found : Directions
    point : int
        Which of these.
    deviation : ndarray, shape (n,)

    Returns
    -------
    values : ndarray of complex, shape (q,)
    parts : ndarray of complex, shape (n, q)
        The part along each of the q growing directions: Σ parts e^(values t) is real.
    """
    grows: Any = (found.values[point].real > 0) & ~found.zero[point]
    vectors = found.vectors[point][:, grows]
    left = reader(J, found, point).T
    amounts = np.linalg.solve(left @ vectors, left @ deviation)
    return found.values[point][grows], vectors * amounts


def reader(J: Floats, found: Directions, point: int) -> Floats:
    """Covectors (n, q) that see what grows and nothing else.

    A basis of the left invariant subspace: other directions may share eigenvectors, as zeros do.
    """
    limit = ZERO * np.abs(found.values[point]).max(initial=0.0)

    def grows(real: float, imag: float = 0.0) -> bool:
        return bool(real > 0 and np.hypot(real, imag) > limit)

    _, basis, q = schur(J.T, sort=grows)
    return np.asarray(basis[:, :q])
