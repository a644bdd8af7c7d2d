"""What benchmarks find is kept as JSON, and makes the tables of README that have marks."""

import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def bench(monkeypatch):
    """The benchmarks' modules, which lie beside the package."""
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    return lambda name: importlib.import_module(f"bench.{name}")


def test_results_are_plain_json_and_come_back(tmp_path, monkeypatch, bench):
    results = bench("results")
    monkeypatch.setattr(results, "FOLDER", tmp_path / "new")
    found = [{"K": np.int64(2), "rate": np.nan, "times": np.array([0.5, 1.5]), "of": (1, "two")}]
    results.keep("some", found)
    text = (tmp_path / "new" / "some.json").read_text()
    read = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert read["found"] == [{"K": 2, "rate": None, "times": [0.5, 1.5], "of": [1, "two"]}]
    assert read["cores"] >= 1
    assert read["packages"]["numpy"] == np.__version__


def test_a_table_takes_its_place_between_the_marks(tmp_path, monkeypatch, bench):
    results = bench("results")
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- bench x -->\nold\n<!-- end of x -->\nb\n")
    monkeypatch.setattr(results, "README", readme)
    results.into_readme("x", "| new |")
    results.into_readme("other", "nowhere")
    assert readme.read_text() == "a\n<!-- bench x -->\n| new |\n<!-- end of x -->\nb\n"


MARKS = re.findall(r"<!-- bench (\w+) -->\n(.*?)\n<!-- end of \1 -->", README, re.DOTALL)


def test_readme_has_tables():
    assert {name for name, _ in MARKS} == {"rhs", "runs", "peers", "ceiling", "start"}


@pytest.mark.parametrize(("name", "text"), MARKS, ids=[name for name, _ in MARKS])
def test_tables_of_readme_are_of_the_results_that_are_kept(name, text, bench):
    assert text == bench("results").said(name, bench(name).summary)
