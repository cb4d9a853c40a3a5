"""Show what the faults left on disk: `python -m tests.faults [--quick]`.

The exit status is 1 unless every case was done and held; with --quick, of CI's part.
"""

import argparse
import sys

from tests.faults import matrix, record


def main() -> int:
    """Print the record as a table, keep that beside it, and tell whether all held."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="expect the part that CI does")
    quick = parser.parse_args().quick
    rows = record.read()
    text = "\n".join(record.table(rows, matrix.NAMES)) + "\n"
    if rows:
        (record.FOLDER / "matrix.md").write_text(text)
    sys.stdout.write(text)
    return 0 if record.is_whole(rows, matrix.QUICK_NAMES if quick else matrix.NAMES) else 1


if __name__ == "__main__":
    sys.exit(main())
