"""Populations of coupled oscillators by their Ott-Antonsen order parameters z_a = x_a + i y_a.

    dz_a/dt = (i w_a - D_a) z_a + (H_a - conj(H_a) z_a^2) / 2,  H_a = e^(-i lag) sum_b K_ab z_b

python docs/examples/kuramoto.py FIG.png
"""

import math
import sys

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import odekit as ok

PAIR = ("population", "population_other")
STRENGTHS = [1.2, 1.5, 2.0, 4.0]


def rhs(y, p, d):
    c, s = math.cos(p.lag), math.sin(p.lag)
    for a in range(len(y.x)):
        hx = hy = 0.0
        for b in range(len(y.x)):
            hx += p.coupling[a, b] * (c * y.x[b] + s * y.y[b])
            hy += p.coupling[a, b] * (c * y.y[b] - s * y.x[b])
        x, z = y.x[a], y.y[a]
        real, imag = x * x - z * z, 2.0 * x * z  # of z_a^2
        d.x[a] = -p.width * x - p.frequency * z + (hx - hx * real - hy * imag) / 2.0
        d.y[a] = -p.width * z + p.frequency * x + (hy - hx * imag + hy * real) / 2.0


def disorder(y, _):
    return 1.0 - y.x[0] * y.x[0] - y.y[0] * y.y[0]


kuramoto = ok.system(
    "Kuramoto populations",
    state={"x": "population", "y": "population"},
    parameters={"coupling": PAIR, "width": (), "frequency": (), "lag": ()},
    rhs=rhs,
    error=disorder,
    laws={"|x| <= 1": ("within", "x", -1, 1), "|y| <= 1": ("within", "y", -1, 1)},
    references="Ott & Antonsen 2008, arXiv:0806.0004; Abrams et al. 2008, arXiv:0806.0594",
    time="time",
)


def exact(t, strength, r, width=0.5):
    """|z| of one population: |z|^2 grows logistically to 1 - 2 width / strength."""
    rate, limit = strength - 2.0 * width, 1.0 - 2.0 * width / strength
    return np.sqrt(limit / (1.0 + (limit / r**2 - 1.0) * np.exp(-rate * t)))


def order(x, y, coupling, duration, width=0.0, frequency=0.0, lag=0.0):
    given = {"coupling": coupling, "width": width, "frequency": frequency, "lag": lag}
    times = np.linspace(0.0, duration, 201)
    run = ok.solve(kuramoto.problem(x=x, y=y, **given, duration=duration), t_eval=times)
    return np.hypot(run.x, run.y)


def draw():
    """One population for several strengths, dots exact; two, of which one stays in step."""
    figure = Figure((7, 2.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    K = xr.DataArray(STRENGTHS, dims="strength").expand_dims(PAIR, (1, 2))
    for r, strength in zip(order([0.05], [0.0], K, 30.0, 0.5, 1.0)[..., 0], STRENGTHS, strict=True):
        left.plot(r.time, r)
        left.plot(r.time[::10], exact(r.time[::10], strength, 0.05), "k.", ms=4)
    K = np.array([[0.64, 0.36], [0.36, 0.64]])
    right.plot(order([1.0, 0.6], [0.0, 0.3], K, 400.0, lag=np.pi / 2 - 0.1))
    left.set(xlabel="time", ylabel="$|z|$", title="one population")
    right.set(xlabel="time", title="a chimera of two")
    return figure


if __name__ == "__main__":
    draw().savefig(sys.argv[1], dpi=200)
