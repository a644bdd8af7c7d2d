"""Lint, format, types, layers and the no-JIT lane are tests, so that one command runs all."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NO_JIT_TESTS = [f"tests/test_{name}.py" for name in ("moments", "committee", "lanes", "tangents")]


def run(*command: str, **env: str) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def needs(module: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed (extra `lint`)")


@needs("ruff")
def test_lint():
    run(sys.executable, "-m", "ruff", "check", ".")


@needs("ruff")
def test_format():
    run(sys.executable, "-m", "ruff", "format", "--check", ".")


@needs("mypy")
def test_types():
    run(sys.executable, "-m", "mypy")


@needs("importlinter")
def test_layers():
    run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")


def test_kernels_as_plain_python():
    """The same kernels, not compiled: coverage and readable tracebacks."""
    run(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:xdist", *NO_JIT_TESTS,
        NUMBA_DISABLE_JIT="1")  # fmt: skip
