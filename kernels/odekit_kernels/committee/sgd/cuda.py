"""SGD of many networks on a GPU: one block of threads a network, in lockstep.

The numbers are those of `steps`, stream for stream, so that both give the same
networks to rounding: the threads of a block share the inputs, pair by pair of Box and Muller's
variates, and the sums of the fields. Only the activations with a code are there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import config, cuda

from odekit_kernels.committee.activations import ERF, LINEAR
from odekit_kernels.committee.sgd.memory import Memory, Rule
from odekit_kernels.committee.sgd.steps import BLOCK

__all__ = ["THREADS", "available", "train_many", "train_networks"]

_config: Any = config
THREADS = 4 if _config.ENABLE_CUDASIM else 256
"""Of a block; a power of two. Numba's simulator makes a Python thread of each."""

_u = np.uint64
_FIRST, _SECOND = _u(0xBF58476D1CE4E5B9), _u(0x94D049BB133111EB)
_ONE = _u(1)
_S12, _S27, _S30, _S31 = _u(12), _u(27), _u(30), _u(31)
_STEP = 2.0**-52
_ROOT_HALF = math.sqrt(0.5)
_SLOPE = math.sqrt(2.0 / math.pi)

_cuda: Any = cuda


def available() -> bool:
    """Whether there is a GPU, or the simulator of one."""
    return bool(_cuda.is_available())


# ------------------------------------------------------------------------------------- one thread


@_cuda.jit(device=True)
def mix(z: Any) -> Any:
    """SplitMix64's function, as `stream.mix`."""
    z = (z ^ (z >> _S30)) * _FIRST
    z = (z ^ (z >> _S27)) * _SECOND
    return z ^ (z >> _S31)


@_cuda.jit(device=True)
def polar(z: Any, y: Any) -> Any:
    """Radius and angle of a pair of normal variates from two random words."""
    size = math.sqrt(-2.0 * math.log(1.0 - (z >> _S12) * _STEP))
    if y & _ONE:
        size = -size
    return size, ((y >> _S12) * _STEP - 0.5) * math.pi


@_cuda.jit(device=True)
def take(stream: Any) -> Any:
    """The next word of a stream."""
    z = mix(stream[0] + stream[1] * stream[2])
    stream[2] += _ONE
    return z


@_cuda.jit(device=True)
def value(code: int, z: float) -> float:
    """g(z)."""
    if code == ERF:
        return math.erf(z * _ROOT_HALF)
    return z if code == LINEAR else max(z, 0.0)


@_cuda.jit(device=True)
def slope(code: int, z: float) -> float:
    """g'(z)."""
    if code == ERF:
        return _SLOPE * math.exp(-0.5 * z * z)
    return 1.0 if code == LINEAR or z > 0.0 else 0.0


@_cuda.jit(device=True)
def choose_samples(rule: Any, stream: Any, task: Any, row: Any, label: Any) -> None:
    """Tasks, places among given inputs and noise of a step, as `sgd.choose_samples`."""
    p, sigma, labels, first, size = rule
    for j in range(task.shape[0]):
        s = p.shape[0] - 1
        if s > 0:
            level = (take(stream) >> _S12) * _STEP
            for i in range(p.shape[0] - 1):
                level -= p[i]
                if level < 0.0:
                    s = i
                    break
        task[j] = s
        label[j] = 0.0
        if size[s] > 0:
            place = int((take(stream) >> _S12) * _STEP * size[s])
            row[j] = first[s] + min(place, size[s] - 1)
            if labels.shape[1]:
                label[j] = labels[s, row[j]]
        if sigma[s] != 0.0:
            radius, angle = polar(take(stream), take(stream))
            label[j] += sigma[s] * (radius * math.cos(angle))


@_cuda.jit(device=True)
def respond(code: int, scalars: Any, teacher: Any, held: Any, network: Any) -> None:
    """Updates of both layers from the fields, as `sgd.respond`."""
    eta_w, eta_v, N, kappa_v = scalars
    u, head = teacher
    F_v, Fv = held
    v, task, label, field, a, dv, trained = network
    b, K = a.shape
    root = math.sqrt(N)
    for h in range(v.shape[0]):
        trained[h] = 0.0
        for k in range(K):
            dv[h, k] = 0.0
    for j in range(b):
        s = task[j]
        h = head[s]
        delta = label[j]
        for n in range(u.shape[1]):
            if u[s, n] != 0.0:
                delta += u[s, n] * value(code, field[j, K + n] / root)
        for k in range(K):
            delta -= v[h, k] * value(code, field[j, k] / root)
        for k in range(K):
            z = field[j, k] / root
            dv[h, k] += value(code, z) * delta / b
            a[j, k] = eta_w / root / b * v[h, k] * slope(code, z) * delta
        trained[h] += 1.0 / b
    for h in range(v.shape[0]):
        for k in range(K):
            force = kappa_v * v[h, k] + F_v[h, k] * v[h, k] - Fv[h, k]
            v[h, k] += eta_v / N * (dv[h, k] - trained[h] * force)


# ------------------------------------------------------------------------------------ all threads


@_cuda.jit(device=True)
def update(W: Any, x: Any, a: Any, move: Any, pull: Any, eta_w: float, decay: float) -> None:
    """The update that a step left, on the inputs of this thread."""
    F, Fa, N = pull
    shrink, rate = 1.0 - eta_w * decay / N, eta_w / N
    for i in range(_cuda.threadIdx.x, W.shape[1], THREADS):
        for k in range(W.shape[0]):
            if move[k] != 0.0:
                w = shrink * W[k, i]
                if F.shape[0]:
                    w -= rate * (F[k, i] * W[k, i] - Fa[k, i])
                for j in range(x.shape[0]):
                    w += a[j, k] * x[j, i]
                W[k, i] = w


@_cuda.jit(device=True)
def draw_inputs(x: Any, stream: Any, N: int) -> None:
    """Normal variates, each pair by one thread, in the order of `stream.normals`."""
    b, L = x.shape
    for q in range(_cuda.threadIdx.x, L // 2, THREADS):
        first = q // (BLOCK // 2) * BLOCK
        count = min(BLOCK, L - first)
        i = q - first // 2
        for j in range(b):
            place = stream[2] + _u(first * b + j * count + 2 * i)
            seed, gamma = stream[0], stream[1]
            size, angle = polar(mix(seed + gamma * place), mix(seed + gamma * (place + _ONE)))
            left, right = first + i, first + count // 2 + i
            x[j, left] = size * math.cos(angle) if left < N else 0.0
            x[j, right] = size * math.sin(angle) if right < N else 0.0


@_cuda.jit(device=True)
def copy_inputs(x: Any, inputs: Any, row: Any) -> None:
    """Given inputs."""
    for i in range(_cuda.threadIdx.x, x.shape[1], THREADS):
        for j in range(x.shape[0]):
            x[j, i] = inputs[row[j], i]


@_cuda.jit(device=True)
def add_fields(W: Any, B: Any, x: Any, u: Any, task: Any, field: Any, sums: Any) -> None:
    """Sum w·x and B·x over the threads, in halves."""
    K, me = W.shape[0], _cuda.threadIdx.x
    for j in range(x.shape[0]):
        for f in range(field.shape[1]):
            part = 0.0
            if f < K:
                for i in range(me, x.shape[1], THREADS):
                    part += W[f, i] * x[j, i]
            elif u[task[j], f - K] != 0.0:
                for i in range(me, x.shape[1], THREADS):
                    part += B[f - K, i] * x[j, i]
            sums[me] = part
            _cuda.syncthreads()
            half = THREADS // 2
            while half > 0:
                if me < half:
                    sums[me] += sums[me + half]
                _cuda.syncthreads()
                half //= 2
            if me == 0:
                field[j, f] = sums[0]
            _cuda.syncthreads()


@_cuda.jit
def train_networks(
    steps: int,
    code: int,
    rates: Any,
    rule: Any,
    numbers: Any,
    vectors: Any,
    weights: Any,
    scratch: Any,
) -> None:
    """Take so many steps with every network, one block each.

    Parameters
    ----------
    rates : (eta_w, eta_v), shape (steps,) or (1,)
    rule : (p, sigma, labels, first, size, u, head, move)
        As in `sgd.Rule`, the same for all networks; size 0 stands for Gaussian inputs.
    numbers : (N, kappa_w, kappa_v)
    vectors : (B, F, Fa, F_v, Fv, inputs)
        As in `sgd.Rule`, but for `inputs` with an axis of networks first.
    weights, scratch : (W, v, streams), (x, field, a, dv, trained, label, task, row)
        As in `sgd.Memory`, with an axis of networks first.
    """
    r, me = _cuda.blockIdx.x, _cuda.threadIdx.x
    sums = _cuda.shared.array(THREADS, np.float64)
    p, sigma, labels, first, size, u, head, move = rule
    N, kappa_w, kappa_v = numbers
    B, F, Fa, F_v, Fv, inputs = vectors
    W, v, streams = weights
    x, field, a, dv, trained, label, task, row = scratch
    b, L = x.shape[1], x.shape[2]
    eta_w = 0.0
    for i in range(steps):
        if me == 0:
            choose_samples(
                (p, sigma, labels, first, size), streams[r, 1], task[r], row[r], label[r]
            )
        if i > 0:
            update(W[r], x[r], a[r], move, (F[r], Fa[r], N), eta_w, kappa_w)
        # Inputs are shared in pairs, weights one by one: all must be done with the old ones.
        _cuda.syncthreads()
        if inputs.shape[0]:
            copy_inputs(x[r], inputs, row[r])
        else:
            draw_inputs(x[r], streams[r, 0], N)
        _cuda.syncthreads()
        add_fields(W[r], B[r], x[r], u, task[r], field[r], sums)
        eta_w = rates[0][min(i, rates[0].shape[0] - 1)]
        if me == 0:
            if not inputs.shape[0]:
                streams[r, 0, 2] += _u(b * L)
            network = (v[r], task[r], label[r], field[r], a[r], dv[r], trained[r])
            eta_v = rates[1][min(i, rates[1].shape[0] - 1)]
            respond(code, (eta_w, eta_v, N, kappa_v), (u, head), (F_v[r], Fv[r]), network)
        _cuda.syncthreads()
    if steps:
        update(W[r], x[r], a[r], move, (F[r], Fa[r], N), eta_w, kappa_w)


# ------------------------------------------------------------------------------------------ host


def train_many(
    steps: int, eta_w: Any, eta_v: Any, code: int, rules: Sequence[Rule], memories: Sequence[Memory]
) -> None:
    """`sgd.train` of several networks that differ in weights, vectors and random numbers alone.

    Parameters
    ----------
    rules, memories : sequence
        One for each network; the memories are updated in place.
    """
    rule, memory = rules[0], memories[0]
    given = bool(rule.inputs.shape[0])
    common = (
        *(_cuda.to_device(a) for a in (rule.p, rule.sigma, rule.labels, rule.first)),
        _cuda.to_device(rule.size if given else np.zeros_like(rule.size)),
        *(_cuda.to_device(a) for a in (rule.u, rule.head, rule.move)),
    )
    vectors = (
        *(_stack(rules, name) for name in ("B", "F", "Fa", "F_v", "Fv")),
        _cuda.to_device(rule.inputs),
    )
    weights = tuple(_stack(memories, name) for name in ("W", "v", "streams"))
    b, K = memory.a.shape
    field = np.zeros((len(rules), b, K + rule.u.shape[1]))
    scratch = (
        _stack(memories, "x"),
        _cuda.to_device(field),
        *(_stack(memories, name) for name in ("a", "dv", "trained", "label", "task", "row")),
    )
    rates = tuple(_cuda.to_device(np.ascontiguousarray(e)) for e in (eta_w, eta_v))
    numbers = (rule.N, rule.kappa_w, rule.kappa_v)
    train_networks[len(rules), THREADS](
        steps, code, rates, common, numbers, vectors, weights, scratch
    )
    for name, array in zip(("W", "v", "streams"), weights, strict=True):
        for own, new in zip(memories, array.copy_to_host(), strict=True):
            getattr(own, name)[:] = new


def _stack(parts: Sequence[Any], name: str) -> Any:
    return _cuda.to_device(np.stack([getattr(part, name) for part in parts]))
