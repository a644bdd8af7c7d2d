"""The η² term, backward.

For every pair of units Σ_s p_s v_k v_l (Σ_ab c_a c_b I4(k, l, a, b) + σ_s² J2(k, l)). Rows of the
tape go eight at a time; M and G are symmetric.
"""

from __future__ import annotations

import math
from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.arcsine import asin
from odekit_kernels.committee.activations import ERF
from odekit_kernels.committee.activations.erf import (
    asin_slope,
    inverse_block,
    inverse_root,
    tilted,
    tilted_norm,
    tilting,
)
from odekit_kernels.committee.codes import code_of
from odekit_kernels.committee.pairs import slope_pair
from odekit_kernels.simd import WIDTH, load, splat, store, total

__all__ = ["pull_diffusion"]

TWO_OVER_PI = 2.0 / math.pi


@inner
def fill_products(system: Any, tape: Any, k: int, l: int, D: int) -> float:
    """Fill M = Σ_s p_s v_k v_l c_s c_sᵀ, and return Σ_s p_s v_k v_l σ_s²."""
    c, M, noise = tape.c, tape.M, 0.0
    L = M.shape[1]
    for s in range(system.p.shape[0]):
        noise += system.p[s] * c[s, k] * c[s, l] * system.sigma[s] * system.sigma[s]
    for a in range(D):
        for b in range(0, D, WIDTH):
            sums = splat(0.0)
            for s in range(system.p.shape[0]):
                share = system.p[s] * c[s, k] * c[s, l] * c[s, a]
                sums = sums + share * load(c, s * L + b)
            store(M, a * L + b, sums)
    return noise


@inner
def fill_tilt(tape: Any, k: int, l: int, D: int) -> None:
    """Fill the first three rows of `tape.tilt`."""
    C, diag, tilt = tape.C, tape.diag, tape.tilt
    L = C.shape[1]
    s = inverse_root(C[k, k], C[l, l], C[k, l])
    block = inverse_block(C[k, k], C[l, l], C[k, l], s, k == l)
    for a in range(0, D, WIDTH):
        x, y = load(C, k * L + a), load(C, l * L + a)
        p, q = tilting(block, x, y)
        store(tilt, a, tilted_norm(tilted(load(diag, a), p, q, x, y)))
        store(tilt, L + a, p)
        store(tilt, 2 * L + a, q)


@inner
def fill_form(tape: Any, k: int, l: int, g: float, D: int) -> float:
    """Σ_ab M_ab Ĩ2(a, b); leaves Ĩ2 in M, and g times the derivatives by the tilted C in G."""
    C, M, G, tilt = tape.C, tape.M, tape.G, tape.tilt
    L, whole = C.shape[1], splat(0.0)
    for a in range(D):
        sums = splat(0.0)
        for b in range(0, D, WIDTH):
            n = tilt[0, a] * load(tilt, b)
            p, q = load(tilt, L + b), load(tilt, 2 * L + b)
            r = tilted(load(C, a * L + b), p, q, C[k, a], C[l, a]) * n
            weight, value = load(M, a * L + b), TWO_OVER_PI * asin(r)
            f = (g * TWO_OVER_PI) * weight * asin_slope(r)
            whole = whole + weight * value
            sums = sums + f * r
            store(G, a * L + b, f * n)
            store(M, a * L + b, value)
        G[a, a] -= total(sums) * tilt[0, a] * tilt[0, a]
    return total(whole)


@inner
def pull_tilted(tape: Any, k: int, l: int, g: float, D: int) -> float:
    """Σ_ab M_ab Ĩ2(a, b) of erf; adds g times its derivatives to C̄, and leaves Ĩ2 in M."""
    C_bar, G, tilt = tape.C_bar, tape.G, tape.tilt
    L = C_bar.shape[1]
    fill_tilt(tape, k, l, D)
    whole = fill_form(tape, k, l, g, D)
    pp, pq, qq = splat(0.0), splat(0.0), splat(0.0)
    for b in range(0, D, WIDTH):
        by_p, by_q = splat(0.0), splat(0.0)
        for a in range(D):
            row, at = load(G, a * L + b), a * L + b
            store(C_bar, at, load(C_bar, at) + row)
            by_p, by_q = by_p + tilt[1, a] * row, by_q + tilt[2, a] * row
        store(tilt, 3 * L + b, by_p)
        store(tilt, 4 * L + b, by_q)
        pp = pp + by_p * load(tilt, L + b)
        pq = pq + by_p * load(tilt, 2 * L + b)
        qq = qq + by_q * load(tilt, 2 * L + b)
    for b in range(0, D, WIDTH):
        at_k, at_l = k * L + b, l * L + b
        store(C_bar, at_k, load(C_bar, at_k) - 2.0 * load(tilt, 3 * L + b))
        store(C_bar, at_l, load(C_bar, at_l) - 2.0 * load(tilt, 4 * L + b))
    C_bar[k, k] += total(pp)
    C_bar[l, l] += total(qq)
    C_bar[k, l] += 2.0 * total(pq)
    return whole


@inner
def pull_plain(tape: Any, g: float, D: int) -> float:
    """The same of linear units: Σ_ab M_ab C_ab."""
    C, C_bar, M, whole = tape.C, tape.C_bar, tape.M, splat(0.0)
    for at in range(0, D * C.shape[1], WIDTH):
        weight, value = load(M, at), load(C, at)
        whole = whole + weight * value
        store(C_bar, at, load(C_bar, at) + g * weight)
        store(M, at, value)
    return total(whole)


@inner
def pull_tasks(q: int, system: Any, tape: Any, k: int, l: int, g: float, D: int, by: Any) -> None:
    """Derivatives by p, σ and c of one pair, whose Ĩ2 is in M; `g` has J2 in it."""
    c, c_bar, M = tape.c, tape.c_bar, tape.M
    L = M.shape[1]
    for s in range(system.p.shape[0]):
        p, sigma = system.p[s], system.sigma[s]
        own, power = g * c[s, k] * c[s, l], splat(0.0)
        for a in range(0, D, WIDTH):
            sums, at = splat(0.0), s * L + a
            for b in range(D):
                sums = sums + c[s, b] * load(M, b * L + a)
            power = power + load(c, at) * sums
            store(c_bar, at, load(c_bar, at) + (2.0 * p * own) * sums)
        whole = total(power) + sigma * sigma
        by.p[q, s] += own * whole
        by.sigma[q, s] += 2.0 * p * own * sigma
        c_bar[s, k] += g * p * c[s, l] * whole
        c_bar[s, l] += g * p * c[s, k] * whole


@inner
def pull_power(q: int, system: Any, tape: Any, k: int, l: int, g: float, D: int, by: Any) -> float:
    """The η² term of one pair over η²/b; adds g times its derivatives."""
    C, C_bar = tape.C, tape.C_bar
    noise = fill_products(system, tape, k, l, D)
    J2, by_k, by_l, by_kl = slope_pair(system.activation, C[k, k], C[l, l], C[k, l])
    if code_of(system.activation) == ERF:
        form = pull_tilted(tape, k, l, g * J2, D)
    else:
        form = pull_plain(tape, g * J2, D)
    whole = form + noise
    C_bar[k, k] += g * whole * by_k
    C_bar[l, l] += g * whole * by_l
    C_bar[k, l] += g * whole * by_kl
    pull_tasks(q, system, tape, k, l, g * J2, D, by)
    return J2 * whole


@inner
def pull_diffusion(q: int, eta_w: float, system: Any, tape: Any, w: Any, D: int, by: Any) -> None:
    """The η² terms of dQ."""
    K, i = system.move.shape[0], 0
    for k in range(K):
        for l in range(k, K):
            g = w[i] * system.inverse_batch * system.move[k] * system.move[l]
            if g != 0.0:
                power = pull_power(q, system, tape, k, l, g * eta_w * eta_w, D, by)
                by.eta[q, 0] += 2.0 * eta_w * g * power
            i += 1
