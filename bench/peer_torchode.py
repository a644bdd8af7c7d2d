"""torchode: one batch of tensors, the right-hand side through `torch.compile`."""

from __future__ import annotations

import numpy as np
import torch
import torchode

from bench import equations, peer_work

BATCH = 2048  # twice as fast as 256
UNROLLED = (2,)


def unrolled(K):
    def rhs(y):
        parts = list(y.unbind(-1))
        return torch.stack(
            equations.scalars(parts, K, peer_work.ETA, torch.sqrt, torch.asin), dim=-1
        )

    return rhs


def candidates(K, threads):
    torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    constant = lambda x: torch.tensor(np.asarray(x).tolist())  # noqa: E731
    cat = lambda parts: torch.cat(list(parts), dim=-1)  # noqa: E731
    forms = {"arrays": equations.arrays(K, peer_work.ETA, torch, constant, cat)}
    if K in UNROLLED:
        forms["unrolled"] = unrolled(K)
    found = {}
    for form, rhs in forms.items():
        peer_work.check(form, K, lambda y, f=rhs: f(torch.as_tensor(y)))
        for method in (torchode.Dopri5, torchode.Tsit5):
            # PyTorch 2.13 fails to compile the unrolled form.
            used = rhs if form == "unrolled" else torch.compile(rhs)
            name = f"torchode {method.__name__}, {form}"
            found[name] = (max(BATCH // (K // 2) ** 3, 128), prepare(used, method, K))
    return found


def prepare(rhs, method, K):
    term = torchode.ODETerm(lambda _t, y: rhs(y))
    controller = torchode.IntegralController(atol=peer_work.ATOL, rtol=peer_work.RTOL, term=term)
    solver = torchode.AutoDiffAdjoint(method(term=term), controller)
    batch = max(BATCH // (K // 2) ** 3, 128)

    def starting(n):
        parts = [torch.as_tensor(y) for y in np.split(peer_work.starts(K, n), n // batch)]
        times = torch.as_tensor(peer_work.TIMES).expand(batch, -1).contiguous()

        def go():
            runs = [solver.solve(torchode.InitialValueProblem(y0=y, t_eval=times)) for y in parts]
            # Every evaluation is one of the whole batch, finished trajectories included.
            count = sum(int(run.stats["n_f_evals"].sum()) for run in runs)
            return np.concatenate([run.ys.numpy() for run in runs]), count

        return go

    return starting
