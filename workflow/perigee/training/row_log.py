"""Logs that only grow: rows of one type in one NumPy file.

The file is a valid ``.npy`` array whenever it is closed. Rows are appended at its end, so that the
cost of writing does not depend on its length, and it can be truncated to a number of rows.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from perigee.errors import PerigeeError

HEADER_SHAPE = (10**15,)
"""The number of rows that the header is first written for, so that any number fits its place."""
CHUNK = 2**24
"""The number of bytes read at a time."""


class RowLog:
    """A file of rows, open for appending.

    Args:
        path: the file's path, ending in .npy; the file is created if it does not exist.
        row: the type of a row.

    Raises:
        PerigeeError: the file holds rows of another type, or is damaged.
    """

    def __init__(self, path: Path, row: np.dtype[Any]) -> None:
        self.path, self.row = path, row
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.write(_header(row, 0))
        self._file = path.open("r+b", buffering=0)
        try:
            self._start, found = _read_header(path)
        except ValueError as error:
            self._file.close()
            raise PerigeeError(f"{path} is damaged ({error}); delete it.") from error
        if found != row:
            self._file.close()
            raise PerigeeError(f"{path} holds rows of another type; delete it.")
        size = self._file.seek(0, os.SEEK_END)
        self.rows = (size - self._start) // row.itemsize
        """How many rows the file has."""
        self._checked_rows, self._checksum = 0, _checksum_of_type(row)

    def append(self, rows: np.ndarray) -> None:
        """Add rows at the end.

        Raises:
            OSError: the disk is full; the file then has the rows that it had.
        """
        data = memoryview(np.ascontiguousarray(rows, self.row).tobytes())
        self._file.seek(self._start + self.rows * self.row.itemsize)
        while data:  # the next rows overwrite what was written before an error
            data = data[self._file.write(data) :]
        self.rows += len(rows)

    def truncate(self, rows: int) -> None:
        """Truncate the file to its first rows.

        Raises:
            PerigeeError: it has fewer.
        """
        if rows > self.rows:
            raise PerigeeError(f"{self.path} has {self.rows} rows, not {rows}; it is cut off.")
        self.rows = rows
        if rows < self._checked_rows:
            self._checked_rows, self._checksum = 0, _checksum_of_type(self.row)
        self._file.truncate(self._start + rows * self.row.itemsize)

    def checksum(self) -> int:
        """The CRC-32 of the rows and their type.

        It costs time only for the rows added since it was last computed.
        """
        start, end = (
            self._start + rows * self.row.itemsize for rows in (self._checked_rows, self.rows)
        )
        for chunk in _chunks(self._file, start, end):
            self._checksum = zlib.crc32(chunk, self._checksum)
        self._checked_rows = self.rows
        return self._checksum

    def flush(self) -> None:
        """Force the rows to the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write the number of rows to the header and close the file, unless it is closed."""
        if self._file.closed:
            return
        self._file.truncate(self._start + self.rows * self.row.itemsize)
        self._file.seek(0)
        self._file.write(_header(self.row, self.rows))
        self._file.close()

    def __enter__(self) -> RowLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def checksum_of(path: Path, rows: int) -> int | None:
    """Compute the CRC-32 of the first rows and their type of a log, which may be abandoned.

    Returns:
        The checksum; None if the log has fewer rows.

    Raises:
        ValueError: the file is not a log.
        OSError: it cannot be read.
    """
    start, row = _read_header(path)
    end = start + rows * row.itemsize
    if path.stat().st_size < end:
        return None
    total = _checksum_of_type(row)
    with path.open("rb") as file:
        for chunk in _chunks(file, start, end):
            total = zlib.crc32(chunk, total)
    return total


def _checksum_of_type(row: np.dtype[Any]) -> int:
    return zlib.crc32(repr(npy.dtype_to_descr(row)).encode())


def _chunks(file: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    while start < end:
        file.seek(start)
        chunk = file.read(min(CHUNK, end - start))
        if not chunk:  # another process truncated the file
            return
        start += len(chunk)
        yield chunk


def _header(row: np.dtype[Any], rows: int) -> bytes:
    """Make an array header whose length does not depend on the number of rows."""
    longest = npy.magic(2, 0) + _header_text(row, HEADER_SHAPE[0])
    text = _header_text(row, rows)
    # NumPy pads headers with spaces before the line's end; a few more do no harm.
    missing = len(longest) - len(npy.magic(2, 0)) - len(text)
    padded = text[:-1] + b" " * missing + b"\n"
    length = len(padded) - 4
    return npy.magic(2, 0) + length.to_bytes(4, "little") + padded[4:]


def _header_text(row: np.dtype[Any], rows: int) -> bytes:
    """The header's length and text, as NumPy writes them."""
    buffer = io.BytesIO()
    described = {"descr": npy.dtype_to_descr(row), "fortran_order": False, "shape": (rows,)}
    npy.write_array_header_2_0(buffer, described)
    return buffer.getvalue()[len(npy.magic(2, 0)) :]


def _read_header(path: Path) -> tuple[int, np.dtype[Any]]:
    """Read where the rows begin, and their type.

    Raises:
        ValueError: the file does not begin with an array header.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        try:
            npy.read_magic(file)
            _, _, row = npy.read_array_header_2_0(file)
        except (SyntaxError, TokenError) as error:  # from the parsing of a damaged header
            raise ValueError(f"its header cannot be parsed: {error}") from error
        return file.tell(), row
