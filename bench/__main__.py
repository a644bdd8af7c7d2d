"""All benchmarks, as Markdown tables: `python -m bench` from the project's folder."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version

from bench import (
    ceiling,
    chain,
    gradients,
    inputs,
    larger,
    long,
    peers,
    rhs,
    runs,
    sgd,
    start,
    tolerance,
)


def main():
    packages = ", ".join(f"{p} {version(p)}" for p in ("odekit", "numpy", "numba", "scipy"))
    print(f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {packages}\n")
    for title, module in (
        ("µs per right-hand side", rhs),
        ("µs per right-hand side with structured inputs", inputs),
        ("One run", runs),
        ("Sweeps, and five peers", peers),
        ("Inside the batch engine", ceiling),
        ("Larger students", larger),
        ("Error over tolerance", tolerance),
        ("A sweep to t = 10⁶", long),
        ("µs per step of SGD", sgd),
        ("SGD by its overlaps", chain),
        ("Gradients", gradients),
        ("Start", start),
    ):
        print(f"## {title}\n\n{module.table(module.run())}\n", flush=True)


if __name__ == "__main__":
    main()
