"""Fixed points of committees with erf units; the pictures are in docs/fixed-points.md.

python docs/examples/fixed_points.py plateau|critical|floor -o FIG.png
"""

from __future__ import annotations

import argparse

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.optimize import brentq

import odekit as ok
from odekit.drawing.style import STYLE, UNITS

NEAR = {2: (0.44, 0.31, 0.42), 3: (0.5, 0.13, 0.27), 4: (0.75, 0.07, 0.235)}
"""Q_kk, Q_kl and R near the plateau at η = 1 (K = 2, 3) and 0.8."""


def committee(K: int, eta: float, Q, R, noise: float = 0.0) -> ok.Problem:
    """K units learn K orthonormal ones, v = u = 1."""
    return ok.Problem(
        state=ok.OrderParameters(Q=Q, R=R, T=np.eye(K)),
        heads={"main": np.ones(K)},
        tasks={"main": ok.Task(readout=np.ones(K), noise_std=noise)},
        phases=[ok.Phase("main", duration=1e4, learning_rate=eta)],
    )


def learnt(K: int, eta: float, noise: float = 0.0) -> ok.Problem:
    """The student is the teacher."""
    return committee(K, eta, np.eye(K), np.eye(K), noise)


def followed(make, etas, begin: float, guess=None) -> xr.Dataset:
    """The fixed points at increasing rates, each search from the last one's, from `begin` on."""
    etas = np.asarray(etas)
    first = int(np.abs(etas - begin).argmin())
    found = {first: ok.fixed_point(make(etas[first]), guess=guess, eigenvectors=False)}
    for step in (1, -1):
        for i in range(first + step, len(etas) if step > 0 else -1, step):
            last = found[i - step]
            found[i] = ok.fixed_point(make(etas[i]), guess=last, eigenvectors=False)
    whole = [found[i] for i in range(len(etas))]
    return xr.concat(whole, xr.Variable("eta", etas), data_vars="all", combine_attrs="override")


def plateau_of(K: int, etas) -> xr.Dataset:
    """The plateau that runs see."""
    a, b, r = NEAR[K]
    Q, R = np.full((K, K), b) + (a - b) * np.eye(K), np.full((K, K), r)
    return followed(lambda eta: committee(K, eta, Q, R), etas, 1.0 if K < 4 else 0.8)


def critical_rate(K: int) -> float:
    """The learning rate above which perfect learning is unstable."""

    def largest(eta: float) -> float:
        values = ok.fixed_point(learnt(K, eta), eigenvectors=False).eigenvalue_real.values
        return float(np.sort(values[np.abs(values) > 1e-14])[-1])

    guess = np.sqrt(3) * np.pi / K
    return brentq(largest, 0.7 * guess, 1.1 * guess, xtol=1e-12)


def panels(columns: int) -> tuple[Figure, list]:
    """An empty picture."""
    figure = Figure(figsize=(2.4 * columns, 2.2), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def plateau() -> Figure:
    """Error, index and escape time of the symmetric plateau against the learning rate."""
    figure, (level, index, escape) = panels(3)
    for K, colour in zip((2, 3, 4), UNITS, strict=False):
        found = plateau_of(K, np.linspace(0.05, 2.0 if K == 2 else 1.5, 59))
        level.plot(found.eta, found.generalization_error[:, 0], color=colour, label=f"K = {K}")
        index.plot(found.eta, found["index"], color=colour, drawstyle="steps-mid")
        escape.plot(found.eta, 1 / found.eigenvalue_real[:, 0], color=colour)
    level.set(ylabel="error on the plateau")
    index.set(ylabel="directions that grow", yticks=[1, 4, 6, 9, 12, 14])
    escape.set(ylabel=r"escape time $1/\lambda_+$", yscale="log")
    level.legend()
    for ax in (level, index, escape):
        ax.set_xlabel(r"$\eta$")
    return figure


def critical() -> Figure:
    """The rate at which perfect learning loses stability, against the number of units."""
    figure, (ax,) = panels(1)
    units = np.arange(1, 11)
    ax.plot(units, [K * critical_rate(K) for K in units], "o", ms=3, color=UNITS[0])
    ax.axhline(np.sqrt(3) * np.pi, color="0.6", lw=0.8, zorder=0)
    ax.annotate(r"$\sqrt{3}\,\pi$", (1, np.sqrt(3) * np.pi), (0, -9), textcoords="offset points")
    ax.set(xlabel="units K", ylabel=r"$K \eta_c$", xticks=units[::3])
    return figure


def floor() -> Figure:
    """Error and slowest rate of what noise leaves, against the learning rate (K = 2)."""
    figure, (level, slowest) = panels(2)
    etas = np.concatenate([np.geomspace(0.01, 0.5, 15), np.linspace(0.55, 3.3, 45)])
    for noise, colour in zip((0.03, 0.1, 0.3), UNITS, strict=False):
        found = followed(lambda eta, s=noise: learnt(2, eta, s), etas, 0.01)
        good = found.status == ok.Convergence.CONVERGED
        stable = good & (found["index"] == 0)
        error = found.generalization_error[:, 0]
        level.plot(found.eta, error.where(stable), color=colour, label=rf"$\sigma$ = {noise:g}")
        level.plot(found.eta, error.where(good & ~stable), color=colour, ls=":")
        rates = found.eigenvalue_real.where(abs(found.eigenvalue_real) > 1e-12).max("direction")
        slowest.plot(found.eta, (rates / found.eta).where(good), color=colour)
    critical_eta = critical_rate(2)
    for ax in (level, slowest):
        ax.axvline(critical_eta, color="0.6", lw=0.8, zorder=0)
        ax.set_xlabel(r"$\eta$")
    level.set(ylabel=r"$\epsilon_g$ of the noise floor", xscale="log", yscale="log")
    slowest.set(ylabel=r"slowest rate $\lambda/\eta$")
    slowest.axhline(0.0, color="0.6", lw=0.8, zorder=0)
    level.legend()
    return figure


STUDIES = {"plateau": plateau, "critical": critical, "floor": floor}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    with mpl.rc_context(STYLE):
        STUDIES[arguments.study]().savefig(arguments.output, dpi=200)


if __name__ == "__main__":
    main()
