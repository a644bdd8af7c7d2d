"""Problems for the tests of the engine: random ones of several phases, and small known ones."""

from __future__ import annotations

import numpy as np
import xarray as xr

import odekit as ok

FEATURES = (
    "plain",
    "online",
    "decay",
    "frozen",
    "mixture",
    "schedule",
    "function",
    "until",
    "thresholds",
    "fisher",
    "node",
    "quadratic",
    "copy_heads",
    "durations",
    "readout",
)


def random_problem(seed, feature, activation="erf"):
    """Two or three phases over two tasks; the feature is in the second phase.

    Sweep dims: ``eta``, learning rates of the first phase, and ``x``, a number of the feature.
    """
    rng = np.random.default_rng(seed)
    flow = activation == "relu" or feature == "plain"
    K, P = int(rng.integers(1, 4)), int(rng.integers(2, 4))
    state = ok.OrderParameters.draw(
        student=K, teacher=P, weight_std=0.6, input_dim=50, seed=int(rng.integers(1 << 30))
    )
    names = ["a", "b"]
    shared = feature in ("readout", "quadratic")
    noise = rng.uniform(0.0, 0.3)
    tasks = {
        name: ok.Task(rng.uniform(0.3, 1.0, P), noise, "main" if shared else None) for name in names
    }
    heads = {
        # A unit of a negative readout dies where the activation and the targets are positive.
        name: rng.uniform(0.3, 1.0, K) * (1 if activation == "relu" else rng.choice([-1, 1], K))
        for name in (["main"] if shared else names)
    }
    # Linear networks diverge online at rates of order 1.
    fast = 0.8 if flow or activation == "erf" else 0.15
    first = {
        "learning_rate": labelled("eta", *(fast * rng.uniform(0.4, 1.0, 2))),
        "readout_learning_rate": rng.choice([0.0, 0.3 * fast]),
        "gradient_flow": flow,
    }
    second = {**first, "tasks": "b", "duration": rng.uniform(2, 5), "learning_rate": 0.7 * fast}
    change(second, feature, rng, labelled("x", *np.sort(rng.uniform(0.2, 1.0, 3))), fast)
    third = {"tasks": "a", "duration": 2.0, **first}
    if feature == "frozen" and K == 1:
        second.pop("frozen", None)
    if "frozen" in second:
        second["frozen"] = [k == 0 for k in range(K)]
    phases = [
        ok.Phase("a", rng.uniform(3, 6), **first),
        ok.Phase(**second),
        ok.Phase(**third),
    ]
    return ok.Problem(state, heads, tasks, phases[: rng.integers(2, 4)], activation)


def change(phase, feature, rng, x, fast):
    """Put the feature into a phase; x is swept."""
    if feature in ("plain", "online"):
        phase["readout_learning_rate"] = x * fast
    elif feature == "decay":
        phase |= {"weight_decay": 0.2 * x, "readout_weight_decay": 0.1}
    elif feature == "frozen":
        phase |= {"frozen": [], "weight_decay": 0.1 * x, "readout_learning_rate": 0.3}
    elif feature == "mixture":
        phase["tasks"] = {"a": x / 2, "b": 1 - x / 2}
    elif feature == "schedule":
        times = np.sort(rng.uniform(0, 4, 4))
        phase["learning_rate"] = ok.Schedule(times, fast * rng.uniform(0, 1, 4))
        phase["readout_learning_rate"] = x * fast
    elif feature == "function":
        phase["learning_rate"] = lambda t: fast * (1 + np.cos(3 * t)) / 2
        phase["readout_learning_rate"] = x * fast
    elif feature == "until":
        phase |= {"duration": 30.0, "until": 0.15 * x}
    elif feature == "thresholds":
        phase |= {
            "tasks": {"a": 0.4, "b": 0.6},
            "duration": 10.0,
            "until": {"a": 9.0, "b": 0.15 * x},
        }
    elif feature in ("fisher", "node", "quadratic"):
        phase["consolidation"] = ok.Consolidation(feature, x, "a")
    elif feature == "copy_heads":
        phase |= {"copy_heads": {"b": "a"}, "readout_learning_rate": x * fast}
    elif feature == "durations":
        phase["duration"] = 4 * x
    elif feature == "readout":
        phase |= {"learning_rate": 0.0, "readout_learning_rate": x * fast}


def labelled(dim, *values):
    return xr.DataArray(np.array(values, dtype=float), dims=dim)


def soft(*phases, K=2, std=0.5, heads=None, seed=3, activation="erf", noise=0.0):
    state = ok.OrderParameters.draw(student=K, teacher=2, weight_std=std, input_dim=500, seed=seed)
    v = np.linspace(1.0, 0.6, K) if heads is None else heads
    return ok.Problem(state, {"main": v}, {"main": ok.Task([1.0, 0.7], noise)}, phases, activation)


def simple(duration=5.0, rate=None, **more):
    rate = labelled("eta", 0.3, 0.5) if rate is None else rate
    return soft(ok.Phase("main", duration, rate, **more))
