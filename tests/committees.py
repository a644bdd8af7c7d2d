"""Random committees for the tests of the kernels."""

from __future__ import annotations

from functools import partial

import numpy as np

from odekit.dataset import assemble as datasets
from odekit.dataset.provenance import provenance as provenance_of
from odekit.systems.committee.variables import variables
from odekit_kernels.committee.one import Committee

REGISTRY = variables(groups=False, beyond=())
assemble = partial(datasets.assemble, variables=REGISTRY)


def provenance(problem, title="", source=""):
    return provenance_of(problem, title, source, "")


def gram(rng, count, dim=None):
    """Covariance of `count` random vectors of norm about 1."""
    B = rng.standard_normal((count, dim or count + 3))
    return B @ B.T / B.shape[1]


def upper(Q):
    return Q[np.triu_indices(len(Q))]


def random_committee(
    rng,
    *,
    activation=0,
    K=2,
    P=2,
    H=1,
    S=1,
    consolidations=0,
    decay=0.0,
    frozen=(),
    inverse_batch=1.0,
    noise=0.3,
):
    """A state and a system with nothing special about them."""
    C = gram(rng, K + P)
    p = rng.uniform(0.2, 1.0, S)
    move = np.ones(K)
    move[list(frozen)] = 0.0
    system = Committee(
        activation=activation,
        T=np.ascontiguousarray(C[K:, K:]),
        u=rng.normal(size=(S, P)),
        sigma=noise * rng.uniform(0.5, 1.5, S),
        p=p / p.sum(),
        head=rng.integers(0, H, S),
        move=move,
        inverse_batch=inverse_batch,
        kappa_w=decay,
        kappa_v=2 * decay,
        F=rng.uniform(0.0, 2.0, (consolidations, K)),
        anchor=rng.integers(0, P, (consolidations, K)),
        F_v=rng.uniform(0.0, 2.0, (consolidations, K)),
        v_anchor=rng.normal(size=(consolidations, K)),
        v_head=rng.integers(0, H, consolidations),
    )
    y = np.concatenate([upper(C[:K, :K]), C[:K, K:].ravel(), rng.normal(size=H * K)])
    return y, system
