"""Test-wide settings: Hypothesis profiles, and kernels compiled afresh for every session."""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

# Before anything imports odekit_kernels: a session starts on an empty kernel cache, so that stale
# or damaged code from before can pass no test. Workers of pytest-xdist inherit the environment and
# so share the directory of the process that started them.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _cache = tempfile.mkdtemp(prefix="odekit-test-kernels-")
    os.environ["NUMBA_CACHE_DIR"] = _cache
    atexit.register(shutil.rmtree, _cache, ignore_errors=True)

# No deadline: the first call of a kernel compiles it, which takes seconds.
_SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("default", deadline=None, max_examples=25, suppress_health_check=_SLOW)
settings.register_profile("thorough", deadline=None, max_examples=1000, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def compiled_by_one_process(request, monkeypatch):
    """Workers have the cores already: a helper of each would only be in their way."""
    if request.module.__name__ != "test_helper":
        monkeypatch.setattr("odekit.integrate.helper.possible", lambda: False)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with a user's file, which no file of odekit knows."""
    from declared import MODULE

    folder = tmp_path_factory.mktemp("own")
    (folder / "epidemic.py").write_text(MODULE)
    return folder


@pytest.fixture
def epidemic(folder, monkeypatch):
    """The system of equations that it declares."""
    from odekit.systems.outside.declaration import _declared

    monkeypatch.syspath_prepend(str(folder))
    module = importlib.import_module("epidemic")
    _declared["epidemic"] = module.sir
    return module
