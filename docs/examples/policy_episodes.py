"""The equations of policy_committee.py beside episodes of the rule itself in N dimensions.

python docs/examples/policy_episodes.py FIG.png
"""

import sys

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from policy_committee import policy

import odekit as ok

ALL = [-0.3, -0.3, -0.3, 1.0]  # three decisions must all be right; else there is a penalty
COMMITTEE = {"Q": [[1.0, 0.2], [0.2, 0.8]], "R": [[0.3, 0.1], [0.0, 0.2]], "readout": [1.0, 0.6]}
TEACHER = {"T": np.eye(2), "u": [1.0, 0.7], "reward": ALL}
PERCEPTRON = {"Q": [[1.0]], "R": [[0.1]], "readout": [1.0], "T": [[1.0]], "u": [1.0]}


def problem(duration=6.0, eta=0.5, **values):
    phase = ok.Phase("main", duration, eta, readout_learning_rate=eta / 2)
    return policy.problem(phases=phase, **values)


def episodes(given, N, replicas, times, seed=0):
    """Overlaps R and Q of networks (rows, replicas, ...) trained by single episodes."""
    g, p, phase = np.random.default_rng(seed), given.parameters, given.phases[0]
    state = ok.OrderParameters(given.state["Q"], given.state["R"], p["T"])
    W, B = map(np.array, zip(*(ok.realise(state, N, i) for i in range(replicas)), strict=True))
    v, D = np.tile(given.state["readout"], (replicas, 1)), len(p["reward"]) - 1
    rows, step = [], 0
    for t in times:
        while step < round(t * N):
            x, step = g.standard_normal((replicas, N, D)), step + 1
            fields = W @ x / np.sqrt(N)
            sign = np.sign(np.einsum("rk,rkd->rd", v, fields))
            right = sign == np.sign(np.einsum("m,rmd->rd", p["u"], B @ x))
            G = p["reward"][right.sum(axis=1)][:, None]
            push = np.einsum("rd,rnd->rn", sign, x) / D
            W += phase.learning_rate / np.sqrt(N) * (G * v)[:, :, None] * push[:, None]
            v += phase.readout_learning_rate / N * G * np.einsum("rd,rkd->rk", sign, fields) / D
        rows.append((W @ B.swapaxes(1, 2) / N, W @ W.swapaxes(1, 2) / N))
    return tuple(map(np.array, zip(*rows, strict=True)))


def draw(N=400, replicas=20):
    """Overlaps of a committee, and what the RL perceptron makes of penalties."""
    given, figure = problem(**COMMITTEE, **TEACHER), Figure((7, 2.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    run, times = ok.solve(given), np.linspace(0.0, 6.0, 7)
    R, _ = episodes(given, N, replicas, times)
    for i, (k, n) in enumerate(np.ndindex(2, 2)):
        left.plot(run.time, run.R[:, k, n], color=f"C{i}", label=f"$R_{{{k}{n}}}$")
        spread = R[..., k, n].std(axis=1)
        left.errorbar(times, R[..., k, n].mean(axis=1), spread, fmt="o", ms=3, color=f"C{i}")
    penalty = xr.Variable("penalty", [0.0, 0.1, 0.3, 0.5])
    penalty = xr.DataArray(penalty, coords={"penalty": penalty})
    reward = xr.concat([-penalty] * 5 + [0 * penalty + 1.0], "right").transpose("penalty", "right")
    runs = ok.solve(problem(duration=200.0, eta=1.0, **PERCEPTRON, reward=reward))
    for row in runs.transpose("penalty", ...).generalization_error[:, :, 0]:
        right.semilogx(row.time, 1 - row, label=f"penalty {float(row.penalty):g}")
    left.set(xlabel="episodes / $N$", title=f"$K=M=2$; markers: $N={N}$")
    right.set(xlabel="episodes / $N$", ylabel="right decisions", title="RL perceptron, 5 decisions")
    left.legend(), right.legend()
    return figure


if __name__ == "__main__":
    draw().savefig(sys.argv[1], dpi=200)
