"""Read a JSON array item by item: memory does not grow with the file."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from fcit_app.errors import DataError

CHUNK_BYTES = 2**20
LARGEST_ITEM = 2**24
"""Characters of the largest item that is waited for; beyond, the file is taken for broken."""

_BLANK = " \t\n\r"
_OF_NUMBERS = frozenset("0123456789+-.eE")
_DECODER = json.JSONDecoder()


def read_array(
    file: Path,
    on_bytes: Callable[[int], None] | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[tuple[int, object]]:
    """Yield position, from 0, and value of each item of the JSON array in a file.

    Holds one chunk and one item at a time (``raw_decode`` over a growing buffer), so a file of any
    size is read in flat memory, and what comes before a defect has been given.

    Parameters
    ----------
    file : Path
        UTF-8, with or without a byte order mark.
    on_bytes : Callable[[int], None], optional
        Called with the number of bytes of each chunk read.
    chunk_bytes : int
        Bytes read at once.

    Raises
    ------
    DataError
        If the file cannot be read, is no UTF-8, holds no array, or is broken; names the file and
        the item after which it goes wrong.
    """
    try:
        with file.open("rb") as stream:
            text = _Text(iter(lambda: stream.read(chunk_bytes), b""), on_bytes)
            yield from _items(text)
    except _BrokenError as error:
        raise DataError(f"{file}: {error}") from error
    except OSError as error:
        raise DataError(f"{file}: the file cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: the file is not UTF-8 text: {error.reason}.") from error


class _BrokenError(Exception):
    """What is wrong with the text."""


class _Text:
    """A text that arrives in chunks; what lies before ``place`` is forgotten."""

    def __init__(self, chunks: Iterator[bytes], on_bytes: Callable[[int], None] | None) -> None:
        self._chunks = chunks
        self._on_bytes = on_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.held = ""
        self.place = 0
        self.ended = False

    def more(self) -> None:
        """Take in as much as is held, at least a chunk: retries stay few for a long item."""
        parts = [self.held[self.place :]]
        length, wanted = len(parts[0]), max(1, 2 * len(parts[0]))
        while length < wanted and not self.ended:
            chunk = next(self._chunks, b"")
            self.ended = not chunk
            if chunk and self._on_bytes is not None:
                self._on_bytes(len(chunk))
            parts.append(self._decoder.decode(chunk, final=self.ended))
            length += len(parts[-1])
        self.held, self.place = "".join(parts), 0

    def next_mark(self) -> str:
        """Give the next character that is no blank, without passing it; empty at the end."""
        while True:
            while self.place < len(self.held) and self.held[self.place] in _BLANK:
                self.place += 1
            if self.place < len(self.held):
                return self.held[self.place]
            if self.ended:
                return ""
            self.more()


def _items(text: _Text) -> Iterator[tuple[int, object]]:
    mark = text.next_mark()
    if mark != "[":
        found = {"": "nothing", "{": "an object"}.get(mark, f"a text that begins with {mark!r}")
        raise _BrokenError(f"the file must hold a JSON array, '[ ... ]', but holds {found}.")
    text.place += 1
    position = 0
    mark = text.next_mark()
    while mark != "]":
        yield position, _value(text, position)
        position += 1
        mark = text.next_mark()
        if mark == ",":
            text.place += 1
            if text.next_mark() == "]":
                raise _BrokenError(f"there is a comma behind the last record, {position - 1}.")
        elif mark != "]":
            found = f"{mark!r}" if mark else "the end of the file"
            raise _BrokenError(f"',' or ']' must follow record {position - 1}, not {found}.")
    text.place += 1
    if text.next_mark():
        raise _BrokenError("there is more text behind the array's end ']'.")


def _value(text: _Text, position: int) -> object:
    if not text.next_mark():
        raise _BrokenError(f"the file ends where record {position} should be; it was cut short.")
    while True:
        try:
            value, end = _DECODER.raw_decode(text.held, text.place)
        except json.JSONDecodeError as error:
            if text.ended:
                raise _BrokenError(
                    f"record {position} is no JSON: {error.msg}. Was the file cut short?"
                ) from error
            if len(text.held) - text.place > LARGEST_ITEM:
                raise _BrokenError(
                    f"record {position} is no JSON, or longer than {LARGEST_ITEM} characters: "
                    f"{error.msg}."
                ) from error
            text.more()
        except RecursionError:
            raise _BrokenError(f"record {position} is nested too deeply.") from None
        except ValueError as error:  # a number of thousands of digits
            raise _BrokenError(f"record {position} cannot be read: {error}.") from error
        else:
            # A number may go on in the next chunk; anything else has an end mark of its own.
            after = end
            while after < len(text.held) and text.held[after] in _OF_NUMBERS:
                after += 1
            if after < len(text.held) or text.ended:
                text.place = end
                return value
            text.more()
