"""What `transcription_inputs` says, as the kernels of the drive in full take it."""

from __future__ import annotations

import numpy as np

from odekit.integrate.packing import driven
from odekit_kernels.committee.activations import LINEAR
from odekit_kernels.committee.general.plan import Sizes, Wiring, constants
from odekit_kernels.integrators.batch import END, KEPT, NUMBERS, Batch
from odekit_kernels.integrators.stepping import Limits
from odekit_kernels.lanes.memory import make_memory, places_of


def laws_of(tasks, G, P):
    """Constants ss, st, tt, gain and mean of tasks that each have a law of their own."""
    m, a, s = (
        np.array([np.broadcast_to(getattr(t, name), G) for t in tasks], dtype=float)
        for name in ("variance", "gain", "input_noise")
    )
    mean = np.array([np.broadcast_to(t.mean, P) for t in tasks], dtype=float)
    return {"ss": a * a * m + s * s, "st": a * m, "tt": m, "gain": a, "mean": mean}


def outputs_of(tasks, name):
    """A number of each output of each task."""
    O = len(tasks[0].readout)
    return np.array([np.broadcast_to(getattr(t, name), O) for t in tasks], dtype=float)


def given_of(state, vectors, phase, scale=1.0):
    """Constants of a phase by name; each learning rate of a group over the largest."""
    (G, K, P), tasks = state.R.shape, phase.tasks
    eta = np.broadcast_to(phase.eta_w, G).astype(float)
    pull = np.zeros((0, G, K)) if phase.pull is None else phase.pull
    O = state.heads.shape[1]
    readouts = np.array([t.readout for t in tasks])
    return {
        "share": vectors.fractions,
        "pace": eta / eta.max() if eta.max() else np.ones(G),
        "T": vectors.T,
        "bias": np.broadcast_to(vectors.teacher_bias, P).astype(float),
        "u": readouts,
        "label": outputs_of(tasks, "label"),
        "sigma": outputs_of(tasks, "noise_std"),
        "p": phase.p,
        "keep": np.broadcast_to(phase.keep, K).astype(float),
        **laws_of(tasks, G, P),
        "inverse_batch": phase.inverse_batch,
        "kappa_w": phase.kappa_w,
        "kappa_v": phase.kappa_v,
        "eta_w": eta.max(),
        "eta_v": phase.eta_v,
        "eta_b": phase.eta_b,
        "friction": 0.0,
        "forget": 0.0,
        "floor": 0.0,
        "F": pull,
        "F_v": np.zeros((len(pull), K)),
        "v_anchor": np.zeros((len(pull), O, K)),
        "watched": readouts,
        "watched_label": outputs_of(tasks, "label"),
        "level": np.ones(len(tasks)),
        "scale": np.broadcast_to(scale, K).astype(float),
    }


def sizes_of(state, phase, **options):
    """Sizes of a phase whose tasks are all watched."""
    (G, K, P), S = state.R.shape, len(phase.tasks)
    H, O = state.heads.shape[:2]
    c = 0 if phase.pull is None else len(phase.pull)
    online = int(phase.inverse_batch != 0.0)
    return Sizes(K, P, O, H, S, c, S, G, S, **{"online": online, "biases": 1} | options)


def wiring_of(state, phase, width):
    """A law for each task."""
    K, S = len(state.bias), len(phase.tasks)
    head = np.array([t.head for t in phase.tasks], dtype=np.int64)
    law = np.arange(S)
    anchor = np.zeros((0, K)) if phase.anchor is None else phase.anchor
    return Wiring(
        head=head,
        law=law,
        move=np.broadcast_to(phase.move, K).astype(float).copy(),
        width=np.array(width, dtype=float),
        anchor=np.asarray(anchor, dtype=np.int64),
        v_head=np.zeros(len(anchor), dtype=np.int64),
        watched_head=head,
        watched_law=law,
    )


def row_of(plan, given):
    """The constants in their order."""
    places = constants(plan)
    for name, where in places.items():
        assert np.shape(given[name]) == where.shape, name
    return np.concatenate([np.ravel(given[name]) for name in places])


def memory_of(plan, row, lanes=False):
    """Memory of one trajectory, or of eight alike, with the constants in place."""
    M = make_memory(plan.size) if lanes else np.zeros(plan.size)
    M[places_of(constants(plan))] = row[:, None] if lanes else row
    return M


def flat(state):
    """A state, or its derivative, in the order of the kernels: group by group."""
    k, l = np.triu_indices(state.Q.shape[1])
    groups = [np.append(Q[k, l], R.ravel()) for Q, R in zip(state.Q, state.R, strict=True)]
    return np.concatenate([*groups, state.heads.ravel(), state.bias])


def of_groups(y, system, rates):
    """A committee with groups of inputs as one in full: sizes, constants and wiring."""
    (V, G), K, P = system.inputs.ss.shape, len(system.move), system.T.shape[1]
    S, c = len(system.p), len(system.anchor)
    H = (len(y) - G * (K * (K + 1) // 2 + K * P)) // K
    online = int(system.inverse_batch != 0.0)
    sizes = Sizes(K, P, 1, H, S, c, S, G, V, system.activation, online, means=0)
    given = {
        **system.inputs._asdict(),
        **system._asdict(),
        "T": system.T.reshape(G, P, P),
        "bias": np.zeros(P),
        "u": system.u[:, None],
        "label": np.zeros((S, 1)),
        "sigma": system.sigma[:, None],
        "keep": np.ones(K),
        "gain": np.ones((V, G)),
        "mean": np.zeros((V, P)),
        **dict.fromkeys(("eta_b", "friction", "forget", "floor"), 0.0),
        "eta_w": rates[0],
        "eta_v": rates[1],
        "F": system.F.reshape(c, G, K),
        "v_anchor": system.v_anchor[:, None],
        "watched": system.u[:, None],
        "watched_label": np.zeros((S, 1)),
        "level": np.ones(S),
        "scale": np.ones(K),
    }
    law = system.inputs.law
    width = np.full(K + P, -1.0 if system.activation == LINEAR else 1.0)
    wiring = Wiring(
        system.head, law, system.move, width, system.anchor, system.v_head, system.head, law
    )
    return sizes, given, wiring


def batch_of(plan, wiring, row, states, duration):
    """Trajectories of one phase from these states, and limits of their steps."""
    B = len(states)
    numbers, counts = np.zeros((B, NUMBERS)), np.zeros((B, KEPT), dtype=np.int64)
    numbers[:, END] = duration
    batch = Batch(
        y=np.array(states),
        numbers=numbers,
        counts=counts,
        constants=row[None].copy(),
        places=places_of(constants(plan)),
        times=np.array([0.5 * duration, duration]),
        rows=np.zeros((B, 2, plan.n)),
        shown=np.arange(plan.n),
        stops=np.zeros(0),
        wiring=wiring,
        driven=driven([]),
    )
    limits = Limits(1e-3, 1e-6, np.inf, 0.0, 0.0, 0.0, 1000, np.inf, 0.0, True, True, True, False)
    return batch, limits
