"""Mistakes of a scenario: collected with their keys, and repaired so that the rest is checked."""

from __future__ import annotations

import copy
import difflib
import re
import typing
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from odekit.base.errors import ProblemError, ScenarioError
from odekit.scenario.tables import Shape

EXTRA = "extra_forbidden"
WORDS = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text in quotes",
    "list_type": "a list (of tables: write [[phases]])",
    "dict_type": "a table of names",
    "model_type": "a table",
}
"""What each kind of value is called."""

Key = tuple[str | int, ...]


class Mistakes(list[tuple[Key, str]]):
    """Mistakes with their keys; `broken` keys hold a stand-in, whose mistakes do not count.

    Parameters
    ----------
    sections : iterable of str
        In the order in which a scenario is written.
    """

    def __init__(self, sections: Iterable[str]) -> None:
        super().__init__()
        self.sections = ("file", *sections)
        self.broken: set[Key] = set()

    def blame(self, error: ProblemError, where: Key) -> Key:
        """Take down what a check found below the key `where`; return the key at fault."""
        key = (*where, *argument_key(error.argument))
        if not any(key[: len(b)] == b for b in self.broken):
            sentence = f"{error.rule}, got {error.given}. {error.remedy}".strip()
            self.append((key, sentence if error.remedy else sentence.removesuffix(".")))
        return key

    def in_order(self) -> list[tuple[str, str]]:
        """The mistakes as text, in the order in which a scenario is written."""
        rank = {name: i for i, name in enumerate(self.sections)}

        def place(item: tuple[Key, str]) -> tuple[int, int]:
            key = item[0] or ("file",)
            index = key[1] if len(key) > 1 and isinstance(key[1], int) else 0
            return rank.get(str(key[0]), -1), index

        items = sorted(self, key=place)
        return list(dict.fromkeys((dotted(key), message) for key, message in items))


def validate(raw: dict[str, Any], shape: Shape) -> tuple[Any, Mistakes]:
    """The scenario's tables, with stand-ins for the keys at fault, and the mistakes."""
    mistakes = Mistakes(shape.table.model_fields)
    try:
        return shape.table.model_validate(raw), mistakes
    except ValidationError as error:
        found = error.errors(include_url=False)
    raw = copy.deepcopy(raw)
    guesses = {
        (*one["loc"][:-1], _guess(one["loc"], shape)) for one in found if one["type"] == EXTRA
    }
    for one in found:
        key = plain_key(one["loc"], shape)
        if one["type"] != "missing" or one["loc"] not in guesses:
            mistakes.append((key, message(one, shape)))
        _repair(raw, key, mistakes.broken, shape)
    return shape.table.model_validate(raw), mistakes


def validate_whole(raw: dict[str, Any], shape: Shape) -> tuple[Any, Mistakes]:
    """The same where parts need each other, so that nothing can stand in for one.

    Raises
    ------
    ScenarioError
        Listing every key that is wrong.
    """
    try:
        return shape.table.model_validate(raw), Mistakes(shape.table.model_fields)
    except ValidationError as error:
        found = []
        for one in error.errors(include_url=False):
            key = dotted(plain_key(one["loc"], shape))
            found.append((key, message(one, shape, "see data/README.md")))
        raise ScenarioError(list(dict.fromkeys(found))) from None


def plain_key(loc: Key, shape: Shape) -> Key:
    """A place as pydantic names it, without the forms of values."""
    return tuple(step for step in loc if step not in (*shape.forms, "[key]"))


def argument_key(argument: str) -> Key:
    """The key of an argument as Python writes it.

    Examples
    --------
    >>> argument_key("phases[1].until['a']"), argument_key("Q, R, T")
    (('phases', 1, 'until', 'a'), ())
    """
    if ", " in argument:
        return ()
    steps = re.findall(r"\['((?:[^'\\]|\\.)*)'\]|\[(\d+)\]|([^.\[\]]+)", argument)
    return tuple(int(index) if index else name or word for name, index, word in steps)


def dotted(key: Key) -> str:
    """A key as a user reads it.

    Examples
    --------
    >>> dotted(("phases", 1, "duration"))
    'phases[1].duration'
    """
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in key)
    return text.lstrip(".") or "file"


def _repair(raw: dict[str, Any], key: Key, broken: set[Key], shape: Shape) -> None:
    """Put a stand-in where a mistake is, or drop the key if it can be left out."""
    section = str(key[0])
    cut = key[: shape.depth(section)]
    broken.add(cut)
    if len(cut) == 1 or not isinstance(raw.get(section), dict | list):
        raw.pop(section, None)
        if section in shape.sections:
            raw[section] = copy.deepcopy(shape.sections[section])
    elif section not in shape.items:
        raw[section].pop(cut[1], None)
    elif len(cut) == 2:
        raw[section][cut[1]] = copy.deepcopy(shape.items[section])
    else:
        _repair_field(raw[section][cut[1]], cut[2], shape.items[section])


def _repair_field(table: Any, name: Any, stand_ins: dict[str, Any]) -> None:
    if isinstance(table, dict):
        table.pop(name, None)
        if name in stand_ins:
            table[name] = stand_ins[name]


def message(error: Any, shape: Shape, known: str | None = None) -> str:
    """What pydantic found, in the words of the other errors."""
    kind, given = error["type"], _short(error["input"])
    if kind == "missing":
        return "is missing"
    if kind == EXTRA:
        if known is not None:
            return f"is not a known key; known here: {known}"
        return _unknown(error["loc"], shape)
    if kind == "union_tag_invalid":
        tags = re.findall(r"<\w+>", error["ctx"]["expected_tags"])
        return f"must be {' or '.join(shape.forms[t] for t in tags)}, got {given}"
    if kind in WORDS:
        return f"must be {WORDS[kind]}, got {given}"
    return f"{error['msg'].replace('Input should be', 'must be')}, got {given}"


def _unknown(loc: Key, shape: Shape) -> str:
    """Say that a key is unknown, and what may have been meant."""
    guess, known = _guess(loc, shape), ", ".join(_table_at(loc[:-1], shape).model_fields)
    hint = f"did you mean `{guess}`?" if guess else f"known here: {known}"
    return f"is not a known key; {hint}"


def _guess(loc: Key, shape: Shape) -> str | None:
    known = list(_table_at(loc[:-1], shape).model_fields)
    return next(iter(difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.6)), None)


def _table_at(loc: Key, shape: Shape) -> type[BaseModel]:
    """The table in which a key stands."""
    table: type[BaseModel] = shape.table
    if len(loc) > 1 and loc[0] in shape.items:
        item = typing.get_args(table.model_fields[str(loc[0])].annotation)[-1]
        table = _inner(item) or table
        loc = loc[2:]
    for step in loc:
        if step in shape.tables:
            table = shape.tables[str(step)]
        elif step in table.model_fields:
            table = _inner(table.model_fields[str(step)].annotation) or table
    return table


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The table that a field holds, if it holds just one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    plain = [_inner(a) for a in typing.get_args(annotation) if a is not type(None)]
    return plain[0] if len(plain) == 1 else None


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
