"""Fixed points of equations with one parameter, as a curve: its tangent, and points on it.

The curve is the zero set of f(y, μ) in coordinates of like size, z = (y/Y, (μ − lo)/(hi − lo)).
Where fixed points form families the matrix [J, f_μ] has more null vectors than the tangent; steps
are then the least ones, which leave the member of the family as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import OdekitError

CUT = 1e-9
"""Singular values below this, relative to the largest, count as zero."""
STENCIL = 2e-3
"""Distance of the points at which f is differenced along the parameter, in units of its range:
fourth order, so that the truncation is of the size of the rounding."""
NEAR = 1e-7
"""The same for the corrector, where one difference is enough."""
MOST_CORRECTIONS = 12
CLOSE = 1e-8
"""A Newton step so small is the last but one."""
RESIDUAL = 1e-9
"""Largest |f| of a fixed point, relative to that of its largest term."""

Complex = np.ndarray[Any, np.dtype[np.complex128]]
Vector = Callable[[Floats, float], Floats]


@dataclass
class Spot:
    """A point of a curve, and what the equations do there.

    Attributes
    ----------
    z : ndarray, shape (n + 1,)
        State and parameter in the curve's coordinates.
    tangent : ndarray, shape (n + 1,)
        Of length one.
    null : int
        Null vectors of [J, f_μ]: one, and one for every dimension of a family of fixed points.
    largest : float
        The largest singular value of [J, f_μ].
    eigenvalues, vectors : ndarray of complex, shape (n,) and (n, n)
        Of ∂f/∂y, by falling real part; eigenvectors are columns.
    iterations : int
        Newton steps that led to it.
    distance : float
        Length of the curve from the first point, in the curve's coordinates.
    """

    z: Floats
    tangent: Floats
    null: int
    largest: float
    eigenvalues: Complex
    vectors: Complex
    iterations: int = 0
    distance: float = 0.0


class Curve:
    """The zero set of f(y, μ) for μ in a range.

    Parameters
    ----------
    f : callable
        f(y, μ), shape (n,); an `OdekitError` or a value that is not finite means that there is
        nothing.
    jac : callable
        ∂f/∂y, shape (n, n).
    between : tuple of float
        The range of μ.
    size : float
        A typical size Y of the state.
    """

    def __init__(
        self, f: Vector, jac: Vector, between: tuple[float, float], size: float = 1.0
    ) -> None:
        self.f, self.jac, self.size = f, jac, size
        self.lo, self.hi = between
        self.width = self.hi - self.lo
        self.trouble = ""

    # ------------------------------------------------------------------------------- coordinates

    def parameter(self, z: Floats) -> float:
        """μ of a point."""
        x = float(z[-1])
        return self.hi if x == 1.0 else self.lo + x * self.width

    def state(self, z: Floats) -> Floats:
        """The state y of a point."""
        return np.asarray(z[:-1] * self.size)

    def point(self, y: Floats, mu: float) -> Floats:
        """A point in the curve's coordinates."""
        x = 1.0 if mu == self.hi else (mu - self.lo) / self.width
        return np.append(y / self.size, x)

    # ---------------------------------------------------------------------------------- equations

    def value(self, z: Floats) -> Floats:
        """f at a point; NaN where there is none."""
        return self._at(self.state(z), self.parameter(z))

    def _at(self, y: Floats, mu: float) -> Floats:
        try:
            found = np.asarray(self.f(y, mu), dtype=float)
        except (OdekitError, ArithmeticError) as error:
            self.trouble = str(error)
            return np.full(y.size, np.nan)
        if not np.isfinite(found).all():
            self.trouble = "the derivative is not finite"
        return found

    def jacobian(self, z: Floats) -> Floats:
        """∂f/∂y at a point."""
        try:
            return np.asarray(self.jac(self.state(z), self.parameter(z)), dtype=float)
        except (OdekitError, ArithmeticError) as error:
            self.trouble = str(error)
            return np.full((z.size - 1, z.size - 1), np.nan)

    def matrix(self, z: Floats, exact: bool = True) -> Floats:
        """[J, f_μ] in the curve's coordinates, shape (n, n + 1)."""
        slope = self._slope(z) if exact else self._rough(z)
        return np.column_stack([self.jacobian(z) * self.size, slope])

    def _slope(self, z: Floats) -> Floats:
        """The derivative along the parameter, from five points within the range."""
        offsets = STENCIL * np.arange(-2.0, 3.0)
        low, high = min(0.0, z[-1]), max(1.0, z[-1])
        offsets += max(low - (z[-1] + offsets[0]), 0.0) + min(high - (z[-1] + offsets[-1]), 0.0)
        weights = np.linalg.solve(np.vander(offsets / STENCIL, increasing=True).T, np.eye(5)[1])
        y = self.state(z)
        values = [self._at(y, self.lo + (z[-1] + d) * self.width) for d in offsets]
        slope = np.asarray(weights @ values / STENCIL)
        return slope if np.isfinite(slope).all() else self._rough(z)

    def _rough(self, z: Floats) -> Floats:
        step = -NEAR if z[-1] > 0.5 else NEAR
        y = self.state(z)
        ahead = self._at(y, self.lo + (z[-1] + step) * self.width)
        return np.asarray((ahead - self.value(z)) / step)

    # -------------------------------------------------------------------------------------- points

    def correct(self, guess: Floats, normal: Floats) -> tuple[Floats, int] | None:
        """The point of the curve in the plane through a guess that is normal to a vector.

        Returns
        -------
        tuple of ndarray and int, or None
            The point, and how many Newton steps led there; None if none did.
        """
        z, last = guess.copy(), np.inf
        fixed = bool(np.count_nonzero(normal) == 1 and normal[-1])
        # A guess is near: there the slope is that of the point, but for the square of a step.
        slope = np.zeros(z.size - 1) if fixed else self._rough(z)
        for i in range(1, MOST_CORRECTIONS + 1):
            value = self.value(z)
            A = np.column_stack([self.jacobian(z) * self.size, slope])
            if not (np.isfinite(value).all() and np.isfinite(A).all()):
                return None
            bordered = np.vstack([A, normal])
            wanted = -np.append(value, normal @ (z - guess))
            step = shortest(bordered, wanted)
            z = z + step
            if fixed:
                z[-1] = guess[-1]
            size = float(np.linalg.norm(step)) / (1.0 + float(np.linalg.norm(z)))
            if size <= 1e-15 or (last <= CLOSE and size <= 1e-11):
                return (z, i) if self._is_zero(z, A) else None
            if (size > 4.0 * last and last > CLOSE) or size > 1e3:
                return None
            last = size
        return (z, MOST_CORRECTIONS) if last <= CLOSE and self._is_zero(z, A) else None

    def _is_zero(self, z: Floats, A: Floats) -> bool:
        value = self.value(z)
        scale = float(np.abs(A).max()) * (1.0 + float(np.linalg.norm(z)))
        return bool(np.isfinite(value).all() and np.abs(value).max() <= RESIDUAL * scale)

    def look(self, z: Floats, before: Floats, exact: bool = True) -> Spot | None:
        """What the curve is at a point; `before` is a tangent that points its way."""
        A = self.matrix(z, exact)
        if not np.isfinite(A).all():
            return None
        null, singular = null_space(A)
        tangent = null.T @ (null @ before)
        length = float(np.linalg.norm(tangent))
        if length < 0.1:  # a corner: whichever way there is
            tangent, length = null[-1], 1.0
        eigenvalues, vectors = np.linalg.eig(A[:, :-1] / self.size)
        order = np.argsort(-eigenvalues.real, kind="stable")
        spectrum = eigenvalues[order].astype(complex), vectors[:, order].astype(complex)
        return Spot(z, tangent / length, len(null), float(singular[0]), *spectrum)


class Nearby(Curve):
    """A curve near one of its points, from the equations at three values of the parameter.

    Equations in between are interpolated, so that many places can be looked at for the price of
    three problems.

    Parameters
    ----------
    curve : Curve
    z : ndarray, shape (n + 1,)
    distance : float
        Between two values, in the curve's coordinates.
    """

    def __init__(self, curve: Curve, z: Floats, distance: float) -> None:
        super().__init__(curve.f, curve.jac, (curve.lo, curve.hi), curve.size)
        x = float(np.clip(z[-1], distance, 1.0 - distance))
        self.nodes = x + distance * np.array([-1.0, 0.0, 1.0])

    def _weights(self, x: float, slope: bool = False) -> Floats:
        a, b, c = self.nodes
        if slope:
            parts = [(2 * x - b - c), (2 * x - a - c), (2 * x - a - b)]
        else:
            parts = [(x - b) * (x - c), (x - a) * (x - c), (x - a) * (x - b)]
        scales = [(a - b) * (a - c), (b - a) * (b - c), (c - a) * (c - b)]
        return np.asarray(np.array(parts) / np.array(scales), dtype=np.float64)

    def _values(self, z: Floats) -> Floats:
        y = self.state(z)
        values: Floats = np.array([self._at(y, self.lo + x * self.width) for x in self.nodes])
        return values

    def value(self, z: Floats) -> Floats:
        """f at a point."""
        return np.asarray(self._weights(float(z[-1])) @ self._values(z))

    def jacobian(self, z: Floats) -> Floats:
        """∂f/∂y at a point."""
        there = [super(Nearby, self).jacobian(np.append(z[:-1], x)) for x in self.nodes]
        return np.asarray(np.tensordot(self._weights(float(z[-1])), np.array(there), 1))

    def _rough(self, z: Floats) -> Floats:
        return np.asarray(self._weights(float(z[-1]), slope=True) @ self._values(z))

    def _slope(self, z: Floats) -> Floats:
        return self._rough(z)


def shortest(A: Floats, b: Floats) -> Floats:
    """The least x with A x = b, or nearest to it; singular values that count as zero are cut."""
    return np.asarray(np.linalg.lstsq(A, b, rcond=CUT)[0], dtype=np.float64)


def null_space(A: Floats, cut: float = CUT) -> tuple[Floats, Floats]:
    """Orthonormal null vectors as rows, and all singular values."""
    _, singular, right = np.linalg.svd(A)
    rank = int(np.sum(singular > cut * singular[0])) if singular[0] > 0 else 0
    return right[rank:], singular
