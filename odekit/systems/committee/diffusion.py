"""How much one step of SGD scatters the order parameters, and what it adds to their mean at 1/N.

A step changes y by Z/N. At order N^(-1/2) the order parameters are Gaussian about the solution of
the equations, driven by B = Cov Z / b; at 1/N their mean is shifted, for one thing because |x|²/N
goes with the fields. Both are averages over the fields, taken here by quadrature for every g.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.systems.committee.trainer import functions_of

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.committee.committeestate import Frame
    from odekit.systems.committee.points import CommitteePoints

MOST_NODES = 2**15
LARGEST_GRID = 5  # dimensions; beyond it Sobol's points
MOST_POINTS = 2**14
MOST_IN_LINE = 40
NULL = 1e-13
_NOISE = np.array([0.0, 3.0**0.5, -(3.0**0.5)]), np.array([2.0, 0.5, 0.5]) / 3.0


class Scatter(NamedTuple):
    """What one step does to a state, in units of 1/N.

    Attributes
    ----------
    B : ndarray, shape (n, n)
        Covariance of a step.
    drift : ndarray, shape (n,)
        What the mean of a step has beyond the equations, times N.
    mean : ndarray, shape (n,)
        Mean of what the samples of a step do; the equations are this and the penalties.
    """

    B: Floats
    drift: Floats
    mean: Floats


class Diffusion:
    """Scatter of SGD's steps in a phase (Gaussian fields, any activation).

    Parameters
    ----------
    points : CommitteePoints
        Of a problem with plain numbers.
    phase : Phase
    frame : Frame
        Its fixed vectors and penalties.
    """

    def __init__(self, points: CommitteePoints, phase: Phase, frame: Frame) -> None:
        self.points, self.K, self.b = points, points.K, float(phase.batch_size)
        self.now = points.now(phase, frame)
        c = self.committee = self.now.committee
        self.read = np.flatnonzero((c.u != 0).any(axis=0))
        self.g, self.dg = activation(points.problem.activation)

    def __call__(self, y: Floats, rates: tuple[float, float], since: float = 0.0) -> Scatter:
        """The scatter at a state, with learning rates of weights and readouts, and at a time.

        The time, since the phase began, is that of other schedules.
        """
        c, K = self.now.at(since), self.K
        self.committee = c
        Q, R, v = self.points.unpack(y)
        C = np.block([[Q, R], [R.T, np.asarray(c.T)]])
        seen = _Fields(C, K, self.read)
        n, r = y.size, seen.z.shape[1]
        first, second = np.zeros(n), np.zeros((n, n))
        AA, AAz, Az = np.zeros((K, K)), np.zeros((K, K)), np.zeros((K, r))
        for s, p in enumerate(c.p):
            Z, A, z, weight = self._samples(s, seen, v, rates)
            weight = p * weight
            first += weight @ Z
            second += (weight[:, None] * Z).T @ Z
            AA += (weight[:, None] * A).T @ A
            AAz += ((weight * (np.sum(z * z, axis=1) - r))[:, None] * A).T @ A
            Az += (weight[:, None] * A).T @ z
        second += self._unseen(seen, AA, n)
        B = (second - np.outer(first, first)) / self.b
        return Scatter(B, self._drift(seen, C, rates, AAz, Az, n), first)

    def _samples(
        self, s: int, seen: _Fields, v: Floats, rates: tuple[float, float]
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Z, A = η v_k g'(λ_k) δ, coordinates and weights of one task's samples."""
        c, K = self.committee, self.K
        lam, rho, head = seen.phi[:, :K], seen.phi[:, K:], int(c.head[s])
        g, slope = self.g(lam), self.dg(lam) * v[head] * (rates[0] * np.asarray(c.move))
        clean = self.g(rho) @ c.u[s, self.read] - g @ v[head]
        nodes, shares = _NOISE if c.sigma[s] else (np.zeros(1), np.ones(1))
        found = []
        for zeta in nodes:
            delta = (clean + c.sigma[s] * zeta)[:, None]
            found.append(self._change(slope * delta, g * delta, seen, v, head, rates[1]))
        Z, A = (np.concatenate(part) for part in zip(*found, strict=True))
        z = np.tile(seen.z, (len(nodes), 1))
        return Z, A, z, np.outer(shares, seen.weight).ravel()

    def _change(
        self, A: Floats, dv: Floats, seen: _Fields, v: Floats, head: int, eta_v: float
    ) -> tuple[Floats, Floats]:
        """Z of samples, in the order of a state."""
        c, (i, j) = self.committee, self.points.upper
        lam = seen.phi[:, : self.K]
        Q = A[:, i] * lam[:, j] + A[:, j] * lam[:, i] + A[:, i] * A[:, j] / self.b
        R = A[:, :, None] * seen.fixed[:, None, :]
        readouts = np.zeros((len(A), *v.shape))
        mine = np.asarray(c.v_head) == head
        F = np.asarray(c.F_v)[mine]
        pull = (c.kappa_v + F.sum(axis=0)) * v[head] - (F * np.asarray(c.v_anchor)[mine]).sum(0)
        readouts[:, head] = eta_v * (dv - pull)
        return np.hstack([Q, R.reshape(len(A), -1), readouts.reshape(len(A), -1)]), A

    def _unseen(self, seen: _Fields, AA: Floats, n: int) -> Floats:
        """What fixed vectors that no task reads scatter beyond what the others say of them."""
        P, triangle = seen.rest.shape[0], len(self.points.upper[0])
        found = np.zeros((n, n))
        end = triangle + self.K * P
        found[triangle:end, triangle:end] = np.kron(AA, seen.rest)
        return found

    def _drift(
        self, seen: _Fields, C: Floats, rates: tuple[float, float], AAz: Floats, Az: Floats, n: int
    ) -> Floats:
        """N times what Q gains at second order: lengths of inputs, batches and penalties."""
        c, (i, j) = self.committee, self.points.upper
        penalty = np.zeros((self.K, len(C)))
        k = np.arange(self.K)
        penalty[k, k] = float(c.kappa_w) + np.asarray(c.F).sum(axis=0)
        for F, anchor in zip(np.asarray(c.F), np.asarray(c.anchor), strict=True):
            np.add.at(penalty, (k, self.K + anchor), -F)
        penalty *= rates[0] * np.asarray(c.move)[:, None]
        cross = penalty @ seen.loads @ Az.T
        whole = AAz / self.b + (1.0 - 1.0 / self.b) * Az @ Az.T
        whole += penalty @ C @ penalty.T - cross - cross.T
        found = np.zeros(n)
        found[: len(i)] = whole[i, j]
        return found


class _Fields:
    """Nodes of the units' fields and of those that are read, and what they say of all others.

    Attributes
    ----------
    z, weight : ndarray, shape (m, r), (m,)
        Nodes of independent normal coordinates.
    phi : ndarray, shape (m, d)
        The fields that are read.
    fixed : ndarray, shape (m, P)
        Mean of every fixed vector's field, given those.
    rest : ndarray, shape (P, P)
        Covariance that is left of them.
    loads : ndarray, shape (K + P, r)
        Coefficients of all fields in the coordinates.
    """

    def __init__(self, C: Floats, K: int, read: Any) -> None:
        read = np.concatenate([np.arange(K), K + read])
        size = np.sqrt(np.maximum(np.diag(C), 0.0))
        scale = np.where(size > 0, size, 1.0)[read]
        e, V = np.linalg.eigh(C[np.ix_(read, read)] / np.outer(scale, scale))
        kept = e > NULL * len(e)
        e, V = e[kept], V[:, kept]
        self.z, self.weight = nodes(len(e))
        self.loads = C[:, read] @ (V / np.sqrt(e) / scale[:, None])
        self.loads[read] = scale[:, None] * V * np.sqrt(e)
        self.phi = self.z @ self.loads[read].T
        self.fixed = self.z @ self.loads[K:].T
        self.rest = C[K:, K:] - self.loads[K:] @ self.loads[K:].T


@lru_cache(8)
def nodes(r: int) -> tuple[Floats, Floats]:
    """Nodes (m, r) and weights (m,) of r independent normal variates."""
    if r == 0:
        return np.zeros((1, 0)), np.ones(1)
    if r <= LARGEST_GRID:
        count = min(MOST_IN_LINE, int(MOST_NODES ** (1.0 / r) + 1e-9))
        x, w = np.polynomial.hermite_e.hermegauss(count)
        grids = np.meshgrid(*[x] * r, indexing="ij")
        weights = np.meshgrid(*[w / w.sum()] * r, indexing="ij")
        z = np.stack([grid.ravel() for grid in grids], axis=1)
        return z, np.prod([weight.ravel() for weight in weights], axis=0)
    from scipy.special import ndtri
    from scipy.stats import qmc

    u = qmc.Sobol(r, rng=np.random.default_rng(0)).random(MOST_POINTS)
    z = ndtri(np.clip(u, 1e-12, 1 - 1e-12))
    # Second moments are made exact: they are what penalties and unread fields hang on.
    z = z - z.mean(axis=0)
    z = z @ np.linalg.inv(np.linalg.cholesky(z.T @ z / len(z))).T
    return z, np.full(MOST_POINTS, 1.0 / MOST_POINTS)


def activation(given: Any) -> tuple[Any, Any]:
    """g and g' on arrays."""
    from odekit.systems.committee.activations import COMPILED, Activation

    if isinstance(given, str) and given in COMPILED:
        return functions_of(given)
    made = Activation.shipped(given) if isinstance(given, str) else given
    return made.function, made.derivative
