"""Correlations over contexts: gates, targets and inputs may differ from one to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import array, as_floats, is_labelled
from odekit.base.errors import ProblemError
from odekit.systems.linear.correlations import Correlations, gate, known_paths, pairs

if TYPE_CHECKING:
    from odekit.systems.linear.network import Network

Blocks = dict[tuple[str, str], Floats]


def of_one_input(
    network: Network, xx: Any, yx: Any, gates: Mapping[str, Any], probabilities: Any
) -> Correlations:
    """Contexts of paths from one input, of one covariance, to one output."""
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        rule = "must lead from one input to one output along all paths"
        remedy = "For others give the moments of each context by node."
        raise ProblemError("network", rule, f"{network.inputs} to {network.outputs}", remedy)
    ends = (network.outputs[0], network.inputs[0])
    shape = (network.nodes[ends[0]], network.nodes[ends[1]])
    if not len(yx):
        raise ProblemError("yx", "must hold one matrix for each context", "none", "")
    maps = np.stack([np.asarray(array(f"yx[{i}]", m, ends, shape)) for i, m in enumerate(yx)])
    other = (ends[1], f"{ends[1]}_other")
    X = np.asarray(array("xx", xx, other, (shape[1], shape[1])))
    weight = _weights(len(maps), probabilities)
    g = _gates(network, gates, len(maps))
    own = np.einsum("cyx,xz,cyz->c", maps, np.linalg.pinv(X), maps)
    return Correlations(
        yx={q: np.einsum("c,c,cyx->yx", weight, g[q], maps) for q in g},
        xx={q: {r: (weight @ (g[q] * g[r])) * X for r in g} for q in g},
        yy=float(weight @ own),
    )


def of_inputs(
    network: Network, xx: Any, yx: Any, gates: Mapping[str, Any], probabilities: Any
) -> Correlations:
    """Contexts that have inputs, and targets, of their own."""
    count = len(xx)
    if not isinstance(yx, Sequence) or len(yx) != count:
        rule = f"must be one mapping from outputs for each of the {count} contexts of `xx`"
        raise ProblemError("yx", rule, repr(yx)[:80], "")
    weight, g = _weights(count, probabilities), _gates(network, gates, count)
    X = [_moments(network, one, f"xx[{c}]") for c, one in enumerate(xx)]
    Y = [_targets(network, one, X[c], f"yx[{c}]") for c, one in enumerate(yx)]
    ends = {p: network.ends(p) for p in network.paths}
    full_yx = {p: np.zeros((network.nodes[b], network.nodes[a])) for p, (a, b) in ends.items()}
    full_xx: dict[str, dict[str, Floats]] = {q: {} for q in network.paths}
    for q, p in pairs(network):
        a, b = ends[q][0], ends[p][0]
        full_xx[q][p] = np.zeros((network.nodes[a], network.nodes[b]))
        for c in range(count):
            block = X[c].get((a, b))
            if block is not None:
                full_xx[q][p] = full_xx[q][p] + weight[c] * g[q][c] * g[p][c] * block
    for p, (a, b) in ends.items():
        for c in range(count):
            if (b, a) in Y[c]:
                full_yx[p] = full_yx[p] + weight[c] * g[p][c] * Y[c][b, a]
    yy = sum(w * _explained(network, x, y) for w, x, y in zip(weight, X, Y, strict=True))
    return Correlations(full_yx, full_xx, float(yy))


def one_at_a_time(network: Network, yx: Any, xx: Any, yy: Any) -> Correlations:
    """Inputs of which no two are there at once."""
    known_paths("yx", yx if isinstance(yx, Mapping) else {}, network.paths)
    _known_nodes("xx", xx if isinstance(xx, Mapping) else {}, network.inputs, "inputs")
    full_xx: dict[str, dict[str, Any]] = {q: {} for q in network.paths}
    for q, p in pairs(network):
        a, b = network.ends(q)[0], network.ends(p)[0]
        if a == b:
            full_xx[q][p] = _of(xx, a, "xx")
        else:
            full_xx[q][p] = np.zeros((network.nodes[a], network.nodes[b]))
    return Correlations({p: _of(yx, p, "yx") for p in network.paths}, full_xx, yy)


def _of(given: Any, name: str, argument: str) -> Any:
    if isinstance(given, Mapping) and name not in given:
        raise ProblemError(f"{argument}[{name!r}]", "must be given", "nothing", "")
    value = given[name] if isinstance(given, Mapping) else given
    return value if is_labelled(value) else as_floats(argument, value, "a matrix of numbers")


def _weights(count: int, probabilities: Any) -> Floats:
    p = np.full(count, 1.0 / count) if probabilities is None else probabilities
    weight = as_floats("probabilities", p, "one number for each context")
    if weight.shape != (count,) or np.any(weight < 0) or abs(weight.sum() - 1) > 1e-9:
        rule = f"must be {count} numbers >= 0 that sum to 1"
        raise ProblemError("probabilities", rule, str(weight), "")
    return weight


def _gates(network: Network, gates: Mapping[str, Any], count: int) -> dict[str, Floats]:
    known_paths("gates", gates, network.paths)
    return {p: gate(p, gates.get(p), count) for p in network.paths}


def _known_nodes(where: str, given: Any, known: Sequence[str], what: str) -> None:
    if not isinstance(given, Mapping):
        raise ProblemError(where, f"must be a mapping from {what}", repr(given)[:80], "")
    for name in given:
        if name not in known:
            listed = ", ".join(map(repr, known))
            raise ProblemError(where, f"must name {what} of the network ({listed})", repr(name), "")


def _moments(network: Network, given: Any, where: str) -> Blocks:
    """Σ_xx of every pair of inputs that a context has; 0 for pairs that it does not relate."""
    _known_nodes(where, given, network.inputs, "inputs")
    found: Blocks = {}
    for a, value in given.items():
        rows = value if isinstance(value, Mapping) else {a: value}
        _known_nodes(f"{where}[{a!r}]", rows, network.inputs, "inputs")
        for b, block in rows.items():
            place, dims = f"{where}[{a!r}][{b!r}]", (a, f"{b}_other" if a == b else b)
            shape = (network.nodes[a], network.nodes[b])
            found[a, b] = np.asarray(array(place, block, dims, shape))
            found.setdefault((b, a), found[a, b].T)
    present = {a for pair in found for a in pair}
    for a in present:
        for b in present:
            found.setdefault((a, b), np.zeros((network.nodes[a], network.nodes[b])))
    return found


def _targets(network: Network, given: Any, moments: Blocks, where: str) -> Blocks:
    """Σ_yx of every output and input of a context."""
    _known_nodes(where, given, network.outputs, "outputs")
    found: Blocks = {}
    for y, row in given.items():
        _known_nodes(f"{where}[{y!r}]", row, network.inputs, "inputs")
        for x, block in row.items():
            place = f"{where}[{y!r}][{x!r}]"
            if (x, x) not in moments:
                rule = "must be with inputs that the context has"
                raise ProblemError(place, rule, repr(x), "Give their Σ_xx.")
            shape = (network.nodes[y], network.nodes[x])
            found[y, x] = np.asarray(array(place, block, (y, x), shape))
    return found


def _explained(network: Network, moments: Blocks, targets: Blocks) -> float:
    """Part of E|y|² in one context that a linear map of all its inputs could give."""
    inputs = [a for a in network.inputs if (a, a) in moments]
    X = np.block([[moments[a, b] for b in inputs] for a in inputs])
    total = 0.0
    for y in {y for y, _ in targets}:
        zero = {x: np.zeros((network.nodes[y], network.nodes[x])) for x in inputs}
        row = np.concatenate([targets.get((y, x), zero[x]) for x in inputs], axis=1)
        total += float(np.sum((row @ np.linalg.pinv(X, hermitian=True)) * row))
    return total
