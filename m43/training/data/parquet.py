"""Parquet: the rows of such a file as lines of JSON, which is what everybody else reads.

By pyarrow, with which `datasets` reads it too: its own way takes a name for a pattern and leaves
files in a cache, and this one reads the very bytes that were digested.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from m43.files import bytes_sha256
from m43.records import ColumnsTable
from m43.rows import (
    MOST_FILE_BYTES,
    OWN_FIELDS,
    RowsError,
    RowsFile,
    bad_row,
    file_bytes,
    is_parquet,
    missing_column,
    read_columns,
)

_BATCH_ROWS = 1024
_AS_TEXT = "write that column as text, numbers, lists or structs of them"
_AGAIN = "let nothing write it while a run goes on"


def read_file(path: Path, columns: ColumnsTable | None) -> RowsFile:
    """Read the rows of a file of JSON Lines or, where its name says so, of Parquet.

    Args:
        path: of the file.
        columns: what its columns hold; None where they are m43's own.

    Raises:
        RowsError: if the file cannot be read, is empty, or is no Parquet.
    """
    if not is_parquet(path):
        return read_columns(path, columns)
    data = file_bytes(path)
    read = read_columns(path, columns, _json_lines(path, data, columns))
    return replace(read, sha256=bytes_sha256(data))


def parquet_lines(path: Path, columns: ColumnsTable | None, sha256: str) -> bytes:
    """Return the rows of a Parquet file as lines of JSON, for whoever has no reader of it.

    Raises:
        RowsError: as in `read_file`, and where the file is not the one with this digest.
    """
    data = file_bytes(path)
    if bytes_sha256(data) != sha256:
        found, expected = f"SHA-256 {bytes_sha256(data)[:12]}…", f"{sha256[:12]}…, as it was read"
        raise RowsError([bad_row(str(path), found, expected, _AGAIN)])
    return _json_lines(path, data, columns)


def count_parquet(path: Path) -> int:
    """Count the rows of a Parquet file; one that cannot be read has none."""
    try:
        return int(_open(path, file_bytes(path)).metadata.num_rows)
    except RowsError:
        return 0


def _open(path: Path, data: bytes) -> Any:
    # Here because the import is of no use to files of JSON Lines.
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(io.BytesIO(data))
    except (OSError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
        action = "write it again as Parquet, or call it .jsonl if it is that"
        raise RowsError([bad_row(str(path), found, "a Parquet file", action)]) from error


def _json_lines(path: Path, data: bytes, columns: ColumnsTable | None) -> bytes:
    """Write the columns that are read, and no other: those may hold what JSON does not have."""
    file = _open(path, data)
    names = list(file.schema_arrow.names)
    wanted = columns.names if columns else OWN_FIELDS
    absent = [name for name in wanted if name not in names]
    if columns is not None and absent:
        raise RowsError([missing_column(str(path), absent[0], names)])
    chosen = [name for name in names if name in wanted]
    if len(set(chosen)) != len(chosen):
        found, action = "two columns of one name", "rename one of them"
        raise RowsError([bad_row(str(path), found, "each column once", action)])
    lines: list[bytes] = []
    size_bytes = 0
    for line in _lines(path, file, chosen):
        size_bytes += len(line)
        if size_bytes > MOST_FILE_BYTES:
            found, expected = "more text than can be meant", f"{MOST_FILE_BYTES:,} bytes at most"
            raise RowsError([bad_row(str(path), found, expected)])
        lines.append(line)
    return b"".join(lines)


def _lines(path: Path, file: Any, chosen: list[str]) -> Iterator[bytes]:
    done = 0
    try:
        for batch in file.iter_batches(_BATCH_ROWS, columns=chosen):
            for row in batch.to_pylist():
                yield json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
                done += 1
    except (OSError, ValueError, TypeError, NotImplementedError) as error:
        found = f"{type(error).__name__}: {error}"
        where, expected = f"{path}:{done + 1}", "values that JSON has"
        raise RowsError([bad_row(where, found, expected, _AS_TEXT)]) from error
