"""Scipy's Radau, with all stages of an iteration in one call where a system has one.

Its steps are scipy's to the last bit. With the stages called one by one a run of two units to
t = 10⁶ took 1.1 times as long.
"""

from __future__ import annotations

from math import inf, sqrt
from typing import Any

import numpy as np
from scipy.integrate import Radau
from scipy.linalg.lapack import dgetrf, dgetrs, zgetrf, zgetrs

from odekit.base.arrays import Floats

__all__ = ["StagesAtOnce"]

_ROOT = 6**0.5
C = np.array([(4 - _ROOT) / 10, (4 + _ROOT) / 10, 1])
E = np.array([-13 - 7 * _ROOT, -13 + 7 * _ROOT, -1]) / 3
MU_REAL = 3 + 3 ** (2 / 3) - 3 ** (1 / 3)
MU_COMPLEX = 3 + 0.5 * (3 ** (1 / 3) - 3 ** (2 / 3)) - 0.5j * (3 ** (5 / 6) + 3 ** (7 / 6))
T = np.array([
    [0.09443876248897524, -0.14125529502095421, 0.03002919410514742],
    [0.25021312296533332, 0.20412935229379994, -0.38294211275726192],
    [1, 1, 0],
])  # fmt: skip
TI = np.array([
    [4.17871859155190428, 0.32768282076106237, 0.52337644549944951],
    [-4.17871859155190428, -0.32768282076106237, 0.47662355450055044],
    [0.50287263494578682, -2.57192694985560522, 0.59603920482822492],
])  # fmt: skip
TI_REAL, TI_COMPLEX = TI[0], TI[1] + 1j * TI[2]
"""The eigenvalues and eigenvectors of the method's inverse matrix, one real and two complex ones,
the times of its stages and the weights of its error: all as scipy has them."""
ITERATIONS = 6
LEAST, GREATEST, ENOUGH = 0.2, 10.0, 1.2
"""By which a step shrinks and grows at once, and the least growth that new factors are worth."""
SLOW = 1e-3
"""Rate of convergence beyond which the next step takes a new Jacobian."""


def _factors(A: Any) -> Any:
    """Factors of a matrix, as LAPACK has them: scipy's checks take longer than its work."""
    return (zgetrf if A.dtype == complex else dgetrf)(A)[:2]


def _norm(x: Floats) -> float:
    """Root mean square."""
    flat = x.ravel()
    return float(sqrt(flat @ flat) / x.size**0.5)


def _factor(h: float, h_old: float | None, norm: float, norm_old: float | None) -> float:
    """By which the error lets the step grow."""
    if norm == 0:
        return inf
    trend = 1.0
    if h_old is not None and norm_old is not None:
        trend = h / h_old * (norm_old / norm) ** 0.25
    return float(min(1.0, trend) * norm**-0.25)


class StagesAtOnce(Radau):
    """Steps from `fun.at`: see `stepper.Guarded`."""

    def __init__(self, fun: Any, *given: Any, **keywords: Any) -> None:
        super().__init__(fun, *given, **keywords)
        self.given: Any = fun

    def _step_impl(self: Any) -> tuple[bool, str | None]:
        t, y = self.t, self.y
        shortest = 10 * abs(float(np.nextafter(t, np.inf)) - t)
        h_abs, old = self.h_abs, (self.h_abs_old, self.error_norm_old)
        if not shortest <= h_abs <= self.max_step:
            h_abs, old = min(max(h_abs, shortest), self.max_step), (None, None)
        rejected = False
        while h_abs >= shortest:
            t_new = min(t + h_abs, self.t_bound)
            h = h_abs = t_new - t
            Z, iterations, rate = self._collocate(h)
            if Z is None:
                h_abs *= 0.5
                self._forget()
                continue
            y_new = y + Z[-1]
            norm = self._error(h, Z, y_new, rejected)
            safety = 0.9 * (2 * ITERATIONS + 1) / (2 * ITERATIONS + iterations)
            factor = safety * _factor(h_abs, old[0], norm, old[1])
            if norm > 1:
                h_abs *= max(LEAST, factor)
                self._forget()
                rejected = True
                continue
            stale = iterations > 2 and rate > SLOW
            factor = min(GREATEST, factor)
            if stale or factor >= ENOUGH:
                self._forget()
            else:
                factor = 1.0
            self._accept(t_new, y_new, Z, stale)
            self.h_abs_old, self.error_norm_old = self.h_abs, norm
            self.h_abs = h_abs * factor
            return True, None
        return False, self.TOO_SMALL_STEP

    def _forget(self: Any) -> None:
        self.LU_real = self.LU_complex = None

    def _collocate(self: Any, h: float) -> tuple[Floats | None, int, float]:
        """Stages less y, iterations and their rate; no stages where they do not converge."""
        t, y = self.t, self.y
        start = np.zeros((3, y.size)) if self.sol is None else self.sol(t + h * C).T - y
        while True:
            if self.LU_real is None or self.LU_complex is None:
                self.LU_real = _factors(MU_REAL / h * self.I - self.J)
                self.LU_complex = _factors(MU_COMPLEX / h * self.I - self.J)
            found: tuple[Floats | None, int, float] = self._iterate(h, start)
            if found[0] is not None or self.current_jac:
                return found
            self.J = self.jac(t, y, self.f)
            self.current_jac = True
            self._forget()

    def _iterate(self: Any, h: float, Z: Floats) -> tuple[Floats | None, int, float]:
        """Newton's iterations with the Jacobian at hand, from near stages."""
        times, y = self.t + h * C, self.y
        scale = self.atol + np.abs(y) * self.rtol
        M_real, M_complex = MU_REAL / h, MU_COMPLEX / h
        W = TI.dot(Z)
        change, rate, before = np.empty_like(W), 0.0, 0.0
        for k in range(ITERATIONS):
            # In rows even where Z, of an interpolant, is in columns: kernels know the one alone.
            F = self.given.at(times, np.ascontiguousarray(y + Z)).T
            real = F.dot(TI_REAL) - M_real * W[0]
            both = F.dot(TI_COMPLEX) - M_complex * (W[1] + 1j * W[2])
            change[0] = dgetrs(*self.LU_real, real)[0]
            pair = zgetrs(*self.LU_complex, both)[0]
            change[1], change[2] = pair.real, pair.imag
            norm = _norm(change / scale)
            if k > 0:
                rate = norm / before
                left = ITERATIONS - k
                if rate >= 1 or rate**left / (1 - rate) * norm > self.newton_tol:
                    break
            W += change
            Z = T.dot(W)
            if norm == 0 or (k > 0 and rate / (1 - rate) * norm < self.newton_tol):
                return Z, k + 1, rate
            before = norm
        return None, ITERATIONS, rate

    def _error(self: Any, h: float, Z: Floats, y_new: Floats, rejected: bool) -> float:
        """Norm of the estimated error in units of the tolerances."""
        y, ZE = self.y, Z.T.dot(E) / h
        error = dgetrs(*self.LU_real, self.f + ZE)[0]
        scale = self.atol + np.maximum(np.abs(y), np.abs(y_new)) * self.rtol
        norm = _norm(error / scale)
        if rejected and norm > 1:
            error = dgetrs(*self.LU_real, self.given(self.t, y + error) + ZE)[0]
            norm = _norm(error / scale)
        return norm

    def _accept(self: Any, t_new: float, y_new: Floats, Z: Floats, stale: bool) -> None:
        """Go to the end of a step, with a new Jacobian if its own was slow."""
        f_new = self.given(t_new, y_new)
        if stale:
            self.J = self.jac(t_new, y_new, f_new)
        self.current_jac = stale
        self.t_old, self.y_old = self.t, self.y
        self.t, self.y, self.f, self.Z = t_new, y_new, f_new, Z
        self.sol = self._compute_dense_output()
