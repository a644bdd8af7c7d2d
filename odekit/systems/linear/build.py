"""Builders of common networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from odekit.base.checks import count
from odekit.base.errors import ProblemError
from odekit.systems.linear.network import MOST_WIDTH, Network

BIAS = "one"
"""Node that holds the constant input 1."""


def deep(widths: Sequence[int], *, bias: bool = False) -> Network:
    """A chain of layers, input to output.

    Parameters
    ----------
    widths : sequence of int
        Units of the input, the hidden layers and the output.
    bias : bool
        Whether every layer has a bias: an edge from a node ``one`` of one unit, whose input is the
        constant 1.

    Returns
    -------
    Network
        Nodes ``input, hidden (hidden1, hidden2, …), output``; edges ``W1, W2, …``, ``b1, b2, …``;
        paths ``main`` and, with biases, ``bias1, bias2, …``, each from its layer on.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.linear.deep([3, 5, 2]).edges
    {'W1': ('input', 'hidden'), 'W2': ('hidden', 'output')}
    >>> ok.linear.deep([3, 5, 2], bias=True).paths["bias1"]
    ('b1', 'W2')
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
    if bias:
        nodes[BIAS] = 1
        for i in range(1, depth + 1):
            edges[f"b{i}"] = (BIAS, names[i])
            paths[f"bias{i}"] = (f"b{i}", *(f"W{j}" for j in range(i + 1, depth + 1)))
    return Network(nodes, edges, paths)


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
    L = count("depth", depth, most=1000)
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


def pathways(names: Sequence[str], *, input: int, hidden: int, output: int) -> Network:
    """Several two-layer pathways side by side, each with a hidden layer of its own, to be gated.

    Parameters
    ----------
    names : sequence of str
        Names of the paths; the gates of `Correlations.from_contexts` go by them.
    input, hidden, output : int
        Units of the input, of the hidden layer of each path, and of the output.

    Returns
    -------
    Network
        Edges ``W1_a`` and ``W2_a`` of path a, by way of the node ``hidden_a``.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.linear.pathways(["left", "right"], input=2, hidden=1, output=1).paths["left"]
    ('W1_left', 'W2_left')
    """
    nodes = {"input": input, **{f"hidden_{name}": hidden for name in names}, "output": output}
    edges, paths = {}, {}
    for name in names:
        edges[f"W1_{name}"] = ("input", f"hidden_{name}")
        edges[f"W2_{name}"] = (f"hidden_{name}", "output")
        paths[name] = (f"W1_{name}", f"W2_{name}")
    return Network(nodes, edges, paths)
