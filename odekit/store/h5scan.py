"""Does an HDF5 file reach for other files? Found out without letting the HDF5 library open it.

The library follows external links, external raw storage and virtual datasets while it opens or
reads a file, with the reader's rights: a file from elsewhere could so pull ``/etc/passwd``, or
any dataset of the user, into a result. netCDF's interface neither shows nor forbids it, so the
bytes are searched for the structures that name another file. The search is conservative: it does
not walk the file but looks everywhere, so that nothing can hide, and refuses what merely looks
like such a structure.

========================  ==========================================================================
External raw storage      keeps its file names in a *local heap* (``HEAP``). Only old-style groups
                          have one besides, which netCDF-4 does not write: no local heap is allowed.
Virtual dataset           a layout message of class 3, whose address points to a *global heap*
                          (``GCOL``).
External link             a link message of type 64 that holds a file name.
Hidden link               a *fractal heap* (``FRHP``) with filters compresses its links: refused.
========================  ==========================================================================

Nothing else in the format names files. Tested against files that h5py wrote.

One structure is checked for damage besides: a wrong size in a global heap, which has no checksum,
makes the library loop for ever. A file made on purpose can still keep it busy (a group that
contains itself), which costs time and discloses nothing.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path

__all__ = ["is_hdf5", "references_to_other_files"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LOCAL_HEAP = re.compile(rb"HEAP\x00")
_FRACTAL_HEAP = re.compile(rb"FRHP\x00")
_GLOBAL_HEAP = re.compile(rb"GCOL\x01")
# Layout message, version 4 or later, class 3, address below 2^48. A look-ahead, because a match
# that consumed the address could be made to swallow the next one.
_VIRTUAL = re.compile(rb"[\x04-\x0f]\x03(?=.{6}\x00\x00)", re.DOTALL)
# Link message, version 1, flags with the bit "link type is given", type 64.
_LINK = re.compile(rb"\x01[\x08-\x0f\x18-\x1f]\x40")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# Superblock version -> where the sizes of offsets and lengths and the base address are.
_SUPERBLOCK = {0: (13, 24), 1: (13, 28), 2: (9, 12), 3: (9, 12)}


def is_hdf5(path: Path) -> bool:
    """Whether the file starts as an HDF5 file does."""
    with path.open("rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


def _number(data: mmap.mmap, position: int, size: int = 8) -> int:
    return int.from_bytes(data[position : position + size], "little")


def _is_text(name: bytes) -> bool:
    """Whether these bytes could be a name: not empty, UTF-8, no control characters."""
    if not name or _CONTROL.search(name):
        return False
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unusual_superblock(data: mmap.mmap) -> bool:
    """Whether addresses are not what the search takes them for: 8 bytes, from the file's start."""
    if data[8] not in _SUPERBLOCK:
        return True
    sizes, base = _SUPERBLOCK[data[8]]
    return data[sizes] != 8 or data[sizes + 1] != 8 or _number(data, base) != 0


def _has_local_heap(data: mmap.mmap) -> bool:
    for match in _LOCAL_HEAP.finditer(data):
        size = _number(data, match.start() + 8)
        address = _number(data, match.start() + 24)
        if size <= len(data) and address < len(data):
            return True
    return False


def _has_filtered_heap(data: mmap.mmap) -> bool:
    return any(_number(data, m.start() + 7, 2) for m in _FRACTAL_HEAP.finditer(data))


def _has_virtual_dataset(data: mmap.mmap) -> bool:
    for match in _VIRTUAL.finditer(data):
        address = _number(data, match.end())
        if data[address : address + 4] == b"GCOL":
            return True
    return False


def _has_damaged_heap(data: mmap.mmap) -> bool:
    return any(_is_damaged_heap(data, match.start()) for match in _GLOBAL_HEAP.finditer(data))


def _is_damaged_heap(data: mmap.mmap, start: int) -> bool:
    """Whether the objects of a global heap do not fill it exactly (format specification, III.E)."""
    end = start + _number(data, start + 8)
    position = start + 16
    if end > len(data):
        return True
    while end - position >= 16:
        size = _number(data, position + 8)
        if _number(data, position, 2) == 0:  # what is left over; its size counts its own header
            return position + size != end
        position += 16 + (size + 7) // 8 * 8
    return position > end


def _is_external_link(data: mmap.mmap, start: int) -> bool:
    """Whether a link message at `start` names a file (format specification, IV.A.2.g)."""
    flags = data[start + 1]
    position = start + 3 + (8 if flags & 0x04 else 0) + (1 if flags & 0x10 else 0)
    width = 1 << (flags & 0x03)
    length = _number(data, position, width)
    position += width
    if length > len(data) - position or not _is_text(data[position : position + length]):
        return False
    position += length
    value = data[position + 2 : position + 2 + _number(data, position, 2)]
    file_name, end, _ = value[1:].partition(b"\x00")
    return value[:1] == b"\x00" and end == b"\x00" and _is_text(file_name)


def _has_external_link(data: mmap.mmap) -> bool:
    return any(_is_external_link(data, match.start()) for match in _LINK.finditer(data))


_SEARCHES = {
    "an unusual HDF5 superblock": _unusual_superblock,
    "a local heap (old-style groups or external storage)": _has_local_heap,
    "a filtered fractal heap": _has_filtered_heap,
    "a virtual dataset": _has_virtual_dataset,
    "an external link": _has_external_link,
    "a damaged global heap": _has_damaged_heap,
}


def references_to_other_files(path: Path) -> list[str]:
    """Search a file for structures that name other files, or that could hide such names.

    Parameters
    ----------
    path : Path
        An HDF5 file; it is only read as bytes.

    Returns
    -------
    list of str
        What was found, in words; empty for every file that netCDF-4 writes.
    """
    if path.stat().st_size < 48:
        return ["no complete superblock"]
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return [words for words, search in _SEARCHES.items() if search(data)]
