"""Scenarios with seeded mistakes: keys dropped and copied, values of every wrong kind."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import tomllib
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "data"
NUMBERS = [0, -1, 1, 2, 1e-300, 1e300, -0.5, 7, 1024, 1025, 10**7, 10**12, 2**63, 10**400]
NUMBERS += [float("nan"), float("inf"), -float("inf")]
TEXTS = ["", "main", "erf", "eta", "draw", "time", "status", "ü", "a\nb", "x" * 200, "0"]
SWEEPS = [
    {"over": "eta", "values": [0.1, 0.2]},
    {"over": "eta", "values": [0.5]},
    {"over": "draw", "values": [1.0]},
    {"over": "eta", "linspace": [0.1, 1.0, 10_000_000]},
    {"over": "many", "linspace": [0.1, 1.0, 100_000]},
    {"over": "more", "geomspace": [0.1, 1.0, 100_000]},
    {"over": "eta", "geomspace": [0.1, 1.0, 3], "labels": ["a", "b", "c"]},
    {"over": "eta", "values": [1.0, 2.0], "labels": ["a", {"b": 1}]},
    {"over": "eta", "values": [1.0, 2.0], "labels": [1, 10**400]},
    {"over": "eta", "values": [1.0, 2.0], "labels": [[1], [2, 3]]},
]
LISTS: list[Any] = [[], [[]], [1.0], [1.0, 2.0], [[1.0], [1.0, 2.0]], [[1.0, 2.0], [2.0, 1.0]]]
LISTS += [[[1.0]], [1.0, [2.0]], [1.0] * 2000, [True], ["main"]]
WORDS = {"times": [0.0, 1.0], "values": [0.1, 0.2]}
TABLES: list[Any] = [{}, {"main": 1.0}, WORDS, {"polar": {"radius": 1.0, "angles": [0.5]}}]
TABLES += [{"imbalance": {"scale": 1.0, "gain": 0.5}}, {"rotated": {"units": 1, "overlap": 0.5}}]
TABLES += [{"random": {"units": 1000, "input_dim": 10**9, "seed": 0}}]


def base(rng: random.Random) -> dict[str, Any]:
    """A shipped scenario, cut short so that it takes no time."""
    path = rng.choice(sorted(DATA.glob("*.toml")))
    raw = tomllib.loads(path.read_text())
    for phase in raw["phases"]:
        if isinstance(phase["duration"], int | float):
            phase["duration"] = min(phase["duration"], 2.0)
    raw.get("solver", {}).pop("t_eval", None)
    for draw in (raw.get("state", {}).get("draw", {}), raw.get("weights", {}).get("normal", {})):
        if "draws" in draw:
            draw["draws"] = 10
    return raw


def mutate(raw: dict[str, Any], rng: random.Random) -> None:
    """Change one to three places, some of them to what may be meant."""
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.6:
            _nudge(raw, rng)
        else:
            _break(raw, rng)


def _nudge(raw: dict[str, Any], rng: random.Random) -> None:
    """Another number, or a sweep, in the place of a number."""
    places = [
        (holder, key)
        for holder in _holders({k: raw[k] for k in raw if k != "figure"})
        for key, value in (holder.items() if isinstance(holder, dict) else enumerate(holder))
        if type(value) in (int, float)
    ]
    if places:
        holder, key = rng.choice(places)
        factor = rng.choice([0.5, 2, 1.1])
        value = holder[key]
        with contextlib.suppress(OverflowError, ValueError):
            value = type(value)(value * factor)
        holder[key] = copy.deepcopy(rng.choice([value, value, SWEEPS[0], SWEEPS[1], SWEEPS[4]]))


def _break(raw: dict[str, Any], rng: random.Random) -> None:
    holders = list(_holders(raw))
    holder = rng.choice(holders)
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    if not keys:
        return
    key = rng.choice(keys)
    match rng.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(TEXTS[1:])] = copy.deepcopy(holder[key])
        case 3:
            holder[key] = copy.deepcopy(rng.choice(SWEEPS))
        case 4:
            source = rng.choice(holders)
            values = list(source.values()) if isinstance(source, dict) else source
            if values:
                holder[key] = copy.deepcopy(rng.choice(values))
        case _:
            holder[key] = rng.choice(NUMBERS) if rng.random() < 0.3 else _other(rng)


def _other(rng: random.Random) -> Any:
    kinds: list[list[Any]] = [NUMBERS, TEXTS, SWEEPS, LISTS, TABLES, [True, False]]
    return copy.deepcopy(rng.choice(rng.choice(kinds)))


def _holders(item: Any) -> Any:
    if isinstance(item, dict | list):
        yield item
        for value in list(item.values()) if isinstance(item, dict) else item:
            yield from _holders(value)


def toml(item: Any) -> str:
    """As TOML; a whole file where it is called with a table."""
    return "\n".join(f"{json.dumps(k)} = {_inline(v)}" for k, v in item.items())


def _inline(item: Any) -> str:
    if isinstance(item, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_inline(v)}" for k, v in item.items()) + "}"
    if isinstance(item, list):
        return "[" + ", ".join(map(_inline, item)) + "]"
    if isinstance(item, float) and item != item:
        return "nan"
    if isinstance(item, float) and item in (float("inf"), -float("inf")):
        return "inf" if item > 0 else "-inf"
    return json.dumps(item)
