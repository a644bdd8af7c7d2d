"""Random numbers of the chain: a block of steps at a time, eight networks side by side.

Every step of a network has its own places in the network's streams, so that no split of the steps
and no company changes its numbers. A χ² variate that is rejected, once in 10⁵ at N = 2000, takes
further numbers, which are of a stream of their own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from odekit_kernels._jit import inner
from odekit_kernels.committee.sgd.stream import mix, pair, pair_at, unit
from odekit_kernels.simd import WIDTH, load, store

__all__ = ["BLOCK", "STREAMS", "draw_block", "enter_step", "leave_block"]

BLOCK = 1024
"""Pairs of normal variates at a time: 24 KiB of them with their places."""
STREAMS = 3
"""Of a network: fields and labels, χ², and what rejections take."""

_ONE, _TWO, _THREE = np.uint64(1), np.uint64(2), np.uint64(3)
_NEAR = 0.5
_TRIED = 3  # words of an attempt at a χ² variate


@inner
def words_of(memory: Any) -> int:
    """Numbers of the first stream that a step takes: normal variates, and choices of tasks."""
    b, S, _ = memory.share.shape
    return int(memory.z.shape[0] + (b if S > 1 else 0))


@inner
def draw_normals(count: int, memory: Any) -> None:
    """Normal variates of `count` steps, cosines in `left` and sines in `right`."""
    streams, place, gamma = memory.streams, memory.place, memory.gamma
    half = memory.z.shape[0] // 2
    words = np.uint64(words_of(memory))
    i = 0
    for step in range(count):
        for q in range(half):
            for l in range(WIDTH):
                taken = streams[0, 2, l] + words * np.uint64(step) + _TWO * np.uint64(q)
                gamma[i] = streams[0, 1, l]
                place[i] = streams[0, 0, l] + gamma[i] * taken
                i += 1
    # Apart from the loop above, so that LLVM does eight at a time.
    fill_pairs(place, gamma, memory.left, memory.right, count * half * WIDTH)


@inner
def fill_pairs(place: Any, gamma: Any, left: Any, right: Any, count: int) -> None:
    """Pairs of normal variates from the numbers at flat places and after them."""
    for i in range(count):
        left[i], right[i] = pair(mix(place[i]), mix(place[i] + gamma[i]))


@inner
def choose_tasks(step: int, p: Any, memory: Any) -> None:
    """Draw the task of every sample of a step; nothing is drawn for a single one."""
    b, S, _ = memory.share.shape
    if S == 1:
        return
    streams, share = memory.streams, memory.share
    words, normals = np.uint64(words_of(memory)), memory.z.shape[0]
    for j in range(b):
        for l in range(WIDTH):
            taken = streams[0, 2, l] + words * np.uint64(step) + np.uint64(normals + j)
            level = unit(mix(streams[0, 0, l] + streams[0, 1, l] * taken)) - 1.0
            left = 1.0
            for s in range(S):
                level -= p[s, l]
                share[j, s, l] = left if level < 0.0 or s == S - 1 else 0.0
                left -= share[j, s, l]


# ---------------------------------------------------------------------------------------------- χ²


@inner
def attempt(place: Any, gamma: Any, d: Any, c: Any) -> Any:
    """A variate of shape d + 1/3 after Marsaglia & Tsang 2000, or −1 where it takes a closer look.

    d v of v = (1 + c x)³, c = 1/√(9 d), is accepted if ln u < x²/2 + d (1 − v + ln v). For
    |c x| <= 1/2 that is at least −0.1414 c² x⁴, which leaves next to nothing to look at.
    """
    x = pair(mix(place), mix(place + gamma))[0]
    u = unit(mix(place + gamma + gamma)) - 1.0
    t = c * x
    sure = u < 1.0 - min(0.0331, 0.1414 * c * c) * x * x * x * x
    v = (1.0 + t) * (1.0 + t) * (1.0 + t)
    return d * v if sure and abs(t) <= _NEAR else -1.0


@inner
def closer(place: Any, gamma: Any, d: float, c: float) -> float:
    """`attempt` with the exact condition."""
    x = pair(mix(place), mix(place + gamma))[0]
    u = unit(mix(place + gamma + gamma)) - 1.0
    t = 1.0 + c * x
    if t <= 0.0:
        return -1.0
    v = t * t * t
    return d * v if math.log(u) < 0.5 * x * x + d * (1.0 - v + math.log(v)) else -1.0


@inner
def again(streams: Any, l: int, d: float, c: float) -> float:
    """Attempts with numbers of the third stream."""
    found = -1.0
    while found < 0.0:
        place = streams[2, 0, l] + streams[2, 1, l] * streams[2, 2, l]
        streams[2, 2, l] += _THREE
        found = closer(place, streams[2, 1, l], d, c)
    return found


@inner
def fill_attempts(place: Any, gamma: Any, d: float, c: float, out: Any, count: int) -> None:
    """Attempts at flat places."""
    for i in range(count):
        out[i] = attempt(place[i], gamma[i], d, c)


@inner
def draw_chi(count: int, freedom: int, memory: Any) -> None:
    """Roots of χ² variates of `freedom`, `freedom` − 1, ... degrees; 0 where none are left."""
    for i in range(memory.chi.shape[0]):
        n = freedom - i
        if n >= 2:
            draw_gamma(i, count, 0.5 * n - 1.0 / 3.0, memory)
        else:
            draw_least(i, count, n, memory)


@inner
def draw_gamma(i: int, count: int, d: float, memory: Any) -> None:
    """Roots of twice a Gamma variate of shape d + 1/3, for every step and lane."""
    streams, place, gamma, chis = memory.streams, memory.place, memory.gamma, memory.chis[i]
    c = 1.0 / math.sqrt(9.0 * d)
    words = np.uint64(_TRIED * memory.chi.shape[0])
    j = 0
    for step in range(count):
        for l in range(WIDTH):
            taken = streams[1, 2, l] + words * np.uint64(step) + np.uint64(_TRIED * i)
            gamma[j] = streams[1, 1, l]
            place[j] = streams[1, 0, l] + gamma[j] * taken
            j += 1
    fill_attempts(place, gamma, d, c, chis, count * WIDTH)
    for j in range(count * WIDTH):
        if chis[j] < 0.0:
            found = closer(place[j], gamma[j], d, c)
            chis[j] = found if found >= 0.0 else again(streams, j % WIDTH, d, c)
        chis[j] = math.sqrt(2.0 * chis[j])


@inner
def draw_least(i: int, count: int, n: int, memory: Any) -> None:
    """A normal variate for one degree of freedom, 0 for none."""
    streams, chis = memory.streams, memory.chis[i]
    words = np.uint64(_TRIED * memory.chi.shape[0])
    for j in range(count * WIDTH):
        l = j % WIDTH
        taken = streams[1, 2, l] + words * np.uint64(j // WIDTH) + np.uint64(_TRIED * i)
        chis[j] = pair_at(streams[1, 0, l], streams[1, 1, l], taken)[0] if n == 1 else 0.0


# ------------------------------------------------------------------------------------------ blocks


@inner
def draw_block(count: int, freedom: int, memory: Any) -> None:
    """Random numbers of the next `count` steps, at most as many as the memory is made for."""
    draw_normals(count, memory)
    draw_chi(count, freedom, memory)


@inner
def enter_step(step: int, p: Any, memory: Any) -> None:
    """Put the numbers of one step of the block where the step reads them."""
    half, m = memory.z.shape[0] // 2, memory.chi.shape[0]
    choose_tasks(step, p, memory)
    for q in range(half):
        i = (step * half + q) * WIDTH
        store(memory.z, q * WIDTH, load(memory.left, i))
        store(memory.z, (half + q) * WIDTH, load(memory.right, i))
    for i in range(m):
        store(memory.chi, i * WIDTH, load(memory.chis, i * memory.chis.shape[1] + step * WIDTH))


@inner
def leave_block(count: int, memory: Any) -> None:
    """Count the numbers that a block has taken."""
    words, tried = words_of(memory), _TRIED * memory.chi.shape[0]
    for l in range(WIDTH):
        memory.streams[0, 2, l] += np.uint64(words * count)
        memory.streams[1, 2, l] += np.uint64(tried * count)
