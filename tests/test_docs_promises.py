"""The page of promises names tests that there are."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_promise_names_tests_that_exist():
    text = (ROOT / "docs" / "promises.md").read_text()
    body = text[text.index("## Runs") : text.index("## Files and stores")]
    promises = re.split(r"\n- ", body)[1:]
    assert len(promises) > 8
    for promise in promises:
        if promise.startswith("**What cannot"):
            continue
        named = re.findall(r"`(tests/\S+\.py)`", promise)
        assert named, promise
        assert all((ROOT / path).is_file() for path in named), promise
