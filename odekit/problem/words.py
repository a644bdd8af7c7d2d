"""Numbers in words, for the terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from odekit.base.checks import is_labelled
from odekit.problem.phase import PENALTIES, Phase, each
from odekit.problem.schedule import Schedule

MAX_UNITS = 6
"""Largest matrix that is printed entry by entry."""


def matrix(name: str, values: Any) -> Iterator[str]:
    """A matrix entry by entry, or its extent where it is large."""
    if max(values.shape) > MAX_UNITS:
        yield f"{name}: {values.shape[0]} x {values.shape[1]}, {extent(values)}"
        return
    tiny = 1e-9 * np.abs(values).max(initial=0.0)
    rows = ["  ".join(f"{0.0 if abs(x) < tiny else x:10.4g}" for x in row) for row in values]
    yield "\n".join(f"{name if i == 0 else '':<2}{row}" for i, row in enumerate(rows))


def say(value: Any, core: Collection[str] = ()) -> str:
    """A value of the problem in a few characters; `core` names the dims that no sweep has."""
    if isinstance(value, Schedule):
        return f"from {value.values[0]:g} to {value.values[-1]:g}"
    if isinstance(value, Mapping):
        return _by_name(value)
    if is_labelled(value):
        swept = [str(d) for d in value.dims if d not in core]
        return f"{extent(value.values)} over {', '.join(swept)}" if swept else say(value.values)
    array = np.asarray(value, dtype=float)
    if array.ndim == 0:
        return f"{float(array):g}"
    if array.ndim > 1 and array.size <= MAX_UNITS:
        return "(" + ", ".join(say(row) for row in array) + ")"
    if array.size > MAX_UNITS:
        return f"of {array.size}, {extent(array)}"
    return "(" + ", ".join(f"{x:.4g}" for x in array) + ")"


def _by_name(values: Mapping[str, Any]) -> str:
    """Values by name; names that share one stand together, the rest is counted where it is long."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        groups.setdefault(say(value), []).append(name)
    parts = [
        f"{said} ({', '.join(names[:MAX_UNITS])}{' ...' if len(names) > MAX_UNITS else ''})"
        for said, names in groups.items()
    ]
    more = f" and {len(parts) - MAX_UNITS} more" if len(parts) > MAX_UNITS else ""
    return ", ".join(parts[:MAX_UNITS]) + more


def extent(values: Any) -> str:
    """Smallest and largest value."""
    return f"{np.nanmin(values):.4g} to {np.nanmax(values):.4g}"


def phase_words(phase: Phase) -> str:
    """A phase in a line, without what it does not use."""
    tasks = phase.mixture
    names = [n if len(tasks) == 1 else f"{say(p)} {n}" for n, p in tasks.items()]
    words = [" + ".join(names), f"for {say(phase.duration)}", f"eta {say(phase.learning_rate)}"]
    if isinstance(phase.readout_learning_rate, Schedule) or np.any(phase.readout_learning_rate):
        words.append(f"readout eta {say(phase.readout_learning_rate)}")
    words += ["gradient flow"] if phase.gradient_flow else []
    words += [f"batch {phase.batch_size}"] if phase.batch_size != 1 else []
    for name in PENALTIES:
        value = getattr(phase, name)
        there = any(map(np.any, each(value)))
        words += [f"{name.replace('_', ' ')} {say(value)}"] if there else []
    words += _unusual(phase)
    limits = [f"{n} <= {say(v)}" for n, v in phase.thresholds.items()]
    words += [f"until {', '.join(limits)}"] if limits else []
    if phase.frozen is not None and any(phase.frozen):
        words.append(f"frozen units {', '.join(str(k) for k, f in enumerate(phase.frozen) if f)}")
    if phase.consolidation is not None:
        c = phase.consolidation
        words.append(f"{c.kind} consolidation of strength {say(c.strength)}")
    words += [f"head {b} copied from {a}" for b, a in (phase.copy_heads or {}).items()]
    return ", ".join(words)


def _unusual(phase: Phase) -> Iterator[str]:
    """Rates of biases, dropout, momentum and normalised rates."""
    if np.any(np.asarray(phase.bias_learning_rate)):
        yield f"bias eta {say(phase.bias_learning_rate)}"
    if np.any(np.asarray(phase.keep_probability) != 1.0):
        yield f"units answer with probability {say(phase.keep_probability)}"
    if phase.momentum_decay is not None:
        yield f"momentum that decays at {say(phase.momentum_decay)}"
    if phase.normalization is not None:
        yield f"rates over {phase.normalization!r}"
