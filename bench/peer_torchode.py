"""torchode: one batch of tensors in each process, the right-hand side through `torch.compile`.

As many processes as threads: tensors of this size gain nothing from threads inside PyTorch.
Compiling the whole solver instead took 42 s and was no faster than 3 %.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
import torchode

from bench import equations, peer_work
from bench.peer_work import RTOL

EQUAL = {2: 4e-8, 4: 5e-8, 8: 5e-7}
UNROLLED = (2,)


def batch_of(K):
    """At K = M = 2 a batch of 2048 is twice as fast as one of 256."""
    return {2: 2048, 4: 512}.get(K, 64)


def unrolled(K):
    def rhs(y):
        parts = list(y.unbind(-1))
        return torch.stack(
            equations.scalars(parts, K, peer_work.ETA, torch.sqrt, torch.asin), dim=-1
        )

    return rhs


def arrays(K):
    constant = lambda x: torch.tensor(np.asarray(x).tolist())  # noqa: E731
    cat = lambda parts: torch.cat(list(parts), dim=-1)  # noqa: E731
    return equations.arrays(K, peer_work.ETA, torch, constant, cat)


def prepare():
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)


@functools.cache
def solver(method, form, K, rtol):
    prepare()
    # PyTorch 2.13 fails to compile the unrolled form.
    rhs = unrolled(K) if form == "unrolled" else torch.compile(arrays(K))
    term = torchode.ODETerm(lambda _t, y: rhs(y))
    controller = torchode.IntegralController(**peer_work.tolerances(rtol), term=term)
    return torchode.AutoDiffAdjoint(getattr(torchode, method)(term=term), controller)


def run(method, form, K, rtol, starts):
    """Rows and evaluations; each one is of the whole batch, finished trajectories included."""
    solve = solver(method, form, K, rtol).solve
    rows, count = [], 0
    for y in np.split(starts, len(starts) // batch_of(K)):
        times = torch.as_tensor(peer_work.TIMES).expand(len(y), -1).contiguous()
        found = solve(torchode.InitialValueProblem(y0=torch.as_tensor(y), t_eval=times))
        rows.append(found.ys.numpy())
        count += int(found.stats["n_f_evals"].sum())
    return np.concatenate(rows), count


def candidates(K, threads):
    prepare()
    mapped = peer_work.processes(threads)
    found = {}
    for form in ("arrays", "unrolled") if K in UNROLLED else ("arrays",):
        rhs = unrolled(K) if form == "unrolled" else arrays(K)
        peer_work.check(form, K, lambda y, f=rhs: f(torch.as_tensor(y)))
        equal = ("Tsit5", EQUAL[K], peer_work.EQUAL)
        for method, rtol, end in (("Dopri5", RTOL, ""), ("Tsit5", RTOL, ""), equal):
            each = functools.partial(run, method, form, K, rtol)
            start = functools.partial(peer_work.shared, mapped, each, peer_work.starts, K, threads)
            found[f"torchode {method}, {form}{end}"] = batch_of(K) * threads, start
    return found
