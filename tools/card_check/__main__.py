"""python -m tools.card_check --out FOLDER: all parts in their order, within nine minutes.

Writes card_check.json and card_check.md into the folder, anew after each part.
"""

import argparse
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from m43.records import write_record
from tools.card_check import comparisons, damage, production
from tools.card_check.report import (
    MARKDOWN_NAME,
    Budget,
    Header,
    Part,
    Report,
    header,
    not_begun,
    write,
)
from tools.card_check.scale import BUDGET_S, LIMITS_S, RESERVE_S, Place

REPOSITORY = Path(__file__).parents[2]
# Less than an import and a compilation: nothing would come of it.
LEAST_S = 12.0

PARTS: Mapping[str, Callable[[Place, float], Part]] = MappingProxyType(
    {
        production.STAGE: production.stage,
        production.NAME: production.run,
        "rivals": comparisons.rivals,
        "parity": comparisons.parity,
        damage.NAME: damage.run,
        "settings": comparisons.settings,
    }
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check; the status is 1 where a bar was missed or a part did not get to its end."""
    options = _parser().parse_args(arguments)
    begun = time.monotonic()
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    told = header(REPOSITORY, started_utc=started, dry=options.dry_run)
    if told.card is None and not options.dry_run:
        sys.stderr.write(f"found no card ({told.no_card}), expected one; without one: --dry-run\n")
        return 2
    # What is ended from outside ends its children and its scratch folder.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    root = Path(tempfile.mkdtemp(prefix="m43-card-check-", dir=options.scratch))
    try:
        place = _place(root, options, told)
        write_record(place.file, place)
        budget = Budget(
            total_s=options.budget_s, reserve_s=RESERVE_S, limits_s=LIMITS_S, begun=begun
        )
        report = check(place, told, budget, options.out, options.only or tuple(PARTS))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    sys.stdout.write((options.out / MARKDOWN_NAME).read_text(encoding="utf-8"))
    return 1 if report.missed else 0


def check(place: Place, told: Header, budget: Budget, out: Path, names: Sequence[str]) -> Report:
    """Do the parts, and write the report before the first and after each."""
    report = Report(header=told, budget_s=budget.total_s, parts=())
    write(report, out)
    for name in PARTS:
        if name not in (production.STAGE, *names):
            continue
        began = time.monotonic()
        limit_s = budget.limit_of(name, began)
        sys.stderr.write(f"{began - budget.begun:5.0f} s  {name}, at most {limit_s:.0f} s\n")
        if limit_s < LEAST_S:
            part = not_begun(name, limit_s, LEAST_S)
        else:
            part = _done(name, place, limit_s)
        took_s = time.monotonic() - began
        part = replace(part, limit_s=limit_s, took_s=took_s)
        report = replace(report, parts=(*report.parts, part))
        write(report, out)
    return report


def _done(name: str, place: Place, limit_s: float) -> Part:
    # One part that breaks must not take the others with it.
    try:
        return PARTS[name](place, limit_s)
    except Exception as error:  # noqa: BLE001
        return Part(name=name, ended="failed", reason=f"{type(error).__name__}: {error}")


def _place(root: Path, options: argparse.Namespace, told: Header) -> Place:
    return Place(
        root=root,
        repository=REPOSITORY,
        judge=options.judge,
        port=_free_port(),
        platform="cpu" if options.dry_run else "gpu",
        device_kind="cpu" if told.card is None or options.dry_run else told.card.name or "",
        scale_name="dry" if options.dry_run else "card",
    )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.card_check", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where both files are written")
    parser.add_argument("--dry-run", action="store_true", help="every line, on the CPU, with a toy")
    parser.add_argument(
        "--judge", type=Path, default=Path(sys.executable),
        help="the interpreter that runs pytest; without it the one that runs this",
    )  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=list(PARTS), help="these parts, not all")
    parser.add_argument("--budget-s", type=float, default=BUDGET_S, help="for all of it")
    parser.add_argument("--scratch", type=Path, help="where models are made; needs 25 GB")
    return parser


if __name__ == "__main__":
    sys.exit(main())
