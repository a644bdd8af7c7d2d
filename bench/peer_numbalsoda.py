"""numbalsoda's DOP853 and LSODA in a Numba loop over trajectories, `prange` over threads."""

from __future__ import annotations

import math

import numba
import numpy as np
from numba import carray, cfunc, njit, prange
from numbalsoda import dop853, lsoda, lsoda_sig

from bench import literal, peer_work
from odekit_kernels.committee import one as committee
from odekit_kernels.committee import work

BATCH = 16
EQUAL = {2: ("lsoda", 1.2e-9), 4: ("lsoda", 3e-9), 8: ("dop853", 1e-7)}


def literal_rhs(K):
    """`literal.rhs` as numbalsoda wants it; its scratch arrays lie behind the parameters."""
    D, n = 2 * K, peer_work.overlaps(K) + K
    T, u, eta = np.eye(K), np.ones(K), peer_work.ETA
    function = literal.rhs

    @cfunc(lsoda_sig)
    def rhs(_t, y, dy, parameters):
        p = carray(parameters, D * D + D + K * D + K * K)
        C, c = p[: D * D].reshape((D, D)), p[D * D : D * D + D]
        A = p[D * D + D : D * D + D + K * D].reshape((K, D))
        dQ = p[D * D + D + K * D :].reshape((K, K))
        function(carray(y, n), eta, T, u, 0.0, C, c, A, dQ, carray(dy, n))

    return rhs, D * D + D + K * D + K * K


def carved(memory, tuple_type):
    """Source of a tuple of scratch arrays in one block `b`, each from a multiple of 64 bytes on."""
    parts, end = [], 0
    for name, array in zip(memory._fields, memory, strict=True):
        if name == "place" or array is None:
            parts.append("place" if name == "place" else "None")
            continue
        shape = ", ".join(map(str, array.shape)) + ","
        parts.append(f"b[{end} : {end + array.size}].reshape(({shape}))")
        end += 8 * math.ceil(array.size / 8)
    return f"{tuple_type}({', '.join(parts)})", end


def odekit_rhs(K):
    """odekit's right-hand side of one trajectory; its scratch memory lies behind the parameters."""
    n, memory = peer_work.overlaps(K) + K, work.make_work(K, K, 1, 1)
    system = peer_work.system(K).committee
    scratch, end = carved(memory, "Work")
    text = f"""
def rhs(_t, y, dy, parameters):
    b = carray(parameters, {end})
    phase = Committee(
        0, T, u, sigma, p, head, move, 1.0, 0.0, 0.0, F, anchor, F_v, v_anchor, v_head, None
    )
    kernel(carray(y, {n}), {peer_work.ETA}, 0.0, phase, {scratch}, carray(dy, {n}))
"""
    arrays = ("T", "u", "sigma", "p", "head", "move", "F", "anchor", "F_v", "v_anchor", "v_head")
    names = {name: getattr(system, name) for name in arrays}
    names |= {"Committee": committee.Committee, "Work": work.Work, "kernel": committee.derivative}
    names |= {"carray": carray, "place": memory.place}
    exec(text, names)
    return cfunc(lsoda_sig, error_model="numpy")(names["rhs"]), end


@njit(parallel=True, nogil=True)
def loop_dop853(address, y, times, scratch, rtol, atol, out):
    for i in prange(y.shape[0]):
        out[i] = dop853(address, y[i], times, scratch[i], rtol, atol, 100_000)[0]


@njit(parallel=True, nogil=True)
def loop_lsoda(address, y, times, scratch, rtol, atol, out):
    for i in prange(y.shape[0]):
        out[i] = lsoda(address, y[i], times, scratch[i], rtol, atol, 100_000)[0]


LOOPS = {"dop853": loop_dop853, "lsoda": loop_lsoda}


def evaluate(rhs, size, y):
    dy, scratch = np.zeros_like(y), np.zeros(size)
    pointer = lambda x: x.ctypes.data_as(rhs.ctypes.argtypes[1])  # noqa: E731
    rhs.ctypes(0.0, pointer(y), pointer(dy), pointer(scratch))
    return dy


def candidates(K, threads):
    numba.set_num_threads(threads)
    found = {}
    for form, make in (("odekit's rhs", odekit_rhs), ("literal rhs", literal_rhs)):
        rhs, size = make(K)
        states = lambda y, r=rhs, s=size: [evaluate(r, s, x) for x in peer_work.with_heads(y)]  # noqa: E731
        peer_work.check(form, K, lambda y, f=states: np.array(f(y))[:, : peer_work.overlaps(K)])
        for method, loop in LOOPS.items():
            name = f"numbalsoda {method}, {form}"
            found[name] = prepare(loop, rhs, size, K, peer_work.RTOL)
            if method == EQUAL[K][0]:
                found[name + peer_work.EQUAL] = prepare(loop, rhs, size, K, EQUAL[K][1])
    return found


def prepare(loop, rhs, size, K, rtol):
    both = tuple(peer_work.tolerances(rtol).values())

    def starting(n):
        y = peer_work.with_heads(peer_work.starts(K, n))
        scratch = np.zeros((n, 8 * math.ceil(size / 8)))
        out = np.empty((n, len(peer_work.TIMES), y.shape[1]))

        def go():
            loop(rhs.address, y, peer_work.TIMES, scratch, *both, out)
            return lambda: out, None

        return go

    return BATCH, starting
