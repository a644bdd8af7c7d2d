"""Seconds of one run to t = 10⁴ and 10⁶, at equal achieved error, for every method.

K = M = 2, erf, eta = 0.5, noise 0.1, from small random weights: a plateau, an escape, and then a
solution that stands still. Every method takes the loosest tolerance with which, to t = 10⁴, its
largest error in Q and R over all output times is at most `ERROR`; then all are timed in turn, once
in each repeat, runs of more than two seconds only once.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

import odekit as ok
from bench.tables import command, markdown, quartiles, seconds
from odekit.integrate.options import default_times

ERROR = 1e-7
TOLERANCES = (1e-6, 1e-7, 1e-8, 1e-9, 1e-10)
SPANS = (1e4, 1e6)
EXPLICIT = ("RK45", "DOP853")
IMPLICIT = ("LSODA", "BDF", "Radau")


def problem(span):
    start = ok.OrderParameters.draw(student=2, teacher=2, weight_std=1e-3, input_dim=10_000, seed=7)
    return ok.Problem(
        state=start,
        heads={"main": [1.0, 1.0]},
        tasks={"main": ok.Task(readout=[1.0, 1.0], noise_std=0.1)},
        phases=[ok.Phase("main", duration=span, learning_rate=0.5)],
    )


def candidates(span):
    """Name -> function of rtol that returns the rows (times, 7 overlaps)."""
    setting = problem(span)
    own = ok.equations(setting)
    system, y = own.equations, own.start
    times = default_times(span)

    def plain(method, jac):
        def go(rtol):
            keywords = {"jac": system.jac} if jac else {}
            return solve_ivp(
                system.rhs, (0, span), y, method, times, rtol=rtol, atol=rtol * 1e-3, **keywords
            ).y.T[:, :7]

        return go

    def ours(rtol):
        run = ok.solve(setting, t_eval=times, rtol=rtol, atol=rtol * 1e-3)
        Q = run.Q.values[:, [0, 0, 1], [0, 1, 1]]
        return np.hstack([Q, run.R.values.reshape(len(times), 4)])

    found = {"odekit, method=None": ours}
    found |= {f"{m}, compiled rhs": plain(m, False) for m in (*EXPLICIT, *IMPLICIT)}
    return found | {f"{m}, rhs and Jacobian": plain(m, True) for m in IMPLICIT}


def calibrate(functions):
    """Loosest tolerance of every method that gets there; None where none does."""
    exact = functions["DOP853, compiled rhs"](3e-14)
    chosen = {}
    for name, function in functions.items():
        good = (t for t in TOLERANCES if np.abs(function(t) - exact).max() <= ERROR)
        chosen[name] = next(good, None)
    return chosen


def measure(span, chosen, repeats):
    """Time all methods in turn; those that take seconds only once."""
    functions = candidates(span)
    exact = functions["odekit, method=None"](1e-11)
    times = {name: [] for name in functions}
    errors = {}
    for _ in range(repeats):
        for name, function in functions.items():
            if chosen[name] is None or (times[name] and times[name][0] > 2):
                continue
            taken, result = seconds(function, chosen[name])
            times[name].append(taken)
            errors[name] = float(np.abs(result - exact).max())
    return times, errors


def run(repeats=5, spans=SPANS):
    """Rows of dict: span, method, rtol, error, median_s, q1_s, q3_s."""
    rows = []
    chosen = calibrate(candidates(spans[0]))
    for span in spans:
        times, errors = measure(span, chosen, repeats)
        for name, values in times.items():
            q1, median, q3 = quartiles(values)
            rows.append(
                {
                    "span": span,
                    "method": name,
                    "rtol": chosen[name],
                    "error": errors.get(name, np.nan),
                    "q1_s": q1,
                    "median_s": median,
                    "q3_s": q3,
                }
            )
    return rows


def table(rows):
    """Markdown."""
    heads = ["t", " method", "rtol", "largest error", "seconds, median", "quartiles", "/ odekit"]
    lines = []
    for r in rows:
        own = next(o for o in rows if o["span"] == r["span"] and o["method"].startswith("odekit"))
        begin = [f"{r['span']:.0e}", r["method"]]
        if r["rtol"] is None:
            lines.append([*begin, f"none ≥ {TOLERANCES[-1]:.0e}", f"> {ERROR:.0e}", "", "", ""])
            continue
        lines.append(
            [
                *begin,
                f"{r['rtol']:.0e}",
                f"{r['error']:.1e}",
                f"{r['median_s']:.3f}",
                f"{r['q1_s']:.3f}–{r['q3_s']:.3f}",
                f"{r['median_s'] / own['median_s']:.1f}",
            ]
        )
    return markdown(heads, lines)


def summary(rows):
    """Markdown for README: a row for each method."""
    spans = list(dict.fromkeys(r["span"] for r in rows))
    lines = []
    for method in dict.fromkeys(r["method"] for r in rows):
        own = {r["span"]: r for r in rows if r["method"] == method}
        cells = [
            f"{own[t]['median_s']:.3g}"
            if t in own and own[t]["rtol"] is not None
            else "off by more"
            for t in spans
        ]
        lines.append([method, *cells])
    return markdown([" ", *(f"to t = {t:.0e}, s" for t in spans)], lines)


if __name__ == "__main__":
    command(__doc__, run, table, repeats=5)
