"""Scratch memory of one trajectory, in the layout the kernels compute in.

Rows are padded to whole vectors. Padding is zero from the start and stays zero or finite, so that a
padded lane never makes a NaN of its own.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels._jit import kernel
from odekit_kernels.simd import round_up

__all__ = ["Work", "WorkOfGroups", "make_work", "upper_index"]

Array = NDArray[np.float64]


class WorkOfGroups(NamedTuple):
    """Scratch arrays for groups of inputs, apart: what a call takes costs time.

    Attributes
    ----------
    G : ndarray, shape (G, D, X)
        Overlaps in each group of inputs.
    p : ndarray, shape (S,)
        Probabilities of the tasks of one law.
    own, E : ndarray, shape (K,), (K, L)
        The drive of one group.
    x : ndarray, shape (1, L)
        A passive vector's overlaps in one group, times the moments of what is seen.
    z : ndarray, shape (1, K (K + 1) / 2 + K P + H K)
        One block; derivatives of one output with respect to C and to the heads.
    """

    G: Array
    p: Array
    own: Array
    E: Array
    x: Array
    z: Array


class Work(NamedTuple):
    """Scratch arrays; D = K + P fields, L = D and X = L + D // 2 rounded up to whole vectors.

    Attributes
    ----------
    C : ndarray, shape (D, X)
        Covariance of the fields. Rows of student units go on cyclically: C[k, D + i] = C[k, i].
    diag : ndarray, shape (X,)
        Its diagonal, cyclic.
    ring : ndarray, shape (D // 2 + 1, L)
        Its cyclic diagonals, ring[j, a] = C[a, (a + j) % D]: every pair of fields once, in lanes.
    c : ndarray, shape (S, L)
        Coefficients of the error, (−v, u), for each task.
    cyclic : ndarray, shape (S, X)
        The same, cyclic.
    cc : ndarray, shape (S, (D // 2 + 1) L)
        c_a c_b of each pair, in the order of `ring`, twice where a pair stands for (a, b), (b, a).
    mixed : ndarray, shape (1, (D // 2 + 1) L)
        Average of `cc` over tasks for one pair of units.
    cbar : ndarray, shape (K, L)
        Σ_s p_s v_k c_a.
    s : ndarray, shape (K, L)
        Of each pair, what its moments have in common.
    own, E : ndarray, shape (K,), (K, L)
        The drive: D_k = Σ_a cbar_ka E[g''(k) g(a)] and E_ka = cbar_ka J2(k, a).
    A : ndarray, shape (K, L)
        Σ_s p_s v_k A_kb = D_k C_kb + Σ_a E_ka C_ab.
    d : ndarray, shape (K (K + 1) / 2, X)
        1/√(1 + C̃_aa) of each tilted covariance.
    S, J2 : ndarray, shape (K, K)
        Σ_s p_s v_k v_l Σ_ab c_a c_b I4(k, l, a, b), and J2(k, l); upper triangles.
    I2 : ndarray, shape (D, L)
        Second moments.
    row : ndarray, shape (L,)
        Coefficients of one task or head.
    by_k, by_a, by_c : ndarray, shape (L,)
        Derivatives of D_k x_k + Σ_a E_ka x_a with respect to C_ka, C_aa and cbar_ka, for all a.
    place : ndarray of int64, shape (K, D)
        Where C_ka is in the state.
    F, B : ndarray, shape (D, L)
        For one pair of units: asin's under the tilted covariance, and the derivatives of the η² sum
        by the entries of C, which is symmetric: C_ab and C_ba count as two.
    pqd : ndarray, shape (3, L)
        The tilt of one pair: C̃ = C − x pᵀ − y qᵀ, and d.
    Bp : ndarray, shape (2, L)
        B p and B q.
    m, e : ndarray, shapes (S, L) and (S,)
        Σ_b c_b I4(k, l, a, b) and the whole power of each task, for one pair of units.
    of_groups : WorkOfGroups or None
        What groups of inputs take besides.
    """

    C: Array
    diag: Array
    ring: Array
    c: Array
    cyclic: Array
    cc: Array
    mixed: Array
    cbar: Array
    s: Array
    own: Array
    E: Array
    A: Array
    d: Array
    S: Array
    J2: Array
    I2: Array
    row: Array
    by_k: Array
    by_a: Array
    by_c: Array
    place: NDArray[np.int64]
    F: Array
    B: Array
    pqd: Array
    Bp: Array
    m: Array
    e: Array
    of_groups: WorkOfGroups | None = None


@kernel(forceinline=True)
def upper_index(k: int, l: int, K: int) -> int:
    """Place of (k, l), k ≤ l, in an upper triangle row by row."""
    return k * (2 * K - k - 1) // 2 + l


def _aligned(shape: tuple[int, ...]) -> Array:
    """Zeros from a cache line on: a vector across two of them costs two accesses."""
    size = math.prod(shape)
    block = np.zeros(size + 7)
    first = -(block.ctypes.data // 8) % 8
    return block[first : first + size].reshape(shape)


def make_work(K: int, P: int, H: int, S: int, G: int = 0) -> Work:
    """Allocate scratch memory for K units, P fixed vectors, H heads and S tasks of a phase.

    Parameters
    ----------
    K, P, H, S : int
        Numbers of student units, fixed vectors, heads, and tasks sampled in the phase.
    G : int
        Number of groups of inputs, 0 where all are alike.

    Returns
    -------
    Work
        Not to be shared between threads.
    """
    D = K + P
    L = round_up(D)
    X = round_up(L + D // 2)
    J = D // 2 + 1
    shapes: dict[str, Any] = {
        "C": (D, X),
        "diag": (X,),
        "ring": (J, L),
        "c": (S, L),
        "cyclic": (S, X),
        "cc": (S, J * L),
        "mixed": (1, J * L),
        "cbar": (K, L),
        "s": (K, L),
        "own": (K,),
        "E": (K, L),
        "A": (K, L),
        "d": (K * (K + 1) // 2, X),
        "S": (K, K),
        "J2": (K, K),
        "I2": (D, L),
        "row": (L,),
        "by_k": (L,),
        "by_a": (L,),
        "by_c": (L,),
        "F": (D, L),
        "B": (D, L),
        "pqd": (3, L),
        "Bp": (2, L),
        "m": (S, L),
        "e": (S,),
    }
    pairs, upper = K * (K + 1) // 2, np.zeros((K, K), dtype=np.int64)
    upper[np.triu_indices(K)] = np.arange(pairs)
    crossed = pairs + np.arange(K * P, dtype=np.int64).reshape(K, P)
    place = np.concatenate([np.maximum(upper, upper.T), crossed], axis=1)
    of_groups = None
    if G:
        size = K * (K + 1) // 2 + K * P + H * K
        more = {"G": (G, D, X), "p": (S,), "own": (K,), "E": (K, L), "x": (1, L), "z": (1, size)}
        of_groups = WorkOfGroups(**{name: _aligned(shape) for name, shape in more.items()})
    arrays = {name: _aligned(shape) for name, shape in shapes.items()}
    return Work(place=place, of_groups=of_groups, **arrays)
