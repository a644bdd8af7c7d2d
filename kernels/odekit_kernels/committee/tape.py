"""Memory of the reverse pass, and what it begins with."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels._jit import inner
from odekit_kernels.simd import round_up

__all__ = ["Slopes", "Tape", "Watch", "fill_C", "first_head", "make_slopes", "make_tape"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


class Watch(NamedTuple):
    """All tasks of a problem; of a phase, which of them it samples.

    Attributes
    ----------
    u : ndarray, shape (W, P)
        Teacher readouts.
    head : ndarray of int64, shape (W,)
        Head that each answers with.
    task : ndarray of int64, shape (S,)
        Which tasks the phase samples.
    """

    u: Array
    head: Indices
    task: Indices


class Slopes(NamedTuple):
    """Derivatives of q scalars, which passes add to.

    Attributes
    ----------
    y : ndarray, shape (q, n)
        By the state; an off-diagonal entry of Q is one number.
    T : ndarray, shape (q, P, P)
        By each entry, mirrored ones apart.
    F, F_v, v_anchor : ndarray, shape (q, c, K)
    u : ndarray, shape (q, W, P)
        By the readouts of all tasks.
    p, sigma : ndarray, shape (q, S)
    kappa, eta : ndarray, shape (q, 2)
        By weight decays and learning rates of the two layers.
    """

    y: Array
    T: Array
    F: Array
    F_v: Array
    v_anchor: Array
    u: Array
    p: Array
    sigma: Array
    kappa: Array
    eta: Array


class Tape(NamedTuple):
    """What `prepare` found at a state, and scratch memory for the passes back.

    Rows are padded to L, whole vectors, with zeros.

    Attributes
    ----------
    C, C_bar : ndarray, shape (D, L)
    diag, diag_bar : ndarray, shape (L,)
        The diagonal of C; what is added to that of C̄.
    c, c_bar : ndarray, shape (S, L)
    mean, mean_bar : ndarray, shape (K, L)
        Σ_s p_s v_k c_sa.
    pair : ndarray, shape (K, 8, L)
        `pairs.drive_row`.
    second : ndarray, shape (4, L)
        `pairs.second_row`.
    share : ndarray, shape (K,)
    A, A_bar : ndarray, shape (K, L)
    M, G : ndarray, shape (D, L)
        Of one pair of units: products of coefficients; derivatives by the tilted covariance.
    tilt : ndarray, shape (5, L)
        1/√(1 + C̃_aa), the columns of U G⁻¹, those of G̃ U G⁻¹.
    out : ndarray, shape (8,)
    row : ndarray, shape (L,)
        Coefficients of one task.
    """

    C: Array
    C_bar: Array
    diag: Array
    diag_bar: Array
    c: Array
    c_bar: Array
    mean: Array
    mean_bar: Array
    pair: Array
    second: Array
    share: Array
    A: Array
    A_bar: Array
    M: Array
    G: Array
    tilt: Array
    out: Array
    row: Array


def make_tape(K: int, P: int, S: int) -> Tape:
    """Scratch memory for K units, P fixed vectors and S tasks of a phase."""
    D, L = K + P, round_up(K + P)
    shapes: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(("C", "C_bar", "M", "G"), (D, L)),
        **dict.fromkeys(("c", "c_bar"), (S, L)),
        **dict.fromkeys(("mean", "mean_bar", "A", "A_bar"), (K, L)),
        **dict.fromkeys(("diag", "diag_bar", "row"), (L,)),
        "pair": (K, 8, L),
        "second": (4, L),
        "share": (K,),
        "tilt": (5, L),
        "out": (8,),
    }
    return Tape(**{name: np.zeros(shape) for name, shape in shapes.items()})


def make_slopes(q: int, n: int, K: int, P: int, S: int, W: int, c: int) -> tuple[Slopes, Array]:
    """Zeros for q scalars, and all of them as one array (q, n + …) in the order of `Slopes`."""
    shapes = {
        "y": (n,),
        "T": (P, P),
        **dict.fromkeys(("F", "F_v", "v_anchor"), (c, K)),
        "u": (W, P),
        "p": (S,),
        "sigma": (S,),
        "kappa": (2,),
        "eta": (2,),
    }
    sizes = [math.prod(shape) for shape in shapes.values()]
    flat = np.zeros((q, sum(sizes)))
    parts = np.split(flat, np.cumsum(sizes)[:-1], axis=1)
    views = {
        name: part.reshape(q, *shape)
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }
    if any(view.size and not np.shares_memory(view, flat) for view in views.values()):
        raise TypeError("a part of the memory was copied")
    return Slopes(**views), flat


@inner
def fill_C(y: Any, T: Any, K: int, P: int, C: Any, diag: Any) -> None:
    """Write C = [[Q, R], [Rᵀ, T]], and its diagonal."""
    i = 0
    for k in range(K):
        for l in range(k, K):
            C[k, l] = y[i]
            C[l, k] = y[i]
            i += 1
    for k in range(K):
        for n in range(P):
            C[k, K + n] = y[i]
            C[K + n, k] = y[i]
            i += 1
    for n in range(P):
        for m in range(P):
            C[K + n, K + m] = T[n, m]
    for a in range(K + P):
        diag[a] = C[a, a]


@inner
def first_head(K: int, P: int) -> int:
    """Place of the heads in the state."""
    return K * (K + 1) // 2 + K * P
