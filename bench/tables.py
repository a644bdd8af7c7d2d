"""What the benchmarks share: timing in turn, quartiles, Markdown."""

from __future__ import annotations

import argparse
import time

import numpy as np


def seconds(function, *arguments):
    """Wall time of one call, and what it returned."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def in_turn(timers, repeats):
    """Name -> values of timers, each asked once in every repeat, so that all meet a disturbance."""
    values = {name: [] for name in timers}
    for _ in range(repeats):
        for name, timer in timers.items():
            values[name].append(timer())
    return values


def quartiles(values):
    """First quartile, median, third; NaN of nothing."""
    found = np.percentile(values, [25, 50, 75]) if len(values) else [np.nan] * 3
    return tuple(float(q) for q in found)


def markdown(heads, rows):
    """A table; a head that begins with a space is of words, and its column aligned left."""
    lines = ["| " + " | ".join(head.strip() for head in heads) + " |"]
    lines.append("|" + "|".join("---" if head.startswith(" ") else "---:" for head in heads) + "|")
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def command(about, run, table, repeats):
    """A benchmark from the command line, with as many repeats as are asked for."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--repeats", type=int, default=repeats)
    print(table(run(parser.parse_args().repeats)))
