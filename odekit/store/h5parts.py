"""What single messages of an HDF5 file may say: types, shapes, layouts, filters, attributes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from odekit.store.h5bytes import UNDEFINED, Bytes, Message, need

__all__ = ["Attribute", "attribute", "check_layout", "is_bare_dimension"]

_SHUFFLE, _DEFLATE, _FLETCHER = 2, 1, 3
_MOST_RANK = 32
_CHARACTERS = 3

# Datatype messages (IV.A.2.d) of the numbers that odekit writes, after class, version and bits.
_LITTLE, _SIGNED = 0, 8
_FLOATS = {
    bytes.fromhex("11201f000400000000002000170800177f000000"),
    bytes.fromhex("11203f000800000000004000340b0034ff030000"),
}
# A dimension without a variable of its own is a dataset of this type, big-endian, and this NAME.
_BARE_TYPE = bytes.fromhex("11211f000400000000002000170800177f000000")
_BARE_NAME = b"This is a netCDF dimension but not a netCDF variable"
_INTEGERS = {
    bytes([0x10, sign, 0, 0, size, 0, 0, 0, 0, 0, 8 * size, 0])
    for size in (1, 2, 4, 8)
    for sign in (_LITTLE, _LITTLE | _SIGNED)
}


@dataclass(frozen=True)
class Attribute:
    """Where the data of an attribute are; its kind says whether they refer to datasets."""

    name: str
    kind: str
    start: int
    count: int
    item: int


# ----------------------------------------------------------------------------- types and shapes


def _type(data: bytes, what: str) -> int:
    """Bytes of one item of a type that a variable may have."""
    need(len(data) >= 8, f"{what} of a type that is cut off")
    known = data[:20] in _FLOATS or data[:12] in _INTEGERS
    size = int.from_bytes(data[4:8], "little")
    text = data[0] & 15 == _CHARACTERS and size > 0
    need(known or text, f"{what} of a type that odekit does not write")
    return size


def _shape(file: Bytes, start: int, size: int, what: str) -> tuple[int, ...] | None:
    """Shape of a dataspace; None where it is empty by kind."""
    version, rank, flags = (file.number(start + i, 1) for i in range(3))
    need(version in (1, 2) and rank <= _MOST_RANK and flags in (0, 1), f"{what} of unusual shape")
    kind = file.number(start + 3, 1) if version == 2 else int(rank > 0)
    at = start + (4 if version == 2 else 8)
    need(kind in (0, 1, 2) and (kind == 1 or rank == 0), f"{what} of unusual shape")
    need(at + 8 * rank * (1 + flags) <= start + size, f"{what} of unusual shape")
    shape = tuple(file.number(at + 8 * i) for i in range(rank))
    return None if kind == 2 else shape


# ------------------------------------------------------------------------------------ attributes


def attribute(file: Bytes, start: int, size: int) -> Attribute:
    """Check an attribute message (IV.A.2.m): its type, and that it holds all its data."""
    version, flags = file.number(start, 1), file.number(start + 1, 1)
    need(version in (1, 2, 3) and flags == 0, "an unusual attribute")
    lengths = [file.number(start + 2 + 2 * i, 2) for i in range(3)]
    at = start + (9 if version == 3 else 8)
    padded = [-(-n // 8) * 8 if version == 1 else n for n in lengths]
    name = file.get(at, lengths[0]).rstrip(b"\0").decode(errors="replace")
    what = f"the attribute `{name}`"
    type_at, shape_at = at + padded[0], at + padded[0] + padded[1]
    data_at = shape_at + padded[2]
    kind, item = _attribute_type(file.get(type_at, lengths[1]), name, what)
    shape = _shape(file, shape_at, lengths[2], what)
    count = 0 if shape is None else math.prod(shape)
    need(data_at + count * item <= start + size, f"{what}, which is cut off")
    return Attribute(name, kind, data_at, count, item)


def is_bare_dimension(file: Bytes, attributes: list[Attribute]) -> bool:
    """Whether a dataset only stands for a dimension, which netCDF shows as no variable."""
    names = [file.get(a.start, a.count * a.item) for a in attributes if a.name == "NAME"]
    return any(name.startswith(_BARE_NAME) for name in names)


def _attribute_type(data: bytes, name: str, what: str) -> tuple[str, int]:
    """Kind and size of an item; netCDF notes which dimensions a variable has as references."""
    size = int.from_bytes(data[4:8], "little")
    if name == "DIMENSION_LIST":
        need(len(data) >= 16, f"{what} of a type that is cut off")
        need(data[0] & 15 == 9 and data[1] & 15 == 0 and size == 16, f"{what} of another type")
        inner = data[8:16]
        need(inner[0] & 15 == 7 and inner[1:] == b"\0\0\0\x08\0\0\0", f"{what} of another type")
        return "dimensions", 16
    if name == "REFERENCE_LIST":
        need(data in _PAIRS, f"{what} of another type")
        return "scales", size
    return "", _type(data, what)


# The type of REFERENCE_LIST: a reference to a dataset and the number of a dimension, whose type is
# a signed integer, or in files of some versions of HDF5 an unsigned one.
_PAIRS = {
    b"\x36\x02\0\0\x10\0\0\0dataset\0\0\x17\0\0\0\x08\0\0\0"
    b"dimension\0\x08\x10" + sign + b"\0\0\x04\0\0\0\0\0\x20\0"
    for sign in (b"\x08", b"\0")
}


# --------------------------------------------------------------------------------------- layouts


def check_layout(
    file: Bytes,
    name: str,
    space: Message,
    kind: Message,
    layout: Message,
    fill: Message | None,
    filters: Message | None,
    bare: bool,
) -> None:
    """Check that the data of a variable are in the file and have the size that they must have."""
    what = f"the variable `{name}`"
    data = file.get(kind.start, kind.size)
    item = 4 if bare and data[:20] == _BARE_TYPE else _type(data, what)
    text = file.number(kind.start, 1) & 15 == _CHARACTERS
    need(item == 1 or not text, f"{what} of a type that odekit does not write")
    shape = _shape(file, space.start, space.size, what)
    need(shape is not None, f"{what} of unusual shape")
    assert shape is not None
    if fill is not None:
        _check_fill(file, fill, item, what)
    used = _filters(file, filters, what) if filters is not None else set()
    version, way = file.number(layout.start, 1), file.number(layout.start + 1, 1)
    need(way != 3, "a virtual dataset")
    need(version == 3 and way in (1, 2), f"{what} in a layout that odekit does not write")
    if way == 1:
        address, size = file.number(layout.start + 2), file.number(layout.start + 10)
        need(size == item * math.prod(shape) and not used, f"{what} with data of another size")
        if address != UNDEFINED:
            file.get(address, size)
        return
    _check_chunks(file, layout, shape, item, bool(used), what)


def _check_fill(file: Bytes, fill: Message, item: int, what: str) -> None:
    version, flags = file.number(fill.start, 1), file.number(fill.start + 1, 1)
    need(version in (2, 3), f"{what} with an unusual fill value")
    there = flags & 0x20 if version == 3 else file.number(fill.start + 3, 1)
    at = fill.start + (2 if version == 3 else 4)
    if there:
        size = file.number(at, 4)
        good = size in (0, item) and at + 4 + size <= fill.start + fill.size
        need(good, f"{what} with an unusual fill value")


def _filters(file: Bytes, message: Message, what: str) -> set[int]:
    """The filters of a variable (IV.A.2.l): none but those whose code is in every library."""
    version, count = file.number(message.start, 1), file.number(message.start + 1, 1)
    need(version in (1, 2), f"{what} with filters that odekit does not use")
    at, used = message.start + (8 if version == 1 else 2), []
    for _ in range(count):
        used.append(file.number(at, 2))
        need(used[-1] in (_SHUFFLE, _DEFLATE, _FLETCHER), f"{what} with an unknown filter")
        name = file.number(at + 2, 2) if version == 1 else 0
        values = file.number(at + (6 if version == 1 else 4), 2)
        head = 8 if version == 1 else 6
        odd = 4 * (values % 2) if version == 1 else 0
        at += head + -(-name // 8) * 8 + 4 * values + odd
    need(at <= message.start + message.size and len(set(used)) == count, f"{what}: odd filters")
    return set(used)


def _check_chunks(
    file: Bytes, layout: Message, shape: tuple[int, ...], item: int, filtered: bool, what: str
) -> None:
    """Walk the index of the chunks, a version 1 B-tree (III.A.1)."""
    rank = file.number(layout.start + 2, 1)
    sizes = [file.number(layout.start + 11 + 4 * i, 4) for i in range(rank)]
    usual = rank == len(shape) + 1 and rank > 1 and sizes[-1] == item and all(sizes)
    need(usual, f"{what} with chunks of another size")
    address = file.number(layout.start + 3)
    if address == UNDEFINED:
        return
    most = math.prod(sizes)
    least, most = (0, most + most // 256 + 64) if filtered else (most, most)
    todo: list[tuple[int, int | None]] = [(address, None)]
    for node, level in todo:  # grows while it is read
        below = file.number(node + 5, 1)
        need(file.get(node, 5) == b"TREE\1" and level in (None, below), "a damaged index of chunks")
        need(node not in file.seen, "a structure that is part of two others, or of itself")
        file.seen.add(node)
        key = 8 + 8 * rank
        for i in range(file.number(node + 6, 2)):
            at = node + 24 + i * (key + 8)
            child = file.number(at + key)
            if below:
                todo.append((child, below - 1))
                continue
            size = file.number(at, 4)
            need(least <= size <= most, f"{what} with chunks of another size")
            file.get(child, size)
