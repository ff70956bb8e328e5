"""A set of 64-bit checksums in a quarter of the memory of Python's own."""

from __future__ import annotations

import hashlib
from array import array

_SMALLEST = 1024


def checksum(text: str) -> int:
    """64-bit checksum of a text, never 0."""
    return (
        int.from_bytes(
            hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
        )
        or 1
    )


class Checksums:
    """Open addressing with linear probing in one flat array; 16 to 32 bytes an entry."""

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * _SMALLEST))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: int) -> bool:
        return self._table[self._slot(key)] == key

    def add(self, key: int) -> bool:
        """Take a checksum in; whether it is new. 0 stands for an empty place and is taken as 1."""
        key = key or 1
        slot = self._slot(key)
        if self._table[slot] == key:
            return False
        self._table[slot] = key
        self._count += 1
        if 2 * self._count > len(self._table):
            self._grow()
        return True

    def _slot(self, key: int) -> int:
        """Where a key is, or would be."""
        table, last = self._table, len(self._table) - 1
        slot = key & last
        while table[slot] and table[slot] != key:
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        old = self._table
        self._table = array("Q", bytes(16 * len(old)))
        for key in old:
            if key:
                self._table[self._slot(key)] = key
