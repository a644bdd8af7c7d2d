"""Networks of structured problems: the compiled steps against plain SGD, and against the theory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import odekit as ok
import sgd_inputs
from odekit.systems.committee.lesson import Pull, rule_of
from odekit.systems.committee.trainer import trainer
from odekit_kernels.committee.sgd.memory import make_memory, padded
from sgd_transcription import Stream
from test_sgd_kernel import NAMED, NOT_COMPILED, hidden_erf, user, words
from test_transcription_inputs import setting
from transcription_inputs import Vectors

ROUNDING = 1e-13
N = 50


class SameDraws:
    """The numbers of the compiled SGD, asked for as `sgd_inputs` asks a generator of NumPy."""

    def __init__(self, seed, phase):
        self.inputs, self.choices = (Stream(w) for w in words(seed))
        self.noisy = any(np.any(task.input_noise) for task in phase.tasks)
        self.masked = np.any(np.asarray(phase.keep) != 1.0)

    def choice(self, S, p, size):
        assert size == 1
        self.fresh = True
        return np.array([np.searchsorted(np.cumsum(p), self.choices.uniform(), side="right")])

    def standard_normal(self, shape):
        if shape[1] != N:
            return np.array([[self.choices.pair()[0] for _ in range(shape[1])]])
        if not self.fresh and not self.noisy:
            return np.zeros(shape)
        self.fresh = False
        return self.inputs.normals(N)[None]

    def random(self, shape):
        if not self.masked:
            return np.full(shape, -1.0)
        return np.array([[self.choices.uniform() for _ in range(shape[1])]])


GROUPS = {"in": 0.4, "out": 0.6}


def by_group(values):
    return dict(zip(GROUPS, np.broadcast_to(values, 2).tolist(), strict=True))


def said(start, vectors, phase, **more):
    """The problem of a transcription's words."""
    tasks = {
        f"task {i}": ok.Task(
            task.readout,
            task.noise_std,
            f"head {task.head}",
            by_group(task.variance),
            by_group(task.gain),
            by_group(task.input_noise),
            task.label,
            np.broadcast_to(task.mean, 2).astype(float),
        )
        for i, task in enumerate(phase.tasks)
    }
    own = ok.Phase(
        dict(zip(tasks, phase.p, strict=True)),
        1.0,
        by_group(phase.eta_w),
        phase.eta_v,
        weight_decay=phase.kappa_w,
        readout_weight_decay=phase.kappa_v,
        batch_size=round(1 / phase.inverse_batch),
        frozen=[m == 0 for m in np.broadcast_to(phase.move, 2)],
        bias_learning_rate=phase.eta_b,
        keep_probability=phase.keep,
        **more,
    )
    return ok.Problem(
        state=ok.OrderParameters(start.Q, start.R, vectors.T),
        heads={f"head {h}": head for h, head in enumerate(start.heads)},
        tasks=tasks,
        phases=[own],
        groups=GROUPS,
        biases=start.bias,
        teacher_biases=np.broadcast_to(vectors.teacher_bias, 2).astype(float),
        teacher_activation="sign" if vectors.teacher is np.sign else None,
    )


def same_teachers(start, vectors, phase, teacher=None):
    """Teachers of the students' activation, or of another."""
    own = Vectors(vectors.fractions, vectors.T, teacher_bias=vectors.teacher_bias)
    return start, own if teacher is None else replace(own, teacher=teacher), phase


def everything():
    return same_teachers(*setting())


def bare():
    """Everything at its default, but for groups, outputs and the mixture."""
    start, vectors, phase = same_teachers(*setting(), None)
    usual = {"label": 0.0, "mean": 0.0, "gain": 1.0, "input_noise": 0.0, "variance": 1.0}
    tasks = tuple(replace(task, **usual) for task in phase.tasks)
    phase = replace(phase, tasks=tasks, keep=1.0, eta_b=0.0, pull=None, anchor=None)
    return replace(start, bias=0 * start.bias), replace(vectors, teacher_bias=0.0), phase


def only(**changes):
    """One part of a task, of the phase or of the vectors, and nothing else."""
    start, vectors, phase = bare()
    full, fixed, whole = everything()
    if "tasks" in changes:
        names = changes.pop("tasks")
        pairs = zip(phase.tasks, whole.tasks, strict=True)
        tasks = tuple(replace(a, **{n: getattr(b, n) for n in names}) for a, b in pairs)
        phase = replace(phase, tasks=tasks)
    if changes.pop("bias", False):
        start, vectors, phase = full, fixed, replace(phase, eta_b=whole.eta_b)
    return start, vectors, replace(phase, **changes)


SETTINGS = {
    "everything": everything,
    "label": lambda: only(tasks=["label"]),
    "mean": lambda: only(tasks=["mean"]),
    "mean, gain and noise": lambda: only(tasks=["mean", "gain", "input_noise"]),
    "biases": lambda: only(bias=True),
    "dropout": lambda: only(keep=np.array([0.8, 0.6])),
    "sign": lambda: same_teachers(*setting(), np.sign),
}


def prepared(networks, phase, problem, velocities=None, power=None):
    """What the kernels take of the networks of a plain SGD: rates, rule and memory."""
    group = np.repeat(np.arange(2), networks.sizes)
    B, W = padded(networks.B[0].copy()), padded(networks.w[0].copy())
    v = networks.heads[0].reshape(-1, 2).copy()
    none = np.zeros((0, W.shape[1]))
    pull = Pull(none, none, 0 * v, 0 * v)
    if phase.pull is not None:
        F = padded(phase.pull[0][group].T)
        pull = Pull(F, F * B[phase.anchor[0]], 0 * v, 0 * v)
    rule = rule_of(problem, problem.phases[0], B, group, pull, None)
    memory = make_memory(
        W, v, words(), problem.phases[0].batch_size, rule, networks.bias[0].copy(),
        velocities, np.zeros(0) if power is None else power,
    )  # fmt: skip
    return (np.array([np.max(phase.eta_w)]), np.array([phase.eta_v])), rule, memory


def at_rest(networks):
    """Velocities of all layers."""
    L = padded(networks.w[0]).shape[1]
    return tuple(np.zeros(shape) for shape in ((2, L), (4, 2), (1, 2)))


def agree(setup, optimizer=None, steps=8, activation="erf", **more):
    """Assert that both make the same of the same weights and draws."""
    start, vectors, phase = setup
    networks = sgd_inputs.with_overlaps(np.random.default_rng(1), start, vectors, N, 1)
    problem = said(start, vectors, phase, **more)
    optimizer = optimizer or sgd_inputs.Optimizer()
    velocities = None if optimizer.friction is None else at_rest(networks)
    power = None if optimizer.power is None else optimizer.power.copy()
    rates, rule, memory = prepared(networks, phase, problem, velocities, power)
    t = trainer(activation)
    for part in (3, steps - 3):
        t.train(part, *rates, t.g, t.dg, rule, memory)
    assert not memory.W[:, N:].any()
    before = networks.w.copy()
    sgd_inputs.descend(SameDraws(0, phase), networks, vectors, phase, steps / N, optimizer)
    found = memory.W[:, :N], memory.v, memory.bias
    expected = networks.w[0], networks.heads[0].reshape(-1, 2), networks.bias[0]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=ROUNDING * np.abs(networks.w).max())
    assert np.abs(networks.w - before).max() > 1e-3
    return memory, networks


@pytest.mark.parametrize("name", SETTINGS)
def test_steps_are_those_of_plain_sgd(name):
    agree(SETTINGS[name]())


@NOT_COMPILED
def test_an_activation_that_is_not_compiled():
    """The loop of Python knows masks, biases and outputs as the compiled one does."""
    agree(everything(), activation=user(hidden_erf, NAMED["erf"][1]))


def test_heavy_ball():
    """γ = 40 of N = 50: velocities have become stationary within the steps."""
    heavy = sgd_inputs.Optimizer(friction=40.0)
    memory, _ = agree(everything(), heavy, steps=30, momentum_decay=40.0)
    np.testing.assert_allclose(memory.velocity[:, :N], heavy.velocities[0][0], atol=1e-12)
    np.testing.assert_allclose(memory.velocity_b, heavy.velocities[2], atol=1e-13)


def test_heavy_ball_of_a_frozen_unit_rests():
    start, vectors, phase = everything()
    phase = replace(phase, move=np.array([1.0, 0.0]))
    memory, _ = agree((start, vectors, phase), sgd_inputs.Optimizer(0.5), momentum_decay=0.5)
    assert not memory.velocity[1].any()
    assert memory.velocity_b.all()


RULES = {
    "adagrad": (ok.AdaGradNorm(0.3), {"power": np.array([0.3])}),
    "rms": (
        ok.RMSNorm(decay=2.0, initial=0.3, epsilon=0.1),
        {"power": np.array([0.3]), "gather": 2.0, "forget": 2.0, "floor": 0.1},
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_adaptive_rates(name):
    rule, numbers = RULES[name]
    plain = sgd_inputs.Optimizer(**numbers)
    memory, _ = agree(everything(), plain, normalization=rule)
    np.testing.assert_allclose(memory.power, plain.power, rtol=1e-12)
    assert abs(memory.power[0] - 0.3) > 0.01


def test_adaptive_rates_of_a_heavy_ball():
    plain = sgd_inputs.Optimizer(friction=2.0, power=np.array([0.3]))
    agree(everything(), plain, normalization=ok.AdaGradNorm(0.3), momentum_decay=2.0)
