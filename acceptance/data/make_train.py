"""Writes the training rows: `python acceptance/data/make_train.py [OUT]`."""

from __future__ import annotations

import sys
from pathlib import Path

DEFAULT_OUT = Path(__file__).with_name("train.jsonl")


def main(arguments: list[str]) -> int:
    """Write every training row to the one path that was named, or beside this script."""
    from acceptance.data.training_rows import as_jsonl, training_rows

    if len(arguments) > 1:
        sys.stderr.write(
            f"make_train.py: found {len(arguments)} arguments, expected at most one, the file "
            "to write. Run: python acceptance/data/make_train.py [OUT]\n"
        )
        return 2
    out = Path(arguments[0]) if arguments else DEFAULT_OUT
    rows = training_rows()
    # Bytes, not text: the file is compared byte for byte, so no platform may turn "\n" into "\r\n".
    out.write_bytes(as_jsonl(rows).encode("utf-8"))
    sys.stdout.write(f"{len(rows)} rows -> {out}\n")
    return 0


if __name__ == "__main__":
    # Run by its path, Python looks for modules beside this script; the packages start at the root.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    sys.exit(main(sys.argv[1:]))
