"""diffrax: `vmap` over a batch inside one `jit`, and a mesh of as many CPU devices as threads."""

from __future__ import annotations

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bench import equations, peer_work

BATCH = {2: 256, 4: 128, 8: 16}  # of a device; at K = 2, 64 to 1024 differ by less than a tenth
EQUAL = {2: 3.5e-8, 4: 4e-8, 8: 4e-7}
UNROLLED = (2, 4)  # beyond, XLA takes minutes to compile


def unrolled(K):
    def rhs(y):
        parts = [y[i] for i in range(peer_work.overlaps(K))]
        return jnp.stack(equations.scalars(parts, K, peer_work.ETA, jnp.sqrt, jnp.arcsin))

    return rhs


def candidates(K, threads):
    jax.config.update("jax_enable_x64", True)
    forms = {"arrays": equations.arrays(K, peer_work.ETA, jnp, jnp.asarray)}
    if K in UNROLLED:
        forms["unrolled"] = unrolled(K)
    found = {}
    for form, rhs in forms.items():
        peer_work.check(form, K, jax.vmap(rhs))
        for solver in (diffrax.Dopri5(), diffrax.Tsit5()):
            name = f"diffrax {type(solver).__name__}, {form}"
            found[name] = BATCH[K] * threads, prepare(rhs, solver, K, threads, peer_work.RTOL)
            if isinstance(solver, diffrax.Tsit5):
                start = prepare(rhs, solver, K, threads, EQUAL[K])
                found[name + peer_work.EQUAL] = BATCH[K] * threads, start
    return found


def prepare(rhs, solver, K, threads, rtol):
    controller = diffrax.PIDController(**peer_work.tolerances(rtol))
    term = diffrax.ODETerm(lambda _t, y, _args: rhs(y))
    saved = diffrax.SaveAt(ts=jnp.asarray(peer_work.TIMES))

    def solve(y):
        found = diffrax.diffeqsolve(
            term,
            solver,
            0.0,
            peer_work.SPAN,
            None,
            y,
            saveat=saved,
            stepsize_controller=controller,
            max_steps=100_000,
        )
        return found.ys, found.stats["num_steps"]

    mesh = Mesh(np.array(jax.devices()[:threads]), ("device",))
    each = PartitionSpec("device")
    batch = jax.jit(
        jax.shard_map(jax.vmap(solve), mesh=mesh, in_specs=each, out_specs=each, check_vma=False)
    )
    place = NamedSharding(mesh, each)

    def starting(n):
        y = peer_work.starts(K, n)
        chunks = [jax.device_put(part, place) for part in np.split(y, n // (BATCH[K] * threads))]

        def go():
            parts = [batch(part) for part in chunks]
            rows = [np.asarray(part[0]) for part in parts]
            # Both are "first same as last": six evaluations for a step.
            count = 6 * sum(int(np.asarray(part[1]).sum()) for part in parts)
            return lambda: np.concatenate(rows), count

        return go

    return starting
