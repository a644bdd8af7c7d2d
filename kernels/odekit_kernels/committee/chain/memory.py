"""What the chain reads and writes: eight networks side by side, a lane each.

The networks live in an orthonormal frame whose first axes span the fixed vectors: B = √N L_T and
W = √N [X | L], with triangular L_T and L. So T = L_T L_Tᵀ, R = X L_Tᵀ, Q = X Xᵀ + L Lᵀ, and these
are overlaps of vectors whatever is rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels.committee.chain.draws import BLOCK
from odekit_kernels.simd import WIDTH

__all__ = ["ChainMemory", "ChainRule", "constants_of", "lanes", "make_memory", "state_of", "views"]

Array = NDArray[np.float64]
Shapes = Mapping[str, tuple[int, ...]]


class ChainRule(NamedTuple):
    """What is constant in a phase; the last axis of every array of doubles is the lane.

    Attributes
    ----------
    N : int
        Input dimension.
    read : ndarray, shape (n, P, 8)
        Rows of L_T of the n fixed vectors that the phase's tasks read; P counts the axes of the
        frame that all fixed vectors span.
    u : ndarray, shape (S, n, 8)
        Their readouts in each task.
    sigma, p : ndarray, shape (S, 8)
        Standard deviations of label noise, and probabilities.
    hold : ndarray, shape (K, 8)
        Weight decay and the importance of every consolidation, summed.
    pull : ndarray, shape (K, P, 8)
        Importance times copy, summed over consolidations.
    move : ndarray, shape (K, 8)
        0.0 for frozen units.
    kappa_v : ndarray, shape (1, 8)
        Weight decay of readouts.
    F_v, Fv : ndarray, shape (H, K, 8)
        Importance of readouts, and the same times what they are held at.
    head : ndarray of int64, shape (S,)
        Head that each task trains.
    """

    N: int
    read: Array
    u: Array
    sigma: Array
    p: Array
    hold: Array
    pull: Array
    move: Array
    kappa_v: Array
    F_v: Array
    Fv: Array
    head: NDArray[np.int64]


class ChainMemory(NamedTuple):
    """What eight networks read and write as they learn; the last axis is the lane.

    Attributes
    ----------
    X : ndarray, shape (K, P, 8)
        Coordinates of the units in the span of the fixed vectors.
    L : ndarray, shape (K, K, 8)
        The rest of them, lower triangular.
    v : ndarray, shape (H, K, 8)
        Readouts.
    streams : ndarray of uint64, shape (3, 3, 8)
        Random numbers: see `draws`.
    place, gamma : ndarray of uint64, shape (pairs,)
        Where the numbers of a block are.
    left, right : ndarray, shape (pairs,)
        Normal variates of a block.
    chis : ndarray, shape (m, steps of a block * 8)
        The same of what is in `chi`.
    z : ndarray, shape (count, 8)
        Normal variates of a step: the inputs' coordinates (b, P + K), their noise (b,), and what
        is below the diagonal of Bartlett's factor.
    chi : ndarray, shape (m, 8)
        Roots of χ² variates on that diagonal, m = min(b, K).
    share : ndarray, shape (b, S, 8)
        1.0 for the task of each sample.
    fields, out, slope : ndarray, shape (b (K + n), 8)
        Local fields of the units and of the vectors that are read, g and g' of them.
    A : ndarray, shape (K, b, 8)
        √N times what is added to w_k of each input.
    Y : ndarray, shape (K, b, 8)
        A, lower triangular if b > K: as good as A where only A Aᵀ counts.
    M : ndarray, shape (K, K + m, 8)
        The new rest before it is made triangular again.
    dv, trained : ndarray, shape (H, K, 8), (H, 8)
        Sum over the batch of g(λ_k) δ, and share of the samples that train each head.
    """

    X: Array
    L: Array
    v: Array
    streams: NDArray[np.uint64]
    place: NDArray[np.uint64]
    gamma: NDArray[np.uint64]
    left: Array
    right: Array
    chis: Array
    z: Array
    chi: Array
    share: Array
    fields: Array
    out: Array
    slope: Array
    A: Array
    Y: Array
    M: Array
    dv: Array
    trained: Array


def constants_of(K: int, P: int, H: int, S: int, n: int) -> Shapes:
    """Shapes of a rule's numbers, without lanes, in the order in which they are packed."""
    return {
        "read": (n, P),
        "u": (S, n),
        "sigma": (S,),
        "p": (S,),
        "hold": (K,),
        "pull": (K, P),
        "move": (K,),
        "kappa_v": (1,),
        "F_v": (H, K),
        "Fv": (H, K),
    }


def state_of(K: int, P: int, H: int) -> Shapes:
    """Shapes of a network's numbers, in the order in which they are packed."""
    return {"X": (K, P), "L": (K, K), "v": (H, K)}


def views(shapes: Shapes, flat: Array) -> dict[str, Array]:
    """Arrays by name out of packed numbers, shape (n,) or (n, lanes)."""
    found, first = {}, 0
    for name, shape in shapes.items():
        last = first + int(np.prod(shape))
        found[name] = flat[first:last].reshape(*shape, *flat.shape[1:])
        first = last
    return found


def lanes(*shape: int) -> Array:
    """Zeros of so many rows of eight, a line of the cache each: twice as fast as across two."""
    count = int(np.prod(shape)) * WIDTH
    raw = np.zeros(count + WIDTH)
    skip = -raw.ctypes.data % 64 // 8
    return raw[skip : skip + count].reshape(*shape, WIDTH)


def make_memory(
    state: Mapping[str, Array], streams: NDArray[np.uint64], batch: int, S: int, n: int
) -> ChainMemory:
    """Memory around the state of eight networks, which is not copied."""
    K, P, _ = state["X"].shape
    H, m = len(state["v"]), min(batch, K)

    count = batch * (P + K + 1) + m * (m - 1) // 2
    share = lanes(batch, S)
    share += 1.0
    half = (count + 1) // 2
    block = max(1, BLOCK // (half * WIDTH))
    pairs = block * half * WIDTH
    return ChainMemory(
        X=state["X"],
        L=state["L"],
        v=state["v"],
        streams=streams,
        place=np.zeros(pairs, dtype=np.uint64),
        gamma=np.zeros(pairs, dtype=np.uint64),
        left=lanes(pairs // WIDTH).reshape(-1),
        right=lanes(pairs // WIDTH).reshape(-1),
        chis=lanes(m, block).reshape(m, -1),
        z=lanes(2 * half),
        chi=lanes(m),
        share=share,
        fields=lanes(batch * (K + n)),
        out=lanes(batch * (K + n)),
        slope=lanes(batch * (K + n)),
        A=lanes(K, batch),
        Y=lanes(K, batch),
        M=lanes(K, K + m),
        dv=lanes(H, K),
        trained=lanes(H),
    )
