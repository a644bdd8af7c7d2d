"""SGD of many networks on a GPU: one block of threads a network, in lockstep.

The functions of one number, and those of a step's fields, are those of the CPU, stream for stream;
here is how the threads of a block share the inputs, pair by pair of Box and Muller's variates, and
the sums of the fields. Only the activations with a code are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import config, cuda

from odekit_kernels._jit import NO_JIT
from odekit_kernels.committee.sgd.memory import Memory, Rule
from odekit_kernels.committee.sgd.passes import BLOCK, pulled, reads
from odekit_kernels.committee.sgd.steps import activate, at_step, choose_samples, respond
from odekit_kernels.committee.sgd.stream import pair_at

__all__ = ["THREADS", "available", "train_many", "train_networks"]

_config: Any = config
SIMULATED = bool(_config.ENABLE_CUDASIM)
THREADS = 4 if SIMULATED else 256
"""Of a block; a power of two. Numba's simulator makes a Python thread of each."""

_u = np.uint64
_cuda: Any = cuda


def available() -> bool:
    """Whether there is a GPU, or the simulator of one.

    The simulator runs plain Python: the functions shared with the CPU must not be compiled either.
    """
    return bool(_cuda.is_available()) and (NO_JIT or not SIMULATED)


# --------------------------------------------------------------------------------- one network


@_cuda.jit(device=True)
def rule_of(rules: Any, r: int) -> Any:
    """What is constant for network r: arrays that differ have an axis of networks first."""
    return Rule(
        rules.N, rules.B[r], rules.u, rules.sigma, rules.p, rules.head, rules.move, rules.kappa_w,
        rules.kappa_v, rules.F[r], rules.Fa[r], rules.F_v[r], rules.Fv[r], rules.inputs,
        rules.labels, rules.first, rules.size, rules.drawn, rules.gain, rules.noise, rules.pace,
        rules.outputs, rules.constant, rules.centre[r], rules.seen[r], rules.shift, rules.sign,
        rules.eta_b, rules.keep, rules.friction, rules.gather, rules.forget, rules.floor,
    )  # fmt: skip


@_cuda.jit(device=True)
def memory_of(memories: Any, r: int) -> Any:
    """What network r reads and writes."""
    return Memory(
        memories.W[r], memories.v[r], memories.streams[r], memories.x[r], memories.lam[r],
        memories.rho[r], memories.out[r], memories.slope[r], memories.teacher[r], memories.a[r],
        memories.dv[r], memories.trained[r], memories.label[r], memories.task[r], memories.row[r],
        memories.given[r], memories.bias[r], memories.db[r], memories.mask[r],
        memories.velocity[r], memories.velocity_v[r], memories.velocity_b[r], memories.power[r],
        memories.gram[r],
    )  # fmt: skip


@_cuda.jit(device=True)
def update(eta_w: float, rule: Any, memory: Any) -> None:
    """The update that a step left, on the inputs of this thread."""
    W, x, a = memory.W, memory.x, memory.a
    for i in range(_cuda.threadIdx.x, W.shape[1], THREADS):
        rate, own = eta_w / rule.N, 1.0
        if rule.pace.shape[0]:
            own = rule.pace[0, i]
            rate *= own
        shrink = 1.0 - rate * rule.kappa_w
        for k in range(W.shape[0]):
            if rule.move[k] != 0.0:
                w = shrink * W[k, i]
                if rule.F.shape[0]:
                    w = pulled(W[k, i], rule.F[k, i], rule.Fa[k, i], shrink, rate)
                for j in range(x.shape[0]):
                    w += own * a[j, k] * x[j, i]
                if memory.velocity.shape[0]:
                    now = (1.0 - rule.friction / rule.N) * memory.velocity[k, i] + (w - W[k, i])
                    memory.velocity[k, i] = now
                    w = W[k, i] + now / rule.N
                W[k, i] = w


@_cuda.jit(device=True)
def see(rule: Any, memory: Any, j: int, i: int, z: float, xi: float) -> None:
    """Write one input as the teacher sees it, and as the student does."""
    s = memory.task[j]
    memory.given[j, i] = rule.drawn[s, i] * z
    memory.x[j, i] = rule.gain[s, i] * z
    if rule.noise.shape[0]:
        memory.x[j, i] += rule.noise[s, i] * xi
    if rule.centre.shape[0]:
        memory.given[j, i] += rule.centre[s, i]
        memory.x[j, i] += rule.seen[s, i]


@_cuda.jit(device=True)
def draw_inputs(rule: Any, memory: Any) -> None:
    """Normal variates, each pair by one thread, in the order of `stream.normals`; or given ones."""
    x, stream, me = memory.x, memory.streams[0], _cuda.threadIdx.x
    b, L = x.shape
    if rule.inputs.shape[0]:
        for i in range(me, L, THREADS):
            for j in range(b):
                x[j, i] = rule.inputs[memory.row[j], i]
        return
    times = 2 if rule.noise.shape[0] else 1
    for q in range(me, L // 2, THREADS):
        first = q // (BLOCK // 2) * BLOCK
        count = min(BLOCK, L - first)
        i = q - first // 2
        left, right = first + i, first + count // 2 + i
        for j in range(b):
            place = stream[2] + _u(times * (first * b + j * count) + 2 * i)
            one, two = pair_at(stream[0], stream[1], place)
            if rule.drawn.shape[0]:
                other, another = 0.0, 0.0
                if rule.noise.shape[0]:
                    other, another = pair_at(stream[0], stream[1], place + _u(count))
                see(rule, memory, j, left, one, other)
                see(rule, memory, j, right, two, another)
            else:
                x[j, left] = one if left < rule.N else 0.0
                x[j, right] = two if right < rule.N else 0.0


@_cuda.jit(device=True)
def dot(w: Any, x: Any, sums: Any) -> float:
    """w·x, summed over the threads in halves."""
    me = _cuda.threadIdx.x
    part = 0.0
    for i in range(me, x.shape[0], THREADS):
        part += w[i] * x[i]
    sums[me] = part
    _cuda.syncthreads()
    half = THREADS // 2
    while half > 0:
        if me < half:
            sums[me] += sums[me + half]
        _cuda.syncthreads()
        half //= 2
    whole = sums[0]
    _cuda.syncthreads()
    return whole


@_cuda.jit(device=True)
def sum_fields(rule: Any, memory: Any, sums: Any) -> None:
    """Fill w·x and B·x, and the products of inputs where they are asked for."""
    W, x, lam, rho, me = memory.W, memory.x, memory.lam, memory.rho, _cuda.threadIdx.x
    for j in range(x.shape[0]):
        for k in range(W.shape[0]):
            field = dot(W[k], x[j], sums)
            if me == 0:
                lam[j, k] = field
        for n in range(rule.B.shape[0]):
            if reads(rule, memory.task[j], n):
                field = dot(rule.B[n], memory.given[j] if rule.drawn.shape[0] else x[j], sums)
                if me == 0:
                    rho[j, n] = field
        for i in range(memory.gram.shape[0]):
            product = dot(x[i], x[j], sums)
            if me == 0:
                memory.gram[j, i] = product


@_cuda.jit
def train_networks(
    steps: int, code: int, eta_w: Any, eta_v: Any, rules: Any, memories: Any
) -> None:
    """Take so many steps with every network, one block each.

    Parameters
    ----------
    steps : int
    code : int
        Of the activation.
    eta_w, eta_v : ndarray, shape (steps,) or (1,)
    rules : Rule
        The same for all networks, but for those in `OWN` with an axis of networks first.
    memories : Memory
        Every array with an axis of networks first.
    """
    me = _cuda.threadIdx.x
    sums = _cuda.shared.array(THREADS, np.float64)
    rate = _cuda.shared.array(1, np.float64)  # the first thread's, which may adapt it
    rule, memory = rule_of(rules, _cuda.blockIdx.x), memory_of(memories, _cuda.blockIdx.x)
    for i in range(steps):
        if me == 0:
            choose_samples(rule, memory)
        if i > 0:
            update(rate[0], rule, memory)
        # Inputs are shared in pairs, weights one by one: all must be done with the old ones.
        _cuda.syncthreads()
        draw_inputs(rule, memory)
        _cuda.syncthreads()
        sum_fields(rule, memory, sums)
        if me == 0:
            if not rule.inputs.shape[0]:
                times = 2 if rule.noise.shape[0] else 1
                memory.streams[0, 2] += _u(times * memory.x.shape[0] * memory.x.shape[1])
            activate(code, code, rule, memory)
            rate[0] = respond(at_step(eta_w, i), at_step(eta_v, i), rule, memory)
        _cuda.syncthreads()
    if steps:
        update(rate[0], rule, memory)


# ------------------------------------------------------------------------------------------ host

OWN = ("B", "F", "Fa", "F_v", "Fv", "centre", "seen")
"""What of a rule each network has for itself."""
LEARNT = ("W", "v", "streams", "bias", "velocity", "velocity_v", "velocity_b", "power")
"""What of a memory goes on to the next steps."""


def train_many(
    steps: int, rates: Any, code: int, rules: Sequence[Rule], memories: Sequence[Memory]
) -> None:
    """`steps.train` of several networks that differ in weights, vectors and random numbers alone.

    Parameters
    ----------
    steps : int
    rates : tuple of ndarray, shape (steps,) or (1,)
        η_w and η_v.
    code : int
        Of the activation.
    rules, memories : sequence
        One for each network; the memories are updated in place.
    """
    shared = {
        name: _cuda.to_device(value) if isinstance(value, np.ndarray) else value
        for name, value in rules[0]._asdict().items()
    }
    own = {name: _stack(rules, name) for name in OWN}
    held = Memory(*(_stack(memories, name) for name in Memory._fields))
    there = (_cuda.to_device(np.ascontiguousarray(e)) for e in rates)
    train_networks[len(rules), THREADS](steps, code, *there, Rule(**(shared | own)), held)
    for name in LEARNT:
        for memory, new in zip(memories, getattr(held, name).copy_to_host(), strict=True):
            getattr(memory, name)[:] = new


def _stack(parts: Sequence[Any], name: str) -> Any:
    return _cuda.to_device(np.stack([getattr(part, name) for part in parts]))
