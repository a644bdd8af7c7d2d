"""Gated deep linear networks (theory section 7): flow, loss, Jacobian and discrete descent.

Nodes carry layers, edge e the weights W_e; path p runs along edges from an input to an output. With
W_p the product along p,

    dW_e/dt = η η_e (G_e − κ_e W_e),
    G_e = Σ_{p ∋ e} W_aboveᵀ [ Σ_yx(p) − Σ_q W_q Σ_xx(q, p) ] W_belowᵀ,

where η_e = 1 and κ_e = 0 unless the plan has rates and decays by edge.
Everything is written for the memory of a group of trajectories (`lanes.values`): eight lanes in the
engine of sweeps, one trajectory in single runs, where products of large matrices go through BLAS.
The state is the edges' weights, each row-major, one after the other.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner, kernel, outer
from odekit_kernels.gated.paths import (
    GatedPlan,
    GatedWork,
    Paths,
    Single,
    constants,
    make_paths,
    make_plan,
    make_work,
)
from odekit_kernels.gated.products import multiply
from odekit_kernels.lanes.values import fill, get, put

__all__ = [
    "GatedPlan",
    "GatedWork",
    "Paths",
    "Single",
    "constants",
    "descend",
    "errors",
    "flow",
    "jacobian",
    "loss",
    "make_paths",
    "make_plan",
    "make_work",
    "rhs",
]

# ---------------------------------------------------------------------------------------- products


@inner
def product_at(w: Any, j: Any, y: Any, below: Any) -> Any:
    """Where the product up to step j of its path is, with weights at `y`."""
    return y + w.place[w.edge[j]] if w.below[j] < 0 else below + w.below[j]


@outer
def products(M: Any, m: Any, w: Any, y: Any) -> None:
    """Fill the products along all paths."""
    for p in range(w.inputs.shape[0]):
        for j in range(w.first[p] + 1, w.first[p + 1]):
            e = w.edge[j]
            before, out = product_at(w, j - 1, y, m.below), m.below + w.below[j]
            W, r, k = y + w.place[e], w.rows[e], w.cols[e]
            multiply(M, m, W, 0, before, 0, out, r, k, w.inputs[p], 1.0, 0)


@outer
def residual(M: Any, m: Any, w: Any, y: Any, table: Any, p: Any, out: Any) -> None:
    """Write Σ_yx(p) − Σ_q W_q Σ_xx(q, p), after `products`."""
    r, c = w.rows[w.edge[w.first[p + 1] - 1]], w.inputs[p]
    for i in range(r * c):
        put(M, out + i, get(M, table + w.yx[p] + i))
    for q in range(w.inputs.shape[0]):
        if w.xx[q, p] >= 0:
            W_q = product_at(w, w.first[q + 1] - 1, y, m.below)
            multiply(M, m, W_q, 0, table + w.xx[q, p], 0, out, r, w.inputs[q], c, -1.0, 1)


@inner
def clear(M: Any, first: Any, count: Any) -> None:
    """Write zeros."""
    for i in range(count):
        put(M, first + i, fill(M, 0.0))


# ------------------------------------------------------------------------------------ flow and loss


@inner
def rhs(M: Any, m: Any, w: Any, y: Any, dy: Any) -> None:
    """Time derivative of the weights at `y`, to `dy`."""
    products(M, m, w, y)
    clear(M, dy, m.n)
    eta, half = get(M, m.eta_w), (m.spare - m.back) // 2
    if m.E > 0:
        eta = fill(M, 1.0)
    for p in range(w.inputs.shape[0]):
        now, then, c = m.back, m.back + half, w.inputs[p]
        residual(M, m, w, y, m.table, p, now)
        for i in range(w.rows[w.edge[w.first[p + 1] - 1]] * c):
            put(M, now + i, eta * get(M, now + i))
        for j in range(w.first[p + 1] - 1, w.first[p], -1):
            e = w.edge[j]
            r, k = w.rows[e], w.cols[e]
            before = product_at(w, j - 1, y, m.below)
            multiply(M, m, now, 0, before, 1, dy + w.place[e], r, c, k, 1.0, 1)
            multiply(M, m, y + w.place[e], 1, now, 0, then, k, r, c, 1.0, 0)
            now, then = then, now
        e = w.edge[w.first[p]]
        for i in range(w.rows[e] * c):
            into = dy + w.place[e] + i
            put(M, into, get(M, into) + get(M, now + i))
    if m.E > 0:
        scale(M, m, w, y, dy)


@outer
def scale(M: Any, m: Any, w: Any, y: Any, dy: Any) -> None:
    """Turn G_e into η η_e (G_e − κ_e W_e), edge by edge."""
    for e in range(m.E):
        rate, decay = get(M, m.eta_w) * get(M, m.rates + e), get(M, m.decays + e)
        for i in range(w.place[e], w.place[e] + w.rows[e] * w.cols[e]):
            put(M, dy + i, rate * (get(M, dy + i) - decay * get(M, y + i)))


@inner
def loss_in(M: Any, m: Any, w: Any, y: Any, table: Any) -> Any:
    """½ E|y − Σ_p g_p W_p x_p|² with the correlations of a table, after `products`."""
    total = get(M, table + m.T - 1)
    for p in range(w.inputs.shape[0]):
        residual(M, m, w, y, table, p, m.back)
        W_p = product_at(w, w.first[p + 1] - 1, y, m.below)
        for i in range(w.rows[w.edge[w.first[p + 1] - 1]] * w.inputs[p]):
            pull = get(M, table + w.yx[p] + i) + get(M, m.back + i)
            total = total - pull * get(M, W_p + i)
    return 0.5 * total


@inner
def errors(M: Any, m: Any, w: Any, y: Any) -> None:
    """Losses of the watched tasks, to `m.error`."""
    products(M, m, w, y)
    for s in range(m.W):
        put(M, m.error + s, loss_in(M, m, w, y, m.watched + s * m.T))


# ---------------------------------------------------------------------------------------- Jacobian


@inner
def tangent_products(M: Any, m: Any, w: Any, d: Any) -> None:
    """Derivatives of the products along direction `d`, after `products` of the state."""
    for p in range(w.inputs.shape[0]):
        c = w.inputs[p]
        for j in range(w.first[p] + 1, w.first[p + 1]):
            e, out = w.edge[j], m.tangents + w.below[j]
            r, k = w.rows[e], w.cols[e]
            before = product_at(w, j - 1, m.y, m.below)
            slope = product_at(w, j - 1, d, m.tangents)
            multiply(M, m, d + w.place[e], 0, before, 0, out, r, k, c, 1.0, 0)
            multiply(M, m, m.y + w.place[e], 0, slope, 0, out, r, k, c, 1.0, 1)


@inner
def tangent_residual(M: Any, m: Any, w: Any, d: Any, p: Any, out: Any) -> None:
    """Write −Σ_q dW_q Σ_xx(q, p)."""
    r, c = w.rows[w.edge[w.first[p + 1] - 1]], w.inputs[p]
    clear(M, out, r * c)
    for q in range(w.inputs.shape[0]):
        if w.xx[q, p] >= 0:
            dW_q = product_at(w, w.first[q + 1] - 1, d, m.tangents)
            multiply(M, m, dW_q, 0, m.table + w.xx[q, p], 0, out, r, w.inputs[q], c, -1.0, 1)


@outer
def tangent(M: Any, m: Any, w: Any, d: Any, out: Any) -> None:
    """Derivative of all G_e along direction `d`, after `products` of the state at `m.y`."""
    tangent_products(M, m, w, d)
    clear(M, out, m.n)
    half = (m.spare - m.back) // 2
    for p in range(w.inputs.shape[0]):
        now, then, slope, next_slope = m.back, m.back + half, m.slant, m.slant + half
        c = w.inputs[p]
        residual(M, m, w, m.y, m.table, p, now)
        tangent_residual(M, m, w, d, p, slope)
        for j in range(w.first[p + 1] - 1, w.first[p], -1):
            e = w.edge[j]
            r, k, W, dW = w.rows[e], w.cols[e], m.y + w.place[e], d + w.place[e]
            before = product_at(w, j - 1, m.y, m.below)
            moved = product_at(w, j - 1, d, m.tangents)
            multiply(M, m, slope, 0, before, 1, out + w.place[e], r, c, k, 1.0, 1)
            multiply(M, m, now, 0, moved, 1, out + w.place[e], r, c, k, 1.0, 1)
            multiply(M, m, dW, 1, now, 0, next_slope, k, r, c, 1.0, 0)
            multiply(M, m, W, 1, slope, 0, next_slope, k, r, c, 1.0, 1)
            multiply(M, m, W, 1, now, 0, then, k, r, c, 1.0, 0)
            now, then = then, now
            slope, next_slope = next_slope, slope
        e = w.edge[w.first[p]]
        for i in range(w.rows[e] * c):
            M[out + w.place[e] + i] += M[slope + i]


# ------------------------------------------------------------------------------ single trajectories


@inner
def load(M: Any, first: Any, values: Any) -> None:
    """Copy numbers into the memory."""
    for i in range(values.shape[0]):
        M[first + i] = values[i]


@kernel(_nrt=False)
def flow(M: Any, m: Any, w: Any, y: Any, eta: float, dy: Any) -> None:
    """Time derivative of the weights.

    Parameters
    ----------
    M : ndarray, shape (m.size,)
        Memory of one trajectory, the correlations at `m.table`, rates and decays at theirs.
    m : Single
    w : Paths
    y, dy : ndarray, shape (n,)
        State; receives its derivative.
    eta : float
        Learning rate, or what all rates share.
    """
    load(M, m.y, y)
    M[m.eta_w] = eta
    rhs(M, m, w, m.y, m.new)
    for i in range(m.n):
        dy[i] = M[m.new + i]


@kernel(_nrt=False)
def jacobian(M: Any, m: Any, w: Any, y: Any, eta: float, J: Any) -> None:
    """Jacobian of `flow`, exact: −η η_e times the Hessian of the loss, column by column.

    Parameters
    ----------
    M, m, w, y, eta
        As for `flow`.
    J : ndarray, shape (n, n)
        Receives ∂(dy_i/dt)/∂y_j.
    """
    load(M, m.y, y)
    M[m.eta_w] = eta
    products(M, m, w, m.y)
    clear(M, m.direction, m.n)
    for j in range(m.n):
        M[m.direction + j] = 1.0
        tangent(M, m, w, m.direction, m.new)
        if m.E > 0:
            scale(M, m, w, m.direction, m.new)
        M[m.direction + j] = 0.0
        factor = 1.0 if m.E > 0 else eta
        for i in range(m.n):
            J[i, j] = factor * M[m.new + i]


@kernel(_nrt=False)
def loss(M: Any, m: Any, w: Any, y: Any, out: Any) -> None:
    """Losses of the watched tasks, shape (m.W,)."""
    load(M, m.y, y)
    errors(M, m, w, m.y)
    for s in range(m.W):
        out[s] = M[m.error + s]


@kernel(_nrt=False)
def descend(M: Any, m: Any, w: Any, y: Any, eta: float, steps: int) -> None:
    """Take steps of gradient descent, W ← W + η dW, in place.

    Parameters
    ----------
    M, m, w, y, eta
        As for `flow`.
    steps : int
    """
    load(M, m.y, y)
    M[m.eta_w] = eta
    for _ in range(steps):
        rhs(M, m, w, m.y, m.new)
        for i in range(m.n):
            M[m.y + i] += M[m.new + i]
    for i in range(m.n):
        y[i] = M[m.y + i]
