"""Products of matrices in a group's memory, in tiles and entry by entry, beside numpy's."""

import numpy as np
import pytest

from odekit_kernels._jit import kernel
from odekit_kernels.gated.products import in_loops
from odekit_kernels.lanes.memory import make_memory


@kernel(_nrt=False)
def product(M, A, at, B, bt, C, r, k, c, sign, add):
    in_loops(M, A, at, B, bt, C, r, k, c, sign, add)


@pytest.mark.parametrize("lanes", [8, 1])
def test_products_of_all_shapes(lanes):
    rng = np.random.default_rng(0)
    for case in range(60):
        r, k, c = (int(n) for n in rng.integers(1, 12, 3))
        at, bt, add = (int(x) for x in rng.integers(0, 2, 3))
        sign = float(rng.choice([-1.0, 1.0]))
        sizes = [r * k, k * c, r * c]
        M = make_memory(sum(sizes)) if lanes == 8 else np.zeros(sum(sizes))
        M[:] = rng.normal(size=M.shape)
        whole = M.reshape(sum(sizes), lanes).copy()
        A, B, C = np.split(whole, np.cumsum(sizes)[:2])
        left = A.reshape((k, r, lanes)).swapaxes(0, 1) if at else A.reshape((r, k, lanes))
        right = B.reshape((c, k, lanes)).swapaxes(0, 1) if bt else B.reshape((k, c, lanes))
        expected = sign * np.einsum("rkx,kcx->rcx", left, right)
        expected = expected + C.reshape(expected.shape) if add else expected
        product(M, 0, at, r * k, bt, r * k + k * c, r, k, c, sign, add)
        after = M.reshape(sum(sizes), lanes)
        np.testing.assert_allclose(
            after[-r * c :].reshape(expected.shape),
            expected,
            rtol=1e-13,
            atol=1e-13,
            err_msg=str(case),
        )
        np.testing.assert_array_equal(after[: -r * c], whole[: -r * c])
