"""Views of a group's memory: the values, and the machine code, of `get` and `put`."""

import re

import numpy as np
import pytest

from odekit_kernels._jit import NO_JIT, kernel
from odekit_kernels.lanes.memory import make_memory
from odekit_kernels.lanes.values import fill, get, lanes, pick, place, put
from odekit_kernels.lanes.views import alone, matrix, vector


@kernel(_nrt=False)
def product_by_places(M, A, x, out, K, D):
    """The sums that most of a committee's kernel consists of."""
    for k in range(K):
        total = fill(M, 0.0)
        for a in range(D):
            total = total + get(M, A + k * D + a) * get(M, x + a)
        put(M, out + k, get(M, out + k) + 2.0 * total)


@kernel(_nrt=False)
def product_by_views(M, A, x, out, K, D):
    C, c, d = matrix(M, A, K, D), vector(M, x, D), vector(M, out, K)
    for k in range(K):
        total = fill(M, 0.0)
        for a in range(D):
            total = total + C[k, a] * c[a]
        d[k] = d[k] + 2.0 * total


@kernel(_nrt=False)
def lanes_by_places(M, A, out, K, D):
    for lane in range(lanes(M)):
        for k in range(K):
            for a in range(D):
                if pick(M, A + k * D + a, lane) > 0.0:
                    place(M, out + k, lane, pick(M, out + k, lane) + 1.0)


@kernel(_nrt=False)
def lanes_by_views(M, A, out, K, D):
    for lane in range(lanes(M)):
        C, d = alone(matrix(M, A, K, D), lane), alone(vector(M, out, K), lane)
        for k in range(len(C)):
            for a in range(D):
                if C[k, a] > 0.0:
                    d[k] = d[k] + 1.0


def memories():
    rng = np.random.default_rng(0)
    wide, one = make_memory(40), np.zeros(40)
    wide[:], one[:] = rng.normal(size=(40, 8)), rng.normal(size=40)
    return [wide, one]


@pytest.mark.parametrize("which", [0, 1])
def test_views_do_what_get_and_put_do(which):
    for by_places, by_views, arguments in (
        (product_by_places, product_by_views, (0, 20, 30, 4, 5)),
        (lanes_by_places, lanes_by_views, (0, 30, 4, 5)),
    ):
        ours, theirs = memories()[which], memories()[which]
        before = ours.copy()
        by_places(theirs, *arguments)
        by_views(ours, *arguments)
        assert np.array_equal(ours, theirs)
        assert not np.array_equal(ours, before)


def arithmetic(function):
    """Vector and scalar instructions of floating point in a kernel's machine code, counted."""
    (code,) = function.inspect_asm().values()
    body = code.split(function.py_func.__name__, 1)[1]
    found = re.findall(r"\t(v?(?:f?m(?:add|sub|ul)|add|mul|mov|cmp|ucom)\w*[sp]d)\b", body)
    return {name: found.count(name) for name in sorted(set(found))}


@pytest.mark.skipif(NO_JIT, reason="nothing is compiled")
@pytest.mark.parametrize(
    ("by_places", "by_views", "arguments"),
    [
        (product_by_places, product_by_views, (0, 20, 30, 4, 5)),
        (lanes_by_places, lanes_by_views, (0, 30, 4, 5)),
    ],
)
def test_views_compile_to_the_instructions_of_get_and_put(by_places, by_views, arguments):
    memory = memories()[0]
    counted = []
    for function in (by_places, by_views):
        plain = getattr(function, "py_func")  # noqa: B009
        fresh = kernel(_nrt=False)(plain)
        fresh._cache.load_overload = lambda *_: None  # what comes from the cache has no listing
        fresh(memory, *arguments)
        counted.append(arithmetic(fresh))
    assert counted[0]
    assert counted[0] == counted[1]
