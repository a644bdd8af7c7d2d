"""Forgetting on images: networks trained on digits, beside the theory for Gaussian inputs.

A student of two units learns two teachers of one unit each, of similarity V, one after the other;
its inputs are scikit-learn's 8 × 8 digits, whitened. Three initialisations of the readouts.

    pip install '.[examples]'
    python docs/examples/digits.py docs/figures/digits.png
"""

from __future__ import annotations

import argparse

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import odekit as ok
from odekit.drawing.style import STYLE, WIDTH

COMPONENTS = 45
"""Principal components kept. Those beyond are single odd pixels, whose fourth moments are 4 to 900
where a normal variable has 3; those kept have 2 to 5."""
SCHEMES = {
    "redundant: $r=1$, $\\theta=\\pi/4$": (1.0, np.pi / 4, "#0072B2", "o"),
    "small, even: $r=10^{-3}$, $\\theta=\\pi/4$": (1e-3, np.pi / 4, "#E69F00", "s"),
    "specialised: $r=10^{-3}$, $\\theta=0.3$": (1e-3, 0.3, "#009E73", "^"),
}
SWITCH = 3000.0


def inputs(components: int = COMPONENTS) -> np.ndarray:
    """Images as principal components of variance one, shape (1797, components)."""
    return ok.inputs.whiten(load_digits().data)[:, :components]


def problem(radius: float, angle: float, similarities: np.ndarray) -> ok.Problem:
    """Two teachers learnt one after the other, swept over their similarity."""
    V = xr.DataArray(similarities, dims="similarity", coords={"similarity": similarities})
    family = ok.task_family(units=1, tasks=2, feature_similarity=V)
    rates = {"learning_rate": 1.0, "readout_learning_rate": 1.0}
    return ok.Problem(
        state=ok.OrderParameters.draw(
            student=2, teacher=family.T, weight_std=1e-3, input_dim=10_000, seed=0
        ),
        heads=family.heads(ok.polar(radius, angle)),
        tasks=family.tasks,
        phases=[ok.Phase("1", SWITCH, **rates), ok.Phase("2", SWITCH, **rates)],
    )


def forgetting(ds: xr.Dataset, error: str = "generalization_error") -> xr.DataArray:
    """What the first task has lost at the end, by an error of one's choice."""
    return ok.measures.final(ok.measures.forgetting(ds.assign(generalization_error=ds[error]), "1"))


def draw(similarities: np.ndarray, replicas: int) -> Figure:
    """Theory as lines, networks on digits as markers, networks on Gaussian inputs as dots."""
    x, fine = inputs(), np.linspace(0, 1, 41)
    times = [0.0, SWITCH, 2 * SWITCH]
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    for name, (radius, angle, colour, marker) in SCHEMES.items():
        theory = ok.solve(problem(radius, angle, fine), t_eval=times)
        ax.plot(fine, forgetting(theory), color=colour, label=name)
        swept = problem(radius, angle, similarities)
        common = {"seed": 0, "replicas": replicas, "t_eval": times}
        digits = forgetting(ok.simulate(swept, inputs=x, **common), "test_error")
        style = {"color": colour, "ls": "", "ms": 3.5, "mfc": "white", "mew": 0.7}
        mean, bar = digits.mean("replica"), digits.std("replica", ddof=1)
        ax.errorbar(similarities, mean, bar, marker=marker, elinewidth=0.6, **style)
        gaussian = forgetting(ok.simulate(swept, input_dim=x.shape[1], **common))
        ax.plot(similarities, gaussian.mean("replica"), marker=".", ms=2.5, color=colour, ls="")
        line = forgetting(ok.solve(swept, t_eval=times)).values
        print(name, "theory".ljust(16) + " ".join(f"{v:11.3f}" for v in line), sep="\n")
        for label, many in (("digits", digits), ("Gaussian inputs", gaussian)):
            pairs = zip(
                many.mean("replica").values, many.std("replica", ddof=1).values, strict=True
            )
            print(label.ljust(16) + " ".join(f"{m:.3f}±{s:.3f}" for m, s in pairs))
    ax.set_xlabel("similarity of the teachers $V$")
    ax.set_ylabel("forgetting of the first task")
    ax.legend(loc="upper right", title="theory (lines), digits (open), Gaussian (dots)")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture")
    parser.add_argument("--replicas", type=int, default=12)
    parser.add_argument("--points", type=int, default=9)
    given = parser.parse_args()
    with mpl.rc_context(STYLE):
        figure = draw(np.linspace(0, 1, given.points), given.replicas)
        figure.savefig(given.picture, dpi=300)


if __name__ == "__main__":
    main()
