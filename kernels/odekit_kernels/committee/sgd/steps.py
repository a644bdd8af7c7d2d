"""Online SGD of a committee in N dimensions: the network itself, not its order parameters.

One pass over memory a step: in blocks that stay in the first-level cache, the weights take the
update of the step before, new inputs are drawn, and the local fields are summed.
"""

from __future__ import annotations

import math
from typing import Any

from numba import extending, types

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee.activations import CODES as COMPILED
from odekit_kernels.committee.activations.erf import ROOT_HALF, ROOT_TWO_OVER_PI
from odekit_kernels.committee.moments import chain
from odekit_kernels.committee.sgd.memory import PAD
from odekit_kernels.committee.sgd.stream import below, choose, normal, normals
from odekit_kernels.simd import WIDTH, load, splat, store, total

__all__ = [
    "BLOCK",
    "CODES",
    "GELU",
    "QUADRATIC",
    "SOFTPLUS",
    "TANH",
    "activate",
    "advance",
    "choose_samples",
    "finish",
    "overlaps",
    "pulled",
    "respond",
    "respond_alone",
    "squared_slopes",
    "train",
    "values",
]

BLOCK = 16 * PAD
"""Inputs at a time: a row of a block is 4 KiB."""

TANH, GELU, SOFTPLUS, QUADRATIC = range(len(COMPILED), len(COMPILED) + 4)
CODES = {
    **COMPILED,
    "tanh": TANH,
    "gelu": GELU,
    "softplus": SOFTPLUS,
    "quadratic": QUADRATIC,
}
"""By name, those beyond the ones with compiled moments too; a float is leaky ReLU's slope."""

_numba: Any = extending


# ------------------------------------------------------------------------------------- activations


def value(g: Any, z: float) -> Any:
    """g(z), of an activation's code, a leaky slope or a function."""
    if callable(g):
        return g(z)
    return _leaky(g, z) if isinstance(g, float) else _value(g, z)


def slope(dg: Any, z: float) -> Any:
    """g'(z), of an activation's code, a leaky slope or a function."""
    if callable(dg):
        return dg(z)
    return _leaky_slope(dg, z) if isinstance(dg, float) else _slope(dg, z)


@inner
def _smooth_value(code: int, z: float) -> float:
    if code == TANH:
        return math.tanh(z)
    if code == GELU:
        return 0.5 * z * math.erfc(-z * ROOT_HALF)
    if code == SOFTPLUS:
        return max(z, 0.0) + math.log1p(math.exp(-abs(z)))
    return z * z if code == QUADRATIC else math.nan


@inner
def _smooth_slope(code: int, z: float) -> float:
    if code == TANH:
        e = math.exp(-2.0 * abs(z))
        return 4.0 * e / ((1.0 + e) * (1.0 + e))
    if code == GELU:
        return 0.5 * math.erfc(-z * ROOT_HALF) + 0.5 * ROOT_TWO_OVER_PI * z * math.exp(-0.5 * z * z)
    if code == SOFTPLUS:
        return 0.5 * (1.0 + math.tanh(0.5 * z))
    return 2.0 * z if code == QUADRATIC else math.nan


_value = chain("value", _smooth_value)
_slope = chain("slope", _smooth_slope)


@inner
def _leaky(below: float, z: float) -> float:
    return z if z > 0.0 else below * z


@inner
def _leaky_slope(below: float, z: float) -> float:
    if z == 0.0:
        return 0.5 * (1.0 + below)
    return 1.0 if z > 0.0 else below


@_numba.overload(value, inline="always", strict=False)
def _typed_value(g: Any, z: Any) -> Any:  # noqa: ARG001 - numba reads the names
    if isinstance(g, types.Integer):
        return lambda g, z: _value(g, z)
    if isinstance(g, types.Float):
        return lambda g, z: _leaky(g, z)
    return lambda g, z: g(z)


@_numba.overload(slope, inline="always", strict=False)
def _typed_slope(dg: Any, z: Any) -> Any:  # noqa: ARG001 - numba reads the names
    if isinstance(dg, types.Integer):
        return lambda dg, z: _slope(dg, z)
    if isinstance(dg, types.Float):
        return lambda dg, z: _leaky_slope(dg, z)
    return lambda dg, z: dg(z)


@kernel(_nrt=False)
def values(g: Any, dg: Any, z: Any, out: Any, out_slope: Any) -> None:
    """g(z) and g'(z) of many numbers, shape (n,) each."""
    for i in range(z.shape[0]):
        out[i], out_slope[i] = value(g, z[i]), slope(dg, z[i])


# ----------------------------------------------------------------------------------- vector loops


@inner
def dot(a: Any, i: int, b: Any, j: int, count: int) -> float:
    """Σ a b over `count` numbers from flat places i and j; four sums hide the latency of adding."""
    s0, s1, s2, s3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    for l in range(0, count, PAD):
        s0 = s0 + load(a, i + l) * load(b, j + l)
        s1 = s1 + load(a, i + l + WIDTH) * load(b, j + l + WIDTH)
        s2 = s2 + load(a, i + l + 2 * WIDTH) * load(b, j + l + 2 * WIDTH)
        s3 = s3 + load(a, i + l + 3 * WIDTH) * load(b, j + l + 3 * WIDTH)
    return total((s0 + s1) + (s2 + s3))


@inner
def add_scaled(w: Any, i: int, shrink: float, a: float, x: Any, j: int, count: int) -> None:
    """w ← shrink·w + a·x."""
    for l in range(0, count, WIDTH):
        store(w, i + l, shrink * load(w, i + l) + a * load(x, j + l))


@inner
def pulled(w: Any, F: Any, Fa: Any, shrink: float, rate: float) -> Any:
    """Weights after decay and the pull of consolidations."""
    return shrink * w - rate * (F * w - Fa)


@inner
def pull(w: Any, F: Any, Fa: Any, i: int, shrink: float, rate: float, count: int) -> None:
    """Decay and the pull of consolidations on a block of one unit's weights."""
    for l in range(i, i + count, WIDTH):
        store(w, l, pulled(load(w, l), load(F, l), load(Fa, l), shrink, rate))


@inner
def paced(eta_w: float, rule: Any, memory: Any, k: int, first: int, count: int) -> None:
    """Make one step's update of a block of one unit's weights, each at its own rate."""
    W, x, a = memory.W, memory.x, memory.a
    L, rate = W.shape[1], eta_w / rule.N
    for l in range(first, first + count, WIDTH):
        w = load(W, k * L + l)
        change = (-rate * rule.kappa_w) * w
        if rule.F.shape[0]:
            change = change - rate * (load(rule.F, k * L + l) * w - load(rule.Fa, k * L + l))
        for j in range(x.shape[0]):
            change = change + a[j, k] * load(x, j * L + l)
        store(W, k * L + l, w + load(rule.pace, l) * change)


@inner
def update(eta_w: float, rule: Any, memory: Any, first: int, count: int) -> None:
    """Make one step's update of a block of all weights."""
    W, x, a = memory.W, memory.x, memory.a
    K, L = W.shape
    shrink = 1.0 - eta_w * rule.kappa_w / rule.N
    if rule.pace.shape[0]:
        for k in range(K):
            if rule.move[k] != 0.0:
                paced(eta_w, rule, memory, k, first, count)
        return
    for k in range(K):
        if rule.move[k] != 0.0:
            i = k * L + first
            done = 0
            if rule.F.shape[0]:
                pull(W, rule.F, rule.Fa, i, shrink, eta_w / rule.N, count)
            else:
                add_scaled(W, i, shrink, a[0, k], x, first, count)
                done = 1
            for j in range(done, x.shape[0]):
                add_scaled(W, i, 1.0, a[j, k], x, j * L + first, count)


@inner
def draw_apart(rule: Any, memory: Any, j: int, first: int, count: int) -> None:
    """Write a block of one input as the teacher sees it, and as the student does."""
    x, given, s = memory.x, memory.given, memory.task[j]
    normals(memory.streams[0], given[j], first, count)
    if rule.noise.shape[0]:
        normals(memory.streams[0], x[j], first, count)
    for i in range(first, first + count):
        z, noise = given[j, i], 0.0
        if rule.noise.shape[0]:
            noise = rule.noise[s, i] * x[j, i]
        # Factors beyond N are zero.
        given[j, i] = rule.drawn[s, i] * z
        x[j, i] = rule.gain[s, i] * z + noise


@inner
def draw_inputs(rule: Any, memory: Any, first: int, count: int) -> None:
    """Write a block of every input of the step; columns beyond N stay zero."""
    x = memory.x
    L = x.shape[1]
    for j in range(x.shape[0]):
        if rule.inputs.shape[0]:
            for i in range(first, first + count):
                x[j, i] = rule.inputs[memory.row[j], i]
        elif rule.drawn.shape[0]:
            draw_apart(rule, memory, j, first, count)
        else:
            normals(memory.streams[0], x[j], first, count)
            for i in range(max(first, rule.N), min(first + count, L)):
                x[j, i] = 0.0


@inner
def add_fields(rule: Any, memory: Any, first: int, count: int) -> None:
    """Add a block's part of w·x and B·x."""
    W, x, lam, rho = memory.W, memory.x, memory.lam, memory.rho
    L = x.shape[1]
    seen = memory.given if rule.drawn.shape[0] else x
    for j in range(x.shape[0]):
        for k in range(W.shape[0]):
            lam[j, k] += dot(W, k * L + first, x, j * L + first, count)
        for n in range(rule.B.shape[0]):
            if rule.u[memory.task[j], n] != 0.0:
                rho[j, n] += dot(rule.B, n * L + first, seen, j * L + first, count)


# ------------------------------------------------------------------------------------------ a step


@inner
def choose_samples(rule: Any, memory: Any) -> None:
    """Draw the task of every sample of a step, its place among given inputs, and its noise."""
    stream = memory.streams[1]
    for j in range(memory.task.shape[0]):
        s = choose(stream, rule.p)
        memory.task[j] = s
        memory.label[j] = 0.0
        if rule.inputs.shape[0]:
            memory.row[j] = rule.first[s] + below(stream, rule.size[s])
            if rule.labels.shape[1]:
                memory.label[j] = rule.labels[s, memory.row[j]]
        if rule.sigma[s] != 0.0:
            memory.label[j] += rule.sigma[s] * normal(stream)


@kernel(_nrt=False)
def advance(eta_w: float, pending: bool, rule: Any, memory: Any) -> None:
    """One pass: the update of the step before if it is pending, new samples, their fields."""
    choose_samples(rule, memory)
    L = memory.x.shape[1]
    memory.lam[:] = 0.0
    memory.rho[:] = 0.0
    for first in range(0, L, BLOCK):
        count = min(BLOCK, L - first)
        if pending:
            update(eta_w, rule, memory, first, count)
        draw_inputs(rule, memory, first, count)
        add_fields(rule, memory, first, count)


@kernel(_nrt=False)
def finish(eta_w: float, rule: Any, memory: Any) -> None:
    """The last update."""
    update(eta_w, rule, memory, 0, memory.x.shape[1])


@inner
def activate(g: Any, dg: Any, rule: Any, memory: Any) -> None:
    """From sums to local fields, and what the activation makes of them."""
    lam, rho = memory.lam, memory.rho
    scale = 1.0 / math.sqrt(rule.N)
    for j in range(lam.shape[0]):
        for n in range(rho.shape[1]):
            if rule.u[memory.task[j], n] != 0.0:
                memory.teacher[j, n] = value(g, rho[j, n] / math.sqrt(rule.N))
        for k in range(lam.shape[1]):
            lam[j, k] *= scale
            memory.out[j, k] = value(g, lam[j, k])
            memory.slope[j, k] = slope(dg, lam[j, k])


@inner
def error(rule: Any, memory: Any, j: int) -> float:
    """δ = y − Σ_k v_k g(λ_k) of one sample, its noise included."""
    s, delta = memory.task[j], memory.label[j]
    for n in range(rule.u.shape[1]):
        if rule.u[s, n] != 0.0:
            delta += rule.u[s, n] * memory.teacher[j, n]
    for k in range(memory.out.shape[1]):
        delta -= memory.v[rule.head[s], k] * memory.out[j, k]
    return delta


@inner
def respond(eta_w: float, eta_v: float, rule: Any, memory: Any) -> None:
    """After `activate`: the update of both layers; the readouts move at once."""
    v, a, dv, trained = memory.v, memory.a, memory.dv, memory.trained
    b, K = a.shape
    scale = 1.0 / math.sqrt(rule.N)
    for h in range(v.shape[0]):
        trained[h] = 0.0
        for k in range(K):
            dv[h, k] = 0.0
    for j in range(b):
        h, delta = rule.head[memory.task[j]], error(rule, memory, j)
        for k in range(K):
            dv[h, k] += memory.out[j, k] * delta / b
            a[j, k] = eta_w * scale / b * v[h, k] * memory.slope[j, k] * delta
        trained[h] += 1.0 / b
    for h in range(v.shape[0]):
        for k in range(K):
            held = rule.F_v[h, k] * v[h, k] - rule.Fv[h, k]
            force = dv[h, k] - trained[h] * (rule.kappa_v * v[h, k] + held)
            v[h, k] += eta_v / rule.N * force


@kernel(_nrt=False)
def respond_alone(eta_w: float, eta_v: float, rule: Any, memory: Any) -> None:
    """`respond`, for the loops of `plain`."""
    respond(eta_w, eta_v, rule, memory)


@kernel(_nrt=False)
def train(steps: int, eta_w: Any, eta_v: Any, g: Any, dg: Any, rule: Any, memory: Any) -> None:
    """Take so many steps of SGD, in place.

    w_k += (η_w/√N) v_k g'(λ_k) δ x and v_k += (η_v/N) g(λ_k) δ, both averaged over the batch, with
    δ = y − Σ_k v_k g(λ_k); each step takes its share 1/N of the penalties.

    Parameters
    ----------
    steps : int
    eta_w, eta_v : ndarray, shape (steps,) or (1,)
        Learning rates of each step.
    g, dg : int, float or compiled functions
        The activation's code or leaky ReLU's slope, twice; or g and its derivative.
    rule : Rule
    memory : Memory
    """
    rate = 0.0
    for i in range(steps):
        advance(rate, i > 0, rule, memory)
        rate = eta_w[min(i, eta_w.shape[0] - 1)]
        activate(g, dg, rule, memory)
        respond(rate, eta_v[min(i, eta_v.shape[0] - 1)], rule, memory)
    if steps:
        finish(rate, rule, memory)


# ------------------------------------------------------------------------------------ measurements


@kernel(_nrt=False)
def overlaps(A: Any, B: Any, N: int, out: Any) -> None:
    """A_i·B_j/N of padded rows, shape (len A, len B)."""
    L = A.shape[1]
    for i in range(A.shape[0]):
        for j in range(B.shape[0]):
            out[i, j] = dot(A, i * L, B, j * L, L) / N


@kernel(_nrt=False)
def squared_slopes(
    samples: int, h: int, g: Any, dg: Any, rule: Any, memory: Any, F: Any, I2: Any
) -> None:
    """The diagonal Fisher information of one task's output, from samples, in place of its formula.

    Parameters
    ----------
    samples : int
    h : int
        Head of the task, which must be the only one of the rule, with a batch of one.
    F : ndarray, shape (K, L)
        Receives N E[(∂f/∂w_ki)²] = v_k² E[g'(λ_k)² x_i²].
    I2 : ndarray, shape (K,)
        Receives E[g(λ_k)²].
    """
    K, L = F.shape
    F[:] = 0.0
    I2[:] = 0.0
    for _ in range(samples):
        advance(0.0, False, rule, memory)
        for k in range(K):
            z = memory.lam[0, k] / math.sqrt(rule.N)
            s = memory.v[h, k] * slope(dg, z)
            I2[k] += value(g, z) ** 2 / samples
            for i in range(L):
                F[k, i] += s * s * memory.x[0, i] * memory.x[0, i] / samples
