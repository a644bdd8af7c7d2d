"""Inputs with structure, made of groups: distractors, spectra of a covariance, hidden manifolds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import as_floats, count, number, positive, single
from odekit.base.errors import ProblemError

__all__ = ["InputGroups", "curriculum_groups", "hidden_manifold", "power_law", "spectrum"]

MOST_NODES = 256
NONLINEARITIES: dict[str, Callable[[Any], Any]] = {
    "linear": lambda u: u,
    "sign": np.sign,
    "relu": lambda u: np.maximum(u, 0.0),
    "tanh": np.tanh,
}


@dataclass(frozen=True)
class InputGroups:
    """Groups of inputs, and what a problem says of them.

    Attributes
    ----------
    groups : dict of str to float
        Fractions, for `Problem` and `OrderParameters.draw`.
    input_variance, student_gain, student_noise_std : dict of str to float, or float
        For `Task`.
    teacher_scale : dict of str to float
        T in each group over T of all inputs.
    error : float
        Largest error of the mean of exp(−λ t) over the spectrum, at any t >= 0, for what stands for
        a spectrum with more eigenvalues than groups; else 0.

    Examples
    --------
    >>> import odekit as ok
    >>> world = ok.curriculum_groups(relevant=0.25)
    >>> world.groups
    {'relevant': 0.25, 'irrelevant': 0.75}
    >>> world.teacher([[1.0]]).ravel()
    array([4., 0.])
    """

    groups: dict[str, float]
    input_variance: Any = 1.0
    student_gain: Any = 1.0
    student_noise_std: Any = 0.0
    teacher_scale: Mapping[str, float] = field(default_factory=dict)
    error: float = 0.0

    @property
    def task(self) -> dict[str, Any]:
        """Keyword arguments of `odekit.Task`."""
        names = ("input_variance", "student_gain", "student_noise_std")
        return {name: getattr(self, name) for name in names}

    def teacher(self, T: Any) -> Floats:
        """Overlaps of fixed vectors in each group, shape (G, P, P), from those over all inputs.

        Parameters
        ----------
        T : array_like, shape (P, P)
        """
        scale = np.array([self.teacher_scale.get(name, 1.0) for name in self.groups])
        return np.asarray(scale[:, None, None] * as_floats("T", T, "a matrix of overlaps"))


def curriculum_groups(relevant: float = 0.5) -> InputGroups:
    """Inputs that the teacher reads, and inputs that it does not.

    Tasks that differ in the variance of the irrelevant ones are easy or hard (Saglietti et al.
    2022, arXiv:2106.08068).

    Parameters
    ----------
    relevant : float
        Fraction of the relevant inputs, > 0 and < 1.
    """
    share = single(positive, "relevant", relevant)
    if share >= 1.0:
        raise ProblemError("relevant", "must be below 1", f"{share:g}", "Leave out the groups.")
    groups = {"relevant": share, "irrelevant": 1.0 - share}
    return InputGroups(groups, teacher_scale={"relevant": 1.0 / share, "irrelevant": 0.0})


def spectrum(eigenvalues: Any, weights: Any = None, nodes: int | None = None) -> InputGroups:
    """Inputs whose covariance has these eigenvalues, in its eigenbasis.

    Parameters
    ----------
    eigenvalues : array_like, shape (n,)
        Variances >= 0.
    weights : array_like, shape (n,), optional
        Fraction of the directions that have each; equal by default.
    nodes : int, optional
        Groups to make of them, at most n: Gauss's nodes for the measure of the eigenvalues
        (Lanczos), which converge exponentially. By default each eigenvalue is a group.

    Returns
    -------
    InputGroups
        Its `error` says what the nodes cost.

    Raises
    ------
    ProblemError
        If an eigenvalue is negative, or the weights do not sum to one.

    Examples
    --------
    >>> import odekit as ok
    >>> world = ok.spectrum([0.5, 1.5])
    >>> world.groups, world.input_variance
    ({'mode_0': 0.5, 'mode_1': 0.5}, {'mode_0': 0.5, 'mode_1': 1.5})
    """
    rho = as_floats("eigenvalues", eigenvalues, "a list of variances")
    if rho.ndim != 1 or not rho.size:
        raise ProblemError("eigenvalues", "must be one axis of them", f"shape {rho.shape}", "")
    if (rho < 0).any():
        remedy = "Those of a covariance are not."
        raise ProblemError("eigenvalues", "must be >= 0", f"{rho.min():g}", remedy)
    w = np.full(rho.size, 1.0 / rho.size)
    if weights is not None:
        w = as_floats("weights", weights, "a fraction for each eigenvalue")
        if w.shape != rho.shape or (w <= 0).any() or abs(w.sum() - 1.0) > 1e-9:
            rule = "must be as many fractions > 0, which sum to 1"
            raise ProblemError("weights", rule, f"shape {w.shape}, sum {w.sum():.12g}", "")
    at, share = rho, w
    if nodes is not None:
        at, share = _gauss(rho, w, count("nodes", nodes, most=min(MOST_NODES, np.unique(rho).size)))
    names = [f"mode_{i}" for i in range(at.size)]
    error = 0.0 if nodes is None else _change(rho, w, at, share)
    groups = dict(zip(names, (share / share.sum()).tolist(), strict=True))
    return InputGroups(groups, dict(zip(names, at.tolist(), strict=True)), error=error)


def power_law(exponent: float, input_dim: int = 10_000, nodes: int = 12) -> InputGroups:
    """Inputs whose covariance has eigenvalues λ_i ∝ i^(−exponent), i = 1…N, of mean one.

    Parameters
    ----------
    exponent : float
        >= 0.
    input_dim : int
        N, where the power law ends.
    nodes : int
        Groups: see `spectrum`. Of 10,000 eigenvalues i^(−1) the mean of exp(−λ t) is off by at most
        0.10 with 12, 0.018 with 24 and 2e-4 with 48 of them.

    Examples
    --------
    >>> import odekit as ok
    >>> world = ok.power_law(1.0, nodes=8)
    >>> len(world.groups), round(world.error, 2)
    (8, 0.17)
    """
    alpha = number("exponent", exponent, "be >= 0", lambda x: x >= 0)
    i = np.arange(1.0, count("input_dim", input_dim, most=2**24) + 1.0)
    rho = i ** -float(np.asarray(alpha))
    return spectrum(rho / rho.mean(), nodes=1 if alpha == 0 else nodes)


def hidden_manifold(
    latent_ratio: float, nonlinearity: str | Callable[[Any], Any], nodes: int = 12
) -> InputGroups:
    """The hidden manifold model (Goldt et al. 2020, arXiv:1909.11500) as groups of inputs.

    Inputs are f(F c/√D) with D latent coordinates c and random features F; teachers read c. To the
    student they are the linear part of f, in the singular basis of F, and noise.

    Parameters
    ----------
    latent_ratio : float
        δ = D/N > 0. Above 1 the directions counted as inputs are those of the latent space, so that
        time is steps/D: multiply readout rates by δ where time is to be steps/N.
    nonlinearity : {"linear", "sign", "relu", "tanh"} or callable
        f, of arrays; its mean is taken off.
    nodes : int
        Groups that stand for the spectrum of F (Marchenko–Pastur): Gauss's nodes.

    Returns
    -------
    InputGroups
        Groups ``mode_i``, and ``outside`` for directions that F does not reach, or ``latent`` for
        those that only teachers see.

    Examples
    --------
    >>> import odekit as ok
    >>> world = ok.hidden_manifold(0.4, "sign", nodes=5)
    >>> list(world.groups)[-1], round(world.groups["outside"], 12)
    ('outside', 0.6)
    """
    delta = single(positive, "latent_ratio", latent_ratio)
    b, zeta = _moments(nonlinearity)
    wide = max(delta, 1.0)
    rho, w = _marchenko_pastur(min(delta, 1.0 / delta), count("nodes", nodes, most=MOST_NODES))
    rho, w = rho * wide, w * min(delta, 1.0) / wide
    names = [f"mode_{i}" for i in range(rho.size)]
    groups = dict(zip(names, w.tolist(), strict=True))
    gain = dict(zip(names, (b * np.sqrt(rho / delta)).tolist(), strict=True))
    noise = dict.fromkeys(names, float(np.sqrt(wide * zeta)))
    scale = dict.fromkeys(names, 1.0 / delta)
    rest = 1.0 - sum(groups.values())
    if rest > 1e-12:
        name = "outside" if delta < 1.0 else "latent"
        groups[name], gain[name] = rest, 0.0
        noise[name] = float(np.sqrt(zeta)) if delta < 1.0 else 0.0
        scale[name] = 0.0 if delta < 1.0 else 1.0 / delta
    return InputGroups(groups, wide, gain, noise, scale, _nodes_error(delta, nodes))


def _moments(nonlinearity: Any) -> tuple[float, float]:
    """E[u f(u)] and the variance of f less its square."""
    from scipy.integrate import quad

    f: Any = nonlinearity
    if isinstance(f, str):
        if f not in NONLINEARITIES:
            rule = f"must be a function or one of {', '.join(map(repr, NONLINEARITIES))}"
            raise ProblemError("nonlinearity", rule, repr(f), "")
        f = NONLINEARITIES[f]
    if not callable(f):
        raise ProblemError("nonlinearity", "must be a function", repr(f)[:80], "")

    def mean(g: Callable[[float], float]) -> float:
        def density(u: float) -> float:
            return g(u) * float(np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi))

        parts = [quad(density, *ends, epsabs=1e-13)[0] for ends in ((-12.0, 0.0), (0.0, 12.0))]
        return float(sum(parts))

    def value(u: float) -> float:
        return float(np.asarray(f(np.array([u])))[0])

    first, slope, square = (
        mean(g) for g in (value, lambda u: u * value(u), lambda u: value(u) ** 2)
    )
    if not np.isfinite([first, slope, square]).all():
        raise ProblemError("nonlinearity", "must have finite Gaussian moments", repr(f)[:80], "")
    return slope, max(square - first**2 - slope**2, 0.0)


def _marchenko_pastur(ratio: float, n: int) -> tuple[Floats, Floats]:
    """Gauss's nodes and weights for the eigenvalues of FᵀF/N, D/N = ratio <= 1, of mean 1."""
    from scipy.linalg import eigh_tridiagonal

    diagonal = np.full(n, 1.0 + ratio)
    diagonal[0] = 1.0
    rho, vectors = eigh_tridiagonal(diagonal, np.full(n - 1, np.sqrt(ratio)))
    return np.maximum(rho, 0.0), vectors[0] ** 2


def _nodes_error(delta: float, nodes: int) -> float:
    ratio = min(delta, 1.0 / delta)
    return _change(*_marchenko_pastur(ratio, 4 * nodes), *_marchenko_pastur(ratio, nodes))


def _gauss(rho: Floats, w: Floats, n: int) -> tuple[Floats, Floats]:
    """Gauss's nodes and weights for a measure of points (Lanczos, fully reorthogonalised)."""
    from scipy.linalg import eigh_tridiagonal

    basis = np.zeros((n, rho.size))
    basis[0] = np.sqrt(w)
    diagonal, off = np.zeros(n), np.zeros(max(n - 1, 0))
    for i in range(n):
        rest = rho * basis[i]
        diagonal[i] = basis[i] @ rest
        if i + 1 == n:
            break
        for _ in range(2):
            rest = rest - basis[: i + 1].T @ (basis[: i + 1] @ rest)
        off[i] = np.linalg.norm(rest)
        basis[i + 1] = rest / off[i]
    nodes, vectors = eigh_tridiagonal(diagonal, off)
    return np.maximum(nodes, 0.0), vectors[0] ** 2


def _change(rho: Floats, w: Floats, at: Floats, share: Floats) -> float:
    """Largest change of the mean of exp(−λ t) when nodes stand for a spectrum."""
    least = rho[rho > 0].min(initial=rho.max())
    times = np.geomspace(1e-2 / max(rho.max(), 1e-300), 1e2 / max(least, 1e-300), 200)
    off = [float(w @ np.exp(-rho * t) - share @ np.exp(-at * t)) for t in times]
    return float(np.abs(off).max())
