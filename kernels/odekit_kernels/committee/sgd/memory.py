"""What a network reads, and what it reads and writes, as it learns by SGD."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels.simd import WIDTH

__all__ = ["PAD", "Memory", "Rule", "make_memory", "padded"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

PAD = 4 * WIDTH
"""Rows over inputs are padded with zeros to a multiple of this, so that no loop has a remainder."""


_NONE = np.zeros((0, 0))
_EMPTY = np.zeros(0)


class Rule(NamedTuple):
    """What is constant in a phase; arrays are C-contiguous, rows over inputs padded.

    Attributes
    ----------
    N : int
        Input dimension.
    B : ndarray, shape (P, L)
        Fixed vectors that the tasks of the phase read; L is N padded.
    u : ndarray, shape (S O, P)
        Teacher readouts of the S tasks, a row for each of their O outputs; fields of vectors that
        a task does not read are not computed. With labels given, P = 0.
    sigma : ndarray, shape (S O,)
        Standard deviations of their label noise.
    p : ndarray, shape (S,)
        Their probabilities.
    head : ndarray of int64, shape (S,)
        Head that each trains.
    move : ndarray, shape (K,)
        0.0 for frozen units.
    kappa_w, kappa_v : float
        Weight decay of the two layers.
    F, Fa : ndarray, shape (K, L), or (0, L) without consolidation
        Importance of every weight, summed over consolidations, and the same times its copy.
    F_v, Fv : ndarray, shape (H O, K)
        The same for the readouts.
    inputs : ndarray, shape (n, L), or (0, L) for Gaussian inputs
        Samples to draw from.
    labels : ndarray, shape (S O, n), or (S O, 0) for labels by the fixed vectors
        Labels of each task.
    first, size : ndarray of int64, shape (S,)
        Where the samples of each task begin, and how many they are.
    drawn, gain, noise : ndarray, shape (S, L), or (0, L) where all inputs are alike
        The teacher sees drawn · z, the student gain · z + noise · ξ; noise (0, L) is none at all.
    pace : ndarray, shape (1, L), or (0, L) for one
        Learning rate of the first layer at each input, over that of the phase.
    outputs : int
        O.
    constant : ndarray, shape (S O,), or (0,)
        What is added to the labels of each task.
    centre, seen : ndarray, shape (S, L), or (0, L) for none
        Mean of the inputs as the teacher sees them, and as the student does; with `drawn` only.
    shift : ndarray, shape (P,), or (0,)
        Biases of the fixed vectors.
    sign : bool
        Whether the fixed vectors answer with the sign of their fields.
    eta_b : float
        Learning rate of the biases.
    keep : ndarray, shape (K,), or (0,) for all
        Probability that each unit answers a sample.
    friction : float
        γ of heavy ball, whose velocity keeps 1 − γ/N in a step; see `Memory.velocity`.
    gather, forget, floor : float
        A step adds (gather |∇|² − forget B)/N to the B of an adaptive rate η/√(B + floor), ∇ the
        gradient of the first layer; see `Memory.power`.
    """

    N: int
    B: Array
    u: Array
    sigma: Array
    p: Array
    head: Indices
    move: Array
    kappa_w: float
    kappa_v: float
    F: Array
    Fa: Array
    F_v: Array
    Fv: Array
    inputs: Array
    labels: Array
    first: Indices
    size: Indices
    drawn: Array = _NONE
    gain: Array = _NONE
    noise: Array = _NONE
    pace: Array = _NONE
    outputs: int = 1
    constant: Array = _EMPTY
    centre: Array = _NONE
    seen: Array = _NONE
    shift: Array = _EMPTY
    sign: bool = False
    eta_b: float = 0.0
    keep: Array = _EMPTY
    friction: float = 0.0
    gather: float = 0.0
    forget: float = 0.0
    floor: float = 0.0


class Memory(NamedTuple):
    """What one network reads and writes as it learns.

    Attributes
    ----------
    W : ndarray, shape (K, L)
        First layer; columns beyond N are zero.
    v : ndarray, shape (H O, K)
        Readouts, a row for each output of the H heads.
    streams : ndarray of uint64, shape (2, 3)
        Random numbers for inputs, and for choices and noise (see `stream.normals`).
    x : ndarray, shape (b, L)
        Inputs of a step, as the student sees them.
    lam, rho : ndarray, shape (b, K), (b, P)
        Local fields.
    out, slope, teacher : ndarray, shape (b, K), (b, K), (b, P)
        g(λ), g'(λ) and g(ρ); only those of vectors that the sample's task reads. Units that do
        not answer have zeros.
    a : ndarray, shape (b, K)
        Update of the first layer still to be made: w_k += Σ_j a_jk x_j.
    dv, trained : ndarray, shape (H O, K), (H,)
        Sum over the batch of g(λ_k) δ, and share of the samples that train each head.
    label : ndarray, shape (b O,)
        What the fixed vectors do not say of each label: its noise, and the label itself if given.
    task, row : ndarray of int64, shape (b,)
        Task of each sample of a step, and its place among the inputs.
    given : ndarray, shape (b, L), or (0, L) where it is `x`
        Inputs of a step as the teacher sees them.
    bias, db : ndarray, shape (K,), or (0,) for none
        Biases of the units, and the batch's mean of Σ_o V_ok g'(λ_k) δ_o.
    mask : ndarray, shape (b, K), or (b, 0) where every unit answers
        1.0 for units that answer a sample.
    velocity : ndarray, shape (K, L), or (0, L) without heavy ball
        What the weights move by, w += velocity/N; it gathers the steps of plain SGD.
    velocity_v, velocity_b : ndarray, shape (H O, K), (1, K), or without rows
        The same for readouts and biases.
    power : ndarray, shape (1,), or (0,) without an adaptive rate
        B.
    gram : ndarray, shape (b, b), or (0, 0)
        Products of the inputs of a step, for B.
    """

    W: Array
    v: Array
    streams: NDArray[np.uint64]
    x: Array
    lam: Array
    rho: Array
    out: Array
    slope: Array
    teacher: Array
    a: Array
    dv: Array
    trained: Array
    label: Array
    task: Indices
    row: Indices
    given: Array
    bias: Array
    db: Array
    mask: Array
    velocity: Array
    velocity_v: Array
    velocity_b: Array
    power: Array
    gram: Array


def padded(rows: Array) -> Array:
    """Rows with zeros after them, to a multiple of `PAD`."""
    n = rows.shape[1]
    return np.ascontiguousarray(np.pad(rows, [(0, 0), (0, -n % PAD)]))


def make_memory(
    W: Array,
    v: Array,
    streams: NDArray[np.uint64],
    batch: int,
    rule: Rule,
    bias: Array = _EMPTY,
    velocities: tuple[Array, Array, Array] | None = None,
    power: Array = _EMPTY,
) -> Memory:
    """Memory for a network whose numbers are not copied.

    Parameters
    ----------
    W, v, bias
        As in `Memory`; W is padded.
    streams : ndarray of uint64, shape (2, 3)
    batch : int
    rule : Rule
    velocities : tuple of ndarray, optional
        Those of W, v and bias (1, K), with heavy ball.
    power : ndarray, shape (1,), or (0,)
    """
    K, L = W.shape
    none = np.zeros((0, L)), np.zeros((0, K)), np.zeros((0, K))
    velocity, velocity_v, velocity_b = none if velocities is None else velocities
    P = len(rule.B)
    return Memory(
        W=W,
        v=v,
        streams=streams,
        x=np.zeros((batch, L)),
        lam=np.zeros((batch, K)),
        rho=np.zeros((batch, P)),
        out=np.zeros((batch, K)),
        slope=np.zeros((batch, K)),
        teacher=np.zeros((batch, P)),
        a=np.zeros((batch, K)),
        dv=np.zeros_like(v),
        trained=np.zeros(len(v) // rule.outputs),
        label=np.zeros(batch * rule.outputs),
        task=np.zeros(batch, dtype=np.int64),
        row=np.zeros(batch, dtype=np.int64),
        given=np.zeros((batch if len(rule.drawn) else 0, L)),
        bias=bias,
        db=np.zeros_like(bias),
        mask=np.ones((batch, len(rule.keep))),
        velocity=velocity,
        velocity_v=velocity_v,
        velocity_b=velocity_b,
        power=power,
        gram=np.zeros((batch, batch) if len(power) else (0, 0)),
    )
