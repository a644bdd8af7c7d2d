"""The drive in full where moments come from quadrature, one trajectory at a time.

The equations are the compiled ones of `alone`; here are only the moments that they take, written
into the memory law by law.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from odekit_kernels.committee.general import alone
from odekit_kernels.committee.quadrature import means, rectified
from odekit_kernels.committee.quadrature.hermite import Nodes

__all__ = ["Moments", "Rectified", "Smooth", "errors", "fields", "rhs", "wrong"]

Array = NDArray[np.float64]
Function = Callable[[Array], Any]


class Moments(Protocol):
    """Where the moments of the fields of a law come from; the memory has C and means."""

    def drive(self, M: Array, m: Any, w: Any) -> Array:
        """Fill h, D and E, and of the students e and I2 with all; return J2, shape (K, K)."""

    def triples(self, M: Array, m: Any) -> tuple[Array, Array]:
        """E[g'_k g'_l g_a] and I4 of the pairs k ≤ l row by row."""

    def seconds(self, M: Array, m: Any, w: Any) -> None:
        """Fill e and I2 of all fields."""


def view(M: Array, m: Any, name: str, *shape: int) -> Array:
    """A block of the memory, which can be written to."""
    first = getattr(m, name)
    return M[first : first + int(np.prod(shape))].reshape(shape)


def fields(M: Array, m: Any) -> tuple[Array, Array]:
    """Means (D,) and covariance (D, D) of the fields."""
    return view(M, m, "M", m.D), view(M, m, "C", m.D, m.D)


class Smooth(NamedTuple):
    """Moments of any smooth g, of all fields alike.

    Attributes
    ----------
    g, dg : callable
        Activation and its derivative, of arrays.
    rule : callable
        Of means and covariance, the rule of the whole plane: ``make_nodes(m, inner, False)``.
    """

    g: Function
    dg: Function
    rule: Callable[[Array, Array], Nodes]

    def drive(self, M: Array, m: Any, w: Any) -> Array:
        """See `Moments`."""
        del w
        mean, C = fields(M, m)
        K, rule = m.K, self.rule(mean, C)
        e, p, d = means.alone(mean, C, self.g, self.dg, rule)
        F, J2, D, I2 = means.pairs(mean, C, K, self.g, self.dg, rule)
        c0, cbar = view(M, m, "c0", K), view(M, m, "cbar", K, m.D)
        view(M, m, "h_k", K)[:] = c0 * p[:K] + (cbar * F).sum(axis=1)
        view(M, m, "own", K)[:] = c0 * d[:K] + (cbar * D).sum(axis=1)
        view(M, m, "E", K, m.D)[:] = cbar * J2
        view(M, m, "e", m.D)[:] = e
        view(M, m, "I2", m.D, m.D)[:K] = I2
        return J2[:, :K]

    def triples(self, M: Array, m: Any) -> tuple[Array, Array]:
        """See `Moments`."""
        mean, C = fields(M, m)
        return means.triples(mean, C, m.K, self.g, self.dg, self.rule(mean, C))

    def seconds(self, M: Array, m: Any, w: Any) -> None:
        """See `Moments`."""
        del w
        mean, C = fields(M, m)
        rule = self.rule(mean, C)
        view(M, m, "e", m.D)[:] = means.alone(mean, C, self.g, self.dg, rule)[0]
        view(M, m, "I2", m.D, m.D)[:] = means.products(mean, C, self.g, rule)


class Rectified(NamedTuple):
    """ReLU: closed moments, and nodes for the η² line.

    Attributes
    ----------
    nodes : int
        A direction.
    """

    nodes: int

    def drive(self, M: Array, m: Any, w: Any) -> Array:
        """See `Moments`."""
        alone.drive_alone(M, m, w)
        alone.seconds_alone(M, m, w, m.K)
        J2 = np.empty((m.K, m.K))
        alone.slopes_alone(M, m, w, J2)
        return J2

    def triples(self, M: Array, m: Any) -> tuple[Array, Array]:
        """See `Moments`."""
        return rectified.triples(*fields(M, m), m.K, self.nodes)

    def seconds(self, M: Array, m: Any, w: Any) -> None:
        """See `Moments`."""
        alone.seconds_alone(M, m, w, m.D)


def rhs(M: Array, m: Any, w: Any, y: Array, moments: Moments) -> Array:
    """Time derivative of a state, shape (n,); as `alone.rhs`."""
    dy, online = np.empty_like(y), bool(m.online and (M[m.eta_w] != 0.0 or m.adaptive))
    alone.begin_alone(M, m, w, y)
    for v in range(m.V):
        if not alone.enter_law_alone(M, m, w, v):
            continue
        J2 = np.ascontiguousarray(moments.drive(M, m, w))
        if online:
            alone.combine_alone(M, m, w, v, J2, *moments.triples(M, m))
        alone.add_law_alone(M, m, w, v, online)
    alone.end_alone(M, m, w, dy)
    return dy


def errors(M: Array, m: Any, w: Any, y: Array, moments: Moments) -> Array:
    """Generalisation errors of the watched tasks, shape (W,), each under its own law."""
    for v in np.unique(w.watched_law):
        alone.law_alone(M, m, w, y, int(v))
        moments.seconds(M, m, w)
        alone.errors_under_law_alone(M, m, w, int(v))
    return view(M, m, "error", m.W).copy()


# ------------------------------------------------------------------------------ misclassification


def wrong(
    M: Array, m: Any, w: Any, y: Array, g: Function, teacher: Function, nodes: int
) -> tuple[Array, Array]:
    """Chances that outputs have another sign than the targets of the watched tasks, one output.

    Parameters
    ----------
    M, m, w, y
        As of `alone.wrong`, which has closed forms of one unit.
    g, teacher : callable
        Activations of students and of fixed vectors, of arrays. Where the sign of the target is
        that of one field, the function of that field is not asked for.
    nodes : int
        A direction across the one in which the output changes most: nodes^(D' − 1) lines with D'
        the fields that the product of output and target has.

    Returns
    -------
    chance, error : ndarray, shape (W,)
        The error is the change from two thirds of the nodes.
    """
    found = np.empty((2, m.W))
    for s in range(m.W):
        alone.law_alone(M, m, w, y, int(w.watched_law[s]))
        found[:, s] = _wrong_of(M, m, s, g, teacher, nodes)
    return found[0], found[1]


def _wrong_of(M: Array, m: Any, s: int, g: Function, teacher: Function, nodes: int) -> Any:
    (mean, C), K = fields(M, m), m.K
    c, label = view(M, m, "watched", m.W, m.D)[s], float(M[m.watched_label + s])
    v, u, students = -c[:K], c[K:], np.arange(K)
    there = K + np.flatnonzero(u)

    def output(x: Array) -> Any:
        return v @ np.asarray(g(x[:K]))

    if there.size == 0 or (there.size == 1 and label == 0.0):
        sign = float(np.sign(label if there.size == 0 else c[there[0]]))
        field = None
        if there.size:
            n = there[0]
            field = means.Teacher(float(mean[n]), float(C[n, n]), C[students, n])
        own = np.ix_(students, students)
        return means.negative(mean[:K], C[own], lambda x: sign * output(x), sign * v, nodes, field)
    used = np.append(students, there)

    def both(x: Array) -> Any:
        return output(x) * (label + c[there] @ np.asarray(teacher(x[K:])))

    gradient = np.append(v, c[there])
    return means.negative(mean[used], C[np.ix_(used, used)], both, gradient, nodes)
