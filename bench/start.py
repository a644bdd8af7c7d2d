"""Seconds of `odekit run data/plateau.toml`, with cold and warm kernel cache, and of `--help`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
SCENARIO = ROOT / "data" / "plateau.toml"


def seconds(arguments, cache):
    """Wall time of one process."""
    env = {**os.environ, "NUMBA_CACHE_DIR": cache}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "odekit", *arguments], env=env, check=True, capture_output=True
    )
    return time.perf_counter() - start


def run(repeats=5):
    """Rows of dict: what, median_s, q1_s, q3_s."""
    times = {"run, cold": [], "run, warm": [], "--help": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            command = ["run", str(SCENARIO), "--overwrite", "-o", f"{folder}/out.nc"]
            times["run, cold"].append(seconds(command, folder))
            times["run, warm"].append(seconds(command, folder))
            times["--help"].append(seconds(["--help"], folder))
    rows = []
    for what, values in times.items():
        q1, median, q3 = (float(q) for q in np.percentile(values, [25, 50, 75]))
        rows.append({"what": what, "median_s": median, "q1_s": q1, "q3_s": q3})
    return rows


def table(rows):
    """Markdown."""
    lines = ["| command | seconds, median | quartiles |", "|---|---:|---:|"]
    lines += [
        f"| `odekit` {r['what']} | {r['median_s']:.2f} | {r['q1_s']:.2f}–{r['q3_s']:.2f} |"
        for r in rows
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    print(table(run(parser.parse_args().repeats)))


if __name__ == "__main__":
    main()
