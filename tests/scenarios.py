"""Scenarios that tests change, and what is said of mistakes in them."""

from __future__ import annotations

import pytest

from odekit.base.errors import ScenarioError
from odekit.verbs.scenario import parse_scenario

MINIMAL = """
[state]
Q = [[1.0, 0.0], [0.0, 1.0]]
R = [[0.1, 0.0], [0.0, 0.1]]
T = [[1.0, 0.0], [0.0, 1.0]]
[heads]
main = [1.0, 1.0]
[tasks.main]
readout = [1.0, 1.0]
[[phases]]
tasks = "main"
duration = 100
learning_rate = 0.5
"""

FULL = """
title = "Two tasks"
description = "A little of everything."
references = ["Somebody (2021)"]
activation = "erf"

[state.draw]
student = 2
teacher = { rotated = { units = 1, overlap = 0.3, tasks = 2 } }
weight_std = { imbalance = { scale = 0.1, gain = 2.0 } }
input_dim = 1000
seed = 3

[heads]
a = { polar = { radius = { imbalance = { scale = 0.1, gain = 2.0 } }, angles = 0.5 } }
b = [0.1, 0.2]

[tasks.first]
readout = { embed = { readout = [1.0], task = 0, tasks = 2 } }
head = "a"
[tasks.second]
readout = [0.0, 1.0]
noise_std = 0.1
head = "b"

[[phases]]
tasks = "first"
duration = 50.0
learning_rate = { times = [0.0, 10.0], values = [1.0, 0.5], interpolation = "cubic" }
readout_learning_rate = 0.25
until = 1e-3
weight_decay = 1e-4
readout_weight_decay = 1e-5
batch_size = 4
frozen = [true, false]

[[phases]]
tasks = { first = 0.25, second = 0.75 }
duration = 20
learning_rate = 1
until = { second = 1e-4 }
gradient_flow = true
consolidation = { kind = "fisher", strength = 2.0, task = "first" }
copy_heads = { b = "a" }

[solver]
t_eval = { geomspace = [1.0, 70.0, 3], start = 0.0 }
method = "DOP853"
rtol = 1e-6
max_steps = 1000
"""


def keys(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text)
    return [key for key, _ in caught.value.problems]


def messages(text: str) -> dict[str, str]:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text)
    return dict(caught.value.problems)
