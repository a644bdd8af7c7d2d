"""Edges and paths of gated linear networks as index arrays, and the memory that they need."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels.lanes.memory import MACHINERY, lay_out, machinery

__all__ = [
    "GatedPlan",
    "GatedWork",
    "Paths",
    "Single",
    "constants",
    "make_paths",
    "make_plan",
    "make_work",
]

Indices = NDArray[np.int64]

OWN = "T E rates decays table watched below back spare direction tangents slant"
FIELDS = [*OWN.split(), *MACHINERY]

# One of a network of small matrices in lanes, one of a single trajectory. Two types of one shape:
# `multiply` goes by the type.
_namedtuple: Any = namedtuple
GatedPlan: Any = _namedtuple("GatedPlan", FIELDS)
"""Sizes, and the first index of each block in a group's memory, besides those of `MACHINERY`.

E : 0 where all edges have one rate and no decay, else their number; rates, decays : of each, (E,);
T : size of a table of correlations (`table_size`); table, watched : the one trained on, (T,), and
those of watched tasks, (W, T); below : products along the paths; back : two matrices that go back
along a path; spare : one product; direction, tangents, slant : for derivatives along a direction,
that direction, and those of `below` and of `back`.
"""
Single: Any = _namedtuple("Single", FIELDS)


class Paths(NamedTuple):
    """Edges and paths of a network as index arrays.

    Attributes
    ----------
    rows, cols, place : ndarray of int64, shape (edges,)
        Sizes of W_e, (to, from), and where it is in the state.
    first : ndarray of int64, shape (paths + 1,)
        Where each path begins in `edge`.
    edge, below : ndarray of int64, shape (steps of all paths,)
        Edges from the input to the output; where the product up to this edge is in `below`,
        −1 for a path's first edge, where it is W_e itself.
    inputs : ndarray of int64, shape (paths,)
        Size of each path's input.
    yx : ndarray of int64, shape (paths,)
        Where Σ_yx(p) is in a table.
    xx : ndarray of int64, shape (paths, paths)
        Where Σ_xx(q, p) is in a table; −1 for paths to different outputs.
    """

    rows: Indices
    cols: Indices
    place: Indices
    first: Indices
    edge: Indices
    below: Indices
    inputs: Indices
    yx: Indices
    xx: Indices


class GatedWork(NamedTuple):
    """What Jacobians of single trajectories of a batch are computed in.

    Attributes
    ----------
    memory : ndarray, shape (plan.size,)
    plan : Single
    """

    memory: NDArray[np.float64]
    plan: Any


def make_work(w: Paths, by_edge: bool = False) -> GatedWork:
    """Allocate the memory for a network."""
    plan = make_plan(w, single=True, by_edge=by_edge)
    return GatedWork(np.zeros(plan.size), plan)


def constants(m: Any) -> dict[str, Indices]:
    """Every constant of a phase by name, in the order of a row: where it goes in a group's memory.

    The table trained on (T,), first of all; rates and decays of the edges (E,); the factor that
    all rates share; tables of the watched tasks (W, T), their levels (W,).
    """
    table = np.arange(m.T)
    return {
        "table": m.table + table,
        "rates": m.rates + np.arange(m.E),
        "decays": m.decays + np.arange(m.E),
        "eta_w": np.asarray(m.eta_w),
        "watched": m.watched + np.arange(m.W)[:, np.newaxis] * m.T + table,
        "level": m.level + np.arange(m.W),
    }


def make_paths(shapes: Sequence[tuple[int, int]], paths: Sequence[Sequence[int]], ends: Any) -> Any:
    """Index arrays of a network.

    Parameters
    ----------
    shapes : sequence of (int, int)
        Rows and columns of every edge's weights.
    paths : sequence of sequences of int
        Edges of every path, from its input to its output.
    ends : sequence
        Output of every path, equal for paths to the same node.

    Returns
    -------
    Paths
    """
    rows, cols = (np.array([shape[i] for shape in shapes], dtype=np.int64) for i in (0, 1))
    inputs = np.array([cols[path[0]] for path in paths], dtype=np.int64)
    outputs = np.array([rows[path[-1]] for path in paths], dtype=np.int64)
    below, end = [], 0
    for path, columns in zip(paths, inputs, strict=True):
        below.append(-1)
        for e in path[1:]:
            below.append(end)
            end += int(rows[e] * columns)
    yx = np.concatenate([[0], np.cumsum(outputs * inputs)])
    xx, end = np.full((len(paths), len(paths)), -1), int(yx[-1])
    for q, p in np.ndindex(*xx.shape):
        if ends[q] == ends[p]:
            xx[q, p] = end
            end += int(inputs[q] * inputs[p])
    return Paths(
        rows=rows,
        cols=cols,
        place=np.cumsum(rows * cols) - rows * cols,
        first=np.concatenate([[0], np.cumsum([len(path) for path in paths])]).astype(np.int64),
        edge=np.concatenate(paths).astype(np.int64),
        below=np.array(below, dtype=np.int64),
        inputs=inputs,
        yx=yx[:-1].astype(np.int64),
        xx=xx.astype(np.int64),
    )


def table_size(w: Paths) -> int:
    """Numbers of a table: Σ_yx(p) by path, Σ_xx(q, p) by pair, E|y|²."""
    outputs = w.rows[w.edge[w.first[1:] - 1]]
    pairs = np.where(w.xx >= 0, np.multiply.outer(w.inputs, w.inputs), 0)
    return int((outputs * w.inputs).sum() + pairs.sum()) + 1


def make_plan(
    w: Paths, watched: int = 0, stages: int = 0, *, single: bool = False, by_edge: bool = False
) -> Any:
    """Lay out the memory of a group.

    Parameters
    ----------
    w : Paths
    watched : int
        Tasks whose errors end a phase.
    stages : int
        Stages of the integrator.
    single : bool
        Whether for one trajectory: with room for derivatives, and large products through BLAS.
    by_edge : bool
        Whether edges have rates of their own, or decay.

    Returns
    -------
    GatedPlan or Single
    """
    n, T = int((w.rows * w.cols).sum()), table_size(w)
    long = np.repeat(w.inputs, np.diff(w.first))
    products = int(np.where(w.below >= 0, w.rows[w.edge] * long, 0).sum())
    widest = int(max((np.maximum(w.rows, w.cols)[w.edge] * long).max(), (w.rows * w.cols).max()))
    edges = w.rows.size if by_edge else 0
    sizes = {
        **machinery(n, watched, stages),
        "rates": edges,
        "decays": edges,
        "table": T,
        "watched": watched * T,
        "below": products,
        "back": 2 * widest,
        "spare": widest if single else 0,
        "direction": n if single else 0,
        "tangents": products if single else 0,
        "slant": 2 * widest if single else 0,
    }
    known = ("T", "E", "n", "W", "size")
    places = lay_out((name for name in FIELDS if name not in known), sizes)
    return (Single if single else GatedPlan)(T=T, E=edges, n=n, W=watched, **places)
