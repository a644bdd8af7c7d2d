"""Online SGD of a committee in N dimensions: the network itself, not its order parameters.

One pass over memory a step: in blocks that stay in the first-level cache, the weights take the
update of the step before, new inputs are drawn, and the local fields are summed.
"""

from __future__ import annotations

import math
from typing import Any

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee.sgd.passes import BLOCK, add_fields, draw_inputs, reads, update
from odekit_kernels.committee.sgd.stream import below, choose, normal, uniform
from odekit_kernels.committee.sgd.units import sign, slope, value

__all__ = [
    "activate",
    "advance_alone",
    "at_step",
    "choose_samples",
    "finish_alone",
    "respond",
    "respond_alone",
    "squared_slopes",
    "train",
]


@inner
def choose_samples(rule: Any, memory: Any) -> None:
    """Draw task, place among given inputs, answering units and noise of labels of all samples."""
    stream, O = memory.streams[1], rule.outputs
    for j in range(memory.task.shape[0]):
        s = choose(stream, rule.p)
        memory.task[j] = s
        if rule.inputs.shape[0]:
            memory.row[j] = rule.first[s] + below(stream, rule.size[s])
        for k in range(rule.keep.shape[0]):
            memory.mask[j, k] = 1.0 if uniform(stream) < rule.keep[k] else 0.0
        for o in range(O):
            label = 0.0
            if rule.constant.shape[0]:
                label = rule.constant[s * O + o]
            if rule.labels.shape[1]:
                label += rule.labels[s * O + o, memory.row[j]]
            if rule.sigma[s * O + o] != 0.0:
                label += rule.sigma[s * O + o] * normal(stream)
            memory.label[j * O + o] = label


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
def respond(eta_w: float, eta_v: float, rule: Any, memory: Any) -> float:
    """After `activate`: the update of all layers; readouts and biases move at once.

    Returns the learning rate of the first layer.
    """
    silence(memory)
    eta_b = rule.eta_b
    if memory.power.shape[0]:
        gather(1.0, rule, memory)
        factor = adapt(rule, memory)
        eta_w, eta_v, eta_b = factor * eta_w, factor * eta_v, factor * rule.eta_b
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
def respond_alone(eta_w: float, eta_v: float, rule: Any, memory: Any) -> float:
    """`respond`, for the loops of `plain`."""
    return respond(eta_w, eta_v, rule, memory)


@kernel(_nrt=False)
def train(steps: int, eta_w: Any, eta_v: Any, g: Any, dg: Any, rule: Any, memory: Any) -> None:
    """Take so many steps of SGD, in place.

    w_k += (η_w/√N) Σ_o V_ok g'(λ_k) δ_o x, V_ok += (η_v/N) g(λ_k) δ_o and
    b_k += (η_b/N) Σ_o V_ok g'(λ_k) δ_o, averaged over the batch, with
    δ_o = y_o − Σ_k V_ok g(λ_k); each step takes its share 1/N of the penalties.

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
        activate(g, dg, rule, memory)
        rate = respond(at_step(eta_w, i), at_step(eta_v, i), rule, memory)
    if steps:
        finish(rate, rule, memory)


@inner
def at_step(rates: Any, i: int) -> float:
    """The rate of a step."""
    return rates[min(i, rates.shape[0] - 1)]


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
