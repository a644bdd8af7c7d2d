"""Random graphs of linear layers, with samples of gated data, and their loss written out."""

import numpy as np

import odekit as ok


def random_graph(rng, edges):
    """An acyclic graph of so many edges at most, every one on a path, with skips and joins."""
    count = int(rng.integers(2, 5))
    nodes = {f"n{i}": int(rng.integers(1, 4)) for i in range(count)}
    names = list(nodes)
    joined = {}
    for k in range(edges):
        a, b = sorted(rng.choice(count, 2, replace=False))
        joined[f"W{k}"] = (names[a], names[b])
    used = {n for ends in joined.values() for n in ends}
    return ok.linear.Network({n: s for n, s in nodes.items() if n in used}, joined)


def random_data(rng, net, samples=40):
    """Inputs, targets and gates of every path."""
    inputs = {n: rng.normal(size=(samples, net.nodes[n])) for n in net.inputs}
    targets = {n: rng.normal(size=(samples, net.nodes[n])) for n in net.outputs}
    gates = {p: rng.integers(0, 2, samples).astype(float) for p in net.paths}
    return inputs, targets, gates


def loss_of(net, weights, inputs, targets, gates):
    """½ E|y − Σ_p g_p W_p x_p|², sample by sample."""
    answers = {n: np.zeros_like(y) for n, y in targets.items()}
    for path, steps in net.paths.items():
        start, end = net.ends(path)
        signal = gates[path][:, None] * inputs[start]
        for step in steps:
            signal = signal @ weights[step].T
        answers[end] = answers[end] + signal
    return sum(0.5 * np.mean(np.sum((y - answers[n]) ** 2, axis=1)) for n, y in targets.items())


def random_problem(seed, edges=6, scale=0.7, duration=3.0, samples=40):
    """A problem on a random graph, and the data that it was made of."""
    rng = np.random.default_rng(seed)
    net = random_graph(rng, edges)
    data = random_data(rng, net, samples)
    problem = ok.LinearProblem(
        network=net,
        weights=ok.linear.normal(net, scale, seed=seed),
        tasks=ok.linear.Correlations.from_samples(net, *data),
        phases=ok.Phase("main", duration=duration, learning_rate=0.5),
    )
    return problem, data
