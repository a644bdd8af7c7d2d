"""Initial weights: random, exactly balanced, or aligned with a target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from odekit.base.checks import (
    array,
    as_floats,
    count,
    flag,
    is_labelled,
    nonnegative,
    number,
    positive,
)
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
    scale : float or DataArray, or a dict of them by edge
        σ. Labelled arrays are swept over, with the same draws at every point. See `path_scales` for
        scales that are balanced where paths share layers.
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
    sigma, upsilon = _by_edge(network, "scale", scale), positive("imbalance", imbalance)
    rng = np.random.default_rng(count("seed", seed, most=2**63, least=0))
    lead = () if draws is None else (count("draws", draws, most=10**9),)
    total = sum(int(np.prod(network.shape(e))) for e in network.edges) * int(np.prod(lead))
    if total > MOST_NUMBERS:
        raise ProblemError("draws", f"must give at most {MOST_NUMBERS} weights", str(total), "")
    place = _depths(network)
    weights = {}
    for name, (start, end) in network.edges.items():
        z = rng.standard_normal((*lead, *network.shape(name)))
        factor: Any = sigma[name] * upsilon ** place[name]
        weights[name] = _times(factor, z, (end, start), bool(lead))
    return weights


def _times(factor: Any, values: Any, core: tuple[str, str], drawn: bool) -> Any:
    """A matrix, or drawn ones, times a number that may be swept."""
    if not drawn and not is_labelled(factor):
        return factor * values
    import xarray as xr

    product = factor * xr.DataArray(values, dims=("draw", *core) if drawn else core)
    return product.transpose(*(d for d in product.dims if d not in core), *core)


def _by_edge(network: Network, argument: str, given: Any) -> dict[str, Any]:
    """A number >= 0 for every edge, of one for all or of a mapping."""
    if not isinstance(given, Mapping):
        return dict.fromkeys(network.edges, nonnegative(argument, given))
    for name in [*given, *network.edges]:
        if name not in network.edges or name not in given:
            known = ", ".join(map(repr, network.edges))
            raise ProblemError(f"{argument}[{name!r}]", f"must be there for {known}", "not so")
    return {e: nonnegative(f"{argument}[{e!r}]", given[e]) for e in network.edges}


def path_scales(network: Network, start: Any) -> dict[str, Any]:
    """Sizes of a balanced start: u₀ times the root of the number of paths through each edge.

    The squares of what leads into an inner node then sum to those of what leaves it, as gradient
    flow conserves: layers that k modalities share have √k u₀, their own ones u₀.

    Parameters
    ----------
    network : Network
    start : float or DataArray
        u₀ >= 0, of an edge on a single path.

    Returns
    -------
    dict of str to float or DataArray
        By edge, for `normal`, `orthogonal` and `aligned`.

    Examples
    --------
    >>> import odekit as ok
    >>> net = ok.linear.multimodal({"a": 1, "b": 1}, 1, depth=2, fusion=1, width=1)
    >>> ok.linear.path_scales(net, 1.0)
    {'W1_a': 1.0, 'W2': 1.4142135623730951, 'W1_b': 1.0}
    """
    size = nonnegative("start", start)
    steps = [e for path in network.paths.values() for e in path]
    return {e: size * math.sqrt(steps.count(e)) for e in network.edges}


def orthogonal(
    network: Network, scale: Any, *, seed: int, draws: int | None = None
) -> dict[str, Any]:
    """Independent random matrices whose singular values are all equal.

    Parameters
    ----------
    network : Network
    scale : float or DataArray, or a dict of them by edge
        The singular values, the gain; labelled arrays are swept over, with the same draws.
    seed : int
    draws : int, optional
        That many independent draws, a sweep dim ``draw``.

    Returns
    -------
    dict of str to array
        By edge: columns, or rows if these are fewer, are orthogonal and of length `scale`.

    Examples
    --------
    >>> import odekit as ok
    >>> W = ok.linear.orthogonal(ok.linear.deep([2, 4, 3]), 0.5, seed=0)["W1"]
    >>> (W.T @ W).round(12) + 0.0
    array([[0.25, 0.  ],
           [0.  , 0.25]])
    """
    sizes = _by_edge(network, "scale", scale)
    rng = np.random.default_rng(count("seed", seed, most=2**63, least=0))
    many = 1 if draws is None else count("draws", draws, most=10**9)
    weights = {}
    for name, (start, end) in network.edges.items():
        rows, cols = network.shape(name)
        wide = _bases(rng, many, max(rows, cols), min(rows, cols))
        W = wide if rows >= cols else np.swapaxes(wide, 1, 2)
        weights[name] = _times(sizes[name], W if draws else W[0], (end, start), draws is not None)
    return weights


def _depths(network: Network) -> dict[str, float]:
    """Where each edge lies along its paths: −1 for first layers, 1 for last ones, on average."""
    found: dict[str, list[float]] = {name: [] for name in network.edges}
    for steps in network.paths.values():
        for i, name in enumerate(steps):
            found[name].append(2.0 * i / (len(steps) - 1) - 1.0 if len(steps) > 1 else 0.0)
    return {name: float(np.mean(places)) for name, places in found.items()}


def balanced(
    network: Network,
    scale: float,
    *,
    seed: int,
    imbalance: float = 0.0,
    draws: int | None = None,
    normal: bool = False,
) -> dict[str, Any]:
    """Random weights that are exactly λ-balanced: W₂ᵀW₂ − W₁W₁ᵀ = λ I at every inner node.

    Parameters
    ----------
    network : Network
        One chain of layers; of two for λ ≠ 0 and for normal weights.
    scale : float
        Of the layer with the smaller weights: its singular values, the same for all modes.
    seed : int
        Of the singular vectors.
    imbalance : float
        λ. The hidden layer must not be wider than the output if λ > 0, than the input if λ < 0:
        that layer's weights need full rank.
    draws : int, optional
        That many independent draws, a sweep dim ``draw``.
    normal : bool
        Whether the smaller layer's weights are N(0, scale²) instead; at λ = 0 those of the layer of
        smaller rank, else of the one with more weights, else of the first.

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
    random = flag("normal", normal)
    _check_balance(widths, lam, random)
    rng = np.random.default_rng(count("seed", seed, most=2**63, least=0))
    many = 1 if draws is None else count("draws", draws, most=10**9)
    layers = (
        _from_normal(rng, many, widths, size, lam)
        if random
        else _from_bases(rng, many, widths, size, lam)
    )
    return {
        name: W[0] if draws is None else _drawn(W, network.edges[name])
        for name, W in zip(steps, layers, strict=True)
    }


def _check_balance(widths: Sequence[int], lam: float, random: bool) -> None:
    """Refuse what no weights of these widths can have."""
    if (lam != 0.0 or random) and len(widths) != 3:
        name, wanted = ("imbalance", "0") if lam != 0.0 else ("normal", "False")
        rule = f"must be {wanted} but for networks of two layers"
        given = f"{lam:g} for {len(widths) - 1}" if lam != 0.0 else f"True for {len(widths) - 1}"
        raise ProblemError(name, rule, given, "")
    node, bound = ("output", widths[-1]) if lam > 0 else ("input", widths[0])
    if lam != 0.0 and widths[1] > bound:
        raise ProblemError(
            "imbalance",
            f"must be 0 where the hidden layer ({widths[1]}) is wider than {node} ({bound})",
            f"{lam:g}",
            "Weights of smaller rank cannot differ by λ I.",
        )


def _from_bases(
    rng: np.random.Generator, many: int, widths: Sequence[int], size: float, lam: float
) -> list[Any]:
    """Layers with singular values that are all `size`, or √(size² + |λ|)."""
    bases = [_bases(rng, many, n) for n in widths]
    rank, layers = min(widths), []
    for i in range(len(widths) - 1):
        own = np.zeros((widths[i + 1], widths[i]))
        least = max(lam, 0.0) if i == 1 else max(-lam, 0.0)
        full = min(own.shape)
        values = np.sqrt(np.where(np.arange(full) < rank, size * size, 0.0) + least)
        own[np.arange(full), np.arange(full)] = values
        layers.append(bases[i + 1] @ own @ np.swapaxes(bases[i], 1, 2))
    return layers


def _from_normal(
    rng: np.random.Generator, many: int, widths: Sequence[int], size: float, lam: float
) -> list[Any]:
    """Two layers, the smaller one normal, the other a random rotation of (its square + |λ|)^½."""
    ranks = [(min(pair), -pair[0] * pair[1]) for pair in pairwise(widths)]
    mirrored = lam < 0 or (lam == 0 and ranks[1] < ranks[0])
    first, hidden, last = widths[::-1] if mirrored else widths
    one = size * rng.standard_normal((many, hidden, first))
    V, s, _ = np.linalg.svd(one, full_matrices=True)
    values = np.full((many, hidden), np.sqrt(abs(lam)))
    values[:, : s.shape[1]] = np.sqrt(s * s + abs(lam))
    kept = min(hidden, last)  # the others are 0
    turned = _bases(rng, many, last, kept) * values[:, None, :kept]
    two = turned @ np.swapaxes(V, 1, 2)[:, :kept]
    return [np.swapaxes(two, 1, 2), np.swapaxes(one, 1, 2)] if mirrored else [one, two]


def _bases(rng: np.random.Generator, many: int, n: int, columns: int | None = None) -> Any:
    """Random orthogonal matrices, or some of their columns."""
    q, r = np.linalg.qr(rng.standard_normal((many, n, columns or n)))
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
        Whose paths all lead from so many inputs to so many outputs as the target has.
    target : array_like, shape (outputs, inputs)
        Its singular vectors are taken at both ends of all paths, the unit vectors at inner nodes.
    strengths : array_like, shape (layers,) or (layers, modes); or a dict by edge
        Singular values of each layer's weights: of one chain in order, of any network by edge,
        each a number, which may be labelled to be swept over, or an array (modes,).

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
    >>> net = ok.linear.pathways(["x", "y"], input=2, hidden=2, output=2, depth=4)
    >>> W = ok.linear.aligned(net, [[2.0, 0.0], [0.0, 1.0]], dict.fromkeys(net.edges, 0.1))
    >>> W["W2_y"]
    array([[0.1, 0. ],
           [0. , 0.1]])
    """
    where = _ends(network)
    U, _, Vt = np.linalg.svd(array("target", target, ("output", "input"), where))
    modes = min(network.nodes.values())
    given = _strengths(network, strengths, modes)
    weights = {}
    for name, (start, end) in network.edges.items():
        value = given[name]
        W = np.zeros(network.shape(name))
        W[np.arange(modes), np.arange(modes)] = 1.0 if is_labelled(value) else value
        W = U @ W if end in network.outputs else W
        W = W @ Vt if start in network.inputs else W
        weights[name] = _times(value, W, (end, start), False) if is_labelled(value) else W
    return weights


def _ends(network: Network) -> tuple[int, int]:
    """Numbers of outputs and of inputs, the same for all paths."""
    for name, (start, end) in network.edges.items():
        if start in network.outputs or end in network.inputs:
            rule = "must have no edge from an output or into an input"
            raise ProblemError("network", rule, f"{name!r} from {start!r} to {end!r}", "")
    inputs = {network.nodes[n] for n in network.inputs}
    outputs = {network.nodes[n] for n in network.outputs}
    if len(inputs) > 1 or len(outputs) > 1:
        rule = "must have as many units at every input, and at every output"
        raise ProblemError("network", rule, f"{sorted(inputs)} and {sorted(outputs)}", "")
    return outputs.pop(), inputs.pop()


def _strengths(network: Network, given: Any, modes: int) -> dict[str, Any]:
    """Singular values by edge: labelled numbers, or arrays (modes,)."""
    if isinstance(given, Mapping):
        found = {}
        for name in [*given, *network.edges]:
            where = f"strengths[{name!r}]"
            if name not in network.edges or name not in given:
                known = ", ".join(map(repr, network.edges))
                raise ProblemError(where, f"must be there for {known}", "not so")
            found[name] = given[name]
            if not is_labelled(given[name]):
                values = as_floats(where, given[name], "a number or an array (modes,)")
                if values.shape not in ((), (modes,)):
                    rule = f"must have shape () or ({modes},)"
                    raise ProblemError(where, rule, str(values.shape), "")
                found[name] = np.broadcast_to(values, (modes,))
        return found
    steps, _ = _chain(network)
    values = as_floats("strengths", given, "numbers (layers, modes)")
    if values.shape not in ((len(steps),), (len(steps), modes)):
        rule = f"must have shape ({len(steps)},) or ({len(steps)}, {modes})"
        raise ProblemError("strengths", rule, str(values.shape), "")
    rows = np.broadcast_to(values.reshape(len(steps), -1), (len(steps), modes))
    return dict(zip(steps, rows, strict=True))
