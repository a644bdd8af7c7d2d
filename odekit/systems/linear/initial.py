"""Initial weights: random, exactly balanced, or aligned with a target."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.base.checks import array, as_floats, count, is_labelled, nonnegative, number, positive
from odekit.base.errors import ProblemError
from odekit.systems.linear.network import Network

MOST_NUMBERS = 2**28


def normal(
    network: Network,
    scale: Any,
    *,
    seed: int,
    imbalance: Any = 1.0,
    draws: int | None = None,
) -> dict[str, Any]:
    """Independent normal weights w ~ N(0, scale²), with an imbalance between layers.

    Parameters
    ----------
    network : Network
    scale : float or DataArray
        σ. Labelled arrays are swept over, with the same draws at every point.
    seed : int
    imbalance : float or DataArray
        υ: first layers have the scale σ/υ, last ones συ, those between lie between in proportion.
    draws : int, optional
        That many independent draws, a sweep dim ``draw``.

    Returns
    -------
    dict of str to array
        By edge.

    Examples
    --------
    >>> import odekit as ok
    >>> net = ok.linear.deep([4, 3, 2])
    >>> ok.linear.normal(net, 0.1, seed=0, draws=5)["W1"].sizes["draw"]
    5
    """
    sigma, upsilon = nonnegative("scale", scale), positive("imbalance", imbalance)
    rng = np.random.default_rng(count("seed", seed, most=2**63, least=0))
    lead = () if draws is None else (count("draws", draws, most=10**9),)
    total = sum(int(np.prod(network.shape(e))) for e in network.edges) * int(np.prod(lead))
    if total > MOST_NUMBERS:
        raise ProblemError("draws", f"must give at most {MOST_NUMBERS} weights", str(total), "")
    place = _depths(network)
    weights = {}
    for name, (start, end) in network.edges.items():
        z = rng.standard_normal((*lead, *network.shape(name)))
        factor: Any = sigma * upsilon ** place[name]
        if not lead and not is_labelled(factor):
            weights[name] = factor * z
            continue
        import xarray as xr

        dims = (*(("draw",) if lead else ()), end, start)
        product = factor * xr.DataArray(z, dims=dims)
        weights[name] = product.transpose(
            *(d for d in product.dims if d not in (end, start)), end, start
        )
    return weights


def _depths(network: Network) -> dict[str, float]:
    """Where each edge lies along its paths: −1 for first layers, 1 for last ones, on average."""
    found: dict[str, list[float]] = {name: [] for name in network.edges}
    for steps in network.paths.values():
        for i, name in enumerate(steps):
            found[name].append(2.0 * i / (len(steps) - 1) - 1.0 if len(steps) > 1 else 0.0)
    return {name: float(np.mean(places)) for name, places in found.items()}


def balanced(
    network: Network, scale: float, *, seed: int, imbalance: float = 0.0, draws: int | None = None
) -> dict[str, Any]:
    """Random weights that are exactly λ-balanced: W₂ᵀW₂ − W₁W₁ᵀ = λ I at every inner node.

    Parameters
    ----------
    network : Network
        One chain of layers; of two for λ ≠ 0.
    scale : float
        Singular values of the layer with the smaller ones, the same for all modes.
    seed : int
        Of the singular vectors.
    imbalance : float
        λ. The hidden layer must not be wider than the output if λ > 0, than the input if λ < 0:
        that layer's weights need full rank.
    draws : int, optional
        That many independent draws, a sweep dim ``draw``.

    Returns
    -------
    dict of str to array

    Examples
    --------
    >>> import odekit as ok
    >>> W = ok.linear.balanced(ok.linear.deep([3, 2, 3]), 0.1, seed=0, imbalance=2.0)
    >>> (W["W2"].T @ W["W2"] - W["W1"] @ W["W1"].T).round(12) + 0.0
    array([[2., 0.],
           [0., 2.]])
    """
    steps, widths = _chain(network)
    size, lam = float(number("scale", scale)), float(number("imbalance", imbalance))
    if lam != 0.0:
        if len(steps) != 2:
            rule = "must be 0 but for networks of two layers"
            raise ProblemError("imbalance", rule, f"{lam:g} for {len(steps)}", "")
        node, bound = ("output", widths[2]) if lam > 0 else ("input", widths[0])
        if widths[1] > bound:
            raise ProblemError(
                "imbalance",
                f"must be 0 where the hidden layer ({widths[1]}) is wider than {node} ({bound})",
                f"{lam:g}",
                "Weights of smaller rank cannot differ by λ I.",
            )
    rng = np.random.default_rng(count("seed", seed, most=2**63, least=0))
    many = 1 if draws is None else count("draws", draws, most=10**9)
    bases = [_bases(rng, many, n) for n in widths]
    rank = min(widths)
    weights = {}
    for i, name in enumerate(steps):
        own = np.zeros((widths[i + 1], widths[i]))
        least = max(lam, 0.0) if i == 1 else max(-lam, 0.0)
        full = min(own.shape)
        values = np.sqrt(np.where(np.arange(full) < rank, size * size, 0.0) + least)
        own[np.arange(full), np.arange(full)] = values
        W = bases[i + 1] @ own @ np.swapaxes(bases[i], 1, 2)
        weights[name] = W[0] if draws is None else _drawn(W, network.edges[name])
    return weights


def _bases(rng: np.random.Generator, many: int, n: int) -> Any:
    """Random orthogonal matrices."""
    q, r = np.linalg.qr(rng.standard_normal((many, n, n)))
    return q * np.sign(np.einsum("...ii->...i", r))[:, None, :]


def _drawn(values: Any, ends: tuple[str, str]) -> Any:
    import xarray as xr

    return xr.DataArray(values, dims=("draw", ends[1], ends[0]))


def _chain(network: Network) -> tuple[list[str], list[int]]:
    """Edges and widths of a network that is one chain."""
    if len(network.paths) != 1:
        raise ProblemError("network", "must be one chain of layers", f"{len(network.paths)} paths")
    (steps,) = network.paths.values()
    widths = [network.nodes[network.edges[steps[0]][0]]]
    return list(steps), widths + [network.shape(name)[0] for name in steps]


def aligned(network: Network, target: Any, strengths: Any) -> dict[str, Any]:
    """Weights along the modes of a target, so that every mode learns by itself.

    Parameters
    ----------
    network : Network
        One chain of layers.
    target : array_like, shape (outputs, inputs)
        Its singular vectors are taken at both ends, the unit vectors at hidden layers.
    strengths : array_like, shape (layers,) or (layers, modes)
        Singular values of each layer's weights.

    Returns
    -------
    dict of str to array

    Examples
    --------
    >>> import odekit as ok
    >>> W = ok.linear.aligned(ok.linear.deep([2, 2, 2]), [[2.0, 0.0], [0.0, 1.0]], [0.1, 0.2])
    >>> abs(W["W2"] @ W["W1"]).round(6)
    array([[0.02, 0.  ],
           [0.  , 0.02]])
    """
    steps, widths = _chain(network)
    where = (widths[-1], widths[0])
    U, _, Vt = np.linalg.svd(array("target", target, ("output", "input"), where))
    values = as_floats("strengths", strengths, "numbers (layers, modes)")
    modes = min(widths)
    if values.shape not in ((len(steps),), (len(steps), modes)):
        rule = f"must have shape ({len(steps)},) or ({len(steps)}, {modes})"
        raise ProblemError("strengths", rule, str(values.shape), "")
    values = np.broadcast_to(values.reshape(len(steps), -1), (len(steps), modes))
    weights = {}
    for i, name in enumerate(steps):
        W = np.zeros((widths[i + 1], widths[i]))
        W[np.arange(modes), np.arange(modes)] = values[i]
        W = U @ W if i == len(steps) - 1 else W
        weights[name] = W @ Vt if i == 0 else W
    return weights
