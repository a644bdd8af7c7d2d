"""Datasets made from one like them are those that xarray puts together."""

import numpy as np
import pytest
import xarray as xr

from committees import REGISTRY, assemble
from odekit.dataset import assemble as datasets


def parts(time=(0.0, 1.0), scale=1.0):
    """Arrays and coordinates of a small result."""
    Q = scale * np.arange(8.0).reshape(2, 2, 2)
    arrays = {"Q": Q, "phase": [0, 0], "status": 0, "method": ["DOP853"]}
    return arrays, {"time": np.array(time), "head": ["main"], "task": ["a", "b"]}


def test_like_one_before_and_put_together_are_the_same(monkeypatch):
    copied = [assemble(*parts(scale=s), {"title": "x"}) for s in (1.0, 2.0)][1]
    monkeypatch.setattr(datasets, "MOST_LABELS", 0)
    whole = assemble(*parts(scale=2.0), {"title": "x"})
    xr.testing.assert_identical(copied, whole)
    assert list(copied.variables) == list(whole.variables)
    assert copied.Q.dtype == whole.Q.dtype
    assert copied.phase.dtype == whole.phase.dtype == REGISTRY["phase"].dtype


@pytest.mark.parametrize("change", [{"time": (0.0, 2.0)}, {"time": (0.0, 1.0 + 1e-15)}])
def test_other_coordinates_are_not_taken_for_the_same(change):
    assemble(*parts(), {})
    np.testing.assert_array_equal(assemble(*parts(**change), {}).time, change["time"])


def test_what_is_done_to_one_dataset_is_not_done_to_the_next():
    first = assemble(*parts(), {})
    for name in ("Q", "time", "head"):
        first[name].attrs["mine"] = 1
        first[name].encoding["mine"] = 1
    first.attrs["mine"] = 1
    first.Q.values[:] = -1.0
    with pytest.raises(ValueError, match="read-only"):
        first.time.values[0] = -1.0
    second = assemble(*parts(), {})
    assert "mine" not in second.attrs
    assert not any("mine" in {**v.attrs, **v.encoding} for v in second.variables.values())
    np.testing.assert_array_equal(second.Q, parts()[0]["Q"])
    np.testing.assert_array_equal(second.time, [0.0, 1.0])
