"""Passes over the inputs: weights are moved, inputs drawn, fields summed, block by block.

A block stays in the first-level cache; its rows are whole numbers of vectors.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee.sgd.memory import PAD
from odekit_kernels.committee.sgd.stream import normals
from odekit_kernels.simd import WIDTH, load, splat, store, total

__all__ = ["BLOCK", "add_fields", "draw_inputs", "overlaps", "pulled", "reads", "update"]

BLOCK = 16 * PAD
"""Inputs at a time: a row of a block is 4 KiB."""


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
    found = False
    for o in range(s * rule.outputs, (s + 1) * rule.outputs):
        found = found or rule.u[o, n] != 0.0
    return found


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


@kernel(_nrt=False)
def overlaps(A: Any, B: Any, N: int, out: Any) -> None:
    """A_i·B_j/N of padded rows, shape (len A, len B)."""
    L = A.shape[1]
    for i in range(A.shape[0]):
        for j in range(B.shape[0]):
            out[i, j] = dot(A, i * L, B, j * L, L) / N
