"""python -m tools.card_check --out FOLDER: all parts in their order, within nine minutes.

Writes card_check.json and card_check.md into the folder, anew whenever a part has found something:
whatever ends it leaves what was measured by then, and by name what was not.
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

from m43.records import Device, write_record
from tools.card_check import children, comparisons, damage, production
from tools.card_check.report import (
    MARKDOWN_NAME,
    Budget,
    Header,
    Keep,
    Part,
    Report,
    header,
    not_begun,
    put,
    write,
)
from tools.card_check.scale import BUDGET_S, LIMITS_S, RESERVE_S, Place

REPOSITORY = Path(__file__).parents[2]
# Less than an import and a compilation: nothing would come of it.
LEAST_S = 12.0
# For JAX to say what it computes on, where the driver does not: an import and a context of CUDA.
_DEVICE_S = 60.0

PARTS: Mapping[str, Callable[[Place, float, Keep], Part]] = MappingProxyType(
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
    """Check; the status is 1 where a part did not get to its end, or a card missed a bar."""
    options = _parser().parse_args(arguments)
    begun = time.monotonic()
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    told = header(REPOSITORY, started_utc=started, dry=options.dry_run)
    # What is ended from outside ends its children and its scratch folder.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    root = Path(tempfile.mkdtemp(prefix="m43-card-check-", dir=options.scratch))
    try:
        place = _place(root, options, told)
        write_record(place.file, place)
        if not place.device_kind:
            asked = children.run(place, "m43_child", "device", limit_s=_DEVICE_S)
            device = asked.get("device", Device)
            if device is None:
                sys.stderr.write(
                    f"found no card ({told.no_card}; JAX: {asked.reason}), expected one; without "
                    "one: --dry-run\n"
                )
                return 2
            place = replace(place, device_kind=device.kind)
            write_record(place.file, place)
        told = replace(told, device=place.device_kind)
        budget = Budget(
            total_s=options.budget_s, reserve_s=RESERVE_S, limits_s=LIMITS_S, begun=begun
        )
        report = check(place, told, budget, options.only or tuple(PARTS))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    sys.stdout.write((options.out / MARKDOWN_NAME).read_text(encoding="utf-8"))
    return 1 if report.missed else 0


def check(place: Place, told: Header, budget: Budget, names: Sequence[str]) -> Report:
    """Do the parts, and write the report before the first and whenever one has found something."""
    chosen = [name for name in PARTS if name in (production.STAGE, *names)]
    parts = tuple(Part(name=name, ended="not begun") for name in chosen)
    report = Report(header=told, budget_s=budget.total_s, parts=parts)
    for name in chosen:
        now = time.monotonic()
        limit_s = budget.limit_of(name, now)
        sys.stderr.write(f"{now - budget.begun:5.0f} s  {name}, at most {limit_s:.0f} s\n")
        report = _done(name, place, report, limit_s)
    return report


def _done(name: str, place: Place, report: Report, limit_s: float) -> Report:
    began = time.monotonic()
    last = Part(name=name, ended="under way", reason="nothing was found yet")

    def keep(part: Part) -> None:
        nonlocal report, last
        took_s = time.monotonic() - began
        last = replace(part, limit_s=limit_s, took_s=took_s)
        report = put(report, last)
        write(report, place.out)

    keep(last)
    if limit_s < LEAST_S:
        keep(not_begun(name, limit_s, LEAST_S))
        return report
    try:
        keep(PARTS[name](place, limit_s, keep))
    # One part that breaks must not take the others with it, nor what it had found itself.
    except Exception as error:  # noqa: BLE001
        keep(replace(last, ended="failed", reason=f"{type(error).__name__}: {error}"))
    except BaseException as error:
        reason = f"the check was ended from outside ({type(error).__name__})"
        keep(replace(last, ended="cut off", reason=reason))
        raise
    return report


def _place(root: Path, options: argparse.Namespace, told: Header) -> Place:
    card = told.card.name if told.card is not None else None
    return Place(
        root=root,
        repository=REPOSITORY,
        out=options.out.absolute(),
        judge=options.judge,
        rival=options.rival,
        port=_free_port(),
        platform="cpu" if options.dry_run else "gpu",
        # The driver's name for it is JAX's as well, and is had without starting JAX.
        device_kind=card if card and not options.dry_run else "",
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
    parser.add_argument(
        "--rival", type=Path, default=Path(sys.executable),
        help="the interpreter that has torch; without it the one that runs this",
    )  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=list(PARTS), help="these parts, not all")
    parser.add_argument("--budget-s", type=float, default=BUDGET_S, help="for all of it")
    parser.add_argument("--scratch", type=Path, help="where models are made; needs 25 GB")
    return parser


if __name__ == "__main__":
    sys.exit(main())
