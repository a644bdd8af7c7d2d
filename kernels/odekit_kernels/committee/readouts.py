"""The second layer, backward."""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.committee.pairs import second_row
from odekit_kernels.committee.tape import first_head
from odekit_kernels.simd import WIDTH, load, splat, store, total

__all__ = ["pull_second"]


@inner
def pull_second(q: int, eta_v: float, system: Any, tape: Any, y: Any, w: Any, by: Any) -> None:
    """The second layer."""
    K, P, S = system.move.shape[0], system.T.shape[0], system.p.shape[0]
    for k in range(K):
        filled = False
        for s in range(S):
            head = first_head(K, P) + system.head[s] * K
            if w[head + k] == 0.0:
                continue
            if not filled:
                second_row(system.activation, tape, k, K + P)
                filled = True
            g = eta_v * system.p[s] * w[head + k]
            force = pull_force(s, k, g, tape, K + P) - system.kappa_v * y[head + k]
            by.kappa[q, 1] -= g * y[head + k]
            by.y[q, head + k] -= g * system.kappa_v
            for j in range(system.F_v.shape[0]):
                if system.v_head[j] == system.head[s]:
                    distance = y[head + k] - system.v_anchor[j, k]
                    force -= system.F_v[j, k] * distance
                    by.F_v[q, j, k] -= g * distance
                    by.v_anchor[q, j, k] += g * system.F_v[j, k]
                    by.y[q, head + k] -= g * system.F_v[j, k]
            by.eta[q, 1] += system.p[s] * force * w[head + k]
            by.p[q, s] += eta_v * force * w[head + k]


@inner
def pull_force(s: int, k: int, g: float, tape: Any, D: int) -> float:
    """Σ_a c_sa I2(k, a); adds g times its derivatives, after `second_row`."""
    c, c_bar, C_bar, second, L = tape.c, tape.c_bar, tape.C_bar, tape.second, tape.c.shape[1]
    force, by_k = splat(0.0), splat(0.0)
    for a in range(0, D, WIDTH):
        own, at, row = load(c, s * L + a), s * L + a, k * L + a
        force = force + own * load(second, a)
        if g != 0.0:
            by_k = by_k + own * load(second, L + a)
            store(c_bar, at, load(c_bar, at) + g * load(second, a))
            store(tape.diag_bar, a, load(tape.diag_bar, a) + g * own * load(second, 2 * L + a))
            store(C_bar, row, load(C_bar, row) + g * own * load(second, 3 * L + a))
    C_bar[k, k] += g * total(by_k)
    return total(force)
