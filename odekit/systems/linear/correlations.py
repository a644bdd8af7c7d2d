"""What a linear network sees of its data: second moments of gated inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import array, as_floats, is_labelled, nonnegative
from odekit.base.errors import ProblemError

if TYPE_CHECKING:
    from odekit.systems.linear.network import Network

TOLERANCE = 1e-9
"""Deviation from symmetry, and most negative eigenvalue, relative to the largest entry."""


@dataclass(frozen=True, eq=False)
class Correlations:
    """Second moments of one task, over the samples that the gates of each path let through.

    Parameters
    ----------
    yx : dict of str to array_like, shape (outputs, inputs)
        Σ_yx(p) = E[y (g_p x_p)ᵀ] by path; of a network with one path the matrix alone.
    xx : dict of str to dict of str to array_like, shape (inputs of q, inputs of p)
        Σ_xx(q, p) = E[(g_q x_q)(g_p x_p)ᵀ] by path q, then p, for paths to the same output. Either
        of (q, p) and (p, q) will do, and of one path the matrix alone.
    yy : float, optional
        E|y|², all outputs together. By default as much as the inputs explain, so that the least
        loss is zero.

    Arrays may be `xarray.DataArray` over the nodes' names (the second of two equal ones with
    ``_other``) and dims of a sweep. They are checked as they become part of a problem.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.linear.Correlations(yx=[[2.0, 0.0], [0.0, 1.0]], xx=[[1.0, 0.0], [0.0, 1.0]]).yy is None
    True
    """

    yx: Any
    xx: Any
    yy: Any = None

    @classmethod
    def from_samples(
        cls,
        network: Network,
        inputs: Mapping[str, Any],
        targets: Mapping[str, Any],
        gates: Mapping[str, Any] | None = None,
    ) -> Correlations:
        """Averages over samples.

        Parameters
        ----------
        network : Network
        inputs, targets : dict of str to array_like, shape (samples, units)
            By input and output node. A node of one unit that has no inputs is a constant 1: a bias.
        gates : dict of str to array_like, shape (samples,), optional
            g_p of each sample, by path; 1 where none is given.

        Examples
        --------
        >>> import odekit as ok
        >>> net = ok.linear.deep([1, 1, 1])
        >>> x = {"input": [[1.0], [-1.0]]}
        >>> ok.linear.Correlations.from_samples(net, x, {"output": [[2.0], [-2.0]]}).yx["main"]
        array([[2.]])
        """
        y = {n: _samples(f"targets[{n!r}]", targets, n, network) for n in network.outputs}
        count = len(next(iter(y.values())))
        x = {n: _inputs(inputs, n, network, count) for n in network.inputs}
        for what, given in (("inputs", x), ("targets", y)):
            for node, values in given.items():
                if len(values) != count:
                    raise ProblemError(
                        f"{what}[{node!r}]", f"must have {count} samples", str(len(values)), ""
                    )
        g = {p: gate(p, (gates or {}).get(p), count) for p in network.paths}
        known_paths("gates", gates or {}, network.paths)
        gated = {p: g[p][:, None] * x[network.ends(p)[0]] for p in network.paths}
        out = {p: network.ends(p)[1] for p in network.paths}
        return cls(
            yx={p: y[out[p]].T @ gated[p] / count for p in network.paths},
            xx={
                q: {p: gated[q].T @ gated[p] / count for p in network.paths if out[p] == out[q]}
                for q in network.paths
            },
            yy=float(sum(np.mean(np.sum(v**2, axis=1)) for v in y.values())),
        )

    @classmethod
    def from_contexts(
        cls,
        network: Network,
        xx: Any,
        yx: Sequence[Any],
        gates: Mapping[str, Sequence[float]] | None = None,
        probabilities: Sequence[float] | None = None,
    ) -> Correlations:
        """Averages over contexts.

        Parameters
        ----------
        network : Network
        xx : array_like, shape (inputs, inputs), or sequence of dict
            Σ_xx, the same in every context, where all paths lead from one input to one output.
            Else of each context ``{input: Σ_xx}`` of the inputs that it has; inputs that are there
            together and depend on each other as ``{a: {a: Σ_aa, b: Σ_ab}, b: {b: Σ_bb}}``.
        yx : sequence of array_like, shape (outputs, inputs), or of dict
            Σ_yx in each context; or ``{output: {input: Σ_yx}}``, 0 where left out.
        gates : dict of str to sequence of float, optional
            g_p in each context, by path; 1 where none is given.
        probabilities : sequence of float, optional
            Of the contexts; equal by default.

        Raises
        ------
        ProblemError
            If shapes, names or numbers of contexts do not fit.

        Notes
        -----
        Inputs that are never together have Σ_xx(q, p) = 0 on their paths q and p. A constant input,
        a node of one unit for which nothing is given, is not: give its second moment, 1, and means.

        Examples
        --------
        >>> import odekit as ok
        >>> net = ok.linear.multimodal({"a": 1, "b": 1}, 1, depth=2, fusion=1, width=1)
        >>> found = ok.linear.Correlations.from_contexts(
        ...     net, xx=[{"a": [[1.0]]}, {"b": [[1.0]]}],
        ...     yx=[{"output": {"a": [[2.0]]}}, {"output": {"b": [[1.0]]}}])
        >>> found.yx["a_path"], found.xx["a_path"]["b_path"]
        (array([[1.]]), array([[0.]]))
        """
        from odekit.systems.linear import contexts

        if isinstance(xx, Sequence) and any(isinstance(one, Mapping) for one in xx):
            return contexts.of_inputs(network, xx, yx, gates or {}, probabilities)
        return contexts.of_one_input(network, xx, yx, gates or {}, probabilities)

    @classmethod
    def one_at_a_time(cls, network: Network, yx: Any, xx: Any, yy: Any = None) -> Correlations:
        """Inputs of which no two are there at once, each with the outputs that its paths lead to.

        Parameters
        ----------
        network : Network
        yx : array_like or DataArray, shape (outputs, inputs), or a dict of them by path
            Σ_yx(p), the same for all paths or by path.
        xx : array_like or DataArray, shape (inputs, inputs), or a dict of them by input
            Σ_xx of each input, the same for all or by node.
        yy : float, optional
            E|y|², all outputs together; by default as much as the inputs explain.

        Returns
        -------
        Correlations
            With Σ_xx(q, p) = 0 on paths from different inputs. They are sums over the inputs, not
            averages: each counts as in a network of its own.

        Examples
        --------
        >>> import odekit as ok
        >>> net = ok.linear.routing(2, (0, 1), input=1, hidden=1, output=1)
        >>> found = ok.linear.Correlations.one_at_a_time(net, yx=[[3.0]], xx=[[1.0]])
        >>> found.xx["p_0_1"]["p_0_1"], found.xx["p_0_1"]["p_1_1"]
        (array([[1.]]), array([[0.]]))
        """
        from odekit.systems.linear import contexts

        return contexts.one_at_a_time(network, yx, xx, yy)


def checked(given: Any, network: Network, where: str) -> Correlations:
    """Correlations of a network's paths in full, every one checked."""
    if not isinstance(given, Correlations):
        raise ProblemError(where, "must be Correlations", repr(given)[:80], "")
    paths = list(network.paths)
    yx, xx = given.yx, given.xx
    if len(paths) == 1:
        yx = yx if isinstance(yx, Mapping) else {paths[0]: yx}
        xx = xx if isinstance(xx, Mapping) else {paths[0]: {paths[0]: xx}}
    for name, value in (("yx", yx), ("xx", xx)):
        if not isinstance(value, Mapping):
            rule = f"must be a mapping from the paths {', '.join(map(repr, paths))}"
            raise ProblemError(f"{where}.{name}", rule, repr(value)[:80], "")
        known_paths(f"{where}.{name}", value, paths)
    full_yx = {p: _cross(yx, p, network, f"{where}.yx") for p in paths}
    full_xx: dict[str, dict[str, Any]] = {q: {} for q in paths}
    for q, p in pairs(network):
        full_xx[q][p] = _pair(xx, q, p, network, f"{where}.xx")
    _check_definite(full_xx, network, where)
    explained = _explained(full_yx, full_xx, network)
    if given.yy is None:
        return Correlations(full_yx, full_xx, nonnegative(f"{where}.yy", explained))
    yy = nonnegative(f"{where}.yy", given.yy)
    short: Any = explained - yy
    if np.any(np.asarray(short) > 1e-9 * np.asarray(explained + 0 * short)):
        least = float(np.max(np.asarray(explained)))
        raise ProblemError(
            f"{where}.yy",
            f"must be at least what the inputs explain, {least:.6g}",
            f"{float(np.min(np.asarray(yy))):.6g}",
            "It is E|y|². Leave it out for a target without noise.",
        )
    return Correlations(full_yx, full_xx, yy)


def pairs(network: Network) -> list[tuple[str, str]]:
    """Paths (q, p) to the same output, path by path."""
    paths = network.paths
    return [(q, p) for q in paths for p in paths if network.ends(q)[1] == network.ends(p)[1]]


def known_paths(argument: str, given: Mapping[str, Any], known: Any) -> None:
    """Refuse names that are of no path."""
    for name in given:
        if name not in known:
            listed = ", ".join(map(repr, known))
            raise ProblemError(argument, f"must name paths of the network ({listed})", repr(name))


def _samples(where: str, given: Mapping[str, Any], node: str, network: Network) -> Floats:
    if node not in given:
        raise ProblemError(where, "must be given", "nothing", "")
    values = as_floats(where, given[node], "an array (samples, units)")
    if values.ndim != 2 or values.shape[1] != network.nodes[node]:
        rule = f"must have shape (samples, {network.nodes[node]})"
        raise ProblemError(where, rule, str(values.shape), "Rows are samples.")
    return values


def _inputs(given: Mapping[str, Any], node: str, network: Network, count: int) -> Floats:
    if node not in given and network.nodes[node] == 1:
        return np.ones((count, 1))
    return _samples(f"inputs[{node!r}]", given, node, network)


def gate(path: str, given: Any, count: int) -> Floats:
    """g_p of every sample, or in every context."""
    if given is None:
        return np.ones(count)
    values = as_floats(f"gates[{path!r}]", given, "one number for each sample")
    if values.shape != (count,):
        rule = f"must have shape ({count},)"
        raise ProblemError(f"gates[{path!r}]", rule, str(values.shape), "")
    return values


def _cross(yx: Mapping[str, Any], p: str, network: Network, where: str) -> Any:
    start, end = network.ends(p)
    where = f"{where}[{p!r}]"
    if p not in yx:
        raise ProblemError(where, "must be given", "nothing", "")
    shape = (network.nodes[end], network.nodes[start])
    remedy = f"The path leads from {start!r} to {end!r}; rows are outputs."
    return array(where, yx[p], (end, start), shape, remedy)


def _pair(xx: Mapping[str, Any], q: str, p: str, network: Network, where: str) -> Any:
    a, b = network.ends(q)[0], network.ends(p)[0]
    dims, shape = (a, f"{b}_other" if a == b else b), (network.nodes[a], network.nodes[b])
    there, back = xx.get(q, {}).get(p), xx.get(p, {}).get(q)
    where = f"{where}[{q!r}][{p!r}]"
    if there is None and back is None:
        raise ProblemError(where, "must be given: both paths lead to one output", "nothing", "")
    if there is not None:
        return array(where, there, dims, shape, f"Rows are units of {a!r}, columns of {b!r}.")
    turned = (b, f"{a}_other" if a == b else a)
    whole = array(where, back, turned, shape[::-1], "")
    if not is_labelled(whole):
        return np.ascontiguousarray(whole.T)
    names = dict(zip(turned, dims[::-1], strict=True))
    flipped = whole.rename({k: v for k, v in names.items() if k != v} if a != b else {})
    if a == b:
        flipped = whole.rename({turned[0]: dims[1], turned[1]: dims[0]})
    return array(where, flipped, dims, shape, "")


def _whole(values: Any, core: int) -> tuple[tuple[str, ...], Any]:
    """Sweep dims and the plain array."""
    if not is_labelled(values):
        return (), np.asarray(values)
    return tuple(str(d) for d in values.dims[: values.ndim - core]), values.values


def _aligned(parts: Mapping[Any, Any]) -> tuple[dict[Any, Any], tuple[str, ...], dict[str, Any]]:
    """Plain arrays with all sweep dims of the parts, of length one where a part has none."""
    dims: dict[str, Any] = {}
    for value in parts.values():
        for d in _whole(value, 2)[0]:
            dims.setdefault(d, value.coords.get(d))
    found = {}
    for key, value in parts.items():
        own, plain = _whole(value, 2)
        order = [own.index(d) for d in dims if d in own]
        plain = np.transpose(plain, [*order, *range(len(own), len(own) + 2)])
        lead = iter(plain.shape[: len(own)])
        shape = [next(lead) if d in own else 1 for d in dims]
        found[key] = plain.reshape(*shape, *plain.shape[len(own) :])
    return found, tuple(dims), {d: c for d, c in dims.items() if c is not None}


def _blocks(paths: Sequence[str], parts: Mapping[Any, Any]) -> Any:
    """[[Σ_xx(q, p)]] of the paths to one output."""
    lead = np.broadcast_shapes(*(parts[q, p].shape[:-2] for q in paths for p in paths))
    full = [
        [np.broadcast_to(parts[q, p], (*lead, *parts[q, p].shape[-2:])) for p in paths]
        for q in paths
    ]
    return np.block(full)


def _check_definite(xx: Mapping[str, Mapping[str, Any]], network: Network, where: str) -> None:
    flat = {(q, p): value for q, row in xx.items() for p, value in row.items()}
    parts, _, _ = _aligned(flat)
    for q, p in flat:
        off = np.abs(parts[q, p] - np.swapaxes(parts[p, q], -1, -2)).max()
        if off > TOLERANCE * np.abs(parts[q, p]).max():
            raise ProblemError(
                f"{where}.xx[{q!r}][{p!r}]",
                f"must be the transpose of xx[{p!r}][{q!r}]",
                f"entries that differ by {off:.3g}",
                "They are correlations of the same inputs.",
            )
    for output in network.outputs:
        paths = [p for p in network.paths if network.ends(p)[1] == output]
        for some in [*([p] for p in paths), paths]:
            whole = _blocks(some, parts)
            least = float(np.linalg.eigvalsh(whole)[..., 0].min())
            if least < -TOLERANCE * np.abs(whole).max():
                several = "jointly, " if len(some) > 1 else ""
                raise ProblemError(
                    f"{where}.xx[{some[0]!r}]",
                    f"must be positive semidefinite ({several}paths {', '.join(map(repr, some))} "
                    f"to {output!r})",
                    f"an eigenvalue of {least:.3g}",
                    "No inputs have such correlations.",
                )


def _explained(yx: Mapping[str, Any], xx: Mapping[str, Mapping[str, Any]], network: Network) -> Any:
    """Σ over outputs of tr(Σ_yx Σ_xx⁺ Σ_yxᵀ): the part of E|y|² that a linear map can give."""
    flat: dict[Any, Any] = {(q, p): v for q, row in xx.items() for p, v in row.items()}
    parts, dims, coords = _aligned({**flat, **yx})
    total: Any = 0.0
    for output in network.outputs:
        paths = [p for p in network.paths if network.ends(p)[1] == output]
        X = _blocks(paths, parts)
        lead = np.broadcast_shapes(*(parts[p].shape[:-2] for p in paths))
        cross = [np.broadcast_to(parts[p], (*lead, *parts[p].shape[-2:])) for p in paths]
        Y = np.concatenate(cross, axis=-1)
        inverse = np.linalg.pinv(X, rcond=1e-12, hermitian=True)
        if np.any(np.abs(Y @ inverse @ X - Y) > 1e-6 * (1e-300 + np.abs(Y).max())):
            raise ProblemError(
                f"yx[{paths[0]!r}]",
                f"must vanish where the inputs of the paths to {output!r} do",
                "a correlation with an input that has no variance",
                "No data have such correlations.",
            )
        total = total + np.sum((Y @ inverse) * Y, axis=(-2, -1))
    if not dims:
        return float(total)
    import xarray as xr

    return xr.DataArray(total, dims=dims, coords=coords)
