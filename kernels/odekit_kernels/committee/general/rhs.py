"""Right-hand side and errors, in lanes or of one trajectory."""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.committee.general.law import (
    coefficients,
    enter_law,
    fill_law,
    first_head,
    overlaps,
)
from odekit_kernels.committee.general.moments import averages, drive, powers, seconds
from odekit_kernels.committee.general.steps import (
    add_heads,
    add_law,
    clear,
    finish,
    pull_back,
    pull_heads,
)
from odekit_kernels.lanes.values import fill, get
from odekit_kernels.lanes.views import matrix, vector

__all__ = ["begin", "end", "errors", "rhs"]


@inner
def needs(m: Any, moves: bool) -> Any:
    """Whether the drive is asked for, and the η² line."""
    online = m.online != 0 and (moves or m.adaptive != 0)
    return moves or m.biases != 0 or online, online


@inner
def begin(M: Any, m: Any, w: Any, y: int, dy: int) -> None:
    """From the state at `y` to what all laws share."""
    overlaps(M, m, y)
    coefficients(M, m, w, y)
    clear(M, m, dy)


@inner
def end(M: Any, m: Any, w: Any, y: int, dy: int) -> None:
    """From what all laws have added to the derivative, at `dy`."""
    pull_back(M, m, w)
    pull_heads(M, m, w, y, dy)
    finish(M, m, w, y, dy)


@inner
def rhs(M: Any, m: Any, w: Any, y: int, dy: int, moves: bool, trains: bool) -> None:
    """Derivative of the state at `y`, written to `dy`, of every trajectory of a group.

    Parameters
    ----------
    M : ndarray, shape (size, 8) or (size,)
        Memory of the group with the constants of the phase; learning rates are among them.
    m : GeneralPlan
    w : Wiring
    y, dy : int
        Places of the state and of its derivative.
    moves, trains : bool
        Whether any trajectory of the batch moves its first layer, or its heads.
    """
    drives, online = needs(m, moves)
    begin(M, m, w, y, dy)
    for v in range(m.V):
        if enter_law(M, m, w, v):
            if drives:
                averages(M, m, w, v)
                drive(M, m, w)
                if online:
                    powers(M, m, w, v)
                add_law(M, m, v, online)
            if trains:
                seconds(M, m, w, m.K)
                add_heads(M, m, w, v, dy)
    end(M, m, w, y, dy)


@inner
def outputs(M: Any, m: Any, w: Any, y: int) -> None:
    """Write c = (−V, u) of the watched tasks, V as it is at test; u lies there already."""
    for s in range(m.W):
        V = matrix(M, y + first_head(m) + w.watched_head[s] * m.O * m.K, m.O, m.K)
        c = matrix(M, m.watched + s * m.O * m.D, m.O, m.D)
        for o in range(m.O):
            for k in range(m.K):
                c[o, k] = -(get(M, m.scale + k) * V[o, k])


@inner
def errors_under_law(M: Any, m: Any, w: Any, v: int) -> None:
    """½ Σ_o [y_o² + 2 y_o Σ_a c_oa e_a + Σ_ab c_oa c_ob I2] of the watched tasks of a law."""
    D, O = m.D, m.O
    e, I2, epsilon = vector(M, m.e, D), matrix(M, m.I2, D, D), vector(M, m.error, m.W)
    for s in range(m.W):
        if w.watched_law[s] != v:
            continue
        c, label = matrix(M, m.watched + s * O * D, O, D), vector(M, m.watched_label + s * O, O)
        whole = fill(M, 0.0)
        for o in range(O):
            whole = whole + 0.5 * label[o] * label[o]
            for a in range(D):
                whole = whole + label[o] * c[o, a] * e[a] + 0.5 * c[o, a] * c[o, a] * I2[a, a]
                for b in range(a + 1, D):
                    whole = whole + c[o, a] * c[o, b] * I2[a, b]
        epsilon[s] = whole


@inner
def is_watched(w: Any, v: int) -> bool:
    """Whether a watched task has law v."""
    found = False
    for s in range(w.watched_law.shape[0]):
        found = found or w.watched_law[s] == v
    return found


@inner
def errors(M: Any, m: Any, w: Any, y: int) -> None:
    """Fill `m.error` with ε_g of the watched tasks at the state at `y`, each under its own law."""
    overlaps(M, m, y)
    outputs(M, m, w, y)
    for v in range(m.V):
        if is_watched(w, v):
            fill_law(M, m, v)
            seconds(M, m, w, m.D)
            errors_under_law(M, m, w, v)
