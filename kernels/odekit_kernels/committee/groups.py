"""The committee's equations with groups of inputs, of one trajectory: see `inputs`.

The state is Q's upper triangle and R of every group in turn, then the heads. Everything but the
loops over laws and groups is that of `one`.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner, kernel, outer
from odekit_kernels.committee import moments
from odekit_kernels.committee.inputs import enter_law, fill_groups, fill_law, weigh_pairs
from odekit_kernels.committee.jacobian import jacobian_of_groups as jacobian
from odekit_kernels.committee.one import (
    add_consolidation,
    add_decay,
    add_diffusion,
    fill_moments,
    first_layer,
    product,
    second_layer,
    weigh,
)
from odekit_kernels.committee.state import continue_covariance, fill_averages, fill_readouts

__all__ = [
    "add_penalties_alone",
    "assemble_alone",
    "enter_law_alone",
    "errors",
    "errors_under_law",
    "fill_groups_alone",
    "jacobian",
    "rhs",
]


@inner
def sizes(system: Any) -> Any:
    """K, P, the number of groups and the numbers of a block."""
    K, P = system.move.shape[0], system.T.shape[1]
    return K, P, system.inputs.share.shape[0], K * (K + 1) // 2 + K * P


@inner
def assemble(y: Any, eta_w: float, eta_v: float, system: Any, v: int, work: Any, dy: Any) -> None:
    """Add to dy/dt what the tasks of law v do, from their moments."""
    K, P, G, size = sizes(system)
    inputs, p, block = system.inputs, work.of_groups.p[: system.p.shape[0]], work.of_groups.z[0]
    for g in range(G if eta_w != 0.0 else 0):
        rate = eta_w * inputs.pace[g]
        weigh_pairs(inputs, v, g, K, K + P, work)
        product(work.of_groups.own, work.of_groups.E, work.of_groups.G[g], K, K + P, work.A)
        first_layer(rate, system.move, K, P, work.A, block)
        if system.inverse_batch != 0.0:
            power = rate * rate * system.inverse_batch * inputs.ss[v, g]
            add_diffusion(power, p, system, K, work, block)
        for i in range(size):
            dy[g * size + i] += block[i]
    if eta_v != 0.0:
        second_layer(eta_v, p, system, K, P, G * size, y, work, dy)


@inner
def add_penalties(y: Any, eta_w: float, system: Any, work: Any, dy: Any) -> None:
    """Add decay and consolidation of the first layer in every group."""
    K, P, G, size = sizes(system)
    for g in range(G if eta_w != 0.0 else 0):
        rate, own = eta_w * system.inputs.pace[g], dy[g * size : (g + 1) * size]
        add_decay(rate * system.kappa_w, system.move, K, P, y[g * size :], own)
        add_consolidation(rate, system.F[g::G], system, K, P, work.of_groups.G[g], own)


@outer
def derivative(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, dy: Any) -> None:
    """`rhs`, to be called by kernels."""
    K, P, G, _ = sizes(system)
    fill_groups(y, system.T, K, P, work)
    fill_readouts(y, system, K, P, G, work)
    dy[:] = 0.0
    for v in range(system.inputs.ss.shape[0]):
        if enter_law(system, v, K, K + P, work):
            p = work.of_groups.p[: system.p.shape[0]]
            fill_moments(eta_w, eta_v, p, system, K, K + P, work)
            assemble(y, eta_w, eta_v, system, v, work, dy)
    add_penalties(y, eta_w, system, work, dy)


@kernel(_nrt=False)
def rhs(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, dy: Any) -> None:
    """`one.rhs` with groups of inputs: the moments once for each law of the inputs."""
    derivative(y, eta_w, eta_v, system, work, dy)


# For moments that no kernel computes: what comes before them, and what comes after.


@kernel(_nrt=False)
def fill_groups_alone(y: Any, system: Any, work: Any) -> None:
    """Fill the overlaps of every group, and c."""
    K, P, G, _ = sizes(system)
    fill_groups(y, system.T, K, P, work)
    fill_readouts(y, system, K, P, G, work)


@kernel(_nrt=False)
def enter_law_alone(system: Any, v: int, work: Any) -> bool:
    """Fill C and cbar under law v; whether the phase has tasks of it."""
    K, P, _, _ = sizes(system)
    has = enter_law(system, v, K, K + P, work)
    fill_averages(work.of_groups.p[: system.p.shape[0]], K, K + P, work)
    return has


@kernel(_nrt=False)
def assemble_alone(
    y: Any, eta_w: float, eta_v: float, system: Any, v: int, work: Any, dy: Any
) -> None:
    """`assemble`, after the drive, S and J2, and I2 were filled."""
    assemble(y, eta_w, eta_v, system, v, work, dy)


@kernel(_nrt=False)
def add_penalties_alone(y: Any, eta_w: float, system: Any, work: Any, dy: Any) -> None:
    """`add_penalties`."""
    add_penalties(y, eta_w, system, work, dy)


@kernel(_nrt=False)
def errors_under_law(y: Any, u: Any, head: Any, law: Any, v: int, work: Any, out: Any) -> None:
    """Errors of the tasks of law v, after I2 was filled."""
    for s in range(u.shape[0]):
        if law[s] == v:
            weigh(y, u, head, s, work.s.shape[0], u.shape[1], work.of_groups.G.shape[0], work, out)


@kernel(_nrt=False)
def errors(
    y: Any, activation: int, T: Any, inputs: Any, u: Any, head: Any, work: Any, out: Any
) -> None:
    """`one.errors`, each task under its own law, `inputs.law`; T of one group below the other."""
    K, P = work.s.shape[0], T.shape[1]
    fill_groups(y, T, K, P, work)
    for v in range(inputs.ss.shape[0]):
        fill_law(inputs, v, K, K + P, work)
        continue_covariance(K, K + P, work)
        moments.second(activation, work, K + P, K + P)
        errors_under_law(y, u, head, inputs.law, v, work, out)
