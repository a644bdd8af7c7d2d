"""Laws of committees as a tool: assertions and Hypothesis strategies for their equations.

The assertions work on a right-hand side, ours (`odekit.equations`) or your own (`Flow`), at a point
(`Blocks`), or on a finished dataset of theory or simulation. A broken law raises `LawBroken`, an
AssertionError that names the law, its worst entry, the time, and the tolerance in units of rtol.

Other systems have `assert_conserved`, and the laws that `odekit validate` checks.
`odekit.testing.strategies` draws covariances, order parameters and whole problems; it needs
Hypothesis (the extra ``test``).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "Blocks": "blocks",
    "Flow": "blocks",
    "LawBroken": "report",
    "assert_agrees": "agreement",
    "assert_conserved": "flow",
    "assert_declared": "declared",
    "assert_error_nonincreasing": "flow",
    "assert_fixed_point": "flow",
    "assert_jacobian_matches": "agreement",
    "assert_moments_match": "moments",
    "assert_permutation_equivariant": "symmetries",
    "assert_positive_semidefinite": "flow",
    "assert_rotation_invariant": "symmetries",
    "assert_sign_equivariant": "symmetries",
    "strategies": "",
}

# Not the strategies: `import *` must not need Hypothesis.
__all__ = [name for name in _HOME if name != "strategies"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'odekit.testing' has no attribute {name!r}")
    module = importlib.import_module(f"odekit.testing.{_HOME[name] or name}")
    value = getattr(module, name) if _HOME[name] else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_HOME)


if TYPE_CHECKING:
    from odekit.testing import strategies as strategies
    from odekit.testing.agreement import assert_agrees as assert_agrees
    from odekit.testing.agreement import assert_jacobian_matches as assert_jacobian_matches
    from odekit.testing.blocks import Blocks as Blocks
    from odekit.testing.blocks import Flow as Flow
    from odekit.testing.declared import assert_declared as assert_declared
    from odekit.testing.flow import assert_conserved as assert_conserved
    from odekit.testing.flow import assert_error_nonincreasing as assert_error_nonincreasing
    from odekit.testing.flow import assert_fixed_point as assert_fixed_point
    from odekit.testing.flow import assert_positive_semidefinite as assert_positive_semidefinite
    from odekit.testing.moments import assert_moments_match as assert_moments_match
    from odekit.testing.report import LawBroken as LawBroken
    from odekit.testing.symmetries import (
        assert_permutation_equivariant as assert_permutation_equivariant,
    )
    from odekit.testing.symmetries import assert_rotation_invariant as assert_rotation_invariant
    from odekit.testing.symmetries import assert_sign_equivariant as assert_sign_equivariant
