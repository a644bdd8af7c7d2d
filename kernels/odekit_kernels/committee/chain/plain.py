"""The chain with an activation that cannot be compiled: all but its values.

The same steps, on the same random numbers, as in `odekit_kernels.committee.chain.steps`.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels.committee.chain.steps import (
    begin_alone,
    draw_alone,
    leave_alone,
    respond_alone,
)
from odekit_kernels.simd import WIDTH

__all__ = ["train_plain"]


def train_plain(
    steps: int, eta_w: Any, eta_v: Any, g: Any, dg: Any, rule: Any, memory: Any
) -> None:
    """`chain.train` for functions g and dg of arrays."""
    flat = memory.fields.reshape(-1)
    block = memory.chis.shape[1] // WIDTH
    for first in range(0, steps, block):
        count = min(block, steps - first)
        draw_alone(count, rule, memory)
        for i in range(count):
            begin_alone(i, rule, memory)
            memory.out[:] = g(flat).reshape(memory.out.shape)
            memory.slope[:] = dg(flat).reshape(memory.out.shape)
            respond_alone(eta_w, eta_v, first + i, rule, memory)
        leave_alone(count, memory)
