"""perigee.training.row_log: a file holds the rows that were appended, less those truncated."""

from __future__ import annotations

import errno
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.format import dtype_to_descr

from perigee.errors import PerigeeError
from perigee.training import row_log
from perigee.training.row_log import RowLog, checksum_of

ROWS = {
    "numbers": np.dtype("<f8"),
    "fields": np.dtype([("epoch", "<i4"), ("sha256", "S5"), ("values", "<f4", (3,))]),
}


def some_rows(count: int, row: np.dtype[Any], seed: int) -> np.ndarray:
    """Any bytes that are numbers equal to themselves."""
    draws = np.random.default_rng(seed)
    if row.names is None:
        return draws.normal(size=count).astype(row)
    found = np.zeros(count, row)
    found["epoch"] = draws.integers(0, 100, count)
    found["sha256"] = draws.integers(0, 9999, count).astype("S5")
    found["values"] = draws.normal(size=(count, 3))
    return found


def crc(rows: np.ndarray) -> int:
    """The CRC-32 of the type of rows, followed by the rows."""
    return zlib.crc32(rows.tobytes(), zlib.crc32(repr(dtype_to_descr(rows.dtype)).encode()))


operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 7)),
        st.tuples(st.just("truncate"), st.floats(0, 1)),
        st.tuples(st.just("checksum"), st.none()),
        st.tuples(st.just("reopen"), st.booleans()),
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(
    operations=operations, kind=st.sampled_from(sorted(ROWS)), chunk=st.sampled_from([1, 50, 10**6])
)
def test_the_file_is_what_numpy_concatenates(
    operations: list[tuple[str, Any]],
    kind: str,
    chunk: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    row = ROWS[kind]
    path = tmp_path_factory.mktemp("log") / "below" / "rows.npy"
    expected = np.empty(0, row)
    log = RowLog(path, row)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_log, "CHUNK", chunk)
        for number, (what, argument) in enumerate(operations):
            if what == "append":
                rows = some_rows(argument, row, number)
                log.append(rows)
                expected = np.concatenate([expected, rows])
            elif what == "truncate":
                kept = round(argument * len(expected))
                log.truncate(kept)
                expected = expected[:kept]
            elif what == "reopen":
                if argument:  # else as after a kill: the header was never brought up to date
                    log.close()
                    assert np.array_equal(np.load(path), expected)
                log = RowLog(path, row)
            assert log.rows == len(expected)
            if what == "checksum":
                assert log.checksum() == crc(expected)
        for count in {0, len(expected) // 2, len(expected)}:
            assert checksum_of(path, count) == crc(expected[:count])
        assert checksum_of(path, len(expected) + 1) is None
        log.flush()
        log.close()
    found = np.load(path, allow_pickle=False)
    assert found.dtype == row
    assert np.array_equal(found, expected)
    assert np.array_equal(np.load(path, mmap_mode="r"), expected)


def test_closing_is_what_leaving_the_context_does(tmp_path: Path) -> None:
    with RowLog(tmp_path / "rows.npy", ROWS["numbers"]) as log:
        log.append(np.arange(3.0))
    assert np.load(tmp_path / "rows.npy").tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="closed"):
        log.append(np.arange(3.0))


@pytest.mark.parametrize("rows", [0, 1, 9, 10**6, 10**12])
def test_the_header_has_one_length_for_any_number_of_rows(rows: int, tmp_path: Path) -> None:
    """So it can be brought up to date without moving a row."""
    for row in ROWS.values():
        header = row_log._header(row, rows)
        assert len(header) == len(row_log._header(row, 0))
        assert len(header) % 64 == 0, "rows are aligned, as NumPy's own"
        path = tmp_path / "header.npy"
        path.write_bytes(header)
        start, found = row_log._read_header(path)
        assert (start, found) == (len(header), row)


class Counting:
    """A file that notes how many bytes are read and written."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.moved: list[int] = []

    def write(self, data: Any) -> int:
        self.moved.append(len(data))
        return int(self._file.write(data))

    def read(self, count: int) -> bytes:
        found = bytes(self._file.read(count))
        self.moved.append(len(found))
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_what_appending_and_saving_move_does_not_grow_with_the_file(tmp_path: Path) -> None:
    moved = []
    with RowLog(tmp_path / "rows.npy", ROWS["numbers"]) as log:
        for length in (10, 10_000, 100_000):
            log.append(np.zeros(length - log.rows))
            log.checksum()
            log._file = Counting(log._file)  # type: ignore[assignment]
            log.append(np.ones(5))
            log.checksum()
            log.flush()
            moved.append(log._file.moved)  # type: ignore[attr-defined]
            log._file = log._file._file  # type: ignore[attr-defined]
    assert moved == [[40, 40]] * 3


# What goes wrong


def test_a_log_cannot_be_truncated_to_more_rows_than_it_has(tmp_path: Path) -> None:
    with RowLog(tmp_path / "rows.npy", ROWS["numbers"]) as log:
        log.append(np.arange(3.0))
        with pytest.raises(PerigeeError, match=r"rows\.npy has 3 rows, not 4"):
            log.truncate(4)


@pytest.mark.parametrize("cut", [0, 1, 5, 8, 11, 40])
def test_the_part_of_a_row_at_the_end_is_no_row(cut: int, tmp_path: Path) -> None:
    """A kill in the middle of writing leaves part of a row."""
    path = tmp_path / "rows.npy"
    log = RowLog(path, ROWS["numbers"])
    log.append(np.arange(5.0))
    os.truncate(path, path.stat().st_size - cut)
    whole = 5 - -(-cut // 8)
    with RowLog(path, ROWS["numbers"]) as again:
        assert again.rows == whole
        again.append(np.array([7.0]))
    assert np.load(path).tolist() == [*range(whole), 7]


def test_rows_of_another_type_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    RowLog(path, ROWS["numbers"]).close()
    with pytest.raises(PerigeeError, match=r"rows\.npy holds rows of another type; delete it"):
        RowLog(path, ROWS["fields"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", sorted(ROWS))
def test_a_damaged_header_is_told_or_does_no_harm(kind: str, tmp_path: Path) -> None:
    """Every byte of it is damaged, and the file is cut off at every length."""
    row, path = ROWS[kind], tmp_path / "rows.npy"
    rows = some_rows(3, row, 0)
    with RowLog(path, row) as log:
        log.append(rows)
    whole = path.read_bytes()
    start = len(whole) - rows.nbytes
    damaged = [
        *(whole[:n] + bytes([whole[n] ^ (1 << n % 8)]) + whole[n + 1 :] for n in range(start)),
        *(whole[:n] for n in range(0, start, 3)),
    ]
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            opened = RowLog(path, row)
        except PerigeeError:
            refused += 1
        else:
            # Padding, or a number of rows that is not looked at.
            assert opened.rows == 3
            opened.close()
            assert np.array_equal(np.load(path), rows)
        path.write_bytes(content)
        try:
            found = checksum_of(path, 3)
        except ValueError:
            continue
        # Where the type is damaged, it is another checksum.
        assert (found == crc(rows)) <= (row_log._read_header(path)[1] == row)
    assert refused > len(damaged) / 2


@pytest.mark.parametrize("offset", [1, 8, 24])
def test_a_damaged_row_has_another_checksum(offset: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    with RowLog(path, ROWS["numbers"]) as log:
        log.append(np.arange(3.0))
        told = log.checksum()
    assert checksum_of(path, 3) == told
    content = bytearray(path.read_bytes())
    content[-offset] ^= 1
    path.write_bytes(content)
    assert checksum_of(path, 3) != told


class FullDisk(Counting):
    """A file that takes only so many bytes more."""

    left = 0

    def write(self, data: Any) -> int:
        if not self.left:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = bytes(data[: self.left])
        self.left -= len(part)
        return super().write(part)


@pytest.mark.parametrize("left", [0, 3, 8, 20])
def test_a_full_disk_leaves_the_rows_that_were_there(left: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    log = RowLog(path, ROWS["numbers"])
    log.append(np.arange(2.0))
    full = FullDisk(log._file)
    full.left, log._file = left, full  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space left"):
        log.append(np.full(3, 9.0))
    assert log.rows == 2
    assert log.checksum() == crc(np.arange(2.0))
    full.left = 10**6
    log.append(np.array([5.0]))
    log.close()
    assert np.load(path).tolist() == [0, 1, 5]
