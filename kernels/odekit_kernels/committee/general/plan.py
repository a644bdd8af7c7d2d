"""Sizes, the memory of a group of trajectories, the constants of a phase and the layout of states.

The state is flat: in each group of inputs in turn Q's upper triangle and R; the heads (H, O, K);
the biases (K,) if there are any. With a heavy ball the velocities ν follow: in each group their
overlaps with the units, (K, K) by velocity, with the fixed vectors, (K, P), and among themselves,
upper triangle; those of the heads (H, O, K), and of the biases (K,) if there are any. Last is B, of
adaptive rates.
"""

from __future__ import annotations

import functools
import math
from collections import namedtuple
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels.committee.activations import check
from odekit_kernels.lanes.memory import MACHINERY, lay_out, machinery

__all__ = [
    "ADAGRAD",
    "CONSTANT",
    "RMS",
    "GeneralPlan",
    "Sizes",
    "Wiring",
    "constants",
    "layout",
    "make_plan",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

CONSTANT, ADAGRAD, RMS = range(3)
"""Rates as they are, over √B, or over √(B + ϵ)."""


class Sizes(NamedTuple):
    """What decides the layout of the memory.

    Attributes
    ----------
    K, P, O, H : int
        Units, fixed vectors (copies included), outputs, heads.
    S, c, W : int
        Tasks of the phase (a cluster is one), consolidations in force, watched tasks.
    G, V : int
        Groups of inputs, and laws of the inputs: what tasks and clusters may differ in.
    activation : int
        Of the students: a code of `odekit_kernels.committee.activations`.
    online : int
        1 if the η² term is there, 0 in gradient flow.
    biases, heavy : int
        1 if units have biases, and if there is a heavy ball.
    adaptive : int
        `CONSTANT`, `ADAGRAD` or `RMS`.
    means : int
        0 where no field can have a mean: no law, bias or bias of a fixed vector gives it one. Then
        moments of two fields take a fifth of the time.
    """

    K: int
    P: int
    O: int = 1
    H: int = 1
    S: int = 1
    c: int = 0
    W: int = 0
    G: int = 1
    V: int = 1
    activation: int = 0
    online: int = 1
    biases: int = 0
    heavy: int = 0
    adaptive: int = CONSTANT
    means: int = 1


class Wiring(NamedTuple):
    """What all trajectories of a batch share; arrays are C-contiguous.

    Attributes
    ----------
    head, law : ndarray of int64, shape (S,)
        Head that each task of the phase trains and answers with, and its law of the inputs.
    move : ndarray, shape (K,)
        1.0 where the unit's first-layer weights move, 0.0 where they are frozen.
    width : ndarray, shape (D,)
        Widths s of the fields, as `activations.means` takes them: 1 is erf(x/√2), 0 the sign (of
        fixed vectors alone), `STRAIGHT` (−1) the identity of linear units.
    anchor : ndarray of int64, shape (c, K)
        Which fixed vectors are the copies a_k of each consolidation.
    v_head : ndarray of int64, shape (c,)
        Head that its readout penalty holds.
    watched_head, watched_law : ndarray of int64, shape (W,)
        The same of the watched tasks.
    """

    head: Indices
    law: Indices
    move: Array
    width: Array
    anchor: Indices
    v_head: Indices
    watched_head: Indices
    watched_law: Indices


NUMBERS = (
    "inverse_batch",
    "kappa_w",
    "kappa_v",
    "eta_w",
    "eta_v",
    "eta_b",
    "friction",
    "forget",
    "floor",
)

CONSTANTS = (
    *("share", "pace", "T", "bias", "u", "label", "sigma", "p", "keep"),
    *("ss", "st", "tt", "gain", "mean", *NUMBERS, "F", "F_v", "v_anchor"),
    *("watched", "watched_label", "level", "scale"),
)


def blocks(size: Any) -> dict[str, tuple[int, ...]]:
    """Shape of every block of the memory, but for the integrators' own."""
    K, P, O, G, V, S, W, c = (getattr(size, name) for name in ("K", "P", "O", *"GVSWc"))
    D, triangle = K + P, K * (K + 1) // 2
    L = D + K * size.heavy
    laws = dict.fromkeys(("ss", "st", "tt", "gain"), (V, G))
    fixed = {"overlaps": (G, D, L), "coef": (S, O, D), "watched": (W, O, D), "bias": (D,)}
    tasks = {"label": (S, O), "sigma": (S, O), "p": (S,), "watched_label": (W, O)}
    units = {"keep": (K,), "scale": (K,), "share": (G,), "pace": (G,), "mean": (V, P)}
    pulls = {"F": (c, G, K), "F_v": (c, K), "v_anchor": (c, O, K)}
    fields = {"C": (D, D), "M": (D,), "e": (D,), "I2": (D, D), "T_a": (D,), "T_aa": (D,)}
    heads = {"H_ka": (S, K, D), "H0": (S, K), "cbar": (K, D), "c0": (K,)}
    pairs = {"own": (K,), "E": (K, D), "h_k": (K,), "S_kl": (triangle,)}
    steps = {"A": (G, K, L), "power": (G, triangle), "drift": (K,)}
    numbers: dict[str, tuple[int, ...]] = dict.fromkeys(NUMBERS, ())
    groups = (fixed, tasks, units, laws, pulls, numbers, heads, fields, pairs, steps)
    return {name: shape for group in groups for name, shape in group.items()}


OWN = [*Sizes._fields, "D", "L", *blocks(Sizes(1, 1))]
_namedtuple: Any = namedtuple
GeneralPlan: Any = _namedtuple("GeneralPlan", [*dict.fromkeys([*OWN, *MACHINERY])])
"""Sizes, and the first index of each block, row-major, in a group's memory, besides `MACHINERY`.

D : K + P; L : passive vectors of a group, D and with a heavy ball K velocities more;
overlaps : (G, D, L) of all fields with all passive vectors, fixed ones from the phase's T;
coef : (S, O, D), c = (−V, u) of the tasks, watched : (W, O, D) of the watched ones; bias : (D,);
C, M : (D, D), (D,) covariance and means of the fields under a law;
H_ka, H0 : (S, K, D), (S, K), H_ka = Σ_o V_ok c_oa and H⁰_k; cbar, c0 : (K, D), (K,) their means
over the tasks of a law, of what answers;
own, E, h_k : D_k, E_ka and h_k; e, I2 : (D,), (D, D); S_kl : (K (K + 1)/2,) of a law;
A, power, drift : (G, K, L), (G, K (K + 1)/2), (K,) steps of the units, their η² terms, and steps of
the biases, over all laws; T_a, T_aa : (D,) tilted means and variances.
The others are constants of a phase: see `constants`.
"""


def layout(size: Any) -> dict[str, tuple[int, tuple[int, ...]]]:
    """First entry and shape of every block of a state, in order.

    Parameters
    ----------
    size : Sizes or GeneralPlan

    Returns
    -------
    dict
        "overlaps" (G, K (K + 1)/2 + K P), "heads" (H, O, K); "biases" (K,) if there are any; with a
        heavy ball "velocities" (G, K² + K P + K (K + 1)/2), "head_velocities" (H, O, K) and
        "bias_velocities" (K,); "accumulated" (1,), B, of adaptive rates.

    Examples
    --------
    >>> layout(Sizes(K=2, P=1, biases=1))
    {'overlaps': (0, (1, 5)), 'heads': (5, (1, 1, 2)), 'biases': (7, (2,))}
    """
    K, P, heads = size.K, size.P, (size.H, size.O, size.K)
    triangle = K * (K + 1) // 2
    blocks: dict[str, tuple[int, ...]] = {"overlaps": (size.G, triangle + K * P), "heads": heads}
    if size.biases:
        blocks["biases"] = (K,)
    if size.heavy:
        blocks["velocities"] = (size.G, K * K + K * P + triangle)
        blocks["head_velocities"] = heads
        if size.biases:
            blocks["bias_velocities"] = (K,)
    if size.adaptive:
        blocks["accumulated"] = (1,)
    first, found = 0, {}
    for name, shape in blocks.items():
        found[name] = (first, shape)
        first += math.prod(shape)
    return found


@functools.lru_cache
def make_plan(size: Sizes, stages: int = 0) -> Any:
    """Lay out the memory of a group of trajectories.

    Parameters
    ----------
    size : Sizes
    stages : int
        Stages of the integrator; 0 for what is asked of states alone.

    Returns
    -------
    GeneralPlan

    Raises
    ------
    ValueError
        If the activation has no such code.
    """
    D = size.K + size.P
    first, last = list(layout(size).values())[-1]
    n = first + math.prod(last)
    own = {name: math.prod(shape) for name, shape in blocks(size).items()}
    sizes = {**machinery(n, size.W, stages), **own}
    check(size.activation)
    known = {"D", "L", "n", "size", *Sizes._fields}
    places = lay_out((name for name in GeneralPlan._fields if name not in known), sizes)
    return GeneralPlan(**{**size._asdict(), **places}, D=D, L=D + size.K * size.heavy, n=n)


def constants(m: Any) -> dict[str, Indices]:
    """Every constant of a phase by name, in the order of a row: where it goes in a group's memory.

    The arrays have the shapes of the constants, and are not to be written to:

    share, pace (G,) : fractions f_τ, and rates of the first layer over η_w
    T (G, P, P) : overlaps of the fixed vectors
    bias (P,) : biases of the fixed vectors
    u (S, O, P), label, sigma (S, O), p (S,) : teachers' readouts, y, noise and probability of tasks
    keep (K,) : probability that a unit answers
    ss, st, tt (V, G) : second moments of what students see, of that and what teachers see, of that
    gain (V, G) : a of the students
    mean (V, P) : coefficients s of the mean over the fixed vectors
    inverse_batch, kappa_w, kappa_v, eta_w, eta_v, eta_b : as everywhere
    friction, forget, floor : γ of the heavy ball, γ and ϵ of RMS-norm
    F (c, G, K), F_v (c, K), v_anchor (c, O, K) : consolidations in force
    watched (W, O, P), watched_label (W, O), level (W,) : of watched tasks: readouts, y, thresholds
    scale (K,) : factor of the heads at test, in errors
    """
    return dict(_constants(m))


@functools.lru_cache
def _constants(m: Any) -> dict[str, Indices]:
    K, shapes = m.K, blocks(m)

    def block(name: str) -> Indices:
        shape = shapes[name]
        return np.arange(math.prod(shape)).reshape(shape) + int(getattr(m, name))

    found = {name: block(name) for name in CONSTANTS if name in shapes}
    found["T"] = block("overlaps")[:, K:, K : m.D]
    found["bias"] = block("bias")[K:]
    found["u"], found["watched"] = block("coef")[..., K:], block("watched")[..., K:]
    found["level"] = np.arange(m.W) + m.level
    every = {name: np.asarray(found[name], dtype=np.int64) for name in CONSTANTS}
    for places in every.values():
        places.flags.writeable = False
    return every
