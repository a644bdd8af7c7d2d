"""Builders of common networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from odekit.base.checks import choice, count, flag
from odekit.base.errors import ProblemError
from odekit.systems.linear.network import MOST_PATHS, MOST_WIDTH, Network

BIAS = "one"
"""Node that holds the constant input 1."""
MOST_DEPTH = 1000


def deep(widths: Sequence[int], *, bias: bool | str = False) -> Network:
    """A chain of layers, input to output.

    Parameters
    ----------
    widths : sequence of int
        Units of the input, the hidden layers and the output.
    bias : bool or {"hidden", "output"}
        Whether every layer has a bias, or hidden layers alone, or the output: an edge from a node
        ``one`` of one unit, whose input is the constant 1.

    Returns
    -------
    Network
        Nodes ``input, hidden (hidden1, hidden2, …), output``; edges ``W1, W2, …``, ``b1, b2, …``;
        paths ``main`` and, with biases, ``bias1, bias2, …``, each from its layer on. Biases have
        the numbers of their layers.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.linear.deep([3, 5, 2]).edges
    {'W1': ('input', 'hidden'), 'W2': ('hidden', 'output')}
    >>> ok.linear.deep([3, 5, 2], bias=True).paths["bias1"]
    ('b1', 'W2')
    >>> list(ok.linear.deep([3, 5, 2], bias="output").edges)
    ['W1', 'W2', 'b2']
    """
    if isinstance(widths, str) or not isinstance(widths, Sequence) or len(widths) < 2:
        raise ProblemError("widths", "must hold two layers or more", repr(widths)[:80], "")
    layers = [count(f"widths[{i}]", n, most=MOST_WIDTH) for i, n in enumerate(widths)]
    depth = len(layers) - 1
    hidden = ["hidden"] if depth == 2 else [f"hidden{i}" for i in range(1, depth)]
    names = ["input", *hidden, "output"]
    nodes = dict(zip(names, layers, strict=True))
    edges = {f"W{i + 1}": (names[i], names[i + 1]) for i in range(depth)}
    paths = {"main": tuple(edges)}
    biased = _biased(bias, depth)
    if biased:
        nodes[BIAS] = 1
        for i in biased:
            edges[f"b{i}"] = (BIAS, names[i])
            paths[f"bias{i}"] = (f"b{i}", *(f"W{j}" for j in range(i + 1, depth + 1)))
    return Network(nodes, edges, paths)


def _biased(bias: bool | str, depth: int) -> list[int]:
    """Layers that have a bias."""
    if isinstance(bias, str):
        choice("bias", bias, ("hidden", "output"))
        return [*range(1, depth)] if bias == "hidden" else [depth]
    return [*range(1, depth + 1)] if flag("bias", bias) else []


def multimodal(
    inputs: Mapping[str, int], output: int, *, depth: int, fusion: int, width: int
) -> Network:
    """Several inputs whose pathways fuse in a chosen layer.

    Parameters
    ----------
    inputs : dict of str to int
        Units of every modality, by name.
    output : int
        Units of the output.
    depth : int
        Layers of weights from an input to the output, L.
    fusion : int
        How many of them each modality has for itself, 1 to L: 1 is the earliest fusion, L the
        latest, in the output.
    width : int
        Units of each hidden layer, for each modality before the fusion.

    Returns
    -------
    Network
        Edges ``W1_a, …`` of modality a, then ``W3, …`` shared; one path for each modality, of its
        name with ``_path``.

    Examples
    --------
    >>> import odekit as ok
    >>> net = ok.linear.multimodal({"a": 2, "b": 2}, 1, depth=3, fusion=2, width=4)
    >>> net.paths
    {'a_path': ('W1_a', 'W2_a', 'W3'), 'b_path': ('W1_b', 'W2_b', 'W3')}
    """
    L = count("depth", depth, most=MOST_DEPTH)
    own = count("fusion", fusion, most=L)
    nodes = {name: count(f"inputs[{name!r}]", n, most=MOST_WIDTH) for name, n in inputs.items()}
    edges: dict[str, tuple[str, str]] = {}
    paths = {}
    for name in inputs:
        layers = [name, *(f"{name}_hidden{i}" for i in range(1, own))]
        layers += ["output" if i == L else f"hidden{i}" for i in range(own, L + 1)]
        nodes.update((n, width) for n in layers[1:] if n not in nodes)
        steps = [f"W{i}_{name}" if i <= own else f"W{i}" for i in range(1, L + 1)]
        edges.update(zip(steps, pairwise(layers), strict=True))
        paths[f"{name}_path"] = tuple(steps)
    nodes["output"] = output
    return Network(nodes, edges, paths)


def pathways(
    names: Sequence[str], *, input: int, hidden: int, output: int, depth: int = 2
) -> Network:
    """Several pathways side by side, each with hidden layers of its own, to be gated or frozen.

    Parameters
    ----------
    names : sequence of str
        Names of the paths; the gates of `Correlations.from_contexts` go by them.
    input, hidden, output : int
        Units of the input, of each hidden layer, and of the output.
    depth : int
        Layers of weights of each path.

    Returns
    -------
    Network
        Edges ``W1_a, W2_a, …`` of path a, by way of the node ``hidden_a``, or ``hidden1_a,
        hidden2_a, …``.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.linear.pathways(["left", "right"], input=2, hidden=1, output=1).paths["left"]
    ('W1_left', 'W2_left')
    >>> ok.linear.pathways(["x", "y"], input=8, hidden=8, output=15, depth=4).edges["W2_y"]
    ('hidden1_y', 'hidden2_y')
    """
    layers = count("depth", depth, most=MOST_DEPTH)
    nodes, paths = {"input": input}, {}
    edges: dict[str, tuple[str, str]] = {}
    for name in names:
        own = [f"hidden_{name}"] if layers == 2 else [f"hidden{i}_{name}" for i in range(1, layers)]
        nodes.update(dict.fromkeys(own, hidden))
        steps = [f"W{i}_{name}" for i in range(1, layers + 1)]
        edges.update(zip(steps, pairwise(["input", *own, "output"]), strict=True))
        paths[name] = tuple(steps)
    return Network({**nodes, "output": output}, edges, paths)


def routing(
    domains: int, offsets: Sequence[int], *, input: int, hidden: int, output: int, depth: int = 3
) -> Network:
    """Many inputs and as many outputs by way of shared hidden layers (Saxe et al. 2022).

    Parameters
    ----------
    domains : int
        M inputs, and M outputs.
    offsets : sequence of int
        Input i is trained with the outputs i + offset, modulo M: K different ones.
    input, hidden, output : int
        Units of each input, of each hidden layer, and of each output.
    depth : int
        Layers of weights along a path, 2 or more.

    Returns
    -------
    Network
        Nodes ``in0, in1, …``, ``h1, h2, …``, ``out0, out1, …``; edges ``A_0, A_1, …`` from the
        inputs, ``B`` (``B1, B2, …``) between the hidden layers, ``C_0, C_1, …`` to the outputs;
        M K paths, ``p_i_j`` from input i to output j. `Correlations.one_at_a_time` has the data.

    Examples
    --------
    >>> import odekit as ok
    >>> net = ok.linear.routing(7, (-1, 0, 1, 2), input=4, hidden=64, output=7)
    >>> len(net.paths), net.paths["p_0_6"], net.edges["B"]
    (28, ('A_0', 'B', 'C_6'), ('h1', 'h2'))
    """
    many = count("domains", domains, most=MOST_PATHS)
    layers = count("depth", depth, most=MOST_DEPTH, least=2)
    steps = _offsets(offsets, many)
    shared = [f"h{i}" for i in range(1, layers)]
    between = ["B"] if layers == 3 else [f"B{i}" for i in range(1, layers - 1)]
    nodes = {f"in{i}": input for i in range(many)}
    nodes |= {**dict.fromkeys(shared, hidden), **{f"out{j}": output for j in range(many)}}
    edges = {f"A_{i}": (f"in{i}", shared[0]) for i in range(many)}
    edges |= dict(zip(between, pairwise(shared), strict=True))
    edges |= {f"C_{j}": (shared[-1], f"out{j}") for j in range(many)}
    pairs = [(i, (i + step) % many) for i in range(many) for step in steps]
    return Network(nodes, edges, {f"p_{i}_{j}": (f"A_{i}", *between, f"C_{j}") for i, j in pairs})


def _offsets(offsets: Sequence[int], many: int) -> list[int]:
    if isinstance(offsets, str) or not isinstance(offsets, Sequence) or not offsets:
        raise ProblemError("offsets", "must be a list of whole numbers", repr(offsets)[:80], "")
    steps = [count(f"offsets[{i}]", x, most=many, least=-many) for i, x in enumerate(offsets)]
    if len({step % many for step in steps}) < len(steps):
        rule = f"must lead to different outputs, modulo {many}"
        raise ProblemError("offsets", rule, str(steps)[:80], "Leave out what comes twice.")
    return steps
