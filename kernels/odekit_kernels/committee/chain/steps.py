"""Online SGD of a committee as a Markov chain of its order parameters, exact at every N.

Gaussian inputs enter a step through their local fields and their inner products alone. In the frame
of the fixed vectors and of the units (`memory`) an input has D independent normal coordinates, and
the rest of b inputs only has a Gram matrix: Wishart's, of N − D degrees of freedom, drawn as
Bartlett's triangle. With A = (η/b) v_k g'(λ_k) δ the step is, before decay,

    X ← X + A z_P/N,      [L | 0] ← [L + A z_K/N | A T/N] made triangular again,

the law of SGD in N dimensions, at a cost that is free of N. Eight networks go side by side.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee.chain.draws import draw_block, enter_step, leave_block
from odekit_kernels.committee.chain.values import fill
from odekit_kernels.simd import WIDTH, absolute, choose_less, load, root, splat, store, with_sign

__all__ = ["begin_alone", "draw_alone", "leave_alone", "respond_alone", "train"]

_TINY = 1e-290

# ------------------------------------------------------------------------------------------ fields


@inner
def add_dot(x: Any, i: int, z: Any, j: int, count: int, start: Any) -> Any:
    """`start` + Σ x z over rows of lanes from flat rows i and j."""
    s = start
    for q in range(count):
        s = s + load(x, (i + q) * WIDTH) * load(z, (j + q) * WIDTH)
    return s


@inner
def find_fields(rule: Any, memory: Any) -> None:
    """λ = X z_P + L z_K and ρ = L_T z_P of every sample."""
    X, L, z, fields = memory.X, memory.L, memory.z, memory.fields
    K, P, _ = X.shape
    b, n = memory.share.shape[0], rule.read.shape[0]
    for j in range(b):
        own = j * (P + K)
        for k in range(K):
            s = add_dot(X, k * P, z, own, P, splat(0.0))
            s = add_dot(L, k * K, z, own + P, k + 1, s)
            store(fields, (j * K + k) * WIDTH, s)
        for i in range(n):
            s = add_dot(rule.read, i * P, z, own, P, splat(0.0))
            store(fields, (b * K + j * n + i) * WIDTH, s)


@inner
def begin(step: int, rule: Any, memory: Any) -> None:
    """Random numbers of a step of the block, and its fields."""
    enter_step(step, rule.p, memory)
    find_fields(rule, memory)


@inner
def draw(count: int, rule: Any, memory: Any) -> None:
    """Random numbers of the next steps: as many as fit into a block, or `count`."""
    K, P, _ = memory.X.shape
    draw_block(count, rule.N - P - K, memory)


@inner
def leave(count: int, memory: Any) -> None:
    """The end of a block."""
    leave_block(count, memory)


# ---------------------------------------------------------------------------------------- the step


@inner
def share_of(memory: Any, j: int, s: int) -> Any:
    """1.0 in the lanes whose sample j is of task s."""
    return load(memory.share, (j * memory.share.shape[1] + s) * WIDTH)


@inner
def error(rule: Any, memory: Any, j: int) -> Any:
    """δ = y − Σ_k v_k g(λ_k) of one sample, its noise included."""
    b, S, _ = memory.share.shape
    K, P, _ = memory.X.shape
    n = rule.read.shape[0]
    noise = load(memory.z, (b * (P + K) + j) * WIDTH)
    delta = splat(0.0)
    for s in range(S):
        y = load(rule.sigma, s * WIDTH) * noise
        y = add_dot(rule.u, s * n, memory.out, b * K + j * n, n, y)
        for k in range(K):
            v = load(memory.v, (rule.head[s] * K + k) * WIDTH)
            y = y - v * load(memory.out, (j * K + k) * WIDTH)
        delta = delta + share_of(memory, j, s) * y
    return delta


@inner
def respond_to(j: int, eta_w: Any, rule: Any, memory: Any) -> None:
    """What one sample adds to both layers."""
    b, S, _ = memory.share.shape
    K = memory.X.shape[0]
    delta = error(rule, memory, j) * (1.0 / b)
    for k in range(K):
        g = load(memory.out, (j * K + k) * WIDTH)
        v = splat(0.0)
        for s in range(S):
            i, mine = (rule.head[s] * K + k) * WIDTH, share_of(memory, j, s)
            v = v + mine * load(memory.v, i)
            store(memory.dv, i, load(memory.dv, i) + mine * delta * g)
        a = eta_w * load(rule.move, k * WIDTH) * v * load(memory.slope, (j * K + k) * WIDTH)
        store(memory.A, (k * b + j) * WIDTH, a * delta)
    for s in range(S):
        h = rule.head[s] * WIDTH
        store(memory.trained, h, load(memory.trained, h) + share_of(memory, j, s) * (1.0 / b))


@inner
def move_readouts(eta_v: Any, rule: Any, memory: Any) -> None:
    """v_k += (η_v/N) (g(λ_k) δ − decay and pull)."""
    H, K, _ = memory.v.shape
    rate = eta_v * (1.0 / rule.N)
    kappa = load(rule.kappa_v, 0)
    for h in range(H):
        trained = load(memory.trained, h * WIDTH)
        for k in range(K):
            i = (h * K + k) * WIDTH
            v = load(memory.v, i)
            held = (kappa + load(rule.F_v, i)) * v - load(rule.Fv, i)
            store(memory.v, i, v + rate * (load(memory.dv, i) - trained * held))


@inner
def lower(M: Any, width: int, columns: int, out: Any, out_width: int, kept: int) -> None:
    """Lower triangular `out` with out outᵀ = M Mᵀ, by Householder's reflections of the rows of M.

    M has K rows of `width`, of which `columns` count; `out` takes `kept` of them. M is used up.
    """
    K = M.shape[0]
    for i in range(K):
        first, row = min(i, columns), i * width
        square = splat(0.0)
        for c in range(first, columns):
            x = load(M, (row + c) * WIDTH)
            square = square + x * x
        size = root(square)
        for c in range(kept):
            if c < first:
                store(out, (i * out_width + c) * WIDTH, load(M, (row + c) * WIDTH))
            else:
                store(out, (i * out_width + c) * WIDTH, splat(0.0))
        if first < columns:
            head = load(M, (row + first) * WIDTH)
            store(out, (i * out_width + first) * WIDTH, -with_sign(size, head))
            scale = square + absolute(head) * size
            scale = choose_less(scale, _TINY, 0.0, 1.0 / scale)
            store(M, (row + first) * WIDTH, head + with_sign(size, head))
            for k in range(i + 1, K):
                reflect(M, k * width, row, first, columns, scale)


@inner
def reflect(M: Any, row: int, mirror: int, first: int, columns: int, scale: Any) -> None:
    """Reflect a row of M at the direction that another one holds."""
    s = splat(0.0)
    for c in range(first, columns):
        s = s + load(M, (row + c) * WIDTH) * load(M, (mirror + c) * WIDTH)
    s = s * scale
    for c in range(first, columns):
        i = (row + c) * WIDTH
        store(M, i, load(M, i) - s * load(M, (mirror + c) * WIDTH))


@inner
def outside(rule: Any, memory: Any) -> None:
    """Columns after the first K of M: the update outside of the frame, A T/N."""
    K, b, _ = memory.A.shape
    m, width, P = memory.chi.shape[0], memory.M.shape[1], memory.X.shape[1]
    below, freedom, per_N = b * (P + K + 1), rule.N - P - K, 1.0 / rule.N
    if b > K:
        lower(memory.A, b, b, memory.Y, b, K)
    for k in range(K):
        Y, row = (memory.Y, k * b) if b > K else (memory.A, k * b)
        for c in range(m):
            s = load(Y, (row + c) * WIDTH) * load(memory.chi, c * WIDTH)
            # Where N leaves fewer axes than inputs, T has fewer columns.
            for i in range(c + 1, m if c < freedom else 0):
                t = load(memory.z, (below + i * (i - 1) // 2 + c) * WIDTH)
                s = s + load(Y, (row + i) * WIDTH) * t
            store(memory.M, (k * width + K + c) * WIDTH, per_N * s)


@inner
def move_units(eta_w: Any, rule: Any, memory: Any) -> None:
    """The first layer's update, decay and pull."""
    X, L, M, A, z = memory.X, memory.L, memory.M, memory.A, memory.z
    K, P, _ = X.shape
    b, width, per_N = A.shape[1], M.shape[1], 1.0 / rule.N
    for k in range(K):
        rate = eta_w * load(rule.move, k * WIDTH) * per_N
        shrink = 1.0 - rate * load(rule.hold, k * WIDTH)
        for q in range(P + K):
            s = splat(0.0)
            for j in range(b):
                s = s + load(A, (k * b + j) * WIDTH) * load(z, (j * (P + K) + q) * WIDTH)
            if q < P:
                i = (k * P + q) * WIDTH
                s = per_N * s + rate * load(rule.pull, i)
                store(X, i, shrink * load(X, i) + s)
            else:
                i = (k * K + q - P) * WIDTH
                store(M, (k * width + q - P) * WIDTH, shrink * load(L, i) + per_N * s)
    outside(rule, memory)
    lower(M, width, width, L, K, K)


@inner
def clear(memory: Any) -> None:
    """Sums over a batch."""
    H, K, _ = memory.v.shape
    for i in range(0, H * K * WIDTH, WIDTH):
        store(memory.dv, i, splat(0.0))
    for i in range(0, H * WIDTH, WIDTH):
        store(memory.trained, i, splat(0.0))


@inner
def respond(eta_w: Any, eta_v: Any, i: int, rule: Any, memory: Any) -> None:
    """After the activation: the update of both layers at the rates of step i."""
    w = load(eta_w, min(i, eta_w.shape[0] - 1) * WIDTH)
    clear(memory)
    for j in range(memory.share.shape[0]):
        respond_to(j, w, rule, memory)
    move_readouts(load(eta_v, min(i, eta_v.shape[0] - 1) * WIDTH), rule, memory)
    move_units(w, rule, memory)


# For the loop of `plain`. Handing on 30 arrays takes longer than a step: `train` has no calls.


@kernel(_nrt=False)
def begin_alone(step: int, rule: Any, memory: Any) -> None:
    """`begin`."""
    begin(step, rule, memory)


@kernel(_nrt=False)
def draw_alone(count: int, rule: Any, memory: Any) -> None:
    """`draw`."""
    draw(count, rule, memory)


@kernel(_nrt=False)
def leave_alone(count: int, memory: Any) -> None:
    """`leave`."""
    leave(count, memory)


@kernel(_nrt=False)
def respond_alone(eta_w: Any, eta_v: Any, i: int, rule: Any, memory: Any) -> None:
    """`respond`."""
    respond(eta_w, eta_v, i, rule, memory)


@inner
def block_of(memory: Any) -> int:
    """Steps of a block."""
    return int(memory.chis.shape[1] // WIDTH)


@kernel(_nrt=False)
def train(steps: int, eta_w: Any, eta_v: Any, g: Any, dg: Any, rule: Any, memory: Any) -> None:
    """Take so many steps of SGD with eight networks, in place.

    Parameters
    ----------
    steps : int
    eta_w, eta_v : ndarray, shape (steps, 8) or (1, 8)
        Learning rates of each step.
    g, dg : int, float or compiled functions
        The activation's code or leaky ReLU's slope, twice; or g and its derivative.
    rule : ChainRule
    memory : ChainMemory
    """
    fields, out = memory.fields.reshape(-1), memory.out.reshape(-1)
    slope, block = memory.slope.reshape(-1), block_of(memory)
    for first in range(0, steps, block):
        count = min(block, steps - first)
        draw(count, rule, memory)
        for i in range(count):
            begin(i, rule, memory)
            fill(g, dg, fields, out, slope)
            respond(eta_w, eta_v, first + i, rule, memory)
        leave(count, memory)
