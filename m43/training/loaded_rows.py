"""Loaded rows: the fields of a checked file, as `datasets` reads them."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from m43.rows import parse_line
from m43.text_bytes import without_mark


def load_fields(path: Path, scratch: Path) -> Iterator[Mapping[str, object]]:
    """Read the rows of a checked file through `datasets`, whose cache goes into `scratch`.

    As lines of text: its JSON reader guesses types, and a column of dates comes back as
    timestamps (2024-01-05 as "2024-01-05 00:00:00", seen in datasets 5.2).
    """
    # Here because the import takes a second and is of no use to a file that was refused.
    import datasets

    datasets.disable_progress_bars()
    # It always writes a cache: here, so that nothing is left in the person's home.
    with tempfile.TemporaryDirectory(prefix=".rows-", dir=scratch) as cache:
        lines = datasets.load_dataset(
            "text",
            data_files=str(path),
            split="train",
            cache_dir=cache,
            keep_in_memory=True,
            encoding="utf-8",
        )["text"]
        for number, line in enumerate(lines):
            data = line.encode()
            # The mark that may stand before the first row; `datasets` hands it on.
            yield parse_line(data if number else without_mark(data))
