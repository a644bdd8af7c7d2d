"""SpecialPoint points of a branch: folds to the last digits, and where eigenvalues cross.

Eigenvalues that cross zero are counted: the sign of a determinant misses those that come in even
numbers, as symmetric states have them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import brentq, linear_sum_assignment, minimize_scalar

from odekit.base.arrays import Floats
from odekit.dynamics.arclength import chord
from odekit.dynamics.curve import Complex, Curve, Spot, null_space
from odekit.dynamics.fold import fold
from odekit.dynamics.outcomes import SpecialPoint

ZERO = 1e-7
"""Real parts below this, relative to the largest eigenvalue, count as zero: the root of the
rounding, as zeros of a defective matrix have it."""
FULL_RANK = 1e-6
"""Smallest singular value of [J, f_μ] at a fold, relative to the largest; at a pitchfork that the
branch turns round in it vanishes."""
ROUGHLY = 1e-5
"""Part of the way between two points to which a special point is bracketed."""
TOGETHER = 1e-3
"""Eigenvalues that cross within this part of it cross at one point."""
SAME = 1e-7
"""Distance of two special points that are one."""
ROUND = 1e-4
"""Real parts below this vanish nearby, where the point is known roughly."""
OPPOSITE = 0.1
"""Change of a mean, relative to what is averaged, below which eigenvalues go opposite ways."""
NEARLY = 1e-5
"""Real parts below this, relative to the largest eigenvalue, are those that vanish there."""
ALIKE = 1e-6
"""Eigenvalues that differ by less, relative to the largest, are one with several eigenvectors."""
AROUND, OF_SHORT = (0.2, 0.03), (0.6,)
"""Parts of that way from which the curve is interpolated at a special point, one after the other.
At the point itself [J, f_μ] may be singular, and the curve not be had."""
SHORT = 3e-3
"""Where steps are shorter, because the branch bends sharply, rounding decides instead."""
NODES = np.array([-1.0, -0.6, -0.2, 0.2, 0.6, 1.0])
QUADRATIC = 1e-2
"""Quadratic terms below this, relative to all second derivatives, vanish by symmetry."""
SLOW = 1e-5
"""Imaginary parts below this, relative to the largest eigenvalue, are none."""
STEP = 1e-4


@dataclass
class Event:
    """A special point.

    Attributes
    ----------
    kind : SpecialPoint
    z, tangent : ndarray, shape (n + 1,)
        The point, and the branch's tangent there.
    after : int
        Number of the branch's point that comes before it.
    part : float
        How far it is on the way to the next, 0 to 1.
    crossing : int
        How many eigenvalues cross.
    frequency : float
        Imaginary part of those of a Hopf point.
    directions : ndarray, shape (d, n)
        Orthonormal null vectors of ∂f/∂y that belong to these, in the curve's coordinates.
    """

    kind: SpecialPoint
    z: Floats
    tangent: Floats
    after: int
    part: float
    crossing: int
    frequency: float
    directions: Floats
    smallest: float = np.nan


class Lost(Exception):
    """Between two points the curve was not found."""


def zero_modes(spot: Spot) -> int:
    """Eigenvalues that count as zero."""
    size = np.abs(spot.eigenvalues)
    return int(np.sum(size <= ZERO * size.max(initial=0.0)))


def unstable(spot: Spot) -> int:
    """Eigenvalues with a positive real part."""
    scale = float(np.abs(spot.eigenvalues).max(initial=0.0))
    return int(np.sum(spot.eigenvalues.real > ZERO * scale))


def events(curve: Curve, spots: list[Spot]) -> list[Event]:
    """Every special point of a branch, in order."""
    found: list[Event] = []
    for i, j in pairwise(_generic(spots)):
        between = _Between(curve, spots[i], spots[j], i)
        for event in sorted(between.events(), key=lambda e: e.part):
            # Those at a point of the branch itself belong to both of its sides.
            if not found or np.linalg.norm(event.z - found[-1].z) > SAME:
                found.append(event)
    return found


def nearest(among: list[Event], z: Floats, within: float = SAME) -> Event | None:
    """The special point at a place, if there is one."""
    there = [e for e in among if np.linalg.norm(e.z - z) <= within]
    return min(there, key=lambda e: float(np.linalg.norm(e.z - z))) if there else None


def _generic(spots: list[Spot]) -> list[int]:
    """Points that are not special themselves: these have more zero modes than their neighbours.

    At an end of the range such a point tells nothing of what would be beyond.
    """
    zeros = [zero_modes(spot) for spot in spots]
    around = [[zeros[j] for j in (i - 1, i + 1) if 0 <= j < len(zeros)] for i in range(len(zeros))]
    return [i for i, near in enumerate(around) if not near or zeros[i] <= max(near)]


class _Between:
    """SpecialPoint points between two neighbours."""

    def __init__(self, curve: Curve, a: Spot, b: Spot, number: int) -> None:
        self.curve, self.a, self.b, self.number = curve, a, b, number
        self.length = float(np.linalg.norm(b.z - a.z))
        self.zeros = min(zero_modes(a), zero_modes(b))

    def events(self) -> Iterator[Event]:
        turn = None
        if self.a.tangent[-1] * self.b.tangent[-1] < 0:
            turn = self._turn()
            yield turn
        for part in self._parts():
            if turn is None or abs(part - turn.part) > 10 * TOGETHER:
                yield self._crossing(part)

    # ---------------------------------------------------------------------------------- turns

    def _turn(self) -> Event:
        """Where the branch turns round in the parameter."""
        part, z, tangent = self._around(self._root(_slope), _slope)
        _, singular = null_space(self.curve.matrix(z))
        families = self.a.null - 1
        scale = max(spot.largest for spot in (self.a, self.b))
        smallest = float(singular[len(singular) - 1 - families] / scale)
        vanish = np.linalg.svd(self.curve.jacobian(z), compute_uv=False) * self.curve.size
        count = max(int(np.sum(vanish <= FULL_RANK * scale)) - families, 1)
        directions = self._directions(z, count)
        kind = SpecialPoint.FOLD if smallest > FULL_RANK else SpecialPoint.PITCHFORK
        if kind is SpecialPoint.FOLD and len(directions):
            z = fold(self.curve, z, directions[0])
        return Event(kind, z, tangent, self.number, part, count, 0.0, directions, smallest)

    # ------------------------------------------------------------------------------- crossings

    def _real_parts(self, spot: Spot) -> Floats:
        """Real parts in falling order, without those of zero modes that the branch has anyway."""
        kept = np.argsort(np.abs(spot.eigenvalues), kind="stable")[self.zeros :]
        return np.sort(spot.eigenvalues.real[kept])[::-1]

    def _parts(self) -> list[float]:
        """Where real parts change their sign, roughly; those that do so together once."""
        low, high = sorted(int(np.sum(self._real_parts(s) > 0)) for s in (self.a, self.b))

        def place(i: int, spot: Spot) -> float:
            return float(self._real_parts(spot)[i])

        roots = sorted(self._root(partial(place, i)) for i in range(low, high))
        return [x for i, x in enumerate(roots) if not i or x - roots[i - 1] > TOGETHER] or list(
            self._hidden()
        )

    def _hidden(self) -> Iterator[float]:
        """Where as many eigenvalues go up as down, which counting does not see."""
        if not np.any((self.a.eigenvalues.real > 0) != (matched(self.a, self.b).real > 0)):
            return

        def least(x: float) -> float:
            spot = chord(self.curve, self.a, self.b, x)
            return np.inf if spot is None else float(np.abs(self._real_parts(spot)).min())

        found = minimize_scalar(least, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-5})
        if found.fun <= NEARLY * float(np.abs(self.a.eigenvalues).max()):
            yield float(found.x)

    def _crossing(self, part: float) -> Event:
        """The point near a part of the way where eigenvalues cross."""
        scale = float(np.abs(self.a.eigenvalues).max())
        rough = chord(self.curve, self.a, self.b, part)
        near = self._real_parts(self.a if rough is None else rough)
        count = max(int(np.sum(np.abs(near) <= ROUND * scale)), 1)
        part, z, tangent = self._around(part, partial(self._vanishing, count))
        eigenvalues = np.linalg.eigvals(self.curve.jacobian(z))
        vanish = int(np.sum(np.abs(eigenvalues.real) <= NEARLY * scale)) - self.zeros
        if vanish > count:  # how many they are is known for good once the point is
            count = vanish
            part, z, tangent = self._around(part, partial(self._vanishing, count))
            eigenvalues = np.linalg.eigvals(self.curve.jacobian(z))
        order = np.argsort(np.abs(eigenvalues.real))[: self.zeros + count]
        frequency = float(np.abs(eigenvalues[order].imag).max(initial=0.0))
        more = (self.number, part, count)
        if frequency > SLOW * scale:
            none = np.zeros((0, z.size - 1))
            return Event(SpecialPoint.HOPF, z, tangent, *more, frequency, none)
        directions = self._directions(z, count)
        return Event(self._kind(z, directions), z, tangent, *more, 0.0, directions)

    def _vanishing(self, count: int, spot: Spot) -> Floats:
        """The real parts that vanish at a point near."""
        values = self._real_parts(spot)
        return np.asarray(values[np.argsort(np.abs(values))[:count]])

    # ------------------------------------------------------------------------------ the point

    def _root(self, of: Callable[[Spot], float]) -> float:
        """Part of the way at which a function of the points changes its sign, roughly."""

        def value(x: float) -> float:
            if x in (0.0, 1.0):
                return of(self.a if x == 0.0 else self.b)
            spot = chord(self.curve, self.a, self.b, x)
            if spot is None:
                raise Lost
            return of(spot)

        low, high = of(self.a), of(self.b)
        if low == 0.0 or high == 0.0 or low * high > 0:
            return 0.0 if abs(low) < abs(high) else 1.0
        try:
            return float(brentq(value, 0.0, 1.0, xtol=ROUGHLY))
        except Lost:
            return low / (low - high)

    def _around(self, part: float, of: Callable[[Spot], Any]) -> tuple[float, Floats, Floats]:
        """Where exactly numbers vanish together: the part of the way, the point, the tangent there.

        All three are interpolated between points to both sides, and so are the numbers' mean or,
        where these go opposite ways, the sum of their squares: smooth, in whatever order they come.
        """
        place = part, self.a.z + part * (self.b.z - self.a.z), self.a.tangent
        for width in AROUND if self.length > SHORT else OF_SHORT:
            place = self._closer(place, width, of)
        return place

    def _closer(
        self, place: tuple[float, Floats, Floats], width: float, of: Callable[[Spot], Any]
    ) -> tuple[float, Floats, Floats]:
        """The place where numbers vanish, from points at a distance from a rougher place."""
        part = place[0]
        spots = [chord(self.curve, self.a, self.b, part + width * x) for x in NODES]
        there = [spot for spot in spots if spot is not None]
        if len(there) < len(spots):
            return place
        values = np.array([np.atleast_1d(of(spot)) for spot in there])
        mean = values.mean(axis=1)
        opposite = float(np.ptp(mean)) < OPPOSITE * float(np.ptp(values))
        smooth = np.sum(values**2, axis=1) if opposite else mean
        fit = np.polynomial.Polynomial.fit(NODES, smooth, NODES.size - 1, domain=[-1, 1])
        roots = (fit.deriv() if opposite else fit).roots()
        real = [r.real for r in roots if abs(r.imag) < 1e-6 and abs(r.real) < 1.0]
        x = float(min(real, key=abs)) if real else 0.0
        weights = _lagrange(x)
        z = weights @ np.array([spot.z for spot in there])
        tangent = weights @ np.array([spot.tangent for spot in there])
        return part + width * x, z, tangent / np.linalg.norm(tangent)

    def _directions(self, z: Floats, count: int) -> Floats:
        """Null vectors of ∂f/∂y at a point that neighbours lack, in the curve's coordinates."""
        J = self.curve.jacobian(z) * self.curve.size
        if not np.isfinite(J).all():
            return np.zeros((0, z.size - 1))
        right = np.linalg.svd(J)[2]
        return _lacking(right[right.shape[0] - count - self._families() :], self._known()[0], count)

    def _families(self) -> int:
        return self.a.null - 1

    def _known(self) -> tuple[Floats, Floats]:
        """Right and left null vectors of ∂f/∂y beside the point, which families have."""
        m = self._families()
        left, _, right = np.linalg.svd(self.curve.jacobian(self.a.z))
        n = right.shape[0]
        return right[n - m :], left.T[n - m :]

    def _kind(self, z: Floats, directions: Floats) -> SpecialPoint:
        """Pitchfork or transcritical: whether quadratic terms are left along the null vectors."""
        curve, y, mu = self.curve, self.curve.state(z), self.curve.parameter(z)
        if len(directions) == 0:
            return SpecialPoint.CROSSING
        J = curve.jacobian(z)
        left = np.linalg.svd(J)[0].T
        count = len(directions)
        left = _lacking(left[left.shape[0] - count - self._families() :], self._known()[1], count)
        seconds = []
        step = STEP * curve.size
        for v in directions:
            H = (curve.jac(y + step * v, mu) - curve.jac(y - step * v, mu)) / (2 * step)
            seconds += [H @ w for w in directions]
        second = np.array(seconds)
        if not np.isfinite(second).all():
            return SpecialPoint.CROSSING
        whole, kept = float(np.abs(second).max()), float(np.abs(second @ left.T).max())
        floor = ZERO * float(np.abs(J).max()) / curve.size
        return (
            SpecialPoint.PITCHFORK
            if kept <= max(QUADRATIC * whole, floor)
            else SpecialPoint.TRANSCRITICAL
        )


def _slope(spot: Spot) -> float:
    """How fast the parameter changes along the curve."""
    return float(spot.tangent[-1])


def matched(a: Spot, b: Spot) -> Complex:
    """Eigenvalues of a neighbour in the order of those that they come from.

    Eigenvectors tell: two eigenvalues that cross zero in opposite directions look, by their values
    alone, as if they had turned back.
    """
    scale = float(np.abs(a.eigenvalues).max(initial=0.0))
    same = np.abs(a.eigenvalues[:, np.newaxis] - a.eigenvalues) <= ALIKE * scale
    overlap = np.array(
        [np.linalg.norm(_span(a.vectors[:, one]) @ b.vectors, axis=0) for one in same]
    )
    order = linear_sum_assignment(-(overlap**2))[1]
    return np.asarray(b.eigenvalues[order])


def _span(vectors: Complex) -> Complex:
    """Orthonormal rows with the same span."""
    return np.asarray(np.linalg.qr(vectors)[0].conj().T)


def _lagrange(x: float) -> Floats:
    """Weights of the nodes in the interpolating polynomial at x."""
    powers = np.vander(NODES, increasing=True).T
    return np.asarray(np.linalg.solve(powers, x ** np.arange(NODES.size)))


def _lacking(vectors: Floats, known: Floats, count: int) -> Floats:
    """Orthonormal combinations of vectors that are furthest from the known ones."""
    if not len(known):
        return vectors
    rest = vectors - (vectors @ known.T) @ known
    return np.asarray(np.linalg.svd(rest, full_matrices=False)[2][:count])
