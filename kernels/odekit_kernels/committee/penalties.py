"""Weight decay and consolidation of the first layer, backward."""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner

__all__ = ["pull_consolidation", "pull_decay"]


@inner
def pull_decay(q: int, eta_w: float, system: Any, y: Any, w: Any, by: Any) -> None:
    """Weight decay of the first layer."""
    K, P, i, total = system.move.shape[0], system.T.shape[0], 0, 0.0
    for k in range(K):
        for l in range(k, K):
            share = (system.move[k] + system.move[l]) * w[i]
            by.y[q, i] -= eta_w * system.kappa_w * share
            total += share * y[i]
            i += 1
    for k in range(K):
        for _ in range(P):
            by.y[q, i] -= eta_w * system.kappa_w * system.move[k] * w[i]
            total += system.move[k] * w[i] * y[i]
            i += 1
    by.kappa[q, 0] -= eta_w * total
    by.eta[q, 0] -= system.kappa_w * total


@inner
def pull_towards(
    q: int, eta_w: float, system: Any, tape: Any, j: int, k: int, x: Any, w: float, by: Any
) -> None:
    """A term −η_w F_k (C_x0,x1 − C_x2,x3) of one output, whose weight is w."""
    C, C_bar = tape.C, tape.C_bar
    rate = system.move[k] * w
    distance = C[x[0], x[1]] - C[x[2], x[3]]
    by.eta[q, 0] -= rate * system.F[j, k] * distance
    by.F[q, j, k] -= eta_w * rate * distance
    C_bar[x[0], x[1]] -= eta_w * rate * system.F[j, k]
    C_bar[x[2], x[3]] += eta_w * rate * system.F[j, k]


@inner
def pull_consolidation(q: int, eta_w: float, system: Any, tape: Any, w: Any, by: Any) -> None:
    """The pull of every consolidation towards its anchors."""
    K, P, anchor = system.move.shape[0], system.T.shape[0], system.anchor
    for j in range(system.F.shape[0]):
        i = 0
        for k in range(K):
            for l in range(k, K):
                a, b = K + anchor[j, k], K + anchor[j, l]
                pull_towards(q, eta_w, system, tape, j, k, (k, l, l, a), w[i], by)
                pull_towards(q, eta_w, system, tape, j, l, (k, l, k, b), w[i], by)
                i += 1
        for k in range(K):
            for n in range(P):
                x = (k, K + n, K + anchor[j, k], K + n)
                pull_towards(q, eta_w, system, tape, j, k, x, w[i], by)
                i += 1
