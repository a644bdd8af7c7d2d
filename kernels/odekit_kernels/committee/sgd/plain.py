"""SGD with an activation that cannot be compiled: all but its values are.

The same steps, on the same random numbers, as in `odekit_kernels.committee.sgd.steps`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit_kernels.committee.sgd.steps import advance_alone, finish_alone, respond_alone

__all__ = ["squared_slopes_plain", "train_plain"]


def train_plain(
    steps: int, eta_w: Any, eta_v: Any, g: Any, dg: Any, rule: Any, memory: Any
) -> None:
    """`sgd.train` for functions g and dg of arrays."""
    rate = 0.0
    for i in range(steps):
        advance_alone(rate, i > 0, rule, memory)
        activate(g, dg, rule, memory)
        rates = (float(rate[min(i, len(rate) - 1)]) for rate in (eta_w, eta_v))
        rate = respond_alone(*rates, rule, memory)
    if steps:
        finish_alone(rate, rule, memory)


def activate(g: Any, dg: Any, rule: Any, memory: Any) -> None:
    """`steps.activate` for functions g and dg of arrays."""
    memory.out[:], memory.slope[:] = g(memory.lam), dg(memory.lam)
    memory.teacher[:] = np.sign(memory.rho) if rule.sign else g(memory.rho)


def squared_slopes_plain(
    samples: int, h: int, g: Any, dg: Any, rule: Any, memory: Any, F: Any, I2: Any
) -> None:
    """`sgd.squared_slopes` for functions g and dg of arrays."""
    F[:], I2[:] = 0.0, 0.0
    for _ in range(samples):
        advance_alone(0.0, False, rule, memory)
        z = memory.lam[0]
        v = memory.v[h * rule.outputs : (h + 1) * rule.outputs]
        F += np.outer((v**2).sum(axis=0) * dg(z) ** 2, memory.x[0] ** 2) / samples
        I2 += g(z) ** 2 / samples
