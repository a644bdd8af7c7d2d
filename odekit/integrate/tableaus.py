"""Coefficients of the methods that go in lanes, from scipy."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy.integrate import DOP853, RK23, RK45

from odekit.base.arrays import Floats
from odekit_kernels.integrators.explicit import Tableau
from odekit_kernels.integrators.rosenbrock import RODAS5P

__all__ = ["EXPLICIT", "MOST_STAGES", "most_stages", "tableau"]

EXPLICIT: dict[str, Any] = {"RK23": RK23, "RK45": RK45, "DOP853": DOP853}
MOST_STAGES = RODAS5P.W.shape[1]


@cache
def tableau(kind: str) -> Tableau:
    """Coefficients of an explicit method, from scipy."""
    method = EXPLICIT[kind]
    A, B = np.asarray(method.A, float), np.asarray(method.B, float)
    W = np.zeros((len(B) + 1, len(B)))
    W[:-1, : A.shape[1]], W[-1] = A, B
    eighth = kind == "DOP853"
    return Tableau(
        W=W,
        nodes=np.append(np.asarray(method.C, float), 1.0),
        E=np.array([method.E5, method.E3] if eighth else [method.E], float),
        P=_dense_output(method) if eighth else np.ascontiguousarray(method.P, float),
        X=np.array(method.A_EXTRA if eighth else np.zeros((0, len(B) + 1)), float),
        more_nodes=np.array(method.C_EXTRA if eighth else [], float),
        exponent=-1.0 / (method.error_estimator_order + 1),
    )


def _dense_output(method: Any) -> Floats:
    """DOP853's interpolant, which is nested in θ and 1 − θ, by powers of θ from θ on."""
    stages = len(method.D[0])
    step = np.append(method.B, np.zeros(stages - len(method.B)))
    first, last = np.eye(stages)[[0, method.n_stages]]
    terms = [step, first - step, 2.0 * step - first - last, *method.D]
    total = np.zeros((stages, len(terms) + 1))
    for i, term in enumerate(reversed(terms)):
        total[:, 0] += term
        shifted = np.roll(total, 1, axis=1)
        total = shifted if i % 2 == 0 else total - shifted
    return np.ascontiguousarray(total[:, 1:])


def most_stages(method: str | None) -> int:
    """Stages of a step, and of its dense output, less one."""
    return MOST_STAGES if method != "DOP853" else len(tableau(method).P) - 1
