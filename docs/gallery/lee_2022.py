"""Lee et al. 2021 and 2022: continual learning, transfer, and Maslow's hammer."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from entry import REGRESSION, Figure, Row, axis, start, starts

import odekit as ok

COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7")


def heads(name: str) -> dict[str, Any]:
    """Readouts of both heads, as starts.json has them."""
    return dict(zip(("1", "2"), starts(name)["overlaps"]["heads"], strict=True))


def two_tasks(
    name: str, similarity: Any, rate: float, first: Any, last: float, **more: Any
) -> ok.Problem:
    """Two tasks one after the other from a start that is written down."""
    family = ok.task_family(feature_similarity=similarity, **more)
    both = {"learning_rate": rate, "readout_learning_rate": rate}
    return ok.Problem(
        state=start(name, similarity),
        heads=heads(name),
        tasks=family.tasks,
        phases=[ok.Phase("1", **first, **both), ok.Phase("2", last, **both)],
    )


# ------------------------------------------------------------------- Maslow's settings
SWITCH = 250.0


def maslow(full: bool) -> Any:
    """Forgetting and transfer over similarity, small rates, 250 + 250."""
    V = axis("similarity", np.round(np.linspace(0, 1, 11), 2))
    problem = two_tasks("maslow", V, 0.1, {"duration": SWITCH}, SWITCH)
    return ok.solve(problem, t_eval=np.linspace(0, 2 * SWITCH, 501))


def draw_maslow(figure: Any, run: Any) -> None:
    left, middle, right = figure.subplots(1, 3)
    lost, gained = ok.measures.forgetting(run), ok.measures.tabula_rasa(run)
    for V, colour in zip((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), COLOURS, strict=True):
        for ax, curve in ((left, lost), (middle, gained)):
            one = curve.sel(similarity=V)
            ax.plot(one.time_since_switch, one, color=colour, label=f"$V={V:g}$")
    left.set(
        title="forgetting",
        xlabel="time since the switch",
        ylabel=r"$\epsilon_1(t_s+t)-\epsilon_1(t_s)$",
    )
    left.legend(loc="upper left", fontsize=6)
    middle.set(title="transfer over a fresh student", xlabel="time since the switch")
    middle.set_ylabel(r"$\epsilon_{fresh}(t)-\epsilon_2(t_s+t)$")
    middle.axhline(0, color="0.6", lw=0.8)
    right.plot(
        run.similarity, ok.measures.final(lost), "o-", ms=3, color="k", label="forgetting, end"
    )
    right.plot(
        run.similarity,
        ok.measures.time_mean(gained),
        "s-",
        ms=3,
        color="#0072B2",
        label="transfer, mean",
    )
    right.axhline(0, color="0.6", lw=0.8)
    right.set(xlabel="similarity of the teachers $V$", ylim=(-0.02, 0.28))
    right.legend(loc="upper right")


def maslow_numbers(run: Any) -> list[Row]:
    some = run.sel(similarity=[0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    logs = ok.measures.final(ok.measures.forgetting(some, log=True))
    at = run.generalization_error.sel(task="1", time=SWITCH).isel(similarity=0)
    gained = ok.measures.time_mean(ok.measures.tabula_rasa(some))
    listed = "V = 0, .2 … 1"
    return [
        Row("ε₁ at the switch", at, "7.075e-4", 5e-8),
        Row(
            f"forgetting, {listed}",
            ok.measures.final(ok.measures.forgetting(some)),
            ".005655 .2183 .2118 .1555 .08368 .003905",
            1e-6,
        ),
        Row(f"of log₁₀ ε₁, {listed}", logs, ".954 2.491 2.478 2.344 2.077 .814", 1e-6),
        Row(
            f"mean transfer over a fresh student, {listed}",
            gained,
            "-.0108 .0523 .0705 .0824 .0914 .0986",
            1e-6,
        ),
    ]


# ------------------------------------------------------------------- a switch at a set error
LEVEL, AFTER = 1e-4, 200.0


def threshold(full: bool) -> Any:
    """The same with a switch at an error of 1e-4, η = 1, and rows 0.1 apart behind it."""
    V = axis("similarity", np.round(np.linspace(0, 1, 9), 3))
    given = {"duration": 1e4, "until": LEVEL}
    alone = two_tasks("threshold", 0.0, 1.0, given, AFTER)
    begin = float(ok.solve(alone, t_eval=[0.0]).phase_end[0])
    rows = np.concatenate([[0.0], begin + 0.1 * np.arange(1, 2001)])
    run = ok.solve(two_tasks("threshold", V, 1.0, given, AFTER), t_eval=rows)
    return run, begin


def draw_threshold(figure: Any, found: Any) -> None:
    run, _ = found
    left, middle, right = figure.subplots(1, 3)
    lost = ok.measures.forgetting(run, log=True)
    for V, colour in zip((0.0, 0.25, 0.5, 0.75, 1.0), COLOURS, strict=False):
        one = lost.sel(similarity=V)
        left.plot(one.time_since_switch, one, color=colour, label=f"$V={V:g}$")
    left.set(xlabel="time since the switch", title=r"forgetting of $\log_{10}\epsilon_1$")
    left.legend()
    adjusted = ok.measures.adjusted_forgetting(run)
    middle.plot(run.similarity, ok.measures.final(lost), "o-", ms=3, color="k", label="at the end")
    middle.plot(run.similarity, adjusted, "s--", ms=3, color="#D55E00", label="adjusted")
    middle.set(xlabel="similarity $V$", title=r"forgetting of $\log_{10}\epsilon_1$")
    middle.legend()
    right.plot(run.similarity, ok.measures.initial_rate(lost, rows=10), "o-", ms=3, color="#0072B2")
    right.set(xlabel="similarity $V$", title=r"rate of $\log_{10}\epsilon_1$, first 10 rows")


def threshold_numbers(found: Any) -> list[Row]:
    run, begin = found
    some = run.sel(similarity=[0.0, 0.25, 0.5, 0.75, 1.0])
    lost = ok.measures.forgetting(some, log=True)
    adjusted = ok.measures.adjusted_forgetting(some)
    error = some.generalization_error.where(some.time > begin)
    known = (error.sel(task="2") <= LEVEL).argmax("time")
    when = error.time.isel(time=known) - begin
    first = np.log10(error.sel(task="1").isel(time=known) / LEVEL)
    listed = "V = 0, .25, .5, .75, 1"
    return [
        Row("t_s", begin, "93.0863", 1e-6),
        Row(
            f"forgetting, {listed}",
            ok.measures.final(ok.measures.forgetting(some)),
            ".012297 .17057 .18609 .10067 .0016957",
            1e-6,
        ),
        Row(
            f"of log₁₀ ε₁, {listed}",
            ok.measures.final(lost),
            "2.0933 3.2321 3.2700 3.0033 1.2542",
            1e-6,
        ),
        Row(
            f"its rate over the first 10 rows, {listed}",
            ok.measures.initial_rate(lost, rows=10),
            "1.67e-5 .2168 .5098 .6620 .4878",
            1e-6,
        ),
        Row(
            f"adjusted, at the first row with ε₂ ≤ 1e-4, {listed}",
            first,
            "2.0485 3.2154 3.2423 2.9637 1.1884",
            1e-6,
        ),
        Row(f"time of that row since the switch, {listed}", when, "85.8 109.7 98.8 28.2 9.5", 1e-6),
        Row(
            f"`measures.adjusted_forgetting`, between rows, {listed}",
            adjusted,
            "2.0485 3.2154 3.2423 2.9637 1.1884",
            4e-4,
        ),
        Row(
            f"its time since the switch, {listed}",
            adjusted.time_since_switch,
            "85.8 109.7 98.8 28.2 9.5",
            0.1,
        ),
    ]


# ------------------------------------------------------------------- feature and readout similarity
DRAWS = 10
POINTS = np.round(np.linspace(0, 1, 11), 2)
NINE_ROWS = (".005955 .005901 .008217", ".363429 .244203 .342071", ".109293 .120958 .136639")
"""Forgetting at nine points, from a plain transcription of the equations (DOP853, rtol 1e-9)."""
NINE = axis("features", [0.0, 0.3, 0.8]), axis("readouts", [0.0, 0.5, 0.9])


def two_by_two(
    K: int, state: Any, head: Any, family: Any, first: dict[str, Any], last: float
) -> xr.Dataset:
    """Both tasks of teachers of two units, at the rate 0.5: errors as the phases end."""
    both = {"learning_rate": 0.5, "readout_learning_rate": 0.5}
    phases = [ok.Phase("1", **first, **both), ok.Phase("2", last, **both)]
    run = ok.solve(
        ok.Problem(state, head, family.tasks, phases), t_eval=[0.0, first["duration"] + last]
    )
    error = run.phase_end_error
    lost = error.sel(task="1").isel(phase_index=1) - error.sel(task="1").isel(phase_index=0)
    second = error.sel(task="2").isel(phase_index=1)
    return xr.Dataset({"forgetting": lost.drop_vars("task"), "second": second.drop_vars("task")})


def maps(full: bool) -> Any:
    """Forgetting of students of 2 and 4 units over both similarities, from random draws."""
    V, rho = axis("features", POINTS), axis("readouts", POINTS)
    family = ok.task_family(units=2, feature_similarity=V, readout_similarity=rho)
    found = {}
    for K in (2, 4):
        state = ok.OrderParameters.draw(
            K, family.T, weight_std=1e-3, input_dim=1000, seed=0, draws=DRAWS
        )
        rng = np.random.default_rng(0)
        head = {
            n: xr.DataArray(1e-3 * rng.standard_normal((DRAWS, K)), dims=("draw", "student"))
            for n in "12"
        }
        until = {"duration": 1e4, "until": 1e-4}
        found[K] = (
            two_by_two(K, state, head, family, until, 1000.0)
            .mean("draw")
            .transpose("features", "readouts")
        )
    nine = ok.task_family(units=2, feature_similarity=NINE[0], readout_similarity=NINE[1])
    own = two_by_two(
        4, start("map_M2_K4", NINE[0]), heads("map_M2_K4"), nine, {"duration": 600.0}, 600.0
    )
    return {**found, "own": own.transpose("features", "readouts")}


def draw_maps(figure: Any, found: Any) -> None:
    axes = figure.subplots(1, 3)
    shown = (
        (found[2].forgetting, "forgetting, K = 2", {"vmin": 0, "vmax": 0.6}),
        (found[4].forgetting, "forgetting, K = 4", {"vmin": 0, "vmax": 0.6}),
        (np.log10(found[4].second), r"$\log_{10}\epsilon_2$ at the end, K = 4", {}),
    )
    for ax, (values, title, limits) in zip(axes, shown, strict=True):
        drawn = ax.pcolormesh(values.readouts, values.features, values, cmap="viridis", **limits)
        ax.set(title=title, xlabel=r"readout similarity $\rho$")
        figure.colorbar(drawn, ax=ax, pad=0.02)
    axes[0].set_ylabel("feature similarity $V$")


def maps_numbers(found: Any) -> list[Row]:
    two, four, own = found[2].forgetting, found[4].forgetting, found["own"]
    best = four.sel(readouts=[0.0, 0.1, 0.2, 0.3, 0.4])
    rows = [
        Row(
            f"K = 4, own start, V = {float(V):g}: forgetting at ρ = 0, .5, .9",
            own.forgetting.sel(features=V),
            text,
            1e-3,
        )
        for V, text in zip(own.features, NINE_ROWS, strict=True)
    ]
    return [
        *rows,
        Row(
            "K = 4: V of the largest forgetting, ρ = 0, .1, .2, .3, .4",
            best.idxmax("features"),
            ".3 .3 .3 .3 .4",
            0.1,
            source=REGRESSION,
        ),
        Row(
            "K = 4: largest over V, ρ = 0, .1, .2, .3, .4",
            best.max("features"),
            ".403 .405 .399 .387 .346",
            0.005,
            source=REGRESSION,
        ),
        Row(
            "K = 4: largest over ρ at V = 0, 1",
            four.sel(features=[0.0, 1.0]).max("readouts"),
            ".075 .004",
            0.005,
            source=REGRESSION,
        ),
        Row(
            "K = 2: at ρ = 0, V = .1, .3, .5, .7, .9",
            two.sel(readouts=0.0, features=[0.1, 0.3, 0.5, 0.7, 0.9]),
            ".607 .478 .347 .213 .073",
            0.005,
            source=REGRESSION,
        ),
    ]


FIGURES = {
    "maslow": Figure(maslow, draw_maslow, maslow_numbers),
    "threshold": Figure(threshold, draw_threshold, threshold_numbers),
    "similarities": Figure(maps, draw_maps, maps_numbers),
}
