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
from odekit_kernels.committee.sgd.stream import below, choose, normal, normals, uniform
from odekit_kernels.simd import WIDTH, load, splat, store, total

__all__ = [
    "BLOCK",
    "CODES",
    "GELU",
    "QUADRATIC",
    "SOFTPLUS",
    "TANH",
    "activate",
    "advance_alone",
    "choose_samples",
    "finish_alone",
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
def moved(rate: float, rule: Any, memory: Any, k: int, l: int, w: Any) -> Any:
    """What one step makes of eight weights, less these."""
    x, a = memory.x, memory.a
    L = x.shape[1]
    change = (-rate * rule.kappa_w) * w
    if rule.F.shape[0]:
        change = change - rate * (load(rule.F, k * L + l) * w - load(rule.Fa, k * L + l))
    for j in range(x.shape[0]):
        change = change + a[j, k] * load(x, j * L + l)
    return change


@inner
def paced(eta_w: float, rule: Any, memory: Any, k: int, first: int, count: int) -> None:
    """Make one step's update of a block of one unit's weights, each at its own rate."""
    W = memory.W
    L, rate = W.shape[1], eta_w / rule.N
    for l in range(first, first + count, WIDTH):
        w = load(W, k * L + l)
        store(W, k * L + l, w + load(rule.pace, l) * moved(rate, rule, memory, k, l, w))


@inner
def pushed(eta_w: float, rule: Any, memory: Any, k: int, first: int, count: int) -> None:
    """The same with heavy ball: the step goes to the velocities, and these to the weights."""
    W, velocity = memory.W, memory.velocity
    L, rate = W.shape[1], eta_w / rule.N
    for l in range(first, first + count, WIDTH):
        w = load(W, k * L + l)
        change = moved(rate, rule, memory, k, l, w)
        if rule.pace.shape[0]:
            change = load(rule.pace, l) * change
        now = (1.0 - rule.friction / rule.N) * load(velocity, k * L + l) + change
        store(velocity, k * L + l, now)
        store(W, k * L + l, w + (1.0 / rule.N) * now)


@inner
def update(eta_w: float, rule: Any, memory: Any, first: int, count: int) -> None:
    """Make one step's update of a block of all weights."""
    W, x, a = memory.W, memory.x, memory.a
    K, L = W.shape
    shrink = 1.0 - eta_w * rule.kappa_w / rule.N
    if memory.velocity.shape[0]:
        for k in range(K):
            if rule.move[k] != 0.0:
                pushed(eta_w, rule, memory, k, first, count)
        return
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
    if rule.centre.shape[0]:
        for i in range(first, first + count):
            given[j, i] += rule.centre[s, i]
            x[j, i] += rule.seen[s, i]


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
def reads(rule: Any, s: int, n: int) -> bool:
    """Whether a task's labels depend on a fixed vector."""
    for o in range(s * rule.outputs, (s + 1) * rule.outputs):
        if rule.u[o, n] != 0.0:
            return True
    return False


@inner
def add_fields(rule: Any, memory: Any, first: int, count: int) -> None:
    """Add a block's part of w·x and B·x, and of the products of inputs where they are asked for."""
    W, x, lam, rho, gram = memory.W, memory.x, memory.lam, memory.rho, memory.gram
    L = x.shape[1]
    seen = memory.given if rule.drawn.shape[0] else x
    for j in range(x.shape[0]):
        for k in range(W.shape[0]):
            lam[j, k] += dot(W, k * L + first, x, j * L + first, count)
        for n in range(rule.B.shape[0]):
            if reads(rule, memory.task[j], n):
                rho[j, n] += dot(rule.B, n * L + first, seen, j * L + first, count)
        for i in range(gram.shape[0]):
            gram[j, i] += dot(x, i * L + first, x, j * L + first, count)


# ------------------------------------------------------------------------------------------ a step


@inner
def choose_samples(rule: Any, memory: Any) -> None:
    """Draw task, place among given inputs, noise of labels and answering units of all samples."""
    stream, O = memory.streams[1], rule.outputs
    for j in range(memory.task.shape[0]):
        s = choose(stream, rule.p)
        memory.task[j] = s
        if rule.inputs.shape[0]:
            memory.row[j] = rule.first[s] + below(stream, rule.size[s])
        for o in range(O):
            label = 0.0
            if rule.constant.shape[0]:
                label = rule.constant[s * O + o]
            if rule.labels.shape[1]:
                label += rule.labels[s * O + o, memory.row[j]]
            if rule.sigma[s * O + o] != 0.0:
                label += rule.sigma[s * O + o] * normal(stream)
            memory.label[j * O + o] = label
        for k in range(rule.keep.shape[0]):
            memory.mask[j, k] = 1.0 if uniform(stream) < rule.keep[k] else 0.0


@inner
def advance(eta_w: float, pending: bool, rule: Any, memory: Any) -> None:
    """One pass: the update of the step before if it is pending, new samples, their fields."""
    choose_samples(rule, memory)
    L = memory.x.shape[1]
    memory.lam[:] = 0.0
    memory.rho[:] = 0.0
    memory.gram[:] = 0.0
    for first in range(0, L, BLOCK):
        count = min(BLOCK, L - first)
        if pending:
            update(eta_w, rule, memory, first, count)
        draw_inputs(rule, memory, first, count)
        add_fields(rule, memory, first, count)


@inner
def finish(eta_w: float, rule: Any, memory: Any) -> None:
    """The last update."""
    update(eta_w, rule, memory, 0, memory.x.shape[1])


@inner
def scale_fields(rule: Any, memory: Any) -> None:
    """From sums to local fields."""
    lam, rho = memory.lam, memory.rho
    scale = 1.0 / math.sqrt(rule.N)
    for j in range(lam.shape[0]):
        for n in range(rho.shape[1]):
            rho[j, n] /= math.sqrt(rule.N)
            if rule.shift.shape[0]:
                rho[j, n] += rule.shift[n]
        for k in range(lam.shape[1]):
            lam[j, k] *= scale
            if memory.bias.shape[0]:
                lam[j, k] += memory.bias[k]


@inner
def sign(z: float) -> float:
    """−1, 0 or 1."""
    return math.copysign(1.0, z) if z != 0.0 else 0.0


@inner
def activate(g: Any, dg: Any, rule: Any, memory: Any) -> None:
    """From sums to local fields, and what the activation makes of them."""
    scale_fields(rule, memory)
    lam, rho = memory.lam, memory.rho
    for j in range(lam.shape[0]):
        for n in range(rho.shape[1]):
            if reads(rule, memory.task[j], n):
                memory.teacher[j, n] = sign(rho[j, n]) if rule.sign else value(g, rho[j, n])
        for k in range(lam.shape[1]):
            memory.out[j, k] = value(g, lam[j, k])
            memory.slope[j, k] = slope(dg, lam[j, k])


@inner
def error(rule: Any, memory: Any, j: int, o: int) -> float:
    """δ = y − Σ_k v_k g(λ_k) of one output and sample, its noise included."""
    s = memory.task[j]
    t, r = s * rule.outputs + o, rule.head[s] * rule.outputs + o
    delta = memory.label[j * rule.outputs + o]
    for n in range(rule.u.shape[1]):
        if rule.u[t, n] != 0.0:
            delta += rule.u[t, n] * memory.teacher[j, n]
    for k in range(memory.out.shape[1]):
        delta -= memory.v[r, k] * memory.out[j, k]
    return delta


@inner
def silence(memory: Any) -> None:
    """Units that do not answer a sample neither give nor learn anything."""
    for j in range(memory.mask.shape[0]):
        for k in range(memory.mask.shape[1]):
            memory.out[j, k] *= memory.mask[j, k]
            memory.slope[j, k] *= memory.mask[j, k]


@inner
def gather(eta_w: float, rule: Any, memory: Any) -> None:
    """What the samples of a step ask of all layers; of the first one at a rate of eta_w."""
    v, a, dv, db, trained = memory.v, memory.a, memory.dv, memory.db, memory.trained
    (b, K), O = a.shape, rule.outputs
    scale = 1.0 / math.sqrt(rule.N)
    a[:], dv[:], db[:], trained[:] = 0.0, 0.0, 0.0, 0.0
    for j in range(b):
        h = rule.head[memory.task[j]]
        for o in range(O):
            r, delta = h * O + o, error(rule, memory, j, o)
            for k in range(K):
                dv[r, k] += memory.out[j, k] * delta / b
                a[j, k] += eta_w * scale / b * v[r, k] * memory.slope[j, k] * delta
            for k in range(db.shape[0]):
                db[k] += v[r, k] * memory.slope[j, k] * delta / b
        trained[h] += 1.0 / b


@inner
def adapt(rule: Any, memory: Any) -> float:
    """Factor 1/√B of all rates, from the gradient that was gathered at a rate of one."""
    a, power, gram = memory.a, memory.power, memory.gram
    square = 0.0
    for k in range(a.shape[1]):
        for i in range(a.shape[0]):
            for j in range(a.shape[0]):
                square += rule.move[k] * a[i, k] * a[j, k] * gram[i, j]
    power[0] += (rule.gather * square - rule.forget * power[0]) / rule.N
    return 1.0 / math.sqrt(power[0] + rule.floor)


@inner
def learn(eta_v: float, eta_b: float, rule: Any, memory: Any) -> None:
    """The step of readouts and biases."""
    v, bias, trained = memory.v, memory.bias, memory.trained
    for r in range(v.shape[0]):
        share = trained[r // rule.outputs]
        for k in range(v.shape[1]):
            held = rule.F_v[r, k] * v[r, k] - rule.Fv[r, k]
            force = memory.dv[r, k] - share * (rule.kappa_v * v[r, k] + held)
            if memory.velocity.shape[0]:
                v[r, k] += roll(memory.velocity_v, r, k, eta_v / rule.N * force, rule)
            else:
                v[r, k] += eta_v / rule.N * force
    for k in range(bias.shape[0]):
        step = eta_b / rule.N * memory.db[k]
        bias[k] += roll(memory.velocity_b, 0, k, step, rule) if memory.velocity.shape[0] else step


@inner
def roll(velocity: Any, i: int, j: int, step: float, rule: Any) -> float:
    """What a heavy ball moves by, its velocity changed by a step."""
    velocity[i, j] = (1.0 - rule.friction / rule.N) * velocity[i, j] + step
    return velocity[i, j] / rule.N


@inner
def respond(eta_w: float, eta_v: float, eta_b: float, rule: Any, memory: Any) -> float:
    """After `activate`: the update of all layers; readouts and biases move at once.

    Returns the learning rate of the first layer.
    """
    silence(memory)
    if memory.power.shape[0]:
        gather(1.0, rule, memory)
        factor = adapt(rule, memory)
        eta_w, eta_v, eta_b = factor * eta_w, factor * eta_v, factor * eta_b
        for j in range(memory.a.shape[0]):
            for k in range(memory.a.shape[1]):
                memory.a[j, k] *= eta_w
    else:
        gather(eta_w, rule, memory)
    learn(eta_v, eta_b, rule, memory)
    return eta_w


@kernel(_nrt=False)
def advance_alone(eta_w: float, pending: bool, rule: Any, memory: Any) -> None:
    """`advance` and `scale_fields`, for the loops of `plain`."""
    advance(eta_w, pending, rule, memory)
    scale_fields(rule, memory)


@kernel(_nrt=False)
def finish_alone(eta_w: float, rule: Any, memory: Any) -> None:
    """`finish`, for the loops of `plain`."""
    finish(eta_w, rule, memory)


@kernel(_nrt=False)
def respond_alone(eta_w: float, eta_v: float, eta_b: float, rule: Any, memory: Any) -> float:
    """`respond`, for the loops of `plain`."""
    return respond(eta_w, eta_v, eta_b, rule, memory)


@kernel(_nrt=False)
def train(
    steps: int, eta_w: Any, eta_v: Any, eta_b: Any, g: Any, dg: Any, rule: Any, memory: Any
) -> None:
    """Take so many steps of SGD, in place.

    w_k += (η_w/√N) Σ_o V_ok g'(λ_k) δ_o x, V_ok += (η_v/N) g(λ_k) δ_o and
    b_k += (η_b/N) Σ_o V_ok g'(λ_k) δ_o, averaged over the batch, with
    δ_o = y_o − Σ_k V_ok g(λ_k); each step takes its share 1/N of the penalties.

    Parameters
    ----------
    steps : int
    eta_w, eta_v, eta_b : ndarray, shape (steps,) or (1,)
        Learning rates of each step.
    g, dg : int, float or compiled functions
        The activation's code or leaky ReLU's slope, twice; or g and its derivative.
    rule : Rule
    memory : Memory
    """
    rate = 0.0
    for i in range(steps):
        advance(rate, i > 0, rule, memory)
        activate(g, dg, rule, memory)
        rates = (at_step(eta_w, i), at_step(eta_v, i), at_step(eta_b, i))
        rate = respond(rates[0], rates[1], rates[2], rule, memory)
    if steps:
        finish(rate, rule, memory)


@inner
def at_step(rates: Any, i: int) -> float:
    """The rate of a step."""
    return rates[min(i, rates.shape[0] - 1)]


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
        Receives N E[(∂f/∂w_ki)²] = Σ_o V_ok² E[g'(λ_k)² x_i²].
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
            if memory.bias.shape[0]:
                z += memory.bias[k]
            I2[k] += value(g, z) ** 2 / samples
            for r in range(h * rule.outputs, (h + 1) * rule.outputs):
                s = memory.v[r, k] * slope(dg, z)
                for i in range(L):
                    F[k, i] += s * s * memory.x[0, i] * memory.x[0, i] / samples
