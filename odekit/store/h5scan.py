"""Is an HDF5 file built as odekit builds its files? Found out before the HDF5 library opens it.

The library follows external links, external raw storage and virtual datasets while it opens or
reads a file, with the reader's rights: a file from elsewhere could so pull ``/etc/passwd``, or
any dataset of the user, into a result. Types that netCDF does not know, groups that contain
themselves and wrong sizes crash it or keep it busy for ever. So the file is walked here first, and
only what netCDF-4 writes for odekit passes: a root group of hard links to datasets, each linked
once; numbers of 1 to 8 bytes and characters; contiguous and chunked layouts with the filters
shuffle, deflate and fletcher32. What is not known is refused, whatever it may be.

========================  ==========================================================================
`h5bytes`                 object headers, and the indices and heaps of links and attributes
`h5parts`                 what one message may say: types, shapes, layouts, filters, attributes
here                      the root group, its links, and what objects refer to
========================  ==========================================================================
"""

from __future__ import annotations

import mmap
from pathlib import Path

from odekit.store.h5bytes import UNDEFINED, Bytes, Message, Strange, heap_objects, messages, need
from odekit.store.h5parts import Attribute, attribute, check_layout, is_bare_dimension

__all__ = ["is_hdf5", "strangeness"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FEWEST = 48
# Kinds of messages (format specification, IV.A.2).
_NIL, _SPACE, _LINK_INFO, _TYPE, _FILL, _LINK, _EXTERNAL, _LAYOUT = 0, 1, 2, 3, 5, 6, 7, 8
_GROUP_INFO, _FILTERS, _ATTRIBUTE, _MORE, _ATTRIBUTE_INFO = 10, 11, 12, 16, 21
_SINGLE = {_SPACE, _LINK_INFO, _TYPE, _FILL, _LAYOUT, _GROUP_INFO, _FILTERS, _ATTRIBUTE_INFO}
_ANYWHERE = {_NIL, _ATTRIBUTE, _MORE, _ATTRIBUTE_INFO}
_OF_ROOT = _ANYWHERE | {_LINK_INFO, _LINK, _GROUP_INFO}
_OF_DATASET = _ANYWHERE | {_SPACE, _TYPE, _FILL, _LAYOUT, _FILTERS}
_OTHER_LINKS = {1: "a soft link", 64: "an external link"}


def is_hdf5(path: Path) -> bool:
    """Whether the file starts as an HDF5 file does."""
    with path.open("rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


def strangeness(path: Path) -> str:
    """Walk through a file, without the HDF5 library, up to what odekit does not write.

    Parameters
    ----------
    path : Path
        An HDF5 file; it is only read as bytes.

    Returns
    -------
    str
        What was found, in words; empty for every file that netCDF-4 writes for odekit.
    """
    if path.stat().st_size < _FEWEST:
        return "no complete superblock"
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            _check(Bytes(data))
        except Strange as found:
            return str(found)
    return ""


def _check(file: Bytes) -> None:
    root, datasets = _root(file)
    notes = list(root)
    for name, address in datasets.items():
        notes += _dataset(file, name, address)
    heaps: dict[int, dict[int, bytes]] = {}
    known = set(datasets.values())
    for note in notes:
        named = {a for a in _references(file, note, heaps) if a}
        need(named <= known, f"a reference to what is no variable, in `{note.name}`")


def _root_address(file: Bytes) -> int:
    """Address of the root group, where addresses are as taken here: 8 bytes, from the start."""
    version = file.number(8, 1)
    need(version in (0, 2), "an unusual HDF5 superblock")
    sizes, base, extension, root = (13, 24, 32, 64) if version == 0 else (9, 12, 20, 36)
    usual = file.get(sizes, 2) == b"\x08\x08" and file.number(base) == 0
    # Where version 2 may have an extension, version 0 may have a table of free space.
    need(usual and file.number(extension) == UNDEFINED, "an unusual HDF5 superblock")
    if version == 0:
        plain = file.number(root - 16) == UNDEFINED and file.number(root + 8, 4) == 0
        need(plain, "an unusual HDF5 superblock")
    else:
        need(file.number(11, 1) == 0, "an unusual HDF5 superblock")
    return file.number(root)


def _root(file: Bytes) -> tuple[list[Attribute], dict[bytes, int]]:
    """Attributes of the file, and the addresses of its variables by name."""
    parts, attributes = _object(file, _root_address(file), _OF_ROOT, "the root group")
    need(parts.keys() >= {_LINK_INFO}, "a group of another kind")
    links = [(m.start, m.size) for m in parts.get(_LINK, [])]
    at = parts[_LINK_INFO][0].start
    need(file.number(at, 1) == 0, "a group of another kind")
    flags, at = file.number(at + 1, 1), at + 2
    at += 8 if flags & 1 else 0
    if file.number(at) != UNDEFINED:
        indices = {5: file.number(at + 8)} | ({6: file.number(at + 16)} if flags & 2 else {})
        found = heap_objects(file, file.number(at), indices, {5: 4, 6: 8})
        links += [(start, size) for _, start, size in found]
    datasets: dict[bytes, int] = {}
    for start, size in links:
        name, address = _link(file, start, size)
        need(name not in datasets, "two links of one name")
        datasets[name] = address
    return attributes, datasets


def _link(file: Bytes, start: int, size: int) -> tuple[bytes, int]:
    """Name and target of a link message, if it is a hard link (IV.A.2.g)."""
    flags = file.number(start + 1, 1)
    need(file.number(start, 1) == 1, "a link of another version")
    at = start + 2
    kind = file.number(at, 1) if flags & 0x08 else 0
    need(kind == 0, _OTHER_LINKS.get(kind, "a user-defined link"))
    at += (1 if flags & 0x08 else 0) + (8 if flags & 0x04 else 0) + (1 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    length, at = file.number(at, width), at + width
    need(at + length + 8 <= start + size, "a damaged link")
    return file.get(at, length), file.number(at + length)


def _object(
    file: Bytes, address: int, allowed: set[int], what: str
) -> tuple[dict[int, list[Message]], list[Attribute]]:
    """Messages of an object by kind, and its attributes."""
    parts: dict[int, list[Message]] = {}
    for message in messages(file, address):
        kind = message.kind
        need(kind != _EXTERNAL, "external storage")
        need(kind in allowed, f"a part of unknown kind ({kind}) in {what}")
        parts.setdefault(kind, []).append(message)
    need(all(len(m) == 1 for k, m in parts.items() if k in _SINGLE), f"a part twice in {what}")
    places = [(m.start, m.size) for m in parts.get(_ATTRIBUTE, [])]
    for message in parts.get(_ATTRIBUTE_INFO, []):
        places += _dense_attributes(file, message.start)
    return parts, [attribute(file, start, size) for start, size in places]


def _dense_attributes(file: Bytes, at: int) -> list[tuple[int, int]]:
    """Start and size of the attributes of an object that has many."""
    need(file.number(at, 1) == 0, "attributes of another kind")
    flags = file.number(at + 1, 1)
    at += 4 if flags & 1 else 2
    if file.number(at) == UNDEFINED:
        return []
    indices = {8: file.number(at + 8)} | ({9: file.number(at + 16)} if flags & 2 else {})
    found = heap_objects(file, file.number(at), indices, {8: 0, 9: 0})
    need(not any(file.number(r + 8, 1) & 2 for r, _, _ in found), "a shared message")
    return [(start, size) for _, start, size in found]


def _dataset(file: Bytes, name: bytes, address: int) -> list[Attribute]:
    shown = name.decode(errors="replace")
    file_parts, attributes = _object(file, address, _OF_DATASET, f"`{shown}`")
    need({_SPACE, _TYPE, _LAYOUT} <= file_parts.keys(), f"`{shown}`, which is no variable")
    single = {kind: found[0] for kind, found in file_parts.items() if kind in _SINGLE}
    check_layout(
        file, shown, single[_SPACE], single[_TYPE], single[_LAYOUT],
        single.get(_FILL), single.get(_FILTERS), is_bare_dimension(file, attributes),
    )  # fmt: skip
    return attributes


# ------------------------------------------------------------------------------------ references


def _references(file: Bytes, note: Attribute, heaps: dict[int, dict[int, bytes]]) -> list[int]:
    """Addresses that an attribute refers to; those of dimensions are kept in global heaps."""
    data = file.get(note.start, note.count * note.item) if note.kind else b""
    if note.kind == "scales":  # pairs of a dataset and a number
        return [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), note.item)]
    if note.kind != "dimensions":
        return []
    found = []
    for at in range(note.start, note.start + len(data), 16):
        length, heap = file.number(at, 4), file.number(at + 4)
        if heap not in heaps:
            heaps[heap] = _global_heap(file, heap)
        held = heaps[heap].get(file.number(at + 12, 4), b"")
        need(len(held) == 8 * length, "a damaged global heap")
        found += [int.from_bytes(held[i : i + 8], "little") for i in range(0, len(held), 8)]
    return found


def _global_heap(file: Bytes, start: int) -> dict[int, bytes]:
    """Objects of a global heap, which must fill it exactly (III.E)."""
    file.block(start, b"GCOL", 1)
    end = start + file.number(start + 8)
    position = start + 16
    objects: dict[int, bytes] = {}
    while end - position >= 16:
        number, size = file.number(position, 2), file.number(position + 8)
        if number == 0:  # what is left over; its size counts its own header
            need(position + size == end, "a damaged global heap")
            return objects
        need(number not in objects, "a damaged global heap")
        objects[number] = file.get(position + 16, size)
        position += 16 + (size + 7) // 8 * 8
    need(position <= end, "a damaged global heap")
    return objects
