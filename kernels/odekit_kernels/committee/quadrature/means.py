"""Gaussian moments of any smooth g at nodes, of fields with means: φ ~ N(M, C).

What `activations.means` has in closed form for some, by the rules of `hermite` about other centres.
Products of fields with means have no symmetry: a rule of the whole plane is asked for, not of half.
The nodes that an accuracy takes are those of a field without mean and of variance C_aa + M_a².
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels._jit import kernel
from odekit_kernels.bivariate import orthant_given
from odekit_kernels.committee.quadrature.hermite import (
    LEAST_WEIGHT,
    Nodes,
    given_pair,
    line,
    pairs_of,
)
from odekit_kernels.normal import distribution

__all__ = ["Pairs", "Teacher", "alone", "negative", "pairs", "power", "products", "triples"]

Array = NDArray[np.float64]
Function = Callable[[Array], Any]

BISECTIONS = 45
NO_VARIANCE = 1e-14
"""Relative to the largest eigenvalue of C."""
CHUNK = 2**20
"""Values of a function computed at a time."""


def alone(M: Array, C: Array, g: Function, dg: Function, rule: Nodes) -> tuple[Array, ...]:
    """e = E[g_a], p = E[g'_a] and d = E[g''_a] of all fields, shape (D,) each.

    No g'' is needed: E[g'_a (φ_a − M_a)] = C_aa d. A field of variance 0 gets d = 0.
    """
    s = np.sqrt(np.maximum(np.diagonal(C), 0.0))
    x = M[:, None] + s[:, None] * rule.z
    slope = np.asarray(dg(x))
    e, p = np.asarray(g(x)) @ rule.w, slope @ rule.w
    return e, p, np.divide(slope @ (rule.w * rule.z), s, out=np.zeros_like(s), where=s > 0)


class Pairs(NamedTuple):
    """Moments of the first fields with all, shape (rows, D) each.

    Attributes
    ----------
    F, J2, D, I2 : ndarray
        E[g'_k g_a], E[g'_k g'_a], E[g''_k g_a] and E[g_k g_a].
    """

    F: Array
    J2: Array
    D: Array
    I2: Array


def pairs(M: Array, C: Array, rows: int, g: Function, dg: Function, rule: Nodes) -> Pairs:
    """Moments of two fields, the first of the first `rows`.

    Parameters
    ----------
    M, C : ndarray, shape (D,) and (D, D)
        Means and covariance.
    rows : int
        The students.
    g, dg : callable
        Activation and its derivative, of arrays.
    rule : Nodes
        Of the whole plane, ``make_nodes(m, inner, False)``.
    """
    s, r, rest = pairs_of(C, rows)
    (z, other), weight = rule.plane, rule.weight
    F, J2, D, I2 = (np.empty((rows, len(C))) for _ in range(4))
    for k in range(rows):
        own = M[k] + s[k] * z
        f, d = np.asarray(g(own)) * weight, np.asarray(dg(own)) * weight
        X = M[:, None] + r[k, :, None] * z + rest[k, :, None] * other
        values = np.asarray(g(X))
        F[k], I2[k], J2[k] = values @ d, values @ f, np.asarray(dg(X)) @ d
        # E[g'_k (φ_k − M_k) g_a] = C_kk D + C_ka J2, by parts.
        D[k] = values @ (d * (s[k] * z)) - C[k] * J2[k]
    square = s[:rows, None] ** 2
    return Pairs(F, J2, np.divide(D, square, out=np.zeros_like(D), where=square > 0), I2)


def products(M: Array, C: Array, g: Function, rule: Nodes) -> Array:
    """I2 = E[g_a g_b] of all fields, shape (D, D)."""
    s, r, rest = pairs_of(C, len(C))
    (z, other), weight = rule.plane, rule.weight
    I2 = np.empty_like(C)
    for a in range(len(C)):
        X = M[a:, None] + r[a, a:, None] * z + rest[a, a:, None] * other
        I2[a, a:] = I2[a:, a] = np.asarray(g(X)) @ (np.asarray(g(M[a] + s[a] * z)) * weight)
    return I2


def triples(
    M: Array, C: Array, K: int, g: Function, dg: Function, rule: Nodes
) -> tuple[Array, Array]:
    """E[g'_k g'_l g_a] and I4(k, l, a, b) of the pairs k ≤ l row by row.

    Returns
    -------
    I3 : ndarray, shape (K (K + 1) / 2, D)
    I4 : ndarray, shape (K (K + 1) / 2, D, D)
    """
    each = [given_pair(M, C, k, l, g, dg, rule) for k, l in np.transpose(np.triu_indices(K))]
    return np.array([I3 for I3, _ in each]), np.array([I4 for _, I4 in each])


def power(H: Array, constant: Array, noise: Array, J2: Array, I3: Array, I4: Array) -> Array:
    """S_kl of the η² line of all pairs k ≤ l row by row, shape (K (K + 1) / 2,).

    Parameters
    ----------
    H : ndarray, shape (K, D)
        Σ_o V_ok c_oa.
    constant : ndarray, shape (K,)
        Σ_o V_ok y_o.
    noise : ndarray, shape (K, K)
        Σ_o V_ok σ_o² V_ol.
    J2 : ndarray, shape (K, K) or wider
        Of the students' fields.
    I3, I4 : ndarray
        From `triples`.
    """
    k, l = np.triu_indices(len(H))
    whole = np.einsum("ia,iab,ib->i", H[k], I4, H[l])
    cross = H[k] * constant[l, None] + H[l] * constant[k, None]
    return whole + (cross * I3).sum(axis=1) + (constant[k] * constant[l] + noise[k, l]) * J2[k, l]


# ------------------------------------------------------------------------------- misclassification


class Teacher(NamedTuple):
    """A further field whose sign is the label.

    Attributes
    ----------
    mean, variance : float
    along : ndarray, shape (D,)
        Its covariances with the fields.
    """

    mean: float
    variance: float
    along: Array


def negative(
    M: Array,
    C: Array,
    f: Function,
    gradient: Array,
    m: int,
    teacher: Teacher | None = None,
    steps: int = 129,
) -> tuple[float, float]:
    """Chance that f(φ) < 0, or that it has another sign than a teacher's field.

    For a label y = ±1, f is y times the output. A line in the direction in which f changes most is
    cut where f changes its sign; what is between cuts is closed, with the teacher's field, and what
    is across the line goes over nodes. Two cuts nearer to each other than a step are missed.

    Parameters
    ----------
    M, C : ndarray, shape (D,) and (D, D)
        Means and covariance; the rank of C is what counts: m^(rank − 1) lines.
    f : callable
        Of fields (D, n), gives (n,).
    gradient : ndarray, shape (D,)
        About that of f in the fields.
    m : int
        Nodes a direction, of even steps.
    teacher : Teacher, optional
    steps : int
        Points of a line where f is computed before cuts are sought.

    Returns
    -------
    chance, error : float
        The error is the change from 2m/3 nodes. Where lines touch the boundary f = 0 the chance has
        a root in what is across, and nodes converge slowly.
    """
    axes = _axes(C, gradient)
    chance = _over_lines(M, axes, f, m, teacher, steps)
    return chance, abs(chance - _over_lines(M, axes, f, max(2 * m // 3, 2), teacher, steps))


def _axes(C: Array, gradient: Array) -> Array:
    """C = A Aᵀ with as few columns as its rank, the first along the gradient."""
    values, vectors = np.linalg.eigh(C)
    kept = values > NO_VARIANCE * max(values[-1], 0.0)
    A = vectors[:, kept] * np.sqrt(values[kept])
    first = A.T @ gradient
    whole, _ = np.linalg.qr(np.column_stack([first, np.eye(len(first))]))
    return np.asarray(A @ whole[:, : len(first)])


def _over_lines(
    M: Array, axes: Array, f: Function, m: int, teacher: Teacher | None, steps: int
) -> float:
    z, w = line(m)
    across = axes.shape[1] - 1
    grid, weight = np.zeros((0, 1)), np.ones(1)
    if across:
        grid = np.stack(np.meshgrid(*[z] * across, indexing="ij")).reshape(across, -1)
        weight = np.prod(np.stack(np.meshgrid(*[w] * across, indexing="ij")), axis=0).ravel()
        kept = weight > LEAST_WEIGHT
        grid, weight = grid[:, kept], weight[kept]
    loads = None if teacher is None else np.linalg.lstsq(axes, teacher.along, rcond=None)[0]
    each, chance = max(1, CHUNK // steps), 0.0
    for first in range(0, weight.size, each):
        part = slice(first, first + each)
        start = M[:, None] + axes[:, 1:] @ grid[:, part]
        lines, at, before, last = _cuts(start, axes[:, 0], f, steps)
        if teacher is None or loads is None:
            ends, steps_at = last.astype(float), _chances(at)
        else:
            mean = teacher.mean + loads[1:] @ grid[:, part]
            # Where f < 0 the chance of ρ > 0 counts, else that of ρ < 0: at a cut one ends.
            rest = max(teacher.variance - float(loads @ loads), 0.0)
            q = np.sqrt(rest + loads[0] ** 2)
            h = -mean / q
            below, joint = _chances(h), _chances(at, h[lines], loads[0] / q, rest / q**2)
            ends, steps_at = np.where(last, 1.0 - below, below), _chances(at) - 2.0 * joint
        np.add.at(ends, lines, np.where(before, steps_at, -steps_at))
        chance += float(weight[part] @ ends)
    return chance


def _cuts(start: Array, axis: Array, f: Function, steps: int) -> tuple[Any, Array, Any, Any]:
    """Where f changes its sign on the lines start + axis t: lines (cuts,), places (cuts,), whether
    f < 0 before each, and whether it is at the end of every line."""
    t = np.linspace(-8.5, 8.5, steps)

    def below(at: Any, lines: Any) -> Any:
        return np.asarray(f(start[:, lines] + axis[:, None] * at)) < 0

    every = np.arange(start.shape[1])
    sign = np.array([below(x, every) for x in t])
    step, lines = np.nonzero(sign[1:] != sign[:-1])
    low, high, before = t[step], t[step + 1], sign[step, lines]
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        left = below(middle, lines) == before
        low, high = np.where(left, middle, low), np.where(left, high, middle)
    return lines, 0.5 * (low + high), before, sign[-1]


def _chances(h: Array, k: Array | None = None, r: float = 0.0, cosine2: float = 1.0) -> Array:
    """Φ(h), or Φ₂(h, k; r)."""
    out = np.empty_like(h)
    if k is None:
        fill_distribution(h, out)
    else:
        fill_orthant(h, k, float(r), float(cosine2), out)
    return out


@kernel(_nrt=False)
def fill_distribution(h: Any, out: Any) -> None:
    """Φ of an array."""
    for i in range(h.shape[0]):
        out[i] = distribution(h[i])


@kernel(_nrt=False)
def fill_orthant(h: Any, k: Any, r: float, cosine2: float, out: Any) -> None:
    """Φ₂ of two arrays."""
    for i in range(h.shape[0]):
        out[i] = orthant_given(h[i], k[i], r, cosine2)
