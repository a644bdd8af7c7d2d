"""SGD with an activation that cannot be compiled: the passes over memory are, the response is not.

The same steps, on the same random numbers, as in `odekit_kernels.committee.sgd.steps`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit_kernels.committee.sgd.steps import advance, finish

__all__ = ["squared_slopes_plain", "train_plain"]


def train_plain(
    steps: int, eta_w: Any, eta_v: Any, g: Any, dg: Any, rule: Any, memory: Any
) -> None:
    """`sgd.train` for functions g and dg of arrays."""
    rate = 0.0
    for i in range(steps):
        advance(rate, i > 0, rule, memory)
        rate = float(eta_w[min(i, len(eta_w) - 1)])
        respond(g, dg, rate, float(eta_v[min(i, len(eta_v) - 1)]), rule, memory)
    if steps:
        finish(rate, rule, memory)


def respond(g: Any, dg: Any, eta_w: float, eta_v: float, rule: Any, memory: Any) -> None:
    """From the fields to the update of both layers."""
    v, scale = memory.v, 1.0 / np.sqrt(rule.N)
    b, h = len(memory.lam), rule.head[memory.task]
    u = rule.u[memory.task]
    lam = memory.lam * scale
    out, teacher = g(lam), np.where(u != 0, g(memory.rho * scale), 0.0)
    delta = memory.label + (u * teacher).sum(axis=1) - (v[h] * out).sum(axis=1)
    memory.a[:] = eta_w * scale / b * v[h] * dg(lam) * delta[:, None]
    force = -np.bincount(h, minlength=len(v))[:, None] / b
    force = force * (rule.kappa_v * v + rule.F_v * v - rule.Fv)
    np.add.at(force, h, out * delta[:, None] / b)
    v += eta_v / rule.N * force


def squared_slopes_plain(
    samples: int, h: int, g: Any, dg: Any, rule: Any, memory: Any, F: Any, I2: Any
) -> None:
    """`sgd.squared_slopes` for functions g and dg of arrays."""
    F[:], I2[:] = 0.0, 0.0
    for _ in range(samples):
        advance(0.0, False, rule, memory)
        z = memory.lam[0] / np.sqrt(rule.N)
        F += np.outer((memory.v[h] * dg(z)) ** 2, memory.x[0] ** 2) / samples
        I2 += g(z) ** 2 / samples
