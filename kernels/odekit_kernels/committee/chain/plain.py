"""The chain with an activation that cannot be compiled: all but its values.

The same steps, on the same random numbers, as in `odekit_kernels.committee.chain.steps`.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels.committee.chain.steps import draw, respond

__all__ = ["train_plain"]


def train_plain(
    steps: int, eta_w: Any, eta_v: Any, g: Any, dg: Any, rule: Any, memory: Any
) -> None:
    """`chain.train` for functions g and dg of arrays."""
    flat = memory.fields.reshape(-1)
    for i in range(steps):
        draw(rule, memory)
        memory.out[:] = g(flat).reshape(memory.out.shape)
        memory.slope[:] = dg(flat).reshape(memory.out.shape)
        respond(eta_w, eta_v, i, rule, memory)
