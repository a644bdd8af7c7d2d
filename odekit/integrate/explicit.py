"""Scipy's explicit methods, with all stages of a step in one call where a system has one."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.integrate import DOP853, RK23, RK45

from odekit.base.arrays import Floats
from odekit_kernels.integrators.runge_kutta import GREATEST, LEAST, SAFETY, Pair

__all__ = ["EXPLICIT"]


def _pair(method: Any, E: Any, E3: Any = None) -> Pair:
    S = method.n_stages
    every = method.A[:S, :S], method.B[:S], method.C[:S], E, np.zeros(S + 1) if E3 is None else E3
    A, B, C, E, E3 = (np.ascontiguousarray(x, dtype=float) for x in every)
    return Pair(A, B, C, E, E3, -1.0 / (method.error_estimator_order + 1))


class _AtOnce:
    """Steps as scipy's, from `fun.steps`: see `stepper.Guarded`."""

    pair: Pair
    t: float
    y: Floats
    f: Floats
    h_abs: float

    def __init__(self, fun: Any, *given: Any, **keywords: Any) -> None:
        super().__init__(fun, *given, **keywords)  # type: ignore[call-arg]
        self.given: Any = fun

    def _step_impl(self: Any) -> tuple[bool, str | None]:
        t, y = self.t, self.y
        shortest = 10 * (np.nextafter(t, np.inf) - t)
        h_abs, rejected = min(max(self.h_abs, shortest), self.max_step), False
        while h_abs >= shortest:
            t_new = min(t + h_abs, self.t_bound)
            h = h_abs = t_new - t
            self.K[0] = self.f
            y_new = self.given.steps(t, y, np.array([h]), self.pair, self.K)[0]
            scale = self.atol + np.maximum(np.abs(y), np.abs(y_new)) * self.rtol
            error = self._estimate_error_norm(self.K, h, scale)
            factor = GREATEST if error == 0 else SAFETY * error**self.error_exponent
            if error < 1:
                self.h_previous, self.y_old = h, y
                self.t, self.y, self.f = t_new, y_new, self.K[-1].copy()
                self.h_abs = h_abs * min(1.0 if rejected else GREATEST, factor)
                return True, None
            h_abs *= max(LEAST, factor)
            rejected = True
        return False, self.TOO_SMALL_STEP


class _RK23(_AtOnce, RK23):  # type: ignore[misc]
    pair = _pair(RK23, RK23.E)


class _RK45(_AtOnce, RK45):  # type: ignore[misc]
    pair = _pair(RK45, RK45.E)


class _DOP853(_AtOnce, DOP853):  # type: ignore[misc]
    pair = _pair(DOP853, DOP853.E5, DOP853.E3)


EXPLICIT: dict[str, Any] = {"RK23": _RK23, "RK45": _RK45, "DOP853": _DOP853}
