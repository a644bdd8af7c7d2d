"""µs per right-hand side inside the batch engine, beside that of the right-hand side alone.

One thread; K = M, erf, online, no noise, readouts fixed, the work of `peer_work`. Alone means eight
trajectories in lanes whose states and constants are in memory already, evaluated over and over: the
ceiling of any engine on it. Steps, error control, rows and refilling of lanes are the rest.
"""

from __future__ import annotations

import numba
import numpy as np

from bench import peer_work, rhs, tables
from odekit.base.interrupts import Interrupts
from odekit.integrate.engine import Engine
from odekit.integrate.options import SolverOptions
from odekit.integrate.tableaus import MOST_STAGES
from odekit.problem.axes import axes
from odekit.systems.committee.points import CommitteePoints
from odekit_kernels.integrators.batch import enter, make_counters
from odekit_kernels.integrators.registry import rhs as derivative
from odekit_kernels.lanes.memory import make_memory

DRAWS = {2: 2048, 4: 512, 8: 64}


@numba.njit(nogil=True, _nrt=False)
def fill_lanes(M, I, m, b):
    for lane in range(8):
        enter(M, I, m, b, lane, lane)


@numba.njit(nogil=True, _nrt=False, error_model="numpy", fastmath={"contract"})
def loop_lanes(n, M, m, w):
    for _ in range(n):
        derivative(M, m, w, m.y, m.k, True, False, False)


def alone(problem):
    """Function of a count that evaluates eight trajectories so many times."""
    found = axes(problem)
    layout = CommitteePoints(problem, found)
    frame, y = layout.start()
    plan = layout.plan(problem.phases[0], frame, MOST_STAGES)
    size = layout.size
    batch = layout.batch(
        0,
        frame,
        plan,
        y=y,
        numbers=np.zeros((size, 5)),
        counts=np.zeros((size, 7), dtype=np.int64),
        times=peer_work.TIMES,
        rows=np.zeros((size, len(peer_work.TIMES), y.shape[1])),
    )
    memory, counters = make_memory(plan.size), make_counters(8)
    fill_lanes(memory, counters, plan, batch)
    loop_lanes(1, memory, plan, batch.wiring)
    return lambda n: loop_lanes(n, memory, plan, batch.wiring)


def engine(problem):
    """µs of each right-hand side of a whole sweep, phases and rows included."""
    options = SolverOptions(**peer_work.tolerances())

    def go():
        run = Engine(problem, axes(problem), options, peer_work.TIMES, 1, Interrupts())
        seconds, arrays = tables.seconds(run.run)
        return 1e6 * seconds / arrays["n_rhs"].sum()

    go()
    return go


def run(repeats=15):
    """Rows of dict: K, engine_us, q1_us, q3_us, alone_us, floor_us, share."""
    rows, per_800 = [], rhs.asin_throughput(repeats)
    for K, draws in DRAWS.items():
        problem = peer_work.problem(peer_work.first(K, draws))
        lanes = alone(problem)
        n = rhs.enough(lanes)
        timers = {
            "engine": engine(problem),
            "alone": lambda lanes=lanes, n=n: 1e6 * rhs.seconds(lanes, n) / 8,
        }
        times = tables.in_turn(timers, repeats)
        q1, median, q3 = tables.quartiles(times["engine"])
        rows.append(
            {
                "K": K,
                "engine_us": median,
                "q1_us": q1,
                "q3_us": q3,
                "alone_us": tables.quartiles(times["alone"])[1],
                "floor_us": 1e6 * rhs.floor(K, per_800),
                "share": float(np.median(np.array(times["alone"]) / np.array(times["engine"]))),
            }
        )
    return rows


def table(rows):
    """Markdown."""
    heads = ["K = M", "engine, µs", "quartiles", "alone, µs", "alone / engine", "asin floor, µs"]
    lines = [
        [
            r["K"],
            f"{r['engine_us']:.3f}",
            f"{r['q1_us']:.3f}–{r['q3_us']:.3f}",
            f"{r['alone_us']:.3f}",
            f"{100 * r['share']:.0f} %",
            f"{r['floor_us']:.3f}",
        ]
        for r in rows
    ]
    return tables.markdown(heads, lines)


def summary(rows):
    """Markdown for README."""
    return table(rows)


if __name__ == "__main__":
    tables.command(__doc__, run, table, repeats=15)
