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


def odekit_rhs(K):
    """odekit's right-hand side of one trajectory; its scratch memory lies behind the parameters."""
    n, S = peer_work.overlaps(K) + K, K * (K + 1) // 2
    system = peer_work.system(K).committee
    D, L = 2 * K, work.round_up(2 * K)
    X, J = work.round_up(L + K), K + 1
    T, u, sigma, p = system.T, system.u, system.sigma, system.p
    head, move, none, no_anchor = system.head, system.move, system.F, system.anchor
    v_head, place = system.v_head, work.make_work(K, K, 1, 1).place
    C, diag, ring, c = 0, D * X, D * X + X, D * X + X + J * L
    cyclic, cc = c + L, c + L + X
    mixed, cbar = cc + J * L, cc + 2 * J * L
    s, t_, A = cbar + K * L, cbar + 2 * K * L, cbar + 3 * K * L
    d, E = cbar + 4 * K * L, cbar + 4 * K * L + S * X
    J2, end = E + K * K, E + 2 * K * K
    eta, kernel = peer_work.ETA, committee.derivative
    Committee, Work = committee.Committee, work.Work

    @cfunc(lsoda_sig, error_model="numpy")
    def rhs(_t, y, dy, parameters):
        b = carray(parameters, end)
        flat, square = b[:0], b[:0].reshape((0, 0))
        scratch = Work(
            b[C:diag].reshape((D, X)),
            b[diag:ring],
            b[ring:c].reshape((J, L)),
            b[c:cyclic].reshape((1, L)),
            b[cyclic:cc].reshape((1, X)),
            b[cc:mixed].reshape((1, J * L)),
            b[mixed:cbar].reshape((1, J * L)),
            b[cbar:s].reshape((K, L)),
            b[s:t_].reshape((K, L)),
            b[t_:A].reshape((K, L)),
            b[A:d].reshape((K, L)),
            b[d:E].reshape((S, X)),
            b[E:J2].reshape((K, K)),
            b[J2:end].reshape((K, K)),
            square, flat, flat, flat, flat, flat, place, square, square, square, square, square,
            flat,
        )  # fmt: skip
        phase = Committee(
            0, T, u, sigma, p, head, move, 1.0, 0.0, 0.0, none, no_anchor, none, none, v_head
        )
        kernel(carray(y, n), eta, 0.0, phase, scratch, carray(dy, n))

    return rhs, end


@njit(parallel=True, nogil=True)
def loop_dop853(address, y, times, scratch, rtol, atol, out):
    for i in prange(y.shape[0]):
        out[i] = dop853(address, y[i], times, scratch[i], rtol, atol, 100_000)[0]


@njit(parallel=True, nogil=True)
def loop_lsoda(address, y, times, scratch, rtol, atol, out):
    for i in prange(y.shape[0]):
        out[i] = lsoda(address, y[i], times, scratch[i], rtol, atol, 100_000)[0]


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
        for method, loop in (("dop853", loop_dop853), ("lsoda", loop_lsoda)):
            found[f"numbalsoda {method}, {form}"] = prepare(loop, rhs, size, K)
    return found


def prepare(loop, rhs, size, K):
    def starting(n):
        y = peer_work.with_heads(peer_work.starts(K, n))
        scratch = np.zeros((n, 8 * math.ceil(size / 8)))
        out = np.empty((n, len(peer_work.TIMES), y.shape[1]))

        def go():
            loop(rhs.address, y, peer_work.TIMES, scratch, peer_work.RTOL, peer_work.ATOL, out)
            return out, None

        return go

    return BATCH, starting
