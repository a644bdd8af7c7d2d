"""Kunin et al. 2024: get rich quick."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from entry import Figure, Row, axis, starts

import odekit as ok

# ------------------------------------------------------------------- the minimal model
IMBALANCES = (-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0)
BETA = np.array([0.0, 1.0])
LISTED = (1.0, 2.0, 5.0, 20.0)
ROWS = np.unique(np.concatenate([np.linspace(0, 20, 81), np.geomspace(0.01, 19.9, 120)]))
RATES = (3.0, 0.2)
"""η_a and η_w of runs that fall on those of equal rates."""
COLOURS = ("#08519c", "#3182bd", "#6baed6", "#000000", "#fdae6b", "#e6550d", "#a63603")


def beginning(delta: Any) -> tuple[Any, Any]:
    """a and the first entry of w with a w = (−1, 0), a² − |w|² = δ, a > 0."""
    a = ((delta + (delta**2 + 4) ** 0.5) / 2) ** 0.5
    return a, -1 / a


def flow(delta: xr.DataArray, rates: Any = (1.0, 1.0)) -> xr.Dataset:
    """Runs of the network, in units in which the learning rates of both layers are 1."""
    (of_a, of_w), (a, w) = rates, beginning(delta)
    network = ok.linear.deep([2, 1, 1])
    first = xr.concat([w * of_w**0.5, 0 * w], dim="input").transpose("delta", "input")
    speed = of_a * of_w
    problem = ok.LinearProblem(
        network=network,
        weights={
            "W1": first.expand_dims("hidden", axis=1),
            "W2": (a * of_a**0.5).expand_dims(["output", "hidden"], axis=[-2, -1]),
        },
        tasks=ok.linear.Correlations(yx=[BETA * speed**0.5], xx=np.eye(2)),
        phases=ok.Phase("main", 20.0 / speed, {"W1": of_w, "W2": of_a}),
    )
    run = ok.solve(problem, t_eval=ROWS / speed, rtol=1e-10, atol=1e-13)
    return run.assign_coords(time=ROWS)


def curves(a: xr.DataArray, w: xr.DataArray) -> xr.Dataset:
    """The path in function space, μ = a|w| and φ, the cosine of w and β."""
    size = (w**2).sum("input") ** 0.5
    return xr.Dataset({"path": a * w, "mu": a * size, "phi": w.isel(input=1) / size})


def closed_distance(a: xr.DataArray, w: xr.DataArray) -> xr.DataArray:
    """S(0, t), from K(x, x') = xᵀ(a² + w wᵀ)x'."""
    K = (a**2) * xr.DataArray(np.eye(2), dims=("input", "other")) + w * w.rename(input="other")
    dims = ["input", "other"]
    first = K.isel(time=0, drop=True)
    product = (K * first).sum(dims)
    return 1 - product / ((K**2).sum(dims) * (first**2).sum(dims)) ** 0.5


def seen(run: xr.Dataset, rates: Any) -> xr.Dataset:
    """Curves of a run in units in which its rates are 1."""
    of_a, of_w = rates
    a = run.W2.squeeze(["output", "hidden"], drop=True) / of_a**0.5
    w = run.W1.squeeze("hidden", drop=True) / of_w**0.5
    S = ok.measures.kernel_distance(run).squeeze("task", drop=True)
    return curves(a, w).assign(S=S)


def minimal(full: bool) -> Any:
    """Runs at seven imbalances, beside the closed form."""
    delta = axis("delta", list(IMBALANCES))
    found = seen(flow(delta), (1.0, 1.0))
    rates = seen(flow(delta, RATES), RATES)
    a0, w0 = beginning(delta)
    both = xr.concat([w0, 0 * w0], dim="input")
    exact_a, exact_w = ok.linear.minimal(
        axis("time", ROWS), a0, both, xr.DataArray(BETA, dims="input")
    )
    exact = curves(exact_a, exact_w).assign(S=closed_distance(exact_a, exact_w))
    return {"run": found, "exact": exact, "rates": rates, "ends": rank_one()}


def rank_one() -> xr.DataArray:
    """Where runs on one datum x = (1, 2), y = 2.2 end, from a w = (0.4, 0.05)."""
    delta, x, y, begin = (
        axis("delta", [-4.0, 0.0, 4.0]),
        np.array([1.0, 2.0]),
        2.2,
        np.array([0.4, 0.05]),
    )
    square = ((delta**2 + 4 * begin @ begin) ** 0.5 - delta) / 2  # |w|², as a²|w|² is given
    a = (square + delta) ** 0.5
    first = xr.DataArray(begin, dims="input") / a
    problem = ok.LinearProblem(
        network=ok.linear.deep([2, 1, 1]),
        weights={
            "W1": first.transpose("delta", "input").expand_dims("hidden", axis=1),
            "W2": a.expand_dims(["output", "hidden"], axis=[-2, -1]),
        },
        tasks=ok.linear.Correlations(yx=[y * x], xx=np.outer(x, x)),
        phases=ok.Phase("main", duration=50.0, learning_rate=1.0),
    )
    run = ok.solve(problem, t_eval=[0.0, 50.0])
    return run.map_main.isel(time=-1, output=0, drop=True).transpose("delta", "input")


def basin() -> float:
    """w₂ at which the sign of the final a changes, a₀ = 0.6, w₁ = 1.3."""
    low, high = -1.0, 0.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        ends = ok.linear.minimal_basin(0.6, [1.3, middle], BETA)
        low, high = (low, middle) if ends > 0 else (middle, high)
    return low


def draw_minimal(figure: Any, found: Any) -> None:
    axes = figure.subplots(1, 4)
    for delta, colour in zip(IMBALANCES, COLOURS, strict=True):
        for name, style in (
            ("run", {"lw": 1.2}),
            ("exact", {"lw": 2.4, "ls": (0, (1, 2)), "alpha": 0.6}),
        ):
            one = found[name].sel(delta=delta)
            label = f"{delta:g}" if name == "run" else None
            axes[0].plot(*one.path.transpose("input", "time"), color=colour, label=label, **style)
            for ax, curve in zip(axes[1:], ("mu", "phi", "S"), strict=True):
                ax.plot(one.time, one[curve], color=colour, **style)
    axes[0].set(xlabel=r"$a w_1$", ylabel=r"$a w_2$", title="path in function space")
    axes[0].plot(*BETA, "k*", ms=5)
    axes[0].plot(-1, 0, "ko", ms=3)
    for ax, title in zip(
        axes[1:],
        (
            r"scale $\mu=a|w|$",
            r"alignment $\varphi$ of $w$ and $\beta$",
            "kernel distance $S(0,t)$",
        ),
        strict=True,
    ):
        ax.set(xlabel=r"time $\times\eta$", title=title, xlim=(0, 20))
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        title=r"$\delta=a^2-|w|^2$",
        title_fontsize=7,
        loc="outside right center",
    )


def minimal_numbers(found: Any) -> list[Row]:
    run, exact = found["run"].transpose(..., "time"), found["exact"].transpose(..., "time")
    at = run.sel(time=list(LISTED))
    rows = []
    named = {
        "phi": (
            "φ",
            1e-4,
            {
                -4: ".0659 .0843 .1694 .9861",
                -2: ".2041 .3169 .7579 1.0000",
                -1: ".4164 .6851 .9867 1.0000",
                0: ".7616 .9640 .9999 1.0000",
                1: ".9560 .9985 1.0000 1.0000",
                4: ".9999 1.0000 1.0000 1.0000",
            },
        ),
        "S": (
            "S(0, t)",
            1e-4,
            {
                -4: ".0055 .0081 .0284 .8713",
                -2: ".0432 .0914 .4414 .7133",
                -1: ".1170 .2763 .4777 .4864",
                0: ".1160 .1859 .2000 .2000",
                1: ".0386 .0488 .0501 .0501",
                2: ".0109 .0123 .0124 .0124",
                4: ".0014 .0015 .0015 .0015",
            },
        ),
    }
    coarse = run.phi.sel(time=np.arange(0, 20.1, 0.25))
    for name, (word, within, known) in named.items():
        for delta, reference in known.items():
            closed = exact[name].sel(delta=delta, time=list(LISTED))
            rows.append(
                Row(
                    f"{word} at t = 1, 2, 5, 20, δ = {delta}",
                    at[name].sel(delta=delta),
                    reference,
                    within,
                    formula=closed,
                )
            )
    ends, other = found["ends"].values, found["rates"].transpose(..., "time")
    names = ("phi", "mu", "S")
    listed = "δ = −4, −2, −1, 0, 1, 2, 4"
    return [
        *rows,
        Row(
            f"time to φ = ½, rows 0.25 apart, {listed}",
            ok.measures.escape_time(coarse, 0.5),
            "10.133 3.3115 1.2867 .5547 .3122 .2015 .1423",
            0.01,
        ),
        Row(
            f"μ at t = 1, {listed}",
            at.mu.isel(time=0),
            ".0759 .2452 .4268 .6244 .8013 .9142 .9867",
            1e-4,
            formula=exact.mu.sel(time=1.0),
        ),
        Row(
            "largest deviation of φ, μ, S from the closed form",
            [abs(run[n] - exact[n]).max() for n in names],
            "0.0000000000 0.0000000000 0.0000000000",
            1e-9,
        ),
        Row(
            "the same at η_a = 3, η_w = 0.2, rescaled",
            [abs(other[n] - exact[n]).max() for n in names],
            "0.0000000000 0.0000000000 0.0000000000",
            1e-9,
        ),
        Row("w₂ at which a ends at 0, a₀ = 0.6, w₁ = 1.3", basin(), "-.309147864", 1e-8),
        *(
            Row(f"end on one datum, δ = {d}", e, r, 1e-5)
            for d, e, r in zip(
                (-4, 0, 4), ends, ("1.55108 .32446", ".94300 .62850", ".74788 .72606"), strict=True
            )
        ),
    ]


# ------------------------------------------------------------------- upstream and downstream
M, INPUTS, UNTIL = 4, 100, 300.0
"""Directions, each with a unit of either sign; dimensions; and the end."""


def committee(tau: Any, delta: Any) -> xr.Dataset:
    """ReLU committees of 2M units of lengths τα and readouts ±τ/α, v² − Q = δ."""
    weights = starts("relu_population")
    B, W = np.array(weights["teachers_B"]), np.array(weights["students_W"])
    ratio = delta / tau**2
    alpha = ((ratio**2 + 4) ** 0.5 / 2 - ratio / 2) ** 0.5
    fixed = np.concatenate([B, W])
    directions = np.concatenate([W, W])
    sizes = tau * alpha
    unit = ok.OrderParameters.from_weights(directions * INPUTS**0.5, fixed * INPUTS**0.5)
    sign = xr.DataArray(np.repeat([1.0, -1.0], M), dims="student")
    state = ok.OrderParameters(
        Q=sizes**2 * xr.DataArray(unit.Q, dims=("student", "student_other")),
        R=sizes * xr.DataArray(unit.R, dims=("student", "teacher")),
        T=unit.T,
    )
    problem = ok.Problem(
        state=state,
        heads={"main": tau / alpha * sign},
        tasks={"main": ok.Task([*weights["u"], *([0.0] * M)])},
        phases=ok.Phase("main", UNTIL, 1.0, 1.0, gradient_flow=True),
        activation="relu",
    )
    times = np.concatenate([[0.0], np.geomspace(1e-3, UNTIL, 400)])
    return ok.solve(problem, t_eval=times)


def summary(run: xr.Dataset) -> xr.Dataset:
    """Time to half of the error, and the part of activation patterns flipped at the end."""
    error = run.generalization_error.isel(task=0, drop=True)
    half = ok.measures.escape_time(-error, -error.isel(time=0, drop=True) / 2)
    cosine = (
        ok.measures.overlap_cosine(run)
        .isel(time=-1, drop=True)
        .drop_vars(["student", "teacher"], errors="ignore")
    )
    own = xr.DataArray(3 + np.tile(np.arange(M), 2), dims="student")
    flipped = np.arccos(cosine.isel(teacher=own).clip(-1, 1)) / np.pi
    Q = run.Q.isel(time=-1, drop=True).drop_vars(["student", "student_other"], errors="ignore")
    place = xr.DataArray(np.arange(2 * M), dims="student")
    length = Q.isel(student=place, student_other=place).clip(0) ** 0.5
    weight = (
        abs(run.readout.isel(time=-1, head=0, drop=True).drop_vars("student", errors="ignore"))
        * length
    )
    imbalance = ok.measures.imbalance(run).isel(head=0)
    drift = abs(imbalance - imbalance.isel(time=0)).max(["time", "student"])
    return xr.Dataset(
        {
            "half": half,
            "flipped": flipped.mean("student"),
            "weighted": flipped.weighted(weight.fillna(0)).mean("student"),
            "drift": drift,
        }
    )


def upstream(full: bool) -> Any:
    """Maps over scale and imbalance, and two lines of the reference."""
    tau, delta = axis("tau", np.geomspace(0.1, 2, 5)), axis("delta", np.linspace(-1, 1, 5))
    lines = axis("tau", [0.1, 0.7]), axis("delta", [-1.0, 0.0, 1.0])
    found = {"lines": summary(committee(*lines))}
    if full:
        found["map"] = summary(committee(tau, delta))
    return found


def draw_upstream(figure: Any, found: Any) -> None:
    axes = figure.subplots(1, 3, sharey=True)
    shown = (
        ("half", "time to half of the error", "log"),
        ("flipped", "part of patterns flipped", None),
        ("weighted", r"the same, weighted by $|v_k|\sqrt{Q_{kk}}$", None),
    )
    for ax, (name, title, norm) in zip(axes, shown, strict=True):
        values = found["map"][name].transpose("tau", "delta")
        limits = {} if norm else {"vmin": 0, "vmax": 0.6}
        drawn = ax.pcolormesh(values.delta, values.tau, values, norm=norm, cmap="viridis", **limits)
        for x in values.delta.values:
            for y in values.tau.values:
                value = float(values.sel(delta=x, tau=y))
                colour = "k" if drawn.norm(value) > 0.7 else "w"
                ax.text(x, y, f"{value:.2g}", ha="center", va="center", fontsize=6, color=colour)
        ax.set(title=title, yscale="log", xlabel=r"imbalance $\delta=v_k^2-Q_{kk}$")
        figure.colorbar(drawn, ax=ax, pad=0.02)
    axes[0].set_ylabel(r"scale $\tau$")


def upstream_numbers(found: Any) -> list[Row]:
    lines = found["lines"].transpose("tau", "delta")
    known = {
        "half": ("time to half of the error", ("8.94 3.72 .232", "1.284 .636 .292")),
        "flipped": ("part flipped", (".267 .502 .507", ".306 .340 .357")),
        "weighted": ("part flipped, weighted", (".485 .494 .501", ".373 .374 .385")),
    }
    rows = [
        Row(
            f"{word}, δ = −1, 0, 1, τ = {tau}",
            lines[name].sel(tau=tau),
            reference,
            0.01,
            relative=True,
        )
        for name, (word, both) in known.items()
        for tau, reference in zip((0.1, 0.7), both, strict=True)
    ]
    return [*rows, Row("largest drift of v² − Q_kk", lines.drift.max(), "0.000000000", 5e-9)]


FIGURES = {
    "minimal": Figure(minimal, draw_minimal, minimal_numbers, (7.4, 2.2)),
    "upstream": Figure(upstream, draw_upstream, upstream_numbers),
}
