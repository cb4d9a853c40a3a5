"""Show what the faults left on disk: `python -m tests.faults`, exit status 1 unless all held."""

import sys

from tests.faults import matrix, record


def main() -> int:
    """Print the record as a table, keep that beside it, and tell whether the matrix is whole."""
    rows = record.read()
    text = "\n".join(record.table(rows, matrix.NAMES)) + "\n"
    if rows:
        (record.FOLDER / "matrix.md").write_text(text)
    sys.stdout.write(text)
    return 0 if record.is_whole(rows, matrix.NAMES) else 1


if __name__ == "__main__":
    sys.exit(main())
