"""All benchmarks, as Markdown tables: `python -m bench` from the project's folder.

What they find is kept in bench/results, and makes the tables of README that have marks.
"""

from __future__ import annotations

import argparse
import importlib

from bench import results

TITLES = {
    "rhs": "µs per right-hand side",
    "inputs": "µs per right-hand side with structured inputs",
    "runs": "One run",
    "peers": "Sweeps, and five peers",
    "ceiling": "Inside the batch engine",
    "larger": "Larger students",
    "tolerance": "Error over tolerance",
    "long": "A sweep to t = 10⁶",
    "sgd": "µs per step of SGD",
    "chain": "SGD by its overlaps",
    "gradients": "Gradients",
    "start": "Start",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *TITLES], metavar="NAME")
    chosen = parser.parse_args().names or list(TITLES)
    of = results.machine()
    packages = ", ".join(f"{name} {number}" for name, number in of["packages"].items())
    print(f"{of['date']}, {of['processor']}, Python {of['python']}, {packages}\n", flush=True)
    for name in chosen:
        module = importlib.import_module(f"bench.{name}")
        found = module.run()
        print(f"## {TITLES[name]}\n\n{module.table(found)}\n", flush=True)
        results.keep(name, found)
        if hasattr(module, "summary"):
            results.into_readme(name, results.said(name, module.summary))


if __name__ == "__main__":
    main()
