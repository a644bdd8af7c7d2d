"""The containers of an HDF5 file, read from its bytes: object headers, B-trees, fractal heaps.

Only the versions that netCDF-4 writes, after the HDF5 File Format Specification 3.0; all else
raises `Strange`. Every structure is visited once, so that none can contain itself.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["UNDEFINED", "Bytes", "Message", "Strange", "heap_objects", "messages", "need"]

UNDEFINED = 2**64 - 1
"""The address of what is not there."""
_DEEPEST = 8


class Strange(Exception):
    """Something that odekit does not write, in words that follow "holds"."""


def need(condition: object, words: str) -> None:
    """Raise `Strange` unless the condition holds."""
    if not condition:
        raise Strange(words)


@dataclass
class Bytes:
    """A file as bytes, and the addresses of the structures that were found in it."""

    data: mmap.mmap
    seen: set[int] = field(default_factory=set)

    def get(self, position: int, size: int) -> bytes:
        """So many bytes, all of them."""
        need(0 <= position <= len(self.data) - size, "an address beyond its end")
        return self.data[position : position + size]

    def number(self, position: int, size: int = 8) -> int:
        """An unsigned number."""
        return int.from_bytes(self.get(position, size), "little")

    def block(self, address: int, signature: bytes, version: int) -> int:
        """Where a block goes on after its signature and version; none is visited twice."""
        need(self.get(address, 4) == signature, f"no {signature.decode()} where one is named")
        need(self.number(address + 4, 1) == version, f"an unusual version of {signature.decode()}")
        need(address not in self.seen, "a structure that is part of two others, or of itself")
        self.seen.add(address)
        return address + 5


@dataclass(frozen=True)
class Message:
    """One message of an object header, whose data begin at `start`."""

    kind: int
    start: int
    size: int


# -------------------------------------------------------------------------------- object headers

_CONTINUATION = 0x10
_SHARED = 0x02


def messages(file: Bytes, address: int) -> list[Message]:
    """All messages of an object header of version 2, continuations followed."""
    at = file.block(address, b"OHDR", 2)
    flags = file.number(at, 1)
    at += 1 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    size, at = file.number(at, width), at + width
    ordered = bool(flags & 0x04)
    found = list(_chunk(file, at, size, ordered))
    for message in found:  # grows while it is read
        if message.kind == _CONTINUATION:
            start, length = file.number(message.start), file.number(message.start + 8)
            need(file.get(start, 4) == b"OCHK" and length >= 8, "a damaged object header")
            need(start not in file.seen, "a structure that is part of two others, or of itself")
            file.seen.add(start)
            found += _chunk(file, start + 4, length - 8, ordered)
    return found


def _chunk(file: Bytes, at: int, size: int, ordered: bool) -> Iterator[Message]:
    end, head = at + size, 6 if ordered else 4
    file.get(at, size + 4)
    while end - at >= head:
        kind, length = file.number(at, 1), file.number(at + 1, 2)
        need(not file.number(at + 3, 1) & _SHARED, "a shared message")
        at += head
        need(length <= end - at, "a damaged object header")
        yield Message(kind, at, length)
        at += length


# --------------------------------------------------------------------------------------- B-trees


def _width(limit: int) -> int:
    """Bytes that hold numbers up to a limit."""
    return (limit.bit_length() - 1) // 8 + 1


@dataclass(frozen=True)
class _Tree:
    """A version 2 B-tree: its kind, the sizes of its records, and of what a node may hold."""

    kind: int
    node: int
    record: int
    most: tuple[int, ...]
    under: tuple[int, ...]

    def pointer(self, level: int) -> int:
        """Bytes of a pointer to a child, in a node of this level."""
        below = _width(self.under[level - 1]) if level > 1 else 0
        return 8 + _width(self.most[0]) + below


def records(file: Bytes, address: int, kind: int) -> Iterator[int]:
    """Where the records of a version 2 B-tree are."""
    at = file.block(address, b"BTHD", 0)
    need(file.number(at, 1) == kind, "an index of another kind")
    node, record = file.number(at + 1, 4), file.number(at + 5, 2)
    depth, root, count = file.number(at + 7, 2), file.number(at + 11), file.number(at + 19, 2)
    need(depth <= _DEEPEST and record and node > 10 + record, "an unusual index")
    most = [(node - 10) // record]
    under = [most[0]]
    tree = _Tree(kind, node, record, tuple(most), tuple(under))
    for level in range(1, depth + 1):
        pointer = tree.pointer(level)
        most.append((node - 10 - pointer) // (record + pointer))
        under.append((most[-1] + 1) * under[-1] + most[-1])
        need(most[-1] > 0, "an unusual index")
        tree = _Tree(kind, node, record, tuple(most), tuple(under))
    if root != UNDEFINED:
        yield from _node(file, tree, root, depth, count)


def _node(file: Bytes, tree: _Tree, address: int, level: int, count: int) -> Iterator[int]:
    at = file.block(address, b"BTIN" if level else b"BTLF", 0)
    need(file.number(at, 1) == tree.kind and count <= tree.most[level], "a damaged index")
    file.get(address, tree.node)
    at += 1
    yield from range(at, at + count * tree.record, tree.record)
    at += count * tree.record
    for _ in range(count + 1 if level else 0):
        inner = file.number(at + 8, _width(tree.most[0]))
        yield from _node(file, tree, file.number(at), level - 1, inner)
        at += tree.pointer(level)


# --------------------------------------------------------------------------------- fractal heaps


@dataclass(frozen=True)
class _Heap:
    """A fractal heap: where its objects are is a matter of arithmetic."""

    file: Bytes
    address: int
    id_size: int
    huge: dict[int, tuple[int, int]]
    width: int
    first: int
    largest: int
    offset_size: int
    length_size: int
    root: int
    rows: int

    def place(self, identity: int) -> tuple[int, int]:
        """Start and size of the object with the heap ID at this position."""
        kind = self.file.number(identity, 1)
        need(kind in (0x00, 0x10), "an unusual object of a fractal heap")
        if kind == 0x10:
            wanted = self.file.number(identity + 1, self.id_size - 1)
            need(wanted in self.huge, "a damaged fractal heap")
            return self.huge[wanted]
        offset = self.file.number(identity + 1, self.offset_size)
        size = self.file.number(identity + 1 + self.offset_size, self.length_size)
        block, start, room = self._direct(offset)
        need(offset - start + size <= room, "a damaged fractal heap")
        return block + offset - start, size

    def _direct(self, offset: int) -> tuple[int, int, int]:
        """Address, first offset and size of the direct block that holds an offset."""
        address, rows, start, size = self.root, self.rows, 0, self.first
        for _ in range(_DEEPEST):
            self._check(address, b"FHIB" if rows else b"FHDB", start)
            if not rows:
                return address, start, size
            row = max((offset - start) // (self.width * self.first), 0).bit_length()
            size = self.first << max(row - 1, 0)
            begin = 0 if row == 0 else self.width * size
            column = (offset - start - begin) // size
            need(row < rows, "a damaged fractal heap")
            at = address + 13 + self.offset_size + 8 * (row * self.width + column)
            address, start = self.file.number(at), start + begin + column * size
            rows = 0 if size <= self.largest else (size // (self.first * self.width)).bit_length()
        raise Strange("a fractal heap that is too deep")

    def _check(self, address: int, signature: bytes, start: int) -> None:
        good = self.file.get(address, 5) == signature + b"\0"
        owner = self.file.number(address + 5) == self.address
        same = self.file.number(address + 13, self.offset_size) == start
        need(good and owner and same, "a damaged fractal heap")


def _huge(file: Bytes, index: int) -> dict[int, tuple[int, int]]:
    """Start and size by number of the objects that are larger than blocks."""
    if index == UNDEFINED:
        return {}
    places = records(file, index, kind=1)
    return {file.number(at + 16): (file.number(at), file.number(at + 8)) for at in places}


def _heap(file: Bytes, address: int) -> _Heap:
    at = file.block(address, b"FRHP", 0)
    need(file.number(at + 2, 2) == 0, "a filtered fractal heap")
    width, first = file.number(at + 105, 2), file.number(at + 107)
    largest, bits = file.number(at + 115), file.number(at + 123, 2)
    powers = all(n and n & (n - 1) == 0 for n in (width, first, largest))
    need(powers and first <= largest and bits <= 64, "an unusual fractal heap")
    need(file.number(at, 2) in (7, 8), "an unusual fractal heap")
    return _Heap(
        file=file,
        address=address,
        id_size=file.number(at, 2),
        huge=_huge(file, file.number(at + 17)),
        width=width,
        first=first,
        largest=largest,
        offset_size=(bits + 7) // 8,
        length_size=min((largest.bit_length() + 6) // 8, _width(file.number(at + 5, 4))),
        root=file.number(at + 127),
        rows=file.number(at + 135, 2),
    )


def heap_objects(
    file: Bytes, heap: int, indices: dict[int, int], places: dict[int, int]
) -> list[tuple[int, int, int]]:
    """Objects that the indices of a dense storage name.

    Parameters
    ----------
    file : Bytes
    heap : int
        Address of the fractal heap.
    indices : dict
        Address of each index by its kind: all must name the same objects.
    places : dict
        Where in the records of each kind the heap ID is.

    Returns
    -------
    list of (record, start, size)
        Position of the record in the first index, and of the object.
    """
    within = _heap(file, heap)
    sets: list[set[tuple[int, int]]] = []
    found: list[tuple[int, int, int]] = []
    for kind, address in indices.items():
        at = [(r, *within.place(r + places[kind])) for r in records(file, address, kind)]
        found = found or at
        sets.append({(start, size) for _, start, size in at})
        need(len(sets[-1]) == len(at), "an index that names an object twice")
    need(all(s == sets[0] for s in sets), "indices that name different objects")
    return found
