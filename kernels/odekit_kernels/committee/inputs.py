"""Groups of inputs: from the overlaps in each group to the covariance of the fields, and back.

Group τ holds a fraction f_τ of the inputs. The state is G^τ_ab = a·b/N_τ over the inputs of the
group, for all vectors. A sample has the law v of its task: in group τ the second moment of what
the student sees is ss[v, τ], of what the teacher sees tt[v, τ], and across st[v, τ]. The fields'
moments know only C_ab = Σ_τ f_τ m_vτ^(ab) G^τ_ab; from them the drive of every group is a matrix
product.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels._jit import inner
from odekit_kernels.committee.state import continue_covariance

__all__ = ["Inputs", "enter_law", "fill_groups", "weigh_pairs"]

Array = NDArray[np.float64]


class Inputs(NamedTuple):
    """Groups of inputs, and what is seen of them.

    Attributes
    ----------
    share : ndarray, shape (G,)
        Fraction f_τ of the inputs in each group.
    pace : ndarray, shape (G,)
        Learning rate of the first layer in each group, over that of the phase.
    ss, st, tt : ndarray, shape (V, G)
        Under each law: second moments of what the student sees, of that and what the teacher sees,
        and of what the teacher sees.
    law : ndarray of int64, shape (S,)
        Law of each task of the phase.
    """

    share: Array
    pace: Array
    ss: Array
    st: Array
    tt: Array
    law: NDArray[np.int64]


@inner
def fill_groups(y: Any, T: Any, K: int, P: int, work: Any) -> None:
    """Write the overlaps of every group, (D, D) each."""
    G, i = work.of_groups.G, 0
    for g in range(G.shape[0]):
        for k in range(K):
            for l in range(k, K):
                G[g, k, l] = y[i]
                G[g, l, k] = y[i]
                i += 1
        for k in range(K):
            for n in range(P):
                G[g, k, K + n] = y[i]
                G[g, K + n, k] = y[i]
                i += 1
        for n in range(P):
            for m in range(P):
                G[g, K + n, K + m] = T[g * P + n, m]


@inner
def fill_law(inputs: Any, v: int, K: int, D: int, work: Any) -> None:
    """Write C under law v."""
    G, C = work.of_groups.G, work.C
    for a in range(D):
        for b in range(a, D):
            whole = 0.0
            for g in range(G.shape[0]):
                seen = inputs.tt[v, g]
                if a < K:
                    seen = inputs.ss[v, g] if b < K else inputs.st[v, g]
                whole += inputs.share[g] * seen * G[g, a, b]
            C[a, b] = whole
            C[b, a] = whole


@inner
def enter_law(system: Any, v: int, K: int, D: int, work: Any) -> bool:
    """Write C under law v, after `fill_groups`, and the probabilities of its tasks, 0 for others.

    False, with nothing written, if no task of the phase has it.
    """
    has = False
    for s in range(system.p.shape[0]):
        own = system.inputs.law[s] == v
        work.of_groups.p[s] = system.p[s] if own else 0.0
        has = has or own
    if has:
        fill_law(system.inputs, v, K, D, work)
        continue_covariance(K, D, work)
    return has


@inner
def weigh_pairs(inputs: Any, v: int, g: int, K: int, D: int, work: Any) -> None:
    """Write D_k and E_ka as group g sees them under law v, to `work.of_groups`."""
    ss, st = inputs.ss[v, g], inputs.st[v, g]
    for k in range(K):
        work.of_groups.own[k] = ss * work.own[k]
        for a in range(D):
            work.of_groups.E[k, a] = (ss if a < K else st) * work.E[k, a]
