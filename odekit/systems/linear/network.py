"""Graphs of linear layers: nodes, the edges that carry weights, and the paths along them."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from odekit.base.checks import RESERVED, count
from odekit.base.errors import ProblemError

MOST_PATHS = 1024
MOST_WIDTH = 16_384
OWN_NAMES = frozenset(["path", "mode", "target_strength", "mode_strength", "mode_alignment"])


@dataclass(frozen=True)
class Network:
    """A gated deep linear network without its weights: y = Σ_p g_p W_p x_p.

    Parameters
    ----------
    nodes : dict of str to int
        Number of units of each layer.
    edges : dict of str to (str, str)
        The nodes that each weight matrix leads from and to.
    paths : dict of str to sequence of str, optional
        Edges of every path from its input to its output. By default all paths from nodes into which
        no edge leads to those that no edge leaves, named by their edges ("main" if there is one).

    Raises
    ------
    ProblemError
        If an edge or a path does not connect, the edges form a cycle, or no path has an edge.

    Examples
    --------
    >>> import odekit as ok
    >>> net = ok.linear.Network({"x": 3, "h": 2, "y": 1}, {"W1": ("x", "h"), "W2": ("h", "y")})
    >>> net.paths, net.shape("W1"), net.ends("main")
    ({'main': ('W1', 'W2')}, (2, 3), ('x', 'y'))
    """

    nodes: Mapping[str, int]
    edges: Mapping[str, tuple[str, str]]
    paths: Any = None

    def __post_init__(self) -> None:
        nodes = {
            plain_name("nodes", name): count(f"nodes[{name!r}]", size, most=MOST_WIDTH)
            for name, size in _mapping("nodes", self.nodes).items()
        }
        object.__setattr__(self, "nodes", nodes)
        edges = {
            plain_name("edges", name): _edge(name, ends, nodes)
            for name, ends in _mapping("edges", self.edges).items()
        }
        object.__setattr__(self, "edges", edges)
        _check_acyclic(edges)
        found = self._all_paths() if self.paths is None else _mapping("paths", self.paths)
        paths = {
            plain_name("paths", name): _path(name, steps, edges) for name, steps in found.items()
        }
        object.__setattr__(self, "paths", paths)
        self._check_names()

    def _check_names(self) -> None:
        unused = set(self.edges) - {e for path in self.paths.values() for e in path}
        if unused:
            raise ProblemError(
                "paths", "must use every edge", f"none uses {sorted(unused)}", "Leave these out."
            )
        names = [*self.nodes, *(f"{n}_other" for n in self.nodes), *self.edges]
        names += [f"map_{path}" for path in self.paths]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ProblemError(
                "edges",
                "must have other names than the nodes; map_... and ..._other belong to the result",
                ", ".join(map(repr, twice)),
                "Rename one of them.",
            )

    def _all_paths(self) -> dict[str, tuple[str, ...]]:
        """Paths from sources to sinks."""
        into = {to for _, to in self.edges.values()}
        out = {start for start, _ in self.edges.values()}
        unfinished: list[tuple[str, ...]] = [
            (e,) for e, (start, _) in self.edges.items() if start not in into
        ]
        finished: list[tuple[str, ...]] = []
        while unfinished:
            steps = unfinished.pop(0)
            end = self.edges[steps[-1]][1]
            if end not in out:
                finished.append(steps)
            unfinished += [(*steps, e) for e, (start, _) in self.edges.items() if start == end]
            if len(unfinished) + len(finished) > MOST_PATHS:
                raise ProblemError(
                    "paths", f"must be given where there are more than {MOST_PATHS}", "None", ""
                )
        if len(finished) == 1:
            return {"main": finished[0]}
        return {"_".join(steps): steps for steps in finished}

    def shape(self, edge: str) -> tuple[int, int]:
        """Rows and columns of an edge's weights, (to, from)."""
        start, end = self.edges[edge]
        return self.nodes[end], self.nodes[start]

    def ends(self, path: str) -> tuple[str, str]:
        """Input and output node of a path."""
        steps = self.paths[path]
        return self.edges[steps[0]][0], self.edges[steps[-1]][1]

    @property
    def inputs(self) -> list[str]:
        """Nodes at which paths begin."""
        return list(dict.fromkeys(self.ends(path)[0] for path in self.paths))

    @property
    def outputs(self) -> list[str]:
        """Nodes at which paths end."""
        return list(dict.fromkeys(self.ends(path)[1] for path in self.paths))

    @property
    def inner(self) -> list[str]:
        """Nodes that paths only pass through: these conserve a matrix."""
        ends = {*self.inputs, *self.outputs}
        return [node for node in self.nodes if node not in ends]

    @property
    def names(self) -> frozenset[str]:
        """Every name that its dataset uses for itself."""
        own = {*self.nodes, *(f"{n}_other" for n in self.nodes), *self.edges}
        return frozenset(own | {f"map_{path}" for path in self.paths} | OWN_NAMES)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "nodes": dict(self.nodes),
            "edges": {name: list(ends) for name, ends in self.edges.items()},
            "paths": {name: list(steps) for name, steps in self.paths.items()},
        }


def plain_name(argument: str, name: object) -> str:
    """A name that can be a variable or a dim of the dataset."""
    good = isinstance(name, str) and name.isidentifier() and name.isascii() and len(name) <= 64
    if not good or name in RESERVED or name in OWN_NAMES or str(name).startswith("problem_"):
        raise ProblemError(
            argument,
            "must have plain names (letters, digits, _) that nothing in the result has",
            repr(name),
            "Rename it.",
        )
    return str(name)


def _mapping(argument: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not value:
        raise ProblemError(argument, "must be a non-empty mapping from names", repr(value)[:80], "")
    return value


def _edge(name: str, ends: Any, nodes: Mapping[str, int]) -> tuple[str, str]:
    if isinstance(ends, str) or not isinstance(ends, Sequence) or len(ends) != 2:
        raise ProblemError(f"edges[{name!r}]", "must be (from, to)", repr(ends)[:80], "")
    for node in ends:
        if node not in nodes:
            known = ", ".join(map(repr, nodes))
            raise ProblemError(
                f"edges[{name!r}]", f"must join two of the nodes {known}", repr(node), ""
            )
    return str(ends[0]), str(ends[1])


def _check_acyclic(edges: Mapping[str, tuple[str, str]]) -> None:
    before: dict[str, set[str]] = {}
    for start, end in edges.values():
        before.setdefault(end, set()).add(start)
    try:
        graphlib.TopologicalSorter(before).prepare()
    except graphlib.CycleError as error:
        way = " -> ".join(error.args[1])
        raise ProblemError(
            "edges", "must not form a cycle", way, "Signals only go forward."
        ) from None


def _path(name: str, steps: Any, edges: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    where = f"paths[{name!r}]"
    if isinstance(steps, str) or not isinstance(steps, Sequence) or not steps:
        raise ProblemError(where, "must be a list of edges", repr(steps)[:80], "")
    for step in steps:
        if step not in edges:
            known = ", ".join(map(repr, edges))
            raise ProblemError(where, f"must name edges of the network ({known})", repr(step), "")
    for first, second in pairwise(steps):
        reached, begins = edges[first][1], edges[second][0]
        if reached != begins:
            raise ProblemError(
                where,
                "must go on where the edge before ends",
                f"{first!r} to {reached!r}, then {second!r} from {begins!r}",
                "List the edges from the input to the output.",
            )
    return tuple(map(str, steps))
