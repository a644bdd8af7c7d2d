"""Jarvis et al. 2025: initialisation, specialisation and forgetting."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from entry import REGRESSION, Figure, Row, axis, start
from jarvis_timing import draw_timing, timing, timing_numbers
from scipy.stats import norm

import odekit as ok

# ------------------------------------------------------------------- who learns the task
EVEN = np.pi / 4
N, SPREAD, LONG = 10_000, 1e-3, 3000.0
RATES = {"learning_rate": 1.0, "readout_learning_rate": 1.0}


def learner(
    state: ok.OrderParameters, head: Any, flow: bool = False, activation: str = "erf"
) -> xr.Dataset:
    """One unit learnt by two, from given readouts, at the beginning and the end."""
    problem = ok.Problem(
        state=state,
        heads={"main": head},
        tasks={"main": ok.Task([1.0])},
        phases=ok.Phase("main", duration=LONG, gradient_flow=flow, **RATES),
        activation=activation,
    )
    run = ok.solve(problem, t_eval=[0.0, LONG])
    entropy = ok.measures.contribution_entropy(run).isel(time=-1, head=0, teacher=0, drop=True)
    cosine = ok.measures.student_cosine(run)[..., -1, 0, 1]
    return xr.Dataset(
        {"entropy": entropy, "cosine": cosine.drop_vars(cosine.coords, errors="ignore")}
    )


def drawn(std: Any = SPREAD, draws: int = 5) -> ok.OrderParameters:
    """Random weights, the same draws at every point."""
    return ok.OrderParameters.draw(2, 1, weight_std=std, input_dim=N, seed=0, draws=draws)


def learners(full: bool) -> Any:
    """Maps over the polar readout, finer lines in its angle, and points from a written start."""
    radius, angle = (
        axis("radius", np.geomspace(1e-3, 3.16, 8)),
        axis("angle", np.linspace(0, np.pi / 2, 25)),
    )
    state, head = drawn(), ok.polar(radius, angle)
    lines = axis("radius", [1e-3, 0.1, 0.5, 1.0, 1.4]), axis("angle", np.linspace(0.4, EVEN, 40))
    points = [(1e-3, 0.3), (1e-3, 0.6), (1.0, 0.3), (1.0, 0.6), (3.0, 0.3)]
    places = (
        xr.DataArray([p[0] for p in points], dims="point"),
        xr.DataArray([p[1] for p in points], dims="point"),
    )
    own = start("study"), ok.polar(*places)
    straight = axis("radius", [0.1, 1.0, 3.0]), xr.DataArray([0.3, 0.6], dims="point")
    return {
        "online": learner(state, head).mean("draw"),
        "flow": learner(state, head, flow=True).mean("draw"),
        "lines": learner(drawn(), ok.polar(*lines)).entropy.mean("draw"),
        "points": learner(*own),
        "linear": learner(start("study"), ok.polar(*straight), True, "linear").entropy,
        "points_flow": learner(*own, flow=True),
    }


def border(entropy: xr.DataArray) -> np.ndarray:
    """θ_c, at which the entropy passes ½ on its way up to the even readout."""
    return np.array(
        [
            np.interp(0.5, line, entropy.angle)
            for line in entropy.transpose("radius", "angle").values
        ]
    )


def draw_learners(figure: Any, found: Any) -> None:
    axes = figure.subplots(1, 3, sharey=True)
    shown = (
        (found["online"].entropy, "entropy, online, η = 1", "viridis", (0, 1)),
        (found["flow"].entropy, "entropy, gradient flow", "viridis", (0, 1)),
        (found["online"].cosine, "cosine of the units, online", "RdBu_r", (-1, 1)),
    )
    for ax, (values, title, cmap, (low, high)) in zip(axes, shown, strict=True):
        values = values.transpose("radius", "angle")
        drawn = ax.pcolormesh(
            values.angle, values.radius, values, cmap=cmap, vmin=low, vmax=high, rasterized=True
        )
        if low == 0:
            ax.contour(
                values.angle, values.radius, values, levels=[0.5], colors="w", linewidths=1.2
            )
        ax.set(title=title, yscale="log", xlabel=r"readout angle $\theta$")
        ax.set_xticks([0, EVEN, 2 * EVEN], ["0", r"$\pi/4$", r"$\pi/2$"])
        figure.colorbar(drawn, ax=ax, pad=0.02)
    axes[0].set_ylabel("readout radius $r$")


def learners_numbers(found: Any) -> list[Row]:
    online, points, flow = found["online"].entropy, found["points"], found["points_flow"]
    even = online.sel(angle=EVEN, method="nearest")
    linear = found["linear"].transpose("point", "radius").values
    part = np.cos([0.3, 0.6]) ** 2
    shares = -(part * np.log2(part) + (1 - part) * np.log2(1 - part))
    return [
        Row(
            "entropy at θ = π/4, r = .001 … 3.16 (lowest, highest)",
            [even.min(), even.max()],
            "1.00 1.00",
            0.02,
            source=REGRESSION,
        ),
        Row(
            "θ_c at r = .001, .1, .5, 1, 1.4",
            border(found["lines"]),
            ".455 .455 .503 .634 .734",
            0.005,
            source=REGRESSION,
        ),
        Row(
            "entropy at (r, θ) = (.001, .3), (.001, .6), (1, .3), (1, .6), (3, .3)",
            points.entropy,
            ".273 .769 .114 .392 .000",
            0.01,
        ),
        Row(
            "part of the angles below ½, r = .1, 1.4",
            border(found["lines"])[[1, 4]] / EVEN,
            ".58 .93",
            0.01,
            source=REGRESSION,
        ),
        Row(
            "linear units, θ = .3, r = .1, 1, 3",
            linear[0],
            " ".join([f"{shares[0]:.4f}"] * 3),
            0.01,
        ),
        Row(
            "linear units, θ = .6, r = .1, 1, 3",
            linear[1],
            " ".join([f"{shares[1]:.4f}"] * 3),
            0.01,
        ),
        Row("the same in gradient flow, (1, .6), (3, .3)", flow.entropy[3:], ".160 .922", 0.01),
        Row(
            "cosine of the units at (3, .3): online, gradient flow",
            [points.cosine[4], flow.cosine[4]],
            "-.14 -1.00",
            0.01,
        ),
    ]


# ------------------------------------------------------------------- specialised by chance
CRITICAL = 0.455
"""θ_c of small readouts."""


def by_chance(x: Any) -> np.ndarray:
    """Part of the draws whose |v + R| is within θ_c of one unit, x = σ_w/(r √N).

    v + R is an isotropic normal vector around the even readout, m = 1/x standard deviations away.
    """
    from scipy.integrate import quad

    def density(phi: float, m: float) -> float:
        c = m * np.cos(phi - EVEN)
        ray = np.sqrt(2 * np.pi) * c * np.exp((c * c - m * m) / 2) * norm.cdf(c)
        return float(np.exp(-m * m / 2) + ray) / (2 * np.pi)

    parts = [(q * np.pi / 2 - CRITICAL, q * np.pi / 2 + CRITICAL) for q in range(4)]
    return np.array(
        [sum(quad(density, *part, args=(1 / one,))[0] for part in parts) for one in np.ravel(x)]
    )


def chance(full: bool) -> Any:
    """Fractions of draws that specialise at the even readout, over the spread of the weights."""
    spread = axis("spread", np.geomspace(1e-3, 1.0, 13))
    found = learner(drawn(spread, draws=300), ok.polar(1e-3, EVEN))
    return (found.entropy < 0.5).mean("draw")


def draw_chance(figure: Any, found: Any) -> None:
    ax = figure.subplots()
    x = found.spread.values / (1e-3 * np.sqrt(N))
    fine = np.geomspace(x[0], x[-1], 200)
    ax.plot(fine, by_chance(fine), color="k", label=r"$P(x)$, the angle of $|v_k+R_k|$")
    ax.axhline(4 * CRITICAL / np.pi, color="0.6", lw=0.8, ls="--", label=r"$4\theta_c/\pi$")
    error = np.sqrt(found * (1 - found) / 300)
    ax.errorbar(
        x, found, error, fmt="o", ms=3, color="#0072B2", label="300 draws of odekit's equations"
    )
    ax.set(
        xscale="log",
        ylim=(-0.02, 1),
        xlabel=r"$x=\sigma_w/(r\sqrt{N})$",
        ylabel="fraction with entropy < ½",
    )
    ax.legend(loc="upper left")


def chance_numbers(found: Any) -> list[Row]:
    std = found.spread.values
    x = std / (1e-3 * np.sqrt(N))
    said = by_chance(x)
    seen = found.values[4:11]
    z = (seen - said[4:11]) / np.sqrt(seen * (1 - seen) / 300)
    return [
        Row(
            "P(x) at x = .1, .178, .316, .562, 1, 10⁴",
            by_chance([0.1, 10**-0.75, 10**-0.5, 10**-0.25, 1.0, 1e4]),
            ".0012 .068 .303 .508 .569 .5795",
            1e-3,
            formula="theory",
        ),
        Row(
            "fraction at σ_w = .01, .0178, .0316, .0562, .1, .178, .316, .562, 1",
            found.values[4:],
            ".007 .063 .270 .510 .633 .630 .620 .683 .793",
            1e-3,
            source=REGRESSION,
            formula=said[4:],
        ),
        Row(
            "fraction at σ_w ≤ .0056",
            found.values[:4],
            "0.000 0.000 0.000 0.000",
            0.0,
            source=REGRESSION,
        ),
        Row(
            "deviation from P(x) in standard errors, x = .1 … 3.2",
            z,
            "0.0 0.0 0.0 0.0 0.0 0.0 0.0",
            2.5,
        ),
    ]


# ------------------------------------------------------------------- forgetting and similarity
SCHEMES = {
    "r = 1, θ = π/4": (1.0, EVEN),
    "r = 10⁻⁵, θ = π/4": (1e-5, EVEN),
    "r = 10⁻³, θ = 0.3": (1e-3, 0.3),
}
CONTROLS = {"r = 10⁻³, θ = π/4": (1e-3, EVEN), "r = 3, θ = 0.3": (3.0, 0.3)}


def two_tasks(state: ok.OrderParameters, similarity: Any, head: Any) -> xr.Dataset:
    """Two tasks one after the other, each with a head that starts at `head`."""
    family = ok.task_family(feature_similarity=similarity)
    problem = ok.Problem(
        state=state,
        heads=family.heads(head),
        tasks=family.tasks,
        phases=[ok.Phase(task, LONG, **RATES) for task in family.tasks],
    )
    run = ok.solve(problem, t_eval=[0.0, LONG, 2 * LONG])
    entropy = ok.measures.contribution_entropy(run, head="1").isel(time=1, teacher=0, drop=True)
    forgetting = ok.measures.final(ok.measures.forgetting(run)).drop_vars(
        ["time_since_switch"], errors="ignore"
    )
    return xr.Dataset({"forgetting": forgetting, "specialised": entropy < 0.5})


def schemes(named: Any) -> xr.DataArray:
    """Readouts of named schemes."""
    names = list(named)
    values = np.array(list(named.values())).T
    return ok.polar(*(xr.DataArray(v, dims="scheme", coords={"scheme": names}) for v in values))


def forgetting(full: bool) -> Any:
    """Forgetting over similarity, 20 draws of three schemes and two more; a written start."""
    V = axis("similarity", np.round(np.linspace(0, 1, 11), 2))
    family = ok.task_family(feature_similarity=V)
    state = ok.OrderParameters.draw(2, family.T, weight_std=SPREAD, input_dim=N, seed=0, draws=20)
    still = ok.OrderParameters.draw(2, np.eye(2), weight_std=SPREAD, input_dim=N, seed=0, draws=20)
    points = axis("similarity", [0.0, 0.3, 0.6])
    own = schemes({name: SCHEMES[name] for name in ("r = 1, θ = π/4", "r = 10⁻³, θ = 0.3")})
    return {
        "schemes": two_tasks(state, V, schemes(SCHEMES)),
        "controls": two_tasks(still, 0.0, schemes(CONTROLS)),
        "own": two_tasks(start("study", points), points, own),
    }


def draw_forgetting(figure: Any, found: Any) -> None:
    ax = figure.subplots()
    shown = found["schemes"]
    for name, colour in zip(SCHEMES, ("#0072B2", "#E69F00", "#009E73"), strict=True):
        one = shown.sel(scheme=name)
        count = int(one.specialised.isel(similarity=0).sum())
        low, high = (one.forgetting.quantile(q, "draw") for q in (0.1, 0.9))
        ax.fill_between(one.similarity, low, high, color=colour, alpha=0.2, lw=0)
        ax.plot(
            one.similarity,
            one.forgetting.mean("draw"),
            "o-",
            ms=3,
            color=colour,
            label=f"{name}: {count} of 20 specialised",
        )
    for name, marker in zip(CONTROLS, "s^", strict=True):
        one = found["controls"].sel(scheme=name)
        label = f"{name}, at $V=0$: {int(one.specialised.sum())} of 20"
        ax.plot(0.0, one.forgetting.mean("draw"), marker, ms=5, color="k", mfc="w", label=label)
    ax.set(
        xlabel="similarity of the teachers $V$", ylabel="forgetting at the end", xlim=(-0.02, 1.02)
    )
    ax.legend(title="readout after task 1", title_fontsize=7)


def forgetting_numbers(found: Any) -> list[Row]:
    mean = found["schemes"].forgetting.mean("draw").transpose("scheme", "similarity").values
    count = found["schemes"].specialised.isel(similarity=0).sum("draw").transpose("scheme").values
    control = found["controls"].transpose("scheme", "draw")
    own = found["own"].forgetting.transpose("scheme", "similarity").values
    listed = "V = 0, .1 … 1"
    return [
        Row(
            f"mean forgetting, r = 1, θ = π/4, {listed}",
            mean[0],
            ".333 .301 .270 .237 .205 .172 .139 .106 .071 .036 .000",
            0.003,
            source=REGRESSION,
        ),
        Row(
            f"(10⁻⁵, π/4), {listed}",
            mean[1],
            ".015 .137 .173 .188 .196 .176 .145 .111 .075 .038 .000",
            0.03,
            source=REGRESSION,
        ),
        Row(
            f"(10⁻³, .3), {listed}",
            mean[2],
            ".002 .060 .137 .230 .223 .195 .157 .118 .078 .040 .001",
            0.03,
            source=REGRESSION,
        ),
        Row("specialised after task 1, of 20 draws", count, "0 14 20", 0, source=REGRESSION),
        Row("own start, r = 1, θ = π/4, V = 0, .3, .6", own[0], ".3333 .2375 .1394", 1e-3),
        Row("own start, (10⁻³, .3), V = 0, .3, .6", own[1], ".0019 .2343 .1568", 1e-3),
        Row(
            "(10⁻³, π/4) at V = 0: forgetting, specialised draws",
            [control.forgetting[0].mean(), control.specialised[0].sum()],
            ".149 0",
            0.003,
            source=REGRESSION,
        ),
        Row(
            "(3, .3) at V = 0: forgetting, specialised draws",
            [control.forgetting[1].mean(), control.specialised[1].sum()],
            ".333 20",
            0.003,
            source=REGRESSION,
        ),
    ]


FIGURES = {
    "timing": Figure(timing, draw_timing, timing_numbers),
    "readout": Figure(learners, draw_learners, learners_numbers),
    "chance": Figure(chance, draw_chance, chance_numbers),
    "forgetting": Figure(forgetting, draw_forgetting, forgetting_numbers),
}
